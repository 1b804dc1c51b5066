"""Ours as `electra-rtd adapt --attention_in_parts` trains it, for long rows on a CPU."""

from electra_rtd.train_tools.attention_in_parts import use_attention_in_parts

from . import ours


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    contender = ours.build(setup)
    use_attention_in_parts(contender.model)
    return contender
