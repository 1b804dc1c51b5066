"""Labelled rows as an encoder reads them: token ids, labels, and batches of rows of similar length."""

from dataclasses import dataclass

import torch


POOL = 8  # batches that are sorted by length at once: more would give the same rows the same company in every epoch
FILL = {"input_ids": None, "attention_mask": 0, "token_type_ids": 0}  # what an encoder takes, and padding of it
IGNORED = -100  # label of a token that no loss counts


@dataclass(frozen=True)
class EncodedRows:
    """Rows in token ids.

    Args:
        kind (`str`): of the labels, one of `labels.KINDS`.
        inputs (`list` of `dict[str, list[int]]`): what the encoder takes of each row.
        targets (`list`): a class or a number a row; for `"tokens"`, a class a token: at the first piece of each word,
            and `IGNORED` everywhere else.
        words (`list` of `tuple[int, dict[int, int]]`): for `"tokens"`, how many words a row has, and where the first
            piece of each is that is read; else empty.
        sizes (`list[int]`): characters of each row: the order of batches goes by these and not by tokens, so that it
            is the same for every tokenizer.
        cut_off (`int`): rows, or for `"tokens"` words, that are not read to their end.
        pad_token_id (`int`)
    """

    kind: str
    inputs: list
    targets: list
    words: list
    sizes: list
    cut_off: int
    pad_token_id: int

    def __len__(self):
        return len(self.inputs)

    def batch(self, indices, *, labels=True):
        """Some rows as one padded batch.

        Args:
            indices (`list[int]`)
            labels (`bool`): with `labels`, of shape `(B,)`, for `"tokens"` `(B, L)`.

        Returns:
            `dict[str, torch.Tensor]`: of shape `(B, L)`.
        """
        rows = [self.inputs[index] for index in indices]
        fill = {**FILL, "input_ids": self.pad_token_id}
        batch = {name: _padded([row[name] for row in rows], fill[name]) for name in rows[0]}
        if labels:
            targets = [self.targets[index] for index in indices]
            batch["labels"] = _padded(targets, IGNORED) if self.kind == "tokens" else torch.tensor(targets)
        return batch

    def order(self, batch_size, generator):
        """One epoch: the rows at random, in batches of similar length, which come at random.

        Args:
            batch_size (`int`), generator (`torch.Generator`)

        Returns:
            `list[list[int]]`: indices of each batch
        """
        shuffled = torch.randperm(len(self), generator=generator).tolist()
        batches = []
        for start in range(0, len(shuffled), POOL * batch_size):
            pool = sorted(shuffled[start : start + POOL * batch_size], key=lambda index: self.sizes[index])
            batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
        return [batches[number] for number in torch.randperm(len(batches), generator=generator).tolist()]

    def by_length(self, batch_size):
        """All rows once, in batches of similar length: `list[list[int]]`."""
        rows = sorted(range(len(self)), key=lambda index: len(self.inputs[index]["input_ids"]))
        return [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]


def encode(labels, tokenizer, max_length, *, token_types=True):
    """Labelled rows in token ids.

    Args:
        labels ([`Labels`])
        tokenizer (`PreTrainedTokenizerFast`)
        max_length (`int`): tokens at most, special ones included; of a pair, the longer text is cut.
        token_types (`bool`): whether the encoder takes `token_type_ids`.

    Returns:
        [`EncodedRows`]

    Raises:
        ValueError: the tokenizer cannot take text that is split into words.
    """
    # Asked for, as releases differ in what a tokenizer without a class of its own gives by itself.
    options = {"truncation": True, "max_length": max_length, "return_token_type_ids": token_types}
    if labels.pairs:
        firsts, seconds = map(list, zip(*labels.texts, strict=True))
        encoded = tokenizer(firsts, seconds, **options)
        sizes = [len(first) + len(second) for first, second in labels.texts]
    elif labels.kind == "tokens":
        try:
            encoded = tokenizer([list(words) for words in labels.texts], is_split_into_words=True, **options)
        except AssertionError as error:  # of byte-level tokenizers
            raise ValueError(f"The tokenizer cannot read words one by one: {error}") from error
        sizes = [sum(map(len, words)) for words in labels.texts]
    else:
        encoded = tokenizer(list(labels.texts), **options)
        sizes = list(map(len, labels.texts))
    columns = {name: encoded[name] for name in FILL if name in encoded}
    inputs = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    words, targets = [], list(labels.targets)
    encodings = encoded.encodings
    cut_off = sum(bool(one.overflowing) for one in encodings)
    if labels.kind == "tokens":
        words = [_first_pieces(one.word_ids, len(row)) for one, row in zip(encodings, labels.texts, strict=True)]
        targets = [
            _at_first_pieces(tags, places, len(row["input_ids"]))
            for tags, (_, places), row in zip(labels.targets, words, inputs, strict=True)
        ]
        cut_off = sum(number - len(places) for number, places in words)
    return EncodedRows(labels.kind, inputs, targets, words, sizes, cut_off, tokenizer.pad_token_id)


def _first_pieces(word_ids, words):
    places: dict[int, int] = {}
    for place, word in enumerate(word_ids):
        if word is not None:
            places.setdefault(word, place)
    return words, places


def _at_first_pieces(tags, places, length):
    row = [IGNORED] * length
    for word, place in places.items():
        row[place] = tags[word]
    return row


def _padded(rows, fill):
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
