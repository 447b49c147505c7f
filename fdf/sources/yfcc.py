r"""YFCC100M, the Yahoo Flickr Creative Commons 100 Million dataset (Thomee et al., CACM 59(2), 2016, arXiv:1503.01817).

99.2 M photos and 0.8 M videos, public on Flickr under a Creative Commons licence between 2004 and 2014. The metadata comes

- as TSV (`yfcc100m_dataset.bz2`), no header, one record a line, in two shapes: 23 columns, or 25 with a line number before
  and a hash after the photo id. The shape is told row by row;
- as SQLite (`yfcc100m_dataset.sql`, a database despite its name), table `yfcc100m_dataset`, the same 23 columns.

Owner, device, title and tags are form-encoded in both (`Canon+PowerShot`, `Note+the+egg.`, `%26`), dates, URLs and licences
are plain. Decoded titles can hold HTML entities (`&amp;`), left over from Flickr. Terms: each photo has its own licence; the
metadata is free to use with a citation of the paper.

The pictures are mirrored in the S3 bucket `multimedia-commons` under a key made of the download URL (`mirror_key`).
"""

from __future__ import annotations

import html
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import DataError, UsageError
from fdf.sources.base import (
    MAX_LINE,
    Batch,
    FileSource,
    Source,
    as_text,
    batches_of,
    check_format,
    check_readable,
    lines,
    magic,
    records,
)

# Position in the 23-column shape of every column that RECORDS keeps; with the name SQLite gives it.
_COLUMNS: Final = {
    "photo_id": (0, "photoid"),
    "owner_nsid": (1, "uid"),
    "owner_name": (2, "unickname"),
    "date_taken": (3, "datetaken"),
    "date_uploaded": (4, "dateuploaded"),
    "capture_device": (5, "capturedevice"),
    "title": (6, "title"),
    "tags": (8, "usertags"),
    "machine_tags": (9, "machinetags"),
    "longitude": (10, "longitude"),
    "latitude": (11, "latitude"),
    "page_url": (13, "pageurl"),
    "download_url": (14, "downloadurl"),
    "license_name": (15, "licensename"),
    "license_url": (16, "licenseurl"),
    "server_id": (17, "serverid"),
    "secret": (19, "secret"),
    "secret_original": (20, "secretoriginal"),
    "extension": (21, "ext"),
    "marker": (22, "marker"),
}
_ENCODED: Final = ("owner_name", "capture_device", "title", "tags", "machine_tags")
_TABLE: Final = "yfcc100m_dataset"
_SQLITE: Final = b"SQLite format 3\x00"
_SHAPES: Final = (23, 25)
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def mirror_key(download_url: str, extension: str = "jpg") -> str:
    """Key of a photo in the `multimedia-commons` bucket.

    `k` is the MD5 of the URL with each byte in hex *without* zero padding, so 16 to 32 characters; the key is
    `data/images/{k[0:3]}/{k[3:6]}/{k}.jpg`. Some pictures keep their own extension there (`png`, `gif`): ask for it.

    >>> mirror_key("http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg")
    'data/images/4e2/f7a/4e2f7a26a1dfbf165a7e30bdabf7e72a.jpg'
    """
    digest = md5(download_url.encode(), usedforsecurity=False).digest()
    name = "".join(f"{byte:x}" for byte in digest)
    return f"data/images/{name[0:3]}/{name[3:6]}/{name}.{extension}"


def flickr_urls(
    server_id: str | None, photo_id: str, secret: str | None, secret_original: str | None, extension: str | None
) -> dict[str, str]:
    """URLs of a photo's sizes on Flickr by suffix: `_o` original, `_b` 1024, `_z` 640, none 500 pixels on the long edge.

    The original has its own secret and extension; without both (or without any secret) its URL, or all, are left out.
    """
    base = f"https://live.staticflickr.com/{server_id}/{photo_id}_"
    urls = {}
    if server_id and secret_original and extension:
        urls["_o"] = f"{base}{secret_original}_o.{extension}"
    if server_id and secret:
        urls |= {suffix: f"{base}{secret}{suffix}.jpg" for suffix in ("_b", "_z", "")}
    return urls


