"""Contenders in processes of their own that step in turn, and ratios paired round by round."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from statistics import median

import numpy as np

from .batches import VOCAB_SIZE
from .contenders.common import Setup
from .environments import python_path
from .worker import request_of


TIMEOUT = 900  # seconds for one answer; then the process is ended


class Worker:
    """A contender's process.

    Args:
        module (`str`): its file in `benchmarks/contenders`.
        setup ([`Setup`])
        threads (`int`): of torch.
        environment (`str`, *optional*): in `benchmarks.environments.REQUIREMENTS`.

    Raises:
        RuntimeError: it could not be installed or built; the reason.
    """

    def __init__(self, module, setup, threads, environment=None):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            env={**os.environ, "PYTHONPATH": python_path(environment), "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._ask(request_of(module, setup, threads))
        except RuntimeError:
            self.close()
            raise

    def step(self, rows):
        """One step. Args: rows (`list[list[int]]`). Returns: `dict`, what the contender reports."""
        return self._ask(rows)

    def close(self):
        """End the process."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ask(self, message):
        alarm = threading.Timer(TIMEOUT, self._process.kill)
        alarm.start()
        with contextlib.suppress(BrokenPipeError):  # it died: there is no answer below
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        alarm.cancel()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _last_words(self):
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        status = f"the process ended with status {self._process.wait()}"
        return f"{status}: {lines[-1]}" if lines else status


def start_workers(contenders, setup, threads):
    """Start a process for each contender; one that cannot run is left out, with the reason.

    Args:
        contenders (`dict[str, Contender]`)
        setup (`dict`): arguments of [`Setup`], without the piece.
        threads (`int`): of torch in each.

    Returns:
        `dict[str, Worker]` and `dict[str, str]`: those that run, and why the others do not.
    """
    workers, failed = {}, {}
    for name, contender in contenders.items():
        try:
            its_setup = Setup(**setup, piece=contender.piece)
            workers[name] = Worker(contender.module, its_setup, threads, contender.environment)
        except RuntimeError as error:
            failed[name] = str(error)
    return workers, failed


def run_rounds(workers, batches, rounds, warmup=0):
    """Let all step in turn, A B C A B C, each waiting for the one before.

    Args:
        workers (`dict[str, Worker]`): one that fails is left out from then on.
        batches (`dict[str, list]`): the batches of each, one a round, warm-up included.
        rounds (`int`): that are counted.
        warmup (`int`): rounds before them that are not.

    Returns:
        `dict[str, list[dict]]` and `dict[str, str]`: the reports of the counted rounds, and why some failed.
    """
    reports, failed = {name: [] for name in workers}, {}
    for number in range(warmup + rounds):
        for name in [name for name in workers if name not in failed]:
            try:
                report = workers[name].step(batches[name][number])
            except RuntimeError as error:
                failed[name] = str(error)
                continue
            if number >= warmup:
                reports[name].append(report)
    return {name: found for name, found in reports.items() if name not in failed}, failed


def paired_ratio(values, reference):
    """The ratio of two contenders, round by round.

    Args: values, reference (`list[float]`): one a round. Returns: `dict` of median, 10th and 90th percentile.
    """
    return spread([one / other for one, other in zip(values, reference, strict=True)])


def spread(values):
    """Args: values (`list[float]`). Returns: `dict` of median, 10th and 90th percentile."""
    low, high = np.percentile(values, [10, 90])
    return {"median": median(values), "p10": float(low), "p90": float(high)}


def vocab_rows(tokenizer):
    """Rows of the embedding tables: KoELECTRA's, or more where the tokenizer has more. Returns: `int`."""
    return max(VOCAB_SIZE, len(tokenizer))
