"""Batches without padding against padded ones: the same numbers and gradients, without computing padding.

The padded path is the reference; it is forced by networks whose attention knows no boundaries. Both are
compared with the hand-written objective in test_objective.py.
"""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import ElectraPreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from electra_rtd import modeling_electra_rtd as modeling
from electra_rtd import unpadding_electra_rtd as unpadding


if not ElectraPreTrainedModel._supports_attention_backend:
    pytest.skip("this release's ELECTRA has no attention to plug in: batches stay padded", allow_module_level=True)


@pytest.fixture
def padded(monkeypatch):
    """A function that computes with padded batches what it is given."""

    def compute(call):
        with monkeypatch.context() as patch:
            patch.setattr(modeling, "attend_unpadded", lambda networks: False)
            return call()

    return compute


def step(model, batch, seed=0, **arguments):
    """Outputs and gradients of one step."""
    torch.manual_seed(seed)
    model.zero_grad()
    output = model(**batch, **arguments)
    output.loss.backward()
    found = {name: value.detach() for name, value in output.items() if isinstance(value, torch.Tensor)}
    return {**found, **{name: parameter.grad.clone() for name, parameter in model.named_parameters()}}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def rows_computed(model):
    """Records the leading shape of what every layer of both encoders reads."""
    shapes = set()
    for network in (model.generator, model.discriminator):
        for layer in network.electra.encoder.layer:
            layer.register_forward_pre_hook(lambda module, arguments: shapes.add(tuple(arguments[0].shape[:2])))
    return shapes


# ---- The same numbers -----------------------------------------------------------------------------------------------

ragged = st.lists(st.integers(0, 40), min_size=1, max_size=7).filter(any)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=ragged,
    side=st.sampled_from(["left", "right"]),
    training=st.booleans(),
    holes=st.booleans(),
    segments=st.booleans(),
    seed=st.integers(0, 9),
)
def test_outputs_and_gradients_equal_the_padded_ones(
    attention, lengths, side, training, holes, segments, seed, make_model, make_batch, padded
):
    model = make_model(mask_prob=0.3, disc_weight=1.0).train(training)  # 50 would multiply float32's noise
    model.set_attn_implementation(attention)
    batch = make_batch(tuple(lengths), side=side, width=max(lengths) + seed % 3, segments=segments, seed=seed)
    if holes:
        batch["attention_mask"] *= (
            torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(seed)) < 0.8
        )
    assert_same(step(model, batch, seed), padded(lambda: step(model, batch, seed)))


def test_long_short_and_empty_rows_equal_the_padded_ones(make_model, make_batch, padded):
    model, batch = make_model(mask_prob=0.3, disc_weight=1.0), make_batch((120, 118, 90, 40, 39, 12, 12, 3, 0, 1))
    assert_same(step(model, batch), padded(lambda: step(model, batch)))


@pytest.mark.parametrize("width", [20, 31])
def test_rows_of_one_length_need_no_mask_and_equal_the_padded_ones(width, make_model, make_batch, padded):
    model, batch = make_model(mask_prob=0.3, disc_weight=1.0), make_batch((20, 20, 20), width=width)
    layout = unpadding.UnpaddedBatch(batch["attention_mask"] == 1, torch.zeros(3, width, dtype=torch.long), 60)
    assert [there.shape for there, cells in layout.rectangles] == [(3, 20)]
    assert_same(step(model, batch), padded(lambda: step(model, batch)))


def test_positions_that_a_user_gives_reach_the_tokens_they_were_given_for(make_model, make_batch, padded):
    model, batch = make_model(mask_prob=0.3), make_batch((9, 20, 4), side="left")
    batch["position_ids"] = torch.arange(20).flip(0).repeat(3, 1) + torch.tensor([[0], [30], [60]])
    assert_same(step(model, batch), padded(lambda: step(model, batch)))
    batch["position_ids"] = batch["position_ids"][:1]
    assert_same(step(model, batch), padded(lambda: step(model, batch)))


