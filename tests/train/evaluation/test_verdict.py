"""The verdict: intervals that cover what they say, both sources of chance, collapsed runs, what would be needed."""

import math

import numpy as np
import pytest

from electra_rtd.train_tools.evaluation.jackknife import pseudo_values, units_of
from electra_rtd.train_tools.evaluation.metrics import METRICS, score
from electra_rtd.train_tools.evaluation.verdict import compare


TAGS = ("O", "B-X", "I-X", "B-Y")


def draw_runs(draw, rows, seeds, *, of_rows, of_seeds, noise=0.5, gain=0.0):
    """Predictions of two arms for rows of class 1, right where a sum of normal numbers is above 0; and the true gain.

    `of_rows` is the spread of what an arm does to a row in every seed, `of_seeds` of what a seed does to every row.
    """
    hard = draw.standard_normal((rows, 1))
    arms = []
    for shift in (1.0, 1.0 + gain):
        liking = of_rows * draw.standard_normal((rows, 1))
        luck = of_seeds * draw.standard_normal((1, seeds))
        right = shift + hard + liking + luck + noise * draw.standard_normal((rows, seeds)) > 0
        arms.append(right.T.astype(int).tolist())
    spread = math.sqrt(2 * (1 + of_rows**2 + of_seeds**2 + noise**2))
    return arms, (math.erf((1 + gain) / spread) - math.erf(1 / spread)) / 2


def count_verdicts(trials, seed, **sources):
    """How many intervals cover the truth, and how many verdicts are wrong, where the arms do not differ in truth."""
    draw, covered, wrong = np.random.default_rng(seed), 0, 0
    for _ in range(trials):
        (before, after), gain = draw_runs(draw, 200, 5, **sources)
        found = compare("single", "accuracy", before, after, [1] * 200, ("a", "b"))
        covered += found.low <= gain <= found.high
        wrong += found.verdict != "cannot tell"
    return covered, wrong


def test_the_interval_covers_the_truth_where_rows_and_seeds_are_drawn():
    covered, wrong = count_verdicts(100, 0, of_rows=0.5, of_seeds=0.1)
    assert covered >= 93
    assert wrong <= 6


@pytest.mark.slow
@pytest.mark.parametrize(("of_rows", "of_seeds"), [(0.7, 0.0), (0.0, 0.2), (0.5, 0.1)], ids=["rows", "seeds", "both"])
@pytest.mark.parametrize("gain", [0.0, 0.2])
def test_the_interval_covers_the_truth_whatever_the_source_of_chance(of_rows, of_seeds, gain):
    """2,500 trials of each, once: 95.1 to 97.2 of 100 covered, "better" in 1.6 to 2.5."""
    covered, wrong = count_verdicts(500, 1, of_rows=of_rows, of_seeds=of_seeds, gain=gain)
    assert 0.93 <= covered / 500 <= 0.99
    assert gain or wrong / 500 <= 0.07


def test_a_real_gain_is_told_and_its_reverse():
    (before, after), _ = draw_runs(np.random.default_rng(1), 500, 5, of_rows=0.2, of_seeds=0.05, gain=0.5)
    found, reverse = (
        compare("single", "accuracy", *arms, [1] * 500, ("a", "b")) for arms in ((before, after), (after, before))
    )
    assert (found.verdict, reverse.verdict, found.needed, found.seeds) == ("better", "worse", None, 5)
    assert found.difference == pytest.approx(found.after - found.before) == -reverse.difference
    assert (found.low, found.high) == pytest.approx((-reverse.high, -reverse.low))
    assert found.before == pytest.approx(np.mean(before))


def test_the_parts_of_the_interval_are_those_of_a_two_way_analysis():
    (before, after), _ = draw_runs(np.random.default_rng(2), 300, 4, of_rows=0.9, of_seeds=0.1)
    found = compare("single", "accuracy", before, after, [1] * 300, ("a", "b"))
    table = np.subtract(after, before).T  # (rows, seeds)
    residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    of_both = (residuals**2).sum() / (299 * 3)
    assert found.se_seeds == pytest.approx(table.mean(0).std(ddof=1) / 2)
    assert found.se_rows == pytest.approx(math.sqrt((table.mean(1).var(ddof=1) - of_both / 4) / 300))


