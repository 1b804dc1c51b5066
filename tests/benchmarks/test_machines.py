"""The model of several GPUs: its formula by hand, and the bytes that a step sends by counting them."""

import os

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from benchmarks.forked import run_forked
from benchmarks.machines import (
    FLOAT32,
    LATENCY,
    LAUNCHING,
    Card,
    Weights,
    build,
    count_weights,
    ddp_bytes,
    fsdp_bytes,
    main,
    parse_arguments,
    step_seconds,
)


def test_bytes_of_a_step_by_hand():
    weights = Weights(layers=80, others=20, depth=2)
    assert ddp_bytes(weights, 1) == fsdp_bytes(weights, 1) == 0
    assert ddp_bytes(weights, 4) == 2 * 3 / 4 * 100 * 4
    assert fsdp_bytes(weights, 4) == 3 / 4 * (80 + 80 + 20 + 100) * 2


def test_a_step_waits_for_what_the_backward_pass_does_not_hide():
    card = Card("", flops=1000.0, memory=280.0, inside=100.0, between=10.0, price=1.0, reached=1.0)
    weights = Weights(layers=5, others=5, depth=2)
    found = step_seconds(card, weights, 750, 8, "ddp", utilisation=0.5, overlap=0.5)
    sent = 2 * 7 / 8 * 40 / 100 + LATENCY
    assert found == {
        "compute": 1.5,
        "update": 1.0,
        "sent": pytest.approx(sent),
        "shown": pytest.approx(sent - 0.5),
        "step": pytest.approx(2.5 + sent - 0.5),
    }
    between = step_seconds(card, weights, 750, 64, "ddp", utilisation=0.5, overlap=0.5)
    assert between["sent"] == pytest.approx(2 * 63 / 64 * 40 / 10 + LATENCY)
    measured = step_seconds(card, weights, 750, 8, "fsdp", utilisation=0.5, overlap=1, compute=3.0)
    assert (measured["compute"], measured["shown"], measured["update"]) == (3.0, 0.0, 1 / 8)
    assert measured["sent"] == pytest.approx(7 / 8 * 25 * 2 / 100 + 8 * LATENCY)
    assert step_seconds(card, weights, 0, 1, "ddp", utilisation=1, overlap=0)["compute"] == 2 * LAUNCHING


def test_weights_of_electra_base():
    weights, flops = build("base")
    assert weights.depth == 24
    assert weights.layers == 12 * (7_087_872 + 789_760)  # the paper's discriminator, and a generator a third as wide
    assert flops > 6 * weights.layers * 128  # two operations a weight, three passes, and attention and heads


def test_the_table_says_that_it_is_a_model(capsys):
    main(["--tokens", "1e9", "--step-tokens-per-second", "1000"])
    text = capsys.readouterr().out
    assert "Modelled, not measured" in text and text.count("| 64 | DDP |") == 4


@pytest.mark.parametrize("option", [["--utilisation", "0"], ["--overlap", "1.5"], ["--reached", "-1"]])
def test_shares_are_shares(option, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(option)
    assert "it is a share" in capsys.readouterr().err


def count_ddp(model, batch):
    """Bytes of gradients that DDP hands over in a step."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = []

    def hook(state, bucket):
        found.append(bucket.buffer().numel() * bucket.buffer().element_size())
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda done: done.value()[0])

    wrapped = DistributedDataParallel(model.train())
    wrapped.register_comm_hook(None, hook)
    wrapped(**batch).loss.backward()
    return sum(found)


def count_fsdp(model, batch):
    """Bytes that a process gets from the others in a step, gathering, and hands over, scattering."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found, world = [], int(os.environ["WORLD_SIZE"])
    # Under the first names from torch 2.13 on.
    for names in (("all_gather_single", "all_gather_into_tensor"), ("reduce_scatter_single", "reduce_scatter_tensor")):
        name = next(name for name in names if hasattr(dist, name))
        setattr(dist, name, counted(getattr(dist, name), found, world))
    for network in (model.generator, model.discriminator):
        for layer in network.electra.encoder.layer:
            fully_shard(layer)
    fully_shard(model.train())
    model(**batch).loss.backward()
    return sum(found)


def counted(function, found, world):
    def call(*arguments, **named):
        tensors = [value for value in (*arguments, *named.values()) if isinstance(value, torch.Tensor)]
        whole = max(tensor.numel() * tensor.element_size() for tensor in tensors)
        found.append(whole * (world - 1) / world)
        return function(*arguments, **named)

    return call


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="processes are forked, which CUDA does not live through")
def test_a_step_sends_the_bytes_of_the_formula(make_model, make_batch):
    """DDP's to the byte; FSDP2's but for the rows that fill up what two processes cannot halve."""
    model, batch = make_model(mask_prob=0.3), make_batch((30, 12, 3))
    weights = count_weights(model)
    assert run_forked(count_ddp, 2, model, batch) == 2 * [ddp_bytes(weights, 2)]
    for found in run_forked(count_fsdp, 2, model, batch):
        assert found == pytest.approx(fsdp_bytes(weights, 2, FLOAT32), rel=0.01)
