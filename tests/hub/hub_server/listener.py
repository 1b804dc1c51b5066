"""HTTP as such: two listeners that read a request, let the Hub answer it, and spoil it where a fault says so."""

import io
import secrets
import socket
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .endpoints import ROUTES
from .faults import Reply, Request


if TYPE_CHECKING:
    from .hub import Hub


class Server(ThreadingHTTPServer):
    """One of the two listeners. It knows its open connections, to close them: clients keep theirs alive."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: "Hub", storage: bool):
        self.hub, self.storage, self.open = hub, storage, set()
        super().__init__(("127.0.0.1", 0), Handler)

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


class Handler(BaseHTTPRequestHandler):
    """HTTP as such: reads a request, lets the Hub answer it, and spoils it where a fault says so."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait for the client's ACK
    server: Server

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
