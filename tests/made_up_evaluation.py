"""An evaluation with figures that one can check by eye: for tests of what is said of it."""

from electra_rtd.train_tools.evaluation.evaluation import Evaluation, Run


ARMS = {"before": "/home/somebody/base", "after": "/home/somebody/adapted/discriminator"}
METRICS = ("accuracy", "macro_f1", "micro_f1")


def comparison(arm="after", difference=0.03, verdict="better", *, rows=400, way="fine_tuning", **fields):
    """As in `Evaluation.comparisons`: two points to either side."""
    bounds = {"low": difference - 0.02, "high": difference + 0.02}
    rest = {"seeds": 3, "needed": None, "left_out": 0, "before": 0.7}
    rest["after"] = 0.7 + difference
    return {
        **{"arm": arm, "against": "before", "train_rows": rows, "way": way, "difference": difference, **bounds},
        **{"verdict": verdict, **rest, **fields},
    }


def run(arm, accuracy, seed=0, *, rows=400, rate=1e-4, way="fine_tuning", **fields):
    """A run with this accuracy; macro F1 is two points below it."""
    scores = dict(zip(METRICS, (accuracy, accuracy - 0.02, accuracy), strict=True))
    return Run(arm, rows, seed, rate if way == "fine_tuning" else None, way, dict(scores), scores, **fields)


def evaluation(*, counts=(400,), arms=ARMS, after=0.03, verdict="better", floor=0.6, **task):
    """Three seeds an encoder: 69, 70 and 71 % before, and `after` more after; each count of rows adds five points."""
    made = Evaluation(
        task={
            "kind": "single",
            "files": ["/home/somebody/reviews.csv"],
            "columns": {"text": "text", "label": "label"},
            "names": ["neg", "pos"],
            "metric": "accuracy",
            "train": max(counts),
            "validation": 100,
            "test": 500,
            **task,
        },
        arms=dict(arms),
        settings={"learning_rates": [5e-5, 1e-4, 2e-4]},
        versions={"transformers": "5.0"},
    )
    for place, rows in enumerate(counts):
        for number, arm in enumerate(arms):
            made.learning_rates.setdefault(arm, {})[rows] = 1e-4
            for seed in range(3):
                score = 0.69 + 0.01 * seed + 0.05 * place + (after if number else 0)
                made.runs += [run(arm, score, seed, rows=rows), run(arm, 0.4, seed, rows=rows, rate=5e-5)]
            if number:
                made.comparisons.append(comparison(arm, after, verdict, rows=rows))
        if floor is not None:
            made.runs.append(run("naive_bayes", floor, None, rows=rows, way="naive_bayes"))
    return made
