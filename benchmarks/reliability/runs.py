"""Small runs of `adapt`, each a fork of this process, which has imported everything: one takes a second or two.

A run says where it is, in memory that this process sees: so it can be killed, or sent a signal, while it saves, say.
"""

import contextlib
import faulthandler
import gc
import hashlib
import json
import mmap
import os
import signal
import sys
import threading
import time
from functools import wraps

import datasets
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tqdm import tqdm
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining, PreTrainedTokenizerFast, Trainer
from transformers.utils import logging as transformers_logging

from electra_rtd import cli
from electra_rtd.train_tools import recipes
from electra_rtd.train_tools.callbacks import manifest
from electra_rtd.train_tools.whole_checkpoints import saved_checkpoints, why_not_whole

from .small_run import log_of


STEPS = 12
ROWS = 120
WORDS = "나 너 우리 학교 책 비 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글 간다 온다 본다".split()  # noqa: SIM905
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
SIZES = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
# Dropout is on, and batches are grouped by length: whatever is drawn has to go on too.
OPTIONS = [
    *("--max_steps", str(STEPS), "--per_device_train_batch_size", "4", "--max_seq_length", "48"),
    *("--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "2", "--logging_steps", "1"),
    *("--eval_strategy", "steps", "--eval_steps", "4", "--learning_rate", "1e-3", "--sample_steps", "0"),
    *("--use_cpu", "--disable_tqdm", "true", "--report_to", "none"),
]
# What a run does, by the function that does it: an inner one counts.
PHASES = {
    "reading text": (recipes, "read_run_texts"),
    "tokenizing": (recipes, "make_rows"),
    "evaluating": (Trainer, "evaluate"),
    "a step": (Trainer, "training_step"),
    "saving": (Trainer, "_save_checkpoint"),
    "writing the manifest": (manifest, "write_manifest"),
    "rotating": (manifest, "rotate"),
    "exporting": (recipes, "_finish"),
}
ELSEWHERE = "between these"
NAMES = [ELSEWHERE, *PHASES]
LOOK = 0.0005  # seconds between two looks at where a run is
SLOW = 600  # seconds: a run that takes longer hangs
HANGS = 300  # seconds: after so long it says where it is


class Place:
    """Where a process is, for another one: the phase that it is in, and how often it has begun each."""

    def __init__(self):
        self._bytes = mmap.mmap(-1, 2 * len(NAMES))

    def phase(self):
        """Returns: `str`, in `NAMES`."""
        return NAMES[self._bytes[0]]

    def times(self, phase):
        """How often a phase has begun. Args: phase (`str`). Returns: `int`."""
        return self._bytes[len(NAMES) + NAMES.index(phase)]

    def reported(self, phase, function):
        """A function that says when it begins and ends. Args: phase (`str`); function. Returns: another."""
        number = NAMES.index(phase)

        @wraps(function)
        def reporting(*arguments, **named):
            outer = self._bytes[0]
            self._bytes[len(NAMES) + number] = min(255, self._bytes[len(NAMES) + number] + 1)
            self._bytes[0] = number
            try:
                return function(*arguments, **named)
            finally:
                self._bytes[0] = outer

        return reporting


class Run:
    """A run of `adapt` in a process of its own.

    Args:
        runs ([`Runs`]); name (`str`): of its output folder; options (`list[str]`): more of the command.

    Attributes:
        folder (`Path`): the output folder; place ([`Place`]); pid (`int`); status (`int`): as `Popen`'s.
    """

    def __init__(self, runs, name, options):
        self.folder, self.place, self.status = runs.work / name, Place(), None
        self._shown = runs.work / f"{name}.txt"
        self.pid = os.fork()
        if self.pid == 0:
            self._be_it([*runs.command, "--output_dir", name, *options])

    def _be_it(self, argv):
        """The child: it does not come back."""
        status = 70
        try:
            shown = os.open(self._shown, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(shown, 1)
            os.dup2(shown, 2)
            # Everything that handles signals begins as in a fresh process.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            tqdm.set_lock(threading.RLock())  # its own is one for all forks: who is killed with it stops the others
            faulthandler.dump_traceback_later(HANGS)
            for phase, (owner, name) in PHASES.items():
                setattr(owner, name, self.place.reported(phase, getattr(owner, name)))
            status = cli.main(argv)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # nothing of the parent's is closed here

    def wait_for(self, phase, times):
        """Until it has begun a phase so often, and is in it, or has ended. Args: phase (`str`); times (`int`)."""
        while not self.has_ended():
            if self.place.times(phase) >= times and self.place.phase() == phase:
                return
            time.sleep(LOOK)

    def send(self, number):
        """Args: number (`int`): of a signal."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def has_ended(self):
        """Returns: `bool`."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def end(self):
        """Wait for its end. Returns: `int`, the status. Raises: TimeoutError: it hangs."""
        began = time.monotonic()
        while not self.has_ended():
            if time.monotonic() - began > SLOW:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"{self.folder.name} hangs: {self.shown()[-500:]}")
            time.sleep(0.002)
        return self.status

    def shown(self):
        """What it printed. Returns: `str`."""
        return self._shown.read_text(encoding="utf-8", errors="replace")


class Runs:
    """What all runs share, made once: a tiny pair, text, its cache, and a run that nobody disturbed.

    Args: work (`Path`): an empty folder, which becomes the current one; seed (`int`).

    Attributes:
        undisturbed (`str`): see [`outcome`]; seconds (`float`): that such a run takes.
    """

    def __init__(self, work, seed):
        self.work = work
        os.chdir(work)
        datasets.config.HF_DATASETS_CACHE = work / "cache"
        datasets.disable_progress_bars()
        transformers_logging.disable_progress_bar()
        self.command = ["adapt", *_pair(work / "pair", seed), "--train_file", _text(work), *OPTIONS]
        with _silent():
            status = cli.main([*self.command, "--output_dir", "first"])  # here: forks have all that it imports
        if status != 0:
            raise RuntimeError("the undisturbed run failed")
        gc.freeze()  # else each fork goes through all that is imported, and copies it
        began = time.perf_counter()
        run = self.start("undisturbed")
        if run.end() != 0:
            raise RuntimeError(f"the undisturbed run failed: {run.shown()[-500:]}")
        self.seconds = time.perf_counter() - began
        self.undisturbed = outcome(run.folder)
        if outcome(work / "first") != self.undisturbed:
            raise RuntimeError("two undisturbed runs are not equal: nothing can be compared with them")

    def start(self, name, *options):
        """Args: name (`str`): of the output folder; *options (`str`): more of the command. Returns: [`Run`]."""
        return Run(self, name, list(options))

    def goes_on(self, name):
        """Go on with a run, as a person would: resume, or begin anew where there is nothing to resume.

        Args: name (`str`). Returns: `str`: from where, `"checkpoint-4"`, `"the start"`; and `list[str]`: what is wrong
        with the end of it.
        """
        begun = [one.name for one in saved_checkpoints(self.work / name) if why_not_whole(one) is None]
        run = self.start(name, "--resume")
        if run.end() == 2 and not begun:
            run = self.start(name, "--overwrite")
        wrong = [] if run.end() == 0 else [f"it could not go on: {run.shown()[-300:]}"]
        if not wrong:
            wrong = faults(run.folder)
            wrong += [] if outcome(run.folder) == self.undisturbed else ["it ends at other weights, or another log"]
        return begun[-1] if begun else "the start", wrong


@contextlib.contextmanager
def _silent():
    """Standard output and errors go nowhere, below what Python knows of: loggers keep their streams."""
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def outcome(folder):
    """What a run has come to: its weights, what was exported, its log but for clocks, and what is in its folder.

    Args: folder (`Path`). Returns: `str`, a hash; `""` where there is no finished run.
    """
    digest = hashlib.sha256()
    try:
        for name in ("model.safetensors", "discriminator/model.safetensors"):
            digest.update((folder / name).read_bytes())
        digest.update(json.dumps(log_of(folder)).encode())
    except OSError:
        return ""
    digest.update(" ".join(sorted(path.name for path in folder.iterdir())).encode())
    return digest.hexdigest()


def faults(folder):
    """What is half-written in a folder that no run is writing to. Args: folder (`Path`). Returns: `list[str]`."""
    found = [f"{path.name} is left" for path in folder.rglob("*") if ".partial" in path.name or "lock" in path.name]
    reasons = {one.name: why_not_whole(one) for one in saved_checkpoints(folder)}
    return found + [f"{name} is not whole: {reason}" for name, reason in reasons.items() if reason]


def _pair(folder, seed):
    """A tiny pair, on disk. Returns: options of `adapt` that name it."""
    torch.manual_seed(seed)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL.values(), *WORDS])}
    backend = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=SPECIAL["unk_token"]))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last = SPECIAL["cls_token"], SPECIAL["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **SPECIAL)
    config = ElectraConfig(vocab_size=len(tokenizer), intermediate_size=64, max_position_embeddings=64, **SIZES)
    options = []
    for name, kind in (("generator", ElectraForMaskedLM), ("discriminator", ElectraForPreTraining)):
        kind(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        options += [f"--{name}", str(folder / name)]
    return options


def _text(folder):
    """A file of sentences of very different lengths. Returns: its name."""
    rows = [" ".join(WORDS[(7 * row + step) % len(WORDS)] for step in range(3 + row % 17)) for row in range(ROWS)]
    (folder / "text.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return "text.txt"
