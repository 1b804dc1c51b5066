"""`.json` and `.jsonl`: rows from a list, or from values one behind the other, a piece of the file at a time."""

import json
import re
from itertools import islice

from .columns import EMPTY, NESTED, NUMBERS, TEXT, TEXTS, TextTable
from .lines import open_text, read_lines, too_long


LOOKED_AT = 1_000  # rows that say what a column holds
BLOCK = 1 << 16  # characters
LONGEST_TOKEN = 16  # characters that may be missing at the end of a block without an error being one
SPACE = re.compile(r"[ \t\r\n]*")
# Numbers are never text here, and `float` takes any number of digits. Tabs in texts are no fault to stop at.
DECODER = json.JSONDecoder(parse_int=float, strict=False)
PANDAS = "pandas: `to_json(path, orient='records', lines=True, force_ascii=False)`"


def read_json(file, max_length):
    """A `.json` or `.jsonl` file as a table: a list of objects or texts, or one object or text behind the other.

    Args: file (`Path`); max_length (`int`): characters of the longest row. Returns: [`TextTable`].
    Raises: ValueError: no JSON, no rows, or rows that are neither objects nor texts; the message names the line.
    """
    kinds = kinds_of(islice(_rows(file, max_length), LOOKED_AT))
    if not kinds:
        raise ValueError(f"{file}: no rows. Give one sentence or paragraph a row.")

    def rows(column):
        for number, row in _rows(file, max_length):
            value = row.get(column)
            check_is_text(value, file, number, column)
            yield number, value

    def values(column):
        yield from ((number, row.get(column)) for number, row in _rows(file, max_length))

    return TextTable(str(file), kinds, rows, all_kinds=lambda: kinds_of(_rows(file, max_length)), values=values)


def read_objects(file, max_length):
    """All fields of a `.json` or `.jsonl` file. Arguments and errors as those of [`read_json`].

    Yields: the number of its line, and the object, of each row.
    """
    yield from _rows(file, max_length)


def _rows(file, max_length):
    """Number of its line, and the object, of each row; a text is an object with the one field `text`."""
    for number, value in _values(file, max_length):
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            raise ValueError(
                f"{file}, line {number} holds {_named(value)}: a row must be an object such as "
                f'{{"text": "..."}}, or a text. ({PANDAS}.)'
            )
        yield number, value


def _values(file, max_length):
    """Number of its line, and the value."""
    if not _is_one_a_line(file, max_length):
        yield from _values_in_stream(file, max_length)
        return
    for number, line in enumerate(read_lines(file, max_length), 1):
        if line.strip():
            try:
                yield number, DECODER.decode(line)
            except (ValueError, RecursionError) as error:
                raise _broken(file, number, error) from error


def _is_one_a_line(file, max_length):
    """Whether the first line with anything in it is a whole value, and not the beginning of a list."""
    with open_text(file) as stream:
        first = "\n"
        while first and not first.strip():
            first = stream.readline(max_length + 1)
    try:
        return first == "" or not isinstance(DECODER.decode(first), list)
    except (ValueError, RecursionError):
        return False


def _values_in_stream(file, max_length):
    """Values over several lines, or in one list: the text is decoded piece by piece."""
    with open_text(file) as stream:
        text = _Stream(file, stream, max_length)
        in_list = text.skip("[")
        while not text.at_end():
            if in_list and text.skip("]"):
                in_list = False
                if not text.at_end():
                    raise _broken(file, text.line(), "there is more behind the list")
                return
            yield text.line(), text.value()
            if in_list and not text.skip(",") and not text.sees("]"):
                raise _broken(file, text.line(), "a comma or the end of the list is missing")
        if in_list:
            raise _broken(file, text.line(), "the list has no end")


class _Stream:
    """A text that is longer than what is held of it."""

    def __init__(self, file, stream, max_length):
        self._file, self._stream, self._max_length = file, stream, max_length
        self._held, self._at = "", 0
        self._line, self._counted = 1, 0  # the number of the line that `_held` is in at `_counted`

    def line(self):
        """The number of the line that is reached."""
        self._line += self._held.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def sees(self, sign):
        """Whether this sign is next, behind white space."""
        return not self.at_end() and self._held[self._at] == sign

    def skip(self, sign):
        """Go past the sign where it is next: `bool`."""
        found = self.sees(sign)
        self._at += found
        return found

    def at_end(self):
        """Whether nothing but white space is left."""
        while True:
            space = SPACE.match(self._held, self._at)
            self._at = space.end() if space else self._at  # it always matches
            if self._at < len(self._held) or not self._more():
                return self._at == len(self._held)

    def value(self):
        """The value that is next."""
        while True:
            try:
                value, self._at = DECODER.raw_decode(self._held, self._at)
                return value
            except RecursionError as error:
                raise _broken(self._file, self.line(), error) from error
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._held) - LONGEST_TOKEN
                if not cut or not self._more():
                    line = self.line() + self._held.count("\n", self._at, error.pos)
                    raise _broken(self._file, line, error) from error
                if len(self._held) - self._at > self._max_length:
                    raise too_long(self._file, self.line(), self._max_length, "JSON value") from error

    def _more(self):
        """Read on, as much again as is held: `bool`."""
        self.line()
        self._held, self._at, self._counted = self._held[self._at :], 0, 0
        block = self._stream.read(max(BLOCK, len(self._held)))
        self._held += block
        return block != ""


def kinds_of(rows):
    """What each field holds. Args: rows (iterable of a number and a `dict`). Returns: `dict[str, str]`."""
    kinds: dict[str, str] = {}
    for _, row in rows:
        for name, value in row.items():
            kind = _kind(value)
            before = kinds.get(name, EMPTY)
            # What is stronger stays: objects over lists of text, these over text, text over numbers.
            kinds[name] = max(before, kind, key=[EMPTY, NUMBERS, TEXT, TEXTS, NESTED].index)
    return kinds


def _kind(value):
    if value is None:
        return EMPTY
    if isinstance(value, str):
        return TEXT
    if isinstance(value, (dict, list)):
        return TEXTS if _is_list_of_text(value) else NESTED
    return NUMBERS


def check_is_text(value, name, number, column, unit="line"):
    """Refuse what is neither text, nothing, nor a list of these.

    Args: value; name (file or `str`), number (`int`), column (`str`), unit (`str`): where it stands.
    Raises: ValueError
    """
    if not _is_text(value) and not _is_list_of_text(value):
        raise ValueError(
            f"{name}, {unit} {number}: {column!r} holds {_named(value)}, not text. Give text, null or a list of texts "
            "in every row."
        )


def _is_text(value):
    return value is None or isinstance(value, str)


def _is_list_of_text(value):
    return isinstance(value, list) and all(map(_is_text, value))


def _named(value):
    names = {type(None): "null", bool: "true or false", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def _broken(file, number, error):
    says = getattr(error, "msg", None) or str(error)
    if isinstance(error, RecursionError):
        says = "lists or objects are nested too deeply"
    return ValueError(f"{file} could not be read as json: line {number}: {says}.")
