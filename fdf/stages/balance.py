"""Keeping owners and conditions from taking over: caps per owner and per cell of a pose × size × brightness grid.

Which faces stay under a cap is decided by a hash of their id: a uniform sample, the same in every run, blind to looks.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import Field

from fdf.stages.base import Config
from fdf.stages.rules import FaceView

_YAW_EDGES: Final = (-60.0, -30.0, -10.0, 10.0, 30.0, 60.0)
_SIZE_EDGES: Final = (32.0, 64.0, 128.0, 256.0)
_BRIGHTNESS_EDGES: Final = (60.0, 100.0, 140.0, 180.0)


class BalanceConfig(Config):
    """Caps; 0 is no cap."""

    max_per_owner: int = Field(0, ge=0, description="Most faces of one owner.")
    max_per_cell: int = Field(
        0, ge=0, description="Most faces in one cell of the grid of yaw, face size and brightness."
    )
    seed: str = Field("fdf", description="Changes which faces stay under a cap.")


def cell(face: FaceView) -> str:
    """The grid cell of a face, for example `yaw[-10,10) size[64,128) light[100,140)`."""
    yaw = "yaw?" if face.yaw is None else f"yaw{_interval(face.yaw, _YAW_EDGES)}"
    return f"{yaw} size{_interval(face.size, _SIZE_EDGES)} light{_interval(face.brightness, _BRIGHTNESS_EDGES)}"


def over_cap(
    faces: Iterable[FaceView], group: Callable[[FaceView], Any], cap: int, seed: str
) -> dict[tuple[str, str], tuple[Any, int]]:
    """Key of a face → (its group, size of the group) for the faces that a cap leaves out."""
    if not cap:
        return {}
    left_out: dict[tuple[str, str], Any] = {}
    sizes: Counter[Any] = Counter()
    for face in sorted(faces, key=lambda face: (lot(face.face_id, seed), face.key)):
        key = group(face)
        sizes[key] += 1
        if sizes[key] > cap:
            left_out[face.key] = key
    return {face: (key, sizes[key]) for face, key in left_out.items()}


def lot(text: str, seed: str) -> str:
    """A number drawn for `text`, as hex: uniform, and the same for the same seed everywhere."""
    return hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=12).hexdigest()


def _interval(value: float, edges: tuple[float, ...]) -> str:
    index = bisect_right(edges, value)
    low = f"{edges[index - 1]:g}" if index else ""
    high = f"{edges[index]:g}" if index < len(edges) else ""
    return f"[{low},{high})"
