"""`python -m benchmarks.study`: see `--help`."""

import sys

from ..call import call


def run():
    """The command. Returns: `int`, its exit status."""
    return call("benchmarks.study", "What was finished is kept: the same command goes on.")


if __name__ == "__main__":
    sys.exit(run())
