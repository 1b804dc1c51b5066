"""What a measurement ran on, its peak memory, and its file of results."""

import json
import os
import platform
import resource
import sys
from pathlib import Path

import torch
import transformers


RESULTS = Path(__file__).parent / "results"


def add_machine_options(parser):
    """What every benchmark asks about the machine. Args: parser (`argparse.ArgumentParser`)."""
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, in each process")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def choose_device(name):
    """Args: name (`str`): `"auto"`, `"cpu"` or `"cuda"`. Returns: `torch.device`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def describe_machine(device, threads):
    """The machine in general words: no host name, no path.

    Args: device (`torch.device`); threads (`int`): of torch. Returns: `dict[str, str | int]`.
    """
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _cpu_name():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class PeakMemory:
    """Bytes above what the process held when this was made: of the GPU where there is one, resident memory elsewhere.

    Args: device (`torch.device`).
    """

    def __init__(self, device):
        self.on_gpu = device.type == "cuda"
        self.before = self._peak()

    def bytes(self):
        """Returns: `int`."""
        return self._peak() - self.before

    def _peak(self):
        return torch.cuda.max_memory_allocated() if self.on_gpu else _peak_resident_bytes()


def _peak_resident_bytes():
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's peak into a child's `ru_maxrss`
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write_run(name, device, run, key):
    """Put a run into `results/<name>-<device>.json`, in the place of an earlier one with the same values of `key`.

    Args:
        name (`str`): of the benchmark.
        device (`torch.device`).
        run (`dict`): what is written.
        key (`tuple[str, ...]`): fields that tell runs apart.

    Returns:
        `Path`
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device.type}.json"
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    others = [other for other in runs if any(other.get(field) != run.get(field) for field in key)]
    path.write_text(json.dumps([*others, run], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
