"""Sequences that a collator joined to one row against the padded batch of the same sequences: the same numbers.

`DataCollatorWithFlattening` says in several ways where each sequence begins. The padded batch is the reference.
"""

import pytest
import torch
from torch.testing import assert_close
from transformers import DataCollatorWithFlattening
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from electra_rtd.modeling_electra_rtd import ElectraPreTrainedModel


LENGTHS = (12, 7, 3, 2, 20)
# What the collator returns beside `input_ids` and `labels`.
WAYS = {
    "positions": {},
    "positions and ends": {"return_flash_attn_kwargs": True},
    "ends": {"return_flash_attn_kwargs": True, "return_position_ids": False},
    "positions and numbers": {"return_seq_idx": True},
    "all": {"return_seq_idx": True, "return_flash_attn_kwargs": True},
}
OF_TOKENS = ("logits", "disc_labels", "disc_predictions", "masked_positions", "masked_input_ids", "disc_input_ids")


def sequences_of(batch):
    return [row[mask == 1].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]


@pytest.fixture
def padded(make_batch):
    """A ragged batch, padded on the right, of 44 tokens."""
    return make_batch(LENGTHS)


@pytest.fixture
def flatten(padded):
    """A function that joins the sequences of the ragged batch in one of the `WAYS`."""

    def join(way="positions", batch=padded):
        return DataCollatorWithFlattening(**WAYS[way])([{"input_ids": ids} for ids in sequences_of(batch)])

    return join


def step(model, batch, seed=0, **arguments):
    """Output and gradients of one step."""
    torch.manual_seed(seed)
    model.zero_grad()
    output = model(**batch, **arguments)
    output.loss.backward()
    return output, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_same(found, expected, attended):
    """Outputs of a flattened and of a padded batch."""
    for name, value in expected.items():
        if name in OF_TOKENS:
            assert found[name].shape == (1, attended.sum()), name
            value = value[attended][None]
        assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


