"""How the mini pair was pretrained: `examples/mini_pair`."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

from electra_rtd.train_tools.from_scratch import word_piece
from examples.mini_pair import packing, training
from examples.mini_pair.neighbours import count_neighbours, embeddings_of_neighbours
from examples.mini_pair.tokens import Tokens, read_tokens
from examples.mini_pair.training import Phase, masked_language_model, pair_from, train


SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
CPU = torch.device("cpu")


def tokens_of(rows, held_out=()):
    """Rows of token ids of a vocabulary of 40."""
    held_out = np.array(held_out, dtype=int)
    lengths = np.array([len(row) for row in rows])
    train = np.setdiff1d(np.arange(len(rows)), held_out)
    return Tokens([np.array(row) for row in rows], lengths, train, held_out, 40, SPECIAL)


@pytest.fixture
def tokens():
    """Sentences of random length, a few of them held out."""
    random = np.random.RandomState(0)
    rows = [[2, *random.randint(5, 40, size=random.randint(3, 9)), 3] for _ in range(30)]
    return tokens_of(rows, held_out=range(6))


@pytest.fixture
def small(monkeypatch):
    """Networks of two layers."""
    for name, value in {"LAYERS": 2, "HIDDEN": 16, "EMBEDDING": 8, "HEADS": 2, "SAVE_EVERY": 4}.items():
        monkeypatch.setattr(training, name, value)


def test_an_epoch_has_every_training_row_once_and_no_batch_is_too_large(tokens):
    batches = tokens.epoch(seed=1, tokens=24, among=10)
    assert sorted(index for batch in batches for index in batch) == tokens.train.tolist()
    assert max(sum(tokens.lengths[index] for index in batch) for batch in batches) <= 24
    assert tokens.epoch(1, 24, 10) == batches
    assert tokens.epoch(2, 24, 10) != batches


def test_a_batch_is_padded_and_says_where(tokens):
    batch = tokens_of([[2, 7, 3], [2, 8, 9, 3]]).batch([0, 1])
    assert batch["input_ids"].tolist() == [[2, 7, 3, 0], [2, 8, 9, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_neighbours_are_counted_by_distance_within_a_row_and_not_in_held_out_text():
    counts = count_neighbours(tokens_of([[2, 5, 6, 7, 3], [2, 7, 3], [2, 5, 9, 3]], held_out=[2]))
    expected = np.zeros((40, 40))
    for one, other, weight in [(5, 6, 1.0), (6, 7, 1.0), (5, 7, 0.5)]:
        expected[one, other] = expected[other, one] = weight
    np.testing.assert_array_equal(counts, expected)


def test_words_with_the_same_neighbours_get_similar_embeddings():
    # 10 and 11 stand where the other could; 12 does not.
    rows = [[2, 20, word, 21, 3] for word in (10, 11)] * 5 + [[2, 30, 12, 31, 3]] * 5 + [[2, 25, 26, 27, 3]] * 5
    vectors = torch.nn.functional.normalize(embeddings_of_neighbours(tokens_of(rows), size=4), dim=1)
    assert vectors[10] @ vectors[11] > 0.9
    assert vectors[10] @ vectors[12] < 0.5


def test_the_masked_model_begins_with_the_frequencies_of_the_training_text(small, tokens):
    model = masked_language_model(tokens, torch.full((40, 8), 0.5))
    assert model.generator.get_input_embeddings().weight.eq(0.5).all()
    counts = np.bincount(np.concatenate([tokens.rows[index] for index in tokens.train]), minlength=40) + 1
    share = model.generator.generator_lm_head.bias.softmax(0)
    torch.testing.assert_close(share, torch.from_numpy(counts / counts.sum()).float())


def test_the_pair_starts_from_what_masked_language_modelling_taught(small, tokens):
    masked = masked_language_model(tokens, torch.randn(40, 8))
    pair = pair_from(masked, tokens, generator_layers=1)
    encoder, learnt = pair.discriminator.electra.state_dict(), masked.generator.electra.state_dict()
    assert encoder.keys() == learnt.keys()
    assert all(torch.equal(encoder[name], learnt[name]) for name in learnt)
    generator = pair.generator.state_dict()
    assert all(torch.equal(weights, masked.generator.state_dict()[name]) for name, weights in generator.items())
    assert {name.split(".")[3] for name in generator if name.startswith("electra.encoder.layer.")} == {"0"}
    assert pair.generator.get_input_embeddings().weight is pair.discriminator.get_input_embeddings().weight


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(small, tokens, tmp_path):
    phase = Phase("masked", steps=8, learning_rate=1e-2, warmup=2, tokens=40)
    (tmp_path / "once").mkdir()
    (tmp_path / "twice").mkdir()
    once = masked_language_model(tokens, torch.ones(40, 8))
    torch.manual_seed(1)
    assert train(once, tokens, phase, tmp_path / "once", CPU)
    twice = masked_language_model(tokens, torch.ones(40, 8))
    torch.manual_seed(1)
    assert not train(twice, tokens, phase, tmp_path / "twice", CPU, stop=0)  # after a step
    resumed = masked_language_model(tokens, torch.zeros(40, 8))
    assert train(resumed, tokens, phase, tmp_path / "twice", CPU)
    differing = [
        name for name, weights in once.named_parameters() if not torch.equal(weights, resumed.get_parameter(name))
    ]
    assert differing == []


def test_the_rate_rises_to_its_height_and_falls_to_nothing():
    phase = Phase("masked", steps=10, learning_rate=1.0, warmup=2)
    assert [phase.rate(step) for step in (0, 1, 2, 6, 10)] == [0.5, 1.0, 1.0, 0.5, 0.0]


@pytest.fixture
def work(tmp_path):
    """A folder with a tokenizer of 40 entries."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(35))]
    word_piece(names, do_lower_case=False, strip_accents=False).save_pretrained(tmp_path / "work" / "tokenizer")
    return tmp_path / "work"


