"""What this machine has for training, and what it makes of a batch: bfloat16 units, cores, time, memory."""

import os
import statistics
import time
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from .step_timing import as_it_was, seconds_of_steps, step


# bfloat16 units by their names in /proc/cpuinfo, which are part of Linux's interface: two of x86, one of Arm.
BF16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")
SECONDS_OF_TIMING = 2.0  # for all numbers of threads together, but for one step of each
ROUNDS_OF_TIMING = 6


def cpu_bfloat16_units(cpuinfo="/proc/cpuinfo"):
    """What computes in bfloat16 on this CPU.

    Args:
        cpuinfo (`str` or path): the file in which Linux lists what a CPU has.

    Returns:
        `str` or `None`: a sentence; `None` where there is none, or where it is not known.
    """
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    flags = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    found = [unit for unit in BF16_UNITS if unit in flags]
    return f"this CPU has {found[0]}" if found and torch.backends.mkldnn.is_available() else None


def cuda_bfloat16_units(device):
    """What computes in bfloat16 on a card, likewise.

    Args:
        device (`torch.device`)

    Returns:
        `str` or `None`
    """
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return f"{torch.cuda.get_device_name(device)} has it"


def check_bfloat16(model, batch, device):
    """The loss of a batch in float32 and under autocast to bfloat16: in eval mode, so that both see one corruption.

    Args:
        model ([`ElectraRTDForPreTraining`]): left in its mode and on its device.
        batch (`dict` of `torch.LongTensor` of shape `(B, L)`), device (`torch.device`): where training will be.

    Returns:
        `tuple[float, float]`: the loss in float32, and in bfloat16
    """
    home, mode = model.device, model.training
    model.eval().to(device)
    batch = {name: value.to(device) for name, value in batch.items()}
    losses = []
    with torch.no_grad():
        for enabled in (False, True):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
                losses.append(float(model(**batch).loss))
    model.train(mode).to(home)
    return losses[0], losses[1]


def has_accelerator():
    """Whether torch finds anything but the CPU to train on.

    Returns:
        `bool`
    """
    if hasattr(torch, "accelerator"):  # since torch 2.6
        return torch.accelerator.is_available()
    return torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()


def usable_cores(proc="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Cores that this process may use: those that it may run on, or fewer where a control group has a quota.

    Args:
        proc, root (`str` or path): the file that names the process' control groups, and the folder where they are.

    Returns:
        `int`, at least 1
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(min(_cpu_quotas(Path(proc), Path(root)), default=cores))))


def _cpu_quotas(proc, root):
    """Quotas, in cores, of the control groups that the process is in and of those above them."""
    for line in _read(proc).splitlines():
        _, controllers, group = line.split(":", 2)  # "0::/path" in version 2, "4:cpu,cpuacct:/path" in version 1
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / controllers if controllers else root
        folder = mount / group.lstrip("/")
        for level in (folder, *folder.parents):
            # "max 100000" in version 2 and -1 in version 1 mean that there is no quota.
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            numbers = [word for file in files for word in _read(level / file).split()]
            if len(numbers) == 2 and all(number.isdigit() for number in numbers):
                yield int(numbers[0]) / int(numbers[1])
            if level == mount:
                break


def _read(file):
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def time_threads(model, batch, numbers, *, bf16=False):
    """Seconds of forward and backward with several numbers of threads, taken in turn: load comes and goes.

    Args:
        model ([`ElectraRTDForPreTraining`]), batch (`dict` of `torch.LongTensor` of shape `(B, L)`): both on the CPU.
            Weights, gradients and torch's generator are left as they were.
        numbers (iterable of `int`): of threads.
        bf16 (`bool`): under autocast.

    Returns:
        `dict`: number to median, in seconds.
    """
    threads_before = torch.get_num_threads()
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    end = time.perf_counter() + SECONDS_OF_TIMING
    try:
        with as_it_was(model):
            model.train()
            for _ in range(ROUNDS_OF_TIMING):
                for number in seconds:
                    torch.set_num_threads(number)
                    seconds[number].append(seconds_of_steps(model, [batch], torch.bfloat16 if bf16 else None))
                if time.perf_counter() > end:
                    break
    finally:
        torch.set_num_threads(threads_before)
    return {number: statistics.median(taken[1:] or taken) for number, taken in seconds.items()}  # the first warms up


def rows_that_fit(model, row, most, device, *, dtype=None):
    """The largest batch of which a step fits into the memory of a device: halved until it does.

    Args:
        model ([`ElectraRTDForPreTraining`]): comes back to its own device; weights, gradients and torch's generators
            are left as they were.
        row (`list[int]`): token ids; every row of the batch is this one, so take a long one.
        most (`int`): rows to begin with.
        device (`torch.device`)
        dtype (`torch.dtype`, *optional*): of autocast.

    Returns:
        `int`: rows, at least 1
    """
    home, rows = model.device, most
    with as_it_was(model, device):
        try:
            model.train().to(device)
            while rows > 1 and not _fits(model, row, rows, device, dtype):
                rows //= 2
        finally:
            model.to(home)
            clear_device_cache(garbage_collection=True)
    return rows


def _fits(model, row, rows, device, dtype):
    try:
        _step_with_optimizer_states(model, row, rows, device, dtype)
    except RuntimeError as error:  # `torch.OutOfMemoryError` is one
        if not should_reduce_batch_size(error):
            raise
        return False
    finally:  # the error is gone by now, and with it the frames that held tensors
        model.zero_grad(set_to_none=True)
        clear_device_cache(garbage_collection=True)
    return True


def _step_with_optimizer_states(model, row, rows, device, dtype):
    # What AdamW keeps of every weight that is trained, and a twentieth of a card for what comes apart in longer use.
    states = [torch.empty_like(one) for one in model.parameters() if one.requires_grad for _ in range(2)]
    spare = torch.cuda.mem_get_info(device)[1] // 20 if device.type == "cuda" else 0
    states.append(torch.empty(spare, dtype=torch.uint8, device=device))
    input_ids = torch.tensor([row], device=device).repeat(rows, 1)  # (rows, L)
    step(model, {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}, dtype)
    del states
