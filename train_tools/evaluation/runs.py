"""The runs of an evaluation as they are done, in a file that an interrupted command goes on with."""

import hashlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from .evaluation import Run


logger = logging.getLogger(__name__)

RUNS_FILE = "runs.jsonl"


class RunStore:
    """The runs in a folder: one line of JSON each, with the key of everything that its result depends on.

    A line is written at once and read as a whole: what was torn by a full disk or a killed process is left out, and
    that run is done again. One process writes at a time ([`only_run`]).

    Args:
        folder (`str` or path): it is there.
    """

    def __init__(self, folder):
        self.path = Path(folder) / RUNS_FILE
        self._runs: dict[str, dict] = {}
        self._read()

    def __len__(self):
        return len(self._runs)

    def get(self, key, arm):
        """A run that was done before.

        Args:
            key (`str`): of [`key_of`].
            arm (`str`): what its encoder is called this time.

        Returns:
            [`Run`] or `None`
        """
        fields = self._runs.get(key)
        return None if fields is None else Run(**{**fields, "arm": arm})

    def add(self, key, run):
        """Keep a run.

        Args:
            key (`str`), run ([`Run`])

        Raises:
            OSError: it cannot be written.
        """
        fields = asdict(run)
        line = json.dumps({"key": key, "run": fields}, ensure_ascii=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._runs[key] = fields

    def _read(self):
        if not self.path.is_file():
            return
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # the next line must not be the end of this one
            os.truncate(self.path, len(whole))
        unread = int(len(whole) < len(data))
        for line in whole.splitlines():
            try:
                row = json.loads(line)
                Run(**row["run"])
                self._runs[str(row["key"])] = row["run"]
            except (ValueError, TypeError, KeyError):
                unread += 1
        if unread:
            logger.warning(
                f"{self.path}: {unread} of {len(self._runs) + unread} runs cannot be read, and are done again."
            )


def key_of(**what):
    """The key of a run: a digest of whatever its result depends on.

    Args:
        **what: values of JSON.

    Returns:
        `str`
    """
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def fingerprint(split):
    """A digest of the labelled rows of a [`Split`]: `str`."""
    digest = hashlib.sha256()
    for part in (split.train, split.validation, split.test):
        rows = [part.kind, part.texts, part.targets, list(part.names)]
        digest.update(json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
