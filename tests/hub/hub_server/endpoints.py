"""What the Hub does at each address that clients ask."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from .faults import Refusal, Reply, Request
from .store import Blob, Commit, Repo, User, matches


if TYPE_CHECKING:
    from .hub import Hub


BASE_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


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
