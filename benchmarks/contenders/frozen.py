"""Ours as `adapt --freeze generator` trains it: the generator samples, and the discriminator alone learns."""

from electra_rtd.train_tools.start import freeze_generator

from . import ours


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    contender = ours.build(setup)
    freeze_generator(contender.model)
    return contender
