"""The command line of `electra-rtd`: what is answered at once, options that are not there, what to type next."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from electra_rtd import __version__, cli, parsers, run_parsers
from electra_rtd.train_tools import shell
from electra_rtd.train_tools.arguments import MINI_PAIR
from electra_rtd.train_tools.recipes import AdaptResult
from electra_rtd.train_tools.summary import next_commands
from electra_rtd_launcher import COMMANDS, WAYS_TO_START


ROOT = Path(__file__).parent.parent
START = ["adapt", "--checkpoint", "c", "--train_file", "f", "--output_dir", "o"]

ANSWERS = """
import json, sys
from electra_rtd_launcher import main

statuses = [main(argv) for argv in json.loads(sys.argv[1])]
print()
print(json.dumps([statuses, [name for name in ("torch", "transformers", "electra_rtd") if name in sys.modules]]))
"""


# ---- What is answered at once ----


def test_version_help_and_mistakes_are_answered_without_torch_and_transformers(run_fresh):
    asked = [["--version"], ["--help"], [], ["adapt"], ["adpat"], ["--verison"]]
    assert run_fresh(ANSWERS, json.dumps(asked), installed=True) == [[0, 0, 0, 2, 2, 2], []]


def test_the_console_script_is_the_launcher_and_it_is_part_of_the_wheel():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'electra-rtd = "electra_rtd_launcher:main"' in project
    packages = re.search(r"\npackages = \[\n(.*?)\]", project, flags=re.DOTALL)[1]
    assert '"electra_rtd_launcher",' in packages


def test_every_command_that_is_listed_runs_and_the_other_way_round():
    assert list(COMMANDS) == list(cli.RUN)


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_the_listing_has_every_command(arguments, capsys):
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    for name, about in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(about)}$", shown, flags=re.MULTILINE)


def test_the_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"electra-rtd {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("adpat", "adpat is not a command. Did you mean `electra-rtd adapt`?"),
        ("finetune", "finetune is not a command. Did you mean `electra-rtd evaluate`?"),
        ("upload", "upload is not a command. Did you mean `electra-rtd push`?"),
        ("help", "help is not a command. Did you mean `electra-rtd --help`?"),
        ("--verison", "Did you mean `electra-rtd --version`?"),
        ("conquer", "conquer is not a command. The commands are adapt, pretrain, evaluate, "),
        ("--train_file", "--train_file is not an option here: options of a command stand after its name."),
    ],
)
def test_a_command_that_is_not_there_is_named_with_the_nearest(typed, said, capsys):
    assert cli.main([typed]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and captured.err.startswith("electra-rtd: error: ")


def test_adapt_alone_shows_the_ways_to_start_and_starts_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.train_tools, "adapt", lambda *_, **__: pytest.fail("it trains"))
    assert cli.main(["adapt"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(WAYS_TO_START) and list(tmp_path.iterdir()) == []
    for way in ("adapt --generator", "adapt --checkpoint", "adapt --example", "pretrain --preset"):
        assert f"electra-rtd {way}" in captured.err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "adapt"])
def test_no_command_alone_does_anything(command, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((SystemExit, ValueError)) as stop:
        cli.RUN[command]([])
    assert getattr(stop.value, "code", 2) == 2 and list(tmp_path.iterdir()) == []


# ---- Options that are not there ----


def refused(capsys, *arguments):
    """What is said about a command line with a wrong option."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    shown = capsys.readouterr().err
    assert stop.value.code == 2 and f"usage: electra-rtd {arguments[0]}" in shown
    assert "['" not in shown and "Traceback" not in shown
    return shown.split(f"electra-rtd {arguments[0]}: error: ")[1]


