"""How the examples are called: what they need, and errors in the words of their options."""

import importlib.util
import sys

from electra_rtd.terminal import messages_shown, with_options


def require(*modules):
    """Refuse to begin without the packages of the extra `exits`.

    Args: modules (`str`): names to import. Raises: ValueError: names what is missing, and the command.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(name.replace("_", "-") for name in missing)
        raise ValueError(f"This example needs {names}, which is not installed: `pip install -e '.[exits]'`.")


def call(parser, course, arguments=None):
    """Parse a command line, and run an example with what it says.

    Args:
        parser (`CommandParser`); course (callable): takes the options by name, prints what comes of it.
        arguments (`list[str]`, *optional*): by default those of the process.

    Returns:
        `int`: 0, or 2 after an error of the user, whose message is printed.
    """
    options = vars(parser.parse_args(arguments))
    try:
        with messages_shown("electra_rtd", options):
            course(**options)
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: error: {with_options(str(error), options)}", file=sys.stderr)
        return 2
    return 0
