"""Weights: the names, shapes and numbers that the configuration asks for, read without running anything."""

import re
from collections import defaultdict
from pathlib import PurePosixPath

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import logging

from .. import layout
from ..findings import ERROR, WARNING, Finding
from .settings import LISTED, some


LARGEST_HEAD = 2**22  # bytes of a file's table of tensors: 20,000 of them; a large pair has 800
FLOATS_AT_ONCE = 2**24
LOADED_EXACTLY = (torch.float32, torch.float16, torch.bfloat16)  # in every release: 4.57 loads float32
TRAINER_FOLDER = re.compile(r"(checkpoint-\d+|last-checkpoint)/.*")


class Weights:
    """The tensors of a checkpoint, one at a time; a context manager that keeps the files open.

    Args:
        checkpoint ([`CheckpointFiles`])
        prefix (`str`): a subfolder with a `/` at its end, or nothing.

    Attributes:
        files (`dict`): name of a tensor to its file.
        read (`list[str]`): the files that loaders read.
        name, config (`str`): what the weights and their configuration are called.
        problems (`list` of [`Finding`]): what cannot be read.
    """

    def __init__(self, checkpoint, prefix=""):
        self.files = {}
        self.problems = []
        self._index = {}
        self._open = {}
        self._checkpoint = checkpoint
        self._prefix = prefix
        self.name, self.config = prefix + layout.WEIGHTS, prefix + layout.CONFIG
        self.read = self._weight_files()

    def __enter__(self):
        for name in self.read:
            path = self._checkpoint.path(name)
            if len(self.problems) == LISTED:
                break
            if not self._checkpoint.is_here(name):
                self._problem(name, "is named by the index, but is not there: pull or save again.")
                continue
            if LARGEST_HEAD < _head_size(path) < path.stat().st_size:
                self._problem(name, f"has a table of {_head_size(path):,} bytes: no pair has so many tensors.")
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
        if self._index and not self.problems:
            self._compare_index()
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
        if self.name in self._checkpoint.names or not self._checkpoint.is_here(index):
            return [self.name] if self._checkpoint.is_here(self.name) else []
        try:
            content = self._checkpoint.read_json(index)
            named = set(content["weight_map"].values())
            strange = [file for file in named if not layout.SHARD.fullmatch(file)]
            if not named or not isinstance(content["metadata"], dict):
                raise ValueError("names nothing")
        except (ValueError, KeyError, TypeError, AttributeError):
            self._problem(index, "is not an index of safetensors.")
            return []
        if strange:
            self._problem(index, f"names {strange[0]!r}, which is no file of this folder.")
            return []
        self._index = {tensor: self._prefix + file for tensor, file in content["weight_map"].items()}
        return sorted(self._prefix + file for file in named)

    def _compare_index(self):
        """Releases before 5 load what the index names, later ones what the shards hold."""
        lying = sorted(
            tensor for tensor in {*self._index, *self.files} if self._index.get(tensor) != self.files.get(tensor)
        )
        if lying:
            tensor = lying[0]
            self._problem(
                self._prefix + layout.WEIGHTS_INDEX,
                f"says that {tensor} is in {self._index.get(tensor, 'no file')}, and it is in "
                f"{self.files.get(tensor, 'none')} ({len(lying)} such tensors): save the model again.",
            )

    def _problem(self, path, message):
        self.problems.append(Finding(ERROR, "weights-unreadable", path, message))


def _head_size(path):
    with open(path, "rb") as file:
        return int.from_bytes(file.read(8), "little")


def check_weights(weights, expected, ties, dtype):
    """Names, shapes, types and finiteness against the configuration.

    Args:
        weights ([`Weights`]): opened.
        expected (`dict`), ties (`list` of `set[str]`): of [`expected_tensors`].
        dtype (`torch.dtype` or `None`): what the configuration says.

    Yields:
        [`Finding`]
    """
    yield from weights.problems
    if weights.problems:
        return
    yield from _check_names(weights, expected, ties)
    yield from _check_values(weights, expected, dtype)
    yield from _check_ties(weights, ties)


