"""A tokenizer from a Hub id, a folder or a bare vocabulary, with the casing and the marks that its entries hold."""

import logging
import tempfile
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from transformers import BertTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file

from ..pairing_electra_rtd import find_tokenizer


logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_LENGTH = 512  # tokens: the positions that stock ELECTRA has
NO_FAST = (
    "A fast tokenizer is needed. Where this one splits text into words first, as BertJapaneseTokenizer does by MeCab, "
    "write the text with a space between words, and give its vocabulary alone: `tokenizer=vocab.txt`."
)


def load_tokenizer(source):
    """A tokenizer from a Hub id, a folder, or a WordPiece vocabulary.

    What the files of a folder say about casing and marks holds, with a warning where the vocabulary speaks against it.
    Where they say nothing, the vocabulary decides: see [`settings_held_by`].

    Args:
        source (`str` or path): a Hub id, a folder, or a `vocab.txt`, which stands for itself: what lies beside it is
            not looked at.

    Returns:
        `PreTrainedTokenizerFast`

    Raises:
        ValueError: there is no tokenizer, a slow one, or one without mask or padding token.
    """
    path = Path(source)
    described = any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    if path.is_file():
        tokenizer = word_piece(_entries(path))
    elif (path / "vocab.txt").is_file() and not described:
        tokenizer = word_piece(_entries(path / "vocab.txt"))
    else:
        tokenizer = _load_described(source)
    for name in ("mask_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise ValueError(
                f"The tokenizer of {source} has no {name.replace('_', ' ')}. Take the one that the pair was trained "
                "with: an ELECTRA tokenizer has [PAD] and [MASK]."
            )
    return tokenizer


def word_piece(entries, **settings):
    """A tokenizer of BERT's kind.

    Args:
        entries (`list[str]`): the vocabulary, in the order of its ids.
        **settings: arguments of `BertTokenizerFast`; by default those of [`settings_held_by`].

    Returns:
        `BertTokenizerFast`
    """
    settings = {**settings_held_by(entries), "model_max_length": MAX_LENGTH, **settings}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
        # From a folder: the keyword for the file is not the same in all releases, and the wrong one is ignored.
        return BertTokenizerFast.from_pretrained(folder, **settings)


def settings_held_by(entries):
    """What the entries of a WordPiece vocabulary say about the text that they were made from.

    An entry that no text can become is never used. Lower case loses those with capitals. Stripping marks takes `für`,
    `が` and `में` apart, and every Hangul syllable.

    Args:
        entries (iterable of `str`)

    Returns:
        `dict`: of `BertTokenizerFast`
            do_lower_case (`bool`): there are letters with two cases, and none is a capital.
            strip_accents (`bool` or `None`): `False` where marks are held, else BERT's default: as `do_lower_case`.
            tokenize_chinese_chars (`bool`): no Chinese character stands beside another character.
    """
    entries = _ordinary(entries)
    text = "\n".join(entries)
    lost, split = _normalizer(strip_accents=True), _normalizer(handle_chinese_chars=True)
    return {
        "do_lower_case": text == text.lower() != text.upper(),
        "strip_accents": None if lost.normalize_str(text) == text else False,
        "tokenize_chinese_chars": not any(" " in split.normalize_str(entry).strip() for entry in entries),
    }


def _load_described(source):
    """The tokenizer of a Hub id, or of a folder with more than a vocabulary."""
    try:
        tokenizer = find_tokenizer(source)
    except ImportError as error:
        raise ValueError(f"The tokenizer of {source} needs a package that is not there: {error} {NO_FAST}") from error
    if tokenizer is None:
        raise ValueError(f"{source} holds no tokenizer (tokenizer.json or vocab.txt). Name one with `tokenizer`.")
    if not tokenizer.is_fast:
        raise ValueError(f"The tokenizer of {source} is a slow one, {type(tokenizer).__name__}. {NO_FAST}")
    settings = tokenizer.init_kwargs
    if "do_lower_case" in settings:  # of BERT's kind, which takes text for uncased where its files say nothing
        said = {**_said_by_file(source), **get_tokenizer_config(source)}
        held = settings_held_by(tokenizer.get_vocab())
        settings = {name: value if said.get(name) is None else said[name] for name, value in held.items()}
        if any(tokenizer.init_kwargs.get(name) != value for name, value in settings.items()):
            tokenizer = type(tokenizer).from_pretrained(source, **settings)
        _warn_of_unused(source, tokenizer)
    return tokenizer


def _said_by_file(source):
    """What tokenizer.json says about casing and marks, under the names of `BertTokenizerFast`."""
    file = cached_file(source, "tokenizer.json", _raise_exceptions_for_missing_entries=False)
    normalizer = Tokenizer.from_file(file).normalizer if file else None
    if not isinstance(normalizer, BertNormalizer):
        return {}
    return {
        "do_lower_case": normalizer.lowercase,
        "strip_accents": normalizer.strip_accents,
        "tokenize_chinese_chars": normalizer.handle_chinese_chars,
    }


def _warn_of_unused(source, tokenizer):
    """Say so where files ask for lower case or no marks, against the vocabulary."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if not isinstance(normalizer, BertNormalizer):
        return
    made = _normalizer(lowercase=normalizer.lowercase, strip_accents=normalizer.strip_accents)
    unused = {entry for entry in _ordinary(tokenizer.get_vocab()) if made.normalize_str(entry) != entry}
    if unused:
        alone = f", or give the vocabulary alone: `tokenizer={source}/vocab.txt`" if Path(source).is_dir() else ""
        logger.warning(
            f"The tokenizer of {source} takes capitals or marks off the text (do_lower_case={normalizer.lowercase}, "
            f"strip_accents={normalizer.strip_accents}), but {len(unused)} entries of its vocabulary hold them "
            f"({' '.join(sorted(unused)[:5])}): these are never used. If the pair was not trained so, correct its "
            f"tokenizer_config.json{alone}."
        )


def _entries(file):
    """The lines of a vocabulary file."""
    try:
        entries = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no vocabulary: it is not text in UTF-8 ({error}).") from error
    missing = [token for token in SPECIAL_TOKENS if token not in entries]
    if missing:
        raise ValueError(
            f"{file} is no WordPiece vocabulary: no line of it is {' or '.join(missing)}. Give a vocab.txt with one "
            "entry a line, or the folder of a tokenizer."
        )
    return entries


def _ordinary(entries):
    return [entry.removeprefix("##") for entry in entries if not (entry.startswith("[") and entry.endswith("]"))]


def _normalizer(lowercase=False, strip_accents=None, handle_chinese_chars=False):
    return BertNormalizer(
        clean_text=False, lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=handle_chinese_chars
    )
