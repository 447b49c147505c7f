"""The HTTP client against a real server that misbehaves: the exact reason, the telling detail, the number of requests."""

from __future__ import annotations

import gzip
import pickle
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Barrier
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fdf.sources.download import Downloader, DownloadError, HttpPolicy, _retry_after, is_loopback
from fdf.vocabulary import Reason
from tests.fakes import (
    OK_HEAD,
    Behaviour,
    FakeClock,
    MisbehavingServer,
    answer,
    chunked,
    cut_chunked,
    downloader,
    drip,
    endless,
    raw,
    redirect,
    reset,
    silence,
)

JPEG = b"\xff\xd8\xff" + bytes(range(256)) * 20
CHUNKED = {"Transfer-Encoding": "chunked", "Content-Length": ""}


def refused(client: Downloader, url: str) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        client.get(url)
    return caught.value


# --- one answer: which reason ------------------------------------------------------------------------------------------


def test_the_bytes_come_untouched_with_url_status_and_headers() -> None:
    with MisbehavingServer({"/a.jpg": answer(JPEG, headers={"ETag": '"x"', "X-Robots-Tag": "noai"})}) as server:
        found = downloader(server).get(server.url("/a.jpg"))
    assert found.data == JPEG
    assert (found.url, found.http_status, found.attempts) == (server.url("/a.jpg"), 200, 1)
    assert found.headers["etag"] == '"x"'
    assert found.headers["x-robots-tag"] == "noai"


@pytest.mark.parametrize(
    ("behaviour", "data"),
    [
        pytest.param(chunked(JPEG[:10], JPEG[10:]), JPEG, id="chunked"),
        pytest.param(answer(JPEG, length=""), JPEG, id="no length, closed at the end"),
        pytest.param(
            answer(gzip.compress(JPEG), headers={"Content-Encoding": "gzip"}), JPEG, id="gzip, though not asked"
        ),
        pytest.param(answer(b"<html>", headers={"Content-Type": "image/jpeg"}), b"<html>", id="HTML as image/jpeg"),
        pytest.param(answer(b""), b"", id="no bytes: for the decoder to refuse"),
        pytest.param(
            answer(JPEG, length="\xb2", headers={"Retry-After": "\xb2"}), JPEG, id="a length that is no number"
        ),
        pytest.param(redirect("b.jpg"), JPEG, id="relative redirect"),
        pytest.param(redirect("/b.jpg", 301), JPEG, id="redirect by path"),
        pytest.param(redirect("//{netloc}/b.jpg", 307), JPEG, id="redirect without a scheme"),
        pytest.param(redirect("http://{netloc}/b.jpg", 308), JPEG, id="absolute redirect"),
    ],
)
def test_what_is_taken(behaviour: Behaviour, data: bytes) -> None:
    with MisbehavingServer({"/d/a.jpg": behaviour, "/b.jpg": answer(JPEG), "/d/b.jpg": answer(JPEG)}) as server:
        assert downloader(server, retries=1).get(server.url("/d/a.jpg")).data == data


CAP = 4096
ZIPPED = gzip.compress(JPEG[:999])
ONCE, ALL = 1, 3  # requests, with two retries allowed

