"""Films before and after: what is counted is known beforehand, frame by frame."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

av = pytest.importorskip("av", reason="films need PyAV: the extra `video`")

import fdf.cli.commands  # noqa: F401, E402 - registers the commands
from fdf.anonymize.base import Face, Method  # noqa: E402
from fdf.anonymize.faces_json import picture_row, write_faces  # noqa: E402
from fdf.anonymize.film_faces import FacesWriter, Followed  # noqa: E402
from fdf.anonymize.image import Anonymizer  # noqa: E402
from fdf.cli.app import app  # noqa: E402
from fdf.errors import DataError, MachineError, UsageError  # noqa: E402
from fdf.evaluate.exposure import COVERED, INNER, inner_area, judge, remains, uncovered, visible  # noqa: E402
from fdf.evaluate.film import FilmReport, Tracks, compare_films  # noqa: E402
from fdf.evaluate.truth import KnownTruth, read_truth  # noqa: E402
from tests.anonymize import clips  # noqa: E402

BARE = {4: 1, 5: 1, 6: 2, 11: 2, 12: 2}
"""Frame → the person who is left bare in it: five face-frames, before the two cross."""
GREY = (96, 96, 96)


@pytest.fixture(scope="module")
def clip() -> clips.Clip:
    """Two faces that come towards each other."""
    whole = clips.film(shots="b")
    return clips.Clip(whole.pictures[:20], whole.truth[:20])


@pytest.fixture(scope="module")
def folder(clip: clips.Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film and its truth."""
    out = tmp_path_factory.mktemp("films")
    clips.write(clip.pictures, out / "film.mp4")
    rows = [picture_row("film.mp4", k, (640, 360), faces_of(clip, k)) for k in range(len(clip.pictures))]
    write_faces(out / "truth.json", rows)
    return out


def faces_of(clip: clips.Clip, frame: int, *, without: int | None = None) -> list[Face]:
    truths = [one for one in clip.truth[frame] if one.visible and one.person != without]
    return [Face(np.asarray(one.box, np.float32), track=one.person, origin="user") for one in truths]


def hide(clip: clips.Clip, path: Path, method: str | Method, bare: dict[int, int] | None = None) -> Path:
    """The film with every face hidden but those that are to be left bare."""
    anonymizer = Anonymizer(method, salt="x")
    pictures = [
        anonymizer.render(picture, faces_of(clip, frame, without=(bare or {}).get(frame))).picture
        for frame, picture in enumerate(clip.pictures)
    ]
    clips.write(pictures, path, options={"crf": "20", "preset": "veryfast"})
    return path


def measured(folder: Path, path: Path, **how: Any) -> FilmReport:
    return compare_films(folder / "film.mp4", path, KnownTruth(folder / "truth.json"), **how)


@pytest.mark.parametrize(("method", "cover"), [("solid", GREY), ("solid", None), ("blur", None), ("pixelate", None)])
def test_exactly_the_bare_face_frames_are_counted(
    clip: clips.Clip, folder: Path, tmp_path: Path, method: str, cover: Any
) -> None:
    report = measured(folder, hide(clip, tmp_path / "out.mp4", method, BARE), cover=cover)
    assert report.exposure.exposed is not None
    assert (report.exposure.exposed.value * 40, report.exposure.exposed.n) == (5, 40)
    assert report.exposure.frames == (4, 5, 6, 11, 12)
    assert report.exposure.per_1000 == 125
    assert report.exposure.tracks is not None
    assert (report.exposure.tracks.value, report.exposure.tracks.n) == (1, 2)
    assert (report.frames, report.labelled, report.exposure.faint) == (20, 20, 0)
    sizes = {one.low: one.covered for one in report.coverage if one.covered}
    assert {low: (one.n, round(one.value * one.n)) for low, one in sizes.items()} == {64: (40, 35)}


def test_nobody_is_counted_where_all_are_hidden_and_all_where_nobody_is(
    clip: clips.Clip, folder: Path, tmp_path: Path
) -> None:
    none = measured(folder, hide(clip, tmp_path / "out.mp4", "solid")).exposure
    assert none.exposed is not None
    assert (none.exposed.value, none.per_1000, none.frames) == (0, 0, ())
    assert none.exposed.high == pytest.approx(0.0876, abs=1e-4)  # Wilson's: z² / (n + z²) of 40
    clips.write(clip.pictures, tmp_path / "again.mp4", options={"crf": "28", "preset": "veryfast"})
    every = measured(folder, tmp_path / "again.mp4")
    assert every.exposure.exposed is not None
    assert every.exposure.exposed.value == 1


