"""The arithmetic of a report: bounds of shares, what improved most, confusion, calibration, smaller curves."""

import math
from dataclasses import dataclass


Z = 1.96  # 95 %
CURVE_POINTS = 400
LEAST_OCCURRENCES = 5  # ranks stand on bounds, so a minimum only keeps out what says nothing at all
LISTED_TOKENS = 10


def downsample(points, limit=CURVE_POINTS):
    """A curve of at most `limit` points in which every spike can still be seen.

    The points are cut into buckets of similar number; each keeps its lowest and its highest, the curve its two ends.

    Args: points (`list` of (step, value)); limit (`int`): 4 or more. Returns: `list` of (step, value), in order.
    """
    if len(points) <= limit:
        return list(points)
    inner, buckets = points[1:-1], (limit - 2) // 2
    kept = [points[0]]
    for bucket in range(buckets):
        part = inner[len(inner) * bucket // buckets : len(inner) * (bucket + 1) // buckets]
        kept += sorted({choose(part, key=lambda point: point[1]) for choose in (min, max)})
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

    Args: before, after (`int`): hits; trials (`int`): of both, 1 or more. Returns: `float` in [-1, 1].
    """
    first, second = before / trials, after / trials
    down = second - wilson(after, trials)[0]
    up = wilson(before, trials)[1] - first
    return second - first - math.hypot(down, up)


@dataclass(frozen=True)
class TokenScore:
    """How a network did on a token, before and after.

    Args: token, kind (`str`); trials (`int`): places that were judged; before, after (`int`): of those, the good ones.
    """

    token: str
    kind: str
    trials: int
    before: int
    after: int

    @property
    def sure_gain(self):
        """`float`: what the share of good ones grew by at least."""
        return least_gain(self.before, self.after, self.trials)

    @property
    def best_case(self):
        """`float`: how high the share may be after training, at most."""
        return wilson(self.after, self.trials)[1]


def generator_scores(tokens):
    """Top-5 hits at masked places: `list` of [`TokenScore`], of tokens masked often enough and equally both times."""
    return [
        TokenScore(one.token, one.kind, one.after["masked"], one.before["gen_top5"], one.after["gen_top5"])
        for one in tokens
        if one.before["masked"] == one.after["masked"] >= LEAST_OCCURRENCES
    ]


def discriminator_scores(tokens):
    """Right verdicts: `list` of [`TokenScore`], of tokens that occur often enough."""
    scores = []
    for one in tokens:
        if one.count >= LEAST_OCCURRENCES:
            wrong = [side["replaced"] - side["caught"] + side["false_alarms"] for side in (one.before, one.after)]
            scores.append(TokenScore(one.token, one.kind, one.count, *(one.count - count for count in wrong)))
    return scores


def most_improved(scores):
    """The tokens that surely gained, surest first: `list` of [`TokenScore`]. 1 of 1 never wins: its bound is low."""
    better = [score for score in scores if score.sure_gain > 0]
    return sorted(better, key=lambda score: (-score.sure_gain, -score.trials, score.token))[:LISTED_TOKENS]


def worst(scores):
    """The tokens that are surely the worst after training: `list` of [`TokenScore`]."""
    wrong = [score for score in scores if score.after < score.trials]
    return sorted(wrong, key=lambda score: (score.best_case, -score.trials, score.token))[:LISTED_TOKENS]


def verdicts(classes):
    """What the discriminator said of each kind of token, and of all: every token is frequent or rare.

    Args: classes (`dict`): of counts `tokens`, `replaced`, `caught` and `false_alarms`, by kind.
    Returns: `dict` of three (part, whole): caught of replaced, false alarms of original, caught of alarms.
    """
    kinds = {name: counts for name, counts in classes.items() if counts.get("tokens")}
    halves = [kinds[name] for name in ("frequent", "rare") if name in kinds]
    names = ("tokens", "replaced", "caught", "false_alarms")
    kinds = {"all": {name: sum(half[name] for half in halves) for name in names}, **kinds}
    return {
        name: [
            (one["caught"], one["replaced"]),
            (one["false_alarms"], one["tokens"] - one["replaced"]),
            (one["caught"], one["caught"] + one["false_alarms"]),
        ]
        for name, one in kinds.items()
    }


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
