"""Stage `detect`: pictures → faces with box, seven keypoints, pose, quality and embedding.

A photo with no face is a drop; a face without keypoints is kept here and judged by `filter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from fdf.schema import FACES, Reason
from fdf.stages.base import Config, Stage, StageResult, Tools, drop, dropped_table, execution, ordered_map
from fdf.vision.analyze import Analyzer, Face, face_id
from fdf.vision.base import Detector
from fdf.vision.blazeface import BlazeFace, BlazeFaceConfig
from fdf.vision.centerface import CenterFace, CenterFaceConfig
from fdf.vision.picture import decode
from fdf.vision.zoo import (
    DEFAULT_DETECTOR,
    DEFAULT_EMBEDDER,
    DEFAULT_KEYPOINTER,
    adapters,
    load_detector,
    load_embedder,
    load_keypointer,
    model,
)

NAME: Final = "detect"


class DetectConfig(Config):
    """Which models look, and how closely."""

    detector: str = Field(DEFAULT_DETECTOR, description="Id of the detector; `fdf models` lists them.")
    keypointer: str = Field(DEFAULT_KEYPOINTER, description="Id of the keypointer.")
    embedder: str = Field(
        DEFAULT_EMBEDDER, description="Id of the face embedder; empty for none (then no burst duplicates)."
    )
    detector_path: str = Field("", description="File or folder with your own weights, where the detector needs them.")
    embedder_path: str = Field("", description="The same for the embedder.")
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
    def _known(cls, value: str) -> str:
        if value and value not in adapters():
            raise ValueError(f"expected one of {', '.join(adapters())}")
        return value

    def analyzer(self) -> Analyzer:
        """Load the models.

        Raises:
            ModelError: weights are missing, altered, or their licence is not accepted.
        """
        options: dict[str, Any] = {"path": self.detector_path} if self.detector_path else {}
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
            detector = load_detector(self.detector, score=self.score, **options)
        else:
            detector = load_detector(self.detector, **options)
        embedder_options = {"path": self.embedder_path} if self.embedder_path else {}
        embedder = load_embedder(self.embedder, **embedder_options) if self.embedder else None
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


@dataclass(frozen=True)
class _Job:
    photo: Mapping[str, Any]
    pixels: np.ndarray


def run(tables: Mapping[str, pa.Table], config: DetectConfig, tools: Tools) -> StageResult:
    """FETCHED (and the bytes behind it) → FACES."""
    blobs, analyzer = tools.blobs, tools.analyzer
    if blobs is None or analyzer is None:
        raise ValueError("detect needs blobs and an analyzer")
    photos = tables["fetch"].to_pylist()

    def look(batch: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Face]]]:
        jobs = []
        for photo in batch:
            data = blobs.read(photo["archive"], photo["offset"], photo["length"])
            # `fetch` has already refused bombs; the cap is what it let through.
            jobs.append(_Job(photo, decode(data, photo["width"] * photo["height"]).pixels))
        faces = analyzer.analyze([job.pixels for job in jobs])
        return [(job.photo, found) for job, found in zip(jobs, faces, strict=True)]

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
