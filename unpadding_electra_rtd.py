# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""How the networks read a batch: without its padding where that is safe, and padded elsewhere.

Without padding the tokens of all sequences stand in one row: what works token by token computes no padding,
and attention alone sees sequences. The words are those of flash-attention and ModernBERT: `unpad_input`, `pad_input`,
`cu_seqlens`. Sequences that a collator joined to rows are first split to the padded batch that they are. This file
changes global state: it registers two attentions with `transformers`.

Shapes: B sequences in a batch, L tokens in the longest with its padding; without padding, T tokens in the batch; in
rectangles, R rows of W tokens; D numbers a head.
"""

from functools import cached_property
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.electra import modeling_electra

from .objective_electra_rtd import where_true


# Stock attention -> the name under which `transformers` finds it for a batch that may be without padding.
UNPADDED_ATTENTION = {"eager": "electra_rtd_eager", "sdpa": "electra_rtd_sdpa"}


def unpad_input(values, indices):
    """The tokens of a padded batch. Args: values (any type, (B, L, ...)); indices (int64, (T,)). Returns: (T, ...)."""
    return values.flatten(0, 1).index_select(0, indices)


def pad_input(values, indices, shape):
    """The inverse: (T, ...) to (B, L, ...), of shape (B and L), with zeros where there is no token."""
    padded = values.new_zeros(shape[0] * shape[1], *values.shape[1:])
    return padded.index_copy(0, indices, values).unflatten(0, shape)


class PaddedBatch:
    """The batch as it came: the reference, and the way wherever the other is not safe. Args: as [`UnpaddedBatch`]."""

    def __init__(self, attended, position_ids):
        # A row without tokens attends to its padding: softmax over nothing is not a number.
        mask = (attended | ~attended.any(dim=-1, keepdim=True)).long()  # (B, L)
        self.arguments = {"attention_mask": mask, "position_ids": position_ids, "return_dict": True}

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        return {"input_ids": input_ids, "token_type_ids": known_types(token_type_ids, config), **self.arguments}

    def at(self, masked, hidden):
        """Hidden states at M tokens: (B, L, H) to (M, H); masked (int64, (M,)): their places, see [`where_true`]."""
        return hidden.flatten(0, 1).index_select(0, masked)

    def padded(self, logits):
        """(B, L), as it is."""
        return logits


class UnpaddedBatch:
    """The T attended tokens of the batch in one row, (1, T), the longest sequence first.

    Args: attended (bool, (B, L)), with at least one token; position_ids (int64, (B, L)); count (`int`): T.
    """

    def __init__(self, attended, position_ids, count):
        self.attended, self.shape, device = attended, attended.shape, attended.device
        self.lengths, order = attended.sum(dim=-1).sort(descending=True, stable=True)  # (B,), (B,)
        cells = torch.arange(attended.numel(), device=device).view(self.shape)  # (B, L)
        self.indices = cells[order].flatten()[where_true(attended[order], count)]  # (T,): a token's place in the batch
        self.tokens = pad_input(cells.flatten()[:count], self.indices, self.shape).flatten()  # (B * L,): the inverse
        self.position_ids = unpad_input(position_ids, self.indices)[None]  # (1, T)
        self.cu_seqlens = nn.functional.pad(self.lengths.cumsum(dim=0), (1, 0)).int()  # (B + 1,): rows may be empty
        self.max_seqlen = min(count, attended.shape[1])  # at most: the exact number is on the device

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        if token_type_ids is not None:
            token_type_ids = unpad_input(known_types(token_type_ids, config), self.indices)[None]  # (1, T)
        inputs = {"position_ids": self.position_ids, "token_type_ids": token_type_ids, "return_dict": True}
        inputs["input_ids"] = unpad_input(input_ids, self.indices)[None]  # (1, T)
        if "flash" in config._attn_implementation:  # a package, or a kernel of the Hub
            boundaries = {"cu_seq_lens_q": self.cu_seqlens, "cu_seq_lens_k": self.cu_seqlens}
            return {**inputs, **boundaries, "max_length_q": self.max_seqlen, "max_length_k": self.max_seqlen}
        # A mask of four dimensions passes through `transformers` as it is, and nobody reads this one.
        return {**inputs, "attention_mask": self.attended.new_ones(1, 1, 1, 1), "unpadded": self}

    def at(self, masked, hidden):
        """Hidden states at M tokens: (1, T, H) to (M, H); masked (int64, (M,)): their places, see [`where_true`]."""
        return hidden.squeeze(0).index_select(0, self.tokens[masked])

    def padded(self, logits):
        """(1, T) to (B, L), with 0 where there is no token."""
        return pad_input(logits.squeeze(0), self.indices, self.shape)

    def attend(self, attention, module, query, key, value, dropout=0.0, scaling=None, **kwargs):
        """Attention within each sequence: query, key and value (float, (1, heads, T, D)) to (1, T, heads, D)."""
        sizes = [len(cells) for _, cells in self.rectangles]
        tokens = [states.squeeze(0).transpose(0, 1).split(sizes) for states in (query, key, value)]  # (t, heads, D)
        attended = []
        for (there, cells), *of_rows in zip(self.rectangles, *tokens, strict=True):
            if there.numel() == len(cells):  # full
                states, mask = [one.unflatten(0, there.shape) for one in of_rows], None
            else:  # the mask is added to the scores
                states = [pad_input(one, cells, there.shape) for one in of_rows]
                mask = torch.zeros(there.shape, dtype=query.dtype, device=query.device)
                mask = mask.masked_fill(~there, torch.finfo(query.dtype).min)[:, None, None]  # (R, 1, 1, W)
            states = [one.transpose(1, 2) for one in states]  # (R, heads, W, D) each
            output = attention(module, *states, mask, dropout=dropout, scaling=scaling)[0]  # (R, W, heads, D)
            attended.append(output.flatten(0, 1) if mask is None else unpad_input(output, cells))  # (t, heads, D)
        return (torch.cat(attended) if len(attended) > 1 else attended[0])[None]

    @cached_property
    def rectangles(self):
        """All sequences as rectangles: `list` of where tokens are, bool, (R, W), and in which cells, int64, (t,)."""
        if not self.attended.is_cpu:  # one: more are more launches of every kernel, and squares are cheap
            return [(self.attended, self.indices)]
        lengths = [length for length in self.lengths.tolist() if length > 0]
        groups = [lengths[first:end] for first, end in pairwise([*cut_by_length(lengths), len(lengths)])]
        there = [torch.arange(group[0]) < torch.tensor(group)[:, None] for group in groups]  # (R, W) each
        return [(one, where_true(one)) for one in there]


def cut_by_length(lengths):
    """Where a new rectangle saves much of attention's squares: the first rows. Args: lengths (descending)."""
    firsts = [0]
    for row, length in enumerate(lengths):
        widest = lengths[firsts[-1]]
        saved = (len(lengths) - row) * (widest**2 - length**2)
        if length < 0.7 * widest and saved > 10_000:  # cells, as many as the calls for one more take time for
            firsts.append(row)
    return firsts


