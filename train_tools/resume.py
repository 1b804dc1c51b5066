"""Going on with a run: what its checkpoint must hold, what it counted, and a run that is finished already."""

import math
import time
from dataclasses import replace
from pathlib import Path

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState, TrainerState

from ..hub_tools.run_record import STATE_FILE, callback_state, earlier_results
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from .checkpoint_contents import has_optimizer


class RunTotals(TrainerCallback, ExportableState):
    """What a run has read and how long it has trained, over all of its sessions: written into its checkpoints.

    Args:
        metrics ([`RTDMetricsCallback`]): who counts the tokens of this session; it stands before this callback.
        tokens (`int`), seconds (`float`): of the sessions before.
    """

    def __init__(self, metrics, tokens=0, seconds=0.0):
        self.tokens, self.seconds = tokens, seconds
        self._metrics, self._earlier = metrics, (tokens, seconds)
        self._began: float | None = None  # none while there is no training

    def state(self):
        return {"args": {"tokens": self.tokens, "seconds": self.seconds}, "attributes": {}}

    def on_train_begin(self, args, state, control, **kwargs):
        self._began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save:  # the same in every process: all of them have to be asked
            self.count()

    on_epoch_end = on_step_end

    def on_evaluate(self, args, state, control, **kwargs):
        if self._began is not None:  # `save_strategy="best"` decides after it
            self.count()

    def on_train_end(self, args, state, control, **kwargs):
        self.count()
        self._began = None

    def count(self):
        """Bring both figures up to date, while it trains. Every process has to ask."""
        assert self._began is not None
        tokens, seconds = self._earlier
        self.tokens = tokens + self._metrics.tokens_seen()
        self.seconds = seconds + time.perf_counter() - self._began


class LogWithCheckpoint(TrainerCallback):
    """Has the Trainer log at each step that it saves or evaluates: so a resumed run has the log of an undisturbed one.

    The loss and what callbacks count since the last log are in no checkpoint: the first log of the run that goes on
    would be a mean over fewer steps. It stands behind whoever decides that something is saved.
    """

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save or control.should_evaluate:  # after the log, an evaluation may be saved, or be cut
            control.should_log = True

    on_epoch_end = on_step_end


def read_totals(checkpoint):
    """What [`RunTotals`] wrote into a checkpoint.

    Args:
        checkpoint (`str`, path or `None`): a checkpoint of the Trainer.

    Returns:
        `dict`: `tokens` and `seconds`; empty where there is none.
    """
    return callback_state(checkpoint, RunTotals.__name__) if checkpoint else {}


def is_finished(trainer, checkpoint):
    """Whether a checkpoint is at the end of the run already. The Trainer would take one more step.

    Args:
        trainer (`Trainer`)
        checkpoint (`str`, path or `None`): where it is to go on.

    Returns:
        `bool`
    """
    if checkpoint is None:
        return False
    return TrainerState.load_from_json(str(Path(checkpoint) / STATE_FILE)).global_step >= _steps_in_all(trainer)


def _steps_in_all(trainer):
    """As the Trainer counts them."""
    args = trainer.args
    if args.max_steps > 0:
        return args.max_steps
    steps_in_epoch = max(1, -(-len(trainer.get_train_dataloader()) // args.gradient_accumulation_steps))
    return math.ceil(args.num_train_epochs * steps_in_epoch)


def refuse_without_optimizer(checkpoint):
    """Refuse to go on from weights alone.

    Args:
        checkpoint (`str` or path)

    Raises:
        ValueError: the Trainer would begin with a new optimiser and a new warm-up, and say nothing.
    """
    if not has_optimizer(checkpoint):
        raise ValueError(
            f"{checkpoint} holds weights, but no state of an optimiser (`save_only_model`): the run cannot go on as "
            "it would have. To start a new run from its weights, with a warm-up of its own: "
            f"`checkpoint={checkpoint}` with another `output_dir`."
        )


def restore_finished(trainer, checkpoint):
    """Give the Trainer state and weights of a run that is finished, as if it had just trained it.

    Args:
        trainer (`Trainer`): not trained yet.
        checkpoint (`str` or path): the last one of the run.

    Raises:
        ValueError: the weights lie in parts, which only training puts together.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise ValueError(f"{checkpoint} is the end of its run: there is nothing to go on with. Leave `resume` out.")
    output_dir, state = Path(trainer.args.output_dir), TrainerState.load_from_json(str(Path(checkpoint) / STATE_FILE))
    if (output_dir / STATE_FILE).is_file():  # written after the checkpoint's: it has the closing row of training
        closing = TrainerState.load_from_json(str(output_dir / STATE_FILE))
        state = closing if closing.global_step == state.global_step else state
    trainer.state = state
    source = Path(checkpoint)
    if trainer.args.load_best_model_at_end and state.best_model_checkpoint is not None:
        best = source.with_name(Path(state.best_model_checkpoint).name)
        source = best if best.is_dir() else source
    weights = ElectraRTDForPreTraining.from_pretrained(source, dtype=torch.float32).state_dict()
    trainer.model.load_state_dict(weights)


def as_written_before(output_dir, result, run):
    """What a finished run cost and how it was made, as it has written that down already.

    Args:
        output_dir (`str` or path)
        result ([`AdaptResult`]), run (`dict`, see [`describe_run`]): of this session, which trained nothing.

    Returns:
        the two, with what is known from before
    """
    earlier = earlier_results(output_dir, result.steps)
    kept = {name: earlier[name] for name in ("tokens_seen", "tokens_per_second", "seconds") if name in earlier}
    return replace(result, **kept), {name: earlier.get(name, value) for name, value in run.items()}
