"""A WordPiece vocabulary extended by what a domain's text needs, and a pair with it.

New entries go into the vocabulary of the WordPiece model itself. `tokenizer.add_tokens` would be wrong here: it cuts
its tokens out of a text before all else, out of the middle of other words too.
"""

import copy
import json
import logging
import math
from collections import Counter
from dataclasses import dataclass

from tokenizers.models import WordPiece

from ..hub_tools import layout
from ..hub_tools.export import export_discriminator
from ..hub_tools.loading import load_pair, load_tokenizer
from ..hub_tools.names import public_name
from ..hub_tools.run_record import write_extension
from ..hub_tools.staging import new_folder
from ..hub_tools.verify import require_ok, verify_folder
from ..hub_tools.vocabulary import continuation_tokens
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from .data import read_text
from .from_scratch import TextsOf
from .new_entries import FEWEST, WordPieces, choose_entries, missing_inside
from .new_rows import add_rows
from .unknown_tokens import WRONG, refuse_unknown
from .word_counts import count_words


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextReading:
    """How a vocabulary reads a text.

    Args:
        words (`int`): as the tokenizer parts them, marks of punctuation among them.
        tokens (`int`): without special ones, but with `[UNK]`.
        unknown (`int`): how many of them are `[UNK]`.
    """

    words: int
    tokens: int
    unknown: int

    @property
    def tokens_per_word(self):
        """`float`"""
        return self.tokens / self.words

    @property
    def unknown_share(self):
        """`float`: of the tokens."""
        return self.unknown / self.tokens


@dataclass(frozen=True)
class NewEntry:
    """An entry that a vocabulary got.

    Args:
        entry (`str`), token_id (`int`)
        parts (`list[str]`): how it was read before; a character that was not known is `[UNK]`.
        occurrences (`int`): in the text, as it is read now.
    """

    entry: str
    token_id: int
    parts: list
    occurrences: int


@dataclass(frozen=True)
class VocabularyExtension:
    """What [`extend_vocabulary`] did.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): with the new entries.
        entries (`list` of [`NewEntry`]): in the order of their ids. The first saves most tokens, but for characters
            that an incomplete vocabulary needed first.
        before, after ([`TextReading`]): of the text.
        texts (`int`), characters (`int`): of the text.
        left_out (`int`): words of it that the figures leave out, being too rare to be held in memory.
    """

    tokenizer: object
    entries: list
    before: TextReading
    after: TextReading
    texts: int
    characters: int
    left_out: int


def extend_vocabulary(model, tokenizer, texts, num_tokens, *, fewest=FEWEST):
    """Give a pair the WordPiece entries that save most tokens on a domain's text.

    Text in which none of them occurs is read as before, token by token, and no text that was readable becomes `[UNK]`
    (see `new_entries`). The vocabulary grows: all ids stay, slots such as `[unused1]` too. Nothing is drawn: the same
    text gives the same entries and rows.

    Args:
        model ([`ElectraRTDForPreTraining`]): gets new rows in both networks, in place; see `new_rows`.
        tokenizer (`PreTrainedTokenizerFast`): of the pair; it stays as it is.
        texts (iterable of `str`): the domain's text, gone through once.
        num_tokens (`int`): entries at most. There are fewer where no more save anything; the log says so.
        fewest (`int`): occurrences of an entry in the text at least.

    Returns:
        [`VocabularyExtension`]: with the new tokenizer. The model is changed last, after all that can fail.

    Raises:
        ValueError: the tokenizer has no WordPiece vocabulary, or another one than the model; there is no text; more
            than a quarter of it is `[UNK]`; or no entry would save anything.
    """
    _check(model, tokenizer, num_tokens, fewest)
    backend = tokenizer.backend_tokenizer
    settings = json.loads(backend.to_str())["model"]
    ids = _ids_of_all(tokenizer, settings["vocab"])
    how = (settings["continuing_subword_prefix"], settings["max_input_chars_per_word"])
    counted = count_words(texts, backend)
    if not counted.counts:
        raise ValueError("`texts` hold no word: give the domain's text, one sentence or paragraph a text.")
    old, new = (WordPieces(settings["vocab"], *how) for _ in range(2))
    before = _reading(counted.counts, old)
    if before.unknown_share > WRONG:  # less than that is what new entries are for
        refuse_unknown(before.unknown, before.tokens, counted.sample, tokenizer, "of this text")
    needed = _needed_first(new, tokenizer, num_tokens)
    for entry in needed:
        new.add(entry)
    chosen = choose_entries(
        counted.counts, new, num_tokens - len(needed), fewest=fewest, never=_never(ids, counted.counts, how[0])
    )
    if not chosen:
        raise ValueError(
            f"No entry would save a token: nothing that the vocabulary splits occurs {fewest} times in this text "
            f"({before.tokens_per_word:.2f} tokens a word). Give more text, or leave the vocabulary as it is."
        )
    if len(needed) + len(chosen) < num_tokens:
        logger.warning(
            f"`num_tokens={num_tokens}` are more than this text has use for: {len(needed) + len(chosen)} entries "
            f"save tokens and occur {fewest} times or more. These are taken."
        )
    first_id = max(ids.values()) + 1
    uses = _uses(counted.counts, new)
    entries = [
        NewEntry(entry, first_id + number, _parts(entry, old, tokenizer.unk_token), uses[entry])
        for number, entry in enumerate([*needed, *(one.entry for one in chosen)])
    ]
    extended = _with_entries(tokenizer, settings, {**ids, **{new.entry: new.token_id for new in entries}})
    parts, rarer = _rows(entries, old, ids, _uses(counted.counts, old), tokenizer.unk_token)
    add_rows(model, first_id, parts, rarer)
    if model.config.continuation_tokens is not None:  # it masks whole words, by a bit for each token
        model.config.continuation_tokens = continuation_tokens(extended)
    return VocabularyExtension(
        extended, entries, before, _reading(counted.counts, new), counted.texts, counted.characters, counted.left_out
    )


