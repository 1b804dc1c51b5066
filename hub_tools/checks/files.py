"""The file set: names that stay in the folder, weights that nobody has to run, nothing half there."""

import re
import unicodedata
from pathlib import PurePosixPath

from .. import layout
from ..findings import ERROR, INFO, WARNING, Finding
from . import pickles


LFS_POINTER = b"version https://git-lfs.github.com/spec/"
WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])( *\..*)?", re.IGNORECASE)
TOO_LONG = "is longer than disks allow"
HIDDEN = ("Cc", "Cf", "Cs")  # control and format characters (of other directions, of no width), halves of characters
# What people and tools put beside a checkpoint, and nobody loads.
HARMLESS_SUFFIXES = (
    ".md",
    ".txt",
    ".json",
    ".jsonl",
    ".csv",
    ".png",
    ".jpg",
    ".svg",
    ".html",
    ".log",
    ".yaml",
    ".yml",
)


def check_names(names):
    """Names of a folder or a remote tree, before anything is written under them.

    Args:
        names (collection of `str`)

    Yields:
        [`Finding`]
    """
    folded: dict[str, str] = {}
    if len(names) > layout.MOST_FILES:
        yield Finding(
            ERROR,
            "too-large",
            "",
            f"has more than {layout.MOST_FILES:,} files, which no checkpoint has: nobody looked at them. Put what "
            "does not belong to it elsewhere.",
        )
        return
    for name in names:
        reason = _leaves_the_folder(name)
        if reason:
            yield Finding(ERROR, "unsafe-path", name, f"the name {reason}, so it could be written outside the folder.")
        if reason == TOO_LONG:
            continue  # what comes next takes long for such a name
        twin = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if twin != name:
            yield Finding(
                ERROR,
                "unsafe-path",
                name,
                f"differs from {twin} in case or in the writing of accents only: one would replace the other on some "
                "disks.",
            )
        yield from _check_format(name)


def _leaves_the_folder(name):
    if len(name.encode("utf-8", "surrogatepass")) > layout.LONGEST_NAME or any(
        len(part.encode("utf-8", "surrogatepass")) > layout.LONGEST_PART for part in name.split("/")
    ):
        return TOO_LONG
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "is not relative"
    if ".." in name.split("/"):
        return "climbs up with '..'"
    if "\\" in name or ":" in name or any(unicodedata.category(character) in HIDDEN for character in name):
        return "holds a backslash, a colon or a control character"
    if any(part in ("", ".") or part.endswith((".", " ")) for part in name.split("/")):
        return "holds a part that some systems leave out or shorten"
    if any(WINDOWS_DEVICE.fullmatch(part) for part in parts):
        return "is a device on some systems"
    if any(part.casefold() in layout.BOOKKEEPING for part in parts):
        return f"writes into {' or '.join(layout.BOOKKEEPING)}"
    return None


def _check_format(name):
    file_name = PurePosixPath(name).name
    in_root = file_name == name
    if layout.TRAINER_STATE.fullmatch(file_name):
        if in_root:
            yield Finding(
                ERROR,
                "pickled-trainer-state",
                name,
                "a pickled state beside the weights: resuming from here would run it (CVE-2026-1839). Publish a "
                "checkpoint without it.",
            )
    elif file_name != layout.TRAINING_ARGS and layout.is_pickle(file_name):
        yield Finding(
            ERROR,
            "pickle",
            name,
            "a pickle runs code when it is loaded. Only safetensors are accepted: `model.save_pretrained(folder)` "
            "writes them.",
        )
    elif file_name.lower().endswith(layout.OTHER_WEIGHTS_SUFFIXES):
        keras = file_name.lower().endswith((".h5", ".keras", ".pb"))
        yield Finding(
            ERROR if keras else WARNING,
            "other-weights",
            name,
            "weights in another format, which nobody compared with the safetensors"
            + (", and which can hold code: remove them." if keras else "."),
        )


def check_sizes(sizes):
    """Whether what has to be read is small enough to be read, before any of it is read or downloaded.

    Args:
        sizes (`dict[str, int]`): bytes, by name.

    Yields:
        [`Finding`]
    """
    total = 0
    for name, size in sizes.items():
        bound = layout.largest(name)
        if bound is None:
            continue
        if size <= bound:
            total += size if bound < layout.LARGEST_JSON else 0
        elif _must_be_read(name):
            yield Finding(
                ERROR,
                "too-large",
                name,
                f"has {size:,} bytes, and at most {bound:,} are read of such a file: nobody looked at it. Remove it, "
                "or make it smaller.",
            )
    if total > layout.MOST_SMALL:
        yield Finding(
            ERROR,
            "too-large",
            "",
            f"holds {total:,} bytes of configurations and code, and at most {layout.MOST_SMALL:,} are read. Put what "
            "does not belong to it elsewhere.",
        )


