"""Which checkpoint a run goes on from: the newest whole one."""

import logging
import re
from pathlib import Path

from torch import distributed

from ..hub_tools.run_record import STATE_FILE, read_own
from .checkpoint_contents import why_incomplete
from .manifest import MANIFEST, has_manifest, why_manifest_disagrees


logger = logging.getLogger(__name__)

CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")
WRITER = "RTDManifestCallback"  # whoever has it in its state was to get a manifest


def saved_checkpoints(folder):
    """The checkpoints of a run, whole or not.

    Args: folder (`str` or path): its output folder. Returns: `list[Path]`, the oldest first
    """
    folder = Path(folder)
    found = [child for child in folder.iterdir() if CHECKPOINT_NAME.fullmatch(child.name)] if folder.is_dir() else []
    return sorted((child for child in found if child.is_dir()), key=step_of)


def step_of(checkpoint):
    """Args: checkpoint (`Path`): named `checkpoint-N`. Returns: `int`"""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def is_unfinished(checkpoint):
    """Whether a checkpoint was never finished: its run ended while it was saved.

    Args: checkpoint (`Path`). Returns: `bool`
    """
    state = read_own(checkpoint / STATE_FILE)  # the Trainer writes it last
    return not state or (_was_to_have_manifest(state) and not has_manifest(checkpoint))


def why_not_whole(checkpoint):
    """Why a run cannot go on from a checkpoint as it would have.

    With a manifest, sizes and hashes are compared, so every file is read once. A checkpoint without one is of an
    earlier release, or of a Trainer without [`RTDManifestCallback`]: see [`why_incomplete`] for what is looked at.

    Args:
        checkpoint (`str` or path)

    Returns:
        `str` or `None`: in words; `None` where it is whole, or, without a manifest, nothing wrong was found
    """
    checkpoint = Path(checkpoint)
    if not checkpoint.is_dir():
        return "it is not here"
    if has_manifest(checkpoint):
        return why_manifest_disagrees(checkpoint)
    state = read_own(checkpoint / STATE_FILE)
    if not state:
        there = (checkpoint / STATE_FILE).exists()
        return f"{STATE_FILE} {'cannot be read' if there else 'is missing'}: its run ended while it was saved"
    if _was_to_have_manifest(state):
        return f"{MANIFEST} is missing: its run ended before it was written, or somebody removed it"
    return why_incomplete(checkpoint)


def newest_whole_checkpoint(output_dir, *, checks=True):
    """The newest checkpoint of a run that is whole; each that was passed over is named in a warning, with the reason.

    Under several processes all have to ask, and get the same answer.

    Args:
        output_dir (`str` or path): of the run.
        checks (`bool`): whether this process looks at the files, or only hears what the others found. With
            `training_args.should_save`, one for each disk does.

    Returns:
        `str` or `None`: for `trainer.train(resume_from_checkpoint=...)`; `None` where there is none
    """
    kept, passed = find_newest_whole(output_dir, checks=checks)
    if checks:
        for checkpoint, reason in passed:
            logger.warning(f"{checkpoint} is passed over: {reason}.")
        if kept is not None:
            logger.info(f"Goes on from {kept}, the newest checkpoint that is whole.")
            if not has_manifest(kept):
                logger.warning(say_weaker(kept))
            _warn_of_best(kept)
    return None if kept is None else str(kept)


def checkpoint_to_resume(output_dir, *, checks=True):
    """As [`newest_whole_checkpoint`], where there has to be one.

    Returns:
        `str`

    Raises:
        ValueError: there is none; the message says what is wrong with each that is there.
    """
    kept = newest_whole_checkpoint(output_dir, checks=checks)
    if kept is not None:
        return kept
    there = saved_checkpoints(output_dir)
    if not there:
        raise ValueError(f"`resume`: there is no checkpoint in {output_dir}. Start without it.")
    newest, reason = there[-1], why_not_whole(there[-1])
    just_weights = f"`checkpoint={newest}` starts a new run from its weights, if those are good"
    if not has_manifest(newest) and why_incomplete(newest) is None:
        just_weights = f"`resume_from_checkpoint={newest}` goes on from it without one, as far as its files can tell"
    raise ValueError(
        f"`resume`: there is no whole checkpoint in {output_dir} ({newest.name}: {reason}). Put back a good copy, or "
        f"start again with `overwrite=True`. With another `output_dir`, {just_weights}."
    )


