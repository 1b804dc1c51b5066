"""The output folder of a run: whose it is, where to go on, and nothing half-written in it."""

import errno
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools.gather import RESULTS_FILE, TRAINER_LOG
from ..hub_tools.staging import PARTIAL_PREFIX


DISCRIMINATOR_FOLDER = "discriminator"
HELD_OUT_FILE = "held_out.json"  # what the held-out text says, before and after
CHECKPOINT_NAME = re.compile(r"checkpoint-\d+")
LAST_FILE = TRAINER_LOG  # the Trainer writes it when all else of a checkpoint is written
# What a run leaves in its folder: names of the final pair, its exports and logs.
RUN_CONTENT = re.compile(
    r"checkpoint-\d+|discriminator|runs|adapt_results\.json|trainer_state\.json|config\.json|training_args\.bin"
    r"|model.*\.safetensors|model\.safetensors\.index\.json|(configuration|modeling)_electra_rtd\.py"
    r"|held_out\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.txt"
    rf"|{re.escape(PARTIAL_PREFIX)}.*"
)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunFolder:
    """An output folder under the rules of `electra-rtd adapt`.

    Args:
        path (`str` or path): the folder.
        resume (`bool`): go on from the last complete checkpoint in it.
        overwrite (`bool`): replace the run in it.
        is_main_process (`bool`): whether this process may remove anything.

    Attributes:
        last_checkpoint (`str` or `None`): where to resume.

    Raises:
        ValueError: it holds something and neither is given, nothing to resume, or something that is not a run.
        OSError: it cannot be written to.
    """

    def __init__(self, path, *, resume=False, overwrite=False, is_main_process=True):
        self.path = Path(path)
        self.last_checkpoint = None
        self._overwrite = overwrite
        self._is_main_process = is_main_process
        self._was_there = self.path.exists()
        if self._was_there and not self.path.is_dir():
            raise ValueError(f"--output_dir {path} is a file: give a folder.")
        existing = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        if not os.access(existing, os.W_OK):
            raise PermissionError(f"--output_dir {path}: {existing} cannot be written to. Give another folder.")
        self._held_something = self._was_there and any(self.path.iterdir())
        if resume:
            checkpoints = self._complete_checkpoints()
            if not checkpoints:
                raise ValueError(f"--resume: there is no complete checkpoint in {path}. Start without --resume.")
            self.last_checkpoint = str(checkpoints[-1])
        elif self._held_something and not overwrite:
            raise ValueError(
                f"--output_dir {path} exists and is not empty. Give another folder, --resume to go on with the run "
                "in it, or --overwrite to replace that run."
            )
        elif self._held_something and not self._is_a_run():
            raise ValueError(f"--overwrite: {path} holds no run of electra-rtd, so nothing in it is removed.")

    def refuse_inside(self, sources):
        """Refuse an input that the run would remove.

        Args:
            sources (iterable of `str` or `None`): folders, files or Hub ids that the run reads.

        Raises:
            ValueError: one is in the folder that `overwrite` is to replace.
        """
        for source in filter(None, sources if self._overwrite else ()):
            if Path(source).exists() and Path(source).resolve().is_relative_to(self.path.resolve()):
                raise ValueError(f"--overwrite would remove {source}, which the run reads. Give another --output_dir.")

    @contextmanager
    def guarded(self):
        """Runs a block that writes into the folder.

        If the block fails, what is not whole is removed, and the folder too if it was not there before and nothing of
        the run is whole.

        Raises:
            OSError: in place of the errors of other kinds that serialisers raise when they cannot write.
        """
        try:
            self._remove(self._unfinished())
            yield
        except BaseException as error:
            self._remove(self._unfinished())
            self._remove_if_nothing_is_whole()
            if not _is_full(error):
                raise
            kept = self._complete_checkpoints()
            mend = f"{kept[-1]} is whole: make room and go on with --resume" if kept else "Make room and start again"
            raise OSError(f"could not write to {self.path}: {error}. {mend}.") from error

    def replace_earlier_run(self):
        """With `overwrite`, remove the earlier run: once the new one has everything that it needs."""
        if self._overwrite and self._held_something:
            self._remove(child for child in self.path.iterdir() if RUN_CONTENT.fullmatch(child.name))

    def _is_a_run(self):
        """Whether something in the folder says that it is ours; names like `config.json` say nothing."""
        configurations = [self.path / "config.json", *self.path.glob("checkpoint-*/config.json")]
        return (self.path / RESULTS_FILE).is_file() or any(
            _read_json(file).get("model_type") == ElectraRTDConfig.model_type for file in configurations
        )

    def _complete_checkpoints(self):
        if not self.path.is_dir():
            return []
        checkpoints = [child for child in self.path.iterdir() if CHECKPOINT_NAME.fullmatch(child.name)]
        complete = [checkpoint for checkpoint in checkpoints if _read_json(checkpoint / LAST_FILE)]
        return sorted(complete, key=lambda checkpoint: int(checkpoint.name.split("-")[1]))

    def _unfinished(self):
        """What a killed or failed run left half-written."""
        whole = self._complete_checkpoints()
        for child in self.path.iterdir() if self.path.is_dir() else ():
            is_checkpoint = CHECKPOINT_NAME.fullmatch(child.name)
            if child.name.startswith(PARTIAL_PREFIX) or (is_checkpoint and child not in whole):
                yield child

    def _remove_if_nothing_is_whole(self):
        whole = self._complete_checkpoints() or (self.path / RESULTS_FILE).is_file()
        if whole or self._held_something or not self.path.is_dir():
            return
        self._remove(self.path.iterdir())
        if not self._was_there and self._is_main_process:
            self.path.rmdir()

    def _remove(self, paths):
        for path in list(paths) if self._is_main_process else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _read_json(file):
    """What a JSON file holds; nothing where it is not there, or half-written."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_full(error):
    # `safetensors` and `torch.save` report a full disk as errors of their own.
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return isinstance(error, SafetensorError) or "PytorchStreamWriter" in str(error)
