"""The manifest of a checkpoint: what it says, when it is written, what it finds; old checkpoints go only after it."""

import hashlib
import json
import os
import re
import shutil
import socket
import time
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import multiprocessing
from transformers import Trainer, TrainerCallback

from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.train_tools import RTDManifestCallback, rotation
from electra_rtd.train_tools.callbacks import manifest as callback_module
from electra_rtd.train_tools.manifest import MANIFEST, read_manifest, why_manifest_disagrees, write_manifest
from electra_rtd.train_tools.rotation import rotate
from electra_rtd.train_tools.whole_checkpoints import WRITER, newest_whole_checkpoint, why_not_whole


@pytest.fixture
def checkpoint(tmp_path):
    """A folder as FSDP leaves one: files, and a folder with shards."""
    folder = tmp_path / "checkpoint-4"
    (folder / "optimizer_0").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    (folder / "optimizer_0" / "__0_0.distcp").write_bytes(b"shard")
    (folder / "trainer_state.json").write_text('{"global_step": 4}')
    write_manifest(folder)
    return folder


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_lists_every_file_with_size_and_hash_and_nothing_else_is_left(checkpoint):
    content = json.loads((checkpoint / MANIFEST).read_text())
    assert content == {
        "format": 1,
        "files": {
            "model.safetensors": {"size": 2048, "sha256": hashlib.sha256(bytes(range(256)) * 8).hexdigest()},
            "optimizer_0/__0_0.distcp": {"size": 5, "sha256": hashlib.sha256(b"shard").hexdigest()},
            "trainer_state.json": {"size": 18, "sha256": hashlib.sha256(b'{"global_step": 4}').hexdigest()},
        },
    }
    assert names_in(checkpoint) == sorted([*content["files"], MANIFEST])
    write_manifest(checkpoint)  # again: it does not list itself
    assert json.loads((checkpoint / MANIFEST).read_text()) == content
    assert why_manifest_disagrees(checkpoint) is None


