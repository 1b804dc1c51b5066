"""The command `electra-rtd`: what needs no torch is answered here at once, all else by `electra_rtd.cli`.

A package of its own, on the standard library alone: `import electra_rtd` registers the model with the Auto classes,
and that takes torch, transformers and seconds.
"""

import os
import signal
import sys
import threading


COMMANDS = {
    "adapt": "adapt a pair to a domain's text",
    "pretrain": "pretrain a pair from random weights by a published recipe",
    "evaluate": "does it pay? fine-tune encoders on your labels, and compare",
    "inspect": "see what a pair makes of text, or what it finds odd in it",
    "report": "one page of a run: curves, before and after, settings",
    "verify": "check a checkpoint without running any of it",
    "push": "publish a checkpoint in one commit",
    "pull": "take a checkpoint from the Hub, pinned and checked",
    "diff": "compare two checkpoints",
    "merge": "interpolate the weights of a base and of what was adapted from it",
    "export": "write one network of a pair as a stock ELECTRA checkpoint",
    "extend-vocab": "give a pair the words of a domain that its vocabulary splits",
}

# What people type who know other tools.
OTHER_COMMANDS = {
    **{
        "train": "adapt",
        "from_scratch": "pretrain",
        "pre-train": "pretrain",
        "finetune": "evaluate",
        "show": "inspect",
        "check": "verify",
    },
    **{"upload": "push", "publish": "push", "download": "pull", "compare": "diff", "convert": "export"},
    **{"eval": "evaluate", "fine-tune": "evaluate", "score": "evaluate", "benchmark": "evaluate", "probe": "evaluate"},
    **dict.fromkeys(("extend", "extend_vocab", "vocab", "vocabulary"), "extend-vocab"),
    **{"help": "--help", "version": "--version", "-V": "--version", "-v": "--version"},
}

HELP = f"""\
usage: electra-rtd COMMAND ...

ELECTRA pairs, trained by replaced token detection.

commands:
{chr(10).join(f"  {name:<14}{about}" for name, about in COMMANDS.items())}

options:
  -h, --help  show this
  --version   show the version

`electra-rtd COMMAND --help` tells the rest.
"""

WAYS_TO_START = """\
Three ways to start, and one from random weights:

  a pretrained pair    electra-rtd adapt --generator monologg/koelectra-small-v3-generator \\
                         --discriminator monologg/koelectra-small-v3-discriminator \\
                         --train_file sentences.csv --output_dir adapted
  a discriminator      electra-rtd adapt --discriminator beomi/KcELECTRA-base \\
                         --train_file sentences.csv --output_dir adapted
  a checkpoint         electra-rtd adapt --checkpoint adapted --train_file more.txt --output_dir adapted-2
  from scratch         electra-rtd pretrain --preset electra-small --train_file corpus/ --output_dir fresh

To see that everything works:

  the example          electra-rtd adapt --example
"""


def main(argv=None):
    """The command `electra-rtd`.

    Args:
        argv (`list[str]`, *optional*): without the program's name; `sys.argv` by default.

    Returns:
        `int`: see `electra_rtd.cli.main`.
    """
    is_the_program = argv is None
    argv = sys.argv[1:] if argv is None else argv
    # Elsewhere, somebody else's to handle, or ignored: by `nohup`, say.
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if is_ours:
        signal.signal(signal.SIGINT, _end)
    try:
        status = answer(argv)
        if status is not None:
            return status
        from electra_rtd.cli import main as run  # here, because it takes seconds
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(argv)
    finally:
        if is_ours and is_the_program:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python has some clearing up to do, and nothing to say


def _end(number, frame):
    """Ctrl-C while nothing has begun. An exception could come up in any library's import, and not come out of it."""
    try:
        os.write(2, b"electra-rtd: interrupted before it began\n")
    finally:
        os._exit(128 + number)


def answer(argv):
    """Print what can be said at once: help, the version, how to start, a command that is not there.

    Args:
        argv (`list[str]`): without the program's name.

    Returns:
        `int` or `None`: the exit status, or that there is work to do.
    """
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if first == "--version":
        from importlib.metadata import version

        print(f"electra-rtd {version('electra-rtd')}")
        return 0
    if first not in COMMANDS:
        from .options import nearest  # here: while this module is imported, Ctrl-C is still Python's own

        guess = OTHER_COMMANDS.get(first) or nearest(first, [*COMMANDS, "--help", "--version"])
        remedy = f"Did you mean `electra-rtd {guess}`?" if guess else f"The commands are {', '.join(COMMANDS)}."
        what = "an option here: options of a command stand after its name" if first.startswith("-") else "a command"
        print(f"electra-rtd: error: {first} is not {what}. {remedy}", file=sys.stderr)
        return 2
    if argv == ["adapt"]:
        # On stderr, with 2: nothing was trained, which a script that counts on it must notice.
        print(f"{WAYS_TO_START}\n`electra-rtd adapt --help` is the manual.", file=sys.stderr)
        return 2
    return None
