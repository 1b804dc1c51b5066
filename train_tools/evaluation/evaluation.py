"""What `evaluate` found out: the runs, the rates that were chosen, the comparisons; `evaluation.json`."""

import json
import math
import statistics
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...hub_tools.layout import LARGEST_JSON, read_json
from ...hub_tools.staging import files_for_folder


EVALUATION_FILE = "evaluation.json"
FORMAT = 1
WAYS = ("fine_tuning", "probe", "naive_bayes")


@dataclass
class Run:
    """One fine-tuning, probe or floor, and what it got on the test rows.

    Args:
        arm (`str`): name of the arm; the way itself for `"naive_bayes"`, which has no encoder.
        train_rows (`int`): labelled rows that it learned from.
        seed (`int` or `None`): of the subset of rows, their order, the head and dropout. `None` where nothing is
            drawn: a probe, or a floor, of all training rows.
        learning_rate (`float` or `None`): of the head; `None` but for a fine-tuning.
        way (`str`): `"fine_tuning"`, `"probe"` or `"naive_bayes"`.
        validation, scores (`dict[str, float]`): metrics on the validation rows, and on the test rows.
        collapsed (`str` or `None`): a sentence that says why this is no answer (one class for all rows, ...).
        seconds (`float`): it took.
        cut_off (`int`): test rows that are longer than the encoder reads; for token classification, the words behind
            that end, which count as `O`.
        predictions (`list`): a class, a number or a `list` of tags for each test row. Not in `evaluation.json`.
    """

    arm: str
    train_rows: int
    seed: int | None
    learning_rate: float | None
    way: str
    validation: dict[str, float]
    scores: dict[str, float]
    collapsed: str | None = None
    seconds: float = 0.0
    cut_off: int = 0
    predictions: list = field(default_factory=list)


@dataclass
class Evaluation:
    """All of an evaluation. [`Evaluation.read`] takes it from a folder again, without predictions.

    Args:
        task (`dict`): `kind`; `files`, `columns` and `names` (of classes); `metric`, which rates are chosen by and
            comparisons are about; the counts `train`, `validation` and `test`.
        arms (`dict[str, str]`): name to path or Hub id; the first is the one that others are compared with.
        learning_rates (`dict[str, dict[int, float]]`): arm to training rows to the chosen rate.
        runs (`list` of [`Run`]): of all rates of the grid; [`Evaluation.chosen`] gives those to look at.
        comparisons (`list[dict]`): `arm`, `against`, `train_rows`, `way`, and the fields of `verdict.Comparison`.
        settings (`dict`): of the fine-tunings, `learning_rates` (the grid) among them.
        versions (`dict[str, str]`): library to version.
    """

    task: dict[str, Any]
    arms: dict[str, str]
    learning_rates: dict[str, dict[int, float]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    comparisons: list[dict] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def train_rows(self):
        """`list[int]`: the sizes of the training set, from few to many."""
        return sorted({run.train_rows for run in self.runs})

    @property
    def baseline(self):
        """`str`: the arm that others are compared with."""
        return next(iter(self.arms))

    def of(self, arm, train_rows, way="fine_tuning"):
        """The runs of an arm, of every rate: `list` of [`Run`]."""
        return [run for run in self.runs if (run.arm, run.train_rows, run.way) == (arm, train_rows, way)]

    def chosen(self, arm, train_rows, way="fine_tuning"):
        """The runs that an arm is judged by.

        Args:
            arm (`str`), train_rows (`int`), way (`str`)

        Returns:
            `list` of [`Run`], by seed: of fine-tunings, those at the chosen rate; empty where there are none.
        """
        runs = self.of(arm, train_rows, way)
        if way == "fine_tuning":
            rate = self.learning_rates.get(arm, {}).get(train_rows)
            runs = [run for run in runs if run.learning_rate == rate]
        return sorted(runs, key=lambda run: -1 if run.seed is None else run.seed)

    def mean(self, arm, train_rows, way="fine_tuning", metric=None):
        """The mean score of [`Evaluation.chosen`] on the test rows: `float`, or `None` where there is no run.

        Args:
            arm (`str`), train_rows (`int`), way (`str`)
            metric (`str`, *optional*): the task's by default.
        """
        scores = [run.scores[metric or self.task["metric"]] for run in self.chosen(arm, train_rows, way)]
        scores = [score for score in scores if score is not None and math.isfinite(score)]
        return statistics.fmean(scores) if scores else None

    def edge(self, arm, train_rows):
        """Whether the chosen rate is the least or the greatest of the grid, so that a better one may lie beyond.

        Returns:
            `str` or `None`: `"lowest"` or `"highest"`.
        """
        grid, rate = self.settings.get("learning_rates") or [], self.learning_rates.get(arm, {}).get(train_rows)
        if len(grid) < 2 or rate is None:
            return None
        return "lowest" if rate == min(grid) else "highest" if rate == max(grid) else None

    def as_dict(self):
        """What stands in `evaluation.json`: `dict`, without predictions, and `None` for what is no number."""
        content = {"format": FORMAT, **asdict(self)}
        for run in content["runs"]:
            del run["predictions"]
        content["learning_rates"] = {
            arm: {str(rows): rate for rows, rate in rates.items()} for arm, rates in self.learning_rates.items()
        }
        return _finite(content)

    def write(self, folder):
        """Write `evaluation.json`, whole or not at all.

        Args:
            folder (`str` or path)

        Returns:
            `Path`: of the file.
        """
        with files_for_folder(folder) as staged:
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            (staged / EVALUATION_FILE).write_text(f"{text}\n", encoding="utf-8")
        return Path(folder) / EVALUATION_FILE

    @classmethod
    def read(cls, source):
        """An evaluation that was written before.

        Args:
            source (`str` or path): `evaluation.json`, or the folder that holds it.

        Returns:
            [`Evaluation`]

        Raises:
            OSError: there is none.
            ValueError: it is none, or one of a later release.
        """
        file = Path(source)
        file = file / EVALUATION_FILE if file.is_dir() else file
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there: `electra-rtd evaluate` writes it into its `output_dir`.")
        content = read_json(file, LARGEST_JSON)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else None
            raise ValueError(f"{file} has the format {found!r}, not {FORMAT}: read it with the release that wrote it.")
        try:
            runs = [Run(**{name: run[name] for name in _names(Run) if name in run}) for run in content["runs"]]
            rates = {
                arm: {int(rows): rate for rows, rate in rates.items()}
                for arm, rates in content["learning_rates"].items()
            }
            rest = {name: content[name] for name in ("task", "arms", "comparisons", "settings", "versions")}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is no evaluation: {error!r}. Let `electra-rtd evaluate` write it anew."
            ) from error
        return cls(learning_rates=rates, runs=runs, **rest)


def _names(kind):
    return [one.name for one in fields(kind)]


def _finite(value):
    """NaN and infinity are no JSON."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
