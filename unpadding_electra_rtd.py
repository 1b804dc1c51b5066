# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""How the networks read a batch: padded, or without its padding.

Shapes: B sequences in a batch, L tokens in the longest; without padding, T tokens in the batch, in groups of R rows of
up to W tokens; D numbers a head.
"""

import math
from itertools import accumulate, pairwise

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.electra import modeling_electra
from transformers.utils import logging


logger = logging.get_logger(__name__)


class PaddedBatch:
    """The batch as it came, (B, L): the reference, and the way wherever the flat one is not safe.

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
        """Hidden states at M tokens: (B, L, H) to (M, H); masked: rows and columns, (M,) each."""
        return hidden[masked]

    def padded(self, logits):
        """(B, L), as it is."""
        return logits


class FlatBatch:
    """The T attended tokens of the batch in one row, (1, T), sequences of like length side by side.

    All that works token by token computes no padding; attention alone sees rows again ([`Rows`]).

    Args: attended (bool, (B, L)), with at least one token; position_ids (int64, (B, L)).
    """

    def __init__(self, attended, position_ids):
        self.shape = attended.shape
        lengths, order = attended.sum(dim=-1).sort(descending=True, stable=True)  # (B,), (B,)
        rows, columns = attended[order].nonzero(as_tuple=True)  # (T,), (T,)
        self.cells = order[rows] * self.shape[1] + columns  # (T,): where a token stands in the batch, row by row
        self.tokens = torch.zeros(attended.numel(), dtype=torch.long, device=attended.device)  # (B * L,): the inverse
        self.tokens[self.cells] = torch.arange(len(self.cells), device=attended.device)
        self.position_ids = self._flat(position_ids)
        self.rows = Rows([length for length in lengths.tolist() if length > 0], attended.device)
        # For attention that takes a mask: four dimensions pass through `transformers` as they are.
        self.no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=attended.device)

    def inputs(self, input_ids, token_type_ids, config):
        """Arguments of a network's forward; input_ids and token_type_ids (or `None`) of shape (B, L)."""
        tell_of_rows(config)
        flash = config._attn_implementation in FLASH_ATTENTION
        return {
            "input_ids": self._flat(input_ids),
            "attention_mask": None if flash else self.no_mask,
            "token_type_ids": None if token_type_ids is None else self._flat(known_types(token_type_ids, config)),
            "position_ids": self.position_ids,
            "return_dict": True,
            **(self.rows.variable_lengths() if flash else {"rows": self.rows}),
        }

    def at(self, masked, hidden):
        """Hidden states at M tokens: (1, T, H) to (M, H); masked: rows and columns, (M,) each."""
        return hidden[0, self.tokens[masked[0] * self.shape[1] + masked[1]]]

    def padded(self, logits):
        """(1, T) to (B, L), with 0 where there is no token."""
        return logits.new_zeros(self.tokens.shape).index_copy(0, self.cells, logits[0]).view(self.shape)

    def _flat(self, values):
        return values.flatten()[self.cells][None]  # (1, T)


class Rows:
    """Rows of tokens, for attention: cut into groups of like length, so that little of their squares is padding.

    Args: lengths (`list[int]` above 0, descending); device.
    """

    def __init__(self, lengths, device):
        self.lengths, self.device = lengths, device
        # One more group is more launches of every kernel: not on an accelerator, where they count and squares do not.
        bounds = cut_by_length(lengths, most=4 if device.type == "cpu" else 1)
        starts = [0, *accumulate(lengths)]  # where a row begins among the T tokens
        self.groups = [RowGroup(starts[first], lengths[first:end], device) for first, end in pairwise(bounds)]

    def attend(self, stock, attention, module, query, key, value, dropout=0.0, scaling=None, **kwargs):
        """Attention within each row: query, key and value (float, (1, heads, T, D)) to (1, T, heads, D)."""
        tokens = query[0], key[0], value[0]  # (heads, T, D) each
        if stock == "sdpa" and draws_gaps(dropout, query):
            return DropoutAttention.apply(*tokens, self, dropout, scaling)[None]
        attended = []
        for group, of_rows in self.of(*tokens):
            output = attention(module, *of_rows, group.mask, dropout=dropout, scaling=scaling)[0]  # (R, W, heads, D)
            attended.append(output.transpose(1, 2)[None])
        return self.join(attended)

    def of(self, *tokens):
        """Group by group: the [`RowGroup`], and its rows of n tensors, (heads, T, D) each, as (n, R, heads, W, D)."""
        stacked = torch.stack(tokens)  # (n, heads, T, D)
        for group in self.groups:
            yield group, group.to_rows(stacked)

    def join(self, rows):
        """The tokens of every group's rows (float, (n, R, heads, W, D)): (n, T, heads, D)."""
        return torch.cat([group.to_tokens(one) for group, one in zip(self.groups, rows, strict=True)], dim=1)

    def variable_lengths(self):
        """What flash attention takes instead: where each row starts, and the longest."""
        starts = torch.tensor([0, *self.lengths], device=self.device).cumsum(0, dtype=torch.int32)
        return {
            "cu_seq_lens_q": starts,
            "cu_seq_lens_k": starts,
            "max_length_q": self.lengths[0],
            "max_length_k": self.lengths[0],
        }