def extend_checkpoint(
    checkpoint, train_file, num_tokens, output_dir, *, text_column=None, dataset_config_name=None, fewest=FEWEST
):
    """Write a pair whose vocabulary is extended: what `electra-rtd extend-vocab` does.

    The folder holds the pair with its tokenizer (also as `vocab.txt`, for readers of that), `discriminator/` as a
    stock checkpoint, and `extension.json`, which says what was added. `adapt --checkpoint` goes on from it.

    Args:
        checkpoint (`str` or path): a pair: a folder or a Hub id.
        train_file (`str`, path, or a list of them): the domain's text, see [`read_text`].
        num_tokens, fewest (`int`): see [`extend_vocabulary`].
        output_dir (`str` or path): a folder that does not exist yet, or is empty. It is whole or not there.
        text_column, dataset_config_name (`str`, *optional*): of the text.

    Returns:
        [`VocabularyExtension`]

    Raises:
        ValueError: as in [`extend_vocabulary`], or the text cannot be read, or `output_dir` holds something.
        OSError: there is no such checkpoint, or it cannot be read.
    """
    with new_folder(output_dir) as folder:
        _check_numbers(num_tokens, fewest)  # before hours of reading
        model = load_pair(checkpoint, dtype="auto")
        tokenizer = load_tokenizer(checkpoint)
        _check(model, tokenizer, num_tokens, fewest)
        read = read_text(train_file, text_column=text_column, hub_config=dataset_config_name)
        extension = extend_vocabulary(model, tokenizer, TextsOf(read.dataset), num_tokens, fewest=fewest)
        model.save_pretrained(folder)
        extension.tokenizer.save_pretrained(folder)
        by_id = sorted(extension.tokenizer.get_vocab().items(), key=lambda item: item[1])
        if [number for _, number in by_id] == list(range(len(by_id))):
            lines = "".join(f"{entry}\n" for entry, _ in by_id)
            (folder / "vocab.txt").write_bytes(lines.encode("utf-8"))
        export_discriminator(folder, folder / layout.EXPORTS[0])
        write_extension(folder, _record(checkpoint, extension))
        require_ok(verify_folder(folder, source=str(output_dir)), "The extended pair is not written:")
    return extension


# ---- What can be extended -------------------------------------------------------------------------------------------


