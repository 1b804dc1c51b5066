"""A Hugging Face Hub for tests: a real HTTP server on loopback that the unpatched `huggingface_hub` client talks to.

    with Hub() as hub:
        token = hub.add_user("alice")
        api = HfApi(endpoint=hub.url, token=token)          # or HF_ENDPOINT=hub.url: see `Hub.environment`
        api.create_repo("alice/model")
        api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/model")
        assert hub.files("alice/model")["config.json"] == b"{}"

Two listeners are up: `hub.url` is the Hub, `hub.cdn_url` stands for the storage that the Hub sends clients to for LFS
objects. They differ in their host's name and port, so they are two sites to a client, as in life: a token must not
reach the storage, and the storage refuses a request (400) that carries one.

Xet is not spoken: no answer names it. `HF_HUB_DISABLE_XET=1` is needed where `hf_xet` is installed, because clients
from 1.x on then upload by Xet without asking the server, and it is enough: 0.36, 1.33 and 2.4 go by LFS under it.

Deliberately missing: Xet, git itself, repos other than models, listings in pages, `expand`, discussions other than the
pull request that `create_pr` opens (no merge, no comments), gated access, deleting, moving and duplicating repos,
deleting tags, searching, and the Hub's extra hop of regular files through `/api/resolve-cache`. A card is checked
where the client asks for it (`/api/validate-yaml`, by the PyYAML that `huggingface_hub` brings along), not again in
the commit.
"""

import base64
import fnmatch
import hashlib
import http.client
import io
import json
import re
import secrets
import socket
import string
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit


LFS_PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.pkl", "*.png", "*tfevents*")
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()
LARGEST_REGULAR_FILE = 10_000_000
BASE_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


# ------------------------------------------------------------------------------------------------ what a Hub stores


@dataclass(frozen=True)
class Blob:
    """A file's bytes; `lfs` says which of the two ways of the Hub it is stored by."""

    data: bytes = field(repr=False)
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds in place of an LFS file."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()
        )

    @cached_property
    def git_sha1(self) -> str:
        """Git's name of the file: of its pointer for an LFS file."""
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_sha1


@dataclass(frozen=True)
class Commit:
    """A commit with all its files; `files` maps a path to its blob."""

    id: str
    parent: "Commit | None" = field(repr=False)
    message: str
    description: str
    author: str
    date: str
    files: dict[str, Blob] = field(repr=False)

    def history(self) -> "Iterator[Commit]":
        """This commit and those before it, newest first."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def is_lfs(self, path: str, size: int) -> bool:
        """Whether a new file goes by LFS, by this commit's `.gitattributes` and by size."""
        rules = self.files.get(".gitattributes", Blob(b"")).data.decode("utf-8", "replace").splitlines()
        patterns = [rule.split()[0] for rule in rules if "filter=lfs" in rule]
        return size > LARGEST_REGULAR_FILE or any(matches(path, pattern) for pattern in patterns)


