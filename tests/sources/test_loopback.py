"""The loopback mirror: exact paths only, routes as written, a port that is free again at once."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fdf.errors import DataError, MachineError, UsageError
from fdf.sources.loopback import LoopbackMirror, folder_digest

PICTURE = b"\xff\xd8\xff" + bytes(5000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "mirror" / "data" / "images"
    inside.mkdir(parents=True)
    (inside / "a.jpg").write_bytes(PICTURE)
    (inside / "b c.png").write_bytes(b"png")
    (inside / "é.bin").write_bytes(b"")
    (tmp_path / "secret.txt").write_text("not for the world")
    return tmp_path / "mirror"


@pytest.fixture
def mirror(folder: Path) -> Iterator[LoopbackMirror]:
    with LoopbackMirror(folder) as running:
        yield running


def ask(mirror: LoopbackMirror, path: str, method: str = "GET") -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(mirror.netloc, timeout=5)
    try:
        connection.putrequest(method, path, skip_host=True)  # the path goes out as it stands
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def routed(folder: Path, routes: dict[str, Any]) -> LoopbackMirror:
    folder.with_name("routes.json").write_text(json.dumps(routes), encoding="utf-8")
    return LoopbackMirror(folder)


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/data/images/a.jpg", PICTURE, "image/jpeg"),
        ("/data/images/a.jpg?size=1", PICTURE, "image/jpeg"),
        ("/data/images/b%20c.png", b"png", "image/png"),
        ("/data/images/%C3%A9.bin", b"", "application/octet-stream"),
    ],
)
def test_files_are_served_by_their_exact_path(mirror: LoopbackMirror, path: str, body: bytes, kind: str) -> None:
    status, data, headers = ask(mirror, path)
    assert (status, data) == (200, body)
    assert headers["Content-Type"] == kind
    assert headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/data/images/",
        "/data/images/A.jpg",
        "/data/images/a.jpg/",
        "/data//images/a.jpg",
        "/../secret.txt",
        "/data/../../secret.txt",
        "/data/images/../images/a.jpg",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "/%2Fetc/passwd",
        "/%00",
        "/%ff",
        "//[x",
        "http://[x/data/images/a.jpg",
        "file:///etc/passwd",
    ],
)
def test_everything_else_is_404(mirror: LoopbackMirror, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, data, _ = ask(mirror, path)
    assert (status, data) == (404, b"")
    assert capfd.readouterr().err == ""


def test_the_absolute_path_of_a_served_file_is_404(mirror: LoopbackMirror, folder: Path) -> None:
    assert ask(mirror, str(folder / "data" / "images" / "a.jpg"))[0] == 404


def test_it_listens_on_loopback_only_and_reads_only(mirror: LoopbackMirror) -> None:
    assert mirror.url == f"http://{mirror.netloc}"
    assert mirror.netloc.startswith("127.0.0.1:")
    assert ask(mirror, "/data/images/a.jpg", "PUT")[0] == 501


def test_a_file_that_came_later_is_not_served(mirror: LoopbackMirror, folder: Path) -> None:
    (folder / "late.jpg").write_bytes(b"x")
    assert ask(mirror, "/late.jpg")[0] == 404


def test_routes(folder: Path) -> None:
    routes = {
        "data/images/a.jpg": {"status": 429, "times": 2, "retry_after": 3},
        "data/images/gone.jpg": {"status": 410},
        "data/images/moved.jpg": {"redirect": "/data/images/a.jpg"},
        "/data/images/b c.png": {"headers": {"X-Robots-Tag": "noai"}},
    }
    with routed(folder, routes) as mirror:
        answers = [ask(mirror, "/data/images/a.jpg") for _ in range(4)]
        assert [status for status, _, _ in answers] == [429, 429, 200, 200]
        assert [headers["Retry-After"] for _, _, headers in answers] == ["3", "3", None, None]
        assert [len(data) for _, data, _ in answers] == [0, 0, len(PICTURE), len(PICTURE)]
        assert [ask(mirror, "/data/images/gone.jpg")[0] for _ in range(3)] == [410, 410, 410]
        status, _, headers = ask(mirror, "/data/images/moved.jpg")
        assert (status, headers["Location"]) == (302, "/data/images/a.jpg")
        status, data, headers = ask(mirror, "/data/images/b%20c.png")
        assert (status, data, headers["X-Robots-Tag"]) == (200, b"png", "noai")
    with LoopbackMirror(folder) as mirror:  # `times` counts from the start of a server
        assert ask(mirror, "/data/images/a.jpg")[0] == 429


def test_damaged_routes_are_named(folder: Path) -> None:
    folder.with_name("routes.json").write_text("{")
    with pytest.raises(DataError, match=r"routes\.json is no JSON"):
        LoopbackMirror(folder)


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        ("[]", "an object, path → route", "[]"),
        ("null", "an object, path → route", "None"),
        ('{"a": 404}', "an object for 'a'", "404"),
        ('{"a": [{"status": 404}]}', "an object for 'a'", "[{'status': 404}]"),
        ('{"a": {"state": 404}}', "only status, times, retry_after, redirect, headers for 'a'", "'state'"),
        ('{"a": {"status": "404"}}', "a number from 200 to 599 as 'status' of 'a'", "'404'"),
        ('{"a": {"status": 99}}', "a number from 200 to 599", "99"),
        ('{"a": {"status": true}}', "a number from 200 to 599", "True"),
        ('{"a": {"status": 503, "times": "1"}}', "a whole number, 0 or more as 'times'", "'1'"),
        ('{"a": {"status": 503, "times": -1}}', "a whole number, 0 or more as 'times'", "-1"),
        ('{"a": {"status": 503, "retry_after": 1.5}}', "whole seconds or a date", "1.5"),
        ('{"a": {"redirect": null}}', "a URL as text", "None"),
        ('{"a": {"redirect": "/b\\r\\nX: y"}}', "a URL as text", "'/b"),
        ('{"a": {"headers": ["X"]}}', "an object of texts", "['X']"),
        ('{"a": {"headers": {"X": 1}}}', "an object of texts", "{'X': 1}"),
        ('{"a": {"headers": {"X": "é"}}}', "an object of texts", "{'X': 'é'}"),
    ],
)
def test_routes_of_another_shape_are_refused(folder: Path, content: str, expected: str, got: str) -> None:
    folder.with_name("routes.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        LoopbackMirror(folder)
    assert "routes.json does not say how the mirror misbehaves" in str(caught.value)
    assert expected in caught.value.expected
    assert caught.value.got.startswith(got)


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"9" * 5000])
def test_routes_that_are_no_json_are_named(folder: Path, content: bytes) -> None:
    folder.with_name("routes.json").write_bytes(content)
    with pytest.raises(DataError, match=r"routes\.json is no JSON"):
        LoopbackMirror(folder)


def test_routes_are_read_beside_the_folder_only(folder: Path) -> None:
    for elsewhere in (folder / "routes.json", folder.parent.parent / "routes.json"):
        elsewhere.write_text('{"data/images/a.jpg": {"status": 500}}')
    with LoopbackMirror(folder) as mirror:
        assert ask(mirror, "/data/images/a.jpg")[0] == 200


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere is no folder"):
        LoopbackMirror(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nowhere is no folder"):
        folder_digest(tmp_path / "nowhere")


def test_the_digest_of_a_folder_is_of_names_bytes_and_routes(folder: Path, tmp_path: Path) -> None:
    digests = [folder_digest(folder)]
    shutil.copytree(folder, tmp_path / "copy" / "another name")
    assert folder_digest(tmp_path / "copy" / "another name") == digests[0]
    (folder / "empty").mkdir()
    (tmp_path / "secret.txt").write_text("something else")
    assert folder_digest(folder) == digests[0]

    picture = folder / "data" / "images" / "a.jpg"
    picture.write_bytes(PICTURE[:-1] + b"x")
    digests.append(folder_digest(folder))
    picture.rename(picture.with_name("A.jpg"))
    digests.append(folder_digest(folder))
    (folder / "late.jpg").write_bytes(b"")
    digests.append(folder_digest(folder))
    folder.with_name("routes.json").write_text("{}")
    digests.append(folder_digest(folder))
    folder.with_name("routes.json").write_text("{} ")
    digests.append(folder_digest(folder))
    folder.with_name("routes.json").rename(folder / "routes.json")
    digests.append(folder_digest(folder))
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_a_port_in_use_is_named_with_the_remedy(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError) as caught:
            LoopbackMirror(folder, port)
    message = str(caught.value)
    assert f"Port {port} on 127.0.0.1 can't be used" in message
    assert "--set loopback.port=" in message
    assert caught.value.exit_code == 3


def test_port_0_takes_a_free_one_each_time(folder: Path) -> None:
    with LoopbackMirror(folder) as one, LoopbackMirror(folder, 0) as other:
        assert one.netloc != other.netloc


def test_the_port_is_free_again_at_once_even_with_a_connection_kept_alive(folder: Path) -> None:
    with LoopbackMirror(folder) as mirror:
        port = int(mirror.netloc.rpartition(":")[2])
        connection = http.client.HTTPConnection(mirror.netloc, timeout=5)
        connection.request("GET", "/data/images/a.jpg")
        assert connection.getresponse().read() == PICTURE
    with LoopbackMirror(folder, port) as again:
        assert ask(again, "/data/images/a.jpg")[0] == 200
    assert connection.sock.recv(1) == b""  # the old server has hung up and serves nobody any more
    connection.close()


def test_a_client_that_hangs_up_leaves_no_traceback(mirror: LoopbackMirror, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with socket.create_connection(mirror.netloc.split(":"), timeout=5) as connection:
            connection.sendall(b"GET /data/images/a.jpg HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    assert ask(mirror, "/data/images/a.jpg")[0] == 200
    assert capfd.readouterr().err == ""
