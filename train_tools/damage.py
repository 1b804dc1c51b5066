"""What of a saved checkpoint can no longer be read: found without loading it."""

import json
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from ..hub_tools import layout


def refuse_damaged(sources):
    """Refuse a start whose files cannot be read, before a library says so without the file's name.

    Args:
        sources (iterable of `str` or `None`): folders; what is not one is passed over.

    Raises:
        ValueError: a file of one is damaged; the message says which.
    """
    for source in filter(None, sources):
        damage = find_damage(Path(source)) if Path(source).is_dir() else None
        if damage:
            raise ValueError(f"{source} is damaged: {damage}. Copy, pull or save it again.")


def find_damage(folder):
    """The first file of a checkpoint that is empty, cut short or no longer of its kind.

    It reads headers, tables of contents and JSON, no weights: a byte that changed inside a tensor is not seen.

    Args:
        folder (`Path`)

    Returns:
        `str` or `None`: the file's name and what is wrong with it; `None` where each can be read
    """
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            reason = _why_unreadable(file)
        except OSError as error:
            reason = f"cannot be read: {error}"
        if reason:
            return f"{file.name} {reason}"
    return None


def _why_unreadable(file):
    is_state = layout.TRAINER_STATE.fullmatch(file.name) or file.name == layout.TRAINING_ARGS
    if not (is_state or file.suffix in (".safetensors", ".json")):
        return None
    if file.stat().st_size == 0:
        return "is empty"
    if is_state and not zipfile.is_zipfile(file):  # what `torch.save` writes
        return "is cut short, or no file of torch"
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt"):  # compares the header with the file's size
                return None
        except SafetensorError as error:
            return f"is cut short, or no safetensors ({error})"
    if file.suffix == ".json":
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            return f"is no JSON ({error})"
    return _why_no_tokenizer(file) if file.name == "tokenizer.json" else None


def _why_no_tokenizer(file):
    try:
        Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more precise
        return f"is no tokenizer ({error})"
    return None