def _must_be_read(name):
    """Whether somebody who loads a checkpoint, or looks at it, reads a file."""
    file_name = PurePosixPath(name).name.lower()
    is_config = file_name.endswith(".json") and ("config" in file_name or file_name.endswith(".index.json"))
    return name == layout.CARD or file_name.endswith(".py") or file_name in layout.TOKENIZER or is_config


def check_files(checkpoint):
    """What is there, what is missing, what is not what it seems.

    Args:
        checkpoint ([`CheckpointFiles`])

    Yields:
        [`Finding`]
    """
    names = checkpoint.names
    if not checkpoint.has(layout.CONFIG):
        yield Finding(ERROR, "no-config", layout.CONFIG, "is missing: this is not a checkpoint.")
    if not checkpoint.has(layout.WEIGHTS) and not checkpoint.has(layout.WEIGHTS_INDEX):
        yield Finding(
            ERROR,
            "no-weights",
            layout.WEIGHTS,
            "is missing: save with `model.save_pretrained(folder)`, or pull again.",
        )
    if checkpoint.has(layout.WEIGHTS) and checkpoint.has(layout.WEIGHTS_INDEX):
        yield Finding(
            ERROR,
            "two-weights",
            layout.WEIGHTS_INDEX,
            f"stands beside {layout.WEIGHTS}: loaders take one of them, and the other is of another state. Remove it.",
        )
    if not checkpoint.has(layout.CARD):
        yield Finding(WARNING, "no-card", layout.CARD, "is missing: `electra-rtd push` writes one.")
    is_local = checkpoint.source == str(checkpoint.folder)  # a cache of downloads is links
    here = {name for name in names if checkpoint.is_here(name)}
    for name in layout.outside_links(checkpoint.folder, here) if is_local else ():
        yield Finding(INFO, "outside-link", name, "is a link that leaves this folder: a push refuses it.")
    left = pickles.MOST_PICKLED
    for name in names:
        if name in here:
            findings, read = _check_content(checkpoint.path(name), name, left)
            left -= read
            yield from findings
            yield from _check_index(checkpoint, name)
        else:
            yield Finding(
                ERROR,
                "not-a-file",
                name,
                "cannot be read as a file (a link to a folder or to nowhere?), so nobody checked what a loader finds "
                "there. Put the files themselves into the folder.",
            )


def _check_content(path, name, most):
    """Findings about one file, and how many bytes of pickles were read for them."""
    file_name = PurePosixPath(name).name
    if path.stat().st_size < 1024 and path.read_bytes().startswith(LFS_POINTER):
        message = "is a pointer, not the file: run `git lfs pull`, or use `electra-rtd pull`."
        return [Finding(ERROR, "lfs-pointer", name, message)], 0
    if layout.TRAINER_STATE.fullmatch(file_name) or file_name == layout.TRAINING_ARGS:
        foreign, read = pickles.judge(path, most)
        if foreign:
            message = f"loading it would run {foreign}, which no Trainer writes: remove it."
            return [Finding(ERROR, "pickle", name, message)], read
        if layout.TRAINER_STATE.fullmatch(name):  # beside the weights: an error of its format already
            return [], read
        message = (
            "is a pickle, of what a Trainer writes and nothing else (found without loading it). The model does not "
            "need it; only resuming reads it."
        )
        return [Finding(WARNING, "pickled-trainer-state", name, message)], read
    if not _is_known(name):
        return [Finding(INFO, "foreign-file", name, "no part of a checkpoint: nothing here reads it.")], 0
    return [], 0


def _check_index(checkpoint, name):
    """A shard that is no safetensors is read as a pickle, in whatever folder the index lies."""
    if not layout.SAFETENSORS_INDEX.fullmatch(PurePosixPath(name).name.lower()):
        return
    try:
        shards = set(checkpoint.read_json(name)["weight_map"].values())
        strange = [shard for shard in shards if not re.fullmatch(r"[\w.-]+\.safetensors", shard)]
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding(ERROR, "weights-unreadable", name, "is not an index of safetensors.")
        return
    if strange:
        yield Finding(
            ERROR, "weights-unreadable", name, f"names {min(strange)!r}, which is no safetensors file of this folder."
        )


def _is_known(name):
    if layout.is_ours(name) or name == layout.LOCK or name.endswith(".py"):
        return True
    return name.startswith(".") or "/" in name or name.endswith(HARMLESS_SUFFIXES)
