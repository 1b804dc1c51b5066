"""The tables of a report: rows of text, made from a run."""

from dataclasses import dataclass
from pathlib import PurePath

from ...hub_tools.constant_answer import LOWER, constant_answers, states, verdict
from ...hub_tools.run_record import CLASSES, EVALUATION, is_number
from . import measures
from .measures import TokenScore, Verdicts


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
SHARES = {"gen_acc", "gen_top1", "gen_top5", "disc_acc", "disc_precision", "disc_recall", "disc_f1", "disc_auc"}
SHARES |= {"calibration_error", "lucky_hits", "replaced_share"}
RATES = ("recall", "false_alarm_rate", "precision")
LIBRARIES = ("torch", "transformers", "datasets")
STATE_SETTINGS = ("num_train_epochs", "max_steps", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
MODEL_SETTINGS = (
    "mask_prob",
    "gen_weight",
    "disc_weight",
    "sampling_temperature",
    "exclude_original",
    "mask_whole_words",
    "embedding_sharing",
)
NOTHING = "—"


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
    """Held-out figures before and after.

    Args: run ([`Run`]), texts (`dict`).
    Returns: [`Table`], or `None` where nothing was evaluated.
    """
    before, after = held_out_figures(run, 0), held_out_figures(run, -1)
    names = [name for name in FIGURES if is_number(before.get(name)) or is_number(after.get(name))]
    if not names:
        return None
    heads = _sides(run, texts)
    head = [texts["figure"], *heads, texts["verdict"], texts["change"], texts["constant_answer"], texts["better_when"]]
    return Table(texts["held_out"], head, [_compare(name, before, after, run.vocab_size, texts) for name in names])


def both_texts(run, texts):
    """What was gained on the domain's text and lost on general text, side by side.

    Args: run ([`Run`]), texts (`dict`).
    Returns: [`Table`], or `None` where no general text was replayed.
    """
    sides = [(held_out_figures(run, 0), held_out_figures(run, -1)), general_figures(run)]
    names = [name for name in FIGURES if all(is_number(one.get(name)) for side in sides for one in side)]
    if not names:
        return None
    of_each = [
        f"{texts[text]}: {texts[one]}" for text in ("domain", "general") for one in ("before", "after", "verdict")
    ]
    rows = []
    for name in names:
        row = [texts[name]]
        for before, after in sides:
            said = verdict(name, before, after, run.vocab_size)
            row += [figure(name, before[name]), figure(name, after[name]), NOTHING if said is None else texts[said]]
        rows.append(row)
    return Table(texts["both_texts"], [texts["figure"], *of_each], rows)


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


def _compare(name, before, after, vocab_size, texts):
    first, last = before.get(name), after.get(name)
    said = verdict(name, before, after, vocab_size)
    wanted = "lower" if name in LOWER else "neither" if name in ("lucky_hits", "replaced_share") else "higher"
    change = NOTHING
    if is_number(first) and is_number(last):
        change = points(last - first, texts) if name in SHARES else f"{last - first:+.4g}"
    constant = figure(name, constant_answers(after, vocab_size).get(name))
    result = NOTHING if said is None else texts[said]
    return [texts[name], figure(name, first), figure(name, last), result, change, constant, texts[wanted]]


def points(change, texts):
    """A difference of two shares, in percentage points."""
    return texts["points_unit"].format(value=f"{100 * change:+.1f}")


def confusion(run, texts):
    """What the discriminator makes of each kind of token: [`Table`]."""
    head = ["class", "caught", "missed", "right", "false_alarms", "recall_rate", "false_alarm_rate", "precision_rate"]
    before, after = (class_verdicts(stats) for stats in (run.held_out.before, run.held_out.after))
    rows = [
        [texts[name], *(number(getattr(now, part)) for part in head[1:5]), *_rates(before.get(name), now)]
        for name, now in after.items()
    ]
    return Table(texts["confusion_after"], [texts[name] for name in head], rows)


def class_verdicts(stats):
    """The verdicts by kind of token, all of them first: `dict[str, Verdicts]`; kinds without tokens are left out."""
    classes = stats["classes"]
    by_kind = {name: measures.verdicts(classes[name]) for name in CLASSES if classes.get(name, {}).get("tokens")}
    halves = [by_kind[name] for name in ("frequent", "rare") if name in by_kind]  # every token is one of the two
    parts = ("caught", "missed", "right", "false_alarms")
    total = Verdicts(**{part: sum(getattr(half, part) for half in halves) for part in parts})
    return {"all": total, **by_kind}


def _rates(before, after):
    pairs = [(getattr(before, rate) if before else None, getattr(after, rate)) for rate in RATES]
    return [f"{percent(first)} → {percent(second)}" for first, second in pairs]


def token_tables(run, texts):
    """The most improved and the worst tokens of both networks.

    Returns: `list` of (what the shares are, [[`Table`], [`Table`]]), the generator's first.
    """
    generator = measures.generator_scores(run.held_out.tokens)
    discriminator = measures.discriminator_scores(run.held_out.tokens)
    return [
        (
            texts["generator_rate"],
            [
                _improved(texts["generator_improved"], generator, texts, "masked_places", wrong=False),
                _worst(texts["generator_worst"], generator, texts, "masked_places", wrong=False),
            ],
        ),
        (
            texts["discriminator_rate"],
            [
                _improved(texts["discriminator_improved"], discriminator, texts, "occurrences", wrong=True),
                _worst(texts["discriminator_worst"], discriminator, texts, "occurrences", wrong=True),
            ],
        ),
    ]


def _improved(caption, scores, texts, judged, wrong):
    head = [texts[name] for name in ("token", "class", judged, "before", "after", "surely")]
    listed = measures.most_improved(scores)
    rows = [[*_token_cells(score, texts, wrong), points(score.sure_gain, texts)] for score in listed]
    return Table(caption, head, rows)


def _worst(caption, scores, texts, judged, wrong):
    head = [texts[name] for name in ("token", "class", judged, "before", "after", "at_least" if wrong else "at_most")]
    rows = []
    for score in measures.worst(scores):
        bound = 1 - score.best_case if wrong else score.best_case
        rows.append([*_token_cells(score, texts, wrong), percent(bound)])
    return Table(caption, head, rows)


def _token_cells(score: TokenScore, texts, wrong):
    shares = [good / score.trials for good in (score.before, score.after)]
    shown = [percent(1 - share if wrong else share) for share in shares]
    return [printable(score.token), texts.get(score.kind, printable(score.kind)), number(score.trials), *shown]


def settings(run, texts):
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
    choices = run.results.get("fast", [])
    fast = [[printable(choice.get(name, NOTHING)) for name in ("setting", "value", "why")] for choice in choices]
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


def printable(value):
    """Any value as text in which every character can be seen: control characters and the like as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(value))
