"""How much memory a step of training or of evaluation takes, by formula; docs/memory.md has what was measured."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch

from ..modeling_electra_rtd import ElectraRTDForPreTraining
from ..objective_electra_rtd import LOGITS_AT_ONCE, LOGITS_AT_ONCE_ELSEWHERE


FLOAT32 = 4  # bytes
ADAMW = 2 * FLOAT32  # its two averages, of each number of a weight that is trained
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "workspace")
LOGITS = 4  # float32 tensors over the vocabulary at once: logits, their softmax twice (loss, sampling), its sums


@dataclass(frozen=True)
class LayerBytes:
    """What a layer keeps for its backward pass, and what it works with.

    Args:
        kept (`float`): bytes a token and hidden number.
        squares (`float`): bytes a pair of tokens and head, kept.
        weights (`float`): bytes a number of its weights: copies in half precision.
        forward, backward (`float`): bytes a token and hidden number at once, beside what is kept.
    """

    kept: float
    squares: float
    weights: float
    forward: float
    backward: float


# What a layer keeps, in hidden sizes a token: what goes into queries, keys and values (1), these (3), what attention
# gives (1), into the first LayerNorm (1), out of it (1), before and after the activation function (4 + 4), into the
# second LayerNorm (1), and of two dropouts where they dropped. On a CPU the last are numbers of the same type, and
# attention with dropout keeps three squares in float32 (probabilities, where they dropped, what is left). On CUDA they
# are bytes, and no square is kept; half precision keeps float32 around the LayerNorms. Counted on a CPU by what
# autograd saves; for CUDA from the same list, and not measured.
LAYERS = {
    ("cpu", "float32"): LayerBytes(kept=4 * 18, squares=12, weights=0, forward=4 * 12, backward=4 * 12),
    ("cpu", "half"): LayerBytes(kept=42, squares=12, weights=2, forward=2 * 12, backward=2 * 12),
    ("cuda", "float32"): LayerBytes(kept=4 * 16 + 2, squares=0, weights=0, forward=4 * 12, backward=4 * 12),
    ("cuda", "half"): LayerBytes(kept=38, squares=0, weights=2, forward=2 * 12, backward=2 * 12),
}


def estimate_memory(
    config,
    rows,
    length,
    *,
    lengths=None,
    training=True,
    device="cpu",
    dtype=None,
    accumulates=False,
    checkpointing=False,
):
    """Bytes that a step takes at most, of one device and process.

        estimate_memory(model.config, rows=32, length=128)["peak"] / 2**30  # GiB

    The networks run without padding, with stock `sdpa` attention and AdamW in float32 (`adamw_torch_fused`, which
    works in place). What Python and the libraries hold, and the text, come on top.

    On a CPU under Linux the C library keeps most of what is freed, in case it is asked for again: there a process
    takes `resident`. With `MALLOC_MMAP_THRESHOLD_=131072` in its environment it gives that back, and takes `peak`.

    Args:
        config ([`ElectraRTDConfig`]); rows, length (`int`): of a batch on this device.
        lengths (`list[int]`, *optional*): tokens of each row, where some have padding.
        training (`bool`): or evaluation.
        device (`str`): `"cpu"` or `"cuda"`.
        dtype (`torch.dtype`, *optional*): of mixed precision.
        accumulates (`bool`): gradients of batches before are there (`gradient_accumulation_steps` above 1).
        checkpointing (`bool`): `gradient_checkpointing`.

    Returns:
        `dict[str, int]`: bytes of `weights`; `gradients`, `optimizer`, `activations` (kept for the backward pass), all
        0 in evaluation; `logits` (over the vocabulary, at once); `workspace` (of a layer, or a table); `peak`, the
        most of them at one time: activations go while gradients come; and `resident`, their sum, with the gradients
        once more where these accumulate: they stand where activations were, which need other places then.

    Raises:
        ValueError: a number that is not positive, or another device.
    """
    if min(rows, length) < 1 or device not in ("cpu", "cuda"):
        raise ValueError(f"`rows` is {rows}, `length` {length}, `device` {device!r}: 1 or more, and cpu or cuda.")
    lengths = [length] * rows if lengths is None else lengths
    tokens, squares = sum(lengths), sum(one**2 for one in lengths)  # pairs of tokens of one row
    numbers = count_numbers(config)
    networks = (config.generator_config, config.discriminator_config)
    kind = LAYERS[device, "float32" if dtype is None else "half"]
    kept = [_kept(network, tokens, squares, kind, checkpointing) for network in networks]
    wide = max(network.hidden_size for network in networks)
    logits, kept_logits = _logits(config, lengths, device)
    if not training:
        workspace = int(kind.forward * tokens * wide)
        weights = FLOAT32 * numbers
        return _named(weights=weights, logits=logits, workspace=workspace, peak=weights + max(logits, workspace))
    workspace = int(kind.backward * tokens * wide)
    if checkpointing:  # a layer's own, computed again
        workspace += max(_of_layer(network, tokens, squares, kind) for network in networks)
    activations, gradients = sum(kept) + kept_logits, FLOAT32 * numbers
    table = FLOAT32 * config.vocab_size * networks[1].embedding_size  # a gradient that is added to another
    # Forward in the generator; the end of forward; the generator's head backward; the end of backward.
    moments = [kept[0] + logits, activations + workspace]
    moments = [moment + gradients for moment in moments] if accumulates else [*moments, gradients + table]
    held = (FLOAT32 + ADAMW) * numbers
    return _named(
        weights=FLOAT32 * numbers,
        gradients=gradients,
        optimizer=ADAMW * numbers,
        activations=activations,
        logits=logits,
        workspace=max(workspace, table),
        again=gradients if accumulates else 0,
        peak=held + max(moments),
    )


def count_numbers(config):
    """Numbers in a pair's weights, shared ones once. Args: config ([`ElectraRTDConfig`]). Returns: `int`."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ElectraRTDForPreTraining(config).parameters())


