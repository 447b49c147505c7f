"""Labelled faces and masks: which are covered, and of what size they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.anonymize.base import Face
from fdf.errors import DataError
from fdf.evaluate.coverage import INNER_POINTS, SIZES, SizeCount, coverage, covered, hidden_mask, read_labels


def points(x: float, y: float, size: float) -> np.ndarray:
    """68 points in a square of this size; the jaw's 17 lie on its left side."""
    rows = np.random.default_rng(0).uniform(0.2, 1, (68, 2))
    rows[:2] = [[0, 0], [0, 1]]
    rows[2:17] = [0, 0.5]
    return np.array([x, y]) + rows * size


def test_a_face_is_covered_when_its_inner_points_are() -> None:
    face = points(10, 10, 50)[None]
    mask = np.zeros((100, 100), dtype=np.bool_)
    mask[20:61, 20:61] = True  # all but the jaw
    assert covered(mask, face).tolist() == [True]
    x, y = face[0, INNER_POINTS][7].astype(int)
    mask[y, x] = False
    assert covered(mask, face).tolist() == [False]
    assert covered(~np.zeros_like(mask), face + 80).tolist() == [True]  # beyond the border: the border's pixel


@given(st.lists(st.tuples(st.floats(1, 500), st.booleans()), max_size=40))
def test_every_face_is_in_one_class_of_sizes(faces: list[tuple[float, bool]]) -> None:
    count = SizeCount()
    for height, good in faces:
        count.add(height, covered=good)
    rows = count.result()
    assert [row.low for row in rows] == [0, *SIZES]
    for row in rows:
        mine = [good for height, good in faces if row.low <= height < (row.high or np.inf)]
        assert (row.covered is None) == (not mine)
        if row.covered is not None:
            assert (row.covered.n, round(row.covered.value * row.covered.n)) == (len(mine), sum(mine))


def test_coverage_counts_faces_by_size_and_what_was_found() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    big, small = points(20, 20, 100), points(150, 150, 12)
    found = [Face(np.array([20, 20, 120, 120], np.float32))]
    result = coverage([(picture, np.stack([big, small]))], lambda p: (hidden_mask(p, found), len(found)))
    assert result.covered is not None
    assert (str(result.covered), result.found) == ("1 of 2: 50.0% (9.5–90.5)", 1)
    assert {row.low: row.covered.value for row in result.by_size if row.covered} == {0: 0, 64: 1}


def labels(parts: int = 68, head: str = "", name: str = "a.jpg") -> str:
    rows = "".join(f"<part name='{k:02d}' x='{k}' y='{2 * k}'/>" for k in reversed(range(parts)))
    return f"{head}<dataset><images><image file='sub/{name}'><box>{rows}</box></image></images></dataset>"


def test_labels_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(labels())
    (tmp_path / "y.xml").write_text(labels(name="none.jpg"))
    (tmp_path / "a.jpg").touch()
    ((path, faces),) = read_labels(tmp_path)
    assert (path, faces.shape) == (tmp_path / "a.jpg", (1, 68, 2))
    assert faces[0, 5].tolist() == [5, 10]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (labels(head="<!DOCTYPE a [<!ENTITY b 'c'>]>"), "has declarations"),
        (labels(parts=5), r"a box with 5 parts\)\. Expected 68 parts"),
        ("<dataset>", "no label XML of dlib's"),
        ("<dataset/>", "has no labels"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.xml").write_text(text)
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path)