# ---- The same numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("way", WAYS)
def test_outputs_and_gradients_equal_those_of_the_padded_batch(way, attention, training, make_model, padded, flatten):
    model = make_model(mask_prob=0.3, random_token_prob=0.1, disc_weight=1.0).train(training)
    if ElectraPreTrainedModel._supports_attention_backend:
        model.set_attn_implementation(attention)
    expected, of_expected = step(model, padded)
    found, of_found = step(model, flatten(way))
    assert_same(found, expected, padded["attention_mask"] == 1)
    for name, gradient in of_expected.items():
        assert_close(of_found[name], gradient, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_what_older_releases_return_is_read_alike(make_model, padded):
    """Written out: no later collator stands between the dictionary of release 4.57 and this test."""
    rows = sequences_of(padded)
    ends = torch.tensor([0, 12, 19, 22, 24, 44], dtype=torch.int32)
    batch = {
        "input_ids": torch.tensor([[token for row in rows for token in row]]),
        "labels": torch.tensor([[label for row in rows for label in (-100, *row[1:])]]),
        "position_ids": torch.tensor([[place for row in rows for place in range(len(row))]]),
        "seq_idx": torch.tensor([[number for number, row in enumerate(rows) for _ in row]], dtype=torch.int32),
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends.clone(),
        "max_length_q": 20,
        "max_length_k": 20,
    }
    model = make_model(mask_prob=0.3)
    expected = model(**padded)
    for given in (batch.keys(), {"input_ids", "labels", "position_ids"}, {"input_ids", "cu_seq_lens_q"}):
        output = model(**{name: value for name, value in batch.items() if name in given})
        assert_same(output, expected, padded["attention_mask"] == 1)


def test_each_sequence_masks_exactly_its_share_in_training(make_model, flatten, ids):
    output = make_model(mask_prob=0.3).train()(**flatten())
    counts = [int(part.sum()) for part in output.masked_positions[0].split(list(LENGTHS))]
    assert counts == [3, 2, 1, 0, 6], (
        "the next whole number above 0.3 of 10, 5, 1, 0 and 18 tokens that are not special"
    )
    special = torch.isin(output.disc_input_ids, torch.tensor(ids.special))
    assert not (special & output.masked_positions).any()


@pytest.mark.parametrize("changed", range(len(LENGTHS)))
def test_a_sequence_reads_no_other(changed, make_model, padded, flatten, ids):
    model = make_model(mask_prob=0.3)
    before = model(**flatten())
    padded["input_ids"][changed, 0] = ids.ordinary[7]
    after = model(**flatten(batch=padded))
    same = [
        torch.allclose(one, other, rtol=0, atol=1e-6)
        for one, other in zip(before.logits[0].split(LENGTHS), after.logits[0].split(LENGTHS), strict=True)
    ]
    assert same == [number != changed for number in range(len(LENGTHS))]


def test_packed_rows_hold_several_sequences_each(make_model, make_batch):
    batch = make_batch((12, 7, 3, 16))
    rows = sequences_of(batch)
    input_ids = torch.tensor([rows[0] + rows[1], rows[2] + rows[3]])  # (2, 19)
    positions = torch.tensor([[*range(12), *range(7)], [*range(3), *range(16)]])
    model, attended = make_model(mask_prob=0.3), batch["attention_mask"] == 1
    expected, output = model(**batch), model(input_ids, position_ids=positions)
    assert_close(output.loss, expected.loss)
    for name in OF_TOKENS:
        assert_close(output[name], expected[name][attended].view(2, 19), msg=lambda text, name=name: f"{name}: {text}")


def test_one_sequence_alone_and_sequences_of_one_token_are_flattened_too(make_model, make_batch):
    model = make_model(mask_prob=0.3)
    for lengths in ((9,), (1,), (1, 1, 1), (1, 5, 1)):
        batch = make_batch(lengths)
        flattened = DataCollatorWithFlattening()([{"input_ids": row} for row in sequences_of(batch)])
        assert_same(model(**flattened), model(**batch), batch["attention_mask"] == 1)


def test_padding_in_a_row_counts_for_nothing(make_model, padded, flatten, ids):
    """Other collators fill a row up with padding, each of it at position 0."""
    model, batch, attended = make_model(mask_prob=0.3), flatten(), padded["attention_mask"] == 1
    filled = {
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 4), value=ids.pad),
        "labels": torch.nn.functional.pad(batch["labels"], (0, 4), value=-100),
        "position_ids": torch.nn.functional.pad(batch["position_ids"], (0, 4), value=0),
    }
    output, expected = model(**filled), model(**padded)
    assert_close(output.loss, expected.loss)
    assert_close(output.logits[0, :44], expected.logits[attended])
    assert (
        output.disc_labels[0, 44:].tolist() == [-100] * 4 and output.disc_input_ids[0, 44:].tolist() == [ids.pad] * 4
    )


def test_a_row_may_be_longer_than_a_sequence_may_be(make_model, padded, flatten):
    model = make_model(generator={"max_position_embeddings": 20}, mask_prob=0.3)
    assert_same(model(**flatten()), model(**padded), padded["attention_mask"] == 1)
    short = make_model(generator={"max_position_embeddings": 19})
    with pytest.raises(ValueError, match="The sequences have 20 tokens, but `max_position_embeddings` is 19"):
        short(**flatten())


def test_segments_reach_the_tokens_they_were_given_for(make_model, make_batch, flatten):
    batch = make_batch(LENGTHS, segments=True)
    attended = batch["attention_mask"] == 1
    model, types = make_model(mask_prob=0.3), batch["token_type_ids"][attended][None]
    output = model(**flatten(batch=batch), token_type_ids=types)
    assert_same(output, model(**batch), attended)
    assert not torch.equal(output.logits, model(**flatten(batch=batch)).logits)


