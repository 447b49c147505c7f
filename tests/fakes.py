"""What tests share: a clock that nobody waits for, a server that misbehaves, small pictures and small tables."""

from __future__ import annotations

import hashlib
import io
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from http import HTTPStatus
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from PIL import Image

from fdf.schema import FACES, FETCHED, KEPT, PHOTOS, RECORDS
from fdf.sources.download import Download, Downloader, HttpPolicy
from fdf.stages.rules import FaceView
from fdf.vision.picture import decode, phash, pixel_sha256

# --- time ------------------------------------------------------------------------------------------------------------


class FakeClock:
    """Time that passes only while somebody sleeps; `waits` are the sleeps. Safe for threads."""

    def __init__(self, now: float = 1000.0, *, frozen: bool = False) -> None:
        self.now, self.frozen, self.waits = now, frozen, list[float]()
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
            if not self.frozen:
                self.now += seconds


# --- a server that misbehaves -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request as it came, and when by the server's clock."""

    path: str
    headers: Message
    at: float


Behaviour = Callable[["_Conversation"], None]


def answer(
    body: bytes = b"", status: int = 200, *, length: int | str | None = None, headers: Mapping[str, str] | None = None
) -> Behaviour:
    """A whole answer. `length`: what Content-Length says instead of the truth; "" for none."""
    given = {"Content-Length": str(len(body) if length is None else length), **(headers or {})}
    return lambda talk: talk.send(_head(status, given) + body)


def redirect(to: str, status: int = 302) -> Behaviour:
    """`to` may hold `{netloc}`: the server's own."""
    return lambda talk: answer(status=status, headers={"Location": to.format(netloc=talk.server.netloc)})(talk)


def raw(data: bytes) -> Behaviour:
    """These bytes, then the connection is closed."""
    return lambda talk: talk.send(data)


def cut_chunked(body: bytes) -> Behaviour:
    """A chunked answer that ends in the middle of a chunk."""
    chunk = f"{2 * len(body):x}\r\n".encode() + body
    return raw(_head(200, {"Transfer-Encoding": "chunked"}) + chunk)


def chunked(*chunks: bytes) -> Behaviour:
    """A good chunked answer."""
    body = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in (*chunks, b""))
    return raw(_head(200, {"Transfer-Encoding": "chunked"}) + body)


def reset(talk: _Conversation) -> None:
    """RST instead of an answer."""
    _rst_on_close(talk.request)


def _rst_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silence(head: bytes = b"") -> Behaviour:
    """`head`, then nothing while the client or the server lives."""

    def behave(talk: _Conversation) -> None:
        talk.send(head)
        talk.server.closing.wait(5)

    return behave


def drip(head: bytes, drop: bytes = b"x", every: float = 0.02) -> Behaviour:
    """`head`, then one drop after the other without an end (for three seconds: a broken client must not hang the tests)."""

    def behave(talk: _Conversation) -> None:
        talk.send(head)
        for _ in range(int(3 / every)):
            if talk.server.closing.wait(every):
                return
            talk.send(drop)

    return behave


def endless(talk: _Conversation) -> None:
    """A body without length and end, as fast as it goes."""
    talk.send(_head(200, {}))
    while not talk.server.closing.is_set():
        talk.send(bytes(1 << 16))


OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value != "")
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}Connection: close\r\n\r\n".encode("latin-1")


class _Conversation(socketserver.BaseRequestHandler):
    server: MisbehavingServer
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(5)
        with suppress(OSError):  # the client hung up, or never asked
            head = b""
            while b"\r\n\r\n" not in head:
                if not (received := self.request.recv(4096)):
                    return
                head += received
                if head.startswith(b"\x16"):  # a TLS handshake: what plain servers say to it
                    self.send(_head(400, {}))
                    return
            first, _, rest = head.decode("latin-1").partition("\r\n")
            self.server.behave(first.split(" ")[1], Parser().parsestr(rest), self)

    def send(self, data: bytes) -> None:
        self.request.sendall(data)


