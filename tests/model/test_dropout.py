"""Dropout on a CPU draws the gaps between dropped elements: against the binomial distribution, and stock dropout."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from electra_rtd import unpadding_electra_rtd as unpadding


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


# ---- Which elements are dropped -------------------------------------------------------------------------------------


def drops(count, p, draws):
    """bool, (draws, count)."""
    dropped = torch.zeros(draws, count, dtype=torch.bool)
    for draw in range(draws):
        dropped[draw, unpadding.dropped_elements(count, p)] = True
    return dropped


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.49])
def test_every_element_is_dropped_with_probability_p_independently_of_its_neighbours(p):
    draws, count = 20_000, 12
    dropped = drops(count, p, draws)

    def within_five_deviations(share, probability, trials):
        return abs(share - probability) <= 5 * math.sqrt(probability * (1 - probability) / trials)

    shares = dropped.float().mean(dim=0)  # the first element and the last are like the others
    assert all(within_five_deviations(float(share), p, draws) for share in shares), shares
    for distance in (1, 2, 5):
        pairs = dropped[:, :-distance] & dropped[:, distance:]
        assert within_five_deviations(float(pairs.float().mean()), p * p, draws * 5)  # pairs of a draw overlap
    counts = dropped.sum(dim=1).double()
    assert counts.var().item() == pytest.approx(count * p * (1 - p), rel=0.1), "binomial, not a fixed number"


@given(count=st.integers(1, 3000), p=st.floats(0.0005, 0.4999))
def test_dropped_elements_are_distinct_ascending_and_in_range(count, p):
    dropped = unpadding.dropped_elements(count, p)
    assert dropped.dtype == torch.long
    assert (dropped.diff() > 0).all()
    assert dropped.numel() == 0 or (dropped[0] >= 0 and dropped[-1] < count)


def test_when_too_few_gaps_were_drawn_more_are(monkeypatch):
    sizes, rand = [], torch.rand

    def small_gaps_at_first(size, **options):
        sizes.append(size)
        return torch.zeros(size) if len(sizes) == 1 else rand(size, **options)

    monkeypatch.setattr(torch, "rand", small_gaps_at_first)
    dropped = unpadding.dropped_elements(10_000, 0.1)
    assert sizes[1] == 2 * sizes[0]
    assert 800 < len(dropped) < 1200 and dropped[-1] > 9_000


# ---- Dropout of hidden states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_kept_is_scaled_and_gradients_know_the_same_places(dtype):
    values = torch.randn(50, 40, 3, dtype=dtype).transpose(0, 1).requires_grad_()
    output = unpadding.GeometricDropout(0.1)(values)
    kept = output != 0
    assert output.dtype == dtype and output.shape == values.shape
    assert 0.87 < kept.float().mean() < 0.93
    assert_close(output[kept], (values / 0.9)[kept])
    (gradient,) = torch.autograd.grad(output.sum(), values)
    assert_close(gradient, kept.to(dtype) / torch.tensor(0.9, dtype=dtype))


@pytest.mark.parametrize("p", [0.0, 0.5, 0.9, 1.0])
def test_probabilities_for_which_it_does_not_pay_are_left_to_stock_dropout(p):
    values, results = torch.randn(100), []
    for kind in (nn.Dropout, unpadding.GeometricDropout):
        torch.manual_seed(1)
        results.append(kind(p)(values))
    assert torch.equal(*results)


def test_nothing_is_dropped_in_eval_mode():
    values = torch.randn(100)
    assert unpadding.GeometricDropout(0.3).eval()(values) is values


def test_the_global_generator_decides():
    values, dropout = torch.ones(1000), unpadding.GeometricDropout(0.2)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(dropout(values))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_every_dropout_of_both_networks_keeps_its_place_and_probability(make_model):
    model = make_model(generator={"hidden_dropout_prob": 0.3}, discriminator={"attention_probs_dropout_prob": 0.2})
    stock = (
        type(model.generator)(model.config.generator_config),
        type(model.discriminator)(model.config.discriminator_config),
    )
    for network, expected in zip((model.generator, model.discriminator), stock, strict=True):
        found = {name: module.p for name, module in network.named_modules() if isinstance(module, nn.Dropout)}
        assert found == {name: module.p for name, module in expected.named_modules() if isinstance(module, nn.Dropout)}
        assert {type(module) for module in network.modules() if isinstance(module, nn.Dropout)} == {
            unpadding.GeometricDropout
        }
        assert network.state_dict().keys() == expected.state_dict().keys()


# ---- Dropout of attention -------------------------------------------------------------------------------------------


def tokens(rows, heads=2, width=3, dtype=torch.float64):
    """Query, key and value, (heads, T, D) each."""
    draw = torch.Generator().manual_seed(0)
    shape = (heads, sum(rows.lengths), width)
    return [torch.randn(shape, generator=draw, dtype=dtype, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("lengths", [[4, 4, 4], [7, 5, 2, 1], [200, 190, 8, 3]])
@pytest.mark.parametrize("squares", [2**20, 40])
def test_attention_and_its_gradients_equal_those_of_softmax_with_the_same_drops(lengths, squares, monkeypatch):
    monkeypatch.setattr(unpadding.DropoutAttention, "SQUARES", squares)
    rows, p, scaling = unpadding.Rows(lengths, torch.device("cpu")), 0.3, 0.6
    states = tokens(rows)
    drawn, draw = [], unpadding.dropped_elements

    def remember(count, probability):
        assert probability == p
        drawn.append((count, draw(count, probability)))
        return drawn[-1][1]

    monkeypatch.setattr(unpadding, "dropped_elements", remember)
    output = unpadding.DropoutAttention.apply(*states, rows, p, scaling)
    kept = torch.cat([torch.ones(count, dtype=torch.float64).index_fill(0, dropped, 0.0) for count, dropped in drawn])

    # Written out, row by row: what was dropped lies in the squares of the groups, each row as wide as its group.
    expected, first_token, first_cell = [], 0, 0
    for group in rows.groups:
        for length in lengths[len(expected) : len(expected) + group.shape[0]]:
            query, key, value = (one[:, first_token : first_token + length] for one in states)  # (heads, length, D)
            cells = kept[first_cell : first_cell + 2 * group.shape[1] ** 2].view(2, group.shape[1], group.shape[1])
            probabilities = (query @ key.transpose(1, 2) * scaling).softmax(dim=-1)
            dropped_out = probabilities * cells[:, :length, :length] / (1 - p)
            expected.append((dropped_out @ value).transpose(0, 1))  # (length, heads, D)
            first_token, first_cell = first_token + length, first_cell + cells.numel()
    assert first_cell == kept.numel()
    expected = torch.cat(expected)
    assert_close(output, expected)
    upstream = torch.randn(output.shape, dtype=output.dtype)
    for found, wanted in zip(
        torch.autograd.grad(output, states, upstream), torch.autograd.grad(expected, states, upstream), strict=True
    ):
        assert_close(found, wanted)


def test_the_mean_of_attention_with_dropout_is_attention_without():
    rows = unpadding.Rows([6, 4], torch.device("cpu"))
    states = tokens(rows, dtype=torch.float32)
    mean = torch.stack([unpadding.DropoutAttention.apply(*states, rows, 0.1, 0.5) for _ in range(4000)]).mean(dim=0)
    expected = unpadding.DropoutAttention.apply(*states, rows, 1e-9, 0.5)
    assert_close(mean, expected, rtol=0.0, atol=0.05)


def test_squares_never_exceed_their_bound(monkeypatch):
    seen, softmax = [], torch.softmax
    monkeypatch.setattr(unpadding.DropoutAttention, "SQUARES", 500)
    monkeypatch.setattr(torch, "softmax", lambda scores, dim: seen.append(scores.numel()) or softmax(scores, dim=dim))
    rows = unpadding.Rows([10] * 9 + [3, 2], torch.device("cpu"))
    unpadding.DropoutAttention.apply(*tokens(rows), rows, 0.1, 1.0).sum().backward()
    assert max(seen) == 400 and len(seen) == 2 * 6, "two rows of 2 x 10 x 10 at a time, in both passes"


def test_attention_drops_in_training_as_often_as_the_configuration_says(make_model, make_batch, monkeypatch):
    model = make_model(
        generator={"attention_probs_dropout_prob": 0.1}, discriminator={"attention_probs_dropout_prob": 0.2}
    )
    if not model._supports_attention_backend:
        pytest.skip("this release's ELECTRA has no attention to plug in")
    asked, draw = [], unpadding.dropped_elements
    monkeypatch.setattr(unpadding, "dropped_elements", lambda count, p: asked.append((count, p)) or draw(count, p))
    model.train()(**make_batch((10, 10, 10)))
    # 2 layers each; the generator has 2 heads, the discriminator 4.
    assert asked == [(3 * 2 * 100, 0.1)] * 2 + [(3 * 4 * 100, 0.2)] * 2
    asked.clear()
    model.eval()(**make_batch((10, 10, 10)))
    assert asked == []
