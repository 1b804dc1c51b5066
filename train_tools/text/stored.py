"""Columns with types: parquet files, folders written by `save_to_disk`, data sets of the Hub."""

import tempfile
from contextlib import contextmanager
from shutil import copyfileobj

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError

from .columns import EMPTY, NESTED, TEXT, TEXTS, TextTable
from .finding import is_packed
from .lines import damage_named, open_bytes


AT_ONCE = 1000  # rows


def read_parquet(file):
    """A parquet file as a table; other columns than the text stay on the disk.

    Args: file (`Path`). Returns: [`TextTable`]. Raises: ValueError: the file is broken.
    """
    with _opened_parquet(file) as opened:
        kinds = _kinds(opened.schema_arrow)

    def rows(column):
        _refuse_numbers(str(file), column, kinds)
        yield from values(column)

    def values(column):
        with _opened_parquet(file) as opened:
            batches = opened.iter_batches(batch_size=AT_ONCE, columns=[column])
            yield from enumerate((value for batch in batches for value in batch.column(column).to_pylist()), 1)

    return TextTable(str(file), kinds, rows, unit="row", values=values)


def read_parquet_rows(file):
    """All columns of a parquet file, with its numbers and lists. Arguments and errors as those of [`read_parquet`].

    Returns: `list[str]`, the names; an iterator over the number, and the values, of each row.
    """
    with _opened_parquet(file) as opened:
        names = opened.schema_arrow.names

    def rows():
        with _opened_parquet(file) as opened:
            batches = (batch.columns for batch in opened.iter_batches(batch_size=AT_ONCE))
            rows = (
                row for columns in batches for row in zip(*(column.to_pylist() for column in columns), strict=True)
            )
            yield from enumerate(rows, 1)

    return names, rows()


@contextmanager
def _opened_parquet(file):
    try:
        if not is_packed(file):
            with pq.ParquetFile(file) as opened:
                yield opened
            return
        with tempfile.TemporaryFile() as unpacked:
            with damage_named(file), open_bytes(file) as stream:
                copyfileobj(stream, unpacked)
            with pq.ParquetFile(unpacked) as opened:
                yield opened
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: a text in it is not UTF-8: {error}. Write the file anew.") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{file} could not be read as parquet: {error}") from error


def read_saved(folder, split):
    """A folder that `save_to_disk` wrote.

    Args: folder (`Path`); split (`str`): of a `DatasetDict`; where it has one only, that.
    Returns: [`TextTable`].
    Raises: ValueError: the folder is broken, or has no such split.
    """
    try:
        saved = load_from_disk(str(folder))
    except (ValueError, OSError, KeyError, TypeError, pa.ArrowException) as error:
        raise ValueError(f"{folder} could not be read as what `save_to_disk` writes: {error}") from error
    if isinstance(saved, DatasetDict):
        names = list(saved)
        if split not in names and len(names) != 1:
            raise ValueError(
                f"{folder} has no split {split!r}, but {', '.join(names) or 'none'}. Name the folder of one split."
            )
        saved = saved[split if split in names else names[0]]
    return dataset_table(saved, str(folder))


def read_hub(name, split, config, num_proc):
    """A data set of the Hub. None of its code runs.

    Args: name, split (`str`); config (`str`, *optional*): which of its configurations; num_proc (`int`, *optional*).
    Returns: [`TextTable`] and the `Dataset`.
    Raises: ValueError: there is no such data set, configuration or split, or no way to it.
    """
    options = {"trust_remote_code": False} if int(datasets.__version__.split(".")[0]) < 4 else {}
    try:
        dataset = load_dataset(name, config, split=split, num_proc=num_proc, **options)
    except (DatasetsError, OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        if "onfig name is missing" in str(error) or "BuilderConfig" in str(error):
            raise ValueError(
                f"The data set {name} has several configurations: {error}\nName one: "
                "`dataset_config_name=NAME` (`hub_config` of `read_text`)."
            ) from error
        raise ValueError(
            f"{name} is no file or folder here, and no dataset of that name with a split {split!r} could be read from "
            f"the Hub: {error} Check the path, or the dataset's name, its splits and your access to it."
        ) from error
    return dataset_table(dataset, name), dataset


def dataset_table(dataset, name):
    """A `Dataset` as a table. Args: dataset (`Dataset`); name (`str`): for messages. Returns: [`TextTable`]."""
    kinds = _kinds(dataset.features.arrow_schema)

    def rows(column):
        _refuse_numbers(name, column, kinds)
        yield from values(column)

    def values(column):
        only: Dataset = dataset.select_columns([column]).with_format(None)
        yield from enumerate((value for batch in only.iter(AT_ONCE) for value in batch[column]), 1)

    return TextTable(name, kinds, rows, unit="row", values=values)


def _refuse_numbers(name, column, kinds):
    if kinds[column] not in (TEXT, TEXTS, EMPTY):
        raise ValueError(f"{name}: the column {column!r} holds {kinds[column]}, not text. Name one with text.")


def _kinds(schema):
    return {field.name: _kind(field.type) for field in schema}


def _kind(kind):
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    if _is_string(kind):
        return TEXT
    if pa.types.is_null(kind):
        return EMPTY
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return TEXTS if _is_string(kind.value_type) else NESTED
    return NESTED if pa.types.is_nested(kind) else str(kind)


def _is_string(kind):
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
