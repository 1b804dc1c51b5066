"""What `adapt` chooses where nobody has chosen: never against a user, alike in a resumed run, and gone afterwards."""

import json
import logging
import os
import re
from pathlib import Path

import datasets
import pytest
import torch
from transformers import AutoModel, Trainer, TrainingArguments

from electra_rtd import cli, run_parsers
from electra_rtd.train_tools import fast, fast_in_effect, hardware, recipes
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.data import tokenize_text
from electra_rtd.train_tools.start import freeze_generator


GROUPING = fast.GROUPING[0]
UNGROUPED = {"train_sampling_strategy": "random", "group_by_length": False}[GROUPING]
QUICK = ["--max_steps", "4", "--per_device_train_batch_size", "4", "--max_seq_length", "32", "--use_cpu"]
QUICK += ["--disable_tqdm", "true", "--report_to", "none", "--eval_strategy", "no", "--save_strategy", "no"]
SAVING = ["--save_strategy", "steps", "--save_steps", "2", "--output_dir", "out"]


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads are chosen by the clock, in tests of their own only


@pytest.fixture
def start(text, pair_folders):
    """Arguments of a quick run, but for its output folder."""
    pair = ["--generator", str(pair_folders[0]), "--discriminator", str(pair_folders[1])]
    return [*pair, "--train_file", text, *QUICK]


@pytest.fixture
def has_bfloat16(monkeypatch):
    monkeypatch.setattr(fast, "cpu_bfloat16_units", lambda: "this CPU has amx_bf16")


@pytest.fixture
def training_args(tmp_path):
    return lambda **fields: TrainingArguments("out", use_cpu=True, report_to="none", **fields)


def choose(training_args, model, batch, **options):
    return {choice.setting: choice.value for choice in fast.choose(training_args, model, batch, **options)}


def results(folder):
    return json.loads(Path(folder, "adapt_results.json").read_text())


def test_what_is_open_is_chosen_printed_and_written_down(start, has_bfloat16, caplog):
    with caplog.at_level(logging.INFO):
        assert cli.main(["adapt", *start, "--output_dir", "out"]) == 0
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("fast: ")]
    assert len(lines) == 4 and all(re.fullmatch(r"fast: \S+ \(.+\)", line) for line in lines)
    assert re.fullmatch(
        r"fast: bf16 \(this CPU has amx_bf16; the first batch's loss is [\d.]+, in float32 [\d.]+\)", lines[3]
    )
    written = {choice["setting"]: choice["value"] for choice in results("out")["fast"]}
    assert written == {GROUPING: fast.GROUPING[1], "padding": "longest", "optim": "adamw_torch_fused", "bf16": True}
    assert results("out")["settings"]["bf16"] is True
    assert {value.dtype for value in AutoModel.from_pretrained("out").state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--bf16", "false"], {"bf16"}),
        (["--bf16=False"], {"bf16"}),
        ([f"--{GROUPING.replace('_', '-')}", str(UNGROUPED)], {GROUPING}),
        (["--optim=adamw_torch", "--no-fast"], {"optim", "fast"}),
        (["--weight-decay", "0.01"], {"weight_decay"}),
        ([], set()),
    ],
)
def test_options_count_as_given_in_every_spelling_and_at_their_defaults(options, names):
    base = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o"]
    assert run_parsers.given_options([*base, *options]) == {"checkpoint", "train_file", "output_dir"} | names


def test_what_a_user_gave_wins(start, make_model, make_batch, has_bfloat16):
    options = ["--bf16", "false", f"--{GROUPING}", str(UNGROUPED), "--optim", "sgd", "--output_dir", "out"]
    _, training_args, given = cli.parse_adapt([*start, *options])
    assert choose(training_args, make_model(), make_batch(), given=given) == {"padding": "longest"}


