"""Where a run starts: two networks, a checkpoint, or random weights; and its tokenizer."""

import logging
import re

import torch
from torch import nn

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools.loading import check_is_pair, load_common_tokenizer, load_pair, load_tokenizer
from ..hub_tools.sharing import change_sharing
from ..hub_tools.vocabulary import continuation_tokens
from .from_scratch import TextsOf, build_pair, train_tokenizer
from .presets import PRESETS
from .schedule import end_of
from .stock_networks import join_networks


logger = logging.getLogger(__name__)

SAMPLE_ROWS = 200  # of a text, that are looked at for Hangul
HANGUL = re.compile("[가-힣]")
OF_THE_MODEL = (  # fields of `AdaptArguments` that the pair's configuration has too
    "mask_prob",
    "disc_weight",
    "sampling_temperature",
    "exclude_original",
    "mask_whole_words",
    "embedding_sharing",
)


def load_start(arguments, train_text, last_checkpoint):
    """The model to start from and its tokenizer; a resumed run takes the tokenizer that it saved.

    Args:
        arguments ([`AdaptArguments`] or [`PretrainArguments`])
        train_text (`datasets.Dataset`): with the column `text`: a new vocabulary is trained on it.
        last_checkpoint (`str` or `None`): of the run that is resumed.

    Returns:
        [`ElectraRTDForPreTraining`] and a `PreTrainedTokenizerFast`

    Raises:
        ValueError: they do not fit together, or a part is missing.
    """
    given = {name: end_of(getattr(arguments, name)) for name in OF_THE_MODEL}  # of a schedule: evaluations are there
    overrides = {name: value for name, value in given.items() if value is not None}
    named = last_checkpoint or arguments.tokenizer
    tokenizer = load_tokenizer(named) if named else None
    if arguments.from_random_weights:
        tokenizer = tokenizer or _new_tokenizer(arguments, train_text)
        return build_pair(arguments.preset, tokenizer, **_with_words(overrides, tokenizer)), tokenizer
    if arguments.checkpoint:
        tokenizer = tokenizer or load_tokenizer(arguments.checkpoint)
        return _load_checkpoint(arguments.checkpoint, tokenizer, _with_words(overrides, tokenizer)), tokenizer
    tokenizer = tokenizer or load_common_tokenizer(*filter(None, (arguments.discriminator, arguments.generator)))
    overrides = _with_words(overrides, tokenizer)
    return join_networks(arguments, tokenizer, overrides, is_new=last_checkpoint is None), tokenizer


def _new_tokenizer(arguments, train_text):
    """A vocabulary of the text; says where the preset's way of reading takes it apart."""
    lower = arguments.do_lower_case
    strips = lower and PRESETS[arguments.preset].value("strip_accents")
    logger.info(
        f"Training a WordPiece vocabulary of up to {arguments.vocab_size} entries on the text, "
        f"{'in lower case' if lower else 'cased'}{', without marks' if strips else ''}."
    )
    sample = "".join(train_text.select(range(min(len(train_text), SAMPLE_ROWS)))["text"][:])
    if strips and len(HANGUL.findall(sample)) > len(sample) / 10:
        logger.warning(
            f"The text is Korean, and {arguments.preset} strips marks, which takes every syllable apart (한 becomes "
            "three characters): give `do_lower_case=False`, or `preset=koelectra-small-v3`."
        )
    texts = TextsOf(train_text)
    tokenizer = train_tokenizer(texts, arguments.vocab_size, do_lower_case=lower, strip_accents=strips)
    tokenizer.model_max_length = PRESETS[arguments.preset].value("max_position_embeddings")
    if len(tokenizer) < arguments.vocab_size:
        logger.info(f"The vocabulary has {len(tokenizer)} entries: the text has no more pieces that occur twice.")
    return tokenizer


def _with_words(overrides, tokenizer):
    """Fields of a configuration, with what it has to know of the tokenizer's words."""
    if not overrides.get("mask_whole_words"):
        return overrides
    return {**overrides, "continuation_tokens": continuation_tokens(tokenizer)}


def _load_checkpoint(checkpoint, tokenizer, overrides):
    check_is_pair(checkpoint)
    config = ElectraRTDConfig.from_pretrained(checkpoint)
    sharing = overrides.get("embedding_sharing", config.embedding_sharing)
    overrides = {**overrides, "embedding_sharing": config.embedding_sharing}
    config = ElectraRTDConfig.from_pretrained(checkpoint, **overrides)
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    if len(tokenizer) > config.vocab_size or any(getattr(config, name) != value for name, value in ids.items()):
        raise ValueError(
            f"The tokenizer does not fit {checkpoint}: it has {len(tokenizer)} tokens and {ids}, the checkpoint "
            f"{config.vocab_size} and mask_token_id={config.mask_token_id}, pad_token_id={config.pad_token_id}. "
            "Leave `tokenizer` out, or name the one that the checkpoint was trained with."
        )
    # Weights in half precision would be trained in half precision: `bf16` computes in it, and keeps them in float32.
    model = load_pair(checkpoint, config=config, dtype=torch.float32)
    # As it was saved, and changed then: a file of tied weights has no tables of the discriminator, one of "gdes" has
    # deltas, and `from_pretrained` does not tie two tables that differ. What users keep is the discriminator.
    return change_sharing(model, sharing, keep_discriminators=True)


def check_generator_is_apart(model):
    """Refuse to freeze a generator whose weights are the discriminator's too.

    Args: model ([`ElectraRTDForPreTraining`]). Raises: ValueError: the two networks share weights.
    """
    if model.config.embedding_sharing == "tied":
        raise ValueError(
            f"`freeze=generator`: embedding_sharing is {model.config.embedding_sharing!r}, so the discriminator's "
            "embeddings would be frozen too. Give `embedding_sharing=gdes` or `embedding_sharing=none`."
        )


def freeze_generator(model):
    """Train the discriminator alone; the generator samples without dropout, as it learnt to.

    Args:
        model ([`ElectraRTDForPreTraining`])

    Raises:
        ValueError: the two networks share weights.
    """
    check_generator_is_apart(model)
    model.generator.requires_grad_(False)
    for module in model.generator.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # of this run alone: the configuration says what it said
