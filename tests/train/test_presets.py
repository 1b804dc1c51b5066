"""Recipes: the published numbers, what a user's options do to them, and what is shown."""

from pathlib import Path

import pytest
import torch
from transformers import ElectraForPreTraining, ElectraModel, TrainingArguments

from electra_rtd import cli
from electra_rtd.train_tools import PretrainArguments
from electra_rtd.train_tools.from_scratch import network_configs
from electra_rtd.train_tools.presets import GROUPS, PRESETS, SOURCES
from electra_rtd.train_tools.recipe_in_effect import settle
from electra_rtd.train_tools.recipe_text import recipe_text, shown


# Written down a second time, from the paper's table 6 and the table in KoELECTRA's README.
PUBLISHED = {
    "electra-small": (12, 256, 1024, 4, 128, 1 / 4, 0.15, 5e-4, 128, 1_000_000, 128, 30522),
    "electra-base": (12, 768, 3072, 12, 768, 1 / 3, 0.15, 2e-4, 256, 766_000, 512, 30522),
    "electra-large": (24, 1024, 4096, 16, 1024, 1 / 4, 0.25, 2e-4, 2048, 400_000, 512, 30522),
    "koelectra-small-v3": (12, 256, 1024, 4, 128, 1, 0.15, 5e-4, 512, 800_000, 512, 35000),
    "koelectra-base-v3": (12, 768, 3072, 12, 768, 1 / 3, 0.15, 2e-4, 256, 1_500_000, 512, 35000),
}
NAMES = ["num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "embedding_size"]
NAMES += ["generator_size", "mask_prob", "learning_rate", "batch", "max_steps", "max_seq_length", "vocab_size"]
OF_ALL = {"adam_epsilon": 1e-6, "adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.01, "warmup_steps": 10_000}
OF_ALL |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "lr_scheduler_type": "linear"}
OF_ALL |= {"disc_weight": 50, "gen_weight": 1, "replace_prob": 0.85, "max_grad_norm": 1, "embedding_sharing": "tied"}
# Weights of the encoders of google/electra-*-discriminator and monologg/koelectra-*-v3-discriminator, and hidden size,
# layers and heads of their generators. (That of electra-small is the paper's: the one on the Hub is another.)
SHAPES = {
    "electra-small": (13_483_008, 64, 12, 1),
    "electra-base": (108_891_648, 256, 12, 4),
    "electra-large": (334_092_288, 256, 24, 4),
    "koelectra-small-v3": (14_056_192, 256, 12, 4),
    "koelectra-base-v3": (112_330_752, 256, 12, 4),
}


def settled(preset="electra-small", *, given=(), training=None, **named):
    arguments = PretrainArguments(preset=preset, train_file=["x"], **named)
    training_args = TrainingArguments(output_dir="out", use_cpu=True, report_to="none", **(training or {}))
    return settle(arguments, training_args, given=given)


def in_effect(recipe):
    return {one.name: one.value for one in recipe.settings}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_published_numbers(name):
    assert {one: PRESETS[name].value(one) for one in NAMES} == dict(zip(NAMES, PUBLISHED[name], strict=True))
    assert {one: PRESETS[name].value(one) for one in OF_ALL} == OF_ALL
    is_korean = name.startswith("koelectra")
    assert PRESETS[name].value("do_lower_case") is PRESETS[name].value("strip_accents") is not is_korean


@pytest.mark.parametrize("name", SHAPES)
def test_a_preset_builds_networks_of_the_published_size(name):
    generator, discriminator = network_configs(PRESETS[name], PRESETS[name].value("vocab_size"))
    with torch.device("meta"):
        weights = ElectraModel(discriminator).num_parameters()
    width, layers, heads = (
        getattr(generator, one) for one in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    assert (weights, width, layers, heads) == SHAPES[name]
    assert generator.intermediate_size == 4 * width and generator.embedding_size == discriminator.embedding_size


def test_the_small_discriminator_has_thirteen_and_a_half_million_weights_with_its_head():
    with torch.device("meta"):
        model = ElectraForPreTraining(network_configs(PRESETS["electra-small"], 30522)[1])
    assert model.num_parameters() == 13_549_057


def test_the_page_of_the_documentation_shows_the_presets_numbers():
    page = (Path(__file__).parents[2] / "docs" / "pretraining.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in page.splitlines() if row[:1] == "|"]
    first = next(place for place, row in enumerate(rows) if row[0] == "number")
    names, table = rows[first][1:], rows[first + 2 : first + 2 + sum(map(len, GROUPS.values()))]
    assert names == list(PRESETS)
    fractions = {"1/4": "0.25", "1/3": "0.3333", "1/2": "0.5"}
    for name, *cells in table:
        values = [shown(PRESETS[one].numbers[name].value) if name in PRESETS[one].numbers else "" for one in names]
        assert [fractions.get(cell, cell) for cell in cells] == values, name


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_is_there_and_has_a_source(name):
    known = {one for names in GROUPS.values() for one in names}
    assert known - {"generator_warmup"} <= PRESETS[name].numbers.keys() <= known
    for number in PRESETS[name].numbers.values():
        where = number.source.removeprefix("as the paper, says ").partition(",")[0]
        assert where in SOURCES or "electra-rtd" in where


def test_without_options_a_run_has_the_presets_numbers():
    recipe = settled("koelectra-base-v3")
    assert recipe.overridden() == []
    args = recipe.training_args
    assert (args.learning_rate, args.adam_epsilon, args.weight_decay, args.max_steps) == (2e-4, 1e-6, 0.01, 1_500_000)
    assert args.get_warmup_steps(1_500_000) == 10_000
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 256
    assert args.per_device_train_batch_size * 512 <= 16_384


def test_what_a_user_gives_wins_and_what_is_the_presets_anyway_is_not_called_theirs():
    recipe = settled(
        training={"learning_rate": 1e-3, "adam_epsilon": 1e-6}, given={"adam_beta2"}, mask_prob=0.3, vocab_size=100
    )
    others = {one.name: (one.value, one.published) for one in recipe.overridden()}
    assert others == {"learning_rate": (1e-3, 5e-4), "mask_prob": (0.3, 0.15), "vocab_size": (100, 30522)}
    assert recipe.training_args.learning_rate == 1e-3
    mini = settled("mini", given={"adam_beta2", "learning_rate"})  # given, though they stand at their defaults
    assert (mini.training_args.adam_beta2, mini.training_args.learning_rate) == (0.999, 5e-5)
    assert settled("mini").training_args.adam_beta2 == 0.98


@pytest.mark.parametrize(
    ("training", "steps", "warm_up"),
    [
        ({"max_steps": 1000}, 1000, 10),
        ({"max_steps": 10}, 10, 1),
        ({"max_steps": 4_000_000}, 4_000_000, 10_000),
        ({"max_steps": 1000, "warmup_steps": 500}, 1000, 500),
        ({"num_train_epochs": 2}, -1, 0.01),
        ({"num_train_epochs": 2, "max_steps": 500}, 500, 5),
        ({"num_train_epochs": 2, "warmup_steps": 7}, -1, 7),
    ],
)
def test_a_shorter_run_has_a_shorter_warm_up(training, steps, warm_up):
    args = settled(training=training).training_args
    assert args.max_steps == steps
    whole = steps if steps > 0 else 10_000
    assert args.get_warmup_steps(whole) == (warm_up if warm_up >= 1 else 100)


@pytest.mark.parametrize(
    ("preset", "training", "processes", "expected"),
    [
        ("electra-small", {}, 1, (128, 1, 128)),
        ("electra-base", {}, 1, (32, 8, 256)),
        ("electra-large", {}, 64, (32, 1, 2048)),
        ("electra-small", {"per_device_train_batch_size": 4}, 1, (4, 32, 128)),
        ("electra-small", {"per_device_train_batch_size": 4}, 8, (4, 4, 128)),
        ("electra-small", {"per_device_train_batch_size": 48}, 1, (48, 3, 144)),
        ("electra-small", {"gradient_accumulation_steps": 4}, 2, (16, 4, 128)),
        ("electra-small", {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, 2, (4, 2, 16)),
        ("electra-small", {}, 3, (43, 1, 129)),
    ],
)
def test_accumulation_makes_up_for_what_one_device_does_not_hold(preset, training, processes, expected, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "world_size", processes)
    monkeypatch.setattr(TrainingArguments, "n_gpu", 1)
    recipe = settled(preset, training=training)
    rows, accumulation, whole = expected
    args = recipe.training_args
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (rows, accumulation)
    assert in_effect(recipe)["batch"] == whole
    assert recipe.step.startswith(f"{rows} rows x {accumulation} batches x {processes} process")


def test_a_cased_vocabulary_keeps_its_marks_and_a_given_one_needs_no_numbers():
    assert in_effect(settled())["strip_accents"] is True
    assert in_effect(settled(do_lower_case=False))["strip_accents"] is False
    assert in_effect(settled("koelectra-small-v3", do_lower_case=True))["strip_accents"] is False
    assert in_effect(settled(tokenizer="t"))["vocab_size"] is None


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_is_shown_within_a_hundred_columns_with_every_number(name):
    page = recipe_text(settled(name, training={"max_steps": 50, "adam_epsilon": 1e-9}))
    assert max(map(len, page.splitlines())) <= 100
    assert all(f"  {one} " in page for one in PRESETS[name].numbers)
    assert "yours (preset: 1e-06)" in page and "shorter with the run" in page


def test_the_command_shows_a_recipe_and_makes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pretrain", "--preset", "electra-large", "--print-recipe", "--max_steps", "1000"]) == 0
    page = capsys.readouterr().out
    assert "2,048" in page and "0.25" in page and "yours (preset: 400,000)" in page
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": None}, r"`preset=PRESET`: one of electra-small, electra-base"),
        ({"preset": "huge"}, r"There is no 'huge'"),
        ({"train_file": None}, r"`train_file=FILES`"),
        ({"vocab_size": 5}, r"`vocab_size` is 5: it must be at least 10"),
        ({"vocab_size": 500, "tokenizer": "t"}, r"`vocab_size=500` is about a vocabulary that is trained"),
        ({"do_lower_case": False, "tokenizer": "t"}, r"`do_lower_case=False` is about"),
        ({"document_column": "d", "packing": "no"}, r"`document_column` is about packed rows"),
        ({"max_seq_length": 1024}, r"`max_seq_length` is 1024: the networks of tiny read 512"),
        ({"max_seq_length": 4}, r"`max_seq_length` is 4: it must be at least 8"),
        ({"freeze": "generator"}, r"`freeze=generator` would keep its random weights"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PretrainArguments(**{"preset": "tiny", "train_file": ["text.txt"], **fields})
