# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""How the networks read a batch: without its padding where that is safe, and padded elsewhere.

Without padding the tokens of all sequences stand in one row: what works token by token computes no padding,
and attention alone sees sequences. The words are those of flash-attention and ModernBERT: `unpad_input`, `pad_input`,
`cu_seqlens`. This file changes global state: it registers two attentions with `transformers`.

Shapes: B sequences in a batch, L tokens in the longest with its padding; without padding, T tokens in the batch; in
rectangles, R rows of W tokens; D numbers a head.
"""

from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.electra import modeling_electra
from transformers.utils import logging


logger = logging.get_logger(__name__)

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


def where_true(mask, count=None):
    """Places of a mask's true cells, counted from 0 through all rows. Where their number is known, nobody has to wait
    for an accelerator to find it.

    Args: mask (bool, any shape); count (`int`, *optional*). Returns: int64, (count,).
    """
    if count is None or mask.is_cpu:
        return mask.flatten().nonzero().squeeze(-1)
    return (~mask.flatten()).argsort(stable=True)[:count]


class PaddedBatch:
    """The batch as it came: the reference, and the way wherever the other is not safe.

    Args: attended (bool, (B, L)); position_ids (int64, (B, L)).
    """

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
        """Hidden states at M tokens: (B, L, H) to (M, H); masked (int64, (M,)): their places, see [`where_true`]."""
        return hidden.flatten(0, 1).index_select(0, masked)

    def padded(self, logits):
        """(B, L), as it is."""
        return logits


class UnpaddedBatch:
    """The T attended tokens of the batch in one row, (1, T), the longest sequence first.

    Args:
        attended (bool, (B, L)); position_ids (int64, (B, L))
        count (`int`): T, the number of attended tokens, at least 1.
        way (`str`, *optional*): of attention, in [`WAYS`]; by default the first that works here.
        fill_to (`int`): copies of one token fill T up to a multiple of this. Nothing attends to them or reads them.
    """

    def __init__(self, attended, position_ids, count, way=None, fill_to=1):
        self.shape, self.count, self.way, device = attended.shape, count, way, attended.device
        self.lengths, order = attended.sum(dim=-1).sort(descending=True, stable=True)  # (B,), (B,)
        cells = torch.arange(attended.numel(), device=device).view(self.shape)  # (B, L)
        self.indices = cells[order].flatten()[where_true(attended[order], count)]  # (T,): a token's place in the batch
        self.fill = -count % fill_to
        self.filled = nn.functional.pad(self.indices, (0, self.fill))  # the first cell, if need be
        numbers = torch.arange(count, device=device)
        self.tokens = pad_input(numbers, self.indices, self.shape).flatten()  # (B * L,): the inverse
        self.position_ids = unpad_input(position_ids, self.filled)[None]  # (1, T)
        self.cu_seqlens = nn.functional.pad(self.lengths.cumsum(dim=0), (1, 0)).int()  # (B + 1,): rows may be empty
        self.max_seqlen = min(count, attended.shape[1])  # at most: the exact number is on the device
        self.attended = attended

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        if token_type_ids is not None:
            token_type_ids = unpad_input(known_types(token_type_ids, config), self.filled)[None]  # (1, T)
        inputs = {
            "input_ids": unpad_input(input_ids, self.filled)[None],  # (1, T)
            "token_type_ids": token_type_ids,
            "position_ids": self.position_ids,
            "return_dict": True,
        }
        if is_flash(config):
            boundaries = {"cu_seq_lens_q": self.cu_seqlens, "cu_seq_lens_k": self.cu_seqlens}
            return {**inputs, **boundaries, "max_length_q": self.max_seqlen, "max_length_k": self.max_seqlen}
        # A mask of four dimensions passes through `transformers` as it is, and nobody reads this one.
        no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.indices.device)
        return {**inputs, "attention_mask": no_mask, "unpadded": self}

    def at(self, masked, hidden):
        """Hidden states at M tokens: (1, T, H) to (M, H); masked (int64, (M,)): their places, see [`where_true`]."""
        return hidden.squeeze(0).index_select(0, self.tokens[masked])

    def padded(self, logits):
        """(1, T) to (B, L), with 0 where there is no token."""
        return pad_input(logits.squeeze(0)[: self.count], self.indices, self.shape)

    def attend(self, attention, module, query, key, value, dropout=0.0, scaling=None, **kwargs):
        """Attention within each sequence: query, key and value (float, (1, heads, T, D)) to (1, T, heads, D).

        attention: a function of `transformers`, for rectangles. The stock `sdpa` gives way to what needs none.
        """
        tokens = [states.squeeze(0).transpose(0, 1)[: self.count] for states in (query, key, value)]  # (T, heads, D)
        way = "rows"
        if attention is ALL_ATTENTION_FUNCTIONS["sdpa"]:
            way = choose_way(tokens[0], dropout, self.way)
        output = WAYS[way](self, *tokens, dropout, scaling, attention, module)  # (T, heads, D)
        return nn.functional.pad(output, (0, 0, 0, 0, 0, self.fill))[None]

    @cached_property
    def rectangles(self):
        """All sequences as rectangles: `list` of where tokens are, bool, (R, W), and in which cells, int64, (t,)."""
        if not self.attended.is_cpu:  # one: more are more launches of every kernel, and squares are cheap
            return [(self.attended, self.indices)]
        lengths = [length for length in self.lengths.tolist() if length > 0]
        groups = [lengths[first:end] for first, end in pairwise([*cut_by_length(lengths), len(lengths)])]
        there = [torch.arange(group[0]) < torch.tensor(group)[:, None] for group in groups]  # (R, W) each
        return [(one, where_true(one)) for one in there]


def is_flash(config):
    """Whether a network's attention is a flash package or a kernel of the Hub, which read boundaries: `bool`."""
    return "flash" in (config._attn_implementation or "")


