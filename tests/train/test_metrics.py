"""RTDMetricsCallback's figures beside the losses, against counts made one token at a time in plain Python."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, EarlyStoppingCallback, TrainerCallback

from electra_rtd import objective_electra_rtd as objective
from electra_rtd.train_tools import RTDMetricsCallback
from electra_rtd.train_tools.counts import (
    COLUMNS,
    DETAILED,
)


EVAL = [f"eval_{name}" for name in DETAILED]


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
