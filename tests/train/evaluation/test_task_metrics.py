"""Scores of a task against figures counted by hand, and what counts as a collapse."""

import pytest

from electra_rtd.train_tools.evaluation import extra
from electra_rtd.train_tools.evaluation.metrics import METRICS, collapsed, score


TAGS = ("O", "B-X", "I-X", "B-Y", "E-X", "S-Y")


def test_classes_have_accuracy_and_two_f1():
    # Right: 0, 0, 1. F1: class 0 is 2*2/(3+2), class 1 is 2*1/(2+2), class 2 is 0.
    scores = score("single", [0, 0, 0, 1, 1], [0, 0, 1, 1, 2], ("a", "b", "c"))
    assert scores == pytest.approx({"accuracy": 0.6, "macro_f1": (0.8 + 0.5 + 0) / 3, "micro_f1": 0.6})


def test_entities_count_whole():
    # Wanted: X over three words, Y, Y. Said: X over two words (wrong), Y (right).
    scores = score("tokens", [[1, 2, 0, 3], [0]], [[1, 2, 2, 3], [5]], TAGS)
    assert scores == pytest.approx({"f1": 2 * 1 / (2 + 3), "precision": 1 / 2, "recall": 1 / 3})
    assert score("tokens", [[1, 4, 5]], [[1, 4, 5]], TAGS)["f1"] == 1
    assert score("tokens", [[0, 0, 0]], [[1, 4, 5]], TAGS) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


def test_a_scale_has_correlations_of_ranks_and_of_numbers():
    scores = score("regression", [1.0, 2.0, 9.0], [0.0, 1.0, 2.0])
    assert scores["spearman"] == pytest.approx(1)
    assert scores["pearson"] == pytest.approx(8 / (2 * 38) ** 0.5)


@pytest.mark.parametrize("predictions", [[1.0, 1.0, 1.0], [1.0, float("nan"), 2.0], [1.0, 1.0 + 1e-9, 1.0]])
def test_a_correlation_that_does_not_exist_is_0(predictions):
    assert score("regression", predictions, [0.0, 1.0, 2.0]) == {"spearman": 0.0, "pearson": 0.0}


def test_every_kind_has_all_its_metrics():
    given = {"single": [0, 1], "pair": [0, 1], "regression": [0.0, 1.0], "tokens": [[0], [1]]}
    for kind, names in METRICS.items():
        assert tuple(score(kind, given[kind], given[kind], TAGS)) == names


@pytest.mark.parametrize(
    ("kind", "predictions", "targets", "reason"),
    [
        ("single", [1, 1, 1], [0, 1, 0], "one class for all rows (B-X)"),
        ("pair", [1] * 399 + [0], [0, 1] * 200, "one class for all but 1 of 400 rows (B-X)"),
        ("regression", [0.5, 0.5, 0.5], [0.0, 1.0, 2.0], "the same number for all rows"),
        ("regression", [0.5, float("inf"), 1], [0.0, 1.0, 2.0], "numbers that are not finite"),
        ("tokens", [[0, 0], [0]], [[0, 1], [0]], "one tag for all words (O)"),
    ],
)
def test_a_collapse_is_named(kind, predictions, targets, reason):
    assert collapsed(kind, predictions, targets, TAGS) == reason


@pytest.mark.parametrize(
    ("kind", "predictions", "targets"),
    [
        ("single", [1, 1, 0], [0, 1, 0]),
        ("single", [1, 1, 1], [1, 1, 1]),  # nothing else was there to say
        ("single", [1] * 99 + [0], [1] * 98 + [0] * 2),  # a rare class is hard to find
        ("single", [1] * 98 + [0] * 2, [0, 1] * 50),
        ("regression", [0.5, 0.4, 0.5], [0.0, 1.0, 2.0]),
        ("tokens", [[0, 1], [0]], [[0, 1], [0]]),
        ("tokens", [[0, 0], [0]], [[0, 0], [0]]),
    ],
)
def test_a_weak_answer_is_no_collapse(kind, predictions, targets):
    assert collapsed(kind, predictions, targets, TAGS) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("single", [1], [1, 0]), "1 predictions for 2 rows"),
        (("single", [], []), "0 predictions for 0 rows"),
        (("tokens", [[0], [0]], [[0], [0, 1]], TAGS), "Row 1: 1 predicted tags for 2 words"),
        (("words", [1], [1]), "`kind=words`: the kinds of task are single, pair"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        score(*arguments)


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(extra, "import_module", missing)
    with pytest.raises(ValueError, match="needs scikit-learn: `pip install scikit-learn seqeval`"):
        score("single", [1], [1])
