"""Settings that change over training: their value in every step, where it shows, and a run that is resumed."""

import json
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoConfig

from electra_rtd.train_tools import AdaptArguments, RTDMetricsCallback, RTDScheduleCallback, Schedule


FIELDS = ("sampling_temperature", "disc_weight", "mask_prob")
CHANGES = {"sampling_temperature": "2.0:1.0", "disc_weight": "10:50:cosine@0.5", "mask_prob": "0.15:0.4@0.25"}
STEPS = 8


def expected(step):
    """The formulas of `CHANGES`, written out, for a run of 8 steps."""
    return {
        "sampling_temperature": 2.0 - step / 8,
        "disc_weight": 10 + 40 * (1 - math.cos(math.pi * min(step / 4, 1.0))) / 2,
        "mask_prob": 0.15 + 0.25 * min(step / 2, 1.0),
    }


def seen_by(model):
    """What stands in the configuration at each forward: (`training`, values), in order."""
    seen = []
    model.register_forward_pre_hook(
        lambda module, _: seen.append((module.training, {name: getattr(module.config, name) for name in FIELDS}))
    )
    return seen


@pytest.fixture
def scheduled(make_trainer, make_model, tmp_path):
    """A Trainer of 8 steps with `CHANGES`, and what its model has seen."""

    def make(schedules=CHANGES, dropout=0.1, folder="run", **arguments):
        model = make_model(dropout=dropout)
        callbacks = [RTDMetricsCallback(), *([RTDScheduleCallback(**schedules)] if schedules else [])]
        defaults = {"max_steps": STEPS, "logging_steps": 1, "output_dir": str(tmp_path / folder)}
        return make_trainer(model, callbacks=callbacks, **{**defaults, **arguments}), seen_by(model)

    return make


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_value_in_every_step_is_that_of_the_formula(scheduled, accumulation):
    trainer, seen = scheduled(gradient_accumulation_steps=accumulation)
    trainer.train()
    batches = [accumulation if accumulation == 1 or step % 2 == 0 else 1 for step in range(STEPS)]  # 4 an epoch
    by_hand = [expected(step) for step, count in enumerate(batches) for _ in range(count)]
    assert [values for training, values in seen if training] == [pytest.approx(values) for values in by_hand]


def test_a_schedule_begins_with_its_first_value_and_ends_with_its_last_exactly():
    for shape in ("linear", "cosine"):
        schedule = Schedule(0.3, 0.1, shape, share=0.7)
        assert schedule.value(0, 10) == 0.3 and [schedule.value(step, 10) for step in (7, 8, 10)] == [0.1] * 3
        values = [schedule.value(step, 10) for step in range(8)]
        assert values == sorted(values, reverse=True)
    assert Schedule(0.0, 4.0, "cosine").value(1, 4) == pytest.approx(4 * (1 - math.cos(math.pi / 4)) / 2)


def test_every_evaluation_is_at_the_values_of_the_end(scheduled):
    trainer, seen = scheduled(eval_strategy="steps", eval_steps=2)
    trainer.evaluate()
    trainer.train()
    evaluations = [values for training, values in seen if not training]
    assert len(evaluations) == 5 * 2  # batches
    end = {"sampling_temperature": 1.0, "disc_weight": 50.0, "mask_prob": 0.4}
    assert all(values == end for values in evaluations)
    for row in trainer.state.log_history:
        if "eval_loss" in row:
            assert row["eval_mlm_loss"] + 50 * row["eval_disc_loss"] == pytest.approx(row["eval_loss"], abs=2e-3)


