"""Whole rows of a table, every column of it: what a labelled file is read from."""

from dataclasses import dataclass
from pathlib import Path

from .delimited import read_cells
from .finding import ending
from .json_rows import read_objects
from .lines import MAX_ROW_LENGTH
from .stored import read_parquet_rows


ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")  # each also with `.gz` or `.zst` behind it


@dataclass(frozen=True)
class Records:
    """The rows of one file.

    Args:
        name (`str`): the file, for messages.
        columns (`list[str]`): their names, in order; a name that a header has twice stands here twice.
        rows (`list[tuple[int, dict]]`): the number of a row (of its line, where it has one), and its values by column;
            of a column that is there twice, the last. Texts in `.csv` and `.tsv`, else what the file holds.
        unit (`str`): what the numbers count: `"line"` or `"row"`.
    """

    name: str
    columns: list
    rows: list
    unit: str


def read_records(path, max_row_length=MAX_ROW_LENGTH):
    """Read all columns of a file.

    Args:
        path (`str` or path): `.csv .tsv .json .jsonl .parquet`, each also `.gz` or `.zst`.
        max_row_length (`int`): characters of the longest row.

    Returns:
        [`Records`]

    Raises:
        ValueError: there is no such file; it is empty, damaged, not UTF-8 or of another kind; or cells and header do
            not fit.
    """
    file = Path(path).expanduser()
    suffix = ending(file)
    if suffix not in ENDINGS:
        raise ValueError(f"{file} is of an unknown kind. Read are {' '.join(ENDINGS)}, each also with .gz or .zst.")
    if not file.is_file():
        raise ValueError(f"No such file: {file}.")
    if not file.stat().st_size:
        raise ValueError(f"{file} is empty (0 bytes).")
    if suffix in (".json", ".jsonl"):
        rows = list(read_objects(file, max_row_length))
        columns = list(dict.fromkeys(name for _, row in rows for name in row))
        rows = [(number, {name: row.get(name) for name in columns}) for number, row in rows]
    else:
        columns, values = read_parquet_rows(file) if suffix == ".parquet" else read_cells(file, suffix, max_row_length)
        rows = [(number, dict(zip(columns, cells, strict=True))) for number, cells in values]
    if not rows:
        raise ValueError(f"{file}: no rows. The columns are: {', '.join(columns) or 'none'}.")
    return Records(str(file), columns, rows, "row" if suffix == ".parquet" else "line")
