"""Runs of four processes, of which one or all are killed, and restarted from their newest whole checkpoint.

Each process is a fork that runs `adapt`, by DDP or with its weights in parts (FSDP2, `SHARDED_STATE_DICT`), over gloo.
What is left at the end is compared with what an undisturbed run of four processes left: weights by their hash, the log
value by value.
"""

import os
import random
import time
from pathlib import Path

import torch

from electra_rtd.train_tools.whole_checkpoints import newest_whole_here

from ..forked import FSDP2, allow_fsdp_on_cpu, run_forked, start_forked
from .small_run import end_of, make_start, small_run


PROCESSES, STEPS, EVERY = 4, 12, 2
WAYS = {"DDP": {}, "FSDP2 in parts": {**FSDP2, "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}}
KILLED = ("one process", "all processes")


def measure(options):
    """Args: options (`argparse.Namespace`): see the package. Returns: `dict`: `runs`, `kills`, `failures`."""
    make_start(options.work, embedding_sharing="tied")
    draw, kills, failures = random.Random(options.seed), [], []
    for way in list(WAYS)[: None if options.size == "whole" else 1]:
        wanted = end_of(_whole_run(options, way, f"{way[:4]}-undisturbed"))
        again = end_of(_whole_run(options, way, f"{way[:4]}-again"))
        if again != wanted:
            failures.append(f"{way}: two undisturbed runs differ")
        number = {"whole": 3, "small": 1}[options.size] if way == "DDP" else 1
        for who in KILLED:
            for turn in range(number):
                name = f"{way}-{who}-{turn}".replace(" ", "-")
                kill = {"way": way, "who": who, **_kill(options, way, who, name, draw)}
                how = {"resume": True} if kill["from"] is not None else {"overwrite": True}
                kill["same"] = end_of(_whole_run(options, way, name, **how)) == wanted
                kills.append(kill)
                if not kill["same"]:
                    failures.append(f"{name}: it ended otherwise than the undisturbed run ({kill})")
                print(kill, flush=True)
    return {"processes": PROCESSES, "steps": STEPS, "every": EVERY, "kills": kills, "failures": failures}


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`, Markdown."""
    rows = [
        f"Runs of {figures['processes']} processes and {figures['steps']} steps that save every {figures['every']}, "
        "with dropout, killed with SIGKILL within half a second after a save began (0: none was whole yet, and the "
        "run was begun again):",
        "",
        "| way | killed | runs | went on from step | ended with the weights and the log of the undisturbed run |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    for way in WAYS:
        for who in KILLED:
            kills = [kill for kill in figures["kills"] if (kill["way"], kill["who"]) == (way, who)]
            if kills:
                steps = ", ".join(str(step) for step in sorted({kill["from"] or 0 for kill in kills}))
                same = sum(kill["same"] for kill in kills)
                rows.append(f"| {way} | {who} | {len(kills)} | {steps} | {same} of {len(kills)} |")
    ends = [end for kill in figures["kills"] for end in kill["others"]]
    alone = sum(end is not None for end in ends)
    rows += [
        "",
        f"Where one process was killed, {alone} of the {len(ends)} others ended by themselves within "
        f"{PATIENCE} seconds, with an error of the connection; a launcher ends the rest.",
    ]
    return "\n".join(rows)


PATIENCE = 10  # seconds for the others to notice


def _adapt(work, name, seed, **how):
    """In one of the processes."""
    torch.set_num_threads(1)
    if os.environ.get("ACCELERATE_USE_FSDP"):
        allow_fsdp_on_cpu()
    small_run(work, name, seed=seed, steps=STEPS, every=EVERY, rows=4, fast=False, **how)


def _whole_run(options, way, name, **how):
    named = {"work": options.work, "name": name, "seed": options.seed, **how}
    run_forked(_adapt, PROCESSES, named=named, environment=WAYS[way], timeout=600)
    return options.work / name


def _kill(options, way, who, name, draw):
    """Start a run, wait for a save that is drawn, and kill: `dict` of how the others ended, and where it goes on."""
    folder = options.work / f"logs-{name}"
    folder.mkdir()
    step = EVERY * draw.randint(1, STEPS // EVERY - 2)

    def call():
        _adapt(options.work, name, options.seed)

    started = start_forked(call, PROCESSES, folder=folder, environment=WAYS[way])
    while not (options.work / name / f"checkpoint-{step}").exists():
        if any(one.poll() is not None for one in started):
            raise RuntimeError("\n".join(one.words() for one in started))
        time.sleep(0.005)
    time.sleep(draw.uniform(0, 0.5))
    chosen = started if who == "all processes" else [started.pop(draw.randrange(PROCESSES))]
    for one in chosen:
        one.kill()
    end = time.monotonic() + PATIENCE
    others = started if who == "one process" else []
    while any(one.poll() is None for one in others) and time.monotonic() < end:
        time.sleep(0.02)
    ends = [one.poll() for one in others]
    for one in started:
        one.kill()
    newest = newest_whole_here(options.work / name)
    return {"after": step, "others": ends, "from": newest and int(Path(newest).name.split("-")[1])}