def test_each_log_has_the_value_of_its_last_step_and_the_parts_add_up_with_it(scheduled, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    trainer, _ = scheduled(report_to=["tensorboard"])
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    for step, row in enumerate(rows):
        assert {name: row[name] for name in FIELDS} == pytest.approx(expected(step))
        assert row["mlm_loss"] + row["disc_weight"] * row["disc_loss"] == pytest.approx(row["loss"], abs=2e-3)
    assert not any(name in row for row in trainer.state.log_history if "loss" not in row for name in FIELDS)
    [events] = (tmp_path / "logs").rglob("events*")
    curves = EventAccumulator(str(events)).Reload()
    assert [point.value for point in curves.Scalars("train/disc_weight")] == pytest.approx(
        [expected(step)["disc_weight"] for step in range(STEPS)]
    )


def test_a_resumed_run_is_the_run_that_was_never_stopped_bit_for_bit(scheduled, tmp_path):
    save = {"save_strategy": "steps", "save_steps": 3}
    straight, seen = scheduled(folder="whole", **save)
    straight.train()
    scheduled(folder="cut", **save)[0].train()
    resumed, seen_after = scheduled(folder="cut", **save)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert seen_after == seen[3:]
    for (name, ours), theirs in zip(resumed.model.named_parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    rows = [[row for row in one.state.log_history if "loss" in row] for one in (straight, resumed)]
    for name in (*FIELDS, "mlm_loss", "disc_loss"):
        assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]


def test_a_checkpoint_says_what_the_run_leads_to_whenever_it_was_saved(scheduled, tmp_path):
    trainer, _ = scheduled(save_strategy="steps", save_steps=3, eval_strategy="steps", eval_steps=3)
    trainer.train()
    trainer.save_model()
    for folder in ("checkpoint-3", "checkpoint-6", "."):
        config = AutoConfig.from_pretrained(tmp_path / "run" / folder)
        assert (config.sampling_temperature, config.disc_weight, config.mask_prob) == (1.0, 50.0, 0.4)


def test_a_schedule_that_does_not_change_is_the_configuration(scheduled, make_trainer, make_model):
    schedules = {"sampling_temperature": Schedule(1.5, 1.5), "mask_prob": Schedule(0.2, 0.2, "cosine")}
    trainer, _ = scheduled(schedules)
    trainer.train()
    plain = make_model(dropout=0.1, sampling_temperature=1.5, mask_prob=0.2)
    make_trainer(plain, callbacks=[], max_steps=STEPS).train()
    for (name, ours), theirs in zip(trainer.model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_run_that_began_without_schedules_can_go_on_with_one(scheduled, tmp_path):
    save = {"save_strategy": "steps", "save_steps": 4}
    scheduled({}, **save)[0].train()
    trainer, seen = scheduled({"disc_weight": "0:80"}, **save)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert [values["disc_weight"] for _, values in seen] == [40.0, 50.0, 60.0, 70.0]
    state = json.loads((tmp_path / "run" / "checkpoint-8" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["stateful_callbacks"]["RTDScheduleCallback"]["args"] == {"disc_weight": "0.0:80.0"}


@pytest.mark.slow  # it compiles
def test_a_model_that_is_compiled_as_a_whole_takes_a_weight_that_changes(make_model, make_batch):
    model = make_model().train()
    compiled, batch = torch.compile(model, backend="eager"), make_batch((6, 6))
    for weight in (10.0, 20.0, 30.0):
        model.config.disc_weight = weight
        output = compiled(**batch)
        assert output.loss.item() == pytest.approx(output.mlm_loss.item() + weight * output.disc_loss.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("schedules", "message"),
    [
        ({"sampling_temperature": "0:1"}, "`sampling_temperature` is 0.0: it must be a finite number above 0"),
        ({"sampling_temperature": "1:0"}, "`sampling_temperature` is 0.0"),
        ({"mask_prob": "0.15:1.2"}, r"`mask_prob` is 1.2: it must be a number in \(0, 1\]"),
        ({"disc_weight": Schedule(-1.0, 50.0)}, "`disc_weight` is -1.0"),
        ({"disc_weight": "nan:50"}, "`disc_weight` is nan"),
        ({"disc_weight": "1:50:steps"}, "the shape is 'steps', and must be one of linear, cosine"),
        ({"disc_weight": "1:50@1.5"}, "the share of the steps is 1.5, and must be above 0 and at most 1"),
        ({"disc_weight": "1:50@"}, "could not convert"),
        ({"disc_weight": "1@0.5"}, "it must have two values"),
        ({"disc_weight": "50"}, "`disc_weight=50.0` is no schedule: FROM:TO"),
        ({"gen_weight": "1:2"}, "gen_weight cannot be scheduled: give sampling_temperature, disc_weight, mask_prob"),
        ({}, "Nothing cannot be scheduled"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_trainer(schedules, message):
    with pytest.raises(ValueError, match=message):
        RTDScheduleCallback(**schedules)


def test_adapt_takes_a_number_or_a_schedule_and_writes_a_schedule_as_it_reads_it():
    given = {"mask_prob": "0.2", "disc_weight": 25.0, "sampling_temperature": "2.0:1.0:cosine@0.5"}
    arguments = AdaptArguments(checkpoint="c", train_file=["f"], **given)
    assert (arguments.mask_prob, arguments.disc_weight) == (0.2, 25.0)
    assert arguments.sampling_temperature == Schedule(2.0, 1.0, "cosine", 0.5)
    assert str(arguments.sampling_temperature) == given["sampling_temperature"]
    with pytest.raises(ValueError, match=r"`mask_prob=much`: could not convert.* Give one number, or a schedule"):
        AdaptArguments(checkpoint="c", train_file=["f"], mask_prob="much")


def test_the_command_line_knows_the_temperature_by_its_short_name_too(again, tmp_path, caplog):
    """A finished run of four steps, and six steps that go on with it, whose rest has a schedule."""
    caplog.set_level("INFO", logger="electra_rtd")
    result = again("--resume", "--temperature", "2.0:1.25", "--disc-weight", "25", "--max_steps", 6)
    assert result.steps == 6
    assert "`sampling_temperature=2.0:1.25`" in caplog.text and "had schedules: none" in caplog.text
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.sampling_temperature, config.disc_weight) == (1.25, 25.0)
    results = json.loads((tmp_path / "out" / "adapt_results.json").read_text(encoding="utf-8"))
    assert results["settings"]["schedules"] == "sampling_temperature 2.0:1.25"
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    assert [row["sampling_temperature"] for row in log if "sampling_temperature" in row] == [1.375]  # of step 6
    for name in ("before", "after"):  # both at the values of the end
        figures = results[name]
        assert figures["mlm_loss"] + 25 * figures["disc_loss"] == pytest.approx(figures["loss"], rel=1e-5)
