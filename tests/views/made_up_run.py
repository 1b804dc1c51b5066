"""A run of which every figure is known, for the tests of its report: what training leaves, without training."""

import json


STRANGE = "<script>alert('x')</script>"
EDGES = [round(edge / 20, 2) for edge in range(21)]


def training_row(step, loss=30.0):
    parts = {"mlm_loss": loss / 6, "disc_loss": 0.4, "gen_acc": 0.05, "disc_acc": 0.55, "disc_recall": 0.2}
    rates = {"learning_rate": 5e-4, "grad_norm": 3.0, "lucky_hits": 0.04, "replaced_share": 0.14}
    order = {"disc_auc": 0.75, "disc_logit_std": 0.5}
    return {"step": step, "epoch": step / 100, "loss": loss, **parts, **rates, **order}


def evaluation_row(step, loss):
    parts = {"mlm_loss": loss / 6, "disc_loss": 0.5, "gen_acc": 0.0625, "disc_acc": 0.5, "disc_recall": 0.25}
    detailed = {"disc_precision": 0.75, "disc_f1": 0.375, "disc_auc": 0.8, "gen_top1": 0.0625, "gen_top5": 0.25}
    return {"step": step, **{f"eval_{name}": value for name, value in {"loss": loss, **parts, **detailed}.items()}}


def log(steps=12):
    """Ten steps a row; the loss falls from 40 by 1 a row; evaluations before, half-way and at the end."""
    rows = [evaluation_row(0, 45.0)]
    for row in range(1, steps + 1):
        rows.append(training_row(10 * row, 41.0 - row))
        if row in (steps // 2, steps):
            rows.append(evaluation_row(10 * row, 45.0 - row))
    end = {"train_loss": 33.0, "train_runtime": 125.4, "train_samples_per_second": 7.0}
    return [*rows, {"step": 10 * steps, "epoch": 1.2, **end}]


def state(rows):
    last = max(row.get("step", 0) for row in rows)
    return {"global_step": last, "max_steps": 120, "epoch": 1.2, "num_train_epochs": 2, "log_history": rows}


RESULTS = {
    "before": {"loss": 45.0, "mlm_loss": 7.5, "disc_loss": 0.7, "gen_acc": 0.0, "disc_acc": 0.5},
    "after": {"loss": 33.0, "mlm_loss": 5.5, "disc_loss": 0.3, "gen_acc": 0.0625, "disc_acc": 0.4},
    "steps": 120,
    "tokens_seen": 12345,
    "tokens_per_second": 98.4,
    "seconds": 125.4,
    "checkpoint": "out",
    "discriminator": "out/discriminator",
    "settings": {"train_file": f"{STRANGE}.csv", "learning_rate": 0.0005, "torch": "2.9", "transformers": "5.23.0"},
    "datasets": ["user/texts"],
    "fast": [{"setting": "padding", "value": "longest", "why": "a batch is as wide as its longest sequence"}],
}


def counts(tokens, replaced, caught, false_alarms):
    shown = {"masked": replaced, "gen_top1": 0, "gen_top5": 0}
    return {"tokens": tokens, **shown, "replaced": replaced, "caught": caught, "false_alarms": false_alarms}


def calibration(count, replaced):
    """All tokens in the first and the last bin, with probabilities of 2 % and 98 %."""
    filled = {0: (count[0], replaced[0], 0.02), 19: (count[1], replaced[1], 0.98)}
    columns = zip(*(filled.get(one, (0, 0, None)) for one in range(20)), strict=True)
    return {"edges": EDGES, **dict(zip(("count", "replaced", "mean_probability"), map(list, columns), strict=True))}


def statistics(caught, false_alarms, bins):
    frequent, rare = counts(800, 80, caught, false_alarms), counts(200, 20, 5, 2)
    classes = {"frequent": frequent, "rare": rare, "korean": counts(900, 90, caught, false_alarms)}
    classes |= {"latin": counts(100, 10, 5, 2), "digit": counts(0, 0, 0, 0), "other": counts(0, 0, 0, 0)}
    figures = {"loss": 45.0 - caught, "gen_perplexity": 1808.04 - caught, "disc_auc": 0.6 + caught / 1000}
    figures |= {"tokens": 1000, "frequency_loss": 7.6}
    return {**figures, "lucky_hits": 0.04, "replaced_share": 0.1, "calibration": bins, "classes": classes}


# Token, class, occurrences, masked; then hits among five and wrong verdicts, before and after.
TOKENS = [
    ("##는", "korean", 500, 100, (20, 80), (100, 50)),
    ("책", "korean", 60, 10, (5, 6), (6, 3)),
    (STRANGE, "latin", 40, 8, (4, 1), (1, 20)),
    ("zero\u200bwidth", "other", 30, 6, (0, 6), (2, 0)),
    ("once", "latin", 3, 1, (0, 1), (1, 0)),
]


def token_columns():
    columns = {"token": [], "class": [], "count": [], "before": {}, "after": {}}
    for token, kind, count, masked, hits, wrong in TOKENS:
        columns["token"].append(token)
        columns["class"].append(kind)
        columns["count"].append(count)
        for side, top5, missed in zip(("before", "after"), hits, wrong, strict=True):
            row = {"masked": masked, "gen_top1": 0, "gen_top5": top5, "replaced": missed, "caught": 0}
            for name, value in {**row, "false_alarms": 0}.items():
                columns[side].setdefault(name, []).append(value)
    return columns


def held_out():
    return {
        "format": 1,
        "before": statistics(20, 36, calibration((900, 100), (80, 20))),
        "after": statistics(60, 18, calibration((900, 100), (18, 82))),
        "tokens": token_columns(),
    }


def write_run(folder, rows=None, *, results=RESULTS, held_out=None):
    """Write the files of a run.

    Args: folder (`Path`); rows (`list[dict]`), of its log; results, held_out (`dict`), `None` for no such file.
    Returns: `folder`
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"trainer_state.json": state(log() if rows is None else rows)}
    files |= {"adapt_results.json": results, "held_out.json": held_out}
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder
