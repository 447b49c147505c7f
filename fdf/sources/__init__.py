"""Where photo records come from: one file per origin."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fdf.errors import UsageError
from fdf.sources.base import Batch, Source
from fdf.sources.photo_list import open_photo_list
from fdf.sources.yfcc import open_yfcc

__all__ = ["KINDS", "Batch", "Source", "open_source"]

KINDS: Final[dict[str, Callable[..., Source]]] = {"yfcc": open_yfcc, "photo_list": open_photo_list}
"""Kinds of source, as a recipe names them. A new origin is one file and one row here."""


def open_source(kind: str, path: Path, **options: object) -> Source:
    """Open a source of photo records.

    Args:
        kind: one of `KINDS`.
        path: its file.
        options: `name` (of the source, default its kind), and what the kind itself takes; see `docs/sources.md`.

    Raises:
        UsageError: no such kind, option or file.
        DataError: the file is empty, damaged at its beginning, or of another format.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no source kind {kind!r}", expected=_list(KINDS), action=_did_you_mean(kind, KINDS))
    opener = KINDS[kind]
    known = [name for name in inspect.signature(opener).parameters if name != "path"]
    for option in options:
        if option not in known:
            raise UsageError(
                f"Source {kind!r} has no option {option!r}", expected=_list(known), action=_did_you_mean(option, known)
            )
    return opener(Path(path), **options)


def _list(names: Iterable[str]) -> str:
    return "one of " + ", ".join(names)


def _did_you_mean(word: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else "Correct the recipe's [source]"
