"""`python -m benchmarks.gpu`: see `--help`."""

import sys

from ..call import call


def run():
    """The command. Returns: `int`, its exit status."""
    return call("benchmarks.gpu", "What was found is kept: the same command goes on, and writes the table.")


if __name__ == "__main__":
    sys.exit(run())
