"""What the record says, as rows that tables and figures are made of: scores, differences, harm."""

import statistics
from dataclasses import dataclass, replace

from .adaptation import Adaptation, shown_tokens
from .arms import ARMS
from .scoring import difference, mean_score


@dataclass(frozen=True)
class Scored:
    """An adaptation's scores on a task.

    Args: of ([`Adaptation`]); task (`str`); rows (`int`): labelled; figures (`dict`): of [`score_encoder`].
    """

    of: Adaptation
    task: str
    rows: int
    figures: dict

    @property
    def mean(self):
        """Over seeds that did not collapse: `float`."""
        return mean_score(self.figures)

    @property
    def collapsed(self):
        """How many runs collapsed: `int`."""
        return sum(run["collapsed"] is not None for run in self.figures["runs"])


class Results:
    """Reads the content of a record.

    Args:
        content (`dict`): of [`StudyRecord`]; seeds (`int`): of the form: scores of fewer chose a rate, no more.

    Attributes:
        every (`list` of [`Scored`]); scores (`list` of [`Scored`]): those at the rate that was chosen for their arm.
    """

    def __init__(self, content, seeds):
        self.content = content
        found = {name: entry["figures"] for name, entry in content["found"].items() if "figures" in entry}
        self.found = found
        self.every = [
            Scored(_adaptation(figures["of"]), figures["task"], figures["rows"], figures)
            for name, figures in found.items()
            if name.startswith("score: ") and len(figures["runs"]) == seeds
        ]
        chosen = {
            _key(_adaptation(one["of"])): one["rate"] for name, one in found.items() if name.startswith("rate: ")
        }
        self.scores = [one for one in self.every if chosen.get(_key(one.of.source), one.of.rate) == one.of.rate]
        self._differences: dict = {}

    def floor(self, task, rows):
        """What naive Bayes gets: `float` or `None`."""
        for name, figures in self.found.items():
            if name.startswith("floor: ") and (figures["task"], figures["rows"]) == (task, rows) and figures["scores"]:
                return statistics.fmean(figures["scores"])
        return None

    def training(self, adaptation):
        """Figures of a training, of the one that a merged arm is made of: `dict` or `None`."""
        return self.found.get(f"training: {adaptation.source.name()}")

    def base(self, scored):
        """The score of the same start as it is: [`Scored`] or `None`."""
        return self._other(scored, lambda of: of.arm == "none")

    def rival(self, scored, arm, **changes):
        """The score of another arm, otherwise alike but for its rate: [`Scored`] or `None`."""
        wanted = replace(scored.of, arm=arm, rate=None, **changes)
        return self._other(scored, lambda of: replace(of, rate=None) == wanted)

    def _other(self, scored, fits):
        for other in self.scores:
            alike = (other.task, other.rows, other.of.start) == (scored.task, scored.rows, scored.of.start)
            if alike and fits(other.of):
                return other
        return None

    def difference(self, before, after):
        """`verdict.Comparison` of two [`Scored`]; each pair is compared once."""
        key = before.of, after.of, before.task, before.rows
        if key not in self._differences:
            targets = self.found[f"targets: {before.task}"]
            self._differences[key] = difference(before.figures, after.figures, targets)
        return self._differences[key]


def harm(results):
    """How many runs end below the base: plain, gated, and merged.

    A run is one fine-tuning seed of one training on one task. *Gated*: the adapted encoder is taken only where it has
    the better score on the validation rows of that seed; else the base is, and harms nobody. *Merged*: of the base,
    the merges and the adapted encoder, the one with the best mean on the validation rows is taken.

    Args: results ([`Results`])
    Returns: `dict` from (start, arm) to `dict`: `runs`, `plain`, `gated`, and, where merges were scored,
        `merged_runs`, `merged`, each a count; `alphas` (`list[float]`), those that were chosen.
    """
    counts: dict = {}
    for scored in results.scores:
        base = results.base(scored)
        if not scored.of.trains or scored.of.alpha is not None or base is None or scored.of.changes:
            continue
        nothing = {"runs": 0, "plain": 0, "gated": 0, "merged_runs": 0, "merged": 0, "alphas": []}
        entry = counts.setdefault((scored.of.start, scored.of.arm), nothing)
        metric = scored.figures["metric"]
        for before, after in _paired(base, scored):
            below = after["scores"][metric] < before["scores"][metric]
            kept = after["validation"][metric] > before["validation"][metric]
            entry["runs"] += 1
            entry["plain"] += below
            entry["gated"] += below and kept
        merges = [other for other in results.scores if _is_merge_of(other, scored)]
        if merges:
            best = max([base, *merges, scored], key=lambda one: _validation(one))
            entry["alphas"].append(0.0 if best is base else 1.0 if best is scored else best.of.alpha)
            for before, after in _paired(base, best):
                entry["merged_runs"] += 1
                entry["merged"] += after["scores"][metric] < before["scores"][metric]
    return counts


def _is_merge_of(other, scored):
    same = (other.task, other.rows) == (scored.task, scored.rows)
    return same and other.of.alpha is not None and other.of.source == scored.of


def _validation(scored):
    return statistics.fmean(run["validation"][scored.figures["metric"]] for run in scored.figures["runs"])


def _paired(base, scored):
    after = {run["seed"]: run for run in scored.figures["runs"]}
    return [(run, after[run["seed"]]) for run in base.figures["runs"] if run["seed"] in after]


def _key(of):
    return of.start, of.corpus, of.arm


def _adaptation(fields):
    return Adaptation(**{**fields, "changes": tuple(map(tuple, fields["changes"]))})


def shown_arm(of):
    """An arm and its budget, for a table. Args: of ([`Adaptation`]). Returns: two `str`."""
    arm = ARMS[of.arm]
    name = f"{arm.letter}. {arm.says}" if arm.letter else arm.says
    name += f", alpha {of.alpha:g}" if of.alpha is not None else ""
    name += f" (training seed {of.seed})" if of.seed else ""
    if not of.trains:
        return name, ""
    return name, f"{shown_tokens(of.tokens)}, equal {of.budget}"
