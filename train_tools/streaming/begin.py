"""The beginning of each source: the texts that are held out, and those that are looked at before training."""

import logging
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, concatenate_datasets

from ..run_text import read_validation
from .shards import find_source, without_first


logger = logging.getLogger(__name__)

# Looked at before training, of all sources together: for the share of [UNK], frequencies, lengths; for a vocabulary.
TEXTS, CHARACTERS = 20_000, 10_000_000
TEXTS_OF_VOCABULARY, CHARACTERS_OF_VOCABULARY = 1_000_000, 100_000_000


@dataclass(frozen=True)
class Begin:
    """What was read of the sources.

    Args:
        sources (`tuple` of [`Source`]): without what is held out.
        names (`tuple[str]`): of the sources, short and each once, as they stand in a log.
        looked_at (`datasets.Dataset`): the next texts, which are trained on too: `text`, and `document` for packing.
        held_out (`list` of `datasets.Dataset`): of each source, or of all together.
    """

    sources: tuple
    names: tuple
    looked_at: Any
    held_out: list


def begin(arguments, trains_vocabulary):
    """Find the sources, and read their begin.

    Args:
        arguments ([`RunArguments`]): with `streaming`.
        trains_vocabulary (`bool`): more is looked at then.

    Returns:
        [`Begin`]

    Raises:
        ValueError: a source cannot be read, or holds too little.
    """
    given = [[one] for one in arguments.train_file] if arguments.mixture else [arguments.train_file]
    texts = (TEXTS_OF_VOCABULARY if trains_vocabulary else TEXTS) // len(given)
    characters = (CHARACTERS_OF_VOCABULARY if trains_vocabulary else CHARACTERS) // len(given)
    document_column = arguments.document_column if arguments.packs else None
    sources, looked_at, held_out = [], [], []
    for one in given:
        source = find_source(
            one,
            text_column=arguments.text_column,
            document_column=document_column,
            hub_config=arguments.dataset_config_name,
        )
        reader = _Reader(source)
        if arguments.validation_rows is not None:
            held_out.append(reader.read(arguments.validation_rows))
            if len(held_out[-1]) < arguments.validation_rows:
                raise ValueError(
                    f"{source.name} holds {len(held_out[-1])} texts, and of each source the first "
                    f"`validation_rows={arguments.validation_rows}` are held out: none is left to train on. Give "
                    "fewer, or a `validation_file`."
                )
        sources.append(without_first(source, reader.counts()))
        looked_at.append(reader.read(texts, characters))
        if not len(looked_at[-1]):
            raise ValueError(
                f"{source.name} holds {reader.taken} texts, all of them held out: none is left to train on. Give "
                "fewer `validation_rows`, or a `validation_file`."
            )
        column = f"column {source.column!r}" if source.column else "lines"
        out = f", the first {len(held_out[-1]):,} texts held out" if held_out else ""
        logger.info(f"Stream: {source.name}, {column} of {len(source.shards):,} file(s){out}.")
    names = short_names([source.name for source in sources])
    if arguments.validation_file:
        held_out = _held_out_files(arguments, len(sources))
    return Begin(tuple(sources), names, concatenate_datasets(looked_at), held_out)


def _held_out_files(arguments, sources):
    """The texts of `validation_file`: a file for each source, where there are as many; else together."""
    files = arguments.validation_file
    groups = [[file] for file in files] if sources == len(files) else [files]
    return [read_validation(arguments, group) for group in groups]


class _Reader:
    """Reads a source from its first text on, and knows how many of each shard it has read."""

    def __init__(self, source):
        self._counts: list[int] = []
        self._documents = 0
        self._texts = self._read(source)
        self.taken = 0

    def counts(self):
        return list(self._counts)

    def read(self, texts, characters=None):
        """The next texts: `Dataset`. Args: texts, characters (`int`): at most so many; one text may be longer."""
        columns: dict[str, list] = {"text": [], "document": []}
        room = characters
        while len(columns["text"]) < texts and (room is None or room > 0):
            taken = next(self._texts, None)
            if taken is None:
                break
            for name, value in zip(columns, taken, strict=True):
                columns[name].append(value)
            room = None if room is None else room - len(taken[0])
        self.taken += len(columns["text"])
        return Dataset.from_dict(columns)

    def _read(self, source):
        for shard in source.shards:
            self._counts.append(0)
            before = None
            for document, text in source.texts(shard):
                self._documents += document != before
                before = document
                self._counts[-1] += 1
                yield text, self._documents


def short_names(names):
    """Names of sources as they can stand within the name of a figure (`eval_NAME_mlm_loss`): `tuple[str]`.

    Args: names (`list[str]`): paths, patterns or Hub ids.
    """
    taken = {"", "mlm", "disc", "gen", "general", "frequency"}  # `eval_mlm_loss` is another figure
    short = []
    for place, name in enumerate(names, 1):
        last = name.rstrip("/").rsplit("/", 1)[-1].split(".", 1)[0]
        word = "".join(sign if sign.isalnum() or sign == "-" else "_" for sign in last).strip("_")[:40]
        if word in taken:
            word = f"{word}_{place}".strip("_") if word else f"source_{place}"
        taken.add(word)
        short.append(word)
    return tuple(short)
