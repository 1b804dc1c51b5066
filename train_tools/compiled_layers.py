"""Layers of both networks compiled by torch: fewer kernels and calls, which small models on a GPU are bound by.

A graph holds a whole layer on the flat tokens of a batch without padding, attention included. Measured on a CPU, with
tensors so small that calls are all that counts: graphs around attention are slower than plain layers, since a compiled
function costs as much as ten operators; a layer in a graph is faster. The object that describes a batch stays outside:
a graph would be recorded again for each. What goes in is its boundaries, as tensors and one number.

One graph serves all shapes (`dynamic=True`): a network has two graphs, for training and evaluation with gradients, and
recorded them at its first batch. With tokens filled up to a multiple, each shape has a graph of its own, and ragged
batches have more shapes than torch keeps; that is for options that cannot do without (CUDA graphs).

Dropout draws other random numbers than in plain layers: the same distribution, but not the same run.
"""

import statistics
import time
import types
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.electra.modeling_electra import ElectraEncoder
from transformers.training_args import ParallelMode

from ..unpadding_electra_rtd import UNPADDED_ATTENTION, pad_input, unpad_input
from .step_timing import TooLong, as_it_was, deadline, seconds_of_steps, step
from .unpadded_attention import NAME as BY_BOUNDARIES
from .unpadded_attention import ROWS, WAYS, choose_way


# What a graph holds instead of the other ways of attention, too: the memory-efficient operator's backward cannot be
# recorded (torch 2.13 has forgotten an argument where it says what shapes come out), and nested tensors are objects.
IN_GRAPH = ("flash", ROWS)
LOWEST_TORCH = (2, 6)
WORTH_IT = 1.1  # how much faster a step must be
SECONDS_TO_COMPILE = 120.0
SECONDS_OF_TIMING = 4.0
ROUNDS_OF_TIMING = 10
SHAPES_AT_MOST = 8  # compiled, where each shape is by itself
# How far loss and gradient may be from those of plain layers, as shares: a sample that falls to another token by
# rounding changes what the discriminator reads.
TOLERANCES = {torch.float32: 0.01, torch.bfloat16: 0.05, torch.float16: 0.05}
CHECKPOINTED = "gradient checkpointing saves memory, and a run that needs it is not bound by launches"


class Boundaries(NamedTuple):
    """Where the sequences of T tokens are: what attention reads.

    Args: cu_seqlens (int32, (R + 1,)); max_seqlen (`int`): W, at least the longest; there (bool, (R, W)) and cells
        (int64, (T,)): the sequences as a rectangle, where an operator does not read boundaries, else `None`.
    """

    cu_seqlens: torch.Tensor
    max_seqlen: int
    there: torch.Tensor | None = None
    cells: torch.Tensor | None = None


@dataclass
class Compiled:
    """How the layers of a network are compiled; its fields are those of [`compile_layers`]."""

    backend: Any
    layers_at_once: int
    multiple: int | None
    options: dict | None
    functions: dict = field(default_factory=dict, compare=False)  # by shape, where each has its own

    def function(self, shape):
        """The compiled function for a shape; `None` where there are too many shapes."""
        key = shape if self.multiple else None
        if key not in self.functions:
            if len(self.functions) == SHAPES_AT_MOST:
                return None
            # Code of its own: torch keeps what it compiled, and counts how often, by code object.
            own = types.FunctionType(run_layers.__code__.replace(), run_layers.__globals__, run_layers.__name__)
            self.functions[key] = torch.compile(
                own, backend=self.backend, dynamic=not self.multiple, options=self.options
            )
        return self.functions[key]


