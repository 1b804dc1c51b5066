"""The output folder of a run: whose it is, where to go on, and nothing half-written in it."""

import errno
import os
import pickle
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools.code_files import CODE_EVER
from ..hub_tools.run_record import RESULTS_FILE, earlier_results, read_own
from ..hub_tools.staging import PARTIAL_PREFIX
from .nonfinite_folder import folders_of
from .run_lock import LOCK_FILE, only_run
from .signals import in_words, undisturbed
from .whole_checkpoints import (
    checkpoint_to_resume,
    is_unfinished,
    newest_whole_here,
    saved_checkpoints,
    step_of,
)


DISCRIMINATOR_FOLDER = "discriminator"
LOGS_FOLDER = "runs"  # of TensorBoard, a folder for each run
TENSORBOARD = "TENSORBOARD_LOGGING_DIR"  # where its files go, in releases from 5 on
# What a run leaves in its folder: names of the final pair, its exports and logs.
RUN_CONTENT = re.compile(
    r"checkpoint-\d+|_nonfinite-step-\d+|discriminator|runs|adapt_results\.json|trainer_state\.json|config\.json|training_args\.bin"
    r"|model.*\.safetensors|model\.safetensors\.index\.json"
    r"|held_out\.json|report\.html|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.txt"
    rf"|{'|'.join(map(re.escape, sorted(CODE_EVER)))}|{re.escape(PARTIAL_PREFIX)}.*"
)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a limit of file sizes
# What serialisers say instead: those in Rust keep the system's words, torch has its own.
NO_ROOM_TEXTS = [os.strerror(number) for number in NO_ROOM]
NO_ROOM_TEXTS += ["unexpected pos", "PytorchStreamWriter", "basic_ios::clear"]


