"""Signals that ask a process to end, and what comes of them: an exception, a note, or nothing for a while."""

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress


# What machines send: to pre-empt or cancel a job, before its time is over (SLURM's `--signal`), when a terminal is
# closed. Windows has the first alone.
BY_MACHINES = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))
CTRL_C = signal.SIGINT
SAVING = "this step is finished and saved, then training stops."


class Stopped(KeyboardInterrupt, SystemExit):
    """A signal ended the run.

    It is a `KeyboardInterrupt`: whoever clears up after Ctrl-C does so here. And it is a `SystemExit`: a script that
    does not catch it ends without a traceback, and with `code`.

    Args:
        words (`str`): what is saved and how to go on, for a person.
        number (`int`): of the signal.
        saved (`bool`): all that was trained is in a checkpoint.

    Attributes:
        code (`int`): the exit status: 0 where all is saved and a machine asked for it; else 128 and the number, as
            shells say it.
    """

    def __init__(self, words="", number=CTRL_C, saved=False):
        super().__init__(words)
        self.number, self.saved = signal.Signals(number), saved
        self.code = 0 if saved and number != CTRL_C else 128 + number


def in_words(interrupt, words):
    """An interrupt, said anew. Args: interrupt (`KeyboardInterrupt`); words (`str`). Returns: one of the same kind."""
    if isinstance(interrupt, Stopped):
        return Stopped(words, interrupt.number, interrupt.saved)
    return KeyboardInterrupt(words)


class Handlers:
    """Handlers of signals, put in and taken out again.

    Signals can be handled in the main thread alone: elsewhere this does nothing. What somebody ignores, as `nohup`
    does with SIGHUP, stays ignored.

    Args:
        numbers (iterable of `int`): the signals.
        heed (function): what is called with the number of one that came, and the frame that it came in.
    """

    def __init__(self, numbers, heed):
        self._numbers, self._heed = numbers, heed
        self._process: int | None = None
        self._before: dict = {}

    def install(self):
        """Put them in. Calling it again does nothing."""
        if self._process is not None or threading.current_thread() is not threading.main_thread():
            return
        self._process = os.getpid()
        for number in self._numbers:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):  # None: of a library in C, which could not be put back
                self._before[number] = signal.signal(number, self._handle)

    def restore(self):
        """Put back what was there before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before, self._process = {}, None

    def _handle(self, number, frame):
        if os.getpid() == self._process:
            self._heed(number, frame)
        else:  # a process that this one forked, say to tokenize: `terminate()` has to end it
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def machines_interrupt():
    """Within a block, what machines send ends it as Ctrl-C does, with [`Stopped`]. Once: clearing up may take a while.

    Ctrl-C stays as it is.
    """
    came: list = []

    def heed(number, frame):
        if not came:
            came.append(number)
            raise Stopped(number=number)

    handlers = Handlers(BY_MACHINES, heed)
    handlers.install()
    try:
        yield
    finally:
        handlers.restore()


@contextmanager
def undisturbed():
    """Nothing interrupts a block that clears up or says its last words, for a moment."""
    handlers = Handlers((*BY_MACHINES, CTRL_C), lambda number, frame: None)
    handlers.install()
    try:
        yield
    finally:
        handlers.restore()


class StopRequest:
    """Signals while a model trains: the first is noted and said, for the end of the step; a later Ctrl-C ends at once.

    Args:
        is_training (function): of a frame, whether it trains. If it does not, training broke off and nobody called
            `unwatch`: the signal is what it was before.

    Attributes:
        number (`int` or `None`): of the first.
    """

    def __init__(self, is_training):
        self.number: int | None = None
        self._is_training = is_training
        self._handlers = Handlers((*BY_MACHINES, CTRL_C), self._heed)

    def expect(self):
        """From here on, processes that are forked are needed until the end: see [`_needed_until_the_end`]."""
        _expecting.add(self)

    def watch(self):
        """From here on, note signals."""
        self._handlers.install()

    def unwatch(self):
        """Neither of both any longer."""
        self._handlers.restore()
        _expecting.discard(self)

    def _heed(self, number, frame):
        if not self._is_training(frame):
            self.unwatch()
            signal.raise_signal(number)
        elif self.number is None:
            self.number = number
            again = " Ctrl-C again: end at once, without saving." if number == CTRL_C else ""
            _say(f"{name_of(number)}: {SAVING}{again}")
        elif number == CTRL_C:  # anything else is the same request, by way of another process: `torchrun`, SLURM
            self.unwatch()
            raise Stopped(number=number)


def name_of(number):
    """A signal as people call it. Args: number (`int`). Returns: `str`."""
    return "Ctrl-C" if number == CTRL_C else signal.Signals(number).name


def _say(text):
    """From a handler, which can come in the middle of a `print`: Python's own streams cannot be used here."""
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError, ValueError, AttributeError):  # no terminal, or none that is a file
            os.write(sys.__stderr__.fileno(), f"\n{text}\n".encode())


_expecting: set = set()  # requests of trainings under way: as a rule none or one


def _needed_until_the_end():
    """In a process that was just forked: while a model trains, the worker of a data loader, as a rule.

    `scancel`, a terminal and others ask all processes of a job at once. Without its workers this one could not finish
    its step, so that they hear nobody but the process that forked them.
    """
    if _expecting:
        signal.pthread_sigmask(signal.SIG_BLOCK, (*BY_MACHINES, CTRL_C))  # torch handles SIGTERM itself, below Python
        threading.Thread(target=_hear_the_parent_alone, args=(os.getppid(),), daemon=True).start()


def _hear_the_parent_alone(parent):
    while True:
        came = signal.sigwaitinfo((*BY_MACHINES, CTRL_C))
        if came.si_pid == parent or os.getppid() != parent:
            os._exit(128 + came.si_signo)


if hasattr(os, "register_at_fork") and hasattr(signal, "sigwaitinfo"):  # not on Windows; macOS starts workers anew
    os.register_at_fork(after_in_child=_needed_until_the_end)
