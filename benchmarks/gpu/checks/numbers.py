"""Do the numbers stay right: at odd lengths, in 16 bits, compiled, computed twice, and in the same order each time?"""

import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from unittest import mock

import numpy as np
import torch

from electra_rtd.train_tools.compiled_layers import compile_layers, undo

from ... import ROOT
from .. import alone
from ..ground import NoTime, Skipped, compare, demand, difference, samples_without_logits, step
from .objective import LOWER


ODD = ((128, 64), (256, 192))  # tokens of the two rows of a batch: pytorch#196678
STEPS = {torch.bfloat16: 3, torch.float16: 16}  # a GradScaler begins too high, and leaves out some
ALONE = 120  # seconds, of a process of its own
COMPILING = 60  # seconds at most, with what it starts


def finite_where_half_is_padding(ground):
    """Gradients of padded batches at lengths where the backward pass of a fused attention was seen to give NaN.

    Args: ground ([`Ground`]). Returns: `dict`, the sum of the gradients' norms. Raises: AssertionError.
    """
    figures = {}
    for lengths in ODD:
        for layout in ("padded", "rectangles"):
            model = ground.model()
            named = {"output_hidden_states": True} if layout == "padded" else {}
            output, gradients = step(model, ground.batch(lengths), ground.autocast(torch.bfloat16), **named)
            total = float(sum(values.norm() for values in gradients.values()))
            what = f"{lengths[1]} of {lengths[0]} tokens, {layout}"
            demand(np.isfinite(total) and np.isfinite(float(output.loss.detach())), f"{what}: loss or gradient is NaN")
            figures[what] = total
    return figures


def sixteen_bits(ground):
    """Losses under autocast are those of float32, and a few steps under each change the weights and keep them finite.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError.
    """
    with samples_without_logits(), torch.no_grad():
        expected = ground.model()(**ground.batch())
    figures = {}
    for dtype in (torch.bfloat16, torch.float16):
        kind = str(dtype).removeprefix("torch.")
        with samples_without_logits(), torch.no_grad(), ground.autocast(dtype):
            found = ground.model(as_adapt=True)(**ground.batch())
        for name in ("mlm_loss", "disc_loss"):
            figures[f"{kind}, {name}"] = difference(found[name], expected[name])
            values = f"{float(found[name]):.4f}, not {float(expected[name]):.4f}"
            demand(figures[f"{kind}, {name}"] <= LOWER, f"{kind}: {name} is {values}")
        taken = _steps_under(ground, dtype)
        demand(taken >= 3, f"{kind}: the gradient was finite in {taken} of {STEPS[dtype]} steps")
        figures[f"{kind}, steps taken of {STEPS[dtype]}"] = taken
    return figures


def _steps_under(ground, dtype):
    """Args: ground; dtype. Returns: `int`, steps that changed the weights. Raises: AssertionError: some got lost."""
    model = ground.model(dropout=0.1, as_adapt=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    scaler = torch.amp.GradScaler(ground.device.type, enabled=dtype == torch.float16)
    weight, taken = model.discriminator.get_input_embeddings().weight, 0
    for _ in range(STEPS[dtype]):
        before = weight.detach().clone()
        with ground.autocast(dtype):
            loss = model(**ground.batch()).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        taken += int(not torch.equal(before, weight))
    lost = [name for name, values in model.named_parameters() if not values.isfinite().all()]
    demand(not lost, f"{dtype}: not finite after {STEPS[dtype]} steps: {', '.join(lost)}")
    return taken


def compiled(ground):
    """`torch.compile` of the whole model, which is padded then, computes the same losses and gradients.

    On a CPU the graph is recorded and run as it is: compiling there needs a C++ compiler.
    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError; Skipped: no time for it.
    """
    demand_compiler(ground)
    torch.compiler.reset()
    backend = "inductor" if ground.device.type == "cuda" else "eager"
    with samples_without_logits():
        expected = step(ground.model(), ground.batch())
        model = ground.model()
        model.compile(backend=backend)
        found = step(model, ground.batch())
    torch.compiler.reset()
    return compare(f"by {backend}", found, expected, loss=1e-4, gradients=1e-3)


def compiled_layers(ground):
    """Compiled layers on batches without padding compute the same losses and gradients as plain ones.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError; Skipped: no time for it.
    """
    demand_compiler(ground)
    backend = "inductor" if ground.device.type == "cuda" else "eager"
    model, figures = ground.model(as_adapt=True), {}
    for rows in (None, 3):  # two shapes
        batch = ground.batch(ground.lengths()[:rows])
        with samples_without_logits():
            compile_layers(model, backend=backend)
            found = step(model, batch)
            undo(model)
            expected = step(model, batch)
        figures |= compare(f"{len(batch['input_ids'])} rows by {backend}", found, expected, loss=1e-4, gradients=1e-3)
    encoders = [network.electra.encoder for network in (model.generator, model.discriminator)]
    demand(all(encoder.compiled.functions for encoder in encoders), "nothing was compiled: the plain layers ran")
    return figures


def demand_compiler(ground):
    """Args: ground ([`Ground`]). Raises: NoTime: to compile; Skipped: there is nothing to do it with."""
    if ground.clock is not None and ground.clock.left() < COMPILING:
        raise NoTime(f"it may take {COMPILING} s, and {ground.clock.left():.0f} s are left")
    compilers = [os.environ.get("CC", "gcc"), "clang"]
    if ground.device.type == "cuda" and not any(map(shutil.which, compilers)):
        raise Skipped(f"there is no C compiler, which it needs: {' or '.join(compilers)}")


def checkpointed(ground):
    """Gradient checkpointing changes no number, in training mode, with dropout.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError.
    """
    steps = []
    for again in (False, True):
        model = ground.model(dropout=0.1, as_adapt=True).train()
        if again:
            with warnings.catch_warnings():  # newer releases have another name for it
                warnings.simplefilter("ignore", FutureWarning)
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        torch.manual_seed(0)
        with samples_without_logits():
            steps.append(step(model, ground.batch()))
    return compare("with checkpoints", steps[1], steps[0])


def deterministic(ground):
    """`full_determinism` of the Trainer works, and two runs under it are equal to the bit, with dropout.

    Args: ground ([`Ground`]). Returns: `dict` of the losses. Raises: AssertionError.
    """
    runs = losses_alone(ground.device) if ground.device.type == "cuda" else _losses_here(ground)
    demand(all(run == runs[0] for run in runs), f"two runs differ: {' and '.join(map(str, runs))}")
    demand(len(set(runs[0])) == len(runs[0]), f"nothing was learned: {runs[0]}")
    return {"losses": runs[0]}


def losses_alone(device):
    """In a process of their own, see `alone.py`. Args: device (`torch.device`). Returns: `list[list[float]]`."""
    command = [sys.executable, "-m", alone.__name__, device.type]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=ALONE)
    demand(made.returncode == 0, f"it does not work: {' '.join(made.stderr.strip().splitlines()[-3:])}")
    return json.loads(made.stdout.strip().splitlines()[-1])


def _losses_here(ground):
    states = random.getstate(), np.random.get_state()
    algorithms = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        with mock.patch.dict(os.environ):  # what it sets there would reach the processes that we start
            return alone.losses_of_runs(ground)
    finally:
        torch.use_deterministic_algorithms(algorithms)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        random.setstate(states[0])
        np.random.set_state(states[1])
