"""The contract with the stock Trainer: what it logs, returns, keeps, resumes; and RTDMetricsCallback."""

import dataclasses
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from electra_rtd.train_tools import RTDMetricsCallback
from electra_rtd.train_tools.callbacks import metrics


FIELDS = {field.name for field in dataclasses.fields(TrainingArguments)}
# Its name in the newest releases, where the older one warns.
CHECKPOINTING = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if name in FIELDS)
PARTS = ("mlm_loss", "disc_loss", "gen_acc", "disc_acc")


@pytest.fixture(scope="module")
def rows(ids):
    """Ragged sequences between [CLS] and [SEP], with a column that the model does not know."""
    draw = torch.Generator().manual_seed(0)
    lengths = [4 + 5 * (row % 4) for row in range(24)]
    sequences = [
        [ids.cls, *(ids.ordinary[i] for i in torch.randint(len(ids.ordinary), (length,), generator=draw)), ids.sep]
        for length in lengths
    ]
    return Dataset.from_dict({"input_ids": sequences, "source": ["nowhere"] * len(sequences)})


@pytest.fixture
def make_trainer(make_model, make_arguments, rows, tokenizer):
    def make(model=None, callbacks=None, **arguments):
        return Trainer(
            model=model if model is not None else make_model(),
            args=make_arguments(**arguments),
            train_dataset=rows.select(range(16)),
            eval_dataset=rows.select(range(16, 24)),
            processing_class=tokenizer,
            callbacks=[RTDMetricsCallback()] if callbacks is None else callbacks,
        )

    return make


def weighted(logs, prefix=""):
    return logs[f"{prefix}mlm_loss"] + 50 * logs[f"{prefix}disc_loss"]


@pytest.mark.parametrize("accumulation", [1, 3])
def test_logged_parts_add_up_to_the_logged_loss(make_trainer, accumulation):
    # 4 batches an epoch: with 3 to a step, every second step has one batch alone.
    trainer = make_trainer(gradient_accumulation_steps=accumulation)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logs] == [2, 4, 6]
    for entry in logs:
        assert weighted(entry) == pytest.approx(entry["loss"], abs=2e-3)  # some releases round the loss
        assert 0 <= entry["gen_acc"] <= 1 and 0 <= entry["disc_acc"] <= 1


def test_tokens_a_second_count_training_alone(make_trainer, rows, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: clock.now)
    trainer = make_trainer(eval_strategy="steps", eval_steps=1, max_steps=4, logging_steps=2)

    def pass_time(module, *arguments):
        clock.now += 2.0 if module.training else 100.0

    trainer.model.register_forward_pre_hook(pass_time)
    trainer.train()
    speeds = [entry["tokens_per_second"] for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(ids) for ids in rows.select(range(16))["input_ids"])  # of the one epoch that these steps are
    assert sum(speeds) == pytest.approx(2 * tokens / 8.0)  # two logs of two steps each


def test_evaluate_returns_and_logs_the_parts_beside_eval_loss(make_trainer):
    trainer = make_trainer()
    metrics = trainer.evaluate()
    assert weighted(metrics, "eval_") == pytest.approx(metrics["eval_loss"], rel=1e-5)
    for name in PARTS:
        assert trainer.state.log_history[-1][f"eval_{name}"] == metrics[f"eval_{name}"]


def test_evaluation_corrupts_alike_whatever_the_batch_size(make_trainer, make_model):
    model = make_model()
    labels = []
    for size in (1, 5, 8):
        trainer = make_trainer(model, per_device_eval_batch_size=size)
        labels.append(trainer.predict(trainer.eval_dataset).predictions[1])
    assert (labels[0] == labels[1]).all() and (labels[0] == labels[2]).all()
    assert (labels[0] == 1).any()


def test_no_value_of_training_leaks_into_evaluation_or_back(make_trainer):
    trainer = make_trainer(eval_strategy="steps", eval_steps=3, logging_steps=6)
    trainer.train()
    train_log = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert weighted(train_log) == pytest.approx(train_log["loss"], abs=2e-3)
    for entry in trainer.state.log_history:
        if "eval_loss" in entry:
            assert weighted(entry, "eval_") == pytest.approx(entry["eval_loss"], rel=1e-5)


