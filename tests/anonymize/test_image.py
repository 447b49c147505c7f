"""The library call: it fails closed, and touches nothing but regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdf
from fdf.anonymize.base import Face, Replacement
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from fdf.anonymize.video import FilmFinder
from fdf.errors import UsageError
from fdf.vision.base import Part
from fdf.vision.picture import decode
from tests.anonymize.pictures import ASTRONAUT, Broken, Fixed, face, noise

boxes = st.tuples(st.floats(-20, 90), st.floats(-20, 70), st.floats(3, 60), st.floats(3, 60)).map(
    lambda v: face(v[0], v[1], v[0] + v[2], v[1] + v[3])
)


@settings(max_examples=50)
@given(st.lists(boxes, max_size=4), st.sampled_from(["solid", "blur", "pixelate"]), st.integers(0, 99))
def test_pixels_outside_stay_and_inside_go(faces: list[Face], method: str, seed: int) -> None:
    picture = noise(80, 100, seed)
    before = picture.copy()
    anonymizer = Anonymizer(method)
    result = anonymizer(picture, faces)
    touched = anonymizer.touched(picture, faces)
    assert np.array_equal(picture, before)
    assert np.array_equal(result.picture[~touched], picture[~touched])
    core = np.zeros_like(touched)
    for job in anonymizer.jobs(picture, faces):
        core[job.region.slices] |= job.region.alpha >= 1
    if method == "solid":
        assert (result.picture[core] == GREY).all()
    elif core.any():
        assert (result.picture[core] != picture[core]).any()
    assert len(result.outcomes) == len(result.faces) == result.counts["faces"]
    assert result.counts["fell_back"] == 0


@settings(max_examples=25)
@given(st.lists(boxes, min_size=1, max_size=4), st.integers(0, 99))
def test_solid_says_nothing_of_the_face(faces: list[Face], seed: int) -> None:
    """Two pictures that differ only inside the cores come out the same."""
    first, second = noise(80, 100, seed), noise(80, 100, seed + 1)
    anonymizer = Anonymizer()
    core = np.zeros(first.shape[:2], dtype=bool)
    for job in anonymizer.jobs(first, faces):
        core[job.region.slices] |= job.region.alpha >= 1
    second[~core] = first[~core]
    assert np.array_equal(anonymizer(first, faces).picture, anonymizer(second, faces).picture)


def test_a_part_is_looked_at_in_pixels_of_the_picture() -> None:
    """By any finder; fdf's of films knows how large the whole is."""
    five = np.array([[3, 4]] * 5, dtype=np.float32)
    (one,) = Anonymizer(finder=Fixed(face(1, 2, 11, 12, landmarks5=five))).detect(noise(), Part(30, 20, 60, 50))
    assert one.box.tolist() == [31, 22, 41, 32]
    assert one.landmarks5 is not None
    assert one.landmarks5.tolist() == [[33, 24]] * 5


@pytest.mark.parametrize("finder", [FilmFinder(), *map(FaceFinder, ("fast", "normal", "thorough"))])
def test_fdf_finds_in_a_part_what_it_finds_in_the_whole(finder: Any) -> None:
    picture = decode(ASTRONAUT.read_bytes()).pixels
    anonymizer = Anonymizer(finder=finder)
    (whole,) = anonymizer.detect(picture)
    for part in (Part(150, 30, 310, 210), Part(180, 50, 280, 230), Part(0, 0, 512, 512)):
        (found,) = anonymizer.detect(picture, part)
        assert np.abs(found.box - whole.box).max() < 8
    assert anonymizer.detect(picture, Part(0, 300, 160, 460)) == []
    with pytest.raises(ValueError, match=r"Expected a part of a picture of 512 × 512 pixels, got \(500, 0, 520, 20\)"):
        anonymizer.detect(picture, Part(500, 0, 520, 20))


