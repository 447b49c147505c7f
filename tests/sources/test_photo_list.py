"""Photo lists: three formats, one table; a bad row is a record with a problem, a bad file an error."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import pickle
import re
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdf.errors import DataError
from fdf.schema import RECORDS
from fdf.sources import open_source
from fdf.sources.base import Source
from fdf.sources.photo_list import COLUMNS, owner_of

URL = "https://upload.example.org/a.jpg"
ROWS = [
    {
        "url": URL,
        "license": "CC BY 4.0",
        "author": "Zoë, “Z”",
        "title": 'A "quoted"\ntitle',
        "page": "https://example.org/a",
        "tags": "portrait,new york",
        "latitude": "59.9",
        "color": "red",
    },
    {
        "url": URL + "2",
        "license": "https://creativecommons.org/licenses/by-sa/3.0/",
        "author": "",
        "title": "",
        "page": "",
        "tags": "",
        "latitude": "",
        "color": "",
    },
]
FIRST = dict.fromkeys(RECORDS.names) | {
    "line_index": 0,
    "photo_id": sha256(URL.encode()).hexdigest()[:16],
    "owner_nsid": owner_of("Zoë, “Z”"),
    "owner_name": "Zoë, “Z”",
    "title": 'A "quoted"\ntitle',
    "tags": "portrait,new york",
    "latitude": "59.9",
    "page_url": "https://example.org/a",
    "download_url": URL,
    "license_name": "CC BY 4.0",
    "marker": "0",
}
SECOND = dict.fromkeys(RECORDS.names) | {
    "line_index": 1,
    "photo_id": sha256((URL + "2").encode()).hexdigest()[:16],
    "download_url": URL + "2",
    "license_url": "https://creativecommons.org/licenses/by-sa/3.0/",
    "marker": "0",
}


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json(rows: list[dict[str, str]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def as_parquet(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=1)
    return sink.getvalue()


def opened(tmp_path: Path, content: bytes) -> Source:
    path = tmp_path / "list"
    path.write_bytes(content)
    return open_source("photo_list", path)


def read(source: Source, rows: int = 1000) -> pa.Table:
    batches = list(source.batches(rows))
    tables = [pickle.loads(pickle.dumps(source)).parse(pickle.loads(pickle.dumps(batch))) for batch in batches]  # noqa: S301
    assert [table.num_rows for table in tables] == [batch.rows for batch in batches]
    assert all(table.schema.equals(RECORDS, check_metadata=True) for table in tables)
    return pa.concat_tables(tables) if tables else RECORDS.empty_table()


FORMATS = {
    "csv": as_csv,
    "csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "semicolons and BOM": lambda rows: b"\xef\xbb\xbf" + as_csv(rows, ";"),
    "tabs": lambda rows: as_csv(rows, "\t"),
    "jsonl": as_json,
    "jsonl.bz2": lambda rows: bz2.compress(as_json(rows)),
    "parquet": as_parquet,
}


@pytest.mark.parametrize("pack", FORMATS.values(), ids=FORMATS)
def test_every_format_reads_the_same(tmp_path: Path, pack) -> None:
    source = opened(tmp_path, pack(ROWS))
    assert read(source).to_pylist() == [FIRST, SECOND]
    assert read(source, rows=1).to_pylist() == [FIRST, SECOND]
    assert source.ignored_columns == ("color",)
    assert (source.name, source.files()) == ("photo_list", (tmp_path / "list",))


@pytest.mark.parametrize("column", COLUMNS)
def test_aliases_are_read_and_the_first_one_counts(tmp_path: Path, column: str) -> None:
    aliases = COLUMNS[column]
    base = {"url": URL, "license": "CC BY 2.0"}
    for alias in aliases:
        row = {name: value for name, value in base.items() if name != column}
        odd = alias.replace("_", "-").upper() if "_" in alias else f" {alias.title()} "
        first = read(opened(tmp_path, as_csv([row | {odd: "2.0"}])))
        second = read(opened(tmp_path, as_csv([row | {alias: "2.0"}])))
        assert first.equals(second)
        assert "2.0" in str(first.to_pylist())
    if len(aliases) > 1:
        source = opened(tmp_path, as_csv([base | {aliases[1]: "second", aliases[0]: base.get(column, "first")}]))
        assert source.ignored_columns == (aliases[1],)


def test_ids_owners_and_versions_are_made_where_they_lack(tmp_path: Path) -> None:
    rows = [
        {"url": URL, "license": "by-sa", "license_version": "2.0", "author": " ada  LOVELACE", "id": "", "owner": ""},
        {
            "url": URL,
            "license": "CC BY 2.0",
            "license_version": "2.0",
            "author": "Ada Lovelace",
            "id": "7",
            "owner": "o1",
        },
        {"url": "", "license": "", "license_version": "2.0", "author": "", "id": "", "owner": ""},
    ]
    found = read(opened(tmp_path, as_csv(rows))).to_pylist()
    assert [row["license_name"] for row in found] == ["by-sa 2.0", "CC BY 2.0", None]
    assert [row["photo_id"] for row in found] == [FIRST["photo_id"], "7", None]
    assert [row["owner_nsid"] for row in found] == [owner_of("Ada Lovelace"), "o1", None]
    assert owner_of("Ada Lovelace") == "author:" + sha256(b"ada lovelace").hexdigest()[:16]
    assert [row["problem"] for row in found] == [None] * 3  # what a row lacks, `metadata` judges


CSV_PROBLEMS = [
    (b"", "empty line"),
    (b"u,l", "2 fields came, expected 3"),
    (b"u,l,a,b", "4 fields came, expected 3"),
    (b'"u"x,l,a', "not CSV: ',' expected after '\"'"),
    (b"u\rv,l,a", "not CSV: a carriage return in a field without quotes"),
    (b'u,l,"a', "a quote is opened and not closed, or a field is too long"),
    (b"u,l," + b"a" * 140_000, "a quote is opened and not closed, or a field is too long"),
    (b"u,l," + b"a" * 1_100_000, "line longer than 1,048,576 bytes"),
    (b'u,"' + b"a" * 1_100_000, "line longer than 1,048,576 bytes"),
    (b"u,l,\x00", "NUL byte in the line"),
]


@pytest.mark.parametrize(("bad", "problem"), CSV_PROBLEMS, ids=range(len(CSV_PROBLEMS)))
def test_bad_csv_record_is_one_row_and_the_rest_is_read(tmp_path: Path, bad: bytes, problem: str) -> None:
    source = opened(tmp_path, b"url,license,author\n1,l,a\n" + bad + b"\n2,l,\xff\n3,l,a")
    found = read(source).to_pylist()
    assert [row["problem"] for row in found] == [None, problem, None, None]
    assert [row["download_url"] for row in found] == ["1", None, "2", "3"]
    assert found[2]["owner_name"] == "\ufffd"
    assert read(source, rows=1).to_pylist() == found
    assert read(source, rows=2).to_pylist() == found


JSON_PROBLEMS = [
    (b"", "empty line"),
    (b"{", "not JSON: Expecting property name enclosed in double quotes at character 1"),
    (b"[1]", "not a JSON object but list"),
    (b"null", "not a JSON object but NoneType"),
    (b"[" * 100_000, "not JSON that can be read: RecursionError"),
    (b'{"url": ' + b"9" * 5000 + b"}", "not JSON that can be read: ValueError"),
    (b'{"url": "' + b"9" * 1_100_000 + b'"}', "line longer than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("bad", "problem"), JSON_PROBLEMS, ids=range(len(JSON_PROBLEMS)))
def test_bad_json_line_is_one_row_and_the_rest_is_read(tmp_path: Path, bad: bytes, problem: str) -> None:
    good = b'{"url": "1", "license": "CC0", "tags": ["a", 2, null, "no_cv"], "author": {"x": 1}, "title": true, "lat": 1.5}'
    lone = b'{"licence": "\\ud800", "download_url": "2"}'
    found = read(opened(tmp_path, good + b"\r\n" + bad + b"\n" + lone)).to_pylist()
    assert [row["problem"] for row in found] == [None, problem, None]
    assert (found[0]["tags"], found[0]["owner_name"], found[0]["title"]) == ("a,no_cv", None, None)
    assert found[0]["latitude"] == "1.5"
    assert (found[2]["download_url"], found[2]["license_name"]) == ("2", "\ufffd")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from([b"url,license,author\n", b'{"url": "u", "license": "l"}\n']),
    st.lists(
        st.sampled_from([b"\n", b"\r", b'"', b",", b'"a\nb"', b"a,b,c\n", b'{"url": 1}\n', b"\xff"])
        | st.binary(max_size=5)
    ),
    st.integers(1, 4),
)
def test_any_bytes_are_rows_however_they_are_cut(tmp_path: Path, head: bytes, pieces: list[bytes], rows: int) -> None:
    source = opened(tmp_path, head + b"".join(pieces))
    whole = read(source)
    assert whole["line_index"].to_pylist() == list(range(whole.num_rows))
    assert read(source, rows).equals(whole)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from([as_csv, as_json, as_parquet]),
    st.lists(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=9), min_size=1, max_size=5
    ),
)
def test_titles_come_back_from_every_format(tmp_path: Path, pack, titles: list[str]) -> None:
    rows = [{"url": URL, "license": "CC0", "title": title} for title in titles]
    assert read(opened(tmp_path, pack(rows)))["title"].to_pylist() == [title or None for title in titles]


def test_parquet_types_become_text(tmp_path: Path) -> None:
    table = pa.table(
        {
            "url": pa.array([URL, None]).dictionary_encode(),
            "license": pa.array([b"CC0", b"\xff"], pa.large_binary()),
            "tags": pa.array([["a", None, "no_cv"], None], pa.list_(pa.string())),
            "date_taken": pa.array([1_320_650_440_500, None], pa.timestamp("ms", tz="UTC")),
            "latitude": pa.array([1.5, None], pa.float32()),
            "id": pa.array([7, 8]),
            "thumbnail": pa.array([{"x": 1}, None]),
        }
    )
    pq.write_table(table, tmp_path / "list")
    source = open_source("photo_list", tmp_path / "list")
    first, second = read(source).to_pylist()
    assert (first["download_url"], first["license_name"], first["tags"]) == (URL, "CC0", "a,no_cv")
    assert (first["date_taken"], first["latitude"], first["photo_id"]) == ("2011-11-07 07:20:40", "1.5", "7")
    assert (second["download_url"], second["license_name"], second["tags"]) == (None, "\ufffd", None)
    assert source.ignored_columns == ("thumbnail",)
    pq.write_table(table.rename_columns([*table.column_names[:-1], "title"]), tmp_path / "list")
    with pytest.raises(DataError, match=r"Column 'title' of .* can't be read as text.*Got struct"):
        open_source("photo_list", tmp_path / "list")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            b"link,rights\nx,y\n",
            "no column url and no column license.*author, title, page.*Got columns 'link', 'rights'",
        ),
        (as_json([{"url": "x"}]), "no column license.*Got columns 'url'"),
        (as_parquet([{"licence": "x"}]), "no column url"),
        (b"\n\n", "header line .*empty line"),
        (b'[{"url": 1}]', "JSON array.*Write one object a line"),
        (b"PK\x03\x04", "a ZIP archive"),
        (as_parquet(ROWS)[:200], "damaged or incomplete.*0 rows before the damage"),
        (gzip.compress(as_csv(ROWS))[:15], "damaged or incomplete"),
        (b"", "is empty"),
    ],
    ids=range(9),
)
def test_foreign_and_damaged_files_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(DataError, match=text):
        opened(tmp_path, content)


def test_damage_further_on_says_how_far_it_got(tmp_path: Path) -> None:
    many = [{"url": f"{URL}{number * 7919 % 10007}", "license": "CC0"} for number in range(6000)]
    content = bytearray(as_parquet(many[:40]))
    content[3000:3040] = b"\xff" * 40
    source = opened(tmp_path, bytes(content))
    with pytest.raises(DataError, match=r"damaged or incomplete.*Got \d+ rows before the damage"):
        list(source.batches(1))
    source = opened(tmp_path, gzip.compress(as_csv(many[:3000])) + gzip.compress(as_csv(many[3000:]))[:-20])
    with pytest.raises(DataError, match=r"Got [\d,]+ lines \([\d,]+ bytes after decompression\) before the damage"):
        list(source.batches(1))


def test_docs_list_every_column_and_alias() -> None:
    text = (Path(__file__).parents[2] / "docs/sources.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    listed = {name.strip(" `"): tuple(re.findall(r"`([a-z0-9_]+)`", aliases)) for name, aliases in rows}
    assert {name: aliases[1:] for name, aliases in COLUMNS.items()} == {name: listed[name] for name in COLUMNS}
