"""The vocabulary head in parts, against the same head in one piece."""

import weakref

import pytest
import torch
from torch.testing import assert_close

from electra_rtd import objective_electra_rtd as objective


@pytest.fixture(autouse=True, params=["at once", "in parts"])
def every_way(request, monkeypatch, ids):
    """All promises hold for few masked tokens, predicted at once, and for many, predicted in parts."""
    if request.param == "in parts":
        monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": 2 * ids.vocab_size})


def step(model, batch, autocast=False):
    torch.manual_seed(0)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(**batch)
    output.loss.backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    return {**{name: value for name, value in output.items() if value is not None}, **gradients}


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
@pytest.mark.parametrize("tokens", [1, 3, 7])
def test_parts_of_any_size_give_the_same_step(tokens, sharing, make_model, make_batch, ids, monkeypatch):
    model, batch = make_model(mask_prob=0.5, embedding_sharing=sharing).train(), make_batch((30, 20, 8, 2))
    found = []
    for at_once in (1000, tokens):
        monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": at_once * ids.vocab_size})
        found.append(step(model, batch))
    whole, in_parts = found
    assert whole["masked_positions"].sum() > 2 * 7
    for name, value in whole.items():
        assert_close(in_parts[name], value, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_no_more_logits_exist_than_the_bound_allows(make_model, make_batch, ids, monkeypatch):
    model, shapes = make_model(mask_prob=1.0), []
    model.generator.generator_lm_head.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": 5 * ids.vocab_size + 3})
    model.train()(**make_batch((30, 20, 8, 2)))
    assert [rows for rows, _ in shapes] == [5] * 10 + [2], "52 candidates"
    monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": 1})  # a vocabulary that is larger than the bound
    shapes.clear()
    model.eval()(**make_batch((4, 3)))
    assert [rows for rows, _ in shapes] == [1, 1, 1]


def test_no_logits_of_many_tokens_are_kept_for_the_backward_pass(make_model, make_batch, ids, monkeypatch):
    monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": 20 * ids.vocab_size})
    model, kept = make_model(mask_prob=1.0).train(), []

    def remember(tensor):
        kept.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        output = model(**make_batch((30, 20, 8, 2)))
    masked = int(output.masked_positions.sum())
    alive = [reference() for reference in kept if reference() is not None]
    assert alive and masked == 52
    shapes = {tuple(tensor.shape) for tensor in alive}
    assert (masked, 16) in shapes and not shapes & {(rows, ids.vocab_size) for rows in (20, 12, masked)}
    output.loss.backward()
    assert model.generator.generator_lm_head.bias.grad.abs().sum() > 0


def test_gradients_are_scaled_as_the_loss_is(make_model, make_batch):
    """What gradient accumulation, mixed precision's loss scaling and `gen_weight` do."""
    model, batch = make_model(disc_weight=0.0, gen_weight=3.0), make_batch()
    (model(**batch).loss / 4).backward()
    scaled = model.generator.generator_lm_head.bias.grad.clone()
    model.zero_grad()
    model(**batch).mlm_loss.backward()
    assert_close(scaled, model.generator.generator_lm_head.bias.grad * 3 / 4)


def test_gradients_add_up_over_backward_passes(make_model, make_batch):
    model, batch = make_model(), make_batch()
    loss = model(**batch).loss
    loss.backward(retain_graph=True)
    once = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    loss.backward()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, 2 * once[name], msg=lambda m, n=name: f"{n}: {m}")


def test_a_hook_on_a_heads_weight_sees_its_gradient_once(make_model, make_batch):
    model, seen = make_model(), []
    model.generator.generator_lm_head.bias.register_hook(lambda gradient: seen.append(gradient.clone()))
    model(**make_batch()).loss.backward()
    assert len(seen) == 1
    assert_close(seen[0], model.generator.generator_lm_head.bias.grad)


def replica(module):
    """What `DataParallel` makes of a module for each of several devices: tensors in the place of parameters."""
    copied = module._replicate_for_data_parallel()
    for name, parameter in module._parameters.items():
        setattr(copied, name, parameter * 1.0)
    for name, part in module._modules.items():
        copied._modules[name] = replica(part)
    return copied


def test_a_replica_of_data_parallel_passes_every_gradient_to_the_original(make_model, make_batch):
    model, batch = make_model(embedding_sharing="tied"), make_batch()
    model(**batch).loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    copied = replica(model)
    assert not list(copied.parameters())
    copied(**batch).loss.backward()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, expected[name], msg=lambda m, n=name: f"{n}: {m}")


def test_under_autocast_parts_are_near_the_whole(make_model, make_batch, ids, monkeypatch):
    model, batch = make_model(mask_prob=0.5), make_batch((30, 20, 8, 2))
    found = []
    for at_once in (1000, 3):
        monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": at_once * ids.vocab_size})
        found.append(step(model, batch, autocast=True))
    whole, chunked = found
    assert whole["mlm_loss"].dtype == chunked["mlm_loss"].dtype == torch.float32
    name = "generator.generator_lm_head.bias"
    assert_close(chunked["mlm_loss"], whole["mlm_loss"], rtol=1e-2, atol=1e-2)
    assert_close(chunked[name], whole[name], rtol=5e-2, atol=5e-3)


# ---- What is not needed costs nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_frozen_network_has_no_graph_and_no_gradient(network, make_model, make_batch):
    model, batch = make_model().train(), make_batch()
    getattr(model, network).requires_grad_(False)
    output = model(**batch)
    assert output.mlm_loss.requires_grad == (network == "discriminator")
    assert output.disc_loss.requires_grad == (network == "generator")
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(network), name


def test_a_frozen_encoder_below_a_head_that_learns_gives_the_heads_gradient_alone(make_model, make_batch):
    model, batch = make_model(), make_batch()
    model(**batch).loss.backward()
    expected = model.generator.generator_lm_head.bias.grad.clone()
    model.zero_grad()
    model.generator.requires_grad_(False)
    model.generator.generator_lm_head.bias.requires_grad_(True)
    model(**batch).loss.backward()
    assert_close(model.generator.generator_lm_head.bias.grad, expected)
    assert model.generator.generator_lm_head.weight.grad is None


@pytest.mark.parametrize(("field", "network"), [("gen_weight", "generator"), ("disc_weight", "discriminator")])
def test_a_weight_of_zero_runs_no_backward_through_its_network(field, network, make_model, make_batch):
    model, passed = make_model(**{field: 0.0}).train(), []
    layer = getattr(model, network).electra.encoder.layer[0]
    layer.register_full_backward_hook(lambda module, into, out_of: passed.append(module))
    output = model(**make_batch())
    output.loss.backward()
    assert not passed and all(parameter.grad is None for parameter in layer.parameters())
    assert output.mlm_loss > 0 and output.disc_loss > 0
