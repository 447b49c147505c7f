"""A half-written file is never taken for a whole one."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.errors import MachineError
from fdf.store.files import (
    TEMPORARY,
    atomic_file,
    is_temporary,
    make_folder,
    remove_leftovers,
    remove_leftovers_of,
    write_bytes,
)

HOLD = """
import sys
from pathlib import Path
from fdf.store.files import atomic_file

with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


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


@given(st.text(min_size=1).filter(lambda name: "/" not in name), st.binary(min_size=4, max_size=4))
def test_only_whole_temporary_names_at_the_end_count(name: str, number: bytes) -> None:
    assert is_temporary(f"{name}{TEMPORARY}{number.hex()}")
    for other in (
        f"{number.hex()}.jpg",
        number.hex()[1:],
        f"{number.hex()}0",
        f"{number.hex()}\n",
        "0123abcg",
        "0123ABCD",
    ):
        assert not is_temporary(f"{name}{TEMPORARY}{other}")
    assert not is_temporary(f"{TEMPORARY}{number.hex()}")


def test_leftovers_are_found_at_any_depth_and_nothing_else_goes(tmp_path: Path) -> None:
    own = {"my notes.part-1.txt", "holiday.part-3.jpg", "a/b/x", "a/x.part-old", "a/x.part-0123abcd.tar", "y.part-2/z"}
    left = {"x.part-0123abcd", "a/b/x.part-00000000", "holiday.part-3.jpg.part-deadbeef", "y.part-2/z.part-89abcdef"}
    for name in own | left:
        make_folder((tmp_path / name).parent)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.part-0123abcd").mkdir()
    (tmp_path / "link.part-0123abcd").symlink_to(tmp_path / "a/b/x")
    assert remove_leftovers(tmp_path) == len(left)
    assert names(tmp_path) == own | {"link.part-0123abcd"}
    assert (tmp_path / "folder.part-0123abcd").is_dir()


def test_leftovers_of_one_file_are_its_own(tmp_path: Path) -> None:
    own = {"a[1].png", "a[1].png.part-holidays", "a[1].png.part-2.part-0123abcd", "a1.png.part-0123abcd"}
    for name in own | {"a[1].png.part-0123abcd"}:
        (tmp_path / name).write_bytes(b"")
    remove_leftovers_of(tmp_path / "a[1].png")
    assert names(tmp_path) == own


def test_what_another_process_writes_stays_until_it_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(tmp_path / "film")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"writing"
            (live,) = names(tmp_path)
            assert remove_leftovers(tmp_path) == 0
            remove_leftovers_of(tmp_path / "film")
            assert names(tmp_path) == {live}
        finally:
            process.kill()
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == set()


def test_a_file_gets_its_name_before_its_lock_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def late(temporary: Path, path: Path) -> Path:
        assert remove_leftovers(tmp_path) == 0
        return replace(temporary, path)

    monkeypatch.setattr(Path, "replace", late)
    write_bytes(tmp_path / "film", b"whole")
    assert (tmp_path / "film").read_bytes() == b"whole"


def test_a_temporary_file_taken_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock, removed = fcntl.flock, []

    def late(file: object, how: int) -> None:
        if not removed:
            removed.append(0)
            removed[0] = remove_leftovers(tmp_path)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_bytes(tmp_path / "film", b"whole")
    assert removed == [1]
    assert (tmp_path / "film").read_bytes() == b"whole"
    assert names(tmp_path) == {"film"}


@pytest.mark.parametrize(("number", "goes"), [(errno.ENOLCK, 1), (errno.EWOULDBLOCK, 0), (errno.EACCES, 0)])
def test_without_locks_leftovers_go_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, goes: int
) -> None:
    """ENOLCK: the file system has no locks. The others: somebody has the lock; shares say EACCES."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(_: object, how: int) -> None:
        raise OSError(number, "as the kernel says")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_bytes(tmp_path / "film", b"whole")
    (tmp_path / "film.part-0123abcd").write_bytes(b"half")
    assert remove_leftovers(tmp_path) == goes
    assert (tmp_path / "film").read_bytes() == b"whole"


def test_where_nobody_removes_an_open_file_that_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    live, unlink = tmp_path / "film.part-0123abcd", Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == live:
            raise PermissionError(errno.EACCES, "used by another process")
        unlink(path, missing_ok)

    monkeypatch.setattr("fdf.store.files._WINDOWS", True)
    monkeypatch.setattr(Path, "unlink", refuse)
    write_bytes(tmp_path / "film", b"whole")
    live.write_bytes(b"half")
    (tmp_path / "film.part-00000000").write_bytes(b"half")
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == {"film", live.name}
