"""One polite HTTP client: bytes of a URL, or the reason why not.

Sessions of `requests`, one a thread. Retries with exponential backoff and full jitter; `Retry-After` pauses the whole host,
not only the thread that met it; a host gets at most so many requests a second. Only http(s) to allowed hosts, redirects
included. Bytes are taken as they come, up to a cap, within time-outs for connecting, reading and the whole photo.
"""

from __future__ import annotations

import http.client
import io
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from fdf.vocabulary import Reason

_CHUNK = 1 << 16
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "::1"}
_REDIRECTS = {301, 302, 303, 307, 308}
_GONE = {404, 410}
_PRIVATE = {401, 403, 451}
_NEVER = float("inf")
"""A wait that says: asking again at once changes nothing."""
_PLACEHOLDER_MARK = "photo_unavailable"
"""Flickr redirects a missing photo to a picture of this name and answers 200."""


@dataclass(frozen=True)
class HttpPolicy:
    """How to behave. Times in seconds.

    Attributes:
        allowed_hosts: host names, or `host:port` for another port than the scheme's own.
        photo_timeout: from sending a request to the last byte of its answer.
        retries: further tries after the first.
        retry_after_cap: a longer wait than this is not waited for: this photo, and all others of the host until then, are
            dropped as retryable without asking again.
        requests_per_second: for each host; 0 for no limit.
    """

    user_agent: str
    allowed_hosts: frozenset[str]
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    photo_timeout: float = 60.0
    max_bytes: int = 64 << 20
    retries: int = 4
    backoff: float = 0.5
    backoff_cap: float = 30.0
    retry_after_cap: float = 120.0
    requests_per_second: float = 0.0
    max_redirects: int = 5


@dataclass(frozen=True)
class Download:
    """Bytes that came."""

    data: bytes = field(repr=False)
    url: str
    http_status: int
    attempts: int
    headers: Mapping[str, str]


class DownloadError(Exception):
    """No bytes, and why: one of the closed list."""

    def __init__(self, reason: Reason, detail: str, attempts: int = 0, wait: float | None = None) -> None:
        super().__init__(reason, detail, attempts, wait)
        self.reason, self.detail, self.attempts, self.wait = reason, detail, attempts, wait


