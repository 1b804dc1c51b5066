"""Settings of the objective that change over training, under the stock Trainer."""

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..schedule import FIELDS, SYNTAX, Schedule, describe_schedules, setting
from .handler import move_to_front, write_into_log


class RTDScheduleCallback(TrainerCallback, ExportableState):
    """Changes `sampling_temperature`, `disc_weight` or `mask_prob` of a pair from step to step.

    `Trainer(..., callbacks=[RTDMetricsCallback(), RTDScheduleCallback(sampling_temperature="2.0:1.0")])`. A value
    depends on the step and on the number of steps alone, so that a resumed run goes on exactly; like the learning
    rate's, it is another one in a run of another length. Each training log has the value of its last step, under the
    field's name, beside the learning rate.

    `model.config` holds a value within a training step alone. At any other time it has those of the end, from the
    making of the Trainer on: so evaluations of a run can be compared with each other, and a checkpoint says what the
    run leads to, whenever it was saved. (Training that breaks off within a step leaves the value of that step.) It
    draws no random number, and layers that `adapt` compiles are not compiled again: these settings are outside of
    them. A collator that masks makes `mask_prob` and its schedule mean nothing.

    Args:
        **schedules ([`Schedule`] or `str`): by the name of the field; a text as of [`Schedule.parse`].

    Raises:
        ValueError: none is given; another field; no schedule, or values that the configuration does not allow.
    """

    def __init__(self, **schedules):
        if not schedules or not schedules.keys() <= set(FIELDS):
            raise ValueError(f"{', '.join(schedules) or 'Nothing'} cannot be scheduled: give {', '.join(FIELDS)}.")
        self.schedules = {name: setting(name, value) for name, value in schedules.items()}
        for name, value in self.schedules.items():
            if not isinstance(value, Schedule):
                raise ValueError(f"`{name}={value}` is no schedule: {SYNTAX}. One value goes into the configuration.")
        self._now: dict[str, float] = {}  # of the last step

    def state(self):
        return {"args": describe_schedules(self.schedules), "attributes": {}}

    def on_init_end(self, args, state, control, model=None, **kwargs):
        move_to_front(self)
        self._set_end(model)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        move_to_front(self)
        self._set_end(model)  # `model_init` makes a new model for each run
        # The Trainer looks it up when it saves, and a checkpoint of a run without schedules does not have it.
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self._now = {name: one.value(state.global_step, state.max_steps) for name, one in self.schedules.items()}
        _set(model, self._now)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self._set_end(model)  # before the Trainer logs, evaluates and saves

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is not None and "loss" in logs and self._now:
            write_into_log(self._now, logs, state)

    def _set_end(self, model):
        _set(model, {name: one.end for name, one in self.schedules.items()})


def _set(model, values):
    for name, value in values.items():
        setattr(model.config, name, value)
