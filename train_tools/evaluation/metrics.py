"""Scores of a task, and fine-tunings that have collapsed."""

import math
import warnings
from collections import Counter

from .extra import import_extra


# Of each kind of task, the one that is judged by first. More is better for all of them.
METRICS = {
    "single": ("accuracy", "macro_f1", "micro_f1"),
    "pair": ("accuracy", "macro_f1", "micro_f1"),
    "regression": ("spearman", "pearson"),
    "tokens": ("f1", "precision", "recall"),
}
NEARLY_ALL = 0.995  # of the rows of one class, where the targets have at most `OF_TARGETS` of one: a collapse too
OF_TARGETS = 0.95


def score(kind, predictions, targets, names=()):
    """All metrics of a task, by scikit-learn, SciPy and seqeval.

    Args:
        kind (`str`): one of `KINDS`.
        predictions, targets (`list`): of each row a class (`int`), a number (`float`) or, for `"tokens"`, the tag of
            each word (`list[int]`).
        names (sequence of `str`): of the classes or tags.

    Returns:
        `dict[str, float]`: each of `METRICS[kind]`; F1 and accuracy in [0, 1], correlations in [-1, 1]. A correlation
        with numbers that are all alike, or not finite, does not exist: it counts as 0, for it tells nothing.

    Raises:
        ValueError: predictions and targets are not of one size, or a library is missing.
    """
    _check(kind, predictions, targets)
    if kind == "regression":
        return _correlations(predictions, targets)
    if kind == "tokens":
        metrics = import_extra("seqeval.metrics.sequence_labeling")
        spelled = [[[names[tag] for tag in row] for row in rows] for rows in (targets, predictions)]
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(*spelled, average="micro", zero_division=0)
        return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}
    metrics = import_extra("sklearn.metrics")
    return {
        "accuracy": float(metrics.accuracy_score(targets, predictions)),
        "macro_f1": float(metrics.f1_score(targets, predictions, average="macro", zero_division=0)),
        "micro_f1": float(metrics.f1_score(targets, predictions, average="micro", zero_division=0)),
    }


def collapsed(kind, predictions, targets, names=()):
    """Whether a fine-tuning says the same whatever it reads. Arguments and errors as those of [`score`].

    Returns: `None`, or why it has collapsed (`str`, without a full stop).
    """
    _check(kind, predictions, targets)
    if kind == "regression":
        if not all(map(math.isfinite, predictions)):
            return "numbers that are not finite"
        return "the same number for all rows" if _is_constant(predictions, targets) else None
    if kind == "tokens":
        said = {tag for row in predictions for tag in row}
        wanted = {tag for row in targets for tag in row}
        if len(wanted) > 1 and len(said) == 1:
            return f"one tag for all words ({names[said.pop()]})"
        return None
    name, count = Counter(predictions).most_common(1)[0]
    if len(set(targets)) == 1 or Counter(targets).most_common(1)[0][1] > OF_TARGETS * len(targets) < count:
        return None
    if count == len(predictions):
        return f"one class for all rows ({names[name]})"
    if count >= NEARLY_ALL * len(predictions):
        return f"one class for all but {len(predictions) - count} of {len(predictions):,} rows ({names[name]})"
    return None


def _check(kind, predictions, targets):
    if kind not in METRICS:
        raise ValueError(f"`kind={kind}`: the kinds of task are {', '.join(METRICS)}.")
    if not len(predictions) == len(targets) > 0:
        raise ValueError(f"{len(predictions)} predictions for {len(targets)} rows. Give one for each row.")
    if kind == "tokens":
        for row, (said, wanted) in enumerate(zip(predictions, targets, strict=True)):
            if len(said) != len(wanted):
                raise ValueError(f"Row {row}: {len(said)} predicted tags for {len(wanted)} words. Give one for each.")


def _correlations(predictions, targets):
    stats = import_extra("scipy.stats")
    if not all(map(math.isfinite, predictions)) or _is_constant(predictions, targets) or len(targets) < 2:
        return {"spearman": 0.0, "pearson": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)  # the targets of a small sample may be alike
        found = {
            "spearman": float(stats.spearmanr(predictions, targets).statistic),
            "pearson": float(stats.pearsonr(predictions, targets).statistic),
        }
    return {name: value if math.isfinite(value) else 0.0 for name, value in found.items()}


def _is_constant(predictions, targets):
    """Whether the numbers spread less than a ten-thousandth of what the targets do: rounding, not an answer."""
    return max(predictions) - min(predictions) <= 1e-4 * (max(targets) - min(targets))
