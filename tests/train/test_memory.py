"""Memory by formula: what autograd keeps to the byte, and evaluation that holds no more for more text."""

import gc
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.train_tools import RTDMetricsCallback, estimate_memory


unpadded = pytest.mark.skipif(
    not ElectraRTDForPreTraining._supports_attention_backend,
    reason="before transformers 5 rows are padded, and attention is eager",
)
DROPOUT = 0.1
# Wide enough that what the formula leaves out (indices, masks, statistics of LayerNorm) is a small part.
SIZES = {
    "generator": {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 256},
    "discriminator": {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512, "num_hidden_layers": 3},
}


def wide(make_model, **fields):
    return make_model(dropout=DROPOUT, **SIZES, **fields).train()


def kept_by_autograd(model, batch, dtype=None):
    """Bytes that the forward pass leaves for the backward pass, weights not counted."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor, storage.nbytes()  # kept alive, so that no place is used again
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=dtype, enabled=dtype is not None),
    ):
        model(**batch)
    return sum(size for _, size in kept.values())


@unpadded
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize(("rows", "length"), [(4, 32), (16, 32), (4, 100)])
def test_what_autograd_keeps_is_what_the_formula_says(make_model, make_batch, rows, length, dtype):
    model = wide(make_model)
    said = estimate_memory(model.config, rows, length, dtype=dtype)["activations"]
    assert kept_by_autograd(model, make_batch([length] * rows), dtype) == pytest.approx(said, rel=0.05)


@unpadded
def test_padding_is_not_kept(make_model, make_batch):
    model, lengths = wide(make_model), [100, 20, 20, 20]
    said = estimate_memory(model.config, 4, 100, lengths=lengths)["activations"]
    assert kept_by_autograd(model, make_batch(lengths)) == pytest.approx(said, rel=0.1)
    assert said < 0.4 * estimate_memory(model.config, 4, 100)["activations"]


def test_checkpointing_keeps_what_goes_into_each_layer(make_model, make_batch):
    model = wide(make_model)
    name = "activation_checkpointing_enable"  # since 5.23
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")({"use_reentrant": False})
    said = estimate_memory(model.config, 16, 32, checkpointing=True)["activations"]
    assert kept_by_autograd(model, make_batch([32] * 16)) == pytest.approx(said, rel=0.15)


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_weights_gradients_and_averages_are_those_that_are_there(make_model, make_batch, sharing):
    same = {"generator": {"hidden_size": 32, "num_attention_heads": 4}}
    model = make_model(embedding_sharing=sharing, **same).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(**make_batch()).loss.backward()
    optimizer.step()
    averages = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    said = estimate_memory(model.config, 4, 12)
    assert said["weights"] == sum(one.nbytes for one in model.parameters())
    assert said["gradients"] == sum(one.grad.nbytes for one in model.parameters())
    assert said["optimizer"] == sum(value.nbytes for value in averages)


def test_logits_have_a_bound_and_peak_counts_what_is_there_at_once(make_config):
    config = make_config(generator={"vocab_size": 30_000}, discriminator={"vocab_size": 30_000})
    few, many = (estimate_memory(config, rows, 100) for rows in (1, 64))
    assert few["logits"] == 4 * 4 * 30_000 * math.ceil(0.15 * 98)
    assert many["logits"] == 4 * 4 * 30_000 * (2**23 // 30_000) <= 4 * 4 * 2**23
    parts = ("weights", "gradients", "optimizer", "activations", "logits", "workspace")
    for one in (few, many):
        assert one["resident"] == sum(one[name] for name in parts)
        assert one["weights"] + one["optimizer"] < one["peak"] < one["resident"]
    accumulated = estimate_memory(config, 64, 100, accumulates=True)
    assert accumulated["peak"] == many["peak"] + many["gradients"]
    assert accumulated["resident"] == many["resident"] + many["gradients"]


def test_evaluation_needs_neither_gradients_nor_averages(make_config):
    said = estimate_memory(make_config(), 8, 64, training=False)
    assert said["gradients"] == said["optimizer"] == said["activations"] == 0
    assert said["weights"] < said["peak"] <= said["resident"]


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"length": 0}, {"device": "tpu"}])
def test_what_cannot_be_is_refused(make_config, wrong):
    with pytest.raises(ValueError, match=repr(next(iter(wrong.values())))):
        estimate_memory(make_config(), **{"rows": 1, "length": 8, **wrong})


class HeldTensors(TrainerCallback):
    """Bytes of all tensors of the process after the last batch of an evaluation."""

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches == len(eval_dataloader):
            tensors = [one.untyped_storage() for one in gc.get_objects() if is_tensor(one)]
            self.bytes = sum({storage.data_ptr(): storage.nbytes() for storage in tensors}.values())


def is_tensor(thing):
    return type(thing) in (torch.Tensor, torch.nn.Parameter)


@pytest.fixture
def held_after(make_model, make_arguments, rows, tokenizer):
    """Bytes of tensors at the end of an evaluation of the rows so many times, and its metrics."""

    def evaluate(times, way="evaluate", compute_metrics=None, **arguments):
        held, text = HeldTensors(), Dataset.from_dict({"input_ids": rows["input_ids"][:10] * times})
        trainer = Trainer(
            model=make_model(),
            args=make_arguments(per_device_eval_batch_size=10, **arguments),
            eval_dataset=text,
            processing_class=tokenizer,
            callbacks=[RTDMetricsCallback(detailed=True), held],
            compute_metrics=compute_metrics,
        )
        gc.collect()
        found = trainer.evaluate() if way == "evaluate" else trainer.predict(text).metrics
        return held.bytes, found

    return evaluate


def count(seen):
    """A stock `compute_metrics`."""
    return {"gathered": 0 if seen.predictions is None else seen.predictions[0].size}


LOSSES = 10 * 19 * 4  # bytes: of each row of 19 times more text, the loss of its batch
WIDE_ENOUGH = 4096  # a batch's own tensors differ by its longest row


@pytest.mark.parametrize(
    ("way", "compute_metrics", "arguments"),
    [
        ("evaluate", None, {}),
        ("evaluate", count, {"prediction_loss_only": True}),
        ("predict", None, {"prediction_loss_only": True}),
    ],
)
def test_twenty_times_the_text_is_evaluated_in_the_same_memory(held_after, way, compute_metrics, arguments):
    (once, few), (often, many) = (held_after(times, way, compute_metrics, **arguments) for times in (1, 20))
    assert abs(often - once - LOSSES) < WIDE_ENOUGH
    assert {"disc_auc", "mlm_loss"} <= {
        name.partition("_")[2] for name in many
    }  # our figures do not need what is gathered
    assert set(few) == set(many)


@pytest.mark.parametrize(("way", "compute_metrics"), [("predict", None), ("evaluate", count)])
def test_the_stock_way_to_predictions_gathers_all_logits_and_labels(held_after, way, compute_metrics):
    once, often = (held_after(times, way, compute_metrics)[0] for times in (1, 20))
    tokens = 19 * 10 * 6  # at least: the shortest row has 6
    assert often - once > (4 + 8) * tokens + LOSSES


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/status")
@pytest.mark.parametrize(("name", "environment"), [("peak", {"MALLOC_MMAP_THRESHOLD_": "131072"}), ("resident", {})])
def test_a_fresh_process_takes_what_the_formula_says(tmp_path, name, environment):
    setup = json.dumps({"folder": str(tmp_path), "shape": "mini", "rows": 16, "length": 64})
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability.memory_worker", setup],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    found = json.loads(process.stdout.strip().splitlines()[-1])
    assert found["measured"] == pytest.approx(found["estimated"][name], rel=0.2)
