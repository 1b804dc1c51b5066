"""The output folder of `adapt`: one run at a time, full disks, damaged checkpoints, what Ctrl-C leaves."""

import errno
import json
import os
import pickle
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file
from transformers import Trainer

from electra_rtd import cli, terminal
from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.code_files import CODE
from electra_rtd.hub_tools.run_record import earlier_results
from electra_rtd.train_tools import recipes, run_lock
from electra_rtd.train_tools.manifest import write_manifest
from electra_rtd.train_tools.run_folder import RunFolder
from electra_rtd.train_tools.run_lock import LOCK_FILE


QUICK = ["--max_steps", "4", "--per_device_train_batch_size", "4", "--save_strategy", "steps", "--save_steps", "2"]
QUICK += ["--eval_strategy", "no", "--use_cpu", "--disable_tqdm", "true", "--report_to", "none", "--no_fast"]


@pytest.fixture
def adapt(tmp_path, pair_folders):
    """Run the command into the folder `out`; returns its exit status."""
    (tmp_path / "text.txt").write_text("오늘 우리 학교 책 본다\n" * 20, encoding="utf-8")
    start = ["--generator", pair_folders[0], "--discriminator", pair_folders[1], "--train_file", "text.txt"]

    def run(*arguments):
        return cli.main(["adapt", *map(str, start), "--output_dir", "out", *QUICK, *arguments])

    return run


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def complete_checkpoint(folder):
    """A checkpoint with a file of each kind."""
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(50)}, folder / "model.safetensors")
    torch.save({"a": torch.ones(50)}, folder / "optimizer.pt")
    (folder / "config.json").write_text('{"model_type": "electra_rtd"}')
    (folder / "trainer_state.json").write_text('{"global_step": 1}')
    write_manifest(folder)


# ---- One run at a time ----------------------------------------------------------------------------------------------

HOLD = """
import runpy, sys

with runpy.run_path(sys.argv[1])["only_run"]("out"):  # the module alone: the package takes seconds to import
    print("holds", flush=True)
    sys.stdin.read()
"""


@contextmanager
def living_run(folder):
    """Another process that has the run in a folder, until the block kills it."""
    command = [sys.executable, "-c", HOLD, run_lock.__file__]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "holds\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_run_is_refused_while_the_first_lives_and_touches_nothing(adapt, tmp_path, capsys):
    complete_checkpoint(tmp_path / "out" / "checkpoint-2")
    with living_run(tmp_path) as process:
        before = listing(tmp_path / "out")
        for options in (["--overwrite"], ["--resume"], []):
            assert adapt(*options) == 2
            shown = capsys.readouterr().err
            assert re.search(rf"out: another run \(process {process.pid} on .*\).*Wait.*another folder", shown), shown
        assert listing(tmp_path / "out") == before == [LOCK_FILE, "checkpoint-2"]
    # Killed without a word: its lock is gone, and the file of the lock is nobody's content.
    with RunFolder.opened("out", resume=True) as folder:
        assert folder.last_checkpoint == "out/checkpoint-2"
    assert listing(tmp_path / "out") == ["checkpoint-2"]


def test_two_runs_of_one_process_are_kept_apart_too(tmp_path):
    with RunFolder.opened("out"):
        with pytest.raises(ValueError, match="another run"), RunFolder.opened("out", overwrite=True):
            pass
        with RunFolder.opened("out", is_main_process=False):  # the second process of the same run
            pass
        assert listing(tmp_path / "out") == [LOCK_FILE]
    assert listing(tmp_path) == []


def test_a_folder_is_left_as_it_was_when_nothing_came_of_a_run(tmp_path):
    (tmp_path / "there").mkdir()
    for path in ("there", "new/and/deep"):
        with pytest.raises(ZeroDivisionError), RunFolder.opened(path):
            raise ZeroDivisionError
    assert listing(tmp_path) == ["there"] and listing(tmp_path / "there") == []


@pytest.mark.parametrize("name", ["config.json", "checkpoint-9", "thesis.doc"])
def test_only_a_run_is_ever_replaced(name, tmp_path):
    (tmp_path / "out").mkdir()
    if name == "checkpoint-9":
        complete_checkpoint(tmp_path / "out" / name)
        (tmp_path / "out" / name / "config.json").write_text('{"model_type": "bert"}')
    else:
        (tmp_path / "out" / name).write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"not empty.*`resume=True`.*`overwrite=True`"):
        RunFolder("out")
    with pytest.raises(ValueError, match="holds no run of electra-rtd, so nothing in it is removed"):
        RunFolder("out", overwrite=True)
    assert listing(tmp_path / "out") == [name]


