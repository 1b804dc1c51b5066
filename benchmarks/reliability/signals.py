"""Each signal that asks a run to end, in each of its phases: status, words, what is left, and whether it goes on."""

import os
import re
import signal
import subprocess
import sys
import time

from .. import ROOT
from ..report import markdown_table
from .runs import Runs, faults


SIGNALS = {
    "SIGTERM": [signal.SIGTERM],
    "SIGUSR1": [signal.SIGUSR1],
    "SIGHUP": [signal.SIGHUP],
    "Ctrl-C": [signal.SIGINT],
    "Ctrl-C twice": [signal.SIGINT, signal.SIGINT],
}
# Where it is sent: a phase of `runs`, and the how-maniest of these; and what is asked of the run there: that it ends
# at once, or saves before, or has saved already.
AT_ONCE, SAVES, SAVED = "at once", "saves", "saved"
PHASES = {
    "reading text": ("reading text", 1, AT_ONCE),
    "evaluation before training": ("evaluating", 1, AT_ONCE),
    "a step": ("a step", 7, SAVES),
    "evaluation between steps": ("evaluating", 3, SAVES),  # the second in training, after step 8
    "saving": ("saving", 3, SAVES),
    "writing the manifest": ("writing the manifest", 3, SAVES),
    "evaluation after training": ("evaluating", 5, SAVED),
    "exporting": ("exporting", 1, SAVED),
}
IMPORTS = "imports"
MOMENTS = (0.1, 0.3, 1.0, 2.0)  # seconds after the command has begun, while libraries are imported
BEGUN = "begun\n"
LAUNCH = f"import os, sys; from electra_rtd_launcher import main; os.write(2, {BEGUN.encode()!r}); sys.exit(main())"
SMALL = [("SIGTERM", "a step"), ("SIGTERM", "evaluation between steps"), ("Ctrl-C twice", "saving")]
BETWEEN = 0.02  # seconds between two signals


def measure(options):
    """Send each in each phase, go on, compare. Args: options: see the package. Returns: `dict`."""
    runs = Runs(options.work, options.seed)
    pairs = SMALL if options.size == "small" else [(name, phase) for phase in PHASES for name in SIGNALS]
    sent = []
    for number, (name, phase) in enumerate(pairs):
        sent.append(_send(runs, f"run-{number}", name, phase))
        print(f"  {name} in {phase}: {sent[-1]['status']}, {sent[-1]['said']}", flush=True)
    moments = MOMENTS[:1] if options.size == "small" else MOMENTS
    early = [_send_early(options.work, name, moment) for name in list(SIGNALS)[:4] for moment in moments]
    failures = [f"{one['signal']} in {one['phase']}: {wrong}" for one in (*sent, *early) for wrong in one["wrong"]]
    return {"sent": sent, "early": early, "failures": failures}


def _send(runs, folder, name, phase):
    place, times, asked = PHASES[phase]
    run = runs.start(folder)
    run.wait_for(place, times)
    for number in SIGNALS[name]:
        run.send(number)
        time.sleep(BETWEEN)
    status, shown = run.end(), run.shown()
    said = re.search(r"electra-rtd adapt: (.*)", shown)
    found = {
        "signal": name,
        "phase": phase,
        "status": status,
        "said": said[1] if said else "",
        "saved": " is whole.\n" in shown,
        "lost": re.findall(r"the \d+ steps? since then", shown),
        "wrong": _wrong(status, shown, asked, SIGNALS[name]) + faults(run.folder),
    }
    if status == 0 and "trained" in shown and not said:
        found["wrong"].append("it came too late: the run is over")
    found["from"], wrong = runs.goes_on(folder)
    return {**found, "equal": not wrong, "wrong": found["wrong"] + wrong}


def _wrong(status, shown, asked, numbers):
    """What is not as it should be: `list[str]`."""
    is_ctrl_c, twice = numbers[0] == signal.SIGINT, len(numbers) > 1
    expected = 130 if is_ctrl_c else 128 + numbers[0] if asked == AT_ONCE else 0
    wrong = [] if status == expected else [f"the status is {status}, not {expected}"]
    wrong += ["a traceback"] if "Traceback" in shown else []
    if asked != AT_ONCE and not twice:
        wrong += ["something is lost"] if "lost" in shown or " is whole.\n" not in shown else []
        wrong += [] if re.search(r"^  \S+.* adapt .* --resume$", shown, re.MULTILINE) else ["no command that goes on"]
    return wrong


def _send_early(work, name, moment):
    """While libraries are imported: a process as a shell starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = ["adapt", "--checkpoint", "nowhere", "--train_file", "text.txt", "--output_dir", "early"]
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *argv], cwd=work, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None and process.stderr.readline() == BEGUN
        time.sleep(moment)
        process.send_signal(SIGNALS[name][0])
        shown = process.stderr.read().strip()
    number = SIGNALS[name][0]
    # Until something has begun, a signal does what it does to any process: a shell shows 128 and its number.
    status = 130 if number == signal.SIGINT else -number
    wrong = [] if process.returncode == status else [f"the status is {process.returncode}, not {status}"]
    wrong += ["a traceback"] if "Traceback" in shown else []
    wrong += ["a folder is left"] if (work / "early").exists() else []
    return {
        "signal": name,
        "phase": f"{IMPORTS}, after {moment} s",
        "status": process.returncode,
        "said": shown,
        "wrong": wrong,
    }


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`, Markdown."""
    names = [name for name in SIGNALS if any(one["signal"] == name for one in figures["sent"])]
    rows = []
    early = {one["signal"]: one for one in figures["early"]}
    if early:
        cells = [f"{early[name]['status'] % 256 if early[name]['status'] >= 0 else 128 - early[name]['status']}"
                 if name in early else "" for name in names]  # fmt: skip
        rows.append([f"{IMPORTS} ({', '.join(f'{moment:g}' for moment in MOMENTS)} s after its first line)", *cells])
    by_place = {(one["phase"], one["signal"]): one for one in figures["sent"]}
    for phase in PHASES:
        cells = [_cell(by_place[phase, name]) if (phase, name) in by_place else "" for name in names]
        if any(cells):
            rows.append([phase, *cells])
    equal = sum(one["equal"] for one in figures["sent"])
    said = (
        "The exit status as a shell shows it; *saved*: the last step is in a whole checkpoint. "
        f"{equal} of {len(figures['sent'])} runs, resumed (or begun anew where nothing was saved yet), ended with the "
        "bytes of the weights, the log and the names of files of a run that nobody disturbed."
    )
    if not figures["failures"]:
        said += " Nothing half-written was left, and no traceback was shown."
    return f"{said}\n\n{markdown_table(['sent in', *names], rows)}"


def _cell(one):
    lost = f", {one['lost'][0].removeprefix('the ').removesuffix(' since then')} lost" if one["lost"] else ""
    return f"{one['status']}{', saved' if one['saved'] else ''}{lost}"
