"""`python -m benchmarks.objectives`: see `--help`."""

import sys

from ..call import call


if __name__ == "__main__":
    sys.exit(call("benchmarks.objectives", "What was finished is kept: the same command goes on."))