def test_parts_reach_tensorboard(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    trainer = make_trainer(report_to=["tensorboard"], eval_strategy="steps", eval_steps=6)
    trainer.train()
    folders = {file.parent for file in tmp_path.rglob("events.out.tfevents.*")}
    scalars = {}
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        scalars.update({tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]})
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    for name in PARTS:
        assert scalars[f"train/{name}"] == pytest.approx([entry[name] for entry in logged])
        assert f"eval/{name}" in scalars


def test_a_part_can_choose_the_best_model(make_trainer):
    trainer = make_trainer(
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_disc_loss",
        greater_is_better=False,
        callbacks=[RTDMetricsCallback(), EarlyStoppingCallback(early_stopping_patience=5)],
    )
    trainer.train()
    losses = [entry["eval_disc_loss"] for entry in trainer.state.log_history if "eval_disc_loss" in entry]
    assert trainer.state.best_metric == min(losses)
    assert trainer.evaluate()["eval_disc_loss"] == pytest.approx(min(losses), rel=1e-5)


def test_eval_loss_is_there_without_any_callback(make_trainer):
    trainer = make_trainer(
        callbacks=[EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=1e9)],
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
    )
    trainer.train()
    assert trainer.state.global_step == 2  # nothing improves by 10**9, so it stops
    assert trainer.state.best_metric == pytest.approx(trainer.evaluate()["eval_loss"], rel=1e-5)


def test_predict_returns_logits_labels_and_the_parts(make_trainer):
    trainer = make_trainer()
    prediction = trainer.predict(trainer.eval_dataset)
    logits, labels = prediction.predictions
    assert logits.shape == labels.shape == (8, 21)
    assert set(labels.ravel().tolist()) == {-100, 0, 1}
    assert weighted(prediction.metrics, "test_") == pytest.approx(prediction.metrics["test_loss"], rel=1e-5)


def test_a_callback_that_comes_late_never_reports_part_of_an_evaluation(make_trainer):
    trainer = make_trainer(callbacks=[])
    trainer.add_callback(RTDMetricsCallback())
    first, second = trainer.evaluate(), trainer.evaluate()
    assert "eval_mlm_loss" not in first
    assert weighted(second, "eval_") == pytest.approx(second["eval_loss"], rel=1e-5)


def test_a_forward_beside_the_evaluation_does_not_count(make_trainer, rows):
    trainer = make_trainer()
    first = trainer.evaluate()
    trainer.model.eval()(torch.tensor([rows[3]["input_ids"]]))
    second = trainer.evaluate()
    assert {name: second[f"eval_{name}"] for name in PARTS} == {name: first[f"eval_{name}"] for name in PARTS}


def test_an_evaluation_that_broke_off_does_not_count(make_trainer, rows):
    trainer = make_trainer()
    first = trainer.evaluate()
    broken = [{"input_ids": rows[0]["input_ids"]}] * 5 + [{"input_ids": [10**6]}]
    with pytest.raises(ValueError, match="input_ids"):
        trainer.evaluate(broken)
    second = trainer.evaluate()
    assert {name: second[f"eval_{name}"] for name in PARTS} == {name: first[f"eval_{name}"] for name in PARTS}


def test_a_new_model_for_each_run_is_followed(make_trainer, make_model):
    trainer = make_trainer()
    trainer.model_init = lambda: make_model()
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(weighted(entry) == pytest.approx(entry["loss"], abs=2e-3) for entry in logs) and len(logs) == 3


def test_tokens_seen_counts_no_padding(make_trainer, rows):
    callback = RTDMetricsCallback()
    make_trainer(callbacks=[callback], max_steps=4).train()  # one epoch
    assert callback.tokens_seen() == sum(len(sequence) for sequence in rows.select(range(16))["input_ids"])


