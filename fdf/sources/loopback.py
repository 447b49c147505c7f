"""A small HTTP server on the loopback interface that serves a folder laid out like the public mirror.

The sample recipe fetches from it, so a demo runs the code that a real run does: sockets, redirects, errors, retries.
An optional `routes.json` beside the folder makes single keys misbehave, as real servers do:
`{"<path>": {"status": 503, "times": 1, "retry_after": 0, "redirect": "/…", "headers": {…}}}`; `times` counts from the
server's start, after that the file is served. Anything of another shape is refused.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mimetypes
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import unquote

from fdf.errors import DataError, MachineError, UsageError

HOST = "127.0.0.1"
ROUTES: Final = "routes.json"
"""Name of the file beside the folder."""


def _is_header(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_SETTINGS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "status": ("a number from 200 to 599", lambda value: _is_count(value) and 200 <= value <= 599),
    "times": ("a whole number, 0 or more", _is_count),
    "retry_after": ("whole seconds or a date as text", lambda value: _is_count(value) or _is_header(value)),
    "redirect": ("a URL as text", _is_header),
    "headers": (
        "an object of texts",
        lambda value: isinstance(value, dict) and all(map(_is_header, [*value, *value.values()])),
    ),
}
"""What a route may say, and how."""


class LoopbackMirror:
    """Serves `folder` while the `with` block lasts; `url` is its base.

    Args:
        folder: what to serve; only files that were there at the start, by exact path.
        port: 0 takes any free one.

    Raises:
        UsageError: the folder is missing.
        DataError: `routes.json` is damaged or of another shape.
        MachineError: the port is in use.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        files = {f"/{name}": path for name, path in _files(folder).items()}
        routes = _routes(folder.with_name(ROUTES))
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise MachineError(
                f"Port {port} on {HOST} can't be used ({error.strerror})",
                expected="a free port for the loopback mirror",
                action="Stop what listens there, or choose another one: --set loopback.port=8378 (0 takes any free one)",
            ) from error
        self._server.files, self._server.routes = files, routes
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fdf-loopback", daemon=True
        )

    @property
    def netloc(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        return f"http://{self.netloc}"

    def __enter__(self) -> LoopbackMirror:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True  # a killed build must be able to start again at once
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.files: dict[str, Path] = {}
        self.routes: dict[str, dict[str, Any]] = {}
        self._served: Counter[str] = Counter()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and remember it."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and hang up: a connection that is kept alive must not go on serving what was."""
        super().server_close()
        with self._lock:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is its own business, not a traceback in somebody's terminal."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def route(self, path: str) -> dict[str, Any]:
        """How `path` misbehaves this time."""
        with self._lock:
            self._served[path] += 1
            route = self.routes.get(path, {})
            return route if self._served[path] <= route.get("times", self._served[path]) else {}


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # headers and body leave in two writes; Nagle would hold the second for an ACK

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        route = self.server.route(path)
        if "redirect" in route:
            self._answer(HTTPStatus.FOUND, b"", {"Location": route["redirect"]})
        elif "status" in route:
            wait = {"Retry-After": str(route["retry_after"])} if "retry_after" in route else {}
            self._answer(route["status"], b"", wait)
        elif path in self.server.files:
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            data = self.server.files[path].read_bytes()
            self._answer(HTTPStatus.OK, data, {"Content-Type": kind, **route.get("headers", {})})
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the fetch stage reports every outcome."""


def folder_digest(folder: Path) -> str:
    """SHA-256 of all that a mirror of `folder` would say: every file's path and bytes, and `routes.json` beside it.

    Raises:
        UsageError: the folder is missing.
    """
    files = {os.fsencode(name): path for name, path in _files(folder).items()}
    if (routes := folder.with_name(ROUTES)).is_file():
        files[f"../{ROUTES}".encode()] = routes
    digest = hashlib.sha256()
    for name in sorted(files):
        with files[name].open("rb") as file:
            digest.update(name + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    """Path below the folder → file."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", expected="a folder laid out like the mirror: data/images/…")
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _routes(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        routes = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of 5,000 digits, brackets without end
        raise DataError(f"{path} is no JSON ({error})") from error
    if not isinstance(routes, dict):
        raise _misshapen(path, "an object, path → route", routes)
    for key, route in routes.items():
        if not isinstance(route, dict):
            raise _misshapen(path, f"an object for {key!r}", route)
        for name, value in route.items():
            if name not in _SETTINGS:
                raise _misshapen(path, f"only {', '.join(_SETTINGS)} for {key!r}", name)
            expected, fits = _SETTINGS[name]
            if not fits(value):
                raise _misshapen(path, f"{expected} as {name!r} of {key!r}", value)
    return {f"/{key.lstrip('/')}": route for key, route in routes.items()}


def _misshapen(path: Path, expected: str, got: object) -> DataError:
    return DataError(
        f"{path} does not say how the mirror misbehaves",
        expected=expected,
        got=repr(got)[:80],
        action="Correct it; if it is something else, move it: the file of that name beside the mirror's folder is read",
    )