# ---- Masking by a collator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("masked", [(3, 15, 30), ()])
def test_a_collators_masking_is_kept(masked, way, make_model, padded, flatten, ids):
    batch = flatten(way)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    for place in masked:
        batch["labels"][0, place], batch["input_ids"][0, place] = batch["input_ids"][0, place], ids.mask
    attended = padded["attention_mask"] == 1
    padded["labels"] = torch.full_like(padded["input_ids"], -100)
    for name in ("input_ids", "labels"):
        padded[name][attended] = batch[name][0]
    model = make_model(mask_prob=0.3)
    output = model(**batch)
    assert output.masked_positions[0].nonzero().flatten().tolist() == list(masked)
    assert_same(output, model(**padded), attended)


def test_what_separates_labels_may_be_any_number(make_model, padded):
    features = [{"input_ids": row} for row in sequences_of(padded)]
    model, attended = make_model(mask_prob=0.3), padded["attention_mask"] == 1
    for separator in (-1, 5):
        batch = DataCollatorWithFlattening(separator_id=separator)(features)
        assert_same(model(**batch), model(**padded), attended)


def test_labels_of_answers_alone_are_refused(make_model, flatten):
    """Labels of supervised fine-tuning: what was asked is -100, and the answer repeats the input."""
    batch = flatten()
    batch["labels"][0, :8] = -100
    with pytest.raises(ValueError, match="nothing is masked"):
        make_model()(**batch)


# ---- Not clear where each begins ------------------------------------------------------------------------------------

