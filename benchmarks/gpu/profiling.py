"""Where the time of a step goes: kernels, launches, and how long the card is busy."""

import time
from collections import Counter

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from .ground import Skipped
from .steps import OURS


STEPS = 3
TOP = 25
# Calls of the runtime and of the driver that start a kernel.
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def profile_steps(bench, case):
    """A few steps of ours under the profiler, and as many without it.

    Args: bench ([`Bench`]); case ([`Case`]). Returns: `dict`: seconds of a step, and of what, most expensive first; on
        a GPU, the share of the step's time in which it computes, its kernels and launches.
    """
    training = bench.training(case.shape, OURS)
    batches = [training.batch_of(rows) for rows in bench.draw(case)[: 2 + STEPS]]
    for batch in batches[:2]:
        training.train_on(batch)
    steps = len(batches) - 2
    plain = _seconds(training, batches[2:])
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (bench.device.type == "cuda")
    with profile(activities=activities) as found:
        profiled = _seconds(training, batches[2:])
    events = list(found.events())
    on_device = [event for event in events if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    if bench.device.type == "cuda":
        if not on_device:
            raise Skipped("the profiler sees no kernels here: CUPTI is missing, or not permitted")
        spent, calls = Counter(), Counter()
        for event in on_device:
            spent[event.name] += event.time_range.elapsed_us()
            calls[event.name] += 1
    else:
        averages = found.key_averages()
        spent = Counter({event.key: event.self_cpu_time_total for event in averages})
        calls = Counter({event.key: event.count for event in averages})
    counts = Counter(event.name for event in events)
    figures = {
        "case": {"shape": case.shape, "batches": case.batches, "rows": case.rows},
        "seconds": plain / steps,
        "seconds_under_the_profiler": profiled / steps,
        "top": [
            {"name": name, "milliseconds": spent_there / 1000 / steps, "calls": calls[name] / steps}
            for name, spent_there in spent.most_common(TOP)
        ],
    }
    if bench.device.type == "cuda":
        busy = sum(spent.values()) / 1e6
        figures |= {
            # Kernels take as long without the profiler, and what starts them is quicker.
            "busy_share": busy / plain,
            "kernels": len(on_device) / steps,
            "launches": sum(counts[name] for name in LAUNCHES) / steps,
            "waits": {name: counts[name] / steps for name in WAITS if counts[name]},
        }
    return figures


def _seconds(training, batches):
    """Of all of them together, by the clock of the host: the device waits for no one in between."""
    _wait(training)
    start = time.perf_counter()
    for batch in batches:
        training.train_on(batch)
    _wait(training)
    return time.perf_counter() - start


def _wait(training):
    if training.device.type == "cuda":
        torch.cuda.synchronize()
