"""Ours as `electra-rtd adapt` trains it on a GPU: attention by the boundaries of sequences, without rectangles."""

from electra_rtd.train_tools.unpadded_attention import use_unpadded_attention

from . import ours


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    contender = ours.build(setup)
    use_unpadded_attention(contender.model)
    return contender
