"""RTDFiniteCallback: what is not finite is named before the step is taken, written down, and can be seen again."""

import json
import logging
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from electra_rtd import cli
from electra_rtd.train_tools import (
    NonFiniteError,
    RTDFiniteCallback,
    RTDHealthCallback,
    RTDMetricsCallback,
    reproduce,
)
from electra_rtd.train_tools.callbacks import finite
from electra_rtd.train_tools.nonfinite import MicroBatch, find, losses_of


HUGE = 3e38  # finite, and nothing that is computed with it is


class Spoil(TrainerCallback):
    """Makes a weight of the model huge in some steps (from 1), and puts it back after each."""

    def __init__(self, steps, name="generator.generator_predictions.dense.weight"):
        self.steps, self.name, self.kept, self.after = steps, name, None, []

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step + 1 in self.steps:
            self.kept = model.get_parameter(self.name).detach().clone()
            model.get_parameter(self.name).data.fill_(HUGE)

    def on_step_end(self, args, state, control, model=None, optimizer=None, **kwargs):
        if self.kept is not None:
            model.get_parameter(self.name).data.copy_(self.kept)
            self.kept = None
        states = optimizer.state_dict()["state"]
        self.after.append(
            [value.clone() for value in model.state_dict().values()]
            + [value.clone() for one in states.values() for value in one.values()]
        )


@pytest.fixture
def spoilt(make_trainer):
    """A Trainer whose generator overflows in some of its steps; the callback that says so is given back too."""

    def make(steps, on_nonfinite="stop", name="generator.generator_predictions.dense.weight", **arguments):
        spoil, guard = Spoil(steps, name), RTDFiniteCallback(on_nonfinite)
        callbacks = [RTDMetricsCallback(), RTDHealthCallback(), spoil, guard]
        return make_trainer(callbacks=callbacks, **{"logging_steps": 1, **arguments}), spoil, guard

    return make


def folders(tmp_path):
    return sorted(child.name for child in (tmp_path / "run").iterdir() if child.is_dir())


def written(tmp_path, step):
    return tmp_path / "run" / f"_nonfinite-step-{step}"


def test_a_step_is_named_and_not_taken(spoilt, tmp_path):
    trainer, spoil, _ = spoilt({4}, save_strategy="steps", save_steps=3)
    with pytest.raises(NonFiniteError) as stopped:
        trainer.train()
    said = str(stopped.value)
    assert said.startswith("step 4: mlm_loss is nan.\nIts 4 rows begin with ")
    assert "The learning rate is 0.0005." in said  # 3 of 6 steps of a linear schedule are over
    assert "`checkpoint=" in said and "checkpoint-3" in said
    assert trainer.state.global_step == 3 and len(spoil.after) == 3
    assert folders(tmp_path) == ["_nonfinite-step-4", "checkpoint-3"]


def test_the_same_numbers_come_out_again(spoilt, tmp_path, rows):
    trainer, _, _ = spoilt({3}, gradient_accumulation_steps=2)
    with pytest.raises(NonFiniteError, match="mlm_loss is nan, in micro-batch 1 of 2"):
        trainer.train()
    found = reproduce(written(tmp_path, 3))
    said = json.loads((written(tmp_path, 3) / "nonfinite.json").read_text(encoding="utf-8"))
    seen = [{name: str(value) for name, value in one.items()} for one in found["losses"]]
    assert seen == said["losses"] and seen[0]["mlm_loss"] == "nan"
    assert math.isfinite(found["losses"][0]["disc_loss"]) and found["losses"][0] != found["losses"][1]
    assert (said["step"], said["seed"], said["precision"], said["micro_batch"]) == (3, 42, "float32", 0)
    batch = load_file(written(tmp_path, 3) / "batch.safetensors")
    known = {tuple(row) for row in rows["input_ids"]}
    for ids, mask in zip(batch["1.input_ids"], batch["1.attention_mask"], strict=True):
        assert tuple(ids[mask == 1].tolist()) in known


def test_a_gradient_is_traced_to_where_it_breaks(spoilt, tmp_path, make_model):
    """Forward is finite: of what follows the first dense layer of the head, the backward pass multiplies by 1e38."""

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, hidden):
            return hidden.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * math.inf

    trainer, _, _ = spoilt(set())
    module = trainer.model.discriminator.electra.encoder.layer[1].attention.output.LayerNorm
    module.register_forward_hook(lambda module, given, output: Steep.apply(output))
    with pytest.raises(NonFiniteError, match="the gradient is not finite, first in discriminator"):
        trainer.train()
    said = json.loads((written(tmp_path, 1) / "nonfinite.json").read_text(encoding="utf-8"))
    assert next(iter(said["gradients"])).startswith("discriminator.electra.encoder.layer.1.attention.output.LayerNorm")
    assert not any("layer.1.intermediate" in name or "discriminator_predictions" in name for name in said["gradients"])
    assert said["values"] == {} and said["micro_batch"] == 0


