"""The exports in the subfolders are the pair's networks, and compute the same."""

import shutil

import pytest
import torch

from electra_rtd.hub_tools import export_discriminator, export_generator, verify_checkpoint


CONFIG = "config.json"
WEIGHTS = "model.safetensors"
NO_CARD = ("no-card", "README.md")
NAN = float("nan")
QUERY = "discriminator.electra.encoder.layer.1.attention.self.query.weight"


@pytest.fixture
def export_both(make_model, tokenizer, tmp_path):
    """A pair with an export of each network in its subfolder; arguments as `make_model`."""

    def make(as_encoder=False, **fields):
        folder = tmp_path / "exported"
        make_model(**fields).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        source = shutil.copytree(folder, tmp_path / "source")
        export_discriminator(source, folder / "discriminator", as_encoder=as_encoder)
        export_generator(source, folder / "generator", as_encoder=as_encoder)
        return folder

    return make


@pytest.mark.parametrize("as_encoder", [False, True])
@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_exports_of_both_networks_are_recognised_as_the_pairs(export_both, sharing, as_encoder, found):
    report = verify_checkpoint(export_both(as_encoder, embedding_sharing=sharing))
    assert (found(report), found(report, "warning")) == ([], [NO_CARD])
    assert [path for code, path in found(report, "info") if code == "export"] == ["discriminator/", "generator/"]


def test_an_export_of_other_weights_is_a_warning(exported, message, warnings, edit_weights):
    folder = exported
    edit_weights(folder, lambda tensors: tensors[QUERY].fill_(0.5))
    expected = [NO_CARD, ("stale-export", "discriminator/model.safetensors")]
    assert warnings(folder) == expected
    assert f"{QUERY.removeprefix('discriminator.')} differs" in message(folder, "stale-export")


def test_an_export_that_lacks_a_tensor_is_an_error(exported, errors, message, edit_weights):
    folder = exported
    lost = QUERY.removeprefix("discriminator.")
    edit_weights(folder, lambda tensors: tensors.pop(lost), "discriminator/model.safetensors")
    assert errors(folder) == [("weights-missing", "discriminator/model.safetensors")]
    assert f"lacks {lost}" in message(folder, "weights-missing")


def test_an_export_with_a_tensor_that_the_pair_has_not_is_an_error(exported, errors, edit_weights):
    folder = exported
    edit_weights(folder, lambda tensors: tensors.update(extra=torch.ones(1)), "generator/model.safetensors")
    assert errors(folder) == [("weights-unexpected", "generator/model.safetensors")]


def test_an_export_is_as_well_checked_for_its_files(exported, errors, write):
    folder = exported
    write(folder / "discriminator" / WEIGHTS, b"garbage")
    (folder / "generator" / WEIGHTS).unlink()
    lost = ("no-weights", "generator/model.safetensors")
    assert sorted(errors(folder)) == [lost, ("weights-unreadable", "discriminator/model.safetensors")]


@pytest.mark.parametrize("part", ["discriminator", "generator"])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"num_attention_heads": 1}, "export-config"),
        ({"hidden_act": "relu"}, "export-config"),
        ({"layer_norm_eps": 1e-3}, "export-config"),
        ({"pad_token_id": 3}, "export-config"),
        ({"tie_word_embeddings": False}, "export-config"),
        ({"model_type": "bert"}, "export-config"),
        ({"architectures": ["ElectraForTokenClassification"]}, "export-config"),
        ({"architectures": ["ElectraModel"]}, "export-config"),
        ({"is_decoder": True}, "config-invalid"),
        ({"is_causal": True}, "config-invalid"),
        ({"dtype": "int8"}, "config-invalid"),
        ({"return_dict": False}, "config-invalid"),
        ({"hidden_dropout_prob": NAN}, "config-invalid"),
        ({"dtype": "float16"}, "weights-dtype"),
    ],
)
def test_an_export_of_the_right_weights_that_computes_something_else_is_an_error(
    exported, part, fields, code, errors, set_fields
):
    set_fields(exported, f"{part}/{CONFIG}", **fields)
    path = WEIGHTS if code == "weights-dtype" else CONFIG
    assert errors(exported) == [(code, f"{part}/{path}")]


def test_what_an_export_only_trains_with_may_differ(exported, warnings, set_fields):
    set_fields(exported, f"discriminator/{CONFIG}", hidden_dropout_prob=0.3, architectures=None, id2label={"0": "a"})
    assert warnings(exported) == [NO_CARD]


def half_renamed(tensors):
    names = sorted(tensors)
    return {(name.removeprefix("electra.") if names.index(name) % 2 else name): tensors[name] for name in names}


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda tensors: {}, {"weights-missing"}),
        (half_renamed, {"weights-missing", "weights-unexpected"}),
        (lambda tensors: {n: v for n, v in tensors.items() if n.startswith("electra.")}, {"weights-missing"}),
    ],
)
def test_an_export_that_would_load_with_random_weights_is_an_error(exported, change, codes, errors, edit_weights):
    edit_weights(exported, change, f"discriminator/{WEIGHTS}")
    assert {code for code, _ in errors(exported)} == codes


def test_an_export_without_its_configuration_is_an_error(exported, errors):
    (exported / "generator" / CONFIG).unlink()
    assert errors(exported) == [("no-config", f"generator/{CONFIG}")]


def test_an_export_of_rounded_weights_is_not_called_the_pairs(exported, warnings, edit_weights):
    edit_weights(exported, lambda t: {name: value.half() for name, value in t.items()}, f"generator/{WEIGHTS}")
    assert ("stale-export", f"generator/{WEIGHTS}") in warnings(exported)
