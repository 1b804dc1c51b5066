"""A pair that shares its embeddings otherwise: what both networks compute stays; and who reads folded deltas."""

import logging

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import ElectraForMaskedLM, ElectraForPreTraining

from electra_rtd.hub_tools import change_sharing, export_discriminator, layout, merge_checkpoints
from electra_rtd.hub_tools.sharing import stock_discriminator
from electra_rtd.train_tools.evaluation.arms import open_arm


TABLE = "electra.embeddings.word_embeddings."


def outputs(model, batch):
    """What each network makes of a batch by itself."""
    return [network(**batch).logits for network in (model.generator, model.discriminator)]


@pytest.mark.parametrize(
    ("sharing", "wanted"), [("none", "gdes"), ("gdes", "none"), ("tied", "none"), ("tied", "gdes")]
)
def test_both_networks_compute_what_they_did_under_another_sharing(sharing, wanted, make_model, make_batch):
    model, batch = make_model(embedding_sharing=sharing), make_batch(segments=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed = change_sharing(model, wanted)
    assert changed.config.embedding_sharing == wanted and model.config.embedding_sharing == sharing
    assert type(changed.generator) is ElectraForMaskedLM and type(changed.discriminator) is ElectraForPreTraining
    exact = (sharing, wanted) != ("none", "gdes")  # a difference is rounded, and added again
    for ours, theirs in zip(outputs(changed, batch), outputs(model, batch), strict=True):
        assert_close(ours, theirs, rtol=0, atol=0 if exact else 1e-5)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "the model is its own"


def test_a_way_there_and_back_loses_nothing(make_model, make_batch):
    tied, batch = make_model(embedding_sharing="tied"), make_batch()
    for way in (["gdes", "tied"], ["none", "tied"], ["gdes", "none", "gdes", "tied"]):
        model = tied
        for sharing in way:
            model = change_sharing(model, sharing)
        assert model.generator.get_input_embeddings().weight is model.discriminator.get_input_embeddings().weight
        assert torch.equal(model(**batch).loss, tied(**batch).loss)
        assert change_sharing(model, "tied") is model


@pytest.mark.parametrize(
    ("changed", "named"), [("word_embeddings.delta", "word_emb"), ("LayerNorm.bias", "LayerNorm")]
)
def test_networks_with_different_embeddings_are_not_tied(changed, named, make_model, caplog):
    model = change_sharing(make_model(embedding_sharing="tied"), "gdes")
    with torch.no_grad():
        model.discriminator.electra.embeddings.get_parameter(changed)[3] += 1.0
    with pytest.raises(ValueError, match=rf'(?s)different embeddings \({named}[\w.]+\).*"gdes" or "none"'):
        change_sharing(model, "tied")
    with caplog.at_level(logging.WARNING):
        tied = change_sharing(model, "tied", keep_discriminators=True)
    assert "its loss starts high" in caplog.text
    kept = tied.generator.electra.embeddings.state_dict()
    for name, value in model.discriminator.electra.embeddings.state_dict().items():
        assert torch.equal(kept[name], value), name


def test_sizes_that_differ_and_sharings_that_are_none_are_refused(make_model):
    model = make_model(generator={"embedding_size": 8})
    for sharing in ("tied", "gdes"):
        with pytest.raises(ValueError, match=rf"{sharing}.*`embedding_size` is 8 in the generator and 16"):
            change_sharing(model, sharing)
    with pytest.raises(ValueError, match=r"`embedding_sharing` is 'es': choose one of"):
        change_sharing(model, "es")


def test_a_discriminator_of_its_own_has_nothing_of_the_generators(make_model, make_batch):
    model, batch = make_model(embedding_sharing="gdes"), make_batch()
    network, before = stock_discriminator(model), model.discriminator(**batch).logits
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(network(**batch).logits, before)
    apart = make_model()
    assert stock_discriminator(apart) is apart.discriminator


# ---- Who reads a pair with deltas -----------------------------------------------------------------------------------


@pytest.fixture
def folders(make_model, tokenizer, tmp_path):
    """Two pairs with deltas, and their discriminators as stock checkpoints."""
    for seed, name in enumerate(("base", "adapted")):
        make_model(seed=seed, embedding_sharing="gdes").save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        export_discriminator(tmp_path / name, tmp_path / f"stock-{name}")
    return tmp_path


def weights(folder):
    return load_file(folder / layout.WEIGHTS)


def test_what_lies_between_two_pairs_lies_between_their_discriminators(folders):
    merge_checkpoints(folders / "base", folders / "adapted", 0.25, folders / "merged")
    merge_checkpoints(folders / "stock-base", folders / "stock-adapted", 0.25, folders / "stock")
    ours, theirs = weights(folders / "merged" / "discriminator"), weights(folders / "stock")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert_close(value, theirs[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("base", "adapted"), [("base", "stock-adapted"), ("stock-base", "adapted")])
def test_a_pair_is_merged_with_a_stock_discriminator_table_and_all(folders, base, adapted):
    merge_checkpoints(folders / base, folders / adapted, 0.5, folders / "merged")
    merged, *both = (weights(folders / name) for name in ("merged", "stock-base", "stock-adapted"))
    name = f"{TABLE}weight"
    assert_close(merged[name], torch.lerp(both[0][name], both[1][name], 0.5), rtol=0, atol=1e-6)
    assert (both[0][name] - both[1][name]).abs().max() > 0.1


def test_an_evaluation_sees_the_same_encoder_in_the_pair_and_in_its_export(folders):
    pair, stock = (open_arm("one", str(folders / name)) for name in ("base", "stock-base"))
    assert (pair.fingerprint, pair.size) == (stock.fingerprint, stock.size)
