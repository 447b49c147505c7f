"""Running an exported face generator: an ONNX file that draws a face into a hole. onnxruntime only.

The file's inputs are `picture` float32 (N, 3, R, R) RGB −1–1, `mask` float32 (N, 1, R, R) with 1 in the hole, `keypoints`
float32 (N, 7, 3) x, y in pixels and presence 0–1, `z` float32 (N, latent), standard normal. Its one output is a picture like
the input with the hole filled. Its metadata says `resolution` and `latent`, and may say `size`, `licence` and `hole` (`box` or
`ellipse`, if it wants one of them). Whoever evaluates or anonymizes meets a generator only here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdf.errors import ModelError
from fdf.vision.base import Floats, Pixels
from fdf.vision.sessions import session
from fdf.vision.zoo import sha256_of

HOLES: Final = ("box", "ellipse")
ELLIPSE: Final = 1.15
"""Axes of an elliptic hole over the sides of its box: one inscribed in the box would leave the jaw's corners bare."""
KNOWN: Final = 0.3
"""Confidence of a keypoint from which on it is given to a generator."""

_INPUTS: Final = ("picture", "mask", "keypoints", "z")
_NUMBERS: Final = ("resolution", "latent")
_FOR_TORCH: Final = (".safetensors", ".pt", ".pth")


def hole_mask(box: npt.ArrayLike, resolution: int, rule: str = "box") -> Floats:
    """The removed part of a picture.

    Args:
        box: (4,) face box [x0, y0, x1, y1) in pixels.
        resolution: side of the picture.
        rule: `box`: every pixel whose centre the box covers; `ellipse`: the same for an ellipse round the box's centre whose
            axes are 1.15 × the box's sides.

    Returns:
        float32 (R, R), 1 in the hole.

    Raises:
        ValueError: an unknown rule, or a box that isn't four finite numbers.
    """
    if rule not in HOLES:
        raise ValueError(f"Unknown rule {rule!r} for a hole: expected one of {', '.join(HOLES)}.")
    edges = np.asarray(box, dtype=np.float64).reshape(-1)
    if edges.shape != (4,) or not np.isfinite(edges).all():
        raise ValueError(f"A face box is four finite numbers x0, y0, x1, y1, got {edges.tolist()}.")
    x0, y0, x1, y1 = (float(value) for value in edges)
    centres = np.arange(resolution, dtype=np.float32) + 0.5
    if rule == "box":
        inside = ((centres >= y0) & (centres < y1))[:, None] & ((centres >= x0) & (centres < x1))[None, :]
    else:
        across = (centres - (x0 + x1) / 2) / max((x1 - x0) / 2 * ELLIPSE, 0.5)
        down = (centres - (y0 + y1) / 2) / max((y1 - y0) / 2 * ELLIPSE, 0.5)
        inside = across[None, :] ** 2 + down[:, None] ** 2 <= 1
    return inside.astype(np.float32)


def known_points(keypoints: npt.NDArray[np.floating]) -> Floats:
    """Keypoints with a confidence (…, 7, 3) → what a generator gets: presence 1 from 0.3 on, otherwise three zeros."""
    points = np.asarray(keypoints, dtype=np.float32)
    known = np.isfinite(points).all(axis=-1) & (np.nan_to_num(points[..., 2]) >= KNOWN)
    whole = np.concatenate([points[..., :2], np.ones_like(points[..., 2:])], axis=-1)
    return np.where(known[..., None], whole, np.float32(0)).astype(np.float32)


@dataclass(frozen=True)
class GeneratorCard:
    """What a generator file says of itself.

    Attributes:
        name: file name.
        sha256: of the file.
        resolution: side of its pictures, pixels.
        latent: length of z.
        hole: `box` or `ellipse`, the shape of hole it is asked for; `box` unless the file names one.
        size: name of its architecture, or empty.
        licence: of its weights, else the rights class of what they were trained on, else `unknown`.
        metadata: everything the file says, as text.
    """

    name: str
    sha256: str
    resolution: int
    latent: int
    hole: str
    size: str
    licence: str
    metadata: tuple[tuple[str, str], ...] = ()