class CompiledEncoder(ElectraEncoder):
    """ELECTRA's stack of layers, compiled where it learns from a batch without padding, and the stock one elsewhere.

    An encoder that exists gets this class: names of weights, hooks and references to it stay.
    """

    compiled: Compiled | None = None

    def forward(self, hidden_states, attention_mask=None, **kwargs):
        """As the stock one: hidden_states (float, (1, T, H)); `unpadded` ([`UnpaddedBatch`], *optional*)."""
        found = self._find_function(hidden_states, kwargs.get("unpadded"))
        if found is None:
            return super().forward(hidden_states, attention_mask, **kwargs)
        function, way, boundaries, tokens, at_once = found
        hidden = hidden_states.reshape(-1, hidden_states.shape[-1])  # (T, H)
        count = len(hidden)
        if tokens > count:
            hidden = nn.functional.pad(hidden, (0, 0, 0, tokens - count))
        # Not a view: a graph is recorded for what its inputs are views of, and the first layer's are often views.
        hidden = torch.ops.aten._unsafe_view(hidden, hidden.shape)
        for first in range(0, len(self.layer), at_once):
            hidden = function(tuple(self.layer[first : first + at_once]), hidden, boundaries, way)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden[None, :count])

    def _find_function(self, hidden, unpadded):
        """What runs layers, the way of attention, boundaries, tokens and layers at once; `None` for the stock way."""
        if self.compiled is None or unpadded is None or not torch.is_grad_enabled():
            return None
        if self.training and any(layer.gradient_checkpointing for layer in self.layer):
            return None
        attention = self.layer[0].attention.self
        device, dtype = hidden.device, hidden.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        way = ROWS
        if self.config._attn_implementation == BY_BOUNDARIES:
            like = torch.empty(
                0, attention.num_attention_heads, attention.attention_head_size, dtype=dtype, device=device
            )
            way = choose_way(like, attention.dropout.p if self.training else 0.0, attention.way)
            way = way if way in IN_GRAPH else ROWS
        boundaries, tokens = find_boundaries(unpadded, self.compiled.multiple, in_rows=way == ROWS)
        shape = (tokens, len(boundaries.cu_seqlens), boundaries.max_seqlen)
        function = self.compiled.function(shape)
        return None if function is None else (function, way, boundaries, tokens, self.compiled.layers_at_once)

    def __getstate__(self):
        # A copy, or what is read from a file, is plain until it is compiled itself.
        state = super().__getstate__()
        state.pop("compiled", None)
        return state


