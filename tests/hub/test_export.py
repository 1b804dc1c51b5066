"""Either network out of a pair, as a stock checkpoint that needs nothing of ours."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoTokenizer, ElectraForMaskedLM, ElectraForPreTraining, ElectraModel

from electra_rtd.hub_tools import export_discriminator, export_generator
from electra_rtd.hub_tools.staging import files_for_folder, new_folder


@pytest.fixture(scope="module", params=["none", "tied", "gdes"])
def checkpoint(request, make_model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair") / request.param
    make_model(embedding_sharing=request.param).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def tokenizer_files(tokenizer, tmp_path_factory):
    """What a tokenizer is saved as: not the same files in all releases."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return files(folder)


def load(model_class, folder):
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    return model.eval(), set(info["missing_keys"]), set(info["unexpected_keys"])


@pytest.mark.parametrize(
    ("export", "as_encoder", "model_class"),
    [
        (export_discriminator, False, ElectraForPreTraining),
        (export_discriminator, True, ElectraModel),
        (export_generator, False, ElectraForMaskedLM),
        (export_generator, True, ElectraModel),
    ],
)
def test_an_export_is_a_stock_checkpoint_with_equal_weights(
    checkpoint, tmp_path, make_model, make_batch, tokenizer_files, export, as_encoder, model_class
):
    folder = export(checkpoint, tmp_path / "out", as_encoder=as_encoder)
    assert files(folder) == sorted(["config.json", "model.safetensors", *tokenizer_files])
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("electra", [model_class.__name__])
    assert "auto_map" not in config
    exported, missing, unexpected = load(model_class, folder)
    assert (missing, unexpected) == (set(), set())
    pair = make_model(embedding_sharing=checkpoint.name)
    network = pair.discriminator if export is export_discriminator else pair.generator
    network = network.electra if as_encoder else network
    for name, value in network.state_dict().items():
        assert torch.equal(exported.state_dict()[name], value), name
    batch = make_batch()
    torch.testing.assert_close(exported(**batch)[0], network(**batch)[0], rtol=0, atol=0)


HEADS = ["SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice", "MaskedLM"]


@pytest.mark.parametrize("name", ["AutoModel", *(f"AutoModelFor{head}" for head in HEADS)])
def test_every_head_loads_with_nothing_missing_but_the_head(checkpoint, tmp_path, name):
    model, missing, _ = load(getattr(transformers, name), export_discriminator(checkpoint, tmp_path / "out"))
    assert type(model).__module__ == "transformers.models.electra.modeling_electra"
    assert not [key for key in missing if name == "AutoModel" or key.startswith("electra.")]


def test_the_tokenizer_goes_along(checkpoint, tmp_path, tokenizer):
    exported = AutoTokenizer.from_pretrained(export_discriminator(checkpoint, tmp_path / "out"))
    assert exported("나는 책을 읽는다")["input_ids"] == tokenizer("나는 책을 읽는다")["input_ids"]


def test_a_loaded_model_can_be_exported(make_model, tmp_path):
    folder = export_discriminator(make_model(), tmp_path / "out")
    assert files(folder) == ["config.json", "model.safetensors"]


def test_an_export_never_writes_into_what_is_there(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        export_discriminator(checkpoint, tmp_path / "out")
    assert files(tmp_path / "out") == ["mine.txt"]


def test_only_a_pair_can_be_exported_and_nothing_is_left_of_the_attempt(tmp_path, pair_folders):
    with pytest.raises(ValueError, match="type 'electra', not 'electra_rtd'"):
        export_discriminator(pair_folders[1], tmp_path / "out")
    assert files(tmp_path) == []


def test_saved_files_are_safetensors_without_the_generator(checkpoint, tmp_path):
    names = load_file(export_discriminator(checkpoint, tmp_path / "out") / "model.safetensors")
    assert all(name.startswith(("electra.", "discriminator_predictions.")) for name in names)


def test_a_staged_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as partial:
        (partial / "half").write_text("half")
        raise RuntimeError
    assert files(tmp_path) == []
    with new_folder(tmp_path / "out") as partial:
        (partial / "whole").write_text("whole")
        assert not (tmp_path / "out").exists()
    assert files(tmp_path) == ["out"] and files(tmp_path / "out") == ["whole"]


def test_staged_files_replace_others_only_when_all_are_written(tmp_path):
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "config.json").write_text("old")
    with pytest.raises(RuntimeError), files_for_folder(tmp_path) as partial:
        (partial / "config.json").write_text("half")
        raise RuntimeError
    assert files(tmp_path) == ["config.json", "kept"] and (tmp_path / "config.json").read_text() == "old"
    with files_for_folder(tmp_path) as partial:
        (partial / "config.json").write_text("new")
    assert files(tmp_path) == ["config.json", "kept"] and (tmp_path / "config.json").read_text() == "new"


def test_an_export_carries_nothing_that_makes_a_loader_run_code(make_model, tmp_path):
    model = make_model()
    hostile = {"auto_map": {"AutoModel": "evil/code--x.Y"}, "trust_remote_code": True, "custom_pipelines": {"a": "b"}}
    for name, value in hostile.items():
        setattr(model.discriminator.config, name, value)
    config = json.loads((export_discriminator(model, tmp_path / "out") / "config.json").read_text())
    assert not set(config) & set(hostile)
    assert {"hidden_size", "vocab_size", "pad_token_id", "architectures", "dtype"} <= set(config)
    assert model.discriminator.config.trust_remote_code  # the caller's model stays as it was
    assert (
        len(ElectraForPreTraining.from_pretrained(tmp_path / "out", output_loading_info=True)[1]["missing_keys"]) == 0
    )
