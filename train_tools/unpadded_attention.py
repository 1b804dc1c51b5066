"""Attention of batches without padding by the boundaries of their sequences: for accelerators.

A batch without padding has all its tokens in one row, and `cu_seqlens` says where each sequence begins. The model
files put the sequences into a padded rectangle for attention, by stock means alone. Kernels that read the boundaries
need no rectangle and no mask, and a mask would rule the fastest of them out. They are operators of torch that are not
public, so each is tried before it is taken: on short sequences, against the definition of attention, forward and
backward.

No checkpoint carries this code: `use_unpadded_attention(model)` names it for a process. Flash attention from a package
or the Hub, chosen by `attn_implementation`, gets the boundaries from the model files.

Shapes: T tokens in the batch, in all its sequences; D numbers a head.
"""

import logging
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.logging import get_logger

from ..unpadding_electra_rtd import UNPADDED_ATTENTION, UnpaddedBatch


logger = get_logger(__name__)

NAME = "electra_rtd_boundaries"
ROWS = "rows"  # padded rectangles, as the model files do it: the way that always works
TOLERANCE = 0.03  # of the largest number: bfloat16 rounds to a hundredth, a sequence that sees another is tenths off


def use_unpadded_attention(model, way=None):
    """Let both networks of a pair attend within sequences by their boundaries.

    Args:
        model ([`ElectraRTDForPreTraining`])
        way (`str`, *optional*): one of [`WAYS`] or `"rows"`; by default the first that works, see [`choose_way`].

    Raises:
        ValueError: there is no such way, or the installed `transformers` has no attention to plug in for ELECTRA
            (before 5.0). Whether a way works is found out with the first batch, where its device is known.
    """
    if not model._supports_attention_backend:
        raise ValueError("Attention by boundaries needs transformers 5.0 or newer: before, ELECTRA has one attention.")
    if way not in (None, ROWS, *WAYS):
        raise ValueError(f"`way` is {way!r}: it must be one of {', '.join([*WAYS, ROWS])}, or None for the first.")
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])  # for padded batches
    UNPADDED_ATTENTION[NAME] = NAME  # it knows boundaries: see `attend`
    for network in (model.generator, model.discriminator):
        network.set_attn_implementation(NAME)
        for layer in network.electra.encoder.layer:
            layer.attention.self.way = way


