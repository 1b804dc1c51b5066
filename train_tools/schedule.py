"""A setting of the objective that changes over training: its value is a function of the step, and nothing else."""

import math
from dataclasses import dataclass

from ..configuration_electra_rtd import ElectraRTDConfig


FIELDS = ("sampling_temperature", "disc_weight", "mask_prob")
SHAPES = {"linear": lambda passed: passed, "cosine": lambda passed: (1 - math.cos(math.pi * passed)) / 2}
SYNTAX = "FROM:TO, such as 2.0:1.0, or FROM:TO:cosine; with @0.5 behind it, in the first half of the steps"


@dataclass(frozen=True)
class Schedule:
    """A number that goes from one value to another over a share of the steps, and stays there.

    Args:
        start, end (`float`)
        shape (`str`): `"linear"`, or `"cosine"`, half a wave of it: slow, fast, slow.
        share (`float` in (0, 1]): of the steps of the run.

    Raises:
        ValueError: the shape or the share cannot be.
    """

    start: float
    end: float
    shape: str = "linear"
    share: float = 1.0

    def __post_init__(self):
        if self.shape not in SHAPES:
            raise ValueError(f"the shape is {self.shape!r}, and must be one of {', '.join(SHAPES)}")
        is_number = isinstance(self.share, (int, float)) and not isinstance(self.share, bool)
        if not (is_number and 0 < self.share <= 1):
            raise ValueError(f"the share of the steps is {self.share!r}, and must be above 0 and at most 1")

    @classmethod
    def parse(cls, text):
        """Read a schedule: `FROM:TO`, `FROM:TO:SHAPE`, and either with `@SHARE` behind it.

        Args: text (`str`). Returns: [`Schedule`]. Raises: ValueError: it is none.
        """
        values, at, share = text.partition("@")
        if not 1 <= values.count(":") <= 2:
            raise ValueError("it must have two values, and at most a shape")
        start, end, *shape = values.split(":")
        return cls(float(start), float(end), shape[0] if shape else "linear", float(share) if at else 1.0)

    def __str__(self):
        shape = "" if self.shape == "linear" else f":{self.shape}"
        share = "" if self.share == 1 else f"@{self.share}"
        return f"{self.start}:{self.end}{shape}{share}"

    def value(self, step, max_steps):
        """What holds in a step.

        Args:
            step (`int`): steps that were taken before it, so 0 in the first one.
            max_steps (`int`): of the run.

        Returns:
            `float`: `start` in the first step; `end` from the moment on when the share of the steps is over.
        """
        passed = step / (self.share * max_steps)
        return self.end if passed >= 1 else self.start + (self.end - self.start) * SHAPES[self.shape](passed)


def setting(name, value):
    """A field of the configuration as a user gave it: a number, a [`Schedule`], or a text that is one of them.

    Args: name (`str`): one of `FIELDS`; value (`float`, [`Schedule`] or `str`).
    Returns: `float` or [`Schedule`]
    Raises: ValueError: it is neither, or the configuration does not allow what it begins or ends with.
    """
    if isinstance(value, str):
        try:
            value = Schedule.parse(value) if ":" in value or "@" in value else float(value)
        except ValueError as error:
            raise ValueError(f"`{name}={value}`: {error}. Give one number, or a schedule: {SYNTAX}.") from error
    for one in (value.start, value.end) if isinstance(value, Schedule) else (value,):
        ElectraRTDConfig(**{name: one})  # its own checks; what lies between two values that it allows is allowed
    return value


def end_of(value):
    """What holds in the end. Args: value (number, [`Schedule`] or `None`). Returns: number or `None`."""
    return value.end if isinstance(value, Schedule) else value


def describe_schedules(settings):
    """Those of some settings that change. Args: settings (`dict`). Returns: `dict` from names to texts."""
    return {name: str(one) for name, one in settings.items() if isinstance(one, Schedule)}