@dataclass
class _Gate:
    """When the next request to a host may start; `paused_until` is what its Retry-After asked for."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    next_slot: float = 0.0
    paused_until: float = 0.0


class Downloader:
    """Fetches URLs under one policy. Safe to use from many threads.

    Args:
        policy: time-outs, caps, hosts, retries.
        clock, sleep, jitter: replaceable for tests that must not wait.
    """

    def __init__(
        self,
        policy: HttpPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy
        self._stopped = threading.Event()
        self._clock, self._sleep, self._jitter = clock, sleep or self._stopped.wait, jitter
        self._local = threading.local()
        self._gates: dict[str, _Gate] = {}
        self._gates_lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called: it can't be used any more."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Give up: threads that wait stop waiting, and no further request is made. For an interrupted run."""
        self._stopped.set()

    def get(self, url: str) -> Download:
        """Bytes of `url`, retried as the policy says.

        Raises:
            DownloadError: with a retryable reason only after all retries.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                data, final_url, status, headers = self._once(url)
                return Download(data, final_url, status, attempt, headers)
            except DownloadError as error:
                wait = self._wait_before_retry(error, attempt)
                if wait is None:
                    raise DownloadError(error.reason, error.detail, attempt, error.wait) from error
                self._sleep(wait)

    def _wait_before_retry(self, error: DownloadError, attempt: int) -> float | None:
        """Seconds to wait, or None to give up."""
        if self._stopped.is_set() or not error.reason.retryable or attempt > self.policy.retries:
            return None
        if error.wait is not None:
            return error.wait if error.wait <= self.policy.retry_after_cap else None
        return self._jitter() * min(self.policy.backoff_cap, self.policy.backoff * 2.0 ** (attempt - 1))

    def _once(self, url: str) -> tuple[bytes, str, int, Mapping[str, str]]:
        for _ in range(self.policy.max_redirects + 1):
            if self._stopped.is_set():
                raise DownloadError(Reason.CONNECTION, f"stopped before asking for {url}")
            self._take_slot(self._allowed(url))
            with _translated(url), self._request(url) as response:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    url = _redirected(url, response.headers["location"])
                    continue
                self._check_status(response, url)
                data = self._body(response, url)
                return data, url, response.status_code, {k.lower(): v for k, v in response.headers.items()}
        detail = f"more than {self.policy.max_redirects} redirects, last to {url}"
        raise DownloadError(Reason.HTTP_ERROR, detail, wait=_NEVER)

    def _request(self, url: str) -> requests.Response:
        loopback = urlsplit(url).hostname in _LOOPBACK
        _limit.set(self.policy.photo_timeout, self._clock)
        return self._session().get(
            url,
            stream=True,
            allow_redirects=False,
            timeout=(self.policy.connect_timeout, self.policy.read_timeout),
            proxies={"http": "", "https": ""} if loopback else None,
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _Session()
            session.headers.update(
                {"User-Agent": self.policy.user_agent, "Accept": "image/*", "Accept-Encoding": "identity"}
            )
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.auth = lambda request: request  # else requests sends what ~/.netrc holds for the host
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter())
        return session

    def _allowed(self, url: str) -> str:
        """The host of `url`, as `host` or `host:port` in lower case, if the policy lets us ask it."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise DownloadError(Reason.FORBIDDEN_HOST, f"{url[:200]} is no URL: {error}") from error
        if parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise DownloadError(Reason.FORBIDDEN_HOST, f"{url[:200]} is no plain http(s) URL")
        if ":" in host:
            host = f"[{host}]"  # an IPv6 address
        if port not in (None, {"http": 80, "https": 443}[parts.scheme]):
            host = f"{host}:{port}"
        if host not in self.policy.allowed_hosts:
            raise DownloadError(Reason.FORBIDDEN_HOST, f"{parts.netloc} is not among the allowed hosts")
        return host

    def _gate(self, host: str) -> _Gate:
        with self._gates_lock:
            return self._gates.setdefault(host, _Gate())

    def _take_slot(self, host: str) -> None:
        """Wait for this host's next slot; slots are spaced by the rate and pushed back by Retry-After."""
        gate = self._gate(host)
        spacing = 1.0 / self.policy.requests_per_second if self.policy.requests_per_second else 0.0
        while True:
            with gate.lock:
                now = self._clock()
                pause = gate.paused_until - now
                if pause > self.policy.retry_after_cap:
                    detail = f"not asked: {host} wants to be left alone for {pause:.0f} s more (Retry-After)"
                    raise DownloadError(Reason.RATE_LIMITED, detail, wait=pause)
                slot = max(now, gate.next_slot, gate.paused_until)
                gate.next_slot = slot + spacing
            if slot > now:
                self._sleep(slot - now)
            if gate.paused_until <= slot:  # else a Retry-After came while we waited: it is meant for us, too
                return

    def _check_status(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        if status == HTTPStatus.OK:
            return
        detail = f"HTTP {status} from {url}"
        if status in _GONE:
            raise DownloadError(Reason.GONE, detail)
        if status in _PRIVATE:
            raise DownloadError(Reason.PRIVATE, detail)
        wait = _retry_after(response.headers.get("retry-after"))
        if status in (429, 503) and wait is not None:
            gate = self._gate(self._allowed(url))
            with gate.lock:  # everybody who talks to this host waits
                gate.paused_until = max(gate.paused_until, self._clock() + wait)
            detail += f", Retry-After {wait:.0f} s"
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise DownloadError(Reason.RATE_LIMITED, detail, wait=wait)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise DownloadError(Reason.HTTP_ERROR, detail, wait=wait)
        # Another 4xx will not change by asking again at once: no retry here.
        raise DownloadError(Reason.HTTP_ERROR, detail, wait=_NEVER)

    def _body(self, response: requests.Response, url: str) -> bytes:
        cap = self.policy.max_bytes
        announced = _number(response.headers.get("content-length"))
        if announced is not None and announced > cap:
            raise DownloadError(Reason.TOO_LARGE, f"{announced:.0f} bytes announced by {url}, cap {cap}")
        data = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            data += chunk
            if len(data) > cap:
                raise DownloadError(Reason.TOO_LARGE, f"more than {cap} bytes from {url}")
        return bytes(data)


class _Limit(threading.local):
    """How long this thread may still wait for the answer that it asked for."""

    def set(self, seconds: float, clock: Callable[[], float]) -> None:
        """Start to count, as a request is made."""
        self.seconds, self.clock, self.end = seconds, clock, clock() + seconds


_limit = _Limit()


class _Reader(io.RawIOBase):
    """What comes over a socket until the thread's limit. A time-out of the socket starts again with every byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw, self._sock, self._timeout = raw, sock, sock.gettimeout()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As of any raw stream. Raises TimeoutError."""
        left = _limit.end - _limit.clock()
        if left > 0:
            self._sock.settimeout(left if self._timeout is None else min(left, self._timeout))
            try:
                return self._raw.readinto(buffer)
            except TimeoutError:
                if _limit.clock() < _limit.end:
                    raise
        raise TimeoutError(f"no end of the answer within {_limit.seconds:g} s")

    def close(self) -> None:
        """Give the socket back."""
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose every byte, status line and headers and chunk sizes included, comes within the limit."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock))


class _HttpConnection(urllib3.connection.HTTPConnection):
    response_class = _Answer


class _HttpsConnection(urllib3.connection.HTTPSConnection):
    response_class = _Answer


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Session(requests.Session):
    """A session that leaves redirects alone: requests would read the whole body of one, of any size, to look ahead."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: `Downloader` follows them, and checks every host."""


class _Adapter(HTTPAdapter):
    """Requests' way to our connections, with and without a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager


class _translated:  # noqa: N801 - reads as a statement
    """Turns what requests and urllib3 raise into a `DownloadError`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DownloadError) or not isinstance(error, _NETWORK):
            return
        raise DownloadError(_reason(error), f"{_root(error)} ({self._url})") from error


