"""What an evaluation says, as tables of text and sentences: the source of the terminal, the page and the card."""

import math
import statistics
from dataclasses import dataclass
from pathlib import PurePath

from .evaluation import WAYS


FLOOR = "naive_bayes"
NOTHING = "—"
ROUNDING = 0.0005  # of a score: less is not seen in a table
LISTED_NAMES = 6
LONGEST_NAME = 28  # characters of an encoder's or a class's name


@dataclass(frozen=True)
class Cells:
    """A table: caption (`str`), head (`list[str]`), and rows (`list[list[str]]`) as wide as the head."""

    caption: str
    head: list[str]
    rows: list[list[str]]


def task_line(evaluation, texts):
    """What was evaluated on, in a sentence: names of files, never where they lie.

    Args: evaluation ([`Evaluation`]), texts (`dict`): of a language.
    Returns: `str`
    """
    task = evaluation.task
    names = [short(name) for name in task.get("names") or ()]
    shown = ", ".join(names[:LISTED_NAMES])
    if len(names) > LISTED_NAMES:
        shown = texts["more_names"].format(names=shown, count=len(names) - LISTED_NAMES)
    counts = {part: f"{task.get(part, 0):,}" for part in ("train", "validation", "test")}
    kind = texts[task["kind"]].format(names=shown)
    return texts["task"].format(files=", ".join(file_names(task)), kind=kind, **counts)


def file_names(task):
    """The names of the files of a task, without their folders: `list[str]`."""
    files = task.get("files") or ()
    files = files.values() if isinstance(files, dict) else [files] if isinstance(files, str) else files
    return [printable(PurePath(str(file).replace("\\", "/")).name) for file in files if file]


def tables(evaluation, texts):
    """Scores, chosen rates and differences, of fine-tunings and of probes.

    Args: evaluation ([`Evaluation`]), texts (`dict`).
    Returns: `list` of [`Cells`]
    """
    made = []
    for way in ways(evaluation):
        made.append(_scores(evaluation, way, texts))
        if way == "fine_tuning" and len(evaluation.train_rows) > 1:
            made.append(_rates(evaluation, texts))
        made += _differences(evaluation, way, texts)
    return made


def ways(evaluation):
    """How the encoders were evaluated, without the floor: `list[str]`."""
    return [way for way in WAYS if way != FLOOR and any(run.way == way for run in evaluation.runs)]


def verdicts(evaluation, texts, of=None):
    """One sentence for each encoder that is compared, and what would be needed where nobody can tell.

    Args:
        evaluation ([`Evaluation`]), texts (`dict`)
        of (`str`, *optional*): the one arm whose comparisons are told.

    Returns:
        `list[str]`
    """
    said = []
    for way in ways(evaluation):
        pairs = dict.fromkeys((one["arm"], one["against"]) for one in _comparisons(evaluation, way))
        for pair in (pair for pair in pairs if of is None or of in pair):
            compared = [one for one in _comparisons(evaluation, way) if (one["arm"], one["against"]) == pair]
            if len(compared) > 1:
                said.append(_by_rows(compared, texts))
            said.append(_verdict(evaluation, compared[-1], texts))
    return said


def notes(evaluation, texts):
    """What a reader must know beside the figures: collapses, encoders below the floor, rates at an edge, cut texts.

    Args: evaluation ([`Evaluation`]), texts (`dict`).
    Returns: `list[str]`
    """
    said = []
    for way in ways(evaluation):
        for arm in evaluation.arms:
            for rows in evaluation.train_rows:
                said += _collapses(evaluation, arm, rows, way, texts)
        said += [_left_out(evaluation, one, texts) for one in _comparisons(evaluation, way) if one.get("left_out")]
    for arm in evaluation.arms:
        for way in ways(evaluation):
            said += _below_the_floor(evaluation, arm, way, texts)
        said += _at_an_edge(evaluation, arm, texts)
    return [*said, *_cut_off(evaluation, texts)]


# ---- Tables ---------------------------------------------------------------------------------------------------------


