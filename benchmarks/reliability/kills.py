"""Runs killed with SIGKILL at random, then resumed: do they end where a run ends that nobody disturbed?"""

import json
import multiprocessing
import random
import signal
import time
from collections import Counter

from ..report import markdown_table
from .runs import NAMES, STEPS, Runs, faults, outcome
from .small_run import log_of


# How many kills: at any moment of a run, and in the middle of one of its phases.
PLANS = {
    "whole": {None: 80, "saving": 40, "writing the manifest": 25, "rotating": 25, "exporting": 30},
    "small": {None: 2, "saving": 1, "writing the manifest": 1, "exporting": 1},
}
JOBS = 3  # processes that kill, each its own runs
# Seconds that a phase takes: it is killed so long after it began, at most.
TAKES = {"saving": 0.06, "writing the manifest": 0.04, "rotating": 0.01, "exporting": 0.12}


def measure(options):
    """Kill, look, resume, compare. Args: options: see the package. Returns: `dict`."""
    runs, draw = Runs(options.work, options.seed), random.Random(options.seed)
    plan = [wanted for wanted, number in PLANS[options.size].items() for _ in range(number)]
    draw.shuffle(plan)
    jobs = [(runs, job, plan[job::JOBS], options.seed) for job in range(JOBS)]
    # Of the disk's time and of Python's, a run needs little that another one needs too.
    processes = [multiprocessing.get_context("fork").Process(target=_share, args=job) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    files = sorted(runs.work.glob("kills-*.jsonl"))
    kills = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    survived = len([kill for kill in kills if not kill["killed"]])
    kills = [kill for kill in kills if kill["killed"]]
    failures = [f"{kill['run']}, killed in {kill['in']}: {wrong}" for kill in kills for wrong in kill["wrong"]]
    if len(kills) < len(plan):
        failures.append(f"only {len(kills)} of {len(plan)} kills could be looked at: see what was printed")
    return {
        "steps": STEPS,
        "seconds_of_a_run": round(runs.seconds, 2),
        "ended_before": survived,
        "log_rows": len(log_of(runs.work / "undisturbed")),
        "undisturbed": outcome(runs.work / "undisturbed"),
        "kills": kills,
        "failures": failures,
    }


def _share(runs, job, plan, seed):
    """One of several processes: its share of the kills, each written down at once."""
    draw, number = random.Random(f"{seed} {job}"), 0
    with open(runs.work / f"kills-{job}.jsonl", "w", encoding="utf-8") as file:
        while plan:
            name, number = f"run-{job}-{number}", number + 1
            kill = _kill(runs, name, plan[-1], draw)
            if kill is None:  # it ended before: that is no kill
                print(json.dumps({"killed": False}), file=file, flush=True)
                continue
            plan.pop()
            kill["left"] = faults(runs.work / name)  # which the run that goes on has to remove
            kill["from"], kill["wrong"] = runs.goes_on(name)
            print(json.dumps({"killed": True, "run": name, **kill}, ensure_ascii=False), file=file, flush=True)
            print(f"  {name}, killed in {kill['in']}: {'; '.join(kill['wrong']) or 'as undisturbed'}", flush=True)


def _kill(runs, name, phase, draw):
    """One run, killed. Returns: `dict`, or `None` where it was over before."""
    run = runs.start(name)
    if phase is None:
        moment = draw.uniform(0, runs.seconds)
        began = time.monotonic()
        while time.monotonic() - began < moment and not run.has_ended():
            time.sleep(0.001)
    else:
        run.wait_for(phase, 1 if phase == "exporting" else draw.randint(1, STEPS // 2))
        time.sleep(draw.uniform(0, TAKES[phase]))
    run.send(signal.SIGKILL)
    if run.end() != -signal.SIGKILL:
        return None
    return {"wanted": phase or "any moment", "in": run.place.phase(), "steps": run.place.times("a step")}


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`, Markdown."""
    kills = figures["kills"]
    by_phase = Counter(kill["in"] for kill in kills)
    rows = []
    for phase in [name for name in NAMES if by_phase[name]]:
        here = [kill for kill in kills if kill["in"] == phase]
        anew = sum(kill["from"] == "the start" for kill in here)
        left = sum(bool(kill["left"]) for kill in here)
        equal = sum(not kill["wrong"] for kill in here)
        rows.append([phase, len(here), left, len(here) - anew, anew, f"{equal} of {len(here)}"])
    totals = [len(kills), *(sum(row[column] for row in rows) for column in (2, 3, 4))]
    equal = sum(not kill["wrong"] for kill in kills)
    rows.append(["**all**", *totals, f"**{equal} of {len(kills)}**"])
    header = [
        "killed in",
        "kills",
        "left something (its lock, half a folder)",
        "went on from a checkpoint",
        "began anew",
        "ended as undisturbed, nothing half-written",
    ]
    said = (
        f"{len(kills)} kills of runs of {figures['steps']} steps, saved every 2 steps, with 2 checkpoints kept, "
        f"evaluated every 4: {sum(kill['wanted'] == 'any moment' for kill in kills)} at a random moment of the run, "
        "the others at a random moment of a phase. After each, `--resume` (or, before the first whole checkpoint, "
        "`--overwrite`). *As undisturbed*: the bytes of the weights and of the exported discriminator, all "
        f"{figures['log_rows']} rows of the log (but for clocks) and the names in the folder are equal. *Began anew*: "
        "no checkpoint was whole yet."
    )
    return f"{said}\n\n{markdown_table(header, [[str(cell) for cell in row] for row in rows])}"
