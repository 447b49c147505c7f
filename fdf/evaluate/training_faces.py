"""The training faces nearest to fakes: looked for, and shown.

The split `training` of some shards says what a generator may be trained on and not what it was trained on. Only faces that it
ate count here; their descriptors are made once, and what they say is in `fdf.evaluate.memorization`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fdf.evaluate.batches import Faces, Looker, arrays, batches, choose, owner_of
from fdf.evaluate.faces import Eyes
from fdf.evaluate.grid import write_grid
from fdf.evaluate.memorization import Memorization, memorization, nearest
from fdf.evaluate.settings import Reporter, Settings
from fdf.gan.takedown import FaceKey, face_key
from fdf.stages.base import ordered_map
from fdf.store.shards import Sample, Shards
from fdf.vision.base import Floats

_SHOWN: Final = 12
_TRAINING: Final = "training"


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """Training faces that a generator ate: descriptors (N, 128), N ≥ 1, with their places in `shards` and their owners.

    Attributes:
        of, looked: training faces in the shards, and those of them that were looked at, eaten or not.
        eaten_total: faces that the generator ate, here and elsewhere.
    """

    shards: Shards
    places: list[int]
    owners: list[str]
    vectors: Floats
    of: int
    looked: int
    eaten_total: int

    @property
    def eaten(self) -> int:
        """How many of those looked at it ate."""
        return len(self.places)


@dataclass(frozen=True)
class Unknown:
    """Nothing can be said about a generator's memory. `why`: a sentence; `eaten`: None if nobody knows what it ate."""

    why: str
    of: int
    looked: int = 0
    eaten: int | None = None


def training_faces(
    everything: Shards, model: str, ate: Set[FaceKey] | None, eyes: Eyes, settings: Settings, progress: Reporter
) -> TrainingFaces | Unknown:
    """Descriptors of those training faces that a generator ate, or why there are none.

    Args:
        everything: all splits, at the generator's resolution.
        model: name of the generator's file.
        ate: what it ate; None: nobody knows.
    """
    entries = [entry for entry in everything.entries if entry.split == _TRAINING and entry.samples]
    shards = Shards(everything.folder, entries, verify=everything.verify)
    if not settings.training:
        why = "No training faces were to be looked at (--training 0)."
        return Unknown(why, len(shards), eaten=None if ate is None else 0)
    if ate is None:
        why = f"No folder above {model} can be told to be that of its run, so nobody knows which faces it ate."
        return Unknown(why, len(shards))
    if not entries:
        return Unknown("The shards have no training faces.", 0, eaten=0)
    looked = choose(len(shards), settings.training, settings.seed)
    progress.stage("training", len(looked))
    places, owners, vectors = list[int](), list[str](), list[Floats]()

    def embed(batch: Sequence[tuple[int, Sample]]) -> tuple[int, list[tuple[int, Sample]], Floats | None]:
        mine = [(place, face) for place, face in batch if face_key(face.row) in ate]
        if not mine:
            return len(batch), mine, None
        pictures, boxes, _ = arrays(mine)
        return len(batch), mine, eyes.embed(list(pictures), boxes)

    for units, mine, rows in ordered_map(embed, batches(shards, looked), settings.threads):
        places += [place for place, _ in mine]
        owners += [owner_of(face.row) for _, face in mine]
        vectors += [] if rows is None else [rows]
        progress.advance(units)
    if not vectors:
        why = f"The generator ate none of the {len(looked):,} training faces looked at, but {len(ate):,} others."
        return Unknown(why, len(shards), len(looked), 0)
    return TrainingFaces(shards, places, owners, np.concatenate(vectors), len(shards), len(looked), len(ate))


def remembered(
    faces: Faces,
    training: TrainingFaces,
    look: Looker,
    shards: Shards,
    places: Sequence[int],
    picture: Path | None,
) -> Memorization | None:
    """What fakes share with faces that the generator ate, and the picture of the nearest; None if all have one owner.

    Args:
        faces: that were looked at, `places` of `shards`.
        training: to look for.
        look: draws the fakes that are shown once more.
        picture: PNG to write, or None.
    """
    far, index = nearest(faces.fake.vectors, faces.owners, training.vectors, training.owners)
    far_real, _ = nearest(faces.real.vectors, faces.owners, training.vectors, training.owners)
    if picture is not None:
        order = [int(row) for row in np.argsort(far, kind="stable")[:_SHOWN] if index[row] >= 0]
        rows = [(places[row], training.places[index[row]], float(far[row])) for row in order]
        _draw(picture, look, shards, training.shards, rows)
    return memorization(far, far_real, training.eaten, training.eaten_total)


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