def _scores(evaluation, way, texts):
    counts, metric = evaluation.train_rows, evaluation.task["metric"]
    arms = [(short(arm), arm, way) for arm in evaluation.arms if any(evaluation.of(arm, rows, way) for rows in counts)]
    if any(evaluation.chosen(FLOOR, rows, FLOOR) for rows in counts):
        arms.append((texts[FLOOR], FLOOR, FLOOR))
    if len(counts) > 1:
        rows = [[name, *(_mean(evaluation, arm, count, one) for count in counts)] for name, arm, one in arms]
        head = [texts["arm"], *(f"{count:,}" for count in counts)]
        return Cells(texts["curve"].format(way=texts[way], metric=metric), head, rows)
    others = [name for name in _metrics(evaluation, way) if _says_more(evaluation, arms, name)]
    head = [texts["arm"], metric, *others, *([texts["seeds"], texts["rate"]] if way == "fine_tuning" else [])]
    rows = []
    for name, arm, one in arms:
        cells = [_mean(evaluation, arm, counts[0], one, other) for other in (metric, *others)]
        if way == "fine_tuning":
            seeds = len({run.seed for run in evaluation.chosen(arm, counts[0], one)}) if one == way else None
            cells += [NOTHING if seeds is None else str(seeds), _rate(evaluation, arm, counts[0])]
        rows.append([name, *cells])
    caption = "scores" if way == "fine_tuning" else "scores_once"
    return Cells(texts[caption].format(way=texts[way], metric=metric), head, rows)


def _rates(evaluation, texts):
    counts = evaluation.train_rows
    rows = [[short(arm), *(_rate(evaluation, arm, count) for count in counts)] for arm in evaluation.arms]
    return Cells(texts["rates"], [texts["arm"], *(f"{count:,}" for count in counts)], rows)


def _differences(evaluation, way, texts):
    compared = _comparisons(evaluation, way)
    if not compared:
        return []
    several = len(evaluation.train_rows) > 1
    head = [texts["comparison"], *([texts["rows"]] if several else []), texts["difference"], texts["interval"]]
    rows = []
    for one in compared:
        name = texts["versus"].format(arm=short(one["arm"]), against=short(one["against"]))
        bounds = texts["bounds"].format(low=points(one["low"]), high=points(one["high"]))
        count = [f"{one['train_rows']:,}"] if several else []
        rows.append([name, *count, points(one["difference"]), bounds, texts[one["verdict"]]])
    caption = texts["differences"].format(way=texts[way], metric=evaluation.task["metric"])
    return [Cells(caption, [*head, texts["verdict"]], rows)]


def _metrics(evaluation, way):
    return list(dict.fromkeys(name for run in evaluation.runs if run.way == way for name in run.scores))


def _says_more(evaluation, arms, metric):
    """Whether a metric is not the main one, nor one that is always equal to it (micro F1 and accuracy are)."""
    runs = [run for _, arm, way in arms for run in evaluation.runs if (run.arm, run.way) == (arm, way)]
    return any(run.scores.get(metric) != run.scores.get(evaluation.task["metric"]) for run in runs)


def scores(evaluation, arm, train_rows, way, metric=None):
    """The scores of the runs that an encoder is judged by, without those that are no number: `list[float]`."""
    name = metric or evaluation.task["metric"]
    found = [run.scores.get(name) for run in evaluation.chosen(arm, train_rows, way)]
    return [score for score in found if score is not None and math.isfinite(score)]


def _mean(evaluation, arm, train_rows, way, metric=None):
    found = scores(evaluation, arm, train_rows, way, metric)
    spread = f" ± {100 * statistics.stdev(found):.1f}" if len(found) > 1 else ""
    mark = " !" if any(run.collapsed for run in evaluation.chosen(arm, train_rows, way)) else ""
    return f"{100 * statistics.fmean(found):.1f}{spread}{mark}" if found else NOTHING


def _rate(evaluation, arm, train_rows):
    rate = evaluation.learning_rates.get(arm, {}).get(train_rows)
    return NOTHING if rate is None else f"{rate:g}"


# ---- Sentences ------------------------------------------------------------------------------------------------------


def _comparisons(evaluation, way):
    """Those of fine-tunings, or of probes: an encoder after the other, from few training rows to many."""
    arms = {arm: place for place, arm in enumerate(evaluation.arms)}
    found = (one for one in evaluation.comparisons if one["way"] == way)
    return sorted(found, key=lambda one: (arms[one["arm"]], arms[one["against"]], one["train_rows"]))


def _verdict(evaluation, one, texts):
    basis = texts["basis" if one["seeds"] > 1 else "basis_once"].format(
        seeds=one["seeds"], test=f"{evaluation.task['test']:,}"
    )
    sentence = texts["say"].format(
        verdict=texts[f"say_{one['verdict']}"],
        arm=short(one["arm"]),
        against=short(one["against"]),
        difference=points(one["difference"]),
        metric=evaluation.task["metric"],
        where=_where(evaluation, [one["train_rows"]], texts),
        low=points(one["low"]),
        high=points(one["high"]),
        basis=basis if one["way"] == "fine_tuning" else texts["by_probe"].format(basis=basis),
    )
    return f"{sentence} {_needed(one, texts)}".rstrip()


