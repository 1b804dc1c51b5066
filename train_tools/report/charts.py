"""What the charts of a report show: points, labels, a description in words, and a table of the figures behind them."""

from dataclasses import dataclass, field
from itertools import pairwise

from ...hub_tools.constant_answer import constant_answers
from ...hub_tools.run_record import CLASSES, EVALUATION, is_number
from ..schedule import FIELDS
from . import measures, tables
from .tables import Table, class_verdicts, number, percent


TABLE_ROWS = 12
# Name of the chart -> the figures in it, each once for training and once for held-out text.
LOSSES = ("loss", "mlm_loss", "disc_loss")
ACCURACIES = ("disc_auc", "disc_acc", "disc_recall", "gen_acc", "lucky_hits", "replaced_share")
WEIGHTS = {"mlm_loss": "gen_weight", "disc_loss": "disc_weight"}  # of the parts in the loss
OPTIMISATION = ("learning_rate", *FIELDS, "grad_norm")  # the fields that have schedules
# Figures that only an evaluation has: chart -> label of each.
HELD_OUT_ONLY = {
    "detection": {"disc_precision": "precision_short", "disc_f1": "F1"},
    "guesses": {"gen_top1": "top1_short", "gen_top5": "top5_short"},
}
SHARE_CHARTS = {*ACCURACIES, *HELD_OUT_ONLY}
BAR_KINDS = ("all", *CLASSES)


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Args:
        label (`str`), look (`str`): a name in [`figures.LOOKS`].
        points (`list` of (x, y)), in order of x.
        bounds (`list` of (low, high)): around each y; empty where there are none.
    """

    label: str
    look: str
    points: list[tuple[float, float]]
    bounds: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Lines:
    """A chart of lines.

    Args:
        name (`str`): unique in a page. title, x_label, description (`str`). series (`list` of [`Series`]).
        table ([`Table`]): the figures. shares (`bool`): y is a share. diagonal (`bool`): x and y should be equal.
        counts (`bool`): y counts things, over many orders of magnitude.
        ticks (`tuple[int]`): the only places on x, which is logarithmic then. zero (`bool`): a line where y is 0.
    """

    name: str
    title: str
    x_label: str
    series: list[Series]
    description: str
    table: Table
    shares: bool = False
    diagonal: bool = False
    counts: bool = False
    ticks: tuple[int, ...] = ()
    zero: bool = False


@dataclass(frozen=True)
class Bars:
    """A chart of bars that each add up to 1.

    Args:
        name, title, x_label, description (`str`), table ([`Table`])
        rows (`list[str]`): a label a bar, from top to bottom.
        parts (`list` of (label, look, shares)): the parts of all bars, from left to right.
    """

    name: str
    title: str
    x_label: str
    rows: list[str]
    parts: list[tuple[str, str, list[float]]]
    description: str
    table: Table


def curve_sections(run, texts):
    """The curves of a run: `list` of (name of the section, `list` of [`Lines`]), empty ones left out."""
    speed = _tokens_per_second(run)
    sections = {
        "losses": [_both(run, name, texts) for name in LOSSES],
        "accuracies": [
            *(_both(run, name, texts) for name in ACCURACIES),
            *(_held_out_only(run, name, labels, texts) for name, labels in HELD_OUT_ONLY.items()),
            _both(run, "disc_logit_std", texts),
        ],
        "optimisation": [
            *(_both(run, name, texts) for name in OPTIMISATION),
            _curves("tokens_per_second", [(texts["training"], "training", speed)], texts),
        ],
    }
    kept = {name: [chart for chart in charts if chart is not None] for name, charts in sections.items()}
    return [(name, charts) for name, charts in kept.items() if charts]


def _both(run, name, texts):
    sides = [("training", "training", False), ("held_out_short", "held_out", True)]
    series = [(texts[label], look, run.points(name, held_out=held_out)) for label, look, held_out in sides]
    if any(points for _, _, points in series):
        series.append((texts["constant_short"], "constant", _constant(run, name)))
    return _curves(name, series, texts)


def _constant(run, name):
    """What a constant answer gets, at each step whose row says enough: in training, else in held-out text."""
    known = tables.held_out_figures(run, -1).get("frequency_loss")
    for prefix, rows in (("", run.training), (EVALUATION, run.evaluations)):
        points = {}
        for row in rows:
            figures = {key: row.get(prefix + key) for key in ("replaced_share", "lucky_hits")}
            constants = constant_answers({**figures, "frequency_loss": known}, run.vocab_size)
            # A schedule's value stands in the row; where the generator learnt alone, the loss is its own.
            weights = {
                part: row.get(weight, run.config.get(weight))
                for part, weight in WEIGHTS.items()
                if is_number(row.get(prefix + part))
            }
            if weights and all(part in constants and is_number(weight) for part, weight in weights.items()):
                constants["loss"] = sum(weight * constants[part] for part, weight in weights.items())
            constant = constants.get(name)
            if constant is not None and is_number(row.get(prefix + name)) and "step" in row:
                points[row["step"]] = constant
        if points:
            return sorted(points.items())
    return []


def _held_out_only(run, name, labels, texts):
    looks = ("held_out", "training", "third")
    series = [
        (texts.get(label, label), look, run.points(key, held_out=True))
        for (key, label), look in zip(labels.items(), looks, strict=False)
    ]
    return _curves(name, series, texts)


def _curves(name, series, texts):
    """The chart of some figures over the steps, or `None` where none was logged."""
    series = [(label, look, points) for label, look, points in series if points]
    if not series:
        return None
    shown = percent if name in SHARE_CHARTS else number
    drawn = [Series(label, look, measures.downsample(points)) for label, look, points in series]
    described = [_describe(label, points, shown, texts) for label, _, points in series]
    return Lines(
        name=name,
        title=texts[name],
        x_label=texts["step"],
        series=drawn,
        description=" ".join(described),
        table=_curve_table(texts[name], series, shown, texts),
        shares=name in SHARE_CHARTS,
    )


def _describe(label, points, shown, texts):
    values = [value for _, value in points]
    return texts["described"].format(
        label=label,
        first=shown(values[0]),
        first_step=f"{points[0][0]:,}",
        last=shown(values[-1]),
        last_step=f"{points[-1][0]:,}",
        lowest=shown(min(values)),
        highest=shown(max(values)),
    )


def _curve_table(caption, series, shown, texts):
    """A few rows of all series: steps evenly from each, and what every other series has there."""
    steps: set[int] = set()
    for _, _, points in series:
        steps.update(step for step, _ in _evenly(points, TABLE_ROWS // len(series)))
    values = [dict(points) for _, _, points in series]
    rows = [[f"{step:,}", *(shown(value.get(step)) for value in values)] for step in sorted(steps)]
    return Table(caption, [texts["step"], *(label for label, _, _ in series)], rows)


def _evenly(items, limit):
    """At most `limit` of a list, evenly, with its first and its last."""
    if len(items) <= limit:
        return items
    return [items[round(place * (len(items) - 1) / (limit - 1))] for place in range(limit)]


def _tokens_per_second(run):
    """Speed over the steps: as logged, or from the tokens and the seconds that the Trainer counts between two logs."""
    logged = run.points("tokens_per_second")
    if logged:
        return logged
    rows = [row for row in run.training if is_number(row.get("num_input_tokens_seen"))]
    rows = [row for row in rows if "step" in row and is_number(row.get("train_runtime"))]
    speeds = []
    for earlier, later in pairwise(rows):
        seconds = later["train_runtime"] - earlier["train_runtime"]
        if seconds > 0:  # the clock starts anew where a run was resumed
            tokens = later["num_input_tokens_seen"] - earlier["num_input_tokens_seen"]
            speeds.append((later["step"], tokens / seconds))
    return speeds


def confusion_charts(run, texts):
    """What happens to replaced and to original tokens, by kind, before and after: `list` of two [`Bars`]."""
    return [
        _bars("replaced_bars", ("caught", "missed"), run, texts),
        _bars("original_bars", ("right", "false_alarms"), run, texts),
    ]


def _bars(name, parts, run, texts):
    sides = {side: class_verdicts(getattr(run.held_out, side)) for side in ("before", "after")}
    rows, counts = [], []
    for kind in BAR_KINDS:
        for side, kinds in sides.items():
            numbers = [getattr(kinds[kind], part) for part in parts] if kind in kinds else [0]
            if sum(numbers):
                rows.append(texts["bar_row"].format(label=texts[kind], side=texts[side]))
                counts.append(numbers)
    names = [texts[part] for part in parts]
    shares = [[number / sum(numbers) for number in numbers] for numbers in counts]
    described = []
    for row, values in zip(rows, shares, strict=True):
        said = ", ".join(f"{name} {percent(one)}" for name, one in zip(names, values, strict=True))
        described.append(texts["bar_described"].format(label=row, shares=said))
    cells = [[row, *map(number, numbers)] for row, numbers in zip(rows, counts, strict=True)]
    return Bars(
        name=name,
        title=texts[name],
        x_label=texts["share_axis"],
        rows=rows,
        parts=[(texts[part], part, [values[place] for values in shares]) for place, part in enumerate(parts)],
        description=" ".join(described),
        table=Table(texts[name], [texts["class"], *names], cells),
    )


def calibration_charts(run, texts):
    """Probabilities against the truth, and how many tokens have which: `list` of two [`Lines`]."""
    sides = {side: getattr(run.held_out, side)["calibration"] for side in ("before", "after")}
    table = _calibration_table(sides, texts)
    reliability = [_reliability(texts[side], side, calibration) for side, calibration in sides.items()]
    counts = [Series(texts[side], side, _bin_counts(calibration)) for side, calibration in sides.items()]
    described = [
        texts["point_described"].format(
            label=texts[side],
            count=len(measures.calibration_bins(calibration)),
            error=percent(measures.calibration_error(calibration)),
        )
        for side, calibration in sides.items()
    ]
    counted = [
        texts["count_described"].format(
            label=texts[side],
            count=number(sum(calibration["count"])),
            low=number(sum(count for middle, count in _bin_counts(calibration) if middle < 0.5)),
        )
        for side, calibration in sides.items()
    ]
    return [
        Lines(
            "reliability",
            texts["reliability"],
            texts["probability"],
            reliability,
            " ".join(described),
            table,
            shares=True,
            diagonal=True,
        ),
        Lines(
            "probability_counts",
            texts["probability_counts"],
            texts["probability"],
            counts,
            " ".join(counted),
            table,
            counts=True,
        ),
    ]


def _reliability(label, look, calibration):
    bins = sorted(measures.calibration_bins(calibration), key=lambda one: one[2])
    points = [(mean, replaced / count) for count, replaced, mean in bins]
    return Series(label, look, points, [measures.wilson(replaced, count) for count, replaced, _ in bins])


def _bin_counts(calibration):
    """Middle of each bin and the tokens in it; empty bins are left out, since a logarithm has no 0."""
    edges = calibration["edges"]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    return [(middle, count) for middle, count in zip(middles, calibration["count"], strict=True) if count]


def _calibration_table(sides, texts):
    edges = sides["after"]["edges"]
    head, columns = [texts["bin"]], [[f"{low:.0%}-{high:.0%}" for low, high in pairwise(edges)]]
    for side, calibration in sides.items():
        head += [texts[name].format(side=texts[side]) for name in ("bin_count", "bin_mean", "bin_share")]
        shares = [
            measures.share(replaced, count)
            for replaced, count in zip(calibration["replaced"], calibration["count"], strict=True)
        ]
        columns += [
            [number(count) for count in calibration["count"]],
            [percent(mean) for mean in calibration["mean_probability"]],
            [percent(one) for one in shares],
        ]
    return Table(texts["calibration"], head, [list(row) for row in zip(*columns, strict=True)])
