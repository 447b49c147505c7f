"""Reading the picture of a FETCHED row, so that damage is named where it is met."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from fdf.errors import DataError
from fdf.stages.base import Blobs
from fdf.vision.picture import PictureError, Pixels, decode

_ACTION: Final = "`fdf validate` names the file; build again from fetch with --from fetch --rebuild"


def read_picture(blobs: Blobs, place: Mapping[str, Any]) -> Pixels:
    """The upright pixels of a photo.

    Args:
        blobs: the archives.
        place: a row of FETCHED; its `sha256` is checked where the row has that column.

    Raises:
        DataError: the archive doesn't hold the bytes that were fetched, or they can't be decoded.
    """
    name = f"Photo {place['photo_id']} in {place['archive']}"
    data = blobs.read(place["archive"], place["offset"], place["length"])
    try:
        # `fetch` has already refused bombs; the cap is what it let through.
        pixels = decode(data, place["width"] * place["height"]).pixels
    except PictureError as error:
        raise DataError(
            f"{name} can't be decoded ({error.reason.value})",
            expected=f"a picture of {place['width']}×{place['height']} pixels",
            got=error.detail,
            action=_ACTION,
        ) from error
    if place.get("sha256") and (digest := hashlib.sha256(data).hexdigest()) != place["sha256"]:
        promised = f", pixels with sha256 {place['pixel_sha256']}" if place.get("pixel_sha256") else ""
        raise DataError(
            f"{name} is not the one that was fetched",
            expected=f"bytes with sha256 {place['sha256']}{promised}",
            got=f"bytes with sha256 {digest}",
            action=_ACTION,
        )
    return pixels
