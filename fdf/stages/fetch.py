"""Stage `fetch`: PHOTOS → original bytes in an archive and FETCHED, over real HTTP.

Candidates are tried in the recipe's order. Each outcome is `ok` or one of the closed list. When several candidates fail: an
opt-out stands whatever the others say; else a retryable failure wins (the photo may still be there), else the last answer of
a server; a candidate that was never asked, because its host is not allowed, speaks only if no server was asked at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import pyarrow as pa
from pydantic import Field

from fdf.consent.signals import robots_signal
from fdf.errors import MachineError
from fdf.schema import FETCHED
from fdf.sources.download import Download, DownloadError
from fdf.sources.yfcc import flickr_urls
from fdf.stages.base import Config, Stage, StageResult, Tools, drop, dropped_table, execution, ordered_map
from fdf.vision.picture import PictureError, decode, phash, pixel_sha256
from fdf.vocabulary import Reason

NAME: Final = "fetch"
AGENT: Final = "fdf"
"""Our token in robots directives and in the User-Agent."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Candidate = Literal["mirror", "mirror_ext", "download_url", "original", "1024", "640", "500"]
_FLICKR_SUFFIX: Final = {"original": "_o", "1024": "_b", "640": "_z", "500": ""}


_SILENCE: Final = frozenset({Reason.DNS, Reason.CONNECTION, Reason.TIMEOUT, Reason.TLS, Reason.RATE_LIMITED})


class FetchConfig(Config):
    """Where the pictures come from and how to ask for them."""

    candidates: tuple[Candidate, ...] = Field(
        ("mirror", "mirror_ext", "download_url"),
        min_length=1,
        description="URLs to try, in order: the mirror's key (`.jpg`, then the photo's own extension), the download URL of the "
        "metadata, or Flickr's own sizes by long edge.",
    )
    mirror: str = Field(
        "https://multimedia-commons.s3-us-west-2.amazonaws.com",
        pattern=r"^https?://[^/\s]+(/[^\s]*)?$",
        description="Base URL of the mirror; keys are appended.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        ("multimedia-commons.s3-us-west-2.amazonaws.com", "live.staticflickr.com"),
        description="Hosts (or host:port) that may be asked, redirects included. Nothing else is ever contacted.",
    )
    contact: str = execution(
        "",
        "Who runs this: an e-mail address or URL, put into the User-Agent. Needed outside loopback.",
        pattern=r"^[ -~]*$",  # what a header can hold
    )
    max_bytes: int = Field(64 << 20, gt=0, description="Largest file taken.")
    max_pixels: int = Field(
        100_000_000, gt=0, description="Most pixels a picture may have: more is a decompression bomb."
    )
    placeholder_sha256: tuple[Sha256, ...] = Field((), description="SHA-256 of known 'photo unavailable' pictures.")
    obey_robots_headers: bool = Field(True, description="Drop photos served with noai, noindex or a TDM reservation.")
    requests_per_second: float = execution(20.0, "For each host and the whole run; 0 for no limit.", ge=0)
    threads: int = execution(16, "Requests under way at once, for each worker.", ge=1, le=256)
    connect_timeout: float = execution(10.0, "Seconds to connect.", gt=0)
    read_timeout: float = execution(20.0, "Seconds without a byte.", gt=0)
    photo_timeout: float = execution(60.0, "Seconds for one whole answer.", gt=0)
    retries: int = execution(4, "Further tries after a retryable failure.", ge=0, le=20)
    backoff: float = execution(0.5, "Base of the exponential backoff, seconds.", ge=0)
    give_up_after: int = execution(
        50,
        "Photos in a row that fail without the network having answered (DNS, connection, time-out, 429) after which the run "
        "stops with an error instead of recording drops; also when a whole partition fails so. 0: record them and go on.",
        ge=0,
    )
    retry_after_cap: float = execution(120.0, "Longest Retry-After that is waited for, seconds.", ge=0)


@dataclass(frozen=True)
class _Fetched:
    """One photo's outcome: bytes and their row, or a drop."""

    photo_id: str
    data: bytes = field(default=b"", repr=False)
    row: Mapping[str, Any] | None = None
    refused: tuple[Reason, str] | None = None
    unasked: bool = False
    """No server was asked for it."""