class RowGroup:
    """R rows of up to W tokens, t in all, that lie side by side from the token `start` on.

    Behind a shorter row stands its first token again: attention masks it as a key, and nobody takes it as a query.

    Args: start (`int`); lengths (`list[int]`, descending); device.
    """

    def __init__(self, start, lengths, device):
        self.shape = len(lengths), lengths[0]  # (R, W)
        columns, sizes = torch.arange(lengths[0], device=device), torch.tensor(lengths, device=device)[:, None]
        there = columns < sizes  # (R, W)
        self.mask = None if lengths[0] == lengths[-1] else there[:, None, None]  # (R, 1, 1, W)
        starts = start + sizes.cumsum(dim=0) - sizes  # (R, 1)
        self.cells = torch.where(there, starts + columns, starts)  # (R, W): among the T tokens
        self.kept = there.nonzero(as_tuple=True)  # rows and columns of the t tokens
        self.taken: dict = {}  # every layer takes the same

    def to_rows(self, tokens):
        """(n, heads, T, D) to (n, R, heads, W, D)."""
        n, heads, count, size = tokens.shape
        if ("rows", n, heads) not in self.taken:
            first = count * torch.arange(n * heads, device=tokens.device).view(n, 1, heads, 1)
            taken = first + self.cells[:, None]  # (n, R, heads, W): among all vectors of D
            self.taken["rows", n, heads] = taken.flatten()
        rows, width = self.shape
        taken = self.taken["rows", n, heads]
        return tokens.reshape(-1, size).index_select(0, taken).view(n, rows, heads, width, size)

    def to_tokens(self, rows):
        """(n, R, heads, W, D) to (n, t, heads, D)."""
        n, count, heads, width, size = rows.shape
        if ("tokens", n, heads) not in self.taken:
            row, column = self.kept
            first = width * torch.arange(heads, device=rows.device)
            taken = (row * heads * width + column)[:, None] + first  # (t, heads): among the vectors of D of one of n
            taken = taken + (count * heads * width) * torch.arange(n, device=rows.device)[:, None, None]
            self.taken["tokens", n, heads] = taken.flatten()  # (n * t * heads,)
        taken = self.taken["tokens", n, heads]
        return rows.reshape(-1, size).index_select(0, taken).view(n, -1, heads, size)


def cut_by_length(lengths, most):
    """Cut rows into groups, each as wide as its first row, where it saves most of attention's squares.

    Args: lengths (`list[int]`, descending); most (`int`): groups. Returns: `list[int]`, bounds from 0 to the last.
    """
    bounds = [0, len(lengths)]
    while len(bounds) <= most:
        saved, cut = max(
            ((end - row) * (lengths[first] ** 2 - lengths[row] ** 2), row)
            for first, end in pairwise(bounds)
            for row in range(first, end)
        )
        if saved < 10_000:  # cells, as many as the calls for one more group take time for
            break
        bounds = sorted([*bounds, cut])
    return bounds


# ---- Attention over rows --------------------------------------------------------------------------------------------

FLASH_ATTENTION = ("flash_attention_2", "flash_attention_3")
# Stock attention -> the name under which `transformers` finds it for a network that may be told of rows.
IN_ROWS = {"eager": "electra_rtd_eager", "sdpa": "electra_rtd_sdpa"}


def attends_in_rows(network):
    """Whether a network's attention can be told of rows: its release hands keyword arguments on, and we know it."""
    known = {*IN_ROWS, *IN_ROWS.values(), *FLASH_ATTENTION}
    return network._supports_attention_backend and network.config._attn_implementation in known


def tell_of_rows(config):
    """Name the attention that takes rows; for good, since gradient checkpointing asks again in the backward pass."""
    config._attn_implementation = IN_ROWS.get(config._attn_implementation, config._attn_implementation)