@dataclass
class Repo:
    """A repository. `commits` remembers every commit by its id, those too that no ref reaches any more."""

    id: str
    private: bool = False
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    pulls: dict[int, Commit] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict, repr=False)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict, repr=False)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[-2]

    def refs(self) -> dict[str, Commit]:
        """Every ref by its full name: `refs/heads/main`, `refs/tags/v1`, `refs/pr/1`."""
        heads = {f"refs/heads/{name}": commit for name, commit in self.branches.items()}
        tags = {f"refs/tags/{name}": commit for name, commit in self.tags.items()}
        return {**heads, **tags, **{f"refs/pr/{number}": commit for number, commit in self.pulls.items()}}

    def movable(self, revision: str) -> str | None:
        """The full name of the branch or pull request that `revision` names; None for a tag, an id, or nothing."""
        full = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        return full if full in self.refs() and not full.startswith("refs/tags/") else None

    def find(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag, a full ref or a commit id (7 digits at least) names."""
        refs = self.refs()
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in refs:
                return refs[name]
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            found = [commit for oid, commit in self.commits.items() if oid.startswith(revision)]
            return found[0] if len(found) == 1 else None
        return None

    def move(self, ref: str, commit: Commit) -> None:
        """Point a branch or pull request, by its full name, at `commit`."""
        self.commits[commit.id] = commit
        if ref.startswith("refs/pr/"):
            self.pulls[int(ref.removeprefix("refs/pr/"))] = commit
        else:
            self.branches[ref.removeprefix("refs/heads/")] = commit


@dataclass(frozen=True)
class User:
    """Who a token stands for. `can_write`: True for the own namespace, a set for exactly those, False for none."""

    name: str
    can_write: "bool | frozenset[str]" = True

    def writes(self, namespace: str) -> bool:
        if isinstance(self.can_write, bool):
            return self.can_write and namespace == self.name
        return namespace in self.can_write

    def reads(self, namespace: str) -> bool:
        """Whether private repos of `namespace` are there for this token."""
        return namespace == self.name or self.writes(namespace)


# ------------------------------------------------------------------------------------------------ what tests look at


@dataclass
class Request:
    """A request as it was answered. `status` is 0 where the connection was closed without an answer."""

    method: str
    path: str  # with the query, without the host
    kind: str
    authorization: str | None
    headers: dict[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(default=b"", repr=False)
    received: int = 0  # bytes of the body that came in
    sent: int = 0  # bytes of the body that went out
    status: int = 0


@dataclass
class Fault:
    """Something that goes wrong; see `Hub.fault`. `hits` counts how often it did."""

    what: str
    method: str | None = None
    times: int | None = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] | None = None
    body: "bytes | str | dict | None" = None
    drop: str | None = None
    flip_bit: bool = False
    delay: float | None = None
    stale: bool = False
    seen: int = 0
    hits: int = 0

    @property
    def on_response(self) -> bool:
        """Whether it spoils the body that goes out, rather than the work."""
        return self.flip_bit or self.drop == "response"

    def applies(self, request: Request) -> bool:
        """Whether it strikes now. Counts, so to be asked once a request."""
        known = self.what in KINDS
        if not (request.kind == self.what if known else re.search(self.what, request.path)):
            return False
        if self.method not in (None, request.method) or (self.times is not None and self.hits >= self.times):
            return False
        self.seen += 1
        self.hits += self.seen > self.after
        return self.seen > self.after

    def reply(self, echo: str) -> "Reply":
        if self.body is None:
            return Refusal(self.status or 500, f"planted fault: {self.status}", None, self.headers).reply(echo)
        return Reply(self.status or 500, self.body, dict(self.headers or {}))


# ------------------------------------------------------------------------------------------------ requests and replies


@dataclass
class Reply:
    """An answer; a dictionary or list as `body` goes out as JSON."""

    status: int = 200
    body: "bytes | str | dict | list" = b""
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class Refusal(Exception):
    """An error to tell the client of; `code` becomes X-Error-Code, by which clients choose their exception."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: dict | None = None, **more):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers, self.more = headers or {}, more

    def reply(self, echo: str = "") -> Reply:
        message = self.message + echo
        headers = {**self.headers, "X-Error-Message": " ".join(message.encode("ascii", "replace").decode().split())}
        if self.code:
            headers["X-Error-Code"] = self.code
        return Reply(self.status, {"error": message, **self.more}, headers)


def matches(path: str, pattern: str) -> bool:
    """A line of .gitignore or .gitattributes, near enough: without a slash it speaks of any part of the path."""
    pattern = pattern.strip().strip("/")
    if not pattern or pattern.startswith("#"):
        return False
    if "/" in pattern:
        return fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern + "/")
    return any(fnmatch.fnmatchcase(part, pattern) for part in path.split("/"))


def check_card(content: str) -> tuple[list[str], list[str]]:
    """The errors and warnings that the Hub has for a README's metadata."""
    import yaml

    block = re.match(r"---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", content, re.DOTALL | re.MULTILINE)
    try:
        card = yaml.safe_load(block[1]) if block else None
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {' '.join(str(error).split())}"], []
    if card is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(card, dict):
        return ["repo card metadata block must be a mapping"], []
    errors = []
    for key, pattern, hint in (
        ("license", LICENSE, "must be a lowercase license id"),
        ("base_model", BASE_MODEL, "is not valid: use a model id from https://hf.co/models"),
    ):
        values = card[key] if isinstance(card.get(key), list) else [card[key]] if key in card else []
        bad = [value for value in values if not (isinstance(value, str) and pattern.fullmatch(value))]
        errors += [f'"{key}" with value {json.dumps(value, default=str)} {hint}' for value in bad]
    return errors, []


