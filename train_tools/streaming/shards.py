"""Sources of a stream: the files that they consist of, or the shards of a Hub dataset, and the texts in each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import load_dataset
from datasets.exceptions import DatasetsError

from ..data import check_content, choose_among, open_table
from ..text.columns import TextTable
from ..text.documents import Numbered
from ..text.finding import find_sources
from ..text.json_rows import check_is_text, kinds_of
from ..text.lines import MAX_ROW_LENGTH, too_long


LOOKED_AT = 1000  # rows of a shard of the Hub that say what its columns hold
AT_ONCE = 1000  # rows


@dataclass(frozen=True)
class Shard:
    """A part of a source that is read from its begin to its end.

    Args:
        name (`str`): the file, or which part of which Hub dataset; for messages.
        split (`str`): the split that is read, where there are several.
        dataset (`datasets.IterableDataset`, *optional*): of the Hub, with this part alone; else `name` is a path.
        skip (`int`): so many of its texts, the first ones, are held out.
    """

    name: str
    split: str = "train"
    dataset: Any = None
    skip: int = 0

    def table(self):
        """Returns: [`TextTable`]. Raises: ValueError: it cannot be read."""
        if self.dataset is None:
            return open_table(Path(self.name), self.split, MAX_ROW_LENGTH)
        return _hub_table(self.name, self.dataset)


@dataclass(frozen=True)
class Source:
    """Text that is streamed.

    Args:
        name (`str`): as a person gave it, for messages.
        shards (`tuple` of [`Shard`])
        column (`str`, *optional*): of the text, in all of them; lines have none.
        document_column (`str`, *optional*): says which document a row is of.
    """

    name: str
    shards: tuple
    column: str | None = None
    document_column: str | None = None

    def texts(self, shard) -> Iterator:
        """The texts of one of its shards that are trained on.

        Args: shard ([`Shard`]).
        Yields: `tuple[int, str]`: the number of the document within the shard, from 0 on; and the text, not empty.
        Raises: ValueError: it cannot be read; the message names the file and the line.
        """
        table = shard.table()
        numbered = Numbered(self.document_column)
        # Lines have one column, and no name for it; what was wanted is settled with the first shard.
        column = choose_among(table, self.column, {})
        kept = rows = 0
        for number, value in numbered.watched(table, table.rows(column)):
            rows += 1
            for text in value if isinstance(value, list) else [value]:
                if text is None or not text.strip():
                    continue
                if len(text) > MAX_ROW_LENGTH:
                    raise too_long(table.name, number, MAX_ROW_LENGTH, "text", table.unit)
                kept += 1
                if kept > shard.skip:
                    yield numbered.document, text
        if not rows:
            raise ValueError(f"{table.name}: no rows. Give one sentence or paragraph a row.")


def find_source(given, *, text_column=None, document_column=None, hub_config=None, split="train"):
    """What a source consists of, and the column of its text, which the first shard settles.

    Args:
        given (`list[str]`): files, folders, globs, or one Hub dataset id: one source together.
        text_column (`str`, *optional*), document_column (`str`, *optional*): by name.
        hub_config (`str`, *optional*): the configuration of a Hub dataset; split (`str`): its split.

    Returns:
        [`Source`]

    Raises:
        ValueError: nothing is there, a file is of an unknown kind or empty, or the column is not clear.
    """
    name = given[0] if len(given) == 1 else f"{given[0]} and {len(given) - 1} more"
    found = find_sources(given)
    if found is None:
        shards = _hub_shards(given[0], hub_config, split)
    else:
        for path in found:
            check_content(path)
        shards = tuple(Shard(str(path), split) for path in found)
    first = shards[0].table()
    column = choose_among(first, text_column, {})
    if text_column is not None and first.names == "nothing":
        raise ValueError(f"{first.name}: there is no column {text_column!r}: lines have no columns. Leave it out.")
    return Source(name, shards, None if first.names == "nothing" else column, document_column)


def without_first(source, counts):
    """A source whose first texts are left out.

    Args: source ([`Source`]); counts (`list[int]`): so many of each of its first shards. Returns: [`Source`].
    """
    counts = [*counts, *[0] * (len(source.shards) - len(counts))]
    shards = (replace(shard, skip=count) for shard, count in zip(source.shards, counts, strict=True))
    return replace(source, shards=tuple(shards))


def _hub_shards(name, config, split):
    options = {"trust_remote_code": False} if int(datasets.__version__.split(".")[0]) < 4 else {}
    try:
        dataset = load_dataset(name, config, split=split, streaming=True, **options)
    except (DatasetsError, OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise ValueError(
            f"{name} is no file or folder here, and no dataset of that name with a split {split!r} could be streamed "
            f"from the Hub: {error} Check the path, or the dataset's name, its splits and configurations "
            "(`dataset_config_name`), and your access to it."
        ) from error
    return hub_shards(name, dataset, split)


def hub_shards(name, dataset, split="train"):
    """The shards of a dataset. Args: name, split (`str`); dataset (`datasets.IterableDataset`). Returns: `tuple`."""
    number = dataset.n_shards
    names = [f"{name}, shard {index + 1} of {number}" for index in range(number)]
    return tuple(
        Shard(shown, split, dataset.shard(num_shards=number, index=index)) for index, shown in enumerate(names)
    )


def _hub_table(name, dataset):
    first: dict = next(iter(dataset.take(LOOKED_AT).iter(LOOKED_AT)), {})
    columns = list(first)
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*first.values(), strict=True)]

    def values(column):
        # `iter` and not a loop over the dataset itself, which in a worker process would be split once more.
        batches = dataset.select_columns([column]).iter(AT_ONCE)
        try:
            yield from enumerate((value for batch in batches for value in batch[column]), 1)
        except (DatasetsError, pa.ArrowException, UnicodeDecodeError) as error:
            raise ValueError(f"{name} could not be read: {error}") from error

    def texts(column):
        for number, value in values(column):
            check_is_text(value, name, number, column, "row")
            yield number, value

    return TextTable(name, kinds_of(enumerate(rows)), texts, unit="row", values=values)
