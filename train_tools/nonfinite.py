"""A step whose numbers are not finite: which of them, in which part of the batch, and why, most likely.

What is looked for is looked for afterwards: the step is taken again, with the same random numbers, and nothing of it
stays. So an ordinary step costs no more than to see that its numbers are finite.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import safe_open

from .step_timing import as_it_was


LOSSES = ("loss", "mlm_loss", "disc_loss")
WINDOW = 5  # steps whose mean loss is compared
ROSE = 1.5  # times the lowest such mean: a loss that rises
LARGE = 1e4  # the largest weight of a pair that works is some ten: beyond this one, it is the weight that broke it
MOST_NAMES = 20  # of weights, in what is written down
CAUSES = ("start", "precision", "learning_rate", "data", "unknown")  # `start`: the weights that training began with


@dataclass
class MicroBatch:
    """One forward of a training step, with all that it takes to take it again.

    Args:
        inputs (`dict[str, torch.Tensor]`): arguments of the model's `forward`; `input_ids` of shape (B, L).
        options (`dict`): its other arguments: truth values, numbers, texts.
        random (`dict[str, torch.Tensor]`): states of torch's generators before it: `cpu`, and that of the device.
        losses (`torch.FloatTensor` of shape `(3,)`): `LOSSES`, on the device; 0 for what was not computed.
    """

    inputs: dict[str, torch.Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    random: dict[str, torch.Tensor] = field(default_factory=dict)
    losses: torch.Tensor = field(default_factory=lambda: torch.zeros(len(LOSSES)))


@dataclass(frozen=True)
class Finding:
    """What is wrong with a step.

    Args:
        values (`dict[str, str]`): those of `LOSSES` that are not finite: `nan`, `inf` or `-inf`.
        gradients, weights (`dict[str, int]`): by name, how many numbers in it are not finite; the most of
            `MOST_NAMES`, the first in the backward pass first.
        micro_batch (`int`, *optional*): of the step's, from 0; `None` where it is none of them alone.
        cause (`str`): one of `CAUSES`.
        why (`str`): what speaks for it, in words.
    """

    values: dict[str, str] = field(default_factory=dict)
    gradients: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    micro_batch: int | None = None
    cause: str = "unknown"
    why: str = ""

    def what(self):
        """What is not finite: `str`."""
        if self.weights:
            return f"the weights hold numbers that are not finite: {_listed(self.weights)}"
        if self.values:
            parts = {name: value for name, value in self.values.items() if name != "loss"} or self.values
            return " and ".join(f"{name} is {value}" for name, value in parts.items())
        if self.gradients:
            return f"the gradient is not finite, first in {_listed(self.gradients)}"
        return "the gradient is not finite"


def not_finite(named):
    """Numbers that are NaN or infinite.

    Args: named (iterable of `str` and `torch.Tensor`). Returns: `dict[str, int]`, of those that have some.
    """
    named = [(name, local_part(value.detach())) for name, value in named]
    counts = [(~torch.isfinite(value)).sum() for _, value in named]
    counts = torch.stack([count.to(counts[0].device) for count in counts]).tolist() if counts else []
    return {name: count for (name, _), count in zip(named, counts, strict=True) if count}


def local_part(tensor):
    """What this process has of a tensor that FSDP2 splits; any other one as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def take_again(model, batch, dtype=None):
    """Forward and backward of a micro-batch with the random numbers that it had. Hooks are not called.

    Args:
        model ([`ElectraRTDForPreTraining`]): in training mode; its gradients are added to.
        batch ([`MicroBatch`]): comes to the model's device.
        dtype (`torch.dtype`, *optional*): of mixed precision; without it, float32.

    Returns:
        `torch.FloatTensor` of shape `(3,)`: `LOSSES`.
    """
    device = model.device
    for kind, state in batch.random.items():
        if kind == "cpu":
            torch.set_rng_state(state)
        elif kind == device.type:
            getattr(torch, kind).set_rng_state(state, device)
    inputs = {name: value.to(device) for name, value in batch.inputs.items()}
    # The class's own function: the Trainer puts mixed precision around the model's, and here that is to be chosen.
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        output = type(model).forward(model, **inputs, **batch.options)
    if output.loss.requires_grad:
        output.loss.backward()
    return losses_of(output)


def losses_of(output):
    """Args: output ([`ElectraRTDOutput`]). Returns: float32, (3,): `LOSSES`, 0 for what it lacks."""
    found = [output[name] if name in output else torch.zeros_like(output.loss) for name in LOSSES]
    return torch.stack([value.detach().float() for value in found])


