"""`electra-rtd`: one thin command per library function."""

import argparse
import logging
import os
import sys
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from transformers import HfArgumentParser, TrainingArguments

from . import __version__
from .hub_tools import export_discriminator, export_generator
from .train_tools.recipes import SAMPLE_FILE, AdaptArguments, adapt
from .train_tools.summary import summary


ADAPT_HELP = """
Adapt an ELECTRA pair to a domain's text by replaced token detection.

Three ways to start:

  a pretrained pair    electra-rtd adapt --generator monologg/koelectra-small-v3-generator \\
                         --discriminator monologg/koelectra-small-v3-discriminator \\
                         --train_file sentences.csv --output_dir adapted
  a checkpoint         electra-rtd adapt --checkpoint adapted --train_file more.txt --output_dir adapted-2
  from scratch         electra-rtd adapt --from_scratch small --learning_rate 5e-4 --num_train_epochs 40 \\
                         --per_device_train_batch_size 128 --train_file corpus/ --output_dir fresh

Without arguments: a tiny pair from scratch on the sample text that is part of the package, into
electra-rtd-sample/, which is replaced at each call. It shows that everything works, in about two minutes.

Learning rate. The defaults (5e-5, warm-up over the first tenth of the steps) are for going on from a released
pair: at the rates of pretraining (5e-4 small, 2e-4 base) it can lose quality, as a public report found
(google-research/electra#111). From scratch take those rates, batches of 128 or more, and many more steps.

In --output_dir you find the adapted pair with its tokenizer, discriminator/ (stock ELECTRA, for fine-tuning),
the Trainer's checkpoints, and adapt_results.json. Options can be written with - for _ (--train-file).
"""

EXPORT_HELP = """
Write one network of a pair as a stock ELECTRA checkpoint, which loads without any code of ours.

  electra-rtd export --checkpoint adapted --output_dir discriminator
  electra-rtd export --checkpoint adapted --output_dir encoder --as_encoder
"""

# Safe for going on from a released pair; whatever a user gives wins. Before release 5, a share of the steps has a
# name of its own.
WARMUP = "warmup_steps" if TrainingArguments.__dataclass_fields__["warmup_steps"].type is float else "warmup_ratio"
ADAPT_DEFAULTS = {
    "learning_rate": 5e-5,
    WARMUP: 0.1,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 32,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "logging_steps": 50,
    "dataloader_pin_memory": torch.cuda.is_available(),  # without an accelerator it only makes torch warn
}

SAMPLE_RUN = [
    *("--from_scratch", "tiny", "--train_file", str(SAMPLE_FILE), "--output_dir", "electra-rtd-sample", "--overwrite"),
    *("--vocab_size", "2000", "--max_seq_length", "64", "--learning_rate", "5e-4", "--num_train_epochs", "30"),
    *(
        "--per_device_train_batch_size",
        "16",
        "--logging_steps",
        "100",
        "--eval_strategy",
        "no",
        "--save_strategy",
        "no",
    ),
]


@dataclass
class AdaptTrainingArguments(TrainingArguments):
    """`TrainingArguments` under a heading of their own in `--help`."""

    _argument_group_name = "training: every field of transformers.TrainingArguments"


class _ManualPage(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the description, and shows the defaults that say something."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=28, width=110)

    def _get_help_string(self, action):
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def adapt_parser():
    """The parser of `electra-rtd adapt`: `HfArgumentParser` with our defaults."""
    parser = HfArgumentParser(
        (AdaptArguments, AdaptTrainingArguments),
        prog="electra-rtd adapt",
        description=ADAPT_HELP,
        formatter_class=_ManualPage,
        usage="electra-rtd adapt [options]",
    )
    parser.set_defaults(**ADAPT_DEFAULTS)
    return parser


def run_adapt(argv):
    """`electra-rtd adapt`: parse, adapt, say what came of it."""
    arguments, training_args = adapt_parser().parse_args_into_dataclasses(argv or SAMPLE_RUN)
    training_args.__class__ = TrainingArguments  # `training_args.bin` must open without this package
    result = adapt(arguments, training_args)
    if training_args.process_index == 0:
        print(f"\n{summary(result)}")


def run_export(argv):
    """`electra-rtd export`: one network as a stock checkpoint."""
    parser = argparse.ArgumentParser(prog="electra-rtd export", description=EXPORT_HELP, formatter_class=_ManualPage)
    parser.add_argument("--checkpoint", required=True, help="The pair: a folder or a Hub id.")
    parser.add_argument("--output_dir", "--output-dir", required=True, help="A folder that does not exist yet.")
    parser.add_argument(
        "--network", choices=("discriminator", "generator"), default="discriminator", help="Which one."
    )
    parser.add_argument(
        "--as_encoder", "--as-encoder", action="store_true", help="The bare ElectraModel, without head."
    )
    arguments = parser.parse_args(argv)
    export = {"discriminator": export_discriminator, "generator": export_generator}[arguments.network]
    print(export(arguments.checkpoint, arguments.output_dir, as_encoder=arguments.as_encoder))


COMMANDS = {
    "adapt": (run_adapt, "adapt a pair to a domain's text"),
    "export": (run_export, "write one network of a pair as a stock ELECTRA checkpoint"),
}


def main(argv=None):
    """The command `electra-rtd`.

    Args:
        argv (`list[str]`, *optional*): without the program's name; `sys.argv` by default.

    Returns:
        `int`: 0 for success, 2 for wrong input, 130 when interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    listing = "\n".join(f"  {name:<8}{about}" for name, (_, about) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="electra-rtd",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"ELECTRA pairs, trained by replaced token detection.\n\ncommands:\n{listing}",
        epilog="`electra-rtd COMMAND --help` tells the rest.",
    )
    parser.add_argument("--version", action="version", version=f"electra-rtd {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = parser.parse_args(argv[:1] or ["--help"]).command
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger(__package__).setLevel(logging.INFO)
    try:
        COMMANDS[command][0](argv[1:])
    except (ValueError, OSError, ImportError, RuntimeError, SafetensorError) as error:
        if os.environ.get("ELECTRA_RTD_TRACEBACK"):
            raise
        print(f"electra-rtd {command}: error: {error}", file=sys.stderr)
        if not isinstance(error, (ValueError, OSError)):  # not one of ours: it may need the whole story
            print("ELECTRA_RTD_TRACEBACK=1 shows where it came from.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"electra-rtd {command}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
