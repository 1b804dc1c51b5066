"""A checkpoint from the Hub: one commit of it, checked, whole, and written down so that it can be had again."""

import json
import shutil
from pathlib import Path

from huggingface_hub import constants
from transformers.utils import logging

from . import layout
from .checks.files import check_names
from .findings import WARNING, VerificationReport
from .remote import HubError, Remote
from .staging import PARTIAL_PREFIX, finish_replacement, only_process, replaced_folder
from .verify import first_look, require_ok, verify_folder


logger = logging.get_logger(__name__)


def pull_checkpoint(repo_id, *, revision=None, local_dir=None, token=None, verify=True, allow_code_from=()):
    """Take a checkpoint from the Hub, all of it from one commit, and refuse it if it is not sound.

    What was taken is written down in `electra_rtd.lock.json` (repository, commit, SHA-256 of each file), from which
    [`pull_locked`] takes exactly that again.

    Args:
        repo_id (`str`): `"user/name"`.
        revision (`str`, *optional*): branch, tag or commit; the main branch by default.
        local_dir (`str` or path, *optional*): a folder that does not exist, is empty, or holds an earlier pull that
            nobody edited. By default one beside the cache of `huggingface_hub`, for each commit.
        token (`str` or `bool`, *optional*): the saved one by default.
        verify (`bool`): refuse what `verify_checkpoint` finds errors in. Hashes and names are checked always.
        allow_code_from (iterable of `str`): repositories whose code `auto_map` may name.

    Returns:
        `Path`: the folder

    Raises:
        CheckpointError: it has errors; nothing is left behind.
        ValueError: `local_dir` holds something else.
        HubError: the Hub refused, or something came damaged.
    """
    remote = Remote(repo_id, revision=revision, token=token)
    return _take(remote, None, local_dir, verify, allow_code_from)


def pull_locked(lock_file, *, local_dir=None, token=None, verify=True, allow_code_from=()):
    """Take exactly what an earlier pull took, or fail.

    Args:
        lock_file (`str` or path): of [`pull_checkpoint`], or the folder that holds it.
        local_dir (`str` or path, *optional*): where to; by default as there.
        token, verify, allow_code_from: as there.

    Returns:
        `Path`: the folder

    Raises:
        ValueError: there is no such file.
        HubError: the repository no longer has that commit, or other content under its name.
        CheckpointError: as there.
    """
    lock = read_lock(lock_file)
    remote = Remote(lock["repo"], revision=lock["commit"], token=token)
    if remote.commit != lock["commit"]:
        raise HubError(f"{lock['repo']} answers with commit {remote.commit}, not with {lock['commit']} of the lock.")
    return _take(remote, lock, local_dir, verify, allow_code_from)


def pinned_line(repo_id, commit):
    """The line that loads exactly this commit, weights and code.

    Args:
        repo_id, commit (`str`)

    Returns:
        `str`
    """
    return (
        f'AutoModel.from_pretrained("{repo_id}", revision="{commit}", code_revision="{commit}", '
        "trust_remote_code=True)"
    )


