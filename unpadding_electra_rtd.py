# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""How the networks read a batch: without its padding where that is safe, and padded elsewhere.

Without padding the tokens of all sequences stand in one row: what works token by token computes no padding,
and attention alone sees sequences. The words are those of flash-attention and ModernBERT: `unpad_input`, `pad_input`,
`cu_seqlens`. This file changes global state: it registers two attentions with `transformers`.

Shapes: B sequences in a batch, L tokens in the longest with its padding; without padding, T tokens in the batch, in
groups of R rows of up to W tokens; D numbers a head.
"""

from itertools import accumulate, pairwise

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.electra import modeling_electra
from transformers.utils import logging


logger = logging.get_logger(__name__)

FLASH_ATTENTION = ("flash_attention_2", "flash_attention_3")
# Stock attention -> the name under which `transformers` finds it for a batch that may be without padding.
UNPADDED_ATTENTION = {"eager": "electra_rtd_eager", "sdpa": "electra_rtd_sdpa"}


def unpad_input(values, indices):
    """The tokens of a padded batch. Args: values (any type, (B, L, ...)); indices (int64, (T,)). Returns: (T, ...)."""
    return values.flatten(0, 1).index_select(0, indices)


def pad_input(values, indices, shape):
    """The inverse of [`unpad_input`], with zeros where there is no token.

    Args: values (any type, (T, ...)); indices (int64, (T,)); shape (B and L). Returns: (B, L, ...).
    """
    padded = values.new_zeros(shape[0] * shape[1], *values.shape[1:])
    return padded.index_copy(0, indices, values).unflatten(0, shape)


class PaddedBatch:
    """The batch as it came: the reference, and the way wherever the other is not safe. Args: as [`UnpaddedBatch`]."""

    def __init__(self, attended, position_ids):
        # A row without tokens attends to its padding: softmax over nothing is not a number.
        self.attention_mask = (attended | ~attended.any(dim=-1, keepdim=True)).long()  # (B, L)
        self.position_ids = position_ids

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        return {
            "input_ids": input_ids,
            "attention_mask": self.attention_mask,
            "token_type_ids": known_types(token_type_ids, config),
            "position_ids": self.position_ids,
            "return_dict": True,
        }

    def at(self, masked, hidden):
        """Hidden states at M tokens: (B, L, H) to (M, H); masked: rows and columns, (M,) each."""
        return hidden[masked]

    def padded(self, logits):
        """(B, L), as it is."""
        return logits


class UnpaddedBatch:
    """The T attended tokens of the batch in one row, (1, T), sequences of similar length side by side.

    Args: attended (bool, (B, L)), with at least one token; position_ids (int64, (B, L)).
    """

    def __init__(self, attended, position_ids):
        self.shape, device = attended.shape, attended.device
        lengths, order = attended.sum(dim=-1).sort(descending=True, stable=True)  # (B,), (B,)
        rows, columns = attended[order].nonzero(as_tuple=True)  # (T,), (T,)
        self.indices = order[rows] * self.shape[1] + columns  # (T,): where a token stands in the batch
        numbers = torch.arange(len(rows), device=device)
        self.tokens = pad_input(numbers, self.indices, self.shape)  # (B, L): the inverse
        self.position_ids = unpad_input(position_ids, self.indices)[None]  # (1, T)
        of_rows = [length for length in lengths.tolist() if length > 0]
        self.cu_seqlens = torch.tensor([0, *accumulate(of_rows)], dtype=torch.int32, device=device)
        self.max_seqlen = of_rows[0]
        # One more group is more launches of every kernel: not on an accelerator, where they count and squares do not.
        cuts = [*cut_by_length(of_rows), len(of_rows)] if device.type == "cpu" else [0, len(of_rows)]
        self.groups = [RowGroup(of_rows[first:end], device) for first, end in pairwise(cuts)]

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        if token_type_ids is not None:
            token_type_ids = unpad_input(known_types(token_type_ids, config), self.indices)[None]  # (1, T)
        inputs = {
            "input_ids": unpad_input(input_ids, self.indices)[None],  # (1, T)
            "token_type_ids": token_type_ids,
            "position_ids": self.position_ids,
            "return_dict": True,
        }
        if config._attn_implementation in FLASH_ATTENTION:
            boundaries = {"cu_seq_lens_q": self.cu_seqlens, "cu_seq_lens_k": self.cu_seqlens}
            return {**inputs, **boundaries, "max_length_q": self.max_seqlen, "max_length_k": self.max_seqlen}
        # A mask of four dimensions passes through `transformers` as it is, and nobody reads this one.
        no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.indices.device)
        return {**inputs, "attention_mask": no_mask, "unpadded": self}

    def at(self, masked, hidden):
        """Hidden states at M tokens: (1, T, H) to (M, H); masked: rows and columns, (M,) each."""
        return hidden[0, self.tokens[masked]]

    def padded(self, logits):
        """(1, T) to (B, L), with 0 where there is no token."""
        return pad_input(logits[0], self.indices, self.shape)

    def attend(self, attention, module, query, key, value, dropout=0.0, scaling=None, **kwargs):
        """Attention within each sequence: query, key and value (float, (1, heads, T, D)) to (1, T, heads, D)."""
        sizes = [group.size for group in self.groups]
        tokens = [states[0].transpose(0, 1).split(sizes) for states in (query, key, value)]  # (t, heads, D) each
        attended = []
        for group, *of_group in zip(self.groups, *tokens, strict=True):
            rows = [group.to_rows(states) for states in of_group]  # (R, heads, W, D) each
            output = attention(module, *rows, group.mask(query.dtype), dropout=dropout, scaling=scaling)[0]
            attended.append(group.to_tokens(output))  # (t, heads, D)
        return torch.cat(attended)[None]


def cut_by_length(lengths):
    """Where a new group of rows saves much of attention's squares: the first rows. Args: lengths (descending)."""
    firsts = [0]
    for row, length in enumerate(lengths):
        widest = lengths[firsts[-1]]
        saved = (len(lengths) - row) * (widest**2 - length**2)
        if length < 0.7 * widest and saved > 10_000:  # cells, as many as the calls for one more group take time for
            firsts.append(row)
    return firsts


