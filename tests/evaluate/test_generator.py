"""The one place that runs an exported generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fdf.errors import ModelError
from fdf.vision.generator import FaceGenerator, hole_mask, known_points
from tests.evaluate.tiny import SAYS, write_generator


def faces(n: int, side: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    boxes = np.tile(np.array([16, 12, 48, 56], np.float32), (n, 1))
    return pictures, boxes, np.zeros((n, 7, 3), np.float32), rng.standard_normal((n, 4)).astype(np.float32)


@pytest.mark.parametrize("rule", ["box", "ellipse"])
def test_the_hole_is_the_trainers(rule: str) -> None:
    data = pytest.importorskip("fdf.gan.data")
    rng = np.random.default_rng(0)
    for side in (64, 128):
        for _ in range(50):
            x0, y0 = rng.uniform(-5, side / 2, 2)
            box = np.array([x0, y0, x0 + rng.uniform(0.5, side), y0 + rng.uniform(0.5, side)], np.float32)
            assert (hole_mask(box, side, rule) == data.hole(box, side, ellipse=rule == "ellipse")).all()


def test_holes() -> None:
    assert hole_mask([1, 0, 3, 2], 4).tolist() == [[0, 1, 1, 0]] * 2 + [[0, 0, 0, 0]] * 2
    with pytest.raises(ValueError, match="Unknown rule 'star'"):
        hole_mask([0, 0, 1, 1], 4, "star")
    with pytest.raises(ValueError, match="four finite numbers"):
        hole_mask([0, 0, np.nan, 1], 4)


def test_keypoints_that_are_not_sure_are_zeros() -> None:
    points = np.array([[3, 4, 0.3], [3, 4, 0.29], [np.nan, 4, 1]], np.float32)
    assert known_points(points).tolist() == [[3, 4, 1], [0, 0, 0], [0, 0, 0]]


def test_outside_the_hole_nothing_changes_and_inside_nothing_is_left(tmp_path: Path) -> None:
    generator = FaceGenerator.load(write_generator(tmp_path / "g.onnx"), batch=3)
    assert (generator.resolution, generator.latent, generator.card.licence) == (64, 4, "CC0-1.0")
    pictures, boxes, keypoints, z = faces(7)
    made = generator.generate(pictures, boxes, keypoints, z)
    inside = generator.masks(boxes)[:, 0] == 1
    assert (made[~inside] == pictures[~inside]).all()
    other = pictures.copy()
    other[inside] = 255 - other[inside]
    assert (generator.generate(other, boxes, keypoints, z)[inside] == made[inside]).all()
    assert (generator.generate(pictures[:1], boxes[:1], keypoints[:1], z[:1]) == made[:1]).all()
    assert not (generator.generate(pictures, boxes, keypoints, -z)[inside] == made[inside]).all()
    assert generator.generate(pictures[:0], boxes[:0], keypoints[:0], z[:0]).shape == (0, 64, 64, 3)


def test_the_network_never_gets_the_face_even_if_it_would_show_it(tmp_path: Path) -> None:
    """A file that mixes the picture back in shows grey."""
    generator = FaceGenerator.load(write_generator(tmp_path / "g.onnx"))
    seen = []

    class Spy:
        def run(self, _: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(feed["picture"].copy())
            return [feed["picture"]]

    pictures, boxes, keypoints, z = faces(2)
    generator._network = Spy()
    made = generator.generate(pictures, boxes, keypoints, z)
    inside = generator.masks(boxes) == 1
    assert (seen[0][np.broadcast_to(inside, seen[0].shape)] == 0).all()
    assert (made[inside[:, 0]] == 128).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"says": {}}, "doesn't say what it needs.*resolution: nothing; latent: nothing"),
        ({"says": {**SAYS, "latent": "many"}}, "latent: many"),
        ({"says": {**SAYS, "resolution": "128"}}, r"contradicts its network.*picture \(N, 3, 128, 128\)"),
        ({"says": {**SAYS, "latent": "5"}}, r"contradicts its network.*z \(N, 5\)"),
        ({"rename": {"z": "noise"}}, "is no face generator.*Got inputs .*noise"),
    ],
)
def test_what_is_no_generator_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = write_generator(tmp_path / "g.onnx", **change)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=said):
        FaceGenerator.load(path)


def test_no_file_and_no_onnx(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no generator at"):
        FaceGenerator.load(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"can't load bad\.onnx"):
        FaceGenerator.load(tmp_path / "bad.onnx")
    (tmp_path / "000000008.safetensors").write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"can't be run as it is\. Expected an ONNX file\..*`fdf export` makes one"):
        FaceGenerator.load(tmp_path / "000000008.safetensors")


def test_shapes_and_values_that_do_not_fit(tmp_path: Path) -> None:
    generator = FaceGenerator.load(write_generator(tmp_path / "g.onnx"))
    pictures, boxes, keypoints, z = faces(2)
    for name, arguments in {
        "pictures": (pictures[:, :32], boxes, keypoints, z),
        "boxes": (pictures, boxes[:1], keypoints, z),
        "keypoints": (pictures, boxes, keypoints[:, :5], z),
        "z": (pictures, boxes, keypoints, z[:, :2]),
    }.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            generator.generate(*arguments)
    with pytest.raises(ModelError, match=r"gives no pictures.*NaN"):
        generator.generate(pictures, boxes, keypoints, z * np.nan)
