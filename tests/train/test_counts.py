"""The counts behind the figures: of training since the last log, and of an evaluation."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from electra_rtd.train_tools.counts import (
    DETAILED,
    HeldOutStatistics,
    ReadBatch,
    TrainingStatistics,
    area_under_curve,
    largest_area_error,
)
from electra_rtd.train_tools.held_out import HeldOut, describe_held_out


# ---- In training ----


def test_a_constant_logit_that_moves_from_batch_to_batch_has_no_spread():
    statistics, labels = TrainingStatistics(), torch.tensor([[0, 1, 0], [0, 0, -100]])
    for logit in (-1.7, 3.0, 0.01):
        logits = torch.full((2, 3), logit).masked_fill(labels < 0, 0.0)  # as the model leaves its padding
        statistics.add(trained(labels, logits))
    figures, tokens = statistics.as_dict()
    assert figures["disc_logit_std"] < 1e-6 and tokens == 15
    assert figures["disc_auc"] == 0.5 and figures["replaced_share"] == 0.2


def test_the_statistics_of_two_devices_are_those_of_one():
    draw = torch.Generator().manual_seed(0)
    one, other, both = TrainingStatistics(), TrainingStatistics(), TrainingStatistics()
    for statistics in (one, other, other):
        labels = torch.randint(-1, 2, (4, 9), generator=draw).masked_fill(torch.rand(4, 9, generator=draw) < 0.2, -100)
        labels = labels.clamp(min=-100).where(labels != -1, torch.tensor(0))
        output = trained(labels, torch.randn(4, 9, generator=draw))
        statistics.add(output)
        both.add(output)
    one.absorb(other)
    assert one.as_dict() == both.as_dict() and both.as_dict()[1] > 60


def test_the_memory_of_training_does_not_grow():
    statistics = TrainingStatistics()
    sizes = {name: value.numel() for name, value in vars(statistics).items()}
    for _ in range(3):
        statistics.add(trained(torch.ones(4, 9, dtype=torch.long), torch.randn(4, 9)))
    assert {name: value.numel() for name, value in vars(statistics).items()} == sizes


def trained(labels, logits):
    """An output of the model in training, as far as it is counted."""
    called = (logits > 0).long()
    return SimpleNamespace(disc_labels=labels, disc_predictions=called, masked_positions=labels == 1, logits=logits)


# ---- In evaluation ----


def make_read(labels, logits, masked=None, best=((0,),), originals=None, mlm_loss=1.0):
    labels = torch.tensor(labels)
    masked = torch.zeros_like(labels, dtype=torch.bool) if masked is None else torch.tensor(masked)
    return ReadBatch(
        original_ids=torch.zeros_like(labels) if originals is None else torch.tensor(originals),
        masked_positions=masked,
        disc_labels=labels,
        disc_logits=torch.tensor(logits),
        mlm_loss=torch.tensor(mlm_loss),
        best_ids=torch.tensor(best).expand(int(masked.sum()), -1),
    )


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0, 100.0])
def test_the_area_under_the_curve_is_wrong_by_no_more_than_its_bound(scale):
    draw = torch.Generator().manual_seed(0)
    labels = (torch.rand(1, 600, generator=draw) < 0.2).long()
    logits = scale * (torch.randn(1, 600, generator=draw) + labels)
    statistics = HeldOutStatistics()
    statistics.add(make_read(labels.tolist(), logits.tolist()))
    higher = logits[labels == 1][:, None] - logits[labels == 0]  # all pairs; equal ones count half
    exact = ((higher > 0).double() + (higher == 0).double() / 2).mean().item()
    assert abs(statistics.auc - exact) <= statistics.auc_error + 1e-12
    assert 0 < statistics.auc_error < 0.5
    assert statistics.auc_error < 1e-3 or scale in (0.01, 100.0)  # all in a few bins, or beyond the outermost


def test_pairs_in_one_bin_count_half_and_make_the_bound():
    histogram = torch.tensor([[2, 0, 2], [0, 1, 3]])
    # Of 16 pairs: the one in the middle beats 2; the three above beat 2 each, and 2 each count half.
    assert area_under_curve(histogram) == (2 + 6 + 3) / 16
    assert largest_area_error(histogram) == 6 / 16 / 2
    assert area_under_curve(histogram.new_tensor([[0, 0], [1, 2]])) == 0.5
    assert largest_area_error(histogram.new_tensor([[3, 1], [0, 0]])) == 0


def test_shares_of_nothing_are_zero_in_evaluation_and_the_area_is_a_half():
    statistics = HeldOutStatistics()
    statistics.add(make_read([[0, 0, -100]], [[-1.0, -2.0, 5.0]]))
    expected = dict.fromkeys(DETAILED, 0.0) | {"disc_auc": 0.5, "gen_perplexity": 1.0}
    assert statistics.as_dict() == expected
    assert statistics.totals.tolist() == [2, 0, 0, 0, 0, 0, 0]


def test_a_run_that_broke_down_is_counted_and_stays_valid_json():
    statistics = HeldOutStatistics(vocab_size=4)
    labels, nan, inf = [[1, 0, 0]], float("nan"), float("inf")
    statistics.add(make_read(labels, [[nan, inf, -inf]], masked=[[True, False, False]], mlm_loss=1e9))
    figures = statistics.as_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["gen_perplexity"] == math.exp(700)
    assert figures["disc_recall"] == 0 and statistics.totals.tolist() == [3, 1, 1, 1, 1, 0, 1]
    statistics.add(make_read(labels, [[0.0, 0.0, 0.0]], masked=[[True, False, False]], mlm_loss=nan))
    before = HeldOut({"gen_perplexity": statistics.as_dict()["gen_perplexity"]}, statistics)
    tokenizer = SimpleNamespace(all_special_ids=[], convert_ids_to_tokens=lambda ids: ["a" for _ in ids])
    assert describe_held_out(before, before, tokenizer)["before"]["gen_perplexity"] is None


def test_rows_that_fill_up_a_batch_are_left_out(make_model, make_batch):
    model, whole = make_model(mask_prob=0.4), make_batch((12, 9, 9, 5))
    with torch.no_grad():
        read = [read_by(model, whole), read_by(model, {name: value[:2] for name, value in whole.items()})]
    statistics = [HeldOutStatistics(vocab_size=80), HeldOutStatistics(vocab_size=80)]
    statistics[0].add(read[0], rows=2)
    statistics[1].add(read[1])
    assert torch.equal(statistics[0].table, statistics[1].table) and statistics[1].table.sum() > 20
    assert statistics[0].auc == statistics[1].auc
    assert statistics[0].calibration() == statistics[1].calibration()
    statistics[1].add(read[0], rows=0)
    assert torch.equal(statistics[0].table, statistics[1].table)


def read_by(model, batch):
    output = model(**batch)
    generated = model.generator(output.masked_input_ids, attention_mask=batch["attention_mask"]).logits
    best = generated[output.masked_positions].topk(5).indices
    fields = output.masked_positions, output.disc_labels, output.logits, output.mlm_loss
    return ReadBatch(batch["input_ids"], *fields, best_ids=best)


def test_what_stands_in_padding_makes_no_difference_to_the_table():
    statistics = HeldOutStatistics(vocab_size=4)
    statistics.add(make_read([[0, -100, -100]], [[1.0, 2.0, 3.0]], originals=[[3, 10**6, -1]]))
    assert statistics.table.nonzero().tolist() == [[3, 0], [3, 6]]


def test_memory_does_not_grow_with_the_text():
    def size(statistics):
        return sum(value.numel() for value in vars(statistics).values())

    statistics = HeldOutStatistics(vocab_size=80)
    before = size(statistics)
    for _ in range(3):
        statistics.add(make_read([[0] * 500], [[0.1] * 500]))
    assert size(statistics) == before and statistics.totals[0] == 1500


def test_calibration_counts_tokens_by_their_probability():
    statistics = HeldOutStatistics()
    probabilities = torch.tensor([0.01, 0.03, 0.51, 0.52, 0.999])
    labels = [[0, 1, 1, 0, 1, -100]]
    statistics.add(make_read(labels, [[*torch.logit(probabilities).tolist(), 0.2]]))
    calibration = statistics.calibration()
    assert calibration["edges"] == pytest.approx([0.05 * edge for edge in range(21)])
    assert calibration["count"] == [2] + [0] * 9 + [2] + [0] * 8 + [1]
    assert calibration["replaced"] == [1] + [0] * 9 + [1] + [0] * 8 + [1]
    means = calibration["mean_probability"]
    assert [means[0], means[10], means[19]] == pytest.approx([0.02, 0.515, 0.999]) and means.count(None) == 17
