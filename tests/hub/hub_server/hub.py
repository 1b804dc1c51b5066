"""The Hub as tests see it: to set up, to spoil, and to look at."""

import hashlib
import http.client
import json
import secrets
import string
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from .endpoints import KINDS, Call
from .faults import Fault, Refusal, Reply, Request
from .listener import Server
from .store import GITATTRIBUTES, Blob, Commit, Repo, User


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
        self._servers = [Server(self, storage) for storage in (False, True)]
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
            self._faults.append(Fault(what, is_kind=what in KINDS, **how))
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
