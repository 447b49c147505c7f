"""Caps: exact, deterministic, and a uniform draw that knows nothing of a face but its id."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.stages.balance import cell, lot, over_cap
from fdf.stages.rules import FaceView
from tests.fakes import face


def crowd(count: int, **columns: Any) -> list[FaceView]:
    return [face(face_id=f"f{index}", photo_id=f"p{index}", **columns) for index in range(count)]


def by_yaw(one: FaceView) -> float | None:
    return one.yaw


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(0, 6), st.randoms())
def test_caps_are_exact_and_the_order_changes_nothing(groups: list[int], cap: int, chance: random.Random) -> None:
    faces = [face(face_id=f"f{index}", photo_id="p", yaw=float(group)) for index, group in enumerate(groups)]
    left_out = over_cap(faces, by_yaw, cap, "seed")
    kept = Counter(one.yaw for one in faces if one.key not in left_out)
    sizes = Counter(one.yaw for one in faces)
    assert kept == {group: min(size, cap) if cap else size for group, size in sizes.items()}
    assert all(found == (one.yaw, sizes[one.yaw]) for one in faces if (found := left_out.get(one.key)))
    shuffled = faces.copy()
    chance.shuffle(shuffled)
    assert over_cap(shuffled, by_yaw, cap, "seed") == left_out


def test_the_same_face_id_in_two_photos_is_two_faces_in_any_order() -> None:
    twins = [face(photo_id="a"), face(photo_id="b")]
    assert over_cap(twins, by_yaw, 1, "s") == over_cap(twins[::-1], by_yaw, 1, "s") == {("b", "f0"): (0.0, 2)}


def test_another_seed_keeps_others() -> None:
    faces = crowd(50)
    assert over_cap(faces, by_yaw, 25, "one").keys() != over_cap(faces, by_yaw, 25, "two").keys()


def test_the_draw_has_nothing_to_do_with_the_score_or_the_looks() -> None:
    plain = over_cap(crowd(60), by_yaw, 20, "s").keys()
    scored = [one._replace(score=index / 60, sharpness=float(index)) for index, one in enumerate(crowd(60))]
    assert over_cap(scored, by_yaw, 20, "s").keys() == plain


def test_the_draw_is_uniform() -> None:
    """Each of 20 faces is kept in half of 1000 draws: within 5 standard deviations."""
    kept = Counter[str]()
    for seed in range(1000):
        left_out = over_cap(crowd(20), by_yaw, 10, str(seed))
        kept.update(one.face_id for one in crowd(20) if one.key not in left_out)
    assert sum(kept.values()) == 10_000
    assert all(abs(count - 500) < 5 * 1000**0.5 / 2 for count in kept.values())


def test_a_lot_is_the_same_everywhere() -> None:
    assert lot("f0", "fdf") == lot("f0", "fdf")
    assert len(lot("", "")) == 24
    assert lot("a", "bc") != lot("ab", "c")
    assert lot("f0", "fdf") == "dce1befdbeeded41066ebd94"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "yaw[-10,10) size[64,128) light[100,140)"),
        ({"yaw": None}, "yaw? size[64,128) light[100,140)"),
        ({"yaw": 10.0}, "yaw[10,30) size[64,128) light[100,140)"),
        ({"yaw": -10.1}, "yaw[-30,-10) size[64,128) light[100,140)"),
        ({"yaw": -90.0, "brightness": 0.0}, "yaw[,-60) size[64,128) light[,60)"),
        ({"yaw": 90.0, "brightness": 255.0}, "yaw[60,) size[64,128) light[180,)"),
        ({"box": (0.0, 0.0, 31.9, 500.0)}, "yaw[-10,10) size[,32) light[100,140)"),
        ({"box": (0.0, 0.0, 32.0, 500.0)}, "yaw[-10,10) size[32,64) light[100,140)"),
        ({"box": (0.0, 0.0, 256.0, 256.0)}, "yaw[-10,10) size[256,) light[100,140)"),
    ],
)
def test_cells(columns: dict[str, Any], expected: str) -> None:
    assert cell(face(**columns)) == expected
