"""Donors for tests: small made-up photos, and a mesh that follows five points and never looks at a pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fdf.anonymize.donor_mesh import load_shape
from fdf.vision.base import Detections, Floats, Pixels
from fdf.vision.facemesh import Meshes, five_points

SIDE = 96


def turned(yaw: float = 0.0, pitch: float = 0.0) -> Floats:
    """The mean mesh turned by degrees, as `fdf.vision.pose` has them, one unit between the eyes' corners."""
    y, p = np.radians([yaw, pitch])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    return np.asarray(load_shape().mean @ (about_y @ about_x).T)


def placed(
    span: float = 40.0, x: float = SIDE / 2, y: float = SIDE / 2, yaw: float = 0.0, pitch: float = 0.0
) -> Floats:
    """A mesh (468, 3) in a picture, `span` pixels between the eyes' corners, its middle at (x, y)."""
    mesh = turned(yaw, pitch) * span
    middle = (mesh[:, :2].min(axis=0) + mesh[:, :2].max(axis=0)) / 2
    return np.asarray(mesh + np.array([x - middle[0], y - middle[1], 0]), dtype=np.float32)


def five(mesh: Floats) -> Floats:
    return five_points(np.asarray(mesh, dtype=np.float32)[None])[0]


class Held:
    """A mesher that gives the known mesh whose nose lies nearest to the nose it is asked for."""

    def __init__(self, *meshes: Floats, presence: float = 1.0) -> None:
        self.known, self.presence, self.asked = [np.asarray(one, dtype=np.float32) for one in meshes], presence, 0

    def meshes(self, pictures: Sequence[Pixels], detections: Sequence[Detections]) -> list[Meshes]:
        self.asked += len(pictures)
        found = []
        for seen in detections:
            mesh = self.known[0]
            if seen.landmarks5 is not None:
                nose = seen.landmarks5[0, 2]
                mesh = min(self.known, key=lambda one: float(np.hypot(*(five(one)[2] - nose))))
            found.append(Meshes(mesh[None], np.array([self.presence], dtype=np.float32)))
        return found


def photo(seed: int) -> Pixels:
    """Blotches of skin's colour."""
    rng = np.random.default_rng(seed)
    coarse = np.uint8(np.array([190, 140, 115]) + rng.integers(-40, 40, (12, 12, 3)))
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.uint8)


PERSON = """
[[person]]
id = "{id}"
consent = "Agreed in writing."
licence = "CC0-1.0"
source = "A test"
photos = [{photos}]
"""


def write_folder(folder: Path, *poses: float, gap: float = 0.0) -> Path:
    """A folder of one donor a yaw, each with one photo."""
    folder.mkdir(parents=True, exist_ok=True)
    text = 'format = "fdf-donors"\nversion = 1\n'
    for number, yaw in enumerate(poses):
        path = folder / f"{number}.png"
        Image.fromarray(photo(number)).save(path)
        points = [[round(float(v), 2) for v in row] for row in five(placed(yaw=yaw))]
        row = f'{{file = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}", points = {points}, '
        row += f"yaw = {yaw}, pitch = 0.0, open = {gap}}}"
        text += PERSON.format(id=f"d{number}", photos=row)
    (folder / "donors.toml").write_text(text)
    return folder