def find_boundaries(unpadded, multiple, in_rows):
    """The boundaries of a batch, with dummy sequences that fill it up to a multiple of tokens.

    Args: unpadded ([`UnpaddedBatch`]); multiple (`int` or `None`); in_rows (`bool`): with the rectangle.
    Returns: [`Boundaries`], and the number of tokens with the dummy ones.
    """
    cu_seqlens, longest, count = unpadded.cu_seqlens, unpadded.max_seqlen, len(unpadded.indices)
    device, tokens = cu_seqlens.device, count
    if multiple:
        tokens, longest = round_up(count, multiple), round_up(longest, 64)
        rows = len(cu_seqlens) - 1
        dummies = round_up(rows + -(-multiple // longest), 64) - rows
        # Dummy sequences hold the dummy tokens: an operator leaves what is in no sequence as it is in memory.
        ends = count + longest * torch.arange(1, dummies + 1, dtype=torch.int32, device=device)
        cu_seqlens = torch.cat([cu_seqlens, ends.clamp(max=tokens)])
    if not in_rows:
        return Boundaries(cu_seqlens, longest), tokens
    if len(cu_seqlens) == 2:  # a size of 1 would get a graph of its own: an empty sequence more
        cu_seqlens = torch.cat([cu_seqlens, cu_seqlens[-1:]])
    there = torch.arange(longest, device=device) < cu_seqlens.diff()[:, None]  # (R, W)
    numbers = torch.arange(tokens, dtype=torch.int32, device=device)
    rows = torch.searchsorted(cu_seqlens, numbers, right=True) - 1  # (T,)
    return Boundaries(cu_seqlens, longest, there, rows * longest + numbers - cu_seqlens[rows]), tokens


def round_up(number, multiple):
    return -(-number // multiple) * multiple


# ---- What is compiled -----------------------------------------------------------------------------------------------


def run_layers(layers, hidden, boundaries, way):
    """Layers one after another. Args: layers (of `ElectraLayer`); hidden (float, (T, H)). Returns: (T, H)."""
    for layer in layers:
        attention = layer.attention.self
        heads = (-1, attention.attention_head_size)
        states = [
            project(hidden).unflatten(-1, heads) for project in (attention.query, attention.key, attention.value)
        ]
        dropout = attention.dropout.p if attention.training else 0.0
        attended = attend(way, boundaries, states, dropout, attention.scaling)  # (T, heads, D)
        hidden = layer.feed_forward_chunk(layer.attention.output(attended.flatten(1), hidden))
    return hidden


def attend(way, boundaries, states, dropout, scaling):
    """Attention within sequences. Args: states: query, key and value (float, (T, heads, D)). Returns: likewise."""
    if way != ROWS:
        return WAYS[way](boundaries, *states, dropout, scaling)
    there, cells = boundaries.there, boundaries.cells
    rows = [pad_input(one, cells, there.shape).transpose(1, 2) for one in states]  # (R, heads, W, D) each
    mask = torch.zeros(there.shape, dtype=rows[0].dtype, device=there.device)
    mask = mask.masked_fill(~there, torch.finfo(mask.dtype).min)[:, None, None]
    output = nn.functional.scaled_dot_product_attention(*rows, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return unpad_input(output.transpose(1, 2), cells)


# ---- On and off -----------------------------------------------------------------------------------------------------


def why_not(model, training_args=None):
    """Why the layers of a pair cannot be compiled here, or `None`. Whether the tools for it work is not looked at.

    Args:
        model ([`ElectraRTDForPreTraining`])
        training_args (`TrainingArguments`, *optional*): of the run.

    Returns:
        `str` or `None`
    """
    if not model._supports_attention_backend:
        return "it needs transformers 5.0 or newer: before, ELECTRA's attention knows no batch without padding"
    if torch.__version__ < LOWEST_TORCH:
        return f"it needs torch {LOWEST_TORCH[0]}.{LOWEST_TORCH[1]} or newer, and this is {torch.__version__}"
    if not torch._dynamo.is_dynamo_supported():
        return "torch.compile does not know this release of Python, or this system"
    for network in (model.generator, model.discriminator):
        config, encoder = network.config, network.electra.encoder
        if config._attn_implementation not in (BY_BOUNDARIES, "sdpa", UNPADDED_ATTENTION["sdpa"]):
            return f"it has no attention {config._attn_implementation!r}, only sdpa and that by boundaries"
        if config.is_decoder or type(encoder) not in (ElectraEncoder, CompiledEncoder):
            return "the networks are not two stock encoders"
        if any(layer.gradient_checkpointing for layer in encoder.layer):
            return CHECKPOINTED
    if training_args is None:
        return None
    if training_args.gradient_checkpointing:
        return CHECKPOINTED
    if training_args.torch_compile:
        return "`torch_compile` compiles the whole model already: choose one of the two"
    if training_args.deepspeed or training_args.fsdp or training_args.parallel_mode == ParallelMode.NOT_DISTRIBUTED:
        return "it is for one device a process, without FSDP and DeepSpeed"
    return None


def compile_layers(model, *, layers_at_once=1, multiple=None, backend="inductor", options=None):
    """Compile the layers of both networks, in place. The first batches take the time that compiling takes.

    Where a batch keeps its padding (hidden states or attentions are asked for), where nothing is learned, under
    gradient checkpointing, and where the whole model is compiled, the stock layers run. A deep copy is plain, and so
    is what a file holds. Hooks on a layer or its attention do not run where it is compiled.

    Args:
        model ([`ElectraRTDForPreTraining`])
        layers_at_once (`int`): layers in one graph: more save overhead of calls, and compile longer.
        multiple (`int`, *optional*): fill the tokens of a batch up to a multiple, and compile for each shape: for
            `options` that need shapes which do not change. By default one graph serves all shapes.
        backend (`str` or function), options (`dict`, *optional*): of `torch.compile`.

    Raises:
        ValueError: it cannot be done here, see [`why_not`].
    """
    reason = why_not(model)
    if reason is not None:
        raise ValueError(f"The layers cannot be compiled: {reason}.")
    if layers_at_once < 1 or (multiple is not None and multiple < 1):
        raise ValueError(f"`layers_at_once` is {layers_at_once}, `multiple` {multiple}: they must be 1 or more.")
    for encoder in _encoders(model):
        settings = Compiled(backend, layers_at_once, multiple, options)
        encoder.__class__ = CompiledEncoder
        if encoder.compiled != settings:
            encoder.compiled = settings


def undo(model):
    """Let the stock layers run again. What was compiled is kept for a later [`compile_layers`]. Args: model."""
    for encoder in _encoders(model):
        encoder.__class__ = ElectraEncoder


def are_compiled(model):
    """Whether the layers of a model are compiled: `bool`. Args: model ([`ElectraRTDForPreTraining`])."""
    return all(type(encoder) is CompiledEncoder and encoder.compiled is not None for encoder in _encoders(model))


def _encoders(model):
    return [network.electra.encoder for network in (model.generator, model.discriminator)]


# ---- Does it pay ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether compiled layers pay: `chosen` (`bool`); `why` (`str`), for a person; seconds of a step, or `None`."""

    chosen: bool
    why: str
    plain: float | None = None
    compiled: float | None = None
    to_compile: float | None = None


def pays(model, batches, *, autocast=None, seconds_to_compile=SECONDS_TO_COMPILE, **settings):
    """Whether a step (forward and backward) with compiled layers is clearly faster on these batches.

    Both ways are taken in turn, after both have warmed up. Whatever goes wrong with compiling is a reason to leave it.

    Args:
        model ([`ElectraRTDForPreTraining`]): on the device where it is trained. Weights, gradients, mode and torch's
            generators are left as they were, and its layers plain; what was compiled is kept for [`compile_layers`].
        batches (`list` of `dict` of `torch.LongTensor` of shape `(B, L)`): on that device; a few of different shapes.
        autocast (`torch.dtype`, *optional*): of mixed precision.
        seconds_to_compile (`float`): after that many it is given up, at once in the main thread of a process on Linux
            or macOS, after the current step elsewhere.
        **settings: as of [`compile_layers`].

    Returns:
        [`Verdict`]
    """
    reason = why_not(model)
    if reason is not None:
        return Verdict(False, reason)
    undo(model)
    with as_it_was(model):
        for batch in batches:
            step(model.train(), batch, autocast)
        expected = _figures(model, batches[0], autocast)
        compile_layers(model, **settings)
        try:
            return _compare(model, batches, autocast, seconds_to_compile, settings, expected)
        except TooLong:
            return Verdict(False, f"compiling took more than {seconds_to_compile:.0f} s")
        except Exception as error:  # one of many tools fails or is not there: plain layers need none of them
            return Verdict(False, f"compiling failed: {_first_words(error)}")
        finally:
            undo(model)


def _first_words(error):
    """The kind of an error and the first lines of its text; those of torch's own wrap the one that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300]}"


def _compare(model, batches, autocast, seconds_to_compile, settings, expected):
    begin = time.perf_counter()
    with deadline(seconds_to_compile):
        for batch in batches:
            step(model.train(), batch, autocast)
            if time.perf_counter() > begin + seconds_to_compile:  # where there is no alarm
                raise TooLong
        found = _figures(model, batches[0], autocast)
    to_compile = time.perf_counter() - begin
    share = TOLERANCES[autocast or torch.float32]
    if not all(abs(ours - plain) <= share * abs(plain) for ours, plain in zip(found, expected, strict=True)):  # or NaN
        figures = [f"loss {loss:.4f} and gradient {norm:.4f}" for loss, norm in (found, expected)]
        return Verdict(False, f"the results differ: {', with plain layers '.join(figures)}")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    end = time.perf_counter() + SECONDS_OF_TIMING
    model.train()
    for _ in range(ROUNDS_OF_TIMING):
        for compiled, taken in seconds.items():
            compile_layers(model, **settings) if compiled else undo(model)
            taken.append(seconds_of_steps(model, batches, autocast))
        if time.perf_counter() > end:
            break
    plain, ours = (statistics.median(seconds[compiled]) / len(batches) for compiled in (False, True))
    chosen = plain >= WORTH_IT * ours
    why = (
        f"a step takes {ours * 1e3:.1f} ms, with plain layers {plain * 1e3:.1f} ms; compiling took {to_compile:.0f} s"
    )
    return Verdict(chosen, why, plain, ours, to_compile)


def _figures(model, batch, autocast):
    """The loss and the length of its gradient, in eval mode: without dropout, and with one corruption."""
    loss = step(model.eval(), batch, autocast)
    gradients = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    return loss.item(), torch.stack(gradients).norm().item()
