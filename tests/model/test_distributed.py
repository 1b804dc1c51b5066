"""A step in two processes, each with a ragged batch of its own, against the mean of both steps in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from transformers import ElectraPreTrainedModel


needs_a_plug = pytest.mark.skipif(
    not ElectraPreTrainedModel._supports_attention_backend, reason="this release's ELECTRA has no attention to plug in"
)


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["none", "gdes"])
@pytest.mark.parametrize("way", ["ddp", pytest.param("compiled", marks=needs_a_plug), "fsdp1", "fsdp2"])
def test_gradients_are_the_mean_of_those_of_each_batch(way, sharing, make_model, make_batch, tmp_path):
    model = make_model(mask_prob=0.3, embedding_sharing=sharing)
    model.save_pretrained(tmp_path / "pair")
    batches = [make_batch((30, 12, 3), seed=1), make_batch((17, 17, 9), seed=2)]
    torch.save(batches, tmp_path / "batches.pt")
    for batch in batches:
        (model(**batch).loss / 2).backward()
    worker = [str(Path(__file__).with_name("sharded_worker.py")), way]
    files = [str(tmp_path / name) for name in ("pair", "batches.pt", "gradients.pt")]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *worker, *files],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    gradients = torch.load(tmp_path / "gradients.pt")
    assert gradients.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
