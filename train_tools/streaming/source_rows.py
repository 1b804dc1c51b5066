"""Texts of a lane to rows of token ids: tokenized some at once, one sequence a row or packed."""

from array import array
from itertools import chain

from ..packing import RowPacker
from ..text.tokenizing import bare_backend, few_at_once


TEXTS, CHARACTERS = 1000, 1_000_000  # tokenized at once, at most


class Encoding:
    """How texts become rows.

    Args:
        tokenizer (`PreTrainedTokenizerFast`)
        max_length (`int`): tokens of a row, special tokens included.
        packs (`bool`): rows of full length, see [`RowPacker`]; else a longer text becomes several rows, as in
            [`tokenize_text`].
    """

    def __init__(self, tokenizer, max_length, packs=False):
        self.max_length, self.packs = max_length, packs
        self._cls, self._sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._backend = bare_backend(tokenizer)
        self._backend.encode_special_tokens = tokenizer.split_special_tokens
        if not packs:
            self._backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
        elif None in (self._cls, self._sep):
            raise ValueError(
                "`packing` puts rows together with [CLS] and [SEP], and the tokenizer has no such tokens: give "
                "`packing=no`, or another `tokenizer`."
            )

    def packer(self, seed):
        """Returns: [`RowPacker`], or `None`. Args: seed (`str`)."""
        return RowPacker(self.max_length, cls_id=self._cls, sep_id=self._sep, seed=seed) if self.packs else None

    def __call__(self, texts):
        """Args: texts (`list[str]`). Returns: for each a `list` of its parts, each a `list[int]`."""
        encodings = chain.from_iterable(
            self._backend.encode_batch_fast(some, add_special_tokens=not self.packs) for some in few_at_once(texts)
        )
        return [[part.ids for part in (whole, *whole.overflowing)] for whole in encodings]


class SourceRows:
    """An endless iterator over the rows of one source in one lane.

    Its state is where the texts began that were tokenized last, what the packer held then, and how many of their rows
    are given: to go on, these texts are tokenized again, at most `TEXTS`.

    Args:
        text ([`LaneText`]); encoding ([`Encoding`]); seed (`str`): of packing.

    Iterating yields `tuple`: `array` of token ids and, of packed rows, `array` of segments, else `None`.
    """

    def __init__(self, text, encoding, seed):
        self._text, self._encode = text, encoding
        self._packer = encoding.packer(seed)
        self._document = None
        self._rows: list = []
        self._given = 0
        self._began = self._here()

    def __iter__(self):
        return self

    def __next__(self):
        while self._given == len(self._rows):
            self._tokenize()
        row = self._rows[self._given]
        self._given += 1
        return row

    @property
    def passes(self):
        """`int`: how often it has read all of its texts."""
        return self._text.state_dict()["pass"]

    def state_dict(self):
        """What it takes to go on: `dict` for JSON."""
        return {**self._began, "given": self._given}

    def load_state_dict(self, state):
        """Go on behind the row that was given last. Args: state (`dict`): of [`state_dict`]."""
        self._text.load_state_dict(state["text"])
        if self._packer is not None:
            self._packer.load_state_dict(state["packer"])
            self._document = state["document"] and tuple(state["document"])
        self._rows, self._given = [], 0
        self._began = self._here()
        if state["given"]:
            self._tokenize()
            self._given = state["given"]

    def _here(self):
        here = {"text": self._text.state_dict()}
        if self._packer is not None:
            here |= {"packer": self._packer.state_dict(), "document": self._document}
        return here

    def _tokenize(self):
        self._began = self._here()
        texts: list[str] = []
        documents: list = []
        characters = 0
        while len(texts) < TEXTS and characters < CHARACTERS:
            document, text = next(self._text) or (None, "")  # the end of a pass ends a document
            texts.append(text)
            documents.append(document)
            characters += len(text)
        self._rows = list(self._packed(texts, documents) if self._encode.packs else self._parts(texts, documents))
        self._given = 0

    def _parts(self, texts, documents):
        texts = [text for text, document in zip(texts, documents, strict=True) if document is not None]
        for parts in self._encode(texts):
            yield from ((array("i", ids), None) for ids in parts)

    def _packed(self, texts, documents):
        for (ids,), document in zip(self._encode(texts), documents, strict=True):
            full = []
            if document != self._document:
                full += self._packer.end_document()
                self._document = document
            for row in (*full, *self._packer.add(ids)):
                yield array("i", row["input_ids"]), array("b", row["token_type_ids"])