def test_bf16_autocast_is_near_the_padded_result(make_model, make_batch, padded):
    model, batch = make_model(mask_prob=0.3), make_batch((30, 20, 8, 2))
    with torch.autocast("cpu", torch.bfloat16):
        flat, reference = model(**batch), padded(lambda: model(**batch))
    assert flat.loss.dtype == torch.float32 and flat.logits.dtype == reference.logits.dtype
    assert_close(flat.mlm_loss, reference.mlm_loss, rtol=1e-2, atol=1e-2)
    assert_close(flat.logits, reference.logits, rtol=5e-2, atol=1e-1)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_equals_the_padded_result(reentrant, make_model, make_batch, padded):
    model, batch = make_model(mask_prob=0.3, disc_weight=1.0).train(), make_batch((30, 20, 8, 2))
    plain = padded(lambda: step(model, batch))
    # Transformers 5.23 renames it.
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": reentrant})
    assert_same(step(model, batch), plain)


# ---- Padding is not computed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_no_layer_reads_padding(attention, training, make_model, make_batch):
    model, batch = make_model(dropout=0.1).train(training), make_batch((30, 7, 3, 0), side="left")
    model.set_attn_implementation(attention)
    shapes = rows_computed(model)
    model(**batch)
    assert shapes == {(1, 40)}, "one row of all tokens"


@pytest.mark.parametrize("request_", ["output_hidden_states", "output_attentions"])
def test_what_is_returned_in_the_batchs_shape_is_computed_padded(request_, make_model, make_batch):
    model, batch = make_model(), make_batch((12, 7, 3))
    model.set_attn_implementation("eager")
    model(**batch)  # the names of attention are set for good: they must know a padded batch too
    shapes = rows_computed(model)
    output = model(**batch, **{request_: True})
    assert shapes == {(3, 12)}
    returned = output.hidden_states or output.attentions
    assert returned[0].shape == {"output_hidden_states": (3, 12, 32), "output_attentions": (3, 4, 12, 12)}[request_]


def test_a_request_in_the_configuration_is_one_too(make_model, make_batch):
    model, batch = make_model(), make_batch((12, 7, 3))
    model.config.output_hidden_states = True
    assert model(**batch).hidden_states[-1].shape == (3, 12, 32)


def test_a_batch_without_any_token_is_finite(make_model, make_batch):
    output = make_model().train()(**make_batch((0, 0), width=5))
    assert output.loss == 0 and output.loss.requires_grad


def test_an_attention_that_knows_no_boundaries_reads_padded_batches(make_model, make_batch, monkeypatch):
    model, batch = make_model(), make_batch((12, 7, 3))
    expected = model(**batch)
    for registry in (ALL_ATTENTION_FUNCTIONS, unpadding.ALL_MASK_ATTENTION_FUNCTIONS):
        monkeypatch.setitem(registry._global_mapping, "somebodys", registry["sdpa"])
    model.set_attn_implementation("somebodys")
    shapes = rows_computed(model)
    output = model(**batch)
    assert shapes == {(3, 12)}
    assert_close(output.loss, expected.loss)


@pytest.mark.parametrize(
    "attention", ["flash_attention_2", "flash_attention_3", "flash_attention_4", "kernels-community/flash-attn2"]
)
def test_flash_attention_gets_the_starts_of_the_rows_and_no_mask(attention, make_model, make_batch, monkeypatch):
    """A stand-in takes the place of the kernel, which needs a GPU, and checks what it is handed."""
    model, batch = make_model(mask_prob=0.3), make_batch((12, 30, 3, 0))
    expected = model(**batch)

    def attend_by_starts(module, query, key, value, attention_mask, scaling=None, **kwargs):
        assert attention_mask is None
        starts = kwargs["cu_seq_lens_q"]
        assert starts.dtype == torch.int32 and starts.tolist() == [0, 30, 42, 45, 45]
        assert torch.equal(starts, kwargs["cu_seq_lens_k"])
        assert kwargs["max_length_q"] == kwargs["max_length_k"] == 30
        rows = [
            torch.nn.functional.scaled_dot_product_attention(
                *(states[:, :, first:end] for states in (query, key, value)), scale=scaling
            )
            for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        ]
        return torch.cat(rows, dim=2).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, attention, attend_by_starts)
    for network in (model.generator, model.discriminator):
        monkeypatch.setattr(network.config, "_attn_implementation_internal", attention)
    shapes = rows_computed(model)
    output = model(**batch)
    assert shapes == {(1, 45)}
    assert_close(output.logits, expected.logits, rtol=1e-5, atol=1e-5)


