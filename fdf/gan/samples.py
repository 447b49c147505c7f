"""Sample grids: the same faces and the same z each time, so that the pictures of a run can be laid side by side.

A grid shows originals, and whoever gets the folder of a run gets them: what speaks against learning from a face speaks
against showing it, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from fdf.errors import DataError, UsageError
from fdf.gan.config import DataConfig, TrainRecipe
from fdf.gan.data import Faces, faces_in, first_order, vary
from fdf.gan.lineage import permitted, today
from fdf.gan.networks import Architecture, Generator
from fdf.gan.shown import SHOWN, face_keys, read_shown
from fdf.store.files import write_bytes
from fdf.store.shards import Shards, open_shards

_GAP = 2


@dataclass(frozen=True)
class _Face:
    """A face with what `SHOWN` has of it."""

    picture: np.ndarray
    box: np.ndarray
    keypoints: np.ndarray
    row: dict[str, Any]

    @classmethod
    def of(cls, faces: Faces, index: int) -> _Face:
        entry = faces.entries[faces.shard[index]]
        row = {**faces.table.slice(index, 1).to_pylist()[0], "split": entry.split, "shard": entry.path}
        return cls(faces.picture(index), faces.boxes[index], faces.keypoints[index], row)


@dataclass(frozen=True)
class Samples:
    """Faces to draw, (N, …), and z (variants, latent): every face gets the same ones. `rows`: of each, what `SHOWN` has."""

    picture: Tensor
    mask: Tensor
    keypoints: Tensor
    z: Tensor
    rows: pa.Table = field(repr=False)

    @classmethod
    def choose(cls, shards: Path, faces: Faces, recipe: TrainRecipe, arch: Architecture) -> Samples:
        """Faces that may be shown and are not learnt from, if the shards have such in a validation split; else of the others.

        Only where all of these are learnt from by force are they shown by force.
        """
        data, count = recipe.data, recipe.run.sample_faces
        found = _permitted(_shards(shards, "validation", recipe, arch), recipe) if data.split != "validation" else []
        if not found:
            order = first_order(len(faces), recipe.run.seed)
            fine = order[permitted(faces, data, today())[order]]
            found = [_Face.of(faces, int(index)) for index in (fine if len(fine) else order)[:count]]
        return cls._plainly(found, recipe, arch)

    @classmethod
    def again(cls, run: Path, shards: Path, recipe: TrainRecipe, arch: Architecture) -> Samples | None:
        """Faces of a run that was made before, without looking through all its shards; None if there are none any more.

        Those that the run names; of a run that names none, ones that it could have chosen.

        Raises:
            DataError: the run names them in a damaged file.
        """
        shown = read_shown(run)
        if shown is None:
            splits = dict.fromkeys(("validation", recipe.data.split))
            every = (_permitted(_shards(shards, split, recipe, arch), recipe) for split in splits)
            found = next((some for some in every if some), [])
        else:
            found = _permitted(_shards(shards, None, recipe, arch), recipe, shown)
        return cls._plainly(found, recipe, arch) if found else None

    @classmethod
    def _plainly(cls, faces: Sequence[_Face], recipe: TrainRecipe, arch: Architecture) -> Samples:
        """With holes of middle size in their place, and nothing else varied."""
        data = recipe.data
        plain = DataConfig(
            flip=0, ellipse_share=float(data.ellipse_share >= 0.5), box_scale=(sum(data.box_scale) / 2,) * 2, box_shift=0,
            keypoint_drop=0, keypoints_drop_all=0, keypoint_confidence=data.keypoint_confidence,
        )  # fmt: skip
        rng = np.random.default_rng(recipe.run.seed)
        made = zip(*(vary(one.picture, one.box, one.keypoints, plain, rng) for one in faces), strict=True)
        picture, mask, keypoints = (torch.from_numpy(np.stack(part)) for part in made)
        z = np.random.default_rng((recipe.run.seed, 3)).standard_normal(
            (recipe.run.sample_variants, arch.latent), dtype=np.float32
        )
        rows = pa.Table.from_pylist([one.row for one in faces], schema=SHOWN)
        return cls(picture.float() / 127.5 - 1, mask, keypoints, torch.from_numpy(z), rows)

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


def _shards(path: Path, split: str | None, recipe: TrainRecipe, arch: Architecture) -> Shards | None:
    """The shards of a split, of the rights classes asked for; None if there are none."""
    try:
        return open_shards(path, resolution=arch.resolution, split=split, rights=list(recipe.data.rights) or None)
    except (UsageError, DataError):
        return None


def _permitted(shards: Shards | None, recipe: TrainRecipe, named: pa.Table | None = None) -> list[_Face]:
    """The first faces that may be shown, as many as a grid has rows; only of those in `named`, if given."""
    count, found = recipe.run.sample_faces, list[_Face]()
    within = None if named is None else set(named["shard"].to_pylist())
    if shards is None:
        return found
    for entry in shards.entries:
        if len(found) < count and (within is None or entry.path in within):
            with contextlib.suppress(DataError):  # damaged shards have none
                faces = faces_in(Shards(shards.folder, [entry]))
                fine = permitted(faces, recipe.data, today()) & _among(faces, named)
                found += [_Face.of(faces, int(index)) for index in np.flatnonzero(fine)[: count - len(found)]]
    return found


def _among(faces: Faces, named: pa.Table | None) -> np.ndarray:
    """Which faces, bool (N,), are in a table; all without one."""
    wanted = None if named is None else set(face_keys(named))
    return np.array([wanted is None or key in wanted for key in face_keys(faces.table)], dtype=bool)
