"""A checkpoint to the Hub: gathered, verified, and published in one commit, or not at all."""

import tempfile
from pathlib import Path

from transformers import PreTrainedModel
from transformers.utils import logging

from . import layout
from .card import write_card
from .checks.leaks import check_secrets
from .checks.metadata import check_card
from .findings import WARNING, VerificationReport
from .gather import add_exports, exports_named, gather_checkpoint
from .layout import CheckpointFiles
from .run_record import EXTENSION_FILE, MERGE_FILE, RESULTS_FILE, STATE_FILE
from .secrets import find_secret, saved_tokens
from .target import Target, is_shown
from .verify import require_ok, verify_folder


logger = logging.get_logger(__name__)


def push_checkpoint(
    folder_or_model,
    repo_id,
    *,
    tokenizer=None,
    revision=None,
    private=None,
    create_pr=False,
    commit_message=None,
    token=None,
    tags=None,
    export=("discriminator",),
    dry_run=False,
):
    """Publish a checkpoint: model, code, tokenizer, stock exports and card, in one commit.

    It is verified first. Only what changed is sent. Weights, exports and tokenizer files of an earlier state are
    removed, but the tokenizer stays where this checkpoint has none; other files of the repository are left alone, and
    so is a README that a person wrote, but for its metadata and the marked sections. A push that was interrupted can
    be run again.

    Args:
        folder_or_model (`str`, path or `ElectraRTDForPreTraining`): a folder with a pair, as `electra-rtd adapt`, the
            Trainer or `save_pretrained` leave it, or a model.
        repo_id (`str`): `"user/name"`; made where it does not exist.
        tokenizer (`PreTrainedTokenizerBase`, `str` or path, *optional*): by default the one in the folder.
        revision (`str`, *optional*): a branch, made from the main one where it does not exist, or `"refs/pr/1"`.
        private (`bool`, *optional*): of a new repository; by default what its owner has set.
        create_pr (`bool`): open a pull request instead of committing to the branch.
        commit_message (`str`, *optional*): one line.
        token (`str` or `bool`, *optional*): the saved one by default.
        tags (`list[str]`, *optional*): added to those of the card.
        export (iterable of `str`): networks to put into subfolders as stock checkpoints: `"discriminator"`,
            `"generator"`.
        dry_run (`bool`): print what would be done, and do nothing.

    Returns:
        `CommitInfo`: of the new commit, or of the last one where nothing has changed; `None` for `dry_run`

    Raises:
        CheckpointError: the checkpoint has errors; nothing was sent.
        ValueError: an argument is wrong, or the repository is public and `private` was asked for.
        HubError: the Hub refused, or the branch moved meanwhile; no file of it was changed.
    """
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} does not say whose repository it is: give user/name.")
    if find_secret((commit_message or "").encode(), saved_tokens(token)):
        raise ValueError("`commit_message` holds an access token, which everybody could read there: take it out.")
    with tempfile.TemporaryDirectory(prefix="electra-rtd-push-") as scratch:
        folder = Path(scratch) / "checkpoint"
        export = exports_named(export)
        origin = gather_checkpoint(folder_or_model, folder, tokenizer=tokenizer)
        if not isinstance(folder_or_model, PreTrainedModel):  # the last one stays at home, and tells what else may not
            beside = [layout.CARD, EXTENSION_FILE, MERGE_FILE, RESULTS_FILE, STATE_FILE, layout.TRAINING_ARGS]
            _refuse_secrets(Path(folder_or_model), beside, token)
        report = verify_folder(folder, source=str(folder_or_model)[:200])
        require_ok(report, "This checkpoint is not pushed:")
        for finding in report.findings:
            if finding.level == WARNING and finding.code != "no-card":  # a card is about to be written
                logger.warning(str(finding))
        add_exports(folder, export)
        target = Target(repo_id, revision=revision, private=private, token=token)
        if not dry_run:
            target.make()
        earlier = _card_to_keep(origin, target)
        card = {"run": origin.record, "earlier": earlier, "own": origin.card}
        write_card(folder, repo_id, **card, tags=tags or (), token=token)
        for finding in check_card(CheckpointFiles(folder, [layout.CARD], repo_id)):
            logger.log(logging.WARNING if finding.level == WARNING else logging.INFO, str(finding))
        if not is_shown(layout.CURVES, folder):  # of other weights than these
            (folder / layout.CURVES).unlink(missing_ok=True)
        _refuse_secrets(folder, layout.list_files(folder), token)
        plan = target.plan(folder)
        if dry_run:
            print(plan)
            return None
        message = commit_message or "Push a generator-discriminator pair with electra-rtd"
        return target.commit(plan, folder, message, create_pr)


def _refuse_secrets(folder, names, token):
    checkpoint = CheckpointFiles(folder, names, str(folder))
    report = VerificationReport(checkpoint.source, list(check_secrets(checkpoint, token)))
    require_ok(report, "This checkpoint is not pushed:")


def _card_to_keep(origin, target):
    """The README that a person may have written: the branch's, unless the folder's is an edit of just that one."""
    theirs = target.read_card()
    is_based_on_it = target.state is not None and origin.pulled_commit == target.state.commit
    if theirs is None or is_based_on_it:
        return origin.card or theirs
    if origin.card is not None and origin.card != theirs:
        logger.warning(
            f"The README.md of {target.repo_id} is kept; the one in the folder is another. To take yours: "
            f"`hf upload {target.repo_id} FOLDER/README.md README.md`."
        )
    return theirs
