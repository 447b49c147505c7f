"""Everything that is measured on a generator, in one pass over the faces of a split.

Faces come in batches, threads look at them, only numbers are kept. A face's z depends on the seed and its place in the split
alone, so that neither threads nor the number of faces change its fake; a second pass draws the few that the picture shows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fdf.errors import DataError, UsageError
from fdf.evaluate.diversity import SIDE, mean_structural_distance
from fdf.evaluate.faces import Eyes, Seen, join_seen
from fdf.evaluate.features import DEFAULT, DlibDescriptor, Extractor, load_extractor
from fdf.evaluate.grid import write_grid
from fdf.evaluate.memorization import memorization, nearest
from fdf.evaluate.preservation import preservation
from fdf.evaluate.quality import quality
from fdf.evaluate.reidentification import different_people, reidentification
from fdf.evaluate.result import DataFacts, Diversity, Evaluation, ModelFacts, Timing
from fdf.stages.base import ordered_map
from fdf.store.shards import INDEX, Sample, Shards, open_shards
from fdf.vision.base import Floats, Pixels
from fdf.vision.generator import HOLES, FaceGenerator, known_points
from fdf.vision.warp import Square, sample

FEWEST: Final = 4
"""Faces under which there are no two halves to compare."""
FACE: Final = 1.25
"""Side of the square of region `face` over the longer side of the face box."""

_BATCH: Final = 16
_SHOWN: Final = 12
_TRAINING: Final = "training"


@dataclass(frozen=True)
class Settings:
    """How to look.

    Attributes:
        split: of the shards.
        count: most faces; chosen by the seed if there are more.
        features: extractor, see `features.load_extractor`.
        region: what the extractor sees: a square round the face, or the whole crop.
        hole: shape of what is taken away; None: what the file asks for.
        varied: faces of which several fakes are made.
        variants: fakes of each of these.
        training: most training faces to look for memorized ones in; 0: don't look.
        seed: of z and of all choices.
        threads: that look at faces; no figure depends on it.
    """

    split: str = "validation"
    count: int = 500
    features: str = DEFAULT
    region: Literal["face", "picture"] = "face"
    hole: Literal["box", "ellipse"] | None = None
    varied: int = 32
    variants: int = 4
    training: int = 1000
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        for name, least in (
            ("count", FEWEST),
            ("varied", 1),
            ("variants", 2),
            ("training", 0),
            ("seed", 0),
            ("threads", 1),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is too small", expected=f"{least} or more", got=str(getattr(self, name)))
        if self.region not in {"face", "picture"}:
            raise UsageError(f"There is no region {self.region!r}", expected="face or picture")
        if self.hole not in {None, *HOLES}:
            raise UsageError(f"There is no hole {self.hole!r}", expected=" or ".join(HOLES))


class Reporter(Protocol):
    """Is told how far it is."""

    def stage(self, name: str, total: int | None) -> None:
        """Something with `total` units starts."""

    def advance(self, units: int) -> None:
        """Units are done."""


class _Silent:
    def stage(self, name: str, total: int | None) -> None: ...

    def advance(self, units: int) -> None: ...


def evaluate(
    model: Path,
    shards: Path,
    settings: Settings | None = None,
    *,
    progress: Reporter | None = None,
    picture: Path | None = None,
) -> Evaluation:
    """Measure a generator on the faces of a build.

    Args:
        model: an ONNX file, or the folder of a training run: then its latest export.
        shards: a build folder, its shard folder or an index of shards.
        settings: how to look.
        progress: is told how far it is.
        picture: PNG to write: fakes that are nearest to a training face, with their original and that face.

    Raises:
        UsageError: no such split or resolution, nothing exported, an impossible setting.
        DataError: too few faces, damaged shards.
        ModelError: no generator or extractor in that file.
        MachineError: a library is missing.
    """
    settings, progress = settings or Settings(), progress or _Silent()
    started = time.perf_counter()
    generator = FaceGenerator.load(find_generator(model))
    everything = open_shards(shards, resolution=generator.resolution)
    chosen = open_shards(shards, resolution=generator.resolution, split=settings.split)
    places = choose(len(chosen), settings.count, settings.seed)
    if len(places) < FEWEST:
        raise DataError(
            f"The split {settings.split} of {chosen.folder} has too few faces at {generator.resolution} px",
            expected=f"{FEWEST} or more",
            got=str(len(chosen)),
            action="Take another --split, or build with a larger manifest.validation_share",
        )
    look = _Looker(generator, load_extractor(settings.features), Eyes(), settings, frozenset(places[: settings.varied]))

    progress.stage("faces", len(places))
    parts = []
    for part in ordered_map(look, _batches(chosen, places), settings.threads):
        parts.append(part)
        progress.advance(len(part.owners))
    faces = _joined(parts)

    training = _training(everything, look.eyes, settings, progress)
    remembered = None
    if training is not None:
        far, index = nearest(faces.fake.vectors, faces.owners, training.vectors, training.owners)
        far_real, _ = nearest(faces.real.vectors, faces.owners, training.vectors, training.owners)
        remembered = memorization(far, far_real, len(training.owners), training.total)
        if picture is not None:
            order = [int(row) for row in np.argsort(far, kind="stable")[:_SHOWN] if index[row] >= 0]
            rows = [(places[row], training.places[index[row]], float(far[row])) for row in order]
            _draw(picture, look, chosen, training.shards, rows)

    seconds = time.perf_counter() - started
    card, scaled = generator.card, DlibDescriptor.scaled
    embeds = isinstance(look.extractor, DlibDescriptor)
    return Evaluation(
        model=ModelFacts(card.name, card.sha256, card.resolution, card.latent, card.size, card.licence),
        data=DataFacts(
            index_sha256=hashlib.sha256((chosen.folder / INDEX).read_bytes()).hexdigest(),
            split=settings.split,
            faces=len(places),
            of=len(chosen),
            hole=settings.hole or card.hole,
            seed=settings.seed,
            training=settings.training,
            rights_classes=tuple(sorted(chosen.rights_classes)),
        ),
        quality=quality(
            scaled(faces.real.vectors) if embeds else faces.features_real,
            scaled(faces.fake.vectors) if embeds else faces.features_fake,
            extractor=look.extractor.id,
            sha256=look.extractor.sha256,
            region="face" if embeds else settings.region,
            seed=settings.seed,
        ),
        diversity=_diversity(faces, settings),
        preservation=preservation(faces.real, faces.fake, faces.keypoints, faces.boxes),
        reidentification=reidentification(faces.real.vectors, faces.fake.vectors, faces.owners),
        memorization=remembered,
        models=tuple((row.id, row.sha256) for row in look.eyes.models),
        timing=Timing(seconds, len(places) / seconds, 1000 * faces.generating / faces.generated),
    )


def find_generator(path: Path) -> Path:
    """The file itself, or the newest export in a run's folder; full precision before reduced one.

    Raises:
        UsageError: a folder without an export, or nothing there.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"There is nothing at {path}", expected="an exported generator (.onnx) or the folder of a run")
    found = sorted(path.rglob("*.onnx"), key=lambda file: (not _reduced(file), file.stat().st_mtime_ns, file.name))
    if not found:
        raise UsageError(
            f"{path} has no exported generator", expected="an .onnx file in it", action=f"Run `fdf export {path}` first"
        )
    return found[-1]


