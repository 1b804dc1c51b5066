"""What a model card says of an evaluation on somebody's labels: a marked section, and rows of its `model-index`.

Both name the weights that they are about and stay with these: a push of others leaves them out.
"""

import copy
import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any

from huggingface_hub.repocard_data import eval_results_to_model_index
from transformers.utils import logging

from .card_text import replaced, section, sections, with_metadata
from .checks.metadata import metadata_block, read_metadata


logger = logging.get_logger(__name__)

START = re.compile(r"<!-- electra-rtd evaluation (\w+) of (\w+) -->")
END = "<!-- end of electra-rtd evaluation -->"
WEIGHTS, EVALUATION = "weights", "evaluation"  # in the `args` of our rows of a `model-index`: whose figures, and which


@dataclass(frozen=True)
class Part:
    """One evaluation in a card.

    Args:
        text (`str`): the section with its marks.
        results (`list[dict]`): its rows of the `model-index`.
    """

    text: str
    results: list[dict[str, Any]] = field(default_factory=list)


def add_evaluation(text, name, content, results, weights, model_name):
    """A card with an evaluation more, in place of an earlier one of the same name.

    Args:
        text (`str`): the card.
        name (`str`): what was evaluated on, and how: one section a name.
        content (`str`): Markdown.
        results (`list` of `EvalResult`)
        weights (`str`): as [`layout.weights_digest`] calls them. model_name (`str`): for a new `model-index`.

    Returns:
        `str`

    Raises:
        ValueError: the card's metadata cannot be read.
    """
    if _metadata(text) is None:
        raise ValueError("its metadata, between the lines of ---, cannot be read")
    key = hashlib.sha256(name.encode()).hexdigest()[:12]
    marked = {EVALUATION: key, WEIGHTS: weights}
    results = [replace(result, dataset_args={**(result.dataset_args or {}), **marked}) for result in results]
    rows = eval_results_to_model_index(model_name, results)[0]["results"] if results else []
    part = Part(f"<!-- electra-rtd evaluation {key} of {weights} -->\n{content.strip()}\n{END}", rows)
    return _with_parts(text, {**_parts(text, weights), key: part}, weights, model_name)


def carried(text, own, weights, model_name):
    """A card with the evaluations of its weights, and without those of others.

    Args:
        text (`str`): the card.
        own (`str` or `None`): another that may hold evaluations of these weights; its ones win.
        weights (`str`): as [`layout.weights_digest`] calls them.
        model_name (`str`): for a `model-index` that there is not yet.

    Returns:
        `str`
    """
    parts = {**_parts(text, weights), **_parts(own or "", weights)}
    if not parts and section(text, START, END) is None:
        return text
    return _with_parts(text, parts, weights, model_name)


def _parts(text, weights):
    """The evaluations of some weights that a card holds: `dict` of [`Part`] by name."""
    metadata = _metadata(text)
    found = {}
    for begin, stop in sections(text, START, END):
        if begin[2] == weights:
            rows = [row for row in _rows(metadata) if _is_of(row, begin[1], weights)]
            found[begin[1]] = Part(text[begin.start() : stop], copy.deepcopy(rows))
    return found


def _with_parts(text, parts, weights, model_name):
    known = {begin[1] for begin, _ in sections(text, START, END)}
    text = replaced(text, START, END, lambda begin, _: parts[begin[1]].text if begin[1] in parts else "")
    for key, part in parts.items():
        if key not in known:
            text = _inserted(text, part.text)
    metadata = _metadata(text)
    if metadata is None:
        logger.warning("The README's metadata cannot be read: the figures of the evaluation stand in its text alone.")
        return text
    joined = _joined(metadata, parts, model_name)
    return text if joined == metadata else with_metadata(text, joined)


def _inserted(text, part):
    """A new section after the last of ours, or at the end."""
    ends = [text.rfind(mark) + len(mark) for mark in (END, "<!-- end of electra-rtd results -->") if mark in text]
    line_break = "\r\n" if "\r\n" in text else "\n"
    part = part.replace("\r\n", "\n").replace("\n", line_break)
    if not ends:
        return f"{text.rstrip()}{2 * line_break}{part}{line_break}"
    return f"{text[: max(ends)]}{2 * line_break}{part}{text[max(ends) :]}"


def _joined(metadata, parts, model_name):
    """Metadata whose `model-index` has the rows of these evaluations, and of no others of ours."""
    joined = copy.deepcopy(metadata)
    models = joined.get("model-index") or []
    for model in models:
        model["results"] = [row for row in model["results"] if WEIGHTS not in _arguments(row)]
    rows = [row for part in parts.values() for row in part.results]
    if rows and not models:
        models = [{"name": model_name, "results": []}]
    if rows:
        models[0]["results"] += rows
    models = [model for model in models if model["results"]]
    joined.pop("model-index", None)
    return {**joined, "model-index": models} if models else joined


def _metadata(text):
    """The metadata of a README: `dict`, or `None` where they cannot be read, or a `model-index` is not the Hub's."""
    block = metadata_block(text)
    try:
        metadata = read_metadata(block[0]) if block else {}
        for model in metadata.get("model-index") or []:
            if not isinstance(model["name"], str) or not all(isinstance(row, dict) for row in model["results"]):
                return None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return metadata


def _rows(metadata):
    return [row for model in (metadata or {}).get("model-index") or [] for row in model["results"]]


def _arguments(row):
    dataset = row.get("dataset")
    arguments = dataset.get("args") if isinstance(dataset, dict) else None
    return arguments if isinstance(arguments, dict) and EVALUATION in arguments else {}


def _is_of(row, key, weights):
    arguments = _arguments(row)
    return arguments.get(EVALUATION) == key and arguments.get(WEIGHTS) == weights
