"""`.csv` and `.tsv`: separator, quotation marks and header are looked at, and every row is counted."""

import csv
import re
import shlex
from itertools import islice

from .columns import EMPTY, NUMBERS, TEXT, TextTable
from .lines import read_lines, too_long


SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # the usual one first
SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
GIVE_ROWS = "Give a header, and one sentence or paragraph a row."
LOOKED_AT = 10_000  # rows that say what a column holds
LONGEST_NAME = 40  # characters; a longer header is a sentence
ENDS_SENTENCE = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]['\"\u201d\u2019)\]]*$")
# A row as CSV writers make it: each cell is free of quotation marks, or quoted with those inside doubled.
QUOTED_ROW = re.compile(r'(?:"(?:[^"]|"")*"|[^"\t\r\n]*)(?:\t(?:"(?:[^"]|"")*"|[^"\t\r\n]*))*[\r\n]*')


class _Delimited:
    """How the cells of one file stand in it."""

    def __init__(self, file, suffix, max_length):
        self.file = file
        self.max_length = max_length
        self.separator = ","
        self.quoted = True
        self.separator = self._find_separator(SEPARATORS[suffix])
        # A corpus with tabs (NSMC, KorSTS) has quotation marks as text; CSV writers quote in such files too.
        self.quoted = self.separator != "\t" or _is_quoted(file, max_length)
        header = next(self._records(), None)
        if header is None:
            raise ValueError(f"{file}: no rows. {GIVE_ROWS}")
        self.header_line, cells, _ = header
        self.names = [name.strip() for name in cells]
        self.multiline = 0

    def records(self):
        """Number of its line, and the cells, of each row behind the header; each has as many cells as the header."""
        self.multiline = 0
        for number, cells, lines in islice(self._records(), 1, None):
            if len(cells) != len(self.names):
                raise ValueError(self._explain_count(number, cells))
            self.multiline += lines > 1
            yield number, cells

    def rows(self, column):
        """Number of its line, and the cell of a column, of each row."""
        index = self.names.index(column)
        for number, cells in self.records():
            yield number, cells[index]

    def _records(self):
        lines = read_lines(self.file, self.max_length)
        if not self.quoted:
            for number, line in enumerate(lines, 1):
                if line.strip("\r\n"):
                    yield number, line.rstrip("\r\n").split(self.separator), 1
            return
        row = _OneRow(lines, self.file, self.max_length)
        reader = csv.reader(row, delimiter=self.separator, strict=True)
        while True:
            row.begin(reader.line_num + 1)
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise self._explain(error, row.number, reader.line_num) from error
            if cells is None:
                return
            if cells:
                yield row.number, cells, len(row.lines)

    def _find_separator(self, candidates):
        """The first that divides the header, the usual one tried first; the usual one where none does."""
        header = next((line for line in read_lines(self.file, self.max_length) if line.strip("\r\n")), "")
        return next((separator for separator in candidates if _divides(separator, header)), candidates[0])

    def _explain_count(self, number, cells):
        name = SEPARATOR_NAMES[self.separator]
        counts = f"{self.file}, line {number}: {len(cells)} cells, but the header (line {self.header_line}) has "
        counts += f"{len(self.names)} ({_shown(self.names)}), separated by a {name}. The row begins: {_shown(cells)}."
        if len(cells) < len(self.names):
            return f"{counts} A line break inside text must stand in quotation marks, and no cell may be left out."
        remedy = "put it into quotation marks (pandas: `to_csv(index=False)` does)"
        if not self.quoted:
            remedy = "replace it by a space"
        return (
            f"{counts} Where a {name} belongs to the text, {remedy}; if every line is one text as it stands, take the "
            "header out and name the file .txt."
        )

    def _explain(self, error, first, last):
        message = str(error)
        if "new-line" in message:
            return ValueError(
                f"{self.file}, line {last} holds a carriage return inside a cell. Put the cell into quotation marks, "
                f"or remove them all: `tr -d '\\r' < {shlex.quote(str(self.file))} > cleaned{self.file.suffix}`."
            )
        if "unexpected end" in message:
            return ValueError(
                f"{self.file}, line {first}: a quotation mark that opens here is never closed. Close it, or double it "
                'if it belongs to the text ("""said he").'
            )
        return ValueError(
            f"{self.file}, line {last}: a quotation mark inside a quoted cell, or one from line {first} that is not "
            'closed. Inside a quoted cell write it twice (""), not as \\" and not alone, as `to_csv(index=False)` of '
            "pandas does."
        )


def read_delimited(file, suffix, max_length):
    """A `.csv` or `.tsv` file as a table.

    Args: file (`Path`); suffix (`str`): `".csv"` or `".tsv"`; max_length (`int`): characters of the longest row.
    Returns: [`TextTable`].
    Raises: ValueError: cells and header do not fit together; the message names the line.
    """
    layout = _Delimited(file, suffix, max_length)
    kinds = _kinds(layout)
    notes = []
    if layout.separator != SEPARATORS[suffix][0] and len(layout.names) > 1:
        notes.append(f"{file}: cells are separated by a {SEPARATOR_NAMES[layout.separator]}.")
    if layout.separator == "\t" and layout.quoted:
        notes.append(f"{file}: quotation marks around cells are taken off, as a CSV writer has put them there.")

    def rows(column):
        if layout.names.count(column) > 1:
            raise ValueError(
                f"{file}: the header has {column!r} {layout.names.count(column)} times. Rename the others."
            )
        yield from layout.rows(column)
        if layout.multiline:
            notes.append(f"{file}: {layout.multiline} rows hold line breaks, in quotation marks.")

    def values(column):
        yield from _Delimited(file, suffix, max_length).rows(column)  # another one, which may be read beside `rows`

    return TextTable(str(file), kinds, rows, notes, names="header", values=values)


def read_cells(file, suffix, max_length):
    """All columns of a `.csv` or `.tsv` file. Arguments and errors as those of [`read_delimited`].

    Returns: `list[str]`, the names in the header; an iterator over the number of its line, and the cells, of each row.
    """
    layout = _Delimited(file, suffix, max_length)
    return layout.names, layout.records()


def refuse_sentence_as_name(table, column):
    """Refuse a column that was not asked for by its name, where the name is a sentence: there is no header.

    Args: table ([`TextTable`]); column (`str`).
    Raises: ValueError
    """
    words = len(column.split())
    beside_numbers = words > 1 and any(map(_is_number, table.kinds))
    if len(column) > LONGEST_NAME or words > 4 or ENDS_SENTENCE.search(column) or beside_numbers:
        raise ValueError(
            f"{table.name}: the first line is the header, and it looks like text: {_shown([column])}. If the file has "
            "no header, write one (`text`) above it, or name the file .txt if every line is one text. If it is the "
            "header, give the column with `text_column`."
        )
    if words > 1:
        table.notes.append(f"{table.name}: the first line is taken for the header: {_shown(table.kinds)}.")


def _kinds(layout):
    """What each column holds, by the first rows."""
    kinds = dict.fromkeys(layout.names, EMPTY)
    cells = None
    for _, cells in islice(layout.records(), LOOKED_AT):
        for name, cell in zip(layout.names, cells, strict=True):
            if kinds[name] != TEXT and cell.strip():
                kinds[name] = NUMBERS if _is_number(cell) else TEXT
    if cells is None:
        raise ValueError(f"{layout.file}: no rows behind the header ({_shown(layout.names)}). {GIVE_ROWS}")
    return kinds


def _is_number(cell):
    if cell.strip().lower() in ("true", "false"):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().lower() != "nan"  # a word as well


def _divides(separator, header):
    try:
        return len(next(csv.reader([header], delimiter=separator, strict=True))) > 1
    except csv.Error:
        return False


def _is_quoted(file, max_length):
    """Whether the cells of a file with tabs are quoted as CSV writers do: each that has a quotation mark is, in full.

    One quoted for no need (`"yes"`) does not say so, unless the header is quoted too.
    """
    if not any('"' in line for line in read_lines(file, max_length)):
        return False
    row = _OneRow(read_lines(file, max_length), file, max_length)
    says_so = False
    try:
        for number, cells in enumerate(csv.reader(row, delimiter="\t", strict=True)):
            text = "".join(row.lines)
            row.begin(row.number + len(row.lines))
            if '"' in text:
                if not QUOTED_ROW.fullmatch(text):
                    return False
                says_so = says_so or number == 0 or any(sign in cell for cell in cells for sign in '"\t\n\r')
    except csv.Error:
        return False
    return says_so


class _OneRow:
    """Lines for `csv.reader`, which keeps those of one row and bounds how long it grows."""

    def __init__(self, lines, file, max_length):
        # The module's own limit on a cell, 131,072 characters, is one for the process.
        csv.field_size_limit(max(csv.field_size_limit(), max_length))
        self._lines, self._file, self._max_length = lines, file, max_length
        self.begin(1)

    def begin(self, number):
        """A row begins in the line of this number."""
        self.number, self.lines, self._length = number, [], 0

    def __iter__(self):
        return self

    def __next__(self):
        line = next(self._lines)
        self.lines.append(line)
        self._length += len(line)
        if self._length > self._max_length:
            raise too_long(self._file, self.number, self._max_length, "row (does a quotation mark never close?)")
        return line


def _shown(cells):
    cells = list(cells)
    shown = [cell if len(cell) <= 20 else f"{cell[:20]}…" for cell in cells[:5]]
    return ", ".join(map(repr, shown)) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
