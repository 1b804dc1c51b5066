"""The processes of one distributed run, forked from this one: what is imported here is not imported again in each.

`torchrun` starts each of its processes from nothing, which costs ten seconds of a processor for the imports alone.
Here each is a fork that finds in its environment what `torchrun` would have put there. For CPUs: CUDA does not live on
in a fork.
"""

import contextlib
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm


# What `accelerate launch` puts into the environment for FSDP2, with a unit for each layer.
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "ElectraLayer",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def run_forked(function, world, *arguments, named=None, timeout=120, environment=None):
    """Call a function in each of several processes, which can form one process group.

    Args:
        function (callable): gets the arguments; the processes know their ranks from the environment.
        world (`int`): how many processes.
        *arguments, named (`dict`, *optional*): of the function, by place and by name.
        timeout (`float`): seconds, after which all of them are killed.
        environment (`dict[str, str]`, *optional*): more variables.

    Returns: `list` of what each process returned, by rank. Raises: RuntimeError: one of them failed, or the time is
    over; the message holds what they wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        call = partial(function, *arguments, **(named or {}))
        started = start_forked(call, world, folder=Path(folder), environment=environment)
        wait_for(started, timeout)
        return [pickle.loads((Path(folder) / f"{rank}.pickle").read_bytes()) for rank in range(world)]


def start_forked(call, world, *, folder, environment=None):
    """As above, and do not wait.

    Args: call (callable): without arguments; world, environment: as above; folder (`Path`): for what they write.
    Returns: `list[Started]`, by rank
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(world):
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            variables = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": world,
                "LOCAL_WORLD_SIZE": world,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": 1,
                "TOKENIZERS_PARALLELISM": "false",
                **(environment or {}),
            }
            _live(call, {name: str(value) for name, value in variables.items()}, folder / str(rank))
        started.append(Started(process, folder / str(rank)))
    return started


class Started:
    """A process that runs. Args: process (`int`): its id; path (`Path`): of its files, without their endings."""

    def __init__(self, process, path):
        self.process, self.path, self.status = process, path, None

    def poll(self):
        """Returns: `int`, the exit status (below 0: the signal that ended it), or `None` while it runs."""
        if self.status is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if process else None
        return self.status

    def kill(self):
        """SIGKILL, and wait for the end."""
        if self.poll() is None:
            os.kill(self.process, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def words(self):
        """What it wrote: `str`."""
        file = self.path.with_suffix(".log")
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def wait_for(started, timeout):
    """Wait for all; where one fails or the time is over, kill the others.

    Args: started (`list[Started]`); timeout (`float`): seconds. Raises: RuntimeError: as [`run_forked`].
    """
    end = time.monotonic() + timeout
    try:
        while any(one.poll() is None for one in started):
            if any(one.status for one in started) or time.monotonic() > end:
                break
            time.sleep(0.02)
        failed = [(rank, one.status) for rank, one in enumerate(started) if one.status != 0]
        if failed:
            ended = [f"process {rank} " + ("did not end" if s is None else f"ended with {s}") for rank, s in failed]
            raise RuntimeError("\n".join([", ".join(ended), *(one.words() for one in started)]))
    finally:
        for one in started:
            one.kill()


def _live(call, variables, path):
    """The life of a forked process: it never returns."""
    status = 1
    try:
        with open(path.with_suffix(".log"), "wb", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115 - until the end
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
            os.environ.update(variables)
            tqdm.set_lock(threading.RLock())  # not the one that all forks share: a killed one may hold it for ever
            torch.set_num_threads(1)  # threads of OpenMP that the parent has begun do not live in a fork
            _forget_processes()
            path.with_suffix(".pickle").write_bytes(pickle.dumps(call()))
            status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # nothing of the process that was forked may run on here
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            _end_group()
        os._exit(status)


def _forget_processes():
    """accelerate remembers what the process was that was forked."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def _end_group():
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def allow_fsdp_on_cpu():
    """Let accelerate use FSDP in this process although it has no GPU: for a forked process, before anything asks.

    accelerate takes processes on CPUs for DDP whatever its configuration says. Here it is told that these are GPUs
    whose device is the CPU and whose backend is gloo; all that follows (wrapping, gathering, saving) is its own code.
    """
    import torch.distributed as dist
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    dist.init_process_group("gloo")
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *arguments, **named: ("gloo", DistributedType.MULTI_GPU)
