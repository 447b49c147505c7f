"""A list of photos of any collection: CSV, Parquet or JSON lines, with a URL and a licence a photo.

The format is told by content; CSV and JSON lines may be bzip2 or gzip. `docs/sources.md` has the columns and their aliases
(`COLUMNS` here). Only a URL and a licence are required, but without author and page an attribution is incomplete, and
`fdf audit` says so. Terms and history are those of the collection that the list names.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fdf.errors import DataError
from fdf.sources.base import (
    MAX_LINE,
    Batch,
    FileSource,
    Source,
    as_text,
    batches_of,
    check_format,
    check_readable,
    clean,
    lines,
    magic,
    records,
    too_long,
)

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "url": ("url", "download_url", "image_url", "image", "original_url"),
    "license": ("license", "licence", "license_name", "licence_name", "license_id", "spdx"),
    "license_url": ("license_url", "licence_url", "license_uri"),
    "license_version": ("license_version", "licence_version"),
    "author": ("author", "creator", "owner_name", "photographer", "artist"),
    "owner": ("owner", "owner_nsid", "owner_id", "user_nsid", "creator_id"),
    "title": ("title", "photo_title", "name"),
    "page": ("page", "page_url", "source_url", "foreign_landing_url", "landing_url"),
    "id": ("id", "photo_id", "identifier"),
    "sha256": ("sha256", "expected_sha256"),
    "tags": ("tags", "user_tags", "keywords"),
    "machine_tags": ("machine_tags",),
    "date_taken": ("date_taken", "taken", "datetaken"),
    "date_uploaded": ("date_uploaded", "uploaded", "dateuploaded"),
    "capture_device": ("capture_device", "camera"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng"),
    "extension": ("extension", "filetype"),
}
"""Every column that is read, with the names it may have; the first one that a file has counts."""

_ALIASES: Final = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}
_LINK: Final = re.compile(r"\s*(?:https?:)?//\S+|\s*(?:www\.)?creativecommons\.org/\S+", re.IGNORECASE)
_EXPECTED: Final = "a photo list: CSV with a header line, JSON lines or Parquet"

Row = dict[str, str | None]


def _plain_name(header: str) -> str:
    return re.sub(r"[\s-]+", "_", header.strip().lower())


@lru_cache(maxsize=32)  # JSON lines ask for every line
def _mapping(headers: tuple[str, ...]) -> dict[str, str]:
    """Our column → header of the file; the earliest alias wins, then the earliest header."""
    present: dict[str, str] = {}
    for header in headers:
        present.setdefault(_plain_name(header), header)
    chosen = {}
    for name, aliases in COLUMNS.items():
        if (alias := next((alias for alias in aliases if alias in present), None)) is not None:
            chosen[name] = present[alias]
    return chosen


def _check_columns(path: Path, headers: list[str]) -> None:
    chosen = _mapping(tuple(headers))
    missing = []
    if "url" not in chosen:
        missing.append("url")
    if not {"license", "license_url"} & set(chosen):
        missing.append("license")
    if missing:
        shown = ", ".join(repr(header[:40]) for header in headers[:30])
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)}",
            expected="the columns url and license (also author, title, page; or one of their aliases)",
            got=f"columns {shown}" if headers else "no columns",
            action="Rename the columns; docs/sources.md lists the names that are understood",
        )


# --- one row -> RECORDS ------------------------------------------------------------------------------------------------


def owner_of(author: str) -> str:
    """A stable id for an author without one: `author:` and 16 hex digits of the SHA-256 of the name.

    Case, compatibility forms and spacing don't count, so that one person is one owner.
    """
    name = " ".join(unicodedata.normalize("NFKC", author).casefold().split())
    return f"author:{sha256(name.encode()).hexdigest()[:16]}"


def _record(row: Row) -> dict[str, str | None]:
    name, link = row.get("license"), row.get("license_url")
    if name and not link and _LINK.fullmatch(name):
        name, link = None, name
    version = row.get("license_version")
    if name and version and not re.search(r"\d", name):
        name = f"{name} {version}"
    url, author = row.get("url"), row.get("author")
    return {
        "photo_id": row.get("id") or (sha256(url.encode()).hexdigest()[:16] if url else None),
        "owner_nsid": row.get("owner") or (owner_of(author) if author else None),
        "owner_name": author,
        "page_url": row.get("page"),
        "download_url": url,
        "license_name": name,
        "license_url": link,
        "marker": "0",
    } | {
        column: row.get(column)
        for column in (
            "title", "tags", "machine_tags", "date_taken", "date_uploaded", "capture_device", "latitude", "longitude",
            "extension", "sha256",
        )
    }  # fmt: skip


def _table(first_line: int, rows: list[Row | str]) -> pa.Table:
    """Rows, or what is wrong with them, as RECORDS."""
    parsed = [{} if isinstance(row, str) else _record(row) for row in rows]
    problem = pa.array([row if isinstance(row, str) else None for row in rows], pa.string())
    names = list(_record({}))
    columns = {name: as_text(pa.array([row.get(name) for row in parsed], pa.string())) for name in names}
    return records(first_line, len(rows), columns, problem)


def _text(value: object, name: str) -> str | None:
    """A JSON value as text; lists only where they make sense, objects and truth values never."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and name in ("tags", "machine_tags"):
        text = ",".join(item for item in value if isinstance(item, str))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        text = repr(value)
    else:
        return None
    return clean(text) or None


