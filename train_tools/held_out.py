"""What the held-out text says of a pair before and after training, as `held_out.json` keeps it."""

import math
from dataclasses import dataclass

import torch

from ..hub_tools.run_record import CLASSES, EVALUATION
from .callbacks import LOSS_PARTS
from .counts import COLUMNS, DETAILED, HeldOutStatistics, frequent_ids, script_of


GENERAL = f"{EVALUATION}general_"  # how figures of held-out general text begin in a log
FEWEST_OCCURRENCES, MOST_TOKENS = 3, 4000  # of the table of tokens
MOST_ROWS = 50_000  # of training text, for the frequencies of its tokens
# What the other figures are judged by: see `hub_tools.constant_answer`.
JUDGED_BY = ("tokens", "frequency_loss")


@dataclass(frozen=True)
class HeldOut:
    """One evaluation on the held-out text.

    Args:
        figures (`dict[str, float]`): `loss`, `LOSS_PARTS` and, where they are complete, `DETAILED` and `JUDGED_BY`:
            the number of `tokens`, and `frequency_loss`, what the generator's loss would be if it knew how frequent
            each token of the training text is, and nothing else.
        statistics ([`HeldOutStatistics`] or `None`): the counts behind them, where they are complete.
    """

    figures: dict
    statistics: HeldOutStatistics | None


def evaluate_held_out(trainer, metrics, trained_on, *, general=None, prefix=GENERAL):
    """Evaluate, always in the same order of batches.

    Args:
        trainer (`Trainer`); metrics ([`RTDMetricsCallback`]): one of its callbacks, with `detailed` and `by_token`.
        trained_on (`datasets.Dataset`): text of the same kind as what is evaluated, for `frequency_loss`.
        general (`datasets.Dataset`, *optional*): another held-out text, evaluated in place of the Trainer's.
        prefix (`str`): of that one's figures in the log.

    Returns:
        [`HeldOut`]
    """
    prefix = EVALUATION if general is None else prefix
    # Releases before 5.23 draw the order of like-length held-out batches, and the loss is a mean over batches.
    with torch.random.fork_rng():
        torch.manual_seed(trainer.args.seed)
        evaluated = trainer.evaluate(general, metric_key_prefix=prefix.removesuffix("_"))
    figures = {name: evaluated[f"{prefix}{name}"] for name in ("loss", *LOSS_PARTS)}
    if metrics.held_out is not None:
        figures |= {name: evaluated[f"{prefix}{name}"] for name in DETAILED}
        figures["tokens"] = int(metrics.held_out.totals[0])
        table = metrics.held_out.table
        counts = token_counts(trained_on, len(table))
        figures["frequency_loss"] = frequency_loss(counts, table[:, COLUMNS.index("masked")])
    return HeldOut(figures, metrics.held_out)


def evaluate_sources(trainer, metrics, trained_on, sources):
    """What each source of a mixture says of the pair. Figures of source `a` begin with `eval_a_` in the log.

    Args: as of [`evaluate_held_out`]; sources (`dict[str, datasets.Dataset]`): held-out rows by short name.
    Returns: `dict[str, HeldOut]`
    """
    return {
        name: evaluate_held_out(trainer, metrics, trained_on, general=rows, prefix=f"{EVALUATION}{name}_")
        for name, rows in sources.items()
    }


def tidy_log(log, before, after, sources=({}, {})):
    """Every evaluation once: the one before training, which the Trainer's log does not have, and the one after it.

    Figures of general text, and of the sources of a mixture, stand in the rows of these two.

    Args:
        log (`list[dict]`): of the Trainer, changed in place.
        before, after ([`HeldOut`], and [`HeldOut`] or `None`): of the domain's text and of the general text.
        sources (two `dict[str, HeldOut]`): before and after, see [`evaluate_sources`].
    """
    others = {f"{GENERAL}loss", *(f"{EVALUATION}{name}_loss" for name in sources[1])}
    log[:] = [row for row in log if not others & row.keys() or "eval_loss" in row]
    if not any(row.get("step") == 0 and "eval_loss" in row for row in log):  # a finished run that was resumed has it
        log.insert(0, {"step": 0, **_logged(before[0], EVALUATION)})
    last = next(row for row in reversed(log) if "eval_loss" in row)  # a sign of a dead run may stand behind it
    same = {name: last[name] for name in ("step", "eval_loss", *(f"eval_{name}" for name in LOSS_PARTS))}
    log[:] = [row for row in log if row is last or not same.items() <= row.items()]
    for row, (_, general) in ((log[0], before), (last, after)):
        if general is not None:
            row |= _logged(general, GENERAL)
    for row, figures in zip((log[0], last), sources, strict=True):
        for name, held_out in figures.items():
            row |= _logged(held_out, f"{EVALUATION}{name}_")


