"""Is one arm better than another? Paired differences, an interval that holds both sources of chance, and a word.

Two things are drawn by chance: the seeds (head, order of rows, dropout) and the test rows. A mean difference D over S
seeds and n rows has the variance

    seeds / S  +  rows / n  +  both / (S n)

where `both` is what a seed does to a single row. The paired differences of the seeds, which vary by the first and the
third part, give a t-interval with S - 1 degrees of freedom. The second part comes from the rows' mean contributions
(accuracy: +1, 0 or -1; else jackknife), less what `both` adds to their variance (the mean square of the residuals of
the table of rows by seeds, as in a two-way analysis of variance without replication); its t has one degree less than
rows that differ at all. The interval is D +- sqrt((t se_seeds)^2 + (t se_rows)^2): each part with its own t, exact
where the other is nothing (Graybill and Wang 1980, JASA 75, on sums of variances). A test simulates both sources: the
interval covers the truth in 95 to 97 of 100 cases, and "better" is said in at most 3 of 100 where nothing differs.

What the interval does not hold is another draw of training rows, unless the seeds drew those too (`train_rows`).
"""

import math
from dataclasses import dataclass

import numpy as np

from .extra import import_extra
from .jackknife import pseudo_values, units_of
from .metrics import collapsed as why_collapsed


TAIL = 0.975  # of the t distribution, below the upper end of an interval of 95 %
POWER = 0.8  # chance that a study of the planned size tells the difference
ONE_POINT = 0.01
MOST_SEEDS = 200  # more than anybody will run
MORE_ROWS = 1.1 ** np.arange(1, 73)  # times the test rows that there are, up to a thousand


@dataclass(frozen=True)
class Comparison:
    """One arm beside another.

    Args:
        before, after (`float`): mean scores over the seeds that count; NaN where there are none.
        difference (`float`): `after - before`.
        low, high (`float`, *optional*): its 95 % interval; `None` where there is none.
        seeds (`int`): pairs of runs that count.
        verdict (`str`): `"better"`, `"worse"` or `"cannot tell"`.
        needed (`str`, *optional*): with `"cannot tell"`, what it would take to tell a difference of one point.
        needed_seeds, needed_rows (`int`, *optional*): seeds, and test rows, that alone would do; `None` where more of
            them alone would not, or it is not known.
        bottleneck (`str`, *optional*): `"seeds"` or `"rows"`: which of them makes the interval as wide as it is.
        se_seeds, se_rows (`float`, *optional*): standard errors, the two parts of the interval.
        collapsed_before, collapsed_after (`int`): runs of each arm that collapsed; their pairs are left out.
        left_out (`int`): pairs left out.
    """

    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    seeds: int
    verdict: str
    needed: str | None = None
    needed_seeds: int | None = None
    needed_rows: int | None = None
    bottleneck: str | None = None
    se_seeds: float | None = None
    se_rows: float | None = None
    collapsed_before: int = 0
    collapsed_after: int = 0
    left_out: int = 0


