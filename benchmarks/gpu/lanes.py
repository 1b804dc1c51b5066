"""Steps that take turns in one process, A B C A B C: what each costs in time and memory, and how often it waits.

Batches stand on the device before the first step. The memory of a lane is that of its own weights and optimiser, and
what a step takes on top, whoever else is in the process.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

import torch

from ..flops import Stopwatch
from ..rounds import paired_ratio, spread
from .synchronisations import counted_synchronisations


WARMUP, ROUNDS = 5, 15
ENOUGH = 5  # rounds, where the time is over
LAST_STEPS = 10  # whose losses are averaged


def nothing():
    """No change before a step."""


@dataclass
class Lane:
    """One who takes turns.

    Args:
        training ([`TrainingStep`]): may be that of other lanes too.
        batches (`list[list[list[int]]]`): rows of token ids of each round.
        useful (callable): from rows of token ids to useful operations.
        before (callable, *optional*): called before each of its steps, outside of the measured time.
    """

    training: object
    batches: list
    useful: Callable
    before: Callable = nothing
    reports: list[dict] = field(default_factory=list)


class TooLarge(Exception):
    """A batch that does not fit into the memory of the card. Args: who (`str`): the lane."""


def take_turns(lanes, clock, warmup=WARMUP, rounds=ROUNDS):
    """Let each step in turn.

    Args: lanes (`dict[str, Lane]`); clock ([`Clock`]): where it is over, [`ENOUGH`] rounds do; warmup, rounds (`int`).
    Returns: `dict[str, dict]`, the figures of each lane; `dict[str, str]`, why others have none.
    Raises: TooLarge: out of memory; RuntimeError: nobody could step.
    """
    failed, synchronisations = {}, {}
    on_device = _batches_on_device(lanes)
    for number in range(warmup + rounds):
        if clock.left() < 0 and number >= warmup + ENOUGH:
            break
        for name in [name for name in lanes if name not in failed]:
            fits = True
            try:
                report = _step(lanes[name], on_device[name][number])
            except torch.OutOfMemoryError:
                fits = False
            except Exception as error:  # of whatever kernel: the reason is a result, and the others go on
                failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            if name in failed and lanes[name].training.device.type == "cuda":
                torch.cuda.synchronize()  # raises where the card takes nothing more from this process
            if not fits or name in failed:
                lanes[name].training.optimizer.zero_grad()
            if not fits:
                raise TooLarge(name)  # here, since within `except` it would hold on to all that the step had made
            if name in failed:
                continue
            if number >= warmup:
                lanes[name].reports.append(report)
    if len(failed) == len(lanes):
        raise RuntimeError(f"nobody could step: {failed}")
    for name, lane in lanes.items():
        if name not in failed and lane.training.device.type == "cuda":
            lane.before()
            with counted_synchronisations() as found:
                lane.training.train_on(on_device[name][-1])
            synchronisations[name] = {"count": found.count, "places": dict(found.places)}
    figures = {name: _figures(lane, warmup) for name, lane in lanes.items() if name not in failed}
    for name in figures:
        figures[name]["synchronisations"] = synchronisations.get(name)
        figures[name]["against"] = {
            other: paired_ratio(*([1 / report["seconds"] for report in lanes[one].reports] for one in (name, other)))
            for other in figures
        }
    return figures, failed


def _batches_on_device(lanes):
    made = {}  # lanes of one training share theirs
    for lane in lanes.values():
        key = id(lane.training), id(lane.batches)
        if key not in made:
            made[key] = [lane.training.batch_of(rows) for rows in lane.batches]
    return {name: made[id(lane.training), id(lane.batches)] for name, lane in lanes.items()}


def _step(lane, batch):
    training, on_gpu = lane.training, lane.training.device.type == "cuda"
    lane.before()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with Stopwatch(training.device) as watch:
        losses = training.train_on(batch)
    memory = None
    if on_gpu:
        memory = torch.cuda.max_memory_allocated() - before + bytes_of(training)
    return {
        "seconds": watch.seconds,
        "memory": memory,
        "padded_tokens": batch["input_ids"].numel(),
        "losses": {name: float(value) for name, value in losses.items()},
    }


def bytes_of(training):
    """Args: training ([`TrainingStep`]). Returns: `int`, of weights and of what the optimiser keeps."""
    tensors = [*training.model.parameters(), *training.model.buffers()]
    for state in training.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _figures(lane, warmup):
    counted = lane.batches[warmup : warmup + len(lane.reports)]
    seconds = sum(report["seconds"] for report in lane.reports)
    memory = [report["memory"] for report in lane.reports if report["memory"] is not None]
    return {
        "rounds": len(lane.reports),
        "milliseconds": spread([1000 * report["seconds"] for report in lane.reports]),
        "tokens_per_step": fmean(sum(map(len, rows)) for rows in counted),
        "tokens_per_second": sum(sum(map(len, rows)) for rows in counted) / seconds,
        "with_padding_per_second": sum(report["padded_tokens"] for report in lane.reports) / seconds,
        "useful_flops_per_second": sum(map(lane.useful, counted)) / seconds,
        "peak_memory": max(memory) if memory else None,
        "losses": {
            part: fmean(report["losses"][part] for report in lane.reports[-LAST_STEPS:])
            for part in lane.reports[0]["losses"]
        },
    }


def free_memory():
    """What nobody holds any longer goes back to the card."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
