"""The way of attention that `adapt` takes, named in a line with its reason: shown by a stand-in for what works."""

import logging
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainingArguments

from electra_rtd import cli
from electra_rtd.train_tools import attention_way, fast_in_effect
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.attention_way import SETTING, take_way, wanted_way, warn_of_dropout
from electra_rtd.train_tools.provenance import describe_run
from electra_rtd.train_tools.unpadded_attention import NAME


START = {"checkpoint": "c", "train_file": ["text.txt"]}


def on_device(kind, **fields):
    others = {"bf16": False, "fp16": False, "gradient_checkpointing": False, "torch_compile": False}
    return SimpleNamespace(**{"device": torch.device(kind), **others, **fields})


@pytest.fixture
def works(monkeypatch):
    """Which ways work, by name and by type of number; what was asked for."""
    asked = []

    def set_working(**types):
        def why_not(way, device, dtype, heads, size, dropout):
            asked.append((way, heads, size, dropout))
            return None if way == "rows" or dtype in types.get(way, ()) else f"no kernel for {dtype}"

        monkeypatch.setattr(attention_way, "why_not", why_not)
        return asked

    return set_working


def ways_of(model):
    networks = (model.generator, model.discriminator)
    return [
        (network.config._attn_implementation, network.electra.encoder.layer[-1].attention.self.way)
        for network in networks
    ]


def test_on_an_accelerator_the_first_way_that_works_is_taken_and_named(make_model, works):
    model, both = make_model(dropout=0.1), (torch.bfloat16, torch.float32)
    asked = works(flash=[torch.bfloat16], efficient=both)
    training_args = on_device("cuda", bf16=True)
    assert wanted_way(AdaptArguments(**START), model, training_args) is None
    (choice,) = take_way(model, None, training_args, is_given=False)
    assert str(choice) == (
        "fast: unpadded_attention=flash (torch's flash operator, by the boundaries of sequences, tried on short ones "
        "against plain attention)"
    )
    assert ways_of(model) == [(NAME, None)] * 2  # the first that works, for whatever numbers
    assert set(asked) == {("flash", 2, 8, 0.1), ("flash", 4, 8, 0.1)}  # both networks were asked about


def test_the_line_says_why_a_faster_way_is_not_taken(make_model, works):
    model = make_model()
    works(flash=[torch.bfloat16], efficient=[torch.bfloat16, torch.float32])
    (choice,) = take_way(model, None, on_device("cuda"), is_given=False)
    assert choice.value == "efficient"
    assert choice.why.startswith("torch's memory-efficient operator") and choice.why.endswith(
        "; not flash: no kernel for torch.float32"
    )
    works()
    (choice,) = take_way(model, None, on_device("cuda", fp16=True), is_given=False)
    reasons = "; ".join(f"not {name}: no kernel for torch.float16" for name in ("flash", "efficient", "nested"))
    assert (choice.value, choice.why) == ("rows", f"padded rectangles; {reasons}")


def test_a_way_that_is_asked_for_is_taken_or_refused_with_those_that_work(make_model, works):
    works(efficient=[torch.float32], nested=[torch.float32])
    model = make_model()
    arguments = AdaptArguments(**START, unpadded_attention="nested")
    assert wanted_way(arguments, model, on_device("cuda")) == "nested"
    assert take_way(model, "nested", on_device("cuda"), is_given=True) == []
    assert ways_of(model) == [(NAME, "nested")] * 2
    with pytest.raises(
        ValueError, match=r"^`unpadded_attention=flash` does not work here \(no kernel for .*float32\)"
    ) as caught:
        take_way(model, "flash", on_device("cuda"), is_given=True)
    assert "Give one of efficient, nested, rows," in str(caught.value)
    assert ways_of(model) == [(NAME, "nested")] * 2


def test_nested_tensors_are_no_way_under_gradient_checkpointing(make_model, works):
    works(nested=[torch.float32])
    training_args = on_device("cuda", gradient_checkpointing=True)
    (choice,) = take_way(make_model(), None, training_args, is_given=False)
    assert choice.value == "rows" and choice.why.endswith(
        "not nested: gradient checkpointing cannot keep nested tensors"
    )
    with pytest.raises(
        ValueError, match=r"nested` does not work here \(gradient checkpointing cannot keep .*rows, or"
    ):
        take_way(make_model(), "nested", training_args, is_given=True)


