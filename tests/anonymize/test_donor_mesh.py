"""The mesh as a shape: what a donor takes over from a target, what not, and that warping puts things where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize import donor_mesh
from fdf.anonymize.donor_mesh import POINTS, STABLE, load_shape, mirrored, normals, openness, recast, to_mean, warp
from fdf.anonymize.relight import to_linear, to_srgb
from fdf.errors import DataError
from tests.anonymize.donor_folder import SIDE, photo, placed, turned

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15)


def test_triangles_cover_the_face_once_and_turn_clockwise() -> None:
    shape = load_shape()
    mesh = donor_mesh.extended(shape.mean)
    assert set(shape.triangles.ravel()) == set(range(POINTS))
    # Every edge belongs to two triangles that run along it in opposite directions, or to the outline.
    edges = np.concatenate([shape.cover[:, [k, (k + 1) % 3]] for k in range(3)])
    forward = {tuple(edge) for edge in edges.tolist()}
    assert len(forward) == len(edges)
    border = [edge for edge in forward if edge[::-1] not in forward]
    assert {point for edge in border for point in edge} == set(range(POINTS, len(mesh)))
    assert len(mesh) - len(forward | {e[::-1] for e in forward}) // 2 + len(shape.cover) == 1  # Euler: one disc


def test_directions_are_orthonormal_and_mirror_images_pair() -> None:
    shape = load_shape()
    moves = shape.expressions.reshape(len(shape.expressions), -1)
    assert np.allclose(moves @ moves.T, np.eye(len(moves)), atol=1e-9)
    assert np.array_equal(shape.mirror[shape.mirror], np.arange(POINTS))
    assert np.allclose(shape.mean[shape.mirror] * [-1, 1, 1], shape.mean, atol=2e-3)
    assert [int(shape.mirror[k]) for k in (33, 61, 4, 152)] == [263, 291, 4, 152]


def test_a_mirrored_mesh_has_the_opposite_yaw() -> None:
    from fdf.vision.pose import pose_from_mesh

    pose, other = pose_from_mesh(placed(yaw=25)), pose_from_mesh(mirrored(placed(yaw=25), SIDE))
    assert pose.yaw == pytest.approx(25, abs=4)
    assert other.yaw == pytest.approx(-pose.yaw, abs=0.5)


@few
@given(seeds, st.floats(0.5, 40), st.floats(-180, 180))
def test_the_similarity_to_the_mean_undoes_any_other(seed: int, scale: float, angle: float) -> None:
    rng = np.random.default_rng(seed)
    a = np.radians(angle)
    roll = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    mesh = scale * turned(*rng.uniform(-40, 40, 2)) @ roll.T + rng.normal(0, 50, 3)
    place = to_mean(mesh)
    assert np.allclose(place(mesh), load_shape().mean, atol=1e-6)
    assert np.allclose(place.back(place(mesh)), mesh, atol=1e-6 * max(scale, 1) * 100)


def strange(seed: int) -> np.ndarray:
    """Another person's deviation: in no stable point, and no expression."""
    shape = load_shape()
    free = np.ones((POINTS, 3), dtype=bool)
    free[list(STABLE)] = False
    moves = shape.expressions.reshape(len(shape.expressions), -1)[:, free.ravel()]
    drawn = np.random.default_rng(seed).normal(0, 0.05, free.sum())
    drawn -= moves.T @ np.linalg.solve(moves @ moves.T, moves @ drawn)
    found = np.zeros(POINTS * 3)
    found[free.ravel()] = drawn
    return found.reshape(POINTS, 3)


@few
@given(seeds)
def test_nothing_of_a_targets_shape_is_left_but_its_expression(seed: int) -> None:
    donor = placed(30, yaw=5)
    same = [
        recast(40 * (load_shape().mean + extra), donor, 1.0, np.random.default_rng(3)) for extra in (0, strange(seed))
    ]
    assert np.allclose(same[0], same[1], atol=1e-6)
    kept = recast(40 * (load_shape().mean + strange(seed)), donor, 0.5, np.random.default_rng(3))
    assert np.abs(kept - same[0]).max() > 0.1  # the test could fail


@few
@given(seeds)
def test_the_expression_is_the_targets(seed: int) -> None:
    shape = load_shape()
    moves = shape.expressions.reshape(len(shape.expressions), -1)
    coordinates = np.random.default_rng(seed).normal(0, 0.3, len(moves))
    target = 40 * (shape.mean + (coordinates @ moves).reshape(POINTS, 3))
    place = to_mean(target)
    made = recast(target, placed(30), 1.0, np.random.default_rng(seed))
    assert np.allclose(moves @ place(made).ravel(), moves @ place(target).ravel(), atol=1e-6)


def test_an_open_mouth_opens_the_donors() -> None:
    shape = load_shape()
    gaps = [float((one[14] - one[13])[1]) for one in shape.expressions]
    most = int(np.abs(gaps).argmax())
    target = 40 * (shape.mean + np.sign(gaps[most]) * 1.5 * shape.expressions[most])
    made = recast(target, placed(40), 1.0, np.random.default_rng(0))
    assert openness(made) > openness(shape.mean) + 0.5 * (openness(target) - openness(shape.mean))


def test_the_seed_draws_the_shape() -> None:
    meshes = [recast(placed(40), placed(40), 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(meshes[0], meshes[1])
    assert 0.4 < np.linalg.norm(meshes[0] - meshes[2], axis=1).mean() < 8  # of 40 pixels between the eyes


def test_normals_look_to_the_camera_and_outwards() -> None:
    shape = load_shape()
    found = normals(shape.mean)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert (found[shape.skin, 2] < 0.2).mean() > 0.97
    assert found[50, 0] < -0.05 < 0.05 < found[280, 0]  # cheeks: the picture's left one looks left


def test_warping_on_to_itself_gives_the_photo_back() -> None:
    mesh, pixels = placed(40).astype(np.float64), photo(1)
    linear = to_linear(pixels).astype(np.float32)
    found = warp(linear, mesh, mesh, np.ones((POINTS, 3)), (SIDE, SIDE))
    inside = found.alpha >= 1
    assert inside.sum() > 1500
    off = np.abs(to_srgb(found.colors[inside]) - pixels[inside])
    assert np.quantile(off, 0.99) < 1  # slivers may be off by a little
    assert off.max() < 10
    assert found.alpha[0, 0] == 0
    assert found.alpha[int(mesh[4, 1]), int(mesh[4, 0])] == 1


def test_warping_moves_a_spot_with_its_point() -> None:
    mesh = placed(40).astype(np.float64)
    linear = np.full((SIDE, SIDE, 3), 0.1, np.float32)
    x, y = (int(v) for v in mesh[205, :2])
    linear[y - 1 : y + 2, x - 1 : x + 2] = 0.9
    goal = placed(60, 100, 90).astype(np.float64)
    found = warp(linear, mesh, goal, np.ones((POINTS, 3)), (180, 200))
    row, column = np.unravel_index(found.colors[..., 0].argmax(), found.alpha.shape)
    assert np.hypot(column + 0.5 - goal[205, 0], row + 0.5 - goal[205, 1]) < 3


def test_an_altered_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donor_mesh, "SHAPE_SHA256", "0" * 64)
    load_shape.cache_clear()
    with pytest.raises(DataError, match="is not the file that fdf ships"):
        load_shape()
    monkeypatch.undo()
    load_shape.cache_clear()