def find(model, batches, *, before=None, history=(), dtype=None, again=True):
    """What is wrong with a step, and why.

    Args:
        model ([`ElectraRTDForPreTraining`]): as it was in the step; left as it is, torch's generators too.
        batches (`list` of [`MicroBatch`]): of the step, of this process.
        before ([`MicroBatch`], *optional*): of a step before it that was well.
        history (sequence of `torch.FloatTensor` of shape `(3,)`): `LOSSES` of the steps before, the last one last.
        dtype (`torch.dtype`, *optional*): of mixed precision.
        again (`bool`): whether a process may take steps of its own (not where it has a part of each weight alone).

    Returns:
        [`Finding`]
    """
    losses = [batch.losses.tolist() for batch in batches]
    values = [
        {name: str(value) for name, value in zip(LOSSES, row, strict=True) if not math.isfinite(value)}
        for row in losses
    ]
    place = next((number for number, found in enumerate(values) if found), None)
    weights = not_finite(model.named_parameters())
    gradients: dict[str, int] = {}
    if place is None and not weights and again:
        place, gradients = _find_gradients(model, batches, dtype)
    cause, why = _cause(model, batches[place or 0], bool(weights), before, history, dtype, again)
    return Finding(
        values={} if place is None else values[place],
        gradients=dict(list(gradients.items())[:MOST_NAMES]),
        weights=dict(list(weights.items())[:MOST_NAMES]),
        micro_batch=place,
        cause=cause,
        why=why,
    )


def _find_gradients(model, batches, dtype):
    """The first micro-batch with a gradient that is not finite, and where its backward pass meets that."""
    for number, batch in enumerate(batches):
        broken = _gradients_of(model, batch, dtype)
        if broken:
            return number, broken
    return None, {}


def _gradients_of(model, batch, dtype):
    with as_it_was(model):
        model.zero_grad(set_to_none=True)
        take_again(model, batch, dtype)
        named = [(name, one.grad) for name, one in model.named_parameters() if one.grad is not None]
        return not_finite(reversed(named))  # the backward pass comes from the end


def _is_finite(model, batch, dtype):
    """Whether losses and gradients are, with these weights."""
    with as_it_was(model):
        model.zero_grad(set_to_none=True)
        losses = take_again(model, batch, dtype)
        gradients = ((name, one.grad) for name, one in model.named_parameters() if one.grad is not None)
        return bool(torch.isfinite(losses).all()) and not not_finite(gradients)


def _cause(model, batch, has_broken_weights, before, history, dtype, again):
    if has_broken_weights:
        return "learning_rate", "training began with weights that were finite"
    if dtype is not None and again and _is_finite(model, batch, None):
        name = str(dtype).removeprefix("torch.")
        return "precision", f"the same batch, with the same random numbers, is finite in float32, and not in {name}"
    largest, name = largest_weight(model)
    if largest > LARGE:
        of_whom = "the last steps made" if history else "the start has"
        return "learning_rate" if history else "start", f"{of_whom} a weight of {largest:.1e} ({name})"
    lowest, last = _means(history)
    if last > ROSE * lowest:
        return "learning_rate", f"the loss rose before, from {lowest:.4g} to {last:.4g}, means of steps"
    if before is None or not again:
        return "unknown", "it is the first step of this session, so that nothing can be compared with it"
    if _is_finite(model, before, dtype):
        return "data", "the batch of the step before is finite with the same weights, and the loss had not risen"
    return "learning_rate", "with these weights the batch of the step before is not finite either, and it was"


def largest_weight(model):
    """Args: model (`torch.nn.Module`). Returns: the largest weight's absolute value, `float`, and the name of its
    tensor, `str`."""
    named = [(name, local_part(one.detach())) for name, one in model.named_parameters() if one.numel()]
    values = [one.abs().max().float() if one.numel() else one.new_zeros(()) for _, one in named]
    values = torch.stack([value.to(values[0].device) for value in values]).tolist()
    return max(zip(values, (name for name, _ in named), strict=True))


def largest_of_files(files):
    """Args: files (iterable of `Path`), safetensors. Returns: `float`: the largest absolute value in them, or 0."""
    largest = 0.0
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no dictionary
                value = weights.get_tensor(name)
                largest = max(largest, value.abs().max().item()) if value.numel() else largest
    return largest


def _means(history):
    """The lowest mean loss of a few steps in a row, and that of the last ones: (inf, 0) where there are too few."""
    losses = torch.stack(list(history))[:, 0].tolist() if history else []
    width = min(WINDOW, len(losses) // 2)
    if width == 0:
        return math.inf, 0.0
    means = [sum(losses[first : first + width]) / width for first in range(len(losses) - width + 1)]
    return min(means), means[-1]


def _listed(counts):
    name, count = next(iter(counts.items()))
    others = f" and {len(counts) - 1} more" if len(counts) > 1 else ""
    return f"{name} ({count:,} numbers){others}"
