"""Draw the sample of Korean technical documentation again: what lies beside this file, from texts of four projects.

    python train_tools/sample/draw.py ../shared/data/ko_techdocs

It reads `tensorflow_ko.txt.gz`, `python_ko.txt.gz`, `react_ko.txt.gz` and `pytorch_ko.txt.gz` (a paragraph a line, in
the order of the pages), and `validation.parquet` (`text`, `source`: paragraphs of other pages). The same texts give
the same bytes. README.md says whose they are.
"""

import csv
import gzip
import io
import random
import re
import sys
from pathlib import Path

import pyarrow.parquet


HERE = Path(__file__).parent
SEED = 0
BLOCK = 12  # neighbouring lines, which are of one page or of two
# Rows of each project: to adapt to, held out of that, and labelled ones to train and to test a probe.
ROWS = {
    "tensorflow": {"train": 700, "held_out": 140, "labelled_train": 150, "labelled_test": 115},
    "python": {"train": 700, "held_out": 140, "labelled_train": 150, "labelled_test": 115},
    "react": {"train": 400, "held_out": 80, "labelled_train": 150, "labelled_test": 115},
    "pytorch": {"train": 200, "held_out": 10, "labelled_train": 150, "labelled_test": 35},
}
SHORTEST, LONGEST = 40, 400  # characters of a paragraph
# A labelled paragraph does not say itself which project it is from.
NAMES = re.compile(r"tensorflow|tf\.|텐서플로|keras|케라스|python|파이썬|react|리액트|jsx|torch|토치", re.IGNORECASE)
NEAR = 8  # characters of a sequence: who shares more than half of them with a text for training is left out of tests


def draw(source):
    """The rows of each file.

    Args: source (`Path`): the folder of the texts.
    Returns: `dict` from the file's name to a `list` of rows: text, project and, in `labelled_train`, block.
    """
    chance = random.Random(SEED)
    parts: dict = {name: [] for name in ROWS["python"]}
    for project, wanted in ROWS.items():
        with gzip.open(source / f"{project}_ko.txt.gz", "rt", encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file]
        blocks = [(number, lines[first : first + BLOCK]) for number, first in enumerate(range(0, len(lines), BLOCK))]
        chance.shuffle(blocks)
        seen: set[str] = set()
        labelled = _take(blocks, wanted["labelled_train"], seen, nameless=True)
        parts["labelled_train"] += [(text, project, f"{project}-{block}") for text, block in labelled]
        parts["train"] += [(text, project) for text, _ in _take(blocks, wanted["train"], seen)]
    known = {gram for name in ("train", "labelled_train") for row in parts[name] for gram in _grams(row[0])}
    others = pyarrow.parquet.read_table(source / "validation.parquet").to_pydict()
    rows = [*zip(others["text"], others["source"], strict=True)]
    chance.shuffle(rows)
    seen = set()
    for name, nameless in (("labelled_test", True), ("held_out", False)):
        for project, wanted in ROWS.items():
            kept = [text for text, source in rows if source == project and _fits(text, seen, nameless)]
            kept = [text for text in dict.fromkeys(kept) if not _is_near(text, known)][: wanted[name]]
            seen |= set(kept)
            parts[name] += [(text, project) for text in kept]
    for part in parts.values():
        chance.shuffle(part)
    return parts


def _take(blocks, wanted, seen, nameless=False):
    """Paragraphs of the last blocks, which are used up: `list` of (text, block)."""
    taken: list = []
    while len(taken) < wanted:
        block, lines = blocks.pop()
        kept = [line for line in dict.fromkeys(lines) if _fits(line, seen, nameless)][: wanted - len(taken)]
        seen |= set(kept)
        taken += [(line, block) for line in kept]
    return taken


def _fits(text, seen, nameless):
    return SHORTEST <= len(text) <= LONGEST and text not in seen and not (nameless and NAMES.search(text))


def _grams(text):
    return {text[first : first + NEAR] for first in range(max(1, len(text) - NEAR + 1))}


def _is_near(text, known):
    grams = _grams(text)
    return len(grams & known) > len(grams) / 2


def write(rows, file, columns):
    """Write a packed table, the same bytes each time. Args: rows (`list`); file (`Path`); columns (tuple of `str`)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    file.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), compresslevel=9, mtime=0))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "validation.parquet").is_file():
        sys.exit(f"usage: python {sys.argv[0]} FOLDER   # with the texts of ko_techdocs; see README.md")
    for name, rows in draw(Path(sys.argv[1])).items():
        path = HERE / f"techdocs_{name}.csv.gz"
        write(rows, path, ("text", "project", "block")[: len(rows[0])])
        print(f"{path.name}: {len(rows):,} rows, {path.stat().st_size:,} bytes")
