"""Options of `adapt`: each works or is refused before anything is read; nothing that is written holds a token."""

import dataclasses
import json
import logging
import math
import os
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from electra_rtd import cli, run_parsers
from electra_rtd.train_tools import AdaptArguments, adapt, hardware
from electra_rtd.train_tools.check_options import METRICS, check_options, check_rows


FIELDS = {field.name for field in dataclasses.fields(TrainingArguments)}
SAVING = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 9}


@pytest.fixture
def run(text, pair_folders):
    """A short run into `out`; options of `adapt`, and fields of `TrainingArguments`."""
    pair = {"generator": str(pair_folders[0]), "discriminator": str(pair_folders[1]), "train_file": [text]}
    quick = {"max_steps": 4, "per_device_train_batch_size": 4, "logging_steps": 2, "report_to": "none"}
    quick |= {"save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "lr_scheduler_type": "constant"}

    def make(options=None, **fields):
        arguments = AdaptArguments(**pair, max_seq_length=32, sample_steps=0, fast=False, **(options or {}))
        return adapt(arguments, TrainingArguments(**{"output_dir": "out", **quick, **fields}))

    return make


@pytest.fixture
def training_args():
    return lambda **fields: TrainingArguments("out", use_cpu=True, report_to="none", **fields)


# ---- Refused before anything is read ----


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bf16_full_eval": True}, r"`bf16_full_eval` is True: leave it out.*`bf16=True` evaluates in it"),
        ({"fp16": True}, "`fp16` does nothing on a CPU"),
        ({"label_names": ["labels"]}, "`label_names`.*have no labels"),
        ({"label_smoothing_factor": 0.1}, "`label_smoothing_factor` is 0.1: leave it out"),
        ({"do_predict": True}, "`do_predict` is True: leave it out, adapt trains and evaluates"),
        ({"include_for_metrics": ["inputs"]}, "compute_metrics"),
        ({"debug": "underflow_overflow"}, "`debug` is .*: leave it out, the Trainer's tracing stops"),
        ({"length_column_name": "input_ids"}, "`length_column_name` is input_ids"),
        ({"learning_rate": -1e-3}, "`learning_rate` is -0.001: it must be 0 or more"),
        ({"learning_rate": math.nan}, "`learning_rate` is nan"),
        ({"learning_rate": math.inf}, "`learning_rate` is inf"),
        ({"weight_decay": -0.1}, "`weight_decay` is -0.1: it must be 0 or more"),
        ({"adam_epsilon": 0.0}, "`adam_epsilon` is 0.0: it must be more than 0"),
        ({"adam_beta1": 1.5}, "`optim=.*` cannot be made: Invalid beta"),
        ({"max_grad_norm": -1.0}, "`max_grad_norm`"),
        ({"max_steps": 0}, "`max_steps` is 0: it must be 1 or more, or -1"),
        ({"max_steps": -5}, "`max_steps` is -5"),
        ({"num_train_epochs": 0}, "`num_train_epochs` is 0: it must be more than 0"),
        ({"num_train_epochs": math.inf}, "`num_train_epochs` is inf"),
        ({"per_device_train_batch_size": 0}, "`per_device_train_batch_size` is 0: it must be 1 or more"),
        ({"per_device_eval_batch_size": -1}, "`per_device_eval_batch_size` is -1"),
        ({"gradient_accumulation_steps": 0}, "`gradient_accumulation_steps` is 0"),
        ({"logging_steps": -1}, "`logging_steps` is -1: it must be more than 0"),
        ({"eval_strategy": "steps", "eval_steps": -1}, "`eval_steps` is -1"),
        ({"seed": -1}, "`seed` is -1: it must be 0 or more, and at most 4294967295"),
        ({"optim_args": "nonsense"}, "`optim=.*` with `optim_args=nonsense` cannot be made"),
        (
            {"lr_scheduler_kwargs": {"no": 2}, "lr_scheduler_type": "cosine"},
            r'kwargs=\{"no": 2\}` cannot',
        ),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "`lr_scheduler_type=warmup_stable_decay` .*num_decay_steps"),
        ({"load_best_model_at_end": True, "save_strategy": "no"}, "`load_best_model_at_end` needs evaluations"),
        ({"save_strategy": "best"}, "`save_strategy=best` needs evaluations"),
        ({"save_strategy": "steps", "save_steps": -1}, "`save_steps` is -1"),
        ({"metric_for_best_model": "eval_accuracy"}, "eval_accuracy: there are loss, mlm_loss, disc_loss, .*gen_top5"),
        ({"metric_for_best_model": "gen_perplexity"}, "better when smaller: give `greater_is_better=False`"),
        ({"resume_from_checkpoint": "nowhere"}, "`resume_from_checkpoint=nowhere` is no checkpoint.*`resume=True`"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_text_is_read(fields, message, training_args):
    with pytest.raises(ValueError, match=message):
        adapt(AdaptArguments(checkpoint="c", train_file=["missing.txt"]), training_args(**fields))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"optim": "adafactor"},
        {"optim": "sgd", "learning_rate": 0.0, "max_grad_norm": 0.0},
        {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 2}},
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 5}},
        {"logging_steps": 0.5, "num_train_epochs": 0.3, "eval_strategy": "steps", "eval_steps": 0.5},
        {"num_train_epochs": 0, "max_steps": 3, "save_strategy": "epoch", "save_steps": 0},
        {"neftune_noise_alpha": 5.0, "data_seed": 3},
        {"metric_for_best_model": "eval_disc_auc"},
        {"metric_for_best_model": "gen_perplexity", "greater_is_better": False},
    ],
)
def test_what_can_be_done_is_not_refused(fields, training_args):
    check_options(training_args(**fields))


