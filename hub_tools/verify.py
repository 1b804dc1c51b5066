"""Is a checkpoint what it says, and safe to load? Found out offline, without running any of it."""

import os
from pathlib import Path

from ..modeling_electra_rtd import ElectraRTDForPreTraining
from . import layout
from .checks.code import check_code
from .checks.configs import check_configs, read_config
from .checks.execution import check_execution
from .checks.exports import check_exports
from .checks.files import check_files, check_names, check_sizes
from .checks.leaks import check_secrets
from .checks.metadata import check_card
from .checks.tokenizers import check_tokenizer
from .checks.weights import Weights, check_weight_files, check_weights, expected_tensors
from .findings import ERROR, INFO, CheckpointError, Finding, VerificationReport
from .layout import CheckpointFiles
from .names import is_hub_id
from .remote import Remote


def verify_checkpoint(path_or_repo, *, revision=None, token=None, execute=False, allow_code_from=()):
    """Check a checkpoint: files, configuration, weights, tokenizer, code, exports.

    Nothing of it is executed unless `execute`; of a repository, everything is taken from one commit, and pickles are
    refused by their names, before anything is downloaded.

    Args:
        path_or_repo (`str` or path): a folder, or a Hub id `"user/name"`.
        revision (`str`, *optional*): branch, tag or commit of the repository; its main branch by default.
        token (`str` or `bool`, *optional*): for the Hub; the saved one by default.
        execute (`bool`): also load it in a fresh process, with its own code, and run one batch.
        allow_code_from (iterable of `str`): repositories whose code `auto_map` may name.

    Returns:
        [`VerificationReport`]: `.ok` and `.findings`

    Raises:
        ValueError: there is no such folder.
        OSError: the Hub or its repository cannot be reached.
    """
    if is_folder(path_or_repo):
        folder = Path(path_or_repo)
        return verify_folder(folder, execute=execute, allow_code_from=allow_code_from)
    remote = Remote(str(path_or_repo), revision=revision, token=token)
    report = first_look(remote, allow_code_from)
    if not report.ok:
        return report
    return verify_folder(
        remote.download(),
        names=sorted(remote.files),
        source=remote.repo_id,
        commit=remote.commit,
        execute=execute,
        allow_code_from=allow_code_from,
    )


def first_look(remote, allow_code_from=()):
    """What the names and the configurations of a repository say, before anything large is downloaded.

    Args:
        remote ([`Remote`])
        allow_code_from: as in [`verify_checkpoint`].

    Returns:
        [`VerificationReport`]
    """
    findings = [*check_names(remote.files), *check_sizes(remote.sizes)]
    small = sorted(
        name for name, size in remote.sizes.items() if name.endswith(".json") and size <= layout.largest(name)
    )
    if small and not _has_errors(findings):
        checkpoint = CheckpointFiles(remote.download(small), small, remote.repo_id)
        findings += check_configs(checkpoint, allow_code_from)
        if not _has_errors(findings):
            findings += read_config(checkpoint)[1]
    return VerificationReport(remote.repo_id, findings, remote.commit)


def verify_folder(folder, *, names=None, source=None, commit=None, execute=False, allow_code_from=()):
    """[`verify_checkpoint`] for files that are here.

    Args:
        folder (`Path`)
        names (`list[str]`, *optional*): the files that count; all by default.
        source (`str`, *optional*): what to call it.
        commit (`str`, *optional*): of the repository it came from.
        execute, allow_code_from: as there.

    Returns:
        [`VerificationReport`]
    """
    if names is None and not os.path.lexists(Path(folder) / layout.CONFIG):
        missing = Finding(ERROR, "no-config", layout.CONFIG, "is missing: this is not a checkpoint.")
        return VerificationReport(source or str(folder), [missing])  # maybe a large folder: nothing in it is read
    names = layout.list_files(folder) if names is None else names
    checkpoint = CheckpointFiles(Path(folder), names, source or str(folder))
    findings = [*check_names(names), *check_sizes(checkpoint.sizes)]
    if any(finding.code == "too-large" for finding in findings):  # reading it is what would cost
        return VerificationReport(checkpoint.source, findings, commit)
    findings += [*check_files(checkpoint), *check_configs(checkpoint, allow_code_from)]
    findings += [*check_code(checkpoint), *check_card(checkpoint), *check_secrets(checkpoint)]
    if not _has_errors(findings):  # a hostile configuration builds no model here
        findings += _check_content(checkpoint)
    if execute and not _has_errors(findings):
        findings += check_execution(checkpoint)
    elif execute:
        findings.append(Finding(INFO, "not-executed", "", "code of a checkpoint with errors is not run."))
    return VerificationReport(checkpoint.source, findings, commit)


def require_ok(report, what):
    """Refuse a checkpoint with errors.

    Args:
        report ([`VerificationReport`])
        what (`str`): what is not done because of it, as a sentence.

    Raises:
        CheckpointError: carries the report.
    """
    if not report.ok:
        raise CheckpointError(what, report)


def is_folder(path_or_repo):
    """Whether it names a folder, and not a repository.

    Args:
        path_or_repo (`str` or path)

    Returns:
        `bool`

    Raises:
        ValueError: it is neither.
    """
    if not str(path_or_repo):
        raise ValueError("No folder and no repository was named.")
    if Path(path_or_repo).is_dir():
        return True
    if is_hub_id(path_or_repo):
        return False
    raise ValueError(f"{path_or_repo} is no folder. Give a folder that exists, or a Hub id such as user/name.")


def _has_errors(findings):
    return any(finding.level == ERROR for finding in findings)


def _check_content(checkpoint):
    config, findings = read_config(checkpoint)
    yield from findings
    if config is None:
        return
    try:
        expected, ties = expected_tensors(ElectraRTDForPreTraining, config)
    except Exception as error:  # whatever the networks raise at settings that do not fit together
        message = f"no model can be built: {type(error).__name__}: {error}"
        yield Finding(ERROR, "config-invalid", layout.CONFIG, message)
        return
    with Weights(checkpoint) as weights:
        findings = list(check_weights(weights, expected, ties, config.dtype))
    if not _has_errors(findings):
        findings += check_weight_files(checkpoint)
    yield from findings
    if _has_errors(findings):  # the vocabulary is not what it says: a tokenizer may be as large
        return
    yield from check_tokenizer(checkpoint, config)
    yield from check_exports(checkpoint, config, ties)
