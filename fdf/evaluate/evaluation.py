"""Everything that is measured on a generator, in one pass over the faces of a split.

Faces come in batches (`batches`), are held against the training faces (`training_faces`), and each measure has a file of its
own; a second pass draws the few that the picture shows.
"""

from __future__ import annotations

import time
from collections.abc import Set
from pathlib import Path

import numpy as np

from fdf.errors import DataError, UsageError
from fdf.evaluate.batches import Faces, Looker, batches, choose, joined
from fdf.evaluate.faces import Eyes
from fdf.evaluate.features import DlibDescriptor, Extractor, load_extractor
from fdf.evaluate.preservation import preservation
from fdf.evaluate.quality import Quality, quality
from fdf.evaluate.reidentification import different_people, reidentification
from fdf.evaluate.result import DataFacts, Diversity, Evaluation, ModelFacts, Timing
from fdf.evaluate.settings import FEWEST, Reporter, Settings, Silent
from fdf.evaluate.training_faces import TrainingFaces, Unknown, remembered, training_faces
from fdf.gan.takedown import FaceKey, faces_eaten
from fdf.stages.base import ordered_map
from fdf.store.files import file_sha256
from fdf.store.shards import INDEX, Shards, open_shards
from fdf.vision.generator import FaceGenerator

__all__ = ["Reporter", "Settings", "evaluate", "find_generator"]


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
        picture: PNG to write: fakes that are nearest to a face that the generator ate, with their original and that face;
            none if it isn't known what it ate.

    Raises:
        UsageError: no such split or resolution, nothing exported, an impossible setting.
        DataError: too few faces, damaged shards.
        ModelError: no generator or extractor in that file.
        MachineError: a library is missing.
    """
    settings, progress = settings or Settings(), progress or Silent()
    started = time.perf_counter()
    generator = FaceGenerator.load(file := find_generator(model))
    eaten = faces_eaten(file)
    everything = open_shards(shards, resolution=generator.resolution)
    chosen = open_shards(shards, resolution=generator.resolution, split=settings.split)
    places = _places(chosen, generator, settings)
    features = load_extractor(settings.features)
    look = Looker(generator, features, Eyes(), settings, frozenset(places[: settings.varied]))

    faces = _look(look, chosen, places, progress)
    training = training_faces(everything, file.name, eaten, look.eyes, settings, progress)
    memory = None if isinstance(training, Unknown) else remembered(faces, training, look, chosen, places, picture)
    seconds = time.perf_counter() - started
    return Evaluation(
        model=_model(generator),
        data=_data(chosen, faces.keys, eaten, training, generator, settings),
        quality=_quality(faces, features, settings),
        diversity=_diversity(faces, settings),
        preservation=preservation(faces.real, faces.fake, faces.keypoints, faces.boxes),
        reidentification=reidentification(faces.real.vectors, faces.fake.vectors, faces.owners),
        memorization=memory,
        memorization_unknown=None if memory else _unknown(training),
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


def _reduced(file: Path) -> bool:
    return any(kind in file.stem for kind in ("fp16", "int8"))


def _places(chosen: Shards, generator: FaceGenerator, settings: Settings) -> list[int]:
    """Which faces of a split are looked at."""
    places = choose(len(chosen), settings.count, settings.seed)
    if len(places) < FEWEST:
        raise DataError(
            f"The split {settings.split} of {chosen.folder} has too few faces at {generator.resolution} px",
            expected=f"{FEWEST} or more",
            got=str(len(chosen)),
            action="Take another --split, or build with a larger manifest.validation_share",
        )
    return places


def _look(look: Looker, chosen: Shards, places: list[int], progress: Reporter) -> Faces:
    progress.stage("faces", len(places))
    parts = []
    for part in ordered_map(look, batches(chosen, places), look.settings.threads):
        parts.append(part)
        progress.advance(len(part.owners))
    return joined(parts)


def _model(generator: FaceGenerator) -> ModelFacts:
    card = generator.card
    return ModelFacts(card.name, card.sha256, card.resolution, card.latent, card.size, card.licence)


def _unknown(training: TrainingFaces | Unknown) -> str:
    """Why nothing is said about memory."""
    return training.why if isinstance(training, Unknown) else "All the faces, those that it ate too, have one owner."


def _data(
    chosen: Shards,
    keys: list[FaceKey],
    eaten: Set[FaceKey] | None,
    training: TrainingFaces | Unknown,
    generator: FaceGenerator,
    settings: Settings,
) -> DataFacts:
    return DataFacts(
        index_sha256=file_sha256(chosen.folder / INDEX),
        split=settings.split,
        faces=len(keys),
        of=len(chosen),
        hole=settings.hole or generator.card.hole,
        seed=settings.seed,
        training=settings.training,
        training_of=training.of,
        training_looked=training.looked,
        training_eaten=training.eaten,
        eaten=None if eaten is None else sum(key in eaten for key in keys),
        rights_classes=tuple(sorted(chosen.rights_classes)),
    )


def _quality(faces: Faces, features: Extractor | DlibDescriptor, settings: Settings) -> Quality:
    """Of an extractor's rows, or of the descriptors that were made anyway."""
    if isinstance(features, DlibDescriptor):
        real, fake = (features.scaled(seen.vectors) for seen in (faces.real, faces.fake))
        region = "face"
    else:
        real, fake, region = faces.features_real, faces.features_fake, settings.region
    return quality(real, fake, extractor=features.id, sha256=features.sha256, region=region, seed=settings.seed)


def _diversity(faces: Faces, settings: Settings) -> Diversity:
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