def test_in_python_a_field_is_given_where_it_is_not_at_its_default_or_named(
    training_args, make_model, make_batch, has_bfloat16
):
    model, batch = make_model(), make_batch()
    assert "bf16" in choose(training_args(), model, batch)
    assert "bf16" not in choose(training_args(), model, batch, given=["bf16"])
    assert "optim" not in choose(training_args(optim="adafactor"), model, batch)


def test_arguments_and_process_stay_as_they_are_so_that_a_second_run_chooses_nothing_and_is_in_float32(
    text, pair_folders, training_args, has_bfloat16, monkeypatch, caplog
):
    seen = []

    class Watching(Trainer):
        def training_step(self, model, inputs, *arguments):
            product = model.generator.electra.encoder.layer[0].intermediate.dense
            hook = product.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
            try:
                return super().training_step(model, inputs, *arguments)
            finally:
                hook.remove()

    monkeypatch.setattr(recipes, "Trainer", Watching)
    pair = {"generator": str(pair_folders[0]), "discriminator": str(pair_folders[1]), "train_file": [text]}
    args = training_args(max_steps=1, save_strategy="no", disable_tqdm=True)
    before, environment, threads = args.to_dict(), dict(os.environ), torch.get_num_threads()
    recipes.adapt(AdaptArguments(**pair), args)
    assert args.to_dict() == before
    assert dict(os.environ) == environment and torch.get_num_threads() == threads
    caplog.clear()
    with caplog.at_level(logging.INFO):
        recipes.adapt(AdaptArguments(**pair, fast=False, overwrite=True), args)
    assert seen == [torch.bfloat16, torch.float32]
    assert results("out")["fast"] == [] and "bf16" not in results("out")["settings"]
    assert "fast:" not in caplog.text


# ---- bfloat16 ----


def test_the_check_leaves_model_and_generator_as_they_were(make_model, make_batch):
    model, batch = make_model(dropout=0.3).train(), make_batch()
    weights, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    in_float32, in_bfloat16 = fast.check_bfloat16(model, batch, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state) and all(module.training for module in model.modules())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():
        assert in_float32 == float(model.eval()(**batch).loss)
    assert in_float32 != in_bfloat16 and in_bfloat16 == pytest.approx(in_float32, rel=fast.BF16_TOLERANCE)


@pytest.mark.parametrize(("loss", "agrees"), [(10.4, True), (9.4, False), (10.6, False), (float("nan"), False)])
def test_bfloat16_that_disagrees_is_declined_with_both_figures(
    loss, agrees, training_args, make_model, make_batch, has_bfloat16, monkeypatch
):
    monkeypatch.setattr(fast, "check_bfloat16", lambda *arguments: (10.0, loss))
    choice = fast.bfloat16(training_args(), make_model(), make_batch())
    assert choice.value is agrees
    assert f"{loss:.4f}" in choice.why and "10.0000" in choice.why
    with fast_in_effect.process_restored():
        assert fast_in_effect.apply([choice], training_args()).bf16 is agrees


@pytest.mark.parametrize("fields", [{"fp16": True}, {"bf16_full_eval": True, "bf16": True}])
def test_a_precision_that_was_given_stays(fields, make_model, make_batch, has_bfloat16, monkeypatch):
    args = TrainingArguments("out", use_cpu=True, report_to="none")
    for name, value in fields.items():
        setattr(args, name, value)
    assert "bf16" not in choose(args, make_model(), make_batch())
    monkeypatch.setenv(fast.MIXED_PRECISION, "fp16")
    assert "bf16" not in choose(TrainingArguments("out", use_cpu=True), make_model(), make_batch())


