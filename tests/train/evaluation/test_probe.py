"""The linear probe of frozen features, and the floor of naive Bayes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ElectraModel

from electra_rtd.train_tools.evaluation.labels import Labels, Split, read_labels, split_labels
from electra_rtd.train_tools.evaluation.metrics import METRICS
from electra_rtd.train_tools.evaluation.probe import naive_bayes, probe


SHARED = Path(__file__).parents[4] / "shared" / "data"  # beside some checkouts
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not beside this checkout")
GOOD, BAD, OTHER = "좋다 크다 많다".split(), "작다 비 눈".split(), "나 너 우리 학교 책 산 강 바다".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def encoder(make_electra_config):
    torch.manual_seed(0)
    return ElectraModel(make_electra_config())


def rows(count=400):
    """Rows of class 1 hold a good word and those of class 0 a bad one, between others."""
    draw = np.random.default_rng(0)
    texts = []
    for row in range(count):
        words = [*draw.choice(OTHER, 1 + row % 5), draw.choice(GOOD if row % 2 else BAD)]
        texts.append(" ".join(draw.permutation(words)))
    return texts, [row % 2 for row in range(count)]


def split_of(kind):
    texts, targets = rows()
    third = slice(0, 300), slice(300, 350), slice(350, 400)
    names: tuple = ("bad", "good")
    if kind == "pair":
        texts = [(text, "나 너") for text in texts]
    elif kind == "regression":
        targets, names = [target + 0.01 * len(text) for target, text in zip(targets, texts, strict=True)], ()
    elif kind == "tokens":
        words = [text.split() for text in texts]
        texts, names = words, ("B-BAD", "B-GOOD", "O")
        targets = [[1 if word in GOOD else 0 if word in BAD else 2 for word in row] for row in words]
    return Split(*(Labels(kind, texts[part], targets[part], names) for part in third))


@pytest.mark.parametrize(("kind", "least"), [("single", 0.75), ("pair", 0.75), ("regression", 0.6), ("tokens", 0.9)])
def test_a_probe_finds_what_the_features_hold(encoder, tokenizer, kind, least):
    split = split_of(kind)
    probed = probe(encoder, tokenizer, split, max_length=32, batch_size=7)
    assert probed.scores[METRICS[kind][0]] >= least
    assert set(probed.scores) == set(probed.validation) == set(METRICS[kind])
    assert len(probed.predictions) == 50
    again = probe(encoder, tokenizer, split, max_length=32, batch_size=50)
    assert again.scores == pytest.approx(probed.scores)


def test_labels_drawn_by_lot_are_not_found(encoder, tokenizer):
    texts, _ = rows()
    targets = np.random.default_rng(1).permutation([row % 2 for row in range(400)]).tolist()
    labels = Labels("single", texts, targets, ("a", "b"))
    split = Split(labels.take(range(300)), labels.take(range(300, 350)), labels.take(range(350, 400)))
    assert probe(encoder, tokenizer, split, max_length=32).scores["accuracy"] < 0.7


def test_neither_padding_nor_special_tokens_are_features(encoder, tokenizer):
    """One text alone and beside a long one has one feature: what is predicted of it does not depend on company."""
    whole = split_of("single")
    split = Split(whole.train.take(range(40)), whole.validation.take(range(10)), whole.test.take(range(20)))
    alone, together = (
        probe(encoder, tokenizer, split, max_length=32, batch_size=size).predictions for size in (1, 50)
    )
    assert alone == together


def test_the_encoder_is_as_it_was(encoder, tokenizer):
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    encoder.train()
    probe(encoder, tokenizer, split_of("single"), max_length=32)
    assert encoder.training
    assert all(torch.equal(weight, before[name]) for name, weight in encoder.state_dict().items())
    encoder.eval()


def test_words_behind_the_last_token_are_outside_and_one_class_is_said_again(encoder, tokenizer):
    cut = probe(encoder, tokenizer, split_of("tokens"), max_length=4)
    assert all(tag == 2 for row in cut.predictions for tag in row[2:])
    split = split_of("single")
    few = Split(split.train.take([1, 3]), split.validation, split.test)
    assert probe(encoder, tokenizer, few, max_length=32).predictions == [1] * 50


def test_a_metric_of_another_task_is_refused(encoder, tokenizer):
    with pytest.raises(ValueError, match="`metric=f1`: the metrics of single are accuracy"):
        probe(encoder, tokenizer, split_of("single"), metric="f1")


def test_naive_bayes_is_for_classes_of_texts():
    assert naive_bayes(split_of("single")).scores["accuracy"] >= 0.75
    assert naive_bayes(split_of("pair")).scores["accuracy"] >= 0.75
    assert naive_bayes(split_of("regression")) is naive_bayes(split_of("tokens")) is None


@needs_shared
def test_naive_bayes_reaches_the_reference_point_of_reviews():
    train = read_labels(SHARED / "ko_nsmc/train.tsv").take(range(2000))
    test = read_labels(SHARED / "ko_nsmc/test.tsv")
    assert naive_bayes(split_labels(train, validation=test.take(range(10)), test=test)).scores["accuracy"] == (
        pytest.approx(0.780, abs=0.01)
    )


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "test", "accuracy", "macro_f1", "within"),
    [
        ("ko_book/book_category_train.csv", "ko_book/book_category_test.csv", 0.680, 0.580, 0.01),
        ("ko_question_pair/train.tsv", "ko_question_pair/test.tsv", 0.806, 0.781, 0.01),
        ("en_scicite/train.jsonl", "en_scicite/test.jsonl", 0.775, 0.749, 0.01),
        ("en_chemprot/train.jsonl", "en_chemprot/test.jsonl", 0.528, 0.290, 0.025),  # some classes have five rows
    ],
)
def test_naive_bayes_reaches_the_reference_points(train, test, accuracy, macro_f1, within):
    test = read_labels(SHARED / test)
    found = naive_bayes(split_labels(read_labels(SHARED / train), validation=test.take(range(10)), test=test)).scores
    assert found["accuracy"] == pytest.approx(accuracy, abs=within)
    assert found["macro_f1"] == pytest.approx(macro_f1, abs=within)
