"""What each command may be told: its manual page, its options, and their defaults."""

import argparse
from dataclasses import dataclass

import torch
from transformers import HfArgumentParser, TrainingArguments

from electra_rtd_launcher import WAYS_TO_START
from electra_rtd_launcher.options import CommandParser

from .train_tools.arguments import MINI_PAIR, SAMPLE, AdaptArguments
from .train_tools.evaluation.arguments import EvaluateArguments
from .train_tools.hardware import has_accelerator
from .train_tools.language import LANGUAGES


ADAPT_HELP = f"""
Adapt an ELECTRA pair to a domain's text by replaced token detection.

{WAYS_TO_START}
The example adapts a small Korean pair that is part of the package to a sample of technical documentation: about two
minutes, into electra-rtd-sample/, which is replaced at each call. It ends with what the pair catches now and did not
before, and with what its encoder knows of labelled text (where scikit-learn is installed). Other options change it
(--example --num_train_epochs 3).

Learning rate. The defaults (5e-5, warm-up over the first tenth of the steps) are for going on from a released
pair: at the rates of pretraining (5e-4 small, 2e-4 base) it can lose quality, as a public report found
(google-research/electra#111). From scratch take those rates, batches of 128 or more, and many more steps.

Forgetting. With --replay_file GENERAL a share of every epoch (--replay_share, 0.1) is general text, such as the pair
was pretrained on. Some of it is held out, so that what the pair lost there stands beside what it gained.

Speed. What you leave open is chosen for this machine, one line each that begins with "fast:": batches of like
length, fused AdamW, bf16 where the hardware has it and the first batch's loss agrees with float32 (weights stay
float32), TF32, threads; on a GPU also batches of about 16,000 tokens, where they fit and leave steps enough, attention
without padding, and processes that make batches. What you give wins (--bf16 false, --optim ...); --no_fast chooses
nothing. With --gradient_accumulation_steps the rows of a step stay, and fewer and larger batches make it. Compare
held-out losses between runs that are alike in this: they are means over batches.

In --output_dir you find the adapted pair with its tokenizer, discriminator/ (stock ELECTRA, for fine-tuning),
the Trainer's checkpoints, and adapt_results.json. Options can be written with - for _ (--train-file).
"""

EVALUATE_HELP = """
Does it pay? Fine-tune encoders on your labelled rows, and say which is better, worse, or that nobody can tell.

  electra-rtd evaluate --labels reviews.csv --before monologg/koelectra-small-v3-discriminator \\
    --after adapted/discriminator
  electra-rtd evaluate --labels reviews.csv --before base --after adapted --train_rows 50 200 1000
  electra-rtd evaluate --labels reviews.csv --before base --after adapted --probe    # in seconds

Labels: one text and a label; two texts and a label; two texts (or one) and a number; or JSON lines with tokens and
tags. The columns are found by their names, or given.

Each encoder is fine-tuned as ELECTRA's authors do it (a lower rate for each layer further down, warm-up over a tenth
of the steps), at each rate of a small grid; the validation rows choose. Then all seeds run at that rate. A seed has
the same rows, order, new head and dropout for every encoder, so that differences are paired. What comes out: means,
differences with their 95 % intervals, and a verdict. Naive Bayes on pieces of words stands beside them: who is
below it has learnt little.

Epochs. 10 up to 6,000 rows, and so many that there are 100 steps; 3 above, as Google's recipe for larger tasks. Large
encoders on a CPU take hours: the bar says how long. --probe, fewer --seeds or --epochs, one of --learning_rates take
less; so does a GPU.

Every run is kept in --output_dir as soon as it is done. After Ctrl-C the same command goes on from there, and one with
more seeds, rates, rows or encoders does what is new. Options can be written with - for _ (--label-column).
"""

EXPORT_HELP = """
Write one network of a pair as a stock ELECTRA checkpoint, which loads without any code of ours.

  electra-rtd export --checkpoint adapted --output_dir discriminator
  electra-rtd export --checkpoint adapted --output_dir encoder --as_encoder
"""

VERIFY_HELP = """
Check a checkpoint without running any of it: files, configuration, weights, tokenizer, code, exports.

  electra-rtd verify adapted
  electra-rtd verify user/name --revision v1

Exit status: 0 where there is no error, 1 where there is one.
"""