@pytest.mark.parametrize("kind", ["single", "tokens", "regression"])
def test_pseudo_values_are_scores_without_a_unit(kind):
    draw = np.random.default_rng(3)
    if kind == "regression":
        targets = draw.standard_normal(40).tolist()
        predictions = (np.array(targets) + draw.standard_normal(40)).tolist()
    elif kind == "tokens":
        targets = [draw.integers(0, 4, 5).tolist() for _ in range(40)]
        predictions = [[tag if draw.random() < 0.6 else 0 for tag in tags] for tags in targets]
    else:
        targets = draw.integers(0, 4, 40).tolist()
        predictions = [target if draw.random() < 0.6 else 0 for target in targets]
    units = units_of(40, [row // 3 for row in range(40)], kind)
    for metric in METRICS[kind]:
        whole, values = pseudo_values(kind, metric, predictions, targets, TAGS, units)
        assert whole == pytest.approx(score(kind, predictions, targets, TAGS)[metric])
        for unit in range(14):
            kept = [row for row in range(40) if row // 3 != unit]
            rest = score(kind, [predictions[row] for row in kept], [targets[row] for row in kept], TAGS)[metric]
            assert values[unit] == pytest.approx(14 * whole - 13 * rest)


def test_macro_f1_knows_that_a_class_of_few_rows_is_a_chance():
    """Both arms miss 10 rows of 400: in a class of 10 rows or in one of 390, which moves macro F1 by far less."""
    targets = [1] * 10 + [0] * 390
    right = list(targets)
    rare, common = (
        [1 - t if row in wrong else t for row, t in enumerate(targets)] for wrong in (range(5), range(10, 15))
    )
    wide, narrow = (
        compare("single", "macro_f1", [arm] * 2, [right] * 2, targets, ("a", "b")) for arm in (rare, common)
    )
    assert wide.difference > narrow.difference
    assert wide.se_rows > narrow.se_rows > 0


def test_rows_of_one_group_count_as_one_draw():
    (before, after), _ = draw_runs(np.random.default_rng(4), 50, 3, of_rows=1.0, of_seeds=0.0)
    repeated = [[[value for value in run for _ in range(10)] for run in arm] for arm in (before, after)]
    one = compare("single", "accuracy", before, after, [1] * 50, ("a", "b"))
    alone = compare("single", "accuracy", *repeated, [1] * 500, ("a", "b"))
    grouped = compare("single", "accuracy", *repeated, [1] * 500, ("a", "b"), groups=[row // 10 for row in range(500)])
    assert (grouped.low, grouped.high) == pytest.approx((one.low, one.high))
    assert alone.se_rows < 0.4 * grouped.se_rows


def test_few_rows_that_differ_do_not_make_a_verdict():
    """Five rows right instead of wrong, none the other way: a sign test says p = 0.06."""
    for rows in (100, 10_000):
        targets = [0, 1] * (rows // 2)
        before = [1 - target if row < 5 else target for row, target in enumerate(targets)]
        found = compare("single", "accuracy", [before] * 5, [targets] * 5, targets, ("a", "b"))
        assert (found.verdict, found.se_seeds) == ("cannot tell", 0)
        before = [1 - target if row < 9 else target for row, target in enumerate(targets)]
        assert compare("single", "accuracy", [before] * 5, [targets] * 5, targets, ("a", "b")).verdict == "better"


def test_one_seed_tells_nothing_but_a_probe_has_none():
    (before, after), _ = draw_runs(np.random.default_rng(5), 400, 1, of_rows=0.1, of_seeds=0.0, gain=0.6)
    found = compare("single", "accuracy", before, after, [1] * 400, ("a", "b"))
    assert (found.verdict, found.low, found.high, found.seeds) == ("cannot tell", None, None, 1)
    assert "one seed says nothing about chance. Give at least 2, better 5" in found.needed
    probed = compare("single", "accuracy", before, after, [1] * 400, ("a", "b"), deterministic=True)
    table = np.subtract(after, before)[0]
    assert (probed.verdict, probed.se_seeds) == ("better", 0)
    assert probed.se_rows == pytest.approx(table.std(ddof=1) / 20)


def test_a_pair_with_a_collapsed_run_is_left_out_and_counted():
    targets = [0, 1] * 100
    (before, after), _ = draw_runs(np.random.default_rng(6), 200, 5, of_rows=0.5, of_seeds=0.0, gain=0.2)
    before, after = (
        [[int(right == target) for right, target in zip(run, targets, strict=True)] for run in arm]
        for arm in (before, after)
    )
    broken = [*after[:2], [1] * 200, *after[3:]]
    found = compare("single", "accuracy", before, broken, targets, ("a", "b"))
    others = [[arm[seed] for seed in (0, 1, 3, 4)] for arm in (before, after)]
    assert (found.collapsed_before, found.collapsed_after, found.left_out, found.seeds) == (0, 1, 1, 4)
    rest = compare("single", "accuracy", *others, targets, ("a", "b"))
    assert (found.before, found.after, found.low, found.high) == (rest.before, rest.after, rest.low, rest.high)
    told = compare(
        "single", "accuracy", before, after, targets, ("a", "b"), collapsed_before=["diverged"] + [None] * 4
    )
    assert (told.collapsed_before, told.left_out, told.seeds) == (1, 1, 4)


def test_an_arm_that_mostly_collapses_is_no_verdict_but_a_name():
    targets = [0, 1] * 50
    good, constant = targets, [0] * 100
    found = compare("single", "accuracy", [good] * 5, [constant] * 3 + [good] * 2, targets, ("bad", "fine"))
    assert (found.verdict, found.seeds) == ("cannot tell", 2)
    assert found.needed.startswith(
        "`after` collapsed in 3 of 5 seeds (one class for all rows (bad)): a wrong learning"
    )
    none = compare("single", "accuracy", [constant] * 2, [constant] * 2, targets, ("bad", "fine"))
    assert (none.seeds, none.low, math.isnan(none.difference)) == (0, None, True)
    assert "`before` collapsed in 2 of 2" in none.needed and "`after` collapsed in 2 of 2" in none.needed


@pytest.mark.slow
@pytest.mark.parametrize("more", ["seeds", "rows"])
def test_what_is_needed_is_enough_and_not_far_more(more):
    """As many seeds, or rows, as it says are drawn: then a gain of one point is told in about four of five cases."""
    sources = {"of_rows": 0.1, "of_seeds": 0.01}
    arms, _ = draw_runs(np.random.default_rng(2), 2000, 8, **sources)
    found = compare("single", "accuracy", *arms, [1] * 2000, ("a", "b"))
    assert (found.verdict, found.needed_seeds is None, found.needed_rows is None) == ("cannot tell", False, False)
    seeds, rows = (found.needed_seeds, 2000) if more == "seeds" else (8, found.needed_rows)
    draw, told = np.random.default_rng(8), 0
    for _ in range(60):
        arms, gain = draw_runs(draw, rows, seeds, gain=0.042, **sources)
        told += compare("single", "accuracy", *arms, [1] * rows, ("a", "b")).verdict == "better"
    assert gain == pytest.approx(0.01, abs=0.0005)
    assert 0.65 <= told / 60 <= 0.98


def test_the_bottleneck_is_named_and_more_of_the_other_would_not_do():
    draw = np.random.default_rng(9)
    arms, _ = draw_runs(draw, 3000, 5, of_rows=0.0, of_seeds=0.05)
    seeds = compare("single", "accuracy", *arms, [1] * 3000, ("a", "b"))
    assert (seeds.verdict, seeds.bottleneck, seeds.needed_rows) == ("cannot tell", "seeds", None)
    assert 10 < seeds.needed_seeds < 150
    assert seeds.needed == (
        f"to tell one point apart, about {seeds.needed_seeds} seeds instead of 5; more test rows alone would not do."
    )
    arms, _ = draw_runs(draw, 300, 5, of_rows=1.0, of_seeds=0.0)
    rows = compare("single", "accuracy", *arms, [1] * 300, ("a", "b"), train_rows=50)
    assert (rows.verdict, rows.bottleneck, rows.needed_seeds) == ("cannot tell", "rows", None)
    assert 3000 < rows.needed_rows < 30_000
    assert rows.needed == (
        f"With 50 training rows: to tell one point apart, about {rows.needed_rows:,} test rows instead of 300; more "
        "seeds alone would not do."
    )


def test_arms_that_say_the_same_are_not_told_apart():
    found = compare("single", "accuracy", [[0, 1, 1]] * 3, [[0, 1, 1]] * 3, [0, 1, 0], ("a", "b"))
    assert (found.verdict, found.low, found.high) == ("cannot tell", 0, 0)
    assert found.needed == "both arms say the same of every test row."


def test_every_kind_is_compared():
    draw = np.random.default_rng(10)
    targets = [draw.integers(0, 4, 6).tolist() for _ in range(60)]
    worse, better = (
        [[[tag if draw.random() < share else 0 for tag in tags] for tags in targets] for _ in range(4)]
        for share in (0.4, 0.9)
    )
    assert compare("tokens", "f1", worse, better, targets, TAGS).verdict == "better"
    scale = draw.standard_normal(150)
    worse, better = ([(scale + spread * draw.standard_normal(150)).tolist() for _ in range(4)] for spread in (3, 0.3))
    assert compare("regression", "spearman", worse, better, scale.tolist()).verdict == "better"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("single", "accuracy", [[0, 1]], [], [0, 1]), {}, "1 runs before and 0 after"),
        (
            ("single", "f1", [[0, 1]], [[0, 1]], [0, 1]),
            {},
            "`metric=f1`: the metrics of single are accuracy, macro_f1",
        ),
        (("single", "accuracy", [[0, 1]], [[0, 1]], [0, 1]), {"collapsed_after": []}, "0 reasons for 1 runs"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        compare(*arguments, ("a", "b"), **options)
