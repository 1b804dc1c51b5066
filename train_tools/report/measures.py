"""The arithmetic of a report: bounds of shares, what improved most, confusion, calibration, smaller curves."""

import math
from dataclasses import dataclass


Z = 1.96  # 95 %
CURVE_POINTS = 400
# Ranks stand on bounds, so a minimum only keeps out what says nothing at all.
LEAST_OCCURRENCES = 5
LISTED_TOKENS = 10


def downsample(points, limit=CURVE_POINTS):
    """A curve of at most `limit` points in which every spike can still be seen.

    The points are cut into buckets of like number; each keeps its lowest and its highest, the curve its two ends.

    Args: points (`list` of (step, value)); limit (`int`): 4 or more.
    Returns: `list` of (step, value), in order.
    """
    if len(points) <= limit:
        return list(points)
    inner, buckets = points[1:-1], (limit - 2) // 2
    kept = [points[0]]
    for bucket in range(buckets):
        part = inner[len(inner) * bucket // buckets : len(inner) * (bucket + 1) // buckets]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def wilson(hits, trials):
    """The 95 % bounds of a share after Wilson: (`float`, `float`), (0, 1) where nothing was tried."""
    if trials == 0:
        return 0.0, 1.0
    share, square = hits / trials, Z * Z / trials
    centre = share + square / 2
    spread = Z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, (centre - spread) / (1 + square)), min(1.0, (centre + spread) / (1 + square))


def least_gain(before, after, trials):
    """The lower 95 % bound of the gain from one share to another, after Newcombe.

    Both shares are taken as independent. They are of the same places, so that the true bound is rather higher.

    Args: before, after (`int`): hits; trials (`int`): of both, 1 or more.
    Returns: `float` in [-1, 1]
    """
    first, second = before / trials, after / trials
    down = second - wilson(after, trials)[0]
    up = wilson(before, trials)[1] - first
    return second - first - math.hypot(down, up)


@dataclass(frozen=True)
class TokenScore:
    """How a network did on a token, before and after.

    Args:
        token, kind (`str`); trials (`int`): places that were judged; before, after (`int`): of those, the good ones.
    """

    token: str
    kind: str
    trials: int
    before: int
    after: int

    @property
    def gain(self):
        """`float`: what the share of good ones grew by."""
        return (self.after - self.before) / self.trials

    @property
    def sure_gain(self):
        """`float`: what it grew by at least."""
        return least_gain(self.before, self.after, self.trials)

    @property
    def best_case(self):
        """`float`: how high the share may be after training, at most."""
        return wilson(self.after, self.trials)[1]


def generator_scores(tokens):
    """Top-5 hits at masked places: `list` of [`TokenScore`], of tokens masked often enough and alike both times."""
    return [
        TokenScore(one.token, one.kind, one.after["masked"], one.before["gen_top5"], one.after["gen_top5"])
        for one in tokens
        if one.before["masked"] == one.after["masked"] >= LEAST_OCCURRENCES
    ]


def discriminator_scores(tokens):
    """Right verdicts: `list` of [`TokenScore`], of tokens that occur often enough."""
    return [
        TokenScore(one.token, one.kind, one.count, _right(one.count, one.before), _right(one.count, one.after))
        for one in tokens
        if one.count >= LEAST_OCCURRENCES
    ]


def _right(count, counts):
    return count - (counts["replaced"] - counts["caught"]) - counts["false_alarms"]


def most_improved(scores):
    """The tokens that surely gained, surest first: `list` of [`TokenScore`]. 1 of 1 never wins: its bound is low."""
    better = [score for score in scores if score.sure_gain > 0]
    return sorted(better, key=lambda score: (-score.sure_gain, -score.trials, score.token))[:LISTED_TOKENS]


def worst(scores):
    """The tokens that are surely the worst after training: `list` of [`TokenScore`]."""
    wrong = [score for score in scores if score.after < score.trials]
    return sorted(wrong, key=lambda score: (score.best_case, -score.trials, score.token))[:LISTED_TOKENS]


@dataclass(frozen=True)
class Verdicts:
    """What the discriminator said of tokens (`int` each): replaced ones caught or missed, others right or not."""

    caught: int
    missed: int
    right: int
    false_alarms: int

    @property
    def recall(self):
        """`float` or `None`: the share of replaced tokens that is caught."""
        return share(self.caught, self.caught + self.missed)

    @property
    def false_alarm_rate(self):
        """`float` or `None`: the share of original tokens that is called replaced."""
        return share(self.false_alarms, self.right + self.false_alarms)

    @property
    def precision(self):
        """`float` or `None`: the share of alarms that is right."""
        return share(self.caught, self.caught + self.false_alarms)


def verdicts(counts):
    """The verdicts of a class: `counts` is a `dict` with `tokens`, `replaced`, `caught`, `false_alarms`."""
    return Verdicts(
        caught=counts["caught"],
        missed=counts["replaced"] - counts["caught"],
        right=counts["tokens"] - counts["replaced"] - counts["false_alarms"],
        false_alarms=counts["false_alarms"],
    )


def share(part, whole):
    """`float`, or `None` of nothing."""
    return part / whole if whole else None


def calibration_error(calibration):
    """The expected calibration error: |share that was replaced - mean probability| of a bin, weighted by tokens.

    Args: calibration (`dict`): lists `count`, `replaced` and `mean_probability`, one value a bin.
    Returns: `float` in [0, 1], or `None` where nothing was judged.
    """
    bins = calibration_bins(calibration)
    tokens = sum(count for count, _, _ in bins)
    return share(sum(abs(replaced - count * mean) for count, replaced, mean in bins), tokens)


def calibration_bins(calibration):
    """The bins that hold tokens: `list` of (count, replaced, mean probability)."""
    bins = zip(calibration["count"], calibration["replaced"], calibration["mean_probability"], strict=True)
    return [one for one in bins if one[0]]
