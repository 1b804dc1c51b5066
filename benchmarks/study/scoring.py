"""An encoder's scores on a task, by `evaluate`; and what naive Bayes gets there."""

import contextlib
import io
import math
import statistics
import time
import warnings

from electra_rtd.train_tools.evaluation.arguments import EvaluateArguments
from electra_rtd.train_tools.evaluation.evaluate import evaluate
from electra_rtd.train_tools.evaluation.labels import read_labels, split_labels, take_rows
from electra_rtd.train_tools.evaluation.probe import naive_bayes
from electra_rtd.train_tools.evaluation.verdict import compare

from .packing import pack, unpack
from .tasks import TASKS


def score_encoder(path, task, files, rows, seeds, rates, form, folder):
    """Fine-tune one encoder, with as many seeds, and score it.

    Arms are evaluated one by one, and are paired all the same: subset of rows, their order, head and dropout are the
    seed's alone.

    Args:
        path (`str`): of the encoder; task (`str`): in `TASKS`; files (three `Path`): train, validation, test.
        rows (`int`): labelled ones; seeds (`int`); rates (`tuple[float, ...]`): of fine-tuning.
        form ([`Form`]); folder (`Path`): where runs are kept.

    Returns:
        `dict` and `float`: `metric`, `kind`, `rate` (of fine-tuning, chosen on validation), `runs` (a `dict` a seed,
        in order: `seed`, `validation`, `scores`, `collapsed`, `predictions`, packed), `names`, `targets` (packed); and
        the seconds that it took
    """

    about = TASKS[task]
    began = time.perf_counter()
    train, validation, test = map(str, files)
    arguments = EvaluateArguments(
        labels=train,
        validation_file=validation,
        test_file=test,
        before=path,
        seeds=seeds,
        train_rows=[rows],
        learning_rates=list(rates),
        epochs=form.epochs or about.epochs,
        max_length=form.max_length or about.max_length,
        metric=about.metric,
        output_dir=str(folder / task),
        **about.columns,
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluate(arguments)
    arm = next(iter(evaluation.arms))
    chosen = evaluation.chosen(arm, rows)
    figures = {
        "metric": evaluation.task["metric"],
        "kind": evaluation.task["kind"],
        "rate": chosen[0].learning_rate,
        "edge": evaluation.edge(arm, rows),
        "runs": [
            {
                "seed": run.seed,
                "validation": _rounded(run.validation),
                "scores": _rounded(run.scores),
                "collapsed": run.collapsed,
                "predictions": pack(run.predictions),
            }
            for run in chosen
        ],
        **_targets(about, files),
    }
    return figures, time.perf_counter() - began


def naive_bayes_scores(task, files, rows, seeds):
    """The floor, with the rows that fine-tuning has.

    Args: task (`str`); files (three `Path`); rows, seeds (`int`).
    Returns: `dict`: `metric`, `scores` (`list[float]`, a seed each); and seconds, a `float`
    """

    about, began = TASKS[task], time.perf_counter()
    split = _split(about, files)
    subsets = [take_rows(split.train, rows, seed) for seed in range(seeds)]
    if rows >= len(split.train):
        subsets = subsets[:1]  # they are all the same
    floors = [naive_bayes(type(split)(subset, split.validation, split.test)) for subset in subsets]
    scores = [floor.scores[about.metric] for floor in floors if floor is not None]
    return {"metric": about.metric, "scores": [round(score, 5) for score in scores]}, time.perf_counter() - began


def difference(before, after, targets):
    """What fine-tuning gains from one encoder to another.

    Args:
        before, after (`dict`): of [`score_encoder`], of the same task and rows; targets (`dict`): `names`, `targets`.

    Returns:
        `verdict.Comparison`: `difference`, `low`, `high` (95 %), `verdict`, ...
    """
    seeds = sorted({run["seed"] for run in before["runs"]} & {run["seed"] for run in after["runs"]})
    runs = [[run for run in figures["runs"] if run["seed"] in seeds] for figures in (before, after)]
    predictions = [[unpack(run["predictions"]) for run in one] for one in runs]
    reasons = [[run["collapsed"] for run in one] for one in runs]
    return compare(
        before["kind"],
        before["metric"],
        *predictions,
        unpack(targets["targets"]),
        tuple(targets["names"]),
        train_rows=before.get("rows"),
        collapsed_before=reasons[0],
        collapsed_after=reasons[1],
    )


def mean_score(figures):
    """Args: figures (`dict`): of [`score_encoder`]. Returns: `float`, over seeds that did not collapse; NaN if all."""
    scores = [run["scores"][figures["metric"]] for run in figures["runs"] if run["collapsed"] is None]
    return statistics.fmean(scores) if scores else math.nan


def _split(about, files):
    parts = [read_labels(file, **about.columns) for file in files]
    return split_labels(parts[0], validation=parts[1], test=parts[2])


def _targets(about, files):
    split = _split(about, files)
    return {"names": list(split.test.names), "targets": pack(split.test.targets)}


def _rounded(scores):
    return {name: round(value, 5) for name, value in scores.items()}
