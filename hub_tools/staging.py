"""Folders that are whole or not there: write beside, then move."""

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


PARTIAL_PREFIX = ".partial-"  # of the folders that a killed process may leave; nobody reads them


@contextmanager
def new_folder(target):
    """A folder to write into that appears as `target` when the block ends, or not at all.

    Args:
        target (`str` or path): must not exist, or be an empty folder.

    Yields:
        `Path`: a temporary folder beside `target`.

    Raises:
        ValueError: `target` holds something.
    """
    target = Path(target)
    check_is_free(target)
    with _partial_folder(target.parent) as partial:
        yield partial
        if target.exists():
            target.rmdir()
        os.replace(partial, target)


def check_is_free(target):
    """Refuse a place where something is already: also for those who have hours of work before they write.

    Args:
        target (`str` or path)

    Raises:
        ValueError: `target` is neither an empty folder nor free.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not an empty folder: choose another, or remove it first.")


@contextmanager
def files_for_folder(target):
    """A folder to write into, whose content moves into `target` when the block ends, or not at all.

    Each file and folder in it moves at once; one after the other, so a reader can meet some of them before the rest.

    Args:
        target (`str` or path): a folder, which may hold other things; files of the same names are replaced, folders
            must not be there.

    Yields:
        `Path`: a temporary folder inside `target`.
    """
    target = Path(target)
    with _partial_folder(target) as partial:
        yield partial
        for child in partial.iterdir():
            os.replace(child, target / child.name)


@contextmanager
def only_process(target):
    """Keeps other processes of this user out of a block about the same folder.

    Args:
        target (`str` or path)
    """
    digest = hashlib.sha256(os.fsencode(Path(target).absolute())).hexdigest()[:32]
    # Not beside the target, since the lock's file outlives the block; and each user's own, since nobody can lock with
    # another's file.
    user = os.getuid() if hasattr(os, "getuid") else "user"
    with FileLock(Path(tempfile.gettempdir()) / f"electra-rtd-{user}-{digest}.lock"):
        yield


@contextmanager
def replaced_folder(target):
    """A folder to write into that takes the place of `target` when the block ends, or never.

    Inside [`only_process`], after [`finish_replacement`].

    Args:
        target (`Path`): a folder, or nothing yet.

    Yields:
        `Path`: an empty folder beside `target`.
    """
    partial, previous = _neighbours(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            os.replace(target, previous)
        os.replace(partial, target)
    except BaseException:
        finish_replacement(target)
        raise
    finish_replacement(target)


def finish_replacement(target):
    """Clear up after a process that was killed in [`replaced_folder`]: the new folder is there whole, or the old one.

    Args:
        target (`Path`)
    """
    partial, previous = _neighbours(target)
    if previous.exists() and not target.exists():
        os.replace(previous, target)
    for leftover in (partial, previous):
        if leftover.exists():
            shutil.rmtree(leftover)


def _neighbours(target):
    # The word stands before the name: behind it, the old `pair` would be the new `pair-before` of another pull.
    return (
        target.with_name(f"{PARTIAL_PREFIX}new-{target.name}"),
        target.with_name(f"{PARTIAL_PREFIX}old-{target.name}"),
    )


@contextmanager
def _partial_folder(parent):
    parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=parent))
    partial.chmod(0o777 & ~_umask())  # `mkdtemp` lets nobody else in; a checkpoint is as open as any other folder
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current
