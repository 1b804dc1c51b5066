"""What is fine-tuned: labelled files, how many of their rows, and which score counts."""

import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field

from electra_rtd.train_tools.data import read_text

from ..text import SHARED
from .corpora import prepare_corpus


DRAW = 0  # seeds what is drawn of a text
GAP = 60  # rows between validation and test: a page is seldom longer, and none stands on both sides
LEAST_CHARACTERS = 30  # of a paragraph: shorter ones are headings that stand in every project
PROJECTS = ("tensorflow", "python", "react", "pytorch")
A_PROJECT = 2_000  # rows of a project to train on at most


@dataclass(frozen=True)
class Task:
    """A labelled task.

    Args:
        says (`str`): for a reader.
        files (`tuple[str, ...]`): train, validation, test; below the shared data, or made by `make`.
        rows (`int`): labelled rows that count as all; curve (`tuple[int, ...]`): fewer of them.
        metric (`str`): that counts, and by which rates are chosen.
        epochs (`int`), max_length (`int`): of fine-tuning; tokens of a row.
        columns (`dict`): which are the text and the label, where that is to be said.
        make (callable, *optional*): writes the three files into a folder, and returns their names.
    """

    says: str
    files: tuple[str, ...]
    rows: int
    metric: str = "accuracy"
    curve: tuple[int, ...] = ()
    epochs: int = 3
    max_length: int = 128
    columns: dict = field(default_factory=dict)
    make: object = None


def task_files(name, folder):
    """The three files of a task, made where they are not there.

    Args: name (`str`): in `TASKS`; folder (`Path`): of the study's work. Returns: three `Path`.
    """
    task = TASKS[name]
    if task.make is None:
        return [SHARED / file for file in task.files]
    place = folder / "tasks" / name
    files = [place / file for file in task.files]
    if not files[-1].is_file():
        place.mkdir(parents=True, exist_ok=True)
        for file, rows in zip(files, task.make(folder), strict=True):
            part = file.with_suffix(".part")
            part.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
            part.replace(file)
    return files


def projects(folder):
    """Which project a paragraph is from: rows to train on, to validate and to test.

    To train on are rows of the text that is adapted to, as is usual (its labels are new to everybody); the others are
    from pages that no training sees.

    Args: folder (`Path`): of the study's work. Returns: three `list[dict]` with `text` and `label`.
    """
    train, parts = [], ([], [])
    for name in PROJECTS:
        file = SHARED / "ko_techdocs" / f"{name}_ko.txt.gz"
        texts = [text for text in read_text([str(file)]).dataset["text"] if len(text) >= LEAST_CHARACTERS]
        chosen = random.Random(DRAW).sample(texts, min(A_PROJECT, len(texts)))
        train += [{"text": text, "label": name} for text in chosen]
    held_out = read_text([str(SHARED / "ko_techdocs" / "validation.parquet")], text_column="text").dataset["text"]
    sources = read_text([str(SHARED / "ko_techdocs" / "validation.parquet")], text_column="source").dataset["text"]
    of_project = defaultdict(list)
    for text, source in zip(held_out, sources, strict=True):
        of_project[source].append(text)
    for name in PROJECTS:
        rows = [{"text": text, "label": name} for text in of_project[name]]  # in the order of the pages
        middle, gap = len(rows) // 3, min(GAP, len(rows) // 6)
        parts[0].extend(rows[:middle])
        parts[1].extend(rows[middle + gap :])
    kept = [[row for row in part if len(row["text"]) >= LEAST_CHARACTERS] for part in parts]
    return train, *kept


def latin(folder):
    """Whether a sentence of the sample has words in Latin letters, as many with as without: three `list[dict]`."""
    lines = prepare_corpus("sample", folder).train.read_text(encoding="utf-8").splitlines()
    rows = [{"text": line, "label": "latin" if re.search("[A-Za-z]", line) else "none"} for line in lines]
    few = sum(row["label"] == "latin" for row in rows)
    plain = [row for row in rows if row["label"] == "none"][:few]
    mixed = [
        row for pair in zip([row for row in rows if row["label"] == "latin"], plain, strict=False) for row in pair
    ]
    return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 : 3 * len(mixed) // 4], mixed[3 * len(mixed) // 4 :]


JSONL = ("train.jsonl", "validation.jsonl", "test.jsonl")
TSV = ("train.tsv", "validation.tsv", "test.tsv")
TASKS = {
    "book_category": Task(
        "category of a book from its blurb, 8 classes",
        tuple(f"ko_book/book_category_{part}.csv" for part in ("train", "validation", "test")),
        rows=200,
        curve=(50, 920),
        epochs=10,
        max_length=64,
        columns={"text_columns": ["text"], "label_column": "label"},
    ),
    "projects": Task(
        "project that a paragraph of documentation is from, 4 classes",
        JSONL,
        rows=300,
        metric="macro_f1",
        curve=(50, 1_000),
        epochs=10,
        max_length=64,
        make=projects,
    ),
    "nsmc": Task(
        "sentiment of a film review",
        tuple(f"ko_nsmc/{file}" for file in TSV),
        rows=2_000,
        curve=(50, 200),
        columns={"text_columns": ["document"], "label_column": "label"},
    ),
    "question_pair": Task(
        "whether two questions mean the same",
        tuple(f"ko_question_pair/{file}" for file in TSV),
        rows=2_000,
        columns={"text_columns": ["question1", "question2"], "label_column": "is_duplicate"},
    ),
    "chemprot": Task(
        "relation of a chemical and a protein, 13 classes",
        tuple(f"en_chemprot/{part}.jsonl" for part in ("train", "dev", "test")),
        rows=500,
        epochs=4,
        columns={"text_columns": ["text"], "label_column": "label"},
    ),
    "scicite": Task(
        "intent of a citation, 3 classes",
        tuple(f"en_scicite/{part}.jsonl" for part in ("train", "dev", "test")),
        rows=500,
        metric="macro_f1",
        epochs=4,
        columns={"text_columns": ["text"], "label_column": "label"},
    ),
    "latin": Task("whether a sentence of the sample has words in Latin letters", JSONL, 48, make=latin),
}
# What is expected to gain from a corpus: rates are chosen by it; and what shows forgetting.
PRIMARY = {"ko_book": "book_category", "ko_techdocs": "projects", "en_biomed": "chemprot", "sample": "latin"}
RATED_ON = {"mini": "ko_techdocs", "english": "en_biomed", "tiny": "sample"}  # where a start's rates are chosen
CONTROLS = {
    "ko_book": ("nsmc", "question_pair"),
    "ko_techdocs": ("nsmc", "question_pair"),
    "en_biomed": ("scicite",),
    "sample": (),
}
