"""`Trainer(data_collator=DataCollatorWithFlattening(...))` trains and evaluates a pair: all of it stock."""

import re
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorWithFlattening, DataCollatorWithPadding, Trainer

from electra_rtd.train_tools import RTDMetricsCallback, RTDSampleCallback


COLLATORS = {
    "positions": {},
    "ends": {"return_flash_attn_kwargs": True},
    "all": {"return_flash_attn_kwargs": True, "return_seq_idx": True},
}
FIGURES = (
    "eval_disc_auc",
    "eval_disc_recall",
    "eval_gen_top1",
    "eval_gen_top5",
    "eval_lucky_hits",
    "eval_replaced_share",
)


@pytest.fixture(scope="module")
def rows(ids):
    """Ragged sequences with the columns that a tokenizer makes, and one that the model does not know."""
    draw = torch.Generator().manual_seed(0)
    sequences = [
        [
            ids.cls,
            *(ids.ordinary[i] for i in torch.randint(len(ids.ordinary), (4 + 5 * (row % 4),), generator=draw)),
            ids.sep,
        ]
        for row in range(24)
    ]
    return Dataset.from_dict(
        {
            "input_ids": sequences,
            "token_type_ids": [[0] * len(row) for row in sequences],
            "attention_mask": [[1] * len(row) for row in sequences],
            "source": ["nowhere"] * 24,
        }
    )


@pytest.fixture
def make_trainer(make_model, make_arguments, rows, tokenizer):
    def make(collator, callbacks=(), compute_metrics=None, model_fields=None, **arguments):
        return Trainer(
            model=make_model(mask_prob=0.3, **(model_fields or {})),
            args=make_arguments(**arguments),
            data_collator=collator,
            train_dataset=rows.select(range(16)),
            eval_dataset=rows.select(range(16, 24)),
            processing_class=tokenizer,
            callbacks=[*callbacks],
            compute_metrics=compute_metrics,
        )

    return make


@pytest.mark.parametrize("way", COLLATORS)
def test_a_run_logs_what_a_padded_run_logs(way, make_trainer, tokenizer):
    """The same random numbers too: rows are drawn as for the padded batch, and one step leads to the next."""
    logs = []
    for collator in (DataCollatorWithPadding(tokenizer), DataCollatorWithFlattening(**COLLATORS[way])):
        trainer = make_trainer(
            collator,
            callbacks=[RTDMetricsCallback()],
            eval_strategy="steps",
            eval_steps=3,
            logging_steps=1,
            per_device_eval_batch_size=4,
            max_steps=3,
            gradient_accumulation_steps=2,
        )
        trainer.train()
        logs.append(trainer.state.log_history)
    for flattened, padded in zip(logs[1], logs[0], strict=True):
        assert flattened.keys() == padded.keys()
        for name, value in padded.items():
            if not any(word in name for word in ("per_second", "runtime", "flos")):
                assert flattened[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name
    assert {"eval_loss", "eval_disc_loss"} < logs[1][3].keys()


def test_the_first_loss_is_that_of_the_padded_batch(make_trainer, tokenizer, rows):
    losses = []
    for collator in (DataCollatorWithPadding(tokenizer), DataCollatorWithFlattening()):
        trainer = make_trainer(collator, per_device_eval_batch_size=8)
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def flattening(separator):
    return DataCollatorWithFlattening(separator_id=separator)


def test_detailed_figures_equal_those_of_padded_batches(make_trainer, tokenizer):
    found = []
    for collator in (DataCollatorWithPadding(tokenizer), *map(flattening, (-100, -1, 40))):
        metrics = RTDMetricsCallback(detailed=True, by_token=True)
        figures = make_trainer(collator, callbacks=[metrics], per_device_eval_batch_size=3).evaluate()
        found.append(([figures[name] for name in FIGURES], metrics.held_out.table))
    for figures, table in found[1:]:
        assert figures == pytest.approx(found[0][0], rel=1e-5)
        assert torch.equal(table, found[0][1])


def test_outputs_of_different_widths_are_gathered(make_trainer, rows):
    """The Trainer pads rows of different length with -100, as it does those of padded batches."""
    trainer = make_trainer(DataCollatorWithFlattening(), per_device_eval_batch_size=3)
    logits, labels = trainer.predict(trainer.eval_dataset).predictions
    lengths = [len(row) for row in rows.select(range(16, 24))["input_ids"]]
    widths = [sum(lengths[first : first + 3]) for first in (0, 3, 6)]
    assert logits.shape == labels.shape == (3, max(widths))
    assert [(row != -100).sum() for row in labels] == widths


def test_every_weight_moves_and_a_long_row_is_no_long_sequence(make_trainer):
    trainer = make_trainer(
        DataCollatorWithFlattening(),
        per_device_train_batch_size=16,
        max_steps=1,
        model_fields={"generator": {"max_position_embeddings": 21}},
    )
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    still = [name for name, value in trainer.model.named_parameters() if torch.equal(value, before[name])]
    assert [name for name in still if not name.endswith("key.bias")] == []


def test_samples_are_shown(make_trainer, capsys):
    trainer = make_trainer(
        DataCollatorWithFlattening(),
        callbacks=[RTDSampleCallback(every=1, lang="en")],
        max_steps=2,
        eval_strategy="steps",
        eval_steps=1,
    )
    trainer.train()
    assert "step 2" in capsys.readouterr().out.lower()


def test_the_example_of_the_documentation_runs(make_model, make_arguments, rows):
    page = (Path(__file__).parents[2] / "docs" / "pairs.md").read_text(encoding="utf-8")
    code = re.search(r"## Sequences joined.*?```python\n(.*?)```", page, re.DOTALL)[1]
    names = {
        "pair": make_model(),
        "args": make_arguments(max_steps=2),
        "rows": rows,
        "held_out": rows.select(range(8)),
    }
    exec(code, names)
    assert names["trainer"].state.global_step == 2
    assert names["trainer"].evaluate()["eval_loss"] > 0
