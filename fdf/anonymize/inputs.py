"""Which files a folder or a glob pattern means, and what they are called below the output.

What an earlier run wrote is no input: a folder with the journal of one is passed over whole, and is in the list itself, so that
a report can name it. Only who names such a folder means it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

from fdf.anonymize.codecs import format_of
from fdf.errors import UsageError
from fdf.store.files import is_temporary

JOURNAL: Final = "fdf-anonymize.jsonl"
"""What a run writes into its output folder, to go on by and to know it again."""
VIDEOS: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp"}
    | {".ogv", ".mxf", ".vob"}
)
"""Suffixes that are handed to `fdf.anonymize.video`."""


def find_sources(source: str | Path, target: Path) -> list[tuple[Path, str]]:
    """The files of a folder (all below it) or of a glob pattern, with their names below `target`, sorted.

    Among them are links to folders, and folders that an earlier run wrote: nobody follows them.

    Raises:
        UsageError: nothing there, or input and output lie inside one another in a way that would mix them.
    """
    if (format_of(target) is not None or is_video(target)) and not target.is_dir():
        raise UsageError(
            f"{source} is more than one file", expected="a folder for the output", got=str(target),
            action="Name a folder with -o",
        )  # fmt: skip
    root, outer = Path(source), target.resolve()
    if not root.is_dir():
        return _matches(str(source), target)
    inner = root.resolve()
    if inner == outer or inner.is_relative_to(outer):
        raise UsageError(
            "The output folder holds the input",
            expected="a folder of its own",
            got=str(target),
            action="Choose another one with -o: originals and anonymized pictures must not mix",
        )
    return list(_walk(inner, outer))


def is_pattern(source: str) -> bool:
    """Whether a name has the characters of a glob pattern and is no file itself."""
    return glob.has_magic(source) and not Path(source).exists()


def is_video(path: str | Path) -> bool:
    """Whether a file is a film, by its suffix."""
    return Path(path).suffix.lower() in VIDEOS


def is_written(folder: Path) -> bool:
    """Whether an earlier run wrote a folder: its journal lies there."""
    return os.path.isfile(folder / JOURNAL)  # noqa: PTH113 - nor is one that can't be entered


def _walk(root: Path, target: Path) -> Iterator[tuple[Path, str]]:
    """All files below `root`, and the folders that are not entered: links and what an earlier run wrote.

    Without what is hidden or half-written.
    """
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        inside = sorted(f for f in folders if (here / f).resolve() != target and not f.startswith("."))
        closed = [name for name in inside if (here / name).is_symlink() or is_written(here / name)]
        folders[:] = [name for name in inside if name not in closed]
        files = [name for name in names if not name.startswith(".") and not is_temporary(name)]
        for name in sorted(files + closed):
            yield here / name, (here / name).relative_to(root).as_posix()


def _matches(pattern: str, target: Path) -> list[tuple[Path, str]]:
    """The files that fit a pattern; after them the folders of earlier runs that others lie in."""
    paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207 - it may be absolute
    files = [path for path in paths if path.is_file()]
    if not files:
        raise UsageError(f"{pattern}: no such file, and no file fits it as a pattern")
    root, outer = (
        Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)).resolve(),
        target.resolve(),
    )
    written = {path: folder for path in files if (folder := _written_above(path, root)) is not None}
    files = [path for path in files if path not in written]
    inside = [path for path in files if path.resolve().is_relative_to(outer)]
    if inside and not is_written(outer):
        raise UsageError(
            "The output folder holds the input",
            expected="a folder of its own, with nothing in it that fits the pattern",
            got=f"{inside[0]} in {target}",
            action="Choose another one with -o: originals and anonymized pictures must not mix",
        )
    files = [path for path in files if path not in inside]
    earlier = sorted({folder for folder in written.values() if not folder.is_relative_to(outer)})
    if not files:
        raise UsageError(
            f"{pattern}: only what earlier runs wrote fits this pattern",
            got=", ".join(map(str, earlier)) or str(target),
            action="To anonymize that again, name its folder" if earlier else "",
        )
    fixed = Path(os.path.commonpath([path.parent.resolve() for path in files]))
    found = [(path, (path.parent.resolve() / path.name).relative_to(fixed).as_posix()) for path in files]
    return found + [
        (one, one.relative_to(root).as_posix() if one.is_relative_to(root) else str(one)) for one in earlier
    ]


def _written_above(path: Path, root: Path) -> Path | None:
    """The outermost folder of an earlier run that a file lies in; `root` was named, so neither it nor what holds it counts."""
    parent = path.parent.resolve()
    above = [folder for folder in (parent, *parent.parents) if not root.is_relative_to(folder)]
    return next((folder for folder in reversed(above) if is_written(folder)), None)