@pytest.mark.parametrize(
    ("arguments", "typed", "meant"),
    [
        (["adapt", "--train_fiel", "f"], "--train_fiel", "--train_file"),  # and not: give the text to train on
        ([*START, "--train-fiel=f"], "--train-fiel", "--train_file"),
        ([*START, "--batch_size", "8"], "--batch_size", "--per_device_train_batch_size"),
        ([*START, "--batch-size", "8"], "--batch-size", "--per_device_train_batch_size"),
        ([*START, "--lr", "1e-3"], "--lr", "--learning_rate"),
        ([*START, "--lerning_rate", "1e-3"], "--lerning_rate", "--learning_rate"),
        ([*START, "--epochs", "3"], "--epochs", "--num_train_epochs"),
        ([*START, "--exmaple"], "--exmaple", "--example"),
        ([*START, "--no_bf16"], "--no_bf16", "--bf16 false"),
        (["evaluate", "--lr", "1e-4"], "--lr", "--learning_rates"),
        (["evaluate", "--base", "b"], "--base", "--before"),
        (["adapt", "--model", "m"], "--model", "--checkpoint"),
        (["adapt", "--data", "d"], "--data", "--train_file"),
        (["inspect", "--chekpoint", "c"], "--chekpoint", "--checkpoint"),
        (["inspect", "--model", "m"], "--model", "--checkpoint"),
        (["report", "--checkpoint", "c"], "--checkpoint", "--run"),
        (["export", "--output", "o"], "--output", "--output_dir"),
        (["verify", "--revison", "v1"], "--revison", "--revision"),
        (["push", "a", "b", "--message", "m"], "--message", "--commit_message"),
        (["pull", "a", "--local-dri", "d"], "--local-dri", "--local_dir"),
        (["diff", "--jsn"], "--jsn", "--json"),
    ],
)
def test_an_unknown_option_is_named_with_the_one_that_was_meant_before_anything_else(arguments, typed, meant, capsys):
    assert f"{typed} is no option. Did you mean {meant}?" in refused(capsys, *arguments)


def test_all_unknown_options_are_named_at_once(capsys):
    shown = refused(capsys, *START, "--lr", "1", "--qqqq", "2")
    assert "--lr is no option. Did you mean --learning_rate?\n--qqqq is no option.\n" in shown


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        ([*START, "--learn", "1e-3"], "--learn"),
        (["push", "a", "b", "--dry"], "--dry"),
        (["verify", "a", "--exec"], "--exec"),
    ],
)
def test_an_abbreviation_is_no_option(arguments, typed, capsys):
    assert f"{typed} is no option. Did you mean --" in refused(capsys, *arguments)


def test_what_is_given_without_a_name_is_said_to_be(capsys):
    said = "--checkpoint is no option: give it without a name, `electra-rtd verify CHECKPOINT`."
    assert said in refused(capsys, "verify", "--checkpoint", "c")


def test_a_word_that_belongs_to_no_option_is_named_before_what_is_missing(capsys):
    assert refused(capsys, "adapt", "--lang", "ko", "text.csv").startswith("text.csv belongs to no option.")


def test_a_list_that_is_given_twice_is_refused_as_the_first_would_be_forgotten(capsys):
    shown = refused(capsys, *START, "--train-file", "g")
    assert "--train_file is given twice: give all its values after one of them." in shown
    assert run_parsers.parse_adapt([*START[1:], "--max_steps", "1", "--max_steps", "2"])[1].max_steps == 2


@pytest.mark.parametrize("value", ["-1", "-1e-5", "-.5"])
def test_a_negative_number_is_a_value(value, capsys):
    parser = parsers.CommandParser(prog="electra-rtd inspect")
    parser.add("--some_number")
    assert parser.parse_args([f"--some_number={value}"]).some_number == value
    assert parser._check_options(["--some_number", value]) is None


def test_after_two_dashes_everything_is_text():
    parser = parsers.CommandParser(prog="electra-rtd inspect")
    parser.add_argument("texts", nargs="*")
    assert parser.parse_args(["-", "--", "--lr", "-안녕"]).texts == ["-", "--lr", "-안녕"]


def test_a_file_of_arguments_beside_the_program_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "electra-rtd.args").write_text("--max_steps 7")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "electra-rtd"), *START])
    assert run_parsers.parse_adapt(START[1:])[1].max_steps == -1


# ---- The example ----