def _logged(held_out, prefix):
    return {f"{prefix}{name}": value for name, value in held_out.figures.items()}


def token_counts(dataset, vocab_size, most_rows=MOST_ROWS):
    """How often each token occurs in a tokenized text.

    Args:
        dataset (`datasets.Dataset`): with `input_ids`; vocab_size (`int`): V.
        most_rows (`int`): so many rows at most, evenly from all, which is enough for frequencies.

    Returns:
        int64, (V,)
    """
    every = -(-len(dataset) // most_rows)
    counts = torch.zeros(vocab_size, dtype=torch.long)
    rows = dataset.select_columns("input_ids").select(range(0, len(dataset), every))
    for batch in rows.with_format(None).iter(batch_size=1000):
        ids = torch.tensor([token_id for row in batch["input_ids"] for token_id in row])
        counts += torch.bincount(ids, minlength=vocab_size)
    return counts


def frequency_loss(known, asked):
    """Mean cross-entropy of tokens by the frequencies of another text alone.

    What that text lacks shares the weight of what occurs there once (Good and Turing), evenly over the vocabulary.

    Args: known, asked (int64, (V,)): occurrences in the text that is known, and of the tokens to predict.
    Returns: `float`, in nats; 0 where nothing is asked
    """
    known, asked = known.double(), asked.double()
    if asked.sum() == 0:
        return 0.0
    total = known.sum().clamp(min=1)
    unseen = (known == 1).sum().clamp(min=1) / total
    probabilities = (1 - unseen) * known / total + unseen / len(known)
    return -(asked * probabilities.log()).sum().item() / asked.sum().item()


def describe_held_out(before, after, tokenizer, general=(None, None)):
    """What `held_out.json` says of both evaluations.

    Args:
        before, after ([`HeldOut`]): of the same text; tokenizer (`PreTrainedTokenizerBase`)
        general (two of [`HeldOut`] or `None`): of general text, before and after.

    Returns:
        `dict` of what JSON knows, or `None` where one of the two is not complete:

        - `before`, `after`: the figures; `calibration`, see [`HeldOutStatistics.calibration`]; `classes`: for each of
          `CLASSES`, counts of `COLUMNS`. `frequent` (the most frequent tokens, which make up 80 % of the text) and
          `rare` part the tokens, and `korean`, `latin`, `digit` and `other` do so again. By original token; special
          tokens are in no class.
        - `tokens`: columns of the tokens that occur at least three times, most frequent first, at most 4000: `token`,
          `class` (the second of the two), `count`, and `before` and `after` the other counts. No special ones.
        - `general`, where there is such text: its `before` and `after`.
        - A figure that is not a finite number is `None`.
    """
    has_general = None not in general
    if any(one.statistics is None for one in (before, after, *(general if has_general else ()))):
        return None
    counts, scripts = _ordinary(after, tokenizer)
    shown = _shown_ids(counts)
    return {
        **_sides(before, after, counts, scripts),
        **({"general": _sides(*general, *_ordinary(general[1], tokenizer))} if has_general else {}),
        "tokens": {
            "token": tokenizer.convert_ids_to_tokens(shown),
            "class": [scripts[token_id] for token_id in shown],
            "count": counts[shown].tolist(),
            "before": _columns(before.statistics.table[shown]),
            "after": _columns(after.statistics.table[shown]),
        },
    }


def _ordinary(held_out, tokenizer):
    """Occurrences of tokens that are not special, (V,), the same before and after; and their scripts."""
    counts = held_out.statistics.table[:, 0].clone()
    counts[torch.tensor(tokenizer.all_special_ids, dtype=torch.long)] = 0
    return counts, _scripts(counts, tokenizer)


def _sides(before, after, counts, scripts):
    return {name: _figures(one, counts, scripts) for name, one in (("before", before), ("after", after))}


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
