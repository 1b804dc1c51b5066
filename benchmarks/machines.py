"""A model of what adapting costs on 1, 8 and 64 GPUs: `python -m benchmarks.machines`.

Nothing here is a measurement of several GPUs. What is exact: the weights of a pair, the useful operations of a step
(`benchmarks/flops.py`) and the bytes that a step sends (`tests/benchmarks/test_machines.py` counts them). What is
assumed stands in `Card`, `utilisation` and `overlap`, each with an option. `--step-tokens-per-second` takes the place
of peak and utilisation where one GPU was measured (`make gpu`).
"""

import argparse
import dataclasses
import math
from dataclasses import dataclass

import torch

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining
from electra_rtd.train_tools.from_scratch import network_configs
from electra_rtd.train_tools.presets import PRESETS

from . import ROOT
from .flops import rtd_flops
from .report import replace_between_markers


PAGE = ROOT / "docs" / "scaling.md"
NAME = "scaling-model"
GPUS = (1, 8, 64)
SIZES = {"base": "electra-base", "large": "electra-large"}
FLOAT32, BFLOAT16 = 4, 2  # bytes
LAUNCHING = 0.8e-3  # seconds that the host needs for a layer's kernels, forward and backward: assumed
LATENCY = 40e-6  # seconds of a message among all, however short: assumed
BUCKET = 25 * 2**20  # bytes of DDP's messages
ADAMW_BYTES = 28  # of memory traffic a weight: read weight, gradient and two averages; write weight and two averages
LENGTH = 128  # tokens of a row, without padding
ROWS = 128  # of a batch on each GPU: the 16,384 tokens that `adapt` aims at
ROWS_OF_STEP = 1024  # where they stay the same, however many GPUs share them


@dataclass(frozen=True)
class Card:
    """A GPU in machines of eight. Peaks are of NVIDIA's data sheets, the shares of them assumed.

    Args:
        name (`str`)
        flops (`float`): dense, in bfloat16, a second.
        memory (`float`): bytes a second of its memory, of which `reached` is assumed.
        inside (`float`): bytes a second that a GPU sends in one direction to one of its machine (NVLink).
        between (`float`): bytes a second that a machine sends to another one over all of its network cards: a ring
            leaves each machine once. Of both, `reached` is assumed.
        price (`float`): US dollars an hour; assumed.
        reached (`float`): share.
    """

    name: str
    flops: float
    memory: float
    inside: float
    between: float
    price: float
    reached: float = 0.8


CARDS = {
    "h100": Card("H100 SXM", flops=989.5e12, memory=3.35e12, inside=450e9, between=400e9, price=2.5),
    "a100": Card("A100 SXM 80 GB", flops=312e12, memory=2.04e12, inside=300e9, between=200e9, price=1.5),
}