REFUSALS: list[tuple[str, Behaviour, Reason, str, int]] = [
    ("404", answer(b"x", 404), Reason.GONE, "HTTP 404 from http://127.0.0.1", ONCE),
    ("410", answer(b"x", 410), Reason.GONE, "HTTP 410", ONCE),
    ("401", answer(b"x", 401), Reason.PRIVATE, "HTTP 401", ONCE),
    ("403", answer(b"x", 403), Reason.PRIVATE, "HTTP 403", ONCE),
    ("451", answer(b"x", 451), Reason.PRIVATE, "HTTP 451", ONCE),
    ("429", answer(b"x", 429), Reason.RATE_LIMITED, "HTTP 429", ALL),
    ("500", answer(b"x", 500), Reason.HTTP_ERROR, "HTTP 500", ALL),
    ("503", answer(b"x", 503), Reason.HTTP_ERROR, "HTTP 503", ALL),
    ("400: no use in asking again", answer(b"x", 400), Reason.HTTP_ERROR, "HTTP 400", ONCE),
    ("204", answer(status=204, length=""), Reason.HTTP_ERROR, "HTTP 204", ONCE),
    ("206 though no range was asked for", answer(b"x", 206), Reason.HTTP_ERROR, "HTTP 206", ONCE),
    ("302 without a place", answer(b"", 302), Reason.HTTP_ERROR, "HTTP 302", ONCE),
    ("body shorter than announced", answer(JPEG[:999], length=1000), Reason.TRUNCATED, "999 bytes read, 1 more", ALL),
    ("gzip body cut", answer(ZIPPED[:-9], length=len(ZIPPED),
                             headers={"Content-Encoding": "gzip"}), Reason.TRUNCATED, "9 more", ALL),
    ("chunked body cut", cut_chunked(JPEG[:100]), Reason.TRUNCATED, "IncompleteRead", ALL),
    ("no gzip under its header", answer(JPEG[:99], headers={"Content-Encoding": "gzip"}), Reason.HTTP_ERROR,
     "decompress", ALL),
    ("announced too large", answer(b"", length=CAP + 1), Reason.TOO_LARGE, f"{CAP + 1} bytes announced", ONCE),
    ("announced absurdly large", answer(b"", length="9" * 5000), Reason.TOO_LARGE, "bytes announced", ONCE),
    ("too large without saying so", endless, Reason.TOO_LARGE, f"more than {CAP} bytes", ONCE),
    ("gzip bomb", answer(gzip.compress(bytes(1 << 20)), headers={"Content-Encoding": "gzip"}), Reason.TOO_LARGE,
     f"more than {CAP} bytes", ONCE),
    ("hung up on instead of answered", reset, Reason.CONNECTION, "", ALL),
    ("no HTTP", raw(b"SSH-2.0-OpenSSH\r\n"), Reason.CONNECTION, "", ALL),
    ("nothing, then closed", raw(b""), Reason.CONNECTION, "RemoteDisconnected", ALL),
    ("redirect loop", redirect("/x"), Reason.HTTP_ERROR, "more than 5 redirects", ONCE),
    ("redirect to another host", redirect("http://example.org/a.jpg"), Reason.FORBIDDEN_HOST, "example.org is not among", ONCE),
    ("redirect to a file", redirect("file:///etc/passwd"), Reason.FORBIDDEN_HOST, "file:///etc/passwd is no plain", ONCE),
    ("redirect to another port", redirect("https://127.0.0.1:1/a"), Reason.FORBIDDEN_HOST, "127.0.0.1:1 is not among", ONCE),
    ("redirect to what is no URL", redirect("http://[oops/a"), Reason.FORBIDDEN_HOST, "[oops/a', which is no URL", ONCE),
    ("redirect with a password", redirect("http://a:b@{netloc}/a"), Reason.FORBIDDEN_HOST, "no plain http(s) URL", ONCE),
    ("Flickr's placeholder", redirect("/images/photo_unavailable.png"), Reason.PLACEHOLDER, "photo_unavailable.png", ONCE),
    ("a placeholder elsewhere", redirect("https://s.example/photo_unavailable_z.gif"), Reason.PLACEHOLDER, "s.example", ONCE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "reason", "detail", "requests_made"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_what_is_refused(behaviour: Behaviour, reason: Reason, detail: str, requests_made: int) -> None:
    with MisbehavingServer({"/x": behaviour}) as server:
        error = refused(downloader(server, retries=2, max_bytes=CAP), server.url("/x"))
    assert (error.reason, error.attempts) == (reason, requests_made)
    assert detail in error.detail
    followed = 5 if "redirects" in detail else 0
    assert server.asked("/x") == requests_made + followed


def test_a_body_of_exactly_the_cap_is_taken_and_one_byte_more_is_not() -> None:
    script = {"/x": answer(bytes(CAP)), "/y": answer(bytes(CAP), length=""), "/z": answer(bytes(CAP + 1), length="")}
    with MisbehavingServer(script) as server:
        client = downloader(server, max_bytes=CAP)
        assert len(client.get(server.url("/x")).data) == len(client.get(server.url("/y")).data) == CAP
        assert refused(client, server.url("/z")).reason is Reason.TOO_LARGE


def test_the_body_of_a_redirect_is_not_read() -> None:
    def redirect_without_end(talk: Any) -> None:
        talk.send(b"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n")
        endless(talk)

    with MisbehavingServer({"/x": redirect_without_end, "/y": answer(JPEG)}) as server:
        assert downloader(server).get(server.url("/x")).data == JPEG


def test_a_placeholder_is_never_asked_for() -> None:
    with MisbehavingServer({"/x": redirect("/photo_unavailable.png")}) as server:
        refused(downloader(server), server.url("/x"))
        assert [asked.path for asked in server.log] == ["/x"]


# --- time-outs: real time, a fifth of a second at most -----------------------------------------------------------------

SLOW: list[tuple[str, Behaviour, str]] = [
    ("nothing at all", silence(), "timed out"),
    ("headers, then silence", silence(OK_HEAD + b"Content-Length: 99\r\n\r\n"), "timed out"),
]
DRIPPING: list[tuple[str, Behaviour]] = [
    ("status line", drip(b"HTTP/1.1 200 ")),
    ("headers", drip(OK_HEAD, b"X: y\r\n")),
    ("one header", drip(OK_HEAD + b"X: ")),
    ("body", drip(OK_HEAD + b"\r\n")),
    ("body with a length", drip(OK_HEAD + b"Content-Length: 99999\r\n\r\n")),
    ("chunks", drip(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")),
    ("size of a chunk", drip(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0")),
]


@pytest.mark.parametrize(("behaviour", "detail"), [row[1:] for row in SLOW], ids=[row[0] for row in SLOW])
def test_a_silent_server_runs_into_the_read_time_out(behaviour: Behaviour, detail: str) -> None:
    with MisbehavingServer({"/x": behaviour}) as server:
        error = refused(downloader(server, read_timeout=0.05, retries=1), server.url("/x"))
    assert (error.reason, error.attempts) == (Reason.TIMEOUT, 2)
    assert detail in error.detail


@pytest.mark.parametrize("behaviour", [row[1] for row in DRIPPING], ids=[row[0] for row in DRIPPING])
def test_a_dripping_server_runs_into_the_time_out_of_the_whole_photo(behaviour: Behaviour) -> None:
    with MisbehavingServer({"/x": behaviour}) as server:
        started = time.monotonic()
        error = refused(downloader(server, read_timeout=2, photo_timeout=0.15), server.url("/x"))
        took = time.monotonic() - started
    assert error.reason is Reason.TIMEOUT
    assert "no end of the answer within 0.15 s" in error.detail
    assert took < 1.5


def test_the_whole_photo_time_out_is_for_each_answer_not_for_all() -> None:
    with MisbehavingServer({"/x": answer(JPEG)}) as server:
        clock = FakeClock()
        client = downloader(server, clock, photo_timeout=1)
        client.get(server.url("/x"))
        clock.now += 100
        assert client.get(server.url("/x")).data == JPEG


# --- no connection -----------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_refused_connection() -> None:
    host = f"127.0.0.1:{closed_port()}"
    clock = FakeClock()
    error = refused(downloader(None, clock, allowed_hosts=frozenset({host}), retries=2), f"http://{host}/x")
    assert (error.reason, error.attempts) == (Reason.CONNECTION, 3)
    assert "refused" in error.detail
    assert len(clock.waits) == 2


def test_a_connection_that_is_reset_as_it_comes_is_tried_again() -> None:
    with MisbehavingServer({"/x": answer(JPEG)}, resets=2) as server:
        found = downloader(server, retries=2).get(server.url("/x"))
    assert (found.data, found.attempts) == (JPEG, 3)


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)  # RFC 6761 promises it for .invalid; resolvers differ
    monkeypatch.setenv("no_proxy", "*")
    client = downloader(allowed_hosts=frozenset({"photos.invalid"}), retries=1)
    error = refused(client, "http://photos.invalid/x")
    assert (error.reason, error.attempts) == (Reason.DNS, 2)
    assert "photos.invalid" in error.detail


def test_tls_to_a_port_that_speaks_none() -> None:
    with MisbehavingServer({"/x": answer(JPEG)}) as server:
        error = refused(downloader(server, retries=1), server.url("/x").replace("http:", "https:"))
    assert (error.reason, error.attempts) == (Reason.TLS, 2)
    assert "SSL" in error.detail


# --- which URLs are asked at all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("ftp://a.example/x", "is no plain http(s) URL"),
        ("file:///etc/passwd", "is no plain http(s) URL"),
        ("//a.example/x", "is no plain http(s) URL"),
        ("a.example/x", "is no plain http(s) URL"),
        ("", "is no plain http(s) URL"),
        ("http://user:password@a.example/x", "is no plain http(s) URL"),
        ("http://user@a.example/x", "is no plain http(s) URL"),
        ("http://@a.example/x", "is no plain http(s) URL"),
        ("http://a.example@evil.example/x", "is no plain http(s) URL"),
        ("http://b.example/x", "b.example is not among the allowed hosts"),
        ("http://a.example.evil.example/x", "is not among the allowed hosts"),
        ("http://evil.example\\.a.example/x", "is not among the allowed hosts"),
        ("http://a.example./x", "is not among the allowed hosts"),
        ("http:///x", "is not among the allowed hosts"),
        ("http://a.example:81/x", "a.example:81 is not among the allowed hosts"),
        ("http://a.example:443/x", "a.example:443 is not among the allowed hosts"),
        ("https://a.example:80/x", "a.example:80 is not among the allowed hosts"),
        ("http://a.example:0/x", "a.example:0 is not among the allowed hosts"),
        ("http://a.example:99999/x", "is no URL: Port out of range"),
        ("http://a.example:eighty/x", "is no URL: Port could not be cast"),
        ("http://[::1/x", "is no URL: Invalid IPv6 URL"),
        ("http://[::2]:8080/x", "[::2]:8080 is not among the allowed hosts"),
        ("http://[::1]/x", "[::1] is not among the allowed hosts"),
    ],
)  # fmt: skip
def test_a_url_that_is_never_asked(url: str, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Downloader, "_request", None)
    clock = FakeClock()
    client = downloader(None, clock, allowed_hosts=frozenset({"a.example", "[::1]:8080"}), retries=3)
    error = refused(client, url)
    assert (error.reason, error.attempts, clock.waits) == (Reason.FORBIDDEN_HOST, 1, [])
    assert detail in error.detail


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example/x", "a.example"),
        ("http://A.Example:80/x", "a.example"),
        ("https://a.example:443/x", "a.example"),
        ("http://a.example:/x", "a.example"),
        ("http://[::1]:8080/x", "[::1]:8080"),
    ],
)
def test_one_host_has_one_name_and_so_one_budget(url: str, host: str) -> None:
    client = downloader(allowed_hosts=frozenset({"a.example", "[::1]:8080"}))
    assert client._allowed(url) == host


def test_ipv6_loopback() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")

    class V6(MisbehavingServer):
        address_family = socket.AF_INET6

        def server_bind(self) -> None:
            self.server_address = ("::1", 0)  # type: ignore[assignment]
            super().server_bind()

        @property
        def netloc(self) -> str:
            return f"[::1]:{self.server_address[1]}"

    with V6({"/x": answer(JPEG)}) as server:
        assert downloader(server).get(server.url("/x")).data == JPEG


@pytest.mark.parametrize(
    ("netloc", "expected"),
    [
        ("127.0.0.1:80", True),
        ("localhost", True),
        ("[::1]:80", True),
        ("example.org", False),
        ("[", False),
        ("", False),
    ],
)
def test_is_loopback(netloc: str, expected: bool) -> None:
    assert is_loopback(netloc) is expected


# --- who asks ----------------------------------------------------------------------------------------------------------


def test_requests_say_who_asks_and_carry_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    script = {"/a": answer(b"1", headers={"Set-Cookie": "id=1; Path=/"}), "/b": answer(b"2")}
    with MisbehavingServer(script) as server:
        client = downloader(server)
        client.get(server.url("/a"))
        client.get(server.url("/b"))
    for asked in server.log:
        assert asked.headers["User-Agent"] == "fdf/test (+tests@example.org)"
        assert asked.headers["Accept-Encoding"] == "identity"
        assert asked.headers["Cookie"] is None
        assert asked.headers["Authorization"] is None


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_loopback_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    for other in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    with MisbehavingServer({"/x": answer(JPEG)}) as server:
        assert downloader(server).get(server.url("/x")).data == JPEG


def test_other_hosts_are_asked_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    with MisbehavingServer({"http://a.example/x": drip(OK_HEAD + b"\r\n")}) as server:
        monkeypatch.setenv("http_proxy", f"http://{server.netloc}")
        error = refused(downloader(allowed_hosts=frozenset({"a.example"}), photo_timeout=0.15), "http://a.example/x")
    assert server.asked("http://a.example/x") == 1
    assert "no end of the answer within 0.15 s" in error.detail  # the limit holds there, too


# --- retries, Retry-After, politeness: on a fake clock ---------------------------------------------------------------------


def test_full_jitter_up_to_a_doubling_cap() -> None:
    for jitter in (0.0, 0.5, 1.0):
        clock = FakeClock()
        with MisbehavingServer({"/x": answer(b"", 500)}) as server:
            policy = HttpPolicy("fdf", frozenset({server.netloc}), retries=5, backoff=0.5, backoff_cap=3.0)
            client = Downloader(policy, clock=clock, sleep=clock.sleep, jitter=lambda jitter=jitter: jitter)
            refused(client, server.url("/x"))
        assert clock.waits == [jitter * wait for wait in (0.5, 1.0, 2.0, 3.0, 3.0)]


def test_default_jitter_is_uniform_between_0_and_1() -> None:
    drawn = {Downloader(HttpPolicy("fdf", frozenset()))._jitter() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= value < 1 for value in drawn)


@given(retries=st.integers(0, 20), backoff=st.floats(0, 1e9), cap=st.floats(0, 1e9))
def test_no_backoff_is_longer_than_its_cap(retries: int, backoff: float, cap: float) -> None:
    client = Downloader(HttpPolicy("fdf", frozenset(), retries=21, backoff=backoff, backoff_cap=cap))
    wait = client._wait_before_retry(DownloadError(Reason.HTTP_ERROR, ""), retries + 1)
    assert wait is not None
    assert 0 <= wait <= cap


@pytest.mark.parametrize("status", [429, 503])
def test_a_passing_failure_passes(status: int) -> None:
    clock = FakeClock()
    script = {"/x": [answer(b"", status), answer(b"", status, headers={"Retry-After": "7"}), answer(JPEG)]}
    with MisbehavingServer(script, clock=clock) as server:
        found = downloader(server, clock, retries=2, backoff=0.5).get(server.url("/x"))
    assert (found.data, found.attempts, clock.waits) == (JPEG, 3, [0.5, 7.0])
    assert [asked.at for asked in server.log] == [1000.0, 1000.5, 1007.5]


def test_retry_after_as_a_date() -> None:
    clock = FakeClock()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    with MisbehavingServer({"/x": [answer(b"", 429, headers={"Retry-After": date}), answer(JPEG)]}) as server:
        downloader(server, clock, retries=1).get(server.url("/x"))
    assert len(clock.waits) == 1
    assert 35 <= clock.waits[0] <= 40


def test_a_longer_retry_after_than_the_cap_gives_up_at_once_and_says_the_figure() -> None:
    clock = FakeClock()
    with MisbehavingServer({"/x": answer(b"", 429, headers={"Retry-After": "3600"}), "/y": answer(JPEG)}) as server:
        client = downloader(server, clock, retries=4, retry_after_cap=120)
        error = refused(client, server.url("/x"))
        assert (error.reason, error.attempts, clock.waits) == (Reason.RATE_LIMITED, 1, [])
        assert "HTTP 429" in error.detail
        assert "Retry-After 3600 s" in error.detail

        clock.now += 100
        error = refused(client, server.url("/y"))  # nobody else bothers the host before that, or waits an hour
        assert (error.reason, server.asked("/y"), clock.waits) == (Reason.RATE_LIMITED, 0, [])
        assert f"{server.netloc} wants to be left alone for 3500 s more" in error.detail

        clock.now += 3400
        assert client.get(server.url("/y")).data == JPEG
        assert clock.waits == [100.0]


def test_retry_after_pauses_the_whole_host_and_no_other() -> None:
    clock = FakeClock()
    limited = {"/x": answer(b"", 429, headers={"Retry-After": "30"}), "/y": answer(JPEG)}
    with MisbehavingServer(limited, clock=clock) as server, MisbehavingServer({"/y": answer(JPEG)}) as other:
        client = downloader(server, clock, allowed_hosts=frozenset({server.netloc, other.netloc}))
        assert refused(client, server.url("/x")).reason is Reason.RATE_LIMITED
        with ThreadPoolExecutor(1) as pool:
            pool.submit(client.get, other.url("/y")).result()
            assert clock.waits == []
            pool.submit(client.get, server.url("/y")).result()
    assert clock.waits == [30.0]
    assert [asked.at for asked in server.log] == [1000.0, 1030.0]


def test_retry_after_also_holds_back_who_already_waits_for_a_slot() -> None:
    clock = FakeClock()
    limited = {"/x": answer(b"", 429, headers={"Retry-After": "30"}), "/y": answer(JPEG)}
    with MisbehavingServer(limited, clock=clock) as server:
        client = downloader(server, clock, requests_per_second=1)

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if len(clock.waits) == 1:  # while /y waits for its slot, another thread meets a 429
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(refused, client, server.url("/x")).result()

        client._sleep = sleep
        client.get(server.url("/y"))
        client.get(server.url("/y"))
    at = {path: [asked.at for asked in server.log if asked.path == path] for path in ("/x", "/y")}
    assert at == {"/x": [1002.0], "/y": [1000.0, 1032.0]}


def test_requests_to_a_host_are_spaced_over_all_threads() -> None:
    clock = FakeClock(frozen=True)
    threads = 8
    start = Barrier(threads)
    with MisbehavingServer({"/x": answer(JPEG)}) as server:
        client = downloader(server, clock, requests_per_second=4)

        def get(_: int) -> None:
            start.wait(5)
            client.get(server.url("/x"))

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(get, range(threads)))
    assert sorted(clock.waits) == [slot * 0.25 for slot in range(1, threads)]  # the first one goes at once


