"""What a run left behind, read from its files alone: no model is loaded."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hub_tools import layout
from ...hub_tools.gather import RESULTS_FILE, TRAINER_LOG, is_number, plain_results, plain_rows
from ..run_folder import HELD_OUT_FILE


HELD_OUT_FORMAT = 1
LARGEST_COUNT = 10**15
CONFIG_FILE = "config.json"
EVALUATION = "eval_"


@dataclass(frozen=True)
class TokenCounts:
    """How often a token of the held-out text was met, and what became of it.

    Args:
        token (`str`), kind (`str`): the token and its class. count (`int`): its occurrences.
        before, after (`dict[str, int]`): `masked`, `gen_top1`, `gen_top5`, `replaced`, `caught`, `false_alarms`.
    """

    token: str
    kind: str
    count: int
    before: dict[str, int]
    after: dict[str, int]


@dataclass(frozen=True)
class HeldOut:
    """What `held_out.json` says.

    Args:
        before, after (`dict`): figures of the held-out text by name, with `calibration` and `classes`.
        tokens (`list` of [`TokenCounts`])
    """

    before: dict[str, Any]
    after: dict[str, Any]
    tokens: list[TokenCounts]


@dataclass(frozen=True)
class Run:
    """A run, as far as its files tell.

    Args:
        name (`str`): of its folder.
        source (`str`): which `trainer_state.json` was read, relative to the folder.
        state (`dict`): what stands in it.
        training (`list[dict]`): the rows of its log that training wrote.
        evaluations (`list[dict]`): the rows about held-out text.
        results (`dict`): `adapt_results.json`, empty where there is none.
        held_out ([`HeldOut`] or `None`)
        config (`dict`): the model's `config.json`, empty where there is none.
    """

    name: str
    source: str
    state: dict[str, Any]
    training: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    results: dict[str, Any]
    held_out: HeldOut | None
    config: dict[str, Any]

    @property
    def log(self):
        """`list[dict]`: every row."""
        return self.state["log_history"]

    @property
    def findings(self):
        """`list[dict]`: the rows that a `RTDHealthCallback` wrote: `step`, `health`, `message`."""
        return [row for row in self.log if "health" in row and "message" in row]

    @property
    def end(self):
        """`dict`: the row that the Trainer writes when training has ended; empty for a run that has not."""
        # `train_runtime` alone stands in every row where the Trainer counts tokens.
        return next((row for row in reversed(self.log) if "train_loss" in row), {})

    @property
    def vocab_size(self):
        """`int` or `None`: tokens in the vocabulary, where the run's files say."""
        network = self.config.get("discriminator_config")
        return (network.get("vocab_size") if isinstance(network, dict) else None) or self.results.get("vocab_size")

    @property
    def has_named_evaluations(self):
        """`bool`: whether there are evaluations of several sets, `eval_NAME_loss`."""
        return any(re.fullmatch(rf"{EVALUATION}.+_runtime", key) for row in self.log for key in row)

    def points(self, name, *, held_out=False):
        """A figure over the steps, without values that are no finite numbers.

        Args: name (`str`), without `eval_`; held_out (`bool`): of the held-out text, not of training.
        Returns: `list` of (step, value), one a step.
        """
        rows, key = (self.evaluations, EVALUATION + name) if held_out else (self.training, name)
        return sorted({row["step"]: row[key] for row in rows if "step" in row and is_number(row.get(key))}.items())

    def not_finite(self):
        """Figures that were logged as NaN or infinite.

        Returns: `dict[str, list[int]]`: the steps where they were, by name.
        """
        found: dict[str, list[int]] = {}
        for row in [*self.training, *self.evaluations]:
            for name, value in row.items():
                if isinstance(value, float) and not math.isfinite(value):
                    found.setdefault(name, []).append(row.get("step", 0))
        return found


