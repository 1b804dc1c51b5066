"""A signal while a model trains: its step is finished and saved, and training ends."""

import logging
import os
import random
from contextlib import contextmanager

import numpy as np
import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..signals import CTRL_C, Stopped, StopRequest
from .handler import handler_of, move_to_back, reporter, trainer_of


logger = logging.getLogger(__name__)


class RTDSignalCallback(TrainerCallback, ExportableState):
    """Saves within the step and ends training when the process is asked to end.

    `Trainer(..., callbacks=[..., RTDSignalCallback()])`, as the last one given. SIGTERM, SIGUSR1 and SIGHUP
    (pre-emption, `scancel`, SLURM's `--signal`, a closed terminal) and a first Ctrl-C let the step under way finish,
    save a checkpoint whatever `save_strategy` says, and raise [`Stopped`] out of `trainer.train()`. A script that does
    not catch that ends with status 0 (130 after Ctrl-C), and `trainer.train(resume_from_checkpoint=True)` goes on as
    if nothing had been. A second Ctrl-C ends at once, without saving. With gradient accumulation a step is all of it.

    An evaluation between steps is broken off, and made up for when the run goes on: so that nothing else depends on
    it, the random numbers after an evaluation are those before it.

    Of several processes, all stop at the same step, whichever was asked: after each step, and in each step of an
    evaluation, they agree by one number over the CPU. Signals are handled where training begins in the main thread;
    what was handled before is put back at its end.

    Args:
        before_save (list of functions): called, in all processes, before a checkpoint is saved that nobody else knew
            of.

    Attributes:
        stopped (`int` or `None`): the number of the signal that ended training.
    """

    def __init__(self, before_save=()):
        self.before_save = list(before_save)
        self.stopped: int | None = None
        self._request = StopRequest(_is_training)
        self._group = None  # of processes, for agreeing
        self._trains = False  # from the first step of this session on
        self._saved_at: int | None = None  # the step of the last checkpoint, from then on
        self._owes_evaluation, self._is_epoch_over, self._has_trained = False, False, False
        self._random = None  # the states of the generators before an evaluation

    def state(self):
        return {"args": {}, "attributes": {"_owes_evaluation": self._owes_evaluation}}

    # ---- Events of the Trainer, in their order ----

    def on_train_begin(self, args, state, control, **kwargs):
        move_to_back(self)  # a checkpoint is saved when all others are done with it
        kept = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        kept = kept[0] if isinstance(kept, list) else kept
        self._owes_evaluation = kept["attributes"]["_owes_evaluation"]
        self._saved_at, self.stopped, self._request = state.global_step, None, StopRequest(_is_training)
        self._request.expect()
        if args.world_size > 1 and torch.distributed.is_initialized() and self._group is None:
            self._group = torch.distributed.new_group(backend="gloo")  # no step waits for a GPU because of this

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._is_epoch_over = False
        if self._owes_evaluation:
            self._evaluate_now(args, state, trainer_of(self))

    def on_step_begin(self, args, state, control, **kwargs):
        self._trains, self._random = True, None
        self._request.watch()  # before it there is nothing to save

    def on_step_end(self, args, state, control, **kwargs):
        if self._is_asked():
            control.should_training_stop = True
            # The last step of an epoch is saved at the epoch's end, which comes next: with what is due there.
            self._save_instead_of_evaluating(args, control, save=not _is_end_of_epoch(state))
        elif control.should_evaluate:
            self._random = _random_states()

    def on_epoch_end(self, args, state, control, **kwargs):
        self._is_epoch_over = True
        if self._trains and (self.stopped is not None or self._is_asked()):
            is_new = self._saved_at != state.global_step or control.should_evaluate
            self._save_instead_of_evaluating(args, control, save=is_new)
            if not is_new:
                self._end()
        elif control.should_evaluate:
            self._random = _random_states()

    def on_prediction_step(self, args, state, control, **kwargs):
        if self._random is None or not self._trains or not self._is_asked():
            return
        self._save_instead_of_evaluating(args, control, save=True)
        self._owes_evaluation = True
        # Of several held-out texts, some are in the log already.
        state.log_history = [row for row in state.log_history if not _is_evaluation(row, state.global_step)]
        _set_random_states(self._random)
        _save(trainer_of(self))

    def on_evaluate(self, args, state, control, **kwargs):
        if self._random is not None:
            _set_random_states(self._random)

    def on_save(self, args, state, control, **kwargs):
        self._saved_at = state.global_step
        if not self._trains:
            return
        if self.stopped is None and (self._is_epoch_over or not _is_end_of_epoch(state)) and self._is_asked():
            self.stopped = self._request.number
        if self.stopped is not None:
            self._end()

    def on_train_end(self, args, state, control, **kwargs):
        was_asked = self._trains and self._is_asked()  # after the last step was saved
        self.close()
        self._has_trained = True
        if was_asked:
            self.stopped = self._request.number
            raise Stopped(number=self.stopped, saved=self._saved_at == state.global_step)

    # ---- After training ----

    def close(self):
        """Put back the handlers that were there before: also where training broke off."""
        self._trains, self._random = False, None
        self._request.unwatch()

    @contextmanager
    def last_steps_kept(self, trainer):
        """What ends a run, such as a last evaluation and an export: if it is interrupted, nothing trained is lost.

        Args:
            trainer (`Trainer`): that trains, or has trained.

        Raises:
            Stopped: in place of another interrupt, where all steps are saved now, or were before.
        """
        try:
            yield
        except KeyboardInterrupt as interrupt:
            if not self._has_trained or (isinstance(interrupt, Stopped) and interrupt.saved):
                raise
            if self._saved_at != trainer.state.global_step:
                # Several processes are interrupted at different places, and cannot save together; and when the best
                # weights are back, the last ones are gone.
                if trainer.args.world_size > 1 or trainer.args.load_best_model_at_end:
                    raise
                logger.info("The last steps are in no checkpoint yet: they are saved first.")
                trainer.args.save_only_model = False
                _save(trainer)
            number = interrupt.number if isinstance(interrupt, Stopped) else CTRL_C
            raise Stopped(number=number, saved=True) from interrupt

    # ---- What they do ----

    def _is_asked(self):
        """Whether any process was asked to end: the same answer in all of them."""
        if self._group is not None:
            number = torch.tensor(self._request.number or 0)
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=self._group)
            self._request.number = int(number) or None
        return self._request.number is not None

    def _evaluate_now(self, args, state, trainer):
        """What the session before left out. Random numbers of training are taken from the checkpoint after this."""
        checkpoint = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        if args.world_size > 1:
            torch.manual_seed(args.seed + state.global_step)  # releases before 5.23 draw the order of held-out batches
        elif os.path.isdir(checkpoint):
            trainer._load_rng_state(checkpoint)
        metrics = trainer._evaluate(None, None)
        if trainer._determine_best_metric(metrics=metrics, trial=None):
            state.best_model_checkpoint = checkpoint
        self._owes_evaluation = False

    def _save_instead_of_evaluating(self, args, control, save):
        self.stopped = self._request.number
        self._owes_evaluation |= control.should_evaluate
        control.should_evaluate, control.should_save = False, save
        args.save_only_model = False  # without an optimiser nobody can go on
        if save:
            control.should_log = True  # what was counted since the last log is in no checkpoint
            for call in self.before_save:
                call()

    def _end(self):
        self.close()
        board = reporter(handler_of(self), "TensorBoardCallback")
        if board is not None and board.tb_writer is not None:
            board.tb_writer.flush()
        raise Stopped(number=self.stopped, saved=True)


def _is_training(frame):
    """Whether a frame was called, by however many others, by `Trainer.train`: `bool`."""
    while frame is not None:
        if frame.f_code.co_name == "train" and isinstance(frame.f_locals.get("self"), Trainer):
            return True
        frame = frame.f_back
    return False


def _save(trainer):
    trainer._save_checkpoint(trainer.model, trial=None)
    handler = trainer.callback_handler
    trainer.control = handler.on_save(trainer.args, trainer.state, trainer.control)


def _is_end_of_epoch(state):
    return float(state.epoch).is_integer()


def _is_evaluation(row, step):
    return row["step"] == step and any(name.startswith("eval_") for name in row)


def _random_states():
    """Of all generators that a checkpoint has."""
    on_cards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_cards


def _set_random_states(states):
    of_python, of_numpy, of_torch, on_cards = states
    random.setstate(of_python)
    np.random.set_state(of_numpy)
    torch.set_rng_state(of_torch)
    if on_cards:
        torch.cuda.set_rng_state_all(on_cards)
