"""The course of a call: one piece after the other, until the time is over; each result is written at once."""

import argparse
import datetime
import logging
import os
import shlex
import sys
from pathlib import Path

import datasets
import transformers

from ..environments import ENVIRONMENTS
from ..gpu.record import Clock
from ..machine import RESULTS, choose_device, describe_machine
from .page import write_pages
from .plan import FORMS, plan
from .record import StudyRecord
from .work import Work, set_threads


FORMAT = 1


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.study", description=__doc__)
    parser.add_argument("--form", choices=FORMS, default="small", help="small tries the command; whole is the study")
    parser.add_argument("--hours", type=float, default=2.0, help="in all; what does not fit is left to the next call")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="pieces that have one of these in their names")
    parser.add_argument("--list", action="store_true", help="show all pieces with an estimate of each, and end")
    parser.add_argument("--report", action="store_true", help="write the pages from what is there, and end")
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="a pair in the place of the mini pair")
    parser.add_argument("--work", type=Path, help="folder for texts and weights; default: .bench/study")
    parser.add_argument("--output", type=Path, help="folder of results and pages; default: those of the project")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch on a CPU")
    options = parser.parse_args(arguments)
    if options.hours <= 0:
        parser.error(f"--hours is {options.hours}: it must be more than 0")
    return options


def main(arguments=None, started=None):
    """Do what is not done yet, in the order of the plan.

    Args: arguments (`list[str]`, *optional*): of the command line; started (`float`, *optional*): by `time.monotonic`.
    Returns: `int`, the exit status: 1 where a piece could not be done, 2 where there is none.
    """
    options = parse_arguments(arguments)
    form, clock = FORMS[options.form], Clock(60 * options.hours, started)
    device = choose_device("auto")
    folder = (options.work or ENVIRONMENTS / "study") / form.name
    # The small form is no result to keep: a fresh checkout runs it.
    results = options.output or (folder if form.name == "small" else RESULTS)
    path = results / f"study-{form.name}-{device.type}.json"
    pieces = plan(form)
    chosen = [piece for piece in pieces if not options.only or any(word in piece.name for word in options.only)]
    if options.only and not chosen:
        print(f"No piece has {' or '.join(options.only)} in its name: `--list` shows them.", file=sys.stderr)
        return 2
    # Results of several machines stand beside each other: each says which it is from.
    record = StudyRecord(path, {"study": FORMAT, "form": form.name})
    quiet()
    set_threads(options.threads)
    machine = describe_machine(device, options.threads)
    work = Work(form, record, folder, machine, options.start, lambda what: say(clock, what))
    if options.list:
        return show(chosen, record)
    status = 0
    if not options.report:
        record.begin(
            f"python -m benchmarks.study {shlex.join(sys.argv[1:] if arguments is None else arguments)}".strip(),
            _now(),
        )
        status = go_through(chosen, work, clock)
    for page in write_pages(record.content, form, options.output):
        say(clock, f"written: {page}")
    return status


def go_through(pieces, work, clock):
    """Args: pieces (`list[Piece]`); work ([`Work`]); clock ([`Clock`]). Returns: `int`, the exit status."""
    for number, piece in enumerate(pieces):
        if work.record.is_finished(piece.name):
            continue
        if piece.seconds > clock.left():
            left = len(pieces) - number
            say(clock, f"{left} pieces are left: the next, {piece.name}, takes about {shown(piece.seconds)}")
            return 0
        try:
            piece.run(work)
        except (OSError, ValueError) as error:
            print(f"{piece.name}: {error}", file=sys.stderr)
            return 1
        work.record.finish(piece.name)
    return 0


def show(pieces, record):
    """Print the plan: an estimate of each piece, and of all up to it; those that are done have none.

    Args: pieces (`list[Piece]`); record ([`StudyRecord`]). Returns: `int`, the exit status.
    """
    total = 0.0
    for piece in pieces:
        done = record.is_finished(piece.name)
        total += 0 if done else piece.seconds
        print(f"{'done' if done else shown(piece.seconds):>8} {shown(total):>8}  {piece.name}")
    return 0


def shown(seconds):
    """Args: seconds (`float`). Returns: `str`, such as `1 h 05 min`."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02}" if minutes >= 60 else f"{minutes} min"


def say(clock, what):
    """Args: clock ([`Clock`]); what (`str`)."""
    print(f"[{clock.elapsed() / 60:6.1f} min] {what}", flush=True)


def quiet():
    """No bars and no hints of libraries between the lines of the course."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("electra_rtd").setLevel(logging.ERROR)


def _now():
    return datetime.datetime.now().astimezone().isoformat(timespec="minutes")