class JoinedSequences:
    """Sequences that a collator joined to rows, (R, T), as the padded batch that they are, (B, L), and back.

    Args: lengths (`list[int]`): of the sequences, row by row; shape (R and T).
    """

    def __init__(self, lengths, shape):
        self.lengths, self.shape = lengths, shape

    def split(self, values):
        """(R, T) to (B, L), with zeros where there is no token; `None` stays as it is."""
        return None if values is None else pad_sequence(values.flatten().split(self.lengths), batch_first=True)

    def join(self, values):
        """(B, L, ...) to (R, T, ...); each of a tuple; a single number stays as it is."""
        if isinstance(values, tuple) or values.dim() == 0:
            return tuple(map(self.join, values)) if isinstance(values, tuple) else values
        rows = [row[:length] for row, length in zip(values, self.lengths, strict=True)]
        return torch.cat(rows).unflatten(0, self.shape)


@torch.compiler.disable  # shapes follow from the numbers
def find_joined(attended, position_ids, boundaries):
    """The sequences that `DataCollatorWithFlattening` joined to rows. An accelerator waits for their lengths.

    Args: attended (bool, (R, T)); position_ids (int64, (R, T), or `None`): where they are 0, a sequence begins;
        boundaries (`dict`): what else the collator returns, of which `cu_seq_lens_q` (int64, (B + 1,)) is read.
    Returns: [`JoinedSequences`], or `None` where each row is one sequence. Raises: ValueError: that is not clear.
    """
    places = torch.arange(attended.shape[1])  # (T,)
    given = None if position_ids is None else position_ids.expand_as(attended).cpu()  # (R, T)
    if "cu_seq_lens_q" in boundaries:
        ends = boundaries["cu_seq_lens_q"].tolist()
        if len(attended) > 1 or ends[:1] + ends[-1:] != [0, len(places)] or ends != sorted(ends):
            raise unclear("`cu_seq_lens_q` is for batches of one row, and counts from 0 to its length")
        starts = torch.isin(places, torch.tensor(ends))[None]  # (1, T)
    elif given is not None:
        starts = given == 0  # (R, T)
    else:
        raise unclear("`position_ids` or `cu_seq_lens_q` have to say it")
    positions = places - (starts * places).cummax(dim=-1).values  # (R, T)
    if given is None or given.equal(positions):
        lengths = starts.flatten().nonzero().flatten().diff(append=torch.tensor([starts.numel()]))  # (B,)
        return JoinedSequences(lengths.tolist(), starts.shape)
    if boundaries or any((row[there].diff() <= 0).any() for row, there in zip(given, attended.cpu(), strict=True)):
        raise unclear("`position_ids` do not count from 0 in each")
    return None  # positions of a user's own


