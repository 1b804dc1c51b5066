"""Configurations: nothing in them that makes a loader fetch or run code, and a model that can be built."""

import reprlib
from pathlib import PurePosixPath

from ...configuration_electra_rtd import AUTO_MAP, ElectraRTDConfig
from .. import layout
from ..findings import ERROR, WARNING, Finding
from .settings import ATTENTION_KEYS, MOST_LABELS, RESERVED_KEYS, check_settings


# Known to hold no such key, and large: a vocabulary may well have an entry called `trust_remote_code`.
NOT_SEARCHED = (*layout.DATA_FILES, layout.WEIGHTS_INDEX)
ADAPTER_CONFIG = "adapter_config.json"
LABEL_KEYS = ("num_labels", "_num_labels")


def read_config(checkpoint):
    """The configuration of a checkpoint, built by the installed class.

    Args:
        checkpoint ([`CheckpointFiles`])

    Returns:
        `tuple`: the [`ElectraRTDConfig`], or `None` where it cannot be built, and a `list` of [`Finding`]s about it
    """
    if not checkpoint.is_here(layout.CONFIG):
        return None, []
    try:
        fields = checkpoint.read_json(layout.CONFIG)
    except ValueError:
        return None, []  # `check_configs` has said so
    if not isinstance(fields, dict) or fields.get("model_type") != ElectraRTDConfig.model_type:
        kind = fields.get("model_type") if isinstance(fields, dict) else type(fields).__name__
        return None, [
            Finding(
                ERROR,
                "not-a-pair",
                layout.CONFIG,
                f"`model_type` is {kind!r}, not {ElectraRTDConfig.model_type!r}: stock ones need no tools of ours.",
            )
        ]
    findings = list(check_settings(fields, layout.CONFIG))
    if any(finding.level == ERROR for finding in findings):
        return None, findings  # classes make much of a hostile value: a name for each of a billion labels
    try:
        return ElectraRTDConfig.from_dict(fields), findings
    except Exception as error:  # whatever a hostile value makes the classes raise
        return None, [Finding(ERROR, "config-invalid", layout.CONFIG, f"{type(error).__name__}: {error}")]


def check_configs(checkpoint, allow_code_from=()):
    """Every JSON file that a loader might read as a configuration, at every depth.

    Args:
        checkpoint ([`CheckpointFiles`])
        allow_code_from (iterable of `str`): repositories that `auto_map` may name.

    Yields:
        [`Finding`]
    """
    allow_code_from = (allow_code_from,) if isinstance(allow_code_from, str) else tuple(allow_code_from)
    for name in checkpoint.names:
        file_name = PurePosixPath(name).name.lower()  # some disks find `Config.JSON` under its usual name
        if file_name == ADAPTER_CONFIG:
            yield Finding(
                ERROR, "adapter", name, "makes `from_pretrained` load the weights of another repository: remove it."
            )
        if not file_name.endswith(".json") or file_name in NOT_SEARCHED or not checkpoint.is_here(name):
            continue
        try:
            content = checkpoint.read_json(name)
        except ValueError as error:
            level = ERROR if file_name in (layout.CONFIG, layout.TOKENIZER_CONFIG) else WARNING
            yield Finding(level, "not-json", name, f"cannot be read: {error}.")
            continue
        try:
            findings = list(_check_values(content, name))
            auto_maps = list(_auto_maps(content))
        except RecursionError:
            yield Finding(ERROR, "not-json", name, "is nested too deeply to be checked.")
            continue
        yield from findings
        for where, rows in auto_maps:
            is_pair = isinstance(content, dict) and content.get("model_type") == ElectraRTDConfig.model_type
            if is_pair and where == "auto_map" and file_name == layout.CONFIG:
                yield from _check_auto_map(rows, name, checkpoint.source, allow_code_from)
            elif rows:
                code = "tokenizer-code" if file_name == layout.TOKENIZER_CONFIG else "nested-auto-map"
                yield Finding(
                    ERROR, code, name, f"`{where}` asks for code of its own, which nothing here needs: {rows}."
                )


