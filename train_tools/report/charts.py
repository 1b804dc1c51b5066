"""What the charts of a report show: points, labels, and a description in words for those who do not see them."""

from dataclasses import dataclass, field
from itertools import pairwise

from ...hub_tools.constant_answer import constant_answers
from ...hub_tools.run_record import EVALUATION, is_number
from ..schedule import FIELDS
from . import measures, tables
from .tables import SHARES, Table, number, percent


TABLE_ROWS = 8  # from each kind of row in the log
WEIGHTS = {"mlm_loss": "gen_weight", "disc_loss": "disc_weight"}  # of the parts in the loss
# Section -> the figures of its charts. The fields that have schedules are drawn where they changed.
SECTIONS = {
    "losses": ("loss", "mlm_loss", "disc_loss"),
    "accuracies": (
        *("disc_auc", "disc_acc", "disc_recall", "detection"),
        *("gen_acc", "guesses", "lucky_hits", "replaced_share"),
    ),
    "optimisation": ("learning_rate", *FIELDS, "grad_norm", "disc_logit_std", "tokens_per_second"),
}
# Charts of figures that only an evaluation has: name -> label of each.
HELD_OUT_ONLY = {
    "detection": {"disc_precision": "precision_short", "disc_f1": "f1_short"},
    "guesses": {"gen_top1": "top1_short", "gen_top5": "top5_short"},
}


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Args: label (`str`); look (`str`): a name in [`figures.LOOKS`]; points (`list` of (x, y)), in order of x; bounds
        (`list` of (low, high)): around each y, empty where there are none.
    """

    label: str
    look: str
    points: list[tuple[float, float]]
    bounds: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """A chart of lines.

    Args:
        name (`str`): unique in a page. title, x_label, description (`str`). series (`list` of [`Series`]).
        shares (`bool`): y is a share. diagonal (`bool`): x and y are shares that should be equal.
    """

    name: str
    title: str
    x_label: str
    series: list[Series]
    description: str
    shares: bool = False
    diagonal: bool = False


def curve_sections(run, texts):
    """The curves of a run: `list` of (section, `list` of [`Chart`], [`Table`] of their figures), no empty ones."""
    sections = []
    for section, names in SECTIONS.items():
        lines = {name: [line for line in _lines(run, name, texts) if line[2]] for name in names}
        drawn = [_chart(name, series, texts) for name, series in lines.items() if series]
        if drawn:
            sections.append((section, drawn, _table(lines, texts)))
    return sections


def _lines(run, name, texts):
    """The lines of a chart over the steps: `list` of (label, look, points), some of them without points."""
    if name in HELD_OUT_ONLY:
        looks = zip(("held_out", "training"), HELD_OUT_ONLY[name].items(), strict=True)
        return [(texts[label], look, run.points(key, held_out=True)) for look, (key, label) in looks]
    training = _tokens_per_second(run) if name == "tokens_per_second" else run.points(name)
    lines = [(texts["training"], "training", training)]
    lines.append((texts["held_out_short"], "held_out", run.points(name, held_out=True)))
    return [*lines, (texts["constant_short"], "constant", _constant(run, name))]


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
            if constants.get(name) is not None and is_number(row.get(prefix + name)) and "step" in row:
                points[row["step"]] = constants[name]
        if points:
            return sorted(points.items())
    return []


def _tokens_per_second(run):
    """Speed over the steps: as logged, or from the tokens and the seconds that the Trainer counts between two logs."""
    logged = run.points("tokens_per_second")
    if logged:
        return logged
    names = ("num_input_tokens_seen", "train_runtime")
    rows = [row for row in run.training if "step" in row and all(is_number(row.get(name)) for name in names)]
    speeds = []
    for earlier, later in pairwise(rows):
        tokens, seconds = (later[name] - earlier[name] for name in names)
        if seconds > 0:  # the clock starts again where a run was resumed
            speeds.append((later["step"], tokens / seconds))
    return speeds


def _shown(name):
    return percent if name in SHARES or name in HELD_OUT_ONLY else number


def _chart(name, lines, texts):
    described = [_describe(label, points, _shown(name), texts) for label, _, points in lines]
    series = [Series(label, look, measures.downsample(points)) for label, look, points in lines]
    return Chart(name, texts[name], texts["step"], series, " ".join(described), shares=_shown(name) is percent)


def _describe(label, points, shown, texts):
    values = [value for _, value in points]
    steps = {"first_step": f"{points[0][0]:,}", "last_step": f"{points[-1][0]:,}"}
    ends = {"first": values[0], "last": values[-1], "lowest": min(values), "highest": max(values)}
    return texts["described"].format(label=label, **steps, **{name: shown(value) for name, value in ends.items()})


def _table(lines, texts):
    """Some rows of all lines of a section: steps evenly from each, and what every other line has there."""
    columns = {f"{texts[name]}, {label}": (name, dict(points)) for name in lines for label, _, points in lines[name]}
    steps: set[int] = set()
    for _, points in columns.values():
        known, few = list(points), min(TABLE_ROWS, len(points))
        steps.update(known[round(place * (len(known) - 1) / max(1, few - 1))] for place in range(few))
    shown = [(_shown(name), points) for name, points in columns.values()]
    rows = [[f"{step:,}", *(show(points.get(step)) for show, points in shown)] for step in sorted(steps)]
    return Table(texts["numbers"], [texts["step"], *columns], rows)


def calibration(run, texts):
    """Probabilities against the truth, before and after. Returns: [`Chart`], and [`Table`] of its bins."""
    sides = {side: getattr(run.held_out, side)["calibration"] for side in ("before", "after")}
    described, series, head, columns = [], [], [texts["bin"]], []
    for side, one in sides.items():
        bins = sorted(measures.calibration_bins(one), key=lambda one: one[2])
        bounds = [measures.wilson(replaced, count) for count, replaced, _ in bins]
        series.append(Series(texts[side], side, [(mean, part / count) for count, part, mean in bins], bounds))
        error = percent(measures.calibration_error(one))
        described.append(texts["point_described"].format(label=texts[side], count=len(bins), error=error))
        head += [texts[name].format(side=texts[side]) for name in ("bin_count", "bin_mean", "bin_share")]
        parts = map(measures.share, one["replaced"], one["count"])
        columns += [map(number, one["count"]), map(percent, one["mean_probability"]), map(percent, parts)]
    names = [f"{low:.0%}-{high:.0%}" for low, high in pairwise(sides["after"]["edges"])]
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    words = texts["reliability"], texts["probability"]
    chart = Chart("reliability", *words, series, " ".join(described), shares=True, diagonal=True)
    return chart, Table(texts["numbers"], head, rows)