def test_the_example_is_the_packages_own_pair_on_the_sample_text_and_what_is_given_wins():
    arguments, training_args, given = run_parsers.parse_adapt(["--example"])
    assert arguments.checkpoint == str(MINI_PAIR) and arguments.overwrite
    files = [*arguments.train_file, *arguments.validation_file]
    assert [Path(path).name for path in files] == ["techdocs_train.csv.gz", "techdocs_held_out.csv.gz"]
    assert all(map(os.path.isfile, files)) and training_args.output_dir == "electra-rtd-sample"
    assert given >= {"learning_rate", "eval_strategy"}
    assert training_args.learning_rate == run_parsers.EXAMPLE["learning_rate"]

    options = ["--learning_rate", "1e-3", "--example", "--max_steps", "2"]
    arguments, training_args, given = run_parsers.parse_adapt(options)
    assert (training_args.learning_rate, training_args.max_steps, arguments.checkpoint) == (1e-3, 2, str(MINI_PAIR))
    assert {"learning_rate", "max_steps"} <= given


@pytest.mark.parametrize("option", [["--output_dir", "mine"], ["--output-dir=mine"], ["--resume"]])
def test_the_example_replaces_its_own_folder_and_no_other(option):
    assert not run_parsers.parse_adapt(["--example", *option])[0].overwrite


# ---- What to type next ----


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A folder with an environment `.venv` that runs, which the shell does not find; what makes it find it."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("electra-rtd", "python"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setattr(sys, "argv", [".venv/bin/electra-rtd", "adapt"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return lambda: monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")


FIGURES = {"loss": 14.0, "mlm_loss": 4.0, "disc_loss": 0.2, "disc_acc": 0.8, "disc_auc": 0.9, "replaced_share": 0.1}
RESULT = AdaptResult(
    before=FIGURES,
    after=FIGURES,
    vocab_size=1000,
    steps=3,
    tokens_seen=9,
    tokens_per_second=1.0,
    seconds=9.0,
    checkpoint="my 책's $HOME",
    discriminator="my 책's $HOME/discriminator",
)


def test_next_commands_work_as_printed_with_and_without_an_activated_environment(environment):
    for activated in (False, True):
        if activated:
            environment()
        printed = [
            subprocess.run(["sh", "-c", row], capture_output=True, text=True, check=True).stdout.split("|")[:-1]
            for row in next_commands(RESULT)
        ]
        names = [Path(words[0]).name for words in printed]
        assert names == [*["electra-rtd"] * 3, "python", "electra-rtd", "electra-rtd"]
        assert printed[0][1:] == ["report", "--run", RESULT.checkpoint]
        assert vars(parsers.PARSERS["inspect"]().parse_args(printed[1][2:]))["checkpoint"] == RESULT.checkpoint
        arguments, _ = parsers.parse_evaluate(printed[2][2:])
        assert (arguments.before, arguments.after) == ("START", RESULT.discriminator)
        assert printed[4][1:4] == ["adapt", "--checkpoint", RESULT.checkpoint]
        assert printed[5][1:] == ["push", RESULT.checkpoint, "USER/NAME", "--private"]
        stub = SimpleNamespace(from_pretrained=lambda folder, num_labels: folder)
        assert eval(printed[3][2].split("; ")[1], {"M": stub}) == RESULT.discriminator


def test_programs_are_called_by_their_path_where_the_shell_does_not_find_them(environment, monkeypatch, tmp_path):
    assert (shell.command_name(), shell.python_name()) == (".venv/bin/electra-rtd", ".venv/bin/python")
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/electra-rtd")])
    assert shell.command_name() == shlex.quote(str(tmp_path / ".venv/bin/electra-rtd"))
    monkeypatch.chdir(tmp_path / ".venv/bin")
    assert shell.command_name() == "./electra-rtd"  # without a slash, the shell would look elsewhere


def test_programs_are_called_by_their_name_where_the_shell_finds_them(environment):
    environment()
    assert (shell.command_name(), shell.python_name()) == ("electra-rtd", "python")


def test_the_program_of_another_environment_is_not_taken_for_ours(environment, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(".venv/bin/electra-rtd", other / "electra-rtd")
    (other / "python").symlink_to(sys.executable)  # as environments of one Python are
    monkeypatch.setenv("PATH", f"{other}:/usr/bin:/bin")
    assert (shell.command_name(), shell.python_name()) == (".venv/bin/electra-rtd", ".venv/bin/python")


def test_where_there_is_no_script_the_module_is_named(environment, tmp_path, monkeypatch):
    (tmp_path / ".venv/bin/electra-rtd").unlink()
    monkeypatch.setattr(sys, "argv", ["/somewhere/cli.py", "adapt"])
    assert shell.command_name() == ".venv/bin/python -m electra_rtd.cli"