_NETWORK = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def _reason(error: BaseException) -> Reason:
    """Which of the closed list an exception of the HTTP stack means."""
    # A refused connection is a kind of connect time-out to urllib3, not to us.
    chain = [cause for cause in _chain(error) if type(cause) is not urllib3.exceptions.NewConnectionError]
    by_kind: tuple[tuple[tuple[type[BaseException], ...], Reason], ...] = (
        ((urllib3.exceptions.NameResolutionError,), Reason.DNS),
        ((requests.exceptions.SSLError, urllib3.exceptions.SSLError), Reason.TLS),
        ((requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError), Reason.TIMEOUT),
        ((http.client.IncompleteRead,), Reason.TRUNCATED),
        ((urllib3.exceptions.DecodeError,), Reason.HTTP_ERROR),
        ((requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema), Reason.FORBIDDEN_HOST),
    )
    for kinds, reason in by_kind:
        if any(isinstance(cause, kinds) for cause in chain):
            return reason
    return Reason.CONNECTION


def _chain(error: BaseException) -> list[BaseException]:
    """The error, its causes and the exceptions inside its arguments (urllib3 nests them there)."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        cause = queue.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            queue += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found


def _root(error: BaseException) -> str:
    """The name of the innermost error and the outer text, shortened: what a person wants to read."""
    innermost = _chain(error)[-1]
    return f"{type(innermost).__name__}: {str(innermost)[:160]}"


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads."""
    try:
        target = urljoin(url, location)
        path = urlsplit(target).path
    except ValueError as error:
        detail = f"redirected from {url} to {location[:200]!r}, which is no URL"
        raise DownloadError(Reason.FORBIDDEN_HOST, detail) from error
    if _PLACEHOLDER_MARK in path:
        raise DownloadError(Reason.PLACEHOLDER, f"redirected to {target}")
    return target


def _number(value: str | None) -> float | None:
    """A header's whole number; None for anything else. A float: a stranger may send any number of digits."""
    text = (value or "").strip()
    return float(text) if text.isascii() and text.isdigit() else None


def _retry_after(value: str | None) -> float | None:
    """Seconds asked for by a Retry-After header, given in seconds or as an HTTP date."""
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def is_loopback(netloc: str) -> bool:
    """Whether `host` or `host:port` is this machine."""
    try:
        return urlsplit(f"//{netloc}").hostname in _LOOPBACK
    except ValueError:
        return False