# --- formats -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PhotoList(FileSource):
    """What the three forms share.

    Args:
        headers: names of the columns, as found.
    """

    headers: tuple[str, ...]

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """Columns that nothing is made of."""
        return _ignored(self.headers)


@dataclass(frozen=True)
class PhotoListCsv(PhotoList):
    """A photo list as CSV: a header line, then records; quoted fields may span lines.

    Args:
        delimiter: `,`, `;` or a tab, whichever the header line has most of.
    """

    delimiter: str = ","

    def batches(self, rows: int) -> Iterator[Batch]:
        """Whole records as raw lines; the first record after the header is line 0."""
        found = _csv_records(lines(self.path), self.delimiter)
        next(found, None)
        return batches_of(((1, raw) for _, raw in found), rows)

    def parse(self, batch: Batch) -> pa.Table:
        """Raw lines → RECORDS, one row a record."""
        if not isinstance(batch.payload, bytes):
            raise TypeError("a batch of lines holds bytes")
        position = {header: place for place, header in reversed(list(enumerate(self.headers)))}
        chosen = {name: position[header] for name, header in _mapping(self.headers).items()}
        rows: list[Row | str] = []
        for fields, _ in _csv_records(io.BytesIO(batch.payload), self.delimiter):
            if isinstance(fields, str):
                rows.append(fields)
            elif len(fields) != len(self.headers):
                rows.append(f"{len(fields)} fields came, expected {len(self.headers)}")
            else:
                rows.append({name: fields[place] or None for name, place in chosen.items()})
        return _table(batch.first_line, rows)


def _csv_records(source: Iterable[bytes], delimiter: str) -> Iterator[tuple[list[str] | str, bytes]]:
    """Records with their raw bytes; a record that can't be read is one line and a text that says why.

    A quote that is never closed would swallow the rest of the file: the line that opens it is the bad record, and reading
    goes on behind that line.
    """
    waiting: deque[bytes] = deque()
    taken: list[bytes] = []
    behind = iter(source)

    def feed() -> Iterator[str]:
        while True:
            line = waiting.popleft() if waiting else next(behind, None)
            if line is None:
                return
            taken.append(line)
            yield line.decode("utf-8", "replace")

    while True:
        taken.clear()
        fields: list[str] | str
        try:
            fields = next(csv.reader(feed(), delimiter=delimiter, strict=True))
            if too_long(taken[0]):
                fields = f"line longer than {MAX_LINE:,} bytes"
                waiting.extendleft(reversed(taken[1:]))
                del taken[1:]
            elif not fields:
                fields = "empty line"
            elif any("\x00" in field for field in fields):
                fields = "NUL byte in the line"
        except StopIteration:
            return
        except csv.Error as error:
            text = re.sub("^new-line character.*", "a carriage return in a field without quotes", str(error))
            # A batch may end sooner than the file: the same words for a record that goes wrong on a later line.
            open_quote = len(taken) > 1 or "field limit" in text or "unexpected end" in text
            if too_long(taken[0]):
                fields = f"line longer than {MAX_LINE:,} bytes"
            else:
                fields = (
                    "a quote is opened and not closed, or a field is too long" if open_quote else f"not CSV: {text}"
                )
            waiting.extendleft(reversed(taken[1:]))
            del taken[1:]
        yield fields, b"".join(taken)


@dataclass(frozen=True)
class PhotoListJson(PhotoList):
    """A photo list as JSON lines: one object a line; its headers are the keys of the first hundred lines."""

    def batches(self, rows: int) -> Iterator[Batch]:
        """Raw lines, `rows` at a time."""
        return batches_of(((1, line) for line in lines(self.path)), rows)

    def parse(self, batch: Batch) -> pa.Table:
        """Lines → RECORDS, one row a line. Each line's keys are matched on their own."""
        if not isinstance(batch.payload, bytes):
            raise TypeError("a batch of lines holds bytes")
        rows: list[Row | str] = []
        for line in io.BytesIO(batch.payload):
            found = _json_object(line)
            if isinstance(found, str):
                rows.append(found)
            else:
                rows.append({name: _text(found[key], name) for name, key in _mapping(tuple(found)).items()})
        return _table(batch.first_line, rows)


