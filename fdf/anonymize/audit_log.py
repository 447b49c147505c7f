"""Who was shown, who was not, and why: one JSON object a line, appended before the output gets its name.

A batch of lines is written under a lock, flushed to the disk, and taken back if the disk refuses a part of it; the last line of
a run that was killed is closed first. So several runs can share a log, and every line in it is whole or stands alone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fdf.errors import MachineError
from fdf.store.files import disk_errors, make_folder


class AuditLog:
    """A log that is only ever added to. Only its owner may read it: it says who is where.

    Args:
        path: the file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows; each gets the time, UTC, as its first key.

        Raises:
            MachineError: the disk refuses; nothing of the batch is in the log then.
        """
        if not rows:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        lines = [json.dumps({"time": now, **row}, ensure_ascii=False, allow_nan=False) for row in rows]
        data = ("\n".join(lines) + "\n").encode()
        make_folder(self.path.parent)
        try:
            with disk_errors(self.path), _opened(self.path) as descriptor:
                _append(descriptor, data)
        except OSError as error:
            raise MachineError(f"The audit log {self.path} can't be written", got=error.strerror or "") from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, oldest first; a line that a killed run left half is passed over."""
    rows = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(ImportError):
            import fcntl  # its lock ends with the descriptor

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _append(descriptor: int, data: bytes) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size:
        os.lseek(descriptor, size - 1, os.SEEK_SET)
        if os.read(descriptor, 1) != b"\n":
            data = b"\n" + data
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
