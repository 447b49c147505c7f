"""InsightFace: SCRFD detectors and ArcFace embedders from a folder or ONNX file that the user has.

fdf ships none of these weights: InsightFace grants its packs for non-commercial research only, and every table row made with
them says so. Loading goes through InsightFace's own `model_zoo`, from local files; nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from fdf.errors import MachineError, ModelError
from fdf.vision.base import (
    Detections,
    Floats,
    Keypoints,
    Pixels,
    check_batch,
    check_pictures,
    make_detections,
)
from fdf.vision.facemesh import five_points
from fdf.vision.warp import fit, sample
from fdf.vision.zoo import Model, local_model, path_of

LICENSE: Final = "LicenseRef-InsightFace-noncommercial"
"""Non-commercial research only (github.com/deepinsight/insightface, issues 1877 and 2486)."""

_KPS_OUTPUTS: Final = (9, 15)
_LONGEST: Final = 600  # a picture this many times longer than wide is scaled to nothing by InsightFace's letterbox

ARCFACE: Final = (
    np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]) + 0.5
) / 112
"""Where ArcFace wants the five points, in 0–1 of its side (insightface/utils/face_align.py, `arcface_dst`, whose points count
from a pixel's centre)."""


class InsightFaceDetector:
    """Detector: an SCRFD model with five points.

    Args:
        path: an ONNX file, or the folder of a pack; in a folder the first detector by file name is taken.
        score: lowest score of a face.
        size: side of the square that pictures are fitted into, unless the model fixes it.
        threads: threads inside one operator.
        cuda: run on the GPU.
    """

    def __init__(
        self, path: str | Path, *, score: float = 0.5, size: int = 640, threads: int = 1, cuda: bool = False
    ) -> None:
        self._net, row = _find(Path(path), "detection", threads, cuda)
        self.models: tuple[Model, ...] = (row,)
        self.id = row.id
        self._net.prepare(0 if cuda else -1, input_size=(size, size), det_thresh=score)
        self._lock = threading.Lock()  # InsightFace's detector caches anchors while it runs

    def detect(self, pictures: Sequence[Pixels]) -> list[Detections]:
        """Faces of each picture, boxes clipped to it."""
        check_pictures(pictures)
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Pixels) -> Detections:
        height, width = picture.shape[:2]
        if max(height, width) >= _LONGEST * min(height, width):
            return make_detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)), width, height)
        with self._lock:
            rows, five = self._net.detect(np.ascontiguousarray(picture[..., ::-1]), max_num=0)
        return make_detections(rows[:, :4], rows[:, 4], five, width, height)


class InsightFaceEmbedder:
    """Embedder: an ArcFace model, vectors of unit length, compared by cosine.

    Args:
        path: an ONNX file, or the folder of a pack; in a folder the first recognizer by file name is taken.
        threads: threads inside one operator.
        cuda: run on the GPU.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, cuda: bool = False) -> None:
        self._net, row = _find(Path(path), "recognition", threads, cuda)
        self.models: tuple[Model, ...] = (row,)
        self.id = row.id
        self.dim = int(self._net.output_shape[-1])

    def embed(
        self, pictures: Sequence[Pixels], detections: Sequence[Detections], keypoints: Sequence[Keypoints]
    ) -> list[Floats]:
        """float32 (N, dim) per picture, of unit length. Faces are aligned by the detector's five points or the mesh's."""
        check_batch(pictures, detections, keypoints)
        result = []
        for picture, found, points in zip(pictures, detections, keypoints, strict=True):
            five = found.landmarks5 if points.mesh is None else five_points(points.mesh)
            if five is None:
                raise ValueError("ArcFace aligns faces by five points: this detector and keypointer give none.")
            rows = np.zeros((len(five), self.dim), dtype=np.float32)
            for row, points5 in enumerate(five):
                chip = sample(picture, fit(ARCFACE, points5), self._net.input_size[0])
                vector = np.asarray(self._net.get_feat(np.ascontiguousarray(chip[..., ::-1])), dtype=np.float32).ravel()
                rows[row] = vector / max(float(np.linalg.norm(vector)), 1e-12)
            result.append(rows)
        return result


def _find(path: Path, task: str, threads: int, cuda: bool) -> tuple[Any, Model]:
    if not path.exists():
        raise ModelError(f"There is no InsightFace model at {path}", expected="an ONNX file or a folder with some")
    files = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    for file in files:
        name = f"insightface/{path.name}/{file.stem}" if path.is_dir() else f"insightface/{file.stem}"
        kind = "detector" if task == "detection" else "embedder"
        row = local_model(file, model_id=name, task=kind, code_license="MIT", weight_license=LICENSE)
        net = _load(path_of(row), threads, cuda)
        right = getattr(net, "taskname", None) == task
        if right and (task == "recognition" or len(net.session.get_outputs()) in _KPS_OUTPUTS):
            return net, row
    raise ModelError(
        f"No {task} model of InsightFace was found at {path}",
        expected="an SCRFD model with five points" if task == "detection" else "an ArcFace model",
        got=", ".join(file.name for file in files) or "no ONNX file",
        action="Give the ONNX file itself, or the folder of a pack",
    )


def _load(path: Path, threads: int, cuda: bool) -> Any:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            import onnxruntime
            from insightface.model_zoo import get_model
    except ImportError as error:
        raise MachineError(
            "insightface can't be imported",
            got=str(error),
            action='Install it with `pip install "fdf[insightface]"`; a bare container also needs libGL and libxcb',
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return get_model(str(path), providers=providers, sess_options=options)
    except Exception as error:  # onnx, onnxruntime and protobuf each raise their own kinds
        raise ModelError(f"InsightFace can't load {path.name}", got=str(error).splitlines()[0]) from error
