"""Typed Parquet files and the digest of what they say.

Two digests: the file's SHA-256 (does the disk still hold what was written?) and the *content* digest of the columns that two
identical runs must agree on (volatile ones left out). Stages are chained by content, so a picture fetched again at another
hour does not make every later stage stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fdf.errors import DataError
from fdf.schema import volatile_columns
from fdf.store.files import atomic_file

_ROW_GROUP = 100_000


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file atomically (zstd); same table, same pyarrow: same bytes."""
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP, version="2.6")


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file and check that it has `schema`.

    Raises:
        DataError: the file is missing, damaged or of another schema.
    """
    try:
        found = pq.read_schema(path)
        if not found.equals(schema):
            raise DataError(
                f"{path} has another schema than this version of fdf writes",
                expected=", ".join(f"{f.name}: {f.type}" for f in schema if f.name not in found.names)
                or str(schema.names),
                got=", ".join(f"{f.name}: {f.type}" for f in found if f not in list(schema)) or str(found.names),
                action="Build again with --rebuild, or read it with the fdf version that its receipt names",
            )
        # One file is one file: `partitioning=None` keeps pyarrow from reading columns out of folder names.
        return pq.read_table(path, columns=list(columns) if columns is not None else None, partitioning=None)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", action="Run the stage that writes it again: `fdf build`") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file ({error})", action="Remove it and build again") from error


def read_tables(paths: Iterable[Path], schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Concatenate several partitions of one table; an empty table of that schema if there are none."""
    parts = [read_table(path, schema, columns) for path in paths]
    if parts:
        return pa.concat_tables(parts)
    empty = schema.empty_table()
    return empty.select(list(columns)) if columns is not None else empty


def make_table(schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Make a table of exactly `schema` from rows; a missing or surplus key is an error of the caller."""
    listed = list(rows)
    names = set(schema.names)
    for row in listed[:1]:
        if set(row) != names:
            raise ValueError(f"row has {sorted(set(row) ^ names)} too many or too few")
    return pa.Table.from_pylist(listed, schema=schema)


def content_digest(table: pa.Table) -> str:
    """SHA-256 of the values of all columns that are not volatile, in hex.

    Of a table as read from its file: a table fresh from computations may hold the same values in other buffers.
    """
    stable = table.drop_columns(volatile_columns(table.schema)).combine_chunks()
    digest = hashlib.sha256()
    with pa.ipc.new_stream(_HashSink(digest), stable.schema) as writer:
        for batch in stable.to_batches():
            writer.write_batch(batch)
    return digest.hexdigest()


class _HashSink:
    """A file object that only hashes."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing to flush."""

    def close(self) -> None:
        """Nothing to close."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
