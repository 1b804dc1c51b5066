"""How far an evaluation is: one bar over all runs, or a line a run where nobody watches a terminal."""

import logging
import sys
import time
from contextlib import contextmanager

from tqdm.auto import tqdm

from ..callbacks.console import above_bars


logger = logging.getLogger(__name__)


class Progress:
    """Counts runs, and the rows that they read.

    Args:
        runs (`int`), cost (`float`): that are planned, and what they cost together, in rows that are read times the
            size of their encoder.

    Attributes:
        done, runs (`int`): runs that were done now, and all but those that were done before.
    """

    def __init__(self, runs, cost):
        self.done, self.runs = 0, runs
        self._total = self._left = cost
        self._bar = None
        self._started = time.monotonic()

    @contextmanager
    def shown(self):
        """The bar, on a terminal; messages of loggers stand above it."""
        self._bar = tqdm(
            total=self._total,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            smoothing=0.05,
            ncols=100,
            leave=False,
            disable=None,  # where the output is no terminal
            file=sys.stderr,
        )
        try:
            with above_bars():
                yield self
        finally:
            self._bar.close()

    def begin(self, label):
        """A run begins: `label` (`str`) says which."""
        self._bar.set_description_str(f"{self.done + 1}/{self.runs} {label}")

    def read(self, cost):
        """Work was done: `cost` (`float`), in the unit of the whole."""
        self._left -= cost
        self._bar.update(cost)

    def end(self, label, said):
        """A run has ended: `label` (`str`) says which, `said` (`str`) what it got."""
        self.done += 1
        if self._bar.disable:
            logger.info(f"{self.done}/{self.runs} {label}: {said}{self._time_left()}")

    def skip(self, cost):
        """A run was done before: nothing of it is left to do."""
        self.runs -= 1
        self._total -= cost
        self._left -= cost
        self._bar.total = self._total
        self._bar.refresh()

    def _time_left(self):
        done = self._total - self._left
        if self._left <= 0 or done <= 0:
            return ""
        seconds = (time.monotonic() - self._started) * self._left / done
        return f"; about {_spell(seconds)} left"


def _spell(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min" if minutes > 1 else f"{60 * minutes + seconds} s"
    )