def test_each_metric_that_is_named_is_one_that_there_is(finished_run):
    log = json.loads((finished_run.out / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    assert set(METRICS) <= {name.removeprefix("eval_") for row in log for name in row if name.startswith("eval_")}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((100, 3), "drop all 3 held-out sequences: a batch is 8. Give a smaller `per_device_eval_batch_size`"),
        ((7, 100), "drop all 7 training sequences: a batch is 8. Give a smaller `per_device_train_batch_size`"),
    ],
)
def test_dropping_the_last_batch_may_not_drop_all(rows, message, training_args):
    with pytest.raises(ValueError, match=message):
        check_rows(training_args(dataloader_drop_last=True), *rows)
    check_rows(training_args(), *rows)


def test_a_run_counts_its_batches_before_it_evaluates(run):
    with pytest.raises(ValueError, match="would drop all 3 held-out sequences: a batch is 8"):
        run(dataloader_drop_last=True)


def test_held_out_rows_that_are_not_evaluated_are_counted(training_args, caplog):
    with caplog.at_level(logging.WARNING):
        check_rows(training_args(dataloader_drop_last=True), 100, 20)
    assert "4 of 20 held-out sequences are not evaluated" in caplog.text


def test_bf16_can_be_given_where_there_is_no_accelerator(monkeypatch):
    monkeypatch.setattr(run_parsers, "has_accelerator", lambda: False)
    given = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o", "--bf16", "true"]
    assert run_parsers.adapt_parser().parse_args_into_dataclasses(given)[1].bf16
    # transformers would advise --use_cpu, after which it is refused all the same
    with pytest.raises(ValueError, match="`bf16_full_eval` is True: leave it out"):
        cli.run_adapt([*given[:-2], "--bf16_full_eval", "true"])


def test_json_that_names_what_there_is_not_is_an_error_in_words(capsys):
    given = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o", "--accelerator_config", '{"speed": 9}']
    assert cli.main(["adapt", *given]) == 2
    assert "a training option cannot be used" in capsys.readouterr().err


def test_an_accelerator_is_what_torch_finds(monkeypatch):
    assert hardware.has_accelerator() == (torch.cuda.is_available() or torch.backends.mps.is_available())


# ---- Where things are written ----


def test_tensorboard_writes_into_the_output_folder_alone_and_replaces_the_files_of_an_earlier_run(again, tmp_path):
    name = "tensorboard.backend.event_processing.event_accumulator"
    event_accumulator = pytest.importorskip(name, reason="tensorboard is not installed: it is in [dev]")
    earlier = Path("out/runs/earlier")
    earlier.mkdir(parents=True)
    (earlier / "events.out.tfevents.1").touch()
    before = {path.name for path in tmp_path.iterdir()}
    again("--overwrite", "--report_to", "tensorboard")
    assert {path.name for path in tmp_path.iterdir()} - before <= {"cache"}
    (folder,) = Path("out/runs").iterdir()
    assert folder != earlier
    events = event_accumulator.EventAccumulator(str(folder)).Reload()
    steps = [event.step for event in events.Scalars("eval/disc_loss")]
    assert steps[0] == 0 and steps[-1] > 0  # before training, and after it


def test_tensorboard_writes_where_a_user_says(run, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: it is in [dev]")
    if "logging_dir" in FIELDS:
        run(report_to="tensorboard", logging_dir="elsewhere", max_steps=1)
    else:
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "elsewhere")
        run(report_to="tensorboard", max_steps=1)
    assert list(Path("elsewhere").glob("events.out.tfevents.*")) and not Path("out/runs").exists()


# ---- The token ----


def files_that_hold(secret, folder):
    return [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_nothing_that_is_saved_or_published_holds_the_token(hub, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_theirs")
    pushed = {"hub_model_id": "alice/pair", "hub_strategy": "all_checkpoints", "hub_always_push": True}
    run(push_to_hub=True, hub_token=hub.alice, **pushed, **SAVING)
    assert {"training_args.bin", "model.safetensors", "checkpoint-4/training_args.bin"} <= set(hub.files("alice/pair"))
    assert files_that_hold(hub.alice, tmp_path) == []
    arguments = torch.load("out/training_args.bin", weights_only=False)
    assert arguments.hub_token is None and arguments.hub_model_id == "alice/pair"
    assert os.environ["HF_TOKEN"] == "hf_theirs"


def test_an_error_that_repeats_the_token_is_printed_without_it(hub, run):
    hub.echo_token_in_errors = True
    stranger = hub.add_user("bob")
    with pytest.raises(OSError, match="<token>") as caught:
        run(push_to_hub=True, hub_token=stranger, hub_model_id="alice/pair")
    assert stranger not in str(caught.value) and caught.value.__cause__ is None and caught.value.__suppress_context__


# ---- Three-way switches ----


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], (None, None)),
        (["--exclude_original", "--mask-whole-words"], (True, True)),
        (["--exclude-original", "false", "--mask_whole_words", "true"], (False, True)),
    ],
)
def test_switches_of_corruption_are_on_off_or_the_checkpoints(typed, expected):
    given = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o", "--use_cpu", *typed]
    arguments = run_parsers.adapt_parser().parse_args_into_dataclasses(given)[0]
    assert (arguments.exclude_original, arguments.mask_whole_words) == expected
