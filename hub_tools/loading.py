"""Whatever is loaded, is loaded here: is it a pair, the pair, a tokenizer. No code of a checkpoint runs."""

from pathlib import Path

from tokenizers.normalizers import BertNormalizer
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file, logging

from .. import pairing_electra_rtd
from ..configuration_electra_rtd import ElectraRTDConfig
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from . import layout
from .vocabulary import read_entries, settings_held_by, unused_entries, word_piece


logger = logging.get_logger(__name__)

NO_FAST = (
    "A fast tokenizer is needed. Where this one splits text into words first, as BertJapaneseTokenizer does by MeCab, "
    "write the text with a space between words, and give its vocabulary alone: `tokenizer=vocab.txt`."
)


# ---- Pairs ----------------------------------------------------------------------------------------------------------


def check_is_pair(checkpoint, **hub):
    """Refuse what is not a checkpoint of this model.

    Args:
        checkpoint (`str` or path): a folder or a Hub id.
        **hub: `revision` and `token`, where they are not the default ones.

    Raises:
        ValueError: names the type that it is of.
        OSError: there is nothing of that name.
    """
    try:
        fields, _ = ElectraRTDConfig.get_config_dict(checkpoint, **hub)
    except (OSError, ValueError) as error:
        raise OSError(
            f"{checkpoint} is no folder with a checkpoint, and no Hub id that can be had: {error}"
        ) from error
    model_type = fields.get("model_type")
    if model_type != ElectraRTDConfig.model_type:
        raise ValueError(
            f"{checkpoint} is a checkpoint of type {model_type!r}, not {ElectraRTDConfig.model_type!r}: a pair is "
            "needed. Two stock checkpoints become one with `electra-rtd adapt --generator G --discriminator D`; a "
            "stock one needs no export."
        )


def load_pair(checkpoint, *, config=None, dtype=None, **hub):
    """A pair with every weight that its configuration asks for.

    Args:
        checkpoint (`str` or path): a folder or a Hub id.
        config ([`ElectraRTDConfig`], *optional*): in place of the checkpoint's own.
        dtype (`torch.dtype`, *optional*): of the weights; by default what the installed release takes.
        **hub: `revision` and `token`, where they are not the default ones.

    Returns:
        [`ElectraRTDForPreTraining`], in eval mode

    Raises:
        ValueError: it is no pair, or its weights are not those of its configuration.
        OSError: there is nothing of that name.
    """
    if config is None:
        check_is_pair(checkpoint, **hub)
        config = ElectraRTDConfig.from_pretrained(checkpoint, **hub)
    options = hub if dtype is None else {**hub, "dtype": dtype}
    model, info = ElectraRTDForPreTraining.from_pretrained(
        checkpoint, config=config, output_loading_info=True, **options
    )
    for name, keys in (
        ("lacks", info["missing_keys"]),
        ("holds, against its configuration,", info["unexpected_keys"]),
    ):
        if keys:
            raise ValueError(
                f"{checkpoint} {name} {len(keys)} weights ({min(keys)}, ...): a part of the pair would be random, or "
                "lost. Compare `num_hidden_layers` and the other sizes in its config.json with its weights."
            )
    return model


# ---- Tokenizers -----------------------------------------------------------------------------------------------------


def find_tokenizer(source, **hub):
    """The tokenizer of a checkpoint as everybody loads it, or `None` where it has none.

    Args:
        source (`str` or path): a folder or a Hub id.
        **hub: `revision` and `token`, where they are not the default ones.

    Returns:
        `PreTrainedTokenizerBase` or `None`
    """
    return pairing_electra_rtd.find_tokenizer(str(source), trust_remote_code=False, **hub)


def open_tokenizer(source, **hub):
    """The tokenizer of a Hub id, a folder, or a WordPiece vocabulary, as a run reads text with it.

    What the files of a folder say about casing and marks holds, with a warning where the vocabulary speaks against it.
    Where they say nothing, the vocabulary decides: see [`settings_held_by`].

    Args:
        source (`str` or path): a Hub id, a folder, or a `vocab.txt`, which stands for itself: what lies beside it is
            not looked at.
        **hub: `revision` and `token`, where they are not the default ones.

    Returns:
        `PreTrainedTokenizerBase`, or `None` where there is none

    Raises:
        ValueError: it needs a package that is not there, or a vocabulary is none.
    """
    path = Path(source)
    described = any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    if path.is_file():
        return word_piece(read_entries(path))
    if (path / "vocab.txt").is_file() and not described:
        return word_piece(read_entries(path / "vocab.txt"))
    try:
        tokenizer = find_tokenizer(source, **hub)
    except ImportError as error:
        raise ValueError(f"The tokenizer of {source} needs a package that is not there: {error} {NO_FAST}") from error
    is_of_berts_kind = tokenizer is not None and tokenizer.is_fast and "do_lower_case" in tokenizer.init_kwargs
    return _as_its_vocabulary(tokenizer, source, hub) if is_of_berts_kind else tokenizer


