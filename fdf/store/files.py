"""Writing files so that a half-written one is never taken for a whole one.

Data goes to a temporary name in the same folder, is flushed to the disk, then renamed: a reader sees the old file, the new
file or none. Disk refusals (full, read-only, forbidden) become one clear `MachineError`.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fdf.errors import MachineError

TEMPORARY = ".part-"
"""Marks a temporary name: `<name>.part-<random>`."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into a `MachineError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MachineError(
                f"The disk that holds {path} refuses to take more ({error.strerror})",
                action="Free some space (or lift the quota) and run the same command again: "
                "finished partitions are kept, only the one being written is redone",
            ) from error
        if error.errno in _FORBIDDEN:
            raise MachineError(
                f"Can't write {path} ({error.strerror})",
                expected="a folder that this user may write to",
                action="Choose another place, or change its permissions",
            ) from error
        if error.errno == errno.ENOENT:
            raise MachineError(
                f"Can't write {path} ({error.strerror})",
                expected="a place on a file system that takes files",
                action="Choose another place",
            ) from error
        if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}:
            raise MachineError(
                f"Can't write {path} ({error.strerror})",
                expected="a folder, or a name that is still free",
                action="Choose another place",
            ) from error
        raise


def make_folder(path: Path) -> Path:
    """Make a folder and its parents; say clearly if that can't be done."""
    try:
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(
            f"Can't make the folder {path} ({error.strerror})",
            expected="a place on a file system that takes folders",
            action="Choose another place",
        ) from error
    return path


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the name `path` when the block ends without an error.

    The file is flushed to the disk before it is renamed, and the folder after it; on an error the temporary file is removed.
    """
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}{TEMPORARY}{secrets.token_hex(4)}")
    with disk_errors(path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file atomically."""
    with atomic_file(path) as file:
        file.write(data)


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files that a killed run left in `folder` and below; returns how many."""
    leftovers = [path for path in folder.rglob(f"*{TEMPORARY}*") if path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def remove_leftovers_of(path: Path) -> None:
    """Remove temporary files that killed runs left beside one file."""
    for left in path.parent.glob(f"{glob.escape(path.name)}{TEMPORARY}*"):
        left.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows can't open folders and doesn't need it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
