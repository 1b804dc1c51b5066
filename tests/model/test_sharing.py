"""Gradient-disentangled embedding sharing (DeBERTaV3, section 3.3): who learns from which loss, and what stays stock.

Compared are a pair with `"gdes"` and one with `"none"` whose discriminator holds the same tables, delta folded in.
"""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close
from transformers import ElectraForMaskedLM, ElectraForPreTraining

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools import change_sharing
from electra_rtd.hub_tools.loading import load_pair
from electra_rtd.train_tools.start import freeze_generator


DISENTANGLED = ["word_embeddings", "position_embeddings"]


def tables(network):
    """The two tables of a network: name to module."""
    return {name: getattr(network.electra.embeddings, name) for name in DISENTANGLED}


def learn(model, batch, seed=0):
    """The gradients of one step in training mode."""
    torch.manual_seed(seed)
    output = model.train()(**batch)
    output.loss.backward()
    return output


# ---- Who learns from what -------------------------------------------------------------------------------------------


def test_the_generator_learns_from_its_own_loss_alone_and_the_delta_as_a_table_of_its_own(make_model, make_batch):
    fields = {"mask_prob": 0.4, "dropout": 0.1, "disc_weight": 9.0}
    batch = make_batch((16, 9, 5), segments=True)
    model, alone = (make_model(embedding_sharing="gdes", **fields) for _ in range(2))
    apart = change_sharing(model, "none")
    alone.config.disc_weight = 0.0
    losses = [learn(one, batch).loss for one in (model, apart)]
    assert torch.equal(*losses)
    learn(alone, batch)
    for name, parameter in model.generator.named_parameters():
        assert torch.equal(parameter.grad, alone.generator.get_parameter(name).grad), name
        assert torch.equal(parameter.grad, apart.generator.get_parameter(name).grad), name
    theirs = tables(apart.discriminator)
    for name, table in tables(model.discriminator).items():
        assert table.delta.grad.abs().max() > 1e-3
        assert torch.equal(table.delta.grad, theirs[name].weight.grad), name


