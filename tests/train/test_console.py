"""What stands in the terminal while a model trains: a line a log, messages above the bar, nothing twice."""

import logging
import os
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len
from transformers import ProgressCallback, Trainer, TrainerCallback

from electra_rtd import terminal
from electra_rtd.train_tools import RTDConsoleCallback, RTDMetricsCallback
from electra_rtd.train_tools.callbacks import console


@pytest.fixture
def make_trainer(make_model, make_arguments, tokenizer):
    def make(callbacks, **arguments):
        rows = [dict(tokenizer(text)) for text in ["나는 오늘 학교에 간다 .", "산은 크다 ."] * 6]
        return Trainer(
            model=make_model(),
            args=make_arguments(**arguments),
            train_dataset=rows,
            eval_dataset=rows[:4],
            processing_class=tokenizer,
            callbacks=callbacks,
        )

    return make


def screen(written):
    """The lines that a terminal shows of what was written to it."""
    lines, row, column = [""], 0, 0
    written = written.replace("\x1b[A", "\x01")
    for character in written:
        if character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
        elif character == "\x01":
            row = max(row - 1, 0)
        else:
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


def ends(line):
    """Where the words of a line end, in columns of the terminal."""
    return [cell_len(line[: word.end()]) for word in re.finditer(r"\S+", line)]


def expected(kind, row, names, prefix=""):
    figures = [f"{row[prefix + name]:.4f}" for name in names]
    speed = [f"{row['tokens_per_second']:,.0f}"] if "tokens_per_second" in row else []
    return [kind, str(row["step"]), *figures, *speed]


@pytest.mark.parametrize("disable_tqdm", [True, False])
def test_each_log_is_one_line_with_its_figures_and_no_dictionary_is_printed(make_trainer, capsys, disable_tqdm):
    callbacks = [RTDMetricsCallback(detailed=True), RTDConsoleCallback(lang="en")]
    trainer = make_trainer(callbacks, eval_strategy="steps", eval_steps=3, disable_tqdm=disable_tqdm)
    trainer.train()
    output = capsys.readouterr()
    shown = screen(output.out)
    lines = [line.split() for line in shown if line.startswith(("train ", "eval "))]
    log = trainer.state.log_history
    names, wanted = ["loss", "mlm_loss", "disc_loss", "gen_acc"], []
    for row in log:
        if "loss" in row:
            wanted.append(expected("train", row, [*names, "disc_auc" if "disc_auc" in row else "disc_acc"]))
        elif "eval_loss" in row:
            wanted.append(expected("eval", row, [*names, "disc_auc"], "eval_"))
    assert lines == wanted and len(wanted) == 5
    assert shown[-1].startswith("trained to step 6 in 0 min ") and "{" not in output.out + output.err
    assert all("grad_norm" in row and "learning_rate" in row for row in log if "loss" in row)  # the dictionary stays
    assert ("6/6" in output.err) == (not disable_tqdm)  # the bar stays too


class Given(TrainerCallback):
    """Puts figures into the log, as others may."""

    def __init__(self, **figures):
        self.figures = figures

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            logs.update(self.figures)


@pytest.mark.parametrize(
    ("lang", "kind", "balanced"), [("en", "train", "disc_acc (balanced)"), ("ko", "학습", "disc_acc (균형)")]
)
def test_columns_are_aligned_within_80_in_both_languages(make_trainer, capsys, lang, kind, balanced):
    figures = {"mlm_loss": 9876.5, "disc_loss": 1e9, "disc_acc": 0.5, "gen_acc": 1.0, "tokens_per_second": 1234567.0}
    make_trainer([Given(**figures), RTDConsoleCallback(lang=lang)]).train()
    titles, line = screen(capsys.readouterr().out)[:2]
    assert balanced in titles and line.startswith(kind)
    assert ends(line)[1:] == [ends(titles.replace(" (", "-("))[index] for index in range(7)]
    assert cell_len(titles) <= 80 and cell_len(line) <= 80


def test_the_auc_is_shown_where_it_is_logged_and_is_never_called_balanced(make_trainer, capsys):
    make_trainer([Given(disc_auc=0.625, disc_acc=0.5), RTDConsoleCallback(lang="en")]).train()
    titles, line = screen(capsys.readouterr().out)[:2]
    assert "disc_auc" in titles and "balanced" not in titles
    assert "0.6250" in line and "0.5000" not in line


def test_titles_that_stand_just_above_are_not_repeated(make_trainer, capsys):
    trainer = make_trainer([RTDConsoleCallback(lang="en")])
    trainer.evaluate()
    trainer.train()
    titles = [line for line in screen(capsys.readouterr().out) if "step" in line and "mlm_loss" in line]
    assert len(titles) == 1


@pytest.mark.parametrize(("skip_repeats", "lines"), [(True, 2), (False, 3)])
def test_an_evaluation_that_says_nothing_new_can_be_left_out(make_trainer, capsys, skip_repeats, lines):
    trainer = make_trainer([RTDConsoleCallback(lang="en", skip_repeats=skip_repeats)])
    for loss in (0.5, 0.5, 0.25):
        trainer.log({"eval_loss": loss, "eval_runtime": 1.0})
    assert len([line for line in screen(capsys.readouterr().out) if line.startswith("eval")]) == lines


