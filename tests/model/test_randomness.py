"""Where random numbers come from: training draws from torch's global generator, evaluation from the example itself."""

import math
import random

import pytest
import torch


def corruption(output, row, attention_mask):
    """What was done to one example, without its padding."""
    columns = attention_mask[row] == 1
    names = ("masked_positions", "masked_input_ids", "disc_input_ids", "disc_labels")
    return tuple(tuple(output[name][row][columns].tolist()) for name in names)


def tokens(batch, row):
    return batch["input_ids"][row][batch["attention_mask"][row] == 1]


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(mask_prob=0.4, replace_prob=0.5, random_token_prob=0.3)


@pytest.fixture
def examples(make_batch):
    """Single rows without padding, of many lengths, all different."""
    batch = make_batch((14, 9, 9, 5, 3, 20, 12))
    return [tokens(batch, row) for row in range(7)]


def pad(examples, pad_id, width, side):
    input_ids = torch.full((len(examples), width), pad_id)
    attention_mask = torch.zeros(len(examples), width, dtype=torch.long)
    for row, example in enumerate(examples):
        start = width - len(example) if side == "left" else 0
        input_ids[row, start : start + len(example)] = example
        attention_mask[row, start : start + len(example)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


# ---- Evaluation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 37])
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_example_is_corrupted_alike_whatever_batch_place_and_padding(side, width, model, examples, ids):
    alone = []
    for example in examples:
        ones = torch.ones_like(example)[None]
        alone.append(corruption(model(example[None], attention_mask=ones), 0, ones))
    orders = ([0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 3, 3], [5, 0], [4, 1, 4, 2, 5])
    for order in orders:
        batch = pad([examples[index] for index in order], ids.pad, width, side)
        output = model(**batch)
        for row, index in enumerate(order):
            assert corruption(output, row, batch["attention_mask"]) == alone[index], (order, row)


def test_what_stands_in_padding_does_not_change_the_corruption(model, examples, ids):
    batch = pad(examples, ids.pad, 24, "right")
    expected = model(**batch)
    batch["input_ids"] = batch["input_ids"].where(batch["attention_mask"] == 1, torch.tensor(ids.ordinary[7]))
    output = model(**batch)
    for row in range(len(examples)):
        mask = batch["attention_mask"]
        assert corruption(output, row, mask) == corruption(expected, row, mask)


def test_samples_for_a_collators_masking_repeat_too(model, make_batch):
    batch = make_batch((12, 9))
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, 2:7] = batch["input_ids"][:, 2:7]
    batch["input_ids"][:, 2:7] = 5
    first, again = model(**batch, labels=labels), model(**batch, labels=labels)
    swapped = model(**{name: value.flip(0) for name, value in batch.items()}, labels=labels.flip(0))
    assert torch.equal(first.disc_input_ids, again.disc_input_ids)
    assert torch.equal(first.disc_input_ids, swapped.disc_input_ids.flip(0))
    assert not torch.equal(first.disc_input_ids[0, 2:7], first.disc_input_ids[1, 2:7])


def test_samples_for_a_collators_masking_draw_from_the_originals_and_not_from_what_it_shows(
    make_model, make_batch, ids
):
    model, batch = make_model(), make_batch((12, 12))
    with torch.no_grad():  # the generator likes all tokens alike, whatever it reads
        model.generator.generator_predictions.LayerNorm.weight.zero_()
        model.generator.generator_predictions.LayerNorm.bias.zero_()
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, 2:9] = batch["input_ids"][:, 2:9]
    samples = []
    for shown in (ids.mask, ids.ordinary[3]):
        batch["input_ids"][:, 2:9] = shown
        samples.append(model(**batch, labels=labels).disc_input_ids)
    assert torch.equal(*samples)


def test_evaluation_neither_reads_nor_moves_the_global_generator(model, make_batch):
    batch, losses = make_batch(), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        losses.append(model(**batch).loss)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*losses)


def test_evaluation_does_not_depend_on_what_ran_before(model, make_batch):
    batch = make_batch()
    expected = model(**batch).loss
    model(**make_batch((5, 6), seed=9))
    model.train()(**batch)
    assert torch.equal(model.eval()(**batch).loss, expected)


def test_every_32_bit_seed_is_a_seed_of_its_own(make_model, make_batch):
    batch = make_batch((40, 30))
    masked = [make_model(eval_seed=seed)(**batch).masked_positions for seed in (0, 2**32 - 1, 2**31, -2)]
    assert all(not torch.equal(masked[i], masked[j]) for i in range(4) for j in range(i))


def test_another_eval_seed_gives_another_corruption_and_the_same_seed_the_same(make_model, make_batch):
    model, batch, seen = make_model(mask_prob=0.4), make_batch((30, 30)), set()
    for seed in (0, 1, 2, 1000, 2**31, 2**32 - 9, -1, -7):
        model.config.eval_seed = seed
        first, again = model(**batch), model(**batch)
        assert torch.equal(first.disc_input_ids, again.disc_input_ids)
        seen.add((str(first.masked_positions.tolist()), str(first.disc_input_ids.tolist())))
    assert len(seen) == 8
    assert len({positions for positions, _ in seen}) == 8


