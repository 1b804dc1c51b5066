"""RTDMetricsCallback's figures beside the losses, against counts made one token at a time in plain Python."""

import copy
import json
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, EarlyStoppingCallback, Trainer, TrainerCallback

from electra_rtd import objective_electra_rtd as objective
from electra_rtd.train_tools import RTDMetricsCallback
from electra_rtd.train_tools.counts import (
    COLUMNS,
    DETAILED,
    HeldOutStatistics,
    ReadBatch,
    TrainingStatistics,
    area_under_curve,
    frequent_ids,
    largest_area_error,
    script_of,
)
from electra_rtd.train_tools.held_out import HeldOut, describe_held_out, frequency_loss, token_counts


EVAL = [f"eval_{name}" for name in DETAILED]


@pytest.fixture(scope="module")
def rows(ids):
    """24 ragged sequences between [CLS] and [SEP], of a few words more than of others."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.arange(1, len(ids.ordinary) + 1).float() ** -1
    sequences = []
    for row in range(24):
        words = torch.multinomial(weights, 4 + 5 * (row % 4), replacement=True, generator=draw)
        sequences.append([ids.cls, *(ids.ordinary[word] for word in words), ids.sep])
    return Dataset.from_dict({"input_ids": sequences})


@pytest.fixture
def make_trainer(make_model, make_arguments, rows, tokenizer):
    def make(model=None, callbacks=None, collator=None, eval_dataset=None, **arguments):
        return Trainer(
            model=model if model is not None else make_model(mask_prob=0.4),
            args=make_arguments(**arguments),
            data_collator=collator,
            train_dataset=rows.select(range(16)),
            eval_dataset=rows.select(range(16, 24)) if eval_dataset is None else eval_dataset,
            processing_class=tokenizer,
            callbacks=[RTDMetricsCallback(detailed=True)] if callbacks is None else callbacks,
        )

    return make


# ---- By hand ----


@torch.no_grad()
def tokens_by_hand(model, sequences):
    """What happened to each token of each sequence, one sequence at a time: eval mode corrupts it alike anywhere."""
    model.eval()
    tokens = []
    for sequence in sequences:
        output = model(torch.tensor([sequence]))
        read = model.generator(output.masked_input_ids).logits[0]  # (L, V)
        for column, original in enumerate(sequence):
            order = read[column].argsort(descending=True).tolist()
            tokens.append(
                SimpleNamespace(
                    original=original,
                    masked=bool(output.masked_positions[0, column]),
                    cross_entropy=-torch.log_softmax(read[column], dim=-1)[original].item(),
                    rank=order.index(original),
                    replaced=int(output.disc_input_ids[0, column]) != original,
                    logit=output.logits[0, column].item(),
                )
            )
    return tokens


def pairs_in_order(positives, negatives):
    """The share of pairs whose positive is the higher; equal ones count half."""
    won = sum((high > low) + (high == low) / 2 for high in positives for low in negatives)
    return won / (len(positives) * len(negatives))


def figures_by_hand(tokens):
    masked = [token for token in tokens if token.masked]
    replaced = [token for token in tokens if token.replaced]
    called = [token for token in tokens if token.logit > 0]
    caught = [token for token in replaced if token.logit > 0]
    precision, recall = len(caught) / len(called), len(caught) / len(replaced)
    return {
        "disc_precision": precision,
        "disc_recall": recall,
        "disc_f1": 2 * precision * recall / (precision + recall),
        "disc_auc": pairs_in_order(
            [token.logit for token in replaced], [token.logit for token in tokens if not token.replaced]
        ),
        "gen_perplexity": math.exp(sum(token.cross_entropy for token in masked) / len(masked)),
        "gen_top1": sum(token.rank == 0 for token in masked) / len(masked),
        "gen_top5": sum(token.rank < 5 for token in masked) / len(masked),
        "lucky_hits": sum(not token.replaced for token in masked) / len(masked),
        "replaced_share": len(replaced) / len(tokens),
    }


def table_by_hand(tokens, vocab_size):
    table = [[0] * len(COLUMNS) for _ in range(vocab_size)]
    for token in tokens:
        called = token.logit > 0
        counts = (
            True,
            token.masked,
            token.masked and token.rank == 0,
            token.masked and token.rank < 5,
            token.replaced,
            token.replaced and called,
            called and not token.replaced,
        )
        for column, count in enumerate(counts):
            table[token.original][column] += count
    return table


# ---- In training ----


class Spy(TrainerCallback):
    """Keeps the outputs of every forward in training."""

    def __init__(self, model):
        self.outputs, self.logged = [], []
        model.register_forward_hook(lambda module, arguments, output: self.outputs.append(output))

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.logged.append((dict(logs), self.outputs.copy()))
            self.outputs.clear()


def test_training_logs_shares_of_all_tokens_since_the_last_log(make_trainer, make_model):
    model = make_model(mask_prob=0.4)
    spy = Spy(model)
    # 4 batches an epoch, of unequal size: with 3 to a step, every second step has one batch alone.
    make_trainer(model, callbacks=[RTDMetricsCallback(), spy], gradient_accumulation_steps=3).train()
    assert [len(outputs) for _, outputs in spy.logged] == [4, 4, 4]
    for name in ("disc_recall", "lucky_hits"):
        assert any(0 < logs[name] < 1 for logs, _ in spy.logged), name
    for logs, outputs in spy.logged:
        tokens = [
            token
            for output in outputs
            for token in zip(
                output.disc_labels.flatten().tolist(),
                output.disc_predictions.flatten().tolist(),
                output.masked_positions.flatten().tolist(),
                strict=True,
            )
            if token[0] >= 0
        ]
        replaced = [token for token in tokens if token[0] == 1]
        masked = [token for token in tokens if token[2]]
        assert logs["disc_recall"] == sum(token[1] for token in replaced) / len(replaced)
        assert logs["lucky_hits"] == sum(token[0] == 0 for token in masked) / len(masked)
        assert logs["replaced_share"] == len(replaced) / len(tokens)


def test_training_logs_the_area_and_the_spread_of_the_logits_since_the_last_log(make_trainer, make_model):
    model = make_model(mask_prob=0.4)
    spy = Spy(model)
    make_trainer(model, callbacks=[RTDMetricsCallback(), spy], gradient_accumulation_steps=3).train()
    assert len(spy.logged) == 3
    for logs, outputs in spy.logged:
        batches = [output.logits.detach()[output.disc_labels >= 0] for output in outputs]
        logits = torch.cat(batches)
        labels = torch.cat([output.disc_labels[output.disc_labels >= 0] for output in outputs])
        exact = pairs_in_order(logits[labels == 1].tolist(), logits[labels == 0].tolist())
        assert logs["disc_auc"] == pytest.approx(exact, abs=2e-3) and 0.2 < exact < 0.8
        # Of the logits of all batches, each around the mean of its own.
        within = torch.cat([batch - batch.mean() for batch in batches])
        assert logs["disc_logit_std"] == pytest.approx(within.std(correction=0).item(), rel=1e-5)
        assert logs["disc_logit_std"] < 0.9999 * logits.std(correction=0).item()  # which counts the drift too


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


def test_a_share_of_nothing_is_left_out_in_training(make_trainer, make_model, ids):
    word, model = ids.ordinary[3], make_model()
    with torch.no_grad():
        model.generator.generator_lm_head.bias[word] += 1e4  # puts the only word back, always
    trainer = make_trainer(model, max_steps=1, logging_steps=1)
    trainer.train_dataset = Dataset.from_dict({"input_ids": [[ids.cls, word, word, ids.sep]] * 4})
    trainer.train()
    logs = trainer.state.log_history[0]
    assert logs["lucky_hits"] == 1 and logs["replaced_share"] == 0 and not {"disc_recall", "disc_auc"} & logs.keys()
    trainer.train_dataset = Dataset.from_dict({"input_ids": [[ids.cls, ids.sep]] * 4})
    trainer.train()
    logs = trainer.state.log_history[0]
    assert logs["replaced_share"] == 0 and not {"lucky_hits", "disc_recall", "disc_auc"} & logs.keys()
    assert logs["mlm_loss"] == 0 and logs["disc_logit_std"] > 0


def test_details_change_nothing_in_training(make_trainer, make_model):
    detailed, without = make_model(dropout=0.1), make_model(dropout=0.1)
    make_trainer(detailed, eval_strategy="steps", eval_steps=2).train()
    make_trainer(without, callbacks=[], eval_strategy="steps", eval_steps=2).train()
    for (name, ours), theirs in zip(detailed.named_parameters(), without.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


# ---- In evaluation ----


def assert_figures(metrics, prefix, expected, statistics):
    """All exact, but for the area under the curve, which is as near as it says."""
    assert abs(metrics[f"{prefix}disc_auc"] - expected["disc_auc"]) <= statistics.auc_error + 1e-12 < 2e-3
    for name in set(DETAILED) - {"disc_auc"}:
        assert metrics[f"{prefix}{name}"] == pytest.approx(expected[name], rel=1e-4), name


@pytest.mark.parametrize(("at_once", "batch_size"), [(10**6, 5), (3, 5), (3, 1)])
def test_figures_of_an_evaluation_are_those_counted_by_hand(make_trainer, monkeypatch, ids, at_once, batch_size):
    monkeypatch.setattr(objective, "LOGITS_AT_ONCE", {"cpu": at_once * ids.vocab_size})
    callback = RTDMetricsCallback(detailed=True, by_token=True)
    trainer = make_trainer(callbacks=[callback], per_device_eval_batch_size=batch_size)
    metrics = trainer.evaluate()
    tokens = tokens_by_hand(trainer.model, trainer.eval_dataset["input_ids"])
    expected = figures_by_hand(tokens)
    assert_figures(metrics, "eval_", expected, callback.held_out)
    assert trainer.state.log_history[-1].items() >= {name: metrics[name] for name in EVAL}.items()
    assert callback.held_out.table.tolist() == table_by_hand(tokens, ids.vocab_size)
    # Something to tell apart: no figure is at its end.
    assert all(0 < expected[name] < 1 for name in DETAILED if name != "gen_perplexity")
    assert expected["gen_top1"] < expected["gen_top5"]


def test_a_masking_collator_is_counted_by_the_originals_in_its_labels(make_trainer, tokenizer, ids):
    sequences = [[ids.cls, *ids.ordinary[:20], ids.sep]] * 8
    callback = RTDMetricsCallback(detailed=True, by_token=True)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)
    trainer = make_trainer(
        callbacks=[callback],
        collator=collator,
        eval_dataset=Dataset.from_dict({"input_ids": sequences}),
        remove_unused_columns=False,
    )
    with torch.no_grad():  # the first choices are always these five
        trainer.model.generator.generator_lm_head.bias[ids.ordinary[:5]] += 1e4
    trainer.evaluate()
    table = callback.held_out.table
    assert table[:, 0].tolist() == [8 * (token_id in sequences[0]) for token_id in range(ids.vocab_size)]
    masked = table[:, 1]
    assert masked[ids.ordinary].sum() == masked.sum() > 8 * 20 * 0.3
    top5 = torch.zeros_like(masked)
    top5[ids.ordinary[:5]] = masked[ids.ordinary[:5]]
    assert table[:, 3].tolist() == top5.tolist() and top5.sum() > 0


def test_without_details_an_evaluation_has_the_parts_alone(make_trainer):
    metrics = make_trainer(callbacks=[RTDMetricsCallback()]).evaluate()
    assert not set(EVAL) & metrics.keys() and "eval_mlm_loss" in metrics
    with pytest.raises(ValueError, match=r"by_token.*detailed"):
        RTDMetricsCallback(by_token=True)


def test_predict_and_several_eval_sets_have_their_own_figures(make_trainer, rows):
    sets = {"first": rows.select(range(8)), "second": rows.select(range(8, 24))}
    callback = RTDMetricsCallback(detailed=True)
    trainer = make_trainer(eval_dataset=sets, callbacks=[callback])
    metrics = trainer.evaluate()
    for name, dataset in sets.items():
        expected = figures_by_hand(tokens_by_hand(trainer.model, dataset["input_ids"]))
        assert_figures(metrics, f"eval_{name}_", expected, callback.held_out)
    predicted = trainer.predict(sets["first"]).metrics
    assert predicted["test_disc_f1"] == metrics["eval_first_disc_f1"]


def test_compute_metrics_gets_what_the_docs_say_that_it_gets(make_trainer):
    received = []

    def compute_metrics(prediction):
        logits, labels = prediction.predictions
        received.append((logits.shape, labels.shape, prediction.label_ids))
        is_token = labels >= 0
        return {"plain_accuracy": float(((logits > 0) == (labels == 1))[is_token].mean())}

    trainer = make_trainer(per_device_eval_batch_size=3)
    trainer.compute_metrics = compute_metrics
    metrics = trainer.evaluate()
    longest = max(map(len, trainer.eval_dataset["input_ids"]))
    assert received == [((8, longest), (8, longest), ())]
    tokens = tokens_by_hand(trainer.model, trainer.eval_dataset["input_ids"])
    right = sum((token.logit > 0) == token.replaced for token in tokens) / len(tokens)
    assert metrics["eval_plain_accuracy"] == pytest.approx(right)


class Intruder(TrainerCallback):
    """Asks the bare model of other text in the middle of an evaluation, as a callback that shows samples does."""

    def __init__(self, others, ids):
        self.others, self.ids = others, ids

    def on_prediction_step(self, args, state, control, model=None, **kwargs):
        with torch.no_grad():
            model(self.others)
            model(self.others, return_loss=False)
            model.generator.generator_lm_head(torch.randn(3, model.config.generator_config.embedding_size))
            with pytest.raises(ValueError, match="input_ids"):
                model(self.others + self.ids.vocab_size)
            model.generator.generator_lm_head(torch.randn(3, model.config.generator_config.embedding_size))


def test_forwards_of_others_do_not_count(make_trainer, rows, ids):
    alone = make_trainer().evaluate()
    others = torch.tensor([rows[3]["input_ids"]])
    trainer = make_trainer(callbacks=[RTDMetricsCallback(detailed=True), Intruder(others, ids)])
    trainer.model.eval()(others)
    disturbed = trainer.evaluate()
    assert {name: disturbed[name] for name in EVAL} == {name: alone[name] for name in EVAL}


def test_no_choices_are_kept_of_who_asks_the_head_alone_or_of_a_forward_that_broke_off(make_trainer, rows, ids):
    callback = RTDMetricsCallback(detailed=True)
    model, batch = make_trainer(callbacks=[callback]).model.eval(), torch.tensor([rows[3]["input_ids"]])
    model(batch)
    model.generator.generator_lm_head(torch.randn(3, model.config.generator_config.embedding_size))
    assert callback._best == {}
    with pytest.raises(ValueError, match="input_ids"):
        model(batch + ids.vocab_size)
    model(batch)
    assert callback._best == {}


def test_an_evaluation_that_broke_off_does_not_count(make_trainer, rows):
    trainer = make_trainer()
    first = trainer.evaluate()
    with pytest.raises(ValueError, match="input_ids"):
        trainer.evaluate([{"input_ids": rows[0]["input_ids"]}] * 5 + [{"input_ids": [10**6]}])
    second = trainer.evaluate()
    assert {name: second[name] for name in EVAL} == {name: first[name] for name in EVAL}


def test_figures_of_part_of_an_evaluation_are_never_reported(make_trainer):
    trainer, callback = make_trainer(callbacks=[]), RTDMetricsCallback(detailed=True)
    trainer.add_callback(callback)
    first = trainer.evaluate()
    assert not set(EVAL) & first.keys() and callback.held_out is None
    second = trainer.evaluate()
    assert set(EVAL) <= second.keys() and callback.held_out.totals[0] > 0


def test_what_a_batch_does_not_show_is_not_taken_from_the_batch_before(make_trainer):
    callback = RTDMetricsCallback(detailed=True)
    trainer = make_trainer(callbacks=[callback], per_device_eval_batch_size=2)
    whole, calls = trainer.evaluate(), []
    head = trainer.model.generator.generator_lm_head
    stop = SimpleNamespace(at=None)

    class Deafen(TrainerCallback):
        def on_prediction_step(self, args, state, control, **kwargs):
            calls.append(1)
            if len(calls) == 2:  # from the third batch on, somebody has taken the hooks away
                stop.at._forward_hooks.clear()

    trainer.add_callback(Deafen())
    stop.at = head
    metrics = trainer.evaluate()
    assert metrics["eval_mlm_loss"] == whole["eval_mlm_loss"] and not set(EVAL) & metrics.keys()
    assert callback.held_out is None
    calls.clear()
    stop.at = trainer.model
    assert "eval_mlm_loss" not in trainer.evaluate() and callback.held_out is None


def test_f1_can_choose_the_best_model_and_stop_early(make_trainer):
    trainer = make_trainer(
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_disc_f1",
        callbacks=[
            RTDMetricsCallback(detailed=True),
            EarlyStoppingCallback(early_stopping_patience=2, early_stopping_threshold=1.0),
        ],
    )
    trainer.train()
    scores = [entry["eval_disc_f1"] for entry in trainer.state.log_history if "eval_disc_f1" in entry]
    assert len(scores) == trainer.state.global_step == 3  # nothing rises by 1 after the first
    assert trainer.state.best_metric == max(scores)
    assert trainer.evaluate()["eval_disc_f1"] == pytest.approx(max(scores))


def test_a_model_that_is_watched_can_be_copied_and_the_copy_does_not_count(make_trainer, rows):
    trainer = make_trainer()
    first = trainer.evaluate()
    twin = copy.deepcopy(trainer.model)
    twin.eval()(torch.tensor([rows[3]["input_ids"]]))
    second = trainer.evaluate()
    assert {name: second[name] for name in EVAL} == {name: first[name] for name in EVAL}


# ---- The accumulator ----


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
    exact = pairs_in_order(logits[labels == 1].tolist(), logits[labels == 0].tolist())
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


# ---- Classes of tokens, and held_out.json ----


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


# ---- The Trainer's table in a notebook ----


@pytest.fixture
def notebook(monkeypatch):
    """`transformers.utils.notebook`, which shows nothing."""
    pytest.importorskip("IPython", reason="a notebook's table needs IPython: install '.[dev]'")
    from transformers.utils import notebook

    shown = SimpleNamespace(update=lambda content: None)
    monkeypatch.setattr(notebook, "disp", SimpleNamespace(HTML=str, display=lambda content, display_id=None: shown))
    monkeypatch.setitem(sys.modules, "transformers.utils.notebook", notebook)
    return notebook


def table_of(notebook, trainer):
    """Header and rows of the table as training leaves it."""
    kept = []

    class Keep(TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            self.keep()

        on_evaluate = on_log

        def keep(self):
            bar = next(one for one in trainer.callback_handler.callbacks if hasattr(one, "training_tracker"))
            kept[:] = [list(row) for row in bar.training_tracker.inner_table]

    trainer.add_callback(Keep())
    trainer.train()
    return kept[0], kept[1:]


PARTS = ["Mlm Loss", "Disc Loss", "Gen Acc", "Disc Acc"]


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_a_notebook_shows_the_held_out_parts_beside_both_losses(strategy, make_trainer, notebook):
    bar = notebook.NotebookProgressCallback()
    trainer = make_trainer(callbacks=[bar, RTDMetricsCallback()], eval_strategy=strategy, eval_steps=2, max_steps=8)
    header, rows = table_of(notebook, trainer)
    first = "Step" if strategy == "steps" else "Epoch"
    assert header == [first, "Training Loss", "Validation Loss", *PARTS]  # and no times
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    names = ("eval_loss", "eval_mlm_loss", "eval_disc_loss", "eval_gen_acc", "eval_disc_acc")
    assert [row[2:] for row in rows] == [[entry[name] for name in names] for entry in evaluations]
    assert [row[0] for row in rows] == ([2, 4, 6, 8] if strategy == "steps" else [1, 2])


def test_a_notebook_shows_the_details_too(make_trainer, notebook):
    bar = notebook.NotebookProgressCallback()
    trainer = make_trainer(callbacks=[bar, RTDMetricsCallback(detailed=True)], eval_strategy="steps", eval_steps=3)
    header, rows = table_of(notebook, trainer)
    assert header[7:] == [" ".join(part.capitalize() for part in name.split("_")) for name in DETAILED]
    assert all(len(row) == len(header) for row in rows) and len(rows) == 2


def test_a_notebook_shows_the_training_parts_where_nothing_is_held_out(make_trainer, notebook):
    bar = notebook.NotebookProgressCallback()
    trainer = make_trainer(callbacks=[bar, RTDMetricsCallback()])
    header, rows = table_of(notebook, trainer)
    assert header == ["Step", "Training Loss", *PARTS]
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    names = ("step", "loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc")
    assert rows == [[entry[name] for name in names] for entry in logs] and len(rows) == 3