def test_a_skipped_step_moves_no_weight_and_no_average_and_is_in_no_log(spoilt, caplog):
    trainer, spoil, guard = spoilt({3}, "skip")
    with caplog.at_level(logging.WARNING, "electra_rtd"):
        trainer.train()
    for before, after in zip(spoil.after[1], spoil.after[2], strict=True):
        assert torch.equal(before, after)
    assert any(not torch.equal(*pair) for pair in zip(spoil.after[2], spoil.after[3], strict=True))
    assert (trainer.state.global_step, guard.skipped) == (6, 1)
    [row] = [row for row in trainer.state.log_history if "nonfinite" in row]
    assert (row["step"], row["nonfinite"]) == (3, "skipped") and "mlm_loss is nan" in row["message"]
    for row in trainer.state.log_history:
        figures = {name: value for name, value in row.items() if isinstance(value, float) and name != "grad_norm"}
        assert all(map(math.isfinite, figures.values())), row
        assert "health" not in row  # one message for one thing
    assert len([one for one in caplog.records if one.name.startswith("electra_rtd")]) == 1


def test_what_comes_after_a_skipped_step_is_what_would_have_come(spoilt, make_trainer):
    """A run whose third step has no gradient for another reason ends at the same weights."""

    class Drop(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            if state.global_step == 2:
                model.zero_grad(set_to_none=True)

    trainer, _, _ = spoilt({3}, "skip")
    trainer.train()
    other = make_trainer(callbacks=[RTDMetricsCallback(), Drop()], logging_steps=1)
    other.train()
    for name, value in other.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name


def test_it_gives_up_after_ten_steps_in_a_row_and_keeps_three_folders(spoilt, tmp_path):
    trainer, _, guard = spoilt(set(range(2, 40)), "skip", max_steps=40)
    with pytest.raises(NonFiniteError, match="10 steps in a row were left out"):
        trainer.train()
    assert (guard.skipped, trainer.state.global_step) == (10, 11)
    # The first ones of those in a row, until the last one takes the place of the oldest.
    names = ["_nonfinite-step-12", "_nonfinite-step-3", "_nonfinite-step-4"]
    assert folders(tmp_path) == names


def test_steps_in_a_row_are_counted_over_sessions(spoilt, tmp_path):
    trainer, _, guard = spoilt({2, 3}, "skip", save_strategy="steps", save_steps=3, max_steps=4)
    trainer.train()
    assert (guard.skipped, guard.in_a_row) == (2, 0)
    again, _, resumed = spoilt({4}, "skip", save_strategy="no", max_steps=4)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert (resumed.skipped, resumed.in_a_row) == (3, 3)


def test_weights_that_are_not_finite_are_refused_before_any_step(make_trainer, make_model):
    model = make_model()
    model.generator.generator_predictions.dense.bias.data[2] = math.nan
    trainer = make_trainer(model, callbacks=[RTDFiniteCallback("skip")])
    with pytest.raises(ValueError, match=r"1 in generator.generator_predictions.dense.bias"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize("value", ["die", None])
def test_another_way_is_refused(value):
    with pytest.raises(ValueError, match="must be 'stop' or 'skip'"):
        RTDFiniteCallback(value)


# ---- The likely cause -----------------------------------------------------------------------------------------------


def micro_batch(model, batch):
    """As a callback would have kept it."""
    kept = MicroBatch(batch, random={"cpu": torch.get_rng_state()})
    with torch.no_grad():
        kept.losses = losses_of(model(**batch))
    return kept


@pytest.fixture
def broken(make_model, make_batch):
    """A model whose last step broke off: with a batch, and one that was well before."""
    model = make_model().train()
    return model, micro_batch(model, make_batch()), micro_batch(model, make_batch(seed=1))


def losses(*values):
    return [torch.tensor([value, 1.0, 0.1]) for value in values]


def test_a_loss_that_rose_before_points_to_the_learning_rate(broken):
    model, batch, before = broken
    batch.losses = torch.tensor([math.nan, 1.0, math.nan])
    found = find(model, [batch], before=before, history=losses(10, 8, 6, 4, 4, 4, 4, 4, 6, 9, 12, 15, 20))
    assert (found.cause, found.why) == ("learning_rate", "the loss rose before, from 4 to 12.4, means of steps")
    assert found.what() == "disc_loss is nan" and found.values == {"loss": "nan", "disc_loss": "nan"}


def test_one_batch_alone_points_to_the_text(broken):
    model, batch, before = broken
    batch.losses = torch.tensor([math.nan, math.nan, 0.1])
    assert find(model, [batch], before=before, history=losses(*[4.0] * 10)).cause == "data"
    assert find(model, [batch], before=None).cause == "unknown"


def test_a_batch_that_was_well_and_is_no_more_points_to_the_learning_rate(broken):
    model, batch, before = broken
    batch.losses = torch.full((3,), math.nan)
    for parameter in model.discriminator.parameters():
        parameter.data.mul_(5e3)  # no weight above 10,000, and yet
    model.discriminator.discriminator_predictions.dense.weight.data.fill_(9e3)
    model.config.disc_weight = 1e38
    found = find(model, [batch], before=before, history=losses(*[4.0] * 10))
    assert found.cause == "learning_rate" and "the batch of the step before is not finite either" in found.why


def test_what_is_finite_in_float32_points_to_the_precision(broken):
    model, batch, before = broken
    batch.losses = torch.full((3,), math.nan)
    found = find(model, [batch], before=before, dtype=torch.bfloat16)
    assert found.cause == "precision" and found.why.endswith("is finite in float32, and not in bfloat16")


def test_a_large_weight_at_the_start_is_the_starts(broken):
    model, batch, _ = broken
    batch.losses = torch.full((3,), math.nan)
    model.generator.electra.encoder.layer[0].output.dense.bias.data[0] = 1e30
    found = find(model, [batch])
    assert found.cause == "start" and "1.0e+30 (generator.electra.encoder.layer.0.output.dense.bias)" in found.why


def test_looking_for_the_cause_leaves_nothing_behind(broken):
    model, batch, before = broken
    weights, state = [one.clone() for one in model.state_dict().values()], torch.get_rng_state()
    find(model, [batch], before=before, history=losses(*[4.0] * 10))  # nothing is wrong: gradients are looked for
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(one.grad is None for one in model.parameters())
    assert all(torch.equal(*pair) for pair in zip(weights, model.state_dict().values(), strict=True))


# ---- fp16, several processes, the command ---------------------------------------------------------------------------


def one_process():
    AcceleratorState._reset_state(reset_partial_state=True)  # of an earlier test
    return Accelerator(cpu=True)


def overflowing(model, batch, guard, args, steps):
    """The events of steps whose gradient is infinite, and whose loss is not."""
    state, control, optimizer = TrainerState(max_steps=100), TrainerControl(), torch.optim.SGD(model.parameters(), 0.1)
    for state.global_step in range(steps):
        guard.on_step_begin(args, state, control)
        model(**batch).loss.backward()
        next(model.parameters()).grad[0] = math.inf
        guard.on_pre_optimizer_step(args, state, control, model=model, optimizer=optimizer)


def test_an_overflow_under_fp16_is_the_scalers_until_it_never_ends(make_model, make_batch, tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    one_process()
    model, guard = make_model().train(), RTDFiniteCallback(folder=tmp_path)
    args.fp16 = True  # which no CPU has
    guard.on_init_end(args, None, None, model=model)
    overflowing(model, make_batch(), guard, args, finite.MOST_OVERFLOWS - 1)
    assert (guard.overflows, guard.skipped) == (finite.MOST_OVERFLOWS - 1, 0)
    with pytest.raises(NonFiniteError, match="in 24 steps in a row, whatever the scale"):
        overflowing(model, make_batch(), guard, args, 1)


@pytest.mark.parametrize("clipped", [True, False])
def test_a_scaler_can_step_after_gradients_were_dropped(make_model, make_batch, clipped):
    accelerator = one_process()
    model = make_model().train()
    plain = torch.optim.AdamW(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    optimizer = AcceleratedOptimizer(plain, scaler=scaler)
    accelerator.gradient_state._set_sync_gradients(True)
    scaler.scale(model(**make_batch()).loss).backward()
    if clipped:
        scaler.unscale_(plain)
    before = [one.clone() for one in model.parameters()]
    finite._drop_gradients(model, optimizer)
    optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)) and not plain.state


def test_a_full_disk_does_not_hide_what_was_found(spoilt, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finite, "write_step", full)
    trainer, _, _ = spoilt({1})
    with pytest.raises(NonFiniteError, match=r"(?s)mlm_loss is nan.*could not be written down: .*No space left"):
        trainer.train()


def test_adapt_ends_with_status_1_and_the_folder_and_overwrite_replaces_it(finished_run, text, tmp_path, capsys):
    run = ["adapt", *finished_run.arguments]
    assert cli.main([*run, "--learning_rate", "1e37"]) == 1
    assert [child.name for child in (tmp_path / "out").iterdir()] == ["_nonfinite-step-2"]
    said = capsys.readouterr().err
    assert "step 2: mlm_loss is nan and disc_loss is nan" in said and "a lower --learning_rate" in said
    assert cli.main([*run, "--overwrite", "--max_steps", "2"]) == 0
    assert not (tmp_path / "out" / "_nonfinite-step-2").exists()


@pytest.mark.slow
def test_processes_decide_alike_and_the_one_to_blame_writes(saved_pair, rows, tmp_path):
    shutil.copytree(saved_pair, tmp_path / "model")
    rows.save_to_disk(str(tmp_path / "rows"))
    worker = [str(Path(__file__).with_name("finite_worker.py")), str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *worker],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [(one["step"], one["skipped"]) for one in found["skip"]] == [(3, 1), (3, 1)]
    assert [(one["step"], one["skipped"]) for one in found["stop"]] == [(1, 0), (1, 0)]
    for both in found.values():
        assert both[0]["weights"] == both[1]["weights"] and both[0]["message"] == both[1]["message"]
    assert "step 2: loss is inf of process 1" in found["stop"][0]["message"]
    for name in found:
        said = json.loads((tmp_path / name / "_nonfinite-step-2" / "nonfinite.json").read_text(encoding="utf-8"))
        assert said["process"] == 1
