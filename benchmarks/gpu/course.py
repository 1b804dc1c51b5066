"""The course of a run: one station after the other, until the time is over; each result is written at once."""

import argparse
import contextlib
import datetime
import os
import re
import shlex
import sys
import tempfile
import traceback
from pathlib import Path

import torch

from electra_rtd.hub_tools.quiet import quiet
from electra_rtd.train_tools.step_timing import TooLong, deadline

from .. import ROOT
from ..machine import RESULTS
from .card import describe_card
from .ground import NoTime, Skipped
from .lanes import ROUNDS, WARMUP, free_memory
from .plan import plan
from .record import Clock, Record
from .steps import Bench
from .table import gpu_tables
from .tokens import DEFAULT, read_tokens


SHAPES = ("small", "base", "tiny")
TINY_ROUNDS = (1, 3)  # warm-up, and counted
TRACEBACK = 12  # lines that are kept
GRACE = 30  # seconds that what has begun on a GPU may take when the time is over; then it is cut off


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--tokens", type=Path, default=DEFAULT, help="file of token ids; default: .gpu/tokens.npz")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu tries the command itself")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["small", "base"], help="tiny is for trying")
    parser.add_argument("--minutes", type=float, default=8.0, help="in all; the rest is left out, or cut off")
    parser.add_argument("--output", type=Path, help="folder or .json file; default: benchmarks/results")
    parser.add_argument("--fresh", action="store_true", help="begin anew, and do not go on with what is there")
    parser.add_argument("--only-new", action="store_true", help="do not try again what failed or could not run")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="what has one of these words in its name")
    parser.add_argument("--stop", action="store_true", help="end at the first check that fails")
    parser.add_argument("--list", action="store_true", help="show the names of all that is looked at, and end")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch on a CPU")
    options = parser.parse_args(arguments)
    if "tiny" in options.shape and len(options.shape) > 1:
        parser.error("--shape tiny stands alone")
    return options


def main(arguments=None, started=None):
    """Look at all of it.

    Args: arguments (`list[str]`, *optional*): of the command line; started (`float`, *optional*): by `time.monotonic`.
    Returns: `int`, the exit status: 1 where something failed, 2 where nothing could be looked at.
    """
    options = parse_arguments(arguments)
    clock = Clock(options.minutes, started)
    try:
        if options.device == "cuda" and not torch.cuda.is_available() and not options.list:
            raise OSError("There is no CUDA here. `--device cpu --shape tiny` tries the command itself.")
        tokens = read_tokens(options.tokens)
        make_folder(output_path(options).parent)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, quiet():
        tokens.tokenizer().save_pretrained(folder)
        status = _run(options, tokens, folder, clock)
    if status is None:
        go_on_in_a_new_process(options, clock)
    return status


def _run(options, tokens, folder, clock):
    """Returns: `int`, the exit status; `None` where the card takes nothing more from this process."""
    device, rounds = torch.device(options.device), TINY_ROUNDS if options.shape == ["tiny"] else (WARMUP, ROUNDS)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    bench = Bench(tokens, folder, device, clock, *rounds)
    stations = [
        station
        for station in plan(bench, options.shape)
        if options.only is None or any(words in station.name for words in options.only)
    ]
    if not stations:
        print(f"No name holds {' or '.join(options.only)}: `--list` shows them.", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(station.name for station in stations))
        return 0
    facts = describe_card(device, options.threads, tokens, tiny=options.shape == ["tiny"])
    record = Record(output_path(options), facts, options.fresh)
    record.begin(command_line(options), datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))
    say(clock, f"{facts['device']}, torch {facts['torch']}, transformers {facts['transformers']}; {facts['text']}")
    if look_at_all(stations, record, clock, options):
        return None
    return conclude(record, stations, clock)


def output_path(options):
    """Where the results go. Args: options (`argparse.Namespace`). Returns: `Path` of a `.json` file."""
    # Figures of a CPU are no results of a GPU.
    path = options.output or (RESULTS if options.device == "cuda" else DEFAULT.parent)
    return path if path.suffix == ".json" else path / f"gpu-{options.device}.json"


