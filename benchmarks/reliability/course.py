"""The course of a call: one WHAT after the other, each written down at once; then the page."""

import argparse
import datetime
import importlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import torch

from ..environments import ENVIRONMENTS
from ..gpu.record import code_digest
from ..machine import RESULTS, choose_device, describe_machine
from .page import WHATS, name_of, write_page


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    about = "\n".join(f"  {name:<10} {title}" for name, title in WHATS.items())
    parser = argparse.ArgumentParser(
        prog="benchmarks.reliability",
        description=f"Does a run survive? What can be measured:\n\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("whats", nargs="*", metavar="WHAT", help="by default all, in turn")
    parser.add_argument("--size", choices=["whole", "small"], default="whole", help="small takes about a minute each")
    parser.add_argument("--seed", type=int, default=0, help="of whatever is drawn")
    parser.add_argument("--report", action="store_true", help="write the page from what is there, and end")
    parser.add_argument("--work", type=Path, help="folder for texts and runs; default: .bench/reliability")
    parser.add_argument("--output", type=Path, help="folder of results and page; default: those of the project")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in each process")
    options = parser.parse_args(arguments)
    unknown = [what for what in options.whats if what not in WHATS]
    if unknown:
        parser.error(f"{unknown[0]} cannot be measured: WHAT is one of {', '.join(WHATS)}")
    options.whats = options.whats or list(WHATS)
    if options.size == "small" and options.output is None and not options.report:
        parser.error("--size small is to see that it works: give a folder for its results with --output FOLDER")
    return options


def main(arguments=None, started=None):
    """Measure what is asked for, and write the page.

    Args: arguments (`list[str]`, *optional*): of the command line; started (`float`, *optional*): not looked at.
    Returns: `int`, the exit status: 1 where something did not hold.
    """
    options = parse_arguments(arguments)
    results = options.output or RESULTS
    failures: list = []
    for what in () if options.report else options.whats:
        print(f"{what}: {WHATS[what]}", flush=True)
        run = measured(what, options)
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"{name_of(what)}.json"
        path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        failures += [f"{what}: {failure}" for failure in run["figures"]["failures"]]
    page = write_page(results, options.output)
    print(f"{page.name} is written.")
    for failure in failures:
        print(f"did not hold: {failure}", file=sys.stderr)
    return 1 if failures else 0


def measured(what, options):
    """One WHAT, and what it was measured with.

    Args: what (`str`): a module of this package; options (`argparse.Namespace`).
    Returns: `dict`: `command`, `started`, `seconds`, `code`, `machine`, `figures`.
    """
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes that it starts
    folder = (options.work or ENVIRONMENTS / "reliability") / what
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    module = importlib.import_module(f"{__package__}.{what}")
    began, started = time.perf_counter(), datetime.datetime.now().isoformat(timespec="seconds")
    its_options = argparse.Namespace(
        size=options.size, seed=options.seed, threads=options.threads, work=folder.resolve()
    )
    figures = module.measure(its_options)
    return {
        "command": _command(what, options),
        "started": started,
        "seconds": round(time.perf_counter() - began, 1),
        "code": code_digest(),
        "machine": describe_machine(choose_device("cpu"), options.threads),
        "figures": figures,
    }


def _command(what, options):
    """What gives these figures again. Returns: `str`, without folders."""
    given = {"size": "whole", "seed": 0, "threads": 1}
    changed = [
        f"--{name} {getattr(options, name)}" for name, usual in given.items() if getattr(options, name) != usual
    ]
    return " ".join(["python -m benchmarks.reliability", what, *changed])
