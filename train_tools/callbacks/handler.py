"""The Trainer and its list of callbacks, which no public way leads to from one of them."""

import sys
from types import FrameType

from transformers import Trainer
from transformers.trainer_callback import CallbackHandler


def handler_of(callback):
    """The handler that is calling an event of a callback, found among the callers.

    Args:
        callback (`TrainerCallback`): the one that asks, in one of its events.

    Returns:
        `CallbackHandler` or `None`, where something else called the event
    """
    return _caller(lambda caller: isinstance(caller, CallbackHandler) and callback in caller.callbacks)


def trainer_of(callback):
    """The Trainer that is calling an event of a callback.

    Args:
        callback (`TrainerCallback`): the one that asks, in one of its events.

    Returns:
        `Trainer` or `None`, where something else called the event
    """
    return _caller(lambda caller: isinstance(caller, Trainer) and callback in caller.callback_handler.callbacks)


def _caller(is_wanted):
    """The nearest object among the `self` of the caller's callers of which something is true, or `None`."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if is_wanted(caller):
            return caller
        frame = frame.f_back
    return None


def move_to_front(callback):
    """Stand before the reporters (TensorBoard, W&B, ...), which the Trainer puts before a user's callbacks.

    They read `logs` in `on_log`, so what is added after them never reaches them.

    Args: callback (`TrainerCallback`): in one of its events.
    """
    handler = handler_of(callback)
    if handler is not None and handler.callbacks[0] is not callback:
        handler.callbacks.remove(callback)
        handler.callbacks.insert(0, callback)


def move_to_back(callback):
    """Stand behind all other callbacks, whose work in the same event is then done.

    Args: callback (`TrainerCallback`): in one of its events.
    """
    handler = handler_of(callback)
    if handler is not None and handler.callbacks[-1] is not callback:
        # Another list: the event that goes through this one would leave out the next callback.
        handler.callbacks = [*(one for one in handler.callbacks if one is not callback), callback]


def write_into_log(values, logs, state):
    """Add figures to a log, in `on_log`.

    Args: values (`dict`); logs (`dict`): what the reporters get; state (`TrainerState` or `None`, if none keeps it).
    """
    logs.update(values)
    if state is not None and state.log_history:
        state.log_history[-1].update(values)  # a copy of `logs`, made before the callbacks were asked


def reporter(handler, class_name):
    """A reporting callback of `transformers`, or `None` where the run does not report there.

    Args: handler (`CallbackHandler` or `None`); class_name (`str`), such as `"TensorBoardCallback"`.
    """
    callbacks = handler.callbacks if handler is not None else ()
    return next((one for one in callbacks if type(one).__name__ == class_name), None)
