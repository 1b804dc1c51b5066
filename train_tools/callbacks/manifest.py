"""Checkpoints that can be trusted: each gets a manifest when all else of it is there; older ones go after that."""

from pathlib import Path

from accelerate.state import PartialState
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..manifest import write_manifest
from ..rotation import rotate
from .handler import move_to_back


class RTDManifestCallback(TrainerCallback, ExportableState):
    """Writes `checkpoint_manifest.json` into each checkpoint of the Trainer: names, sizes and hashes of its files.

    `Trainer(..., callbacks=[RTDManifestCallback()])` is all there is to do, with any model. A run that was killed goes
    on with `trainer.train(resume_from_checkpoint=newest_whole_checkpoint(output_dir))`: the Trainer's own choice is
    the highest number, whole or not.

    The manifest comes last, after all processes have written their parts and all other callbacks are done; every file
    is read once for it: about a second a GB. The Trainer removes old checkpoints (`save_total_limit`) before any
    callback is asked, so that a kill between the two could leave none that is whole. Therefore this callback does it,
    by the same rules, when the manifest is there; while training goes on, the Trainer sees no `save_total_limit`. One
    thing differs: with a limit of 1, the Trainer removes the last checkpoint at the end of training if another one is
    the best; it is kept here, since a finished run that is resumed goes on from there, to itself.

    Under several processes the main one writes, with `save_on_each_node` one on each machine, and the others wait. A
    search for hyperparameters has folders of its own, and is left as it is.
    """

    def __init__(self):
        self._limit: int | None = None  # `save_total_limit`, while the Trainer does not see it

    def state(self):
        """Nothing; that it is in `trainer_state.json` says that the checkpoint has to have a manifest."""
        return {"args": {}, "attributes": {}}

    def on_train_begin(self, args, state, control, **kwargs):
        move_to_back(self)
        # The Trainer looks it up when it saves, and a checkpoint of an earlier release does not have it.
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        if not state.is_hyper_param_search and args.save_total_limit is not None:
            self._limit, args.save_total_limit = args.save_total_limit, None

    def on_train_end(self, args, state, control, **kwargs):
        if self._limit is not None:
            args.save_total_limit, self._limit = self._limit, None

    def on_save(self, args, state, control, **kwargs):
        if state.is_hyper_param_search:
            return
        processes = PartialState()
        processes.wait_for_everyone()  # each has written its own part of the checkpoint
        if args.should_save:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_manifest(checkpoint)
            rotate(checkpoint, self._limit, best=state.best_model_checkpoint)
        processes.wait_for_everyone()  # nobody goes on, or ends, while it is not whole
