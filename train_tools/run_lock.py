"""One run at a time in an output folder: two would remove and overwrite each other's checkpoints."""

import errno
import logging
import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


logger = logging.getLogger(__name__)

# In the folder, so that it holds for other users, containers and machines that share it. The Trainer's pushes leave
# out names that begin with "_", and `verify` knows that text files are harmless.
LOCK_FILE = "_electra_rtd_lock.txt"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some network file systems have none


@contextmanager
def only_run(folder, *, is_main_process=True):
    """Keeps other runs out of an output folder for as long as a block takes, or this process lives.

    The folder is made, and removed again if the block leaves nothing in it. Who only reads it (`report`, `inspect`,
    `push`) is not kept out: what a run puts there arrives whole.

    Args:
        folder (`str` or path)
        is_main_process (`bool`): of the processes of one run, one locks, and the others rely on it.

    Raises:
        ValueError: another run has it, or it is a file.
        OSError: it cannot be made or written to.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`output_dir={folder}` is a file: give a folder.")
    if not is_main_process:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]  # deepest first
    lock = None
    try:
        lock = _lock(folder)
        yield
    finally:
        if lock is not None:
            with suppress(OSError):  # on Windows it is filelock that removes it
                (folder / LOCK_FILE).unlink()  # while it is locked: nobody else can have locked this very file
            lock.release()
        for path in made:
            with suppress(OSError):  # it holds something now
                path.rmdir()


def _lock(folder):
    """The lock, taken; `None` where the file system has none."""
    file = folder / LOCK_FILE
    holder = _read(file)  # before asking for the lock: old releases of filelock empty the file when they ask
    lock = FileLock(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"`output_dir={folder}`: another run{holder and f' ({holder})'} is writing into it. Wait for its end, "
            "stop it, or give another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise OSError(f"`output_dir={folder}` cannot be written to ({error}). Give another folder.") from error
        logger.warning(
            f"`output_dir={folder}` cannot be locked ({error}): take care that no other run writes into it."
        )
        return None
    with suppress(OSError):  # on Windows nobody can write into a locked file
        file.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    return lock


def _read(file):
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
