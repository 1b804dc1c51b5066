"""The arms: each makes a folder that `evaluate` takes from a start, a corpus and a number of steps."""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .article import train_article
from .corpora import CorpusFiles
from .mlm import train_mlm
from .rtd import train_rtd
from .starts import Start


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        start ([`Start`]); corpus ([`CorpusFiles`])
        steps (`int`): of the optimiser; rows (`int`): of a batch.
        rate (`float`): learning rate; seed (`int`): of the order of rows and of all chance.
        folder (`Path`): of the work; `discriminator` in it is what is evaluated.
        changes (`dict`): fields of `AdaptArguments`, for an ablation or a replay.
    """

    start: Start
    corpus: CorpusFiles
    steps: int
    rows: int
    rate: float
    seed: int
    folder: Path
    changes: dict = field(default_factory=dict)


@dataclass
class Trained:
    """What came of a training.

    Args:
        discriminator (`str`): folder of a stock checkpoint, relative to the work.
        steps (`int`), tokens (`int`), seconds (`float`): of the training alone, no loading and no held-out text.
        before, after (`dict`): held-out figures, of arms that know them; losses (`dict`): at the end, of others.
        health (`list[str]`): signs of a dead run.
    """

    discriminator: str
    steps: int
    tokens: int
    seconds: float
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    losses: dict = field(default_factory=dict)
    health: list = field(default_factory=list)


@dataclass(frozen=True)
class Arm:
    """A way to treat a start before it is fine-tuned.

    Args:
        letter (`str`), says (`str`): what it is, for a reader.
        train (callable or `None`): from a [`Job`] to the fields of [`Trained`]; `None`: it trains nothing itself.
        changes (`dict`): fields of `AdaptArguments`.
        rows (`int` or `None`): of a batch, where the arm has its own.
    """

    letter: str
    says: str
    train: Callable | None
    changes: dict[str, Any] = field(default_factory=dict)
    rows: int | None = None


ARMS = {
    "random": Arm("", "the same network with random weights", None),
    "none": Arm("a", "the start as it is", None),
    "mlm": Arm("b", "continued MLM of the discriminator's encoder, stock", train_mlm),
    "rtd": Arm("c", "RTD by `adapt`", train_rtd),
    "article": Arm("d", "the article's recipe", train_article, rows=16),
    "replay": Arm("e", "c, a tenth of the rows general text", train_rtd, {"replay_share": 0.1}),
    "merged": Arm("f", "c merged with the base", None),
    "frozen": Arm("g", "c with a frozen generator", train_rtd, {"freeze": "generator", "embedding_sharing": "none"}),
}


def train(arm, job):
    """Train, unless it is done.

    Args: arm (`str`): in `ARMS`, one that trains; job ([`Job`]).
    Returns: [`Trained`], with `discriminator` as an absolute path.
    """
    done = job.folder / "trained.json"
    if not done.is_file():
        shutil.rmtree(job.folder, ignore_errors=True)  # what was cut off
        job.folder.mkdir(parents=True)
        with (job.folder / "training.log").open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            trained = Trained(**ARMS[arm].train(job))
        part = done.with_suffix(".part")
        part.write_text(json.dumps(asdict(trained), indent=1) + "\n", encoding="utf-8")
        part.replace(done)  # last: it says that the folder is whole
    trained = Trained(**json.loads(done.read_text(encoding="utf-8")))
    trained.discriminator = str(job.folder / trained.discriminator)
    return trained
