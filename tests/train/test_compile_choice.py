"""Whether `adapt` compiles layers: shown by stand-ins for a card and for its clock, and by one real run on the CPU."""

import json
import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer, TrainingArguments
from transformers.training_args import ParallelMode

from electra_rtd import cli
from electra_rtd.train_tools import compile_choice, fast_in_effect
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.compile_choice import choose_compiled, steps_of_run
from electra_rtd.train_tools.compiled_layers import Verdict, are_compiled


ROWS = [{"input_ids": [31, *[40] * (3 + row % 7), 32]} for row in range(10)]


def on_cuda(**fields):
    defaults = {"max_steps": 20_000, "num_train_epochs": 3.0, "gradient_accumulation_steps": 1, "world_size": 1}
    defaults |= {"per_device_train_batch_size": 4, "train_batch_size": 4, "bf16": True, "fp16": False}
    defaults |= {
        "gradient_checkpointing": False,
        "torch_compile": False,
        "full_determinism": False,
        "deepspeed": None,
        "fsdp": None,
    }
    defaults |= {"parallel_mode": ParallelMode.NOT_PARALLEL, "device": torch.device("cuda", 0)}
    return SimpleNamespace(**{**defaults, **fields})


@pytest.fixture
def choose(make_model, tokenizer, monkeypatch):
    """Calls `choose_compiled` with a fresh model; `choose.timed` holds rows and type of timed batches."""

    def run(training_args=None, resumed=None, verdict=None, **arguments):
        model = make_model()
        monkeypatch.setattr(model, "to", lambda device: model)
        monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *arguments, **named: tensor)

        def pays(model, batches, autocast):
            run.timed.append(([batch["input_ids"].shape[0] for batch in batches], autocast))
            return verdict

        monkeypatch.setattr(compile_choice, "pays", pays)
        arguments = AdaptArguments(checkpoint="c", train_file=["text.txt"], **arguments)
        choices = choose_compiled(model, arguments, training_args or on_cuda(), tokenizer, ROWS, resumed)
        return [str(choice) for choice in choices], are_compiled(model)

    run.timed = []
    return run


def test_timed_steps_decide_and_the_line_says_what_they_took(choose):
    slow = Verdict(False, "a step takes 19.0 ms, with plain layers 20.0 ms; compiling took 40 s")
    quick = Verdict(True, "a step takes 9.0 ms, with plain layers 20.0 ms; compiling took 40 s")
    assert choose(verdict=slow) == ([f"fast: compile_layers=False ({slow.why})"], False)
    assert choose(verdict=quick) == ([f"fast: compile_layers ({quick.why})"], True)
    assert choose.timed == [([4, 4, 2], torch.bfloat16)] * 2  # three batches of the text, as they will be


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_steps": 9_999}, "9,999 steps would not make up for the time that compiling takes"),
        ({"max_steps": -1}, "7 steps would not make up"),
        ({"gradient_checkpointing": True}, "gradient checkpointing saves memory"),
        ({"torch_compile": True}, "`torch_compile` compiles the whole model already"),
        ({"parallel_mode": ParallelMode.NOT_DISTRIBUTED}, "one device a process"),
    ],
)
def test_nothing_is_timed_where_it_cannot_pay_or_cannot_be_done(fields, reason, choose):
    (line,), compiled = choose(on_cuda(**fields))
    assert line.startswith("fast: compile_layers=False (") and reason in line
    assert not compiled and not choose.timed


@pytest.mark.parametrize(
    ("arguments", "fields", "compiled"),
    [
        ({}, {"device": torch.device("cpu")}, False),
        ({"fast": False}, {}, False),
        ({"compile_layers": "no"}, {}, False),
        ({"compile_layers": "yes"}, {}, True),
        ({"compile_layers": "yes", "fast": False}, {"device": torch.device("cpu"), "max_steps": 1}, True),
    ],
)
def test_what_a_user_says_is_done_without_a_clock_and_a_cpu_does_as_ever(arguments, fields, compiled, choose):
    assert choose(on_cuda(**fields), **arguments) == ([], compiled)
    assert not choose.timed


