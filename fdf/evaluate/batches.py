"""Faces of a split in batches: which are chosen, and what a generator makes of them.

Threads look at batches, only numbers are kept. A face's z depends on the seed and its place in the split alone, so that
neither threads nor the number of faces change its fake.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdf.errors import DataError
from fdf.evaluate.diversity import SIDE, mean_structural_distance
from fdf.evaluate.faces import Eyes, Seen, join_seen
from fdf.evaluate.features import DlibDescriptor, Extractor
from fdf.evaluate.settings import Settings
from fdf.gan.takedown import FaceKey, face_key
from fdf.store.shards import Sample, Shards
from fdf.vision.base import Floats, Pixels
from fdf.vision.generator import FaceGenerator, known_points
from fdf.vision.warp import Square, sample

FACE: Final = 1.25
"""Side of the square of region `face` over the longer side of the face box."""

_BATCH: Final = 16


def choose(total: int, count: int, seed: int) -> list[int]:
    """At most `count` of `total` places, in their order; the same for one seed."""
    if count >= total:
        return list(range(total))
    return sorted(int(place) for place in np.random.default_rng([seed, total]).permutation(total)[:count])


def draw_z(seed: int, place: int, variants: int, latent: int) -> Floats:
    """The z of one face: float32 (variants, latent). The first is the one of its fake, however many there are."""
    return np.random.default_rng([seed, place]).standard_normal((variants, latent)).astype(np.float32)


def owner_of(row: Mapping[str, Any]) -> str:
    """Whose a face is, from the row of its sample: a photo whose owner isn't known stands for an owner of its own."""
    return str(row["owner_nsid"] or row["photo_id"])


@dataclass(frozen=True, eq=False)
class Faces:
    """What is kept of faces: numbers, and whose they are. `keys` are theirs, as `FaceKey` has them."""

    keys: list[FaceKey]
    owners: list[str]
    boxes: Floats
    keypoints: Floats
    real: Seen
    fake: Seen
    features_real: Floats
    features_fake: Floats
    structure: list[float]
    embedding: list[float]
    generating: float
    generated: int


class Looker:
    """Generates and looks at a batch. Called from several threads."""

    def __init__(
        self,
        generator: FaceGenerator,
        features: Extractor | DlibDescriptor,
        eyes: Eyes,
        settings: Settings,
        varied: frozenset[int],
    ) -> None:
        self.generator, self.features, self.eyes = generator, features, eyes
        self.settings, self.varied = settings, varied
        self._extractor = None if isinstance(features, DlibDescriptor) else features

    def fakes(self, batch: Sequence[tuple[int, Sample]], variants: int = 1) -> Pixels:
        """uint8 (N × variants, R, R, 3), the variants of a face together."""
        z = [draw_z(self.settings.seed, place, variants, self.generator.latent) for place, _ in batch]
        pictures, boxes, keypoints = arrays(batch)
        holes = self.generator.masks(boxes, self.settings.hole)
        return self.generator.generate(
            np.repeat(pictures, variants, axis=0),
            np.repeat(boxes, variants, axis=0),
            np.repeat(keypoints, variants, axis=0),
            np.concatenate(z),
            masks=np.repeat(holes, variants, axis=0),
        )

    def __call__(self, batch: Sequence[tuple[int, Sample]]) -> Faces:
        """Look at a batch of (place, face)."""
        pictures, boxes, keypoints = arrays(batch)
        begun = time.perf_counter()
        fakes = self.fakes(batch)
        generating = time.perf_counter() - begun
        structure, embedding = self._variation([row for row in batch if row[0] in self.varied])
        return Faces(
            keys=[face_key(face.row) for _, face in batch],
            owners=[owner_of(face.row) for _, face in batch],
            boxes=boxes,
            keypoints=keypoints,
            real=self.eyes.look(list(pictures), boxes),
            fake=self.eyes.look(list(fakes), boxes),
            features_real=self._features(pictures, boxes),
            features_fake=self._features(fakes, boxes),
            structure=structure,
            embedding=embedding,
            generating=generating,
            generated=len(batch),
        )

    def _features(self, pictures: Pixels, boxes: Floats) -> Floats:
        if self._extractor is None:
            return np.zeros((len(pictures), 0), dtype=np.float32)
        size = self._extractor.size
        squares = [_square(box, FACE) if self.settings.region == "face" else _whole(pictures) for box in boxes]
        crops = [sample(picture, square, size) for picture, square in zip(pictures, squares, strict=True)]
        return self._extractor.extract(crops)

    def _variation(self, batch: Sequence[tuple[int, Sample]]) -> tuple[list[float], list[float]]:
        if not batch:
            return [], []
        many = self.settings.variants
        made = self.fakes(batch, many)
        boxes = np.repeat(np.stack([face.box for _, face in batch]), many, axis=0)
        vectors = self.eyes.embed(list(made), boxes).reshape(len(batch), many, -1)
        squares = [sample(fake, _square(box, 1.0), SIDE) for fake, box in zip(made, boxes, strict=True)]
        structure = [mean_structural_distance(squares[at : at + many]) for at in range(0, len(squares), many)]
        pairs = [[float(np.linalg.norm(a - b)) for a, b in combinations(rows, 2)] for rows in vectors]
        return structure, [float(np.mean(row)) for row in pairs]


def batches(shards: Shards, places: Sequence[int]) -> Iterator[list[tuple[int, Sample]]]:
    """The faces at `places` (rising), in batches; shards without any of them are not read."""
    wanted, batch, start = set(places), list[tuple[int, Sample]](), 0
    for entry in shards.entries:
        mine = wanted.intersection(range(start, start + entry.samples))
        if mine:
            for place, face in enumerate(Shards(shards.folder, [entry], verify=shards.verify), start):
                if place not in mine:
                    continue
                mine.discard(place)
                batch.append((place, face))
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
        if mine:
            raise DataError(
                f"{shards.folder / entry.path} is cut, or its index is another's",
                expected=f"{entry.samples} samples",
                got=f"none at place {min(mine) - start}",
                action="Build the shard stage again",
            )
        start += entry.samples
    if batch:
        yield batch


def arrays(batch: Sequence[tuple[int, Sample]]) -> tuple[Pixels, Floats, Floats]:
    """Pictures, boxes, and keypoints as a generator gets them."""
    faces = [face for _, face in batch]
    return (
        np.stack([face.picture for face in faces]),
        np.stack([face.box for face in faces]),
        known_points(np.stack([face.keypoints for face in faces])),
    )


def joined(parts: Sequence[Faces]) -> Faces:
    """Several batches one after the other."""
    first = parts[0]
    return replace(
        first,
        keys=[key for part in parts for key in part.keys],
        owners=[owner for part in parts for owner in part.owners],
        boxes=np.concatenate([part.boxes for part in parts]),
        keypoints=np.concatenate([part.keypoints for part in parts]),
        real=join_seen([part.real for part in parts]),
        fake=join_seen([part.fake for part in parts]),
        features_real=np.concatenate([part.features_real for part in parts]),
        features_fake=np.concatenate([part.features_fake for part in parts]),
        structure=[value for part in parts for value in part.structure],
        embedding=[value for part in parts for value in part.embedding],
        generating=sum(part.generating for part in parts),
        generated=sum(part.generated for part in parts),
    )


def _square(box: npt.NDArray[np.floating], wider: float) -> Square:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Square((x0 + x1) / 2, (y0 + y1) / 2, wider * max(x1 - x0, y1 - y0, 1.0))


def _whole(pictures: Pixels) -> Square:
    side = pictures.shape[1]
    return Square(side / 2, side / 2, float(side))
