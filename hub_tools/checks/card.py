"""The card's metadata against what the Hub accepts, as far as that can be known without asking it."""

import re
import reprlib

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from .. import layout
from ..report import INFO, WARNING, Finding


LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*|code|multilingual")
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*")
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
RELATIONS = ("adapter", "merge", "quantized", "finetune")
# Field to the pattern of its values, one or a list, and to words for it.
FIELDS = {
    "license": (IDENTIFIER, "lower-case identifiers such as apache-2.0"),
    "language": (LANGUAGE, "ISO 639 codes such as ko"),
    "base_model": (REPOSITORY, "repositories, user/name"),
    "datasets": (REPOSITORY, "repositories, user/name"),
    "library_name": (IDENTIFIER, "a lower-case identifier such as transformers"),
    "pipeline_tag": (IDENTIFIER, "a lower-case identifier such as feature-extraction"),
}


def check_card(checkpoint):
    """The metadata block of the README.

    Args:
        checkpoint ([`CheckpointFiles`])

    Yields:
        [`Finding`]
    """
    if not checkpoint.is_here(layout.CARD):
        return
    block = REGEX_YAML_BLOCK.search(checkpoint.path(layout.CARD).read_text(encoding="utf-8", errors="replace"))
    if block is None:
        yield _wrong("has no metadata block, so the Hub does not know what it is: begin it with `---`.")
        return
    try:
        metadata = yaml.safe_load(block[2]) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError for a date of a 13th month
        yield _wrong(f"has metadata that are not YAML: {str(error).partition(chr(10))[0]}.")
        return
    if not isinstance(metadata, dict):
        yield _wrong(f"has metadata that are a {type(metadata).__name__}, not fields with values.")
        return
    problems = list(_check_fields(metadata))
    yield from problems
    if not problems:
        yield Finding(
            INFO,
            "card",
            layout.CARD,
            "its metadata pass the local checks; the Hub has more, and makes them at a push.",
        )


def _check_fields(metadata):
    for name, (pattern, allowed) in FIELDS.items():
        value = metadata.get(name)
        values = [] if value is None else value if isinstance(value, list) else [value]
        strange = [item for item in values if not isinstance(item, str) or not pattern.fullmatch(item)]
        if strange:
            yield _wrong(f"`{name}` is {_short(strange[0])}: the Hub wants {allowed}.")
    relation = metadata.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        yield _wrong(f"`base_model_relation` is {_short(relation)}: the Hub wants one of {', '.join(RELATIONS)}.")
    if "model-index" in metadata and not _is_model_index(metadata["model-index"]):
        yield _wrong("`model-index` is not a list of models with a `name` and `results`.")


def _is_model_index(value):
    return isinstance(value, list) and all(
        isinstance(model, dict) and isinstance(model.get("name"), str) and isinstance(model.get("results"), list)
        for model in value
    )


def _short(value):
    """A value in a message; a few lines of YAML that refer to each other are longer than any memory."""
    return reprlib.repr(value)[:80]


def _wrong(message):
    return Finding(WARNING, "card-invalid", layout.CARD, message)