def test_different_examples_are_masked_differently(model, ids):
    torch.manual_seed(0)
    base = torch.tensor(ids.ordinary)[torch.randint(len(ids.ordinary), (40,))]
    one_changed = base.repeat(40, 1)
    one_changed[range(40), range(40)] = torch.where(base == ids.ordinary[0], ids.ordinary[1], ids.ordinary[0])
    rotated = torch.stack([base.roll(shift) for shift in range(40)])
    for name, rows in (("one token changed", one_changed), ("the same tokens in another order", rotated)):
        patterns = model(rows).masked_positions
        assert len({tuple(pattern) for pattern in patterns.tolist()}) == 40, name
        overlap = (patterns[0] & patterns[1:]).sum(-1).float().mean()
        assert 5 < overlap < 8, f"{name}: 16 of 40 twice share {overlap}, by chance 6.4"


def test_evaluation_numbers_are_uniform_and_their_uses_are_independent(make_model, ids):
    model = make_model(mask_prob=0.5, replace_prob=0.5, random_token_prob=0.0)
    with torch.no_grad():  # the generator likes all tokens alike
        model.generator.generator_predictions.LayerNorm.weight.zero_()
        model.generator.generator_predictions.LayerNorm.bias.zero_()
        model.generator.generator_lm_head.bias.zero_()
        torch.manual_seed(0)
        rows = torch.tensor(ids.ordinary)[torch.randint(len(ids.ordinary), (3000, 20))]
        rows[:, :10] = rows[0, :10]  # examples that begin alike
        output = model(rows)
    masked, becomes_mask = output.masked_positions, output.masked_input_ids == ids.mask
    number = 3000 * 10
    assert masked.sum() == number
    columns = masked.sum(0).float()
    assert ((columns - 1500).abs() < 4.5 * math.sqrt(3000 / 4)).all(), columns
    assert abs(becomes_mask.sum() - number / 2) < 4.5 * math.sqrt(number / 4)
    hidden_by_column = becomes_mask.sum(0) / columns
    assert ((hidden_by_column - 0.5).abs() < 4.5 * 0.5 / math.sqrt(1400)).all(), hidden_by_column
    # Samples: uniform over the vocabulary, over all masked tokens and over the two kinds of them.
    for kind in (masked & becomes_mask, masked & ~becomes_mask, masked & (torch.arange(20) < 10)):
        samples = output.disc_input_ids[kind]
        counts = samples.bincount(minlength=ids.vocab_size).float()
        expected = len(samples) / ids.vocab_size
        assert float(((counts - expected) ** 2 / expected).sum()) < 79 + 5 * math.sqrt(158)
    # Neighbours in a row draw their own numbers.
    both = masked[:, :-1] & masked[:, 1:]
    same = (output.disc_input_ids[:, :-1] == output.disc_input_ids[:, 1:])[both].float().mean()
    assert abs(same - 1 / 80) < 0.006


# ---- Training -------------------------------------------------------------------------------------------------------


def step(model, batch):
    output = model(**batch)
    return [
        output[name].detach().clone() for name in ("masked_positions", "masked_input_ids", "disc_input_ids", "loss")
    ]


def equal(one, other):
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.fixture
def training_model(make_model):
    return make_model(mask_prob=0.4, replace_prob=0.5, random_token_prob=0.3, dropout=0.1).train()


def test_training_follows_the_seed_and_two_steps_differ(training_model, make_batch):
    batch = make_batch((30, 20, 10))
    torch.manual_seed(5)
    first, second = step(training_model, batch), step(training_model, batch)
    torch.manual_seed(5)
    assert equal(step(training_model, batch), first)
    assert equal(step(training_model, batch), second)
    for name, mine, theirs in zip(("positions", "input", "samples", "loss"), first, second, strict=True):
        assert not torch.equal(mine, theirs), name


def test_training_goes_on_where_a_restored_generator_stood(training_model, make_batch):
    batch = make_batch((30, 20, 10))
    step(training_model, batch)
    state = torch.get_rng_state()
    expected = [step(training_model, batch) for _ in range(3)]
    torch.set_rng_state(state)
    assert all(equal(step(training_model, batch), one) for one in expected)


def test_training_draws_from_the_global_generator_alone(training_model, make_batch):
    batch = make_batch((30, 20, 10))
    torch.manual_seed(5)
    expected = step(training_model, batch)
    training_model.config.eval_seed = 77
    random.seed(123)
    torch.manual_seed(5)
    assert equal(step(training_model, batch), expected)


def test_equal_rows_of_a_training_batch_are_corrupted_differently(training_model, make_same_rows):
    output = training_model(make_same_rows(20, 30))
    assert len({tuple(row) for row in output.masked_positions.tolist()}) == 20


def test_evaluating_in_the_middle_of_training_leaves_no_trace(training_model, make_batch):
    batch = make_batch((30, 20, 10))
    torch.manual_seed(5)
    step(training_model, batch)
    expected = step(training_model, batch)
    torch.manual_seed(5)
    step(training_model, batch)
    step(training_model.eval(), batch)
    assert equal(step(training_model.train(), batch), expected)
