"""Which entries a WordPiece vocabulary should get for a text: those that save most tokens, and spoil no reading.

A word is read from left to right, each time by the longest entry that fits (Song et al., "Fast WordPiece
Tokenization", EMNLP 2021, section 2); where none fits, the whole word is `[UNK]`. Two things follow:

- A word whose reading has no new entry in it is read as before: each of its entries was the longest then, too.
- A new entry may end where no old one did, and what is left must still be readable. It is wherever every character
  that stands inside a readable word has an entry of its own for there (`##x`): see [`missing_inside`]. All published
  vocabularies that were looked at are so; where one is not, those entries come first.
"""

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass


FEWEST = 10  # occurrences of a new entry in the text, by default: a row that is hardly seen stays as it was made
LONGEST_SPAN = 8  # old entries that a new one joins at most
ROUNDS = 5  # times that entries which turned out useless are replaced by others
MOST_WORDS = 200_000  # different ones, the most frequent of those that are split, which entries are chosen by


class WordPieces:
    """A WordPiece vocabulary, as it reads words.

    Args:
        entries (iterable of `str`)
        prefix (`str`): of entries that stand inside a word, `##`.
        longest_word (`int`): characters; a longer word is unknown.
    """

    def __init__(self, entries, prefix="##", longest_word=100):
        self.entries, self.prefix, self.longest_word = set(entries), prefix, longest_word
        self.longest = max(map(len, self.entries), default=1)

    def add(self, entry):
        """Take an entry in."""
        self.entries.add(entry)
        self.longest = max(self.longest, len(entry))

    def read(self, word, *, inside=False):
        """The entries that a word is read by, with those that it lacks in their places.

        Args:
            word (`str`); inside (`bool`): whether it stands behind the beginning of a word.

        Returns:
            `tuple` of two `list[str]`: the entries; those of them that the vocabulary lacks, single characters, each
            once. Where it lacks one, the word is `[UNK]`.
        """
        pieces: list[str] = []
        missing: dict[str, None] = {}
        start = 0
        while start < len(word):
            before = self.prefix if start or inside else ""
            for end in range(min(len(word), start + self.longest), start, -1):
                piece = before + word[start:end]
                if piece in self.entries:
                    break
            else:
                end = start + 1
                piece = before + word[start:end]
                missing[piece] = None
            pieces.append(piece)
            start = end
        return pieces, list(missing)

    def read_entry(self, entry):
        """As [`read`], of the characters of an entry at its place in a word."""
        inside = entry.startswith(self.prefix)
        return self.read(entry.removeprefix(self.prefix) if inside else entry, inside=inside)

    def can_read(self, word):
        """Whether a word is not `[UNK]`."""
        return len(word) <= self.longest_word and not self.read(word)[1]


def missing_inside(vocabulary, is_word):
    """Entries without which a new one could make a word unreadable.

    Every character that an entry has inside a word, and that has no entry of its own there. With these, a word that
    was readable is so with whatever other entries: something fits at each of its characters. They change no reading:
    a single character is only taken where nothing else fits.

    Args:
        vocabulary ([`WordPieces`])
        is_word (callable): whether some text can be a word or a part of one; `[unused1]`, say, never is.

    Returns:
        `list[str]`: sorted
    """
    prefix = vocabulary.prefix
    inside: set[str] = set()
    for entry in vocabulary.entries:
        text = entry.removeprefix(prefix)
        if text and is_word(text):
            inside.update(text if entry.startswith(prefix) else text[1:])
    return sorted({prefix + character for character in inside} - vocabulary.entries)


@dataclass(frozen=True)
class Chosen:
    """A new entry.

    Args:
        entry (`str`)
        saved (`int`): tokens that it saved where it was chosen. Of a missing character: as many for each occurrence
            as the word has characters, since that much was hidden by `[UNK]`.
        occurrences (`int`): in the text as it is read with all new entries.
    """

    entry: str
    saved: int
    occurrences: int


def choose_entries(counts, vocabulary, most, *, fewest=1, never=()):
    """The entries that save most tokens, one after the other, each with those before it in place.

    Candidates are what two or more neighbouring entries of a word make together, and single characters that are
    missing. What one saves is counted exactly, over all words: a word that becomes longer counts against it.

    Args:
        counts (mapping of `str` to `int`): words and how often they occur, the most frequent first.
        vocabulary ([`WordPieces`]): gets the entries.
        most (`int`): entries.
        fewest (`int`): occurrences that an entry has in the text at the end; others are not taken.
        never (collection of `str`): what is no candidate.

    Returns:
        `list` of [`Chosen`]: in the order of choice; equally good ones by their letters.
    """
    choice = _Choice(counts, vocabulary, fewest, set(never))
    choice.go_on(most)
    for _ in range(ROUNDS):
        if not choice.take_back_useless():
            break
        choice.go_on(most)
    choice.take_back(entry for entry in list(choice.saved) if choice.uses[entry] < fewest)
    return [Chosen(entry, saved, choice.uses[entry]) for entry, saved in choice.saved.items()]


