"""Every file of the newest checkpoint is damaged in turn, and the run resumed.

A run of eight steps that saves every two, cut off after the sixth: three checkpoints. What is left at the end is
compared with what the undisturbed run left: weights by their hash, the log and the record of the held-out text.
Once with manifests, and once as an earlier release leaves checkpoints, without any.
"""

import contextlib
import io
import json
import logging
import re
import shutil
from pathlib import Path

from datasets.utils.logging import disable_progress_bar
from transformers.utils.logging import disable_progress_bar as disable_bar

from electra_rtd.train_tools.manifest import MANIFEST
from electra_rtd.train_tools.whole_checkpoints import WRITER

from .small_run import end_of, make_start, small_run


STEPS, EVERY, CUT = 8, 2, 6
NEWEST = f"checkpoint-{CUT}"
DAMAGES = {
    "truncated to half": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "zeroed": lambda data: b"\0" * len(data),
    "one bit flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "deleted": None,
}
SMALL = ("model.safetensors", "optimizer.pt", "trainer_state.json", MANIFEST)
WITH, WITHOUT = "with a manifest", "of an earlier release"


def measure(options):
    """Args: options (`argparse.Namespace`): see the package. Returns: `dict`: `cases`, a `list[dict]`; `failures`."""
    disable_progress_bar(), disable_bar()
    make_start(options.work)
    _run(options, "whole")
    wanted = end_of(options.work / "whole")
    cases = []
    for kind in (WITH, WITHOUT):
        cut = _cut_off(options.work, kind)
        names = sorted(file.name for file in (cut / NEWEST).iterdir())
        for name in names if options.size == "whole" else [name for name in names if name in SMALL]:
            for damage, change in DAMAGES.items():
                folder = Path(shutil.copytree(cut, options.work / "case"))
                _spoil(folder / NEWEST / name, change)
                cases.append({"kind": kind, "file": name, "damage": damage, **_resumed(options, "case", wanted)})
                shutil.rmtree(folder)
        print(f"{kind}: {sum(case['kind'] == kind for case in cases)} cases", flush=True)
    return {"steps": STEPS, "cut": CUT, "files": len(names), "cases": cases, "failures": _failures(cases)}


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`, Markdown."""
    rows = [
        "| checkpoint | damage | files | passed over and named, older one taken | taken, nothing lost | taken, other "
        "weights | error |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind in (WITH, WITHOUT):
        for damage in DAMAGES:
            cases = [case for case in figures["cases"] if case["kind"] == kind and case["damage"] == damage]
            counts = [sum(_class(case) == one for case in cases) for one in range(4)]
            rows.append(f"| {kind} | {damage} | {len(cases)} | {' | '.join(str(count or '') for count in counts)} |")
    same = sum(case["same"] for case in figures["cases"])
    unseen = [f"{case['file']} ({case['damage']})" for case in figures["cases"] if _class(case) == 2]
    words = [
        f"{len(figures['cases'])} cases; in {same} of them the resumed run left the weights (by SHA-256), the log and "
        "the record of the held-out text of the undisturbed one."
    ]
    if unseen:
        words.append(f"Not seen without a manifest, and trained to something else: {', '.join(unseen)}.")
    return "\n".join(rows) + "\n\n" + " ".join(words)


def _class(case):
    """0: an older one taken, the damage named; 1: taken, nothing was lost; 2: taken, other weights; 3: an error."""
    if case["error"] or (case["from"] != CUT and not case["named"]):
        return 3
    return 0 if case["from"] != CUT else (1 if case["same"] else 2)


def _failures(cases):
    """What must not be: with a manifest anything but the older checkpoint, named; without one an error."""
    bad = [case for case in cases if not case["same"] and case["from"] != CUT]
    bad += [case for case in cases if case["kind"] == WITH and _class(case) != 0]
    bad += [case for case in cases if case["kind"] == WITHOUT and _class(case) == 3]
    return [f"{case['kind']}, {case['file']} {case['damage']}: {case}" for case in bad]


def _run(options, name, resume=False):
    with contextlib.redirect_stdout(io.StringIO()):
        small_run(options.work, name, seed=options.seed, steps=STEPS, every=EVERY, rows=8, resume=resume)


def _cut_off(work, kind):
    """The run as it was after the sixth step, without what came later."""
    folder = work / ("cut" if kind == WITH else "cut-earlier")
    for step in range(EVERY, CUT + 1, EVERY):
        checkpoint = Path(shutil.copytree(work / "whole" / f"checkpoint-{step}", folder / f"checkpoint-{step}"))
        if kind == WITHOUT:
            (checkpoint / MANIFEST).unlink()
            file = checkpoint / "trainer_state.json"
            state = json.loads(file.read_text(encoding="utf-8"))
            del state["stateful_callbacks"][WRITER]
            file.write_text(json.dumps(state), encoding="utf-8")
    return folder


def _spoil(file, change):
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))


def _resumed(options, name, wanted):
    """What came of it: where it went on, whether the damage was named, and whether all is as it was to be."""
    heard, error = _Ear(), ""
    logger = logging.getLogger("electra_rtd.train_tools.whole_checkpoints")
    logger.addHandler(heard)
    level, logger.level = logger.level, logging.INFO
    try:
        _run(options, name, resume=True)
    except Exception as raised:  # whatever it is, it is what a person would see
        error = f"{type(raised).__name__}: {raised}"
    finally:
        logger.removeHandler(heard)
        logger.level = level
    said = [line for line in heard.lines if f"{NEWEST} is passed over: " in line]
    taken = next((re.search(r"checkpoint-(\d+),", line) for line in heard.lines if line.startswith("Goes on")), None)
    return {
        "from": taken and int(taken[1]),
        "named": len(said) == 1,
        "said": "".join(said).partition("is passed over: ")[2],
        "same": not error and end_of(options.work / name) == wanted,
        "error": error,
    }


class _Ear(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())
