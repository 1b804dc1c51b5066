"""Sentences packed to rows of full length, in two segments, as ELECTRA's `build_pretraining_dataset.py` makes them.

What is as there: sentences that follow each other fill a row; nine rows in ten have two segments, the first of about
half the tokens; one row in twenty stops at a random length; the end of a document ends its row. What is not: nothing
is lost (there, what does not fit is cut off; here it begins the next row), segments keep the order of the text (there,
a short sentence may go before a longer one that stood before it), and every row has random numbers of its own.
"""

import math
import random


ONE_SEGMENT = 0.1  # chance that a row has one segment, as in classification
SHORT = 0.05  # chance that a row stops at a random length
SHORTEST = 5  # tokens, special ones included
STAYS = 0.5  # chance that the sentence which crosses the middle of a row still belongs to the first segment


class RowPacker:
    """Takes sentences, gives rows. Its chances depend on the seed and on the number of the row alone.

    Args:
        max_length (`int`): tokens in a row at most, special tokens included; 5 or more.
        cls_id, sep_id (`int`): what stands before the first segment, and behind each.
        seed (`int`)

    Attributes:
        rows (`int`): how many it has given.
    """

    def __init__(self, max_length, *, cls_id, sep_id, seed=0):
        if max_length < SHORTEST:
            raise ValueError(f"`max_length` is {max_length}: a packed row has {SHORTEST} tokens or more.")
        self.max_length, self.rows = max_length, 0
        self._cls, self._sep, self._seed = cls_id, sep_id, seed
        self._sentences: list[list[int]] = []
        self._waiting = 0  # tokens of them
        self._used = 0  # of the first one: earlier rows took so many
        self._draw()

    def add(self, ids):
        """Take one sentence.

        Args: ids (`list[int]`): its tokens, without special ones; empty ones are passed over.
        Returns: `list` of the rows that are full now, each a `dict` of `input_ids` and `token_type_ids`, `list[int]`
            of the same length.
        """
        if ids:
            self._sentences.append(list(ids))
            self._waiting += len(ids)
        full = []
        while self._waiting >= self._enough:
            full.append(self._row())
        return full

    def end_document(self):
        """Give what waits: the next sentence is of another document. Returns: `list` of one row or none."""
        return [self._row()] if self._waiting else []

    def state_dict(self):
        """What it takes to go on: `dict` for JSON."""
        return {"rows": self.rows, "sentences": [list(sentence) for sentence in self._sentences], "used": self._used}

    def load_state_dict(self, state):
        """Go on as the packer did whose state it is. Args: state (`dict`): of [`state_dict`]."""
        self.rows, self._used = state["rows"], state["used"]
        self._sentences = [list(sentence) for sentence in state["sentences"]]
        self._waiting = sum(map(len, self._sentences)) - self._used
        self._draw()

    def _draw(self):
        """Settle the chances of the next row: one segment or two, and how many tokens are enough for it."""
        self._random = random.Random(f"{self._seed}:{self.rows}")
        # `random()` alone: what else the module draws may change with Python.
        one, short, where = (self._random.random() for _ in range(3))
        is_one, target = one < ONE_SEGMENT, self.max_length
        if short < SHORT:
            target = SHORTEST + int(where * (self.max_length - SHORTEST + 1))
        self._first = math.inf if is_one else (target - 3) // 2  # tokens of the first segment, about
        self._enough = target - (2 if is_one else 3)  # tokens beside [CLS] and a [SEP] for each segment

    def _row(self):
        first: list[int] = []
        second: list[int] = []
        used = self._used
        for whole in self._sentences:
            sentence = whole[used : used + self.max_length]  # a row has no room for more of it
            used = 0
            (second if second or not self._belongs_to_first(sentence, first) else first).extend(sentence)
        first = first[: self.max_length - 2]
        second = second[: max(0, self.max_length - len(first) - 3)]
        self._drop(len(first) + len(second))
        row = {"input_ids": [self._cls, *first, self._sep], "token_type_ids": [0] * (len(first) + 2)}
        if second:
            row["input_ids"] += [*second, self._sep]
            row["token_type_ids"] += [1] * (len(second) + 1)
        self.rows += 1
        self._draw()
        return row

    def _belongs_to_first(self, sentence, first):
        if not first or len(first) + len(sentence) < self._first:
            return True
        return len(first) < self._first and self._random.random() < STAYS

    def _drop(self, tokens):
        """Forget the tokens that a row has taken; the rest of a sentence that was cut stays."""
        self._waiting -= tokens
        self._used += tokens
        taken = 0
        while taken < len(self._sentences) and self._used >= len(self._sentences[taken]):
            self._used -= len(self._sentences[taken])
            taken += 1
        self._sentences = self._sentences[taken:]


def pack_rows(sentences, max_length, *, cls_id, sep_id, seed=0):
    """Rows of full length from sentences in their order, see [`RowPacker`].

    Args:
        sentences (iterable of `list[int]` or `None`): token ids without special ones; `None` ends a document, and no
            row holds text of two.
        max_length (`int`), cls_id (`int`), sep_id (`int`), seed (`int`): see [`RowPacker`].

    Yields:
        `dict`: `input_ids` and `token_type_ids`, `list[int]` of one length, `max_length` at most.
    """
    packer = RowPacker(max_length, cls_id=cls_id, sep_id=sep_id, seed=seed)
    for ids in sentences:
        yield from packer.end_document() if ids is None else packer.add(ids)
    yield from packer.end_document()
