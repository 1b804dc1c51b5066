"""What settings of the stock Trainer are worth: sixty steps with each, and the first once more at the end."""

import tempfile
import time

import torch
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ..contenders.common import LEARNING_RATE
from .steps import OURS


STEPS, COUNTED_FROM = 60, 20
# What differs from the defaults. Each adds to those before it.
NO_FILTER = {"logging_nan_inf_filter": False}
NOT_WAITING = {**NO_FILTER, "accelerator_config": {"non_blocking": True}}
SETTINGS = {
    "defaults": {},
    "nan filter off": NO_FILTER,
    "and copies that do not wait": NOT_WAITING,
    "and two loader workers": {**NOT_WAITING, "dataloader_num_workers": 2, "dataloader_persistent_workers": True},
    "defaults, again": {},
}


class Timer(TrainerCallback):
    """The time from one step to the last, on a device that has done all of it.

    Args: device (`torch.device`); first (`int`): the step after which it starts.
    """

    def __init__(self, device, first):
        self.device, self.first, self.start, self.seconds = device, first, 0.0, 0.0

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step not in (self.first, state.max_steps):
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        if state.global_step == self.first:
            self.start = time.perf_counter()
        else:
            self.seconds = (time.perf_counter() - self.start) / (state.max_steps - self.first)


def each_setting(bench, case, steps=STEPS, counted_from=COUNTED_FROM):
    """Train ours with each of the settings on the same rows.

    Args: bench ([`Bench`]); case ([`Case`]): its shape, and its rows a batch; steps, counted_from (`int`).
    Returns: `dict`: milliseconds of a step with each setting.
    """
    milliseconds, failed = {}, {}
    for name, settings in SETTINGS.items():
        if bench.clock.left() < 0 and milliseconds:
            failed[name] = "no time left"
            continue
        milliseconds[name] = 1000 * _train(bench, case, settings, steps, counted_from)
    return {
        "case": {"shape": case.shape, "batches": case.batches, "rows": case.rows},
        "steps": steps - counted_from,
        "milliseconds": milliseconds,
        "failed": failed,
    }


def _train(bench, case, settings, steps, counted_from):
    timer = Timer(bench.device, counted_from)
    bench.forget(case.shape, OURS, "trainer")  # accelerate wraps what it has prepared, once more each time
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=bench.training(case.shape, OURS, again="trainer").model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=case.rows,
                learning_rate=LEARNING_RATE,
                optim="adamw_torch_fused",
                bf16=True,
                logging_steps=50,  # as `adapt` logs
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=0,
                use_cpu=bench.device.type == "cpu",
                dataloader_pin_memory=bench.device.type == "cuda",
                **settings,
            ),
            train_dataset=[{"input_ids": row} for row in bench.tokens.rows],
            data_collator=DataCollatorWithPadding(bench.tokens.tokenizer()),
            callbacks=[timer],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return timer.seconds