PUSH_HELP = """
Publish a checkpoint in one commit, after it was verified: model, code, tokenizer, stock exports and model card.

  electra-rtd push adapted user/name --dry_run
  electra-rtd push adapted user/name --private

Only what changed is sent. A README that a person wrote is kept. What was interrupted can be run again.
Log in with `hf auth login`, or set HF_TOKEN.
"""

PULL_HELP = """
Take a checkpoint from the Hub, all of it from one commit, and refuse it if it is not sound.

  electra-rtd pull user/name --local_dir adapted
  electra-rtd pull --locked --local_dir adapted    # exactly what electra_rtd.lock.json in it says, or fail

Exit status: 0 where it is there, 1 where the checkpoint has errors, 2 where it could not be had.
"""

DIFF_HELP = """
Compare two checkpoints: configuration, tokenizer, code, and the weights module by module.

  electra-rtd diff adapted adapted-2
  electra-rtd diff user/name@v1 user/name@main

The number before a module is the norm of the change over the norm of the module's weights in the first checkpoint.
Exit status: 0 where nothing differs, 1 where something does.
"""

MERGE_HELP = """
Part of the way back to the base: the weights (1 - alpha) * BASE + alpha * ADAPTED, as a checkpoint.

  electra-rtd merge base adapted --alpha 0.7 --output_dir merged

Two pairs, or two stock checkpoints of one kind (discriminators, generators, encoders; ELECTRA or BERT) of the same
sizes and the same vocabulary. Of a pair and a stock discriminator, the pair's discriminator counts. With --alpha 0
the result is BASE, with 1 ADAPTED. The result is stored in the type of the weights of BASE, with its tokenizer; a
merged pair has discriminator/ (stock ELECTRA, for fine-tuning), and merge.json says what was merged.
"""

INSPECT_HELP = """
See what a pair makes of text: what is masked, what the generator puts there, what the discriminator catches.

  electra-rtd inspect --checkpoint adapted "파이썬으로 배우는 데이터 분석"
  electra-rtd inspect --checkpoint adapted --file held_out.txt --html page.html
  electra-rtd inspect --checkpoint adapted --suspicious "오늘 학교에 감다"    # what looks odd in it, as it is

The corruption is that of evaluation: the same text is always masked alike. The page needs no network and no server.
"""

REPORT_HELP = """
One page of a run: curves, held-out text before and after, tokens, calibration, settings. It needs no network.

  electra-rtd report --run adapted
  electra-rtd report --run adapted --html report.html --png report.png

Needs matplotlib: pip install matplotlib.
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

# What `adapt --example` runs, where no option says otherwise.
EXAMPLE = {
    "checkpoint": str(MINI_PAIR),
    "train_file": [str(SAMPLE / "techdocs_train.csv.gz")],
    "validation_file": [str(SAMPLE / "techdocs_held_out.csv.gz")],
    "text_column": "text",
    "output_dir": "electra-rtd-sample",
    "max_seq_length": 128,
    "learning_rate": 3e-4,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 16,
    "logging_steps": 50,
    "eval_strategy": "no",
    "save_strategy": "no",
    "sample_steps": 0,  # its closing words show some
}


@dataclass
class AdaptTrainingArguments(TrainingArguments):
    """`TrainingArguments` under a heading of their own in `--help`."""

    _argument_group_name = "training: every field of transformers.TrainingArguments"

    def __post_init__(self):
        if (self.bf16 or self.bf16_full_eval) and not has_accelerator():
            self.use_cpu = True  # without it, TrainingArguments look for bfloat16 on an accelerator alone
        try:
            super().__post_init__()
        except TypeError as error:  # from what an option in JSON names
            raise ValueError(f"a training option cannot be used: {error}.") from error


class DataclassParser(CommandParser, HfArgumentParser):
    """`HfArgumentParser`, with our manners about options."""


class _Example(argparse.Action):
    """`--example` changes defaults before anything is parsed; here it is listed, and leaves nothing behind."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, *_):
        """Nothing is left to do."""


def adapt_parser():
    """The parser of `electra-rtd adapt`: `HfArgumentParser` with our defaults."""
    parser = DataclassParser(
        (AdaptArguments, AdaptTrainingArguments),
        prog="electra-rtd adapt",
        description=ADAPT_HELP,
        usage="electra-rtd adapt [options]",
    )
    parser.add_argument("--example", action=_Example, help="Adapt the package's own pair to sample text: see above.")
    parser.set_defaults(**ADAPT_DEFAULTS)
    return parser


