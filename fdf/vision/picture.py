"""Bytes → an upright RGB picture, or the reason why not.

Every later stage sees pictures only as `decode` gives them: EXIF orientation applied, RGB, uint8, (H, W, 3). What the
file held is mapped as a browser would show it: transparent pixels on white, CMYK and palettes converted, the first frame
of an animation, the high byte of 16-bit samples.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, _imaging

from fdf.errors import DataError
from fdf.vocabulary import Reason

Pixels = npt.NDArray[np.uint8]

FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
"""What is accepted; everything else Pillow could open (EPS, PSD, …) is `not_an_image`."""

MAX_PIXELS: Final = 120_000_000
"""Default cap on width × height: 360 MB of RGB."""

_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright RGB `pixels`, uint8 (H, W, 3), and the `format` of its file."""

    pixels: Pixels
    format: str

    @property
    def width(self) -> int:
        """Width of the upright picture."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height of the upright picture."""
        return int(self.pixels.shape[0])


class PictureError(DataError):
    """These bytes give no picture; `reason` is the drop they become and `detail` says what exactly was seen."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"The bytes give no picture ({reason.value}): {detail}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.detail)


def _silence_libtiff() -> None:
    """libtiff prints its errors on stderr, through any progress bar; Pillow raises them as well, so nothing is lost."""
    # Not in every build of Pillow does its extension lead to libtiff's symbols: then it goes on printing.
    with contextlib.suppress(AttributeError, OSError):
        handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        handler(None)


_silence_libtiff()


class _Quiet:
    """Silences Pillow's own warnings while any thread decodes: `warnings.catch_warnings` alone is not thread-safe."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.Lock(), 0
        self._saved: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._depth == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    self._saved.__exit__(None, None, None)


quiet = _Quiet()
"""`with quiet():` silences Pillow's warnings; files in any state are its daily bread here."""


def read_header(data: bytes) -> tuple[str, int, int]:
    """Format, width and height as the header states them (before EXIF orientation); no pixel is decoded.

    Raises:
        PictureError: `not_an_image`, `truncated`, `undecodable`, or `decompression_bomb` beyond Pillow's own limit.
    """
    with quiet():
        image = _open(data)
        return str(image.format), image.width, image.height


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a picture to upright RGB.

    Args:
        data: the bytes of the file.
        max_pixels: cap on width × height, checked on the header before any pixel is decoded.

    Raises:
        PictureError: with the reason `truncated`, `not_an_image`, `undecodable` or `decompression_bomb`.
    """
    with opened(data, max_pixels) as image:
        image.load()
        turned = upright(image)
        rgb = to_rgb(image)
        if turned is not None:
            rgb = rgb.transpose(turned)
        return Picture(np.array(rgb, dtype=np.uint8), str(image.format))


@contextmanager
def opened(data: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Pillow's picture of a file, for those who need more of it than its RGB; nothing is decoded yet.

    Args:
        data: the bytes of the file.
        max_pixels: cap on width × height of the header.
        formats: Pillow's names of the formats that are accepted.

    Raises:
        PictureError: as `decode` does, for whatever goes wrong while the picture is open.
    """
    with quiet():
        image = _open(data, formats)
        kind = str(image.format)
        if image.width * image.height > max_pixels:
            raise PictureError(
                Reason.DECOMPRESSION_BOMB, f"{kind} of {image.width}×{image.height} pixels, cap {max_pixels}"
            )
        try:
            yield image
        except PictureError:
            raise
        except (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            IndexError,
            KeyError,
            TypeError,
            struct.error,
            RuntimeError,
        ) as error:
            raise _failure(data, kind, error) from error
        except Image.DecompressionBombError as error:
            raise PictureError(Reason.DECOMPRESSION_BOMB, str(error)) from error


def pixel_sha256(pixels: Pixels) -> str:
    """SHA-256 of `<width>x<height>` and the RGB bytes: equal for the same picture in any lossless file."""
    _check_rgb(pixels)
    digest = hashlib.sha256(f"{pixels.shape[1]}x{pixels.shape[0]}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def phash(pixels: Pixels) -> int:
    """64-bit perceptual hash: luminance at 32×32, DCT-II, the 8×8 lowest frequencies against their median.

    Near-equal pictures differ in few bits (`hamming`). Integer arithmetic throughout, so that every machine gives the same
    hash. The scheme is the common one (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions").
    """
    _check_rgb(pixels)
    small = Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    basis = _dct_rows()
    low: npt.NDArray[np.int64] = basis @ np.asarray(small, dtype=np.int64) @ basis.T
    ordered = np.sort(low, axis=None)
    bits = (2 * low > ordered[31] + ordered[32]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(first: int, second: int) -> int:
    """Number of bits in which two perceptual hashes differ, 0–64."""
    return (first ^ second).bit_count()


@lru_cache(maxsize=1)
def _dct_rows() -> npt.NDArray[np.int64]:
    k, n = np.arange(8)[:, None], np.arange(32)[None]
    rows: npt.NDArray[np.int64] = np.rint(np.cos(np.pi * k * (2 * n + 1) / 64) * 4096).astype(np.int64)
    return rows


def _check_rgb(pixels: Pixels) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"Expected an RGB picture, uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}.")


def _open(data: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    kind = _magic(data)
    if kind is None or kind not in formats:
        start = data[:16]
        raise PictureError(Reason.NOT_AN_IMAGE, f"{len(data)} bytes that start with {start!r}" if data else "0 bytes")
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise PictureError(Reason.DECOMPRESSION_BOMB, str(error)) from error
    except UnidentifiedImageError as error:
        raise _failure(data, kind, ValueError(f"no readable {kind} header")) from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        struct.error,
        RuntimeError,
    ) as error:
        raise _failure(data, kind, error) from error


def _magic(data: bytes) -> str | None:
    """Format by the first bytes, so that a cut picture is told from a page of HTML."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:12] in {b"avif", b"avis"} else "HEIF"
    starts = {b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    starts |= {b"II+\0": "TIFF", b"MM\0+": "TIFF", b"BM": "BMP"}
    return next((kind for start, kind in starts.items() if data.startswith(start)), None)


def _failure(data: bytes, kind: str, error: Exception) -> PictureError:
    message = str(error) or type(error).__name__
    if "truncated" in message.lower() or isinstance(error, EOFError) or _ends_early(data, kind):
        return PictureError(Reason.TRUNCATED, f"{kind} of {len(data)} bytes ends early: {message}")
    return PictureError(Reason.UNDECODABLE, f"{kind} of {len(data)} bytes: {message}")


def _ends_early(data: bytes, kind: str) -> bool:
    """Whether the end that the format demands is missing."""
    if kind == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    if kind == "GIF":
        return b";" not in data[-8:]
    if kind == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if kind == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    if kind in {"AVIF", "HEIF"}:
        return False
    return len(data) < int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big")  # first IFD of a TIFF


def upright(image: Image.Image) -> Image.Transpose | None:
    """What turns a picture's pixels as its EXIF orientation wants; None if they stand already."""
    return _UPRIGHT.get(_orientation(image))


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow's TIFF reader has turned the pixels itself
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture; Pillow raises a dozen kinds here
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB of a picture of any mode, as the module's docstring says."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(np.clip(np.nan_to_num(np.asarray(image)), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