# ---- Ways of attention within sequences -----------------------------------------------------------------------------
# Args: batch ([`UnpaddedBatch`]); query, key, value (float, (T, heads, D)); dropout (`float`); scaling (`float`,
# *optional*); for rectangles an attention of `transformers`, and its module. Returns: (T, heads, D).


def flash_operator(batch, query, key, value, dropout, scaling, *stock):
    """The operator that `scaled_dot_product_attention` calls for nested tensors: CUDA, float16 and bfloat16."""
    starts, longest = (batch.cu_seqlens,) * 2, (batch.max_seqlen,) * 2
    attend = torch.ops.aten._flash_attention_forward
    return attend(query, key, value, *starts, *longest, dropout, False, False, scale=scaling)[0]


def efficient_operator(batch, query, key, value, dropout, scaling, *stock):
    """Likewise the memory-efficient one: float32 too."""
    starts, longest = (batch.cu_seqlens,) * 2, (batch.max_seqlen,) * 2
    attend = torch.ops.aten._efficient_attention_forward
    states = [one[None] for one in (query, key, value)]  # (1, T, heads, D) each
    return attend(*states, None, *starts, *longest, dropout, 0, True, scale=scaling)[0].squeeze(0)


def nested_tensors(batch, query, key, value, dropout, scaling, *stock):
    """What of torch is public: slower to set up, the same operators below."""
    starts, nested = batch.cu_seqlens.long(), torch.nested.nested_tensor_from_jagged
    states = [nested(one, starts, max_seqlen=batch.max_seqlen).transpose(1, 2) for one in (query, key, value)]
    output = nn.functional.scaled_dot_product_attention(*states, dropout_p=dropout, scale=scaling)
    return output.transpose(1, 2).values()


def rows(batch, query, key, value, dropout, scaling, attention, module):
    """Padded rectangles of sequences, with any attention of `transformers` on any device."""
    sizes = [len(cells) for _, cells in batch.rectangles]
    parts = zip(batch.rectangles, *(states.split(sizes) for states in (query, key, value)), strict=True)
    attended = []
    for (there, cells), *tokens in parts:
        is_full, mask = there.numel() == len(cells), None
        states = [one.unflatten(0, there.shape) if is_full else pad_input(one, cells, there.shape) for one in tokens]
        if not is_full:  # what is added to the scores
            mask = torch.zeros(there.shape, dtype=query.dtype, device=query.device)
            mask = mask.masked_fill(~there, torch.finfo(query.dtype).min)[:, None, None]  # (R, 1, 1, W)
        states = [one.transpose(1, 2) for one in states]  # (R, heads, W, D) each
        output = attention(module, *states, mask, dropout=dropout, scaling=scaling)[0]  # (R, W, heads, D)
        attended.append(output.flatten(0, 1) if is_full else unpad_input(output, cells))  # (t, heads, D)
    return torch.cat(attended)


