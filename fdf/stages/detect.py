"""Stage `detect`: pictures → faces with box, seven keypoints, pose, quality and embedding.

A photo with no face is a drop; a face without keypoints is kept here and judged by `filter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from fdf.errors import ModelError
from fdf.schema import FACES
from fdf.stages.base import Config, Stage, StageResult, Tools, drop, dropped_table, execution, ordered_map
from fdf.stages.pictures import read_picture
from fdf.vision.analyze import Analyzer, Face, face_id
from fdf.vision.base import Detector
from fdf.vision.blazeface import BlazeFace, BlazeFaceConfig
from fdf.vision.centerface import CenterFace, CenterFaceConfig
from fdf.vision.insightface_pack import InsightFaceDetector
from fdf.vision.zoo import (
    DEFAULT_DETECTOR,
    DEFAULT_EMBEDDER,
    DEFAULT_KEYPOINTER,
    kinds,
    load_detector,
    load_embedder,
    load_keypointer,
    model,
    needs_path,
    takes_path,
)
from fdf.vocabulary import Reason

NAME: Final = "detect"

_CENTERFACE_ONLY: Final = ("min_side", "max_side", "second_pass", "tile")
_WITH_SCORE: Final = (CenterFace.id, BlazeFace.id, "insightface-detector")


class DetectConfig(Config):
    """Which models look, and how closely."""

    detector: str = Field(DEFAULT_DETECTOR, description="Id of the detector; `fdf models` lists them.")
    keypointer: str = Field(DEFAULT_KEYPOINTER, description="Id of the keypointer.")
    embedder: str = Field(
        DEFAULT_EMBEDDER, description="Id of the face embedder; empty for none (then no burst duplicates)."
    )
    # Not part of fingerprints: the SHA-256 of what lies there is.
    detector_path: str = execution("", "File or folder with your own weights, where the detector needs them.")
    embedder_path: str = execution("", "The same for the embedder.")
    score: float = Field(0.5, gt=0, lt=1, description="Lowest detector score.")
    min_side: int = Field(
        640, ge=64, description="Smaller pictures are enlarged to this long side before detection, pixels."
    )
    max_side: int = Field(1280, ge=64, description="Larger pictures are reduced to this long side, pixels.")
    second_pass: bool = Field(
        True, description="Look a second time at a third of the size, for faces that fill the picture."
    )
    tile: int = Field(
        0,
        ge=0,
        description="Also cut pictures larger than max_side into tiles of this many pixels, for small faces; 0: no.",
    )
    batch: int = execution(8, "Photos analysed together.", ge=1, le=256)

    @field_validator("detector", "keypointer", "embedder")
    @classmethod
    def _of_its_kind(cls, value: str, info: ValidationInfo) -> str:
        known = [name for name, kind in kinds().items() if kind == info.field_name]
        if value not in known and (value or info.field_name != "embedder"):
            raise ValueError(f"expected one of {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _have_effect(self) -> DetectConfig:
        """A setting that is needed and missing, or that would be ignored."""
        for kind, name, path in (
            ("detector", self.detector, self.detector_path),
            ("embedder", self.embedder, self.embedder_path),
        ):
            if path and not takes_path(name):
                right = ", ".join(one for one, found in kinds().items() if found == kind and takes_path(one))
                raise ValueError(
                    f"{kind}_path is set, but {name or f'an empty {kind}'} takes no weights of your own; "
                    f"remove it, or choose one that does: {right}"
                )
            if needs_path(name) and not path:
                raise ValueError(f"{name} needs weights of your own: set {kind}_path to a file or folder")
        if self.tile:
            CenterFaceConfig(tile=self.tile)  # has a least size
        ignored = [] if self.detector == CenterFace.id else list(_CENTERFACE_ONLY)
        ignored += [] if self.detector in _WITH_SCORE else ["score"]
        changed = [name for name in ignored if getattr(self, name) != type(self).model_fields[name].default]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} would be ignored by {self.detector}: "
                f"leave {'it' if len(changed) == 1 else 'them'} out, or choose a detector that looks at "
                f"{'it' if len(changed) == 1 else 'them'}"
            )
        return self

    def analyzer(self) -> Analyzer:
        """Load the models.

        Raises:
            ModelError: weights are missing, altered, or their licence is not accepted.
        """
        for name, path in (("detector_path", self.detector_path), ("embedder_path", self.embedder_path)):
            if path and not Path(path).exists():
                raise ModelError(
                    f"There are no weights at {path}",
                    expected="a file or folder there: the recipe names it",
                    action=f"Correct detect.{name} (relative paths count from the recipe's folder)",
                )
        detector: Detector
        if self.detector == CenterFace.id:
            detector = CenterFace(
                CenterFaceConfig(
                    score=self.score,
                    min_side=self.min_side,
                    max_side=self.max_side,
                    second_pass=self.second_pass,
                    tile=self.tile,
                )
            )
        elif self.detector == BlazeFace.id:
            detector = BlazeFace(BlazeFaceConfig(score=self.score))
        elif self.detector == "insightface-detector":
            detector = InsightFaceDetector(self.detector_path, score=self.score)
        else:
            detector = load_detector(self.detector, path=self.detector_path or None)
        embedder = load_embedder(self.embedder, path=self.embedder_path or None) if self.embedder else None
        return Analyzer(detector, load_keypointer(self.keypointer), embedder)

    def models(self) -> tuple[dict[str, str], ...]:
        """Entries of all models this config uses, for fingerprints and receipts."""
        return _models(self)


@lru_cache(maxsize=4)
def _models(config: DetectConfig) -> tuple[dict[str, str], ...]:
    ids = [part for name in (config.detector, config.keypointer, config.embedder) for part in name.split("+") if part]
    if config.detector_path or config.embedder_path:
        found = config.analyzer().models  # only loading tells what the user's folder holds
    else:
        found = tuple(model(one) for one in dict.fromkeys(ids))
    names = ("id", "task", "sha256", "code_license", "weight_license", "origin", "training_data")
    return tuple({name: getattr(one, name) for name in names} for one in found)


def run(tables: Mapping[str, pa.Table], config: DetectConfig, tools: Tools) -> StageResult:
    """FETCHED (and the bytes behind it) → FACES."""
    blobs, analyzer = tools.blobs, tools.analyzer
    if blobs is None or analyzer is None:
        raise ValueError("detect needs blobs and an analyzer")
    photos = tables["fetch"].to_pylist()

    def look(batch: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Face]]]:
        faces = analyzer.analyze([read_picture(blobs, photo) for photo in batch])
        return list(zip(batch, faces, strict=True))

    batches = [photos[start : start + config.batch] for start in range(0, len(photos), config.batch)]
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for result in ordered_map(look, batches, tools.threads):
        for photo, faces in result:
            tools.advance(1)
            if not faces:
                size = f"{photo['width']}×{photo['height']}"
                dropped.append(drop(NAME, photo["photo_id"], Reason.NO_FACE, f"none over {config.score:g} in {size}"))
            kept += [_row(photo, face, analyzer) for face in faces]
    notes = {"faces": len(kept)}
    return StageResult(pa.Table.from_pylist(kept, schema=FACES), dropped_table(dropped), notes)


def _row(photo: Mapping[str, Any], face: Face, analyzer: Analyzer) -> dict[str, Any]:
    return {
        "face_id": face_id(photo["sha256"], face.box),
        "photo_id": photo["photo_id"],
        "box": face.box,
        "score": face.score,
        "keypoints": np.asarray(face.keypoints, np.float32).reshape(21),
        "landmarks5": None if face.landmarks5 is None else np.asarray(face.landmarks5, np.float32).reshape(10),
        "yaw": face.yaw,
        "pitch": face.pitch,
        "roll": face.roll,
        "sharpness": face.sharpness,
        "brightness": face.brightness,
        "contrast": face.contrast,
        "skin_ita": face.skin_ita,
        "occlusion": face.occlusion,
        "embedding": None if face.embedding is None else np.asarray(face.embedding, np.float16),
        "detector": analyzer.detector.id,
        "keypointer": analyzer.keypointer.id,
        "embedder": analyzer.embedder.id if analyzer.embedder else None,
    }


STAGE = Stage(
    name=NAME,
    version=1,
    unit="photo",
    scope="partition",
    reads=("fetch",),
    schema=FACES,
    config=DetectConfig,
    run=run,
    doc="Finds faces, seven keypoints, head pose, quality and an embedding.",
    tools=("blobs", "analyzer"),
    seconds=0.35,
)
