"""A look at a part of a picture sees what a look at the whole sees there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.anonymize.detection import FaceFinder
from fdf.vision.base import Detections, Part, Pixels
from fdf.vision.centerface import CenterFace, CenterFaceConfig, _filled
from fdf.vision.picture import decode
from tests.conftest import ROOT

GROUPS = sorted((ROOT / "fdf/data/sample/mirror").rglob("*.jpg"))


@pytest.fixture(scope="module")
def whole() -> CenterFace:
    return CenterFace(CenterFaceConfig(score=0.3))


@pytest.fixture(scope="module")
def pictures(whole: CenterFace) -> list[Pixels]:
    """Photos of the sample corpus with several people."""
    every = [decode(path.read_bytes()).pixels for path in GROUPS if path.stat().st_size > 40_000]
    return [picture for picture in every if len(whole.detect([picture])[0]) > 1][:4]


def around(box: np.ndarray, picture: Pixels) -> Part:
    """Half a face's size on each side of it."""
    height, width = picture.shape[:2]
    margin = 0.5 * (box[2:] - box[:2])
    x0, y0, x1, y1 = np.concatenate([box[:2] - margin, box[2:] + margin]).round().astype(int).tolist()
    return Part(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))


def near(box: np.ndarray, found: np.ndarray) -> float:
    """The best intersection over union."""
    shared = np.clip(np.minimum(found[:, 2:], box[2:]) - np.maximum(found[:, :2], box[:2]), 0, None).prod(axis=1)
    areas = (found[:, 2:] - found[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return float((shared / (areas - shared)).max(initial=0))


def sure(found: Detections) -> list[np.ndarray]:
    return [box for box, score in zip(found.boxes, found.scores, strict=True) if score > 0.5]


def test_a_part_shows_its_faces(whole: CenterFace, pictures: list[Pixels]) -> None:
    faces = [(picture, box) for picture in pictures for box in sure(whole.detect([picture])[0])]
    assert len(faces) >= 8
    missed = [box for picture, box in faces if near(box, whole.detect_part(picture, around(box, picture)).boxes) < 0.5]
    assert not missed


@pytest.mark.parametrize("side", [640, 1280])
def test_parts_have_the_second_pass_too(side: int, whole: CenterFace, pictures: list[Pixels]) -> None:
    """What is smeared or half hidden is often found by that one alone."""
    import cv2

    first = CenterFace(CenterFaceConfig(score=0.3, second_pass=False))
    only = found = 0
    for picture in pictures:
        size = tuple(round(v * side / max(picture.shape)) for v in picture.shape[1::-1])
        film = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for share in (0.014, 0.023, 0.033, 0.042, 0.052):
            length = int(share * side) | 1
            kernel = np.zeros((length, length), dtype=np.float32)
            kernel[length // 2] = 1 / length
            smeared = np.asarray(cv2.filter2D(film, -1, kernel))
            seen = first.detect([smeared])[0].boxes
            for box in whole.detect([smeared])[0].boxes:
                if near(box, seen) < 0.3:
                    only += 1
                    found += near(box, whole.detect_part(smeared, around(box, smeared)).boxes) >= 0.3
    assert only >= 5
    assert found >= 0.8 * only


@pytest.mark.parametrize("thoroughness", ["fast", "normal", "thorough"])
def test_a_finder_looks_at_parts_as_at_the_whole(thoroughness: str, pictures: list[Pixels]) -> None:
    """Each of its ways of looking by itself: one that fails would hide behind the others."""
    finder = FaceFinder(thoroughness)  # type: ignore[arg-type]
    for look in [look for look in finder.looks if look.at_parts]:
        finder.looks = [look]
        faces = [(picture, face.box) for picture in pictures[:2] for face in finder.find(picture) if face.score > 0.5]
        assert len(faces) >= 4
        for picture, box in faces:
            found = finder.find_part(picture, around(box, picture))
            assert near(box, np.stack([one.box for one in found] or [np.zeros(4)])) > 0.5, look


@given(st.integers(1, 6000), st.data(), st.floats(0.05, 3), st.sampled_from([64, 128]))
def test_a_part_is_widened_within_the_picture_and_not_stretched(
    length: int, data: st.DataObject, scale: float, least: int
) -> None:
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    begin, end, side = _filled(start, stop, length, scale, least)
    assert 0 <= begin <= start < stop <= end <= length
    assert side % 32 == 0
    assert side >= least or end - begin == length
    # Whole pixels; where all of a side is seen, as in a look at the whole: to the nearest 32.
    assert abs(side - (end - begin) * scale) <= max(
        0.5 * scale + 1e-6, 32 if side == 32 else 16 if end - begin == length else 0
    )


@pytest.mark.parametrize("part", [Part(0, 0, 0, 10), Part(5, 5, 4, 10), Part(-1, 0, 10, 10), Part(0, 0, 10, 101)])
def test_a_part_that_is_none_is_refused(whole: CenterFace, part: Part) -> None:
    with pytest.raises(ValueError, match="part of a picture of 200 × 100"):
        whole.detect_part(np.zeros((100, 200, 3), dtype=np.uint8), part)