# In the order in which they are tried.
WAYS = {"flash": flash_operator, "efficient": efficient_operator, "nested": nested_tensors, "rows": rows}


def choose_way(query, dropout=0.0, asked_for=None):
    """The first way that works, or the one that is asked for. A CPU has rows alone by itself.

    Args: query (float, (T, heads, D)); dropout (`float`); asked_for (`str`, *optional*). Returns: `str`, in [`WAYS`].
    """
    names = [asked_for] if asked_for else ["rows"] if query.is_cpu else WAYS
    kind = (query.device, query.dtype, *query.shape[1:], dropout)
    for name in names:
        if why_not(name, *kind) is None:
            return name
    usable = [name for name in WAYS if why_not(name, *kind) is None]
    reason = why_not(asked_for, *kind)
    raise ValueError(
        f"`unpadded_attention` is {asked_for!r}: {reason}. Choose one of {usable}, or None for the first."
    )


@lru_cache
def why_not(way, device, dtype, heads, size, dropout=0.0):
    """Why a way does not work, or `None`: it is tried once, on four short sequences, against the definition.

    Args: way (`str`); device, dtype (of torch); heads, size (`int`): D; dropout (`float`). Returns: `str` or `None`.
    """
    if way not in WAYS:
        return "there is no such way"
    if way == "rows":
        return None
    lengths = [64, 33, 5, 0]
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        attended = (torch.arange(64) < torch.tensor(lengths)[:, None]).to(device)
        batch = UnpaddedBatch(attended, attended.long(), sum(lengths))
        numbers = torch.arange(3 * sum(lengths) * heads * size, device=device).sin()
        states = numbers.view(3, -1, heads, size).to(dtype).requires_grad_()  # query, key and value
        expected = torch.cat([_attention(*one) for one in states.float().split(lengths, dim=1)])  # (T, heads, D)
        try:
            found = WAYS[way](batch, *states, 0.0, None)
            pairs = [(found, expected)]
            pairs.append([torch.autograd.grad(one.float().square().sum(), states)[0] for one in pairs[0]])
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                finite = WAYS[way](batch, *states, dropout, None).isfinite().all()
        except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {str(error).split('. ')[0]}"
        wrong = torch.stack([(ours - right).abs().max() / right.abs().max() for ours, right in pairs]).max().item()
    # Rounding is a hundredth at most. A row that sees another is wrong by tenths, and NaN is not below anything.
    return None if wrong < 0.03 and finite else f"its results are wrong, by {wrong:.2f} of the largest"


def _attention(query, key, value):
    """The definition, for one sequence: (T, heads, D) each."""
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)


def cut_by_length(lengths):
    """Where a new rectangle saves much of attention's squares: the first rows. Args: lengths (descending)."""
    firsts = [0]
    for row, length in enumerate(lengths):
        widest = lengths[firsts[-1]]
        saved = (len(lengths) - row) * (widest**2 - length**2)
        if length < 0.7 * widest and saved > 10_000:  # cells, as many as the calls for one more take time for
            firsts.append(row)
    return firsts


def known_types(token_type_ids, config):
    """The networks of a pair may know different numbers of segments: one that a network does not know is its last."""
    return None if token_type_ids is None else token_type_ids.clamp(max=config.type_vocab_size - 1)


def attend_unpadded(networks):
    """Let the attention of networks know boundaries, where their release and we can.

    Its name goes into their configurations for good: gradient checkpointing asks again in the backward pass.

    Args: networks (two `ElectraPreTrainedModel`). Returns: `bool`, whether all can.
    """
    known = {*UNPADDED_ATTENTION, *UNPADDED_ATTENTION.values()}
    configs = [network.config for network in networks if network._supports_attention_backend]
    able = [config for config in configs if config._attn_implementation in known or is_flash(config)]
    if len(able) < len(networks):
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
