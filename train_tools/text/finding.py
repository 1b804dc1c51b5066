"""Which files the sources of text stand for."""

import glob
import os
from pathlib import Path

from ...hub_tools.names import is_hub_id


# Each also with an ending of `PACKED` behind it.
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt")
PACKED = (".gz", ".zst")  # compressed with gzip, or Zstandard
SAVED_DATASET = "dataset_info.json"  # what `Dataset.save_to_disk` writes beside `state.json` and the data
SAVED_SPLITS = "dataset_dict.json"  # what `DatasetDict.save_to_disk` writes


def find_sources(sources):
    """The files, and folders written by `save_to_disk`, that the sources stand for; none of them twice.

    A path that exists is that path, whatever signs are in its name; only then is it a pattern. Hidden files and those
    of operating systems (`.ipynb_checkpoints`, `._a.csv`, `~$a.csv`, `__MACOSX`) are left out of folders and patterns.

    Args:
        sources (`list` of `str` or path)

    Returns:
        `list[Path]`, sorted within each source; `None` where the one source is a Hub data set id.

    Raises:
        ValueError: a source is not there, or holds no text file.
    """
    if not sources:
        raise ValueError("There is no text to read: give a file, a folder, a glob or a Hub data set id.")
    found = []
    for source in map(str, sources):
        path = Path(source).expanduser()
        if path.is_file() or is_saved(path):
            found.append(path)
        elif path.is_dir():
            found += _inside(path)
        elif any(character in source for character in "*?["):
            found += _matching(source)
        elif len(sources) == 1 and _may_be_hub_dataset(source):
            return None
        else:
            raise ValueError(f"No such file or folder: {source}. Give a file ({shown_endings()}), a folder or a glob.")
    return list({path.resolve(): path for path in reversed(found)}.values())[::-1]


def ending(path):
    """The ending of a file's name that says its format: one of `ENDINGS`, or `None`."""
    name = path.name.lower()
    suffix = Path(name.removesuffix(packing(path) or "")).suffix
    return suffix if suffix in ENDINGS else None


def packing(path):
    """How a file is compressed, as its name says: one of `PACKED`, or `None`."""
    return path.suffix.lower() if path.suffix.lower() in PACKED else None


def is_packed(path):
    """Whether the name says that a file is compressed."""
    return packing(path) is not None


def is_saved(folder):
    """Whether `save_to_disk` wrote a folder: a data set, or one with splits."""
    return (folder / SAVED_SPLITS).is_file() or (
        (folder / SAVED_DATASET).is_file() and (folder / "state.json").is_file()
    )


def shown_endings():
    """The endings, for a message."""
    return " ".join(ENDINGS)


def _inside(folder):
    files = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not _is_left_out(name)]
        if is_saved(Path(parent)):
            raise ValueError(
                f"{folder} holds a data set that `save_to_disk` wrote: {parent}. Name that folder itself, or leave it "
                "out."
            )
        files += [Path(parent, name) for name in names if not _is_left_out(name)]
    files = sorted(path for path in files if path.is_file() and ending(path) is not None)
    if not files:
        raise ValueError(
            f"The folder {folder} holds no text file. Read are {shown_endings()}, each also with .gz or .zst; hidden "
            "files are left out."
        )
    return files


def _matching(pattern):
    pattern = Path(pattern).expanduser()
    files = sorted(
        path
        for path in map(Path, glob.glob(str(pattern), recursive=True))
        if path.is_file() and not any(_is_left_out(part) for part in path.parts if part not in pattern.parts)
    )
    if not files:
        raise ValueError(f"No file matches {pattern}. Check the pattern (`ls {pattern}`).")
    return files


def _is_left_out(name):
    return name.startswith((".", "~$")) or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _refuse(error):
    raise error


def _may_be_hub_dataset(source):
    return ending(Path(source)) is None and is_hub_id(source)
