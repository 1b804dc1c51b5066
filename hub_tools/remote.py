"""A repository at one commit, through `huggingface_hub`: what is in it, its files, and what went wrong, in words."""

import json
import re
import time
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers.utils import logging

from . import layout
from .secrets import without_tokens


logger = logging.get_logger(__name__)

ATTEMPTS = 4  # of one request that may well succeed later
FIRST_WAIT = 1.0  # seconds, doubled after each attempt
LONGEST_WAIT = 60.0  # seconds; where a server asks for more, the user is told
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
# The client's errors come from `requests` in huggingface_hub 0.36, whose base class is one higher, and later from
# `httpx` or its successor.
_HTTP_ERROR = HfHubHTTPError.__bases__[0]
CLIENT_ERROR: Any = _HTTP_ERROR if _HTTP_ERROR.__base__ is Exception else _HTTP_ERROR.__base__
FAILURES = (CLIENT_ERROR, OSError, RuntimeError, json.JSONDecodeError)  # what a request can end in
COMMIT = re.compile(r"[0-9a-f]{40}")  # it names folders here


class HubError(OSError):
    """Something on the way to or from the Hub failed; the message says what, and what to do."""


class Remote:
    """A repository at the one commit that a revision meant when it was asked.

    Args:
        repo_id (`str`): `"user/name"`.
        revision (`str`, *optional*): branch, tag or commit; the main branch by default.
        token (`str` or `bool`, *optional*)

    Attributes:
        commit (`str`): 40 hexadecimal digits; everything is read from it.
        files (`dict`): path of a file to its `RepoFile`.
        private (`bool`)

    Raises:
        HubError: it cannot be read.
    """

    def __init__(self, repo_id, *, revision=None, token=None):
        self.repo_id = repo_id
        self._api = HfApi(token=token)
        info = ask(repo_id, self._api.model_info, repo_id, revision=revision)
        self.commit = str(info.sha)
        if not COMMIT.fullmatch(self.commit):
            raise HubError(f"{repo_id} answers with {self.commit[:80]!r}, which is no commit: ask again later.")
        self.private = bool(info.private)
        self.files = ask(repo_id, self._list_files)

    def _list_files(self):
        tree = self._api.list_repo_tree(self.repo_id, recursive=True, revision=self.commit)
        files = (entry for entry in tree if hasattr(entry, "blob_id"))  # folders have none
        # One more than is looked at, so that `check_names` finds out; the listing comes in pages.
        return {entry.path: entry for entry in islice(files, layout.MOST_FILES + 1)}

    @property
    def sizes(self):
        """`dict[str, int]`: bytes of each file, by the listing; `download` finds out where that is not so."""
        return {name: entry.size for name, entry in self.files.items()}

    def download(self, names=None):
        """Files of the commit, into the cache; each is compared with the hash that the repository names.

        Args:
            names (iterable of `str`, *optional*): which; all by default. They have passed `check_names`.

        Returns:
            `Path`: the folder of the commit

        Raises:
            HubError: a download failed, or came damaged twice.
        """
        names = list(self.files if names is None else names)
        if not names:
            raise HubError(f"{self.repo_id} holds no files at {self.commit}.")
        for name in names:
            path = self._fetch(name)
            if not self.is_same(name, path):  # a flipped bit, on the way or on this disk
                logger.warning(f"{name} of {self.repo_id} came damaged: downloading it again.")
                path.unlink()  # a link of the cache may be what is wrong
                path = self._fetch(name, force_download=True)
            if not self.is_same(name, path):
                path.unlink()
                raise HubError(f"{name} of {self.repo_id} came damaged twice (its hash is wrong). Try again later.")
            folder = path.parents[name.count("/")]
        return folder

    def _fetch(self, name, **options):
        path = ask(
            self.repo_id,
            hf_hub_download,
            self.repo_id,
            name,
            revision=self.commit,
            token=self._api.token,
            endpoint=self._api.endpoint,
            **options,
        )
        return Path(path)

    def is_same(self, name, path):
        """Whether a file here has the content that the repository has under a name.

        Args:
            name (`str`): in the repository.
            path (`Path`): here.

        Returns:
            `bool`
        """
        entry = self.files.get(name)
        if entry is None:
            return False
        if entry.lfs is not None:
            return path.stat().st_size == entry.lfs.size and layout.sha256(path) == entry.lfs.sha256
        return path.stat().st_size == entry.size and layout.git_blob_sha1(path) == entry.blob_id


