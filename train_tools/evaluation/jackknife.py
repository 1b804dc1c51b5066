"""What each test row does to a score: the score without it, by the jackknife (Efron and Tibshirani 1993, chapter 11).

Scores of classes and of tags are functions of counts, and counts without a row are a subtraction away: thousands of
scores cost as much as one. `metrics.score` says the same figures where nothing is left out; a test compares them.
"""

import numpy as np

from .extra import import_extra
from .metrics import METRICS


BLOCKS = 100  # of rows left out together where a score has no counts: correlations


def pseudo_values(kind, metric, predictions, targets, names, units):
    """The score, and what it would be if all rows were as those of each unit.

    Args:
        kind, predictions, targets, names: as for `metrics.score`. metric (`str`): one of `METRICS[kind]`.
        units (`numpy.ndarray` of `int`, `(rows,)`): rows of the same number, from 0 on, are left out together.

    Returns:
        `float`, and `numpy.ndarray` of `float`, `(units,)`; for accuracy and units of one row these are 1 where the
        row is right and 0 where it is wrong.

    Raises:
        ValueError: the task has no such metric.
    """
    if metric not in METRICS[kind]:
        raise ValueError(f"`metric={metric}`: the metrics of {kind} are {', '.join(METRICS[kind])}.")
    count = int(units.max()) + 1
    if kind == "regression":
        whole, without = _correlations_without(metric, predictions, targets, units)
    else:
        counts = _tag_counts(predictions, targets, names) if kind == "tokens" else _class_counts(predictions, targets)
        of_units = np.zeros((count, *counts.shape[1:]))
        np.add.at(of_units, units, counts)
        total = of_units.sum(0)
        present = total.sum(-1) > 0  # (classes,)
        whole, without = _score(metric, total, present), _score(metric, total - of_units, present)
    return float(whole), count * whole - (count - 1) * without


def units_of(rows, groups, kind):
    """Numbers of what is left out together: groups of rows, or rows; blocks of those for correlations.

    Args: rows (`int`): how many; groups (`list`, *optional*): of each row, `None` in none; kind (`str`).
    Returns: `numpy.ndarray` of `int`, `(rows,)`.
    """
    first: dict = {}
    keys = range(rows) if groups is None else ((row,) if group is None else group for row, group in enumerate(groups))
    units = np.array([first.setdefault(key, len(first)) for key in keys])
    if kind == "regression" and len(first) > BLOCKS:
        # Drawn, since files are often in the order of their sources; the same blocks in every arm and seed.
        return (np.random.default_rng(0).permutation(len(first)) % BLOCKS)[units]
    return units


def _score(metric, counts, present):
    """Scores from counts `(..., classes, 3)`: right, predicted, wanted."""
    right, predicted, wanted = np.moveaxis(counts, -1, 0)
    if metric == "macro_f1":
        return _ratio(2 * right, predicted + wanted)[..., present].mean(-1)
    right, predicted, wanted = right.sum(-1), predicted.sum(-1), wanted.sum(-1)
    if metric == "precision":
        return _ratio(right, predicted)
    if metric in ("recall", "accuracy"):
        return _ratio(right, wanted)
    return _ratio(2 * right, predicted + wanted)  # f1 of tags; micro_f1


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _class_counts(predictions, targets):
    predictions, targets = np.asarray(predictions), np.asarray(targets)
    counts = np.zeros((len(targets), int(max(predictions.max(), targets.max())) + 1, 3))
    rows = np.arange(len(targets))
    counts[rows, targets, 0] = predictions == targets
    counts[rows, predictions, 1] = 1
    counts[rows, targets, 2] = 1
    return counts


def _tag_counts(predictions, targets, names):
    get_entities = import_extra("seqeval.metrics.sequence_labeling").get_entities
    counts = np.zeros((len(targets), 1, 3))
    for row, (said, wanted) in enumerate(zip(predictions, targets, strict=True)):
        found = set(get_entities([names[tag] for tag in wanted]))
        said = found if said == wanted else set(get_entities([names[tag] for tag in said]))
        counts[row, 0] = len(said & found), len(said), len(found)
    return counts


def _correlations_without(metric, predictions, targets, units):
    rank = import_extra("scipy.stats").rankdata if metric == "spearman" else np.asarray
    numbers = np.array([predictions, targets], dtype=float)
    without = [_correlation(*map(rank, numbers[:, units != unit])) for unit in range(int(units.max()) + 1)]
    return _correlation(*map(rank, numbers)), np.array(without)


def _correlation(first, second):
    first, second = first - first.mean(), second - second.mean()
    spread = np.sqrt((first @ first) * (second @ second))
    return first @ second / spread if spread > 0 else 0.0
