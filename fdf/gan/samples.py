"""Sample grids: the same faces and the same z each time, so that the pictures of a run can be laid side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fdf.errors import DataError, UsageError
from fdf.gan.config import DataConfig, TrainRecipe
from fdf.gan.data import Faces, first_order, vary
from fdf.gan.networks import Architecture, Generator
from fdf.store.files import write_bytes
from fdf.store.shards import open_shards

_GAP = 2
_Raw = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Picture, box and keypoints of a face."""


@dataclass(frozen=True)
class Samples:
    """Faces to draw, (N, …), and z (variants, latent): every face gets the same ones."""

    picture: Tensor
    mask: Tensor
    keypoints: Tensor
    z: Tensor

    @classmethod
    def choose(cls, shards: Path, faces: Faces, recipe: TrainRecipe, arch: Architecture) -> Samples:
        """Faces that are not learnt from, if the shards have a validation split; else of the ones that are."""
        data, count = recipe.data, recipe.run.sample_faces
        raw = _first(shards, "validation", recipe, arch) if data.split != "validation" else []
        if not raw:
            chosen = first_order(len(faces), recipe.run.seed)[:count]
            raw = [(faces.picture(int(i)), faces.boxes[i], faces.keypoints[i]) for i in chosen]
        return cls._plainly(raw, recipe, arch)

    @classmethod
    def again(cls, shards: Path, recipe: TrainRecipe, arch: Architecture) -> Samples | None:
        """Faces of a run that was made before, without looking through all its shards; None if they are gone."""
        raw = _first(shards, "validation", recipe, arch) or _first(shards, recipe.data.split, recipe, arch)
        return cls._plainly(raw, recipe, arch) if raw else None

    @classmethod
    def _plainly(cls, raw: Sequence[_Raw], recipe: TrainRecipe, arch: Architecture) -> Samples:
        """With holes of middle size in their place, and nothing else varied."""
        data = recipe.data
        plain = DataConfig(
            flip=0, ellipse_share=float(data.ellipse_share >= 0.5), box_scale=(sum(data.box_scale) / 2,) * 2, box_shift=0,
            keypoint_drop=0, keypoints_drop_all=0, keypoint_confidence=data.keypoint_confidence,
        )  # fmt: skip
        rng = np.random.default_rng(recipe.run.seed)
        made = zip(*(vary(*one, plain, rng) for one in raw), strict=True)
        picture, mask, keypoints = (torch.from_numpy(np.stack(part)) for part in made)
        z = np.random.default_rng((recipe.run.seed, 3)).standard_normal(
            (recipe.run.sample_variants, arch.latent), dtype=np.float32
        )
        return cls(picture.float() / 127.5 - 1, mask, keypoints, torch.from_numpy(z))

    def batches(self) -> list[dict[str, np.ndarray]]:
        """For `export_onnx`: one batch a z."""
        fixed = {"picture": self.picture, "mask": self.mask, "keypoints": self.keypoints}
        every = [{**fixed, "z": z.expand(len(self.picture), -1)} for z in self.z]
        return [{name: part.contiguous().numpy() for name, part in batch.items()} for batch in every]

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def draw(self, generator: Generator, path: Path) -> np.ndarray:
        """Write a grid as PNG; a row a face: original, what the generator sees, one drawing a z. Returns its pixels."""
        import cv2

        device = next(generator.parameters()).device
        fixed = [part.to(device) for part in (self.picture, self.mask, self.keypoints)]
        drawn = [generator(*fixed, z.to(device).expand(len(self.picture), -1)).float().cpu() for z in self.z]
        columns = [self.picture, torch.where(self.mask > 0.5, 0.0, self.picture), *drawn]
        cells = torch.stack(columns, dim=1)  # (faces, columns, 3, R, R)
        rows, across, _, side, _ = cells.shape
        grid = np.full((rows * (side + _GAP) - _GAP, across * (side + _GAP) - _GAP, 3), 255, np.uint8)
        pixels = ((cells.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).numpy()
        for row in range(rows):
            for column in range(across):
                y, x = row * (side + _GAP), column * (side + _GAP)
                grid[y : y + side, x : x + side] = pixels[row, column]
        done, data = cv2.imencode(".png", cv2.cvtColor(grid, cv2.COLOR_RGB2BGR))
        if not done:
            raise ValueError(f"a grid of {grid.shape} can't be written as PNG")
        write_bytes(path, bytes(data))
        return grid


def _first(shards: Path, split: str, recipe: TrainRecipe, arch: Architecture) -> list[_Raw]:
    """The first faces of a split; none if it is absent or damaged."""
    rights = list(recipe.data.rights) or None
    try:
        found = open_shards(shards, resolution=arch.resolution, split=split, rights=rights)
        return [(one.picture, one.box, one.keypoints) for one in islice(found, recipe.run.sample_faces)]
    except (UsageError, DataError):
        return []
