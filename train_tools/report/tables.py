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
    *("disc_auc", "disc_loss", "disc_acc", "disc_precision", "disc_recall", "disc_f1", "calibration_error"),
    *("mlm_loss", "gen_perplexity", "gen_acc", "gen_top1", "gen_top5", "loss", "lucky_hits", "replaced_share"),
)
UNJUDGED = ("lucky_hits", "replaced_share")  # neither high nor low is good
SHARES = set(FIGURES) - {"disc_loss", "mlm_loss", "gen_perplexity", "loss"}
LIBRARIES = ("torch", "transformers", "datasets")
STATE_SETTINGS = ("num_train_epochs", "max_steps", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
MODEL_SETTINGS = (
    *("mask_prob", "gen_weight", "disc_weight", "sampling_temperature", "exclude_original"),
    *("mask_whole_words", "embedding_sharing"),
)


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


def headline(run, texts):
    """The figures at the top: `list` of (name, value)."""
    results, end, state = run.results, run.end, run.state
    seconds = results.get("seconds", end.get("train_runtime"))
    speed = results.get("tokens_per_second", end.get("train_tokens_per_second"))
    values = {
        "steps": number(results.get("steps", state.get("global_step"))),
        "epochs": number(state.get("epoch")),
        "time": _duration(seconds, texts) if is_number(seconds) else NOTHING,
        "tokens": number(results.get("tokens_seen", state.get("num_input_tokens_seen") or None)),
        "tokens_per_second": f"{speed:,.0f}" if is_number(speed) else NOTHING,
    }
    return [(texts[name], texts["unknown"] if value == NOTHING else value) for name, value in values.items()]


def _duration(seconds, texts):
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return texts["minutes"].format(minutes=minutes, seconds=rest)
    return texts["hours"].format(hours=minutes // 60, minutes=minutes % 60)


def comparison(run, texts):
    """Held-out figures before and after: [`Table`], or `None` where nothing was evaluated."""
    sides = held_out_figures(run, 0), held_out_figures(run, -1)
    names = [name for name in FIGURES if any(is_number(side.get(name)) for side in sides)]
    if not names:
        return None
    constants = constant_answers(sides[1], run.vocab_size)
    rows = []
    for name in names:
        values = [figure(name, side.get(name)) for side in (*sides, constants)]
        rows.append([_named(name, texts), *values[:2], _result(name, *sides, run, texts), values[2]])
    head = [texts["figure"], *_sides(run, texts), texts["verdict"], texts["constant_answer"]]
    return Table(texts["held_out"], head, rows)


def both_texts(run, texts):
    """What was gained on the domain's text and lost on general text: [`Table`], or `None` where none was replayed."""
    pairs = [(held_out_figures(run, 0), held_out_figures(run, -1)), general_figures(run)]
    names = [name for name in FIGURES if all(is_number(side.get(name)) for pair in pairs for side in pair)]
    rows = []
    for name in names:
        cells = [
            f"{figure(name, before[name])} → {figure(name, after[name])} {_result(name, before, after, run, texts)}"
            for before, after in pairs
        ]
        rows.append([_named(name, texts), *cells])
    return Table(texts["both_texts"], [texts["figure"], texts["domain"], texts["general"]], rows) if rows else None


def _named(name, texts):
    """A figure by name, with an arrow to where it should go."""
    return texts[name] if name in UNJUDGED else f"{texts[name]}\N{NO-BREAK SPACE}{'↓' if name in LOWER else '↑'}"


def _result(name, before, after, run, texts):
    """What became of a figure, in words, and by how much it changed."""
    first, last = before.get(name), after.get(name)
    said = verdict(name, before, after, run.vocab_size)
    parts = [] if said is None else [texts["results"][said]]
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
    constants, found = constant_answers(after, run.vocab_size), []
    for loss, state in zip(("mlm_loss", "disc_loss"), states(after, run.vocab_size), strict=True):
        if state is not None:
            name = f"{'generator' if loss == 'mlm_loss' else 'discriminator'}_{state}"
            figures = {"auc": percent(after.get("disc_auc")), "loss": number(after.get(loss))}
            found.append((name, texts[name].format(**figures, constant=number(constants.get(loss)))))
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
    shown = f"{100 * change:+.1f}"
    if change and not float(shown):  # as many digits as tell better from worse
        shown = f"{100 * change:+.1g}"
    return texts["points_unit"].format(value=shown)


def confusion(run, texts):
    """What the discriminator makes of each kind of token: [`Table`]."""
    before, after = (measures.verdicts(side["classes"]) for side in (run.held_out.before, run.held_out.after))
    rows = []
    for kind, rates in after.items():
        pairs = zip(before.get(kind, [(0, 0)] * len(rates)), rates, strict=True)
        rows.append([texts["kinds"][kind], *(_rate(*pair) for pair in pairs)])
    head = [texts[name] for name in ("class", "recall_rate", "false_alarm_rate", "precision_rate")]
    return Table(texts["confusion"], head, rows)


def _rate(before, after):
    if not (before[1] or after[1]):
        return NOTHING
    shares = [percent(measures.share(*one)) for one in (before, after)]
    return "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}".join(shares) + f"\n{after[0]:,} / {after[1]:,}"


def token_tables(run, texts):
    """The most improved and the worst tokens of the generator, then of the discriminator, whose shares are of errors.

    Returns: `list` of (what the shares are, [[`Table`], [`Table`]]).
    """
    scores = measures.generator_scores(run.held_out.tokens), measures.discriminator_scores(run.held_out.tokens)
    made = []
    for network, found in zip(("generator", "discriminator"), scores, strict=True):
        wrong = network == "discriminator"
        improved, worst = measures.most_improved(found), measures.worst(found)
        gains = [points(one.sure_gain, texts) for one in improved]
        bounds = [percent(1 - one.best_case if wrong else one.best_case) for one in worst]
        head = [
            texts[name] for name in ("token", "class", "occurrences" if wrong else "masked_places", "before", "after")
        ]
        both = [
            Table(texts[f"{network}_{kind}"], [*head, texts[end]], _token_rows(listed, ends, texts, wrong))
            for kind, end, listed, ends in (
                ("improved", "surely", improved, gains),
                ("worst", "at_least" if wrong else "at_most", worst, bounds),
            )
        ]
        made.append((texts[f"{network}_rate"], both))
    return made


def _token_rows(scores, ends, texts, wrong):
    rows = []
    for score, end in zip(scores, ends, strict=True):
        shares = [(score.trials - good if wrong else good) / score.trials for good in (score.before, score.after)]
        kind = texts["kinds"].get(score.kind, printable(score.kind))
        rows.append([printable(score.token), kind, number(score.trials), *map(percent, shares), end])
    return rows


def settings(run, texts, lang):
    """Settings and versions: `list` of [`Table`], empty ones left out."""
    given, config = run.results.get("settings", {}), run.config
    libraries = {name: given[name] for name in LIBRARIES if name in given}
    if not libraries and "transformers_version" in config:
        libraries = {"transformers": config["transformers_version"]}
    kept = {name: value for name, value in given.items() if name not in LIBRARIES}
    if not run.results:
        kept = {name: run.state[name] for name in STATE_SETTINGS if run.state.get(name) is not None}
    model = {name: config[name] for name in MODEL_SETTINGS if name in config}
    fast = [
        [*(printable(choice.get(name, NOTHING)) for name in ("setting", "value")), reason(choice.get("why"), lang)]
        for choice in run.results.get("fast", [])
    ]
    tables = [Table(texts["fast"], [texts[name] for name in ("setting", "value", "why")], fast)]
    for caption, values in (("versions", libraries), ("model_settings", model), ("run_settings", kept)):
        head = [texts["library" if caption == "versions" else "setting"], texts["value"]]
        rows = [[printable(name), printable(value)] for name, value in values.items()]
        tables.insert(0, Table(texts[caption], head, rows))
    return [table for table in tables if table.rows]


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
