"""RTDFiniteCallback: what is not finite is named before the step is taken, written down, and can be seen again."""

import json
import logging
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from electra_rtd.train_tools import (
    NonFiniteError,
    RTDFiniteCallback,
    RTDHealthCallback,
    RTDMetricsCallback,
    reproduce,
)


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
    with pytest.raises(NonFiniteError):
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
