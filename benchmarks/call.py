"""How a measurement of many pieces is called: what is set before libraries are imported, and how it is stopped."""

import importlib
import os
import sys
import time


def call(package, kept):
    """Run `main` of a package's `course` module.

    Args:
        package (`str`): such as `"benchmarks.gpu"`.
        kept (`str`): what to say to somebody who stops it.

    Returns:
        `int`: its exit status
    """
    started = time.monotonic()
    # Before anything is imported that reads them.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no file is looked for on a network that is not there
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # with several cards, the Trainer would take all of them
    course = importlib.import_module(f"{package}.course")
    try:
        return course.main(started=started)
    except KeyboardInterrupt:
        print(f"\nStopped. {kept}", file=sys.stderr)
        return 130
