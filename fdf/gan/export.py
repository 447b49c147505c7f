"""The generator as one ONNX file, checked against torch.

Heat-maps, hole and compositing are part of the graph: who runs the file hands over the whole picture and the mask, and the
graph itself takes the face away first. Inputs, all float32 with a free first dimension N:

    picture    (N, 3, R, R)   −1–1
    mask       (N, 1, R, R)   1 in the hole
    keypoints  (N, 7, 3)      x, y in pixels, presence 0–1
    z          (N, latent)    standard normal

and one output, `filled`, (N, 3, R, R): outside the hole the picture to the bit, whatever the precision; inside it may leave
−1–1 by a little. `metadata_props` of the file say the rest (`METADATA`).
"""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from fdf.errors import MachineError, ModelError, UsageError
from fdf.gan.conditions import KEYPOINTS
from fdf.gan.networks import Architecture, Generator
from fdf.vocabulary import KEYPOINT_NAMES

Precision = Literal["fp32", "fp16", "int8"]
Arrays = dict[str, npt.NDArray[np.float32]]
"""One batch: picture, mask, keypoints, z."""

OPSET: Final = 23
TOLERANCE: Final = 1e-3
"""Largest difference between torch and an fp32 file, in units of a picture (−1–1)."""
METADATA: Final = ("resolution", "latent", "size", "precision", "hole", "picture_range", "keypoints")
HOLE: Final = "mask >= 0.5 is hidden from the network; outside it the output is the input"
_INPUTS: Final = ("picture", "mask", "keypoints", "z")


@dataclass(frozen=True)
class ExportCheck:
    """What an exported file is like.

    Attributes:
        path: of the file.
        precision: fp32, fp16 or int8.
        bytes: size of the file.
        opset: of ONNX.
        max_error: largest difference from torch in float32, units of a picture (−1–1).
        mean_error: mean difference inside the hole.
        compared: pictures they were measured on.
    """

    path: Path
    precision: Precision
    bytes: int
    opset: int
    max_error: float
    mean_error: float
    compared: int