def ask(repo_id, function, *arguments, **keywords):
    """Call the client; try again what may succeed later, and say in words what cannot.

    Args:
        repo_id (`str`): whom the question is about, for the message.
        function (`callable`), *arguments, **keywords: the call.

    Returns:
        what the call returns

    Raises:
        HubError: it failed for good, or too often.
    """
    for attempt in range(ATTEMPTS):
        try:
            return function(*arguments, **keywords)
        except HFValidationError:
            raise  # a `ValueError` that says what a repository's name looks like
        except FAILURES as error:
            if attempt == ATTEMPTS - 1 or not is_transient(error):
                raise explained(repo_id, error) from None  # the chain may show headers
            wait(attempt, error)


def wait(attempt, error):
    """Sleep before the next attempt, as long as the server asks, or twice as long as the last time.

    Args:
        attempt (`int`): counts from 0.
        error (`Exception`): what the last one ended in.
    """
    seconds = min(max(FIRST_WAIT * 2**attempt, _asked_to_wait(error)), LONGEST_WAIT)
    logger.warning(f"{without_tokens(_first_line(error))}: trying again in {seconds:.0f} s.")
    time.sleep(seconds)


def is_transient(error):
    """Whether the same request may well succeed later.

    Args:
        error (`Exception`): of the client.

    Returns:
        `bool`
    """
    if isinstance(error, OfflineModeIsEnabled):
        return False
    status = status_of(error)
    if status is not None:
        return status in TRANSIENT_STATUS
    if isinstance(error, (CLIENT_ERROR, ConnectionError, TimeoutError, json.JSONDecodeError)):
        return True  # the last: a proxy's page in HTML, or half an answer
    if error.__cause__ is not None:  # the client wraps what happens in uploads and in downloads
        return is_transient(error.__cause__)
    return type(error) is OSError and error.errno is None  # "consistency check failed": a download was cut off


def status_of(error):
    """The HTTP status in a client's error, or in the one that it wraps.

    Args:
        error (`Exception` or `None`)

    Returns:
        `int` or `None`
    """
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response.status_code
        error = error.__cause__
    return None


def explained(repo_id, error):
    """An error of the client in words.

    Args:
        repo_id (`str`)
        error (`Exception`)

    Returns:
        [`HubError`]
    """
    status = status_of(error)
    if isinstance(error, GatedRepoError):
        reason = "asks for an agreement on its page first; accept it there, and log in with `hf auth login`"
    elif isinstance(error, RevisionNotFoundError):
        reason = "has no such revision: give a branch, a tag or a full commit hash of it"
    elif isinstance(error, RepositoryNotFoundError):
        reason = "is not there, or is private: check the name, log in with `hf auth login`, or give a token"
    elif status in (401, 403):
        reason = f"refuses the token (status {status}): log in with `hf auth login`, or give one that may do this"
    elif isinstance(error, OfflineModeIsEnabled):
        reason = "cannot be asked: HF_HUB_OFFLINE is set"
    elif status is not None:
        reason = f"answers with status {status}"
    elif _is_of_this_disk(error):
        reason = "could not be stored or read on this disk"
    else:
        reason = "cannot be reached, or the connection broke"
    return HubError(f"{repo_id} {reason}. The client says: {without_tokens(_first_line(error))}")


def _first_line(error):
    said = _server_message(error)
    if said:
        return " ".join(said.split())[:500]
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _server_message(error):
    """What the Hub itself said, which the client puts behind words of its own."""
    while error is not None:
        if getattr(error, "server_message", None):
            return str(error.server_message)
        error = error.__cause__
    return ""


def _is_of_this_disk(error):
    is_of_the_net = isinstance(error, (CLIENT_ERROR, ConnectionError, TimeoutError)) or error.__cause__ is not None
    return isinstance(error, OSError) and error.errno is not None and not is_of_the_net


def _asked_to_wait(error):
    while error is not None:
        response = getattr(error, "response", None)
        seconds = response.headers.get("Retry-After", "") if response is not None else ""
        if seconds.isdigit():
            return float(seconds)
        error = error.__cause__
    return 0.0
