"""Old checkpoints removed: each at once for whoever reads the folder, and only when a newer one is whole."""

import os
import shutil
from pathlib import Path

from ..hub_tools.staging import PARTIAL_PREFIX
from .whole_checkpoints import saved_checkpoints, step_of


REMOVED_PREFIX = f"{PARTIAL_PREFIX}removed-"  # what a killed process leaves of it is no checkpoint


def rotate(newest, limit, *, best=None):
    """Remove checkpoints, the oldest first, until so many are left.

    Those of later steps go before all others: they are of another course, from before the run was resumed here.

    Args:
        newest (`Path`): the checkpoint that was just saved; it stays, whatever the limit.
        limit (`int` or `None`): how many stay; without one, or with 0, all do.
        best (`str`, path or `None`): another one that stays: the best so far.
    """
    for leftover in newest.parent.glob(f"{REMOVED_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if not limit or limit < 0:
        return
    kept = {newest.name} if best is None else {newest.name, Path(best).name}
    checkpoints = saved_checkpoints(newest.parent)
    others = [one for one in checkpoints if one.name not in kept]
    others.sort(key=lambda one: (step_of(one) < step_of(newest), step_of(one)))
    for checkpoint in others[: max(0, len(checkpoints) - max(limit, len(kept)))]:
        remove_at_once(checkpoint)


def remove_at_once(folder):
    """Remove a folder that nobody may take for whole while only half of it is there.

    Args: folder (`Path`)
    """
    removed = folder.with_name(REMOVED_PREFIX + folder.name)
    shutil.rmtree(removed, ignore_errors=True)
    os.replace(folder, removed)
    shutil.rmtree(removed, ignore_errors=True)
