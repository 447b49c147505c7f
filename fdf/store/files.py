"""Writing files so that a half-written one is never taken for a whole one.

Data goes to a temporary name in the same folder, is flushed to the disk, then renamed: a reader sees the old file, the new
file or none. It is locked meanwhile, so that what a killed run left can be told from what a living one writes. Disk refusals
(full, read-only, forbidden) become one clear `MachineError`.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fdf.errors import MachineError

TEMPORARY = ".part-"
"""Marks a temporary name: `<name>.part-<8 hex digits>`."""

_WINDOWS = os.name == "nt"  # where nobody can rename or remove an open file: being open is the lock
_DIGITS = 8
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
    with disk_errors(path):
        temporary, file = _open_temporary(path)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if not _WINDOWS:
                    temporary.replace(path)  # before the lock goes
            if _WINDOWS:
                temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file atomically."""
    with atomic_file(path) as file:
        file.write(data)


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `atomic_file` gives, such as `a.jpg.part-0123abcd`; `a.part-2.jpg` is not."""
    return fnmatch.fnmatchcase(name, f"?*{TEMPORARY}{'[0-9a-f]' * _DIGITS}")


@contextlib.contextmanager
def locked(folder: Path, busy: str, action: str) -> Iterator[None]:
    """One process at a time in a folder; the lock goes with the process, however it ends.

    Args:
        folder: there already.
        busy: what to say if another process holds it.
        action: what to do then.

    Raises:
        MachineError: another process holds it, or the folder can't be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        with disk_errors(folder):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise MachineError(busy, action=action) from error
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files that a killed run left in `folder` and below; returns how many. Those of a living run stay."""
    leftovers = [path for path in folder.rglob(f"*{TEMPORARY}*") if is_temporary(path.name)]
    return sum(_remove(path) for path in leftovers)


def remove_leftovers_of(path: Path) -> None:
    """Remove temporary files that killed runs left beside one file. Those of a living run stay."""
    for left in path.parent.glob(f"{glob.escape(path.name)}{TEMPORARY}{'?' * _DIGITS}"):
        if is_temporary(left.name):
            _remove(left)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """A new temporary file for `path`, locked until it is closed."""
    while True:
        temporary = path.with_name(f"{path.name}{TEMPORARY}{secrets.token_hex(_DIGITS // 2)}")
        file = temporary.open("xb")
        _lock(file, wait=True)
        if temporary.exists():
            return temporary, file
        file.close()  # another process took it for a leftover before it was locked


def _remove(path: Path) -> bool:
    """Remove a temporary file unless somebody is writing it, or it is another user's; whether it was removed."""
    if path.is_symlink() or not path.is_file():
        return False
    with contextlib.suppress(PermissionError, FileNotFoundError), contextlib.ExitStack() as stack:  # not found: renamed
        if _WINDOWS or _lock(stack.enter_context(path.open("r+b")), wait=False):  # NFS locks only what may be written
            path.unlink()
            return True
    return False


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    """Lock a file until it is closed; False if somebody else holds it. Where there are no locks: True."""
    if _WINDOWS:
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError | PermissionError)  # the latter from shares (SMB)
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows can't open folders and doesn't need it."""
    if _WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
