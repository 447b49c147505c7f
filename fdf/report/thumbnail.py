"""Small pictures for the page: a crop of a stored photo as a `data:` URI."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fdf.errors import DataError
from fdf.store.archives import ArchiveReader
from fdf.vision.crop import Pixels, cut
from fdf.vision.picture import decode

SIDE: Final = 208
"""Pixels of the largest thumbnail: sharp at the 150–170 CSS pixels it is shown at, and small."""

_QUALITY: Final = 78


class Thumbnails:
    """Cuts faces out of the photos of a build; keeps the last photo, as faces of one often follow each other."""

    def __init__(self, root: Path, places: Mapping[str, Mapping[str, Any]]) -> None:
        self._archives, self._places = ArchiveReader(root), places
        self._last: tuple[str, Pixels] | None = None

    def uri(self, photo_id: str, crop: Sequence[int]) -> str:
        """The crop as a JPEG without metadata; empty if the photo's bytes are gone or damaged."""
        from PIL import Image

        try:
            pixels = self._pixels(photo_id)
        except (DataError, KeyError):
            return ""  # originals may have been removed after the shards were made: the rest of the page still stands
        picture = Image.fromarray(cut(pixels, crop))
        if picture.width > SIDE:
            picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    def _pixels(self, photo_id: str) -> Pixels:
        if self._last is None or self._last[0] != photo_id:
            place = self._places[photo_id]
            data = self._archives.read(place["archive"], place["offset"], place["length"])
            self._last = photo_id, decode(data, place["width"] * place["height"]).pixels
        return self._last[1]