def eager_attention(module, query, key, value, attention_mask, **kwargs):
    """Stock eager attention; it adds its mask."""
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill(
            ~attention_mask, torch.finfo(query.dtype).min
        )
    return modeling_electra.eager_attention_forward(module, query, key, value, attention_mask, **kwargs)


def sdpa_attention(module, query, key, value, attention_mask, **kwargs):
    """Stock scaled dot product attention."""
    return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **kwargs)


def in_rows(stock, attention):
    """An attention function of `transformers` that, told of rows, attends within each.

    Args: stock (`str`): name of the attention; attention: its function.
    Returns: one with the same arguments, and `rows` ([`Rows`], *optional*).
    """

    def attend(module, query, key, value, attention_mask, rows=None, **kwargs):
        if rows is None:  # a padded batch
            return attention(module, query, key, value, attention_mask, **kwargs)
        # The rows bring the code along: another release of this file may have taken the name in the meantime.
        return rows.attend(stock, attention, module, query, key, value, **kwargs), None

    return attend


def register_attention():
    """Make both attentions known by their names, each with the mask of the stock one."""
    for stock, attention in (("eager", eager_attention), ("sdpa", sdpa_attention)):
        AttentionInterface.register(IN_ROWS[stock], in_rows(stock, attention))
        AttentionMaskInterface.register(IN_ROWS[stock], ALL_MASK_ATTENTION_FUNCTIONS[stock])


register_attention()


# ---- Dropout on a CPU -----------------------------------------------------------------------------------------------
# A CPU takes longer to draw a random number than to use it. So numbers are drawn for the dropped elements alone: the
# gaps between them are geometric. The distribution is that of stock dropout, each element by itself.


def draws_gaps(p, values):
    """Whether the gaps are drawn: on a CPU, where it pays, and not while a graph is recorded.

    Args: p (`float`): share that is dropped; values (float tensor). Returns: `bool`.
    """
    return 0 < p < 0.5 and values.device.type == "cpu" and not is_recorded()


def dropped_elements(count, p):
    """Choose each of `count` elements with probability p, independently.

    Args: count (`int`); p (`float` in (0, 1)). Returns: int64, (about p * count,), ascending.
    """
    likely = int(count * p + 6 * (count * p) ** 0.5) + 10  # six standard deviations above the mean
    while True:
        kept_before = (
            torch.rand(likely, dtype=torch.float32).neg_().log1p_().div_(math.log1p(-p)).long()
        )  # each gap, geometric
        dropped = kept_before.add_(1).cumsum(dim=0).sub_(1)
        if dropped[-1] >= count:
            return dropped[: int(torch.searchsorted(dropped, count))]
        likely *= 2


def dropped_in_parts(counts, p):
    """[`dropped_elements`] of several parts, drawn together.

    Args: counts (`list[int]`): elements of each part; p (`float` in (0, 1)).
    Returns: `list` of int64, which count from the beginning of their part.
    """
    bounds = [0, *accumulate(counts)]
    dropped = dropped_elements(bounds[-1], p)
    cuts = torch.searchsorted(dropped, torch.tensor(bounds)).tolist()
    return [dropped[first:end] - start for (first, end), start in zip(pairwise(cuts), bounds, strict=False)]


class GeometricDropout(nn.Dropout):
    """`nn.Dropout`, which on a CPU draws random numbers for the dropped elements alone."""

    def forward(self, input):
        """Any shape, as stock dropout."""
        if not self.training or self.inplace or not draws_gaps(self.p, input):
            return super().forward(input)
        scaled = input.reshape(-1) * (1 / (1 - self.p))
        return scaled.index_fill_(0, dropped_elements(scaled.numel(), self.p), 0.0).view_as(input)


def in_float32(values):
    """A float tensor of any shape, in float32 where it is of lower precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def draw_dropout_faster(network):
    """Put [`GeometricDropout`] in the place of every stock dropout of a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, GeometricDropout(child.p, child.inplace))