def check_weight_files(checkpoint):
    """One set of weights, in each folder that a model is loaded from.

    Args:
        checkpoint ([`CheckpointFiles`])

    Yields:
        [`Finding`]
    """
    read = set()
    for prefix in ("", *(f"{part}/" for part in layout.EXPORTS)):
        read |= {*Weights(checkpoint, prefix).read, prefix + layout.WEIGHTS_INDEX}
    for name in checkpoint.names:
        file_name, folder = PurePosixPath(name).name.lower(), PurePosixPath(name).parent.as_posix()
        is_weights = file_name.endswith(".safetensors") or layout.SAFETENSORS_INDEX.fullmatch(file_name)
        if not is_weights or name in read or TRAINER_FOLDER.fullmatch(name):
            continue
        if folder in (".", *layout.EXPORTS):
            yield Finding(
                ERROR,
                "two-weights",
                name,
                "are weights beside the ones that were checked, and some loaders take them (`variant=...`). Remove "
                "the file, or put it into a folder of its own.",
            )
        else:
            yield Finding(WARNING, "other-weights", name, "weights that nobody compared with the pair's.")


def expected_tensors(model_class, config):
    """What a configuration asks for; nothing of it is allocated.

    Args:
        model_class (`type`): of a `PreTrainedModel`.
        config (`PretrainedConfig`): its settings are in the ranges of [`check_settings`].

    Returns:
        `tuple`: a `dict` from names to shapes, and a `list` of sets of names that are one tensor

    Raises:
        Exception: whatever the class makes of settings that do not fit together.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # about a model that nobody will use
    try:
        with torch.device("meta"):
            model = model_class(config)
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
        yield _wrong("missing", weights.name, f"lacks {some(sorted(absent))}: loading would draw them at random.")
    unknown = set(weights.files) - set(expected)
    if unknown:
        yield _wrong("unexpected", weights.name, f"holds what the model has not: {some(sorted(unknown))}.")


def _check_values(weights, expected, dtype):
    counts: dict[torch.dtype, int] = defaultdict(int)
    for name in sorted(set(weights.files) & set(expected)):
        shape, file = weights.shape(name), weights.files[name]
        if shape != expected[name]:
            yield _wrong("shape", file, f"{name} has the shape {shape}, config.json asks for {expected[name]}.")
        tensor = weights[name]
        counts[tensor.dtype] += 1
        if tensor.dtype not in LOADED_EXACTLY:
            yield _wrong(
                "dtype", file, f"{name} holds {tensor.dtype}, not floating-point numbers of 16 or 32 bits: save again."
            )
        elif not all(part.isfinite().all() for part in tensor.flatten().split(FLOATS_AT_ONCE)):
            yield _wrong("not-finite", file, f"{name} holds NaN or Inf: the training diverged. Take an earlier state.")
    if counts and set(counts) <= set(LOADED_EXACTLY):
        yield from _check_dtypes(weights, counts, dtype)


def _check_dtypes(weights, counts, dtype):
    """counts (`dict`): type to how many tensors; dtype: what the configuration says."""
    held = ", ".join(f"{count} of {kind}" for kind, count in counts.items())
    loaded = dtype or next(iter(counts), None)  # where it says nothing, releases from 5 take that of one tensor
    if any(torch.promote_types(kind, loaded) != loaded for kind in counts) or (dtype is None and len(counts) > 1):
        yield _wrong(
            "dtype",
            weights.name,
            f"holds {held} tensors, and {weights.config} says {dtype}: loading would round some of them. Save again.",
        )
    elif len(counts) > 1:
        yield Finding(WARNING, "weights-dtype", weights.name, f"the tensors have different types: {held}.")
    elif dtype is not None and dtype not in counts:
        yield Finding(WARNING, "weights-dtype", weights.config, f"says {dtype}, the weights are {next(iter(counts))}.")


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