def test_the_callback_changes_nothing_in_training(make_trainer, make_model):
    with_callback, without = make_model(dropout=0.1), make_model(dropout=0.1)
    make_trainer(with_callback).train()
    make_trainer(without, callbacks=[]).train()
    for (name, ours), theirs in zip(with_callback.named_parameters(), without.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("embedding_sharing", ["none", "tied", "gdes"])
def test_every_parameter_moves(make_trainer, make_model, embedding_sharing):
    widths = {"embedding_size": 16}
    model = make_model(embedding_sharing=embedding_sharing, generator=widths, discriminator=widths)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    make_trainer(model, weight_decay=0.0).train()
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert still == []


def certain(model, ids):
    """Every candidate masked, every sample the same: nothing is left to chance."""
    model.config.mask_prob, model.config.replace_prob = 1.0, 1.0
    with torch.no_grad():
        model.generator.generator_lm_head.bias[ids.ordinary[3]] += 1e4
    return model


def test_eight_batches_of_one_are_one_batch_of_eight(make_trainer, make_model, ids):
    trained = {}
    for size, accumulation in ((8, 1), (1, 8)):
        model = certain(make_model(), ids)
        trainer = make_trainer(
            model,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=2,
            optim="sgd",
            learning_rate=1e-2,
            max_grad_norm=1e9,
        )
        equal_rows = [[ids.cls, *ids.ordinary[row : row + 9], ids.sep] for row in range(16)]
        trainer.train_dataset = Dataset.from_dict({"input_ids": equal_rows})
        trainer.train()
        trained[size] = model
    for (name, one), eight in zip(trained[1].named_parameters(), trained[8].parameters(), strict=True):
        torch.testing.assert_close(one, eight, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_a_resumed_run_misses_no_weights(sharing, make_trainer, make_model, tmp_path, caplog):
    """A file holds tied weights once; the Trainer would call the others missing, at every resume."""
    arguments = {"save_strategy": "steps", "save_steps": 1, "output_dir": str(tmp_path / "run")}
    make_trainer(make_model(embedding_sharing=sharing), max_steps=1, **arguments).train()
    resumed = make_trainer(make_model(seed=1, embedding_sharing=sharing), max_steps=2, **arguments)
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert "missing keys" not in caplog.text
    generator = resumed.model.generator
    assert generator.generator_lm_head.weight is generator.get_input_embeddings().weight


def test_a_resumed_run_is_the_run_that_was_never_stopped(make_trainer, make_model, tmp_path):
    whole, first, resumed = (make_model(dropout=0.1) for _ in range(3))
    arguments = {"save_strategy": "steps", "save_steps": 3, "logging_steps": 1, "max_steps": 6}
    straight = make_trainer(whole, output_dir=str(tmp_path / "whole"), **arguments)
    straight.train()
    # Stopped after step 3: the same run, whose checkpoint-3 is all that is left.
    make_trainer(first, output_dir=str(tmp_path / "cut"), **arguments).train()
    trainer = make_trainer(resumed, output_dir=str(tmp_path / "cut"), **arguments)
    trainer.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    for (name, ours), theirs in zip(resumed.named_parameters(), whole.named_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs[1], rtol=1e-6, atol=1e-7, msg=name)
    curves = [[entry["mlm_loss"] for entry in run.state.log_history if "loss" in entry] for run in (straight, trainer)]
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)


def test_gradient_checkpointing_and_bf16_train_to_the_same_place(make_trainer, make_model):
    losses = {}
    for name, arguments in {
        "plain": {},
        "checkpointed": {CHECKPOINTING: True},
        "bf16": {"bf16": True},
    }.items():
        trainer = make_trainer(make_model(dropout=0.1), **arguments)
        trainer.train()
        losses[name] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses["checkpointed"] == pytest.approx(losses["plain"], rel=1e-4)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.1)
    assert all(math.isfinite(loss) for loss in losses["bf16"])


def test_floating_point_operations_are_counted(make_trainer):
    trainer = make_trainer(max_steps=4)
    trainer.train()
    tokens = sum(batch["input_ids"].numel() for batch in trainer.get_train_dataloader())
    assert trainer.state.total_flos == pytest.approx(
        6 * tokens * trainer.model.num_parameters(exclude_embeddings=True), rel=0.2
    )