def _needed(one, texts):
    """What it would take to tell; in the words of the comparison, which are English, where they say something else."""
    counts = {name: one.get(f"needed_{name}") for name in ("seeds", "rows")}
    ways = [texts[f"needed_{name}"].format(count=f"{count:,}") for name, count in counts.items() if count]
    if one["verdict"] != "cannot tell":
        return ""
    if ways:
        return texts["needed"].format(ways=texts["or"].join(ways))
    needed = one.get("needed") or ""
    return needed[:1].upper() + needed[1:]


def _by_rows(compared, texts):
    """In which sizes of the training set it is better, and in which worse: in the order of the sizes."""
    groups: dict[str, list[str]] = {}
    for one in compared:
        groups.setdefault(one["verdict"], []).append(f"{one['train_rows']:,}")
    parts = [
        texts["part"].format(verdict=texts[verdict], rows=_joined(rows, texts["and"]))
        for verdict, rows in groups.items()
    ]
    arm, against = (short(compared[0][side]) for side in ("arm", "against"))
    return texts["by_rows"].format(arm=arm, against=against, parts="; ".join(parts))


def _joined(words, last):
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}{last}{words[-1]}"


def _where(evaluation, counts, texts):
    """With how many training rows, where there are several sizes."""
    rows = _joined([f"{count:,}" for count in counts], texts["and"])
    return texts["where"].format(rows=rows) if len(evaluation.train_rows) > 1 else ""


def _collapses(evaluation, arm, train_rows, way, texts):
    where = _where(evaluation, [train_rows], texts)
    return [
        texts["collapsed_once" if run.seed is None else "collapsed"].format(
            arm=short(arm), where=where, seed=run.seed, why=printable(run.collapsed).rstrip(".")
        )
        for run in evaluation.chosen(arm, train_rows, way)
        if run.collapsed
    ]


def _left_out(evaluation, one, texts):
    """That the seeds of collapsed runs are not in a comparison, though they are in the means."""
    where = _where(evaluation, [one["train_rows"]], texts)
    arm, against = (short(one[side]) for side in ("arm", "against"))
    left_out = one["left_out"]
    return texts["left_out"].format(arm=arm, against=against, where=where, count=left_out, all=left_out + one["seeds"])


def _below_the_floor(evaluation, arm, way, texts):
    pairs = {}
    for rows in evaluation.train_rows:
        score, floor = evaluation.mean(arm, rows, way), evaluation.mean(FLOOR, rows, FLOOR)
        if score is not None and floor is not None and score < floor - ROUNDING:
            pairs[rows] = texts["floor_pair"].format(score=f"{100 * score:.1f}", floor=f"{100 * floor:.1f}")
    if not pairs:
        return []
    name = short(arm) if way == "fine_tuning" else f"{short(arm)} ({texts[way]})"
    where = _where(evaluation, pairs, texts)
    return [texts["floor"].format(arm=name, where=where, pairs="; ".join(pairs.values()))]


def _at_an_edge(evaluation, arm, texts):
    edges = {rows: evaluation.edge(arm, rows) for rows in evaluation.train_rows}
    at = {edge: [rows for rows in edges if edges[rows] == edge] for edge in ("lowest", "highest")}
    return [
        texts[f"edge_{edge}"].format(arm=short(arm), where=_where(evaluation, rows, texts))
        for edge, rows in at.items()
        if rows
    ]


def _cut_off(evaluation, texts):
    text = texts["cut_off_tokens" if evaluation.task["kind"] == "tokens" else "cut_off"]
    most = {arm: max((run.cut_off for run in evaluation.runs if run.arm == arm), default=0) for arm in evaluation.arms}
    return [text.format(arm=short(arm), count=f"{count:,}") for arm, count in most.items() if count]


# ---- Cells ----------------------------------------------------------------------------------------------------------


def points(value):
    """A difference of scores in points: `str`, a dash for what is no number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{100 * value:+.1f}".replace("-0.0", "+0.0")


def short(name):
    """A name that fits a table, in which every character can be seen: `str`."""
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def printable(value):
    """Any value as one line of text; control characters and the like are escapes: `str`."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(value))
