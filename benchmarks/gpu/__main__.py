"""`python -m benchmarks.gpu`: see `--help`."""

import os
import sys
import time


def run():
    """The command. Returns: `int`, its exit status."""
    started = time.monotonic()
    # Before anything is imported that reads them: no file is to be looked for on a network that is not there.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from .course import main

    return main(started=started)


if __name__ == "__main__":
    sys.exit(run())