def decode(values: pa.Array) -> pa.Array:
    """Form-encoded text as people wrote it: `+` a space, `%xx` UTF-8 bytes (U+FFFD where they are none), then entities.

    Values with `%` or `&` are decoded in one go, with NULs between them: none holds one, and `%00` becomes U+FFFD.
    """
    values = pc.replace_substring(values, "+", " ")
    hard = pc.match_substring_regex(values, "[%&]")
    if not pc.any(hard).as_py():
        return values
    text = "\x00".join(values.filter(hard).to_pylist()).replace("%00", "%EF%BF%BD")
    text = unquote_to_bytes(text).decode("utf-8", "replace")
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    values = pc.replace_with_mask(values, pc.fill_null(hard, False), pa.array(text.split("\x00"), pa.string()))
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _columns(raw: dict[str, pa.Array], encoded: bool, nul: bool = False) -> dict[str, pa.Array]:
    table = {name: as_text(values, nul) for name, values in raw.items()}
    return {name: decode(values) if encoded and name in _ENCODED else values for name, values in table.items()}


@dataclass(frozen=True)
class YfccTsv(FileSource):
    """The TSV form, plain, `.bz2` or `.gz`.

    Args:
        encoded: whether text is form-encoded, as it was published.
    """

    name: str = "yfcc"
    encoded: bool = True

    def batches(self, rows: int) -> Iterator[Batch]:
        """Raw lines, `rows` at a time."""
        return batches_of(((1, line) for line in lines(self.path)), rows)

    def parse(self, batch: Batch) -> pa.Table:
        """Lines → RECORDS, one row a line. Rows of 23 and of 25 columns may stand side by side."""
        if not isinstance(batch.payload, bytes):
            raise TypeError("a batch of lines holds bytes")
        found = _split(batch.payload)
        fields = pc.split_pattern(found, "\t")
        widths = pc.list_value_length(fields)
        problem = _problems(found, widths, b"\x00" in batch.payload)
        good = pc.is_null(problem)

        rows = pa.array(range(batch.rows), pa.int64())
        places, parts = [], []
        for shape in _SHAPES:
            mine = pc.and_(good, pc.equal(widths, shape))
            values = fields.filter(mine).flatten()
            places.append(rows.filter(mine))
            parts.append({name: values[_place(position, shape) :: shape] for name, (position, _) in _COLUMNS.items()})
        bad = rows.filter(pc.invert(good))
        places.append(bad)
        parts.append(dict.fromkeys(_COLUMNS, pa.nulls(len(bad), pa.large_binary())))
        raw = {name: pa.concat_arrays([part[name] for part in parts]) for name in _COLUMNS}
        place = pa.concat_arrays(places)
        if not place.equals(rows):
            order = pc.sort_indices(place)
            raw = {name: values.take(order) for name, values in raw.items()}
        return records(batch.first_line, batch.rows, _columns(raw, self.encoded), problem)


def _place(position: int, shape: int) -> int:
    """Where a column of the 23 stands: of 25, the first is the line number and the third the hash."""
    return position if shape == 23 else position + (2 if position else 1)


def _split(payload: bytes) -> pa.Array:
    r"""Lines without their ends ("\n" or "\r\n"), as large binary."""
    found = pc.split_pattern(pa.array([payload.removesuffix(b"\n")], pa.large_binary()), "\n").flatten()
    return pc.replace_substring_regex(found, r"\r$", "") if b"\r\n" in payload else found


def _problems(found: pa.Array, widths: pa.Array, nul: bool) -> pa.Array:
    """Why each line can't be read; null where it can."""
    length = pc.binary_length(found)
    came = pc.binary_join_element_wise(pc.cast(widths, pa.string()), "columns came, expected 23 or 25", " ")
    tests = [
        pc.greater(length, MAX_LINE),
        pc.equal(length, 0),
        pc.invert(pc.is_in(widths, pa.array(_SHAPES, widths.type))),
    ]
    texts = [f"line longer than {MAX_LINE:,} bytes", "empty line", came]
    if nul:
        tests.insert(0, pc.match_substring(found, "\x00"))
        texts.insert(0, "NUL byte in the line")
    return pc.case_when(pc.make_struct(*tests, field_names=[str(place) for place in range(len(tests))]), *texts)


