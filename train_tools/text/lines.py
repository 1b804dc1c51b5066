"""Bytes of a text file to lines: compression, encoding, ends of lines, and how long a line may be."""

import codecs
import gzip
import io
import shlex
import zlib
from contextlib import contextmanager

import pyarrow as pa

from .finding import is_packed, packing


# Characters. A row is a sentence or a paragraph, at most a book; a longer one is a broken file. A tokenizer takes more
# than a hundred bytes of memory for each character of one row.
MAX_ROW_LENGTH = 10_000_000

# UTF-32 first: its mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
OTHER_KINDS = {
    b"\x1f\x8b": "compressed with gzip: add .gz to its name",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: add .zst to its name",
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx): unpack it, or save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet or document (.xls, .doc): save it as CSV UTF-8",
    b"PAR1": "a parquet file: its name should end in .parquet",
    b"%PDF": "a PDF: extract its text first",
}
HEAD = 1 << 16  # bytes
UNPACK = {".gz": "gzip -dc", ".zst": "zstd -dc"}


def read_lines(file, max_length=MAX_ROW_LENGTH):
    """The lines of a UTF-8 file, each with its end.

    A line ends with a line feed, as for `wc -l` and editors: U+2028, U+0085 or a lone carriage return do not end one.
    Only in a file that has carriage returns and no line feed (old Macintosh) do those end lines.

    Args:
        file (`Path`): with `.gz` or `.zst`, compressed. max_length (`int`): characters of the longest line.

    Yields:
        `str`

    Raises:
        ValueError: a line is too long or holds a NUL, or the file is not UTF-8 or damaged.
    """
    with open_text(file) as stream:
        number = 0
        while line := stream.readline(max_length + 1):
            number += 1
            if len(line) > max_length:
                raise too_long(file, number, max_length)
            if "\0" in line:
                raise ValueError(_explain_nul(file, number))
            yield line


def too_long(file, number, max_length, what="line", unit="line"):
    """The error for what is too long, in the line, or row, of a number."""
    return ValueError(
        f"{file}, {unit} {number}: this {what} is longer than {max_length:,} characters. Give one sentence or "
        "paragraph a row; divide longer text at its line or sentence ends first."
    )


@contextmanager
def open_text(file):
    """A file as text, with errors that name it: `TextIOWrapper` without the byte order mark."""
    head = read_head(file)
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            raise ValueError(f"{file} is {encoding}, not UTF-8. {_convert(file, encoding)}")
    for magic, kind in OTHER_KINDS.items():
        if head.startswith(magic):
            raise ValueError(f"{file} could not be read as text: it is {kind}.")
    end = "\r" if b"\r" in head and b"\n" not in head else "\n"
    with (
        damage_named(file),
        open_bytes(file) as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", newline=end) as stream,
    ):
        try:
            yield stream
        except UnicodeDecodeError as error:
            raise ValueError(_explain_decoding(file)) from error


def open_bytes(file):
    """A file as bytes, unpacked."""
    if packing(file) == ".zst":
        return pa.input_stream(str(file), compression="zstd")
    return gzip.open(file) if is_packed(file) else open(file, "rb")


def read_head(file):
    """The first bytes of a file, unpacked."""
    with damage_named(file), open_bytes(file) as stream:
        return stream.read(HEAD)


@contextmanager
def damage_named(file):
    """Turns the errors of broken compression into a `ValueError` that names the file."""
    try:
        yield
    except gzip.BadGzipFile as error:
        raise ValueError(
            f"{file} is not gzip, or damaged: {error}. Take .gz out of its name if it is not compressed; otherwise "
            "get it anew."
        ) from error
    except (EOFError, zlib.error) as error:
        raise ValueError(
            f"{file} is cut off or damaged: {error}. Get it anew, and check it: `gzip -t {shlex.quote(str(file))}`."
        ) from error
    except OSError as error:
        if error.errno is not None or packing(file) != ".zst":  # the file system's own errors have a number
            raise
        raise ValueError(
            f"{file} is not zstd, cut off or damaged: {error}. Get it anew, and check it: "
            f"`zstd -t {shlex.quote(str(file))}`."
        ) from error


def _explain_decoding(file):
    """What is not UTF-8, where, and what it may be instead."""
    number, line = _first_that_is_not_utf8(file)
    says = f"{file} is not UTF-8 (line {number})."
    if _is_cp949(file):
        shown = line.decode("cp949", "replace").strip()[:30]
        return f"{says} It can be read as CP949 (Korean Windows): {shown!r}. {_convert(file, 'CP949')}"
    return (
        f"{says} Its encoding is not known: ask who made it, or see `file -bi {shlex.quote(str(file))}`. "
        f"{_convert(file, 'ENCODING')}"
    )


def _first_that_is_not_utf8(file):
    decoder = codecs.getincrementaldecoder("utf-8")()
    number, line = 1, b""
    try:
        with open_bytes(file) as stream:
            while line := stream.readline(HEAD):
                decoder.decode(line)
                number += line.endswith(b"\n")
    except UnicodeDecodeError:
        pass
    return number, line


def _is_cp949(file):
    """Whether all of a file decodes as CP949, most of what is not ASCII to Hangul."""
    decoder = codecs.getincrementaldecoder("cp949")()
    hangul = other = 0
    try:
        with open_bytes(file) as stream:
            while True:
                block = stream.read(1 << 20)
                text = decoder.decode(block, final=not block)
                signs = [sign for sign in text if sign > "\x7f"]
                hangul += sum("\uac00" <= sign <= "\ud7a3" for sign in signs)
                other += len(signs)
                if not block:
                    return hangul > other / 2
    except UnicodeDecodeError:
        return False


def _explain_nul(file, number):
    head = read_head(file)
    for encoding, zeros in (("UTF-16LE", head[1::2]), ("UTF-16BE", head[::2])):
        if zeros.count(0) > len(head) / 8:
            return f"{file} is not UTF-8: it looks like {encoding} without a mark. {_convert(file, encoding)}"
    if is_packed(file):
        unpack = UNPACK[packing(file)]
        remedy = f"{unpack} {shlex.quote(str(file))} | tr -d '\\000' > cleaned{file.with_suffix('').suffix}"
    else:
        remedy = f"tr -d '\\000' < {shlex.quote(str(file))} > cleaned{file.suffix}"
    return (
        f"{file}, line {number} holds a NUL byte: the file is binary or damaged. If it is text, remove them: "
        f"`{remedy}`."
    )


def _convert(file, encoding):
    name = shlex.quote(str(file))
    if is_packed(file):
        unpack = UNPACK[packing(file)]
        return f"Convert it: `{unpack} {name} | iconv -f {encoding} -t UTF-8 > utf8{file.with_suffix('').suffix}`."
    return f"Convert it: `iconv -f {encoding} -t UTF-8 {name} > utf8{file.suffix}`."
