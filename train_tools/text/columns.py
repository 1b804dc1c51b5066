"""A source of rows as a table, and the column of it that is the text."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field


# What a column holds.
TEXT = "text"
TEXTS = "lists of text"
NESTED = "objects or lists"
NUMBERS = "numbers"
EMPTY = "nothing"


@dataclass
class TextTable:
    """Rows with named columns, read when they are asked for.

    Args:
        name (`str`): the file or data set, for messages.
        kinds (`dict[str, str]`): what each column holds, such as `TEXT`.
        rows (callable): takes a column's name, yields for each row a number, that of its line where it has one, and
            `str`, `None` or a list of them.
        notes (`list[str]`): what a user should know about how it was read; may grow while rows are read.
        names (`str`): where the columns' names come from: `"fields"`, a `"header"` line, or `"nothing"`, as for lines.
        unit (`str`): what the numbers of rows count: `"line"` or `"row"`.
        all_kinds (callable, *optional*): looks at all rows for `kinds`, where that comes from the first ones.
        values (callable, *optional*): as `rows`, of a column of any kind; lines have none.
    """

    name: str
    kinds: dict[str, str]
    rows: Callable
    notes: list[str] = field(default_factory=list)
    names: str = "fields"
    all_kinds: Callable | None = None
    unit: str = "line"
    values: Callable | None = None


def choose_column(table, wanted=None):
    """The column that holds the text: the one that is wanted, the one called `text`, or the only one with text.

    Args: table ([`TextTable`]); wanted (`str`, *optional*). Returns: `str`.
    Raises: ValueError: there is none, or more than one could be meant.
    """
    if wanted not in (None, *table.kinds) and table.all_kinds is not None:
        table.kinds = table.all_kinds()
    names = ", ".join(table.kinds)
    kinds = ", ".join(f"{name} ({kind})" for name, kind in table.kinds.items())
    if wanted is not None:
        return _check_wanted(table, wanted)
    texts = [name for name, kind in table.kinds.items() if kind == TEXT]
    if "text" in texts:
        return "text"
    if not texts:  # text may come after the rows that were looked at
        empty = [name for name, kind in table.kinds.items() if kind == EMPTY]
        texts = ["text"] if "text" in empty else empty if len(table.kinds) == 1 else []
    nested = [name for name, kind in table.kinds.items() if kind in (TEXTS, NESTED)]
    if nested:
        raise ValueError(
            f"{table.name}: which column is the text cannot be guessed where there are lists or objects. The columns "
            f"are: {kinds}. Name a column of text, or of lists of text: `text_column=NAME`. Text deeper inside must "
            "become a column first."
        )
    if not texts:
        raise ValueError(f"{table.name}: no column holds text. The columns are: {names}.")
    if len(texts) > 1:
        raise ValueError(
            f"{table.name}: {len(texts)} columns hold text: {', '.join(texts)}. Choose one: `text_column={texts[0]}`."
        )
    return texts[0]


def _check_wanted(table, wanted):
    if wanted not in table.kinds:
        near = difflib.get_close_matches(wanted, table.kinds, n=1)
        meant = f" Do you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{table.name}: there is no column {wanted!r}. The columns are: {', '.join(table.kinds)}.{meant}"
        )
    if table.kinds[wanted] == NESTED:
        raise ValueError(
            f"{table.name}: the column {wanted!r} holds objects or lists, not text. Name a column of text, or of "
            f"lists of text: the columns are {', '.join(table.kinds)}. Or write the text into a column of its own."
        )
    return wanted