class MisbehavingServer(socketserver.ThreadingTCPServer):
    """One request a connection; what comes back stands in `script`: path → behaviour, or one after the other.

    The last behaviour of a list goes on for ever; a path that is not there is 404. `resets`: how many connections are reset
    as soon as they come. `log` has every request.
    """

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        script: Mapping[str, Behaviour | Sequence[Behaviour]],
        *,
        clock: Callable[[], float] = lambda: 0.0,
        resets: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.script = {path: todo if isinstance(todo, Sequence) else (todo,) for path, todo in script.items()}
        self.log: list[Asked] = []
        self.closing = threading.Event()
        self._clock, self._resets, self._times = clock, resets, Counter[str]()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def url(self, path: str) -> str:
        return f"http://{self.netloc}{path}"

    def asked(self, path: str) -> int:
        return sum(asked.path == path for asked in self.log)

    def verify_request(self, request: Any, *_: Any) -> bool:
        self._resets -= 1
        if self._resets >= 0:
            _rst_on_close(request)
            return False
        return True

    def behave(self, path: str, headers: Message, talk: _Conversation) -> None:
        with self._lock:
            self.log.append(Asked(path, headers, self._clock()))
            todo = self.script.get(path, (answer(b"not here", 404),))
            behaviour = todo[min(self._times[path], len(todo) - 1)]
            self._times[path] += 1
        behaviour(talk)

    def handle_error(self, *_: Any) -> NoReturn:
        raise  # noqa: PLE0704 - a defect of a test: pytest reports it

    def shutdown_request(self, request: Any) -> None:
        request.close()  # no FIN of its own before a RST

    def __enter__(self) -> MisbehavingServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()  # waits for all conversations


def downloader(server: MisbehavingServer | None = None, clock: FakeClock | None = None, **policy: Any) -> Downloader:
    """A client that may ask `server`, with short time-outs, and that sleeps on a fake clock."""
    hosts = frozenset({server.netloc} if server else ())
    given = {"user_agent": "fdf/test (+tests@example.org)", "allowed_hosts": hosts, "connect_timeout": 2.0}
    given |= {"read_timeout": 2.0, "photo_timeout": 5.0, "retries": 0} | policy
    fake = clock or FakeClock()
    # Without a clock of its own the whole-photo time-out runs on real time.
    timing: dict[str, Any] = {"sleep": fake.sleep} | ({"clock": clock} if clock else {})
    return Downloader(HttpPolicy(**given), jitter=lambda: 1.0, **timing)


# --- pictures ---------------------------------------------------------------------------------------------------------


def picture(seed: int = 0, width: int = 96, height: int = 80) -> np.ndarray:
    """RGB noise in blocks: every seed another picture, to bytes, pixels and perceptual hash."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC))


def encode(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """A picture file of these pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png(seed: int = 0, width: int = 96, height: int = 80) -> bytes:
    """The bytes of `picture` as PNG."""
    return encode(picture(seed, width, height))


# --- tools ------------------------------------------------------------------------------------------------------------


@dataclass
class MemoryArchive:
    """Sink and Blobs in memory: one `archive` with everything in the order it came."""

    data: bytes = b""
    names: list[str] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> tuple[str, int, int]:
        offset = len(self.data)
        self.data += data
        self.names.append(name)
        return "archive", offset, len(data)

    def read(self, archive: str, offset: int, length: int) -> bytes:
        if archive != "archive" or offset + length > len(self.data):
            raise KeyError((archive, offset, length))
        return self.data[offset : offset + length]


@dataclass
class MemorySamples:
    """Samples in memory, in order."""

    added: list[tuple[int, str, dict[str, bytes]]] = field(default_factory=list)

    def add(self, resolution: int, key: str, files: Mapping[str, bytes]) -> None:
        self.added.append((resolution, key, dict(files)))


@dataclass
class ScriptedDownloader:
    """A downloader without a network: URL → bytes, a `Download`, or an error to raise."""

    script: Mapping[str, bytes | Download | Exception]
    asked: list[str] = field(default_factory=list)
    stopped: bool = False

    def stop(self) -> None:
        self.stopped = True

    def get(self, url: str) -> Download:
        self.asked.append(url)
        found = self.script[url]
        if isinstance(found, Exception):
            raise found
        return Download(found, url, 200, 1, {}) if isinstance(found, bytes) else found


# --- rows and tables --------------------------------------------------------------------------------------------------

BY = "https://creativecommons.org/licenses/by/2.0/"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(line: int = 0, **columns: Any) -> dict[str, Any]:
    """A record as a source yields it: a photo under CC BY 2.0."""
    photo_id = columns.get("photo_id", f"p{line}")
    row = dict.fromkeys(RECORDS.names) | {
        "line_index": line,
        "photo_id": photo_id,
        "owner_nsid": "1@N00",
        "owner_name": "Ada",
        "date_taken": "2011-11-07 07:20:22.0",
        "date_uploaded": "1320650422",
        "title": "Dawn",
        "page_url": f"https://www.flickr.com/photos/1@N00/{photo_id}/",
        "download_url": f"http://farm1.staticflickr.com/1/{photo_id}_a.jpg",
        "license_name": "Attribution License",
        "license_url": "http://creativecommons.org/licenses/by/2.0/",
        "extension": "jpg",
        "marker": "0",
    }
    return row | columns


