"""What the command line prints beside its results: errors, interrupts and log messages, never with a token in them.

Libraries name a field, `` `save_steps=2` ``; here it is the option of the command that sets it, `--save_steps 2`.
"""

import logging
import os
import re
import sys
import traceback
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

from safetensors import SafetensorError

from .hub_tools.secrets import without_tokens
from .train_tools.nonfinite_error import NonFiniteError
from .train_tools.shell import command_name, line
from .train_tools.signals import CTRL_C, Stopped


# Errors whose own words are enough: those of others come with their class.
SPEAKS_FOR_ITSELF = (ValueError, OSError, ImportError, RuntimeError, SafetensorError)
FIELD = re.compile(r"`([a-z]\w*)(?:=([^`]*))?`")


def with_options(text, options):
    """A library's message in the words of a command.

    Args:
        text (`str`): with fields in backquotes, `` `name` `` or `` `name=value` ``.
        options (collection of `str`): those that the command has.

    Returns:
        `str`: with options in their place, as a shell takes them; what is none stays as it is.
    """

    def option(field):
        name, value = field.groups()
        if name not in options:
            return field[0]
        if value in (None, "True"):
            return f"--{name}"
        return line(f"--{name}", value.lower() if value == "False" else value.strip("\"'"))

    return FIELD.sub(option, text)


@contextmanager
def messages_shown(package, options=()):
    """Show our messages from INFO on and those of others from WARNING on, each once: of the processes of one run, ours
    are the first one's.

    Args:
        package (`str`): name of our logger.
        options (collection of `str`): of the command, see [`with_options`].
    """
    ours = logging.StreamHandler()
    ours.addFilter(_is_not_shown_otherwise)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[ours])
    handlers = list(logging.getLogger().handlers)  # also those that were there before
    in_options = partial(_name_options, package, options)
    for handler in handlers:
        handler.addFilter(_blot_out_tokens)
        handler.addFilter(in_options)
    is_first = os.environ.get("RANK", "0") == "0"  # `torchrun` and `accelerate launch` set it
    logging.getLogger(package).setLevel(logging.INFO if is_first else logging.ERROR)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(in_options)  # another command of this process has other options


def print_error(command, error, argv, options=()):
    """Say what went wrong, in one message. `ELECTRA_RTD_TRACEBACK=1` shows where it came from.

    Args:
        command (`str`): of ours.
        error (`BaseException`)
        argv (`list[str]`): the command line, whose tokens are never printed.
        options (collection of `str`): of the command.
    """
    tokens = _given_tokens(argv)
    if os.environ.get("ELECTRA_RTD_TRACEBACK"):
        print(without_tokens("".join(traceback.format_exception(error)), *tokens), end="", file=sys.stderr)
    said = with_options(str(error), options)
    if not said or not isinstance(error, SPEAKS_FOR_ITSELF) or isinstance(error, RecursionError):
        said = f"{type(error).__name__} {said}".rstrip()
    print(without_tokens(f"electra-rtd {command}: error: {said}", *tokens), file=sys.stderr)
    if not isinstance(error, (ValueError, OSError, NonFiniteError)):  # not one of ours: it may need the whole story
        print("ELECTRA_RTD_TRACEBACK=1 shows where it came from.", file=sys.stderr)


def print_interrupt(command, interrupt, argv, options=()):
    """Say what is left of a run after Ctrl-C or another signal, and the command that goes on with it.

    Args:
        command (`str`): of ours.
        interrupt (`KeyboardInterrupt`): with words for a person, where there is something to say.
        argv (`list[str]`): the command line after its name.
        options (collection of `str`): of the command.
    """
    said = with_options(str(interrupt), options)
    what = "interrupted"
    if isinstance(interrupt, Stopped) and interrupt.number != CTRL_C:
        what = f"stopped by {interrupt.number.name}"
    print(f"electra-rtd {command}: {what} {said}".rstrip(), file=sys.stderr)
    one_process = os.environ.get("WORLD_SIZE", "1") == "1"  # what started several, nobody here knows
    if "--resume" in said and one_process:
        again = f"  {command_name()} {line(command, *_resuming(argv))}"
        print(without_tokens(again, *_given_tokens(argv)), file=sys.stderr)


def is_error(error):
    """Whether an exception is a fault to be told, not a way to end: `bool`."""
    # A panic of the tokenizers' Rust is no `Exception`.
    return isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime"


def _given_tokens(argv):
    """The values of `--token`, `--hub_token` and the like: a server may repeat them in whatever it answers."""
    pairs = [*pairwise(argv), *(item.split("=", 1) for item in argv if "=" in item)]
    return [value for name, value in pairs if name.startswith("-") and name.endswith("token")]


def _blot_out_tokens(record):
    """A filter of log records."""
    try:
        record.msg, record.args = without_tokens(record.getMessage()), ()
    except Exception:  # a message that does not fit its arguments: `logging` says so, and goes on
        return True
    return True


def _name_options(package, options, record):
    """A filter of log records: our own messages in the words of the command."""
    if record.name.partition(".")[0] == package and not record.args:
        record.msg = with_options(str(record.msg), options)
    return True


def _is_not_shown_otherwise(record):
    """Whether no library writes this message itself: `datasets` and `huggingface_hub` do, and hand it on too."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:  # the root has none
        if any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


def _resuming(argv):
    """The command line of `adapt` that goes on with the run that another began; `TOKEN` in place of a token."""
    kept, left_out = [], False
    for before, word in zip(["", *argv], argv, strict=False):
        name, equals, _ = word.partition("=")
        if before.startswith("-") and before.endswith("token"):
            word = "TOKEN"  # not "<token>", which a shell takes for names of files
        elif equals and name.startswith("-") and name.endswith("token"):
            word = f"{name}=TOKEN"
        is_value = left_out and word.lower() in ("true", "false")
        left_out = word.replace("-", "_").partition("=")[0] in ("__overwrite", "__resume")
        if not left_out and not is_value:
            kept.append(word)
    return [*kept, "--resume"]