def test_rows_are_what_the_model_files_do_anyway(make_model):
    model = make_model()
    before = model.discriminator.config._attn_implementation
    for arguments, device in (
        (AdaptArguments(**START), "cpu"),
        (AdaptArguments(**START, fast=False), "cuda"),
        (AdaptArguments(**START, attention_in_parts=True), "cuda"),
        (AdaptArguments(**START, unpadded_attention="rows"), "cuda"),
        (AdaptArguments(**START, unpadded_attention="rows"), "cpu"),
    ):
        assert wanted_way(arguments, model, on_device(device)) == "rows"
    assert wanted_way(AdaptArguments(**START), model, on_device("cuda", torch_compile=True)) == "rows"
    assert take_way(model, "rows", on_device("cuda"), is_given=True) == []
    assert model.discriminator.config._attn_implementation == before


def test_a_release_whose_attention_cannot_be_replaced_has_rows(make_model, monkeypatch, works):
    model = make_model()
    works(flash=[torch.float32])
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    assert wanted_way(AdaptArguments(**START), model, on_device("cuda")) == "rows"
    with pytest.raises(ValueError, match=r"needs transformers 5\.0"):
        take_way(model, "flash", on_device("cuda"), is_given=True)


def test_a_resumed_run_has_the_way_that_it_had(make_model, works):
    model, arguments = make_model(), AdaptArguments(**START)
    works(flash=[torch.float32], efficient=[torch.float32])
    assert wanted_way(arguments, model, on_device("cuda"), {SETTING: "efficient"}) == "efficient"
    assert wanted_way(arguments, model, on_device("cuda"), {}) == "rows"  # the run had none
    (choice,) = take_way(model, "efficient", on_device("cuda"), is_given=False)
    assert choice.value == "efficient" and "not flash" not in choice.why
    works(flash=[torch.float32])
    (choice,) = take_way(model, "efficient", on_device("cuda"), is_given=False)  # another card
    assert choice.value == "flash" and choice.why.endswith("not efficient: no kernel for torch.float32")


@pytest.mark.parametrize(("way", "shown"), [(None, "rows"), ("flash", "flash")])
def test_another_way_than_before_is_said_when_a_run_goes_on(way, shown, caplog):
    args = TrainingArguments("out", use_cpu=True, report_to="none")
    with caplog.at_level(logging.WARNING):
        fast_in_effect.say_settings([], args, {SETTING: "efficient"}, unpadded_attention=way or "rows")
    assert f"fast: unpadded_attention is {shown}, in the run that is resumed it was efficient" in caplog.text
    assert "give `unpadded_attention=efficient`" in caplog.text


def test_a_cpu_refuses_a_way_for_accelerators_before_anything_is_made(text, pair_folders, capsys, tmp_path):
    pair = ["--generator", str(pair_folders[0]), "--discriminator", str(pair_folders[1]), "--train_file", text]
    command = ["adapt", *pair, "--output_dir", "out", "--use_cpu", "--unpadded_attention"]
    assert cli.main([*command, "flash"]) == 2
    said = capsys.readouterr().err
    assert "--unpadded_attention flash does not work here (NotImplementedError" in said and ", rows, or leave" in said
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        cli.main([*command, "flash_attention_9"])
    assert "choose from" in capsys.readouterr().err
    assert cli.main([*command, "rows", "--attention_in_parts"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_what_was_given_stands_in_the_record_of_the_run(make_arguments):
    arguments = AdaptArguments(**START, unpadded_attention="rows", compile_layers="no")
    settings = describe_run(arguments, make_arguments())["settings"]
    assert (settings["unpadded_attention"], settings["compile_layers"]) == ("rows", "no")
    assert not {"attention_in_parts", "freeze"} & settings.keys()


@pytest.mark.parametrize(
    ("attention", "dropout", "warns"),
    [
        ("flash_attention_3", 0.1, True),
        ("flash_attention_3", 0.0, False),
        ("flash_attention_2", 0.1, False),
        ("flash_attention_4", 0.1, True),
        ("kernels-community/vllm-flash-attn3", 0.1, True),
        ("kernels-community/flash-attn4@v1", 0.1, True),
        ("kernels-community/flash-attn2", 0.1, False),
    ],
)
def test_an_attention_without_dropout_says_that_it_has_none(
    attention, dropout, warns, make_model, monkeypatch, caplog
):
    model = make_model(dropout=dropout)
    for network in (model.generator, model.discriminator):
        monkeypatch.setattr(network.config, "_attn_implementation_internal", attention)
    warn_of_dropout(model)
    expected = [f"{attention} has no dropout: attention_probs_dropout_prob={dropout} has no effect"] * warns
    assert [text.split(". Set")[0] for text in caplog.messages] == expected
