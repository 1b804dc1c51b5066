"""The domains' text, the general text that is replayed, and what is held out, as lines that every arm reads."""

import random
from dataclasses import dataclass

from electra_rtd.train_tools.arguments import SAMPLE_FILE
from electra_rtd.train_tools.data import read_text

from ..text import SHARED


HELD_OUT_ROWS = 500  # of the held-out text at most: it is read before and after each training
SMALL_ROWS = 240  # of the sample, for the small form
DRAW = 0  # seeds what is drawn of a text, the same for all arms


@dataclass(frozen=True)
class Corpus:
    """A domain's text.

    Args:
        train, held_out (`tuple[str, ...]`): files below the shared data; without `held_out` a twentieth of the rows.
        column (`str`): of the text in them; lines have none.
        general (`tuple[str, ...]`): general text of the same language, for replay.
        terms (`str`): whose text it is, and what may be shown.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    column: str
    general: tuple[str, ...]
    terms: str


KOREAN = ("ko_general/nsmc_unlabeled.parquet", "ko_general/ko_misc.parquet")
ENGLISH = ("en_general/ud_english_ewt.txt.gz", "en_general/wikitext2_valid.txt")
CORPORA = {
    "ko_techdocs": Corpus(
        tuple(f"ko_techdocs/{name}_ko.txt.gz" for name in ("tensorflow", "python", "react", "pytorch")),
        ("ko_techdocs/validation.parquet",),
        "text",
        KOREAN,
        "Korean documentation of TensorFlow (Apache-2.0), Python (PSF), React (CC BY 4.0) and PyTorch (BSD-3-Clause)",
    ),
    "ko_book": Corpus(
        ("ko_book/book_sentences_train.csv",),
        ("ko_book/book_validation_128.csv",),
        "sen",
        KOREAN,
        "blurbs of Korean books on computing; no licence is stated, so figures are shown, no texts and no weights",
    ),
    "en_biomed": Corpus(
        ("en_biomed/pubmed_sentences.parquet",),
        ("en_biomed/validation.parquet",),
        "text",
        ENGLISH,
        "sentences of PubMed abstracts, as the SciBERT repository collects them",
    ),
    "sample": Corpus((), (), "text", (), "the project's own sample text, written for it"),
}


@dataclass(frozen=True)
class CorpusFiles:
    """A corpus, written down as lines: `train`, `held_out` and `general` (`Path`), and `rows` of `train`."""

    train: object
    held_out: object
    general: object
    rows: int


def prepare_corpus(name, folder, share=1.0):
    """Write a corpus as lines, unless it is there.

    Args:
        name (`str`): in `CORPORA`; folder (`Path`): of the study's work.
        share (`float`): of the rows to train on, drawn; those of a smaller share are among those of a larger one.

    Returns:
        [`CorpusFiles`]

    Raises:
        OSError: the shared data are not beside this checkout.
    """
    corpus, place = CORPORA[name], folder / "corpora" / name
    train = place / ("train.txt" if share == 1 else f"train-{share:g}.txt")
    if not (place / "general.txt").is_file():
        place.mkdir(parents=True, exist_ok=True)
        rows, held_out = _rows_of(corpus)
        _write(place / "held_out.txt", random.Random(DRAW).sample(held_out, min(HELD_OUT_ROWS, len(held_out))))
        _write(place / "train.txt", rows)
        general = _read(corpus.general, None) if corpus.general else held_out
        _write(place / "general.txt", general)  # last: it says that the others are whole
    if not train.is_file():
        rows = (place / "train.txt").read_text(encoding="utf-8").splitlines()
        order = random.Random(DRAW).sample(range(len(rows)), len(rows))
        _write(train, [rows[number] for number in sorted(order[: max(1, round(share * len(rows)))])])
    with train.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    return CorpusFiles(train, place / "held_out.txt", place / "general.txt", count)


def _rows_of(corpus):
    """Texts to train on, and held out."""
    if corpus.train:
        return _read(corpus.train, corpus.column), _read(corpus.held_out, corpus.column)
    rows = read_text([str(SAMPLE_FILE)]).dataset["text"]
    rows = list(rows)[:SMALL_ROWS]
    return rows[len(rows) // 20 :], rows[: len(rows) // 20]


def _read(names, column):
    files = [SHARED / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise OSError(
            f"{', '.join(missing)}: not there. The whole form reads the texts of ../shared/data beside this checkout; "
            "`--form small` needs none of them."
        )
    rows = []
    for file in files:
        lines = ".txt" in file.suffixes
        rows += read_text([str(file)], text_column=None if lines else column or "text").dataset["text"]
    return rows


def _write(path, rows):
    """Rows as lines; whole, or not there."""
    part = path.with_suffix(".part")
    part.write_text("".join(f"{' '.join(row.split())}\n" for row in rows), encoding="utf-8")
    part.replace(path)