@dataclass(frozen=True)
class YfccSqlite(FileSource):
    """The SQLite form: `yfcc100m_dataset.sql`, opened read-only. Rows are taken in the order of their rowid; gaps are fine.

    Args:
        encoded: whether text is form-encoded, as it was published.
    """

    name: str = "yfcc"
    encoded: bool = True

    def batches(self, rows: int) -> Iterator[Batch]:
        """Ranges of rowids, each with `rows` rows in it: (first, last), both included."""
        if rows < 1:
            raise UsageError(f"A batch of {rows} records can't be read", expected="1 or more")
        first_line, after, behind = 0, -(1 << 63), ">="
        with _opened(self.path, lambda: first_line) as base:
            while True:
                count, start, end = base.execute(
                    "SELECT count(*), min(id), max(id) FROM "  # noqa: S608 - a constant
                    f"(SELECT rowid AS id FROM {_TABLE} WHERE rowid {behind} ? ORDER BY rowid LIMIT ?)",
                    (after, rows),
                ).fetchone()
                if not count:
                    return
                yield Batch(first_line, count, (start, end))
                first_line, after, behind = first_line + count, end, ">"

    def parse(self, batch: Batch) -> pa.Table:
        """A range of rowids → RECORDS, one row a row."""
        if isinstance(batch.payload, bytes):
            raise TypeError("a batch of a database holds a range")
        wanted = ", ".join(f"CAST({column} AS TEXT)" for _, column in _COLUMNS.values())
        with _opened(self.path, lambda: batch.first_line) as base:
            base.text_factory = bytes  # UTF-8 as it stands, valid or not
            rows = base.execute(
                f"SELECT {wanted} FROM {_TABLE} WHERE rowid BETWEEN ? AND ? ORDER BY rowid",  # noqa: S608
                batch.payload,
            ).fetchall()
        if len(rows) != batch.rows:
            raise DataError(
                f"{self.path} changed while it was read",
                expected=f"{batch.rows} rows in {batch.payload}",
                got=f"{len(rows)}",
            )
        raw = {
            name: pa.array(values, pa.binary()) for name, values in zip(_COLUMNS, zip(*rows, strict=True), strict=True)
        }
        return records(batch.first_line, batch.rows, _columns(raw, self.encoded, nul=True))


@contextmanager
def _opened(path: Path, done: Callable[[], int]) -> Iterator[sqlite3.Connection]:
    """A read-only connection; what SQLite says of a damaged file becomes a DataError that says how many rows came before."""
    base = None
    try:
        # immutable: no lock and no journal beside a file that may lie on a read-only share
        base = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)
        yield base
    except sqlite3.Error as error:
        raise DataError(
            f"{path} can't be read as SQLite: {error}",
            expected="a whole database",
            got=f"{done():,} rows before the damage",
            action="Download it again and compare its checksum with the publisher's",
        ) from error
    finally:
        if base is not None:
            base.close()


def open_yfcc(path: Path, *, name: str = "yfcc", encoded: bool = True) -> Source:
    """The YFCC100M metadata in `path`, whichever of its forms it has.

    Args:
        path: TSV (plain, bzip2 or gzip) or SQLite.
        name: name of the source, as in the recipe.
        encoded: False for a copy whose text was already decoded.

    Raises:
        UsageError: no such file, or it can't be opened.
        DataError: the file is empty, damaged at its very beginning, or of another format.
    """
    check_readable(path)
    if magic(path).startswith(_SQLITE):
        _check_table(path)
        return YfccSqlite(path, name, encoded)
    check_format(path, "YFCC100M metadata: TSV of 23 or 25 columns (plain, bzip2 or gzip) or SQLite")
    sample = [line.count(b"\t") + 1 for line in islice(lines(path), 100)]
    if not any(width in _SHAPES for width in sample):
        seen = ", ".join(str(width) for width in sorted(set(sample))[:5])
        raise DataError(
            f"{path} does not look like YFCC100M metadata",
            expected="lines of 23 or 25 columns with tabs between them",
            got=f"{seen} columns in its first {len(sample)} lines",
            action='Name the right file, or use kind = "photo_list" for a list of your own',
        )
    return YfccTsv(path, name, encoded)


def _check_table(path: Path) -> None:
    with _opened(path, lambda: 0) as base:
        tables = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
        present = {row[1].lower() for row in base.execute(f"PRAGMA table_info({_TABLE})")}
        if missing := [column for _, column in _COLUMNS.values() if column not in present]:
            got = f"no column {', '.join(missing)}" if present else f"tables {', '.join(sorted(tables)) or '(none)'}"
            raise DataError(
                f"{path} is not the YFCC100M database",
                expected=f"a table {_TABLE} with the 23 columns of the publication",
                got=got,
                action="Name the right file",
            )
        try:
            base.execute(f"SELECT rowid FROM {_TABLE} LIMIT 1").fetchone()  # noqa: S608
        except sqlite3.OperationalError as error:
            raise DataError(
                f"{path} has no rowids in {_TABLE}: {error}",
                expected="an ordinary table",
                action="Name the original file",
            ) from error
