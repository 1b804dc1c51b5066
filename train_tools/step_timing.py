"""Steps of a model that are only taken to see how long they take, or whether they fit: nothing stays of them."""

import signal
import threading
import time
from contextlib import contextmanager

import torch


def step(model, batch, autocast):
    """Forward and backward.

    Args:
        model ([`ElectraRTDForPreTraining`]), batch (`dict` of `torch.LongTensor` of shape `(B, L)`): on one device.
        autocast (`torch.dtype` or `None`): of mixed precision.

    Returns:
        `torch.FloatTensor` of shape `()`: the loss.
    """
    model.zero_grad(set_to_none=True)
    with torch.autocast(model.device.type, dtype=autocast, enabled=autocast is not None):
        loss = model(**batch).loss
    loss.backward()
    return loss


def seconds_of_steps(model, batches, autocast):
    """Seconds that steps take until the device has done them: `float`. Args: as of [`step`], for several batches."""
    _wait(model.device)
    begin = time.perf_counter()
    for batch in batches:
        step(model, batch, autocast)
    _wait(model.device)
    return time.perf_counter() - begin


def _wait(device):
    if device.type != "cpu":
        torch.accelerator.synchronize(device)  # since torch 2.6


@contextmanager
def as_it_was(model, device=None):
    """Runs a block, and gives a model back its gradients and its mode, and torch its random numbers.

    Args:
        model ([`ElectraRTDForPreTraining`])
        device (`torch.device`, *optional*): where the block computes, if that is not where the model is.
    """
    mode, unseen, device = model.training, model.unseen_labels, device or model.device
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    devices = [device] if device.type in ("cuda", "xpu") else []
    try:
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            yield
    finally:
        model.train(mode)
        model.unseen_labels = unseen
        for parameter, gradient in gradients:
            parameter.grad = gradient


AGAIN = 2.0  # seconds from one alarm to the next, enough to leave a block in


class TooLong(BaseException):
    """Time is up. Not an `Exception`: compilers catch those."""


@contextmanager
def deadline(seconds):
    """Raises [`TooLong`] in the block when time is up: in the main thread, and where the system has timers for it.

    Compiled code of a library may swallow it, or make an error of its own of it: so it is raised again and again until
    the block is left, and whatever error ends the block after its time is a [`TooLong`].

    Args:
        seconds (`float`)
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number, frame):
        raise TooLong

    handler, begin = signal.signal(signal.SIGALRM, stop), time.monotonic()
    of_others, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    except Exception as error:
        if time.monotonic() < begin + seconds:
            raise
        raise TooLong from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if of_others:
            signal.setitimer(signal.ITIMER_REAL, max(of_others + begin - time.monotonic(), 0.001), interval)
