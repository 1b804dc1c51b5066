"""Attention with dropout, a few rows at a time: against the binomial distribution, and attention written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import ElectraPreTrainedModel

from electra_rtd.train_tools import attention_in_parts as in_parts


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


# ---- Which elements are dropped -------------------------------------------------------------------------------------


def drops(count, p, draws):
    """bool, (draws, count)."""
    dropped = torch.zeros(draws, count, dtype=torch.bool)
    for draw in range(draws):
        dropped[draw, in_parts.dropped_elements(count, p)] = True
    return dropped


@pytest.mark.parametrize("p", [0.01, 0.1, 0.49])
def test_every_element_is_dropped_with_probability_p_independently_of_its_neighbours(p):
    draws, count = 10_000, 12
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
    dropped = in_parts.dropped_elements(count, p)
    assert dropped.dtype == torch.long
    assert (dropped.diff() > 0).all()
    assert dropped.numel() == 0 or (dropped[0] >= 0 and dropped[-1] < count)


def test_when_too_few_gaps_were_drawn_more_are(monkeypatch):
    sizes, rand = [], torch.rand

    def small_gaps_at_first(size, **options):
        sizes.append(size)
        return torch.zeros(size) if len(sizes) == 1 else rand(size, **options)

    monkeypatch.setattr(torch, "rand", small_gaps_at_first)
    dropped = in_parts.dropped_elements(10_000, 0.1)
    assert sizes[1] == 2 * sizes[0]
    assert 800 < len(dropped) < 1200 and dropped[-1] > 9_000


# ---- Attention ------------------------------------------------------------------------------------------------------


def rows_of(lengths, dtype=torch.float32):
    """Query, key and value, (R, 2, W, 3) each, and the mask of shorter rows."""
    shape = len(lengths), 2, max(lengths), 3
    draw = torch.Generator().manual_seed(0)
    states = [torch.randn(shape, generator=draw, dtype=dtype, requires_grad=True) for _ in range(3)]
    there = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    mask = torch.zeros(there.shape, dtype=dtype).masked_fill(~there, torch.finfo(dtype).min)[:, None, None]
    return states, mask if min(lengths) < max(lengths) else None


@pytest.mark.parametrize("lengths", [[4, 4, 4], [7, 5, 2, 1]])
@pytest.mark.parametrize("at_once", [2**20, 40])
def test_attention_and_its_gradients_equal_those_of_softmax_with_the_same_drops(lengths, at_once, monkeypatch):
    monkeypatch.setattr(in_parts, "SCORES_AT_ONCE", at_once)
    (query, key, value), mask = rows_of(lengths)
    p, scaling, drawn, draw = 0.3, 0.6, [], in_parts.dropped_elements

    def remember(count, probability):
        assert probability == p
        drawn.append((count, draw(count, probability)))
        return drawn[-1][1]

    monkeypatch.setattr(in_parts, "dropped_elements", remember)
    output, weights = in_parts.rows_in_parts(None, query, key, value, mask, dropout=p, scaling=scaling)
    assert weights is None and len(drawn) == (1 if at_once > 40 else len(lengths))
    kept = torch.cat([torch.ones(count).index_fill(0, dropped, 0.0) for count, dropped in drawn])
    scores = query @ key.transpose(-1, -2) * scaling
    probabilities = (scores if mask is None else scores + mask).softmax(dim=-1)
    expected = (probabilities * kept.view(scores.shape) / (1 - p) @ value).transpose(1, 2)
    assert_close(output, expected)
    upstream = torch.randn(output.shape)
    states = (query, key, value)
    for found, wanted in zip(
        torch.autograd.grad(output, states, upstream), torch.autograd.grad(expected, states, upstream), strict=True
    ):
        assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_scores_never_exceed_their_bound(monkeypatch):
    seen, softmax = [], torch.softmax
    monkeypatch.setattr(in_parts, "SCORES_AT_ONCE", 500)
    monkeypatch.setattr(torch, "softmax", lambda scores, dim: seen.append(scores.numel()) or softmax(scores, dim=dim))
    (query, key, value), mask = rows_of([10] * 9)
    in_parts.rows_in_parts(None, query, key, value, mask, dropout=0.1, scaling=1.0)[0].sum().backward()
    assert max(seen) == 400 and len(seen) == 2 * 5, "two rows of 2 x 10 x 10 at a time, in both passes"


needs_attention = pytest.mark.skipif(
    not ElectraPreTrainedModel._supports_attention_backend, reason="this release's ELECTRA has no attention to plug in"
)


@needs_attention
def test_a_model_that_opted_in_drops_as_often_as_its_configuration_says(make_model, make_batch, monkeypatch):
    model = make_model(
        generator={"attention_probs_dropout_prob": 0.1}, discriminator={"attention_probs_dropout_prob": 0.2}
    )
    expected = model(**make_batch((10, 7, 3))).loss
    in_parts.use_attention_in_parts(model)
    asked, draw = [], in_parts.dropped_elements
    monkeypatch.setattr(in_parts, "dropped_elements", lambda count, p: asked.append((count, p)) or draw(count, p))
    model.train()(**make_batch((10, 10, 10))).loss.backward()
    # 2 layers each; the generator has 2 heads, the discriminator 4.
    assert asked == [(3 * 2 * 100, 0.1)] * 2 + [(3 * 4 * 100, 0.2)] * 2
    asked.clear()
    assert_close(model.eval()(**make_batch((10, 7, 3))).loss, expected)
    assert asked == []


@needs_attention
def test_without_its_dropout_the_way_makes_no_difference_also_where_a_batch_stays_padded(make_model, make_batch):
    model, batch = make_model(), make_batch((12, 7, 3))
    expected = model.train()(**batch, output_hidden_states=True)
    torch.manual_seed(0)
    plain = model(**batch)
    in_parts.use_attention_in_parts(model)
    torch.manual_seed(0)
    assert_close(model(**batch).loss, plain.loss)
    assert model(**batch, output_hidden_states=True).hidden_states[-1].shape == expected.hidden_states[-1].shape


def test_a_release_without_attention_to_plug_in_is_refused(make_model, monkeypatch):
    model = make_model()
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    with pytest.raises(ValueError, match=r"needs transformers 5\.0"):
        in_parts.use_attention_in_parts(model)