def entries(files: dict[str, Blob]) -> dict[str, dict]:
    """What the tree and paths-info endpoints say of every file and folder, by path."""
    found: dict[str, dict] = {}
    for path, blob in sorted(files.items()):
        for end in (place for place, character in enumerate(path) if character == "/" and place):
            if path[:end] in found:
                continue
            below = sorted((name, b.git_sha1) for name, b in files.items() if name.startswith(path[: end + 1]))
            tree = hashlib.sha1(repr(below).encode()).hexdigest()
            found[path[:end]] = {"type": "directory", "path": path[:end], "oid": tree, "size": 0}
        found[path] = {"type": "file", "path": path, "oid": blob.git_sha1, "size": len(blob.data)}
        if blob.lfs:
            found[path]["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    return found


def apply_operation(repo: Repo, head: Commit, files: dict[str, Blob], key: str, value: dict) -> None:
    """Change `files` as one line of a commit says."""
    path = value["path"]
    if key == "file":
        encoded = value.get("encoding") == "base64"
        files[path] = Blob(base64.b64decode(value["content"]) if encoded else value["content"].encode())
    elif key == "lfsFile":
        if value["oid"] not in repo.lfs:
            raise Refusal(400, f"An LFS pointer pointed to a file that does not exist. Offending file: {path}")
        files[path] = Blob(repo.lfs[value["oid"]], lfs=True)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    elif key == "deletedFolder":
        below = [name for name in files if name.startswith(path.rstrip("/") + "/")]
        if not below:
            raise Refusal(404, f"A folder with this name doesn't exist: {path}", "EntryNotFound")
        for name in below:
            del files[name]
    elif key == "copyFile":
        source = repo.find(value["srcRevision"]) if value.get("srcRevision") else head
        if source is None or value["srcPath"] not in source.files:
            raise Refusal(404, f"A file with this name doesn't exist: {value['srcPath']}", "EntryNotFound")
        files[path] = source.files[value["srcPath"]]
    else:
        raise Refusal(400, f"Unknown operation {key!r}")


# ------------------------------------------------------------------------------------------------ endpoints

API, PAGE = r"/api/models/(?P<repo>[^/]+/[^/]+)", r"/(?P<repo>[^/]+/[^/]+?)"
STORED = r"/lfs/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})"
ROUTES: list[tuple[str, re.Pattern, str, "Callable[[Call], Reply]"]] = []


def route(method: str, pattern: str, kind: str):
    """Register an endpoint. Patterns see the quoted path, because a revision may hold slashes of its own."""

    def register(endpoint):
        ROUTES.append((method, re.compile(pattern), kind, endpoint))
        return endpoint

    return register


@dataclass
class Call:
    """A request on its way through an endpoint."""

    hub: "Hub"
    request: Request
    user: User | None
    query: dict[str, list[str]]
    names: dict[str, str]  # what the route's pattern found in the path, unquoted
    stale: bool = False

    def json(self) -> dict:
        return json.loads(self.request.body or b"{}")

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["0"])[0].lower() in ("1", "true")

    def repo(self) -> Repo:
        """The repo that the path names; 404 as well where it is private and not this user's."""
        repo = self.hub.repos.get(self.names["repo"])
        if repo is None or (repo.private and not (self.user and self.user.reads(repo.namespace))):
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return repo

    def writable_repo(self, by_pull_request: bool = False) -> Repo:
        """The repo, if this user may write to it; anybody with a write token may open a pull request."""
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        repo = self.repo()
        if not self.user.can_write:
            raise Refusal(403, "Forbidden: you must use a write token to upload to a repository")
        if not (by_pull_request or self.user.writes(repo.namespace)):
            raise Refusal(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repo

    def commit(self, repo: Repo, revision: str | None = None) -> Commit:
        """The commit of `revision` (by default the path's, then main); a stale answer takes the one before it."""
        revision = revision or self.names.get("revision") or "main"
        commit = repo.find(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.aged(commit) if repo.movable(revision) else commit

    def aged(self, commit: Commit) -> Commit:
        return commit.parent or commit if self.stale else commit

    @route("POST", "/api/repos/create", "create-repo")
    def create_repo(self) -> Reply:
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        body = self.json()
        namespace = body.get("organization") or self.user.name
        repo_id = f"{namespace}/{body['name']}"
        if body.get("type") not in (None, "model"):
            raise Refusal(400, "This Hub has models only")
        if not self.user.writes(namespace):
            raise Refusal(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
        url = f"{self.hub.url}/{repo_id}"
        if repo_id in self.hub.repos:
            raise Refusal(409, "You already created this model repo", url=url)
        self.hub.create_repo(repo_id, private=bool(body.get("private")) or body.get("visibility") == "private")
        return Reply(200, {"url": url, "name": repo_id, "id": repo_id})

    @route("GET", "/api/whoami-v2", "whoami")
    def whoami(self) -> Reply:
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        name, writes = self.user.name, self.user.can_write
        orgs = [] if isinstance(writes, bool) else [{"type": "org", "name": org} for org in sorted(writes - {name})]
        access = {"displayName": "test", "role": "write" if writes else "read"}
        auth = {"type": "access_token", "accessToken": access}
        return Reply(200, {"type": "user", "id": name, "name": name, "fullname": name, "orgs": orgs, "auth": auth})

    @route("POST", "/api/validate-yaml", "validate-yaml")
    def validate_yaml(self) -> Reply:
        errors, warnings = check_card(self.json()["content"])
        body = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
        return Reply(400, {"error": errors[0], **body}) if errors else Reply(200, body)

    @route("PUT", f"{API}/settings", "settings")
    def settings(self) -> Reply:
        repo, body = self.writable_repo(), self.json()
        if "private" in body:
            repo.private = bool(body["private"])
        if "visibility" in body:
            repo.private = body["visibility"] == "private"
        return Reply(200, {"private": repo.private})

    @route("GET", f"{API}/auth-check(?P<write>/write)?", "auth-check")
    def auth_check(self) -> Reply:
        found = self.writable_repo() if self.names.get("write") else self.repo()
        return Reply(200, {"name": found.id})

    @route("GET", rf"{API}(?:/revision/(?P<revision>[^/]+))?", "info")
    def info(self) -> Reply:
        repo = self.repo()
        commit = self.commit(repo)
        siblings = []
        for path, blob in sorted(commit.files.items()):
            sibling, size = {"rfilename": path}, len(blob.data)
            if self.flag("blobs"):
                sibling |= {"size": size, "blobId": blob.git_sha1}
            if self.flag("blobs") and blob.lfs:
                sibling["lfs"] = {"sha256": blob.sha256, "size": size, "pointerSize": len(blob.pointer)}
            siblings.append(sibling)
        names = {"_id": repo.id, "id": repo.id, "modelId": repo.id, "author": repo.namespace}
        dates = {"createdAt": next(iter(repo.commits.values())).date, "lastModified": commit.date}
        fixed = {"gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        state = {"sha": commit.id, "private": repo.private, "siblings": siblings}
        return Reply(200, {**names, **dates, **fixed, **state})

    @route("GET", rf"{API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree")
    def tree(self) -> Reply:
        found = entries(self.commit(self.repo()).files)
        folder = (self.names.get("path") or "").strip("/")
        if folder:
            if found.get(folder, {}).get("type") != "directory":
                raise Refusal(404, f"{folder} does not exist on this revision", "EntryNotFound")
            found = {path: entry for path, entry in found.items() if path.startswith(folder + "/")}
        if not self.flag("recursive"):
            skip = len(folder) + 1 if folder else 0
            found = {path: entry for path, entry in found.items() if "/" not in path[skip:]}
        return Reply(200, list(found.values()))

    @route("POST", rf"{API}/paths-info/(?P<revision>[^/]+)", "paths-info")
    def paths_info(self) -> Reply:
        found = entries(self.commit(self.repo()).files)
        paths = parse_qs(self.request.body.decode()).get("paths", [])
        return Reply(200, [found[path.rstrip("/")] for path in paths if path.rstrip("/") in found])

    @route("GET", f"{API}/refs", "refs")
    def refs(self) -> Reply:
        groups = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
        found: dict[str, list] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
        for ref, commit in self.repo().refs().items():
            prefix = next(prefix for prefix in groups if ref.startswith(prefix))
            target = commit if prefix == "refs/tags/" else self.aged(commit)
            found[groups[prefix]].append({"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": target.id})
        return Reply(200, found)

    @route("GET", rf"{API}/commits/(?P<revision>[^/]+)", "commits")
    def commits(self) -> Reply:
        listed = [
            {"id": c.id, "title": c.message, "message": c.description, "date": c.date, "authors": [{"user": c.author}]}
            for c in self.commit(self.repo()).history()
        ]
        return Reply(200, listed)

    @route("POST", rf"{API}/branch/(?P<branch>[^/]+)", "branch")
    def create_branch(self) -> Reply:
        repo, branch = self.writable_repo(), self.names["branch"]
        if branch in repo.branches:
            raise Refusal(409, f"Reference already exists: refs/heads/{branch}")
        repo.branches[branch] = self.commit(repo, self.json().get("startingPoint"))
        return Reply(200, {})

    @route("DELETE", rf"{API}/branch/(?P<branch>[^/]+)", "branch")
    def delete_branch(self) -> Reply:
        repo, branch = self.writable_repo(), self.names["branch"]
        if branch == "main":
            raise Refusal(403, "Cannot delete the branch refs/heads/main")
        if repo.branches.pop(branch, None) is None:
            raise Refusal(404, f"Reference does not exist: refs/heads/{branch}", "RevisionNotFound")
        return Reply(200, {})

    @route("POST", rf"{API}/tag/(?P<revision>[^/]+)", "tag")
    def create_tag(self) -> Reply:
        repo, tag = self.writable_repo(), self.json()["tag"]
        commit = self.commit(repo)
        if tag in repo.tags:
            raise Refusal(409, f"Tag reference exists already: refs/tags/{tag}")
        repo.tags[tag] = commit
        return Reply(200, {})

    def own_pull_request(self) -> bool:
        """Whether the path's revision is a pull request that this user wrote last: its author may go on with it."""
        repo = self.hub.repos.get(self.names["repo"])
        head = repo.refs().get(self.names.get("revision", "")) if repo else None
        return head is not None and self.user is not None and head.author == self.user.name

    @route("POST", rf"{API}/preupload/(?P<revision>[^/]+)", "preupload")
    def preupload(self) -> Reply:
        repo = self.writable_repo(self.flag("create_pr") or self.own_pull_request())
        head, body = self.commit(repo), self.json()
        ignored = body.get("gitIgnore")
        if ignored is None:
            ignored = head.files.get(".gitignore", Blob(b"")).data.decode("utf-8", "replace")
        answers = []
        for asked in body["files"]:
            path, old = asked["path"], head.files.get(asked["path"])
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if head.is_lfs(path, asked["size"]) else "regular",
                    "shouldIgnore": any(matches(path, pattern) for pattern in ignored.splitlines()),
                    "oid": old.etag if old else None,  # by which the client sees that a file has not changed
                }
            )
        return Reply(200, {"commitOid": head.id, "files": answers})

    @route("POST", rf"{API}/commit/(?P<revision>[^/]+)", "commit")
    def make_commit(self) -> Reply:
        hub, revision, new_pull = self.hub, self.names["revision"], self.flag("create_pr")
        repo = self.writable_repo(new_pull or self.own_pull_request())
        lines = [json.loads(line) for line in self.request.body.splitlines() if line.strip()]
        if not lines or lines[0].get("key") != "header":
            raise Refusal(400, "The first line of a commit must be its header")
        header, ref = lines[0]["value"], repo.movable(revision)
        if ref is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        head = repo.refs()[ref]
        if not head.id.startswith(header.get("parentCommit") or ""):
            moved = f"{revision} is at {head.id} now"
            raise Refusal(412, f"A commit has happened since. Please refresh and try again: {moved}")
        files = dict(head.files)
        for line in lines[1:]:
            apply_operation(repo, head, files, line["key"], line["value"])
        if new_pull:
            ref = f"refs/pr/{len(repo.pulls) + 1}"
        done = hub.new_commit(head, files, header["summary"], header.get("description") or "", self.user.name)
        repo.move(ref, done)
        answer = {"success": True, "commitOid": done.id, "commitUrl": f"{hub.url}/{repo.id}/commit/{done.id}"}
        if new_pull:
            answer["pullRequestUrl"] = f"{hub.url}/{repo.id}/discussions/{ref.removeprefix('refs/pr/')}"
        return Reply(200, {**answer, "hookOutput": ""})

    @route("POST", rf"{PAGE}\.git/info/lfs/objects/batch", "lfs-batch")
    def lfs_batch(self) -> Reply:
        body = self.json()
        reference = (body.get("ref") or {}).get("name")
        self.names["revision"] = reference or ""  # for `own_pull_request`
        # The client names no ref for a new pull request, so that those may upload who cannot write to the branch.
        repo = self.writable_repo(reference is None or self.own_pull_request())
        base = f"{self.hub.cdn_url}/lfs/{quote(repo.id)}"
        objects = []
        for wanted in body["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            answer = {"oid": oid, "size": size}
            if oid not in repo.lfs:
                upload: dict = {"href": f"{base}/{oid}?{self.hub.signature}"}
                step = self.hub.lfs_part_size
                if step and size > step and "multipart" in body.get("transfers", []):
                    numbers = range(1, -(-size // step) + 1)
                    urls = {str(number): f"{base}/{oid}?part={number}&{self.hub.signature}" for number in numbers}
                    upload["header"] = {"chunk_size": str(step), **urls}
                verify = f"{self.hub.url}/{quote(repo.id)}.git/info/lfs/verify"
                answer["actions"] = {"upload": upload, "verify": {"href": verify}}
            objects.append(answer)
        return Reply(200, {"transfer": "basic", "objects": objects})

    @route("POST", rf"{PAGE}\.git/info/lfs/verify", "lfs-verify")
    def lfs_verify(self) -> Reply:
        repo, wanted = self.repo(), self.json()
        if len(repo.lfs.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refusal(422, f"LFS object {wanted['oid']} was not uploaded as announced")
        return Reply(200, {})

    def signed_repo(self) -> Repo:
        """The repo of a storage URL, which is valid by its signature alone."""
        if self.request.authorization is not None:
            raise Refusal(400, "Only one auth mechanism allowed; the signature and the Authorization header are two")
        if self.hub.signature not in self.request.path or self.names["repo"] not in self.hub.repos:
            raise Refusal(403, "Access denied: the signature is not valid")
        return self.hub.repos[self.names["repo"]]

    def store(self, repo: Repo, oid: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refusal(400, f"The content does not match its checksum {oid}")
        repo.lfs[oid] = data

    @route("PUT", STORED, "lfs-upload")
    def lfs_upload(self) -> Reply:
        repo, oid, data = self.signed_repo(), self.names["oid"], self.request.body
        if "part" in self.query:
            repo.parts[oid, int(self.query["part"][0])] = data
        else:
            self.store(repo, oid, data)
        return Reply(200, b"", {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    @route("POST", STORED, "lfs-complete")
    def lfs_complete(self) -> Reply:
        """The end of an upload in parts."""
        repo, oid = self.signed_repo(), self.names["oid"]
        parts = [repo.parts.pop((oid, part["partNumber"]), None) for part in self.json()["parts"]]
        if None in parts:
            raise Refusal(400, f"Parts of {oid} are missing")
        self.store(repo, oid, b"".join(parts))
        return Reply(200, {})

    def content(self, data: bytes, etag: str, headers: dict[str, str]) -> Reply:
        """A file or the range of it that was asked for; a range of an older content (If-Range) gets the whole."""
        etag, asked_of = f'"{etag}"', self.request.headers.get("if-range")
        headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.request.headers.get("range", ""))
        if not asked or asked[0] == "bytes=-" or asked_of not in (None, etag):
            return Reply(200, data, headers)
        first, last = asked.groups()
        start = int(first) if first else max(len(data) - int(last), 0)
        end = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= end:
            return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
        return Reply(206, data[start:end], {**headers, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    @route("GET", rf"{PAGE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve")
    def resolve(self) -> Reply:
        repo = self.repo()
        revision = self.commit(repo)
        blob, headers = revision.files.get(self.names["path"]), {"X-Repo-Commit": revision.id}
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", headers)
        if not blob.lfs:
            return self.content(blob.data, blob.etag, headers)
        location = f"{self.hub.cdn_url}/lfs/{quote(repo.id)}/{blob.sha256}?{self.hub.signature}"
        linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data)), "Location": location}
        return Reply(302, f"Found. Redirecting to {location}", {**headers, **linked})

    @route("GET", STORED, "lfs-download")
    def lfs_download(self) -> Reply:
        repo, oid = self.signed_repo(), self.names["oid"]
        if oid not in repo.lfs:
            raise Refusal(404, "No such object")
        return self.content(repo.lfs[oid], oid, {})


KINDS = {kind for _, _, kind, _ in ROUTES} | {"unknown"}


# ------------------------------------------------------------------------------------------------ the server


class Hub:
    """The Hub: a context manager. Everything but the endpoints that clients use is for tests to set up and look at.

    Attributes:
        url, cdn_url: Where the Hub and its storage listen.
        repos: Every `Repo` by its id.
        tokens: `User` by token; take a token out to revoke it.
        requests: Every `Request` so far, in the order of their answers.
        echo_token_in_errors: Put the Authorization header that came in into every error message.
        lfs_part_size: LFS files larger than this are uploaded in parts of it; None for never.
    """

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.tokens: dict[str, User] = {}
        self.requests: list[Request] = []
        self.echo_token_in_errors = False
        self.lfs_part_size: int | None = None
        self.signature = f"signature={secrets.token_hex(8)}"
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._before: list[tuple[str, Callable[[], object]]] = []
        self._crashes: list[str] = []
        self._number_of_commits = 0
        self._servers = [_Server(self, storage) for storage in (False, True)]
        hub, storage = (server.server_address[1] for server in self._servers)
        self.url, self.cdn_url = f"http://127.0.0.1:{hub}", f"http://localhost:{storage}"

    def __enter__(self) -> "Hub":
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind, *_) -> None:
        for server in self._servers:
            server.stop()
        if kind is None and self._crashes:
            raise AssertionError("the test's own Hub failed:\n" + "\n".join(self._crashes))

    # -------- what tests set up

    def environment(self, token: str | None = None) -> dict[str, str]:
        """The variables under which a fresh process uses this Hub; HF_HOME is for the test to choose."""
        fixed = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {"HF_ENDPOINT": self.url, **fixed, **({"HF_TOKEN": token} if token else {})}

    def connect(self, monkeypatch) -> None:
        """Point the client of this very process here, which read its environment when it was imported."""
        from huggingface_hub import constants, file_download, hf_api

        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {"ENDPOINT": self.url, "HUGGINGFACE_CO_URL_TEMPLATE": template}.items():
            monkeypatch.setattr(constants, name, value)
        for name, value in {"DISABLE_XET": True, "DISABLE_TELEMETRY": True, "OFFLINE": False}.items():
            monkeypatch.setattr(constants, f"HF_HUB_{name}", value)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)  # 0.36's copy
        monkeypatch.setattr(hf_api.api, "endpoint", self.url)  # the one behind `huggingface_hub.create_repo` and so on
        if "transformers.utils.hub" in sys.modules:
            monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)  # 5.x keeps a client of its own

    def add_user(self, name: str, can_write: "bool | set[str] | frozenset[str]" = True) -> str:
        """A new token for `name`: True writes to the own namespace, a set to exactly those, False only reads."""
        digest = hashlib.sha512(f"{name} {len(self.tokens)}".encode()).digest()
        token = "hf_" + "".join(string.ascii_letters[byte % 52] for byte in digest[:34])
        self.tokens[token] = User(name, can_write if isinstance(can_write, bool) else frozenset(can_write))
        return token

    def create_repo(self, repo_id: str, private: bool = False) -> None:
        """A repo with the Hub's first commit, which holds a `.gitattributes`."""
        with self._lock:
            repo = self.repos[repo_id] = Repo(repo_id, private)
            files = {".gitattributes": Blob(GITATTRIBUTES)}
            repo.move("refs/heads/main", self.new_commit(None, files, "initial commit", "", "system"))

    def commit(
        self, repo_id: str, files: dict[str, bytes | None], revision: str = "main", message: str = "planted"
    ) -> str:
        """Commit on the server, whatever the paths (None deletes); returns the new commit's id."""
        with self._lock:
            repo = self.repos[repo_id]
            ref = repo.movable(revision)
            if ref is None:
                raise KeyError(f"{repo_id} has no branch or pull request {revision!r}")
            head = repo.refs()[ref]
            tree = dict(head.files)
            for path, data in files.items():
                if data is None:
                    del tree[path]
                    continue
                tree[path] = Blob(data, head.is_lfs(path, len(data)))
                if tree[path].lfs:
                    repo.lfs[tree[path].sha256] = data
            repo.move(ref, self.new_commit(head, tree, message, "", "system"))
            return repo.refs()[ref].id

    def before(self, kind: str, function: Callable[[], object]) -> None:
        """Call `function` once, just before the next request of that kind is handled: to come in between."""
        with self._lock:
            self._before.append((kind, function))

    def fault(self, what: str, **how) -> Fault:
        """Plant a fault for requests of a kind (see `KINDS`), or whose path and query a regular expression finds.

        Args:
            what: The kind, or the expression.
            method: Only this method.
            times: How often; None for ever.
            after: How many matching requests go well first.
            status, headers, body: Answer with these and do nothing.
            drop: "request" closes the connection in the middle of the request, nothing is done; "after" does the work
                and closes it without an answer; "response" closes it in the middle of the body of a good answer.
            flip_bit: Flip one bit in the middle of the body of a good answer.
            delay: Wait that many seconds first.
            stale: A branch is answered with its previous commit.

        A fault of the body waits for an answer that has one: it leaves HEAD requests, redirects and errors alone.
        """
        if how.get("drop") not in (None, "request", "after", "response"):
            raise ValueError(f"drop={how['drop']!r}")
        with self._lock:
            self._faults.append(Fault(what, **how))
            return self._faults[-1]

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    # -------- what tests look at

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Content by path, the Hub's own `.gitattributes` among them."""
        return {path: blob.data for path, blob in self._find(repo_id, revision).files.items()}

    def head(self, repo_id: str, revision: str = "main") -> str:
        return self._find(repo_id, revision).id

    def commits(self, repo_id: str, revision: str = "main") -> list[Commit]:
        """Newest first."""
        return list(self._find(repo_id, revision).history())

    def refs(self, repo_id: str) -> dict[str, str]:
        """Commit id by full ref name."""
        with self._lock:
            return {ref: commit.id for ref, commit in self.repos[repo_id].refs().items()}

    def kinds(self) -> list[str]:
        """The kinds of all requests."""
        return [request.kind for request in self.requests]

    def writes(self) -> list[str]:
        """The kinds of all requests that could have changed something."""
        return [request.kind for request in self.requests if request.method not in ("GET", "HEAD")]

    def downloads(self) -> list[str]:
        """The paths of all requests for a file's content."""
        return [request.path for request in self.requests if request.kind in ("resolve", "lfs-download")]

    def operations(self) -> dict[str, str]:
        """What the last commit by a client did: operation by path."""
        body = [request.body for request in self.requests if request.kind == "commit"][-1]
        lines = [json.loads(line) for line in body.splitlines()]
        return {line["value"]["path"]: line["key"] for line in lines if line["key"] != "header"}

    def state(self) -> dict[str, tuple[bool, dict[str, str]]]:
        """All that readers can see: whether a repo is private, and where its refs are."""
        return {name: (repo.private, self.refs(name)) for name, repo in self.repos.items()}

    def clear_requests(self) -> None:
        with self._lock:
            self.requests.clear()

    def settle(self) -> None:
        """Wait until no client is connected: what one sent before it died has then been handled."""
        for server in self._servers:
            probe = http.client.HTTPConnection(*server.server_address)
            probe.request("GET", "/")
            probe.getresponse().read()  # connections are taken in order: every earlier one is known by now
            probe.close()
        while any(server.open for server in self._servers):
            time.sleep(0.001)

    @property
    def uploaded_lfs_bytes(self) -> int:
        """Bytes of LFS content that came in since the requests were cleared, failed uploads included."""
        return sum(request.received for request in self.requests if request.kind == "lfs-upload")

    # -------- what the server needs

    def _find(self, repo_id: str, revision: str) -> Commit:
        with self._lock:
            commit = self.repos[repo_id].find(revision)
        if commit is None:
            raise KeyError(f"{repo_id} has no revision {revision!r}")
        return commit

    def new_commit(
        self, parent: Commit | None, files: dict[str, Blob], message: str, description: str, author: str
    ) -> Commit:
        """A commit object that no ref points at yet."""
        self._number_of_commits += 1
        oid = hashlib.sha1(f"{self._number_of_commits} {author} {message}".encode()).hexdigest()
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return Commit(oid, parent, message, description, author, date, files)

    def take_fault(self, request: Request, on_response: bool) -> Fault:
        """The fault that strikes now; one that does nothing if none does."""
        with self._lock:
            planted = (fault for fault in self._faults if fault.on_response == on_response)
            return next((fault for fault in planted if fault.applies(request)), Fault(""))

    def run_before(self, kind: str) -> None:
        """Outside of the lock: what it runs may well use the Hub by its client."""
        with self._lock:
            due = [function for wanted, function in self._before if wanted == kind]
            self._before = [(wanted, function) for wanted, function in self._before if wanted != kind]
        for function in due:
            function()

    def answer(self, request: Request, endpoint, names: dict[str, str], stale: bool) -> Reply:
        """Do what a request asks for."""
        try:
            if endpoint is None:
                raise Refusal(404, f"This Hub has no {request.method} {request.path}")
            with self._lock:
                user = None if request.path.startswith("/lfs/") else self._user(request.authorization)
                query = parse_qs(urlsplit(request.path).query)
                return endpoint(Call(self, request, user, query, names, stale))
        except Refusal as refusal:
            return refusal.reply(self.echo(request))
        except Exception:
            self._crashes.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
            return Refusal(500, "Internal Error").reply()

    def echo(self, request: Request) -> str:
        """What goes behind an error message."""
        return f" ({request.authorization})" if self.echo_token_in_errors else ""

    def _user(self, authorization: str | None) -> User | None:
        if authorization is None:
            return None
        user = self.tokens.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return user


class _Server(ThreadingHTTPServer):
    """One of the two listeners. It knows its open connections, to close them: clients keep theirs alive."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: Hub, storage: bool):
        self.hub, self.storage, self.open = hub, storage, set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that went away is nothing to tell of."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed in this very moment


class _Handler(BaseHTTPRequestHandler):
    """HTTP as such: reads a request, lets the Hub answer it, and spoils it where a fault says so."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait for the client's ACK
    server: _Server

    def log_message(self, *_):
        pass

    def serve(self) -> None:
        hub = self.server.hub
        kind, endpoint, names = self.find_route()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, kind, headers.get("authorization"), headers)
        fault = hub.take_fault(request, on_response=False)
        request.body = self.read_body(half=fault.drop == "request")
        request.received = len(request.body)
        if fault.delay:
            time.sleep(fault.delay)
        if fault.drop == "request" or self.is_cut_off(request):
            return self.hang_up(request)
        if fault.status:
            return self.send(request, fault.reply(hub.echo(request)))
        hub.run_before(kind)
        reply = hub.answer(request, endpoint, names, fault.stale)
        if fault.drop == "after":
            return self.hang_up(request)
        self.send(request, reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def find_route(self) -> tuple[str, Callable | None, dict[str, str]]:
        """The kind of the request, its endpoint, and what its path names."""
        path = self.path.split("?")[0]
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, kind, endpoint in ROUTES:
            match = pattern.fullmatch(path) if wanted == method else None
            if match and path.startswith("/lfs/") == self.server.storage:
                return kind, endpoint, {name: unquote(value) for name, value in match.groupdict().items() if value}
        return "unknown", None, {}

    def read_body(self, half: bool) -> bytes:
        """The body, sent with its length or in chunks; about `half` of it for a connection that breaks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = io.BytesIO()
            while size := self.read_chunk_size():
                body.write(self.rfile.read(size))
                self.rfile.readline()
                if half:
                    return body.getvalue()
            self.rfile.readline()
            return body.getvalue()
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length // 2 if half else length)

    def read_chunk_size(self) -> int:
        line = self.rfile.readline()
        if not line:
            raise ConnectionResetError("the client went away in the middle of its request")
        return int(line.split(b";")[0], 16)

    def is_cut_off(self, request: Request) -> bool:
        """Whether the client went away in the middle of its request: half a request is none."""
        return request.received < int(self.headers.get("Content-Length") or 0)

    def hang_up(self, request: Request) -> None:
        """Close the connection without an answer."""
        self.record(request)
        self.close_connection = True

    def record(self, request: Request) -> None:
        """To be called before the answer goes out: a test that has it may look at the record at once."""
        with self.server.hub._lock:
            self.server.hub.requests.append(request)

    def send(self, request: Request, reply: Reply) -> None:
        body = reply.encoded()
        whole = len(body)
        if body and reply.status in (200, 206) and self.command != "HEAD":
            fault = self.server.hub.take_fault(request, on_response=True)
            if fault.flip_bit:
                body = body[: whole // 2] + bytes([body[whole // 2] ^ 1]) + body[whole // 2 + 1 :]
            if fault.drop:
                body = body[: whole // 2]
                self.close_connection = True
        out = b"" if self.command == "HEAD" else body
        request.status, request.sent = reply.status, len(out)
        self.record(request)
        self.send_response(reply.status)
        kind = "application/json" if isinstance(reply.body, (dict, list)) else "text/plain; charset=utf-8"
        headers = {"Content-Type": kind, "x-request-id": f"Root=1-{secrets.token_hex(4)}", **reply.headers}
        for name, value in {**headers, "Content-Length": str(whole)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(out)
