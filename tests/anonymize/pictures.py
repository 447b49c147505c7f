"""Pictures and files for the tests of the anonymizer, all made in code."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from fdf.anonymize.base import Face, Job, Replacement
from fdf.vision.base import Pixels
from tests.conftest import ROOT

ASTRONAUT = ROOT / "tests/data/astronaut.png"


def noise(height: int = 60, width: int = 80, seed: int = 0, channels: int = 3) -> Any:
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def face(*box: float, **more: Any) -> Face:
    return Face(np.array(box, dtype=np.float32), **more)


class Fixed:
    """A finder that says always the same, and counts how often it was asked."""

    def __init__(self, *faces: Face) -> None:
        self.faces, self.asked = list(faces), 0

    def find(self, picture: Pixels) -> list[Face]:  # noqa: ARG002
        self.asked += 1
        return self.faces


class Broken:
    """A method that does whatever the test wants."""

    name = "broken"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        return self.answer(picture, jobs) if callable(self.answer) else self.answer  # type: ignore[no-any-return]


def encoded(pixels: Any, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **settings)
    return file.getvalue()


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation: int = 1) -> Image.Exif:
    """Everything that a camera and a careless programme write."""
    found = Image.Exif()
    found[0x0112], found[0x010F], found[0x0110] = orientation, "SecretMake", "SecretModel"
    found[0x013B], found[0x010E] = "SecretArtist", "SecretDescription"
    found.get_ifd(0x8769).update({0x927C: b"SecretMakerNote", 0xA431: "SecretSerial", 0x9003: "2020:01:01 00:00:00"})
    half = IFDRational(1, 2)
    found.get_ifd(0x8825).update({1: "N", 2: (half, half, half), 3: "E", 4: (half, half, half)})
    return found


def segment(marker: int, part: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(part) + 2) + part


def exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """An APP1 segment with IFD1 and a JPEG in it, as cameras write it."""
    ifd0 = struct.pack("<H", 0) + struct.pack("<I", 14)
    at = 14 + 2 + 3 * 12 + 4
    rows = [(0x0103, 3, 1, 6), (0x0201, 4, 1, at), (0x0202, 4, 1, len(thumbnail))]
    ifd1 = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *row) for row in rows) + struct.pack("<I", 0)
    return segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd0 + ifd1 + thumbnail)


def resource(kind: int, part: bytes) -> bytes:
    return b"8BIM" + struct.pack(">H", kind) + b"\0\0" + struct.pack(">I", len(part)) + part + b"\0" * (len(part) % 2)


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def loaded_jpeg(pixels: Any) -> bytes:
    """A JPEG with all that a JPEG can carry, and a film behind its end."""
    jpeg = encoded(pixels, "JPEG", quality=90, exif=exif(), icc_profile=srgb(), comment=b"SecretComment")
    thumbnail = encoded(pixels[::4, ::4], "JPEG")
    iptc = b"\x1c\x02\x50" + struct.pack(">H", 12) + b"SecretByline"
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>SecretXmp</x:xmpmeta>"
    photoshop = b"Photoshop 3.0\0" + resource(1028, iptc) + resource(1036, bytes(28) + thumbnail)
    jumbf = b"JP\0\1\0\0\0\1" + struct.pack(">I", 40) + b"jumb" + struct.pack(">I", 32) + b"jumdc2paSecretClaim12345"
    parts = [exif_with_thumbnail(thumbnail), segment(0xE1, xmp), segment(0xED, photoshop), segment(0xEB, jumbf)]
    return with_segments(jpeg, *parts) + struct.pack(">I", 16) + b"ftypmp42SecretFilm"


def chunk(kind: bytes, part: bytes) -> bytes:
    import zlib

    return struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))


def loaded_png(pixels: Any) -> bytes:
    png = encoded(pixels, "PNG", exif=exif(), icc_profile=srgb())
    texts = chunk(b"tEXt", b"Author\0SecretAuthor") + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0SecretXmp")
    texts += (
        chunk(b"zTXt", b"Comment\0\0x\x9c\x03\0\0\0\0\1") + chunk(b"tIME", bytes(7)) + chunk(b"caBX", b"SecretC2pa")
    )
    return png[:33] + texts + png[33:] + b"SecretTrailer"