def choose(total: int, count: int, seed: int) -> list[int]:
    """At most `count` of `total` places, in their order; the same for one seed."""
    if count >= total:
        return list(range(total))
    return sorted(int(place) for place in np.random.default_rng([seed, total]).permutation(total)[:count])


def draw_z(seed: int, place: int, variants: int, latent: int) -> Floats:
    """The z of one face: float32 (variants, latent). The first is the one of its fake, however many there are."""
    return np.random.default_rng([seed, place]).standard_normal((variants, latent)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Faces:
    """What is kept of faces: numbers."""

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


class _Looker:
    """Generates and looks at a batch. Called from several threads."""

    def __init__(
        self,
        generator: FaceGenerator,
        extractor: Extractor,
        eyes: Eyes,
        settings: Settings,
        varied: frozenset[int],
    ) -> None:
        self.generator, self.extractor, self.eyes, self.settings, self.varied = (
            generator,
            extractor,
            eyes,
            settings,
            varied,
        )

    def fakes(self, batch: Sequence[tuple[int, Sample]], variants: int = 1) -> Pixels:
        """uint8 (N × variants, R, R, 3), the variants of a face together."""
        z = [draw_z(self.settings.seed, place, variants, self.generator.latent) for place, _ in batch]
        pictures, boxes, keypoints = _arrays(batch)
        holes = self.generator.masks(boxes, self.settings.hole)
        return self.generator.generate(
            np.repeat(pictures, variants, axis=0),
            np.repeat(boxes, variants, axis=0),
            np.repeat(keypoints, variants, axis=0),
            np.concatenate(z),
            masks=np.repeat(holes, variants, axis=0),
        )

    def __call__(self, batch: Sequence[tuple[int, Sample]]) -> _Faces:
        pictures, boxes, keypoints = _arrays(batch)
        begun = time.perf_counter()
        fakes = self.fakes(batch)
        generating = time.perf_counter() - begun
        structure, embedding = self._variation([row for row in batch if row[0] in self.varied])
        return _Faces(
            owners=[str(face.row["owner_nsid"]) for _, face in batch],
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
        size = self.extractor.size
        if not size:
            return np.zeros((len(pictures), 0), dtype=np.float32)
        squares = [_square(box, FACE) if self.settings.region == "face" else _whole(pictures) for box in boxes]
        crops = [sample(picture, square, size) for picture, square in zip(pictures, squares, strict=True)]
        return self.extractor.extract(crops)

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


@dataclass(frozen=True, eq=False)
class _Training:
    shards: Shards
    places: list[int]
    owners: list[str]
    vectors: Floats
    total: int


def _training(everything: Shards, eyes: Eyes, settings: Settings, progress: Reporter) -> _Training | None:
    """Descriptors of training faces; None if there are none or none are wanted."""
    entries = [entry for entry in everything.entries if entry.split == _TRAINING and entry.samples]
    if not entries or not settings.training:
        return None
    shards = Shards(everything.folder, entries, verify=everything.verify)
    places = choose(len(shards), settings.training, settings.seed)
    progress.stage("training", len(places))
    owners, vectors = list[str](), list[Floats]()

    def embed(batch: Sequence[tuple[int, Sample]]) -> tuple[list[str], Floats]:
        pictures, boxes, _ = _arrays(batch)
        return [str(face.row["owner_nsid"]) for _, face in batch], eyes.embed(list(pictures), boxes)

    for names, rows in ordered_map(embed, _batches(shards, places), settings.threads):
        owners += names
        vectors.append(rows)
        progress.advance(len(names))
    return _Training(shards, places, owners, np.concatenate(vectors), len(shards))


def _diversity(faces: _Faces, settings: Settings) -> Diversity:
    apart = [different_people(seen.vectors, faces.owners) for seen in (faces.fake, faces.real)]
    fakes, reals = (float(np.median(rows)) if len(rows) else None for rows in apart)
    return Diversity(
        faces=len(faces.structure),
        variants=settings.variants,
        structure=float(np.mean(faces.structure)),
        embedding=float(np.mean(faces.embedding)),
        between_fakes=fakes,
        between_reals=reals,
    )


def _draw(path: Path, look: _Looker, shards: Shards, training: Shards, rows: Sequence[tuple[int, int, float]]) -> None:
    """The picture of (place, training place, distance) rows."""
    mine, theirs = _at(shards, {row[0] for row in rows}), _at(training, {row[1] for row in rows})
    cells = []
    for place, other, far in rows:
        fake = look.fakes([(place, mine[place])])[0]
        cells.append(([mine[place].picture, fake, theirs[other].picture], f"{far:.2f}"))
    write_grid(path, ("original", "fake", "nearest in training"), cells)


def _at(shards: Shards, places: set[int]) -> dict[int, Sample]:
    return dict(pair for batch in _batches(shards, sorted(places)) for pair in batch)


def _batches(shards: Shards, places: Sequence[int]) -> Iterator[list[tuple[int, Sample]]]:
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


def _arrays(batch: Sequence[tuple[int, Sample]]) -> tuple[Pixels, Floats, Floats]:
    """Pictures, boxes, and keypoints as a generator gets them."""
    faces = [face for _, face in batch]
    return (
        np.stack([face.picture for face in faces]),
        np.stack([face.box for face in faces]),
        known_points(np.stack([face.keypoints for face in faces])),
    )


def _joined(parts: Sequence[_Faces]) -> _Faces:
    first = parts[0]
    return replace(
        first,
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


def _reduced(file: Path) -> bool:
    return any(kind in file.stem for kind in ("fp16", "int8"))
