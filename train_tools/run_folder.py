"""The output folder of a run: whose it is, where to go on, and nothing half-written in it."""

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..hub_tools.staging import PARTIAL_PREFIX


RESULTS_FILE = "adapt_results.json"
DISCRIMINATOR_FOLDER = "discriminator"
CHECKPOINT_NAME = re.compile(r"checkpoint-\d+")
LAST_FILE = "trainer_state.json"  # the Trainer writes it when all else is written
FINAL_FILES = (
    RESULTS_FILE,
    "config.json",
    "model.safetensors",
    "configuration_electra_rtd.py",
    "modeling_electra_rtd.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "training_args.bin",
)


class RunFolder:
    """An output folder under the rules of `electra-rtd adapt`.

    Args:
        path (`str` or path): the folder.
        resume (`bool`): go on from the last complete checkpoint in it.
        overwrite (`bool`): remove what an earlier run left in it, once the new one is ready to start.
        is_main_process (`bool`): whether this process may remove anything.

    Attributes:
        last_checkpoint (`str` or `None`): where to resume.

    Raises:
        ValueError: it holds something and neither is given, nothing to resume, or something that is not a run.
    """

    def __init__(self, path, *, resume=False, overwrite=False, is_main_process=True):
        self.path = Path(path)
        self.last_checkpoint = None
        self._overwrite = overwrite
        self._is_main_process = is_main_process
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--output_dir {path} is a file: give a folder.")
        self._held_something = self.path.is_dir() and any(self.path.iterdir())
        if resume:
            checkpoints = self._complete_checkpoints()
            if not checkpoints:
                raise ValueError(f"--resume: there is no complete checkpoint in {path}. Start without --resume.")
            self.last_checkpoint = str(checkpoints[-1])
        elif self._held_something and not overwrite:
            raise ValueError(
                f"--output_dir {path} exists and is not empty. Give another folder, --resume to go on with the run "
                "in it, or --overwrite to remove that run."
            )
        elif self._held_something and not self._content_of_a_run():
            raise ValueError(f"--overwrite: {path} holds no run of electra-rtd, so nothing in it is removed.")

    @contextmanager
    def guarded(self):
        """Runs a block that writes into the folder.

        If the block fails, what is not whole is removed, and the folder too where nothing is left of the run.

        Raises:
            OSError: in place of the errors of other kinds that serialisers raise when they cannot write.
        """
        try:
            self._remove_leftovers()
            yield
        except BaseException as error:
            self._remove_leftovers(failed=True)
            if not _could_not_write(error):
                raise
            kept = self._complete_checkpoints()
            mend = f"{kept[-1]} is whole: make room and go on with --resume" if kept else "Make room and start again"
            raise OSError(f"could not write to {self.path}: {error}. {mend}.") from error

    def _complete_checkpoints(self):
        if not self.path.is_dir():
            return []
        checkpoints = [child for child in self.path.iterdir() if CHECKPOINT_NAME.fullmatch(child.name)]
        return sorted(filter(_is_complete, checkpoints), key=lambda checkpoint: int(checkpoint.name.split("-")[1]))

    def _content_of_a_run(self):
        names = {DISCRIMINATOR_FOLDER, "runs", *FINAL_FILES}
        return [
            child
            for child in self.path.iterdir()
            if child.name in names or child.name.startswith(PARTIAL_PREFIX) or CHECKPOINT_NAME.fullmatch(child.name)
        ]

    def _remove_leftovers(self, failed=False):
        """What a killed or failed run left unfinished; before an `overwrite` run, all of the earlier one."""
        if not self._is_main_process or not self.path.is_dir():
            return
        whole = self._complete_checkpoints()
        for child in self._content_of_a_run():
            unfinished = child.name.startswith(PARTIAL_PREFIX) or (
                CHECKPOINT_NAME.fullmatch(child.name) and child not in whole
            )
            if unfinished or (self._overwrite and not failed):
                _remove(child)
        if failed and not whole and not self._held_something:
            shutil.rmtree(self.path)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_complete(checkpoint):
    try:
        json.loads((checkpoint / LAST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _could_not_write(error):
    # `safetensors` and `torch.save` report a full disk as errors of their own.
    return isinstance(error, (OSError, SafetensorError)) or "PytorchStreamWriter" in str(error)