def compare(
    kind,
    metric,
    before,
    after,
    targets,
    names=(),
    *,
    train_rows=None,
    collapsed_before=None,
    collapsed_after=None,
    groups=None,
    deterministic=False,
):
    """Compare the predictions of two arms on the same test rows, seed by seed.

    Args:
        kind (`str`): one of `KINDS`; metric (`str`): one of `METRICS[kind]`.
        before, after (`list`): of each seed, in the same order, the predictions as `metrics.score` takes them.
        targets, names: as for `metrics.score`.
        train_rows (`int`, *optional*): training rows of each run, for the words about what is needed.
        collapsed_before, collapsed_after (`list`, *optional*): of each seed why that run collapsed, or `None`; by
            default what `metrics.collapsed` says of its predictions.
        groups (`list`, *optional*): of each test row; rows of one group are one draw, not many.
        deterministic (`bool`): the arms have no seeds (a linear probe): one run of each is all, and the interval
            holds the chance of the test rows alone.

    Returns:
        [`Comparison`]

    Raises:
        ValueError: the arms have not as many runs, or no run at all.
    """
    if not len(before) == len(after) > 0:
        raise ValueError(f"{len(before)} runs before and {len(after)} after: give one of each for every seed.")
    reasons_before = _reasons(kind, before, targets, names, collapsed_before)
    reasons_after = _reasons(kind, after, targets, names, collapsed_after)
    kept = [seed for seed in range(len(before)) if reasons_before[seed] is None and reasons_after[seed] is None]
    counts = {
        "seeds": len(kept),
        "collapsed_before": len(before) - reasons_before.count(None),
        "collapsed_after": len(after) - reasons_after.count(None),
        "left_out": len(before) - len(kept),
    }
    advice = _failing(reasons_before, reasons_after)
    if not kept:
        return Comparison(math.nan, math.nan, math.nan, None, None, verdict="cannot tell", needed=advice, **counts)
    units = units_of(len(targets), groups, kind)
    scores, parts = [], []  # (seeds, 2); (seeds, units)
    for seed in kept:
        of_arms = [pseudo_values(kind, metric, arm[seed], targets, names, units) for arm in (before, after)]
        scores.append([score for score, _ in of_arms])
        parts.append(of_arms[1][1] - of_arms[0][1])
    means = np.mean(scores, axis=0)
    differences = np.subtract(*np.transpose(scores)[::-1])
    chance = _sources_of_chance(differences, np.transpose(parts), deterministic)
    half_of = _halves(chance)
    difference = float(means[1] - means[0])
    half = None if half_of is None else math.hypot(*half_of)
    low, high = (None, None) if half is None else (difference - half, difference + half)
    if half is None or low <= 0 <= high or advice is not None:
        verdict = "cannot tell"
        plan = {"needed": advice} if advice is not None else _plan(chance, difference, half, len(targets), train_rows)
    else:
        verdict, plan = "better" if low > 0 else "worse", {}
    if half:
        plan["bottleneck"] = "seeds" if half_of[0] > half_of[1] else "rows"
    errors = {"se_seeds": chance.se_seeds, "se_rows": chance.se_rows}
    return Comparison(
        float(means[0]), float(means[1]), difference, low, high, verdict=verdict, **plan, **errors, **counts
    )


@dataclass(frozen=True)
class _Chance:
    """The sources of chance in a table of differences: variances of one seed, of one unit of rows, of both."""

    seeds: int
    units: int
    of_seeds: float
    of_rows: float
    of_both: float
    se_seeds: float | None
    se_rows: float | None
    rows_that_differ: float
    deterministic: bool


def _sources_of_chance(differences, parts, deterministic):
    """[`_Chance`] of the differences `(seeds,)` and the units' parts in them `(units, seeds)`."""
    units, seeds = parts.shape
    by_unit = parts.mean(1)  # (units,)
    of_both = 0.0
    if seeds > 1 and units > 1:
        residuals = parts - by_unit[:, None] - parts.mean(0) + parts.mean()
        of_both = float((residuals**2).sum() / ((units - 1) * (seeds - 1)))
    of_rows = max(0.0, float(by_unit.var(ddof=1)) - of_both / seeds) if units > 1 else math.nan
    squares = float((by_unit**2).sum())
    spread = float(differences.var(ddof=1)) if seeds > 1 else None
    if deterministic:
        spread = 0.0
    return _Chance(
        seeds=seeds,
        units=units,
        of_seeds=max(0.0, (spread or 0.0) - of_both / units),
        of_rows=of_rows,
        of_both=of_both,
        se_seeds=None if spread is None else math.sqrt(spread / seeds),
        se_rows=math.sqrt(of_rows / units) if units > 1 else None,
        # As many rows of one size as would have these second and fourth moments: few rows that differ say little.
        rows_that_differ=squares**2 / float((by_unit**4).sum()) if squares else float(units),
        deterministic=deterministic,
    )


def _halves(chance):
    """Half widths of the interval's two parts, `None` where there is no interval: one seed, or one row."""
    if chance.se_seeds is None or chance.se_rows is None:
        return None
    t = import_extra("scipy.special").stdtrit  # quantiles, in a hundredth of the time that `scipy.stats.t` takes
    of_seeds = 0.0 if chance.deterministic else float(t(chance.seeds - 1, TAIL)) * chance.se_seeds
    return of_seeds, float(t(max(1.0, chance.rows_that_differ - 1), TAIL)) * chance.se_rows


