"""The text of the measurements as rows of token ids, and how rows become batches."""

import random
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from transformers import BertTokenizerFast
from transformers.trainer_pt_utils import get_length_grouped_indices

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.data import read_text, tokenize_text
from electra_rtd.train_tools.from_scratch import train_tokenizer


ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"  # beside some checkouts
SAMPLE = ROOT / "train_tools" / "sample" / "ko_books.csv"
SHARED_TEXT = ("ko_techdocs/*.txt.gz", "ko_general/*.parquet")
SHARED_VOCAB = "vocab/koelectra-v3/vocab.txt"
VOCAB_SIZE = 35_000  # KoELECTRA's; the tables of a smaller vocabulary are padded to it
MAX_LENGTH = 128  # tokens of a sentence
FULL_LENGTH = 512  # tokens of a full row
SCENARIOS = ("ragged", "like-length", "full")


@dataclass(frozen=True)
class Text:
    """Tokenized text.

    Args:
        rows (`list[list[int]]`): token ids of each sentence, with special tokens.
        tokenizer (`PreTrainedTokenizerFast`).
        description (`str`): which text and vocabulary, without paths of the machine.
    """

    rows: list[list[int]]
    tokenizer: BertTokenizerFast
    description: str


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
    return Text([list(row) for row in rows], tokenizer, describe_text(data, vocabulary))


def describe_text(data, vocabulary):
    """Args: data (`TextData`); vocabulary (`str`). Returns: `str`, without paths of the machine."""
    files = ", ".join(Path(source).name for source in data.sources)
    return f"{len(data.dataset):,} sentences of {files}; {vocabulary}"


def draw_batches(rows, scenario, batch_size, count, seed=0):
    """Batches as a training run would see them.

    Args:
        rows (`list[list[int]]`): token ids of each sentence.
        scenario (`str`): `"ragged"` shuffles the sentences, `"like-length"` groups them as the stock Trainer does,
            `"full"` joins them to rows of 512 tokens without padding.
        batch_size (`int`): rows.
        count (`int`): batches; drawn again where the text does not have that many.
        seed (`int`).

    Returns:
        `list[list[list[int]]]`: rows of token ids of each batch.
    """
    if scenario == "full":
        rows = join_rows(rows, FULL_LENGTH)
    if len(rows) < batch_size:
        raise ValueError(f"The text has {len(rows)} rows, a batch {batch_size}: give more text, or a smaller batch.")
    batches, epoch = [], seed
    while len(batches) < count:
        batches += _epoch(rows, scenario, batch_size, epoch)
        epoch += 1
    return batches[:count]


def _epoch(rows, scenario, batch_size, seed):
    if scenario == "like-length":
        generator = torch.Generator().manual_seed(seed)
        order = get_length_grouped_indices([len(row) for row in rows], batch_size, generator=generator)
    else:
        order = random.Random(seed).sample(range(len(rows)), len(rows))
    batches = [[rows[index] for index in order[at : at + batch_size]] for at in range(0, len(order), batch_size)]
    whole = [batch for batch in batches if len(batch) == batch_size]
    # Within a group the Trainer's batches run from long to short: a few of them in a row would not be a fair sample.
    return random.Random(seed).sample(whole, len(whole))


def join_rows(rows, length):
    """Rows of exactly `length` tokens, cut from all sentences one behind the other; the rest is left out.

    Args: rows (`list[list[int]]`): each from `[CLS]` to `[SEP]`; length (`int`). Returns: `list[list[int]]`.
    """
    first, last = rows[0][0], rows[0][-1]
    stream = [token for row in rows for token in row[1:-1]]
    inner = length - 2
    return [[first, *stream[at : at + inner], last] for at in range(0, len(stream) - inner + 1, inner)]
