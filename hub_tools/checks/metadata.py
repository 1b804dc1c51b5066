"""The card's metadata against what the Hub accepts, as far as that can be known without asking it."""

import re
import reprlib

import yaml

from .. import layout
from ..findings import INFO, WARNING, Finding


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


# Begins and ends the metadata, as `huggingface_hub` finds them; its own expression takes hours for many line ends.
BLOCK_START = re.compile(r"\s*---(?:\r\n|\r|\n)")
BLOCK_END = re.compile(r"(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")
MOST_METADATA = 50_000  # characters; a second of reading
LONGEST_NUMBER = 100  # characters


class MetadataLoader(yaml.SafeLoader):
    """YAML without what makes a few bytes cost minutes: merge keys and endless numbers."""

    def compose_node(self, parent, index):
        """As in `SafeLoader`, which this class narrows."""
        node = super().compose_node(parent, index)
        if node.tag == "tag:yaml.org,2002:merge":
            raise _refused("a merge key (<<) is not read: write the fields out", node)
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and len(node.value) > LONGEST_NUMBER:
            raise _refused(f"a number of {len(node.value):,} characters is not read", node)
        return node


class PlainMetadataLoader(MetadataLoader):
    """That, without aliases: what they share, nothing may compare, copy or write."""

    def compose_node(self, parent, index):
        """As above."""
        node = super().compose_node(parent, index) if not self.check_event(yaml.AliasEvent) else None
        if node is None:
            raise _refused("an alias (*) is not read: write the value out", self.peek_event())
        return node


def _refused(why, at):
    return yaml.composer.ComposerError(None, None, why, at.start_mark)


def metadata_block(text):
    """Where the metadata of a README are.

    Args:
        text (`str`)

    Returns:
        `tuple`: the YAML (`str`) and where the text behind it begins (`int`); `None` where there are none
    """
    start = BLOCK_START.match(text)
    end = BLOCK_END.search(text, start.end()) if start else None
    if (
        start and end is None and start[0].endswith("\r\n")
    ):  # the second half of a line end can begin the end of an empty block
        end = BLOCK_END.match(text, start.end() - 1)
    return (text[start.end() : end.start()], end.end()) if start and end else None


def read_metadata(block, loader=PlainMetadataLoader):
    """The metadata of a README.

    Args:
        block (`str`): YAML.
        loader (`type`): one of the above.

    Returns:
        what stands in it; an empty `dict` for nothing

    Raises:
        ValueError: it is not YAML, or uses what is not read here.
    """
    if len(block) > MOST_METADATA:
        raise ValueError(f"{len(block):,} characters, and at most {MOST_METADATA:,} are read")
    try:
        return yaml.load(block, loader) or {}
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except Exception as error:  # of YAML; a ValueError for a date of a 13th month; a TypeError for a list as a key
        raise ValueError(str(error) or type(error).__name__) from None


def check_card(checkpoint):
    """The metadata block of the README.

    Args:
        checkpoint ([`CheckpointFiles`])

    Yields:
        [`Finding`]
    """
    if not checkpoint.is_here(layout.CARD):
        return
    try:
        block = metadata_block(checkpoint.read_bytes(layout.CARD).decode("utf-8", "replace"))
        if block is None:
            yield _wrong("has no metadata block, so the Hub does not know what it is: begin it with `---`.")
            return
        metadata = read_metadata(block[0], MetadataLoader)
    except ValueError as error:
        yield _wrong(f"has metadata that are not YAML as it is read here: {' '.join(str(error).split())[:200]}.")
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
