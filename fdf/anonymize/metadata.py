"""What a picture file says besides its pixels: what is there, so that the report can name it, and the colour profile, cleaned.

Files are written anew from pixels, so nothing of this has to be removed: it is never copied. `inventory` names what a file
holds, by kind and without the values, which are exactly what nobody should pass on. It never fails: what it can't read it
calls damaged. After writing it is the judge of the output: nothing but `ALLOWED` may be in it.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from PIL import ExifTags, Image, ImageCms

from fdf.vision.picture import quiet


@dataclass(frozen=True, order=True)
class Found:
    """Something in a file besides its pixels: `what` it is, and its size in bytes (0 where it is part of another)."""

    what: str
    size: int

    def __str__(self) -> str:
        return f"{self.what} ({self.size:,} bytes)" if self.size else self.what


PROFILE: Final = "ICC profile"
ALLOWED: Final = frozenset({PROFILE})
"""What an anonymized file may hold besides pixels."""

_MAX_PROFILE: Final = 4 << 20
_ADOBE_RESOURCES: Final = {
    1028: "IPTC",
    1033: "Photoshop thumbnail",
    1036: "Photoshop thumbnail",
    1058: "EXIF",
    1060: "XMP",
}


def inventory(data: bytes) -> list[Found]:
    """What a file of any format holds besides its pixels, sorted, each kind once with its sizes added up."""
    sizes: dict[str, int] = {}
    try:
        with quiet():
            for what, size in _walk(data):
                sizes[what] = sizes.get(what, 0) + size
    except (struct.error, IndexError, ValueError, OverflowError):
        sizes["damaged metadata"] = 0
    return [Found(what, size) for what, size in sorted(sizes.items())]


def _walk(data: bytes) -> Iterator[tuple[str, int]]:
    if data[:2] == b"\xff\xd8":
        yield from _jpeg(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(data)
    elif data[:4] == b"RIFF":
        yield from _webp(data)
    elif data[:3] == b"GIF":
        yield from _gif(data)
    elif data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        yield from _tiff(data)
    elif data[4:8] == b"ftyp":
        yield from _boxes(data)
    elif data[:2] == b"BM":
        length = int.from_bytes(data[2:6], "little")
        if 0 < length < len(data):
            yield "trailing data", len(data) - length


def _jpeg(data: bytes) -> Iterator[tuple[str, int]]:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker in {0xFF, 0x00, 0x01} or 0xD0 <= marker <= 0xD8:  # filler, stuffing, restarts
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        part = data[at + 4 : at + 2 + length]
        yield from _segment(marker, part)
        at += 2 + max(length, 2)
    end = at + 2
    if end < len(data) and data[at : at + 2] == b"\xff\xd9":
        yield from _trailer(data[end:])


def _trailer(data: bytes) -> Iterator[tuple[str, int]]:
    if data.strip(b"\0\r\n \xff"):
        video, picture = b"ftyp" in data[:64], data[:2] == b"\xff\xd8"
        yield "trailing data" + (" (a film)" if video else " (another picture)" if picture else ""), len(data)


def _segment(marker: int, part: bytes) -> Iterator[tuple[str, int]]:
    size = len(part)
    if marker == 0xFE:
        yield "comment", size
    elif marker == 0xE1 and part.startswith(b"Exif\0"):
        yield from _exif(part[6:], size)
    elif marker == 0xE1 and part.startswith((b"http://ns.adobe.com/xap/", b"http://ns.adobe.com/xmp/")):
        yield "XMP", size
    elif marker == 0xE2 and part.startswith(b"ICC_PROFILE\0"):
        yield PROFILE, size
    elif marker == 0xE2 and part.startswith(b"MPF\0"):
        yield "MPF (more pictures in the file)", size
    elif marker == 0xE0 and part.startswith((b"JFXX", b"JFIF")):
        thumbnail = part.startswith(b"JFXX") or (len(part) > 14 and part[12] * part[13] > 0)
        if thumbnail:
            yield "JFIF thumbnail", size
    elif marker == 0xEB and (b"jumb" in part[:64] or b"c2pa" in part[:256]):
        yield "C2PA (JUMBF)", size
    elif marker == 0xED:
        yield from _photoshop(part)
    elif 0xE0 <= marker <= 0xEF and not (marker == 0xEE and part.startswith(b"Adobe") and size <= 12):
        name = "".join(chr(c) for c in part[:12].split(b"\0")[0] if 32 < c < 127)
        yield f"APP{marker - 0xE0}" + (f" {name}" if name else ""), size


def _photoshop(part: bytes) -> Iterator[tuple[str, int]]:
    at, named = part.find(b"8BIM"), False
    while at >= 0 and at + 12 <= len(part):
        kind = int.from_bytes(part[at + 4 : at + 6], "big")
        name = part[at + 6] + 1
        at_size = at + 6 + name + name % 2
        size = int.from_bytes(part[at_size : at_size + 4], "big")
        if kind in _ADOBE_RESOURCES:
            yield _ADOBE_RESOURCES[kind], size
            named = True
        at = part.find(b"8BIM", at_size + 4 + size)
    if not named:
        yield "Photoshop resources", len(part)


def _png(data: bytes) -> Iterator[tuple[str, int]]:
    names = {b"eXIf": "EXIF", b"iCCP": PROFILE, b"caBX": "C2PA (JUMBF)", b"tIME": "time of the last change"}
    plain = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"}
    at = 8
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        part = data[at + 8 : at + 8 + size]
        if kind == b"eXIf":
            yield from _exif(part, size)
        elif kind in {b"tEXt", b"zTXt", b"iTXt"}:
            keyword = part.split(b"\0")[0][:79].decode("latin-1")
            xmp, raw = keyword == "XML:com.adobe.xmp", keyword.lower().startswith("raw profile")
            yield ("XMP" if xmp else keyword if raw else f"text {keyword!r}"), size
        elif kind not in plain:
            yield names.get(kind, f"chunk {kind.decode('latin-1')!r}"), size
        at += 12 + size
        if kind == b"IEND":
            break
    if at < len(data):
        yield from _trailer(data[at:])


def _webp(data: bytes) -> Iterator[tuple[str, int]]:
    names = {b"XMP ": "XMP", b"ICCP": PROFILE, b"C2PA": "C2PA (JUMBF)"}
    plain = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
    at, end = 12, min(len(data), int.from_bytes(data[4:8], "little") + 8)
    while at + 8 <= end:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"EXIF":
            yield from _exif(data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0"), size)
        elif kind not in plain:
            yield names.get(kind, f"chunk {kind.decode('latin-1')!r}"), size
        at += 8 + size + size % 2
    if end < len(data):
        yield from _trailer(data[end:])


def _gif(data: bytes) -> Iterator[tuple[str, int]]:
    def blocks(at: int) -> int:
        while data[at]:
            at += data[at] + 1
        return at + 1

    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:
            kind, end = data[at + 1], blocks(at + 2)
            label = data[at + 3 : at + 14]
            if kind == 0xFE:
                yield "comment", end - at
            elif kind == 0x01:
                yield "plain text", end - at
            elif kind == 0xFF and label not in {b"NETSCAPE2.0", b"ANIMEXTS1.0"}:
                name = "".join(chr(c) for c in label if 32 <= c < 127)
                yield "XMP" if name.startswith("XMP") else PROFILE if name.startswith("ICC") else name, end - at
            at = end
        elif data[at] == 0x2C:
            flags = data[at + 9]
            at = blocks(at + 11 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0))
        else:
            raise ValueError("no GIF block")
    if at + 1 < len(data):
        yield from _trailer(data[at + 1 :])


# Tags of a TIFF that describe how its pixels are stored.
_PIXEL_TAGS: Final = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 292, 293, 296, 297}
    | {301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 332, 338, 339, 340, 341, 347, 512, 513, 514, 519, 520, 521}
    | {529, 530, 531, 532}
)
_TIFF_NAMES: Final = {700: "XMP", 33723: "IPTC", 34377: "Photoshop resources", 34675: PROFILE, 330: "sub-picture"}


def _tiff(data: bytes) -> Iterator[tuple[str, int]]:
    for tags in _ifds(data):
        for tag, size in tags.items():
            if tag in {34665, 34853}:
                yield ("EXIF" if tag == 34665 else "GPS"), 0
            elif tag not in _PIXEL_TAGS:
                yield _TIFF_NAMES.get(tag, f"tag {ExifTags.TAGS.get(tag, tag)}"), size


def _ifds(data: bytes) -> Iterator[dict[int, int]]:
    """Tag → bytes of its values, for the directories of a TIFF (not of a BigTIFF, which Pillow seldom meets)."""
    order = "<" if data[:2] == b"II" else ">"
    widths = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
    seen: set[int] = set()
    (at,) = struct.unpack(order + "I", data[4:8])
    while at and at not in seen and at + 2 <= len(data):
        seen.add(at)
        (count,) = struct.unpack(order + "H", data[at : at + 2])
        tags = {}
        for k in range(count):
            tag, kind, number = struct.unpack(order + "HHI", data[at + 2 + 12 * k : at + 10 + 12 * k])
            tags[tag] = number * widths.get(kind, 1)
        yield tags
        (at,) = struct.unpack(order + "I", data[at + 2 + 12 * count : at + 6 + 12 * count])


def _boxes(data: bytes) -> Iterator[tuple[str, int]]:
    """AVIF and HEIC: items by their names; their sizes lie elsewhere in the file."""
    head = data[: 1 << 16]
    for mark, what in (
        (b"Exif", "EXIF"),
        (b"application/rdf+xml", "XMP"),
        (b"jumb", "C2PA (JUMBF)"),
        (b"prof", PROFILE),
    ):
        if mark in head:
            yield what, 0
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if kind == b"uuid":
            yield "private box", size
        if size < 8:
            break
        at += size


def _exif(data: bytes, size: int) -> Iterator[tuple[str, int]]:
    """EXIF and the parts of it that people ask about."""
    yield "EXIF", size
    exif = Image.Exif()
    try:
        exif.load(data)
        inner: dict[int, Any] = dict(exif.get_ifd(ExifTags.IFD.Exif))
        tags = {**dict(exif), **inner}
        gps, second = exif.get_ifd(ExifTags.IFD.GPSInfo), dict(exif.get_ifd(ExifTags.IFD.IFD1))
    except Exception:  # Pillow raises a dozen kinds on damaged EXIF
        yield "EXIF: damaged", 0
        return
    base = ExifTags.Base
    if gps:
        yield "EXIF: GPS", 0
    if 513 in second or 0x0201 in second or second:
        yield "EXIF: thumbnail", int(second.get(514, 0)) if isinstance(second.get(514, 0), int) else 0
    parts = {
        "maker note": (base.MakerNote,),
        "camera": (base.Make, base.Model, base.LensModel),
        "serial number": (base.BodySerialNumber, base.LensSerialNumber, base.CameraSerialNumber, base.ImageUniqueID),
        "names": (base.Artist, base.Copyright, base.CameraOwnerName, base.XPAuthor),
        "times": (base.DateTime, base.DateTimeOriginal, base.DateTimeDigitized),
        "texts": (
            base.ImageDescription,
            base.UserComment,
            base.XPComment,
            base.XPTitle,
            base.XPSubject,
            base.XPKeywords,
        ),
        "software": (base.Software, base.HostComputer),
    }
    for what, wanted in parts.items():
        if any(tag in tags for tag in wanted):
            yield f"EXIF: {what}", 0


# ICC.1:2022, 8 and 9: what a colour engine needs. Left out: descriptions of devices, calibration tables, private tags.
_PROFILE_TAGS: Final = frozenset(
    b"rXYZ gXYZ bXYZ wtpt bkpt rTRC gTRC bTRC kTRC chad cicp lumi gamt "
    b"A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3".split()
)
_SPACES: Final = {"RGB": b"RGB ", "RGBA": b"RGB ", "L": b"GRAY", "LA": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK"}


def clean_profile(profile: object, mode: str) -> bytes | None:
    """A colour profile written anew: only what a colour engine needs, without names, dates and ids.

    Args:
        profile: what the file held.
        mode: Pillow's mode of the picture that it will go with.

    Returns:
        None if there is none, it is damaged, or it is of another colour space than the picture.
    """
    if not isinstance(profile, bytes) or not 132 <= len(profile) <= _MAX_PROFILE or mode not in _SPACES:
        return None
    if profile[16:20] != _SPACES[mode] or profile[36:40] != b"acsp":
        return None
    with contextlib.suppress(struct.error, ImageCms.PyCMSError, OSError, ValueError):
        clean = _rebuilt(profile)
        ImageCms.ImageCmsProfile(io.BytesIO(clean))
        return clean
    return None


def _rebuilt(profile: bytes) -> bytes:
    (count,) = struct.unpack(">I", profile[128:132])
    if count > 200:
        raise ValueError("no profile has that many tags")
    kept: list[tuple[bytes, bytes]] = []
    for k in range(count):
        name, at, size = struct.unpack(">4sII", profile[132 + 12 * k : 144 + 12 * k])
        part = profile[at : at + size]
        if name in _PROFILE_TAGS:
            if len(part) != size or size < 8:
                raise ValueError("a tag reaches over the end")
            kept.append((name, part))
    if not kept:
        raise ValueError("no colours in it")
    text = "colour profile".encode("utf-16-be")
    words = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
    if profile[8] < 4:  # version 2: another type of text
        ascii_text = b"colour profile\0"
        words = b"desc" + struct.pack(">II", 0, len(ascii_text)) + ascii_text + bytes(4 + 4 + 2 + 1 + 67)
    right = words if profile[8] >= 4 else b"text" + bytes(4) + b"not stated\0"
    kept += [(b"desc", words), (b"cprt", right)]
    table, body, placed = b"", b"", {}
    start = 132 + 12 * len(kept)
    for name, part in kept:
        if part not in placed:  # the three curves are often one
            placed[part] = start + len(body)
            body += part + bytes(-len(part) % 4)
        table += struct.pack(">4sII", name, placed[part], len(part))
    head = bytearray(profile[:128])
    head[4:8] = bytes(4)  # colour engine
    head[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # date
    head[40:64] = profile[40:44] + bytes(4) + bytes(4) + bytes(4) + bytes(8)  # flags, maker, model, attributes
    head[40:44] = bytes(4)
    head[80:128] = bytes(48)  # creator, id, reserved
    head[0:4] = struct.pack(">I", start + len(body))
    return bytes(head) + struct.pack(">I", len(kept)) + table + body