# ---- Names, checkpoints, compilation --------------------------------------------------------------------------------


def test_the_name_of_our_attention_reaches_no_checkpoint(make_model, make_batch, tmp_path):
    model = make_model()
    model(**make_batch())
    model.save_pretrained(tmp_path / "pair")
    model.discriminator.save_pretrained(tmp_path / "stock")
    for folder in ("pair", "stock"):
        written = (tmp_path / folder / "config.json").read_text(encoding="utf-8")
        assert "electra_rtd_" not in written.replace("modeling_electra_rtd.", "").replace(
            "configuration_electra_rtd.", ""
        )
    assert "_attn_implementation" not in json.loads(written)


@pytest.mark.slow
def test_batches_of_many_shapes_compile_once_more_at_most(make_model, make_batch):
    """Shapes become symbols with the second batch: graphs are recorded for two shapes, however many there are."""
    model = make_model(mask_prob=0.3, dropout=0.1).train()
    torch.compiler.reset()
    graphs, recorded = [], []

    def record(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=record)
    for lengths in ((12, 7, 3), (20, 9, 4), (17, 5, 2, 9), (31, 30, 4, 2), (40, 3), (23, 11, 6, 5, 2), (14, 13, 9, 7)):
        compiled(**make_batch(lengths)).loss.backward()
        recorded.append(len(graphs))
    torch.compiler.reset()
    assert recorded[-1] == recorded[2], f"graphs recorded after each batch: {recorded}"


# ---- Tokens and rows ------------------------------------------------------------------------------------------------

attended_rows = st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=6).filter(
    lambda rows: any(map(any, rows))
)


def test_rows_are_cut_where_it_saves_many_squares():
    # 2 rows of 100 and 30 of 10: one cut saves 30 * (100**2 - 10**2) cells of padding, no other saves any.
    assert unpadding.cut_by_length([100] * 2 + [10] * 30) == [0, 2]
    assert unpadding.cut_by_length([100] * 32) == [0], "nothing to save"
    assert unpadding.cut_by_length([100] * 16 + [75] * 16) == [0], "similar enough"
    assert unpadding.cut_by_length([12, 3, 2, 1]) == [0], "too little to save"
    assert unpadding.cut_by_length([400, 300, 200, 100, 50]) == [0, 2, 3]


@given(rows=attended_rows, cut=st.integers(1, 5))
def test_every_token_stands_once_in_the_batch_and_in_a_row_of_its_group(rows, cut):
    with pytest.MonkeyPatch.context() as patch:  # rows as short as these would be one group
        patch.setattr(unpadding, "cut_by_length", lambda lengths: [0, cut] if cut < len(lengths) else [0])
        check_tokens_and_rows(rows)


def check_tokens_and_rows(rows):
    attended = torch.tensor(rows)
    batch = unpadding.UnpaddedBatch(attended, torch.arange(7).expand_as(attended), int(attended.sum()))
    numbers = torch.arange(1, attended.numel() + 1).view_as(attended)
    tokens = unpadding.unpad_input(numbers, batch.indices)
    assert sorted(tokens.tolist()) == numbers[attended].tolist()
    assert torch.equal(unpadding.pad_input(tokens, batch.indices, attended.shape), numbers * attended)
    ordered = sorted(([*numbers[row][attended[row]].tolist()] for row in range(len(rows))), key=len, reverse=True)
    assert batch.cu_seqlens.diff().tolist() == [len(row) for row in ordered]
    ordered = [row for row in ordered if row]
    assert len(ordered[0]) <= batch.max_seqlen <= 7
    seen = []
    for (there, cells), of_group in zip(
        batch.rectangles, tokens.split([len(cells) for _, cells in batch.rectangles]), strict=True
    ):
        rectangle = unpadding.pad_input(of_group, cells, there.shape)
        for found, is_there in zip(rectangle.tolist(), there.tolist(), strict=True):
            expected = ordered[len(seen)]
            empty = len(found) - len(expected)
            assert found == expected + [0] * empty
            assert is_there == [True] * len(expected) + [False] * empty
            seen.append(found)
    masked = unpadding.where_true(attended)
    assert torch.equal(batch.at(masked, tokens[None, :, None].float())[:, 0].long(), numbers[attended])