ENDS = [0, 12, 19, 22, 24, 44]
UNCLEAR = {
    "positions that start at 2": ("positions", {"position_ids": lambda positions: positions + 2}),
    "positions that jump": ("positions", {"position_ids": lambda positions: positions + (positions > 4).long()}),
    "positions that go on from the row before": ("positions", {"position_ids": lambda positions: positions.roll(-3)}),
    "an attention mask beside positions": ("positions", {"attention_mask": torch.ones_like}),
    "an attention mask beside ends": ("ends", {"attention_mask": torch.ones_like}),
    "an attention mask beside numbers": ("positions and numbers", {"attention_mask": torch.ones_like}),
    "ends that are not those of the positions": (
        "positions and ends",
        {name: lambda _: torch.tensor([0, 12, 18, 22, 24, 44]) for name in ("cu_seq_lens_q", "cu_seq_lens_k")},
    ),
    "ends before the row's end": (
        "ends",
        {"cu_seq_lens_q": lambda ends: ends[:-1], "cu_seq_lens_k": lambda e: e[:-1]},
    ),
    "ends after the row's end": (
        "ends",
        {name: lambda ends: ends + (ends > 40).int() for name in ("cu_seq_lens_q", "cu_seq_lens_k")},
    ),
    "ends that do not begin with 0": (
        "ends",
        {name: lambda ends: ends[1:] for name in ("cu_seq_lens_q", "cu_seq_lens_k")},
    ),
    "ends that fall": (
        "ends",
        {name: lambda _: torch.tensor([0, 19, 12, 22, 24, 44]) for name in ("cu_seq_lens_q", "cu_seq_lens_k")},
    ),
    "ends of two dimensions": (
        "ends",
        {"cu_seq_lens_q": lambda ends: ends[None], "cu_seq_lens_k": lambda ends: ends[None]},
    ),
    "numbers of sequences alone": ("positions and numbers", {"position_ids": lambda _: None}),
    "ends of keys alone": ("ends", {"cu_seq_lens_q": lambda _: None}),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", UNCLEAR)
def test_rows_whose_sequences_are_not_clear_are_refused(case, training, make_model, flatten):
    way, changes = UNCLEAR[case]
    batch = flatten(way)
    for name, change in changes.items():
        batch[name] = change(batch.get(name, batch["input_ids"]))
    model, state = make_model(), torch.get_rng_state()
    with pytest.raises(ValueError, match=r"not clear where each begins.*DataCollatorWithPadding"):
        model.train(training)(**batch)
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"


def test_ends_are_those_of_one_row(make_model, make_batch):
    with pytest.raises(ValueError, match="batches of one row"):
        make_model()(make_batch((12, 12))["input_ids"], cu_seq_lens_q=torch.tensor([0, 12, 24]))


def test_positions_of_a_users_own_stay_as_they_are(make_model, make_batch):
    """Not in order, but no sequence begins again: as ever, the row is one sequence at these positions."""
    model, batch = make_model(mask_prob=0.3), make_batch((12, 12))
    positions = torch.arange(0, 24, 2)[None] + 5
    expected = model(**batch, position_ids=positions)
    assert_close(model(batch["input_ids"], position_ids=positions).logits, expected.logits)
    assert not torch.allclose(model(**batch).logits, expected.logits)


# ---- How the networks read them -------------------------------------------------------------------------------------


def test_hidden_states_are_of_the_rows_and_attentions_of_each_sequence(make_model, padded, flatten):
    model, attended = make_model(mask_prob=0.3), padded["attention_mask"] == 1
    model.set_attn_implementation("eager")
    wanted = {"output_hidden_states": True, "output_attentions": True}
    expected, output = model(**padded, **wanted), model(**flatten(), **wanted)
    for found, value in zip(output.hidden_states, expected.hidden_states, strict=True):
        assert_close(found, value[attended][None])
    assert output.hidden_states[0].shape == (1, 44, 32)
    for found, value in zip(output.attentions, expected.attentions, strict=True):
        reads = attended[:, None, :, None].expand_as(value)  # what stands in padding reads something too
        assert_close(found[reads], value[reads])
    assert output.attentions[0].shape == (5, 4, 20, 20)
    assert list(output) == list(expected)


def test_a_tuple_holds_the_same(make_model, flatten):
    model = make_model()
    output, values = model(**flatten()), model(**flatten(), return_dict=False)
    assert all(torch.equal(one, other) for one, other in zip(output.to_tuple(), values, strict=True))


@pytest.mark.skipif(not ElectraPreTrainedModel._supports_attention_backend, reason="batches stay padded there")
def test_flash_attention_gets_the_ends_and_no_mask(make_model, flatten, monkeypatch):
    """A stand-in takes the place of the kernel, which needs a GPU."""
    model, seen = make_model(mask_prob=0.3), []
    expected = model(**flatten())

    def attend(module, query, key, value, attention_mask, scaling=None, **kwargs):
        ends = kwargs["cu_seq_lens_q"]
        seen.append((attention_mask, ends.dtype, ends.tolist(), kwargs["max_length_q"], query.shape[2]))
        rows = [
            torch.nn.functional.scaled_dot_product_attention(
                *(states[:, :, first:end] for states in (query, key, value)), scale=scaling
            )
            for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]
        return torch.cat(rows, dim=2).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", attend)
    for network in (model.generator, model.discriminator):
        monkeypatch.setattr(network.config, "_attn_implementation_internal", "flash_attention_2")
    output = model(**flatten())
    assert set(map(str, seen)) == {str((None, torch.int32, [0, 20, 32, 39, 42, 44], 20, 44))}
    assert_close(output.logits, expected.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", ["positions", "ends"])
def test_an_attention_that_knows_no_boundaries_reads_the_padded_batch(way, make_model, padded, flatten, monkeypatch):
    monkeypatch.setattr("electra_rtd.modeling_electra_rtd.attend_unpadded", lambda networks: False)
    model = make_model(mask_prob=0.3)
    assert_same(model(**flatten(way)), model(**padded), padded["attention_mask"] == 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["positions", "ends"])
def test_a_compiled_model_reads_them_alike(way, make_model, make_batch):
    model = make_model(mask_prob=0.3)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")
    for lengths in (LENGTHS, (9, 4)):
        batch = make_batch(lengths)
        flattened = DataCollatorWithFlattening(**WAYS[way])([{"input_ids": row} for row in sequences_of(batch)])
        assert_same(compiled(**flattened), model(**batch), batch["attention_mask"] == 1)
    torch.compiler.reset()


def test_ends_may_hold_empty_sequences(make_model, padded, flatten):
    model, batch = make_model(mask_prob=0.3), flatten("ends")
    batch["cu_seq_lens_q"] = torch.tensor([0, 12, 12, *ENDS[2:], 44])
    assert_same(model(**batch), model(**padded), padded["attention_mask"] == 1)
