"""A WordPiece vocabulary as a tokenizer, with the casing and the marks that its entries hold."""

import tempfile
from pathlib import Path

from tokenizers.normalizers import BertNormalizer
from transformers import BertTokenizerFast


SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_LENGTH = 512  # tokens: the positions that stock ELECTRA has


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


def unused_entries(entries, normalizer):
    """Entries that no text can become, since the normalizer takes their capitals or marks off.

    Args:
        entries (iterable of `str`)
        normalizer (`tokenizers.normalizers.BertNormalizer`)

    Returns:
        `list[str]`: sorted, without `##`
    """
    made = _normalizer(lowercase=normalizer.lowercase, strip_accents=normalizer.strip_accents)
    return sorted({entry for entry in _ordinary(entries) if made.normalize_str(entry) != entry})


def read_entries(file):
    """The lines of a vocabulary file.

    Args:
        file (`Path`)

    Returns:
        `list[str]`

    Raises:
        ValueError: it is no vocabulary.
    """
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


def continuation_tokens(tokenizer):
    """Which tokens of a WordPiece vocabulary continue a word, as `##ing`: the configuration's field of that name.

    Args:
        tokenizer (`PreTrainedTokenizerBase`)

    Returns:
        `str`: a hexadecimal number, of which bit i is 1 where token i continues a word.

    Raises:
        ValueError: it has no such tokens, or is of another kind.
    """
    kind = type(tokenizer.backend_tokenizer.model).__name__ if tokenizer.is_fast else "WordPiece"
    found = [number for token, number in tokenizer.get_vocab().items() if token[:2] == "##" and len(token) > 2]
    if kind != "WordPiece" or not found:
        raise ValueError(
            f"`mask_whole_words` is for WordPiece vocabularies, in which '##' begins what continues a word. This one, "
            f"{type(tokenizer).__name__} ({kind}), has {len(found)} such tokens of {len(tokenizer)}: leave it out."
        )
    return f"{sum(1 << number for number in found):x}"