def refuse_not_whole(checkpoint, *, checks=True):
    """Refuse a checkpoint that a user named to go on from.

    Without a manifest it is checked as far as its files allow: the Trainer's push to the Hub leaves manifests out.

    Args:
        checkpoint (`str`, path or `None`); checks (`bool`): as above.

    Raises:
        ValueError: it is not whole.
    """
    if checkpoint is None:
        return
    why = why_not_whole if has_manifest(checkpoint) else why_incomplete
    reasons = _from_all(why(Path(checkpoint)) if checks else None)
    reason = next((one for one in reasons if one is not None), None)
    if reason is not None:
        raise ValueError(
            f"`resume_from_checkpoint={checkpoint}` is not whole: {reason}. Put back a good copy, or give another; "
            "`resume=True` takes the newest whole one in `output_dir`."
        )
    if checks and not has_manifest(checkpoint):
        logger.warning(say_weaker(checkpoint))


def newest_whole_here(output_dir, *, but=None):
    """As [`find_newest_whole`], asked by one process alone.

    Args:
        output_dir (`str` or path): of the run; but (`Path`, *optional*): a checkpoint that is out of the question.

    Returns:
        `Path` or `None`
    """
    others = (one for one in reversed(saved_checkpoints(output_dir)) if one != but)
    return next((one for one in others if why_not_whole(one) is None), None)


def find_newest_whole(output_dir, *, checks=True):
    """As [`newest_whole_checkpoint`], and says nothing.

    Returns:
        `tuple`: `Path` or `None`; and a `list` of checkpoints that were passed over, each with the reason
    """
    passed: list[tuple[Path, str]] = []
    names = {one.name for one in saved_checkpoints(output_dir)} if checks else set()
    for name in sorted(set().union(*_from_all(names)), key=lambda name: step_of(Path(name)), reverse=True):
        checkpoint = Path(output_dir) / name
        reasons = _from_all(why_not_whole(checkpoint) if checks else None)
        reason = next((one for one in reasons if one is not None), None)
        if reason is None:
            return checkpoint, passed
        passed.append((checkpoint, reason))
    return None, passed


def say_weaker(checkpoint):
    """Args: checkpoint (`Path`): without a manifest. Returns: `str`: what was looked at in it."""
    return (
        f"{checkpoint} has no {MANIFEST} (an earlier release, or a Trainer without {WRITER}): its files were checked "
        "as far as they allow (all there and readable, no NaN in the weights), which is less than their hashes."
    )


def _warn_of_best(checkpoint):
    """With `load_best_model_at_end`, a run may end with the weights of another checkpoint than the resumed one."""
    named = read_own(checkpoint / STATE_FILE).get("best_model_checkpoint")
    best = checkpoint.with_name(Path(named).name) if isinstance(named, str) else checkpoint
    reason = why_not_whole(best) if best != checkpoint and best.is_dir() else None
    if reason is not None:
        logger.warning(
            f"{best}, the best one so far, is not whole: {reason}. If none better comes, the run ends with what is "
            f"left of its weights. Put back a good copy, or remove {checkpoint} and the others since, and resume."
        )


def _was_to_have_manifest(state):
    callbacks = state.get("stateful_callbacks")
    return isinstance(callbacks, dict) and WRITER in callbacks


def _from_all(value):
    """What each process says, the same list in all of them."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return [value]
    values = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values
