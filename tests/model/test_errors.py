"""Wrong input stops early, with a `ValueError` that names the field, the value and the mend."""

import pytest
import torch
from transformers import DataCollatorForLanguageModeling, DataCollatorWithFlattening, DataCollatorWithPadding


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(generator={"max_position_embeddings": 40})


def assert_refused(words, model, *args, **kwargs):
    """In training and in evaluation, and before anything is computed or drawn."""
    for training in (True, False):
        model.train(training)
        state = torch.get_rng_state()
        with pytest.raises(ValueError) as error:
            model(*args, **kwargs)
        for word in words:
            assert word in str(error.value), f"{word!r} is not in: {error.value}"
        assert torch.equal(torch.get_rng_state(), state)


OTHER_SHAPES = [((12,), "(12,)"), ((2, 3, 4), "(2, 3, 4)"), ((), "()"), ((0, 12), "(0, 12)"), ((3, 0), "(3, 0)")]


@pytest.mark.parametrize(("shape", "said"), OTHER_SHAPES)
def test_token_ids_of_another_shape_than_batch_and_length(shape, said, model):
    assert_refused(["`input_ids`", said, "(batch, length)"], model, torch.ones(shape, dtype=torch.long))


def test_no_token_ids_at_all(model):
    assert_refused(["`input_ids`", "None", "(batch, length)"], model, None)


KINDS = {
    "torch.float32": lambda ids: ids.float(),
    "torch.bool": lambda ids: ids.bool(),
    "list": lambda ids: ids.tolist(),
    "ndarray": lambda ids: ids.numpy(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids", "labels"])
def test_what_is_no_tensor_of_integers(name, kind, model, make_batch):
    batch = make_batch()
    assert_refused([f"`{name}`", kind, "integers"], model, **{**batch, name: KINDS[kind](batch["input_ids"])})


@pytest.mark.parametrize("kind", ["list", "ndarray"])
def test_an_attention_mask_that_is_no_tensor(kind, model, make_batch):
    batch = make_batch()
    mask = KINDS[kind](batch["attention_mask"])
    assert_refused(["`attention_mask`", kind, "(4, 12)"], model, **{**batch, "attention_mask": mask})


@pytest.mark.parametrize(("value", "said"), [(2, "2"), (-torch.inf, "-inf"), (0.5, "0.5")])
def test_an_attention_mask_of_other_values_than_0_and_1(value, said, model, make_batch):
    batch = make_batch()
    batch["attention_mask"] = batch["attention_mask"].to(torch.tensor(value).dtype)
    batch["attention_mask"][2, 1] = value
    assert_refused(["`attention_mask`", said, "1 is a token"], model, **batch)


@pytest.mark.parametrize(("wrong", "said"), [(80, "80"), (-1, "-1"), (30000, "30000")])
def test_token_ids_outside_the_vocabulary(wrong, said, model, make_batch):
    batch = make_batch()
    batch["input_ids"][1, 2] = wrong
    assert_refused(["`input_ids`", said, "0 to 79", "okenize"], model, **batch)


def test_a_token_id_outside_the_vocabulary_that_stands_in_padding_is_refused_as_well(model, make_batch):
    batch = make_batch()
    batch["input_ids"][3, 11] = 80
    assert_refused(["`input_ids`", "80", "0 to 79"], model, **batch)


def test_a_sequence_longer_than_the_positions_of_either_network(model, make_batch):
    assert model(**make_batch((40,))).loss.isfinite()
    assert_refused(["41", "`max_position_embeddings` is 40", "max_length=40"], model, **make_batch((41, 3)))


@pytest.mark.parametrize("shape", [(4, 11), (3, 12), (12,), (4, 1, 1, 12), (4, 12, 12)])
def test_an_attention_mask_of_another_shape(shape, model, make_batch):
    batch = {**make_batch(), "attention_mask": torch.ones(shape, dtype=torch.long)}
    assert_refused(["`attention_mask`", str(shape), "(4, 12)", "tokenizer and collator"], model, **batch)


@pytest.mark.parametrize("shape", [(12,), (4, 11), (3, 12), (4, 1)])
def test_positions_of_another_shape(shape, model, make_batch):
    positions = torch.zeros(shape, dtype=torch.long)
    assert_refused(
        ["`position_ids`", str(shape), "(4, 12)", "leave them out"], model, **make_batch(), position_ids=positions
    )
    one_row = torch.arange(12)[None]
    assert torch.equal(model(**make_batch(), position_ids=one_row).logits, model(**make_batch()).logits)


def test_token_types_of_another_shape_or_beyond_the_segments(model, make_batch):
    batch = make_batch()
    wrong = torch.zeros(4, 11, dtype=torch.long)
    assert_refused(["`token_type_ids`", "(4, 11)", "(4, 12)"], model, **batch, token_type_ids=wrong)
    for value in (2, -1):
        types = torch.full_like(batch["input_ids"], value)
        assert_refused(["`token_type_ids`", str(value), "0 to 1"], model, **batch, token_type_ids=types)


def test_positions_beyond_the_table(model, make_batch):
    batch = make_batch()
    for value in (40, -1):
        positions = torch.full_like(batch["input_ids"], value)
        assert_refused(["`position_ids`", str(value), "0 to 39"], model, **batch, position_ids=positions)


def test_labels_of_a_classification_data_set(model, make_batch):
    batch = make_batch()
    mends = ["`labels`", "(4,)", "(4, 12)", "masked language modelling", "remove the label column"]
    assert_refused(mends, model, **batch, labels=torch.tensor([0, 1, 1, 0]))


def test_labels_outside_the_vocabulary(model, make_batch):
    batch = make_batch()
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, 3] = 80
    assert_refused(["`labels`", "80", "0 to 79", "-100"], model, **batch, labels=labels)
    labels[0, 3] = -1
    assert_refused(["`labels`", "-1", "0 to 79", "-100"], model, **batch, labels=labels)


def test_labels_of_causal_language_modelling(model, make_batch, ids):
    batch = make_batch()
    labels = batch["input_ids"].masked_fill(batch["input_ids"] == ids.pad, -100)
    assert_refused(["`labels`", "DataCollatorWithPadding", "mlm=True"], model, **batch, labels=labels)


def test_sequences_that_a_collator_joined_without_saying_where_each_begins(model, make_batch):
    rows = [row[: int(length)] for row, length in zip(make_batch()["input_ids"], (12, 7, 3, 2), strict=True)]
    for sequences in (rows, [row[1:-1] for row in rows][:3]):
        collator = DataCollatorWithFlattening(return_position_ids=False)
        batch = collator([{"input_ids": row.tolist()} for row in sequences])
        assert set(batch) == {"input_ids", "labels"}
        assert_refused(["DataCollatorWithPadding", "DataCollatorWithFlattening"], model, **batch)


def on_accelerator(batch, monkeypatch):
    """The same batch, which says that it is on another device."""
    monkeypatch.setattr(torch.Tensor, "device", property(lambda self: torch.device("cuda")))
    return batch


@pytest.mark.parametrize("collator", ["causal", "flattening"])
def test_labels_that_hide_nothing_are_refused_on_an_accelerator_too(
    collator, make_model, make_batch, monkeypatch, ids
):
    model, batch = make_model(), make_batch()
    batch["labels"] = batch["input_ids"].masked_fill(batch["input_ids"] == ids.pad, -100)
    if collator == "flattening":
        collate = DataCollatorWithFlattening(return_position_ids=False)
        batch = collate([{"input_ids": row.tolist()} for row in batch["input_ids"]])
    monkeypatch.setattr(model, "_check_values", lambda *args: pytest.fail("an accelerator would have to wait"))
    arguments = {
        name: batch.pop(name, None) for name in ("attention_mask", "token_type_ids", "position_ids", "labels")
    }
    with monkeypatch.context() as patched, pytest.raises(ValueError, match="DataCollatorWithPadding"):
        model._check_inputs(on_accelerator(batch["input_ids"], patched), *arguments.values())


def test_an_accelerator_waits_for_the_first_labels_alone(make_model, make_batch, monkeypatch):
    model, batch, looked = make_model(), make_batch(), []
    monkeypatch.setattr(model, "_check_labels", lambda *args: looked.append(1))
    monkeypatch.setattr(model, "_check_values", lambda *args: pytest.fail("an accelerator would have to wait"))
    labels = torch.full_like(batch["input_ids"], -100)
    with monkeypatch.context() as patched:
        on_accelerator(batch, patched)
        for _ in range(9):
            model._check_inputs(batch["input_ids"], batch["attention_mask"], None, None, labels)
    assert len(looked) == 3


def test_batches_of_a_masking_collator_are_never_refused(model, tokenizer):
    """Not even the few whose only masked tokens all stayed as they were."""
    torch.manual_seed(0)
    stayed = 0
    for few in (["책"], ["나는 비"], ["오늘 책을 읽는다 .", "밥"]):
        for special in (True, False):
            collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)
            rows = [tokenizer(one, add_special_tokens=special) for one in few]
            for _ in range(100):
                batch = collator(rows)
                labelled = batch["labels"] != -100
                stayed += int(labelled.any() and (batch["labels"] == batch["input_ids"])[labelled].all())
                model._check_inputs(batch["input_ids"], batch["attention_mask"], None, None, batch["labels"])
    assert stayed > 10


