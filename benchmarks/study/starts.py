"""What is adapted: the mini pair (Korean), real public weights (English), or a tiny pair from nothing."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import set_seed

from electra_rtd.hub_tools.export import export_discriminator, export_generator
from electra_rtd.hub_tools.loading import load_pair, load_tokenizer
from electra_rtd.train_tools.from_scratch import build_pair, train_tokenizer

from .. import ROOT
from .corpora import prepare_corpus
from .minilm import build_english_start
from .record import WEIGHTS, digest_of


MINI_PAIR = ROOT / "train_tools" / "mini_pair"
TINY_VOCABULARY = 2_000
STARTS = {
    "mini": "the mini pair, pretrained on Korean text of open licences (`train_tools/mini_pair/`)",
    "english": "all-MiniLM-L6-v2, whose layers are ELECTRA's, with an RTD head and a generator of 2 layers begun new",
    "tiny": "a tiny pair with random weights, which knows nothing: it tries the command, and answers no question",
}


@dataclass(frozen=True)
class Start:
    """A pair, and its two networks as stock checkpoints, each with its tokenizer, in float32.

    Args: place (`Path`): the folder of all, where its trainings are too; pair, discriminator, generator (`Path`).
    """

    place: Path
    pair: Path
    discriminator: Path
    generator: Path


def prepare_start(name, folder, pair=None):
    """Make a start, unless it is there.

    Args:
        name (`str`): in `STARTS`; folder (`Path`): of the study's work.
        pair (`Path`, *optional*): a pair to take in the place of the mini pair (`--start`).

    Returns:
        [`Start`]

    Raises:
        OSError: it is not there; or the English weights cannot be had.
    """
    place = folder / "starts" / name
    if name == "mini":  # another pair is another start
        place = place.with_name(f"mini-{digest_of(_mini_pair(pair))}")
    start = Start(place, place / "pair", place / "discriminator", place / "generator")
    if place.is_dir():
        return start
    part = place.with_name(f"{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if name == "mini":
        _copy_pair(_mini_pair(pair), part / "pair")
    elif name == "english":
        build_english_start(part / "pair", folder)
    else:
        _build_tiny(part / "pair", folder)
    export_discriminator(part / "pair", part / "discriminator")
    export_generator(part / "pair", part / "generator")
    part.rename(place)  # whole, or not there
    return start


def _mini_pair(pair):
    source = Path(pair or MINI_PAIR)
    if not all((source / name).is_file() for name in WEIGHTS):
        raise OSError(f"{source} holds no pair ({' and '.join(WEIGHTS)}). Give the folder of one: `--start FOLDER`.")
    return source


def _copy_pair(source, target):
    """In float32: what is trained and what it is compared with are of one precision."""
    load_pair(source, dtype=torch.float32).save_pretrained(target)
    load_tokenizer(source).save_pretrained(target)


def _build_tiny(target, folder):
    lines = prepare_corpus("sample", folder).train.read_text(encoding="utf-8").splitlines()
    tokenizer = train_tokenizer(lines, TINY_VOCABULARY)
    set_seed(0)
    build_pair("tiny", tokenizer).save_pretrained(target)
    tokenizer.save_pretrained(target)
