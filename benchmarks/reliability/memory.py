"""Memory by formula against memory measured: each line a fresh process, which trains or evaluates with the Trainer."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from .. import ROOT
from .memory_worker import WAYS


MIB = 2**20
ALLOWED = 0.2  # of the estimate
NOISE = 8 * MIB
PINNED = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # glibc gives back what is freed, from 128 KiB on
TRAINED = {
    "whole": [
        {"shape": "base", "rows": 2, "length": 32},
        {"shape": "small", "rows": 8, "length": 64},
        {"shape": "small", "rows": 8, "length": 64, "accumulation": 2},
        {"shape": "small", "rows": 8, "length": 64, "checkpointing": True},
        {"shape": "small", "rows": 2, "length": 256},
        {"shape": "mini", "rows": 16, "length": 64},
        {"shape": "mini", "rows": 16, "length": 128},
    ],
    "small": [{"shape": "mini", "rows": 8, "length": 64}],
}
EVALUATED = {
    "whole": [{"shape": "base", "rows": 4, "length": 64}, {"shape": "mini", "rows": 64, "length": 64}],
    "small": [{"shape": "mini", "rows": 32, "length": 64}],
}
ROWS = {"whole": (160, 3_200), "small": (80, 1_600)}  # held out, of 512 tokens: once and twenty times as many
AT_ONCE = 3  # processes: what one of them takes does not depend on the others
BATCH = 16


def measure(options):
    """Train and evaluate shapes, and evaluate once and twenty times as much text.

    Args: options (`argparse.Namespace`): of the command. Returns: `dict`: `steps`, `growth` and `failures`.
    """
    asked = [("train", setup) for setup in TRAINED[options.size]]
    asked += [("evaluate", setup) for setup in EVALUATED[options.size]]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        steps = list(pool.map(lambda one: _step(options, *one), asked))
        growth = list(pool.map(lambda way: _growth(options, way), WAYS))
    return {"steps": steps, "growth": growth, "failures": failures(steps, growth)}


def _step(options, what, setup):
    """One shape, once as the C library gives memory back and once as it is."""
    pinned, as_it_is = (_run(options, one, what=what, **setup) for one in (PINNED, {}))
    step = {
        "what": what,
        "setup": setup,
        "estimated": pinned["estimated"],
        "given_back": pinned["measured"],
        "kept": as_it_is["measured"],
        "seconds": [pinned["seconds"], as_it_is["seconds"]],
    }
    print(_line(step), flush=True)
    return step


def _growth(options, way):
    """One way to evaluate, with once and with twenty times as much text."""
    counts = ROWS[options.size]
    found = [
        _run(options, PINNED, what=way, shape="tiny", vocab=500, rows=BATCH, length=512, batches=count // BATCH)
        for count in counts
    ]
    measured = [one["measured"] for one in found]
    print(f"{way}: {[round(one / MIB) for one in measured]} MiB", flush=True)
    has_parts = all(any("disc_auc" in name for name in one["figures"]) for one in found)
    return {"way": way, "rows": list(counts), "measured": measured, "has_parts": has_parts}


def failures(steps, growth):
    """What does not hold, in words. Args: steps, growth (`list[dict]`). Returns: `list[str]`."""
    found = []
    for step in steps:
        for name, measured in (("peak", step["given_back"]), ("resident", step["kept"])):
            estimated = step["estimated"][name]
            if abs(measured - estimated) > max(ALLOWED * estimated, NOISE):
                found.append(f"{_name(step)}: {name} is {measured / MIB:.0f} MiB, by formula {estimated / MIB:.0f}")
    for one in growth:
        gathers = not one["way"].endswith("prediction_loss_only") and one["way"] != "evaluate"
        if not gathers and one["measured"][1] - one["measured"][0] > NOISE:
            found.append(f"{one['way']}: memory grows with the text")
        if not one["has_parts"]:
            found.append(f"{one['way']}: the figures of RTDMetricsCallback are missing")
    return found


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`, Markdown."""
    head = "what | `peak` by formula | freed memory given back | ratio | `resident` by formula | as it is | ratio"
    lines = [
        f"| {head} |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for step in figures["steps"]:
        cells = []
        for name, measured in (("peak", step["given_back"]), ("resident", step["kept"])):
            estimated = step["estimated"][name]
            cells += [f"{estimated / MIB:,.0f}", f"{measured / MIB:,.0f}", f"{measured / estimated:.2f}"]
        lines.append(f"| {_name(step)} | {' | '.join(cells)} |")
    few, many = figures["growth"][0]["rows"]
    lines += ["", f"| evaluation of rows of 512 tokens | {few:,} rows | {many:,} rows |", "| --- | --- | --- |"]
    for one in figures["growth"]:
        lines.append(f"| {one['way']} | {' | '.join(f'{value / MIB:,.0f}' for value in one['measured'])} |")
    return "MiB above what a process held after a first, tiny run.\n\n" + "\n".join(lines)


def _name(step):
    setup = step["setup"]
    more = f", {setup['accumulation']} batches a step" if setup.get("accumulation") else ""
    more += ", checkpointing" if setup.get("checkpointing") else ""
    return f"{step['what']} {setup['shape']}, {setup['rows']} x {setup['length']}{more}"


def _line(step):
    return (
        f"{_name(step)}: peak {step['given_back'] / step['estimated']['peak']:.2f} of the formula's, resident "
        f"{step['kept'] / step['estimated']['resident']:.2f}; {step['seconds'][0]:.1f} and {step['seconds'][1]:.1f} s"
    )


def _run(options, environment, **setup):
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.reliability.memory_worker",
            json.dumps({"folder": str(options.work / "run"), **setup}),
        ],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise RuntimeError(f"{setup}: {process.stderr[-2000:]}")
    return json.loads(process.stdout.strip().splitlines()[-1])
