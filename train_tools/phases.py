"""What changes in the course of a run of `adapt`: settings by their schedules, and which network learns."""

import logging

from ..hub_tools.run_record import callback_state
from .callbacks import RTDScheduleCallback, RTDWarmUpCallback
from .schedule import FIELDS, describe_schedules


logger = logging.getLogger(__name__)


def phase_callbacks(arguments, last_checkpoint=None):
    """The callbacks that a run needs for what was asked. A run that goes on otherwise than it began says so.

    Args:
        arguments ([`AdaptArguments`])
        last_checkpoint (`str`, path or `None`): of the run that is resumed.

    Returns:
        `list` of `TrainerCallback`: empty where nothing changes.
    """
    schedules = schedules_of(arguments)
    callbacks = [RTDScheduleCallback(**schedules)] if schedules else []
    if arguments.generator_warmup is not None:
        callbacks.append(RTDWarmUpCallback(arguments.generator_warmup, then_freeze=arguments.freeze == "generator"))
    if last_checkpoint is not None:
        now = {type(callback).__name__: callback.state()["args"] for callback in callbacks}
        for kind in (RTDScheduleCallback, RTDWarmUpCallback):
            _warn_of_other(kind, callback_state(last_checkpoint, kind.__name__), now.get(kind.__name__, {}))
    return callbacks


def schedules_of(arguments):
    """The settings that change. Args: arguments ([`AdaptArguments`]). Returns: `dict` from fields to texts."""
    return describe_schedules({name: getattr(arguments, name) for name in FIELDS})


def _warn_of_other(kind, then, now):
    if then == now:
        return
    what = "schedules" if kind is RTDScheduleCallback else "a warm-up of the generator"
    words = [", ".join(f"`{name}={value}`" for name, value in one.items()) or "none" for one in (then, now)]
    logger.warning(
        f"The run that is resumed had {what}: {words[0]}. It goes on with: {words[1]}. The rest of it will differ "
        "from what it would have been. To go on as before, give what it had."
    )
