"""Puts what was measured into docs/reliability.md, a section each; all else in it is written by hand, and stays."""

import importlib
import json

from .. import ROOT
from ..report import machine_words, page_or_copy, replace_between_markers


PAGE = ROOT / "docs" / "reliability.md"
WHATS = {
    "kills": "SIGKILL at random moments, then resumed",
    "damage": "every file of the newest checkpoint damaged in turn, then resumed",
    "signals": "each signal in each phase of a run",
    "parity": "one process against several",
    "processes": "four processes killed and restarted",
    "stream": "a large corpus through the streaming path",
    "memory": "memory by formula against memory measured",
}


def name_of(what):
    """Args: what (`str`). Returns: `str`, of its file of results and of its markers."""
    return f"reliability-{what}-cpu"


def write_page(results, output=None):
    """Write what is known by now.

    Args: results (`Path`): the folder of results; output (`Path`, *optional*): a folder for a copy of the page.
    Returns: `Path`: what was written.
    """
    page = page_or_copy(PAGE, output)
    text = page.read_text(encoding="utf-8")
    for what in WHATS:
        file = results / f"{name_of(what)}.json"
        if file.is_file():
            text = replace_between_markers(text, name_of(what), section(what, json.loads(file.read_text("utf-8"))))
    page.write_text(text, encoding="utf-8")
    return page


def section(what, run):
    """Args: what (`str`); run (`dict`): of its file of results. Returns: `str`, Markdown."""
    module = importlib.import_module(f"{__package__}.{what}")
    failures = [f"**Did not hold:** {failure}" for failure in run["figures"]["failures"]]
    facts = f"`{run['command']}`, {_duration(run['seconds'])}. {machine_words(run)}."
    return "\n\n".join([*failures, module.tables(run["figures"]), facts])


def _duration(seconds):
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
