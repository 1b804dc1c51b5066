"""The words of a text as a tokenizer parts them, counted in memory that does not grow with the text."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


MOST_WORDS = 1_000_000  # different ones that are counted at once: about 150 MB
MOST_CHARACTERS = 1_000_000  # of a row that are parted at once


@dataclass(frozen=True)
class WordCounts:
    """How often each word occurs.

    Args:
        counts (mapping of `str` to `int`): the most frequent word first, equally frequent ones by their letters.
        left_out (`int`): occurrences of words so rare that they were forgotten.
        texts (`int`), characters (`int`): how much was read.
        sample (`list[str]`): the beginnings of the first texts.
    """

    counts: Mapping[str, int]
    left_out: int
    texts: int
    characters: int
    sample: list


def count_words(texts, backend, *, most_words=MOST_WORDS, sample_texts=500, sample_letters=2000):
    """Count the words of texts, after the tokenizer's own normalizer and pre-tokenizer.

    Tokens that were added to a tokenizer (`[MASK]` and the like) are no words. Where there are more than `most_words`
    different words, the rarer half of them is forgotten: those that come often come again.

    Args:
        texts (iterable of `str`): gone through once.
        backend (`tokenizers.Tokenizer`)
        most_words (`int`): different words that are held at once.
        sample_texts, sample_letters (`int`): of the sample.

    Returns:
        [`WordCounts`]

    Raises:
        ValueError: `texts` is one text, or holds something else than texts.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("`texts` is one text: give a list of them, or anything else that yields texts.")
    words_of = _parter(backend)
    counts: Counter = Counter()
    left_out = read = characters = 0
    sample: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"`texts` holds a {type(text).__name__} where a text, a `str`, belongs.")
        read, characters = read + 1, characters + len(text)
        if len(sample) < sample_texts:
            sample.append(text[:sample_letters])
        for start in range(0, len(text), MOST_CHARACTERS):
            counts.update(words_of(text[start : start + MOST_CHARACTERS]))
        if len(counts) > most_words:
            total = counts.total()
            counts = Counter(dict(_ordered(counts)[: most_words // 2]))
            left_out += total - counts.total()
    return WordCounts(dict(_ordered(counts)), left_out, read, characters, sample)


def _ordered(counts):
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _parter(backend):
    """A function from a text to its words, a `list[str]`."""
    normalizer, pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    added = sorted((token.content for token in backend.get_added_tokens_decoder().values()), key=len, reverse=True)
    # These are cut out before all else. Their finer settings (whole words alone, spaces beside them) hardly matter
    # where words are counted.
    cut = re.compile("|".join(map(re.escape, added))) if added else None

    def words_of(text):
        words: list[str] = []
        for part in cut.split(text) if cut else (text,):
            part = part if normalizer is None else normalizer.normalize_str(part)
            words += [part] if pre_tokenizer is None else [word for word, _ in pre_tokenizer.pre_tokenize_str(part)]
        return [word for word in words if word]

    return words_of
