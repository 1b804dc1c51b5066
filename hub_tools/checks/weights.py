"""Weights: the names, shapes and numbers that the configuration asks for, read without running anything."""

from collections import defaultdict

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import logging

from ...modeling_electra_rtd import ElectraRTDForPreTraining
from .. import layout
from ..report import ERROR, WARNING, Finding


LISTED = 5  # names in one message


class Weights:
    """The tensors of a checkpoint, one at a time; a context manager that keeps the files open.

    Args:
        checkpoint ([`CheckpointFiles`])
        prefix (`str`): a subfolder with a `/` at its end, or nothing.

    Attributes:
        files (`dict`): name of a tensor to its file.
        problems (`list` of [`Finding`]): what cannot be read.
    """

    def __init__(self, checkpoint, prefix=""):
        self.files = {}
        self.problems = []
        self._open = {}
        self._checkpoint = checkpoint
        self._prefix = prefix

    def __enter__(self):
        for name in self._weight_files():
            path = self._checkpoint.path(name)
            if not self._checkpoint.is_here(name):
                self._problem(name, "is named by the index, but is not there: pull or save again.")
                continue
            try:
                file = safe_open(path, framework="pt").__enter__()
            except (SafetensorError, OSError) as error:
                self._problem(name, f"is not safetensors, or is cut off: {error}.")
                continue
            self._open[name] = file
            if (file.metadata() or {}).get("format") != "pt":
                self._problem(name, 'lacks the metadata `format: "pt"`: transformers 4.57 refuses it. Save again.')
            for tensor in file.keys():  # noqa: SIM118
                if tensor in self.files:
                    self._problem(name, f"holds {tensor}, which {self.files[tensor]} holds too.")
                self.files[tensor] = name
        return self

    def __exit__(self, *error):
        for file in self._open.values():
            file.__exit__(None, None, None)

    def shape(self, tensor):
        """`tuple[int]`: read from the file's head."""
        return tuple(self._open[self.files[tensor]].get_slice(tensor).get_shape())

    def __getitem__(self, tensor):
        """`torch.Tensor`"""
        return self._open[self.files[tensor]].get_tensor(tensor)

    def _weight_files(self):
        index = self._prefix + layout.WEIGHTS_INDEX
        if self._prefix + layout.WEIGHTS in self._checkpoint.names or not self._checkpoint.is_here(index):
            single = self._prefix + layout.WEIGHTS
            return [single] if self._checkpoint.is_here(single) else []
        try:
            named = set(self._checkpoint.read_json(index)["weight_map"].values())
            strange = [file for file in named if not layout.SHARD.fullmatch(file)]
        except (ValueError, KeyError, TypeError, AttributeError):
            self._problem(index, "is not an index of safetensors.")
            return []
        if strange:
            self._problem(index, f"names {strange[0]!r}, which is no file of this folder.")
            return []
        return sorted(self._prefix + file for file in named)

    def _problem(self, path, message):
        self.problems.append(Finding(ERROR, "weights-unreadable", path, message))


def check_weights(checkpoint, config):
    """Names, shapes, types and finiteness against the configuration.

    Args:
        checkpoint ([`CheckpointFiles`])
        config ([`ElectraRTDConfig`])

    Yields:
        [`Finding`]
    """
    with Weights(checkpoint) as weights:
        yield from weights.problems
        if not weights.files:
            return
        layers = max(config.generator_config.num_hidden_layers, config.discriminator_config.num_hidden_layers)
        if layers > len(weights.files):  # before anything of that size is built
            yield _wrong(
                "names", layout.CONFIG, f"asks for {layers} layers, the weights have {len(weights.files)} tensors."
            )
            return
        try:
            expected, ties = expected_tensors(config)
        except Exception as error:  # whatever a hostile value makes the networks raise
            yield Finding(
                ERROR, "config-invalid", layout.CONFIG, f"no model can be built: {type(error).__name__}: {error}"
            )
            return
        yield from _check_names(weights, expected, ties)
        yield from _check_values(weights, expected, config)
        yield from _check_ties(weights, ties)


def expected_tensors(config):
    """What a configuration asks for; nothing of it is allocated.

    Args:
        config ([`ElectraRTDConfig`])

    Returns:
        `tuple`: a `dict` from names to shapes, and a `list` of sets of names that are one tensor
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # about a model that nobody will use
    try:
        with torch.device("meta"):
            model = ElectraRTDForPreTraining(config)
            model.tie_weights()
    finally:
        logging.set_verbosity(verbosity)
    names_of = defaultdict(set)
    shapes = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names_of[id(tensor)].add(name)
        shapes[name] = tuple(tensor.shape)
    return shapes, [names for names in names_of.values() if len(names) > 1]


def _check_names(weights, expected, ties):
    absent = set(expected) - set(weights.files)
    for tied in ties:
        if tied - absent:
            absent -= tied  # one name of a tied tensor is enough
    if absent:
        yield _wrong("missing", layout.WEIGHTS, f"lacks {_some(absent)}: loading would draw them at random.")
    unknown = set(weights.files) - set(expected)
    if unknown:
        yield _wrong("unexpected", layout.WEIGHTS, f"holds what the model has not: {_some(unknown)}.")


def _check_values(weights, expected, config):
    dtypes = defaultdict(list)
    for name in sorted(weights.files):
        shape = weights.shape(name)
        if name in expected and shape != expected[name]:
            yield _wrong(
                "shape", weights.files[name], f"{name} has the shape {shape}, config.json asks for {expected[name]}."
            )
        tensor = weights[name]
        dtypes[tensor.dtype].append(name)
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            yield _wrong(
                "dtype",
                weights.files[name],
                f"{name} holds {tensor.dtype}, not floating-point numbers of 16 bits or more.",
            )
        elif not tensor.isfinite().all():
            yield _wrong(
                "not-finite",
                weights.files[name],
                f"{name} holds NaN or Inf: the training diverged. Take an earlier state.",
            )
    if len(dtypes) > 1:
        counts = ", ".join(f"{len(names)} of {dtype}" for dtype, names in dtypes.items())
        yield Finding(WARNING, "weights-dtype", layout.WEIGHTS, f"the tensors have different types: {counts}.")
    elif config.dtype is not None and config.dtype not in dtypes:
        yield Finding(
            WARNING, "weights-dtype", layout.CONFIG, f"says {config.dtype}, the weights are {next(iter(dtypes))}."
        )


def _check_ties(weights, ties):
    for tied in ties:
        present = sorted(tied & set(weights.files))
        for other in present[1:]:
            if not torch.equal(weights[present[0]], weights[other]):
                yield _wrong(
                    "tying",
                    weights.files[other],
                    f"{present[0]} and {other} are one tensor by config.json, but differ: one of them would be lost.",
                )


def _wrong(kind, path, message):
    return Finding(ERROR, f"weights-{kind}", path, message)


def _some(names):
    names = sorted(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"
