"""`python -m benchmarks.reliability WHAT...`: see `--help`."""

import sys

from ..call import call


if __name__ == "__main__":
    sys.exit(call("benchmarks.reliability", "What was finished is kept: name the others again."))