def raising(*_: object) -> Any:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raising, "broken failed: RuntimeError: boom"),
        ([], "broken gave 0 results for 2 faces"),
        (None, "broken failed: TypeError"),
        (lambda _, jobs: [Replacement(None, "no keypoints") for _ in jobs], "no keypoints"),
        (lambda _, jobs: [Replacement(None) for _ in jobs], "no reason given"),
        (lambda _, jobs: ["?" for _ in jobs], "broken gave str"),
        (lambda _, jobs: [Replacement(np.zeros((3, 3, 3), np.uint8)) for _ in jobs], "expected uint8"),
        (lambda p, jobs: [Replacement(p[j.region.slices].astype(float)) for j in jobs], "gave float64"),
        (lambda p, jobs: [Replacement(p[j.region.slices]) for j in jobs], "broken gave the face back as it was"),
        (lambda p, _: p.fill(0), "broken failed: ValueError"),
    ],
)
def test_whatever_a_method_does_wrong_the_face_is_covered(answer: Any, said: str) -> None:
    faces = [face(10, 10, 30, 30), face(50, 30, 80, 60)]
    picture = noise(80, 100)
    result = Anonymizer(Broken(answer))(picture, faces)
    assert np.array_equal(result.picture, Anonymizer("solid")(picture, faces).picture)
    assert result.counts == {"faces": 2, "solid": 2, "fell_back": 2}
    assert all(said in outcome.reason for outcome in result.outcomes)


def test_a_method_may_do_some_faces_and_the_fallback_the_others() -> None:
    def first_only(picture: Any, jobs: Any) -> list[Replacement]:
        pixels = np.zeros((*jobs[0].region.alpha.shape, 3), np.uint8)
        return [Replacement(pixels), *(Replacement(None, "too small") for _ in jobs[1:])]

    faces = [face(10, 10, 30, 30), face(50, 30, 80, 60)]
    result = Anonymizer(Broken(first_only), fallback="blur")(noise(80, 100), faces)
    assert [(o.method, o.reason) for o in result.outcomes] == [("broken", ""), ("blur", "too small")]
    assert result.counts == {"faces": 2, "broken": 1, "blur": 1, "fell_back": 1}


def test_a_fallback_that_fails_too_ends_in_grey() -> None:
    one = [face(10, 10, 30, 30)]
    result = Anonymizer(Broken(raising), fallback=Broken(raising))(noise(), one)
    assert result.counts == {"faces": 1, "solid": 1, "fell_back": 1}


def test_where_regions_overlap_the_larger_face_wins() -> None:
    picture, large, small = noise(120, 120), face(20, 20, 90, 90), face(40, 40, 52, 52)
    both = Anonymizer("blur")(picture, [large, small]).picture
    assert np.array_equal(both[40:52, 40:52], Anonymizer("blur")(picture, [large]).picture[40:52, 40:52])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_fell_back_is_covered_under_any_larger_face(order: tuple[int, int]) -> None:
    """A larger face's window may hold what was drawn for a smaller one and rejected: it must not come back over the grey."""

    def all_but_the_small(picture: Any, jobs: Any) -> list[Replacement]:
        drawn = [Replacement(np.full((*job.region.alpha.shape, 3), 200, np.uint8)) for job in jobs]
        return [
            one if job.face.size > 30 else Replacement(None, "rejected") for one, job in zip(drawn, jobs, strict=True)
        ]

    faces = [face(20, 20, 90, 90), face(40, 40, 52, 52)]
    result = Anonymizer(Broken(all_but_the_small))(noise(120, 120), [faces[at] for at in order])
    assert (result.picture[42:50, 42:50] == GREY).all()
    assert (result.picture[75:80, 50:60] == 200).all()


def test_boxes_of_ones_own_may_be_plain_numbers() -> None:
    picture = noise(80, 100)
    wanted = Anonymizer()(picture, [face(10, 10, 30, 30)])
    for box in ([10, 10, 30, 30], (10.0, 10.0, 30.0, 30.0), np.array([10, 10, 30, 30])):
        found = Anonymizer()(picture, detections=[box])
        assert np.array_equal(found.picture, wanted.picture)
        assert found.faces[0].origin == "user"
    for wrong in ([1, 2, 3], "10,10,30,30", [[10, 10, 30, 30]]):
        with pytest.raises(ValueError, match="expected a Face or a box of four numbers"):
            Anonymizer()(picture, detections=[wrong])


