"""What is found is written at once, so that a cut-off run leaves what it had, and the next goes on from there."""

import contextlib
import hashlib
import json
import os
import time

from .. import ROOT


FORMAT = 1


class Clock:
    """The time that a run may take.

    Args: minutes (`float`); started (`float`, *optional*): by `time.monotonic`, by default now.
    """

    def __init__(self, minutes, started=None):
        self.start = time.monotonic() if started is None else started
        self.seconds = minutes * 60

    def elapsed(self):
        """Returns: `float`, seconds since the start."""
        return time.monotonic() - self.start

    def left(self):
        """Returns: `float`, seconds; below 0 where it is over."""
        return self.seconds - self.elapsed()


class Record:
    """The file of results: what they hold for (`facts`), and one entry a finding.

    Args:
        path (`Path`): the file; its folder is made.
        facts (`dict`): card, releases, text: a file of others is put aside, under `.before.json`.
        fresh (`bool`): begin anew.
    """

    def __init__(self, path, facts, fresh=False):
        self.path, self.code = path, code_digest()
        self.content = {"format": FORMAT, "facts": facts, "runs": [], "found": {}}
        path.parent.mkdir(parents=True, exist_ok=True)
        before = None if fresh else self._read()
        if isinstance(before, dict) and before.get("format") == FORMAT and before.get("facts") == facts:
            self.content = before
        elif path.exists():
            os.replace(path, path.with_suffix(".before.json"))

    def _read(self):
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # broken: put aside as that of another machine is
            return None

    def begin(self, command, started):
        """Args: command (`str`): what was typed; started (`str`): date and time."""
        self.content["runs"].append({"command": command, "started": started, "code": self.code})
        self._write()

    def has(self, name):
        """Whether a run need not look again. Args: name (`str`): of a finding. Returns: `bool`."""
        return self.content["found"].get(name, {}).get("status") in ("passed", "measured")

    def add(self, name, status, is_check, **fields):
        """What was found.

        Args: name (`str`); status (`str`): `passed`, `failed`, `skipped` or `measured`; is_check (`bool`); **fields.
        """
        self.content["found"].pop(name, None)  # found again, it stands last
        self.content["found"][name] = {"status": status, "is_check": is_check, "code": self.code, **fields}
        self._write()

    def with_status(self, status):
        """Args: status (`str`). Returns: `list[str]`, the names of those."""
        return [name for name, entry in self.content["found"].items() if entry["status"] == status]

    def failed_checks(self):
        """Returns: `list[str]`, names of checks: while there are some, no timing is to be trusted."""
        return [name for name in self.with_status("failed") if self.content["found"][name]["is_check"]]

    def of_other_code(self):
        """Returns: `list[str]`, names of what was found with other code than this."""
        return [name for name, entry in self.content["found"].items() if entry["code"] != self.code]

    def _write(self):
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, self.path)  # whole, or as it was


def code_digest():
    """Tells apart what was measured. Returns: `str`, of the model files, `train_tools` and the benchmarks."""
    digest = hashlib.sha256()
    folders = [ROOT / "benchmarks", ROOT / "train_tools"]  # attention by boundaries and compiled layers are there
    files = [path for folder in folders for path in folder.rglob("*.py")]
    for path in sorted([*ROOT.glob("*_electra_rtd.py"), *files]):
        digest.update(path.relative_to(ROOT).as_posix().encode())
        with contextlib.suppress(FileNotFoundError):  # removed in between
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
