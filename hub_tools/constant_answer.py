"""What somebody gets who reads nothing: a figure is called better only where it is better than that.

`figures` are those of one evaluation, named as in `AdaptResult`; what is not known is not judged by.
"""

import math

from .run_record import is_number


# Which of two values of a figure is better. What is not listed is neither.
LOWER = ("loss", "mlm_loss", "disc_loss", "gen_perplexity", "calibration_error")
GENERATOR_HIGHER = ("gen_acc", "gen_top1", "gen_top5")
DISCRIMINATOR_HIGHER = ("disc_auc", "disc_acc", "disc_precision", "disc_recall", "disc_f1")
GENERATOR = ("mlm_loss", "gen_perplexity", *GENERATOR_HIGHER)
DISCRIMINATOR = ("disc_loss", "calibration_error", *DISCRIMINATOR_HIGHER)
SURE = 1.96  # standard deviations of an area of 0.5 that chance alone does not go beyond
LARGEST_NOISE = 0.02  # of that area, where the number of tokens is not known


def entropy(share):
    """The loss of the best constant answer where a share of the tokens is replaced: binary entropy in nats.

    Args: share (`float` in [0, 1]). Returns: `float`.
    """
    return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)


def constant_answers(figures, vocab_size=None):
    """What answers get that look at no token, one figure at a time.

    Args:
        figures (`dict[str, float]`): `replaced_share` and `lucky_hits`, where they are known; `frequency_loss`, the
            cross-entropy in nats of the masked tokens by the frequencies of the training text alone.
        vocab_size (`int`, *optional*): V, for random choice where the frequencies are not known.

    Returns:
        `dict[str, float]`: of `disc_auc`, `disc_acc` ("original" always: half, and more by lucky hits),
        `disc_precision` ("replaced" always) and `disc_loss` (the share of replaced tokens always); of `mlm_loss` and
        `gen_perplexity`
    """
    known = {"disc_auc": 0.5, "disc_acc": (1 + (_number(figures, "lucky_hits") or 0.0)) / 2}
    share = _number(figures, "replaced_share")
    if share is not None:
        known |= {"disc_loss": entropy(share), "disc_precision": share}
    nats = _number(figures, "frequency_loss")
    if nats is None and vocab_size:
        nats = math.log(vocab_size)
    if nats is not None:
        known |= {"mlm_loss": nats, "gen_perplexity": math.exp(nats)}
    return known


def states(figures, vocab_size=None):
    """What the figures of one evaluation say of each network.

    Args: figures (`dict[str, float]`); vocab_size (`int`, *optional*), as in [`constant_answers`].

    Returns:
        (`str` or `None`, `str` or `None`), of the generator and of the discriminator: `"empty"`, nothing was masked,
        or nothing replaced, so that its figures are of nothing; `"constant"`, its loss is not below a constant
        answer's; `"chance"`, its order of tokens is random; `None`, none of these is known
    """
    constant = constant_answers(figures, vocab_size)
    if _number(figures, "mlm_loss") == 0:
        return "empty", "empty"
    generator = "constant" if _not_below(figures, constant, "mlm_loss") else None
    discriminator = None
    if _number(figures, "replaced_share") in (0, 1):
        discriminator = "empty"
    elif _number(figures, "disc_auc") is not None and figures["disc_auc"] - 0.5 <= noise(figures):
        discriminator = "chance"
    elif _not_below(figures, constant, "disc_loss"):
        discriminator = "constant"
    return generator, discriminator


def noise(figures):
    """How far above 0.5 the area under the curve of a discriminator that knows nothing gets by chance.

    Args: figures (`dict[str, float]`): `replaced_share` and `tokens`, the number of judged tokens, where known.
    Returns: `float`
    """
    tokens, share = _number(figures, "tokens"), _number(figures, "replaced_share")
    if not tokens or not share or share >= 1:
        return LARGEST_NOISE
    # Mann and Whitney's statistic, where both classes have one distribution.
    return SURE * math.sqrt((tokens + 1) / (12 * tokens**2 * share * (1 - share)))


def verdict(name, before, after, vocab_size=None):
    """Whether a figure got better.

    Args:
        name (`str`): of the figure; before, after (`dict[str, float]`): all figures of both evaluations.
        vocab_size (`int`, *optional*): as in [`constant_answers`].

    Returns:
        `str`: `"better"`, `"worse"` or `"same"`; or what [`states`] says of its network after training, where that is
        no success (a network whose loss is `"constant"` may still have figures that beat their own constant answers);
        `None` where the figure is not known, or neither of two values of it is better
    """
    first, last = _number(before, name), _number(after, name)
    if first is None or last is None or name not in (*LOWER, *GENERATOR_HIGHER, *DISCRIMINATOR_HIGHER):
        return None
    generator, discriminator = states(after, vocab_size)
    own = generator if name in GENERATOR else discriminator if name in DISCRIMINATOR else None
    if name == "loss" and generator and discriminator:
        own = generator if generator == discriminator else "constant"
    constant = constant_answers(after, vocab_size).get(name)
    beats = constant is not None and (last < constant if name in LOWER else last > constant)
    if own is not None and not (own == "constant" and beats):  # an area of 0.6 is one, whatever the loss is
        return own
    if first == last:
        return "same"
    if (last > first) == (name in LOWER):
        return "worse"
    return "better" if beats or constant is None else "constant"


def _not_below(figures, constant, name):
    value = _number(figures, name)
    return value is not None and name in constant and value >= constant[name]


def _number(figures, name):
    """A figure, or `None` where it is not known, or no finite number."""
    value = figures.get(name)
    return value if is_number(value) else None
