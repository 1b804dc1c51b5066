"""`python -m benchmarks.study`: see `--help`."""

import os
import sys
import time


def run():
    """The command. Returns: `int`, its exit status."""
    started = time.monotonic()
    # Before anything is imported that reads them.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no file is looked for on a network that is not there
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # with several cards, the Trainer would take all of them
    from .course import main

    try:
        return main(started=started)
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept: the same command goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
