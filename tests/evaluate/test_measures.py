"""Diversity, preservation, re-identification and memorization on made-up numbers whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdf.evaluate.diversity import SIDE, mean_structural_distance, structural_distance
from fdf.evaluate.faces import Seen, overlap
from fdf.evaluate.memorization import memorization, nearest
from fdf.evaluate.preservation import angle_between, normalized_error, preservation
from fdf.evaluate.reidentification import different_people, distances, reidentification
from fdf.evaluate.result import compare


def squares(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def test_structural_distance_is_0_for_one_picture_symmetric_and_grows() -> None:
    a, noise = squares(0), np.random.default_rng(1).normal(0, 1, (SIDE, SIDE, 3))
    assert structural_distance(a, a) == pytest.approx(0, abs=1e-9)
    little, much = (np.clip(a + noise * by, 0, 255).astype(np.uint8) for by in (8, 40))
    assert 0 < structural_distance(a, little) < structural_distance(a, much) < structural_distance(a, squares(2)) <= 1
    assert structural_distance(a, much) == pytest.approx(structural_distance(much, a))
    assert mean_structural_distance([a, a, a]) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match=r"Expected \(64, 64, 3\)"):
        structural_distance(a, a[:32])


def seen(n: int) -> Seen:
    points = np.tile(np.array([[32, 36], [40, 28], [24, 28]], np.float32), (n, 1, 1))
    return Seen(
        centerface=np.ones(n, np.bool_),
        blazeface=np.ones(n, np.bool_),
        clear=np.ones(n, np.bool_),
        points=points,
        pose=np.stack([np.linspace(-40, 40, n), np.zeros(n), np.full(n, 179)], axis=1).astype(np.float32),
        vectors=np.eye(n, 128, dtype=np.float32),
    )


def test_preservation_of_a_perfect_and_of_a_moved_fake() -> None:
    real, boxes = seen(6), np.tile(np.array([16, 12, 48, 62], np.float32), (6, 1))
    keypoints = np.concatenate([real.points, np.ones((6, 3, 1), np.float32)], axis=2)
    keypoints = np.concatenate([keypoints, np.zeros((6, 4, 3), np.float32)], axis=1)
    same = preservation(real, real, keypoints, boxes)
    assert same.nme is not None
    assert same.nme.mean == 0
    assert same.yaw is not None
    assert (same.yaw.mean, same.yaw.n) == (0, 6)
    assert same.yaw_chance is not None
    assert same.yaw_chance > 20

    lost = np.array([True, False, True, True, True, True])
    turned = real.pose + np.array([0, 0, 3], np.float32)  # across 180°
    moved = preservation(
        real, replace(real, points=real.points + 4, pose=turned, clear=lost, centerface=lost), keypoints, boxes
    )
    assert moved.centerface is not None
    assert moved.centerface.value == pytest.approx(5 / 6)
    assert moved.nme is not None
    assert moved.nme.n == 5
    assert moved.nme.mean == pytest.approx(4 * 2**0.5 / 40, rel=1e-5)  # the root of 32 × 50 is 40
    assert moved.nme_failed is not None
    assert moved.nme_failed.value == 1
    assert moved.roll is not None
    assert moved.roll.mean == pytest.approx(3, abs=1e-4)


def test_points_that_are_not_known_do_not_count() -> None:
    keypoints = np.zeros((2, 7, 3), np.float32)
    keypoints[0, 1] = [40, 28, 1]
    error = normalized_error(seen(2).points, keypoints, np.array([[0, 0, 10, 10]] * 2, np.float32))
    assert error[0] == 0
    assert np.isnan(error[1])
    assert angle_between(np.array([350.0]), np.array([10.0])) == 20


def test_overlap() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], np.float32)
    assert overlap(boxes, np.array([0, 0, 2, 2], np.float32)).tolist() == pytest.approx([1, 1 / 3, 0])


def test_reidentification_of_copies_and_of_strangers() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(0, 0.1, (40, 128)).astype(np.float32)
    owners = [str(k) for k in range(40)]
    copied = reidentification(real, real + np.float32(1e-4), owners)
    assert copied is not None
    assert (copied.auc, copied.rank1 and copied.rank1.value, copied.accepted and copied.accepted.value) == (1, 1, 1)
    strangers = reidentification(real, rng.normal(0, 0.1, (40, 128)).astype(np.float32), owners)
    assert strangers is not None
    assert 0.3 < strangers.auc < 0.7
    assert strangers.rank1 is not None
    assert strangers.rank1.value < 0.2
    assert strangers.pairs == 40 * 39 // 2
    assert reidentification(real, real, ["one"] * 40) is None


def test_pairs_of_one_owner_are_no_different_people() -> None:
    rows = np.array([[0.0], [1.0], [3.0]], np.float32)
    assert different_people(rows, ["a", "a", "b"]).tolist() == [3, 2]
    assert distances(rows, rows[:2]).tolist() == [[0, 1], [1, 0], [3, 2]]


def test_memorization_finds_copies_and_leaves_the_owner_out() -> None:
    rng = np.random.default_rng(0)
    training = rng.normal(0, 0.1, (700, 128)).astype(np.float32)
    names = [f"t{k}" for k in range(700)]
    fakes = training[[5, 600]] + np.float32(1e-4)
    far, index = nearest(fakes, ["a", "t600"], training, names)
    assert index[0] == 5
    assert far[0] < 0.01
    assert index[1] != 600
    slow = min(float(np.linalg.norm(fakes[1] - row)) for k, row in enumerate(training) if k != 600)
    assert far[1] == pytest.approx(slow, rel=1e-5)

    real = rng.normal(0, 0.1, (50, 128)).astype(np.float32)
    copies, _ = nearest(training[:50] + np.float32(1e-4), [""] * 50, training, names)
    others, _ = nearest(real, [""] * 50, training, names)
    found = memorization(copies, others, 700, 700)
    assert found is not None
    assert found.ratio < 0.01
    assert found.nearer_than_reals is not None
    assert found.nearer_than_reals.value == 1
    assert memorization(np.full(3, np.inf), np.full(3, np.inf), 1, 1) is None


def test_figures_of_other_features_are_never_put_side_by_side() -> None:
    from fdf.errors import UsageError

    one = {"quality": {"extractor": "a", "extractor_sha256": "1", "fid_halves": 3.0}, "data": {"seed": 0}}
    assert compare(one, one) == [("quality.fid_halves", 3.0, 3.0)]
    few, many = ({**one, "memorization": {"training": n, "ratio": 1.0}} for n in (3, 300))
    assert ("memorization.ratio", 1.0, 1.0) in compare(few, few)
    assert compare(few, many) == compare(one, one), "among more faces the nearest is nearer"
    assert compare({**one, "memorization": None}, few) == compare(one, one)
    with pytest.raises(UsageError, match=r"can't be compared.*features: a and b"):
        compare(one, {**one, "quality": {**one["quality"], "extractor": "b"}})
    with pytest.raises(UsageError, match="weights of the features: 1 and 2"):
        compare(one, {**one, "quality": {**one["quality"], "extractor_sha256": "2"}})
