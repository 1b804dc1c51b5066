"""What a person reads in the terminal while a model trains: a line a log, and messages above the progress bar."""

import logging
import sys
from contextlib import ExitStack, contextmanager

from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from ..language import choose_language
from ..lazy_names import refuse_without
from .handler import handler_of


REPEAT_TITLES = 20  # lines
AUC, BALANCED = "disc_auc", "disc_acc"  # the second where the log has no AUC
# Name in the log -> width of its column. With the first one, of kind and step, a line fits into 80.
FIRST = 14
COLUMNS = {"loss": 9, "mlm_loss": 9, "disc_loss": 10, "gen_acc": 8, AUC: 10, BALANCED: 20, "tokens_per_second": 10}
TEXTS = {
    "en": {
        "step": "step",
        "train": "train",
        "eval": "eval",
        "tokens_per_second": "tokens/s",
        BALANCED: "disc_acc (balanced)",
        "trained": "trained to step {step} in {minutes} min {seconds} s",
    },
    "ko": {
        "step": "스텝",
        "train": "학습",
        "eval": "검증",
        "tokens_per_second": "토큰/초",
        BALANCED: "disc_acc (균형)",
        "trained": "{step}스텝까지 {minutes}분 {seconds}초 동안 학습했습니다",
    },
}


class RTDConsoleCallback(TrainerCallback):
    """Prints an aligned line a log in place of the Trainer's dictionaries; messages stand above the progress bar.

    `Trainer(..., callbacks=[RTDMetricsCallback(), RTDConsoleCallback()])`. A line has step, loss, `mlm_loss`,
    `disc_loss`, `gen_acc`, `disc_auc` (or else `disc_acc`, the mean of the accuracies over masked and over unmasked
    tokens, which is called balanced) and tokens a second; everything else that was logged is in `state.log_history`,
    as ever. The Trainer's bars stay. A notebook keeps the Trainer's table, and nothing is printed there.

    While training goes on, what any logger writes to the terminal is written above the bars.

    Args:
        lang (`str`, *optional*): `"ko"` or `"en"`; by default that of the locale.
        skip_repeats (`bool`): do not print the line of an evaluation again where nothing in it is new.

    Raises:
        ModuleNotFoundError: `rich`, which knows how wide a sign is in a terminal, is not installed.
    """

    def __init__(self, lang=None, skip_repeats=False):
        refuse_without("rich", "RTDConsoleCallback")
        self._skip_repeats = skip_repeats
        self._last_evaluation = ""
        self._texts = TEXTS[choose_language(lang)]
        self._stock: TrainerCallback | None = None  # the Trainer's own, which draws the bars
        self._is_quiet = False  # something else shows the logs
        self._names: list[str] = []  # of the columns whose titles were printed last
        self._lines = 0  # since then
        self._redirection = ExitStack()

    def on_init_end(self, args, state, control, **kwargs):
        self._take_over()

    def on_train_begin(self, args, state, control, **kwargs):
        self._take_over()
        if self._lines > 1:  # else the titles stand just above
            self._names = []
        self._redirection.close()
        self._redirection.enter_context(above_bars())

    def on_train_end(self, args, state, control, **kwargs):
        self._redirection.close()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or self._is_quiet or not logs:
            return
        prefixes = [name.removesuffix("runtime") for name in logs if name.endswith("_runtime")]
        if "train_" in prefixes:
            minutes, seconds = divmod(round(logs["train_runtime"]), 60)
            _write(self._texts["trained"].format(step=f"{state.global_step:,}", minutes=minutes, seconds=seconds))
        elif prefixes or "loss" in logs:
            self._write_line(state.global_step, logs, prefixes[0] if prefixes else "")
        else:  # of somebody's own
            _write("  ".join(f"{name} {_number(value)}" for name, value in logs.items()))

    def close(self):
        """After training that broke off: leave the bars as they are, so that what is said next has its own line."""
        self._redirection.close()
        for name in ("prediction_bar", "training_bar"):
            bar = getattr(self._stock, name, None)  # the Printer has none
            if bar is not None:
                bar.close()

    def _take_over(self):
        """Silence the Trainer's own printing of logs."""
        handler = handler_of(self)
        if handler is None:
            return
        names = {type(callback).__name__ for callback in handler.callbacks}
        self._is_quiet = "NotebookProgressCallback" in names
        for callback in handler.callbacks:
            if type(callback) in (ProgressCallback, PrinterCallback):  # a user's own subclass is meant to speak
                self._stock = callback
                callback.on_log = _say_nothing

    def _write_line(self, step, logs, prefix):
        unused = AUC if prefix + BALANCED in logs and prefix + AUC not in logs else BALANCED
        names = [name for name in COLUMNS if name != unused]
        kind = prefix.removesuffix("_") or "train"  # "eval", or "eval_books" where there are several
        kind = self._texts.get(kind, kind.removeprefix("eval_"))
        row = _row(kind, f"{step:,}", {name: _number(logs.get(prefix + name), name) for name in names})
        if prefix:
            if self._skip_repeats and row == self._last_evaluation:
                return
            self._last_evaluation = row
        if names != self._names or self._lines >= REPEAT_TITLES:
            self._names, self._lines = names, 0
            _write(_row("", self._texts["step"], {name: self._texts.get(name, name) for name in names}))
        self._lines += 1
        _write(row)


def _row(kind, step, cells):
    from rich.cells import cell_len  # here: the other callbacks do without

    return (
        kind
        + " " * (FIRST - cell_len(kind) - cell_len(step))
        + step
        + "".join(" " * (COLUMNS[name] - cell_len(cell)) + cell for name, cell in cells.items())
    )


def _number(value, name=""):
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if name == "tokens_per_second":
        return f"{value:,.0f}"
    digits = 4 if abs(value) < 100 else 2
    return f"{value:.{digits}f}" if abs(value) < 10_000 else f"{value:.2e}"


def _say_nothing(*arguments, **named):
    pass


def _write(line):
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    tqdm.write(line.rstrip().encode(encoding, "replace").decode(encoding))  # no sign is worth a run


@contextmanager
def above_bars():
    """What loggers write to the terminal in a block stands above the progress bars, and not behind them."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]  # some are placeholders
    handlers.append(logging.lastResort)  # it writes where nobody has set up logging
    with ExitStack() as changes:
        for handler in handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
                changes.enter_context(_emitting_above_bars(handler))
        yield


@contextmanager
def _emitting_above_bars(handler):
    emit = handler.emit

    def emit_above_bars(record):
        with tqdm.external_write_mode(file=handler.stream):
            emit(record)

    handler.emit = emit_above_bars
    try:
        yield
    finally:
        handler.emit = emit