def run(tables: Mapping[str, pa.Table], config: FetchConfig, tools: Tools) -> StageResult:
    """PHOTOS → FETCHED; bytes go to `tools.sink` in the order of the photos."""
    if tools.sink is None or tools.downloader is None:
        raise ValueError("fetch needs a sink and a downloader")
    photos = tables["metadata"].to_pylist()
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    by_candidate: Counter[str] = Counter()
    for outcome in _outcomes(photos, config, tools):
        tools.advance(1)
        if outcome.refused or outcome.row is None:
            dropped.append(drop(NAME, outcome.photo_id, *(outcome.refused or (Reason.HTTP_ERROR, ""))))
            continue
        extension = outcome.row["format"].lower().replace("jpeg", "jpg")
        archive, offset, length = tools.sink.add(f"{_safe(outcome.photo_id)}.{extension}", outcome.data)
        kept.append({**outcome.row, "archive": archive, "offset": offset, "length": length})
        by_candidate[outcome.row["candidate"]] += 1
    notes = {f"candidate.{name}": count for name, count in sorted(by_candidate.items())}
    return StageResult(pa.Table.from_pylist(kept, schema=FETCHED), dropped_table(dropped), notes)


def _outcomes(photos: Sequence[Mapping[str, Any]], config: FetchConfig, tools: Tools) -> Iterator[_Fetched]:
    """Outcomes in the order of the photos. When the run ends early, threads that wait for a server are called back.

    Raises:
        MachineError: an outage.
    """
    outage = _Outage(config.give_up_after)
    # A wide window: one slow photo must not hold up the threads that are done with theirs.
    found = ordered_map(lambda photo: _fetch(photo, config, tools), photos, config.threads, window=8 * config.threads)
    try:
        for outcome in found:
            outage.see(outcome)
            yield outcome
        outage.see_the_end()
    except BaseException:
        tools.downloader.stop()
        raise


class _Outage:
    """Tells a dead network, or a server that wants to be left alone, from photos that are gone.

    Drops are for photos. When nothing answers any more the condition is the machine's: the partition is not committed, and the
    next run goes on with it.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._streak, self._seen = limit, 0, 0
        self._last = ""

    def see(self, outcome: _Fetched) -> None:
        """Count one photo.

        Raises:
            MachineError: the limit is reached.
        """
        if outcome.unasked:
            return
        self._seen += 1
        silent = outcome.refused is not None and outcome.refused[0] in _SILENCE
        self._streak = self._streak + 1 if silent else 0
        self._last = outcome.refused[1] if outcome.refused else ""
        if self._limit and self._streak >= self._limit:
            self._stop()

    def see_the_end(self) -> None:
        """A partition in which not one photo got an answer is an outage, however small it is.

        Raises:
            MachineError: that is so.
        """
        if self._limit and self._streak == self._seen > 0:
            self._stop()

    def _stop(self) -> None:
        raise MachineError(
            f"No answer for {self._streak} photos in a row: the network is down, or the server wants to be left alone",
            expected="a server that answers, if only to say that a photo is gone",
            got=self._last,
            action="Run the same command again when it does: what is finished is kept. If these photos can't be had at all, "
            "--set fetch.give_up_after=0 records them as drops",
        )


def candidate_urls(photo: Mapping[str, Any], config: FetchConfig, mirror: str) -> Iterator[tuple[str, str]]:
    """(candidate, URL) of one PHOTOS row in the recipe's order; those that its columns can't form are left out."""
    key = photo["mirror_key"]
    sizes = flickr_urls(
        photo["server_id"], photo["photo_id"], photo["secret"], photo["secret_original"], photo["extension"]
    )
    for name in config.candidates:
        if name == "mirror" and key:
            yield name, f"{mirror}/{key}"
        elif name == "mirror_ext" and key and photo["extension"] not in (None, "jpg"):
            yield name, f"{mirror}/{key.removesuffix('.jpg')}.{photo['extension']}"
        elif name == "download_url":
            yield name, photo["download_url"]
        elif name in _FLICKR_SUFFIX and _FLICKR_SUFFIX[name] in sizes:
            yield name, sizes[_FLICKR_SUFFIX[name]]


def _fetch(photo: Mapping[str, Any], config: FetchConfig, tools: Tools) -> _Fetched:
    if photo["photo_id"] in tools.repeated:
        repeated = Reason.BAD_ROW, "this photo id stands in an earlier partition"
        return _Fetched(photo["photo_id"], refused=repeated, unasked=True)
    failures: list[tuple[Reason, str]] = []
    attempts = 0
    for name, url in candidate_urls(photo, config, tools.mirror):
        try:
            download = tools.downloader.get(url)
            attempts += download.attempts
            row = _examine(photo, download, config)
            row |= {"candidate": name, "attempts": attempts, "fetched_at": tools.now()}
            return _Fetched(photo["photo_id"], download.data, row)
        except DownloadError as error:
            attempts += error.attempts
            failures.append((error.reason, error.detail))
        except PictureError as error:
            failures.append((error.reason, f"{error.detail} ({url})"))
        if failures[-1][0] is Reason.OPTED_OUT:
            break  # another URL of the same picture is the same picture
    if not failures:
        no_url = Reason.BAD_ROW, "the row gives none of the recipe's candidate URLs"
        return _Fetched(photo["photo_id"], refused=no_url, unasked=True)
    reason, detail = _most_telling(failures)
    return _Fetched(photo["photo_id"], refused=(reason, f"{detail}; {attempts} requests"))


def _most_telling(failures: Sequence[tuple[Reason, str]]) -> tuple[Reason, str]:
    """The failure that speaks for a photo; see the module's first lines."""

    def rank(reason: Reason) -> int:
        if reason is Reason.FORBIDDEN_HOST:
            return 0
        return 3 if reason is Reason.OPTED_OUT else 2 if reason.retryable else 1

    return max(reversed(failures), key=lambda failure: rank(failure[0]))  # the last one of those that rank alike


