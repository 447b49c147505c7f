import hashlib
import io
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fdf.vision.picture import PictureError, decode, hamming, phash, pixel_sha256, read_header
from fdf.vocabulary import Reason

NOISE = np.random.default_rng(5).integers(0, 256, (24, 31, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:60:2, 0:200:4], 90), axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def reason_of(data: bytes, **options: int) -> Reason:
    with pytest.raises(PictureError) as caught:
        decode(data, **options)
    assert caught.value.detail
    return caught.value.reason


def outcome(data: bytes) -> Reason | tuple[int, ...]:
    try:
        return decode(data, max_pixels=100_000).pixels.shape
    except PictureError as error:
        return error.reason


def png_header(width: int, height: int) -> bytes:
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + b"\0\0\0\x0aIDAT"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_lossless_formats_give_the_same_pixels_and_hash(kind):
    picture = decode(encoded(Image.fromarray(NOISE), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert picture.format == kind
    assert (picture.width, picture.height) == (31, 24)
    assert np.array_equal(picture.pixels, NOISE)
    assert picture.pixels.flags.writeable
    assert pixel_sha256(picture.pixels) == hashlib.sha256(b"31x24" + NOISE.tobytes()).hexdigest()


@given(orientation=st.integers(1, 8), kind=st.sampled_from(["PNG", "TIFF", "WEBP"]))
@settings(max_examples=24)
def test_every_exif_orientation_gives_the_same_upright_pixels(orientation, kind):
    # How a camera that was held so would have stored NOISE: the inverse of what EXIF tells a viewer to do.
    stored = {
        1: NOISE, 2: NOISE[:, ::-1], 3: NOISE[::-1, ::-1], 4: NOISE[::-1], 5: NOISE.transpose(1, 0, 2),
        6: np.rot90(NOISE, 1), 7: NOISE[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(NOISE, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert np.array_equal(decode(data).pixels, NOISE)


def test_damaged_exif_costs_nothing():
    data = encoded(Image.fromarray(SMOOTH), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x99")
    assert decode(data).pixels.shape == SMOOTH.shape


def test_other_modes_become_rgb():
    grey = NOISE[..., 0]
    assert np.array_equal(decode(encoded(Image.fromarray(grey), "PNG")).pixels, np.repeat(grey[..., None], 3, 2))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(decode(encoded(deep, "PNG")).pixels[..., 1], grey)
    assert decode(encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG")).pixels.shape == NOISE.shape
    palette = Image.fromarray(NOISE).quantize(16)
    assert np.array_equal(decode(encoded(palette, "PNG")).pixels, np.asarray(palette.convert("RGB")))
    assert np.array_equal(decode(encoded(palette, "GIF")).pixels, np.asarray(palette.convert("RGB")))
    clear = Image.fromarray(np.dstack([NOISE, np.zeros((24, 31), np.uint8)]))
    assert (decode(encoded(clear, "PNG")).pixels == 255).all()
    holed = palette.copy()
    holed.info["transparency"] = bytes([0] * 16)
    assert (decode(encoded(holed, "PNG")).pixels == 255).all()
    assert set(np.unique(decode(encoded(Image.fromarray(grey > 99), "PNG")).pixels)) == {0, 255}


def test_what_is_no_picture():
    assert reason_of(b"") is Reason.NOT_AN_IMAGE
    assert reason_of(b"<html><body>Not found</body></html>") is Reason.NOT_AN_IMAGE
    assert reason_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") is Reason.NOT_AN_IMAGE
    with pytest.raises(PictureError) as caught:
        read_header(b"nothing")
    assert caught.value.reason is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_cut_files_are_truncated(kind, share):
    noise = np.random.default_rng(5).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert reason_of(data[: int(len(data) * share)]) is Reason.TRUNCATED


@given(cut=st.integers(0, 5000), kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]))
@settings(max_examples=150)
def test_any_cut_gives_the_picture_or_a_picture_error(cut, kind):
    data = encoded(Image.fromarray(NOISE), kind)
    got = outcome(data[:cut])
    assert got in {NOISE.shape, Reason.TRUNCATED, Reason.NOT_AN_IMAGE, Reason.UNDECODABLE}


@given(
    at=st.integers(0, 5000),
    byte=st.integers(0, 255),
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
)
@settings(max_examples=300)
def test_any_flipped_byte_gives_a_picture_or_a_picture_error(at, byte, kind):
    data = bytearray(encoded(Image.fromarray(NOISE), kind))
    data[at % len(data)] = byte
    assert isinstance(outcome(bytes(data)), Reason | tuple)


def test_broken_pixels_are_undecodable():
    data = bytearray(encoded(Image.fromarray(NOISE), "PNG"))
    at = data.index(b"IDAT") + 8
    data[at : at + 40] = bytes(40)
    assert reason_of(bytes(data)) is Reason.UNDECODABLE


def test_bombs_are_refused_by_their_header():
    assert reason_of(png_header(60_000, 60_000)) is Reason.DECOMPRESSION_BOMB  # beyond Pillow's limit
    assert reason_of(png_header(12_000, 12_000)) is Reason.DECOMPRESSION_BOMB  # Pillow warns, we refuse
    good = encoded(Image.fromarray(NOISE), "PNG")
    assert reason_of(good, max_pixels=24 * 31 - 1) is Reason.DECOMPRESSION_BOMB
    assert decode(good, max_pixels=24 * 31).width == 31


def test_header_is_read_without_pixels():
    assert read_header(png_header(640, 480)) == ("PNG", 640, 480)


def test_pillows_warnings_stay_inside_and_ours_stay_alive():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert read_header(png_header(12_000, 12_000))[1] == 12_000
        warnings.warn("still heard", UserWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["still heard"]


def test_picture_errors_survive_pickling():
    error = PictureError(Reason.TRUNCATED, "JPEG of 12 bytes")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.reason, again.detail, str(again)) == (error.reason, error.detail, str(error))


def test_phash_is_fixed_and_near_for_near_pictures(astronaut):
    first = phash(astronaut)
    assert first == 14020352518765010888
    smaller = np.asarray(Image.fromarray(astronaut).resize((200, 200)))
    jpeg = decode(encoded(Image.fromarray(astronaut), "JPEG", quality=60)).pixels
    assert hamming(first, phash(smaller)) <= 4
    assert hamming(first, phash(jpeg)) <= 4
    assert hamming(first, phash(np.ascontiguousarray(astronaut[:, ::-1]))) > 16
    assert 0 <= phash(np.zeros((1, 1, 3), np.uint8)) < 2**64


def test_hashes_refuse_what_is_no_rgb():
    for wrong in (NOISE[..., 0], NOISE.astype(np.float32), NOISE[:0]):
        with pytest.raises(ValueError, match="RGB"):
            pixel_sha256(wrong)
        with pytest.raises(ValueError, match="RGB"):
            phash(wrong)
