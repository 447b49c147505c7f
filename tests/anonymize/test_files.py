"""Files: every format keeps what it can, hostile ones are refused, and nothing is ever copied bare."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from fdf.anonymize import codecs
from fdf.anonymize.base import Face
from fdf.anonymize.codecs import read
from fdf.anonymize.faces_json import picture_row, read_faces, write_faces
from fdf.anonymize.files import (
    JOURNAL,
    REPORT,
    FileReport,
    Settings,
    anonymize_bytes,
    anonymize_file,
    anonymize_tree,
    find_sources,
)
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from fdf.errors import DataError, FdfError, MachineError, UsageError
from fdf.store.files import atomic_file
from fdf.vision.base import Pixels
from fdf.vision.picture import PictureError
from tests.anonymize.pictures import Fixed, encoded, face, loaded_jpeg, loaded_png, noise

BOX = face(20, 15, 50, 45)
HIDE = Anonymizer(finder=Fixed(BOX))
TOUCHED = HIDE.touched(noise(), [BOX])
CORE = np.zeros_like(TOUCHED)
CORE[18:42, 23:47] = True


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# -- formats


LOSSLESS = {
    "L": ("PNG", noise(channels=0)),
    "RGB": ("PNG", noise()),
    "RGBA": ("PNG", np.dstack([noise(), np.full((60, 80), 200, np.uint8)])),
    "LA": ("PNG", noise(channels=2)),
    "I;16": ("PNG", np.random.default_rng(0).integers(0, 65536, (60, 80)).astype(np.uint16)),
    "CMYK": ("TIFF", noise(channels=4)),
    "RGB bmp": ("BMP", noise()),
    "L tiff": ("TIFF", noise(channels=0)),
    "I;16 tiff": ("TIFF", np.random.default_rng(0).integers(0, 65536, (60, 80)).astype(np.uint16)),
    "RGB webp": ("WEBP", noise()),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_keep_mode_and_every_sample_outside(name: str) -> None:
    kind, samples = LOSSLESS[name]
    image = Image.fromarray(samples, mode="CMYK") if name == "CMYK" else Image.fromarray(samples)
    data = encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    out, report = anonymize_bytes(data, None, HIDE)
    after = opened(out)
    assert after.mode == image.mode
    kept = np.asarray(after)
    assert np.array_equal(kept[~TOUCHED], samples[~TOUCHED]) or name in {"LA", "RGBA"}
    grey = kept[CORE].astype(int) // (257 if "16" in name else 1)
    if name in {"LA", "RGBA"}:
        seen = samples[..., -1] > 0
        assert np.array_equal(kept[~TOUCHED & seen], samples[~TOUCHED & seen])
        assert (kept[CORE][:, -1] == 255).all()
        grey = grey[:, :-1]
    assert len(np.unique(grey.reshape(CORE.sum(), -1), axis=0)) == 1
    if name != "CMYK":
        assert (grey == GREY[0]).all()
    assert report.counts["solid"] >= 1
    assert report.notes == []


@pytest.mark.parametrize("mode", ["P", "1", "F", "YCbCr", "LAB"])
def test_other_modes_come_out_as_rgb_or_grey(mode: str) -> None:
    image = Image.fromarray(noise())
    image = image.convert("L").convert("F") if mode == "F" else image.convert("RGB") if mode == "LAB" else image
    if mode == "LAB":
        from PIL import ImageCms

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(rgb, lab, "RGB", "LAB"))
    elif mode != "F":
        image = image.convert(mode)
    kind = "PNG" if mode in {"P", "1"} else "TIFF"
    how = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}  # Pillow 12 can't read its own without compression
    data = encoded(image, kind, **how)
    before = read(data).stills[0].rgb
    after = read(anonymize_bytes(data, None, HIDE)[0]).stills[0].rgb
    assert np.array_equal(after[~TOUCHED], before[~TOUCHED])
    assert (after[CORE] == GREY).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_keep_their_mode_and_nearly_their_pixels(mode: str) -> None:
    y, x = np.mgrid[0:60, 0:80]
    image = Image.fromarray(np.stack([x * 2, y * 3, x + y], axis=2).astype(np.uint8)).convert(mode)
    out, _ = anonymize_bytes(encoded(image, "JPEG", quality=90), None, HIDE)
    after = opened(out)
    assert after.mode == mode
    far = np.abs(np.asarray(after.convert("RGB")).astype(int) - np.asarray(image.convert("RGB")))
    assert far[~TOUCHED].mean() < 4


def test_sixteen_bit_colour_becomes_eight_and_says_so() -> None:
    import cv2

    deep = np.random.default_rng(0).integers(0, 65536, (60, 80, 3)).astype(np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    out, report = anonymize_bytes(data, None, HIDE)
    assert report.notes == ["16 bits a sample became 8"]
    assert opened(out).mode == "RGB"


def test_what_lies_under_transparency_is_wiped_and_looked_at() -> None:
    """RGB under alpha 0 may be a face: it must not survive, and faces are looked for without the alpha, too."""
    samples = np.dstack([noise(), np.zeros((60, 80), np.uint8)])
    samples[:, 40:, 3] = 128
    seen: list[Pixels] = []

    class Looking:
        def find(self, picture: Pixels) -> list[Face]:
            seen.append(picture)
            return []

    data = encoded(samples, "PNG")
    out, _ = anonymize_bytes(data, None, Anonymizer(finder=Looking()))
    after = np.asarray(opened(out))
    assert (after[:, :40] == 0).all()
    assert np.array_equal(after[:, 40:], samples[:, 40:])
    assert len(seen) == 4
    assert any(np.array_equal(view[:, 40:], samples[:, 40:, :3]) for view in seen)
    assert any(np.array_equal(view[..., 0], samples[..., 3]) for view in seen)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_every_frame_of_an_animation_is_anonymized(kind: str) -> None:
    """A hit that is missing in one frame is made up for by its neighbours."""
    frames = [Image.fromarray(noise(seed=k)) for k in range(7)]
    more = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=[50] * 7, loop=0, **more)

    class Sometimes:
        asked = 0

        def find(self, _: Pixels) -> list[Face]:
            self.asked += 1
            return [BOX] if self.asked in {1, 4, 7} else []

    out, report = anonymize_bytes(data, None, Anonymizer(finder=Sometimes()))
    document = read(out)
    assert len(document.stills) == report.frames == 7
    assert document.loop == 0
    for still in document.stills:
        assert still.seconds == pytest.approx(0.05)
        assert np.abs(still.rgb[CORE].astype(int) - GREY).max() <= (8 if kind == "GIF" else 0)


def test_every_page_of_a_tiff_is_anonymized() -> None:
    pages = [
        Image.fromarray(noise(seed=1)),
        Image.fromarray(noise(90, 100, 2)),
        Image.fromarray(noise(seed=3, channels=0)),
    ]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    document = read(anonymize_bytes(data, None, HIDE)[0])
    assert [still.rgb.shape[:2] for still in document.stills] == [(60, 80), (90, 100), (60, 80)]
    assert [still.mode for still in document.stills] == ["RGB", "RGB", "L"]
    assert all((still.rgb[core_of(still.rgb)] == GREY).all() for still in document.stills)


def core_of(rgb: Any) -> Any:
    mask = np.zeros(rgb.shape[:2], dtype=bool)
    mask[18:42, 23:47] = True
    return mask


@pytest.mark.parametrize(("kind", "target"), [("GIF", "JPEG"), ("TIFF", "GIF"), ("GIF", "TIFF")])
def test_several_frames_are_refused_where_they_do_not_fit(kind: str, target: str) -> None:
    frames = [Image.fromarray(noise(seed=k)) for k in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match=rf"{target} can't hold this .* of 3 frames"):
        anonymize_bytes(data, target, HIDE)


def test_what_a_format_can_not_keep_is_said() -> None:
    rgba = np.dstack([noise(), np.full((60, 80), 200, np.uint8)])
    assert anonymize_bytes(encoded(rgba, "PNG"), "JPEG", HIDE)[1].notes == ["transparency became white"]
    deep = np.zeros((60, 80), np.uint16)
    assert anonymize_bytes(encoded(deep, "PNG"), "JPEG", HIDE)[1].notes == ["16-bit grey became 8-bit RGB"]


# -- hostile files


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(max(len(out), 1))
        how = rng.randrange(5)
        if not out:
            break
        if how == 0:
            out[at] = rng.randrange(256)
        elif how == 1:
            del out[at : at + rng.randrange(1, 200)]
        elif how == 2:
            out[at:at] = rng.randbytes(rng.randrange(1, 60))
        elif how == 3:
            out[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
        else:
            out = out[: max(at, 1)] if rng.random() < 0.3 else out
    return bytes(out)


def test_three_hundred_damaged_files(tmp_path: Path) -> None:
    """No crash without a message, no partial output, no bare copy."""
    source, target, rng = tmp_path / "in", tmp_path / "out", random.Random(20)
    source.mkdir()
    picture = noise()
    whole = {"jpg": loaded_jpeg(picture), "png": loaded_png(picture)}
    for index in range(300):
        kind = "jpg" if index % 2 else "png"
        (source / f"{index:03}.{kind}").write_bytes(mutated(whole[kind], rng))
    report = anonymize_tree(find_sources(source, target), target, HIDE)
    assert len(report.files) == 300
    assert report.count("done") > 20
    assert report.count("failed") > 20
    assert report.count("done") + report.count("failed") == 300
    for one in report.files:
        out = target / one.file
        assert out.exists() == (one.status == "done")
        if one.status == "failed":
            assert len(one.error) > 20
            continue
        data = out.read_bytes()
        assert data != (source / one.file).read_bytes()
        assert b"Secret" not in data
        for still in read(data).stills:
            height, width = still.rgb.shape[:2]
            if height > 42 and width > 47:
                assert np.abs(still.rgb[18:42, 23:47].astype(int) - GREY).max() < 20
    assert sorted(path.name for path in target.iterdir()) == sorted(
        [*(one.file for one in report.files if one.status == "done"), REPORT, JOURNAL]
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_bombs_are_refused(kind: str) -> None:
    data = encoded(np.zeros((2000, 2000), np.uint8), kind)
    with pytest.raises(PictureError, match=r"decompression_bomb.*2000×2000"):
        anonymize_bytes(data, None, HIDE, Settings(max_pixels=1_000_000))


def test_animations_with_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MAX_FRAMES_PIXELS", 10_000)
    frames = [Image.fromarray(noise(seed=k)) for k in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="GIF of 3 frames of 80×60 pixels, cap 10000 in all"):
        anonymize_bytes(data, None, HIDE)


def test_a_format_that_nothing_here_reads_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "readable", lambda: ("JPEG",))
    with pytest.raises(MachineError, match=r"HEIF pictures can't be read here\. Install pillow-heif"):
        read(bytes(4) + b"ftypheic" + bytes(20))


def test_avif_goes_both_ways() -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    out, _ = anonymize_bytes(encoded(noise(), "AVIF"), None, HIDE)
    assert np.abs(read(out).stills[0].rgb[CORE].astype(int) - GREY).max() < 30


# -- folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    (source / "sub/deep").mkdir(parents=True)
    (source / "a.png").write_bytes(encoded(noise(), "PNG"))
    (source / "sub/b.jpg").write_bytes(encoded(noise(seed=1), "JPEG"))
    (source / "sub/deep/c.webp").write_bytes(encoded(noise(seed=2), "WEBP"))
    (source / "broken.jpg").write_bytes(encoded(noise(), "JPEG")[:500])
    (source / "words.jpg").write_text("no picture")
    (source / "notes.txt").write_text("bare")
    (source / ".hidden.png").write_bytes(b"bare")
    return source


def test_a_folder_is_mirrored_and_counted(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = anonymize_tree(find_sources(folder, out), out, HIDE)
    status = {one.file: one.status for one in report.files}
    assert status == {
        "a.png": "done",
        "sub/b.jpg": "done",
        "sub/deep/c.webp": "done",
        "broken.jpg": "failed",
        "words.jpg": "failed",
        "notes.txt": "left out",
    }
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {"a.png", "sub/b.jpg", "sub/deep/c.webp", REPORT, JOURNAL}
    written = json.loads((out / REPORT).read_text())
    assert written["files"] == {"done": 3, "skipped": 0, "failed": 2, "left_out": 1}
    assert written["counts"] == {"faces": 3, "solid": 3, "fell_back": 0}
    errors = {one["file"]: one.get("error", "") for one in written["pictures"]}
    assert "truncated" in errors["broken.jpg"]
    assert "not_an_image" in errors["words.jpg"]


def test_a_folder_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fresh = tmp_path / "fresh"
    anonymize_tree(find_sources(folder, fresh), fresh, HIDE)

    class Dies:
        left = 2

        def find(self, _: Pixels) -> list[Face]:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return [BOX]

    with pytest.raises(KeyboardInterrupt):
        anonymize_tree(find_sources(folder, out), out, Anonymizer(finder=Dies()))
    with (out / JOURNAL).open("ab") as journal:
        journal.write(b'{"file": "sub/deep/c.w')  # killed while it wrote a line
    (out / "a.png.part-0123abcd").write_bytes(b"half")
    finder = Fixed(BOX)
    report = anonymize_tree(find_sources(folder, out), out, Anonymizer(finder=finder))
    assert (report.count("skipped"), report.count("done"), report.count("failed")) == (2, 1, 2)
    assert finder.asked == 1
    assert report.counts["faces"] == 3
    for name in ("a.png", "sub/b.jpg", "sub/deep/c.webp"):
        assert (out / name).read_bytes() == (fresh / name).read_bytes()
    assert not list(out.rglob("*.part-*"))


def test_only_what_fdf_left_half_written_is_no_file_of_the_user(folder: Path, tmp_path: Path) -> None:
    (folder / "trip.part-2.jpg").write_bytes(encoded(noise(seed=3), "JPEG"))
    (folder / "b.png.part-0123abcd").write_bytes(b"half")
    out = tmp_path / "out"
    out.mkdir()
    (out / "my notes.part-1.txt").write_text("mine")
    for status in ("done", "skipped"):
        report = anonymize_tree(find_sources(folder, out), out, HIDE)
        found = {one.file: one.status for one in report.files if ".part-" in one.file}
        assert found == {"trip.part-2.jpg": status}
    assert (out / "my notes.part-1.txt").read_text() == "mine"
    assert (out / "trip.part-2.jpg").is_file()


def test_what_another_run_is_writing_stays(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_file(out / "film.mp4") as file:
        file.write(b"hours of ")
        anonymize_tree(find_sources(folder, out), out, HIDE)
        file.write(b"film")
    assert (out / "film.mp4").read_bytes() == b"hours of film"


def test_links_to_folders_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    album, out = tmp_path / "album", folder / "out"
    album.mkdir()
    (album / "d.png").write_bytes(encoded(noise(), "PNG"))
    for name in ("sub/friends", "sub/holiday.mp4", "sub/.hidden"):
        (folder / name).symlink_to(album)
    (folder / "round").symlink_to(folder)
    out.mkdir()
    (folder / "results").symlink_to(out)
    report = anonymize_tree(find_sources(folder, out), out, HIDE)
    left_out = [one.file for one in report.files if one.status == "left out"]
    assert left_out == ["notes.txt", "round", "sub/friends", "sub/holiday.mp4"]
    assert json.loads((out / REPORT).read_text())["files"] == {"done": 3, "skipped": 0, "failed": 2, "left_out": 4}
    assert not list(out.rglob("d.png"))


def test_changed_inputs_settings_and_outputs_are_made_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def again(fingerprint: str = "") -> dict[str, str]:
        report = anonymize_tree(find_sources(folder, out), out, HIDE, Settings(fingerprint=fingerprint))
        return {one.file: one.status for one in report.files if one.file in {"a.png", "sub/b.jpg"}}

    assert again() == {"a.png": "done", "sub/b.jpg": "done"}
    (folder / "a.png").write_bytes(encoded(noise(seed=9), "PNG"))
    assert again() == {"a.png": "done", "sub/b.jpg": "skipped"}
    assert again("other") == {"a.png": "done", "sub/b.jpg": "done"}
    (out / "a.png").unlink()
    assert again("other") == {"a.png": "done", "sub/b.jpg": "skipped"}
    (out / "a.png").write_bytes(b"somebody's own")
    assert again("other") == {"a.png": "failed", "sub/b.jpg": "skipped"}
    assert (out / "a.png").read_bytes() == b"somebody's own"


def test_patterns_keep_the_folders_below_what_they_share(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = find_sources(str(folder / "**/*.[jw]*"), out)
    assert [name for _, name in found] == ["broken.jpg", "sub/b.jpg", "sub/deep/c.webp", "words.jpg"]
    with pytest.raises(UsageError, match="no file fits it as a pattern"):
        find_sources(str(folder / "*.xyz"), out)


def test_a_pattern_is_not_fed_its_own_outputs(folder: Path) -> None:
    out, pattern = folder / "out", str(folder / "**/*.png")
    first = anonymize_tree(find_sources(pattern, out), out, HIDE)
    second = anonymize_tree(find_sources(pattern, out), out, HIDE)
    assert [(one.file, one.status) for one in second.files] == [(one.file, "skipped") for one in first.files]
    with pytest.raises(UsageError, match="only what earlier runs wrote fits"):
        find_sources(str(out / "**/*.png"), out)


@pytest.mark.parametrize("pattern", ["", "**/*.*"])
def test_what_earlier_runs_wrote_is_left_out_and_named(folder: Path, pattern: str) -> None:
    """A second output folder inside the input doubled what was in the first; a third one doubled both."""
    source = f"{folder}/{pattern}" if pattern else folder
    first = anonymize_tree(find_sources(source, folder / "out"), folder / "out", HIDE)
    anonymize_tree(find_sources(source, folder / "sub/two"), folder / "sub/two", HIDE)
    out = folder / "three"
    report = anonymize_tree(find_sources(source, out), out, HIDE)
    before, now = ({one.file: one for one in some.files} for some in (first, report))
    assert now.keys() - before.keys() == {"out", "sub/two"}, "whole folders, not file by file"
    for name in ("out", "sub/two"):
        assert (now[name].status, now[name].notes) == ("left out", ["what an earlier run wrote: not anonymized again"])
    assert report.count("done") == first.count("done") == 3
    assert json.loads((out / REPORT).read_text())["files"] == {"done": 3, "skipped": 0, "failed": 2, "left_out": 3}
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == sorted(
        ["a.png", "b.jpg", "c.webp", REPORT, JOURNAL]
    )


def test_the_folder_of_an_earlier_run_can_be_named(folder: Path, tmp_path: Path) -> None:
    earlier, out = folder / "out", tmp_path / "again"
    anonymize_tree(find_sources(folder, earlier), earlier, HIDE)
    for source, name in ((earlier, "a.png"), (f"{earlier}/*.png", "a.png"), (f"{earlier}/sub/*.jpg", "b.jpg")):
        assert name in [found for _, found in find_sources(source, out)], source
    with pytest.raises(UsageError, match=r"only what earlier runs wrote fits.*in/out\. To anonymize that again"):
        find_sources(f"{folder}/o*/*.png", out)


def test_a_pattern_takes_links_to_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (folder / "a.png").rename(tmp_path / "far/z.png")
    (folder / "a.png").symlink_to(tmp_path / "far/z.png")
    assert find_sources(f"{folder}/*.png", tmp_path / "out") == [(folder / "a.png", "a.png")]


def test_originals_in_the_output_folder_are_refused(folder: Path) -> None:
    """`out/a.png`, an original, would be overwritten by what is made of `a.png`."""
    (folder / "out").mkdir()
    (folder / "out/a.png").write_bytes(b"an original")
    with pytest.raises(UsageError, match=r"The output folder holds the input.*out/a\.png"):
        find_sources(str(folder / "**/*.png"), folder / "out")


def test_many_files_need_a_folder(folder: Path, tmp_path: Path) -> None:
    for source in (folder, str(folder / "*.png")):
        with pytest.raises(UsageError, match=r"is more than one file\. Expected a folder"):
            find_sources(source, tmp_path / "z.jpg")


def test_films_that_can_only_be_read_become_mp4(tmp_path: Path) -> None:
    source = tmp_path / "in/a.AVI"
    source.parent.mkdir()
    source.write_bytes(b"film")

    def film(path: Path, target: Path) -> FileReport:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"faceless")
        return FileReport(path.name, "done")

    out = tmp_path / "out"
    (one,) = anonymize_tree(find_sources(source.parent, out), out, HIDE, video=film).files
    assert (out / "a.AVI.mp4").read_bytes() == b"faceless"
    assert one.notes == [".AVI can be read, not written: it is a.AVI.mp4"]
    assert anonymize_tree(find_sources(source.parent, out), out, HIDE, video=film).count("skipped") == 1


def test_an_output_inside_the_input_is_not_taken_for_input(folder: Path) -> None:
    out = folder / "anonymized"
    first = anonymize_tree(find_sources(folder, out), out, HIDE)
    second = anonymize_tree(find_sources(folder, out), out, HIDE)
    assert len(first.files) == len(second.files) == 6


@pytest.mark.parametrize("where", [".", "..", "sub/.."])
def test_an_output_that_holds_the_input_is_refused(folder: Path, where: str) -> None:
    with pytest.raises(UsageError, match="The output folder holds the input"):
        find_sources(folder, folder / where)
    if where == ".":
        with pytest.raises(UsageError, match="The output folder holds the input"):
            find_sources(str(folder / "*.png"), folder)


def test_the_original_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    source, before = folder / "a.png", (folder / "a.png").read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(source)
    hard = tmp_path / "hard.png"
    hard.hardlink_to(source)
    for target in (source, folder / "sub/../a.png", link, hard):
        with pytest.raises(UsageError, match="Input and output are the same file"):
            anonymize_file(source, target, HIDE, Settings(overwrite=True))
    assert source.read_bytes() == before


def test_an_output_that_is_there_stays_unless_asked(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"is there already\. Add --overwrite"):
        anonymize_file(folder / "a.png", target, HIDE)
    assert target.read_bytes() == b"mine"
    anonymize_file(folder / "a.png", target, HIDE, Settings(overwrite=True))
    assert opened(target.read_bytes()).size == (80, 60)
    with pytest.raises(UsageError, match="no picture format has this suffix"):
        anonymize_file(folder / "a.png", tmp_path / "x.doc", HIDE)
    with pytest.raises(DataError, match="can't be read"):
        anonymize_file(folder / "none.png", tmp_path / "y.png", HIDE)


def test_nothing_is_left_when_writing_fails(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        anonymize_file(folder / "a.png", tmp_path / "o/x.png", HIDE)
    assert list((tmp_path / "o").iterdir()) == []


def test_a_file_that_breaks_the_reader_does_not_end_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "x.heic").write_bytes(bytes(4) + b"ftypheic" + bytes(20))
    monkeypatch.setattr(codecs, "readable", lambda: ("JPEG", "PNG", "WEBP"))
    real = codecs.views

    def odd(still: codecs.Still) -> Any:
        if np.array_equal(still.rgb, noise()):
            raise AssertionError("odd")
        return real(still)

    monkeypatch.setattr("fdf.anonymize.files.views", odd)
    out = tmp_path / "out"
    report = {one.file: one for one in anonymize_tree(find_sources(folder, out), out, HIDE).files}
    assert report["a.png"].error == "Not foreseen: AssertionError: odd. It is not written."
    assert "HEIF pictures can't be read here" in report["x.heic"].error
    assert report["sub/b.jpg"].status == "done"
    assert not (out / "a.png").exists()


# -- faces as JSON

numbers = st.floats(-50, 500, width=32)
faces = st.builds(
    lambda x, y, w, h, score, points, five, track: Face(
        np.array([x, y, x + w, y + h], np.float32),
        score,
        points,
        five,
        track,
        "track" if track is not None else "detector",
    ),
    st.floats(0, 79, width=32),
    st.floats(0, 59, width=32),
    st.floats(1, 90, width=32),
    st.floats(1, 90, width=32),
    st.integers(0, 10000).map(lambda k: k / 10000),
    st.none()
    | st.lists(st.tuples(numbers, numbers, st.floats(0, 1, width=32)), min_size=7, max_size=7).map(np.float32),
    st.none() | st.lists(st.tuples(numbers, numbers), min_size=5, max_size=5).map(np.float32),
    st.none() | st.integers(0, 99),
)


@settings(max_examples=40)
@given(found=st.lists(faces, max_size=3, unique_by=lambda one: object() if one.track is None else one.track))
def test_faces_survive_json(found: list[Face], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "faces.json"
    write_faces(path, [picture_row("a.png", 0, (80, 60), found)])
    back = read_faces(path).faces("a.png", 0, 80, 60)
    assert len(back) == len(found)
    for one, other in zip(found, back, strict=True):
        assert np.array_equal(one.box, other.box)
        assert (one.score, one.track, one.origin) == (other.score, other.track, other.origin)
        for name in ("keypoints", "landmarks5"):
            first, second = getattr(one, name), getattr(other, name)
            assert (first is None) == (second is None)
            assert first is None or np.array_equal(first, second)


def test_faces_of_a_run_render_the_same_again(tmp_path: Path) -> None:
    data = encoded(noise(), "PNG")
    out, report = anonymize_bytes(data, None, HIDE, name="a.png")
    write_faces(tmp_path / "f.json", report.faces)
    known = read_faces(tmp_path / "f.json")
    blind = Anonymizer(finder=Fixed())
    assert anonymize_bytes(data, None, blind, Settings(known=known), "a.png")[0] == out


ROW = {"file": "a.png", "width": 80, "height": 60}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "is no JSON"),
        ([], "is no file of faces: the whole file"),
        ({"format": "coco", "version": 1, "pictures": []}, "format: Input should be 'fdf-faces'"),
        ({"format": "fdf-faces", "version": 2, "pictures": []}, "version"),
        ({"faces": [{"box": [1, 2, 3]}]}, r"pictures\.0\.faces\.0\.box\.3"),
        ({"faces": [{"box": [5, 2, 3, 9]}]}, "x1 > x0"),
        ({"faces": [{"box": [100, 2, 130, 9]}]}, "lies outside the picture of 80×60"),
        ({"faces": [{"box": [1, 2, "x", 9]}]}, r"faces\.0\.box\.2"),
        ({"faces": [{"box": [1, 2, 3, 9], "colour": 1}]}, "colour: Extra inputs"),
        ({"faces": [{"box": [1, 2, 3, 9], "score": 2}]}, "score"),
        ({"faces": [{"box": [1, 2, 3, 9], "landmarks5": [[1, 2]]}]}, "landmarks5"),
        ({"faces": []} | {"width": 0}, "width"),
        (
            {"faces": [{"box": [1, 2, 3, 9], "track": -1}]},
            r"faces\.0\.track: Input should be greater than or equal to 0",
        ),
        ({"faces": [{"box": [n, 2, n + 2, 9], "track": n // 2} for n in (1, 4, 5)]}, r"track 2 is in a\.png twice"),
        ({"faces": [{"box": [1, 2, 3, 9], "track": 7}] * 2, "frame": 3}, r"track 7 is in a\.png, frame 3, twice"),
        ("twice", "is there twice"),
    ],
)
def test_wrong_files_of_faces_say_where(value: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    if isinstance(value, dict) and "format" not in value:
        value = {"format": "fdf-faces", "version": 1, "pictures": [ROW | value]}
    if value == "twice":
        value = {"format": "fdf-faces", "version": 1, "pictures": [ROW | {"faces": []}] * 2}
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(DataError, match=said):
        read_faces(path)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    row = '{"file": "a.png", "width": 80, "height": 60, "faces": [{"box": [1, NaN, 3, 9]}]}'
    path.write_text('{"format": "fdf-faces", "version": 1, "pictures": [' + row + "]}")
    with pytest.raises(DataError, match="finite number"):
        read_faces(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW | {"file": "b.png", "faces": []}, "says nothing of a.png"),
        (ROW | {"width": 60, "height": 80, "faces": []}, r"Expected 60×80 pixels, upright\. Got 80×60"),
    ],
)
def test_faces_of_another_picture_are_refused(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"format": "fdf-faces", "version": 1, "pictures": [row]}))
    (tmp_path / "a.png").write_bytes(encoded(noise(), "PNG"))
    with pytest.raises(FdfError, match=said):
        anonymize_file(tmp_path / "a.png", tmp_path / "o.png", HIDE, Settings(known=read_faces(path)))
    assert not (tmp_path / "o.png").exists()