class FaceGenerator:
    """Draws faces into holes. Safe to call from several threads at once."""

    def __init__(self, network: Any, card: GeneratorCard, *, batch: int = 16) -> None:
        self._network, self.card, self.batch = network, card, batch
        self._output = network.get_outputs()[0].name

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1, cuda: bool = False, batch: int = 16) -> FaceGenerator:
        """Load a file and check that it is a generator.

        Args:
            path: an ONNX file made by `fdf export`.
            threads: threads inside one operator.
            cuda: run on the GPU.
            batch: faces that go through the network together.

        Raises:
            ModelError: no such file, no ONNX file, other inputs or outputs, or metadata that is missing or contradicts the
                network.
            MachineError: no GPU where one was asked for.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelError(
                f"There is no generator at {path}", expected="an ONNX file", action="`fdf export` makes one of a run"
            )
        if path.suffix.lower() in _FOR_TORCH:
            raise ModelError(
                f"{path.name} can't be run as it is",
                expected="an ONNX file",
                got="weights for torch",
                action="`fdf export` makes one of a run or a checkpoint",
            )
        network = session(path, threads=threads, cuda=cuda)
        return cls(network, _card(path, network), batch=batch)

    @property
    def resolution(self) -> int:
        """Side of its pictures, pixels."""
        return self.card.resolution

    @property
    def latent(self) -> int:
        """Length of z."""
        return self.card.latent

    def masks(self, boxes: npt.ArrayLike, rule: str | None = None) -> Floats:
        """The holes of face boxes (N, 4), by a rule of `hole_mask` or the file's own: float32 (N, 1, R, R)."""
        rows = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        holes = [hole_mask(box, self.resolution, rule or self.card.hole) for box in rows]
        return np.array(holes, dtype=np.float32).reshape(-1, 1, self.resolution, self.resolution)

    def generate(
        self,
        pictures: Pixels,
        boxes: npt.ArrayLike,
        keypoints: npt.NDArray[np.floating],
        z: npt.NDArray[np.floating],
        *,
        masks: Floats | None = None,
    ) -> Pixels:
        """Replace the face of each picture. The network never gets a pixel of the hole: it is grey before the network runs.

        Args:
            pictures: uint8 RGB (N, R, R, 3).
            boxes: (N, 4) face boxes in pixels; what is taken away follows from them by the file's rule.
            keypoints: (N, 7, 3), x, y in pixels and presence 0–1 (`known_points`).
            z: (N, latent), standard normal: another z, another face.
            masks: holes of another shape, float32 (N, 1, R, R), instead of those of the boxes.

        Returns:
            uint8 RGB (N, R, R, 3); outside the hole the picture as it was.

        Raises:
            ValueError: shapes that don't fit.
            ModelError: the network fails, or gives something else than a picture.
        """
        n, side = len(pictures), self.resolution
        rows = np.asarray(boxes, dtype=np.float32)
        for name, array, shape in (
            ("pictures", pictures, (n, side, side, 3)),
            ("boxes", rows, (n, 4)),
            ("keypoints", keypoints, (n, 7, 3)),
            ("z", z, (n, self.latent)),
        ):
            if array.shape != shape:
                raise ValueError(f"{name}: expected {shape}, got {array.shape}.")
        if pictures.dtype != np.uint8:
            raise ValueError(f"pictures: expected uint8, got {pictures.dtype}.")
        holes = self.masks(rows) if masks is None else masks
        if holes.shape != (n, 1, side, side):
            raise ValueError(f"masks: expected {(n, 1, side, side)}, got {holes.shape}.")
        out = np.empty_like(pictures)
        for at in range(0, n, self.batch):
            part = slice(at, at + self.batch)
            out[part] = self._run(pictures[part], holes[part], keypoints[part], z[part])
        return out

    def _run(
        self, pictures: Pixels, holes: Floats, keypoints: npt.NDArray[np.floating], z: npt.NDArray[np.floating]
    ) -> Pixels:
        channels = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        values = channels / np.float32(127.5) - np.float32(1)
        feed = {
            "picture": np.where(holes < 0.5, values, np.float32(0)),
            "mask": holes,
            "keypoints": np.ascontiguousarray(keypoints, dtype=np.float32),
            "z": np.ascontiguousarray(z, dtype=np.float32),
        }
        try:
            made = np.asarray(self._network.run([self._output], feed)[0])
        except Exception as error:  # onnxruntime raises a family of its own that shares no base class
            raise ModelError(
                f"{self.card.name} fails on {len(pictures)} pictures",
                got=str(error).splitlines()[0],
                action="Export it anew with `fdf export`",
            ) from error
        if made.shape != values.shape or not np.isfinite(made).all():
            raise ModelError(
                f"{self.card.name} gives no pictures",
                expected=f"finite numbers {values.shape}",
                got=f"{made.shape}" if made.shape != values.shape else "infinite values or NaN",
                action="Export it anew; if it stays so, the training run diverged",
            )
        drawn = made.astype(np.float32, copy=False) * np.float32(127.5) + np.float32(127.5)
        drawn = np.clip(np.rint(drawn, out=drawn), 0, 255, out=drawn).astype(np.uint8)
        np.copyto(drawn, channels, where=holes < 0.5)
        return np.ascontiguousarray(drawn.transpose(0, 2, 3, 1))


def _card(path: Path, network: Any) -> GeneratorCard:
    inputs = {row.name: list(row.shape) for row in network.get_inputs()}
    outputs = [row.name for row in network.get_outputs()]
    if set(inputs) != set(_INPUTS) or len(outputs) != 1:
        raise ModelError(
            f"{path.name} is no face generator",
            expected=f"inputs {', '.join(_INPUTS)} and one output",
            got=f"inputs {', '.join(inputs)} and outputs {', '.join(outputs)}",
            action="Take a file that `fdf export` made",
        )
    said = dict(network.get_modelmeta().custom_metadata_map)
    wrong = [name for name in _NUMBERS if not said.get(name, "").isdigit()]
    if wrong:
        raise ModelError(
            f"{path.name} doesn't say what it needs",
            expected="metadata with resolution and latent as numbers",
            got="; ".join(f"{name}: {said.get(name, 'nothing')}" for name in wrong),
            action="Export it anew with `fdf export`",
        )
    resolution, latent = (int(said[name]) for name in _NUMBERS)
    for name, shape in (
        ("picture", [3, resolution, resolution]),
        ("mask", [1, resolution, resolution]),
        ("keypoints", [7, 3]),
        ("z", [latent]),
    ):
        found = inputs[name][1:]
        fits = len(found) == len(shape) and all(
            not isinstance(got, int) or got == want for got, want in zip(found, shape, strict=True)
        )
        if not fits:
            raise ModelError(
                f"The metadata of {path.name} contradicts its network",
                expected=f"{name} (N, {', '.join(map(str, shape))})",
                got=f"({', '.join(map(str, inputs[name]))})",
                action="Export it anew with `fdf export`",
            )
    return GeneratorCard(
        name=path.name,
        sha256=sha256_of(path),
        resolution=resolution,
        latent=latent,
        hole=said["hole"] if said.get("hole") in HOLES else "box",
        size=said.get("size", ""),
        licence=said.get("licence") or said.get("rights_class") or "unknown",
        metadata=tuple(sorted(said.items())),
    )
