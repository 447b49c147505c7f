"""Which frames of a film a detector looks at, and which parts of the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.anonymize.base import Face
from fdf.anonymize.looking import Look, Looking, steady
from fdf.anonymize.scenes import CutFinder
from fdf.anonymize.stirring import parts, stir
from fdf.vision.base import Part
from tests.anonymize.test_tracking import face


class Detector:
    """Knows the truth and counts who asks.

    Args:
        truth: the faces of each frame.
        closer: faces that only a look at a part finds, by frame.
    """

    def __init__(self, truth: list[list[Face]], closer: dict[int, list[Face]] | None = None) -> None:
        self.truth, self.closer = truth, closer or {}
        self.asked: list[int] = []
        self.parts: list[tuple[int, Part]] = []

    def __call__(self, index: int, parts: Sequence[Part]) -> Future[list[Face]]:
        found = self.truth[index]
        if not parts:
            self.asked.append(index)
        else:
            self.parts += [(index, part) for part in parts]
            found = [one for one in found + self.closer.get(index, []) if any(within(one, part) for part in parts)]
        future: Future[list[Face]] = Future()
        future.set_result(found)
        return future


def within(one: Face, part: Part) -> bool:
    """Whether a part shows most of a face."""
    x, y = (one.box[:2] + one.box[2:]) / 2
    return bool(part.x0 <= x < part.x1 and part.y0 <= y < part.y1)


def looks(
    truth: list[list[Face]], thumbnails: list[np.ndarray], detector: Detector | None = None
) -> tuple[list[Look], list[int]]:
    detector = detector or Detector(truth)
    looking = Looking(detector)
    out = [look for index, thumb in enumerate(thumbnails) for look in looking.add(index, thumb)] + list(
        looking.finish()
    )
    assert [look.index for look in out] == list(range(len(truth)))
    assert len(set(detector.asked)) == len(detector.asked), "no frame is looked at twice"
    assert len(set(detector.parts)) == len(detector.parts) == looking.parts
    assert looking.looked == len(detector.asked)
    return out, sorted(detector.asked)


PLAIN = np.full((88, 160), 90, dtype=np.uint8)
PATTERN = np.random.default_rng(0).integers(0, 255, (88, 160)).astype(np.uint8)


def test_a_quiet_film_is_looked_at_every_fourth_frame() -> None:
    out, asked = looks([[face(300, 300)]] * 41, [PATTERN] * 41)
    assert asked == list(range(0, 41, 4))
    assert [look.index for look in out if look.faces is not None] == asked


def test_an_entering_face_is_found_in_its_first_frame() -> None:
    for first in range(1, 12):
        truth = [[face(300, 300)] if t >= first else [] for t in range(21)]
        _, asked = looks(truth, [PATTERN] * 21)
        assert {first - 1, first} <= set(asked)


STIRRED = PLAIN.copy()
STIRRED[20:40, 60:80] = 200
SAME_MEAN = PLAIN.copy()
SAME_MEAN[30:34, 60:64] = 90 + 30 * (-1) ** np.arange(4)
FAINT = PATTERN // 4 + 60
BESIDE = FAINT.copy()
FAINTER = FAINT.copy()
FAINTER[30:34, 60:64] += 3
BESIDE[28:36, 72:78] += 3


@pytest.mark.parametrize("stirred", [STIRRED, SAME_MEAN], ids=["brighter", "as bright as what it hides"])
def test_what_shows_up_between_two_looks_is_looked_at(stirred: np.ndarray) -> None:
    thumbs = [PLAIN] * 21
    thumbs[6] = stirred
    truth: list[list[Face]] = [[] for _ in range(21)]
    truth[6] = [face(500, 240)]
    out, asked = looks(truth, thumbs)
    assert 6 in asked
    assert out[6].faces


def stirred(how: np.ndarray, calm: np.ndarray = FAINT) -> list[np.ndarray]:
    """Frame 6 of 21 is another one."""
    assert (stir(calm, how, calm).max() >= 1) == (how is SAME_MEAN)
    return [calm] * 6 + [how] + [calm] * 14


def test_where_it_stirs_faintly_only_that_part_is_looked_at() -> None:
    detector = Detector([[]] * 21)
    out, asked = looks(detector.truth, stirred(FAINTER), detector)
    assert asked == list(range(0, 21, 4))
    assert [index for index, _ in detector.parts] == [5, 6, 7], "half a face may hide the other half a frame later"
    for _, part in detector.parts:
        assert (part.x0 < 480, part.y0 < 240, part.x1 > 512, part.y1 > 272) == (True,) * 4, part
        assert (part.x1 - part.x0) * (part.y1 - part.y0) < 0.1 * 1280 * 720
    assert [look.index for look in out if look.faces is not None] == asked


def test_a_part_shows_who_is_not_where_a_known_face_must_be() -> None:
    """What is drawn over a known face hides 0.12 of its size round it: who lies under that is hidden."""
    still, beside = (
        face(500, 256),
        {"same": face(506, 250, 70), "half behind": face(545, 256, 60), "other": face(600, 250, 40)},
    )
    for name, one in beside.items():
        truth = [[still]] * 21
        truth[6] = [one if name == "same" else still] + ([] if name == "same" else [one])
        out, asked = looks(truth, stirred(BESIDE))
        assert (6 in asked) == (name != "same"), name
        assert out[6].faces == (None if name == "same" else truth[6])


def test_who_only_a_look_at_a_part_finds_is_there() -> None:
    one = face(490, 250, 30)
    detector = Detector([[]] * 21, {6: [one]})
    out, asked = looks(detector.truth, stirred(FAINTER), detector)
    assert 6 in asked
    assert out[6].faces == [one]


def test_what_stirs_as_a_face_does_and_is_none_means_looks_at_all_between() -> None:
    """A known face's cover is the better for it, where another hides half behind it whom the detector doesn't see."""
    truth = [[face(300, 300)]] * 21
    _, asked = looks(truth, stirred(SAME_MEAN, PLAIN))
    assert asked == [0, 4, 5, 6, 7, 8, 12, 16, 20]


def test_where_much_stirs_faintly_it_is_noise_and_where_it_stirs_strongly_the_whole_is_looked_at() -> None:
    faint = np.full((88, 160), 0.9, dtype=np.float32)
    ((x0, y0, x1, y1),) = parts(faint) or [(0, 0, 0, 0)]
    assert (x1 - x0, y1 - y0) == (32, 32), "no more than a sample"
    faint[40, 60] = 0.95
    ((x0, y0, x1, y1),) = parts(faint) or [(0, 0, 0, 0)]
    assert (x0, y0, x1, y1) == (44, 24, 76, 56), "round what stirs most"
    faint[40, 60] = 1.2
    ((x0, y0, x1, y1),) = parts(faint) or [(0, 0, 0, 0)]
    assert (x0, y0, x1, y1) == (44, 24, 76, 56), "round what stirs as a face would"
    assert parts(np.full((88, 160), 1.1, dtype=np.float32)) is None
    assert parts(np.full((88, 160), 0.24, dtype=np.float32)) == []


def test_specks_of_noise_do_not_hide_who_stirs_more_than_they_do() -> None:
    """There is room for three parts; a fourth spot once meant that none was looked at."""
    places = [(15, 20, 0.6), (15, 80, 0.62), (15, 140, 0.64), (70, 40, 0.7), (70, 120, 0.61)]
    stirs = np.zeros((88, 160), dtype=np.float32)
    for y, x, how in places:
        stirs[y, x] = how
    boxes = parts(stirs)
    assert boxes is not None
    assert [(y, x) for y, x, _ in places if any(a <= x < c and b <= y < d for a, b, c, d in boxes)] == [
        (15, 80), (15, 140), (70, 40),
    ]  # fmt: skip


def test_who_two_parts_show_is_one() -> None:
    """The look at the whole doesn't find them; in the second part lies no more than a half."""
    one = face(500, 250)
    half = Face(one.box - np.array([0, 0, 40, 0], dtype=np.float32), 0.95)
    detector = Detector([[]] * 21, {6: [half, one]})
    out, _ = looks(detector.truth, stirred(FAINTER), detector)
    assert out[6].faces == [one]


