"""The tables of a report: rows of text, made from a run."""

from dataclasses import dataclass
from pathlib import PurePath

from ...hub_tools.constant_answer import LOWER, constant_answers, states, verdict
from ...hub_tools.run_record import EVALUATION, is_number
from ..evaluation.results import NOTHING, printable
from . import measures
from .translated import reason


# The figures of held-out text, in the order of the table: first the one that nothing but detecting can move.
FIGURES = (
    "disc_auc",
    "disc_loss",
    "disc_acc",
    "disc_precision",
    "disc_recall",
    "disc_f1",
    "calibration_error",
    "mlm_loss",
    "gen_perplexity",
    "gen_acc",
    "gen_top1",
    "gen_top5",
    "loss",
    "lucky_hits",
    "replaced_share",
)
UNJUDGED = ("lucky_hits", "replaced_share")  # neither high nor low is good
SHARES = {"gen_acc", "gen_top1", "gen_top5", "disc_acc", "disc_precision", "disc_recall", "disc_f1", "disc_auc"}
SHARES |= {"calibration_error", "lucky_hits", "replaced_share"}
LIBRARIES = ("torch", "transformers", "datasets")
STATE_SETTINGS = ("num_train_epochs", "max_steps", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
MODEL_SETTINGS = ("mask_prob", "gen_weight", "disc_weight", "sampling_temperature", "exclude_original")
MODEL_SETTINGS += ("mask_whole_words", "embedding_sharing")


@dataclass(frozen=True)
class Table:
    """A table of a page: caption (`str`), head (`list[str]`) and rows (`list[list[str]]`) as wide as the head."""

    caption: str
    head: list[str]
    rows: list[list[str]]


def number(value):
    """A figure for a person: four digits that count, thousands with commas, a dash for nothing."""
    if value is None or not is_number(value):
        return NOTHING
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(value, digits=1):
    """A share as per cent, a dash for nothing."""
    return NOTHING if value is None or not is_number(value) else f"{100 * value:.{digits}f}%"


def figure(name, value):
    """A figure as its name asks: a share as per cent, anything else as a number."""
    return percent(value) if name in SHARES else number(value)


def duration(seconds, texts):
    """Seconds in words."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return texts["minutes"].format(minutes=minutes, seconds=rest)
    return texts["hours"].format(hours=minutes // 60, minutes=minutes % 60)


def headline(run, texts):
    """The figures at the top: `list` of (name, value)."""
    results, end, state = run.results, run.end, run.state
    seconds = results.get("seconds", end.get("train_runtime"))
    tokens = results.get("tokens_seen", state.get("num_input_tokens_seen") or None)
    speed = results.get("tokens_per_second", end.get("train_tokens_per_second"))
    values = {
        "steps": number(results.get("steps", state.get("global_step"))),
        "epochs": number(state.get("epoch")),
        "time": duration(seconds, texts) if is_number(seconds) else NOTHING,
        "tokens": number(tokens),
        "tokens_per_second": f"{speed:,.0f}" if is_number(speed) else NOTHING,
    }
    return [(texts[name], texts["unknown"] if value == NOTHING else value) for name, value in values.items()]


def comparison(run, texts):
    """Held-out figures before and after: [`Table`], or `None` where nothing was evaluated."""
    sides = held_out_figures(run, 0), held_out_figures(run, -1)
    names = [name for name in FIGURES if any(is_number(side.get(name)) for side in sides)]
    if not names:
        return None
    constants = constant_answers(sides[1], run.vocab_size)
    rows = [
        [
            _named(name, texts),
            *(figure(name, side.get(name)) for side in sides),
            _result(name, *sides, run, texts),
            figure(name, constants.get(name)),
        ]
        for name in names
    ]
    return Table(
        texts["held_out"], [texts["figure"], *_sides(run, texts), texts["verdict"], texts["constant_answer"]], rows
    )


def both_texts(run, texts):
    """What was gained on the domain's text and lost on general text: [`Table`], or `None` where none was replayed."""
    pairs = [(held_out_figures(run, 0), held_out_figures(run, -1)), general_figures(run)]
    names = [name for name in FIGURES if all(is_number(side.get(name)) for pair in pairs for side in pair)]
    rows = [
        [_named(name, texts)]
        + [
            f"{figure(name, before[name])} → {figure(name, after[name])} {_result(name, before, after, run, texts)}"
            for before, after in pairs
        ]
        for name in names
    ]
    return Table(texts["both_texts"], [texts["figure"], texts["domain"], texts["general"]], rows) if rows else None


def _named(name, texts):
    """A figure by name, with an arrow to where it should go."""
    return texts[name] if name in UNJUDGED else f"{texts[name]} {'↓' if name in LOWER else '↑'}"


def _result(name, before, after, run, texts):
    """What became of a figure, in words, and by how much it changed."""
    first, last = before.get(name), after.get(name)
    said = verdict(name, before, after, run.vocab_size)
    parts = [] if said is None else [texts[said]]
    if is_number(first) and is_number(last):
        parts.append(points(last - first, texts) if name in SHARES else f"{last - first:+.4g}")
    return ", ".join(parts) or NOTHING


def general_figures(run):
    """Figures of held-out general text, before and after: two `dict`, empty where there is no such text."""
    figures = []
    for side in ("before", "after"):
        stats = dict(run.results.get(f"general_{side}", {}))
        if run.held_out is not None and run.held_out.general is not None:
            stats |= _thorough(run.held_out.general[side])
        figures.append(stats)
    return tuple(figures)


def no_success(run, texts):
    """What held-out text says against a run: `list` of (name, message), empty where it says nothing."""
    after = held_out_figures(run, -1)
    constant = constant_answers(after, run.vocab_size)
    found = []
    for network, name, state in zip(
        ("generator", "discriminator"), ("mlm_loss", "disc_loss"), states(after, run.vocab_size), strict=True
    ):
        if state is not None:
            shown = {key: figure(key, after.get(key)) for key in ("disc_auc", name)}
            message = texts[f"{network}_{state}"].format(
                auc=shown["disc_auc"], loss=shown[name], constant=number(constant.get(name))
            )
            found.append((f"{network}_{state}", message))
    return found


def held_out_figures(run, side):
    """Held-out figures of the first (0) or last (-1) evaluation; a more thorough file comes before the log."""
    rows = run.evaluations
    logged = rows[side] if rows and (side == -1 or len(rows) > 1) else {}
    stats = {name.removeprefix(EVALUATION): value for name, value in logged.items() if name.startswith(EVALUATION)}
    key = "after" if side else "before"
    stats |= run.results.get(key, {})
    if run.held_out is not None:
        stats |= _thorough(getattr(run.held_out, key))
    return stats


def _thorough(side):
    """The figures of one side of `held_out.json`."""
    figures = {name: value for name, value in side.items() if not isinstance(value, dict)}
    return {**figures, "calibration_error": measures.calibration_error(side["calibration"])}


def _sides(run, texts):
    """What the two columns are called: before and after where that is what they are, else their steps."""
    if run.results or run.held_out is not None:
        return [texts["before"], texts["after"]]
    first, last = (run.evaluations[side].get("step", 0) for side in (0, -1))
    at = [texts["at_step"].format(step=f"{step:,}") for step in (first, last)]
    return [texts["before"] if first == 0 or first == last else at[0], at[1]]


def points(change, texts):
    """A difference of two shares, in percentage points."""
    return texts["points_unit"].format(value=f"{100 * change:+.1f}".replace("-0.0", "+0.0"))


def confusion(run, texts):
    """What the discriminator makes of each kind of token: [`Table`]."""
    before, after = (measures.verdicts(side["classes"]) for side in (run.held_out.before, run.held_out.after))
    rows = []
    for kind, rates in after.items():
        pairs = zip(before.get(kind, [(0, 0)] * len(rates)), rates, strict=True)
        rows.append([texts[kind], *(_rate(*pair, texts) for pair in pairs)])
    head = [texts[name] for name in ("class", "recall_rate", "false_alarm_rate", "precision_rate")]
    return Table(texts["confusion"], head, rows)


def _rate(before, after, texts):
    shares = {"before": percent(measures.share(*before)), "after": percent(measures.share(*after))}
    counts = {"part": number(after[0]), "whole": number(after[1])}
    return texts["rate"].format(**shares, **counts) if before[1] or after[1] else NOTHING


def token_tables(run, texts):
    """The most improved and the worst tokens of both networks.

    Returns: `list` of (what the shares are, [[`Table`], [`Table`]]), the generator's first.
    """
    tables = []
    for network, scores, judged, wrong in (  # the discriminator's shares are of wrong verdicts
        ("generator", measures.generator_scores(run.held_out.tokens), "masked_places", False),
        ("discriminator", measures.discriminator_scores(run.held_out.tokens), "occurrences", True),
    ):
        head = [texts[name] for name in ("token", "class", judged, "before", "after")]
        ends = [points(one.sure_gain, texts) for one in measures.most_improved(scores)]
        improved = _token_rows(measures.most_improved(scores), ends, texts, wrong)
        bounds = [one.best_case for one in measures.worst(scores)]
        ends = [percent(1 - bound if wrong else bound) for bound in bounds]
        worst = _token_rows(measures.worst(scores), ends, texts, wrong)
        pair = [
            Table(texts[f"{network}_improved"], [*head, texts["surely"]], improved),
            Table(texts[f"{network}_worst"], [*head, texts["at_least" if wrong else "at_most"]], worst),
        ]
        tables.append((texts[f"{network}_rate"], pair))
    return tables


def _token_rows(scores, ends, texts, wrong):
    rows = []
    for score, end in zip(scores, ends, strict=True):
        shares = [(score.trials - good if wrong else good) / score.trials for good in (score.before, score.after)]
        kind = texts.get(score.kind, printable(score.kind))
        rows.append([printable(score.token), kind, number(score.trials), *map(percent, shares), end])
    return rows


def settings(run, texts, lang):
    """Settings and versions: `list` of [`Table`], empty ones left out."""
    given = run.results.get("settings", {})
    libraries = {name: given[name] for name in LIBRARIES if name in given}
    if not libraries and "transformers_version" in run.config:
        libraries = {"transformers": run.config["transformers_version"]}
    kept = {name: value for name, value in given.items() if name not in LIBRARIES}
    if not run.results:
        kept = {name: run.state[name] for name in STATE_SETTINGS if run.state.get(name) is not None}
    model = {name: run.config[name] for name in MODEL_SETTINGS if name in run.config}
    head = [texts["setting"], texts["value"]]
    fast = [
        [*(printable(choice.get(name, NOTHING)) for name in ("setting", "value")), reason(choice.get("why"), lang)]
        for choice in run.results.get("fast", [])
    ]
    tables = [
        Table(texts["run_settings"], head, _pairs(kept)),
        Table(texts["model_settings"], head, _pairs(model)),
        Table(texts["versions"], [texts["library"], texts["value"]], _pairs(libraries)),
        Table(texts["fast"], [*head, texts["why"]], fast),
    ]
    return [table for table in tables if table.rows]


def _pairs(values):
    return [[printable(name), printable(value)] for name, value in values.items()]


def best_checkpoint(run, texts):
    """The sentence about the best checkpoint, or `None`; only its name, since its folder says where somebody works."""
    checkpoint, value = run.state.get("best_model_checkpoint"), run.state.get("best_metric")
    if not checkpoint or not is_number(value):
        return None
    name = PurePath(checkpoint.replace("\\", "/")).name
    rows = [row for row in run.evaluations if name == f"checkpoint-{row.get('step')}"]
    names = {key for row in rows for key in row if key.startswith("eval_") and row[key] == value}
    metric = names.pop() if len(names) == 1 else texts["best_metric"]  # equal figures do not tell which it was
    return texts["best_checkpoint"].format(checkpoint=name, metric=metric, value=number(value))