class RunFolder:
    """An output folder under the rules of `electra-rtd adapt`. [`RunFolder.opened`] also keeps other runs out of it.

    Args:
        path (`str` or path): the folder.
        resume (`bool`): go on from the newest whole checkpoint in it.
        overwrite (`bool`): replace the run in it.
        is_main_process (`bool`): whether this process may remove anything.
        checks (`bool`): whether this process looks at the files of checkpoints: one for each disk does.

    Attributes:
        last_checkpoint (`str` or `None`): where to resume.

    Raises:
        ValueError: it holds something and neither is given, no whole checkpoint to resume, or something that is not
            a run.
    """

    def __init__(self, path, *, resume=False, overwrite=False, is_main_process=True, checks=True):
        self.path = Path(path)
        self.last_checkpoint = None
        self._overwrite = overwrite
        self._is_main_process = is_main_process
        self._trainer = None
        self._held_something = any(self._content())
        self._earlier_logs = list((self.path / LOGS_FOLDER).glob("*"))
        self._holds_another_run = overwrite and self._held_something  # until that is replaced
        if resume:
            self.last_checkpoint = checkpoint_to_resume(self.path, checks=checks)
        elif self._held_something and not overwrite:
            raise ValueError(
                f"`output_dir={path}` exists and is not empty. Give another folder, `resume=True` to go on with the "
                "run in it, or `overwrite=True` to replace that run."
            )
        elif self._held_something and not self._is_a_run():
            raise ValueError(f"`overwrite`: {path} holds no run of electra-rtd, so nothing in it is removed.")

    @classmethod
    @contextmanager
    def opened(cls, path, **options):
        """The folder for one run at a time, see [`only_run`].

        Args:
            path (`str` or path), **options: as above.

        Yields:
            [`RunFolder`]

        Raises:
            ValueError: as above, or another run is writing into it.
            OSError: it cannot be written to.
            KeyboardInterrupt: with what is saved and how to go on, for a person.
        """
        with only_run(path, is_main_process=options.get("is_main_process", True)):
            folder = cls(path, **options)
            try:
                yield folder
            except KeyboardInterrupt as interrupt:
                raise in_words(interrupt, folder.what_is_saved()) from interrupt

    def follow(self, trainer):
        """From here on, count the steps of this `Trainer`, to tell which of them are saved."""
        self._trainer = trainer

    def name_logs(self):
        """Say where TensorBoard's files go, before its callback makes a folder at the first figures, which come before
        training in this run."""
        os.environ.setdefault(TENSORBOARD, str(self.path / LOGS_FOLDER / time.strftime("%b%d_%H-%M-%S")))

    def what_is_saved(self):
        """What a run leaves that ends now, and how to go on: `str`, in words; empty but in the main process."""
        if not self._is_main_process:
            return ""
        step = 0 if self._trainer is None else self._trainer.state.global_step
        kept = self._newest_whole()
        if step and earlier_results(self.path, step) and not self._holds_another_run:
            return f"at step {step}.\nThe adapted pair is saved in {self.path}."
        when = f"at step {step}" if step else "before the first step"
        if kept is not None:
            lost = step - step_of(kept)
            lost_steps = f"; the {lost} step{'s' if lost > 1 else ''} since then are lost" if lost > 0 else ""
            return f"{when}.\n{kept} is whole{lost_steps}.\nGo on with `resume=True`."
        if not step:
            return f"{when}.\nNothing was trained. Start again."
        return (
            f"{when}.\nNo checkpoint was saved yet, so these steps are lost. Start again; `save_strategy=steps` "
            "with `save_steps=N`\nsaves every N steps."
        )

    def refuse_inside(self, sources):
        """Refuse an input that the run would remove.

        Args:
            sources (iterable of `str` or `None`): folders, files or Hub ids that the run reads.

        Raises:
            ValueError: one is in the folder that `overwrite` is to replace.
        """
        for source in filter(None, sources if self._overwrite else ()):
            if Path(source).exists() and Path(source).resolve().is_relative_to(self.path.resolve()):
                raise ValueError(f"`overwrite` would remove {source}, which the run reads. Give another `output_dir`.")

    @contextmanager
    def guarded(self):
        """Runs a block that writes into the folder.

        If the block fails, what is not whole is removed, and everything where nothing was before and nothing of the
        run is whole.

        Raises:
            OSError: in place of the errors of other kinds that serialisers raise when they cannot write.
            ValueError: likewise, where the checkpoint to resume cannot be read.
        """
        try:
            self._remove(self._unfinished())
            yield
        except BaseException as error:
            with undisturbed():
                self._remove(self._unfinished())
                self._remove_if_nothing_is_whole()
            if _is_full(error):
                raise OSError(self._say_full(error)) from error
            if self.last_checkpoint is not None and _is_damage(error):
                raise ValueError(self._say_damaged(Path(self.last_checkpoint), _first_line(error))) from error
            raise

    def replace_earlier_run(self):
        """With `overwrite`, remove the earlier run: once the new one has everything that it needs."""
        if self._overwrite and self._held_something:
            earlier = [child for child in self._content() if RUN_CONTENT.fullmatch(child.name)]
            # Reporters have opened their logs of the new run already: the figures before training stand in them.
            self._remove([child for child in earlier if child.name != LOGS_FOLDER] + self._earlier_logs)
        self._holds_another_run = False

    def _content(self):
        """What is in the folder, but for the lock."""
        return [child for child in self.path.iterdir() if child.name != LOCK_FILE] if self.path.is_dir() else []

    def _is_a_run(self):
        """Whether something in the folder says that it is ours; names like `config.json` say nothing."""
        configurations = [self.path / "config.json", *self.path.glob("checkpoint-*/config.json")]
        return (
            (self.path / RESULTS_FILE).is_file()
            or any(folders_of(self.path))
            or any(read_own(file).get("model_type") == ElectraRTDConfig.model_type for file in configurations)
            or all(map(_is_hardly_begun, self._content()))  # killed when it began to save for the first time
        )

    def _newest_whole(self):
        """The newest whole checkpoint of this run, or `None`."""
        return None if self._holds_another_run else newest_whole_here(self.path)

    def _say_full(self, error):
        kept = self._newest_whole()
        remedy = f"{kept} is whole: make room and go on with `resume=True`" if kept else "Make room and start again"
        return (
            f"could not write to {self.path}: the disk is full, or a quota or a limit of file sizes is reached "
            f"({_first_line(error)}). {remedy}."
        )

    def _say_damaged(self, checkpoint, damage):
        other = newest_whole_here(self.path, but=checkpoint)
        then = (
            f"`resume` then goes on from {other}, which is whole"
            if other
            else "there is no other whole checkpoint, so start again with `overwrite=True`"
        )
        return f"{checkpoint} is damaged: {damage}. Put back a good copy, or remove the folder {checkpoint}: {then}."

    def _unfinished(self):
        """What a killed or failed run left half-written."""
        yield from (child for child in self._content() if child.name.startswith(PARTIAL_PREFIX))
        yield from (checkpoint for checkpoint in saved_checkpoints(self.path) if is_unfinished(checkpoint))

    def _remove_if_nothing_is_whole(self):
        finished = not all(map(is_unfinished, saved_checkpoints(self.path))) or (self.path / RESULTS_FILE).is_file()
        if not finished and not self._held_something:
            kept = folders_of(self.path)  # why it failed
            self._remove([child for child in self._content() if child not in kept])

    def _remove(self, paths):
        for path in list(paths) if self._is_main_process else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_hardly_begun(child):
    """Whether something in the folder is a checkpoint with nothing yet but our code and half of a configuration."""
    if not child.is_dir() or not re.fullmatch(r"checkpoint-\d+", child.name):
        return False
    return all(
        file.name in CODE_EVER or (file.name == "config.json" and not read_own(file)) for file in child.iterdir()
    )


def _is_full(error):
    """Whether an error, or one that it came from, says that there is no room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if not isinstance(error, OSError) and any(text in str(error) for text in NO_ROOM_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_damage(error):
    """Whether an error says that a file could not be read: [`find_damage`] sees most of it before."""
    return isinstance(error, (SafetensorError, pickle.UnpicklingError)) or "PytorchStreamReader" in str(error)


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
