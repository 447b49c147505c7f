"""Picture files ↔ frames of pixels. What is not meant to be kept is never carried over, so it can't slip through.

A `Still` is one frame with the samples its file had (grey, 16-bit grey, CMYK, transparency), upright. A `Document` is what a
file held: its frames, their timing, its colour profile. `encode` writes new files from nothing but these.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence, features

from fdf.anonymize.metadata import ALLOWED, Found, clean_profile, inventory
from fdf.errors import DataError, MachineError, UsageError
from fdf.vision.base import Pixels
from fdf.vision.picture import FORMATS, MAX_PIXELS, PictureError, opened, to_rgb, upright
from fdf.vocabulary import Reason

MAX_FRAMES_PIXELS: Final = 2 * MAX_PIXELS
"""Cap on width × height × frames of an animation or a multi-page file."""

SUFFIXES: Final = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""Suffix of a file → Pillow's name of its format."""

_KEPT: Final = {
    "JPEG": {"L", "RGB", "CMYK"},
    "PNG": {"L", "LA", "I;16", "RGB", "RGBA"},
    "GIF": {"L", "RGB", "RGBA"},
    "WEBP": {"RGB", "RGBA"},
    "TIFF": {"L", "LA", "I;16", "RGB", "RGBA", "CMYK"},
    "BMP": {"L", "RGB"},
    "AVIF": {"RGB", "RGBA"},
    "HEIF": {"RGB", "RGBA"},
}
_MANY: Final = frozenset({"GIF", "WEBP", "PNG", "TIFF"})  # may hold several frames
_QUALITY: Final = 95


class NoReaderError(MachineError):
    """What reads this kind of file is not installed."""


@dataclass(frozen=True, eq=False)
class Still:
    """One upright frame.

    Attributes:
        rgb: uint8 (H, W, 3), as a browser shows it on white.
        samples: as they are kept: (H, W) uint8 or uint16 grey, (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) CMYK or
            RGBA; which of them says `mode`.
        mode: `L`, `I;16`, `LA`, `RGB`, `RGBA` or `CMYK`.
        seconds: how long it is shown in an animation.
    """

    rgb: Pixels
    samples: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    mode: str
    seconds: float = 0.0

    @property
    def alpha(self) -> Pixels | None:
        """The alpha channel, None if there is none or nothing is transparent."""
        if self.mode not in {"LA", "RGBA"}:
            return None
        channel = self.samples[..., -1].astype(np.uint8)
        return None if (channel == 255).all() else channel


@dataclass(frozen=True, eq=False)
class Document:
    """What a picture file held.

    Attributes:
        format: Pillow's name of it.
        stills: its frames or pages, at least one.
        profile: its colour profile, cleaned, or None.
        loop: how often an animation runs, 0 for ever; None if it is none.
        lossless: whether its pixels came without loss (WebP).
        chroma: subsampling of a JPEG: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
        found: what else the file held.
        notes: what could not be kept, in words.
    """

    format: str
    stills: list[Still]
    profile: bytes | None = None
    loop: int | None = None
    lossless: bool = False
    chroma: int = 2
    found: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def readable() -> tuple[str, ...]:
    """The formats that can be read and written here; AVIF and HEIC depend on what is installed."""
    more = ["AVIF"] if features.check("avif") else []
    return (*FORMATS, *more, *(["HEIF"] if _heif() else []))


def _heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def format_of(path: str | PurePath) -> str | None:
    """The format that a suffix stands for, None if for none."""
    return SUFFIXES.get(PurePath(path).suffix.lower())