def _examine(photo: Mapping[str, Any], download: Download, config: FetchConfig) -> dict[str, Any]:
    """Check the bytes; returns their FETCHED fields.

    Raises:
        DownloadError, PictureError: with the reason.
    """
    digest = hashlib.sha256(download.data).hexdigest()
    if digest in config.placeholder_sha256:
        raise DownloadError(Reason.PLACEHOLDER, f"sha256 {digest} is a known placeholder")
    signal = robots_signal(download.headers, AGENT)
    if signal and config.obey_robots_headers:
        raise DownloadError(Reason.OPTED_OUT, f"the server says {signal} ({download.url})")
    if photo["expected_sha256"] not in (None, digest):
        raise DownloadError(Reason.HASH_MISMATCH, f"sha256 {digest}, the list says {photo['expected_sha256']}")
    picture = decode(download.data, config.max_pixels)
    height, width = picture.pixels.shape[:2]
    return {
        "photo_id": photo["photo_id"],
        "status": "ok",
        "http_status": download.http_status,
        "url": download.url,
        "size_bytes": len(download.data),
        "sha256": digest,
        "pixel_sha256": pixel_sha256(picture.pixels),
        "phash": phash(picture.pixels),
        "width": width,
        "height": height,
        "format": picture.format,
        "etag": download.headers.get("etag"),
        "last_modified": download.headers.get("last-modified"),
        "robots_signal": signal,
    }


def _safe(photo_id: str) -> str:
    """A member name that can't leave a folder or confuse a shell; ids of unknown lists are hostile text."""
    plain = photo_id.isascii() and photo_id.replace("_", "").replace("-", "").isalnum()
    if plain and len(photo_id) <= 80 and not photo_id.startswith("-"):
        return photo_id
    return hashlib.sha256(photo_id.encode()).hexdigest()[:32]


STAGE = Stage(
    name=NAME,
    version=1,
    unit="photo",
    scope="partition",
    reads=("metadata",),
    schema=FETCHED,
    config=FetchConfig,
    run=run,
    doc="Fetches the photos over HTTP, checks that they are pictures, stores the bytes untouched.",
    tools=("sink", "downloader", "repeated"),
    seconds=0.05,
)
