"""How often a step makes the host wait for a GPU, and where: torch's own warnings, counted.

torch warns with `TORCH_WARN`, each time, and Python sees a `UserWarning` for each at the line that called torch (those
of a backward pass come when it ends, at the call of the engine). What torch does not notice, its documentation says:
`torch.cuda.synchronize()`, and operations of `torch.distributed` and `torch.sparse`.
"""

import collections
import contextlib
import os
import traceback
import warnings
from pathlib import Path

import accelerate
import torch
import transformers


MESSAGE = "called a synchronizing CUDA operation"
LIBRARIES = tuple(f"{Path(module.__file__).parent}{os.sep}" for module in (accelerate, torch, transformers))


class Synchronisations:
    """What was counted.

    Attributes:
        places (`collections.Counter`): how often at each place, `file:line` of the innermost code that is of no
            library, with that of the library behind it.
    """

    def __init__(self):
        self.places: collections.Counter = collections.Counter()

    @property
    def count(self):
        """`int`: all of them."""
        return self.places.total()

    def see(self, message, category, filename, lineno, file=None, line=None):
        """In the place of `warnings.showwarning`; arguments as there."""
        if MESSAGE in str(message):
            self.places[place_of(traceback.extract_stack()[:-1])] += 1


@contextlib.contextmanager
def counted_synchronisations(turn_on=None):
    """Count what runs inside.

    Args: turn_on (callable, *optional*): sets the mode of debugging, `torch.cuda.set_sync_debug_mode`.
    Yields: [`Synchronisations`].
    """
    turn_on = turn_on or torch.cuda.set_sync_debug_mode
    found = Synchronisations()
    with warnings.catch_warnings():  # puts `showwarning` and the filters back
        warnings.simplefilter("always")  # by default Python shows what comes from one line once
        warnings.showwarning = found.see
        turn_on("warn")
        try:
            yield found
        finally:
            turn_on("default")


def place_of(stack):
    """Where our code called.

    Args: stack (`list[traceback.FrameSummary]`): innermost last. Returns: `str`.
    """
    called = [frame for frame in stack if not frame.filename.endswith("warnings.py")]
    ours = [frame for frame in called if not is_of_a_library(frame.filename)]
    if not ours:
        return _short(called[-1])
    place = _short(ours[-1])
    return place if ours[-1] is called[-1] else f"{place} in {_short(called[-1])}"


def is_of_a_library(filename):
    """Args: filename (`str`). Returns: `bool`."""
    return filename.startswith(LIBRARIES)


def _short(frame):
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"