def read_lock(path):
    """What an earlier pull wrote down.

    Args:
        path (`str` or path): the file, or its folder.

    Returns:
        `dict`: `repo`, `commit` and `files`, SHA-256 by name

    Raises:
        ValueError: it is not there, or is something else.
    """
    path = Path(path)
    path = path / layout.LOCK if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path} is not there: `electra-rtd pull` without --locked writes it.")
    try:
        lock = layout.read_json(path)
        return {"repo": str(lock["repo"]), "commit": str(lock["commit"]), "files": dict(lock["files"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a lock of `electra-rtd pull`: {error!r}.") from None


def kept_folder(repo_id, commit):
    """Where a pull without `local_dir` goes: beside the cache of `huggingface_hub`, whose own folders hold links.

    transformers 5.10.1 to 5.12.1 cannot load code from a folder of links (transformers#46618).

    Args:
        repo_id, commit (`str`)

    Returns:
        `Path`
    """
    return last_lock(repo_id).parent / commit


def last_lock(repo_id):
    """Where the lock of the last pull of a repository without `local_dir` is.

    Args:
        repo_id (`str`)

    Returns:
        `Path`
    """
    return Path(constants.HF_HOME) / "electra_rtd" / repo_id.replace("/", "--") / layout.LOCK


def _take(remote, expected, local_dir, verify, allow_code_from):
    """Take a commit into a folder; `expected` is the lock that it must equal, or `None`."""
    names = sorted(set(remote.files) - {layout.LOCK})  # of somebody else's pull
    always = ("unsafe-path", "too-large")
    findings = [finding for finding in check_names(names) if verify or finding.code in always]
    require_ok(VerificationReport(remote.repo_id, findings, remote.commit), "Nothing was downloaded:")
    folder = kept_folder(remote.repo_id, remote.commit) if local_dir is None else Path(local_dir)
    target = folder.resolve()  # what a link or "." stands for can be moved, they cannot
    if target == Path.cwd() or target.is_mount():
        raise ValueError(f"{folder} is where this command stands, or a mount point: give a new folder below it.")
    with only_process(target):
        finish_replacement(target)
        if _is_there(target, remote, names):
            _check(target, remote, names, expected, verify, allow_code_from)
        else:
            if verify:
                require_ok(first_look(remote, allow_code_from), f"{remote.repo_id} at {remote.commit} is not taken:")
            with replaced_folder(target) as partial:
                source = remote.download(names)
                for name in names:
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / name, partial / name)  # not a link: see `kept_folder`
                lock = _check(partial, remote, names, expected, verify, allow_code_from)
                _write_lock(partial / layout.LOCK, lock)
                _is_there(target, remote, names)  # downloading takes long: somebody may have edited it meanwhile
    if local_dir is None:
        with only_process(last_lock(remote.repo_id)):
            _write_lock(last_lock(remote.repo_id), read_lock(target))
    return folder


def _check(folder, remote, names, expected, verify, allow_code_from):
    """The lock of what lies in a folder, if that is as it has to be."""
    files = {name: layout.sha256(folder / name) for name in names}
    if expected is not None and files != expected["files"]:
        raise HubError(f"{remote.repo_id} has other files at {remote.commit} than the lock says: do not use it.")
    if verify:
        report = verify_folder(
            folder, names=names, source=remote.repo_id, commit=remote.commit, allow_code_from=allow_code_from
        )
        for finding in report.findings:
            logger.log(logging.WARNING if finding.level == WARNING else logging.INFO, str(finding))
        require_ok(report, f"{remote.repo_id} at {remote.commit} is not taken:")
    return {"repo": remote.repo_id, "commit": remote.commit, "files": files}


def _is_there(target, remote, names):
    """Whether a folder holds this very commit; otherwise it may be replaced.

    Raises:
        ValueError: it holds something that is not exactly an earlier pull.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    if not (target / layout.LOCK).is_file():
        raise ValueError(f"{target} holds something that was not pulled: choose another folder, or remove it first.")
    lock = read_lock(target)
    here = [name for name in layout.list_files(target) if name != layout.LOCK]
    edited = [name for name in layout.BOOKKEEPING if (target / name).exists()]  # a clone made of it: not listed
    edited += sorted(set(here) ^ set(lock["files"]))
    edited += [name for name in here if name not in edited and layout.sha256(target / name) != lock["files"][name]]
    if edited:
        raise ValueError(
            f"{target} was edited after it was pulled ({', '.join(edited[:3])}): choose another folder, or remove it "
            "first. `electra-rtd push` publishes it."
        )
    return (lock["repo"], lock["commit"], sorted(lock["files"])) == (remote.repo_id, remote.commit, names)


def _write_lock(path, lock):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL_PREFIX}{path.name}")
    partial.write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