DAMAGE = {
    "cut": (lambda file, data: file.write_bytes(data[: len(data) // 2]), r"has [\d,]+ bytes, .*cut short"),
    "emptied": (lambda file, data: file.write_bytes(b""), r"is empty: [\d,]+ bytes were saved"),
    "zeroed": (lambda file, data: file.write_bytes(b"\0" * len(data)), "other bytes than were saved"),
    "flipped": (lambda file, data: file.write_bytes(data[:-1] + bytes([data[-1] ^ 1])), "other bytes"),
    "longer": (lambda file, data: file.write_bytes(data + b"\0"), r"has [\d,]+ bytes, and [\d,]+ were saved$"),
    "deleted": (lambda file, data: file.unlink(), "is missing"),
    "a folder": (lambda file, data: (file.unlink(), file.mkdir()), "is missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_to_every_file_is_found_and_named(damage, checkpoint):
    spoil, said = DAMAGE[damage]
    for name in read_manifest(checkpoint):
        copy = checkpoint.with_name("copy")
        shutil.copytree(checkpoint, copy)
        spoil(copy / name, (copy / name).read_bytes())
        reason = why_manifest_disagrees(copy)
        assert reason.startswith(f"{name} "), reason
        assert re.search(said, reason), reason
        shutil.rmtree(copy)


def test_what_was_put_beside_it_later_counts_for_nothing(checkpoint):
    (checkpoint / "README.md").write_text("a card")
    assert why_manifest_disagrees(checkpoint) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read"),
        ('{"format": 1, "fil', "cannot be read"),
        ("[]", "lists no files"),
        ('{"format": 1, "files": {}}', "lists no files"),
        ('{"format": 2, "files": {"a": {"size": 0, "sha256": "0"}}}', "format 2, and this release knows 1"),
        ('{"format": 1, "files": {"../a": {"size": 0, "sha256": "0"}}}', "'../a', which is not in the folder"),
        ('{"format": 1, "files": {"/etc/passwd": {"size": 0, "sha256": "0"}}}', "not in the folder"),
        ('{"format": 1, "files": {"a": {"size": true, "sha256": "0"}}}', "does not say what a is"),
        ('{"format": 1, "files": {"a": 3}}', "does not say what a is"),
    ],
)
def test_a_manifest_that_is_none_makes_no_checkpoint_whole(content, said, checkpoint):
    (checkpoint / MANIFEST).write_text(content)
    assert said in why_not_whole(checkpoint)


def test_a_manifest_appears_whole_or_not_at_all(checkpoint, monkeypatch):
    (checkpoint / MANIFEST).unlink()

    def dump(content, file, **options):
        file.write('{"format": 1, "files": {')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", dump)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(checkpoint)
    assert not (checkpoint / MANIFEST).exists()


def test_verify_has_nothing_to_say_of_it(pair_copy):
    before = [str(finding) for finding in verify_checkpoint(str(pair_copy)).findings]
    write_manifest(pair_copy)
    assert [str(finding) for finding in verify_checkpoint(str(pair_copy)).findings] == before


# ---- Under the Trainer ----------------------------------------------------------------------------------------------


class LateWriter(TrainerCallback):
    """Another callback that puts a file into the checkpoint; given after ours."""

    def on_save(self, args, state, control, **kwargs):
        Path(args.output_dir, f"checkpoint-{state.global_step}", "late.json").write_text("{}")


SAVES = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}


def test_it_is_written_after_the_files_of_all_other_callbacks(make_trainer):
    trainer = make_trainer(callbacks=[RTDManifestCallback(), LateWriter()], **SAVES)
    trainer.train()
    folder = Path(trainer.args.output_dir)
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-6"]
    listed = read_manifest(folder / "checkpoint-6")
    assert "late.json" in listed and sorted([*listed, MANIFEST]) == names_in(folder / "checkpoint-6")
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} < set(listed)
    assert newest_whole_checkpoint(folder) == str(folder / "checkpoint-6")
    assert trainer.args.save_total_limit == 1  # as the user gave it
    state = json.loads((folder / "checkpoint-6" / "trainer_state.json").read_text())
    assert RTDManifestCallback.__name__ == WRITER and WRITER in state["stateful_callbacks"]


def test_the_only_whole_checkpoint_goes_after_the_next_one_is_whole(make_trainer, monkeypatch):
    def killed(folder):
        if folder.name == "checkpoint-4":
            raise KeyboardInterrupt
        write_manifest(folder)

    monkeypatch.setattr(callback_module, "write_manifest", killed)
    trainer = make_trainer(callbacks=[RTDManifestCallback()], **SAVES)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    folder = Path(trainer.args.output_dir)
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert newest_whole_checkpoint(folder) == str(folder / "checkpoint-2")
    monkeypatch.undo()
    trainer.train(resume_from_checkpoint=newest_whole_checkpoint(folder))  # the limit is remembered
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-6"]


def test_the_best_checkpoint_stays_and_so_does_the_last_one(make_trainer):
    best = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    trainer = make_trainer(callbacks=[RTDManifestCallback()], greater_is_better=True, **best, **SAVES)
    trainer.train()  # the greatest loss is the first
    folder = Path(trainer.args.output_dir)
    assert trainer.state.best_model_checkpoint == str(folder / "checkpoint-2")
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-6"]
    assert newest_whole_checkpoint(folder) == str(folder / "checkpoint-6")


def train_in_one_of_two(rank, port, make_trainer, is_late):
    """One of two processes; those that are late write their part of a checkpoint after a while."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=port)
    AcceleratorState._reset_state(True)  # of the process that this one is a copy of
    save = Trainer._save_rng_state

    def save_late(trainer, output_dir):
        time.sleep(0.5 * is_late(rank))
        save(trainer, output_dir)

    Trainer._save_rng_state = save_late
    trainer = make_trainer(callbacks=[RTDManifestCallback()], max_steps=2, ddp_backend="gloo", **SAVES)
    trainer.train()
    assert why_not_whole(Path(trainer.args.output_dir) / "checkpoint-2") is None, "a process went on before the manifest"
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_of_several_processes_the_slowest_is_waited_for_and_nobody_goes_on_before_it_is_whole(make_trainer, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    context = multiprocessing.get_context("fork")
    arguments = [(rank, port, make_trainer, lambda rank: rank == 1) for rank in range(2)]
    processes = [context.Process(target=train_in_one_of_two, args=one) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert {"rng_state_0.pth", "rng_state_1.pth"} < set(read_manifest(checkpoint))
    assert sorted([*read_manifest(checkpoint), MANIFEST]) == names_in(checkpoint)


# ---- Rotation -------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    for step in (2, 4, 6, 8, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "a").touch()
    return tmp_path


def steps_in(folder):
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("newest", "limit", "best", "left"),
    [
        (10, 2, None, [8, 10]),
        (10, 1, None, [10]),
        (10, 2, 4, [4, 10]),
        (10, 1, 4, [4, 10]),  # as the Trainer's rule is
        (10, 3, 10, [6, 8, 10]),
        (10, 9, None, [2, 4, 6, 8, 10]),
        (10, None, None, [2, 4, 6, 8, 10]),
        (10, 0, None, [2, 4, 6, 8, 10]),
        (6, 2, None, [4, 6]),  # resumed at 4: those of later steps are of another course
        (6, 4, None, [2, 4, 6, 10]),
        (10, 2, 999, [8, 10]),  # the best one is gone
    ],
)
def test_the_oldest_go_until_so_many_are_left(newest, limit, best, left, saved):
    rotate(saved / f"checkpoint-{newest}", limit, best=best and f"elsewhere/checkpoint-{best}")
    assert steps_in(saved) == left


def test_what_is_half_removed_is_no_checkpoint_and_goes_with_the_next(saved, monkeypatch):
    def killed(folder, **options):
        if folder.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(rotation.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate(saved / "checkpoint-10", 4)
    assert steps_in(saved) == [4, 6, 8, 10]
    monkeypatch.undo()
    rotate(saved / "checkpoint-10", 4)
    assert sorted(path.name for path in saved.iterdir()) == [f"checkpoint-{step}" for step in (10, 4, 6, 8)]
