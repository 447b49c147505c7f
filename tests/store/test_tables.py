"""Typed tables, their content digests, and originals by offset."""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.errors import DataError
from fdf.schema import DROPPED, FETCHED, TABLES, volatile_columns
from fdf.store.archives import ArchiveReader, open_archive
from fdf.store.receipts import Receipt, differences
from fdf.store.tables import content_digest, read_table, read_tables, write_table

DROP = {"stage": "fetch", "photo_id": "1", "face_id": None, "reason": "gone", "detail": None, "retryable": False}


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=DROPPED)


@pytest.mark.parametrize("name", TABLES)
def test_every_schema_survives_its_file_with_its_descriptions(tmp_path: Path, name: str) -> None:
    schema = TABLES[name]
    write_table(tmp_path / "t.parquet", schema.empty_table())
    found = read_table(tmp_path / "t.parquet", schema)
    assert found.schema == schema
    assert all((field.metadata or {}).get(b"doc") for field in found.schema)


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    rows = [DROP | {"photo_id": str(i)} for i in range(100)]
    write_table(tmp_path / "a", table(*rows))
    write_table(tmp_path / "b", pa.concat_tables([table(*rows[:37]), table(*rows[37:])]).combine_chunks())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def fetched(**changed: object) -> pa.Table:
    row = dict.fromkeys(FETCHED.names) | {
        "photo_id": "1", "status": "ok", "http_status": 200, "url": "http://x/1.jpg", "candidate": "mirror",
        "size_bytes": 3, "sha256": "0", "pixel_sha256": "1", "phash": 7, "width": 1, "height": 1, "format": "JPEG",
        "archive": "a.tar", "offset": 512, "length": 3, "fetched_at": datetime(2020, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return pa.Table.from_pylist([row | changed], schema=FETCHED)


def test_content_digests_leave_out_what_may_change_and_nothing_else(tmp_path: Path) -> None:
    def digest(**changed: object) -> str:
        write_table(tmp_path / "t", fetched(**changed))
        return content_digest(read_table(tmp_path / "t", FETCHED))

    assert volatile_columns(FETCHED) == ["url", "attempts", "etag", "last_modified", "fetched_at"]
    for change in (
        {"fetched_at": datetime(2021, 1, 1, tzinfo=UTC)},
        {"attempts": 4},
        {"etag": "x"},
        {"url": "http://x/2.jpg"},
    ):
        assert digest(**change) == digest()
    for change in ({"phash": 8}, {"candidate": "mirror_ext"}, {"robots_signal": "noai"}):
        assert digest(**change) != digest()


def test_a_foreign_file_is_refused_with_the_difference(tmp_path: Path) -> None:
    pq.write_table(pa.table({"stage": ["x"], "colour": [1]}), tmp_path / "t")
    with pytest.raises(DataError, match=r"Expected .*reason: string.* Got .*colour: int64"):
        read_table(tmp_path / "t", DROPPED)
    (tmp_path / "t").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="no readable Parquet"):
        read_table(tmp_path / "t", DROPPED)
    with pytest.raises(DataError, match="is missing"):
        read_table(tmp_path / "u", DROPPED)


def test_no_partitions_are_an_empty_table() -> None:
    assert read_tables([], DROPPED).schema == DROPPED
    assert read_tables([], DROPPED, ["reason"]).num_rows == 0


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=3000), max_size=8))
def test_originals_come_back_untouched(tmp_path_factory: pytest.TempPathFactory, blobs: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("archive")
    with open_archive(root / "fetch/a.tar", "fetch/a.tar") as archive:
        places = [archive.add(f"{i}.jpg", blob) for i, blob in enumerate(blobs)]
    reader = ArchiveReader(root)
    assert [reader.read(*place) for place in places] == blobs
    with tarfile.open(root / "fetch/a.tar") as tar:
        assert [tar.extractfile(member).read() for member in tar] == blobs  # type: ignore[union-attr]


def test_a_cut_archive_is_said(tmp_path: Path) -> None:
    with open_archive(tmp_path / "a.tar", "a.tar") as archive:
        place = archive.add("1.jpg", bytes(1000))
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:700])
    with pytest.raises(DataError, match=r"ends early. Expected 1000 bytes at 512. Got 188"):
        ArchiveReader(tmp_path).read(*place)
    with pytest.raises(DataError, match="can't be read"):
        ArchiveReader(tmp_path).read("b.tar", 0, 1)


def test_differences_name_the_key_and_both_values() -> None:
    before = {"config": {"a": 1, "b": {"c": [1, 2]}}, "version": 1}
    now = {"config": {"a": 1, "b": {"c": [1, 3]}, "d": None}, "version": 2}
    assert differences(before, now) == ["config.b.c: [1, 2] → [1, 3]", "config.d: (none) → None", "version: 1 → 2"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "x"}', "\x00"])
def test_what_is_no_receipt_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match="receipt"):
        Receipt.load(tmp_path / "r.json")
    assert Receipt.load(tmp_path / "none.json") is None
