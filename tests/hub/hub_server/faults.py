"""A request and its answer, and what can go wrong with them."""

import json
import re
from dataclasses import dataclass, field


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
    is_kind: bool = False
    seen: int = 0
    hits: int = 0

    @property
    def on_response(self) -> bool:
        """Whether it spoils the body that goes out, rather than the work."""
        return self.flip_bit or self.drop == "response"

    def applies(self, request: Request) -> bool:
        """Whether it strikes now. Counts, so to be asked once a request."""
        if not (request.kind == self.what if self.is_kind else re.search(self.what, request.path)):
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
