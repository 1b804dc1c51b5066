"""How every arm is trained: the stock Trainer, the same rows in the same order, the same schedule."""

import contextlib
import time
import warnings

from transformers import ElectraForPreTraining, Trainer, TrainerCallback, TrainingArguments

from electra_rtd.train_tools.epoch_order import EpochOrder
from electra_rtd.train_tools.fast import GROUPING


WARMUP = 0.1  # of the steps
WEIGHT_DECAY = 0.01
MAX_LENGTH = 128  # tokens of a row


def training_arguments(folder, steps, rate, *, rows, seed=0, **changes):
    """What all arms share, but for what an arm is about (`changes`).

    Args:
        folder (`Path`); steps (`int`); rate (`float`): the learning rate after the warm-up; rows (`int`): of a batch.
        seed (`int`): of the order of rows and of all chance.

    Returns:
        `TrainingArguments`
    """
    fields = {
        "output_dir": str(folder),
        "max_steps": steps,
        "learning_rate": rate,
        "per_device_train_batch_size": rows,
        "per_device_eval_batch_size": rows,
        "warmup_steps": round(WARMUP * steps),
        "weight_decay": WEIGHT_DECAY,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch_fused",
        GROUPING[0]: GROUPING[1],
        "logging_steps": max(1, steps // 20),
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": seed,
    }
    return TrainingArguments(**{**fields, **changes})


class Counter(TrainerCallback):
    """Counts what a training reads and how long it takes.

    Attributes:
        tokens (`int`): attended ones, special tokens among them, as `adapt` counts.
        seconds (`float`): from the first step to the last, loading of batches included.
    """

    def __init__(self):
        self.tokens, self.seconds = 0, 0.0
        self._began, self._hook = 0.0, None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._hook = model.register_forward_pre_hook(self._count, with_kwargs=True)
        self._began = time.perf_counter()

    def on_train_end(self, args, state, control, **kwargs):
        self.seconds += time.perf_counter() - self._began
        self._hook.remove()

    def _count(self, module, arguments, named):
        if module.training:
            self.tokens += int(named["attention_mask"].sum())


def train_stock(model, rows, collator, tokenizer, arguments, trainer_class=Trainer):
    """Train a model in place.

    Args:
        model (`nn.Module`); rows (`Dataset`): with `input_ids`; collator (callable).
        tokenizer (`PreTrainedTokenizerFast`); arguments (`TrainingArguments`); trainer_class (type of `Trainer`).

    Returns:
        [`Counter`], and the Trainer's log, a `list[dict]`
    """
    counter = Counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        trainer = trainer_class(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            processing_class=tokenizer,
            callbacks=[counter, EpochOrder()],
        )
        trainer.train()
    return counter, trainer.state.log_history


def keep_encoder(encoder, tokenizer, job, counter, log):
    """Write a discriminator with a trained encoder; its RTD head is the old one, which fine-tuning does not read.

    Args:
        encoder (`ElectraModel`); tokenizer (`PreTrainedTokenizerFast`); job ([`Job`]).
        counter ([`Counter`]), log (`list[dict]`): of [`train_stock`].

    Returns:
        `dict`: the fields of [`Trained`]
    """
    whole = ElectraForPreTraining.from_pretrained(job.start.discriminator)
    whole.electra.load_state_dict(encoder.state_dict())
    whole.save_pretrained(job.folder / "discriminator")
    tokenizer.save_pretrained(job.folder / "discriminator")
    losses = [row["loss"] for row in log if "loss" in row]
    return {
        "discriminator": "discriminator",
        "steps": job.steps,
        "tokens": counter.tokens,
        "seconds": counter.seconds,
        "losses": {"first": losses[0], "last": losses[-1]} if losses else {},
    }
