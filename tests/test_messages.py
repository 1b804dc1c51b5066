"""Messages of library functions name fields; a command prints them with its options in their place."""

import ast
import logging
import re
import shlex
from pathlib import Path

import pytest

from electra_rtd import cli, terminal
from electra_rtd.parsers import PARSERS, option_names


ROOT = Path(__file__).parents[1]
FLAG = re.compile(r"(?<![\w-])--[a-z]\w+")


def texts_of(module):
    """Strings of a module that are no docstrings, nor parts of a manual page: `list[str]`."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    manual = [one for one in ast.walk(tree) if isinstance(one, ast.Dict) and module.stem.endswith("arguments")]
    left_out = {id(one) for part in manual for one in ast.walk(part)}
    left_out |= {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    strings = (one for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str))
    return [one.value for one in strings if id(one) not in left_out]


def test_a_library_names_fields_and_no_options():
    modules = [path for folder in ("hub_tools", "train_tools") for path in (ROOT / folder).rglob("*.py")]
    modules = [path for path in modules if path.name not in ("summary.py", "extension_words.py")]
    named = [text for path in modules for text in texts_of(path) if FLAG.search(text)]
    # Whole commands may be named: `electra-rtd pull` without --locked, and one that resolves links.
    assert [text for text in named if "electra-rtd " not in text and "`cp " not in text] == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("`max_steps` is 0: it must be 1 or more", "--max_steps is 0: it must be 1 or more"),
        ("give `bf16=True`, or leave it out", "give --bf16, or leave it out"),
        ("give `greater_is_better=False`", "give --greater_is_better false"),
        ("`output_dir=a b/c` is a file", "--output_dir 'a b/c' is a file"),
        ('`lr_scheduler_kwargs={"num_cycles": 2}`', """--lr_scheduler_kwargs '{"num_cycles": 2}'"""),
        ("call `save_pretrained`, `labels` and ``", "call `save_pretrained`, `labels` and ``"),
        ("`embedding_sharing=\"tied\"` or `freeze='generator'`", "--embedding_sharing tied or --freeze generator"),
        ("`fast` and `no_fast`", "--fast and --no_fast"),
    ],
)
def test_a_field_in_backquotes_is_the_option_of_the_command(said, shown):
    assert terminal.with_options(said, option_names("adapt")) == shown
    assert terminal.with_options(said, ()) == said


def test_what_a_message_advises_can_be_typed():
    shown = terminal.with_options('`train_file=b c.txt` `lr_scheduler_kwargs={"x": "y z"}`', option_names("adapt"))
    assert shlex.split(shown) == ["--train_file", "b c.txt", "--lr_scheduler_kwargs", '{"x": "y z"}']


def test_each_command_names_its_own_options():
    assert set(PARSERS) == set(cli.RUN)
    assert "top_k" in option_names("inspect") and "top_k" not in option_names("adapt")
    assert "no_verify" in option_names("pull") and "verify" not in option_names("pull")


def test_errors_interrupts_and_logs_of_a_command_speak_in_options(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    terminal.print_error("adapt", ValueError("`max_steps` is 0."), [], option_names("adapt"))
    interrupt = KeyboardInterrupt("at step 2. Go on with `resume=True`.")
    terminal.print_interrupt("adapt", interrupt, ["--output_dir", "out"], option_names("adapt"))
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "electra-rtd adapt: error: --max_steps is 0."
    assert shown[1] == "electra-rtd adapt: interrupted at step 2. Go on with --resume."
    assert shown[2].endswith("adapt --output_dir out --resume")


@pytest.mark.parametrize(("logger", "shown"), [("ours.data", "--limit is 5"), ("theirs", "`limit` is 5")])
def test_only_our_own_logs_are_turned_into_options(logger, shown, monkeypatch):
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr(logging.Logger, "root", root)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    root.addHandler(handler)
    record = logging.LogRecord(logger, logging.WARNING, "here.py", 1, "`limit` is %d", (5,), None)
    with terminal.messages_shown("ours", {"limit"}):
        handler.handle(record)
    assert [one.getMessage() for one in records] == [shown]


def test_after_a_command_logs_are_the_librarys_own_again(caplog):
    with terminal.messages_shown("ours", {"limit"}):
        pass
    logging.getLogger("ours").warning("`limit` is 5")
    assert caplog.messages == ["`limit` is 5"]
