"""The part of a report about labels: tables and sentences of an evaluation, and its curves with their intervals."""

import math
import statistics

from ..evaluation import results
from ..evaluation.result_texts import TEXTS
from ..evaluation.results import FLOOR, scores, short, ways
from .charts import Chart, Series
from .tables import number


LOOKS = ("before", "after", "third", "fourth", "fifth")  # of arms, in their order
APART = 0.06  # of the natural logarithm of a number of rows: arms stand beside each other, not on each other


def describe(evaluation, lang):
    """What stands in the section beside the figures.

    Args: evaluation ([`Evaluation`]); lang (`str`): `"ko"` or `"en"`.
    Returns: `dict`: `task` (`str`), `tables`, `verdicts` and `notes` (`list`)
    """
    made = {name: getattr(results, name)(evaluation, TEXTS[lang]) for name in ("tables", "verdicts", "notes")}
    return {"task": results.task_line(evaluation, TEXTS[lang]), **made}


def charts(evaluation, texts):
    """Differences with their intervals, and the scores behind them, by training rows: `list` of [`Chart`].

    Args: evaluation ([`Evaluation`]); texts (`dict`): of the report.
    """
    drawn = []
    for way in ways(evaluation):
        drawn.append(_chart(evaluation, "differences", way, _differences(evaluation, way), texts))
        if len(evaluation.train_rows) > 1:
            drawn.append(_chart(evaluation, "scores", way, _scores(evaluation, way, texts), texts))
    return [chart for chart in drawn if chart is not None]


def _differences(evaluation, way):
    """Arm -> number of rows -> difference, and the ends of its interval: in points."""
    found: dict = {}
    for one in sorted(evaluation.comparisons, key=lambda one: one["train_rows"]):
        figures = [one[name] for name in ("difference", "low", "high")]
        is_whole = all(figure is not None and math.isfinite(figure) for figure in figures)
        if (one["way"], one["against"]) == (way, evaluation.baseline) and is_whole:
            found.setdefault(one["arm"], {})[one["train_rows"]] = [100 * figure for figure in figures]
    return {arm: found[arm] for arm in evaluation.arms if arm in found}


def _scores(evaluation, way, texts):
    """Arm, and the floor -> number of rows -> mean score, and the lowest and the highest."""
    sources = {arm: (arm, way) for arm in evaluation.arms} | {texts["floor"]: (FLOOR, FLOOR)}
    found: dict = {}
    for name, (arm, one) in sources.items():
        for count in evaluation.train_rows:
            values = [100 * score for score in scores(evaluation, arm, count, one)]
            if values:
                found.setdefault(name, {})[count] = [statistics.fmean(values), min(values), max(values)]
    return found


def _chart(evaluation, kind, way, found, texts):
    if not found:
        return None
    arms, series, described = list(evaluation.arms), [], []
    for place, (name, rows) in enumerate(found.items()):
        beside = math.exp(APART * (place - (len(found) - 1) / 2))
        points = [(count * beside, value) for count, (value, _, _) in rows.items()]
        look = LOOKS[arms.index(name) % len(LOOKS)] if name in arms else "constant"
        series.append(Series(short(name), look, points, [(low, high) for _, low, high in rows.values()]))
        values = ", ".join(f"{count:,}: {number(round(value, 1))}" for count, (value, _, _) in rows.items())
        described.append(f"{short(name)}: {values}.")
    names = {"metric": evaluation.task["metric"], "against": short(evaluation.baseline)}
    title = texts[f"evaluation_{kind}"].format(**names)
    if way != "fine_tuning":
        title = f"{title} ({texts['by_probe']})"
    ticks = tuple(sorted({count for rows in found.values() for count in rows}))
    shown = {"description": " ".join(described), "ticks": ticks, "zero": kind == "differences"}
    return Chart(f"evaluation_{kind}_{way}", title, texts["training_rows"], series, **shown)