def test_the_rule_is_that_of_the_exposure_test(clip: clips.Clip) -> None:
    """Same constants, same areas, same shares: on every face of a frame that is hidden in part."""
    assert (clips.INNER, clips.COVERED) == (INNER, COVERED)
    every = [one for frame in clips.film(shots="abc").truth for one in frame]
    assert [visible(one) for one in every] == [one.visible for one in every]
    assert {one.visible for one in every} == {True, False}
    shares = []
    for frame in (0, 5, 10):
        half = clip.pictures[frame].copy()
        half[:, ::3] = 0
        half[100:160] = 0
        for truth in clip.truth[frame]:
            mine, theirs = (f(truth, clip.pictures[frame], half, (0, 0, 0)) for f in (uncovered, clips.uncovered))
            assert mine == theirs
            shares.append(mine)
            ours = inner_area(truth.box, 640, 360)
            x, y = np.subtract(truth.corner, ours.corner)
            h, w = truth.mask.shape
            assert (ours.mask[y : y + h, x : x + w] == truth.mask).all()
            assert (ours.mask.sum(), ours.whole) == (truth.mask.sum(), truth.whole)
    assert 0.1 < min(shares) < max(shares) < 0.7


@settings(max_examples=30)
@given(share=st.floats(0, 1), seed=st.integers(0, 9))
def test_what_remains_follows_what_is_uncovered(share: float, seed: int) -> None:
    """The upper part of a face of noise stays: so much remains, but for the windows at the edge."""
    face = np.random.default_rng(seed).integers(0, 256, (60, 60), np.uint8)
    picture = np.repeat(np.kron(face, np.ones((2, 2), np.uint8))[..., None], 3, axis=2)
    inner = inner_area([10, 10, 110, 110], 120, 120)
    rows = np.flatnonzero(np.cumsum(inner.mask.sum(axis=1)) >= share * inner.mask.sum())
    out = picture.copy()
    out[inner.corner[1] + int(rows[0]) + 1 :] = 96
    left = remains(inner, picture, out)
    assert left.share == pytest.approx(share, abs=0.1)
    assert not left.faint
    assert judge(inner, picture, picture).bare
    assert not judge(inner, picture, np.full_like(picture, 96)).bare


def test_a_face_without_detail_is_called_faint() -> None:
    ramp = np.repeat(np.tile(np.arange(120, dtype=np.uint8), (120, 1))[..., None], 3, axis=2)
    inner = inner_area([10, 10, 110, 110], 120, 120)
    assert judge(inner, ramp, ramp).bare
    assert remains(inner, ramp, ramp).faint
    assert not judge(inner, ramp, np.full_like(ramp, 60)).bare  # the mean of the face: as near as a box can come


def test_solid_does_not_flicker_and_noise_does(clip: clips.Clip, folder: Path, tmp_path: Path) -> None:
    class Noise:
        name = "noise"

        def __init__(self) -> None:
            self._draw = np.random.default_rng(0)

        def replace(self, picture: np.ndarray, jobs: Any) -> Any:  # noqa: ARG002
            from fdf.anonymize.base import Replacement

            return [
                Replacement(np.full((*job.region.alpha.shape, 3), self._draw.integers(60, 200), np.uint8))
                for job in jobs
            ]

    solid, blur, noise = (
        measured(folder, hide(clip, tmp_path / "out.mp4", method)).flicker for method in ("solid", "blur", Noise())
    )
    assert solid is not None
    assert blur is not None
    assert noise is not None
    assert solid.pairs == blur.pairs == noise.pairs == 38
    assert solid.original == blur.original < 0.5  # the faces move, and do nothing else
    assert max(solid.anonymized, solid.excess) < 0.01  # one grey at its edges and within
    assert blur.excess < 1.5
    assert noise.excess == pytest.approx(47, abs=15)  # two levels drawn evenly from 140 differ by a third of that
    assert noise.excess < noise.excess_p95


def test_frames_without_truth_are_not_counted(clip: clips.Clip, folder: Path, tmp_path: Path) -> None:
    body = json.loads((folder / "truth.json").read_text())
    body["pictures"] = body["pictures"][::5]
    (tmp_path / "sparse.json").write_text(json.dumps(body))
    film = folder / "film.mp4"
    report = compare_films(film, hide(clip, tmp_path / "out.mp4", "solid", BARE), KnownTruth(tmp_path / "sparse.json"))
    assert (report.frames, report.labelled, report.flicker) == (20, 4, None)
    assert report.exposure.frames == (5,)


def test_without_truth_a_detector_says_where_faces_are(clip: clips.Clip, folder: Path, tmp_path: Path) -> None:
    report = compare_films(folder / "film.mp4", hide(clip, tmp_path / "out.mp4", "solid", BARE))
    assert (report.truth[0], report.threshold) == ("centerface", 0.5)
    assert report.exposure.frames == (4, 5, 6, 11, 12)
    assert report.exposure.tracks is not None
    assert report.exposure.tracks.n == 2
    assert report.exposure.exposed is not None
    assert report.exposure.exposed.n == 40


