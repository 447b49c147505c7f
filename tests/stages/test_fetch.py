"""Stage `fetch`: candidates in order, the reason that is told, bytes untouched and in the order of the photos."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fdf.errors import MachineError
from fdf.schema import FETCHED
from fdf.sources.download import Download, DownloadError
from fdf.stages.base import StageResult, Tools
from fdf.stages.fetch import FetchConfig, _safe, candidate_urls, run
from fdf.vision.picture import decode, phash, pixel_sha256
from fdf.vocabulary import Reason
from tests.fakes import (
    NOW,
    Behaviour,
    MemoryArchive,
    MisbehavingServer,
    ScriptedDownloader,
    answer,
    downloader,
    encode,
    photo_row,
    picture,
    png,
    redirect,
    tables,
)

PHOTO: dict[str, Any] = {
    "mirror_key": "data/images/abc/def/abcdef.jpg",
    "extension": "png",
    "server_id": "7",
    "secret": "se",
    "secret_original": "or",
}
ALL = ("mirror", "mirror_ext", "download_url", "original", "1024", "640", "500")
SHA = hashlib.sha256(png()).hexdigest()


def fetch(
    photos: list[dict[str, Any]], client: Any, mirror: str = "http://m", now: Any = lambda: NOW, **config: Any
) -> tuple[StageResult, MemoryArchive]:
    sink = MemoryArchive()
    tools = Tools(sink=sink, downloader=client, mirror=mirror, now=now)
    result = run(tables(metadata=photos), FetchConfig(**config), tools)
    assert result.kept.num_rows + result.dropped.num_rows == len(photos)
    return result, sink


def outcome(script: dict[str, Any], photo: dict[str, Any] | None = None, **config: Any) -> tuple[str, str]:
    """("ok", candidate) or (reason, detail) of one photo, from a scripted downloader."""
    result, _ = fetch([photo or photo_row(**PHOTO)], ScriptedDownloader(script), **config)
    if result.kept.num_rows:
        return "ok", result.kept["candidate"][0].as_py()
    (row,) = result.dropped.to_pylist()
    assert row["retryable"] == Reason(row["reason"]).retryable
    return row["reason"], row["detail"]


# --- candidates --------------------------------------------------------------------------------------------------------


def test_candidates_come_in_the_recipes_order() -> None:
    urls = {
        "mirror": "http://m/data/images/abc/def/abcdef.jpg",
        "mirror_ext": "http://m/data/images/abc/def/abcdef.png",
        "download_url": "https://example.org/p0.jpg",
        "original": "https://live.staticflickr.com/7/p0_or_o.png",
        "1024": "https://live.staticflickr.com/7/p0_se_b.jpg",
        "640": "https://live.staticflickr.com/7/p0_se_z.jpg",
        "500": "https://live.staticflickr.com/7/p0_se.jpg",
    }
    photo = photo_row("p0", **PHOTO)
    assert list(candidate_urls(photo, FetchConfig(candidates=ALL), "http://m")) == list(urls.items())
    assert list(candidate_urls(photo, FetchConfig(candidates=ALL[::-1]), "http://m")) == list(urls.items())[::-1]


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        ({"mirror_key": None}, {"mirror", "mirror_ext"}),
        ({"extension": "jpg"}, {"mirror_ext"}),
        ({"extension": None}, {"mirror_ext"}),
        ({"secret_original": None}, {"original"}),
        ({"secret": None}, {"1024", "640", "500"}),
        ({"server_id": None}, {"original", "1024", "640", "500"}),
    ],
)
def test_candidates_that_the_row_can_not_form_are_left_out(columns: dict[str, Any], missing: set[str]) -> None:
    found = dict(candidate_urls(photo_row(**PHOTO | columns), FetchConfig(candidates=ALL), "http://m"))
    assert set(ALL) - missing >= set(found)
    assert not missing & set(found)


def test_a_row_without_any_candidate_is_a_drop() -> None:
    found = outcome({}, photo_row(mirror_key=None), candidates=("mirror", "mirror_ext"))
    assert found == ("bad_row", "the row gives none of the recipe's candidate URLs")


def test_the_first_candidate_that_gives_a_picture_is_taken_and_no_other_asked() -> None:
    client = ScriptedDownloader({
        "http://m/data/images/abc/def/abcdef.jpg": DownloadError(Reason.GONE, "HTTP 404", 1),
        "http://m/data/images/abc/def/abcdef.png": b"<html>",
        "https://example.org/p0.jpg": png(),
    })  # fmt: skip
    result, _ = fetch([photo_row(**PHOTO)], client, candidates=("mirror", "mirror_ext", "download_url", "1024"))
    assert result.kept["candidate"].to_pylist() == ["download_url"]
    assert result.kept["attempts"].to_pylist() == [3]
    assert result.notes == {"candidate.download_url": 1}
    assert [url.rsplit("/", 1)[1] for url in client.asked] == ["abcdef.jpg", "abcdef.png", "p0.jpg"]


def test_an_id_of_an_earlier_partition_is_dropped_and_never_asked_for() -> None:
    client = ScriptedDownloader({"https://example.org/p1.jpg": png()})
    tools = Tools(sink=MemoryArchive(), downloader=client, repeated=frozenset({"p0"}))
    result = run(tables(metadata=[photo_row("p0"), photo_row("p1")]), FetchConfig(candidates=("download_url",)), tools)
    assert result.kept["photo_id"].to_pylist() == ["p1"]
    (row,) = result.dropped.to_pylist()
    assert (row["photo_id"], row["reason"]) == ("p0", "bad_row")
    assert row["detail"] == "this photo id stands in an earlier partition"


# --- which reason wins ---------------------------------------------------------------------------------------------------

GONE = DownloadError(Reason.GONE, "404", 1)
PRIVATE = DownloadError(Reason.PRIVATE, "403", 1)
TIMEOUT = DownloadError(Reason.TIMEOUT, "slow", 3)
LIMITED = DownloadError(Reason.RATE_LIMITED, "429", 5)
NEVER_ASKED = DownloadError(Reason.FORBIDDEN_HOST, "elsewhere", 0)
NOAI = Download(png(), "http://m/x", 200, 1, {"x-robots-tag": "noai"})
HTML = b"<html>"


@pytest.mark.parametrize(
    ("answers", "reason", "detail"),
    [
        ((GONE, PRIVATE), "private", "403; 2 requests"),
        ((PRIVATE, GONE), "gone", "404; 2 requests"),
        ((TIMEOUT, GONE), "timeout", "slow; 4 requests"),
        ((GONE, TIMEOUT), "timeout", "slow; 4 requests"),
        ((TIMEOUT, LIMITED), "rate_limited", "429; 8 requests"),
        ((LIMITED, TIMEOUT), "timeout", "slow; 8 requests"),
        ((GONE, NEVER_ASKED), "gone", "404; 1 requests"),
        ((NEVER_ASKED, GONE), "gone", "404; 1 requests"),
        ((NEVER_ASKED, NEVER_ASKED), "forbidden_host", "elsewhere; 0 requests"),
        ((GONE, NOAI), "opted_out", "the server says X-Robots-Tag: noai (http://m/x); 2 requests"),
        ((TIMEOUT, NOAI), "opted_out", "the server says X-Robots-Tag: noai (http://m/x); 4 requests"),
        ((GONE, HTML), "not_an_image", "6 bytes that start with b'<html>' (https://example.org/p0.jpg); 2 requests"),
        ((HTML, TIMEOUT), "timeout", "slow; 4 requests"),
        ((png()[:-40], GONE), "truncated", None),
        ((GONE, b""), "not_an_image", "0 bytes (https://example.org/p0.jpg); 2 requests"),
    ],
)
def test_the_most_telling_failure_speaks(answers: tuple[Any, Any], reason: str, detail: str | None) -> None:
    script = dict(zip(("http://m/data/images/abc/def/abcdef.jpg", "https://example.org/p0.jpg"), answers, strict=True))
    found = outcome(script, candidates=("mirror", "download_url"), give_up_after=0)
    assert found[0] == reason
    assert detail in (None, found[1])


def test_an_opt_out_ends_the_search() -> None:
    client = ScriptedDownloader({"http://m/data/images/abc/def/abcdef.jpg": NOAI, "https://example.org/p0.jpg": png()})
    result, sink = fetch([photo_row(**PHOTO)], client, candidates=("mirror", "download_url"))
    assert result.dropped["reason"].to_pylist() == ["opted_out"]
    assert len(client.asked) == 1
    assert sink.data == b""


# --- what the bytes are --------------------------------------------------------------------------------------------------


def direct(found: Any, photo: dict[str, Any] | None = None, **config: Any) -> tuple[str, str]:
    return outcome({"https://example.org/p0.jpg": found}, photo or photo_row(), candidates=("download_url",), **config)


def test_bytes_and_their_row() -> None:
    data = png(3, 50, 40)
    headers = {"etag": '"e"', "last-modified": "then", "x-robots-tag": "nofollow"}
    client = ScriptedDownloader(
        {"https://example.org/p0.jpg": Download(data, "https://example.org/real.png", 200, 2, headers)}
    )
    result, sink = fetch([photo_row()], client, candidates=("download_url",))
    assert result.kept.schema == FETCHED
    pixels = decode(data).pixels
    assert result.kept.to_pylist() == [
        {
            "photo_id": "p0", "status": "ok", "http_status": 200, "url": "https://example.org/real.png",
            "candidate": "download_url", "attempts": 2, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
            "pixel_sha256": pixel_sha256(pixels), "phash": phash(pixels), "width": 50, "height": 40, "format": "PNG",
            "archive": "archive", "offset": 0, "length": len(data), "etag": '"e"', "last_modified": "then",
            "robots_signal": None, "fetched_at": NOW,
        }
    ]  # fmt: skip
    assert (sink.data, sink.names) == (data, ["p0.png"])


def test_a_hash_of_the_list_is_held_against_the_bytes() -> None:
    assert direct(png(), photo_row(expected_sha256=SHA)) == ("ok", "download_url")
    found = direct(png(1), photo_row(expected_sha256=SHA))
    assert found == ("hash_mismatch", f"sha256 {hashlib.sha256(png(1)).hexdigest()}, the list says {SHA}; 1 requests")


def test_a_placeholder_is_known_by_its_hash_whatever_the_list_or_the_headers_say() -> None:
    expected = ("placeholder", f"sha256 {SHA} is a known placeholder; 1 requests")
    assert direct(png(), placeholder_sha256=(SHA,)) == expected
    assert direct(png(), photo_row(expected_sha256="0" * 64), placeholder_sha256=("1" * 64, SHA)) == expected
    assert direct(NOAI, placeholder_sha256=(SHA,)) == expected
    assert direct(png(1), placeholder_sha256=(SHA,))[0] == "ok"


@pytest.mark.parametrize(
    ("headers", "signal"),
    [
        ({"x-robots-tag": "max-image-preview:large, noai"}, "X-Robots-Tag: noai"),
        ({"x-robots-tag": "otherbot: nofollow, fdf: noindex"}, "X-Robots-Tag: fdf: noindex"),
        ({"tdm-reservation": "1"}, "TDM-Reservation: 1"),
        ({"x-robots-tag": "max-image-preview:large"}, None),
        ({"tdm-reservation": "0"}, None),
    ],
)
def test_robots_headers(headers: dict[str, str], signal: str | None) -> None:
    found = Download(png(), "http://m/x", 200, 1, headers)
    opted_out = ("opted_out", f"the server says {signal} (http://m/x); 1 requests")
    assert direct(found) == (opted_out if signal else ("ok", "download_url"))
    assert direct(found, photo_row(expected_sha256="0" * 64))[0] == ("opted_out" if signal else "hash_mismatch")

    client = ScriptedDownloader({"https://example.org/p0.jpg": found})
    result, _ = fetch([photo_row()], client, candidates=("download_url",), obey_robots_headers=False)
    assert result.kept["robots_signal"].to_pylist() == [signal]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.7", "not_an_image"),
        (encode(picture(0), "JPEG")[:-50], "truncated"),
        (png()[:50] + bytes(60) + png()[110:], "undecodable"),
        (png(0, 101, 100), "decompression_bomb"),
    ],
)
def test_what_is_no_good_picture(data: bytes, reason: str) -> None:
    assert direct(data, max_pixels=10_000)[0] == reason


# --- the whole stage over HTTP ---------------------------------------------------------------------------------------------


def corpus() -> tuple[list[dict[str, Any]], dict[str, Behaviour | list[Behaviour]]]:
    photos = [
        photo_row(f"p{index}", line_index=index, mirror_key=f"{index}.jpg", extension="gif") for index in range(24)
    ]
    script: dict[str, Behaviour | list[Behaviour]] = {}
    for index in range(24):
        good = answer(png(index, 16, 16))
        script[f"/{index}.jpg"] = [
            good, answer(status=404), redirect("/photo_unavailable.png"), [answer(status=503), good], answer(status=403),
            answer(b"<html>"),
        ][index % 6]  # fmt: skip
    script["/7.gif"] = answer(encode(picture(7, 16, 16), "GIF"))
    return photos, script


def over_http(threads: int) -> tuple[pa.Table, pa.Table, MemoryArchive]:
    photos, script = corpus()
    with MisbehavingServer(script) as server:
        client = downloader(server, retries=1)
        result, sink = fetch(
            photos, client, f"http://{server.netloc}", candidates=("mirror", "mirror_ext"), threads=threads
        )
        where = server.netloc
    dropped = [{**row, "detail": row["detail"].replace(where, "m")} for row in result.dropped.to_pylist()]
    kept = result.kept.set_column(
        3, "url", pa.array([url.replace(where, "m") for url in result.kept["url"].to_pylist()])
    )
    return kept, pa.Table.from_pylist(dropped), sink


def test_one_and_eight_threads_give_the_same_bytes_and_tables() -> None:
    kept, dropped, sink = over_http(1)
    assert [kept.to_pylist(), dropped.to_pylist(), sink] == [
        found if isinstance(found, MemoryArchive) else found.to_pylist() for found in over_http(8)
    ]
    assert kept["photo_id"].to_pylist() == [f"p{index}" for index in range(24) if index % 6 in (0, 3) or index == 7]
    assert kept["format"].to_pylist().count("GIF") == 1
    assert sink.names == [f"{row['photo_id']}.{row['format'].lower()}" for row in kept.to_pylist()]
    for row in kept.to_pylist():
        index = int(row["photo_id"][1:])
        data = encode(picture(7, 16, 16), "GIF") if index == 7 else png(index, 16, 16)
        assert sink.read(row["archive"], row["offset"], row["length"]) == data
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["attempts"] == {0: 1, 1: 2, 3: 2}[index % 6]
    reasons = dict(zip(dropped["photo_id"].to_pylist(), dropped["reason"].to_pylist(), strict=True))
    expected = {1: "gone", 2: "gone", 4: "gone", 5: "gone"}  # the other extension is 404, and the last answer speaks
    assert reasons == {f"p{index}": expected[index % 6] for index in range(24) if index % 6 in expected and index != 7}


def test_progress_counts_every_photo() -> None:
    steps: list[int] = []
    client = ScriptedDownloader({"https://example.org/p0.jpg": GONE, "https://example.org/p1.jpg": png()})
    tools = Tools(sink=MemoryArchive(), downloader=client, advance=steps.append)
    run(tables(metadata=[photo_row("p0"), photo_row("p1")]), FetchConfig(candidates=("download_url",)), tools)
    assert steps == [1, 1]


# --- names and configs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photo_id", ["6985418911", "a_b-C", "x" * 80])
def test_plain_ids_name_their_files(photo_id: str) -> None:
    assert _safe(photo_id) == photo_id


HOSTILE = ["", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "a\0b", "-rf", "--", "_", "a b", "é", "a.jpg", "a\n",
           "$(x)", "²", "x" * 81]  # fmt: skip


@given(st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"])))
def test_names_of_hostile_ids_are_safe(photo_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", _safe(photo_id))


def test_two_ids_never_share_a_name() -> None:
    ids = [*HOSTILE, "x" * 80, "x" * 82, "y"]
    assert len({_safe(photo_id) for photo_id in ids}) == len(ids)


def test_a_hostile_id_keeps_its_picture() -> None:
    client = ScriptedDownloader({"https://example.org/../../x.jpg": png()})
    result, sink = fetch([photo_row("../../x")], client, candidates=("download_url",))
    assert result.kept["photo_id"].to_pylist() == ["../../x"]
    assert re.fullmatch(r"[0-9a-f]{32}\.png", sink.names[0])


@pytest.mark.parametrize(
    "bad",
    [
        {"candidates": ()},
        {"candidates": ("big",)},
        {"contact": "me@a.org\r\nCookie: x"},
        {"contact": "José"},
        {"placeholder_sha256": ("AB" * 32,)},
        {"placeholder_sha256": ("ab",)},
        {"read_timeout": 0},
        {"retries": 21},
        {"max_bytes": 0},
    ],
)
def test_impossible_configs_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FetchConfig(**bad)


def test_how_to_ask_is_no_part_of_the_fingerprint_what_to_ask_is() -> None:
    patient = FetchConfig(contact="a@b.org", threads=3, retries=9, read_timeout=1, requests_per_second=1)
    assert patient.fingerprint() == FetchConfig().fingerprint()
    assert FetchConfig(max_bytes=9).fingerprint() != FetchConfig().fingerprint()


DEAD = DownloadError(Reason.DNS, "nobody of that name", 1)


def fetch_all(answers: list[Any], **config: Any) -> list[str]:
    """Reasons of photos that get these answers, `ok` for those that came."""
    photos = [photo_row(f"p{number}") for number in range(len(answers))]
    client = ScriptedDownloader({f"https://example.org/p{number}.jpg": answer for number, answer in enumerate(answers)})
    result, _ = fetch(photos, client, candidates=("download_url",), **config)
    return result.dropped["reason"].to_pylist() + ["ok"] * result.kept.num_rows


def test_an_outage_stops_the_run_instead_of_dropping_photos() -> None:
    with pytest.raises(
        MachineError, match=r"No answer for 3 photos in a row.*Got nobody of that name.*give_up_after=0"
    ):
        fetch_all([png(), DEAD, DEAD, DEAD, png()], give_up_after=3)
    with pytest.raises(MachineError, match="No answer for 2 photos"):
        fetch_all([DEAD, DEAD])


def test_a_silence_that_ends_is_no_outage() -> None:
    answers = [DEAD, DEAD, GONE, DEAD, DEAD, png(), DEAD, DEAD]
    assert Counter(fetch_all(answers, give_up_after=3)) == {"dns": 6, "gone": 1, "ok": 1}
    assert fetch_all([DEAD] * 9, give_up_after=0) == ["dns"] * 9


def test_a_server_that_wants_to_be_left_alone_is_an_outage() -> None:
    busy = DownloadError(Reason.RATE_LIMITED, "HTTP 429, Retry-After 3600 s", 1, wait=3600)
    with pytest.raises(MachineError, match=r"wants to be left alone.*3600"):
        fetch_all([png(), *[busy] * 50, png()])


def test_when_the_run_ends_early_waiting_threads_are_called_back() -> None:
    client = ScriptedDownloader({"https://example.org/p0.jpg": DEAD})
    with pytest.raises(MachineError):
        fetch([photo_row("p0")], client, candidates=("download_url",))
    assert client.stopped
