"""The training faces nearest to fakes: looked for, and shown.

Descriptors of training faces are made once; what they say is in `fdf.evaluate.memorization`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fdf.evaluate.batches import Faces, Looker, arrays, batches, choose
from fdf.evaluate.faces import Eyes
from fdf.evaluate.grid import write_grid
from fdf.evaluate.memorization import Memorization, memorization, nearest
from fdf.evaluate.settings import Reporter, Settings
from fdf.stages.base import ordered_map
from fdf.store.shards import Sample, Shards
from fdf.vision.base import Floats

_SHOWN: Final = 12
_TRAINING: Final = "training"


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """Descriptors (N, 128) of training faces, with their places and owners; `total`: how many there are in all."""

    shards: Shards
    places: list[int]
    owners: list[str]
    vectors: Floats
    total: int


def training_faces(everything: Shards, eyes: Eyes, settings: Settings, progress: Reporter) -> TrainingFaces | None:
    """Descriptors of training faces; None if there are none or none are wanted."""
    entries = [entry for entry in everything.entries if entry.split == _TRAINING and entry.samples]
    if not entries or not settings.training:
        return None
    shards = Shards(everything.folder, entries, verify=everything.verify)
    places = choose(len(shards), settings.training, settings.seed)
    progress.stage("training", len(places))
    owners, vectors = list[str](), list[Floats]()

    def embed(batch: Sequence[tuple[int, Sample]]) -> tuple[list[str], Floats]:
        pictures, boxes, _ = arrays(batch)
        return [str(face.row["owner_nsid"]) for _, face in batch], eyes.embed(list(pictures), boxes)

    for names, rows in ordered_map(embed, batches(shards, places), settings.threads):
        owners += names
        vectors.append(rows)
        progress.advance(len(names))
    return TrainingFaces(shards, places, owners, np.concatenate(vectors), len(shards))


def remembered(
    faces: Faces,
    training: TrainingFaces | None,
    look: Looker,
    shards: Shards,
    places: Sequence[int],
    picture: Path | None,
) -> Memorization | None:
    """What fakes share with training faces, and the picture of the nearest; None without training faces.

    Args:
        faces: that were looked at, `places` of `shards`.
        training: to look for.
        look: draws the fakes that are shown once more.
        picture: PNG to write, or None.
    """
    if training is None:
        return None
    far, index = nearest(faces.fake.vectors, faces.owners, training.vectors, training.owners)
    far_real, _ = nearest(faces.real.vectors, faces.owners, training.vectors, training.owners)
    if picture is not None:
        order = [int(row) for row in np.argsort(far, kind="stable")[:_SHOWN] if index[row] >= 0]
        rows = [(places[row], training.places[index[row]], float(far[row])) for row in order]
        _draw(picture, look, shards, training.shards, rows)
    return memorization(far, far_real, len(training.owners), training.total)


def _draw(path: Path, look: Looker, shards: Shards, training: Shards, rows: Sequence[tuple[int, int, float]]) -> None:
    """The picture of (place, training place, distance) rows."""
    mine, theirs = _at(shards, {row[0] for row in rows}), _at(training, {row[1] for row in rows})
    cells = []
    for place, other, far in rows:
        fake = look.fakes([(place, mine[place])])[0]
        cells.append(([mine[place].picture, fake, theirs[other].picture], f"{far:.2f}"))
    write_grid(path, ("original", "fake", "nearest in training"), cells)


def _at(shards: Shards, places: set[int]) -> dict[int, Sample]:
    return dict(pair for batch in batches(shards, sorted(places)) for pair in batch)