def test_faces_keep_their_numbers_from_frame_to_frame() -> None:
    def face(x: float, track: int | None = None) -> Face:
        return Face(np.array([x, 0, x + 10, 10], np.float32), track=track)

    tracks = Tracks()
    numbers = [[one.track for one in tracks.follow(faces)] for faces in (
        [face(0), face(100)], [face(102), face(3)], [face(50)], [face(51, track=9), face(200)], [],
    )]  # fmt: skip
    assert numbers == [[0, 1], [1, 0], [2], [9, 10], []]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p[:15], r"out.mp4 has fewer frames than film.mp4.*Got 15 frames"),
        (lambda p: [*p, p[-1]], r"film.mp4 has fewer frames than out.mp4"),
        (lambda p: [one[:, :360] for one in p], r"other proportions than film.mp4\. Expected 640 × 360.*Got 360 × 360"),
    ],
)
def test_films_that_do_not_belong_together_are_refused(
    clip: clips.Clip, folder: Path, tmp_path: Path, change: Callable[[Any], Any], said: str
) -> None:
    clips.write([np.ascontiguousarray(one) for one in change(clip.pictures)], tmp_path / "out.mp4")
    with pytest.raises(DataError, match=said):
        measured(folder, tmp_path / "out.mp4")


def test_other_sizes_of_one_shape_are_compared(clip: clips.Clip, folder: Path, tmp_path: Path) -> None:
    import cv2

    hidden = hide(clip, tmp_path / "out.mp4", "solid", BARE)
    pictures = [cv2.resize(one, (656, 368)) for one in clips.read(hidden)[0]]  # deface brings sides to multiples of 16
    clips.write(pictures, tmp_path / "wide.mp4")
    assert measured(folder, tmp_path / "wide.mp4").exposure.frames == (4, 5, 6, 11, 12)


def test_the_truth_may_be_what_save_detections_wrote(folder: Path, tmp_path: Path, clip: clips.Clip) -> None:
    lines = tmp_path / "film.jsonl"
    with lines.open("wb") as file:
        writer = FacesWriter(file, "film.mp4")
        for frame in range(len(clip.pictures)):
            writer.add(frame / 30, (640, 360), [Followed(one, one.track) for one in faces_of(clip, frame)])
    out = hide(clip, tmp_path / "out.mp4", "solid", BARE)
    by_line = compare_films(folder / "film.mp4", out, read_truth(lines))
    assert by_line.exposure == measured(folder, out).exposure
    assert (by_line.exposure.per_1000, by_line.labelled, by_line.truth[0]) == (125, 20, "film.jsonl")
    whole = lines.read_bytes().splitlines(keepends=True)
    for part, said in (
        (whole[:-1], "says nothing of frame 19"),
        ([*whole, whole[-1]], "has more frames than film.mp4"),
    ):
        lines.write_bytes(b"".join(part))
        with pytest.raises(DataError, match=said):
            compare_films(folder / "film.mp4", out, read_truth(lines))
    with pytest.raises(DataError, match=r"none\.jsonl can't be read"):
        read_truth(tmp_path / "none.jsonl")


def test_a_truth_of_another_film_is_refused(folder: Path, tmp_path: Path, clip: clips.Clip) -> None:
    out = hide(clip, tmp_path / "out.mp4", "solid")
    body = json.loads((folder / "truth.json").read_text())
    for change, said in (
        ({"file": "other.mp4"}, r"no truth of film.mp4.*Got rows of other.mp4"),
        ({"frame": 20}, r"frame\" from 0 to 19\. Got frame 20"),
        ({"width": 320}, r"another film than film.mp4\. Expected 320 × 360"),
    ):
        (tmp_path / "t.json").write_text(
            json.dumps({**body, "pictures": [{**body["pictures"][0], "faces": [], **change}]})
        )
        with pytest.raises(DataError, match=said):
            compare_films(folder / "film.mp4", out, KnownTruth(tmp_path / "t.json"))
    with pytest.raises(UsageError, match="given twice"):
        compare_films(out, out)


def test_the_command(clip: clips.Clip, folder: Path, tmp_path: Path) -> None:
    hidden = hide(clip, tmp_path / "out.mp4", "solid", BARE)
    words = ["compare", str(folder / "film.mp4"), str(hidden), "--truth", str(folder / "truth.json")]
    report = tmp_path / "report.json"
    done = CliRunner().invoke(app, [*words, "-o", str(report), "--cover", "96,96,96"], catch_exceptions=False)
    assert done.exit_code == 0
    for said in ("5 of 40: 12.5% (5.5–26.1)", "covered, 64–127 px high", "Look at frames 4, 5, 6, 11, 12"):
        assert said in done.output, done.output
    body = json.loads(report.read_text())
    assert (body["format"], body["cover"], body["truth"][0]) == ("fdf-compare-1", list(GREY), "truth.json")
    for most, code in (("124", 1), ("125", 0)):
        done = CliRunner().invoke(app, [*words, "--json", "--at-most", most], catch_exceptions=False)
        assert done.exit_code == code
        assert json.loads(done.stdout)["exposure"]["per_1000"] == 125
    for wrong, said in (
        (["--cover", "grey"], "--cover is no colour"),
        (["--threshold", "0.3"], "--threshold is of the detector"),
        (["--at-most", "-1"], "--at-most is out of range"),
    ):
        done = CliRunner().invoke(app, [*words, *wrong])
        assert isinstance(done.exception, UsageError)
        assert said in str(done.exception)


def test_without_pyav_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MachineError, match=r"fdf\[video\]"):
        compare_films(folder / "film.mp4", folder / "none.mp4", KnownTruth(folder / "truth.json"))