def test_the_lock_that_a_killed_run_left_is_no_content(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK_FILE).write_text("process 1 on another")
    with RunFolder.opened("out"):
        pass
    assert listing(tmp_path / "out") == []


def test_a_lock_is_neither_pushed_nor_strange(pair_copy):
    (pair_copy / LOCK_FILE).write_text("process 1 on another")
    report = verify_checkpoint(str(pair_copy))
    assert report.ok and not [finding for finding in report.findings if LOCK_FILE in str(finding)]
    assert LOCK_FILE.startswith("_")  # what the Trainer's own push leaves out


def test_where_nothing_can_be_locked_the_run_goes_on_with_a_warning(tmp_path, monkeypatch, caplog):
    def acquire(lock, timeout=None):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with RunFolder.opened("out"):
        pass
    assert "`output_dir=out` cannot be locked ([Errno" in caplog.text and "no other run" in caplog.text


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"`output_dir=file/out` cannot be written to.*Give another folder"):
        RunFolder.opened("file/out").__enter__()
    with pytest.raises(ValueError, match="`output_dir=file` is a file: give a folder"):
        RunFolder.opened("file").__enter__()


# ---- A full disk ----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(size):
    """No file may grow beyond so many bytes: what a full disk is to a process, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


MUCH = torch.ones(30_000)  # 120 kB
WRITERS = {
    "torch": lambda folder, tokenizer: torch.save(MUCH, folder / "optimizer.pt"),
    "torch, small": lambda folder, tokenizer: torch.save({"a": 1}, folder / "scheduler.pt"),
    "torch, Korean name": lambda folder, tokenizer: torch.save(MUCH, folder / "상태.pt"),
    "torch, old format": lambda folder, tokenizer: torch.save(
        MUCH, folder / "a.bin", _use_new_zipfile_serialization=False
    ),
    "safetensors": lambda folder, tokenizer: save_file({"a": MUCH}, folder / "model.safetensors"),
    "json": lambda folder, tokenizer: (folder / "trainer_state.json").write_text("[" + "1," * 50_000 + "1]"),
    "tokenizer": lambda folder, tokenizer: tokenizer.save_pretrained(folder),
}


# What torch leaves open where the disk was full, it complains of when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("writer", WRITERS)
def test_what_every_writer_says_of_a_full_disk_is_understood(writer, tokenizer, tmp_path):
    complete_checkpoint(tmp_path / "out" / "checkpoint-8")
    size = 500 if writer == "torch, small" else 2_000
    with pytest.raises(OSError, match=r"disk is full.*out/checkpoint-8 is whole.*`resume=True`") as full:  # noqa: SIM117
        with RunFolder.opened("out", resume=True) as folder, folder.guarded():
            (tmp_path / "out" / "checkpoint-9").mkdir()
            with small_disk(size):
                WRITERS[writer](tmp_path / "out" / "checkpoint-9", tokenizer)
    assert type(full.value) is OSError and len(str(full.value).splitlines()) == 1
    assert listing(tmp_path / "out") == ["checkpoint-8"]


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at inline_container.cc:672] . unexpected pos 2401024 vs 2400976",
        "[enforce fail at inline_container.cc:595] . PytorchStreamWriter failed writing file data/7",
    ],
)
def test_what_torch_says_alone_is_understood_too(said, tmp_path):
    with pytest.raises(OSError, match="disk is full"), RunFolder.opened("out") as folder, folder.guarded():
        raise RuntimeError(said)


def test_a_full_disk_while_saving_keeps_the_previous_checkpoint(again, tmp_path, monkeypatch):
    def until_full(save):
        def save_until_full(trainer, output_dir, **options):
            with small_disk(8_000 if output_dir.endswith("checkpoint-4") else resource.RLIM_INFINITY):
                save(trainer, output_dir, **options)

        return save_until_full

    for name in listing(tmp_path / "out"):  # as a run that was killed at step 3
        if name not in ("checkpoint-2", *CODE):
            remove(tmp_path / "out" / name)
    for method in ("_save", "_save_optimizer_and_scheduler", "_save_rng_state"):
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, method, until_full(getattr(Trainer, method)))
            with pytest.raises(OSError, match=r"could not write to out: the disk is full.*out/checkpoint-2 is whole"):
                again("--resume")
        assert listing(tmp_path / "out") == ["checkpoint-2", *CODE]
    assert again("--resume").steps == 4


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_full_disk_before_the_first_checkpoint_leaves_no_folder(tmp_path):
    with pytest.raises(OSError, match=r"disk is full.*Make room and start again"):  # noqa: SIM117
        with RunFolder.opened("out") as folder, folder.guarded():
            (tmp_path / "out" / "checkpoint-1").mkdir()
            with small_disk(1_000):
                WRITERS["safetensors"](tmp_path / "out" / "checkpoint-1", None)
    assert listing(tmp_path) == []


def test_a_damaged_checkpoint_is_not_called_whole(tmp_path):
    for name in ("checkpoint-2", "checkpoint-4"):
        complete_checkpoint(tmp_path / "out" / name)
    (tmp_path / "out" / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
    folder = RunFolder("out", overwrite=True)
    folder.replace_earlier_run()
    for name in ("checkpoint-2", "checkpoint-4"):
        complete_checkpoint(tmp_path / "out" / name)
    (tmp_path / "out" / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
    with pytest.raises(OSError, match="checkpoint-2 is whole"), folder.guarded():
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_failures_keep_their_kind_and_complete_checkpoints(tmp_path):
    for name in ("checkpoint-2", "checkpoint-10"):
        complete_checkpoint(tmp_path / "out" / name)
    folder = RunFolder("out", resume=True)
    assert folder.last_checkpoint == "out/checkpoint-10"  # by number, not by name
    with pytest.raises(ZeroDivisionError), folder.guarded():
        (tmp_path / "out" / "checkpoint-12").mkdir()
        raise ZeroDivisionError
    assert listing(tmp_path / "out") == ["checkpoint-10", "checkpoint-2"]


def test_a_failure_after_the_pair_is_saved_leaves_the_pair(tmp_path):
    with pytest.raises(ZeroDivisionError), RunFolder.opened("out") as folder, folder.guarded():
        (tmp_path / "out" / "adapt_results.json").write_text("{}")
        raise ZeroDivisionError
    assert listing(tmp_path / "out") == ["adapt_results.json"]


def test_an_empty_folder_that_was_there_stays_and_the_error_is_the_real_one(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(ZeroDivisionError), RunFolder.opened(".") as folder, folder.guarded():
        (tmp_path / "out" / "runs").mkdir()
        raise ZeroDivisionError
    assert listing(tmp_path / "out") == []


# ---- A damaged checkpoint -------------------------------------------------------------------------------------------


def test_where_no_checkpoint_is_whole_the_message_names_the_file_and_the_ways_on(again, tmp_path):
    (tmp_path / "out" / "checkpoint-2" / "optimizer.pt").write_bytes(b"")
    (tmp_path / "out" / "checkpoint-4" / "scheduler.pt").unlink()
    before = listing(tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"no whole checkpoint in out \(checkpoint-4: scheduler\.pt is missing"
    ) as error:
        again("--resume", "--max_steps", "6")
    assert "`overwrite=True`" in str(error.value) and "`checkpoint=out/checkpoint-4`" in str(error.value)
    assert "disk" not in str(error.value) and listing(tmp_path / "out") == before


def test_damage_that_only_loading_finds_is_named_too(again, tmp_path, monkeypatch):
    def load(*arguments, **named):
        raise pickle.UnpicklingError("pickle data was truncated")

    monkeypatch.setattr(Trainer, "_load_optimizer_and_scheduler", load)
    with pytest.raises(ValueError, match=r"checkpoint-4 is damaged: pickle data.*on from out/checkpoint-2") as error:
        again("--resume", "--max_steps", "6")
    assert "disk" not in str(error.value)


def test_a_damaged_start_is_named(pair_copy, tmp_path, capsys):
    (pair_copy / "model.safetensors").write_bytes((pair_copy / "model.safetensors").read_bytes()[:-1])
    arguments = ["--checkpoint", str(pair_copy), "--train_file", "text.txt", "--output_dir", "out", *QUICK]
    assert cli.main(["adapt", *arguments]) == 2
    assert re.search(r"pair is damaged: model\.safetensors is cut short.*pull", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C in the so-many-th call of a method, whatever it belongs to."""

    def press(owner, name, call=1):
        method, calls = getattr(owner, name), []

        def interrupted(*arguments, **named):
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt
            return method(*arguments, **named)

        monkeypatch.setattr(owner, name, interrupted)

    return press