class DropoutAttention(torch.autograd.Function):
    """Scaled dot product attention within rows, with dropout, for a CPU: the stock kernels there keep all squares.

    Here the squares of scores exist for a few rows at a time, and again in the backward pass, so that they stay in the
    processor's cache. Computed in float32, as stock attention with dropout is on a CPU.
    """

    SQUARES = 2**20  # scores at a time: 4 MiB

    @classmethod
    def few_rows(cls, group, heads):
        """Slices of a group's rows, as many at a time as the squares may fill."""
        count, width = group.shape
        step = max(1, cls.SQUARES // (heads * width**2))
        return [slice(first, min(first + step, count)) for first in range(0, count, step)]

    @classmethod
    def draw(cls, rows, heads, dropout):
        """What is dropped of the squares of each few rows, in the order in which they are computed."""
        squares = [
            (few.stop - few.start) * heads * group.shape[1] ** 2
            for group in rows.groups
            for few in cls.few_rows(group, heads)
        ]
        return dropped_in_parts(squares, dropout)

    @staticmethod
    def probabilities(query, key, mask):
        """softmax(query key^T): (R, heads, W, D) twice to (R, heads, W, W)."""
        scores = query @ key.transpose(-1, -2)  # (R, heads, W, W)
        return torch.softmax(scores if mask is None else scores.masked_fill_(~mask, -torch.inf), dim=-1)

    @staticmethod
    def forward(ctx, query, key, value, rows, dropout, scaling):
        """query, key, value (float, (heads, T, D)); rows ([`Rows`]). Returns: (T, heads, D)."""
        ctx.rows, ctx.dropout, ctx.scaling = rows, dropout, scaling
        drawn = DropoutAttention.draw(rows, query.shape[0], dropout)
        outputs, dropped = [], iter(drawn)
        with torch.autocast("cpu", enabled=False):
            for group, (q, k, v) in rows.of(in_float32(query) * scaling, in_float32(key), in_float32(value)):
                output = torch.empty_like(q)  # (R, heads, W, D)
                for few in DropoutAttention.few_rows(group, heads=q.shape[1]):
                    mask = None if group.mask is None else group.mask[few]
                    probabilities = DropoutAttention.probabilities(q[few], k[few], mask)
                    probabilities.view(-1).index_fill_(0, next(dropped), 0.0)
                    torch.matmul(probabilities, v[few], out=output[few])
                outputs.append(output[None])
            output = rows.join(outputs)[0].div_(1 - dropout).to(query.dtype)  # (T, heads, D)
        ctx.save_for_backward(query, key, value, output, *drawn)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        """The gradients of query, key and value, (heads, T, D) each."""
        query, key, value, output, *drawn = ctx.saved_tensors
        drawn, grads = iter(drawn), []
        tokens = query, key, value, grad.transpose(0, 1), output.transpose(0, 1)  # (heads, T, D) each
        for group, (q, k, v, upstream, output) in ctx.rows.of(*map(in_float32, tokens)):  # (R, heads, W, D) each
            if group.mask is not None:
                upstream.masked_fill_(~group.mask.transpose(-1, -2), 0.0)  # nobody took what stands behind a row
            q.mul_(ctx.scaling)
            # What a softmax subtracts from a row of gradients: the probabilities times those, or output times its own.
            inner = (upstream * output).sum(dim=-1, keepdim=True)  # (R, heads, W, 1)
            upstream.div_(1 - ctx.dropout)
            of_group = torch.empty(3, *q.shape, dtype=q.dtype)  # of q, k and v
            for few in DropoutAttention.few_rows(group, heads=q.shape[1]):
                mask = None if group.mask is None else group.mask[few]
                probabilities = DropoutAttention.probabilities(q[few], k[few], mask)
                dropped = next(drawn)
                of_probabilities = upstream[few] @ v[few].transpose(-1, -2)  # (R, heads, W, W)
                of_probabilities.view(-1).index_fill_(0, dropped, 0.0)
                of_scores = of_probabilities.sub_(inner[few]).mul_(probabilities)
                torch.matmul(of_scores, k[few], out=of_group[0, few])
                torch.matmul(of_scores.transpose(-1, -2), q[few], out=of_group[1, few])
                probabilities.view(-1).index_fill_(0, dropped, 0.0)
                torch.matmul(probabilities.transpose(-1, -2), upstream[few], out=of_group[2, few])
            of_group[0].mul_(ctx.scaling)
            grads.append(of_group)
        return *ctx.rows.join(grads).to(query.dtype).transpose(1, 2), None, None, None


def warn_if_attention_cannot_drop(networks):
    for config in (network.config for network in networks):
        share = config.attention_probs_dropout_prob
        if config._attn_implementation == "flash_attention_3" and share > 0:
            logger.warning_once(
                f"flash_attention_3 has no dropout: attention_probs_dropout_prob={share} has no effect. Set it to 0, "
                "or take another attention: `model.set_attn_implementation('sdpa')`."
            )


def known_types(token_type_ids, config):
    # The networks of a pair may know different numbers of segments: one that a network does not know is its last.
    return None if token_type_ids is None else token_type_ids.clamp(max=config.type_vocab_size - 1)


def is_recorded():
    """Whether a graph is being recorded, by `torch.compile`, `torch.export` or `torch.jit.trace`."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()
