"""A half-written file is never taken for a whole one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fdf.errors import MachineError
from fdf.store.files import TEMPORARY, atomic_file, make_folder, remove_leftovers, write_bytes


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/file"
    write_bytes(path, b"old")
    with atomic_file(path) as file:
        file.write(b"ne")
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def half(file) -> None:
        file.write(b"half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), atomic_file(path) as file:
        half(file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "refuses to take more .*Free some space"),
        (errno.EDQUOT, "refuses to take more"),
        (errno.EACCES, "Can't write .*may write to"),
        (errno.EROFS, "Can't write"),
    ],
)
def test_what_the_disk_refuses_is_said(tmp_path: Path, number: int, said: str) -> None:
    with pytest.raises(MachineError, match=said), atomic_file(tmp_path / "file"):
        raise OSError(number, "as the kernel says")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="Choose another place"):
        make_folder(tmp_path / "file/folder")


def test_leftovers_are_found_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / f"a/b/x{TEMPORARY}1234").write_bytes(b"")
    (tmp_path / "a/b/x").write_bytes(b"")
    assert remove_leftovers(tmp_path) == 1
    assert (tmp_path / "a/b/x").exists()
