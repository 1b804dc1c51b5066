"""The README of a checkpoint that lies on this disk: an evaluation goes in; what a push knows, a push adds."""

from pathlib import Path

from ..configuration_electra_rtd import ElectraRTDConfig
from . import layout
from .card import merged_line, new_card_beside
from .card_evaluation import add_evaluation
from .card_text import with_metadata
from .gather import read_card
from .run_record import read_record
from .staging import files_for_folder


STOCK_METADATA = {
    "library_name": "transformers",
    "pipeline_tag": "feature-extraction",
    "tags": ["electra", "electra-rtd"],
}


def write_evaluation(folder, name, content, results):
    """Put an evaluation of the weights in a folder into its README, in place of an earlier one of the same name.

    What a person wrote stays as it is. Where there is no README, one is made, which a push completes.

    Args:
        folder (`str` or path): a pair, or a stock checkpoint.
        name (`str`): what was evaluated on, and how: one section a name.
        content (`str`): Markdown.
        results (`list` of `EvalResult`): for the `model-index`.

    Returns:
        `Path`: of the README, which is whole, or as it was before.

    Raises:
        ValueError: there are no weights, or the README or its metadata cannot be read.
    """
    folder = Path(folder)
    check_has_weights(folder)
    path, called = folder / layout.CARD, folder.resolve().name
    text = read_card(path) if path.is_file() else _new_card(folder, called)
    try:
        text = add_evaluation(text, name, content, results, layout.weights_digest(folder), called)
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Nothing is written: correct it, or take the file away.") from error
    with files_for_folder(folder) as staged:
        (staged / layout.CARD).write_bytes(text.encode("utf-8"))
    return path


def check_has_weights(folder):
    """Refuse a folder in which there is nothing that a card could be about.

    Args:
        folder (`str` or path)

    Raises:
        ValueError: it holds no checkpoint.
    """
    folder = Path(folder)
    if not (folder / layout.CONFIG).is_file() or not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder} is no folder with a checkpoint ({layout.CONFIG} and *.safetensors).")


def _new_card(folder, called):
    config = layout.read_json(folder / layout.CONFIG)
    if config.get("model_type") == ElectraRTDConfig.model_type:
        return new_card_beside(folder)
    architectures = config.get("architectures") or [config.get("model_type")]
    merge = read_record(folder, forgiving=True).merge
    lines = [f"\n# {called}", f"A stock checkpoint (`{architectures[0]}`), which needs no code of its own."]
    return with_metadata("\n\n".join([*lines, *([merged_line(merge)] if merge else [])]) + "\n", STOCK_METADATA)
