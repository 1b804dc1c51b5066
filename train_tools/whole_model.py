"""A Trainer of several processes before and after it trains: with the whole model, as one process has it."""

from contextlib import contextmanager
from pathlib import Path

from transformers import TrainerCallback

from .callbacks.processes import forget_preparation


@contextmanager
def before_training(trainer):
    """Runs evaluations before training, and leaves the Trainer as if there had been none.

    Evaluating alone prepares the model for evaluating. `accelerate` does not prepare it again when training begins:
    without DDP around it, each process would then train a model of its own, and nothing would say so. And of weights
    that training is to take apart (FSDP, ZeRO-2) it evaluates nothing before that: here each process reads its share
    of the held-out text with the whole model. Under ZeRO-3 the weights are in parts from the start, and stay so.

    Args:
        trainer (`Trainer`): not trained yet.
    """
    if trainer.is_deepspeed_enabled and trainer.accelerator.state.deepspeed_plugin.zero_stage == 3:
        yield
        return
    model, device = trainer.model, trainer.model.device
    by_fsdp, by_deepspeed = trainer.is_fsdp_enabled, trainer.is_deepspeed_enabled
    trainer.is_fsdp_enabled = trainer.is_deepspeed_enabled = False
    model.to(trainer.args.device)  # where training takes weights apart, the Trainer leaves them where they are
    try:
        yield
    finally:
        trainer.is_fsdp_enabled, trainer.is_deepspeed_enabled = by_fsdp, by_deepspeed
        forget_preparation(model)
        trainer.accelerator._models.clear()
        trainer.model_wrapped = model
        model.to(device)


class TokenizerWithParts(TrainerCallback):
    """Saves tokenizer and configuration with a checkpoint in parts, for which the Trainer saves neither.

    It stands before what closes a checkpoint ([`RTDManifestCallback`]).
    """

    def on_save(self, args, state, control, model=None, processing_class=None, **kwargs):
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if args.should_save and not (checkpoint / "config.json").exists():
            model.config.save_pretrained(checkpoint)
            processing_class.save_pretrained(checkpoint)


def save_whole(trainer, folder):
    """Save the model in one piece. All processes have to ask, and the main one writes.

    Args:
        trainer (`Trainer`): which may have its weights in parts.
        folder (`str` or path)
    """
    if trainer.is_fsdp_enabled:  # checkpoints in parts (`SHARDED_STATE_DICT`) are for going on alone
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder), _internal_call=True)