def make_folder(folder):
    """Args: folder (`Path`). Raises: OSError: nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"No results can be written to {folder} ({error}): `--output FOLDER` takes another.") from error
    if not os.access(folder, os.W_OK):
        raise OSError(f"No results can be written to {folder}: `--output FOLDER` takes another.")


def command_line(options):
    """What was typed, without folders of the machine. Args: options (`argparse.Namespace`). Returns: `str`."""
    words = ["python -m benchmarks.gpu", "--device", options.device, "--shape", *options.shape]
    return " ".join([*words, "--minutes", f"{options.minutes:g}"])


def say(clock, text):
    """Args: clock ([`Clock`]); text (`str`): one line, with the time, at once."""
    print(f"[{clock.elapsed():4.0f} s] {text}", flush=True)


# ---- Station after station ------------------------------------------------------------------------------------------


def look_at_all(stations, record, clock, options):
    """What is new first, and then what failed in an earlier run, or could not run there.

    Args: stations (`list[Station]`); record ([`Record`]); clock ([`Clock`]); options (`argparse.Namespace`).
    Returns: `bool`: whether the card takes nothing any more from this process, as after an illegal access.
    """
    failed = [*record.with_status("failed"), *record.with_status("skipped")]
    kept = [station.name for station in stations if record.has(station.name)]
    if kept:
        say(clock, f"{len(kept)} results are there already; `--fresh` begins anew")
    others = [name for name in record.of_other_code() if name in kept]
    if others:
        say(clock, f"{len(others)} of them are of other code than this")
    new = [station for station in stations if station.name not in kept and station.name not in failed]
    again = [station for station in stations if station.name in failed and station.name not in kept]
    again = [] if options.only_new else again
    for station in [*new, *again]:
        on_gpu = options.device == "cuda"
        if clock.left() < (station.seconds if on_gpu else 0):
            say(clock, f"{station.name}: left out, {max(0, clock.left()):.0f} s are left")
            continue
        status = look_at(station, record, clock, at_most=max(0, clock.left()) + GRACE if on_gpu else None)
        if on_gpu and status == "failed" and not device_answers():
            return True
        free_memory()
        if status == "failed" and station.is_check and options.stop:
            say(clock, "ended, since a check failed (--stop)")
            break
    return False


def look_at(station, record, clock, at_most=None):
    """One of them, whatever happens in it.

    Args: station ([`Station`]); record; clock; at_most (`float`, *optional*): seconds, then it is cut off: a compiler
        has no other bound, and who lent the machine may end the run without a table.
    Returns: `str`, its status; `"cut off"` is not recorded, so that the next run looks again.
    """
    start, found = clock.elapsed(), {}
    try:
        with contextlib.nullcontext() if at_most is None else deadline(at_most):
            found = {"figures": station.look()}
        status = "passed" if station.is_check else "measured"
    except NoTime as reason:  # nothing was found, so nothing is recorded
        say(clock, f"{station.name}: left out, {reason}")
        return "left out"
    except TooLong:
        say(clock, f"{station.name}: cut off after {clock.elapsed() - start:.0f} s, the time is over")
        return "cut off"
    except Skipped as reason:
        status, found = "skipped", {"reason": str(reason)}
    except AssertionError as error:
        status, found = "failed", {"reason": str(error) or "a broken assertion"}
    except Exception as error:  # of whatever library: it is a finding, and the others go on
        status, lines = "failed", without_folders(traceback.format_exc()).splitlines()
        found = {"reason": without_folders(f"{type(error).__name__}: {error}"), "traceback": lines[-TRACEBACK:]}
    seconds = clock.elapsed() - start
    record.add(station.name, status, is_check=station.is_check, seconds=round(seconds, 1), **found)
    say(clock, f"{station.name}: {status} ({seconds:.1f} s)")
    for line in lines_of(found):
        print(f"         {line}", flush=True)
    return status


def without_folders(text):
    """Args: text (`str`). Returns: `str`, without the folders of this machine: results may be shown to anybody."""
    text = re.sub(r"/[^\s\"']*/(site|dist)-packages/", "", text)  # first: they may lie within the checkout
    return text.replace(str(ROOT), ".").replace(tempfile.gettempdir(), "...")


def lines_of(found):
    """What is shown of a finding. Args: found (`dict`). Returns: `list[str]`."""
    if "figures" not in found:
        return [*found["reason"].splitlines()[:3], *found.get("traceback", [])]
    figures = found["figures"]
    if "lanes" not in figures:
        return []
    lines = [
        f"{name:20} {lane['tokens_per_second']:10,.0f} tokens/s {lane['milliseconds']['median']:8.1f} ms"
        for name, lane in figures["lanes"].items()
    ]
    return [*lines, *figures["notes"], *(f"{name}: left out, {why}" for name, why in figures["failed"].items())]


def device_answers():
    """Whether the card still works for this process. Returns: `bool`."""
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def go_on_in_a_new_process(options, clock):
    """Nothing can be done in this one. Args: options (`argparse.Namespace`); clock ([`Clock`]). Returns: never."""
    say(clock, "the card takes nothing more from this process: a new one goes on")
    words = [sys.executable, "-m", __package__, "--tokens", str(options.tokens), "--device", options.device]
    words += ["--shape", *options.shape, "--minutes", f"{max(0.0, clock.left()) / 60:.2f}", "--only-new"]
    words += ["--output", str(output_path(options)), "--threads", str(options.threads)]
    words += ["--stop"] * options.stop + (["--only", *options.only] if options.only else [])
    print(shlex.join(words), flush=True)
    close_on_exec()
    os.execv(sys.executable, words)


def close_on_exec():
    """What is open, beside the three standard streams, does not reach the next process: a file of the driver's that
    stays open could keep the memory of the card. Where there is no `/proc`, nothing is done."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2:
                with contextlib.suppress(OSError):  # that of the folder is closed by now
                    os.set_inheritable(int(name), False)


def conclude(record, stations, clock):
    """The table beside the results, and the last words.

    Args: record ([`Record`]); stations (`list[Station]`); clock ([`Clock`]). Returns: `int`, the exit status.
    """
    table = record.path.with_suffix(".md")
    table.write_text(gpu_tables(record.content) + "\n", encoding="utf-8")
    failed = record.with_status("failed")
    missing = [station.name for station in stations if station.name not in record.content["found"]]
    print()
    print(gpu_tables(record.content))
    print()
    if missing:
        say(clock, f"{len(missing)} were left out: the same command goes on with them")
    if failed:
        say(clock, f"failed: {'; '.join(failed)}")
    if record.failed_checks():
        say(clock, "the timings are not to be trusted: a check failed")
    shown = "; `make bench-report` puts it into docs/performance.md" if record.path.parent == RESULTS else ""
    say(clock, f"written to {record.path} and {table.name}{shown}")
    return 1 if failed else 0
