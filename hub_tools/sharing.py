"""Another embedding sharing for a pair that exists, and its discriminator with tables of its own."""

import copy

import torch
from transformers import ElectraForPreTraining
from transformers.utils import logging

from ..modeling_electra_rtd import SHARED_EMBEDDINGS, ElectraRTDForPreTraining


logger = logging.get_logger(__name__)


def change_sharing(model, sharing, *, keep_discriminators=False):
    """The same pair with another `embedding_sharing`: both networks compute what they did.

    To `"none"`, each network gets tables of its own, a delta folded in. To `"gdes"`, a delta becomes the difference of
    the two tables, which is 0 where they were tied. To `"tied"`, nothing changes only where both networks have the same
    embeddings; elsewhere one of the two would be lost.

    Folding a delta in, or out, rounds: by half a unit in the last place of the type of the weights. Change the sharing
    of weights in float32.

    Args:
        model ([`ElectraRTDForPreTraining`]): stays as it is.
        sharing (`str`): `"none"`, `"tied"` or `"gdes"`.
        keep_discriminators (`bool`): with `"tied"`, where the embeddings differ, warn, and let both networks read the
            discriminator's.

    Returns:
        [`ElectraRTDForPreTraining`], in eval mode; `model` itself where it shares so already

    Raises:
        ValueError: there is no such sharing, sizes of the two networks differ, or their embeddings do.
    """
    if sharing == model.config.embedding_sharing:
        return model
    config = copy.deepcopy(model.config)
    config.embedding_sharing = sharing
    config.check_fields()
    differing = _differing(model) if sharing == "tied" else []
    if differing and not keep_discriminators:
        raise ValueError(
            f'`embedding_sharing="tied"`: the two networks have different embeddings ({", ".join(differing)}), and '
            'tied they have one. Choose "gdes" or "none", which keep both. To give up the generator\'s, whose loss '
            'then starts high: `change_sharing(model, "tied", keep_discriminators=True)`.'
        )
    if differing:
        logger.warning(
            f'The two networks have different embeddings ({", ".join(differing)}). With `embedding_sharing="tied"` the '
            "generator now reads the discriminator's, and its loss starts high; \"gdes\" and \"none\" keep both."
        )
    pair = ElectraRTDForPreTraining(config).to(model.device, model.dtype)
    pair.generator.load_state_dict(model.generator.state_dict())
    # Second: a delta is a difference from the generator's tables, and tied networks both have the discriminator's.
    pair.discriminator.load_state_dict(model.discriminator.state_dict())
    return pair.eval()


def stock_discriminator(model):
    """The discriminator of a pair as a network of its own, with nothing of the generator's in it.

    Args:
        model ([`ElectraRTDForPreTraining`])

    Returns:
        `ElectraForPreTraining`: the pair's own, or, with `"gdes"`, a copy with the deltas folded in, in eval mode
    """
    if model.config.embedding_sharing != "gdes":
        return model.discriminator
    network = ElectraForPreTraining(copy.deepcopy(model.discriminator.config)).to(model.device, model.dtype)
    network.load_state_dict(model.discriminator.state_dict())
    return network.eval()


def _differing(model):
    """Names of the embedding block whose values the two networks do not have in common."""
    blocks = [network.electra.embeddings.state_dict() for network in (model.generator, model.discriminator)]
    return [name for name in SHARED_EMBEDDINGS if not torch.equal(*(block[name] for block in blocks))]
