"""Original bytes, untouched, in plain tar files: one a partition, no folder of a million files.

A tar is written front to back under a temporary name. Readers need no index: FETCHED holds offset and length of each
member's bytes.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fdf.errors import DataError
from fdf.store.files import atomic_file


def tar_member(name: str, size: int) -> tarfile.TarInfo:
    """Header of a member whose bytes depend on its name and size alone (no time, no user): same content, same tar."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 0, 0o644
    return info


class ArchiveWriter:
    """Appends members to one tar; `add` says where the bytes lie."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self._file = file
        # USTAR where it fits: readable by everything, no extra headers to change the offset.
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by `open_archive`

    def add(self, name: str, data: bytes) -> tuple[str, int, int]:
        """Append a member; returns (archive name, offset of the first byte, length)."""
        self._tar.addfile(tar_member(name, len(data)), io.BytesIO(data))
        padded = -len(data) % tarfile.BLOCKSIZE
        return self.name, self._tar.offset - len(data) - padded, len(data)

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


@contextlib.contextmanager
def open_archive(path: Path, name: str) -> Iterator[ArchiveWriter]:
    """Write a tar that takes its name when the block ends well. `name` is how tables refer to it."""
    with atomic_file(path) as file:
        writer = ArchiveWriter(file, name)
        yield writer
        writer.close()


class ArchiveReader:
    """Reads members by offset and length from the archives below a build folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, archive: str, offset: int, length: int) -> bytes:
        """Bytes of one member.

        Raises:
            DataError: the archive is missing or shorter than its table says.
        """
        path = self._root / archive
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(length)
        except OSError as error:
            raise DataError(f"{path} can't be read ({error.strerror})", action="Build again from fetch") from error
        if len(data) != length:
            raise DataError(
                f"{path} ends early",
                expected=f"{length} bytes at {offset}",
                got=f"{len(data)}",
                action="`fdf validate` names all damaged files; rebuild from fetch",
            )
        return data