class _Choice:
    """Words as they are read now, and what each candidate would save."""

    def __init__(self, counts, vocabulary, fewest, never):
        self.vocabulary, self.fewest, self.never = vocabulary, fewest, never
        self.saved: dict[str, int] = {}  # what was chosen
        self.uses: Counter = Counter()  # occurrences of entries
        self.gains: Counter = Counter()  # candidates: tokens saved where their parts stand beside each other
        self.harms: dict[str, int] = {}  # and added elsewhere, as far as that was counted
        self.lacking: Counter = Counter()  # occurrences of missing characters
        self.candidates: list[tuple[int, str]] = []  # a heap: the most that each may save, and older values
        self.words: list[tuple[str, int]] = []
        self.readings: list[tuple[list[str], list[str]]] = []
        self.where = defaultdict(set)  # entries to words that are, or were, read by them
        for word, count in counts.items():
            reading = vocabulary.read(word)
            if len(word) <= vocabulary.longest_word and (len(reading[0]) > 1 or reading[1]):
                self.words.append((word, count))
                self.readings.append(([], []))
                self._set(len(self.words) - 1, reading)
            if len(self.words) == MOST_WORDS:
                break
        for entry in self.gains:
            self._offer(entry)

    def go_on(self, most):
        """Choose until there are so many, or no candidate saves anything."""
        while len(self.saved) < most and self._best():
            negative, entry = heapq.heappop(self.candidates)
            self._try(entry, -negative)

    def _best(self):
        """What the best candidate would save, as far as that was counted; it then is the first in the heap: `int`."""
        while self.candidates:
            value, entry = -self.candidates[0][0], self.candidates[0][1]
            is_new = entry not in self.vocabulary.entries
            if is_new and value == self._value(entry) and self._occurrences(entry) >= self.fewest:
                return value
            heapq.heappop(self.candidates)  # what is too rare now is offered again when it occurs more often
            if value > self._value(entry):
                self._offer(entry)  # it was worth more once
        return 0

    def take_back_useless(self):
        """Leave out what saves less, now that all are there, than the best candidate would: `bool`, whether any did.

        `클래` was worth much, until `클래스` came.
        """
        best = self._best()
        useless = [entry for entry in self.saved if self._saves_now(entry) < best or self.uses[entry] < self.fewest]
        self.take_back(useless)
        return bool(useless)

    def take_back(self, entries):
        """Leave out what was chosen, for good."""
        entries = list(entries)
        self.vocabulary.entries.difference_update(entries)
        self.never.update(entries)
        for entry in entries:
            del self.saved[entry]
        for number in sorted(set().union(*(self.where[entry] for entry in entries))):
            for candidate in self._set(number, self.vocabulary.read(self.words[number][0])):
                self._offer(candidate)

    def _saves_now(self, entry):
        self.vocabulary.entries.remove(entry)
        without = {number: self.vocabulary.read(self.words[number][0]) for number in self.where[entry]}
        self.vocabulary.entries.add(entry)
        return sum(
            self._cost(number, read) - self._cost(number, self.readings[number]) for number, read in without.items()
        )

    def _try(self, entry, expected):
        """Take an entry, or offer it again where it saves less than it seemed."""
        text = entry.removeprefix(self.vocabulary.prefix)
        first = self.vocabulary.read_entry(entry)[0][0]  # every word that it would change is read by this one there
        numbers = [number for number in sorted(self.where[first]) if text in self.words[number][0]]
        self.vocabulary.add(entry)
        readings = {number: self.vocabulary.read(self.words[number][0]) for number in numbers}
        saves = sum(
            self._cost(number, self.readings[number]) - self._cost(number, readings[number]) for number in numbers
        )
        if saves < expected:
            self.vocabulary.entries.remove(entry)
            self.harms[entry] = self.gains[entry] - saves
            self._offer(entry)
            return
        self.saved[entry] = saves
        for number in numbers:
            for candidate in self._set(number, readings[number]):
                self._offer(candidate)

    def _set(self, number, reading):
        """A word is read otherwise from now on. Returns the candidates that may be worth more: `set[str]`."""
        count = self.words[number][1]
        raised = set()
        for sign, old_or_new in ((-1, self.readings[number]), (1, reading)):
            for entry, saves in self._candidates_in(number, old_or_new):
                self.gains[entry] += sign * saves
                if sign > 0:
                    raised.add(entry)
            for entry in old_or_new[1]:
                self.lacking[entry] += sign * count
            for entry in () if old_or_new[1] else old_or_new[0]:
                self.uses[entry] += sign * count
        self.readings[number] = reading
        for entry in reading[0]:
            self.where[entry].add(number)
        return raised

    def _candidates_in(self, number, reading):
        """What would save tokens in a word, and how many of them."""
        count = self.words[number][1]
        pieces, missing = reading
        for entry in missing:
            found = (pieces, [other for other in missing if other != entry])
            yield entry, self._cost(number, reading) - self._cost(number, found)
        if missing:
            return
        texts = [piece.removeprefix(self.vocabulary.prefix) if place else piece for place, piece in enumerate(pieces)]
        for start in range(len(pieces) - 1):
            entry = texts[0] if start == 0 else self.vocabulary.prefix + texts[start]
            for end in range(start + 1, min(len(pieces), start + LONGEST_SPAN)):
                entry += texts[end]
                yield entry, count * (end - start)

    def _cost(self, number, reading):
        """Tokens of a word in the whole text; of an unreadable one its characters, once more for each missing one."""
        word, count = self.words[number]
        pieces, missing = reading
        return count * (len(word) * (1 + len(missing)) if missing else len(pieces))

    def _value(self, entry):
        return self.gains[entry] - self.harms.get(entry, 0)

    def _offer(self, entry):
        value = self._value(entry)
        if value >= max(1, self.fewest) and entry not in self.never:  # it saves at least a token a time
            heapq.heappush(self.candidates, (-value, entry))

    def _occurrences(self, entry):
        """Of a candidate."""
        parts, missing = self.vocabulary.read_entry(entry)
        return self.lacking[entry] if missing else self.gains[entry] // (len(parts) - 1)
