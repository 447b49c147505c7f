"""Nothing of a file but its pixels and its colours comes through; exiftool is the judge where there is one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from fdf.anonymize.codecs import read
from fdf.anonymize.files import anonymize_bytes
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.metadata import ALLOWED, clean_profile, inventory
from fdf.errors import DataError, FdfError
from tests.anonymize.pictures import (
    Fixed,
    chunk,
    encoded,
    exif,
    exif_with_thumbnail,
    face,
    loaded_jpeg,
    loaded_png,
    noise,
    segment,
    srgb,
    with_segments,
)

HIDE = Anonymizer(finder=Fixed(face(20, 20, 50, 50)))
EXIFTOOL = shutil.which("exiftool")
HARMLESS = {"ExifTool", "File", "System", "Composite", "ICC_Profile", "JFIF", "ICC-header"}


def smooth(height: int = 64, width: int = 96) -> Any:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 2, y * 3, x + y], axis=2).astype(np.uint8)


def webp() -> bytes:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>SecretXmp</x:xmpmeta>"
    return encoded(smooth(), "WEBP", exif=exif(), xmp=xmp, icc_profile=srgb())


def tiff() -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[270], tags[315], tags[305] = "SecretDescription", "SecretArtist", "SecretSoftware"
    tags.tagtype[700], tags.tagtype[33723] = 7, 7
    tags[700], tags[33723] = b"SecretXmp", b"\x1c\x02\x50\0\x0cSecretByline"
    return encoded(smooth(), "TIFF", tiffinfo=tags, icc_profile=srgb())


def gif() -> bytes:
    plain = encoded(smooth(), "GIF", comment=b"SecretComment")
    xmp = b"\x21\xff\x0bXMP DataXMP" + b"\x09SecretXmp\0"
    at = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    return plain[:at] + xmp + plain[at:] + b"SecretTrailer"


def avif() -> bytes:
    return encoded(smooth(), "AVIF", exif=exif(), xmp=b"<x>SecretXmp</x>", icc_profile=srgb())


def heif() -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(smooth(), "HEIF", exif=exif().tobytes(), xmp=b"<x>SecretXmp</x>")


LOADED = {
    "JPEG": lambda: loaded_jpeg(smooth()),
    "PNG": lambda: loaded_png(smooth()),
    "WEBP": webp,
    "TIFF": tiff,
    "GIF": gif,
    "BMP": lambda: encoded(smooth(), "BMP") + b"SecretTrailer",
    "AVIF": avif,
    "HEIF": heif,
}


def anonymized(kind: str) -> tuple[bytes, bytes, list[str]]:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = LOADED[kind]()
    out, report = anonymize_bytes(data, None, HIDE)
    return data, out, report.removed


@pytest.mark.parametrize("kind", LOADED)
def test_no_secret_and_no_thumbnail_is_left(kind: str) -> None:
    data, out, _ = anonymized(kind)
    assert b"Secret" in data
    assert b"Secret" not in out
    assert {found.what for found in inventory(out)} <= ALLOWED
    again = read(out)
    assert again.stills[0].rgb.shape == (64, 96, 3)


@pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF"])
def test_exiftool_finds_nothing_either(kind: str, tmp_path: Path) -> None:
    def groups(data: bytes, name: str) -> dict[str, list[str]]:
        path = tmp_path / f"{name}.{kind.lower()}"
        path.write_bytes(data)
        text = subprocess.run([EXIFTOOL or "", "-j", "-a", "-G0", "-ee", path], capture_output=True, check=False).stdout
        found: dict[str, list[str]] = {}
        for key in json.loads(text)[0]:
            group, _, tag = key.partition(":")
            found.setdefault(group, []).append(tag)
        return found

    data, out, _ = anonymized(kind)
    before, after = groups(data, "before"), groups(out, "after")
    assert set(before) & {"EXIF", "XMP", "IPTC", "JUMBF", "Photoshop"} or kind == "GIF"
    if kind == "TIFF":  # a TIFF's own tags are in the group EXIF
        pixels = (
            "ImageWidth ImageHeight BitsPerSample Compression PhotometricInterpretation StripOffsets SamplesPerPixel "
        )
        pixels += "RowsPerStrip StripByteCounts PlanarConfiguration ExtraSamples SampleFormat Predictor"
        assert set(after.pop("EXIF")) <= set(pixels.split())
    shapes = {"PNG", "RIFF", "GIF", "QuickTime", "Meta"}
    assert set(after) <= HARMLESS | shapes | {"SourceFile"}
    for group in shapes & set(after):
        assert not [tag for tag in after[group] if "Author" in tag or "Comment" in tag or "XMP" in tag]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("JPEG", ["EXIF: GPS", "EXIF: maker note", "EXIF: thumbnail", "EXIF: serial number", "XMP", "IPTC", "comment"]),
        ("JPEG", ["Photoshop thumbnail", "C2PA (JUMBF)", "trailing data (a film)"]),
        ("PNG", ["EXIF: GPS", "XMP", "text 'Author'", "text 'Comment'", "time of the last change", "C2PA (JUMBF)"]),
        ("PNG", ["trailing data"]),
        ("WEBP", ["EXIF: GPS", "XMP"]),
        ("TIFF", ["XMP", "IPTC", "tag Artist", "tag ImageDescription"]),
        ("GIF", ["XMP", "comment", "trailing data"]),
        ("BMP", ["trailing data"]),
        ("AVIF", ["EXIF", "XMP"]),
    ],
)
def test_the_report_names_what_was_there_without_its_values(kind: str, said: list[str]) -> None:
    _, _, removed = anonymized(kind)
    for words in said:
        assert any(one == words or one.startswith(words + " (") for one in removed), (words, removed)
    assert "Secret" not in " ".join(removed)


def test_the_thumbnail_that_shows_the_face_is_gone() -> None:
    picture = smooth()
    thumbnail = encoded(picture[::2, ::2], "JPEG")
    data = with_segments(encoded(picture, "JPEG"), exif_with_thumbnail(thumbnail))
    assert [str(one) for one in inventory(data)][1:] == [f"EXIF: thumbnail ({len(thumbnail):,} bytes)"]
    out, report = anonymize_bytes(data, None, HIDE)
    assert thumbnail in data
    assert out.count(b"\xff\xd8\xff") == 1
    assert any(words.startswith("EXIF: thumbnail") for words in report.removed)


def test_a_second_picture_in_a_jpeg_is_left_out() -> None:
    frames = [Image.fromarray(smooth()), Image.fromarray(smooth()[::-1].copy())]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    out, report = anonymize_bytes(data, None, HIDE)
    with Image.open(io.BytesIO(out)) as image:
        assert image.format == "JPEG"
        assert getattr(image, "n_frames", 1) == 1
    assert "1 more pictures in the file left out" in report.notes
    assert any(words.startswith("MPF") for words in report.removed)


def test_a_jfif_thumbnail_is_named() -> None:
    jfif = b"JFIF\0\1\1\0\0\1\0\1\2\2" + bytes(12)
    found = [one.what for one in inventory(with_segments(encoded(smooth(), "JPEG"), segment(0xE0, jfif)))]
    assert found == ["JFIF thumbnail"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_gone(kind: str, orientation: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    out, _ = anonymize_bytes(encoded(smooth(), kind, exif=tag), None, Anonymizer(finder=Fixed()))
    with Image.open(io.BytesIO(out)) as image:
        assert image.size == ((96, 64) if orientation < 5 else (64, 96))
        assert 0x0112 not in image.getexif() or kind == "TIFF"
        assert image.getexif().get(0x0112, 1) == 1
    upright = read(encoded(smooth(), kind, exif=tag)).stills[0].rgb
    assert np.abs(read(out).stills[0].rgb.astype(int) - upright).mean() < 4


def test_colours_stay_and_the_profile_says_nothing_else() -> None:
    profile = srgb()
    clean = clean_profile(profile, "RGB")
    assert clean is not None
    assert clean_profile(clean, "RGB") == clean
    assert b"lcms" not in clean
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(clean))).strip() == "colour profile"
    lab = ImageCms.createProfile("LAB")
    turns = [ImageCms.buildTransform(io.BytesIO(one), lab, "RGB", "LAB") for one in (profile, clean)]
    first, second = (np.asarray(ImageCms.applyTransform(Image.fromarray(smooth()), turn)) for turn in turns)
    assert np.array_equal(first, second)
    with Image.open(io.BytesIO(anonymize_bytes(loaded_jpeg(smooth()), None, HIDE)[0])) as image:
        assert image.info["icc_profile"] == clean


@pytest.mark.parametrize(
    "profile", [None, b"", b"SecretProfile" * 50, srgb()[:200], srgb()[:36] + b"oops" + srgb()[40:], bytes(5 << 20)]
)
def test_a_damaged_profile_is_dropped(profile: Any) -> None:
    assert clean_profile(profile, "RGB") is None


def test_a_profile_of_another_colour_space_is_dropped() -> None:
    assert clean_profile(srgb(), "CMYK") is None
    out, report = anonymize_bytes(encoded(noise(channels=0), "PNG", icc_profile=srgb()), None, HIDE)
    assert b"iCCP" not in out
    assert "colour profile damaged or of another colour space: left out" in report.notes


@settings(max_examples=60)
@given(
    st.binary(max_size=300), st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF89a", b"II*\0", b"BM"])
)
def test_the_inventory_never_fails(tail: bytes, magic: bytes) -> None:
    inventory(magic + tail)
    inventory(tail)


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.integers(0, 255))
def test_damaged_metadata_does_not_keep_a_picture_from_being_read(at: int, value: int) -> None:
    data = bytearray(loaded_jpeg(smooth()))
    spot = 2 + at % 400  # within EXIF and IPTC
    data[spot] = value
    inventory(bytes(data))
    clean_profile(bytes(data[100:900]), "RGB")


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_damaged_files_of_every_format_are_refused_or_clean(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data, rng = LOADED[kind](), np.random.default_rng(3)
    for _ in range(40):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 12)):
            broken[at] = rng.integers(0, 256)
        with contextlib.suppress(FdfError):  # anything else fails
            assert b"Secret" not in anonymize_bytes(bytes(broken), None, HIDE)[0]


def test_chunks_that_nobody_knows_are_named() -> None:
    png = encoded(smooth(), "PNG")
    found = inventory(png[:33] + chunk(b"prVt", b"hello") + png[33:])
    assert [str(one) for one in found] == ["chunk 'prVt' (5 bytes)"]


def test_an_encoder_that_writes_more_than_it_should_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = with_segments(encoded(smooth(), "JPEG"), segment(0xFE, b"made by me"))

    def careless(self: Image.Image, file: Any, kind: str, **more: Any) -> None:
        file.write(noted)

    monkeypatch.setattr(Image.Image, "save", careless)
    with pytest.raises(DataError, match=r"encoder wrote what it should not\. Got comment \(10 bytes\)"):
        anonymize_bytes(_bmp(), "JPEG", HIDE)


def _bmp() -> bytes:
    rows = b"".join(bytes(3 * 8) for _ in range(8))
    head = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54) + head + rows