def test_ctrl_c_says_what_is_saved_what_is_lost_and_a_command_that_goes_on(
    adapt, interrupt, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(terminal, "command_name", lambda: "electra-rtd")  # `test_cli.py` has the others
    interrupt(Trainer, "training_step", call=4)
    with monkeypatch.context() as patch:
        patch.delenv("WORLD_SIZE", raising=False)
        assert adapt("--overwrite") == 130
    shown = capsys.readouterr().err
    assert "electra-rtd adapt: interrupted at step 3.\nout/checkpoint-2 is whole; the 1 step since" in shown
    command = shlex.split(shown.strip().splitlines()[-1])
    assert os.path.basename(command[0]) == "electra-rtd" and command[-1] == "--resume" and "--overwrite" not in command
    assert listing(tmp_path / "out") == ["checkpoint-2", *CODE]
    assert cli.main(command[1:]) == 0
    assert json.loads((tmp_path / "out" / "adapt_results.json").read_text())["steps"] == 4


def test_ctrl_c_while_the_first_checkpoint_is_saved_claims_nothing(adapt, interrupt, tmp_path, capsys):
    interrupt(Trainer, "_save_rng_state")
    assert adapt() == 130
    shown = capsys.readouterr().err
    assert "interrupted at step 2.\nNo checkpoint was saved yet" in shown and "--save_steps" in shown
    assert "--resume" not in shown and not (tmp_path / "out").exists()


def test_ctrl_c_while_text_is_read_changes_nothing(adapt, interrupt, tmp_path, capsys):
    interrupt(recipes, "read_run_texts")
    assert adapt() == 130
    assert "interrupted before the first step.\nNothing was trained" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_does_not_count_checkpoints_of_the_run_that_was_to_be_replaced(adapt, interrupt, tmp_path, capsys):
    complete_checkpoint(tmp_path / "out" / "checkpoint-2")
    interrupt(recipes, "evaluate_held_out")
    assert adapt("--overwrite") == 130
    assert "--resume" not in capsys.readouterr().err
    assert listing(tmp_path / "out") == ["checkpoint-2"]


def test_ctrl_c_after_the_pair_is_saved_says_so(tmp_path):
    with RunFolder.opened("out") as folder:
        folder.follow(type("Trainer", (), {"state": type("State", (), {"global_step": 4})}))
        (tmp_path / "out" / "adapt_results.json").write_text('{"steps": 4}')
        assert folder.what_is_saved() == "at step 4.\nThe adapted pair is saved in out."


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--overwrite", "--lang", "ko"], ["--lang", "ko", "--resume"]),
        (["--resume", "true", "--use_cpu", "true"], ["--use_cpu", "true", "--resume"]),
        (["--overwrite=true", "--train-file", "a b"], ["--train-file", "a b", "--resume"]),
        (["--hub_token", "short", "--use_cpu", "true"], ["--hub_token", "TOKEN", "--use_cpu", "true", "--resume"]),
        (["--hub-token=short", "--lang", "ko"], ["--hub-token=TOKEN", "--lang", "ko", "--resume"]),
    ],
)
def test_the_command_that_goes_on_resumes_and_overwrites_nothing(given, kept):
    assert terminal._resuming(given) == kept


@pytest.mark.parametrize("content", ["[]", "3", '{"steps"', "null"])
def test_results_that_hold_no_object_are_no_results(content, tmp_path):
    with RunFolder.opened("out") as folder:
        folder.follow(type("Trainer", (), {"state": type("State", (), {"global_step": 4})}))
        (tmp_path / "out" / "adapt_results.json").write_text(content)
        assert "Start again" in folder.what_is_saved() and earlier_results("out", 4) == {}


def test_a_process_beside_the_main_one_says_nothing_of_what_is_saved():
    assert RunFolder("out", is_main_process=False).what_is_saved() == "" and not os.path.exists("out")


def test_the_command_that_goes_on_shows_no_token(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "1")
    interrupt = KeyboardInterrupt("at step 3. Go on with --resume.")
    terminal.print_interrupt("adapt", interrupt, ["--output_dir", "out", "--hub_token", "secret-word"])
    shown = capsys.readouterr().err
    assert "--output_dir out --hub_token TOKEN --resume" in shown and "--resume" in shown.splitlines()[-1]
    assert "secret-word" not in shown