def read_run(folder):
    """Read a run: the output folder of `electra-rtd adapt` or of a stock Trainer, or one checkpoint of it.

    Args:
        folder (`str` or path)

    Returns:
        [`Run`]

    Raises:
        ValueError: there is no such folder, no `trainer_state.json` in it, or a file that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give the --output_dir of a run.")
    state_file = _find_state(folder)
    state = _read_json(state_file)
    if not isinstance(state.get("log_history"), list):
        raise ValueError(f"{state_file} has no log_history: it is not what a Trainer writes. Give another run.")
    log = plain_rows(state["log_history"])
    beside = [folder, state_file.parent]
    return Run(
        name=folder.resolve().name,
        source=state_file.relative_to(folder).as_posix(),
        state={**_plain_state(state), "log_history": log},
        training=[row for row in log if "loss" in row],
        evaluations=[row for row in log if f"{EVALUATION}loss" in row],
        results=plain_results(_read_first(beside, RESULTS_FILE)),
        held_out=_read_held_out(folder / HELD_OUT_FILE),
        config=_read_first(beside, CONFIG_FILE),
    )


def _plain_state(state):
    """`trainer_state.json` without values that no Trainer writes."""
    texts = ("best_model_checkpoint",)
    return {
        name: value
        for name, value in state.items()
        if (isinstance(value, str) and name in texts) or (is_number(value) and name not in texts)
    }


def _find_state(folder):
    """`trainer_state.json`: of the run, else of its last checkpoint, as a stock Trainer leaves it."""
    if (folder / TRAINER_LOG).is_file():
        return folder / TRAINER_LOG
    states = [path for path in folder.glob(f"checkpoint-*/{TRAINER_LOG}") if _checkpoint_step(path) is not None]
    if not states:
        raise ValueError(
            f"{folder} holds no {TRAINER_LOG}, and no checkpoint-N in it does. Give the --output_dir of a run; a "
            "stock Trainer writes this file with `trainer.save_state()` and into each checkpoint."
        )
    return max(states, key=_checkpoint_step)


def _checkpoint_step(path):
    number = path.parent.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() else None


def _read_first(folders, name):
    return next((_read_json(folder / name) for folder in folders if (folder / name).is_file()), {})


def _read_json(path):
    try:
        content = layout.read_json(path, layout.LARGEST_JSON)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}. Restore the file, or run the training again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not an object: it is not what a run writes.")
    return content


def _read_held_out(path):
    if not path.is_file():
        return None
    content = _read_json(path)
    if content.get("format") != HELD_OUT_FORMAT:
        raise ValueError(
            f"{path} has format {content.get('format')!r}, this release reads {HELD_OUT_FORMAT}: use the release of "
            "electra-rtd that wrote it, or remove the file to get a report without it."
        )
    try:
        columns = content["tokens"]
        sides = [_rows(columns[side]) for side in ("before", "after")]
        names = zip(columns["token"], columns["class"], columns["count"], *sides, strict=True)
        held_out = HeldOut(content["before"], content["after"], [TokenCounts(*row) for row in names])
        _check_held_out(held_out)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not complete ({error}): remove it to get a report without it.") from error
    return held_out


def _check_held_out(held_out):
    """Refuse counts that cannot be: shares and logarithms are made of them."""
    for stats in (held_out.before, held_out.after):
        bins, width = stats["calibration"], len(stats["calibration"]["count"])
        columns = [bins["count"], bins["replaced"], bins["mean_probability"], bins["edges"][1:], bins["edges"][:-1]]
        for count, replaced, mean, *edges in zip(*columns, strict=True):
            _require_counts(replaced, count)
            if not all(map(is_number, edges if mean is None and not count else [mean, *edges])):
                raise ValueError(f"a bin of {width} says {mean!r}")
        for counts in stats["classes"].values():
            _require_counts(counts["caught"], counts["replaced"], counts["tokens"])
            _require_counts(counts["false_alarms"], counts["tokens"] - counts["replaced"])
    for token in held_out.tokens:
        if not isinstance(token.token, str) or not isinstance(token.kind, str):
            raise ValueError(f"a token is {token.token!r}")
        for counts in (token.before, token.after):
            _require_counts(counts["gen_top5"], counts["masked"])
            _require_counts(counts["caught"], counts["replaced"])
            _require_counts(counts["replaced"] - counts["caught"] + counts["false_alarms"], token.count)


def _require_counts(*counts):
    """Whole numbers from 0 on, none larger than the next."""
    if any(type(count) is not int for count in counts) or list(counts) != sorted(counts) or counts[0] < 0:
        raise ValueError(f"counts are {counts}, each at most the next")
    if counts[-1] > LARGEST_COUNT:
        raise ValueError(f"a count is above {LARGEST_COUNT:,}")


def _rows(columns):
    """Columns of counts as one `dict` a row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