@pytest.mark.parametrize(
    ("cpuinfo", "units"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile\n", "amx_bf16"),
        ("flags\t\t: fpu avx512f avx512_bf16\n", "avx512_bf16"),
        ("processor : 0\nFeatures\t: fp asimd bf16 i8mm\n", "bf16"),
        ("flags\t\t: fpu avx2 avx512f\nmodel name : Imaginary bf16\n", None),
    ],
)
def test_bfloat16_units_are_read_where_linux_lists_them(cpuinfo, units, tmp_path):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert fast.cpu_bfloat16_units(tmp_path / "cpuinfo") == (units and f"this CPU has {units}")
    assert fast.cpu_bfloat16_units(tmp_path / "nowhere") is None


# ---- Threads ----


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"a/cpu.max": "350000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("4:cpu,cpuacct:/x\n1:name=systemd:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
         "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 4),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("3:cpuset:/\n", {"cpuset/cpu.max": "100000 100000\n"}, 8),
        (None, {}, 8),
    ],
)  # fmt: skip
def test_cores_are_counted_under_the_quota_of_control_groups(membership, files, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, content in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(content)
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    assert fast.usable_cores(tmp_path / "membership", tmp_path / "cgroup") == cores


@pytest.mark.parametrize(
    ("torch_has", "cores", "omp", "seconds", "chosen"),
    [
        (16, 2, None, {1: 0.2, 2: 0.1}, 2),  # no more than the cores
        (2, 16, None, {1: 0.2, 2: 0.1}, 2),  # never more than torch would take
        (2, 2, None, {1: 0.1, 2: 0.65}, 1),  # threads that wait for each other
        (2, 2, None, {1: 0.095, 2: 0.1}, 2),  # not clearly faster
        (64, 64, None, {1: 0.4, 4: 0.1, 64: 0.2}, 4),
        (16, 1, None, None, 1),
        (1, 2, None, None, None),
        (16, 2, "16", None, None),
    ],
)
def test_threads_are_those_with_which_a_step_is_fastest(
    torch_has, cores, omp, seconds, chosen, training_args, monkeypatch, make_model, make_batch
):
    timed = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_has)
    monkeypatch.setattr(fast, "usable_cores", lambda: cores)
    monkeypatch.setattr(fast, "time_threads", lambda *arguments, **named: timed.append(arguments[2]) or seconds)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if omp:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    choices = fast.choose(training_args(), make_model(), make_batch())
    threads = {choice.setting: choice for choice in choices}.get("threads")
    assert (threads and threads.value) == chosen and timed == ([list(seconds)] if seconds else [])
    if seconds:
        assert all(f"{figure:.3f} s with {number}" in threads.why for number, figure in seconds.items())