def attend(module, query, key, value, attention_mask, unpadded=None, dropout=0.0, scaling=None, **kwargs):
    """An attention function of `transformers`: query, key, value (float, (1, heads, T, D)) to (1, T, heads, D).

    Args: unpadded ([`UnpaddedBatch`], *optional*): the batch, where it is without padding.
    """
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]
    if unpadded is None:
        return sdpa(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    tokens = [states.squeeze(0).transpose(0, 1) for states in (query, key, value)]  # (T, heads, D)
    way = choose_way(tokens[0], dropout, getattr(module, "way", None))  # None: built from a model's configuration
    if way == ROWS:
        return unpadded.attend(sdpa, module, query, key, value, dropout=dropout, scaling=scaling), None
    return WAYS[way](unpadded, *tokens, dropout, scaling)[None], None


# ---- The ways -------------------------------------------------------------------------------------------------------
# Args: batch ([`UnpaddedBatch`]); query, key, value (float, (T, heads, D)); dropout (`float`); scaling (`float`,
# *optional*). Returns: (T, heads, D).


def flash_operator(batch, query, key, value, dropout, scaling):
    """The operator that `scaled_dot_product_attention` calls for nested tensors: CUDA, float16 and bfloat16."""
    starts, longest = (batch.cu_seqlens,) * 2, (batch.max_seqlen,) * 2
    operator = torch.ops.aten._flash_attention_forward
    return operator(query, key, value, *starts, *longest, dropout, False, False, scale=scaling)[0]


def efficient_operator(batch, query, key, value, dropout, scaling):
    """Likewise the memory-efficient one: float32 too."""
    starts, longest = (batch.cu_seqlens,) * 2, (batch.max_seqlen,) * 2
    operator = torch.ops.aten._efficient_attention_forward
    states = [one[None] for one in (query, key, value)]  # (1, T, heads, D) each
    return operator(*states, None, *starts, *longest, dropout, 0, True, scale=scaling)[0].squeeze(0)


def nested_tensors(batch, query, key, value, dropout, scaling):
    """What of torch is public: slower to set up, the same operators below."""
    starts, nested = batch.cu_seqlens.long(), torch.nested.nested_tensor_from_jagged
    states = [nested(one, starts, max_seqlen=batch.max_seqlen).transpose(1, 2) for one in (query, key, value)]
    output = nn.functional.scaled_dot_product_attention(*states, dropout_p=dropout, scale=scaling)
    return output.transpose(1, 2).values()


# In the order in which they are tried; after them come rows.
WAYS: dict[str, Callable] = {"flash": flash_operator, "efficient": efficient_operator, "nested": nested_tensors}


# ---- Which way ------------------------------------------------------------------------------------------------------


def choose_way(query, dropout=0.0, asked_for=None):
    """The way that is asked for, where it works with such numbers; else the first that does. A CPU gets rows: nothing
    there reads boundaries faster.

    A model meets several kinds of numbers: trained in bfloat16, it is looked at in float32 in between.

    Args:
        query (float, (T, heads, D)); dropout (`float`)
        asked_for (`str`, *optional*): a name in [`WAYS`], or `"rows"`.

    Returns:
        `str`: a name in [`WAYS`], or `"rows"`.
    """
    kind = (query.device, query.dtype, *query.shape[1:], dropout)
    if asked_for is not None:
        reason = why_not(asked_for, *kind)
        if reason is None:
            return asked_for
        logger.warning_once(
            f"Attention by {asked_for!r} was asked for, and does not work with {query.dtype} on {query.device} "
            f"({reason}): another way is taken there."
        )
    names = () if query.is_cpu else WAYS
    return next((name for name in names if why_not(name, *kind) is None), ROWS)


@lru_cache
def why_not(way, device, dtype, heads, size, dropout=0.0):
    """Why a way does not work, or `None`: it is tried once, on four short sequences, against the definition.

    Args:
        way (`str`); device (`torch.device`); dtype (`torch.dtype`); heads (`int`); size (`int`): D
        dropout (`float`): with it the results are random: only whether they are numbers is looked at.

    Returns:
        `str` or `None`
    """
    if way == ROWS:
        return None
    lengths = [64, 33, 5, 0]
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        saved_tensors_hooks(_itself, _itself),  # a checkpoint around it counts nothing
        _without_remarks(),
    ):
        attended = (torch.arange(64) < torch.tensor(lengths)[:, None]).to(device)
        batch = UnpaddedBatch(attended, attended.long(), sum(lengths))
        numbers = torch.arange(3 * sum(lengths) * heads * size, device=device).sin()
        states = numbers.view(3, -1, heads, size).to(dtype).requires_grad_()  # query, key and value
        expected = torch.cat([_attention(*one) for one in states.float().split(lengths, dim=1)])  # (T, heads, D)
        try:
            found = WAYS[way](batch, *states, 0.0, None)
            pairs = [(found, expected)]
            pairs.append(tuple(torch.autograd.grad(one.float().square().sum(), states)[0] for one in pairs[0]))
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                is_finite = WAYS[way](batch, *states, dropout, None).isfinite().all().item()
        except Exception as error:  # of whatever release: nested tensors assert, private operators change
            return f"{type(error).__name__}: {str(error).split('. ')[0]}"
        wrong = torch.stack([(ours - right).abs().max() / right.abs().max() for ours, right in pairs]).max().item()
    if wrong < TOLERANCE and is_finite:  # NaN is not below anything
        return None
    return f"its results are wrong, by {wrong:.2f} of the largest" if is_finite else "with dropout it gives NaN"


def _itself(tensor):
    return tensor


@contextmanager
def _without_remarks():
    """What torch says of nested tensors, and of tracing as it loads them: nobody has taken them yet."""
    tracing = logging.getLogger("torch.fx._symbolic_trace")
    disabled, tracing.disabled = tracing.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        tracing.disabled = disabled


def _attention(query, key, value):
    """The definition, for one sequence: (T, heads, D) each."""
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)
