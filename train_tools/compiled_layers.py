"""Layers of both networks compiled by torch: fewer and larger kernels, which small models on a GPU are bound by."""

import signal
import statistics
import threading
import time
import types
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.electra.modeling_electra import ElectraEncoder

from ..unpadding_electra_rtd import UNPADDED_ATTENTION, pad_input, unpad_input
from .unpadded_attention import NAME as BY_BOUNDARIES
from .unpadded_attention import ROWS, WAYS, choose_way


TRACEABLE = ("flash", "efficient", ROWS)  # ways of attention that a graph can hold
WORTH_IT = 1.1  # how much faster a step must be
SECONDS_TO_COMPILE = 120.0
SECONDS_OF_TIMING = 4.0
SHAPES_AT_MOST = 8  # graphs for shapes, where each shape has its own


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
    functions: dict = field(default_factory=dict)  # by shape, where each has its own

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
        function, way, boundaries, tokens = found
        hidden = hidden_states.reshape(-1, hidden_states.shape[-1])  # (T, H)
        count = len(hidden)
        if tokens > count:
            hidden = nn.functional.pad(hidden, (0, 0, 0, tokens - count))
        # Not a view: a graph is recorded for what its inputs are views of, and the first layer's are often views.
        hidden = torch.ops.aten._unsafe_view(hidden, hidden.shape)
        for first in range(0, len(self.layer), self.compiled.layers_at_once):
            few = tuple(self.layer[first : first + self.compiled.layers_at_once])
            hidden = function(few, hidden, boundaries, way)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden[None, :count])

    def _find_function(self, hidden, unpadded):
        """What runs the layers, the way of attention, boundaries and number of tokens; `None` for the stock way."""
        if self.compiled is None or unpadded is None or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None
        if self.training and any(layer.gradient_checkpointing for layer in self.layer):
            return None
        attention = self.layer[0].attention.self
        device, dtype = hidden.device, hidden.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        way = ROWS
        if self.config._attn_implementation == BY_BOUNDARIES:
            like = torch.empty(0, attention.num_attention_heads, attention.attention_head_size, dtype=dtype, device=device)
            way = choose_way(like, attention.dropout.p if self.training else 0.0, attention.way)
        if way not in TRACEABLE:
            return None
        boundaries, tokens = find_boundaries(unpadded, self.compiled.multiple, in_rows=way == ROWS)
        shape = (tokens, len(boundaries.cu_seqlens), boundaries.max_seqlen)
        function = self.compiled.function(shape)
        return None if function is None else (function, way, boundaries, tokens)

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
        states = [project(hidden).unflatten(-1, heads) for project in (attention.query, attention.key, attention.value)]
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