def photo_row(photo_id: str = "p0", **columns: Any) -> dict[str, Any]:
    """A row of PHOTOS."""
    row = dict.fromkeys(PHOTOS.names) | {
        "photo_id": photo_id,
        "source": "test",
        "line_index": 0,
        "owner_nsid": f"owner of {photo_id}",
        "owner_name": "Ada",
        "title": "Dawn",
        "tags": [],
        "machine_tags": [],
        "date_uploaded": datetime(2011, 11, 7, tzinfo=UTC),
        "page_url": f"https://example.org/{photo_id}",
        "download_url": f"https://example.org/{photo_id}.jpg",
        "extension": "jpg",
        "license_name": "Attribution License",
        "license_url": BY,
        "license_id": "CC-BY-2.0",
    }
    return row | columns


def fetched_row(photo_id: str = "p0", **columns: Any) -> dict[str, Any]:
    """A row of FETCHED, of a photo that is like no other."""
    digest = hashlib.sha256(photo_id.encode()).hexdigest()
    row = dict.fromkeys(FETCHED.names) | {
        "photo_id": photo_id,
        "status": "ok",
        "http_status": 200,
        "url": f"https://example.org/{photo_id}.jpg",
        "candidate": "mirror",
        "attempts": 1,
        "size_bytes": 10,
        "sha256": digest,
        "pixel_sha256": digest[::-1],
        "phash": int(digest[:16], 16),
        "width": 640,
        "height": 480,
        "format": "JPEG",
        "archive": "archive",
        "offset": 0,
        "length": 10,
        "fetched_at": NOW,
    }
    return row | columns


def stored_row(archive: MemoryArchive, photo_id: str, data: bytes) -> dict[str, Any]:
    """The FETCHED row of real bytes, put into `archive`."""
    found = decode(data)
    place = dict(zip(("archive", "offset", "length"), archive.add(photo_id, data), strict=True))
    return fetched_row(
        photo_id,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=pixel_sha256(found.pixels),
        phash=phash(found.pixels),
        width=found.width,
        height=found.height,
        size_bytes=len(data),
        format=found.format,
        **place,
    )


def face_row(face_id: str = "f0", photo_id: str = "p0", **columns: Any) -> dict[str, Any]:
    """A row of FACES: a face that every rule lets pass."""
    row = dict.fromkeys(FACES.names) | {
        "face_id": face_id,
        "photo_id": photo_id,
        "box": [200.0, 100.0, 300.0, 220.0],
        "score": 0.9,
        "keypoints": KEYPOINTS,
        "yaw": 0.0,
        "pitch": 0.0,
        "roll": 0.0,
        "sharpness": 100.0,
        "brightness": 120.0,
        "contrast": 40.0,
        "embedding": None,
        "detector": "centerface",
        "keypointer": "movenet-mesh",
    }
    return row | columns


KEYPOINTS = [
    *(250.0, 170.0, 0.9),  # nose
    *(270.0, 140.0, 0.9),  # left eye
    *(230.0, 140.0, 0.9),  # right eye
    *(290.0, 150.0, 0.5),
    *(210.0, 150.0, 0.5),
    *(340.0, 260.0, 0.3),
    *(160.0, 260.0, 0.3),
]


def face(**columns: Any) -> FaceView:
    """A `FaceView` that every rule lets pass."""
    row = face_row() | {"width": 640, "height": 480}
    return FaceView(**{name: (row | columns)[name] for name in FaceView._fields})


def kept_row(face_id: str = "f0", photo_id: str = "p0", **columns: Any) -> dict[str, Any]:
    """A row of KEPT."""
    row = {
        "face_id": face_id,
        "photo_id": photo_id,
        "crop_rule": "fdf128",
        "crop_box": [16, 8, 80, 72],
        "cell": "yaw[-10,10) size[64,128) light[100,140)",
    }
    return row | columns


SCHEMAS: dict[str, pa.Schema] = {
    "source": RECORDS,
    "metadata": PHOTOS,
    "fetch": FETCHED,
    "detect": FACES,
    "filter": KEPT,
}


def tables(**rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Table]:
    """Tables by the name of the stage that made them: `tables(detect=[…], fetch=[…])`."""
    return {name: pa.Table.from_pylist(list(given), schema=SCHEMAS[name]) for name, given in rows.items()}


def dropped(result: Any) -> dict[str, tuple[str, str | None]]:
    """Face id (photo id where there is none) → (reason, detail)."""
    return {row["face_id"] or row["photo_id"]: (row["reason"], row["detail"]) for row in result.dropped.to_pylist()}
