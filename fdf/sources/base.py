"""What every origin of photo records offers, and the bytes-to-lines part that the text formats share.

A source reads; it judges nothing. It yields one row of `RECORDS` for every record it finds, in order: a record that can't be
read has its `problem` and nothing else. Only a file that is damaged or foreign as a whole is an error.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import DataError, UsageError
from fdf.schema import RECORDS

MAX_LINE: Final = 1 << 20
"""Longest line, in bytes; what is longer is a record with a problem and is never held in memory."""

MAX_BATCH: Final = 64 << 20
"""A batch is closed early when its lines pass this many bytes, so that memory stays bounded whatever the lines."""

TEXT_COLUMNS: Final = tuple(name for name in RECORDS.names if name not in ("line_index", "problem"))


@dataclass(frozen=True)
class Batch:
    """A run of records, as cut in the main process and parsed by a worker. Picklable.

    Args:
        first_line: `line_index` of its first record.
        rows: how many records.
        payload: what the source's own `parse` needs: raw bytes, or a range to read.
    """

    first_line: int
    rows: int
    payload: bytes | tuple[int, int]


@runtime_checkable
class Source(Protocol):
    """An origin of photo records. Implementations are picklable: workers get a copy."""

    @property
    def name(self) -> str:
        """Name of the source, as in the recipe."""

    def files(self) -> tuple[Path, ...]:
        """The files it reads; their digests go into the receipts."""

    def batches(self, rows: int) -> Iterator[Batch]:
        """Cut the source into batches of `rows` records (the last, and one full of huge lines, are shorter).

        In order and in constant memory. Raises:
            DataError: the file is damaged; says how far it could be read.
        """

    def parse(self, batch: Batch) -> pa.Table:
        """The records of a batch, as `RECORDS`: `batch.rows` rows, in order."""


@dataclass(frozen=True)
class FileSource:
    """What sources of a single file share.

    Args:
        path: the file.
        name: name of the source.
    """

    path: Path
    name: str

    def files(self) -> tuple[Path, ...]:
        """The file itself."""
        return (self.path,)


# --- files -----------------------------------------------------------------------------------------------------------

_FOREIGN: Final = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xfd7zXZ\x00", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF"),
    (b"<", "HTML or XML"),
)
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_DAMAGE: Final = (EOFError, OSError, zlib.error)


def check_readable(path: Path) -> None:
    """Refuse a path that is not a readable file with something in it."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", expected="a metadata file", action="Name the file itself")
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path} is empty", expected="photo records", action="Download it again")
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist", expected="a metadata file", action="Check `path` in the recipe's [source]"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", action="Check its permissions") from error


def magic(path: Path) -> bytes:
    """The first 16 bytes of a file as it lies on the disk."""
    with path.open("rb") as file:
        return file.read(16)


class _Unpacked(io.RawIOBase):
    """A decompressing file that hands over what it has before it reports damage."""

    def __init__(self, file: bz2.BZ2File | gzip.GzipFile) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_stream(path: Path) -> io.BufferedReader:
    """The decompressed bytes of a plain, bzip2 or gzip file, told apart by content and never by name."""
    head = magic(path)
    if head.startswith(b"BZh"):
        return io.BufferedReader(_Unpacked(bz2.open(path)), 1 << 20)
    if head.startswith(b"\x1f\x8b"):
        return io.BufferedReader(_Unpacked(gzip.open(path)), 1 << 20)
    return io.BufferedReader(io.FileIO(path), 1 << 20)