def test_what_is_asked_for_and_cannot_be_done_is_refused(choose):
    with pytest.raises(ValueError, match=r"^`compile_layers=yes` cannot be done here: gradient checkpointing"):
        choose(on_cuda(gradient_checkpointing=True), compile_layers="yes")


@pytest.mark.parametrize(
    ("kept", "lines", "compiled"),
    [
        ({"compile_layers": True}, ["fast: compile_layers (as in the run that is resumed)"], True),
        ({"compile_layers": False}, [], False),
        ({}, [], False),
    ],
)
def test_a_resumed_run_does_as_the_run_before(kept, lines, compiled, choose):
    assert choose(resumed=kept) == (lines, compiled)
    assert not choose.timed


def test_another_decision_than_before_is_said_with_the_option(caplog):
    args = TrainingArguments("out", use_cpu=True, report_to="none")
    with caplog.at_level(logging.WARNING):
        fast_in_effect.say_settings([], args, {"compile_layers": True}, compile_layers=False)
        fast_in_effect.say_settings([], args, {"compile_layers": False}, compile_layers=False)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "compile_layers is no, in the run that is resumed it was yes" in said
    assert said.endswith("give `compile_layers=yes`.")


def test_steps_are_counted_over_all_processes_and_batches():
    args = {"max_steps": -1, "train_batch_size": 4, "gradient_accumulation_steps": 5, "world_size": 2}
    assert steps_of_run(on_cuda(**args), 4_000) == 300
    assert steps_of_run(on_cuda(max_steps=7), 4_000) == 7


@pytest.mark.slow  # two runs, one of them traced
def test_a_run_with_compiled_layers_ends_with_a_pair_that_anybody_loads(text, pair_folders, monkeypatch):
    without_compiler = partial(compile_choice.compile_layers, backend="eager")
    monkeypatch.setattr(compile_choice, "compile_layers", without_compiler)
    seen, step = [], Trainer.training_step

    def training_step(trainer, model, inputs, *arguments):
        seen.append(are_compiled(trainer.model))
        return step(trainer, model, inputs, *arguments)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    command = ["--generator", str(pair_folders[0]), "--discriminator", str(pair_folders[1]), "--train_file", text]
    command += ["--max_seq_length", "32", "--use_cpu", "--report_to", "none", "--disable_tqdm", "true"]
    command += ["--max_steps", "4", "--save_strategy", "no", "--eval_strategy", "no", "--bf16", "false"]
    for how in ("no", "yes"):
        assert cli.main(["adapt", *command, "--output_dir", how, "--compile_layers", how]) == 0
    assert seen == [False] * 4 + [True] * 4
    figures = [json.loads(Path(how, "adapt_results.json").read_text())["after"]["loss"] for how in ("no", "yes")]
    assert figures[1] == pytest.approx(figures[0], rel=0.02)
    assert cli.main(["verify", "yes"]) == 0


@pytest.mark.parametrize("way", ["efficient", "nested"])
def test_a_way_of_attention_that_no_graph_holds_is_refused_beside_compiled_layers(way):
    start = {"checkpoint": "c", "train_file": ["text.txt"], "unpadded_attention": way}
    with pytest.raises(ValueError, match=f"`unpadded_attention={way}`, which no graph holds: give one of flash, rows"):
        AdaptArguments(**start, compile_layers="yes")
    AdaptArguments(**start, compile_layers="no")


def test_under_full_determinism_no_clock_decides(choose):
    lines, is_compiled = choose(on_cuda(full_determinism=True), verdict=Verdict(True, "faster"))
    assert lines == ["fast: compile_layers=False (with full_determinism no clock decides)"] and not is_compiled
    assert choose.timed == []


def test_what_was_given_is_kept_for_a_run_that_goes_on(choose):
    arguments = AdaptArguments(
        checkpoint="c", train_file=["text.txt"], compile_layers="yes", unpadded_attention="flash"
    )
    kept = fast_in_effect.settings_given(arguments)
    assert kept == {"compile_layers": True, "unpadded_attention": "flash"}
    assert choose(resumed=kept) == (["fast: compile_layers (as in the run that is resumed)"], True)
    assert fast_in_effect.settings_given(AdaptArguments(checkpoint="c", train_file=["text.txt"])) == {}