def test_the_deltas_gradient_is_what_reaches_the_embeddings_at_each_place_of_a_token(make_model, make_batch, ids):
    """By hand: the row of a token is the sum of the gradients at its places; padding has none."""
    model, seen = make_model(embedding_sharing="gdes", mask_prob=0.4), []
    table = model.get_input_embeddings()
    table.register_forward_hook(lambda module, inputs, output: (output.retain_grad(), seen.append((*inputs, output))))
    learn(model, make_batch((16, 9, 5)))
    (read, embedded), by_hand = seen[0], torch.zeros_like(table.delta)
    for token, gradient in zip(read.flatten().tolist(), embedded.grad.flatten(0, -2), strict=True):
        by_hand[token] += gradient * (token != ids.pad)
    assert_close(table.delta.grad, by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sharing", ["gdes", "tied"])
def test_after_a_step_the_generator_is_that_of_a_run_without_the_discriminators_loss(sharing, make_model, make_batch):
    """With "tied" it is not: the test can fail."""
    stepped = []
    for disc_weight in (50.0, 0.0):
        model = make_model(embedding_sharing=sharing, mask_prob=0.4, disc_weight=disc_weight)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for step in range(2):
            optimizer.zero_grad()
            learn(model, make_batch((16, 9, 5)), seed=step)
            optimizer.step()
        stepped.append(model.generator.state_dict())
    same = {name: torch.equal(value, stepped[1][name]) for name, value in stepped[0].items()}
    assert all(same.values()) == (sharing == "gdes"), same


def test_the_discriminator_follows_the_generators_table(make_model, ids):
    model = make_model(embedding_sharing="gdes")
    before = model.get_input_embeddings().weight.detach()
    with torch.no_grad():
        model.generator.get_input_embeddings().weight[ids.mask] += 1.0
    moved = model.get_input_embeddings().weight - before
    assert_close(moved[ids.mask], torch.ones(16)) and moved.count_nonzero() == 16
    embedded = model.get_input_embeddings()(torch.tensor([[ids.mask]]))
    assert torch.equal(embedded[0, 0], model.get_input_embeddings().weight[ids.mask])


def test_a_frozen_generator_leaves_the_delta_to_learn(make_model, make_batch):
    model = make_model(embedding_sharing="gdes", mask_prob=0.4)
    freeze_generator(model)
    learn(model, make_batch())
    assert all(parameter.grad is None for parameter in model.generator.parameters())
    assert all(table.delta.grad.abs().max() > 0 for table in tables(model.discriminator).values())


# ---- How it starts --------------------------------------------------------------------------------------------------


def test_from_random_weights_the_discriminator_starts_with_the_generators_tables(make_config):
    torch.manual_seed(0)
    model = ElectraRTDForPreTraining(make_config(embedding_sharing="gdes"))
    theirs = tables(model.generator)
    for name, table in tables(model.discriminator).items():
        assert not table.delta.any() and torch.equal(table.weight, theirs[name].weight), name
    assert not torch.equal(*[network.electra.embeddings.token_type_embeddings.weight for network in model.children()])


def test_two_tables_are_disentangled_and_nothing_else(make_model):
    model = make_model(embedding_sharing="gdes")
    names = set(dict(model.named_parameters()))
    apart = set(dict(make_model().named_parameters()))
    of_discriminator = {f"discriminator.electra.embeddings.{name}" for name in DISENTANGLED}
    assert names - apart == {f"{name}.delta" for name in of_discriminator}
    assert apart - names == {f"{name}.weight" for name in of_discriminator}


def test_two_checkpoints_start_with_the_difference_of_their_tables(pair_folders, make_batch):
    build = ElectraRTDForPreTraining.from_generator_discriminator_pretrained
    model, apart = (build(*pair_folders, embedding_sharing=sharing) for sharing in ("gdes", "none"))
    assert type(model.discriminator) is ElectraForPreTraining and type(model.generator) is ElectraForMaskedLM
    for name, table in tables(model.discriminator).items():
        difference = tables(apart.discriminator)[name].weight - tables(apart.generator)[name].weight
        assert difference.abs().max() > 0.1 and torch.equal(table.delta, difference), name
    output, expected = (one(**make_batch(segments=True)) for one in (model, apart))
    assert_close(output.logits, expected.logits, rtol=0, atol=1e-5)
    assert torch.equal(output.mlm_loss, expected.mlm_loss)


@pytest.mark.parametrize("field", ["embedding_size", "max_position_embeddings"])
def test_tables_of_different_shapes_are_refused(field, make_config):
    with pytest.raises(ValueError, match=rf"(?s)embedding_sharing=\"gdes\".*`{field}` is 64.*\"none\""):
        make_config(generator={field: 64}, embedding_sharing="gdes")
    make_config(generator={"type_vocab_size": 3}, embedding_sharing="gdes")  # segments are each network's own


# ---- In and out of files --------------------------------------------------------------------------------------------


def test_a_delta_that_a_file_lacks_is_reported_and_zero(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    model, info = ElectraRTDForPreTraining.from_pretrained(
        tmp_path, embedding_sharing="gdes", output_loading_info=True
    )
    deltas = [table.delta for table in tables(model.discriminator).values()]
    assert len(info["missing_keys"]) == len(info["unexpected_keys"]) == 2 and not any(map(torch.any, deltas))
    with pytest.raises(ValueError, match="lacks 2 weights"):
        load_pair(tmp_path, config=model.config)


FRESH = """
import json, sys, torch
from transformers import AutoModel, AutoModelForPreTraining, ElectraForPreTraining

folder, saved = sys.argv[1:]
weights = torch.load(folder + ".pt")
for auto_class in (AutoModel, AutoModelForPreTraining):
    model, info = auto_class.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    loaded = model.state_dict()
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert type(model.discriminator) is ElectraForPreTraining
model.save_pretrained(saved)
model.discriminator.save_pretrained(saved + "/discriminator")
assert "electra_rtd" not in sys.modules
print("\\n" + json.dumps(model.eval()(torch.arange(8, 30).view(2, 11)).logits.tolist()))
"""


def test_remote_code_loads_every_bit_twice_in_one_process_and_saves_it_again(make_model, run_fresh, tmp_path):
    model = make_model(embedding_sharing="gdes")
    model.save_pretrained(tmp_path / "pair")
    torch.save(model.state_dict(), tmp_path / "pair.pt")
    logits = torch.tensor(run_fresh(FRESH, tmp_path / "pair", tmp_path / "again"))
    read = torch.arange(8, 30).view(2, 11)
    assert_close(logits, model(read).logits, rtol=0, atol=1e-6)
    again = ElectraRTDForPreTraining.from_pretrained(tmp_path / "again").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    stock = ElectraForPreTraining.from_pretrained(tmp_path / "again" / "discriminator")
    assert torch.equal(stock(read).logits, model.discriminator(read).logits)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_reads_its_own_generators_tables(twin, make_model, make_batch):
    model = make_model(embedding_sharing="gdes")
    other = twin(model)
    assert torch.equal(other(**make_batch()).loss, model(**make_batch()).loss)
    with torch.no_grad():
        other.generator.get_input_embeddings().weight.zero_()
    table = other.get_input_embeddings()
    assert torch.equal(table.weight, table.delta) and model.generator.get_input_embeddings().weight.any()


def test_weights_of_a_pair_without_sharing_are_taken_with_their_difference(make_model, make_batch):
    apart, model = make_model(seed=1), make_model(embedding_sharing="gdes")
    model.load_state_dict(apart.state_dict())
    assert_close(model(**make_batch()).logits, apart(**make_batch()).logits, rtol=0, atol=1e-5)
    assert torch.equal(model.generator.get_input_embeddings().weight, apart.generator.get_input_embeddings().weight)


def test_new_rows_are_the_generators_and_old_deltas_stay(make_model, ids):
    model = make_model(embedding_sharing="gdes")
    before = {name: table.delta.detach().clone() for name, table in tables(model.discriminator).items()}
    model.resize_token_embeddings(90)
    after = tables(model.discriminator)
    assert torch.equal(after["word_embeddings"].delta[:80], before["word_embeddings"])
    assert torch.equal(after["position_embeddings"].delta, before["position_embeddings"])
    table = model.generator.get_input_embeddings()
    assert not after["word_embeddings"].delta[80:].any() and torch.equal(
        after["word_embeddings"].weight[80:], table.weight[80:]
    )
    unchanged = model.get_input_embeddings()
    assert model.resize_token_embeddings() is unchanged and unchanged.num_embeddings == 90


# ---- Ways to compute ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["checkpointed", "bfloat16", "compiled"])
def test_gradients_are_those_of_tables_of_its_own(way, make_model, make_batch):
    """Of the discriminator in layers that run twice, in bfloat16, in one graph: as without sharing, delta or table."""
    gradients = []
    model = make_model(embedding_sharing="gdes", mask_prob=0.4, disc_weight=5.0)
    for one in (model, change_sharing(model, "none")):
        if way == "checkpointed":  # transformers 5.23 renames it
            getattr(one, "activation_checkpointing_enable", one.gradient_checkpointing_enable)()
        if way == "compiled":
            one.discriminator.forward = torch.compile(one.discriminator.forward, backend="eager")
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "bfloat16"):
            learn(one, make_batch((16, 9, 5)))
        gradients.append([parameter.grad for parameter in one.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
