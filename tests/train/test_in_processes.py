"""Training in several processes, forked from this one: masks, one model, weights in parts, and a resumed run."""

import json
import os
import shutil

import pytest
import torch
from datasets import Dataset
from torch.testing import assert_close
from transformers import Trainer, TrainingArguments

from benchmarks.forked import FSDP2, allow_fsdp_on_cpu, run_forked
from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.train_tools import AdaptArguments, RTDProcessesCallback, adapt
from electra_rtd.train_tools.callbacks.processes import SEEDS, seed_of_process


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="processes are forked, which CUDA does not live through"),
]
WEIGHTS = "model.safetensors"


def arguments(folder, **more):
    fields = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "max_steps": 4,
        "logging_steps": 2,
        "learning_rate": 1e-2,
        "adam_epsilon": 1e-3,  # gradients that are 0 but for rounding (of the keys' biases) move nothing
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **more,
    }
    return TrainingArguments(str(folder), **fields)


@pytest.fixture(scope="module")
def same_rows(make_same_rows):
    return Dataset.from_dict({"input_ids": make_same_rows(64, 20).tolist()})


def masks_of_training(model, rows, folder, is_seeded, evaluates):
    """Of each step, where the first row has its masks; and the sum of all weights at the end."""
    seen = []
    model.register_forward_hook(
        lambda module, arguments, output: seen.append(output.masked_positions[0].tolist()) if module.training else None
    )
    trainer = Trainer(
        model,
        arguments(folder, eval_strategy="steps", eval_steps=2),
        train_dataset=rows,
        eval_dataset=rows.select(range(8)),
        callbacks=[RTDProcessesCallback()] if is_seeded else [],
    )
    if evaluates:
        trainer.evaluate()
    trainer.train()
    return seen, sum(parameter.detach().double().sum().item() for parameter in model.parameters())


def test_processes_mask_equal_rows_at_other_places_and_train_one_model(make_model, same_rows, tmp_path):
    """The first process draws as it would alone; without the callback all of them draw the same."""
    alone = run_forked(masks_of_training, 1, make_model(), same_rows, tmp_path, True, True)[0]
    first, second = run_forked(masks_of_training, 2, make_model(), same_rows, tmp_path, True, True)
    assert len(first[0]) == len(second[0]) == 4
    assert all(one != other for one, other in zip(first[0], second[0], strict=True))
    assert first[0][:2] == alone[0][:2]  # an evaluation draws a number, which several processes put back
    assert first[1] == second[1] != alone[1]


def test_without_the_callback_processes_draw_alike_and_an_evaluation_parts_them(make_model, same_rows, tmp_path):
    """What the stock Trainer does: where this fails, the callback is no longer needed."""
    first, second = run_forked(masks_of_training, 2, make_model(), same_rows, tmp_path, False, False)
    assert first[0] == second[0] and first[1] == second[1]
    other = [
        [*row[:1], *row[place % 9 + 1 : -1], *row[1 : place % 9 + 1], *row[-1:]]
        for place, row in enumerate(same_rows["input_ids"])
    ]
    rows = Dataset.from_dict({"input_ids": other})
    first, second = run_forked(masks_of_training, 2, make_model(), rows, tmp_path, False, True)
    assert first[1] != second[1]


def test_seeds_of_processes_and_of_runs_are_apart():
    seeds = {seed_of_process(seed, index) for seed in range(100) for index in range(100)}
    assert len(seeds) == 10_000 and max(seeds) < SEEDS
    assert seed_of_process(42, 0) == 42


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    words = "나 너 우리 학교 병원 환자 의사 약 비 눈 산 강 바다 사람 마음 시간 하루 오늘".split()  # noqa: SIM905
    file = tmp_path_factory.mktemp("text") / "text.txt"
    lines = [" ".join(words[(row + n * (row % 7 + 1)) % len(words)] for n in range(4 + row % 9)) for row in range(120)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module", params=["none", "tied", "gdes"])
def pair(request, make_model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair") / request.param
    make_model(embedding_sharing=request.param).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapt_here(pair, text, folder, **more):
    """`adapt` in this process; the sum of all weights comes back, and which files this process finds."""
    if os.environ.get("ACCELERATE_USE_FSDP"):
        allow_fsdp_on_cpu()
    kept = {name: more.pop(name) for name in ("resume",) if name in more}
    told = AdaptArguments(checkpoint=str(pair), train_file=[str(text)], sample_steps=0, fast=False, **kept)
    result = adapt(told, arguments(folder, **more))
    return result.before, result.after, result.steps


FOUR_STEPS = {"save_strategy": "steps", "save_steps": 2, "logging_steps": 2}


def read_weights(folder):
    return ElectraRTDForPreTraining.from_pretrained(folder).state_dict()


def findings(folder, place):
    """Of the pair and its export alone: in checkpoints, FSDP has files that `verify` takes for no weights of ours."""
    return verify_checkpoint(shutil.copytree(folder, place, ignore=shutil.ignore_patterns("checkpoint-*"))).findings


@pytest.fixture(scope="module")
def by_ddp(pair, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp") / "run"
    results = run_forked(adapt_here, 2, pair, text, folder, named=FOUR_STEPS)
    return folder, results


# How checkpoints are written: of each kind of pair one way, since the two have nothing to do with each other.
CHECKPOINTS = {"none": "FULL_STATE_DICT", "tied": "SHARDED_STATE_DICT", "gdes": "SHARDED_STATE_DICT"}


def test_fsdp2_ends_with_the_weights_of_ddp_and_goes_on_from_its_checkpoint(by_ddp, pair, text, tmp_path):
    folder, results = by_ddp
    assert results[0] == results[1]
    environment = {**FSDP2, "FSDP_STATE_DICT_TYPE": CHECKPOINTS[pair.name]}
    found = run_forked(adapt_here, 2, pair, text, tmp_path / "run", named=FOUR_STEPS, environment=environment)
    assert found[0] == found[1]
    assert found[0][0] == results[0][0]  # before training
    expected, weights = read_weights(folder), read_weights(tmp_path / "run")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(weights[name], value, rtol=0, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
    model = ElectraRTDForPreTraining.from_pretrained(tmp_path / "run")
    tables = [one.electra.embeddings.word_embeddings.weight for one in (model.generator, model.discriminator)]
    assert (tables[0].data_ptr() == tables[1].data_ptr()) == (model.config.embedding_sharing == "tied")
    found, expected = findings(tmp_path / "run", tmp_path / "ours"), findings(folder, tmp_path / "theirs")
    assert found == expected
    assert not list((tmp_path / "run").rglob("_fsdp*")) and (tmp_path / "run" / "modeling_electra_rtd.py").is_file()

    # On from the checkpoint at half of the way: the same end, to the last bit.
    (tmp_path / "run").rename(tmp_path / "whole")
    resumed = tmp_path / "run"
    resumed.mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(resumed / "checkpoint-2")
    again = run_forked(
        adapt_here, 2, pair, text, resumed, named={**FOUR_STEPS, "resume": True}, environment=environment
    )
    assert again[0][2] == 4
    ours, theirs = read_weights(resumed), read_weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_each_thing_is_written_once(by_ddp):
    folder, _ = by_ddp
    assert not list(folder.glob(".partial-*"))
    state = json.loads((folder / "trainer_state.json").read_text())
    assert [row["step"] for row in state["log_history"] if "loss" in row] == [2, 4]
    assert [row["step"] for row in state["log_history"] if "eval_loss" in row] == [0, 4]