def _check_values(value, name, place=()):
    """Findings about one value of a JSON file and everything in it; `place` is the path of keys to it."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (list, dict)):  # there may be millions of others
                yield from _check_values(item, name, place)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        where = ".".join((*place, str(key)))
        if key in ATTENTION_KEYS:
            yield from _check_attention(key, inner, name, where)
        elif key == "trust_remote_code":
            yield Finding(
                ERROR,
                "trust-remote-code",
                name,
                f"`{where}` is set: whether to run code is the caller's decision (CVE-2026-5241). Remove the key.",
            )
        elif key == "transformers_weights":
            yield Finding(
                ERROR,
                "foreign-weights",
                name,
                f"`{where}` is {inner!r}: it makes some releases load other weights than the ones checked. Remove it.",
            )
        elif key in RESERVED_KEYS or key.startswith("__"):
            yield Finding(
                ERROR,
                "reserved-key",
                name,
                f"`{where}` makes loaders read other settings, files or code than the ones checked. A pair needs "
                "none of it: remove the key.",
            )
        elif key in LABEL_KEYS and isinstance(inner, (int, float)) and inner > MOST_LABELS:
            yield Finding(ERROR, "config-invalid", name, f"`{where}` is {inner}: a pair has no use for labels.")
        elif key == "_name_or_path" and place and _is_local_path(inner):
            yield Finding(
                WARNING, "local-path", name, f"`{where}` tells where a folder lies on its author's disk: {inner}"
            )
        elif isinstance(inner, (list, dict)):
            yield from _check_values(inner, name, (*place, str(key)))


def _check_attention(key, value, name, where):
    if key.endswith("_internal"):
        yield Finding(
            ERROR,
            "attention-code",
            name,
            f"`{where}` is a private field by which some releases fetch and run a kernel (CVE-2026-4372): remove it.",
        )
        return
    for choice in _strings(value):
        if "/" in choice:
            yield Finding(
                ERROR,
                "attention-code",
                name,
                f"`{where}` is {choice!r}: an attention that is fetched from the Hub and run. Take one of the "
                'installed ones, such as "sdpa", or leave the key out.',
            )


def _check_auto_map(rows, name, source, allow_code_from):
    """Findings about the `auto_map` of a pair: rows of [`AUTO_MAP`], from the checkpoint's own files."""
    if not isinstance(rows, dict):
        yield Finding(
            ERROR,
            "auto-map",
            name,
            f"`auto_map` is {rows!r}, not a table of classes: `model.save_pretrained` writes it.",
        )
        return
    for class_path in _strings(rows):
        repo, separator, _ = class_path.rpartition("--")
        if not separator or repo in allow_code_from:
            continue
        if repo == source:
            yield Finding(
                WARNING,
                "unpinned-auto-map",
                name,
                f"takes the newest code of this repository, whatever revision is asked for: {class_path}. Save the "
                "model again: its own files then stand in it.",
            )
        else:
            yield Finding(
                ERROR,
                "foreign-auto-map",
                name,
                f"takes code from another repository: {class_path}. Name that repository in `allow_code_from` if you "
                "have read its code; save the model again if it is yours: its own files then stand in it.",
            )
    for auto_class in rows:
        if auto_class not in AUTO_MAP:
            yield Finding(
                ERROR,
                "foreign-auto-map",
                name,
                f"`auto_map` has code for {auto_class}, which a pair never needs.",
            )
    for auto_class in AUTO_MAP:
        if auto_class in rows and str(rows[auto_class]).rpartition("--")[2] != AUTO_MAP[auto_class]:
            yield Finding(
                ERROR,
                "auto-map",
                name,
                f"`auto_map` names {reprlib.repr(rows[auto_class])} for {auto_class}: a pair's class is "
                f"{AUTO_MAP[auto_class]}.",
            )
    missing = [auto_class for auto_class in AUTO_MAP if auto_class not in rows]
    if missing:
        yield Finding(WARNING, "auto-map", name, f"`auto_map` has no row for {', '.join(missing)}.")


def _auto_maps(value, place=()):
    """Every `auto_map` in a JSON value, with the path of keys to it."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (list, dict)):
                yield from _auto_maps(item, place)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "auto_map":
                yield ".".join((*place, key)), inner
            elif isinstance(inner, (list, dict)):
                yield from _auto_maps(inner, (*place, str(key)))


def _strings(value):
    """Every string in a JSON value, but for keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _is_local_path(value):
    return isinstance(value, str) and (PurePosixPath(value).is_absolute() or ":\\" in value or value.startswith("."))
