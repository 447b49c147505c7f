"""Masks: nothing of a grown box is left out, wherever the face lies and however it is turned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.base import Face, Region
from fdf.anonymize.regions import region_of
from tests.anonymize.pictures import face

sides = st.floats(1, 300, width=32)
places = st.floats(-100, 400, width=32)


@given(places, places, sides, sides, st.sampled_from(["face", "head"]))
def test_the_core_holds_every_pixel_of_the_box(x: float, y: float, w: float, h: float, kind: str) -> None:
    width, height = 320, 240
    region = region_of(face(x, y, x + w, y + h), kind, width, height)  # type: ignore[arg-type]
    mask = np.zeros((height, width))
    if region is not None:
        mask[region.slices] = region.alpha
    x0, x1 = (int(np.clip(v, 0, width)) for v in (np.floor(x - 2), np.ceil(x + w + 2)))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (np.floor(y - 2), np.ceil(y + h + 2)))
    assert (mask[y0:y1, x0:x1] == 1).all()


@settings(max_examples=40)
@given(st.floats(0, 6.28), st.floats(20, 90, width=32))
def test_points_of_a_turned_face_are_in_the_core(angle: float, size: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    five = np.array([[-0.2, -0.15], [0.2, -0.15], [0, 0.05], [-0.15, 0.25], [0.15, 0.25]])
    points = (five @ turn.T * size + 150).astype(np.float32)
    one = face(150 - size / 2, 150 - size / 2, 150 + size / 2, 150 + size / 2, landmarks5=points)
    region = region_of(one, "face", 300, 300)
    assert region is not None
    mask = np.zeros((300, 300))
    mask[region.slices] = region.alpha
    assert (mask[points[:, 1].astype(int), points[:, 0].astype(int)] == 1).all()


def test_the_crown_is_where_the_eyes_are() -> None:
    """A face that hangs upside down has its forehead below."""
    up = np.float32([[40, 45], [60, 45], [50, 52], [42, 60], [58, 60]])
    down = (100 - up).astype(np.float32)
    boxes = [region_of(face(30, 30, 70, 70, landmarks5=five), "face", 100, 100) for five in (up, down)]
    upright, hanging = (box.window for box in boxes if box is not None)
    assert upright[1] < 100 - upright[3]
    assert hanging == (upright[0], 100 - upright[3], upright[2], 100 - upright[1])


def test_points_far_from_the_box_are_not_believed() -> None:
    wild = np.full((5, 2), 5000, dtype=np.float32)
    assert region_of(face(30, 30, 70, 70, landmarks5=wild), "face", 100, 100) is not None
    wide = region_of(face(30, 30, 70, 70, landmarks5=wild), "face", 9000, 9000)
    assert wide is not None
    assert wide.window[2] < 200


def test_head_holds_face_and_alpha_falls_only_outside() -> None:
    one = face(40, 40, 80, 90)
    inner, outer = (region_of(one, kind, 200, 200) for kind in ("face", "head"))  # type: ignore[arg-type]
    assert inner is not None
    assert outer is not None
    full = np.zeros((200, 200))
    full[outer.slices] = outer.alpha
    assert (full[inner.slices][inner.alpha > 0] == 1).all()
    assert set(np.unique(inner.alpha)) >= {0.0, 1.0}


def test_a_box_outside_has_no_region() -> None:
    assert region_of(face(500, 500, 520, 520), "head", 100, 100) is None


@pytest.mark.parametrize(
    ("box", "said"),
    [([1, 1, 1, 2], "x1 > x0"), ([0, 0, np.nan, 1], "finite"), ([0, 0, 1], "expected float32")],
)
def test_a_face_checks_itself(box: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Face(np.array(box, dtype=np.float32))


def test_a_region_checks_itself() -> None:
    with pytest.raises(ValueError, match="alpha must lie"):
        Region((0, 0, 1, 1), np.full((1, 1), 2, dtype=np.float32))
    with pytest.raises(ValueError, match="window"):
        Region((5, 0, 1, 1), np.zeros((1, 1), dtype=np.float32))