# ---- What is exact --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """How many a pair has.

    Args: layers (`int`): in the layers of both networks; others (`int`): embeddings, heads; depth (`int`): how many
        layers these are.
    """

    layers: int
    others: int
    depth: int

    @property
    def all(self):
        """`int`."""
        return self.layers + self.others


def count_weights(model):
    """Args: model ([`ElectraRTDForPreTraining`]): of any device. Returns: [`Weights`]; shared ones count once."""
    layers = sum(p.numel() for name, p in model.named_parameters() if ".encoder.layer." in name)
    depth = sum(len(network.electra.encoder.layer) for network in (model.generator, model.discriminator))
    return Weights(layers, sum(p.numel() for p in model.parameters()) - layers, depth)


def ddp_bytes(weights, gpus, size=FLOAT32):
    """Bytes that each process sends in a step: a ring's all-reduce of the gradients.

    Args: weights ([`Weights`]); gpus (`int`); size (`int`): of a gradient. Returns: `float`.
    """
    return 2 * (gpus - 1) / gpus * weights.all * size


def fsdp_bytes(weights, gpus, size=BFLOAT16):
    """Bytes that each process sends in a step: layers are gathered before their forward and their backward pass, the
    rest once; gradients are reduced and scattered.

    Args: weights ([`Weights`]); gpus (`int`); size (`int`): of what is sent. Returns: `float`.
    """
    return (gpus - 1) / gpus * (2 * weights.layers + weights.others + weights.all) * size


# ---- The model ------------------------------------------------------------------------------------------------------


def step_seconds(card, weights, flops, gpus, way, *, utilisation, overlap, compute=None):
    """Seconds of a step by the formula of docs/scaling.md.

    Args:
        card ([`Card`]), weights ([`Weights`])
        flops (`float`): useful operations of one GPU's batch.
        gpus (`int`), way (`str`): `"ddp"` or `"fsdp"`.
        utilisation (`float`): share of the peak that is useful; overlap (`float`): share of the backward pass that
            communication can hide behind.
        compute (`float`, *optional*): seconds of one GPU's forward and backward pass, where they were measured.

    Returns: `dict`: `compute`, `update`, `sent` (seconds of communication), `shown` (of these, those that nothing
    hides), `step`
    """
    if compute is None:
        compute = max(flops / (card.flops * utilisation), LAUNCHING * weights.depth)
    if way == "ddp":
        sent, messages = ddp_bytes(weights, gpus), math.ceil(weights.all * FLOAT32 / BUCKET)
    else:
        sent, messages = fsdp_bytes(weights, gpus), 3 * weights.depth + 2
    link = card.inside if gpus <= 8 else min(card.inside, card.between)
    seconds = sent / (link * card.reached) + (messages * LATENCY if gpus > 1 else 0)
    shown = max(0.0, seconds - overlap * compute * 2 / 3)  # two thirds of it is the backward pass
    update = ADAMW_BYTES * weights.all / (gpus if way == "fsdp" else 1) / (card.memory * card.reached)
    return {"compute": compute, "update": update, "sent": seconds, "shown": shown, "step": compute + update + shown}


def build(size):
    """A pair without memory, its embeddings apart as those of a published pair, and its useful operations.

    Args: size (`str`): of `SIZES`. Returns: [`Weights`], `int` of a row
    """
    preset = PRESETS[SIZES[size]]
    configs = network_configs(preset, preset.value("vocab_size"))
    with torch.device("meta"):
        model = ElectraRTDForPreTraining(ElectraRTDConfig(*configs, embedding_sharing="none"))
    return count_weights(model), rtd_flops(*configs, [LENGTH])


def tables(options):
    """Args: options (`argparse.Namespace`). Returns: `str`, Markdown."""
    changed = {name: getattr(options, name) for name in ("price", "reached") if getattr(options, name) is not None}
    if options.network is not None:
        changed["between"] = options.network * 1e9
    card = dataclasses.replace(CARDS[options.card], **changed)
    built = {size: build(size) for size in SIZES}
    lines = [
        "| pair | weights | of them in layers | useful GFLOP a row | DDP, bytes a step: 8 | 64 | FSDP2: 8 | 64 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, (weights, flops) in built.items():
        sent = [f"{send(weights, gpus) / 1e6:,.0f} MB" for send in (ddp_bytes, fsdp_bytes) for gpus in GPUS[1:]]
        counts = f"{weights.all:,} | {weights.layers:,} | {flops / 1e9:.1f}"
        lines.append(f"| {size} | {counts} | {' | '.join(sent)} |")
    lines += [
        "",
        f"**Modelled, not measured**, for {card.name}: utilisation {options.utilisation:.0%}, overlap "
        f"{options.overlap:.0%}, {card.between / 1e9:g} GB/s from a machine to the next, links and memory at "
        f"{card.reached:.0%} of their peak, {card.price:g} US dollars an hour and GPU.",
        "",
        f"To read {options.tokens / 1e9:g} billion tokens, {ROWS} rows of {LENGTH} tokens on each GPU:",
        "",
        *_times(options, card, built, lambda gpus: ROWS),
        "",
        f"The same with {ROWS_OF_STEP:,} rows a step, however many GPUs share them (one takes them in turn):",
        "",
        *_times(options, card, built, lambda gpus: ROWS_OF_STEP // gpus),
    ]
    return "\n".join(lines)


def _times(options, card, built, rows_on_each):
    lines = [
        "| pair | GPUs | way | step | of it waiting for others | tokens/s | efficiency | minutes | dollars |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, (weights, flops) in built.items():
        alone = None
        for gpus in GPUS:
            tokens = rows_on_each(gpus) * LENGTH
            measured = options.step_tokens_per_second
            how = {"utilisation": options.utilisation, "overlap": options.overlap}
            how["compute"] = tokens / measured if measured else None
            for way in ("ddp", "fsdp") if gpus > 1 else ("ddp",):
                found = step_seconds(card, weights, flops * rows_on_each(gpus), gpus, way, **how)
                rate = gpus * tokens / found["step"]
                alone = alone or rate
                hours = options.tokens / rate / 3600
                cells = [
                    size,
                    str(gpus),
                    "one process" if gpus == 1 else {"ddp": "DDP", "fsdp": "FSDP2"}[way],
                    f"{found['step'] * 1e3:.0f} ms",
                    f"{found['shown'] / found['step']:.0%}",
                    f"{rate:,.0f}",
                    f"{rate / alone / gpus:.0%}",
                    f"{60 * hours:.1f}",
                    f"{hours * gpus * card.price:.2f}",
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.machines", description=__doc__.split("\n\n")[0])
    parser.add_argument("--card", choices=list(CARDS), default="h100")
    parser.add_argument("--utilisation", type=float, default=0.25, help="useful share of the peak; assumed")
    parser.add_argument("--overlap", type=float, default=0.8, help="share of the backward pass that hides sending")
    parser.add_argument("--reached", type=float, help="share of the peak of links and memory; default: 0.8")
    parser.add_argument("--network", type=float, help="GB a second from a machine to the next, all cards together")
    parser.add_argument("--price", type=float, help="US dollars an hour and GPU")
    parser.add_argument("--tokens", type=float, default=1e9, help="to read: those of the text times epochs")
    parser.add_argument("--step-tokens-per-second", type=float, help="of one GPU, forward and backward: if measured")
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md, with the assumptions as they are")
    options = parser.parse_args(arguments)
    for name in ("utilisation", "overlap", "reached"):
        value = getattr(options, name)
        if value is not None and not (0 if name == "overlap" else 1e-6) <= value <= 1:
            parser.error(f"--{name} is {value}: it is a share, above 0 and at most 1")
    return options


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line."""
    options = parse_arguments(arguments)
    text = tables(options)
    print(text)
    if options.write:
        PAGE.write_text(replace_between_markers(PAGE.read_text("utf-8"), NAME, text), encoding="utf-8")


if __name__ == "__main__":
    main()