def given_options(argv):
    """The options that a command line of `adapt` gives, in whatever spelling and with whatever value.

    Args:
        argv (`list[str]`)

    Returns:
        `set[str]`: names of fields.
    """
    parser, absent = adapt_parser(), object()
    names = vars(parser.parse_known_args(argv)[0])
    parser.set_defaults(**dict.fromkeys(names, absent))
    return {name for name, value in vars(parser.parse_known_args(argv)[0]).items() if value is not absent}


def parse_adapt(argv):
    """What a command line of `adapt` says.

    Args:
        argv (`list[str]`)

    Returns:
        [`AdaptArguments`], `TrainingArguments`, and the `set[str]` of fields that it gives.
    """
    parser, given = adapt_parser(), given_options(argv)
    if "--example" in argv:
        # Its own folder is replaced at each call; one that somebody named is not.
        parser.set_defaults(**EXAMPLE, overwrite=not given & {"output_dir", "resume"})
        given |= EXAMPLE.keys()
    # Not what a file `electra-rtd.args` beside the program may say: what was typed.
    arguments, training_args = parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
    training_args.__class__ = TrainingArguments  # `training_args.bin` must open without this package
    return arguments, training_args, given


def evaluate_parser():
    """The parser of `electra-rtd evaluate`."""
    parser = DataclassParser(
        (EvaluateArguments,),
        prog="electra-rtd evaluate",
        description=EVALUATE_HELP,
        usage="electra-rtd evaluate --labels FILE --before PATH --after PATH [options]",
    )
    parser.add("--json", action="store_true", help="Print what stands in evaluation.json.")
    return parser


def parse_evaluate(argv):
    """What a command line of `evaluate` says.

    Args:
        argv (`list[str]`)

    Returns:
        [`EvaluateArguments`], and whether JSON is wanted, a `bool`
    """
    arguments, rest = evaluate_parser().parse_args_into_dataclasses(argv, look_for_args_file=False)
    return arguments, rest.json


def export_parser():
    """The parser of `electra-rtd export`."""
    parser = _parser("export", EXPORT_HELP)
    parser.add("--checkpoint", required=True, help="The pair: a folder or a Hub id.")
    parser.add("--output_dir", required=True, help="A folder that does not exist yet.")
    parser.add("--network", choices=("discriminator", "generator"), default="discriminator", help="Which one.")
    parser.add("--as_encoder", action="store_true", help="The bare ElectraModel, without head.")
    return parser


def merge_parser():
    """The parser of `electra-rtd merge`."""
    parser = _parser("merge", MERGE_HELP)
    parser.add_argument("base", help="A pair or a stock checkpoint: a folder or a Hub id.")
    parser.add_argument("adapted", help="What was adapted from it.")
    parser.add("--alpha", type=float, required=True, help="From 0, which is BASE, to 1, which is ADAPTED.")
    parser.add("--output_dir", required=True, help="A folder that does not exist yet.")
    return parser


def inspect_parser():
    """The parser of `electra-rtd inspect`."""
    parser = _parser("inspect", INSPECT_HELP)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="Texts to read; - reads them from standard input.")
    parser.add("--checkpoint", required=True, help="The pair: a folder or a Hub id.")
    parser.add("--file", nargs="+", help="Files with one text a row, as `adapt --train_file` reads them.")
    parser.add("--text_column", help="Column that holds the text. By default the only text column.")
    parser.add("--dataset_config_name", help="Which configuration of a Hub dataset to read, where it has several.")
    parser.add("--limit", type=int, default=100, help="Texts at most; the first ones are read.")
    parser.add("--suspicious", action="store_true", help="Corrupt nothing: what is odd in the text as it is?")
    parser.add("--temperature", type=float, help="Of the generator's sampling. By default the checkpoint's.")
    parser.add("--top_k", type=int, default=5, help="Candidates of the generator for a token.")
    parser.add("--json", action="store_true", help="Print everything as JSON.")
    parser.add("--html", metavar="FILE", help="Write one page that needs no network.")
    parser.add("--revision", help="Branch, tag or commit of the repository.")
    parser.add("--token", help="Access token. The saved one by default, which is safer: others see command lines.")
    _add_language(parser)
    return parser