def read(data: bytes, max_pixels: int = MAX_PIXELS) -> Document:
    """Every frame of a picture file.

    Raises:
        PictureError: the bytes give no picture, or a larger one than allowed.
        NoReaderError: AVIF or HEIC, and what reads it is not installed.
    """
    formats = readable()
    for name, brands, package in (("AVIF", (b"avif", b"avis"), "pillow"), ("HEIF", (b"hei", b"mif1"), "pillow-heif")):
        if name not in formats and data[4:8] == b"ftyp" and data[8:12].startswith(brands):
            raise NoReaderError(
                f"{name} pictures can't be read here", action=f"Install {package}, or convert the picture"
            )
    notes: list[str] = []
    with opened(data, max_pixels, formats) as image:
        kind = {"MPO": "JPEG"}.get(str(image.format), str(image.format))
        frames = getattr(image, "n_frames", 1)
        if kind not in _MANY and frames > 1:
            notes.append(f"{frames - 1} more pictures in the file left out")
            frames = 1
        if frames * image.width * image.height > MAX_FRAMES_PIXELS:
            raise PictureError(
                Reason.DECOMPRESSION_BOMB,
                f"{kind} of {frames} frames of {image.width}×{image.height} pixels, cap {MAX_FRAMES_PIXELS} in all",
            )
        animated = frames > 1 and kind != "TIFF"
        profile, chroma, loop = image.info.get("icc_profile"), _chroma(image), image.info.get("loop")
        turned = upright(image)
        stills: list[Still] = []
        pixels = 0
        for frame in ImageSequence.Iterator(image) if frames > 1 else [image]:
            pixels += frame.width * frame.height
            if pixels > MAX_FRAMES_PIXELS or frame.width * frame.height > max_pixels:
                raise PictureError(Reason.DECOMPRESSION_BOMB, f"page {len(stills) + 1} of {frame.width}×{frame.height}")
            frame.load()
            stills.append(_still(frame, turned, data, notes, rgba=animated))
    clean = clean_profile(profile, stills[0].mode)
    if profile and clean is None:
        notes.append("colour profile damaged or of another colour space: left out")
    if animated and loop is None:
        loop = 1 if kind == "GIF" else 0
    return Document(
        kind,
        stills,
        clean,
        int(loop or 0) if animated else None,
        (b"VP8L" in data and b"VP8 " not in data) or kind not in {"WEBP", "JPEG", "AVIF", "HEIF"},
        chroma,
        inventory(data),
        list(dict.fromkeys(notes)),
    )


def _chroma(image: Image.Image) -> int:
    if str(image.format) not in {"JPEG", "MPO"}:
        return 2
    from PIL import JpegImagePlugin

    return max(0, int(JpegImagePlugin.get_sampling(image)))


def _still(image: Image.Image, turned: Image.Transpose | None, data: bytes, notes: list[str], *, rgba: bool) -> Still:
    seconds = float(image.info.get("duration", 0) or 0) / 1000
    kept = _native(image, data, notes)
    if rgba and kept.mode != "RGBA":
        kept = kept.convert("RGBA")
    rgb = to_rgb(kept)
    if turned is not None:
        kept, rgb = kept.transpose(turned), rgb.transpose(turned)
    samples = np.array(kept)
    if kept.mode in {"LA", "RGBA"}:
        # What lies under full transparency is invisible, and may be a face.
        samples[samples[..., -1] == 0] = 0
    return Still(np.array(rgb, dtype=np.uint8), samples, kept.mode, seconds)


