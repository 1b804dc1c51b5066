"""A process that builds one contender, then steps when it is told to: one line of JSON in, one line out."""

import json
import os
import sys
from dataclasses import asdict

import torch

from .contenders import build
from .contenders.common import Setup
from .machine import PeakMemory


def main():
    """Read requests from standard input until it ends: first what to build, then the rows of each step."""
    # The answers get the standard output to themselves, whatever a package may print.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    request = json.loads(sys.stdin.readline())
    torch.set_num_threads(request["threads"])
    setup = Setup(**request["setup"])
    memory = PeakMemory(torch.device(setup.device))
    try:
        contender = build(request["module"], setup)
        answer({"ready": True})
        for line in sys.stdin:
            answer({**contender.step(json.loads(line)), "peak_memory": memory.bytes()})
    except Exception as error:  # of whatever package: the reason is a result too
        answer({"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"})


def request_of(module, setup, threads):
    """The first line that a worker reads.

    Args: module (`str`); setup ([`Setup`]); threads (`int`): of torch. Returns: `dict`.
    """
    return {"module": module, "setup": asdict(setup), "threads": threads}


if __name__ == "__main__":
    main()
