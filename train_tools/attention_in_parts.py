"""Attention with dropout for long rows on a CPU, a few rows at a time: less memory and time.

Stock attention with dropout leaves the fused kernel on a CPU, and keeps every square of scores for the backward pass.
Here the squares of a few rows exist at a time, in the processor's cache, and again in the backward pass. The
distribution of dropout is the stock one: each element by itself, with the probability of the configuration.

No checkpoint carries this code: `use_attention_in_parts(model)` names it for a process. Figures: docs/performance.md
"""

import math

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..unpadding_electra_rtd import UNPADDED_ATTENTION


NAME = "electra_rtd_in_parts"
SCORES_AT_ONCE = 2**20  # 4 MiB


def use_attention_in_parts(model):
    """Let both networks of a pair attend in parts where dropout asks for it, on a CPU.

    Args:
        model ([`ElectraRTDForPreTraining`])

    Raises:
        ValueError: the installed `transformers` has no attention to plug in for ELECTRA (before 5.0).
    """
    if not model._supports_attention_backend:
        raise ValueError("Attention in parts needs transformers 5.0 or newer: before, ELECTRA has one attention.")
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    UNPADDED_ATTENTION[NAME] = NAME  # it knows boundaries: see `attend`
    for network in (model.generator, model.discriminator):
        network.set_attn_implementation(NAME)


def attend(module, query, key, value, attention_mask, unpadded=None, **kwargs):
    """An attention function of `transformers`; `unpadded` ([`UnpaddedBatch`], *optional*)."""
    if unpadded is not None:
        return unpadded.attend(rows_in_parts, module, query, key, value, **kwargs), None
    return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **kwargs)


def rows_in_parts(module, query, key, value, mask, dropout=0.0, scaling=None):
    """Attention within rows: query, key, value (float, (R, heads, W, D)) to (R, W, heads, D), and no weights.

    Args: mask (float, (R, 1, 1, W), *optional*): added to the scores; dropout (`float`); scaling (`float`).
    """
    if not 0 < dropout < 0.5 or query.device.type != "cpu":
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, dropout=dropout, scaling=scaling)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return AttentionInParts.apply(query, key, value, mask, dropout, scaling).transpose(1, 2), None


def dropped_elements(count, p):
    """Choose each of `count` elements with probability p, independently.

    A CPU takes longer to draw a random number than to use it. So numbers are drawn for the dropped elements alone: the
    gaps between them are geometric.

    Args: count (`int`); p (`float` in (0, 1)). Returns: int64, (about p * count,), ascending.
    """
    likely = int(count * p + 6 * (count * p) ** 0.5) + 10  # six standard deviations above the mean
    while True:
        gaps = torch.rand(likely, dtype=torch.float32).neg_().log1p_().div_(math.log1p(-p)).long()
        dropped = gaps.add_(1).cumsum(dim=0).sub_(1)
        if dropped[-1] >= count:
            return dropped[: int(torch.searchsorted(dropped, count))]
        likely *= 2


class AttentionInParts(torch.autograd.Function):
    """softmax(query key^T + mask) with dropout, times value, in float32 as stock attention with dropout."""

    @staticmethod
    def forward(ctx, query, key, value, mask, dropout, scaling):
        """query, key, value (float, (R, heads, W, D)); mask (float, (R, 1, 1, W)) or `None`. Returns: as query."""
        ctx.dropout, ctx.scaling = dropout, scaling
        output, drawn = torch.empty(query.shape), []
        with torch.autocast("cpu", enabled=False):
            for few in few_rows(query):
                probabilities = _probabilities(query[few], key[few], mask, few, scaling)  # (r, heads, W, W)
                drawn.append(dropped_elements(probabilities.numel(), dropout))
                probabilities.view(-1).index_fill_(0, drawn[-1], 0.0)
                torch.matmul(probabilities, value[few].float(), out=output[few])
        output.div_(1 - dropout)
        ctx.save_for_backward(query, key, value, mask, output, *drawn)
        return output.to(query.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        """The gradients of query, key and value."""
        query, key, value, mask, output, *drawn = ctx.saved_tensors
        grads = [torch.empty(query.shape) for _ in range(3)]
        with torch.autocast("cpu", enabled=False):
            for few, dropped in zip(few_rows(query), drawn, strict=True):
                upstream = grad[few].float()
                # What a softmax subtracts from a row of gradients: probabilities times those, or output times its own.
                inner = (upstream * output[few]).sum(dim=-1, keepdim=True)  # (r, heads, W, 1)
                upstream = upstream / (1 - ctx.dropout)
                probabilities = _probabilities(query[few], key[few], mask, few, ctx.scaling)
                of_probabilities = upstream @ value[few].float().transpose(-1, -2)  # (r, heads, W, W)
                of_probabilities.view(-1).index_fill_(0, dropped, 0.0)
                of_scores = of_probabilities.sub_(inner).mul_(probabilities).mul_(ctx.scaling)
                torch.matmul(of_scores, key[few].float(), out=grads[0][few])
                torch.matmul(of_scores.transpose(-1, -2), query[few].float(), out=grads[1][few])
                probabilities.view(-1).index_fill_(0, dropped, 0.0)
                torch.matmul(probabilities.transpose(-1, -2), upstream, out=grads[2][few])
        return *(of_one.to(query.dtype) for of_one in grads), None, None, None


def few_rows(query):
    """Slices of rows, as many at a time as the scores may fill. Args: query ((R, heads, W, D)). Returns: `list`."""
    count, heads, width, _ = query.shape
    step = max(1, SCORES_AT_ONCE // (heads * width**2))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _probabilities(query, key, mask, few, scaling):
    scores = (query.float() * scaling) @ key.float().transpose(-1, -2)  # (r, heads, W, W)
    return torch.softmax(scores if mask is None else scores + mask[few], dim=-1)
