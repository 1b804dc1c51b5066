"""A branch of a repository that a push goes to: what would change in it, and the one commit that changes it."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from transformers.utils import logging

from . import layout
from .findings import visible
from .gather import read_card
from .remote import ATTEMPTS, FAILURES, HubError, Remote, ask, explained, is_transient, status_of, wait
from .secrets import without_tokens


logger = logging.get_logger(__name__)

NEW, CHANGED, UNCHANGED, REMOVED = "new", "changed", "unchanged", "removed"


@dataclass(frozen=True)
class Change:
    """What a push does to one file.

    Args:
        path (`str`): in the repository.
        kind (`str`): `"new"`, `"changed"`, `"unchanged"` or `"removed"`.
        size (`int`): in bytes, of the new content; of the old one where it is removed.
    """

    path: str
    kind: str
    size: int


@dataclass(frozen=True)
class PushPlan:
    """What a push would do.

    Args:
        repo_id, revision (`str`): where.
        visibility (`str`): `"public"`, `"private"`, or what decides about it.
        parent (`str`, *optional*): the commit that the new one follows; none where the repository is new.
        changes (`list` of [`Change`]): every file, by path.
    """

    repo_id: str
    revision: str
    visibility: str
    parent: str | None
    changes: list[Change] = field(default_factory=list)

    @property
    def is_empty(self):
        """`bool`: the repository holds all of it already."""
        return all(change.kind == UNCHANGED for change in self.changes)

    def __str__(self):
        after = f"after {self.parent}" if self.parent else "a new repository"
        sent = sum(change.size for change in self.changes if change.kind in (NEW, CHANGED))
        lines = [f"{self.repo_id} ({self.visibility}), {self.revision}, {after}: {sent:,} bytes to send"]
        lines += [f"  {change.kind:<10}{change.size:>14,}  {change.path}" for change in self.changes]
        return "\n".join(map(visible, lines))


class Target:
    """A branch of a repository, as it is when the push begins.

    Args:
        repo_id (`str`), revision (`str` or `None`), private (`bool` or `None`), token (`str`, `bool` or `None`): as in
            `push_checkpoint`.

    Attributes:
        state ([`Remote`] or `None`): what it holds; none where the repository is new.
    """

    def __init__(self, repo_id, *, revision, private, token):
        self.repo_id = repo_id
        self.revision = revision or "main"
        self._private = private
        self._token = token
        self._api = HfApi(token=token)
        self._is_new_branch = False
        self.state = self._read()

    def _read(self):
        """The branch; where there is none yet, the main one, from which it will be made; or `None`."""
        if not ask(self.repo_id, self._api.repo_exists, self.repo_id):
            return None
        self._is_new_branch = not ask(self.repo_id, self._api.revision_exists, self.repo_id, self.revision)
        if self._is_new_branch and self.revision.startswith("refs/"):
            raise ValueError(
                f"{self.repo_id} has no {self.revision}: give the name of a branch, or open a pull request with "
                "`create_pr=True`."
            )
        state = Remote(self.repo_id, revision=None if self._is_new_branch else self.revision, token=self._token)
        if len(state.files) > layout.MOST_FILES:
            raise ValueError(
                f"{self.repo_id} has more than {layout.MOST_FILES:,} files, which no checkpoint has: nothing was "
                "sent. Give a repository of its own."
            )
        if self._private is not None and self._private != state.private:
            is_now = "private" if state.private else "public"
            raise ValueError(
                f"{self.repo_id} is {is_now}, and `private={self._private}` was asked for: nothing was sent. Change "
                "that on its settings page first, or leave `private` out."
            )
        return state

    def make(self):
        """Make the repository and the branch, where they do not exist."""
        if self.state is None:
            ask(self.repo_id, self._api.create_repo, self.repo_id, private=self._private, exist_ok=True)
            self.state = self._read()
        if self.state is None:
            raise HubError(f"{self.repo_id} was made, and cannot be read yet: wait a minute and push again.")
        if self._is_new_branch:
            start = self.state.commit
            ask(
                self.repo_id,
                self._api.create_branch,
                self.repo_id,
                branch=self.revision,
                revision=start,
                exist_ok=True,
            )
            self.state = self._read()

    def read_card(self):
        """`str` or `None`: the README that the branch has."""
        if self.state is None or layout.CARD not in self.state.files:
            return None
        size = self.state.sizes[layout.CARD]
        if size > layout.LARGEST_TEXT:
            raise ValueError(
                f"The README.md of {self.repo_id} has {size:,} bytes, and at most {layout.LARGEST_TEXT:,} are read: "
                "make it shorter there, and push again."
            )
        return read_card(self.state.download([layout.CARD]) / layout.CARD)

    def plan(self, folder):
        """What differs between a folder and the branch.

        Args:
            folder (`Path`)

        Returns:
            [`PushPlan`]
        """
        state, changes = self.state, []
        names = layout.list_files(folder)
        for name in names:
            path = folder / name
            kind = NEW
            if state is not None and name in state.files:
                kind = UNCHANGED if state.is_same(name, path) else CHANGED
            changes.append(Change(name, kind, path.stat().st_size))
        has_tokenizer = any(name in layout.TOKENIZER for name in names)
        for name, entry in state.files.items() if state is not None else ():
            is_kept = is_shown(name, folder) or (not has_tokenizer and PurePosixPath(name).name in layout.TOKENIZER)
            if layout.is_ours(name) and name not in names and not is_kept:
                changes.append(Change(name, REMOVED, entry.size))
        return PushPlan(
            self.repo_id,
            self.revision,
            self._visibility(),
            state and state.commit,
            sorted(changes, key=lambda change: change.path),
        )

    def _visibility(self):
        if self.state is not None:
            return "private" if self.state.private else "public"
        return {True: "private", False: "public", None: "public, unless its owner's default is private"}[self._private]

    def commit(self, plan, folder, message, create_pr):
        """Send what a plan says, in one commit that follows the state it was made for.

        Args:
            plan ([`PushPlan`])
            folder (`Path`)
            message (`str`)
            create_pr (`bool`)

        Returns:
            `CommitInfo`

        Raises:
            HubError: it did not happen.
        """
        if plan.is_empty:
            logger.info(f"{self.repo_id} holds all of it already: nothing was sent.")
            return self._commit_info(self.state.commit, message)
        additions = [
            CommitOperationAdd(change.path, folder / change.path)
            for change in plan.changes
            if change.kind in (NEW, CHANGED)
        ]
        removals = [CommitOperationDelete(change.path) for change in plan.changes if change.kind == REMOVED]
        where = {"revision": self.revision, "create_pr": create_pr}
        ask(self.repo_id, self._api.preupload_lfs_files, self.repo_id, additions, free_memory=False, **where)
        ignored = [addition.path_in_repo for addition in additions if addition._should_ignore]
        if ignored:  # the client would leave them out of the commit, and say nothing
            raise HubError(
                f"The .gitignore of {self.repo_id} names {', '.join(ignored)}: nothing was changed. Take that out of "
                "it, and push again."
            )
        for attempt in range(ATTEMPTS):
            try:
                return self._api.create_commit(
                    self.repo_id, [*additions, *removals], commit_message=message, parent_commit=plan.parent, **where
                )
            except FAILURES as error:
                if status_of(error) == 412:
                    return self._after_refusal(plan, folder, message, was_sent=attempt > 0)
                if not is_transient(error):
                    raise explained(self.repo_id, error) from None
                if create_pr:  # it may be open: a second one is worse than a question
                    raise HubError(
                        f"{explained(self.repo_id, error)} A pull request may have been opened all the same: look at "
                        "its page before you push again."
                    ) from None
                landed = self._landed(plan, folder, message)  # maybe the answer was lost, not the commit
                if landed is not None:
                    return landed
                if attempt == ATTEMPTS - 1:
                    raise explained(self.repo_id, error) from None
                wait(attempt, error)
            except ValueError as error:  # the client asks about the card before it commits
                reason = without_tokens(" ".join(str(error).split()))
                raise HubError(f"{self.repo_id}: {reason}. Nothing was changed; mend it, and push again.") from None
        raise AssertionError("the last attempt returns or raises")

    def _after_refusal(self, plan, folder, message, was_sent):
        """The branch is not where the plan found it: why? Ends in one answer, never in another attempt."""
        for attempt in range(ATTEMPTS):
            landed = self._landed(plan, folder, message, was_sent)
            if landed is not None:
                return landed
            if attempt < ATTEMPTS - 1:
                wait(attempt, HubError(f"{self.repo_id} refuses {plan.parent} as parent, and names no other"))
        raise HubError(
            f"{self.repo_id} says that {self.revision} is at {plan.parent}, and refuses to follow it: its answers lag "
            "behind. Nothing was changed; wait a minute and push again."
        )

    def _landed(self, plan, folder, message, was_sent=True):
        """The commit, if the branch holds what the plan says; `None` where it has not moved.

        Raises:
            HubError: it has moved to something else.
        """
        state = Remote(self.repo_id, revision=self.revision, token=self._token)
        if state.commit == plan.parent:
            return None
        removed = {change.path for change in plan.changes if change.kind == REMOVED}
        kept = [change.path for change in plan.changes if change.kind != REMOVED]
        if not removed & set(state.files) and all(state.is_same(name, folder / name) for name in kept):
            return self._commit_info(state.commit, message)
        ours = "Yours may be the commit before theirs." if was_sent else "Nothing of yours was published."
        raise HubError(
            f"{self.revision} of {self.repo_id} moved from {plan.parent} to {state.commit} while this push was under "
            f"way: somebody else committed. {ours} See what changed with `electra-rtd diff "
            f"{self.repo_id}@{plan.parent} {self.repo_id}@{state.commit}`, and push again."
        )

    def _commit_info(self, commit, message):
        url = f"{self._api.endpoint}/{self.repo_id}/commit/{commit}"
        return CommitInfo(commit_url=url, commit_message=message, commit_description="", oid=commit)


def is_shown(name, folder):
    """Whether a plot of the branch stays because the kept results in the card of a folder show it."""
    return name == layout.CURVES and f"({name})" in (folder / layout.CARD).read_text(encoding="utf-8")
