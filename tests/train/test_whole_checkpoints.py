"""Which checkpoint is taken: the newest whole one, with a word about each that was passed over; with a manifest or
without one."""

import json
import logging
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed, multiprocessing

from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.gather import gather_checkpoint
from electra_rtd.train_tools.manifest import MANIFEST, write_manifest
from electra_rtd.train_tools.run_folder import RunFolder
from electra_rtd.train_tools.whole_checkpoints import (
    WRITER,
    is_unfinished,
    newest_whole_checkpoint,
    saved_checkpoints,
    why_not_whole,
)


def as_of_earlier_release(checkpoint):
    """Without a manifest, and with a state that promises none."""
    (checkpoint / MANIFEST).unlink()
    change_json(checkpoint / "trainer_state.json", lambda state: state["stateful_callbacks"].pop(WRITER))


def change_json(file, change):
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def change_weights(file, change):
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


NAME = "discriminator.electra.encoder.layer.0.output.dense.weight"
FAULTS = {  # of a checkpoint without a manifest: what is done to its folder, and what is said
    "no optimiser": (lambda it: (it / "optimizer.pt").unlink(), "optimiser's state (optimizer.pt) is missing"),
    "no schedule": (lambda it: (it / "scheduler.pt").unlink(), "schedule's state (scheduler.pt) is missing"),
    "no random state": (lambda it: (it / "rng_state.pth").unlink(), "the random numbers (rng_state.pth) is missing"),
    "lost process": (lambda it: (it / "rng_state.pth").rename(it / "rng_state_1.pth"), "rng_state_0.pth is missing"),
    "no weights": (lambda it: (it / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no configuration": (lambda it: (it / "config.json").unlink(), "config.json is missing"),
    "no vocabulary": (lambda it: (it / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "half a tokenizer": (lambda it: (it / "tokenizer_config.json").unlink(), "tokenizer_config.json is missing"),
    "no state": (lambda it: (it / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "empty state": (lambda it: (it / "trainer_state.json").write_text(""), "trainer_state.json cannot be read"),
    "empty weights": (lambda it: (it / "model.safetensors").write_bytes(b""), "model.safetensors is empty"),
    "empty optimiser": (lambda it: (it / "optimizer.pt").write_bytes(b""), "optimizer.pt is empty"),
    "empty schedule": (lambda it: (it / "scheduler.pt").write_bytes(b""), "scheduler.pt is empty"),
    "cut optimiser": (lambda it: os.truncate(it / "optimizer.pt", 900), "optimizer.pt is cut short"),
    "cut tokenizer": (lambda it: os.truncate(it / "tokenizer.json", 900), "tokenizer.json is no JSON"),
    "lost tensor": (
        lambda it: change_weights(it / "model.safetensors", lambda weights: weights.pop(NAME)),
        f"model.safetensors: lacks {NAME}",
    ),
    "NaN": (
        lambda it: change_weights(
            it / "model.safetensors", lambda weights: weights[NAME].view(-1)[5:6].fill_(torch.nan)
        ),
        f"{NAME} holds NaN or Inf",
    ),
    "no step": (
        lambda it: change_json(it / "trainer_state.json", lambda state: state.pop("global_step")),
        "trainer_state.json has no global_step",
    ),
    "other step": (
        lambda it: change_json(it / "trainer_state.json", lambda state: state.update(global_step=3)),
        "trainer_state.json is of step 3",
    ),
    "no log": (
        lambda it: change_json(it / "trainer_state.json", lambda state: state.update(log_history=None)),
        "trainer_state.json has no log_history",
    ),
    "other sizes": (
        lambda it: change_json(it / "config.json", lambda config: config["generator_config"].update(hidden_size=-4)),
        "config.json",
    ),
}


def test_a_checkpoint_of_an_earlier_release_is_checked_as_far_as_its_files_allow(finished_run, tmp_path, caplog):
    whole = shutil.copytree(finished_run.out / "checkpoint-4", tmp_path / "whole" / "checkpoint-4")
    as_of_earlier_release(whole)
    assert newest_whole_checkpoint(whole.parent) == str(whole)
    assert "has no checkpoint_manifest.json" in caplog.text and "less than their hashes" in caplog.text
    for fault, (spoil, said) in FAULTS.items():
        copy = shutil.copytree(whole, tmp_path / fault / "checkpoint-4")
        spoil(copy)
        reason = why_not_whole(copy)
        assert reason is not None and said in reason, (fault, reason)
    file = whole / "optimizer.pt"  # one bit within the numbers
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert "optimizer.pt does not agree with the sums in it" in why_not_whole(whole)


def test_a_checkpoint_that_was_to_have_a_manifest_is_not_whole_without_it(again, tmp_path):
    """Its run was killed while the manifest was about to be written: all other files are there."""
    checkpoint = tmp_path / "out" / "checkpoint-4"
    assert not is_unfinished(checkpoint)
    (checkpoint / MANIFEST).unlink()
    assert is_unfinished(checkpoint)
    assert why_not_whole(checkpoint).startswith(f"{MANIFEST} is missing: its run ended before it was written")
    assert newest_whole_checkpoint("out") == "out/checkpoint-2"
    shutil.copytree(checkpoint, "alone/checkpoint-4")
    with pytest.raises(
        ValueError, match=r"manifest.json is missing.*`resume_from_checkpoint=alone/checkpoint-4` goes"
    ):
        RunFolder("alone", resume=True)
    with RunFolder.opened("out", resume=True) as folder, folder.guarded():
        assert [path.name for path in saved_checkpoints("out")] == ["checkpoint-2"]  # what was half-written is gone


def test_each_that_is_passed_over_is_named_and_the_run_ends_at_the_same_weights(again, caplog):
    caplog.set_level(logging.INFO)
    weights = Path("out/model.safetensors").read_bytes()
    change_weights(Path("out/checkpoint-4/model.safetensors"), lambda weights: weights[NAME].fill_(torch.nan))
    Path("out/checkpoint-10").mkdir()
    again("--resume")
    assert caplog.messages[:3] == [
        "out/checkpoint-10 is passed over: trainer_state.json is missing: its run ended while it was saved.",
        "out/checkpoint-4 is passed over: model.safetensors has other bytes than were saved, by its hash.",
        "Goes on from out/checkpoint-2, the newest checkpoint that is whole.",
    ]
    assert Path("out/model.safetensors").read_bytes() == weights
    assert [path.name for path in saved_checkpoints("out")] == ["checkpoint-2", "checkpoint-4"]
    assert newest_whole_checkpoint("out") == "out/checkpoint-4"  # written again


def test_a_damaged_checkpoint_that_a_user_names_is_refused(again, tmp_path):
    for step in (2, 4):
        shutil.copytree(f"out/checkpoint-{step}", f"there/checkpoint-{step}")
    Path("there/checkpoint-4/scheduler.pt").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"`resume_from_checkpoint=there/checkpoint-4` is not whole: scheduler\.pt is e"
    ):
        again("--overwrite", "--resume_from_checkpoint", "there/checkpoint-4")
    whole = Path("there/checkpoint-2").rename("there/last-checkpoint")
    (whole / MANIFEST).unlink()  # as the Trainer's push to the Hub leaves it
    assert again("--overwrite", "--resume_from_checkpoint", "there/last-checkpoint").steps == 4


def test_damage_to_the_best_checkpoint_is_said_where_another_one_is_resumed(again, caplog):
    best = {"best_model_checkpoint": "somewhere/out/checkpoint-2"}
    change_json(Path("out/checkpoint-4/trainer_state.json"), lambda state: state.update(best))
    write_manifest("out/checkpoint-4")
    assert newest_whole_checkpoint("out") == "out/checkpoint-4" and "best" not in caplog.text
    os.truncate("out/checkpoint-2/model.safetensors", 9)
    assert newest_whole_checkpoint("out") == "out/checkpoint-4"
    assert "out/checkpoint-2, the best one so far, is not whole: model.safetensors has 9 bytes" in caplog.text


def test_they_are_counted_by_number_and_other_names_are_none(tmp_path):
    for name in ("checkpoint-10", "checkpoint-9", "checkpoint-x", "last-checkpoint", ".partial-removed-checkpoint-11"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-12").touch()
    assert [path.name for path in saved_checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10"]
    assert saved_checkpoints(tmp_path / "not there") == [] and newest_whole_checkpoint(tmp_path) is None


def test_a_checkpoint_that_is_pushed_leaves_its_manifest_at_home(finished_run, tmp_path):
    gather_checkpoint(finished_run.out / "checkpoint-4", tmp_path / "pushed")
    assert (tmp_path / "pushed" / "model.safetensors").is_file() and not (tmp_path / "pushed" / MANIFEST).exists()
    assert MANIFEST not in str(verify_checkpoint(str(finished_run.out / "checkpoint-4")).findings)


# ---- Several processes ----------------------------------------------------------------------------------------------


def ask(rank, folders, store, answers):
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=len(folders))
    logging.disable()
    answer = newest_whole_checkpoint(folders[rank] or "nowhere", checks=folders[rank] is not None)
    Path(answers, str(rank)).write_text(str(answer))
    distributed.destroy_process_group()


def test_processes_take_a_checkpoint_that_is_whole_on_every_disk(tmp_path):
    """Two machines with a disk each, and a process that looks at nothing: each disk lacks something else."""
    for disk in ("one", "two"):
        for step in (2, 4, 6):
            folder = tmp_path / disk / f"checkpoint-{step}"
            folder.mkdir(parents=True)
            (folder / "a").write_text("a")
            write_manifest(folder)
    (tmp_path / "two" / "checkpoint-6" / "a").unlink()
    shutil.rmtree(tmp_path / "one" / "checkpoint-4")
    folders = [str(tmp_path / "one"), str(tmp_path / "two"), None]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=ask, args=(rank, folders, tmp_path / "store", tmp_path)) for rank in range(len(folders))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    answers = [(tmp_path / str(rank)).read_text() for rank in range(len(folders))]
    assert [re.sub(".*/", "", answer) for answer in answers] == ["checkpoint-2"] * 3
