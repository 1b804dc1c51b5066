"""The Trainer's list of callbacks, which no public way leads to from one of them."""

import sys
from types import FrameType

from transformers.trainer_callback import CallbackHandler


def handler_of(callback):
    """The handler that is calling an event of a callback, found among the callers.

    Args:
        callback (`TrainerCallback`): the one that asks, in one of its events.

    Returns:
        `CallbackHandler` or `None`, where something else called the event
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, CallbackHandler) and callback in caller.callbacks:
            return caller
        frame = frame.f_back
    return None


def reporter(handler, class_name):
    """A reporting callback of `transformers`, or `None` where the run does not report there.

    Args: handler (`CallbackHandler` or `None`); class_name (`str`), such as `"TensorBoardCallback"`.
    """
    callbacks = handler.callbacks if handler is not None else ()
    return next((one for one in callbacks if type(one).__name__ == class_name), None)