def _json_object(line: bytes) -> dict[str, Any] | str:
    if too_long(line):
        return f"line longer than {MAX_LINE:,} bytes"
    text = line.decode("utf-8", "replace").strip()
    if not text:
        return "empty line"
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at character {error.pos}"
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, brackets 100,000 deep
        return f"not JSON that can be read: {type(error).__name__}"
    return found if isinstance(found, dict) else f"not a JSON object but {type(found).__name__}"


@dataclass(frozen=True)
class PhotoListParquet(PhotoList):
    """A photo list as Parquet. Only the columns that are used are read, a row group's pages at a time."""

    def batches(self, rows: int) -> Iterator[Batch]:
        """Rows as Arrow IPC bytes: each page is decoded once, whatever the batch size."""
        wanted = list(_mapping(self.headers).values())
        done = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for part in file.iter_batches(batch_size=rows, columns=wanted, use_threads=False):
                    sink = io.BytesIO()
                    with pa.ipc.new_stream(sink, part.schema) as stream:
                        stream.write_batch(part)
                    yield Batch(done, part.num_rows, sink.getvalue())
                    done += part.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _damaged_parquet(self.path, error, done) from error

    def parse(self, batch: Batch) -> pa.Table:
        """Arrow IPC → RECORDS, one row a row."""
        if not isinstance(batch.payload, bytes):
            raise TypeError("a batch of Parquet rows holds bytes")
        found = pa.ipc.open_stream(batch.payload).read_all().combine_chunks()
        columns = {
            name: _parquet_text(found.column(header).combine_chunks()).to_pylist()
            for name, header in _mapping(self.headers).items()
        }
        rows: list[Row | str] = [
            dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
        ]
        return _table(batch.first_line, rows)


def _parquet_text(values: pa.Array) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, pa.string())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        joined = [None if tags is None else ",".join(tag for tag in tags if tag) for tags in values.to_pylist()]
        return as_text(pa.array(joined, pa.string()))
    if pa.types.is_timestamp(values.type):
        values = pc.strftime(pc.cast(values, pa.timestamp("s"), safe=False), "%Y-%m-%d %H:%M:%S")
    return as_text(values)


def _is_readable(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))
    try:
        return not pa.types.is_nested(kind) and len(_parquet_text(pa.array([], kind))) == 0
    except pa.ArrowException:
        return False


def _damaged_parquet(path: Path, error: Exception, rows: int) -> DataError:
    return DataError(
        f"{path} is damaged or incomplete: {str(error).splitlines()[0]}",
        expected="a whole Parquet file",
        got=f"{rows:,} rows before the damage",
        action="Make or download it again",
    )


def _ignored(headers: tuple[str, ...]) -> tuple[str, ...]:
    used = set(_mapping(headers).values())
    return tuple(header for header in headers if header not in used)


# --- opening -------------------------------------------------------------------------------------------------------------


def open_photo_list(path: Path, *, name: str = "photo_list") -> Source:
    """The photo list in `path`, whichever format it has.

    Raises:
        UsageError: no such file, or it can't be opened.
        DataError: the file is empty, damaged at its beginning, of another format, or lacks a URL or a licence column.
    """
    check_readable(path)
    if magic(path).startswith(b"PAR1"):
        return _open_parquet(path, name)
    check_format(path, _EXPECTED)
    sample = list(islice(lines(path), 100))
    start = next((line for line in sample if line.strip()), b"").lstrip()
    if start.startswith(b"{"):
        return _open_json(path, name, sample)
    if start.startswith(b"["):
        raise DataError(
            f"{path} is a JSON array", expected=_EXPECTED, got="[ at its beginning", action="Write one object a line"
        )
    return _open_csv(path, name)


def _open_json(path: Path, name: str, sample: list[bytes]) -> PhotoListJson:
    keys: dict[str, None] = {}
    for line in sample:
        found = _json_object(line)
        if isinstance(found, dict):
            keys |= dict.fromkeys(clean(key) for key in found)
    _check_columns(path, list(keys))
    return PhotoListJson(path, name, tuple(keys))


def _open_csv(path: Path, name: str) -> PhotoListCsv:
    header = next(lines(path), b"")
    delimiter = max(",;\t", key=lambda char: header.count(char.encode()))
    fields, _ = next(_csv_records(lines(path), delimiter), ("no header line", b""))
    if isinstance(fields, str):
        raise DataError(
            f"The header line of {path} can't be read: {fields}",
            expected=_EXPECTED,
            got=repr(header[:80]),
            action="Repair it",
        )
    _check_columns(path, fields)
    return PhotoListCsv(path, name, tuple(fields), delimiter)


def _open_parquet(path: Path, name: str) -> PhotoListParquet:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _damaged_parquet(path, error, 0) from error
    _check_columns(path, schema.names)
    for header in _mapping(tuple(schema.names)).values():
        if not _is_readable(kind := schema.field(header).type):
            raise DataError(
                f"Column {header!r} of {path} can't be read as text", expected="text, numbers or dates", got=str(kind)
            )
    return PhotoListParquet(path, name, tuple(schema.names))
