"""What a run has written down in English, in the language of the report: reasons, and signs of a dead run."""

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import yaml

from ..evaluation.results import NOTHING, printable


@cache
def _korean():
    return yaml.safe_load(Path(__file__).with_name("messages.ko.yaml").read_text(encoding="utf-8"))


def reason(why, lang):
    """Why a fast setting was chosen.

    Args: why (`str`): as `adapt` wrote it down; lang (`str`). Returns: `str`: parts without a translation stay.
    """
    said = printable(NOTHING if why is None else why)
    for pattern, korean in _korean()["reasons"].items() if lang == "ko" else ():
        said = re.sub(pattern, korean, said)
    return said


def sign(row, log, shown, lang):
    """A sign of a dead run in words.

    Args: row (`dict`): of the log, with `health`, `message` and `step`; log (`list[dict]`); shown (callable): a number
        as text; lang (`str`). Returns: `str`: as it is written down, where there is no translation.
    """
    korean = _korean()["signs"].get(row["health"]) if lang == "ko" else None
    if korean is None:
        return printable(row["message"])
    figures: dict = defaultdict(lambda: NOTHING)
    for other in log:
        if other.get("step") == row.get("step"):
            figures.update({name: shown(value) for name, value in other.items()})
    return korean.format_map(figures)
