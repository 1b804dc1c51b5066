"""What each command may be told: its options and their defaults."""

import argparse
from typing import Any

from electra_rtd_launcher.options import CommandParser

from . import manual
from .run_parsers import DataclassParser, adapt_parser, pretrain_parser
from .train_tools.evaluation.arguments import KINDS, EvaluateArguments
from .train_tools.language import LANGUAGES
from .train_tools.new_entries import FEWEST


# What `merge --alpha auto` takes of the fields of `EvaluateArguments`, and how the parser reads them.
OF_ALPHA_AUTO: dict[str, dict[str, Any]] = {
    "labels": {"metavar": "FILE"},
    "task": {"choices": KINDS},
    "text_columns": {"nargs": "+"},
    "label_column": {},
    "group_column": {},
    "names": {"nargs": "+"},
    "validation_file": {},
    "test_file": {},
    "metric": {},
    "seeds": {"type": int},
    "learning_rates": {"type": float, "nargs": "+"},
    "epochs": {"type": int},
    "batch_size": {"type": int},
    "max_length": {"type": int},
    "probe": {"action": "store_true", "default": None},
    "lang": {"choices": LANGUAGES},
}


def evaluate_parser():
    """The parser of `electra-rtd evaluate`."""
    parser = DataclassParser(
        (EvaluateArguments,),
        prog="electra-rtd evaluate",
        description=manual.EVALUATE,
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
    parser = _parser("export", manual.EXPORT)
    parser.add("--checkpoint", required=True, help="The pair: a folder or a Hub id.")
    parser.add("--output_dir", required=True, help="A folder that does not exist yet.")
    parser.add("--network", choices=("discriminator", "generator"), default="discriminator", help="Which one.")
    parser.add("--as_encoder", action="store_true", help="The bare ElectraModel, without head.")
    return parser


def extend_parser():
    """The parser of `electra-rtd extend-vocab`."""
    parser = _parser("extend-vocab", manual.EXTEND)
    parser.add("--checkpoint", required=True, help="The pair: a folder or a Hub id.")
    parser.add("--train_file", required=True, nargs="+", help="The domain's text, as `adapt --train_file` reads it.")
    parser.add("--num_tokens", required=True, type=int, help="New entries at most.")
    parser.add("--output_dir", required=True, help="A folder that does not exist yet.")
    parser.add("--fewest", type=int, default=FEWEST, help="Occurrences of a new entry in the text at least.")
    parser.add("--text_column", help="Column that holds the text. By default the only text column.")
    parser.add("--dataset_config_name", help="Which configuration of a Hub dataset to read, where it has several.")
    return parser


def merge_parser():
    """The parser of `electra-rtd merge`."""
    parser = _parser("merge", manual.MERGE)
    parser.add_argument("base", help="A pair or a stock checkpoint: a folder or a Hub id.")
    parser.add_argument("adapted", help="What was adapted from it.")
    parser.add(
        "--alpha",
        type=_alpha,
        required=True,
        metavar="ALPHA",
        help="From 0, which is BASE, to 1, which is ADAPTED; or auto: --labels choose it.",
    )
    parser.add("--output_dir", required=True, help="A folder that does not exist yet.")
    auto = parser.add_argument_group("for --alpha auto, as of electra-rtd evaluate")
    tried = "What is tried. By default 0 0.25 0.5 0.75 1; 0 is always tried."
    alphas: dict[str, Any] = {"type": float, "nargs": "+", "help": tried}
    fields = EvaluateArguments.__dataclass_fields__
    for name, options in {"alphas": alphas, **OF_ALPHA_AUTO}.items():
        said = (
            "" if name == "alphas" or fields[name].default in (None, False) else f" By default {fields[name].default}."
        )
        words = options.get("help") or f"{fields[name].metadata['help']}{said}"
        spelled = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        auto.add_argument(*spelled, **{**options, "help": words.replace("%", "%%")})
    return parser


def parse_merge(argv):
    """What a command line of `merge` says.

    Args:
        argv (`list[str]`)

    Returns:
        `Namespace`, and, for `--alpha auto`, [`EvaluateArguments`], else `None`

    Raises:
        ValueError: the options do not go together.
    """
    arguments = merge_parser().parse_args(argv)
    given = {name: getattr(arguments, name) for name in OF_ALPHA_AUTO if getattr(arguments, name) is not None}
    if arguments.alpha == "auto":
        if not arguments.labels:
            raise ValueError("`alpha=auto` chooses by development labels: give them with `labels=FILE`.")
        return arguments, EvaluateArguments(before=arguments.base, **given)
    useless = [*given, *(["alphas"] if arguments.alphas else [])]
    if useless:
        raise ValueError(f"`{useless[0]}` has a use with `alpha=auto` alone: leave it out, or let the labels choose.")
    return arguments, None


def _alpha(text):
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 0 to 1 nor auto") from None


def inspect_parser():
    """The parser of `electra-rtd inspect`."""
    parser = _parser("inspect", manual.INSPECT)
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
    parser = _parser("report", manual.REPORT)
    parser.add("--run", required=True, help="Output folder of `adapt`, or of a Trainer with RTDMetricsCallback.")
    parser.add("--html", metavar="FILE", help="The page. By default report.html in the run's folder.")
    parser.add("--png", metavar="FILE", help="Write the figures as a picture too.")
    _add_language(parser)
    return parser


def verify_parser():
    """The parser of `electra-rtd verify`."""
    parser = _parser("verify", manual.VERIFY)
    parser.add_argument("checkpoint", help="A folder or a Hub id.")
    parser.add("--revision", help="Branch, tag or commit of the repository.")
    parser.add("--execute", action="store_true", help="Also load it in a fresh process, with ITS CODE, and run it.")
    parser.add("--json", action="store_true", help="Print the report as JSON.")
    _add_hub_options(parser)
    return parser


def push_parser():
    """The parser of `electra-rtd push`."""
    parser = _parser("push", manual.PUSH)
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
    parser = _parser("pull", manual.PULL)
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
    parser = _parser("diff", manual.DIFF)
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
    "pretrain": pretrain_parser,
    "evaluate": evaluate_parser,
    "inspect": inspect_parser,
    "report": report_parser,
    "verify": verify_parser,
    "push": push_parser,
    "pull": pull_parser,
    "diff": diff_parser,
    "merge": merge_parser,
    "export": export_parser,
    "extend-vocab": extend_parser,
}


def option_names(command):
    """The options of a command.

    Args:
        command (`str`)

    Returns:
        `set[str]`: as fields are called, without dashes.
    """
    return {option.lstrip("-").replace("-", "_") for option in PARSERS[command]()._option_string_actions}