def _named(again=0, **sizes):
    parts = {name: int(sizes.get(name, 0)) for name in PARTS}
    return {**parts, "peak": int(sizes["peak"]), "resident": sum(parts.values()) + int(again)}


def _of_layer(network, tokens, squares, kind):
    """What one layer keeps. Args: network (`ElectraConfig`)."""
    width, dropout = network.hidden_size, network.attention_probs_dropout_prob > 0
    attention = kind.squares * network.num_attention_heads * squares if dropout else 0
    return kind.kept * tokens * width + attention


def _kept(network, tokens, squares, kind, checkpointing):
    """What a network keeps for its backward pass: its layers, and embeddings and head."""
    width, layers = network.hidden_size, network.num_hidden_layers
    weights = kind.weights * layers * (4 * width**2 + 2 * width * network.intermediate_size)
    ends = tokens * (3 * FLOAT32 * network.embedding_size + 2 * FLOAT32 * width)
    if checkpointing:  # what goes into each
        return layers * FLOAT32 * tokens * width + ends
    return layers * _of_layer(network, tokens, squares, kind) + weights + ends


def _logits(config, lengths, device):
    """Bytes over the vocabulary: at once, and of those what is kept for the backward pass."""
    at_once = LOGITS_AT_ONCE.get(device, LOGITS_AT_ONCE_ELSEWHERE) // config.vocab_size
    share = Fraction(str(config.mask_prob)).limit_denominator(10**9)
    masked = sum(math.ceil(share * max(length - 2, 0)) for length in lengths)  # all but [CLS] and [SEP] can be masked
    of_one = FLOAT32 * config.vocab_size
    if masked > at_once:  # in parts, computed again for the backward pass
        return LOGITS * max(1, at_once) * of_one, 0
    return LOGITS * masked * of_one, masked * of_one
