"""Metrics in two processes, whose last batch is filled up with examples seen before, against one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from electra_rtd.train_tools import RTDMetricsCallback
from electra_rtd.train_tools.callbacks import LOSS_PARTS
from electra_rtd.train_tools.counts import DETAILED, TrainingStatistics


pytestmark = pytest.mark.slow

ROWS = 7  # of batches of 1: the second process has one row of fill alone; of 2: a row of its own and one of fill
BATCH_SIZES = (1, 2)


@pytest.fixture(scope="module")
def folder(make_model, tokenizer, ids, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    make_model(mask_prob=0.4).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    draw = torch.Generator().manual_seed(0)
    lengths = [9 + 3 * (row % 5) for row in range(16)]
    words = [torch.randint(len(ids.ordinary), (length,), generator=draw).tolist() for length in lengths]
    rows = [[ids.cls, *(ids.ordinary[word] for word in row), ids.sep] for row in words]
    Dataset.from_dict({"input_ids": rows}).save_to_disk(str(folder / "rows"))
    return folder


@pytest.fixture(scope="module")
def in_two(folder):
    worker = [str(Path(__file__).with_name("detailed_worker.py")), str(folder), str(ROWS), *map(str, BATCH_SIZES)]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *worker],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    found = json.loads((folder / "results.json").read_text())
    assert found["world"] == 2
    return dict(zip(BATCH_SIZES, found["results"], strict=True))


@pytest.fixture(scope="module")
def alone(folder, make_model, tokenizer):
    callback = RTDMetricsCallback(detailed=True, by_token=True)
    args = {"report_to": [], "use_cpu": True, "dataloader_pin_memory": False, "disable_tqdm": True}
    trainer = Trainer(
        model=make_model(mask_prob=0.4),
        args=TrainingArguments(str(folder / "alone"), per_device_eval_batch_size=1, **args),
        eval_dataset=Dataset.load_from_disk(str(folder / "rows")).select(range(ROWS)),
        processing_class=tokenizer,
        callbacks=[callback],
    )
    return trainer.evaluate(), callback.held_out


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_two_processes_count_each_token_once_as_one_does(batch_size, in_two, alone):
    metrics, held_out = alone
    found = in_two[batch_size]
    assert found["table"] == held_out.table.tolist() and held_out.totals[0] > 60
    for name in DETAILED:
        # The cross-entropies of a batch come as their mean: of rows of their own and rows of fill, one for both.
        tolerance = 0.1 if name == "gen_perplexity" and batch_size == 2 else 1e-5
        assert found["metrics"][f"eval_{name}"] == pytest.approx(metrics[f"eval_{name}"], rel=tolerance), name
    ours, theirs = held_out.calibration(), found["calibration"]
    assert (theirs["count"], theirs["replaced"]) == (ours["count"], ours["replaced"])
    for one, other in zip(ours["mean_probability"], theirs["mean_probability"], strict=True):
        assert one is other is None or one == pytest.approx(other, rel=1e-5)


def test_two_processes_evaluate_alike(in_two, alone):
    metrics, _ = alone
    for name in ("loss", *LOSS_PARTS):  # means over batches: equal where the batches are
        assert in_two[1]["metrics"][f"eval_{name}"] == pytest.approx(metrics[f"eval_{name}"], rel=1e-5), name


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_what_two_processes_log_is_the_mean_of_both(batch_size, in_two):
    log = in_two[batch_size]["log"]
    assert log["mlm_loss"] + 50 * log["disc_loss"] == pytest.approx(log["loss"], abs=2e-3)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_training_shares_are_of_the_tokens_of_both_processes(batch_size, in_two):
    tokens, masked, replaced, caught = in_two[batch_size]["counts"]
    log = in_two[batch_size]["log"]
    assert log["disc_recall"] == caught / replaced
    assert log["lucky_hits"] == (masked - replaced) / masked
    assert log["replaced_share"] == replaced / tokens


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_training_area_and_spread_are_those_of_one_process_on_the_same_rows(batch_size, in_two):
    log, batches = in_two[batch_size]["log"], in_two[batch_size]["logits"]
    assert len(batches) == 8  # of two processes, two steps of two
    alone = TrainingStatistics()
    for values, labels in batches:
        logits, labels = torch.tensor([values]), torch.tensor([labels])
        fields = {"disc_labels": labels, "disc_predictions": (logits > 0).long(), "masked_positions": labels == 1}
        alone.add(SimpleNamespace(logits=logits, **fields))
    expected, tokens = alone.as_dict()
    assert tokens == in_two[batch_size]["counts"][0]
    assert log["disc_auc"] == expected["disc_auc"] != 0.5
    assert log["disc_logit_std"] == pytest.approx(expected["disc_logit_std"], rel=1e-6)