def test_the_packed_pair_loads_without_code_of_its_own(small, tokens, work, tmp_path):
    pair = pair_from(masked_language_model(tokens, torch.randn(40, 8)), tokens, generator_layers=1)
    expected = {name: weights.half() for name, weights in pair.state_dict().items()}
    packing.write_pair(pair, work, tmp_path / "pair", "mlm_loss 1.0")
    loaded = AutoModel.from_pretrained(tmp_path / "pair", torch_dtype=torch.float16)
    assert all(torch.equal(weights, expected[name]) for name, weights in loaded.state_dict().items())
    assert not list((tmp_path / "pair").glob("*.py"))
    card = (tmp_path / "pair" / "README.md").read_text(encoding="utf-8")
    assert "mlm_loss 1.0" in card
    assert "CC0 1.0" in card


def test_a_pair_that_float16_cannot_hold_or_that_is_too_large_is_not_packed(
    small, tokens, work, tmp_path, monkeypatch
):
    pair = pair_from(masked_language_model(tokens, torch.randn(40, 8)), tokens, generator_layers=1)
    monkeypatch.setattr(packing, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="1,000 are allowed"):
        packing.write_pair(pair, work, tmp_path / "pair", "")
    pair.float().discriminator.electra.embeddings_project.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"float16 cannot hold .*embeddings_project"):
        packing.write_pair(pair, work, tmp_path / "pair", "")
    assert not list((tmp_path / "pair").glob("*"))


def test_token_ids_are_read_as_they_were_written(tokens, tmp_path):
    ids, lengths = np.concatenate(tokens.rows).astype(np.uint16), tokens.lengths.astype(np.uint16)
    np.savez_compressed(tmp_path / "tokens.npz", ids=ids, lengths=lengths, size=40, **SPECIAL)
    read = read_tokens(tmp_path)
    assert [row.tolist() for row in read.rows] == [row.tolist() for row in tokens.rows]
    assert read.special == SPECIAL