def export_onnx(
    generator: Generator,
    arch: Architecture,
    path: Path,
    *,
    precision: Precision = "fp32",
    metadata: Mapping[str, str] | None = None,
    samples: Sequence[Arrays] | None = None,
) -> ExportCheck:
    """Write the generator as ONNX and measure what that changed. The file appears under its name only when it passed.

    Args:
        generator: with the weights to export; it is not changed.
        arch: its architecture.
        path: of the file.
        precision: fp32; fp16 with half-precision weights inside, float32 at the border; int8 with 8-bit convolutions.
        metadata: further `metadata_props`, such as the run and the rights class of the weights.
        samples: batches to compare on, which also set the ranges of int8; None: made-up pictures. Give real ones for int8.

    Raises:
        UsageError: there is no such precision, or `path` is a folder.
        ModelError: an fp32 file differs from torch by more than `TOLERANCE`, or the outputs are not finite.
        MachineError: the file can't be written.
    """
    if precision not in ("fp32", "fp16", "int8"):
        raise UsageError("Unknown precision.", expected="fp32, fp16 or int8", got=repr(precision))
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder", expected="a file to write", action=f"For example: -o {path / 'generator.onnx'}"
        )
    generator = copy.deepcopy(generator).cpu().float().eval()
    batches = list(samples) if samples is not None else [made_up(arch, 3, seed) for seed in range(4)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            made = Path(folder) / "generator.onnx"
            _trace(generator.half() if precision == "fp16" else generator, arch, made)
            generator.float()
            if precision == "int8":
                made = _quantize(made, batches)
            _describe(made, arch, precision, metadata or {})
            check = _check(made, path, generator, precision, batches)
            made.replace(path)
    except OSError as problem:
        raise MachineError(
            f"Can't write {path}.", got=str(problem), action="Make room or choose another place."
        ) from problem
    return check


def made_up(arch: Architecture, count: int, seed: int) -> Arrays:
    """A batch of noise with rectangular holes and random keypoints, one in seven of them missing."""
    rng, side = np.random.default_rng(seed), arch.resolution
    coarse = rng.uniform(-1, 1, (count, 3, side // 8, side // 8)).repeat(8, axis=2).repeat(8, axis=3)
    picture = 0.8 * coarse + 0.2 * rng.uniform(-1, 1, (count, 3, side, side))
    mask = np.zeros((count, 1, side, side))
    for hole in mask:
        top, left = rng.integers(0, side // 3, 2)
        height, width = rng.integers(side // 3, side // 2, 2)
        hole[:, top : top + height, left : left + width] = 1
    keypoints = rng.uniform(0, side, (count, KEYPOINTS, 3))
    keypoints[..., 2] = rng.uniform(0, 1, (count, KEYPOINTS)) > 1 / 7
    z = rng.standard_normal((count, arch.latent))
    return {name: value.astype(np.float32) for name, value in zip(_INPUTS, (picture, mask, keypoints, z), strict=True)}


def _trace(generator: Generator, arch: Architecture, path: Path) -> None:
    example = tuple(torch.from_numpy(made_up(arch, 2, 0)[name]) for name in _INPUTS)
    batch = torch.export.Dim("batch", min=1)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            generator,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(_INPUTS),
            output_names=["filled"],
            dynamic_shapes=tuple({0: batch} for _ in _INPUTS),
            verbose=False,
        )
        program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters say about themselves: our inputs share one batch dimension, on purpose, and torchvision's
    operators, which the one of torch (2.9–2.13) misses, aren't used.
    """
    loggers = [logging.getLogger("torch.onnx"), logging.getLogger()]  # onnxruntime's quantizer logs to the root
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*The axis name: batch will not be used", category=UserWarning)
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def _quantize(path: Path, batches: Sequence[Arrays]) -> Path:
    """Convolutions in 8 bits: weights by channel, activations by the ranges seen in the batches."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Batches, one after the other."""

        rows = iter(batches)

        def get_next(self) -> Arrays | None:
            """Give the next batch, None at the end."""
            return next(self.rows, None)

    out = path.with_name("int8.onnx")
    with _quiet():
        quantize_static(
            path,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return out


def _describe(path: Path, arch: Architecture, precision: Precision, metadata: Mapping[str, str]) -> None:
    model = onnx.load(path)
    own = {
        "resolution": str(arch.resolution),
        "latent": str(arch.latent),
        "size": arch.size,
        "precision": precision,
        "hole": HOLE,
        "picture_range": "-1..1",
        "keypoints": ", ".join(KEYPOINT_NAMES) + ": x, y in pixels, presence 0..1",
    }
    onnx.helper.set_model_props(model, {**metadata, **own})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _check(
    made: Path, path: Path, generator: Generator, precision: Precision, batches: Sequence[Arrays]
) -> ExportCheck:
    """Compare batches of one and of many with torch."""
    session = ort.InferenceSession(made, providers=["CPUExecutionProvider"])
    compared = [*batches, {name: values[:1] for name, values in batches[0].items()}]
    worst, inside = 0.0, []
    for batch in compared:
        with torch.no_grad():
            expected = generator(*(torch.from_numpy(batch[name]) for name in _INPUTS)).numpy()
        error = np.abs(session.run(None, batch)[0] - expected)
        worst = max(worst, float(error.max()))  # NaN stays NaN
        inside.append(error[np.broadcast_to(batch["mask"] >= 0.5, error.shape)])
    if not np.isfinite(worst) or not all(np.isfinite(part).all() for part in inside):
        raise ModelError(
            f"The {precision} generator gives values that are not numbers.", action="Export another checkpoint."
        )
    if precision == "fp32" and worst > TOLERANCE:
        raise ModelError(
            "The ONNX file and torch disagree.",
            expected=f"at most {TOLERANCE:g} between their pictures",
            got=f"{worst:.2g}",
            action="Report this with the versions of torch and onnxruntime.",
        )
    opset: Any = next(entry.version for entry in onnx.load(made).opset_import if entry.domain in ("", "ai.onnx"))
    return ExportCheck(
        path=path,
        precision=precision,
        bytes=made.stat().st_size,
        opset=int(opset),
        max_error=worst,
        mean_error=float(np.concatenate(inside).mean()),
        compared=sum(len(batch["z"]) for batch in compared),
    )