def test_seeds_follow_salt_and_track() -> None:
    def seed(salt: str | None, one: Face) -> int:
        return Anonymizer(salt=salt).jobs(noise(), [one])[0].seed

    here, moved = face(10, 10, 30, 30, track=7), face(20, 20, 40, 40, track=7)
    assert seed("a", here) == seed("a", moved)
    assert seed("a", here) != seed("b", here)
    assert seed(None, here) != seed(None, here)
    assert seed("a", here) != seed("a", face(10, 10, 30, 30, track=8))


def test_faces_outside_the_picture_are_left_out() -> None:
    picture = noise()
    result = Anonymizer()(picture, [face(500, 500, 600, 600)])
    assert result.faces == []
    assert np.array_equal(result.picture, picture)


def test_detections_are_asked_for_once_and_not_if_given() -> None:
    finder = Fixed(face(10, 10, 30, 30))
    anonymizer = Anonymizer(finder=finder)
    anonymizer(noise(), [])
    assert finder.asked == 0
    assert anonymizer(noise()).counts["faces"] == finder.asked == 1


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), "u1")],
)
def test_only_rgb_is_taken(picture: Any) -> None:
    with pytest.raises(ValueError, match="expected RGB, uint8"):
        Anonymizer()(picture, [])


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="no such region"):
        Anonymizer(region="nose")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no such thoroughness"):
        FaceFinder("lazy")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="threshold is out of range"):
        FaceFinder("fast", 1.5)


@pytest.fixture(scope="module")
def astronaut() -> Any:
    return decode(ASTRONAUT.read_bytes()).pixels


@pytest.mark.parametrize("thoroughness", ["fast", "normal", "thorough"])
def test_a_real_face_is_found_and_gone(astronaut: Any, thoroughness: Any) -> None:
    finder = FaceFinder(thoroughness)
    anonymizer = fdf.Anonymizer("solid", region="head", finder=finder)
    result = anonymizer(astronaut)
    assert result.counts == {"faces": 1, "solid": 1, "fell_back": 0}
    x0, y0, x1, y1 = result.faces[0].box
    assert x0 < 200
    assert x1 > 250
    assert y0 < 90
    assert y1 > 160
    assert result.faces[0].landmarks5 is not None
    assert finder.find(result.picture) == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_what_a_look_finds_lies_where_the_face_lies(astronaut: Any, turns: int, mirrored: bool) -> None:
    """The picture is brought to where this look sees it upright; boxes and points must come back to where it lies."""
    from fdf.anonymize.detection import Look, _look
    from fdf.vision.centerface import FAST, CenterFace

    detector = CenterFace(FAST)
    expected = detector.detect([astronaut])[0]
    lying = np.rot90(astronaut[:, ::-1] if mirrored else astronaut, -turns)
    found = _look(np.ascontiguousarray(lying), Look(detector, turns, mirrored))
    mask = np.zeros(astronaut.shape[:2])
    x0, y0, x1, y1 = expected.boxes[0].astype(int)
    mask[y0:y1, x0:x1] = 1
    rows, columns = np.nonzero(np.rot90(mask[:, ::-1] if mirrored else mask, -turns))
    assert np.allclose(found.boxes[0], [columns.min(), rows.min(), columns.max(), rows.max()], atol=2)
    assert found.landmarks5 is not None
    assert expected.landmarks5 is not None
    values = [lying[int(y), int(x)].tolist() for x, y in found.landmarks5[0]]
    order = [1, 0, 2, 4, 3] if mirrored else range(5)
    assert values == [astronaut[int(y), int(x)].tolist() for x, y in expected.landmarks5[0][list(order)]]