def test_titles_come_again_in_a_long_run(make_trainer, capsys, monkeypatch):
    monkeypatch.setattr(console, "REPEAT_TITLES", 3)
    make_trainer([RTDConsoleCallback(lang="en")], max_steps=7, logging_steps=1).train()
    shown = screen(capsys.readouterr().out)
    assert [index for index, line in enumerate(shown) if "step" in line and "loss" in line] == [0, 4, 8]


def test_logs_of_somebody_elses_are_shown_and_named_sets_keep_their_names(make_trainer, capsys):
    trainer = make_trainer([RTDMetricsCallback(), RTDConsoleCallback(lang="en")])
    trainer.evaluate({"books": trainer.eval_dataset})
    trainer.log({"my_score": 0.25, "note": "hello"})
    shown = screen(capsys.readouterr().out)
    assert shown[1].startswith("books") and shown[-1].startswith("my_score 0.2500  note hello")


def test_added_to_a_finished_trainer_it_takes_over_too(make_trainer, capsys):
    trainer = make_trainer([RTDMetricsCallback()], disable_tqdm=False)
    trainer.add_callback(RTDConsoleCallback(lang="en"))
    trainer.train()
    assert "{" not in "".join(capsys.readouterr())


class Talkative(ProgressCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        print("mine")


def test_a_users_own_progress_callback_goes_on_speaking(make_trainer, capsys):
    make_trainer([Talkative(), RTDConsoleCallback(lang="en")]).train()
    assert "mine" in capsys.readouterr().out


def test_a_notebook_keeps_its_table_and_no_line_is_printed(make_trainer, capsys):
    table = type("NotebookProgressCallback", (TrainerCallback,), {})
    make_trainer([table(), RTDConsoleCallback(lang="en")]).train()
    assert capsys.readouterr().out == ""


class Elsewhere(TrainerCallback):
    def on_train_begin(self, args, state, control, **kwargs):
        state.is_world_process_zero = False


def test_the_other_processes_print_nothing(make_trainer, capsys):
    make_trainer([Elsewhere(), RTDConsoleCallback(lang="en")]).train()
    assert capsys.readouterr().out == ""


class Warns(TrainerCallback):
    """Says something in each step, by loggers of all kinds."""

    def __init__(self, names):
        self.names = names

    def on_step_end(self, args, state, control, **kwargs):
        for name in self.names:
            logging.getLogger(name).warning(f"{name} at step {state.global_step}")


def test_messages_of_every_logger_stand_on_lines_of_their_own_above_the_bar(make_trainer, capsys, monkeypatch):
    names = ("with_handler.child", "electra_rtd.train_tools.callbacks.health")
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.getLogger("with_handler"), "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("with_handler"), "propagate", False)
    monkeypatch.setattr(logging.root, "handlers", [])  # so that the handler of last resort speaks for ours
    last_resort, emit = logging.lastResort, handler.emit
    make_trainer([Warns(names), RTDConsoleCallback(lang="en")], disable_tqdm=False).train()
    shown = screen(capsys.readouterr().err)
    for step in range(1, 7):
        for name in names:
            assert f"{name} at step {step}" in shown, shown
    assert shown[-1].startswith("100%") and sum("it/s" in line for line in shown) == 1
    assert logging.lastResort is last_resort and handler.emit == emit


class Stops(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


def test_after_a_break_what_is_said_next_does_not_stand_behind_the_bar(make_trainer, capsys):
    console = RTDConsoleCallback(lang="en")
    with pytest.raises(KeyboardInterrupt):
        make_trainer([console, Stops()], disable_tqdm=False).train()
    console.close()
    print("interrupted", file=sys.stderr)
    assert screen(capsys.readouterr().err)[-1] == "interrupted"


@pytest.mark.parametrize(("rank", "level"), [(None, logging.INFO), ("0", logging.INFO), ("1", logging.ERROR)])
def test_of_the_processes_of_one_run_the_first_one_speaks(rank, level, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with terminal.messages_shown("electra_rtd.test_console"):
        pass
    assert logging.getLogger("electra_rtd.test_console.part").getEffectiveLevel() == level


SPEAK = """
import logging, sys
import datasets, huggingface_hub, transformers, accelerate
from electra_rtd import cli

def speak(argv):
    for name in ("datasets", "huggingface_hub", "transformers", "accelerate", "electra_rtd.train_tools"):
        logging.getLogger(name + ".part").warning("said by " + name)
    logging.getLogger("electra_rtd.train_tools").info("said as information")

cli.RUN["verify"] = speak
cli.main(["verify"])
"""


@pytest.mark.parametrize("ci", ["", pytest.param("true", marks=pytest.mark.slow)])  # there, it hands messages on
def test_every_message_appears_once(ci, tmp_path):
    environment = {
        **os.environ,
        "CI": ci,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "TRANSFORMERS_VERBOSITY": "",
    }
    process = subprocess.run(
        [sys.executable, "-c", SPEAK], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    for name in ("datasets", "huggingface_hub", "transformers", "accelerate", "electra_rtd.train_tools"):
        assert process.stderr.count(f"said by {name}\n") == 1, process.stderr
    assert process.stderr.count("said as information") == 1