def report_parser():
    """The parser of `electra-rtd report`."""
    parser = _parser("report", REPORT_HELP)
    parser.add("--run", required=True, help="Output folder of `adapt`, or of a Trainer with RTDMetricsCallback.")
    parser.add("--html", metavar="FILE", help="The page. By default report.html in the run's folder.")
    parser.add("--png", metavar="FILE", help="Write the figures as a picture too.")
    _add_language(parser)
    return parser


def verify_parser():
    """The parser of `electra-rtd verify`."""
    parser = _parser("verify", VERIFY_HELP)
    parser.add_argument("checkpoint", help="A folder or a Hub id.")
    parser.add("--revision", help="Branch, tag or commit of the repository.")
    parser.add("--execute", action="store_true", help="Also load it in a fresh process, with ITS CODE, and run it.")
    parser.add("--json", action="store_true", help="Print the report as JSON.")
    _add_hub_options(parser)
    return parser


def push_parser():
    """The parser of `electra-rtd push`."""
    parser = _parser("push", PUSH_HELP)
    parser.add_argument("checkpoint", help="A folder with a pair.")
    parser.add_argument("repo_id", help="The repository: user/name. It is made where it does not exist.")
    parser.add("--tokenizer", help="A folder or a Hub id. By default the one in the folder.")
    parser.add("--revision", help="Branch to commit to; it is made where it does not exist.")
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument("--private", action="store_true", default=None, help="Make a private repository.")
    visibility.add_argument("--public", action="store_false", dest="private", default=None, help="Make a public one.")
    parser.add("--create_pr", action="store_true", help="Open a pull request instead.")
    parser.add("--commit_message", help="Title of the commit, one line.")
    parser.add("--tags", nargs="+", help="Tags of the model card.")
    parser.add(
        "--export",
        nargs="*",
        default=["discriminator"],
        choices=["discriminator", "generator"],
        help="Networks to put into subfolders as stock ELECTRA.",
    )
    parser.add("--dry_run", action="store_true", help="Print the exact plan, and send nothing.")
    parser.add("--token", help="Access token. The saved one by default, which is safer: others see command lines.")
    return parser


def pull_parser():
    """The parser of `electra-rtd pull`."""
    parser = _parser("pull", PULL_HELP)
    parser.add_argument("repo_id", nargs="?", help="The repository: user/name. With --locked the lock names it.")
    parser.add("--revision", help="Branch, tag or commit.")
    parser.add("--local_dir", help="Folder to put it into. By default one beside the cache of huggingface_hub.")
    parser.add("--locked", action="store_true", help="Take exactly what an earlier pull wrote down, or fail.")
    parser.add("--lock_file", help="The lock to take it from. By default that of --local_dir, or of the last pull.")
    parser.add("--no_verify", action="store_false", dest="verify", help="Check hashes and names only.")
    _add_hub_options(parser)
    return parser


def diff_parser():
    """The parser of `electra-rtd diff`."""
    parser = _parser("diff", DIFF_HELP)
    parser.add_argument("a", help="A folder, a Hub id, or a Hub id with a revision: user/name@v1.")
    parser.add_argument("b", help="Likewise.")
    parser.add("--json", action="store_true", help="Print everything as JSON.")
    parser.add("--token", help="Access token. The saved one by default.")
    return parser


def _parser(command, description):
    return CommandParser(prog=f"electra-rtd {command}", description=description)


def _add_language(parser):
    parser.add("--lang", choices=LANGUAGES, help="Korean or English. By default that of the locale.")


def _add_hub_options(parser):
    parser.add("--token", help="Access token. The saved one by default, which is safer: others see command lines.")
    parser.add(
        "--allow_code_from",
        nargs="+",
        default=[],
        metavar="REPO",
        help="Repositories whose code the checkpoint's auto_map may name; you have read it.",
    )


PARSERS = {
    "adapt": adapt_parser,
    "evaluate": evaluate_parser,
    "inspect": inspect_parser,
    "report": report_parser,
    "verify": verify_parser,
    "push": push_parser,
    "pull": pull_parser,
    "diff": diff_parser,
    "merge": merge_parser,
    "export": export_parser,
}


def option_names(command):
    """The options of a command.

    Args:
        command (`str`)

    Returns:
        `set[str]`: as fields are called, without dashes.
    """
    return {option.lstrip("-").replace("-", "_") for option in PARSERS[command]()._option_string_actions}