def test_an_unset_mask_token_says_how_to_set_it(make_model, make_batch):
    model, batch = make_model(mask_token_id=None), make_batch()
    for training in (True, False):
        with pytest.raises(ValueError) as error:
            model.train(training)(**batch)
        for word in ("`mask_token_id`", "None", "tokenizer.mask_token_id", "special_token_ids"):
            assert word in str(error.value)
    model.config.mask_token_id = 79
    assert model(**batch).loss.isfinite()


def test_a_mask_token_is_not_needed_where_nothing_becomes_one(make_model, make_batch):
    batch = make_batch()
    model = make_model(mask_token_id=None, replace_prob=0.0, random_token_prob=0.5)
    assert model(**batch).loss.isfinite()
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, 3] = 5
    assert make_model(mask_token_id=None)(**batch, labels=labels).loss.isfinite()


def test_what_the_stock_tokenizer_and_collator_return_is_never_refused(make_model, make_tokenizer):
    tokenizer = make_tokenizer()
    sentences = ["나는 학교에서 책을 읽는다 .", "환자는 병원에 온다 .", ""]
    for side in ("right", "left"):
        tokenizer.padding_side = side
        batch = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)([tokenizer(one) for one in sentences])
        assert make_model()(**batch).loss.isfinite()
    assert make_model()(**tokenizer(sentences[:1], sentences[1:2], return_tensors="pt")).loss.isfinite()