def test_no_clock_decides_where_determinism_is_asked_for(training_args, monkeypatch, make_model, make_batch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(fast, "usable_cores", lambda: 2)
    monkeypatch.setattr(fast, "time_threads", lambda *arguments, **named: {1: 0.1, 2: 0.9})
    assert choose(training_args(), make_model(), make_batch())["threads"] == 1
    deterministic = training_args()
    deterministic.full_determinism = True
    assert "threads" not in choose(deterministic, make_model(), make_batch())


def test_timing_leaves_weights_gradients_and_generator_as_they_were(make_model, make_batch):
    model, batch = make_model(dropout=0.3).eval(), make_batch()
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    gradient, weights = first.grad, {name: value.clone() for name, value in model.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    seconds = hardware.time_threads(model, batch, [1, 2])
    assert list(seconds) == [1, 2] and all(figure > 0 for figure in seconds.values())
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert not any(module.training for module in model.modules())
    assert first.grad is gradient and torch.equal(gradient, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in model.parameters() if parameter is not first)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_resumed_run_has_the_threads_that_it_had(start, two_threads, monkeypatch, caplog):
    seen, step = [], Trainer.training_step

    def training_step(trainer, *arguments):
        seen.append(torch.get_num_threads())
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(fast, "usable_cores", lambda: 2)
    monkeypatch.setattr(fast, "time_threads", lambda *arguments, **named: {1: 0.1, 2: 0.5})
    saving = [*start, *SAVING]
    assert cli.main(["adapt", *saving, "--max_steps", "2"]) == 0
    monkeypatch.setattr(fast, "time_threads", lambda *arguments, **named: {1: 0.5, 2: 0.1})  # it is quiet now
    assert cli.main(["adapt", *saving, "--resume", "--max_steps", "3"]) == 0
    assert seen == [1] * 3 and torch.get_num_threads() == 2

    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # what a user gives wins
    with caplog.at_level(logging.WARNING):
        assert cli.main(["adapt", *saving, "--resume", "--max_steps", "4"]) == 0
    assert seen == [1] * 3 + [2] and "threads is 2, in the run that is resumed it was 1" in caplog.text
    assert "set OMP_NUM_THREADS=1" in caplog.text


def test_threads_that_are_not_there_any_more_are_chosen_anew(training_args, monkeypatch, make_model, make_batch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(fast, "usable_cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert choose(training_args(), make_model(), make_batch(), resumed={"threads": 8})["threads"] == 1
    assert "threads" not in choose(training_args(), make_model(), make_batch(), resumed={})


# ---- Like-length batches ----


@pytest.fixture
def seen(monkeypatch):
    """The lengths in every training batch, in order."""
    seen, step = [], Trainer.training_step

    def training_step(trainer, model, inputs, *arguments):
        seen.append(tuple(inputs["attention_mask"].sum(dim=1).tolist()))
        return step(trainer, model, inputs, *arguments)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    return seen


def test_batches_hold_sequences_of_like_length(make_model, make_batch, tokenizer, training_args):
    rows = datasets.Dataset.from_dict({"input_ids": [[5] * (3 + 7 * row % 14) for row in range(240)]})
    plain, spread = training_args(per_device_train_batch_size=4), {}
    for name, args in (
        ("plain", plain),
        ("fast", fast_in_effect.apply([fast.like_lengths(plain, None, None)], plain)),
    ):
        trainer = Trainer(make_model(), args, train_dataset=rows, processing_class=tokenizer)
        lengths = [batch["attention_mask"].sum(dim=1) for batch in trainer.get_train_dataloader()]
        spread[name] = sum(int(batch.max() - batch.min()) for batch in lengths)
    assert spread["fast"] < 0.5 * spread["plain"]


def test_each_epoch_has_an_order_of_its_own_and_a_resumed_run_has_the_same(start, seen):
    long = [*start, "--per_device_train_batch_size", "16", "--max_steps", "12", "--output_dir", "out"]
    long += ["--save_strategy", "steps", "--save_steps", "6", "--save_total_limit", "9"]
    assert cli.main(["adapt", *long]) == 0  # 4 batches an epoch: step 6 is in the second
    whole = list(seen)
    assert len({tuple(whole[:4]), tuple(whole[4:8]), tuple(whole[8:])}) == 3
    weights = AutoModel.from_pretrained("out").state_dict()
    Path("out/checkpoint-12/trainer_state.json").unlink()  # as if killed while step 12 was being saved
    seen.clear()
    assert cli.main(["adapt", *long, "--resume"]) == 0
    assert seen == whole[6:]
    for name, value in AutoModel.from_pretrained("out").state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_resumed_run_has_the_settings_of_the_run_that_it_goes_on_with(
    start, again, has_bfloat16, monkeypatch, caplog
):
    again("--resume", "--max_steps", "5", "--fast")  # with a run that has none
    assert [choice["setting"] for choice in results("out")["fast"]] == ["padding"]

    saving = [*start, *SAVING, "--max_steps", "2"]
    assert cli.main(["adapt", *saving, "--overwrite"]) == 0
    monkeypatch.setattr(fast, "check_bfloat16", lambda *arguments: (10.0, 20.0))
    with caplog.at_level(logging.INFO):
        assert cli.main(["adapt", *saving, "--resume", "--max_steps", "3"]) == 0
    assert "fast: bf16=False (this CPU has amx_bf16, but the first batch's loss is 20.0000" in caplog.text
    assert "bf16 is False, in the run that is resumed it was True" in caplog.text


def test_held_out_figures_are_of_the_same_batches_before_and_after(start):
    frozen = ["--learning_rate", "0", "--per_device_eval_batch_size", "3", "--validation_split", "0.5"]
    assert cli.main(["adapt", *start, *frozen, "--max_steps", "1", "--output_dir", "out"]) == 0
    assert results("out")["before"] == results("out")["after"]


# ---- A frozen network costs nothing ----


def frozen_run(model, frozen, tokenizer, make_args):
    """Trains three steps; the Trainer, and the modules of the frozen network that backward ran through."""
    frozen.requires_grad_(False)
    reached = []
    for name, module in frozen.named_modules():
        if any(module.children()):  # their outputs are no tensors, which these hooks need
            continue
        module.register_full_backward_hook(lambda *call, name=name: reached.append(name))
    texts = [" ".join(["산 강 바다"] * (1 + row % 4)) for row in range(12)]
    data = tokenize_text(datasets.Dataset.from_dict({"text": texts}), tokenizer, max_length=16)
    args = make_args(max_steps=3, per_device_train_batch_size=4, save_strategy="no", disable_tqdm=True)
    trainer = Trainer(model, args, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    return trainer, reached


@pytest.mark.parametrize(("name", "other"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_frozen_network_has_no_gradient_no_optimiser_state_and_no_backward(
    name, other, make_model, make_batch, tokenizer, training_args
):
    model = make_model()
    frozen, trained = getattr(model, name), getattr(model, other)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer, reached = frozen_run(model, frozen, tokenizer, training_args)
    assert reached == []
    held = {id(parameter) for group in trainer.optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in trained.parameters()}
    assert all(parameter.grad is None for parameter in frozen.parameters())
    moved = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {other}
    output = model(**make_batch())
    losses = {"generator": output.mlm_loss, "discriminator": output.disc_loss}
    assert not losses[name].requires_grad and losses[other].requires_grad


def test_freeze_trains_the_discriminator_alone_and_resumes(start, pair_folders, tmp_path):
    frozen = [*start, "--freeze", "generator", *SAVING, "--learning_rate", "1e-2"]
    assert cli.main(["adapt", *frozen, "--max_steps", "2"]) == 0
    assert cli.main(["adapt", *frozen, "--max_steps", "3", "--resume"]) == 0
    adapted = AutoModel.from_pretrained("out")
    beginning = type(adapted).from_generator_discriminator_pretrained(*map(str, pair_folders))
    for name, value in beginning.state_dict().items():
        assert torch.equal(adapted.state_dict()[name], value) == name.startswith("generator."), name
    assert results("out")["before"]["mlm_loss"] == results("out")["after"]["mlm_loss"]
    assert results("out")["settings"]["freeze"] == "generator" and Path("out/discriminator/config.json").is_file()


def test_freeze_is_refused_where_it_would_freeze_more(make_model):
    with pytest.raises(ValueError, match="embedding_sharing is 'tied'"):
        freeze_generator(make_model(embedding_sharing="tied", generator={"hidden_size": 32, "num_attention_heads": 4}))


def test_the_check_sees_the_first_batch_as_the_trainer_would_collate_it(start, has_bfloat16, monkeypatch):
    def check(model, batch, device):
        assert set(batch) == {"input_ids", "attention_mask"} and batch["input_ids"].shape[0] == 4
        assert batch["attention_mask"].sum(dim=1).max() == batch["input_ids"].shape[1]
        raise ZeroDivisionError  # no more is needed

    monkeypatch.setattr(fast, "check_bfloat16", check)
    arguments, training_args, given = cli.parse_adapt([*start, "--output_dir", "out"])
    with pytest.raises(ZeroDivisionError):
        recipes.adapt(arguments, training_args, given=given)
