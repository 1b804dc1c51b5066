"""The part of a report about labels: tables and sentences of an evaluation, and its curves with their intervals."""

import math
import statistics

from ..evaluation.result_texts import TEXTS
from ..evaluation.results import FLOOR, notes, scores, short, tables, task_line, verdicts, ways
from .charts import Lines, Series
from .tables import NOTHING, Table


LOOKS = ("before", "after", "third", "fourth", "fifth")  # of arms, in their order
APART = 0.06  # of the natural logarithm of a number of rows: arms stand beside each other, not on each other


def describe(evaluation, lang):
    """What stands in the section beside the figures.

    Args: evaluation ([`Evaluation`]); lang (`str`): `"ko"` or `"en"`.
    Returns: `dict`: `task` (`str`), `tables`, `verdicts` and `notes` (`list`)
    """
    texts = TEXTS[lang]
    made = {"tables": tables, "verdicts": verdicts, "notes": notes}
    return {"task": task_line(evaluation, texts), **{name: make(evaluation, texts) for name, make in made.items()}}


def charts(evaluation, texts):
    """Differences with their intervals, and the scores behind them: by training rows.

    Args: evaluation ([`Evaluation`]); texts (`dict`): of the report.
    Returns: `list` of [`Lines`]
    """
    drawn = []
    for way in ways(evaluation):
        drawn.append(_differences(evaluation, way, texts))
        if len(evaluation.train_rows) > 1:
            drawn.append(_scores(evaluation, way, texts))
    return [chart for chart in drawn if chart is not None]


def _differences(evaluation, way, texts):
    baseline, arms = evaluation.baseline, list(evaluation.arms)
    of_way = [one for one in evaluation.comparisons if one["way"] == way and one["against"] == baseline]
    figures = {}
    for arm in arms:
        rows = {one["train_rows"]: one for one in of_way if one["arm"] == arm and _has_interval(one)}
        if rows:
            figures[arm] = dict(sorted(rows.items()))
    if not figures:
        return None
    series = []
    for place, (arm, rows) in enumerate(figures.items()):
        points = [(_beside(count, place, len(figures)), 100 * one["difference"]) for count, one in rows.items()]
        bounds = [(100 * one["low"], 100 * one["high"]) for one in rows.values()]
        series.append(Series(short(arm), _look(arms.index(arm)), points, bounds))
    cells = {arm: {count: _interval(one, texts) for count, one in rows.items()} for arm, rows in figures.items()}
    title = texts["evaluation_differences"].format(metric=evaluation.task["metric"], against=short(baseline))
    return _chart(f"evaluation_differences_{way}", title, way, series, cells, texts, zero=True)


def _scores(evaluation, way, texts):
    arms = [*evaluation.arms]
    sources = {arm: (arm, way) for arm in arms} | {texts["floor"]: (FLOOR, FLOOR)}
    found = {
        name: {
            count: [100 * score for score in scores(evaluation, arm, count, one)] for count in evaluation.train_rows
        }
        for name, (arm, one) in sources.items()
    }
    found = {name: {count: values for count, values in rows.items() if values} for name, rows in found.items()}
    found = {name: rows for name, rows in found.items() if rows}
    series, cells = [], {}
    for place, (name, rows) in enumerate(found.items()):
        points = [(_beside(count, place, len(found)), statistics.fmean(values)) for count, values in rows.items()]
        bounds = [(min(values), max(values)) for values in rows.values()]
        look = _look(arms.index(name)) if name in arms else "constant"
        series.append(Series(short(name), look, points, bounds if max(map(len, rows.values())) > 1 else []))
        cells[name] = {count: f"{statistics.fmean(values):.1f}" for count, values in rows.items()}
    title = texts["evaluation_scores"].format(metric=evaluation.task["metric"])
    return _chart(f"evaluation_scores_{way}", title, way, series, cells, texts)


def _chart(name, title, way, series, cells, texts, zero=False):
    counts = sorted({count for rows in cells.values() for count in rows})
    head = [texts["training_rows"], *map(short, cells)]
    rows = [[f"{count:,}", *(rows.get(count, NOTHING) for rows in cells.values())] for count in counts]
    described = [
        texts["evaluation_described"].format(
            label=short(arm), values=", ".join(f"{count:,}: {value}" for count, value in rows.items())
        )
        for arm, rows in cells.items()
    ]
    if way != "fine_tuning":
        title = f"{title} ({texts['by_probe']})"
    return Lines(
        name,
        title,
        texts["training_rows"],
        series,
        " ".join(described),
        Table(title, head, rows),
        ticks=tuple(counts),
        zero=zero,
    )


def _look(place):
    return LOOKS[place % len(LOOKS)]


def _beside(count, place, places):
    return count * math.exp(APART * (place - (places - 1) / 2))


def _interval(one, texts):
    names = {"value": "difference", "low": "low", "high": "high"}
    return texts["with_interval"].format(**{name: f"{100 * one[field]:+.1f}" for name, field in names.items()})


def _has_interval(one):
    return all(one[name] is not None and math.isfinite(one[name]) for name in ("difference", "low", "high"))
