"""Rows of small pictures with a word beside them, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from fdf.errors import MachineError
from fdf.store.files import write_bytes
from fdf.vision.base import Pixels

_CELL: Final = 128
_GAP: Final = 6
_HEAD: Final = 26
_MARGIN: Final = 56


def write_grid(path: Path, columns: Sequence[str], rows: Sequence[tuple[Sequence[Pixels], str]]) -> None:
    """Write rows of (pictures, label) under column titles.

    Raises:
        MachineError: the file can't be written.
    """
    import cv2

    step = _CELL + _GAP
    page = np.full((_HEAD + step * len(rows), _MARGIN + step * len(columns), 3), 255, dtype=np.uint8)
    for column, title in enumerate(columns):
        _write(page, title, _MARGIN + column * step, _HEAD - 9)
    for row, (pictures, label) in enumerate(rows):
        top = _HEAD + row * step
        _write(page, label, 8, top + _CELL // 2)
        for column, picture in enumerate(pictures):
            left = _MARGIN + column * step
            how = cv2.INTER_AREA if picture.shape[0] > _CELL else cv2.INTER_CUBIC
            page[top : top + _CELL, left : left + _CELL] = cv2.resize(picture, (_CELL, _CELL), interpolation=how)
    good, data = cv2.imencode(".png", page[..., ::-1])
    if not good:
        raise MachineError(f"{path} can't be encoded as a PNG")
    write_bytes(path, data.tobytes())


def _write(page: Pixels, text: str, x: int, y: int) -> None:
    import cv2

    cv2.putText(page, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (60, 60, 60), 1, cv2.LINE_AA)
