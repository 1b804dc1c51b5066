"""What `adapt` chooses on an accelerator, shown by stand-ins for one: batches, copies, workers, the log's filter."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModel, Trainer, TrainingArguments

from electra_rtd import cli, run_parsers
from electra_rtd.train_tools import RTDHealthCallback, RTDMetricsCallback, batches, fast, fast_in_effect, hardware
from electra_rtd.train_tools.batches import LEAST_STEPS, TextSize, plan_batches
from electra_rtd.train_tools.fast import Choice


ROWS, ACCUMULATION, EVALUATION = fast.BATCHES


def rows_of(number, length):
    return [{"input_ids": [5] * length}] * number


def on_cuda(**fields):
    """Fields of `TrainingArguments` on a card that is not here."""
    defaults = {name: fast.DEFAULTS[name] for name in (*fast.SETTINGS, *fast.BATCHES) if name in fast.DEFAULTS}
    others = {"fp16": False, "full_determinism": False, "deepspeed": None, "fsdp": None, "num_train_epochs": 3.0}
    others |= {"max_steps": -1}
    others |= {"auto_find_batch_size": False, "dataloader_drop_last": False, "dataloader_pin_memory": True}
    return SimpleNamespace(
        **{**defaults, **others, "device": torch.device("cuda", 0), "world_size": 1, "n_gpu": 1, **fields}
    )


@pytest.fixture
def card(monkeypatch):
    """A card with bfloat16 and memory for 300 rows, on a machine of 8 cores."""
    monkeypatch.setattr(fast, "cuda_bfloat16_units", lambda device: "it has it")
    monkeypatch.setattr(fast, "check_bfloat16", lambda *arguments: (10.0, 10.0))
    monkeypatch.setattr(torch.version, "cuda", None)  # no TF32
    monkeypatch.setattr(fast, "usable_cores", lambda: 8)
    monkeypatch.delenv(fast.PROCESSES_HERE, raising=False)
    tried = []

    def fit(model, row, most, device, *, dtype):
        tried.append((len(row), most, device.type, dtype))
        return min(most, 300)

    monkeypatch.setattr(fast, "rows_that_fit", fit)
    return tried


def choose(training_args, train_set, **options):
    return {
        choice.setting: choice for choice in fast.choose(training_args, None, None, train_set=train_set, **options)
    }


# ---- How many rows ----


@pytest.mark.parametrize(
    ("rows", "length", "fit", "fields", "expected"),
    [
        # train, accumulation, evaluation
        (10**6, 128, 999, {}, (128, 1, 128)),  # 128 x 128 tokens
        (10**6, 30, 999, {}, (544, 1, 512)),
        (10**6, 512, 999, {}, (32, 1, 32)),
        (10**6, 30, 999, {ROWS: 32, "max_steps": 1000}, (32, 1, 512)),  # a user who counts steps keeps their size
        (10**6, 30, 273, {}, (273, 1, 256)),  # memory
        (5_000, 30, 999, {}, (8, 1, 512)),  # 15,000 rows in 2,500 steps would be 6: the Trainer's own 8 stay
        (5_000, 30, 999, {ROWS: 32}, (32, 1, 512)),  # and the command's 32
        (100_000, 30, 999, {ROWS: 32}, (120, 1, 512)),  # 2,500 steps
        (100_000, 30, 999, {ROWS: 32, "num_train_epochs": 10.0}, (400, 1, 512)),
        (100_000, 30, 999, {ROWS: 32, "world_size": 2}, (56, 1, 512)),  # each of two takes half of the rows
        (100_000, 30, 999, {ROWS: 32, "n_gpu": 2}, (56, 1, 512)),
        (10**6, 512, 20, {ROWS: 32}, (16, 2, 16)),  # 32 rows a step do not fit at once
        (10**6, 2_000, 999, {ROWS: 32}, (32, 1, 32)),  # never fewer than there were
        (40, 10, 999, {ROWS: 32}, (32, 1, 32)),  # no more rows than the text has
        (10**6, 128, 1, {}, (1, 8, 1)),
    ],
)
def test_a_batch_has_tokens_enough_fits_and_leaves_steps_enough(rows, length, fit, fields, expected):
    plan = plan_batches(on_cuda(**fields), TextSize(rows_of(rows, length)), lambda most: min(most, fit))
    assert (plan.train, plan.accumulation, plan.evaluation) == expected
    least = fields.get(ROWS, 8)
    assert plan.train * plan.accumulation >= least
    if plan.train > least:
        passes = on_cuda(**fields).num_train_epochs / fields.get("world_size", 1) / fields.get("n_gpu", 1)
        assert rows * passes / plan.train >= LEAST_STEPS


@pytest.mark.parametrize(
    ("given", "fields", "fit", "expected"),
    [
        ("rows", {ROWS: 12}, 999, (12, 1)),  # a batch that was given stays
        ("rows", {ROWS: 500}, 100, (500, 1)),  # even where it may not fit: it was given
        ("product", {ROWS: 32, ACCUMULATION: 4}, 999, (128, 1)),
        ("product", {ROWS: 32, ACCUMULATION: 4}, 100, (64, 2)),
        ("product", {ROWS: 32, ACCUMULATION: 4}, 20, (16, 8)),  # the default of 32 does not fit
        ("product", {ROWS: 8, ACCUMULATION: 9}, 30, (24, 3)),  # a divisor of 72
        ("product", {ROWS: 32, ACCUMULATION: 16}, 999, (128, 4)),  # no more than a card needs
        ("both", {ROWS: 4, ACCUMULATION: 8}, 999, (32, 1)),
        ("both", {ROWS: 64, ACCUMULATION: 2}, 20, (64, 2)),  # never less than was given
        ("both", {ROWS: 7, ACCUMULATION: 1}, 999, (7, 1)),
    ],
)
def test_rows_that_were_given_stay_and_so_does_their_product_with_accumulation(given, fields, fit, expected):
    text = TextSize(rows_of(10**6, 128))
    named = {"rows_given": given != "product", "product_given": given != "rows"}
    plan = plan_batches(on_cuda(**fields), text, lambda most: min(most, fit), **named)
    assert (plan.train, plan.accumulation) == expected
    assert plan.train * plan.accumulation == fields[ROWS] * fields.get(ACCUMULATION, 1)


def test_the_reason_says_what_limits_a_batch():
    def why(fit=999, rows=10**6, **fields):
        text = TextSize([{"input_ids": [5] * 64}, *rows_of(rows - 1, 30)])
        return plan_batches(on_cuda(**fields), text, lambda most: min(most, fit), product_given=ACCUMULATION in fields)

    assert why().why == "544 rows of 30 tokens on average keep the device busy"
    assert why(fit=272).why.endswith("keep the device busy, but 544 of 64 do not fit into its memory, and 272 do")
    assert why(rows=100_000).why.endswith("but with more than 120 the run would have fewer than 2,500 steps")
    assert why(**{ROWS: 8, ACCUMULATION: 6}).why.startswith("48 x 1 are 8 x 6 rows a step, as you gave; 544 rows")
    assert why(fit=4).why.endswith("and 4 do; 4 x 2 are 8 rows a step")


def test_a_long_text_is_looked_at_in_some_of_its_rows_and_its_widest_is_tried(monkeypatch):
    monkeypatch.setattr(batches, "ROWS_LOOKED_AT", 10)
    read = []

    class Rows:
        def __len__(self):
            return 95

        def __getitem__(self, row):
            read.append(row)
            return {"input_ids": [row] * (2 + row % 3)}

    text = TextSize(Rows())
    assert (text.rows, text.mean, len(text.widest)) == (95, 2.9, 4)
    assert read == list(range(0, 95, 10)) and text.widest == [20] * 4


# ---- What fits ----


@pytest.fixture
def small_memory(monkeypatch):
    """Forward of more than so many rows is out of memory, as CUDA says it; the rows that were tried."""

    def limit(model, most, message="CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free."):
        tried, forward = [], model.forward

        def forward_in_memory(*arguments, **named):
            tried.append(tuple(named["input_ids"].shape))
            if len(named["input_ids"]) > most:
                raise torch.OutOfMemoryError(message) if "memory" in message else RuntimeError(message)
            return forward(*arguments, **named)

        monkeypatch.setattr(model, "forward", forward_in_memory)
        return tried

    return limit


def test_rows_are_halved_until_a_step_fits(make_model, small_memory):
    model = make_model()
    tried = small_memory(model, 6)
    assert hardware.rows_that_fit(model, [31, 40, 41, 32], 40, torch.device("cpu")) == 5
    assert tried == [(40, 4), (20, 4), (10, 4), (5, 4)]
    tried.clear()
    assert hardware.rows_that_fit(model, [31, 40, 32], 4, torch.device("cpu"), dtype=torch.bfloat16) == 4
    assert tried == [(4, 3)]


def test_what_is_no_lack_of_memory_is_not_taken_for_it(make_model, small_memory):
    model = make_model()
    small_memory(model, 6, message="mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        hardware.rows_that_fit(model, [31, 40, 32], 40, torch.device("cpu"))


def test_a_trial_runs_backward_with_dropout_and_leaves_the_model_and_the_generator_as_they_were(
    make_model, small_memory, monkeypatch
):
    model = make_model(dropout=0.3)
    model.generator.requires_grad_(False)
    first = next(model.discriminator.parameters())
    first.grad = gradient = torch.ones_like(first)
    weights, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    small_memory(model, 3)
    modes, reached = [], []
    model.register_forward_pre_hook(lambda module, arguments: modes.append(module.training))
    first.register_hook(lambda grad: reached.append(grad.abs().sum() > 0))
    assert hardware.rows_that_fit(model, [31, 40, 41, 42, 32], 5, torch.device("cpu")) == 2
    assert modes == [True, True] and reached == [torch.tensor(True)]
    assert not model.training and torch.equal(torch.get_rng_state(), state)
    assert first.grad is gradient and torch.equal(gradient, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in model.parameters() if parameter is not first)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.gpu
def test_the_memory_of_a_card_limits_rows_and_is_given_back(make_model):
    model, device, row = make_model(), torch.device("cuda", 0), [31, *[40] * 126, 32]
    before = torch.cuda.memory_allocated(device)
    torch.cuda.set_per_process_memory_fraction(0.06, device)  # a twentieth of the card is kept free of it
    try:
        fit = hardware.rows_that_fit(model, row, 2**16, device, dtype=torch.bfloat16)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert 1 <= fit < 2**16 and 2**16 % fit == 0
    assert hardware.rows_that_fit(model, row, 2 * fit, device, dtype=torch.bfloat16) == 2 * fit
    assert model.device.type == "cpu" and torch.cuda.memory_allocated(device) == before


# ---- On a card ----


def test_on_a_card_each_open_setting_is_chosen_with_its_reason(card):
    chosen = choose(on_cuda(), rows_of(10**6, 30))
    assert {name: choice.value for name, choice in chosen.items()} == {
        fast.GROUPING[0]: fast.GROUPING[1],
        "padding": "longest",
        "optim": "adamw_torch_fused",
        "bf16": True,
        "logging_nan_inf_filter": False,
        "accelerator_config": {"non_blocking": True},
        "dataloader_num_workers": 4,
        ROWS: 300,
        EVALUATION: 256,
    }
    assert card == [(30, 544, "cuda", torch.bfloat16)]  # tried in the precision that was just chosen
    lines = {name: str(choice) for name, choice in chosen.items()}
    assert lines["logging_nan_inf_filter"].startswith(
        "fast: logging_nan_inf_filter=False (the filter makes the device"
    )
    assert lines["dataloader_num_workers"].startswith("fast: dataloader_num_workers=4 (of 8 cores for this device;")
    assert lines[ROWS].endswith("but 544 of 30 do not fit into its memory, and 300 do)")
    json.dumps([choice.value for choice in chosen.values()])  # checkpoints keep them


def test_on_a_cpu_none_of_them_is_chosen(card):
    chosen = choose(on_cuda(device=torch.device("cpu"), full_determinism=True), rows_of(10**6, 30))
    assert not chosen.keys() & {
        *fast.BATCHES,
        "logging_nan_inf_filter",
        "accelerator_config",
        "dataloader_num_workers",
    }
    assert not card


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"auto_find_batch_size": True}, {ROWS, EVALUATION}),
        ({"dataloader_drop_last": True}, {ROWS, EVALUATION}),
        ({"fsdp": "full_shard"}, {ROWS, EVALUATION}),
        ({"fp16": True}, {"logging_nan_inf_filter"}),
        ({"dataloader_pin_memory": False}, {"accelerator_config"}),
        ({"dataloader_num_workers": 1}, {"dataloader_num_workers"}),
        ({"logging_nan_inf_filter": False}, {"logging_nan_inf_filter"}),
        ({ROWS: 9}, {ROWS}),
        ({EVALUATION: 9}, {EVALUATION}),
    ],
)
def test_what_a_user_gave_or_another_setting_rules_out_is_left(fields, left, card):
    usual = choose(on_cuda(), rows_of(10**6, 30)).keys() - {"bf16"}
    assert choose(on_cuda(**fields), rows_of(10**6, 30)).keys() - {"bf16"} == usual - left


def test_what_is_named_is_left_even_at_its_default(card):
    names = {"dataloader_num_workers", "logging_nan_inf_filter", "accelerator_config", ROWS, EVALUATION}
    assert not choose(on_cuda(), rows_of(10**6, 30), given=names).keys() & names
    assert not card  # nothing is tried where nothing is open
    assert EVALUATION not in choose(on_cuda(), rows_of(10**6, 30), given=[EVALUATION, ACCUMULATION])


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(2, 1, None), (3, 1, 2), (4, 1, 3), (64, 8, 4), (8, 4, None)]
)
def test_workers_are_of_the_cores_that_a_device_has(cores, processes, workers, card, monkeypatch):
    monkeypatch.setattr(fast, "usable_cores", lambda: cores)
    monkeypatch.setenv(fast.PROCESSES_HERE, str(processes))
    choice = fast.workers(on_cuda(), None, None)
    assert (choice and choice.value) == workers


def test_a_default_of_the_command_is_open_and_the_same_number_of_a_user_is_not(card):
    base = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o", "--use_cpu"]
    for options, expected in (([], True), ([f"--{ROWS}", "32"], False)):
        _, training_args, given = run_parsers.parse_adapt([*base, *options])
        stand_in = on_cuda(**{name: getattr(training_args, name) for name in fast.BATCHES})
        chosen = choose(stand_in, rows_of(10**6, 30), given=given, defaults=run_parsers.ADAPT_DEFAULTS)
        assert (ROWS in chosen) == expected and chosen[EVALUATION].value == 256
    assert ROWS not in choose(on_cuda(**{ROWS: 32}), rows_of(10**6, 30))  # in Python, 32 is somebody's wish


@pytest.mark.parametrize(
    ("kept", "fields", "given", "expected"),
    [
        ({ROWS: 64, EVALUATION: 300}, {ROWS: 32}, (), {ROWS: 64, EVALUATION: 300}),
        ({ROWS: 16, ACCUMULATION: 2}, {ROWS: 32}, (), {ROWS: 16, ACCUMULATION: 2}),
        ({ROWS: 64, ACCUMULATION: 2}, {ROWS: 32, ACCUMULATION: 4}, (ACCUMULATION,), {ROWS: 64, ACCUMULATION: 2}),
        ({ROWS: 64, ACCUMULATION: 2}, {ROWS: 32, ACCUMULATION: 8}, (ACCUMULATION,), {}),  # another step is asked for
        ({ROWS: 64}, {ROWS: 32}, (ROWS,), {}),
        ({EVALUATION: 300}, {EVALUATION: 32}, (EVALUATION,), {}),
        ({}, {}, (), {}),  # the run had none of them
    ],
)
def test_a_resumed_run_has_the_batches_that_it_had(kept, fields, given, expected, card):
    defaults = {ROWS: fields.get(ROWS, 8)}
    chosen = choose(on_cuda(**fields), rows_of(10**6, 30), given=given, defaults=defaults, resumed=kept)
    assert {name: choice.value for name, choice in chosen.items() if name in fast.BATCHES} == expected
    assert chosen["dataloader_num_workers"].value == 4  # of no consequence for its numbers: as on this machine
    assert not card


def test_threads_are_timed_in_the_precision_that_was_just_chosen(make_model, make_batch, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(fast, "usable_cores", lambda: 2)
    timed = []
    monkeypatch.setattr(fast, "time_threads", lambda *arguments, bf16: timed.append(bf16) or {1: 0.1, 2: 0.1})
    args = TrainingArguments("out", use_cpu=True, report_to="none")
    for units in ("this CPU has amx_bf16", None):
        monkeypatch.setattr(fast, "cpu_bfloat16_units", lambda units=units: units)
        fast.choose(args, make_model(), make_batch())
    assert timed == [True, False] and args.bf16 is False


# ---- In effect ----


def test_non_blocking_copies_are_at_their_default_in_every_spelling_of_it():
    for fields in (
        {},
        {"accelerator_config": None},
        {"accelerator_config": {}},
        {"accelerator_config": {"non_blocking": False}},
    ):
        args = TrainingArguments("out", use_cpu=True, report_to="none", **fields)
        assert args.accelerator_config == fast.DEFAULTS["accelerator_config"]
        applied = fast_in_effect.apply([Choice("accelerator_config", {"non_blocking": True}, "why")], args)
        assert applied.accelerator_config.non_blocking is True and args.accelerator_config.non_blocking is False
    other = TrainingArguments("out", use_cpu=True, report_to="none", accelerator_config={"split_batches": True})
    assert other.accelerator_config != fast.DEFAULTS["accelerator_config"]


class Breaks(torch.optim.SGD):
    """An optimiser after whose second step every weight is no number any more."""

    steps = 0

    def step(self, *arguments, **named):
        Breaks.steps += 1
        if Breaks.steps == 2:
            with torch.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.fill_(float("nan"))


@pytest.mark.parametrize("is_filtered", [True, False])
def test_without_the_filter_the_log_and_the_health_callback_see_what_is_not_a_number(
    is_filtered, make_model, make_arguments, rows, tokenizer
):
    Breaks.steps, model = 0, make_model()
    args = make_arguments(logging_nan_inf_filter=is_filtered, logging_steps=1, max_steps=4, max_grad_norm=0.0)
    optimizer = Breaks(model.parameters(), lr=0.0)
    callbacks = [RTDMetricsCallback(), RTDHealthCallback("stop")]
    settings = {"train_dataset": rows, "processing_class": tokenizer, "callbacks": callbacks}
    trainer = Trainer(model, args, **settings, optimizers=(optimizer, None))
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    signs = [row for row in trainer.state.log_history if "health" in row]
    assert [sign["health"] for sign in signs] == ["not_a_number"] and signs[0][
        "step"
    ] == trainer.state.global_step == 3
    assert ("loss is nan and mlm_loss is nan" in signs[0]["message"]) != is_filtered
    assert [loss == loss for loss in losses] == [True, True, is_filtered]


FORCED = [
    Choice("logging_nan_inf_filter", False, "forced"),
    Choice("accelerator_config", {"non_blocking": True}, "forced"),
    Choice("dataloader_num_workers", 2, "forced"),
]


@pytest.mark.slow  # three runs, two of them with workers
def test_a_run_with_workers_equals_one_without_and_a_resumed_one_has_its_batches(
    text, pair_folders, monkeypatch, caplog, capfd
):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen, step = [], Trainer.training_step

    def training_step(trainer, model, inputs, *arguments):
        seen.append((len(inputs["input_ids"]), trainer.args.dataloader_num_workers))
        return step(trainer, model, inputs, *arguments)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    command = ["--generator", str(pair_folders[0]), "--discriminator", str(pair_folders[1]), "--train_file", text]
    command += ["--max_seq_length", "32", "--use_cpu", "--report_to", "none", "--disable_tqdm", "true"]
    command += ["--max_steps", "10", "--save_strategy", "epoch", "--eval_strategy", "no", "--save_total_limit", "9"]
    monkeypatch.setattr(
        fast, "batches", lambda *arguments: [Choice(ROWS, 16, "forced"), Choice(EVALUATION, 20, "forced")]
    )
    assert cli.main(["adapt", *command, "--output_dir", "without"]) == 0
    assert seen == [(16, 0), (16, 0), (16, 0), (9, 0)] * 2 + [(16, 0)] * 2
    seen.clear()
    for choice in FORCED:
        monkeypatch.setitem(fast.SETTINGS, choice.setting, lambda *arguments, choice=choice: choice)
    assert cli.main(["adapt", *command, "--output_dir", "with"]) == 0
    assert seen == [(16, 2), (16, 2), (16, 2), (9, 2)] * 2 + [(16, 2)] * 2
    plain, ours = (AutoModel.from_pretrained(folder).state_dict() for folder in ("without", "with"))
    assert all(torch.equal(value, plain[name]) for name, value in ours.items())
    assert "fork" not in capfd.readouterr().err  # nobody warns of the workers
    results = [json.loads(Path(folder, "adapt_results.json").read_text()) for folder in ("without", "with")]
    assert results[0]["after"] == results[1]["after"]
    assert results[1]["settings"][ROWS] == 16

    Path("with/checkpoint-10/trainer_state.json").unlink()  # as if killed: on from the end of the second epoch
    monkeypatch.setattr(fast, "batches", lambda *arguments: [Choice(ROWS, 4, "another card")])
    seen.clear()
    with caplog.at_level(logging.INFO):
        assert cli.main(["adapt", *command, "--output_dir", "with", "--resume"]) == 0
    assert seen == [(16, 2)] * 2
    assert f"fast: {ROWS}=16 (as in the run that is resumed)" in caplog.text and "will differ" not in caplog.text
    again = AutoModel.from_pretrained("with").state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in again.items())