def _tells(chance, seeds, times):
    """Whether so many seeds, and so many times the rows, would tell one point apart, in `POWER` of all cases.

    Args: chance ([`_Chance`]); seeds, times: numbers or arrays of them, whose shapes go together.
    Returns: `numpy.ndarray` of `bool`.
    """
    special = import_extra("scipy.special")
    seeds, units, power = np.asarray(seeds), np.asarray(times) * chance.units, special.ndtri(POWER)
    of_seeds = np.sqrt((chance.of_seeds + chance.of_both / units) / seeds)
    of_rows = np.sqrt(chance.of_rows / units)
    of_seeds = 0.0 * of_seeds if chance.deterministic else (special.stdtrit(seeds - 1.0, TAIL) + power) * of_seeds
    return np.hypot(of_seeds, (special.ndtri(TAIL) + power) * of_rows) <= ONE_POINT


def _first(values, tells):
    """The first of the values that tells, as a number of Python; `None` where none does."""
    return values[int(tells.argmax())].item() if tells.any() else None


def _plan(chance, difference, half, rows, train_rows):
    """What it would take to tell one point apart: fields of [`Comparison`]."""
    at = "" if train_rows is None else f"With {train_rows:,} training rows: "
    if half is None:
        what = "one row says" if chance.se_rows is None else "one seed says"
        return {"needed": f"{at}{what} nothing about chance. Give at least 2, better 5."}
    if half == difference == 0:
        return {"needed": f"{at}both arms say the same of every test row."}
    if abs(difference) + half < ONE_POINT or _tells(chance, chance.seeds, 1):
        return {"needed": f"{at}nothing: a difference of one point would show. This one is smaller."}
    more_seeds = np.arange(chance.seeds + 1, MOST_SEEDS + 1)
    seeds = None if chance.deterministic else _first(more_seeds, _tells(chance, more_seeds, 1))
    times = _first(MORE_ROWS, _tells(chance, chance.seeds, MORE_ROWS))
    total = None if times is None else _round_up(times * rows)
    found = {"needed_seeds": seeds, "needed_rows": total}
    now = f"{chance.seeds} seeds and {rows:,} test rows"
    if chance.deterministic:
        words = f"about {total:,} test rows instead of {rows:,}" if total else f"far more test rows than {rows:,}"
    elif seeds and total:
        words = f"about {seeds} seeds or {total:,} test rows, instead of {now}"
    elif seeds:
        words = f"about {seeds} seeds instead of {chance.seeds}; more test rows alone would not do"
    elif total:
        words = f"about {total:,} test rows instead of {rows:,}; more seeds alone would not do"
    else:
        both = _first(MORE_ROWS, _tells(chance, np.ceil(MORE_ROWS * chance.seeds), MORE_ROWS))
        words = f"far more of both than {now}"
        if both is not None:
            words = f"about {math.ceil(both * chance.seeds)} seeds and {_round_up(both * rows):,} test rows, "
            words += f"instead of {now}; neither alone would do"
    return {"needed": f"{at}to tell one point apart, {words}.", **found}


def _round_up(number):
    """To two digits."""
    step = 10 ** max(0, len(str(math.ceil(number))) - 2)
    return math.ceil(number / step) * step


def _reasons(kind, runs, targets, names, given):
    """Why each run collapsed, or `None`."""
    if given is None:
        return [why_collapsed(kind, predictions, targets, names) for predictions in runs]
    if len(given) != len(runs):
        raise ValueError(f"{len(given)} reasons for {len(runs)} runs: give one, or None, for each seed.")
    return list(given)


def _failing(before, after):
    """What to say where an arm collapsed in more than half of its seeds, else `None`."""
    says = []
    for name, reasons in (("before", before), ("after", after)):
        there = [reason for reason in reasons if reason is not None]
        if 2 * len(there) > len(reasons):
            says.append(f"`{name}` collapsed in {len(there)} of {len(reasons)} seeds ({there[0]})")
    if not says:
        return None
    return f"{' and '.join(says)}: a wrong learning rate or too few steps, more often than a bad encoder. Try others."
