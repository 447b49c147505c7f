"""Files that come with fdf: `bundled:sample/…` in a recipe."""

from __future__ import annotations

from pathlib import Path

from fdf.errors import UsageError

PREFIX = "bundled:"
_DATA = Path(__file__).resolve().parent.parent / "data"


def resolve(path: str, base: Path) -> Path:
    """The file that a recipe names: `bundled:…` inside fdf, else relative to `base` (the recipe's folder).

    Raises:
        UsageError: a bundled name that would leave fdf's data.
    """
    if not path.startswith(PREFIX):
        return (base / Path(path).expanduser()).resolve()
    found = (_DATA / path.removeprefix(PREFIX)).resolve()
    if not found.is_relative_to(_DATA):
        raise UsageError(
            f"{path!r} leaves fdf's own data", expected="a name below fdf/data, such as bundled:sample/mirror"
        )
    return found
