"""Write the file of token ids that `make gpu` reads: `make gpu-data`.

It is made where the package is installed, with `datasets`; the machine with the GPU needs neither.
"""

import argparse
import math
import random
from pathlib import Path

from ..rounds import vocab_rows
from ..text import add_text_options, read_rows
from .tokens import DEFAULT, SPECIAL, Tokens, write_tokens


LEAST_TOKENS, MOST_TOKENS = 200_000, 6_000_000  # the least is three times the largest batch
MOST_BYTES = 15 * 10**6  # so that it travels easily
# Of the texts that are read by default, by the name of a file; `--licence` says it of others.
LICENCES = {
    "tensorflow_ko.txt.gz": "Apache-2.0",
    "python_ko.txt.gz": "PSF licence",
    "react_ko.txt.gz": "CC BY 4.0",
    "pytorch_ko.txt.gz": "BSD-3-Clause",
    "nsmc_unlabeled.parquet": "CC0 1.0",
    "ko_misc.parquet": "by sentence CC BY-SA 4.0, CC BY-SA 3.0 or MIT",
    "ko_books.csv": "Apache-2.0",
}


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.data", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=DEFAULT, help="the file; default: .gpu/tokens.npz")
    parser.add_argument("--licence", help="of the text, in words; known for the default text")
    add_text_options(parser)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line. Returns: `Path` of the file."""
    options = parse_arguments(arguments)
    text = read_rows(options)
    special_ids = {name: getattr(text.tokenizer, f"{name}_id") for name in SPECIAL}
    licence = options.licence or licence_of(text.files)
    rows = at_most([row for row in text.rows if len(row) > 2], MOST_TOKENS)
    times = max(1, math.ceil(LEAST_TOKENS / sum(map(len, rows))))  # the same sentences take as long again
    description = describe(text, rows) + (f", {times} times over" if times > 1 else "")
    rows = rows * times
    tokens = Tokens(rows, vocab_rows(text.tokenizer), special_ids, description, licence)
    size = write_tokens(options.output, tokens)
    if size > MOST_BYTES:
        options.output.unlink()
        raise ValueError(f"The file would have {size:,} bytes, {MOST_BYTES:,} are allowed: give less `--text`.")
    print(f"{options.output}: {len(rows):,} sentences, {sum(map(len, rows)):,} tokens, {size / 1e6:.1f} MB.")
    print(f"Text: {tokens.text}. Licence: {licence}.")
    return options.output


def at_most(rows, tokens):
    """A random sample of the rows, the same each time, of at most so many tokens: all of them where that is enough.

    Args: rows (`list[list[int]]`); tokens (`int`). Returns: `list[list[int]]`, in the order of the text.
    """
    kept, left = [], tokens
    for index in random.Random(0).sample(range(len(rows)), len(rows)):
        if len(rows[index]) <= left:
            kept.append(index)
            left -= len(rows[index])
    return [rows[index] for index in sorted(kept)]


def describe(text, rows):
    """Args: text ([`Text`]); rows (`list[list[int]]`): what is kept. Returns: `str`, without paths of the machine."""
    return text.description if len(rows) == len(text.rows) else f"{len(rows):,} of the {text.description}"


def licence_of(files):
    """Args: files (`list[str]`): their names. Returns: `str`. Raises: ValueError: one whose licence is not known."""
    unknown = [name for name in files if name not in LICENCES]
    if unknown:
        raise ValueError(f"The licence of {', '.join(unknown)} is not known here: say it, `--licence WORDS`.")
    return "; ".join(f"{name} {LICENCES[name]}" for name in files)


if __name__ == "__main__":
    main()
