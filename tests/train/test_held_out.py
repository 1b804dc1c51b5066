"""`held_out.json`: classes of tokens, a table of tokens, and what a generator would know by frequencies alone."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from electra_rtd.train_tools import RTDMetricsCallback
from electra_rtd.train_tools.counts import COLUMNS, DETAILED, HeldOutStatistics, frequent_ids, script_of
from electra_rtd.train_tools.held_out import HeldOut, describe_held_out, frequency_loss, token_counts


@pytest.mark.parametrize(
    ("token", "script"),
    [
        ("학교", "korean"),
        ("##에서", "korean"),
        ("k팝", "korean"),
        ("ㅋㅋ", "korean"),
        ("\u1112\u1161\u11ab", "korean"),  # decomposed
        ("model", "latin"),
        ("##é2", "latin"),
        ("\uff21", "latin"),  # full width
        ("2024", "digit"),
        ("##7", "digit"),
        ("3.5", "other"),
        ("漢字", "other"),
        ("日2", "other"),
        ("?", "other"),
        ("##", "other"),
    ],
)
def test_a_token_belongs_to_the_script_it_is_written_in(token, script):
    assert script_of(token) == script


def test_frequent_tokens_are_the_fewest_that_make_up_their_share():
    counts = torch.tensor([10, 0, 40, 30, 10, 10])
    assert frequent_ids(counts, share=0.7).tolist() == [False, False, True, True, False, False]
    assert frequent_ids(counts, share=0.71).tolist() == [True, False, True, True, False, False]  # the first of three
    assert frequent_ids(counts, share=1.0).tolist() == [True, False, True, True, True, True]
    assert not frequent_ids(torch.zeros(3, dtype=torch.long)).any()


@pytest.fixture
def described(make_trainer, tokenizer, rows):
    """held_out.json of an evaluation before and after a training, and the statistics behind it."""
    callback = RTDMetricsCallback(detailed=True, by_token=True)
    trainer = make_trainer(callbacks=[callback], eval_dataset=rows)
    found = []
    for _ in range(2):
        metrics = trainer.evaluate()
        found.append(HeldOut({name: metrics[f"eval_{name}"] for name in DETAILED}, callback.held_out))
        trainer.train()
    return json.loads(json.dumps(describe_held_out(*found, tokenizer), allow_nan=False)), found


def test_held_out_classes_part_the_ordinary_tokens_twice(described, tokenizer, ids):
    content, found = described
    for name, held_out in zip(("before", "after"), found, strict=True):
        classes = content[name]["classes"]
        assert list(classes) == ["frequent", "rare", "korean", "latin", "digit", "other"]
        table = held_out.statistics.table
        ordinary = dict(zip(COLUMNS, table[ids.ordinary].sum(dim=0).tolist(), strict=True))
        for parts in (("frequent", "rare"), ("korean", "latin", "digit", "other")):
            assert {column: sum(classes[part][column] for part in parts) for column in COLUMNS} == ordinary
        assert 0.8 <= classes["frequent"]["tokens"] / ordinary["tokens"] < 0.9
        marks = tokenizer.convert_tokens_to_ids([".", ",", "?"])
        assert classes["other"]["tokens"] == table[marks, 0].sum() > 0
        assert content[name]["disc_auc"] == held_out.figures["disc_auc"]
        assert sum(content[name]["calibration"]["count"]) == table[:, 0].sum()
    assert content["before"]["classes"] != content["after"]["classes"]


def test_held_out_tokens_are_the_ordinary_ones_that_occur_three_times_most_frequent_first(described, tokenizer, ids):
    content, found = described
    tokens, table = content["tokens"], found[1].statistics.table
    shown = tokenizer.convert_tokens_to_ids(tokens["token"])
    assert set(shown) == {token_id for token_id in ids.ordinary if table[token_id, 0] >= 3} < set(ids.ordinary)
    assert tokens["count"] == table[shown, 0].tolist() == sorted(tokens["count"], reverse=True)
    assert tokens["class"] == [script_of(token) for token in tokens["token"]]
    for name, held_out in zip(("before", "after"), found, strict=True):
        assert list(tokens[name]) == list(COLUMNS[1:])
        for column, values in tokens[name].items():
            assert values == held_out.statistics.table[shown, COLUMNS.index(column)].tolist(), column


def test_held_out_tokens_are_at_most_four_thousand(tokenizer):
    statistics = HeldOutStatistics(vocab_size=5000)
    statistics.table[:, 0] = 3
    held_out = HeldOut({}, statistics)
    many = SimpleNamespace(all_special_ids=[0], convert_ids_to_tokens=lambda ids: [f"t{one}" for one in ids])
    tokens = describe_held_out(held_out, held_out, many)["tokens"]
    assert tokens["token"] == [f"t{number}" for number in range(1, 4001)]


def test_incomplete_statistics_are_not_described(tokenizer):
    whole = HeldOut({}, HeldOutStatistics(vocab_size=80))
    assert describe_held_out(HeldOut({}, None), whole, tokenizer) is None
    assert describe_held_out(whole, HeldOut({}, None), tokenizer) is None


def test_the_loss_of_frequencies_is_that_of_the_training_text(ids):
    rows = Dataset.from_dict({"input_ids": [[5, 6, 5], [5, 6], [7], [5, 5, 5, 6]]})
    known = token_counts(rows, 10)
    assert known.tolist() == [0, 0, 0, 0, 0, 6, 3, 1, 0, 0]
    assert token_counts(rows, 10, most_rows=2).tolist() == [0, 0, 0, 0, 0, 2, 1, 1, 0, 0]  # every second row
    asked = torch.tensor([0, 0, 0, 0, 0, 3, 0, 0, 1, 0])
    # One of ten tokens is met once: a tenth of the weight is spread over all ten of the vocabulary.
    expected = -(3 * math.log(0.9 * 0.6 + 0.01) + math.log(0.01)) / 4
    assert frequency_loss(known, asked) == pytest.approx(expected, rel=1e-12)
    assert frequency_loss(known, torch.zeros_like(known)) == 0.0
    assert math.isfinite(frequency_loss(torch.zeros_like(known), asked))