@given(st.lists(st.tuples(st.integers(0, 87), st.integers(0, 159), st.floats(0, 2)), max_size=12))
def test_what_stirs_lies_in_a_part(places: list[tuple[int, int, float]]) -> None:
    stirs = np.zeros((88, 160), dtype=np.float32)
    for y, x, how in places:
        stirs[y, x] = how
    boxes = parts(stirs)
    seen = np.full(stirs.shape, boxes is None)
    area = 0
    for x0, y0, x1, y1 in boxes or ():
        assert 0 <= x0 <= x1 - 32 <= 160 - 32, "as large in a corner"
        assert 0 <= y0 <= y1 - 32 <= 88 - 32
        seen[y0:y1, x0:x1] = True
        area += (x1 - x0) * (y1 - y0)
    assert seen[stirs >= 1].all()
    assert area <= 0.25 * stirs.size
    assert (boxes == []) == (stirs.max() < 0.25)


@given(st.integers(0, 10_000), st.floats(0.2, 0.9))
def test_what_stirs_most_lies_in_a_part_whatever_the_noise(seed: int, most: float) -> None:
    import cv2

    random = np.random.default_rng(seed)
    stirs = np.abs(cv2.GaussianBlur(random.normal(size=(88, 160)).astype(np.float32), (0, 0), random.uniform(0.5, 3)))
    stirs *= most / stirs.max()
    boxes = parts(stirs)
    assert boxes is not None
    y, x = np.unravel_index(int(stirs.argmax()), stirs.shape)
    assert any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes) == (most >= 0.25)
    assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) <= 0.25 * stirs.size


def test_both_sides_of_a_cut_are_looked_at_and_a_flash_is_none() -> None:
    other = np.random.default_rng(1).integers(0, 255, (88, 160)).astype(np.uint8)
    smooth = [np.asarray(cv2_blur(p)) for p in (PATTERN, other)]
    thumbs = [smooth[0]] * 10 + [smooth[1]] * 11
    out, asked = looks([[]] * 21, thumbs)
    assert [look.index for look in out if look.cut] == [10]
    assert {9, 10} <= set(asked)
    finder = CutFinder()
    flash = [smooth[0]] * 10 + [np.full_like(PATTERN, 255)] * 2 + [smooth[0]] * 10
    seen = [s for i, t in enumerate(flash) for s in finder.add(i, t)] + list(finder.finish())
    assert not any(s.cut for s in seen)
    assert len(seen) == 22


def cv2_blur(picture: np.ndarray) -> np.ndarray:
    import cv2

    soft = cv2.GaussianBlur(picture, (0, 0), 6)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX)


def test_steady() -> None:
    assert steady([], []) == []
    left, right, later = face(100, 100), face(500, 100), [face(505, 100), face(104, 100)]
    assert steady([left, right], later) == [(left, later[1]), (right, later[0])]
    assert steady([face(100, 100)], [face(160, 100)]) is None
    assert steady([face(100, 100)], []) is None


def test_light_that_changes_everywhere_is_neither_stir_nor_noise() -> None:
    dark = (PATTERN // 12).astype(np.uint8)
    lit = dark + np.uint8(4)
    assert stir(dark, lit, dark).max() < 1
    lit[40:46, 60:66] += 3
    assert stir(dark, lit, dark).max() >= 1