class RowGroup:
    """R sequences of similar length that lie side by side, t tokens, as a rectangle of W tokens each: for attention.

    Args: lengths (`list[int]`, descending); device.
    """

    def __init__(self, lengths, device):
        self.shape, self.size = (len(lengths), lengths[0]), sum(lengths)  # (R, W), t
        self.is_full = lengths[0] == lengths[-1]
        columns, sizes = torch.arange(lengths[0], device=device), torch.tensor(lengths, device=device)
        self.there = columns < sizes[:, None]  # (R, W)
        self.cells = self.there.flatten().nonzero().squeeze(-1)  # (t,): where a token stands in the rectangle

    def to_rows(self, tokens):
        """(t, heads, D) to (R, heads, W, D)."""
        rows = tokens.unflatten(0, self.shape) if self.is_full else pad_input(tokens, self.cells, self.shape)
        return rows.transpose(1, 2)

    def to_tokens(self, rows):
        """(R, W, heads, D) to (t, heads, D)."""
        return rows.flatten(0, 1) if self.is_full else unpad_input(rows, self.cells)

    def mask(self, dtype):
        """What is added to the scores, (R, 1, 1, W); `None` where nothing is padded."""
        if self.is_full:
            return None
        outside = torch.zeros(self.shape, dtype=dtype, device=self.there.device)
        return outside.masked_fill(~self.there, torch.finfo(dtype).min)[:, None, None]


def known_types(token_type_ids, config):
    """The networks of a pair may know different numbers of segments: one that a network does not know is its last."""
    return None if token_type_ids is None else token_type_ids.clamp(max=config.type_vocab_size - 1)


def attend_unpadded(networks):
    """Let the attention of networks know boundaries, where their release and we can.

    Its name goes into their configurations for good: gradient checkpointing asks again in the backward pass.

    Args: networks (two `ElectraPreTrainedModel`). Returns: `bool`, whether all can.
    """
    known = {*UNPADDED_ATTENTION, *UNPADDED_ATTENTION.values(), *FLASH_ATTENTION}
    configs = [network.config for network in networks if network._supports_attention_backend]
    if len(configs) < len(networks) or any(config._attn_implementation not in known for config in configs):
        return False
    for config in configs:
        config._attn_implementation = UNPADDED_ATTENTION.get(config._attn_implementation, config._attn_implementation)
    return True


def warn_if_attention_cannot_drop(networks):
    """Say once where an attention has no dropout, and a configuration asks for some."""
    for config in (network.config for network in networks):
        share = config.attention_probs_dropout_prob
        if config._attn_implementation == "flash_attention_3" and share > 0:
            logger.warning_once(
                f"flash_attention_3 has no dropout: attention_probs_dropout_prob={share} has no effect. Set it to 0, "
                "or take another attention: `model.set_attn_implementation('sdpa')`."
            )


def knowing_boundaries(stock):
    """A stock attention, `"eager"` or `"sdpa"`, with one argument more: `unpadded` ([`UnpaddedBatch`], *optional*)."""

    def attend(module, query, key, value, attention_mask, unpadded=None, **kwargs):
        eager = stock == "eager"
        attention = modeling_electra.eager_attention_forward if eager else ALL_ATTENTION_FUNCTIONS[stock]
        if unpadded is None:
            return attention(module, query, key, value, attention_mask, **kwargs)
        # The batch brings the code along: another release of this file may have taken the name in the meantime.
        return unpadded.attend(attention, module, query, key, value, **kwargs), None

    return attend


for stock, ours in UNPADDED_ATTENTION.items():
    AttentionInterface.register(ours, knowing_boundaries(stock))
    AttentionMaskInterface.register(ours, ALL_MASK_ATTENTION_FUNCTIONS[stock])  # for padded batches