def load_tokenizer(source, **hub):
    """The tokenizer to train or to read with: [`open_tokenizer`], and fit for it.

    Args: source, **hub: as there.

    Returns:
        `PreTrainedTokenizerFast`

    Raises:
        ValueError: there is no tokenizer, a slow one, or one without mask or padding token.
    """
    tokenizer = open_tokenizer(source, **hub)
    if tokenizer is None:
        raise ValueError(f"{source} holds no tokenizer (tokenizer.json or vocab.txt). Name one with `tokenizer`.")
    return _require_fit(tokenizer, source)


def load_common_tokenizer(*sources):
    """The tokenizer beside two networks, each opened once.

    Args:
        *sources (`str` or path): where the networks lie; the first that has a tokenizer gives it.

    Returns:
        `PreTrainedTokenizerFast`

    Raises:
        ValueError: as in [`load_tokenizer`], or they have different vocabularies.
    """
    opened = {str(source): open_tokenizer(source) for source in dict.fromkeys(sources)}
    tokenizer = pairing_electra_rtd.common_tokenizer(opened)
    if tokenizer is None:
        raise ValueError(
            f"Neither {' nor '.join(opened)} holds a tokenizer (tokenizer.json or vocab.txt). Name one with "
            "`tokenizer`."
        )
    return _require_fit(tokenizer, next(source for source, one in opened.items() if one is tokenizer))


def _require_fit(tokenizer, source):
    if not tokenizer.is_fast:
        raise ValueError(f"The tokenizer of {source} is a slow one, {type(tokenizer).__name__}. {NO_FAST}")
    for name in ("mask_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise ValueError(
                f"The tokenizer of {source} has no {name.replace('_', ' ')}. Take the one that the pair was trained "
                "with: an ELECTRA tokenizer has [PAD] and [MASK]."
            )
    return tokenizer


def _as_its_vocabulary(tokenizer, source, hub):
    """A tokenizer of BERT's kind, which takes text for uncased where its files say nothing, without that guess."""
    said = {**_said_by_file(source, hub), **get_tokenizer_config(source, **hub)}
    held = settings_held_by(tokenizer.get_vocab())
    settings = {name: value if said.get(name) is None else said[name] for name, value in held.items()}
    if any(tokenizer.init_kwargs.get(name) != value for name, value in settings.items()):
        tokenizer = type(tokenizer).from_pretrained(source, **settings, **hub)
    _warn_of_unused(source, tokenizer)
    return tokenizer


def _said_by_file(source, hub):
    """What tokenizer.json says about casing and marks, under the names of `BertTokenizerFast`."""
    file = cached_file(source, "tokenizer.json", **hub, _raise_exceptions_for_missing_entries=False)
    normalizer = layout.read_json(Path(file), layout.LARGEST_JSON).get("normalizer") if file else None
    if not normalizer or normalizer.get("type") != "BertNormalizer":
        return {}
    return {
        "do_lower_case": normalizer["lowercase"],
        "strip_accents": normalizer["strip_accents"],
        "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
    }


def _warn_of_unused(source, tokenizer):
    """Say so where files ask for lower case or no marks, against the vocabulary."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if not isinstance(normalizer, BertNormalizer):
        return
    unused = unused_entries(tokenizer.get_vocab(), normalizer)
    if unused:
        alone = f", or give the vocabulary alone: `tokenizer={source}/vocab.txt`" if Path(source).is_dir() else ""
        logger.warning(
            f"The tokenizer of {source} takes capitals or marks off the text (do_lower_case={normalizer.lowercase}, "
            f"strip_accents={normalizer.strip_accents}), but {len(unused)} entries of its vocabulary hold them "
            f"({' '.join(unused[:5])}): these are never used. If the pair was not trained so, correct its "
            f"tokenizer_config.json{alone}."
        )
