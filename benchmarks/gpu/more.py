"""Beside the step benchmark: what each piece of ours is worth on this card. Lanes of one model, which is switched."""

from functools import partial
from statistics import fmean
from unittest import mock

import torch

from electra_rtd import objective_electra_rtd
from electra_rtd.train_tools import unpadded_attention
from electra_rtd.train_tools.compiled_layers import compile_layers
from electra_rtd.train_tools.unpadded_attention import ROWS, WAYS, use_unpadded_attention

from .steps import OURS


HEAD_BOUNDS = (2**23, 2**26, 2**28)


def each_way(bench, case):
    """Ours by each way of attention within sequences.

    Args: bench ([`Bench`]); case ([`Case`]). Returns: `dict`, of [`Bench.measure`]; ways that do not work here failed.
    """
    model = bench.training(case.shape, OURS).model
    reasons = {way: why_not(model, way, bench.device) for way in (*WAYS, ROWS)}

    def lanes(case):
        batches = bench.draw(case)
        switches = {way: partial(use_unpadded_attention, model, way) for way, reason in reasons.items() if not reason}
        return {way: bench.lane(case, OURS, switch, batches=batches) for way, switch in switches.items()}

    try:
        found = bench.measure(case, lanes)
    finally:
        use_unpadded_attention(model)
    return {**found, "failed": {**{way: reason for way, reason in reasons.items() if reason}, **found["failed"]}}


def why_not(model, way, device):
    """Args: model; way (`str`); device. Returns: `str`, why it does not work in bfloat16 with dropout, or `None`."""
    for network in (model.generator, model.discriminator):
        config = network.config
        heads, dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        size = config.hidden_size // heads
        reason = unpadded_attention.why_not(way, device, torch.bfloat16, heads, size, dropout)
        if reason is not None:
            return reason
    return None


def head_bounds(bench, case):
    """Ours with so many logits at a time.

    Args: bench ([`Bench`]); case ([`Case`]). Returns: `dict`, of [`Bench.measure`].
    """

    def bound(logits):
        def before():
            objective_electra_rtd.LOGITS_AT_ONCE = {bench.device.type: logits}

        return before

    def lanes(case):
        batches = bench.draw(case)
        return {
            f"2^{logits.bit_length() - 1} logits": bench.lane(case, OURS, bound(logits), batches=batches)
            for logits in HEAD_BOUNDS
        }

    with mock.patch.object(objective_electra_rtd, "LOGITS_AT_ONCE", objective_electra_rtd.LOGITS_AT_ONCE):
        return bench.measure(case, lanes)


def rows_of(tokens, bench):
    """Args: tokens (`int`): of a step; bench ([`Bench`]). Returns: `int`, rows of ragged batches with so many."""
    return max(1, round(tokens / fmean(map(len, bench.tokens.rows))))


def compiled(bench, case, **settings):
    """Ours with compiled layers beside ours as it is.

    Args: bench ([`Bench`]); case ([`Case`]); **settings: of `compile_layers`. Returns: `dict`, of [`Bench.measure`].
    """
    bench.forget(case.shape, OURS, "compiled")
    training = bench.training(case.shape, OURS, again="compiled")
    compile_layers(training.model, **settings)

    def lanes(case):
        batches = bench.draw(case)
        return {
            OURS: bench.lane(case, OURS, batches=batches),
            "compiled layers": bench.lane(case, OURS, training=training, batches=batches),
        }

    try:
        return bench.measure(case, lanes)
    finally:
        bench.forget(case.shape, OURS, "compiled")