def _check_numbers(num_tokens, fewest):
    for name, value in (("num_tokens", num_tokens), ("fewest", fewest)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` is {value!r}: it must be a whole number from 1 on.")


def _check(model, tokenizer, num_tokens, fewest):
    _check_numbers(num_tokens, fewest)
    if not isinstance(model, ElectraRTDForPreTraining):
        raise ValueError(f"`model` is a {type(model).__name__}: it must be a pair, an ElectraRTDForPreTraining.")
    kind = type(tokenizer.backend_tokenizer.model).__name__ if getattr(tokenizer, "is_fast", False) else "slow"
    if kind != "WordPiece":
        raise ValueError(
            f"The tokenizer is of the kind {kind}: entries can be added to WordPiece vocabularies alone, those "
            "of BERT and ELECTRA. In others (BPE, Unigram) a new entry needs merges or probabilities, which "
            "change how other text is read."
        )
    if tokenizer.unk_token is None or tokenizer.unk_token not in tokenizer.get_vocab():
        raise ValueError(
            f"The tokenizer has no token for what is unknown ({tokenizer.unk_token}): WordPiece needs it."
        )
    most = max(tokenizer.get_vocab().values()) + 1
    if most > model.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {most} tokens, the pair knows {model.config.vocab_size}: take the pair's own one."
        )


def _ids_of_all(tokenizer, vocabulary):
    """Entries and added tokens to ids: added tokens take part in the vocabulary, so that ids have no gaps.

    In a vocabulary with gaps, `transformers` before 5 writes a `vocab.txt` with other ids.
    """
    backend = tokenizer.backend_tokenizer
    ids = dict(vocabulary)
    for number, token in backend.get_added_tokens_decoder().items():
        if token.content in ids:
            continue
        cut_out_everywhere = token.normalized and not token.single_word
        if not cut_out_everywhere and _is_word(tokenizer)(token.content):
            raise ValueError(
                f"The tokenizer has an added token, {token.content!r}, that also occurs as a part of words. With it "
                "in the vocabulary these would be read otherwise, and without it ids would have gaps: none is added."
            )
        ids[token.content] = number
    return ids


def _is_word(tokenizer):
    """A function from a text to whether it can be a word, or a part of one: the pipeline leaves it whole."""
    normalizer, pre_tokenizer = tokenizer.backend_tokenizer.normalizer, tokenizer.backend_tokenizer.pre_tokenizer

    def is_word(text):
        text = text if normalizer is None else normalizer.normalize_str(text)
        return pre_tokenizer is None or len(pre_tokenizer.pre_tokenize_str(text)) == 1

    return is_word


def _needed_first(vocabulary, tokenizer, num_tokens):
    added = {token.content for token in tokenizer.backend_tokenizer.get_added_tokens_decoder().values()}
    is_word = _is_word(tokenizer)
    needed = missing_inside(vocabulary, lambda text: text not in added and is_word(text))
    if len(needed) >= num_tokens:
        raise ValueError(
            f"The vocabulary lacks {len(needed)} single characters inside words ({' '.join(needed[:5])}), without "
            "which a new entry could make a word unreadable. They come first: give "
            f"`num_tokens={len(needed) + 100}` or more."
        )
    return needed


def _never(ids, counts, prefix):
    """What is no entry: what is a token already, and what a reader of `vocab.txt` would take for something else."""
    odd = {character for word in counts for character in word if not character.isprintable()}
    marked = {word[:end] for word in counts if word.startswith(prefix) for end in range(1, len(word) + 1)}
    return {*ids, *marked, *odd, *(prefix + character for character in odd)}


# ---- The text before and after --------------------------------------------------------------------------------------


def _reading(counts, vocabulary):
    words = tokens = unknown = 0
    for word, count in counts.items():
        known = vocabulary.can_read(word)
        words += count
        tokens += count * (len(vocabulary.read(word)[0]) if known else 1)
        unknown += 0 if known else count
    return TextReading(words, tokens, unknown)


def _uses(counts, vocabulary):
    """How often each entry is read; `None` stands for what is unknown."""
    uses: Counter = Counter()
    for word, count in counts.items():
        for piece in vocabulary.read(word)[0] if vocabulary.can_read(word) else (None,):
            uses[piece] += count
    return uses


def _parts(entry, vocabulary, unknown):
    """How the old vocabulary reads an entry, where it stands."""
    pieces, missing = vocabulary.read_entry(entry)
    return [unknown if piece in missing else piece for piece in pieces]


def _rows(entries, vocabulary, ids, uses, unknown):
    """For [`add_rows`]. A missing character has the row of the same character elsewhere in a word, or of `[UNK]`."""
    ids = dict(ids)
    counts = {ids[entry]: count for entry, count in uses.items() if entry is not None}
    counts[ids[unknown]] = uses[None]
    prefix = vocabulary.prefix
    parts, rarer = [], []
    for new in entries:
        pieces, missing = vocabulary.read_entry(new.entry)
        elsewhere = {
            piece: piece.removeprefix(prefix) if piece.startswith(prefix) else prefix + piece for piece in missing
        }
        rows = [ids.get(piece, ids.get(elsewhere.get(piece, ""), ids[unknown])) for piece in pieces]
        typical = sum(math.log(max(counts.get(row, 0), 1)) for row in rows) / len(rows)
        parts.append(rows)
        rarer.append(min(0.0, math.log(max(new.occurrences, 1)) - typical))
    return parts, rarer


def _with_entries(tokenizer, settings, ids):
    """A copy of a tokenizer with another vocabulary, and everything else as it was."""
    extended = copy.deepcopy(tokenizer)
    extended.backend_tokenizer.model = WordPiece(
        vocab=ids,
        unk_token=settings["unk_token"],
        max_input_chars_per_word=settings["max_input_chars_per_word"],
        continuing_subword_prefix=settings["continuing_subword_prefix"],
    )
    return extended


def _record(checkpoint, extension):
    sides = {"before": extension.before, "after": extension.after}
    return {
        "base": public_name(checkpoint),
        "entries": [new.entry for new in extension.entries],
        **{side: {"words": r.words, "tokens": r.tokens, "unknown": r.unknown} for side, r in sides.items()},
    }
