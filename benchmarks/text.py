"""The text of the measurements as rows of token ids; `batches.py` makes batches of them."""

from dataclasses import dataclass, field
from pathlib import Path

import datasets
from transformers import BertTokenizerFast

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.data import read_text, tokenize_text
from electra_rtd.train_tools.from_scratch import train_tokenizer

from . import ROOT
from .batches import MAX_LENGTH, VOCAB_SIZE


SHARED = ROOT.parent / "shared" / "data"  # beside some checkouts
SAMPLE = ROOT / "train_tools" / "sample" / "ko_books.csv"
SHARED_TEXT = ("ko_techdocs/*.txt.gz", "ko_general/*.parquet")
SHARED_VOCAB = "vocab/koelectra-v3/vocab.txt"


@dataclass(frozen=True)
class Text:
    """Tokenized text.

    Args:
        rows (`list[list[int]]`): token ids of each sentence, with special tokens.
        tokenizer (`PreTrainedTokenizerFast`).
        description (`str`): which text and vocabulary, without paths of the machine.
        files (`list[str]`): their names.
    """

    rows: list[list[int]]
    tokenizer: BertTokenizerFast
    description: str
    files: list[str] = field(default_factory=list)


def add_text_options(parser):
    """Args: parser (`argparse.ArgumentParser`)."""
    parser.add_argument("--text", nargs="+", metavar="FILE", help="text files; by default the project's own")
    parser.add_argument("--vocab", metavar="FILE", help="vocab.txt of a cased WordPiece vocabulary")


def default_text(files=None):
    """The files that are read.

    Args: files (`list[str]`, *optional*): those asked for. Returns: `list[str]`.
    """
    if files:
        return files
    shared = [str(SHARED / pattern) for pattern in SHARED_TEXT]
    return shared if (SHARED / "ko_techdocs").is_dir() else [str(SAMPLE)]


def default_tokenizer(vocab, texts):
    """A cased tokenizer that keeps accents: of `vocab`, of KoELECTRA where it is at hand, or trained on the text.

    Args: vocab (`str` or `None`): a `vocab.txt`; texts (`list[str]`). Returns: `BertTokenizerFast` and its name.
    """
    if vocab is None and not (SHARED / SHARED_VOCAB).is_file():
        return train_tokenizer(texts, VOCAB_SIZE), "WordPiece trained on the text"
    path = Path(vocab or SHARED / SHARED_VOCAB)
    return load_tokenizer(path), f"vocabulary {path.parent.name}/{path.name}"


def read_rows(options):
    """Read and tokenize what the command line asks for.

    Args: options (`argparse.Namespace`): with `text` and `vocab`. Returns: [`Text`].
    """
    datasets.disable_progress_bars()
    data = read_text(default_text(options.text))
    tokenizer, vocabulary = default_tokenizer(options.vocab, data.dataset["text"])
    rows = tokenize_text(data.dataset, tokenizer, max_length=MAX_LENGTH)["input_ids"]
    files = [Path(source).name for source in data.sources]
    return Text([list(row) for row in rows], tokenizer, describe_text(data, vocabulary), files)


def describe_text(data, vocabulary):
    """Args: data (`TextData`); vocabulary (`str`). Returns: `str`, without paths of the machine."""
    files = ", ".join(Path(source).name for source in data.sources)
    return f"{len(data.dataset):,} sentences of {files}; {vocabulary}"
