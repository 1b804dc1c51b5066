"""Text in: files, folders, globs or a Hub dataset to one column of sentences, and sentences to token ids.

How is in `text/`: which files, their lines and cells, which column, the cache, tokenizing.
"""

from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset
from datasets.fingerprint import Hasher
from datasets.utils import tqdm

from .text.cache import cached_rows
from .text.columns import TEXT, TextTable, choose_column
from .text.delimited import read_delimited, refuse_sentence_as_name
from .text.documents import Numbered
from .text.finding import ending, find_sources, is_saved, shown_endings
from .text.json_rows import read_json
from .text.lines import MAX_ROW_LENGTH, read_lines, too_long
from .text.stored import read_hub, read_parquet, read_saved
from .text.tokenizing import tokenize_text, tokenizer_identity


__all__ = ["TextData", "read_text", "tokenize_text", "tokenizer_identity"]

PATIENCE = 5  # seconds of reading without a progress bar
RULES = 1  # raise it when the same files give other rows than before: those in the cache are then made anew


@dataclass(frozen=True)
class TextData:
    """What [`read_text`] read.

    Args:
        dataset (`datasets.Dataset`): one column, `text`, without empty rows; and `document` where it was asked for.
        sources (`list[str]`): the files, or the Hub dataset.
        column (`str`): the column that the text stood in.
        dropped_rows (`int`): rows left out because they were empty.
        notes (`list[str]`): what a user should know about how the files were read, a sentence each.
    """

    dataset: Dataset
    sources: list[str]
    column: str
    dropped_rows: int
    notes: list[str] = field(default_factory=list)


def read_text(
    sources,
    *,
    text_column=None,
    hub_split="train",
    hub_config=None,
    num_proc=None,
    max_row_length=MAX_ROW_LENGTH,
    documents=False,
    document_column=None,
):
    """Read one column of text. Other columns do not matter, and may differ from file to file.

    Every line of a `.txt` file is a row; every row of a `.csv` or `.tsv` file must have as many cells as its header; a
    `.json` or `.jsonl` file holds a list of objects, or one object behind the other. A list of texts gives a row each.
    The rows are cached by `datasets`' rules, until a file changes.

    Args:
        sources (`str`, path, or a list of them): files (`.csv .tsv .json .jsonl .parquet .txt`, each also `.gz`),
            folders with all that is below them, or one that `save_to_disk` wrote, globs, or one Hub dataset id.
        text_column (`str`, *optional*): the column with the text; by default the one called `text`, or the only one
            that holds text.
        hub_split (`str`): the split of a Hub dataset that is read.
        hub_config (`str`, *optional*): the configuration of a Hub dataset that has several; files have none.
        num_proc (`int`, *optional*): processes that prepare a Hub dataset.
        max_row_length (`int`): characters of the longest row.
        documents (`bool`): number the documents, in a column `document` beside the text. One begins with a file, where
            `document_column` has another value than in the row before, and behind an empty line of a `.txt` file.
        document_column (`str`, *optional*): says which document a row is of: a name, a number, whatever stands there.

    Returns:
        [`TextData`]

    Raises:
        ValueError: nothing is there; a file is empty, damaged, not UTF-8 or of an unknown kind; cells and header do
            not fit; a row is too long; or the column is not clear. The message names the file and the line.
    """
    sources = [sources] if isinstance(sources, (str, Path)) else list(sources)
    found = find_sources(sources)
    if found is None:
        names = [str(sources[0])]
        table, dataset = read_hub(names[0], hub_split, hub_config, num_proc)
        tables, content = iter([table]), dataset._fingerprint
    else:
        names = [str(path) for path in found]
        tables = (_table(path, hub_split, max_row_length) for path in found)  # each opened when its turn comes
        content = [_content(path) for path in found]
    how = [RULES, content, names, text_column, hub_split, max_row_length]
    key = Hasher.hash([*how, document_column] if documents else how)

    def make(write):
        numbered = Numbered(document_column) if documents else None
        return _write_rows(tables, names, text_column, max_row_length, write, numbered)

    dataset, facts = cached_rows(key, make, with_documents=documents)
    return TextData(dataset, names, facts["column"], facts["dropped"], facts["notes"])


def _content(path):
    """What changes when a file does, or one of those that `save_to_disk` wrote. Refuses what is no text file."""
    if not is_saved(path) and ending(path) is None:
        raise ValueError(f"{path} is of an unknown kind. Read are {shown_endings()}, each also with .gz.")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(file, file.stat()) for file in files]
    if not any(state.st_size for _, state in states):
        raise ValueError(f"{path} is empty (0 bytes). Give files with one sentence or paragraph a row.")
    return [(str(file.resolve()), state.st_size, state.st_mtime_ns) for file, state in states]


def _table(path, split, max_length):
    if is_saved(path):
        return read_saved(path, split)
    suffix = ending(path)
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix in (".json", ".jsonl"):
        return read_json(path, max_length)
    if suffix in (".csv", ".tsv"):
        return read_delimited(path, suffix, max_length)
    return TextTable(str(path), {"text": TEXT}, lambda column: _lines(path, max_length), names="nothing")


def _lines(path, max_length):
    for number, line in enumerate(read_lines(path, max_length), 1):
        yield number, line.rstrip("\r\n")


def _write_rows(tables, names, wanted, max_length, write, numbered=None):
    """Write the text of all tables; returns what is worth knowing about it."""
    chosen: dict[str, str] = {}
    notes, kept, dropped = _packed_twins(names), 0, 0
    for table in tables:
        read = kept + dropped
        rows = table.rows(_choose(table, wanted, chosen))
        if numbered is not None:
            rows = numbered.watched(table, rows)
        for number, value in tqdm(rows, desc="Reading", unit=" rows", delay=PATIENCE, leave=False):
            for text in value if isinstance(value, list) else [value]:
                if text is None or not text.strip():
                    dropped += 1
                elif len(text) > max_length:
                    raise too_long(table.name, number, max_length, "text", table.unit)
                else:
                    write(text, 0 if numbered is None else numbered.document)
                    kept += 1
        if kept + dropped == read:
            raise ValueError(f"{table.name}: no rows. Give one sentence or paragraph a row.")
        notes += table.notes
    column = next(iter(chosen), "text")
    if wanted not in (None, column):
        raise ValueError(f"{_shown(names)}: there is no column {wanted!r}: lines have no columns. Leave it out.")
    if not kept:
        raise ValueError(
            f"{_shown(names)}: no row of the column {column!r} holds text ({dropped} rows read). Give files with one "
            "sentence or paragraph a row."
        )
    return {"column": column, "dropped": dropped, "notes": notes}


def _packed_twins(names):
    """A note for files that are there packed and unpacked: their text would count twice."""
    return [f"{name} and {name}.gz are both read: leave one out." for name in names if f"{name}.gz" in names]


def _choose(table, wanted, chosen):
    """The column of a table; `chosen` holds the columns so far, each with a table that has it."""
    if table.names == "nothing":
        return "text"
    column = choose_column(table, wanted)
    if wanted is None and table.names == "header":
        refuse_sentence_as_name(table, column)
    if chosen and column not in chosen:
        other, name = next(iter(chosen.items()))
        raise ValueError(
            f"The text of {name} is in the column {other!r}, that of {table.name} in {column!r}. Give `text_column` "
            "if one name fits all, name these columns alike, or leave out the files that do not belong."
        )
    chosen.setdefault(column, table.name)
    return column


def _shown(names):
    return str(names[0]) if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