def _native(image: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """The frame in one of the modes of `Still`."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return Image.fromarray(grey)
    deep = (image.format == "PNG" and data[24:25] == b"\x10") or (
        image.format == "TIFF" and 16 in tuple(getattr(image, "tag_v2", {}).get(258, ()))
    )
    if deep:
        notes.append("16 bits a sample became 8")
    if mode in {"RGBA", "LA", "La", "RGBa", "PA"} or "transparency" in image.info:
        return image.convert("LA" if mode in {"LA", "La"} or mode == "L" else "RGBA")
    if mode in {"L", "RGB", "CMYK"}:
        copy = image.copy()
        copy.info = {}
        return copy
    if mode == "1":
        return image.convert("L")
    if mode not in {"P", "YCbCr"}:
        notes.append(f"samples of mode {mode} became RGB")
    return to_rgb(image)


def hidden(still: Still, picture: Pixels, touched: npt.NDArray[np.bool_]) -> Still:
    """A frame with the pixels of an anonymized picture where it was touched, in the frame's own kind of samples.

    Touched pixels become opaque: the shape of a cut-out is a silhouette.
    """
    samples = still.samples.copy()
    new = Image.fromarray(picture)
    if still.mode == "I;16":
        samples[touched] = np.asarray(new.convert("L"), dtype=np.uint16)[touched] * 257
    elif still.mode in {"LA", "RGBA"}:
        flat = np.asarray(new.convert("L"))[..., None] if still.mode == "LA" else picture
        samples[..., :-1][touched] = flat[touched]
        samples[..., -1][touched] = 255
    else:
        samples[touched] = np.asarray(new if still.mode == "RGB" else new.convert(still.mode))[touched]
    rgb = np.where(touched[..., None], picture, still.rgb)
    return replace(still, rgb=rgb, samples=samples)


def views(still: Still) -> list[Pixels]:
    """RGB pictures in which faces must be looked for: transparency can show another one on every background."""
    alpha = still.alpha
    if alpha is None:
        return [still.rgb]
    raw = np.ascontiguousarray(
        np.repeat(still.samples[..., :1], 3, 2) if still.mode == "LA" else still.samples[..., :3]
    )
    plain = raw.astype(np.uint8)
    black = np.rint(plain * (alpha[..., None] / np.float32(255))).astype(np.uint8)
    every = [still.rgb, black, plain, np.ascontiguousarray(np.repeat(alpha[..., None], 3, axis=2))]
    return [view for index, view in enumerate(every) if not any(np.array_equal(view, old) for old in every[:index])]


def encode(document: Document, kind: str, quality: int = _QUALITY) -> bytes:
    """A new file of format `kind` from a document's frames, its timing and its colour profile, and of nothing else.

    Raises:
        UsageError: several frames, and a format that holds one.
        DataError: the encoder refuses, or its file holds something that it should not.
    """
    if len(document.stills) > 1 and (kind not in _MANY or (document.loop is None) != (kind == "TIFF")):
        what = "animation" if document.loop is not None else "file of several pages"
        raise UsageError(
            f"{kind} can't hold this {what} of {len(document.stills)} frames",
            action=f"Write it as {document.format}: give the output the suffix of the input",
        )
    images = [_image(still, kind) for still in document.stills]
    settings = _settings(document, kind, quality)
    profile = clean_profile(document.profile, images[0].mode) if document.profile else None
    if profile and kind not in {"GIF", "BMP"}:
        settings["icc_profile"] = profile
    file = io.BytesIO()
    try:
        images[0].save(file, kind, append_images=images[1:], **settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"A picture of {images[0].width}×{images[0].height} pixels can't be written as {kind}",
            got=str(error),
            action="Choose another format by the suffix of the output",
        ) from error
    out = file.getvalue()
    left = [str(found) for found in inventory(out) if found.what not in ALLOWED]
    if left:
        raise DataError(f"The {kind} encoder wrote what it should not", got=", ".join(left), action="Please report it")
    return out


def _image(still: Still, kind: str) -> Image.Image:
    mode = still.mode
    if mode in _KEPT[kind]:
        samples = still.samples
    elif mode == "LA" and "RGBA" in _KEPT[kind]:
        grey = still.samples[..., :1]
        samples, mode = np.concatenate([grey, grey, grey, still.samples[..., 1:]], axis=2), "RGBA"
    else:
        samples, mode = still.rgb, "RGB"
    if mode == "CMYK":
        return Image.fromarray(np.ascontiguousarray(samples), mode="CMYK")
    return Image.fromarray(np.ascontiguousarray(samples))


def _settings(document: Document, kind: str, quality: int) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if len(document.stills) > 1:
        settings["save_all"] = True
        if document.loop is not None:
            settings |= {"duration": [round(still.seconds * 1000) for still in document.stills], "loop": document.loop}
        if kind == "GIF":
            settings["disposal"] = 2
    if kind == "JPEG":
        settings |= {"quality": quality, "subsampling": min(document.chroma, 2), "optimize": True}
    elif kind == "WEBP":
        settings |= {"lossless": True} if document.lossless else {"quality": quality, "method": 4}
    elif kind in {"AVIF", "HEIF"}:
        settings |= {"quality": min(quality, 90)}
    elif kind == "TIFF":
        settings |= {"compression": "tiff_adobe_deflate"}
    return settings


def same_file(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, through links too."""
    with contextlib.suppress(OSError):
        return os.path.samefile(first, second)  # noqa: PTH121 - either may be a string
    return os.path.abspath(first) == os.path.abspath(second)  # noqa: PTH100


def suits(document: Document, kind: str) -> Sequence[str]:
    """What a format can't keep of a document, in words."""
    lost = []
    for still in document.stills[:1]:
        if still.mode not in _KEPT[kind]:
            what = {"CMYK": "CMYK became RGB", "I;16": "16-bit grey became 8-bit RGB", "LA": "", "L": ""}.get(
                still.mode
            )
            lost.append("transparency became white" if what is None and still.mode == "RGBA" else what or "")
            if still.mode == "LA" and "RGBA" not in _KEPT[kind]:
                lost.append("transparency became white")
    return [words for words in lost if words]
