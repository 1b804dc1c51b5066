"""A run that is resumed: to itself where it is finished, and on where more is asked for; the log that it leaves."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from electra_rtd.train_tools.manifest import write_manifest
from electra_rtd.train_tools.resume import read_totals


def weights_of(folder="out"):
    return AutoModel.from_pretrained(folder).state_dict()


def read_json(name, folder="out"):
    return json.loads(Path(folder, name).read_text(encoding="utf-8"))


def evaluated_steps():
    return [row["step"] for row in read_json("trainer_state.json")["log_history"] if "eval_loss" in row]


def test_a_finished_run_resumes_to_itself(again, finished_run):
    weights, results = weights_of(finished_run.out), read_json("adapt_results.json")
    exported = Path("out/discriminator/model.safetensors").read_bytes()
    steps = [row["step"] for row in read_json("trainer_state.json")["log_history"]]
    resumed = again("--resume", "--weight_decay", 0.5)  # how it was made stays as it is written down
    assert_same(weights_of(), weights)
    assert Path("out/discriminator/model.safetensors").read_bytes() == exported
    assert read_json("adapt_results.json") == results
    assert [row["step"] for row in read_json("trainer_state.json")["log_history"]] == steps

    for name in ("adapt_results.json", "trainer_state.json", "held_out.json", "model.safetensors"):
        Path("out", name).unlink()  # as if killed after its last checkpoint, before anything else
    killed = again("--resume")
    assert_same(weights_of(), weights)
    assert Path("out/discriminator/model.safetensors").read_bytes() == exported
    for result in (resumed, killed):
        figures = (result.steps, result.before, result.after, result.tokens_seen)
        assert figures == tuple(results[name] for name in ("steps", "before", "after", "tokens_seen"))


def test_a_finished_run_resumes_to_its_best_weights(again):
    # The greatest loss is that of the first evaluation: the weights that are kept are not the last.
    best = ["--eval_strategy", "steps", "--eval_steps", 2, "--load_best_model_at_end", "true"]
    best += ["--metric_for_best_model", "mlm_loss", "--greater_is_better", "true"]
    first = again("--overwrite", *best)
    weights = weights_of()
    assert read_json("trainer_state.json")["best_model_checkpoint"] == "out/checkpoint-2"
    Path("out/adapt_results.json").unlink()  # as if killed after its last checkpoint
    resumed = again("--resume", *best)
    assert_same(weights_of(), weights)
    assert (resumed.steps, resumed.before, resumed.after) == (4, first.before, first.after)


def assert_same(weights, others):
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name


def test_a_finished_run_goes_on_where_more_steps_are_asked_for(again):
    whole = again("--output_dir", "whole", "--max_steps", "6")
    longer = again("--resume", "--max_steps", "6")
    assert longer.steps == 6 and longer.tokens_seen == whole.tokens_seen
    assert_same(weights_of(), weights_of("whole"))


TIMES = re.compile(r"tokens_per_second|seconds|train_loss|.*_(runtime|time|per_second)")  # the last row is a session's
EVERYTHING = [
    *("--max_steps", 12, "--logging_steps", 5, "--save_steps", 4, "--eval_strategy", "steps", "--eval_steps", 3),
    *("--gradient_accumulation_steps", 2, "--mask_prob", "0.15:0.4", "--generator_warmup", "until-flat"),
    *("--replay_file", "general.csv", "--replay_share", "0.3", "--sample_steps", 2, "--lr_scheduler_type", "linear"),
]


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if not TIMES.fullmatch(name)}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def states_of(checkpoint):
    optimizer, schedule, random = (
        torch.load(checkpoint / name, weights_only=False) for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    )
    return optimizer, schedule, random["cpu"], random["python"], random["numpy"][1:]


def test_a_run_that_goes_on_leaves_what_an_undisturbed_one_does_bit_for_bit(again, save_pair, tokenizer, tmp_path):
    """Dropout, phases, replayed text, a save between two logs, an accumulation: weights, log, figures and states."""
    dropout = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    pair = save_pair(tmp_path / "pair", tokenizer, generator=dropout, discriminator=dropout)
    Path("general.csv").write_text("sen\n" + "나 너 우리 책\n집 길 말 글 물\n" * 20, encoding="utf-8")
    options = ["--generator", pair[0], "--discriminator", pair[1], *EVERYTHING]
    whole = again("--output_dir", "whole", *options)
    for step in (4, 8):  # within an epoch, and in another one
        shutil.copytree(f"whole/checkpoint-{step}", f"cut{step}/checkpoint-{step}")
        resumed = again("--output_dir", f"cut{step}", "--resume", *options)
        assert resumed.tokens_seen == whole.tokens_seen and resumed.after == whole.after
        for name in ("trainer_state.json", "adapt_results.json", "held_out.json"):
            theirs, ours = (
                json.dumps(without_times(read_json(name, folder))).replace(folder, "out")
                for folder in ("whole", f"cut{step}")
            )
            assert theirs == ours, name
        assert Path("whole/model.safetensors").read_bytes() == Path(f"cut{step}/model.safetensors").read_bytes()
        theirs, ours = (states_of(Path(folder, "checkpoint-12")) for folder in ("whole", f"cut{step}"))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    steps = [row["step"] for row in read_json("trainer_state.json", "whole")["log_history"] if "loss" in row]
    assert {4, 8, 12} < set(steps) and steps == sorted(set(steps))  # each save has a row: nothing counted is lost


def test_a_best_checkpoint_by_evaluation_has_its_own_row_of_the_log_too(again):
    best = [
        "--save_strategy",
        "best",
        "--metric_for_best_model",
        "loss",
        "--eval_strategy",
        "steps",
        "--eval_steps",
        2,
    ]
    again("--overwrite", "--logging_steps", 3, *best)
    rows = read_json("trainer_state.json")["log_history"]
    assert [row["step"] for row in rows if "loss" in row] == [2, 3, 4]


def test_the_end_of_a_run_is_counted_in_epochs_too(again):
    epochs = ["--max_steps", -1, "--num_train_epochs", 0.5, "--gradient_accumulation_steps", 7, "--save_steps", 1]
    first = again("--overwrite", *epochs)  # 57 rows: 15 batches, 3 steps an epoch
    weights = weights_of()
    assert first.steps == 2 == again("--resume", *epochs).steps
    assert_same(weights_of(), weights)


@pytest.mark.parametrize("save_strategy", ["epoch", "best"])
def test_every_checkpoint_says_what_was_read_until_then(again, save_strategy):
    options = ["--max_steps", 8, "--per_device_train_batch_size", 16, "--save_strategy", save_strategy]  # 4 an epoch
    options += ["--eval_strategy", "steps", "--eval_steps", 2, "--metric_for_best_model", "loss"]
    whole = again("--overwrite", *options)
    steps = sorted(int(folder.name.split("-")[1]) for folder in Path("out").glob("checkpoint-*"))
    tokens = [read_totals(f"out/checkpoint-{step}")["tokens"] for step in steps]
    assert len(steps) > 1 and tokens[0] > 0 and tokens == sorted(set(tokens)) and tokens[-1] <= whole.tokens_seen
    assert (tokens[-1] == whole.tokens_seen) == (steps[-1] == 8)


def test_the_checkpoints_of_some_steps_say_it_too(finished_run):
    two, four = (read_totals(finished_run.out / f"checkpoint-{step}")["tokens"] for step in (2, 4))
    assert 0 < two < four == read_json("adapt_results.json", finished_run.out)["tokens_seen"]


def test_weights_without_an_optimiser_are_no_place_to_go_on(again, finished_run):
    for file in Path("out").glob("checkpoint-*/*.pt*"):  # as `--save_only_model true` leaves them
        file.unlink()
    for step in (2, 4):
        write_manifest(f"out/checkpoint-{step}")
    with pytest.raises(ValueError, match=r"checkpoint-4 holds weights.*`checkpoint=out/checkpoint-4` with another"):
        again("--resume", "--max_steps", "6")
    assert again("--resume", "--save_only_model", "true").steps == 4  # it is finished: nothing to go on with
    assert_same(weights_of(), weights_of(finished_run.out))


def test_every_evaluation_is_in_the_log_once(again):
    assert evaluated_steps() == [0, 4]
    again("--overwrite", "--eval_on_start", "true", "--eval_strategy", "steps", "--eval_steps", 2, "--max_steps", 2)
    assert evaluated_steps() == [0, 2]


def test_a_run_whose_death_only_the_last_evaluation_sees_ends_with_that_finding(again):
    # Training itself logs no loss, and the one step that ruins the weights is the last one.
    options = ["--logging_steps", 500, "--save_strategy", "no", "--max_steps", 1]
    result = again("--overwrite", "--learning_rate", 1e30, "--max_grad_norm", 0.0, *options)
    assert [row["health"] for row in result.health] == ["not_a_number"] and math.isnan(result.after["loss"])
    log = read_json("trainer_state.json")["log_history"]
    assert [row["step"] for row in log if "eval_loss" in row] == [0, 1] and log[-1]["health"] == "not_a_number"
    assert read_json("adapt_results.json")["health"] == result.health
