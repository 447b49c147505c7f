"""YFCC100M: every line gives one row, whatever its bytes, in whichever form the metadata comes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import pickle
import sqlite3
from pathlib import Path
from urllib.parse import quote_plus

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fdf.errors import DataError, UsageError
from fdf.schema import RECORDS
from fdf.sources import open_source
from fdf.sources.base import MAX_LINE, Batch, Source
from fdf.sources.yfcc import YfccSqlite, YfccTsv, flickr_urls, mirror_key

ROW = {
    "photoid": "1474437500",
    "uid": "61685594@N00",
    "unickname": "And+Wat",
    "datetaken": "2007-09-25 19:39:03.0",
    "dateuploaded": "1191377407",
    "capturedevice": "Canon+PowerShot+A540",
    "title": "Banana+%26amp%3B+Penguin%0A100%25",
    "description": "Note+the+egg.",
    "usertags": "banana,caf%C3%A9,new+york",
    "machinetags": "fdf:no_cv=1",
    "longitude": "-73.98",
    "latitude": "",
    "accuracy": "",
    "pageurl": "http://www.flickr.com/photos/61685594@N00/1474437500/",
    "downloadurl": "http://farm2.staticflickr.com/1436/a+b%20c&amp;.jpg",
    "licensename": "Attribution License",
    "licenseurl": "http://creativecommons.org/licenses/by/2.0/",
    "serverid": "1436",
    "farmid": "2",
    "secret": "6e440ad92f",
    "secretoriginal": "0c94c0d602",
    "ext": "jpg",
    "marker": "0",
}
READ = {
    "line_index": 0,
    "problem": None,
    "photo_id": "1474437500",
    "owner_nsid": "61685594@N00",
    "owner_name": "And Wat",
    "date_taken": "2007-09-25 19:39:03.0",
    "date_uploaded": "1191377407",
    "capture_device": "Canon PowerShot A540",
    "title": "Banana & Penguin\n100%",
    "tags": "banana,café,new york",
    "machine_tags": "fdf:no_cv=1",
    "longitude": "-73.98",
    "latitude": None,
    "page_url": "http://www.flickr.com/photos/61685594@N00/1474437500/",
    "download_url": "http://farm2.staticflickr.com/1436/a+b%20c&amp;.jpg",
    "license_name": "Attribution License",
    "license_url": "http://creativecommons.org/licenses/by/2.0/",
    "server_id": "1436",
    "secret": "6e440ad92f",
    "secret_original": "0c94c0d602",
    "extension": "jpg",
    "marker": "0",
    "sha256": None,
}


NAMES = list(ROW)


def line(shape: int = 23, **changed: str) -> bytes:
    fields = [(ROW | changed)[name] for name in NAMES]
    if shape == 25:
        fields = ["17", fields[0], "0123456789abcdef" * 2, *fields[1:]]
    return "\t".join(fields).encode()


def read(source: Source, rows: int = 1000) -> pa.Table:
    batches = list(source.batches(rows))
    tables = [pickle.loads(pickle.dumps(source)).parse(pickle.loads(pickle.dumps(batch))) for batch in batches]  # noqa: S301
    assert [table.num_rows for table in tables] == [batch.rows for batch in batches]
    assert all(table.schema.equals(RECORDS, check_metadata=True) for table in tables)
    return pa.concat_tables(tables) if tables else RECORDS.empty_table()


def database(path: Path, rows: list[tuple[int, dict[str, object]]]) -> Path:
    with sqlite3.connect(path) as base:
        base.execute(f"CREATE TABLE yfcc100m_dataset ({', '.join(NAMES)})")
        holes = ", ".join("?" * (len(NAMES) + 1))
        for rowid, row in rows:
            base.execute(
                f"INSERT INTO yfcc100m_dataset (rowid, {', '.join(NAMES)}) VALUES ({holes})",  # noqa: S608
                [rowid, *(row[name] for name in NAMES)],
            )
    base.close()
    return path


@pytest.mark.parametrize("pack", [bytes, bz2.compress, gzip.compress], ids=["plain", "bz2", "gz"])
@pytest.mark.parametrize("shape", [23, 25])
def test_every_form_reads_the_same(tmp_path: Path, pack, shape: int) -> None:
    path = tmp_path / "metadata.whatever"
    path.write_bytes(pack(line(shape)))
    source = open_source("yfcc", path)
    assert read(source).to_pylist() == [READ]
    assert (source.name, source.files()) == ("yfcc", (path,))
    assert isinstance(source, Source)


def test_sqlite_reads_the_same_with_gaps_between_rowids(tmp_path: Path) -> None:
    rows = [(rowid, ROW) for rowid in (-5, 3, 4, 1000, 2**63 - 1)] + [(-(2**63), ROW | {"photoid": 7, "title": None})]
    source = open_source("yfcc", database(tmp_path / "yfcc.sql", rows), name="corpus")
    batches = list(source.batches(2))
    assert [(batch.first_line, batch.rows) for batch in batches] == [(0, 2), (2, 2), (4, 2)]
    found = read(source, rows=2).to_pylist()
    assert found[0] == READ | {"photo_id": "7", "title": None}
    assert found[1:] == [READ | {"line_index": index} for index in range(1, 6)]
    assert read(source, rows=100).equals(read(source, rows=1))
    assert list((tmp_path).iterdir()) == [tmp_path / "yfcc.sql"]  # no journal, no lock


def test_sqlite_text_that_is_no_utf8_and_empty_strings(tmp_path: Path) -> None:
    path = database(tmp_path / "y.sql", [(1, ROW | {"title": b"\xff\x00a", "capturedevice": "", "latitude": 1.5})])
    row = read(open_source("yfcc", path)).to_pylist()[0]
    assert (row["title"], row["capture_device"], row["latitude"]) == ("\ufffd\ufffda", None, "1.5")


def test_decoded_copies_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "y"
    path.write_bytes(line(title="C++ &amp; 100%25"))
    assert read(open_source("yfcc", path, encoded=False))["title"].to_pylist() == ["C++ &amp; 100%25"]


PROBLEMS = [
    (b"", "empty line"),
    (b"abc", "1 columns came, expected 23 or 25"),
    (b"\t" * 21, "22 columns came, expected 23 or 25"),
    (b"\t" * 23, "24 columns came, expected 23 or 25"),
    (line().replace(b"Note", b"No\x00te"), "NUL byte in the line"),
    (line(title="x" * MAX_LINE), "line longer than 1,048,576 bytes"),
    (b"x" * (MAX_LINE + 1) + b"\r" + line(), "line longer than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("bad", "problem"), PROBLEMS, ids=range(len(PROBLEMS)))
def test_bad_line_is_a_record_with_a_problem(tmp_path: Path, bad: bytes, problem: str) -> None:
    path = tmp_path / "y"
    path.write_bytes(line(25) + b"\n" + bad + b"\r\n" + line(23) + b"\r\n")
    found = read(open_source("yfcc", path)).to_pylist()
    empty = dict.fromkeys(READ) | {"line_index": 1, "problem": problem}
    assert found == [READ, empty, READ | {"line_index": 2}]


def test_encodings_that_are_wrong_keep_the_row(tmp_path: Path) -> None:
    raw = line(title="caf%E9+%00+%ZZ+%&#233;&#0;&nosuch;&lt", unickname="%ED%A0%80").replace(b"Canon", b"\xff\rCanon")
    path = tmp_path / "y"
    path.write_bytes(b"\xef\xbb\xbf" + raw)
    row = read(open_source("yfcc", path)).to_pylist()[0]
    assert row["problem"] is None
    assert row["title"] == "caf\ufffd \ufffd %ZZ %é\ufffd&nosuch;&lt"
    assert row["owner_name"] == "\ufffd\ufffd\ufffd"
    assert row["capture_device"] == "\ufffd\rCanon PowerShot A540"
    assert row["photo_id"] == "1474437500"  # the byte-order mark is gone


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.sampled_from([b"\n", b"\r\n", b"\t", b"\x00", b"%", b"+", line(23), line(25), b"\t" * 22])
        | st.binary(max_size=9)
    ),
    st.integers(1, 5),
)
def test_lines_in_are_rows_out_however_they_are_cut(tmp_path: Path, pieces: list[bytes], rows: int) -> None:
    content = b"".join(pieces)
    assume(not content.startswith((b"BZh", b"\x1f\x8b")))
    path = tmp_path / "any"
    path.write_bytes(content)
    source = YfccTsv(path)
    whole = read(source)
    content = content.removeprefix(b"\xef\xbb\xbf")
    assert whole.num_rows == content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert whole["line_index"].to_pylist() == list(range(whole.num_rows))
    assert read(source, rows).equals(whole)
    widths = [part.count(b"\t") + 1 for part in content.split(b"\n")][: whole.num_rows]
    for width, problem in zip(widths, whole["problem"].to_pylist(), strict=True):
        assert problem is not None or width in (23, 25)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.text(max_size=12).filter(lambda text: "\x00" not in text and "&" not in text), min_size=1, max_size=6)
)
def test_encoded_text_comes_back(tmp_path: Path, titles: list[str]) -> None:
    path = tmp_path / "y"
    path.write_bytes(b"\n".join(line(title=quote_plus(title)) for title in titles))
    assert read(YfccTsv(path))["title"].to_pylist() == [title or None for title in titles]


def test_huge_lines_close_a_batch_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdf.sources.base.MAX_BATCH", 3000)
    path = tmp_path / "y"
    path.write_bytes((line() + b"\n") * 20)
    source = YfccTsv(path)
    sizes = [batch.rows for batch in source.batches(1000)]
    assert sum(sizes) == 20
    assert max(sizes) < 10
    assert read(source)["line_index"].to_pylist() == list(range(20))


# --- files that refuse ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress], ids=["bz2", "gz"])
def test_cut_archive_says_how_far_it_got(tmp_path: Path, pack) -> None:
    # Streams one after another, as parallel compressors write them: what is whole before the cut is read.
    whole = b"".join(pack((line(25, photoid=str(number)) + b"\n") * 500) for number in range(20))
    path = tmp_path / "cut"
    path.write_bytes(whole[:-40])
    source = open_source("yfcc", path)
    parsed: list[int] = []
    with pytest.raises(DataError, match="cut is damaged or incomplete") as caught:
        parsed.extend(source.parse(batch).num_rows for batch in source.batches(100))
    rows = sum(parsed)
    assert rows > 9000
    lines_read = int(caught.value.got.split()[0].replace(",", ""))
    assert rows <= lines_read <= 10000
    assert "bytes after decompression) before the damage" in str(caught.value)
    assert "Download it again" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (b"", DataError, "is empty"),
        (b"PK\x03\x04rest", DataError, "another format.*Got a ZIP archive"),
        (b"\xff\xfea\x00", DataError, "Got UTF-16 text"),
        (gzip.compress(b"<html>gone</html>"), DataError, "Got HTML"),
        (
            b"url,license\nx,y\n",
            DataError,
            r'23 or 25 columns.*Got 1 columns in its first 2 lines.*kind = "photo_list"',
        ),
        (b"BZh9garbage", DataError, "damaged or incomplete.*not one line"),
        (bz2.compress(line() * 99)[:60], DataError, "damaged or incomplete.*not one line"),
        (b"SQLite format 3\x00" + b"\x00" * 84, DataError, "can't be read as SQLite.*0 rows before the damage"),
    ],
    ids=range(8),
)
def test_foreign_and_damaged_files_are_refused(
    tmp_path: Path, content: bytes, error: type[Exception], text: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(error, match=text):
        open_source("yfcc", path)


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE faces (id)")
    base.close()
    with pytest.raises(DataError, match=r"Expected a table yfcc100m_dataset.*Got tables faces"):
        open_source("yfcc", path)
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE yfcc100m_dataset (photoid, uid)")
    base.close()
    with pytest.raises(DataError, match=r"Got no column unickname, datetaken"):
        open_source("yfcc", path)


def test_damaged_database_says_how_far_it_got(tmp_path: Path) -> None:
    path = database(tmp_path / "y.sql", [(rowid, ROW) for rowid in range(400)])
    content = bytearray(path.read_bytes())
    content[-20 * 4096 :] = b"\xaa" * (20 * 4096)
    path.write_bytes(content)
    source = open_source("yfcc", path)
    with pytest.raises(DataError, match=r"SQLite.*malformed.*Got \d+ rows before the damage"):
        _ = [source.parse(batch) for batch in source.batches(10)]


def test_database_that_changed_is_noticed(tmp_path: Path) -> None:
    source = YfccSqlite(database(tmp_path / "y.sql", [(1, ROW)]))
    with pytest.raises(DataError, match="changed while it was read"):
        source.parse(Batch(0, 2, (1, 9)))


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no source kind 'yfc'.*one of yfcc, photo_list.*Did you mean 'yfcc'"):
        open_source("yfc", tmp_path)
    with pytest.raises(UsageError, match=r"no option 'encodet'.*Did you mean 'encoded'"):
        open_source("yfcc", tmp_path, encodet=True)
    with pytest.raises(UsageError, match="nowhere does not exist"):
        open_source("yfcc", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a folder"):
        open_source("photo_list", tmp_path)


# --- keys and URLs -------------------------------------------------------------------------------------------------------


def unpadded(url: str) -> str:
    """Another way to the same: drop the zero of every pair of the padded digest that begins with one."""
    padded = hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
    return "".join(pair[1] if pair[0] == "0" else pair for pair in (padded[i : i + 2] for i in range(0, 32, 2)))


def test_mirror_key_golden() -> None:
    url = "http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg"
    assert mirror_key(url) == "data/images/4e2/f7a/4e2f7a26a1dfbf165a7e30bdabf7e72a.jpg"
    assert mirror_key(url, "png") == "data/images/4e2/f7a/4e2f7a26a1dfbf165a7e30bdabf7e72a.png"
    short = "http://farm2.staticflickr.com/1436/1474437500_6e440ad92f.jpg"
    assert mirror_key(short) == "data/images/d37/c5a/d37c5aaffa6bd2992b576f6d88678d1.jpg"  # padded: …aaffa06bd…


@given(st.text(max_size=30).filter(lambda text: text.isprintable()))
def test_mirror_key_has_no_padding(url: str) -> None:
    key = unpadded(url)
    assert mirror_key(url) == f"data/images/{key[:3]}/{key[3:6]}/{key}.jpg"


def test_flickr_urls() -> None:
    base = "https://live.staticflickr.com/1436/1474437500_"
    assert flickr_urls("1436", "1474437500", "6e4", "0c9", "png") == {
        "_o": f"{base}0c9_o.png",
        "_b": f"{base}6e4_b.jpg",
        "_z": f"{base}6e4_z.jpg",
        "": f"{base}6e4.jpg",
    }
    assert list(flickr_urls("1436", "1474437500", "6e4", "0c9", None)) == ["_b", "_z", ""]
    assert flickr_urls(None, "1474437500", "6e4", "0c9", "jpg") == {}
    assert flickr_urls("1436", "1474437500", None, None, "jpg") == {}
