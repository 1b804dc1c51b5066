"""Puts what was measured into docs/objective.md; all else in it is written by hand, and stays."""

import math
import statistics

from .. import ROOT
from ..report import page_or_copy, replace_between_markers
from .variants import PLAIN, VARIANTS


PAGE = ROOT / "docs" / "objective.md"
NAME = "objectives-cpu"  # of the file of results, and of the markers
# Student's t for 95 %, two-sided, by degrees of freedom; beyond, that of the normal distribution is near enough.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NORMAL = 1.96
# Figure: its head, whose corruption, decimals.
FIGURES = {
    "mlm_loss": ("generator's loss", "common", 3),
    "disc_loss": ("discriminator's loss", "common", 4),
    "auc": ("AUC", "common", 4),
    "recall": ("replaced tokens found", "common", 3),
}
OWN = {
    "mlm_loss": ("generator's loss", "own", 3),
    "disc_loss": ("discriminator's loss", "own", 4),
    "auc": ("AUC", "own", 4),
    "recall": ("replaced tokens found", "own", 3),
    "replaced_share": ("replaced, of all tokens", "own", 3),
}


def write_page(content, output=None):
    """Write what is known by now.

    Args: content (`dict`): of the record; output (`Path`, *optional*): a folder for a copy of the page.
    Returns: `Path`: what was written.
    """
    page = page_or_copy(PAGE, output)
    text = replace_between_markers(page.read_text(encoding="utf-8"), NAME, tables(content))
    page.write_text(text, encoding="utf-8")
    return page


def tables(content):
    """Args: content (`dict`): of the record. Returns: `str`, Markdown."""
    found = {name: entry["figures"] for name, entry in content["found"].items()}
    runs = {name: _runs(name, found) for name in VARIANTS}
    runs = {name: by_seed for name, by_seed in runs.items() if by_seed}
    if not runs:
        return "Nobody has run it yet: here the tables are going to be."
    facts, machine = content["facts"], next(iter(content["found"].values()))["machine"]
    most = max(map(len, runs.values()))
    said = (
        f"{facts['tokens']:,} tokens of `{facts['corpus']}` a training, {most} seeds, learning rate "
        f"{facts['rate']:g}, {facts['rows']} rows a batch. {machine['device']}, {machine['threads']} threads, "
        f"torch {machine['torch']}, transformers {machine['transformers']}. Means over seeds; in "
        "brackets the difference to the variant that stands under *against*, paired by seed, with its 95 % interval "
        "(Student's t)."
    )
    parts = [said, "**On one corruption for all**: the start's own generator chose what stands there."]
    parts.append(_table(FIGURES, runs, found))
    parts.append(
        "**Each on its own corruption**: a row is a task of its own here, and another row's figures are not "
        "comparable. The first column is, but for `mask_whole_words`, whose masked tokens are others."
    )
    parts.append(_table(OWN, runs, found))
    if "timing" in found:
        parts += ["**Time of a training step**, taken in turn on the same batches.", _times(found["timing"])]
    return "\n\n".join(parts)


def _runs(name, found):
    """Figures by seed of a variant."""
    start = f"{name}, seed "
    return {int(key.removeprefix(start)): figures for key, figures in found.items() if key.startswith(start)}


def _table(columns, runs, found):
    lines = [
        f"| | against | {' | '.join(head for head, _, _ in columns.values())} |",
        f"| --- | --- | {' | '.join('---:' for _ in columns)} |",
    ]
    if "start" in found:
        cells = [f"{found['start'][kind][name]:.{digits}f}" for name, (_, kind, digits) in columns.items()]
        lines.append(f"| the start | | {' | '.join(cells)} |")
    for variant, by_seed in runs.items():
        against = VARIANTS[variant].against
        others = runs.get(against, {}) if against != variant else {}
        cells = [_cell(by_seed, others, name, kind, digits) for name, (_, kind, digits) in columns.items()]
        lines.append(f"| `{variant}` | {f'`{against}`' if others else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(by_seed, others, name, kind, digits):
    mean = statistics.fmean(figures[kind][name] for figures in by_seed.values())
    both = sorted(by_seed.keys() & others.keys())
    if not both:
        return f"{mean:.{digits}f}"
    middle, half = interval([by_seed[seed][kind][name] - others[seed][kind][name] for seed in both])
    spread = f" ± {half:.{digits}f}" if math.isfinite(half) else ""
    return f"{mean:.{digits}f} ({middle:+.{digits}f}{spread})"


def interval(differences):
    """Args: differences (`list[float]`): one a seed. Returns: `float` mean, and half of its 95 % interval."""
    count, mean = len(differences), statistics.fmean(differences)
    if count < 2:
        return mean, math.inf
    quantile = T[count - 2] if count - 2 < len(T) else NORMAL
    return mean, quantile * statistics.stdev(differences) / math.sqrt(count)


def _times(timing):
    rounds = len(timing["seconds"][PLAIN])
    lines = [
        f"| | seconds, median of {rounds} | against `{PLAIN}`, median | 10th to 90th percentile |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, seconds in timing["seconds"].items():
        ratio = timing["against"][name]
        lines.append(
            f"| `{name}` | {statistics.median(seconds):.3f} | {ratio['median']:.2f} | {ratio['p10']:.2f} to "
            f"{ratio['p90']:.2f} |"
        )
    return "\n".join(lines)