def test_redirects_are_requests_and_wait_for_their_slots() -> None:
    clock = FakeClock()
    with MisbehavingServer({"/x": redirect("/y"), "/y": answer(JPEG)}, clock=clock) as server:
        downloader(server, clock, requests_per_second=2).get(server.url("/x"))
    assert [asked.at for asked in server.log] == [1000.0, 1000.5]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("9" * 400, float("inf")),
        ("-5", None),
        ("1.5", None),
        ("\xb2", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 +9999", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999999", None),
    ],
)
def test_retry_after_values(header: str | None, expected: float | None) -> None:
    assert _retry_after(header) == expected


@given(st.text(st.characters(max_codepoint=255)))
def test_no_retry_after_breaks_the_client(header: str) -> None:
    wait = _retry_after(header)
    assert wait is None or wait >= 0


@given(st.text())
def test_no_url_breaks_the_client(url: str) -> None:
    error = refused(downloader(), url)
    assert error.reason is Reason.FORBIDDEN_HOST


# --- the rest ----------------------------------------------------------------------------------------------------------


def test_the_error_survives_the_way_back_from_a_worker() -> None:
    error = DownloadError(Reason.RATE_LIMITED, "HTTP 429", 3, wait=7.0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (copy.reason, copy.detail, copy.attempts, copy.wait) == (Reason.RATE_LIMITED, "HTTP 429", 3, 7.0)
    assert copy.reason is Reason.RATE_LIMITED


def test_every_thread_has_its_own_session() -> None:
    client = downloader()
    with ThreadPoolExecutor(1) as pool:
        other: requests.Session = pool.submit(client._session).result()
    assert client._session() is client._session()
    assert client._session() is not other


def test_what_is_no_network_failure_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Callable[[], None]:
        raise ZeroDivisionError

    with MisbehavingServer({"/x": answer(JPEG)}) as server:
        client = downloader(server)
        monkeypatch.setattr(client, "_check_status", broken)
        with pytest.raises(ZeroDivisionError):
            client.get(server.url("/x"))
