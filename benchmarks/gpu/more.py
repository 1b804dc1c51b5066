"""Beside the step benchmark: what each piece of ours is worth on this card. Lanes of one model, which is switched."""

from statistics import fmean
from unittest import mock

import torch

from electra_rtd import objective_electra_rtd, unpadding_electra_rtd


HEAD_BOUNDS = (2**23, 2**26, 2**28)
FILL_TO = 1_024  # tokens: compiled layers see few shapes


def each_way(bench, case):
    """Ours by each way of attention within sequences, and as it chooses by itself.

    Args: bench ([`Bench`]); case ([`Case`]). Returns: `dict`, of [`Bench.measure`]; ways that do not work here failed.
    """
    model = bench.training(case.shape, "ours").model
    reasons = {way: why_not(model, way, bench.device) for way in unpadding_electra_rtd.WAYS}
    names = {"as chosen": None, **{way: way for way, reason in reasons.items() if reason is None}}

    def choose(way):
        def before():
            model.unpadded_attention = way

        return before

    def lanes(case):
        batches = bench.draw(case)
        return {name: bench.lane(case, "ours", choose(way), batches=batches) for name, way in names.items()}

    try:
        found = bench.measure(case, lanes)
    finally:
        model.unpadded_attention = None
    return {**found, "failed": {**{way: reason for way, reason in reasons.items() if reason}, **found["failed"]}}


def why_not(model, way, device):
    """Args: model; way (`str`); device. Returns: `str`, why it does not work in bfloat16 with dropout, or `None`."""
    for network in (model.generator, model.discriminator):
        config = network.config
        heads, dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        size = config.hidden_size // heads
        reason = unpadding_electra_rtd.why_not(way, device, torch.bfloat16, heads, size, dropout)
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
            f"2^{logits.bit_length() - 1} logits": bench.lane(case, "ours", bound(logits), batches=batches)
            for logits in HEAD_BOUNDS
        }

    with mock.patch.object(objective_electra_rtd, "LOGITS_AT_ONCE", objective_electra_rtd.LOGITS_AT_ONCE):
        return bench.measure(case, lanes)


def rows_of(tokens, bench):
    """Args: tokens (`int`): of a step; bench ([`Bench`]). Returns: `int`, rows of ragged batches with so many."""
    return max(1, round(tokens / fmean(map(len, bench.tokens.rows))))


def compiled_layers(bench, case):
    """Ours with compiled layers on batches filled up to multiples of [`FILL_TO`] tokens, beside ours as it is.

    Args: bench ([`Bench`]); case ([`Case`]). Returns: `dict`, of [`Bench.measure`].
    """
    from electra_rtd.train_tools.compiled_layers import compile_layers  # here: where it does not import, the rest runs

    bench.forget(case.shape, "ours", "compiled")
    training = bench.training(case.shape, "ours", again="compiled")
    training.model.fill_tokens_to = FILL_TO
    compile_layers(training.model)

    def lanes(case):
        batches = bench.draw(case)
        return {
            "ours": bench.lane(case, "ours", batches=batches),
            "compiled layers": bench.lane(case, "ours", training=training, batches=batches),
        }

    try:
        return bench.measure(case, lanes)
    finally:
        bench.forget(case.shape, "ours", "compiled")
