"""`Trainer.train()` of ours against the bare step on the very same batches: `make bench-trainer`.

Both run in one process and take turns at each step. A step of the Trainer is everything from one bare step to the
next: training on a batch, callbacks, logging, and fetching the batch after it.
"""

import argparse
import tempfile
import time

import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from electra_rtd.train_tools import RTDMetricsCallback

from .contenders.common import LEARNING_RATE, Setup
from .contenders.ours import build
from .machine import add_machine_options, choose_device, describe_machine, write_run
from .rounds import paired_ratio, vocab_rows
from .shapes import SHAPES
from .step import DTYPES
from .text import add_text_options, read_rows


BATCH_SIZE = 16
LOGGING_STEPS = 10  # five times as often as a user would log


class MeasuredTrainer(Trainer):
    """The stock Trainer with a clock that stops while somebody else takes a turn.

    Args:
        take_turn (callable): called with the rows of token ids of each batch, before the Trainer trains on it.
        *arguments, **kwargs: of `Trainer`.
    """

    def __init__(self, *arguments, take_turn, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.take_turn = take_turn
        self.step_seconds: list[float] = []
        self.wait_seconds: list[float] = []  # for batches
        self._resumed_at: float | None = None

    def get_batch_samples(self, *arguments, **kwargs):
        """Where the Trainer takes its next batch from; arguments and result as there."""
        asked_at = time.perf_counter()
        samples = super().get_batch_samples(*arguments, **kwargs)
        self._stop_clock(asked_at)
        for batch in samples[0]:
            self.take_turn(unpad(batch))
        self._resumed_at = time.perf_counter()
        return samples

    def _stop_clock(self, asked_at):
        if self.args.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._resumed_at is not None:
            self.step_seconds.append(now - self._resumed_at)
            self.wait_seconds.append(now - asked_at)


def unpad(batch):
    """Args: batch (`dict` of int64 `(B, L)`). Returns: `list[list[int]]`, the rows without padding."""
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    return [tokens[attended.bool()].tolist() for tokens, attended in rows]


def parse_arguments(arguments=None, description=__doc__):
    """Args: arguments (`list[str]`, *optional*); description (`str`). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--steps", type=int, default=60, help="that are counted")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    add_machine_options(parser)
    add_text_options(parser)
    return parser.parse_args(arguments)


def run_trainer(options, text, with_bare_step=True):
    """Train, and time each step.

    Args:
        options (`argparse.Namespace`): see [`parse_arguments`].
        text ([`Text`])
        with_bare_step (`bool`): a second model takes its bare step on each batch.

    Returns:
        `dict[str, list]`: of each counted step `trainer`, `wait` and `bare` (seconds), and `tokens`.
    """
    device = choose_device(options.device)
    torch.set_num_threads(options.threads)
    bare = []
    with tempfile.TemporaryDirectory() as folder:
        text.tokenizer.save_pretrained(folder)
        setup = Setup(options.shape, vocab_rows(text.tokenizer), folder, options.dtype, device.type)
        bare_step = build(setup).step if with_bare_step else count_tokens
        trainer = MeasuredTrainer(
            model=build(setup).model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=options.warmup + options.steps + 1,  # the last has no bare step after it
                per_device_train_batch_size=BATCH_SIZE,
                learning_rate=LEARNING_RATE,
                optim="adamw_torch_fused",
                bf16=options.dtype == "bfloat16",
                logging_steps=LOGGING_STEPS,
                save_strategy="no",
                report_to="none",
                use_cpu=device.type == "cpu",
            ),
            train_dataset=Dataset.from_dict({"input_ids": text.rows}),
            data_collator=DataCollatorWithPadding(text.tokenizer),
            callbacks=[RTDMetricsCallback()],
            take_turn=lambda rows: bare.append(bare_step(rows)),
        )
        trainer.train()
    counted = slice(options.warmup, options.warmup + options.steps)
    return {
        "trainer": trainer.step_seconds[counted],
        "wait": trainer.wait_seconds[counted],
        "bare": [report.get("seconds") for report in bare[counted]],
        "tokens": [report["real_tokens"] for report in bare[counted]],
    }


def count_tokens(rows):
    """In the place of a bare step. Args: rows (`list[list[int]]`). Returns: `dict`."""
    return {"real_tokens": sum(map(len, rows))}


def summarise(steps):
    """Args: steps (`dict[str, list]`): of [`run_trainer`]. Returns: `dict` of tokens a second and the overhead."""
    tokens, trainer, bare = (sum(steps[name]) for name in ("tokens", "trainer", "bare"))
    return {
        "trainer_tokens_per_second": tokens / trainer,
        "bare_tokens_per_second": tokens / bare,
        "seconds_against_bare": paired_ratio(steps["trainer"], steps["bare"]),
        "all_seconds_against_bare": trainer / bare,  # with the steps that log
    }


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line."""
    options = parse_arguments(arguments)
    text, device = read_rows(options), choose_device(options.device)
    print(f"Text: {text.description}.")
    run = {
        "shape": options.shape,
        "dtype": options.dtype,
        "batch_size": BATCH_SIZE,
        "steps": options.steps,
        "logging_steps": LOGGING_STEPS,
        "text": text.description,
        "machine": describe_machine(device, options.threads),
        **summarise(run_trainer(options, text)),
    }
    path = write_run("trainer", device, run, key=("shape", "dtype"))
    ratio = run["seconds_against_bare"]
    print(
        f"Trainer.train(): {run['trainer_tokens_per_second']:.0f} real tokens/s, bare step: "
        f"{run['bare_tokens_per_second']:.0f}. Seconds of a step against the bare one: {ratio['median']:.3f} "
        f"[{ratio['p10']:.3f}, {ratio['p90']:.3f}], all steps together {run['all_seconds_against_bare']:.3f}."
    )
    print(f"Written to {path.parent.name}/{path.name}; `make bench-report` shows it.")


if __name__ == "__main__":
    main()
