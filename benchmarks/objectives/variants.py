"""What is compared: one pair, begun in several ways."""

from dataclasses import dataclass, field
from typing import Any

from electra_rtd.train_tools import AdaptArguments
from electra_rtd.train_tools.start import freeze_generator, load_start


@dataclass(frozen=True)
class Variant:
    """A way to train.

    Args:
        says (`str`): what it is, for a reader.
        changes (`dict`): fields of [`AdaptArguments`].
        against (`str`): the variant that it differs from in one thing.
    """

    says: str
    changes: dict[str, Any] = field(default_factory=dict)
    against: str = "tied"


PLAIN = "tied"  # as the start was pretrained, and as ELECTRA is
# In the order in which they are trained, for one seed after the other.
VARIANTS = {
    "tied": Variant("the paper's: one embedding block, which both losses move", {"embedding_sharing": "tied"}),
    "none": Variant("each network its own copy of it", {"embedding_sharing": "none"}),
    "gdes": Variant("the discriminator adds a delta to the generator's tables", {"embedding_sharing": "gdes"}),
    "frozen": Variant(
        "`none`, and the generator does not learn", {"embedding_sharing": "none", "freeze": "generator"}, "none"
    ),
    "exclude_original": Variant(
        "`tied`, and a sample never equals the original", {"embedding_sharing": "tied", "exclude_original": True}
    ),
    "mask_whole_words": Variant(
        "`tied`, and all pieces of a word are masked", {"embedding_sharing": "tied", "mask_whole_words": True}
    ),
}


def load_variant(name, pair):
    """The model of a variant, with the weights that every variant begins with.

    Args: name (`str`): in `VARIANTS`; pair (`Path`): the start. Returns: [`ElectraRTDForPreTraining`], in eval mode.
    """
    arguments = AdaptArguments(checkpoint=str(pair), train_file=["not read"], **VARIANTS[name].changes)
    model, _ = load_start(arguments, None, None)
    if arguments.freeze:
        freeze_generator(model)
    return model
