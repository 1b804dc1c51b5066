"""What `RTDSampleCallback` costs: `make bench-watching`.

Under the stock Trainer, with RTDMetricsCallback and RTDHealthCallback, every second step shows two sentences: steps
with and without take turns on one and the same batch, and what a view costs is the median difference of neighbours.
"""

import argparse
import contextlib
import io
import tempfile
from statistics import median

import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, TrainingArguments

from electra_rtd.train_tools import RTDHealthCallback, RTDMetricsCallback, RTDSampleCallback

from .contenders.common import LEARNING_RATE, Setup
from .contenders.ours import build
from .end_to_end import MeasuredTrainer
from .machine import add_machine_options, choose_device, describe_machine, write_run
from .rounds import vocab_rows
from .shapes import SHAPES
from .text import add_text_options, read_rows


BATCH_SIZE = 32  # that of `electra-rtd adapt`
EVERY = (50, 500)  # steps: the log of `adapt`; the samples of `adapt`, and the default log of `TrainingArguments`


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--steps", type=int, default=60, help="that are counted: half of them with a view")
    parser.add_argument("--warmup", type=int, default=4, help="steps before them")
    add_machine_options(parser)
    add_text_options(parser)
    return parser.parse_args(arguments)


def run_trainer(options, text):
    """Train with a view at every second step, and time each.

    Args: options (`argparse.Namespace`): see [`parse_arguments`]; text ([`Text`]).
    Returns: `list[float]`, `list[float]`: seconds of the counted steps with a view, and of those without.
    """
    device = choose_device(options.device)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        text.tokenizer.save_pretrained(folder)
        setup = Setup(options.shape, vocab_rows(text.tokenizer), folder, "float32", device.type)
        trainer = MeasuredTrainer(
            model=build(setup).model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=options.warmup + options.steps + 1,
                per_device_train_batch_size=BATCH_SIZE,
                learning_rate=LEARNING_RATE,
                optim="adamw_torch_fused",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=device.type == "cpu",
            ),
            # One batch, over and over: of sentences of any length, some steps would have twice the work of others.
            train_dataset=Dataset.from_dict({"input_ids": text.rows[:BATCH_SIZE]}),
            data_collator=DataCollatorWithPadding(text.tokenizer),
            processing_class=text.tokenizer,
            callbacks=[
                RTDMetricsCallback(),
                RTDHealthCallback(),
                RTDSampleCallback(Dataset.from_dict({"input_ids": text.rows[-8:]}), every=2),
            ],
            take_turn=lambda rows: None,
        )
        trainer.train()
    seconds = trainer.step_seconds[options.warmup : options.warmup + options.steps]
    start = options.warmup + 1  # the number of the first counted step
    with_view = [one for step, one in enumerate(seconds, start=start) if step % 2 == 0]
    without = [one for step, one in enumerate(seconds, start=start) if step % 2 == 1]
    return with_view, without


def summarise(with_view, without):
    """Args: with_view, without (`list[float]`): seconds. Returns: `dict`: of a step, a view, and their shares."""
    step = median(without)
    view = median(one - other for one, other in zip(with_view, without, strict=True))
    return {
        "step_seconds": step,
        "view_seconds": view,
        "view_in_steps": view / step,
        "overhead": {str(every): view / (every * step) for every in EVERY},
    }


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line."""
    options = parse_arguments(arguments)
    text, device = read_rows(options), choose_device(options.device)
    print(f"Text: {text.description}.")
    run = {
        "shape": options.shape,
        "batch_size": BATCH_SIZE,
        "steps": options.steps,
        "text": text.description,
        "machine": describe_machine(device, options.threads),
        **summarise(*run_trainer(options, text)),
    }
    path = write_run("watching", device, run, key=("shape",))
    shares = ", ".join(f"{share:.2%} every {every} steps" for every, share in run["overhead"].items())
    print(f"A step: {run['step_seconds']:.3f} s; a view: {run['view_seconds']:.3f} s, so {shares}.")
    print(f"Written to {path.parent.name}/{path.name}; `make bench-report` shows it.")


if __name__ == "__main__":
    main()