def unclear(why):
    """The error where sequences are joined, and it is not clear where each begins."""
    return ValueError(
        f"Sequences are joined to one row, and it is not clear where each begins: {why}. Pass what the collator "
        "`DataCollatorWithFlattening()` returns, and no more; or use `DataCollatorWithPadding(tokenizer)`."
    )


def known_types(token_type_ids, config):
    """The networks of a pair may know different numbers of segments: one that a network does not know is its last."""
    return None if token_type_ids is None else token_type_ids.clamp(max=config.type_vocab_size - 1)


def attend_unpadded(networks):
    """Let the attention of networks know boundaries, where their release and we can.

    Its name goes into their configurations for good: gradient checkpointing asks again in the backward pass.

    Args: networks (two `ElectraPreTrainedModel`). Returns: `bool`, whether all can.
    """
    known = {*UNPADDED_ATTENTION, *UNPADDED_ATTENTION.values()}
    names = [network.config._attn_implementation for network in networks if network._supports_attention_backend]
    if len(names) < len(networks) or not all(name in known or "flash" in name for name in names):
        return False
    for config in (network.config for network in networks):
        config._attn_implementation = UNPADDED_ATTENTION.get(config._attn_implementation, config._attn_implementation)
    return True


def knowing_boundaries(stock):
    """A stock attention, `"eager"` or `"sdpa"`, with one argument more: `unpadded` ([`UnpaddedBatch`], *optional*)."""

    def attend(module, query, key, value, attention_mask, unpadded=None, **kwargs):
        attention = modeling_electra.eager_attention_forward if stock == "eager" else ALL_ATTENTION_FUNCTIONS[stock]
        if unpadded is None:
            return attention(module, query, key, value, attention_mask, **kwargs)
        # The batch brings the code along: another release of this file may have taken the name in the meantime.
        return unpadded.attend(attention, module, query, key, value, **kwargs), None

    return attend


for stock, ours in UNPADDED_ATTENTION.items():
    AttentionInterface.register(ours, knowing_boundaries(stock))
    AttentionMaskInterface.register(ours, ALL_MASK_ATTENTION_FUNCTIONS[stock])  # for padded batches
