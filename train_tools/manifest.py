"""What a saved checkpoint holds, written beside it last of all: names, sizes and hashes of its files.

A checkpoint is whole when its manifest is there and agrees with its files. Measured on one core with SHA instructions:
0.8 processor seconds a GB of files, and again at `--resume`; the disk has to write them in any case.
"""

import errno
import hashlib
import json
import os
from pathlib import Path, PurePosixPath

from ..hub_tools import layout
from ..hub_tools.staging import PARTIAL_PREFIX


MANIFEST = "checkpoint_manifest.json"
FORMAT = 1
AT_ONCE = 2**20  # bytes read and hashed
# Some file systems cannot be told to write a file at once, and Windows not by one who only reads it.
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EROFS, errno.EACCES)


def write_manifest(folder):
    """Write the manifest of a checkpoint, once every other file of it is there. It appears whole or not at all.

    Every file is on the disk, and not only in memory, before the manifest is: it holds after a loss of power, too.

    Args:
        folder (`str` or path): of the checkpoint, with folders below it.

    Raises:
        OSError: a file cannot be read, or the manifest cannot be written.
    """
    folder = Path(folder)
    files = {name: _described(folder / name) for name in _names(folder)}
    for below in {(folder / name).parent for name in files}:
        _sync_folder(below)
    partial = folder / f"{PARTIAL_PREFIX}{MANIFEST}"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "files": files}, file, indent=1)
        file.flush()
        _sync(file.fileno())
    os.replace(partial, folder / MANIFEST)
    _sync_folder(folder)


def has_manifest(folder):
    """Args: folder (`str` or path). Returns: `bool`: whether a checkpoint has a manifest, of whatever content."""
    return (Path(folder) / MANIFEST).is_file()


def why_manifest_disagrees(folder):
    """The first difference between a checkpoint and its manifest.

    A file that the manifest does not name counts for nothing: a README, say, that was written later.

    Args:
        folder (`str` or path): of a checkpoint with a manifest.

    Returns:
        `str` or `None`: in words; `None` where they agree, and the checkpoint is whole
    """
    folder = Path(folder)
    try:
        files = read_manifest(folder)
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    for name, (size, _) in files.items():  # the cheap question about all of them first
        reason = _why_other_size(folder / name, size)
        if reason:
            return f"{name} {reason}"
    for name, (_, digest) in files.items():
        try:
            if _digest(folder / name) != digest:
                return f"{name} has other bytes than were saved, by its hash"
        except OSError as error:
            return f"{name} cannot be read: {error}"
    return None


def read_manifest(folder):
    """What a manifest says.

    Args:
        folder (`Path`)

    Returns:
        `dict` from the name of a file to its size in bytes and its SHA-256

    Raises:
        ValueError: it is no manifest, is of a later format, or names files outside of the folder.
        OSError: it cannot be read.
    """
    content = layout.read_json(folder / MANIFEST, layout.LARGEST_JSON)
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict) or not content["files"]:
        raise ValueError("it lists no files")
    if content.get("format") != FORMAT:
        raise ValueError(f"it is of format {content.get('format')!r}, and this release knows {FORMAT}")
    return {_inside(name): _entry(name, entry) for name, entry in content["files"].items()}


def _inside(name):
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"it names {name!r}, which is not in the folder")
    return name


def _entry(name, entry):
    size, digest = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if type(size) is not int or not isinstance(digest, str):
        raise ValueError(f"it does not say what {name} is")
    return size, digest


def _names(folder):
    """Every file below a folder but for the manifest, in order: `list[str]`."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name not in (MANIFEST, f"{PARTIAL_PREFIX}{MANIFEST}"))


def _described(file):
    digest = _digest(file, sync=True)
    return {"size": file.stat().st_size, "sha256": digest}


def _digest(file, sync=False):
    # Not `hashlib.file_digest`: Python 3.10 has none.
    digest, part = hashlib.sha256(), memoryview(bytearray(AT_ONCE))
    with open(file, "rb", buffering=0) as opened:
        if sync:
            _sync(opened.fileno())
        while count := opened.readinto(part):
            digest.update(part[:count])
    return digest.hexdigest()


def _why_other_size(file, size):
    if not file.is_file():
        return "is missing"
    now = file.stat().st_size
    if now == size:
        return None
    if now == 0:
        return f"is empty: {size:,} bytes were saved"
    return f"has {now:,} bytes, and {size:,} were saved{': it is cut short' if now < size else ''}"


def _sync(descriptor):
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def _sync_folder(folder):
    """The names in a folder, too, have to be on the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
