"""What the held-out text says of a pair before and after training, as `held_out.json` keeps it."""

import math
from dataclasses import dataclass

import torch

from .callbacks import LOSS_PARTS
from .metrics import CLASSES, COLUMNS, DETAILED, HeldOutStatistics, frequent_ids, script_of


FORMAT = 1
FEWEST_OCCURRENCES, MOST_TOKENS = 3, 4000  # of the table of tokens


@dataclass(frozen=True)
class HeldOut:
    """One evaluation on the held-out text.

    Args:
        figures (`dict[str, float]`): `loss`, `LOSS_PARTS` and, where they are complete, `DETAILED`.
        statistics ([`HeldOutStatistics`] or `None`): the counts behind them, where they are complete.
    """

    figures: dict
    statistics: HeldOutStatistics | None


def evaluate_held_out(trainer, metrics):
    """Evaluate, always in the same order of batches.

    Args:
        trainer (`Trainer`); metrics ([`RTDMetricsCallback`]): one of its callbacks, with `detailed` and `by_token`.

    Returns:
        [`HeldOut`]
    """
    # Releases before 5.23 draw the order of like-length held-out batches, and the loss is a mean over batches.
    with torch.random.fork_rng():
        torch.manual_seed(trainer.args.seed)
        evaluated = trainer.evaluate()
    details = DETAILED if metrics.held_out is not None else ()
    figures = {name: evaluated[f"eval_{name}"] for name in ("loss", *LOSS_PARTS, *details)}
    return HeldOut(figures, metrics.held_out)


def describe_held_out(before, after, tokenizer):
    """What `held_out.json` holds.

    Args:
        before, after ([`HeldOut`]): of the same text; tokenizer (`PreTrainedTokenizerBase`)

    Returns:
        `dict` of what JSON knows, or `None` where one of the two is not complete:

        - `before`, `after`: the figures; `calibration`, see [`HeldOutStatistics.calibration`]; `classes`: for each of
          `CLASSES`, counts of `COLUMNS`. `frequent` (the most frequent tokens, which make up 80 % of the text) and
          `rare` part the tokens, and `korean`, `latin`, `digit` and `other` do so again. By original token; special
          tokens are in no class.
        - `tokens`: columns of the tokens that occur at least three times, most frequent first, at most 4000: `token`,
          `class` (the second of the two), `count`, and `before` and `after` the other counts. No special ones.
        - A figure that is not a finite number is `None`.
    """
    if before.statistics is None or after.statistics is None:
        return None
    counts = after.statistics.table[:, 0].clone()  # (V,): the same as before, it is the same text
    counts[torch.tensor(tokenizer.all_special_ids, dtype=torch.long)] = 0
    scripts = _scripts(counts, tokenizer)
    shown = _shown_ids(counts)
    return {
        "format": FORMAT,
        **{name: _figures(one, counts, scripts) for name, one in (("before", before), ("after", after))},
        "tokens": {
            "token": tokenizer.convert_ids_to_tokens(shown),
            "class": [scripts[token_id] for token_id in shown],
            "count": counts[shown].tolist(),
            "before": _columns(before.statistics.table[shown]),
            "after": _columns(after.statistics.table[shown]),
        },
    }


def _scripts(counts, tokenizer):
    """`dict` from the ids of tokens that occur to what they are written in."""
    ids = counts.nonzero().flatten().tolist()
    return {
        token_id: script_of(token) for token_id, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)
    }


def _shown_ids(counts):
    ordered, ids = counts.sort(descending=True, stable=True)
    return ids[ordered >= FEWEST_OCCURRENCES][:MOST_TOKENS].tolist()


def _figures(held_out, counts, scripts):
    return {
        **_without_infinity(held_out.figures),
        "calibration": held_out.statistics.calibration(),
        "classes": _classes(held_out.statistics.table, counts, scripts),
    }


def _classes(table, counts, scripts):
    frequent = frequent_ids(counts)
    members = {"frequent": frequent, "rare": ~frequent & (counts > 0)}
    for script in CLASSES[2:]:
        ids = [token_id for token_id, one in scripts.items() if one == script]
        members[script] = torch.zeros_like(frequent).index_fill(0, torch.tensor(ids, dtype=torch.long), True)
    return {name: dict(zip(COLUMNS, table[members[name]].sum(dim=0).tolist(), strict=True)) for name in CLASSES}


def _columns(table):
    return {name: column.tolist() for name, column in list(zip(COLUMNS, table.T, strict=True))[1:]}


def _without_infinity(figures):
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
