"""The course of a call: trainings one after the other, each written down at once; then the page."""

import argparse
import datetime
import os
import shlex
import sys
import time
from pathlib import Path

import datasets
import torch
from transformers import DataCollatorWithPadding, set_seed

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.data import read_text, tokenize_text

from ..environments import ENVIRONMENTS
from ..gpu.record import Record
from ..machine import RESULTS, choose_device, describe_machine
from ..study.corpora import CORPORA, prepare_corpus
from ..study.record import digest_of
from ..study.starts import prepare_start
from ..study.training import MAX_LENGTH, train_stock, training_arguments
from .measuring import corrupt, held_out_figures, quiet, time_steps
from .page import write_page
from .variants import PLAIN, VARIANTS, load_variant


FORMAT = 1
RATE = 5e-4  # what the study chose for RTD on this pair and text
ROWS = 32  # of a batch
SPEED = 1_500  # tokens a second on two cores of a server
TIMED_ROUNDS = 30
TIMING, START = "timing", "start"


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.objectives", description=__doc__)
    parser.add_argument("--tokens", type=int, default=200_000, help="that each training reads")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--corpus", choices=CORPORA, default="ko_techdocs", help="sample needs no shared data")
    parser.add_argument("--timed-rounds", type=int, default=TIMED_ROUNDS, help="steps of each variant, in turn")
    parser.add_argument("--list", action="store_true", help="show what is to be done with an estimate, and end")
    parser.add_argument("--report", action="store_true", help="write the page from what is there, and end")
    parser.add_argument("--work", type=Path, help="folder for texts; default: .bench/objectives")
    parser.add_argument("--output", type=Path, help="folder of results and page; default: those of the project")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch on a CPU")
    options = parser.parse_args(arguments)
    for name, least in (("tokens", 1), ("seeds", 1), ("timed_rounds", 2), ("threads", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}: it must be {least} or more")
    return options


def main(arguments=None, started=None):
    """Do what is not done yet.

    Args: arguments (`list[str]`, *optional*): of the command line; started (`float`, *optional*): not looked at.
    Returns: `int`, the exit status: 1 where a variant could not be trained.
    """
    options = parse_arguments(arguments)
    quiet()
    datasets.disable_progress_bars()
    torch.set_num_threads(options.threads)
    device = choose_device("cpu")
    folder = options.work or ENVIRONMENTS / "objectives"
    start = prepare_start("mini", folder)
    facts = {
        "objectives": FORMAT,
        "tokens": options.tokens,
        "corpus": options.corpus,
        "start": digest_of(start.pair),
        "rate": RATE,
        "rows": ROWS,
    }
    record = Record((options.output or RESULTS) / f"objectives-{device.type}.json", facts)
    names = options.only or list(VARIANTS)
    left = [(name, seed) for seed in range(options.seeds) for name in names if not record.has(key(name, seed))]
    timed = [] if _is_timed(record, names) else names
    print(estimate(left, timed, options), flush=True)
    if options.list:
        return 0
    failed: list = []
    if not options.report:
        typed = shlex.join(["python", "-m", "benchmarks.objectives", *(arguments or sys.argv[1:])])
        record.begin(typed, datetime.datetime.now().isoformat(timespec="seconds"))
        work = Work(start.pair, prepare_corpus(options.corpus, folder), folder, options.threads)
        failed = _train_all(work, record, left, options)
        able = [name for name in names if name not in failed]
        if timed and PLAIN in able:
            print(f"timing: {', '.join(able)}, in turn", flush=True)
            figures = time_steps(able, work.pair, work.rows, work.tokenizer, rounds=options.timed_rounds, size=ROWS)
            record.add(TIMING, "measured", False, machine=work.machine, figures=figures)
    page = write_page(record.content, options.output)
    print(f"{record.path.name} and {page.name} are written.")
    return 1 if failed else 0


def key(name, seed):
    """Under what a training stands in the record. Args: name (`str`); seed (`int`). Returns: `str`."""
    return f"{name}, seed {seed}"


def estimate(left, timed, options):
    """Args: left (`list`): trainings to do; timed (`list`): variants to time; options. Returns: `str`, in words."""
    seconds = len(left) * options.tokens / SPEED + 2 * len(left)
    seconds += len(timed) * (options.timed_rounds + 2) * ROWS * 65 / SPEED
    done = "" if left or timed else " Everything is done."
    return (
        f"{len(left)} trainings of {options.tokens:,} tokens, {len(timed)} variants to time: about "
        f"{max(1, round(seconds / 60)) if left or timed else 0} minutes at {SPEED:,} tokens a second.{done}"
    )


class Work:
    """What every training needs, read once.

    Args: pair (`Path`): the start; corpus ([`CorpusFiles`]); folder (`Path`); threads (`int`).

    Attributes: rows, held_out (`Dataset`): tokenized; tokenizer; corrupted (`list` of [`Corrupted`]).
    """

    def __init__(self, pair, corpus, folder, threads):
        self.pair, self.folder = pair, folder
        self.machine = describe_machine(choose_device("cpu"), threads)
        self.tokenizer = load_tokenizer(pair)
        self.rows, self.held_out = (
            tokenize_text(read_text([str(file)]).dataset, self.tokenizer, max_length=MAX_LENGTH)
            for file in (corpus.train, corpus.held_out)
        )
        self.corrupted = corrupt(pair, self.held_out, self.tokenizer)

    def steps(self, tokens):
        """Steps that read so many tokens: `int`."""
        each = ROWS * sum(map(len, self.rows["input_ids"])) / len(self.rows)
        return max(1, round(tokens / each))


def _train_all(work, record, left, options):
    """Train and measure. Returns: `list[str]`, the variants that could not be."""
    if not record.has(START):
        figures = held_out_figures(load_variant(PLAIN, work.pair), work.corrupted)
        record.add(START, "measured", False, machine=work.machine, figures=figures)
    failed: dict = {}
    for number, (name, seed) in enumerate(left, start=1):
        if name in failed:
            continue
        try:
            model = load_variant(name, work.pair)
        except ValueError as error:  # this checkout does not know it, say: the others go on
            failed[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
            continue
        print(f"{number}/{len(left)} {key(name, seed)} ...", flush=True)
        figures = train_and_measure(model, work, options.tokens, seed)
        record.add(key(name, seed), "measured", False, machine=work.machine, figures=figures)
        own, common = figures["own"], figures["common"]
        print(
            f"  {figures['seconds']:.0f} s; held out: generator {own['mlm_loss']:.4f}, discriminator "
            f"{own['disc_loss']:.4f}, AUC {own['auc']:.4f}, on the common corruption {common['auc']:.4f}",
            flush=True,
        )
    return list(failed)


def train_and_measure(model, work, tokens, seed):
    """Train a model in place, as `adapt` would.

    Args: model ([`ElectraRTDForPreTraining`]); work ([`Work`]); tokens (`int`); seed (`int`).
    Returns: `dict`: `own`, `common` (see [`held_out_figures`]), `tokens`, `steps`, `seconds` of training alone.
    """
    steps = work.steps(tokens)
    arguments = training_arguments(work.folder / "run", steps, RATE, rows=ROWS, seed=seed)
    set_seed(seed)
    began = time.perf_counter()
    counter, _ = train_stock(model, work.rows, DataCollatorWithPadding(work.tokenizer), work.tokenizer, arguments)
    figures = {"tokens": counter.tokens, "steps": steps, "seconds": round(counter.seconds, 1)}
    return {
        **figures,
        "seconds_in_all": round(time.perf_counter() - began, 1),
        **held_out_figures(model, work.corrupted),
    }


def _is_timed(record, names):
    return record.has(TIMING) and set(names) <= record.content["found"][TIMING]["figures"]["seconds"].keys()
