"""Under the Trainer: batches in their order, and where the stream is in every checkpoint."""

import json
import logging
import os
from pathlib import Path

from torch.utils.data import RandomSampler, SequentialSampler
from transformers import TrainerCallback

from ..epoch_order import batches_of


logger = logging.getLogger(__name__)

STATE_FILES = "stream-*.json"  # in a checkpoint, one of each process


class StreamCallback(TrainerCallback):
    """Makes a [`StreamedRows`] be read in its order, and writes its state into the checkpoints.

    The Trainer would draw places in a data set of known length. A release that has no setting for that (before 5.3)
    needs another sampler; all of them take it from here.

    Args: rows ([`StreamedRows`]); settings (`dict`): what a run that goes on must have alike, see [`read_state`].
    """

    def __init__(self, rows, settings):
        self._rows, self._settings = rows, settings

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        batches = batches_of(train_dataloader)
        if not isinstance(batches.sampler, (RandomSampler, SequentialSampler)):
            raise ValueError(
                "`streaming` gives rows in their order, and the Trainer's sampler is a "
                f"{type(batches.sampler).__name__}. Leave the option out that asks for it."
            )
        batches.sampler = SequentialSampler(self._rows)

    def on_save(self, args, state, control, **kwargs):
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        used = state.global_step * args.gradient_accumulation_steps * args.world_size
        number = self._rows.plan.lanes
        lanes = range(args.process_index, number, args.world_size)
        states = {str(lane): self._rows.state_of(lane, lane_batches(used, lane, number)) for lane in lanes}
        content = {"settings": self._settings, "batches": used, "lanes": states}
        file = checkpoint / STATE_FILES.replace("*", f"{args.process_index:05d}")
        staged = file.with_suffix(".new")
        staged.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        os.replace(staged, file)

    def on_train_end(self, args, state, control, **kwargs):
        if args.process_index > 0:
            return
        used = state.global_step * args.gradient_accumulation_steps * args.world_size
        plan = self._rows.plan
        begun = [self._rows.state_of(lane, lane_batches(used, lane, plan.lanes)) for lane in range(plan.lanes)]
        for place, source in enumerate(plan.sources):
            passes = max((one["sources"][place]["text"]["pass"] for one in begun if one is not None), default=0)
            if passes:
                logger.info(f"Stream: {source.name} ended, and was begun again {passes} time(s).")


def lane_batches(batches, lane, lanes):
    """How many of the first batches of a run are those of a lane: `int`. Args: batches, lane, lanes (`int`)."""
    return max(0, -(-(batches - lane) // lanes))


def read_state(checkpoint, settings, batches):
    """The states of all lanes in a checkpoint.

    Args:
        checkpoint (`str` or path); settings (`dict`): of this run, by field; batches (`int`): of the steps before.

    Returns:
        `dict[int, dict]`: by lane; a lane that nothing was read of has none.

    Raises:
        ValueError: there is no state, or it is of a run that read otherwise.
    """
    refuse_other_reading(checkpoint, is_streamed=True)
    files = sorted(Path(checkpoint).glob(STATE_FILES))
    states: dict[int, dict] = {}
    for file in files:
        content = json.loads(file.read_text(encoding="utf-8"))
        for name, value in content["settings"].items():
            if settings.get(name) != value:
                raise ValueError(
                    f"`{name}` is {_shown(settings.get(name))}, in the run that is resumed it was {_shown(value)}: "
                    "the stream would give other rows than those that are left. Give it as it was."
                )
        if content["batches"] != batches:
            raise ValueError(
                f"The run that is resumed had read {content['batches']} batches, and with this number of processes "
                f"and `gradient_accumulation_steps` it would be {batches}. Give them as they were, or so that a step "
                "has as many rows."
            )
        states |= {int(lane): state for lane, state in content["lanes"].items()}
    missing = sorted({*range(settings["lanes"])} - {*states})
    if missing:
        raise ValueError(
            f"{checkpoint} lacks the state of {len(missing)} of {settings['lanes']} lanes of the stream: it holds "
            f"{', '.join(file.name for file in files)}. Put the files of all processes there."
        )
    return {lane: state for lane, state in states.items() if state is not None}


def refuse_other_reading(checkpoint, *, is_streamed):
    """Refuse to go on with a stream as with a text of known length, or the other way round.

    Args: checkpoint (`str` or path): of the run that goes on; is_streamed (`bool`): how it reads now.
    Raises: ValueError
    """
    was_streamed = any(Path(checkpoint).glob(STATE_FILES))
    if is_streamed and not was_streamed:
        raise ValueError(
            f"{checkpoint} holds no state of a stream: its run was not made with `streaming`. Leave it out, or begin "
            "anew with another `output_dir`."
        )
    if was_streamed and not is_streamed:
        raise ValueError(f"The run of {checkpoint} streamed its text: give `streaming`, and what belongs to it, too.")


def lanes_of(checkpoint):
    """How many lanes the run had that goes on: `int`, or `None` without a state. Args: checkpoint (`str` or path)."""
    for file in Path(checkpoint).glob(STATE_FILES):
        return json.loads(file.read_text(encoding="utf-8"))["settings"]["lanes"]
    return None


def _shown(value):
    return f"{', '.join(map(str, value[:3]))}, ..." if isinstance(value, list) and len(value) > 3 else value
