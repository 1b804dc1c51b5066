"""Everything that belongs to a checkpoint, from wherever it lies, into one folder that can travel."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import PreTrainedModel
from transformers.utils import logging

from ..configuration_electra_rtd import AUTO_MAP, ElectraRTDConfig
from . import layout
from .code_files import INSTALLED
from .export import export_discriminator, export_generator
from .loading import check_is_pair, open_tokenizer
from .names import is_hub_id
from .run_record import EXTENSION_FILE, MERGE_FILE, RESULTS_FILE, STATE_FILE, RunRecord, read_record


logger = logging.get_logger(__name__)

EXPORTERS = {"discriminator": export_discriminator, "generator": export_generator}


@dataclass(frozen=True)
class Origin:
    """What is known of where a checkpoint comes from.

    Args:
        record ([`RunRecord`]): of the run that made it.
        card (`str`, *optional*): the README beside it.
        pulled_commit (`str`, *optional*): what it was pulled from, with `electra-rtd pull`.
    """

    record: RunRecord = field(default_factory=RunRecord)
    card: str | None = None
    pulled_commit: str | None = None


def gather_checkpoint(folder_or_model, target, *, tokenizer=None):
    """Write a checkpoint into a folder: model, code, tokenizer; no states, logs or anything else.

    Args:
        folder_or_model (`str`, path or `ElectraRTDForPreTraining`)
        target (`Path`): a folder that does not exist yet.
        tokenizer (`PreTrainedTokenizerBase`, `str` or path, *optional*): by default the one in the folder.

    Returns:
        [`Origin`]

    Raises:
        ValueError: it is no pair, or an argument is wrong.
    """
    target.mkdir()
    if isinstance(folder_or_model, PreTrainedModel):
        origin = _save_model(folder_or_model, target)
    else:
        origin = _copy_folder(Path(folder_or_model), target)
    _add_code(target)
    if tokenizer is not None:
        _save_tokenizer(tokenizer, target)
    return origin


def exports_named(export):
    """What the argument `export` of a push asks for.

    Args:
        export (`str`, iterable of `str` or `None`)

    Returns:
        `list[str]`

    Raises:
        ValueError: there is no such network.
    """
    export = [export] if isinstance(export, str) else list(export or ())
    unknown = [part for part in export if part not in EXPORTERS]
    if unknown:
        raise ValueError(f"`export` holds {unknown[0]!r}: it may name {' and '.join(EXPORTERS)}.")
    return export


def add_exports(target, export):
    """Put networks of a gathered checkpoint that has passed verification into its subfolders.

    Args:
        target (`Path`)
        export (`list[str]`)
    """
    for part in export:
        EXPORTERS[part](target, target / part)


def _save_model(model, target):
    if model.config.model_type != ElectraRTDConfig.model_type:
        raise ValueError(f"The model is a {type(model).__name__}, not a pair: push it with `model.push_to_hub`.")
    model.save_pretrained(target)
    return Origin()


def _copy_folder(source, target):
    if not source.is_dir():
        raise ValueError(f"{source} is no folder: give one that holds a pair, or a model.")
    if not (source / layout.CONFIG).is_file():
        raise ValueError(f"{source} has no {layout.CONFIG}: it is no checkpoint. Is it one of its subfolders?")
    names = [path.name for path in source.iterdir() if _is_used(path.name)]
    _refuse_links(source, names)
    check_is_pair(source)
    for name in names:
        # The plot is for a card that shows it; `push_checkpoint` sees to that.
        if layout.is_model_file(name) or name in (*layout.TOKENIZER, layout.CURVES):
            shutil.copyfile(source / name, target / name)
    card, lock = source / layout.CARD, _read_lock(source / layout.LOCK)
    return Origin(
        record=_read_record(source),
        card=read_card(card) if card.is_file() else None,
        pulled_commit=lock.get("commit"),
    )


def _is_used(name):
    """Whether a push reads a file of a folder."""
    others = (layout.CURVES, layout.CARD, layout.LOCK, EXTENSION_FILE, MERGE_FILE, RESULTS_FILE, STATE_FILE)
    return layout.is_model_file(name) or name in layout.TOKENIZER or name in others


def _refuse_links(source, names):
    """A link would publish what it points to, and a pipe is waited for without an end."""
    strange = [name for name in names if not (source / name).is_file()]
    if strange:
        raise ValueError(
            f"{source}: {', '.join(sorted(strange))} cannot be read as a file (a link to a folder or to nowhere, a "
            "pipe?). Nothing is pushed: put the file itself there, or remove it."
        )
    outside = layout.outside_links(source, names)
    if outside:
        raise ValueError(
            f"{source}: {', '.join(outside)} is a link that leaves the folder, and what it points to would be "
            'published. Nothing is pushed: put the file itself there (`cp --remove-destination "$(readlink -f '
            'FILE)" FILE`), or give the folder that holds it.'
        )


def read_card(path):
    """A README with its line ends as they are.

    Args:
        path (`Path`)

    Returns:
        `str`

    Raises:
        ValueError: it is not UTF-8, or far too long.
    """
    try:
        return layout.read_bytes(path, layout.LARGEST_TEXT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not in UTF-8 ({error}): save it as that, and push again.") from None
    except ValueError as error:
        raise ValueError(f"{path.name} is not read: {error}. Make it shorter, and push again.") from None


def _add_code(target):
    """The code files that are missing, and the `auto_map` that names them; and no paths of this disk."""
    path = target / layout.CONFIG
    fields = layout.read_json(path)
    before = json.dumps(fields)
    rows = fields.get("auto_map") or {}
    if not isinstance(rows, dict):
        return  # verification says so
    missing = _missing_code(target)
    for name in missing:
        shutil.copyfile(INSTALLED / name, target / name)
    if missing or not rows or any("--" in str(row) for row in rows.values()):
        fields["auto_map"] = dict(AUTO_MAP)
    for part in ("generator_config", "discriminator_config"):
        network = fields.get(part)
        origin = network.get("_name_or_path") if isinstance(network, dict) else None
        if origin and not is_hub_id(origin, with_owner=True):
            del network["_name_or_path"]
    if json.dumps(fields) != before:
        path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _missing_code(target):
    """The files that a checkpoint's code needs and has not, where ours fit: all else there is of this release, too.

    Code of an earlier release needs no files of later ones; where it lacks one of its own, verification says so.
    """
    here = [name for name in sorted(layout.CODE_EVER) if (target / name).is_file()]
    if any(
        name not in layout.CODE or layout.sha256(target / name) != layout.sha256(INSTALLED / name) for name in here
    ):
        return []
    return [name for name in layout.CODE if name not in here]


def _save_tokenizer(tokenizer, target):
    if isinstance(tokenizer, (str, Path)):
        source, tokenizer = tokenizer, open_tokenizer(tokenizer)
        if tokenizer is None:
            raise ValueError(
                f"`tokenizer` is {source}, where no tokenizer is: give its folder, a Hub id, or an object."
            )
    for name in layout.TOKENIZER:
        (target / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(target)


def _read_record(source):
    """The run's record; where no log lies beside the model, with that of the checkpoint of the same weights."""
    record = read_record(source, forgiving=True)
    if record.log:
        return record
    beside = (folder for folder in source.glob("checkpoint-*") if not layout.outside_links(source, [folder.name]))
    others = (read_record(folder, forgiving=True) for folder in beside if _same_weights(folder, source))
    return replace(record, log=next((other.log for other in others if other.log), []))


def _same_weights(folder, other):
    names = [path.name for path in other.iterdir() if path.name.endswith(".safetensors")]
    files = [(folder / name, other / name) for name in names]
    return all(
        one.is_file() and one.stat().st_size == two.stat().st_size and layout.sha256(one) == layout.sha256(two)
        for one, two in files
    )


def _read_lock(path):
    try:
        content = layout.read_json(path, layout.LARGEST_JSON)
    except (OSError, ValueError):
        return {}  # there is none: a card can do without
    return content if isinstance(content, dict) else {}