def lines(path: Path) -> Iterator[bytes]:
    r"""The lines of a file, each ending in one "\n"; an over-long one is cut to a little more than `MAX_LINE`.

    Without a byte-order mark, and with or without a line end after the last. Raises:
        DataError: the compressed stream is damaged or cut; says how far it could be read.
    """
    count = size = 0
    with open_stream(path) as stream:
        try:
            if stream.peek(3).startswith(_UTF8_BOM):
                stream.read(3)
            line = stream.readline(MAX_LINE + 2)
            while line:
                size += len(line)
                if not line.endswith(b"\n"):
                    rest = line
                    while rest and not rest.endswith(b"\n"):
                        rest = stream.readline(MAX_LINE)
                        size += len(rest)
                    line += b"\n"
                yield line
                count += 1
                line = stream.readline(MAX_LINE + 2)
        except _DAMAGE as error:
            raise DataError(
                f"{path} is damaged or incomplete: {error}",
                expected="a whole compressed file",
                got=f"{count:,} lines ({size:,} bytes after decompression) before the damage",
                action="Download it again and compare its checksum with the publisher's",
            ) from error


def too_long(line: bytes) -> bool:
    """Whether a line from `lines`, with its end, is over `MAX_LINE`."""
    return len(line.removesuffix(b"\n").removesuffix(b"\r")) > MAX_LINE


def batches_of(groups: Iterable[tuple[int, bytes]], rows: int) -> Iterator[Batch]:
    """Batches of `rows` records out of (records, bytes) pieces; closed early at `MAX_BATCH` bytes."""
    if rows < 1:
        raise UsageError(f"A batch of {rows} records can't be read", expected="1 or more")
    first = held = size = 0
    pieces: list[bytes] = []
    for records, piece in groups:
        pieces.append(piece)
        held += records
        size += len(piece)
        if held >= rows or size >= MAX_BATCH:
            yield Batch(first, held, b"".join(pieces))
            first, held, size, pieces = first + held, 0, 0, []
    if held:
        yield Batch(first, held, b"".join(pieces))


def check_format(path: Path, expected: str) -> None:
    """Refuse a file whose first bytes show another format, and a compressed one that can't be opened at all."""
    head = magic(path)
    if not head.startswith((b"BZh", b"\x1f\x8b")):
        _refuse_foreign(path, head, expected)
        return
    try:
        with open_stream(path) as stream:
            head = stream.read(16)
    except _DAMAGE as error:
        raise DataError(
            f"{path} is damaged or incomplete: {error}",
            expected="a whole compressed file",
            got="not one line before the damage",
            action="Download it again and compare its checksum with the publisher's",
        ) from error
    _refuse_foreign(path, head, expected)


def _refuse_foreign(path: Path, head: bytes, expected: str) -> None:
    for start, what in _FOREIGN:
        if head.removeprefix(_UTF8_BOM).startswith(start):
            raise DataError(f"{path} is of another format", expected=expected, got=what, action="Name the right file")


# --- tables ----------------------------------------------------------------------------------------------------------


def as_text(values: pa.Array, nul: bool = True) -> pa.Array:
    """Bytes or text as `string`: what is no UTF-8, and every NUL, becomes U+FFFD, the empty string null.

    `nul=False` skips the search for NULs where none can be.
    """
    if (
        pa.types.is_binary(values.type)
        or pa.types.is_large_binary(values.type)
        or pa.types.is_fixed_size_binary(values.type)
    ):
        try:
            values = pc.cast(values, pa.string())
        except pa.ArrowInvalid:
            values = pa.array(
                [None if value is None else value.decode("utf-8", "replace") for value in values.to_pylist()],
                pa.string(),
            )
    elif not pa.types.is_string(values.type):
        values = pc.cast(values, pa.string())
    if nul and pc.any(pc.match_substring(values, "\x00")).as_py():
        values = pc.replace_substring(values, "\x00", "\ufffd")
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def clean(text: str) -> str:
    """`text` without what UTF-8 can't hold: lone surrogates become U+FFFD."""
    return text if text.isprintable() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def records(first_line: int, rows: int, columns: dict[str, Any], problem: pa.Array | None = None) -> pa.Table:
    """A RECORDS table of `rows` rows; columns that are not given are null."""
    data = {
        "line_index": pa.array(range(first_line, first_line + rows), pa.int64()),
        "problem": pa.nulls(rows, pa.string()) if problem is None else problem,
    } | columns
    return pa.table([data.get(name, pa.nulls(rows, pa.string())) for name in RECORDS.names], schema=RECORDS)
