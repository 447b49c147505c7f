"""What a face is replaced by. The registry names every method; each is one class that fulfils `base.Method`.

`solid` shows nothing. `blur` and `pixelate` keep the look of a picture and something of the face: what a recognizer still
gets out of them was measured, and settings under which it gets more warn with the figure (docs/anonymize.md).
"""

from __future__ import annotations

import difflib
import importlib
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face, Job, Method, Replacement
from fdf.errors import UsageError
from fdf.vision.base import Pixels

DEFAULT: Final = "solid"

# name → module and class; the class is made with `strength=`. A new method is its own file and one row here.
_METHODS: Final[dict[str, tuple[str, str]]] = {
    "solid": ("fdf.anonymize.methods", "Solid"),
    "blur": ("fdf.anonymize.methods", "Blur"),
    "pixelate": ("fdf.anonymize.methods", "Pixelate"),
    "gan": ("fdf.anonymize.gan", "Gan"),
    "donor": ("fdf.anonymize.donor", "Donor"),
}

STRENGTHS: Final = {"blur": (0.0, 10.0), "pixelate": (0.0, 10.0), "donor": (1.0, 2.0)}
"""Methods that have a strength, with its range; 0 itself is none. `donor` pushes shapes away, and never less than at 1."""

GREY: Final = (96, 96, 96)
"""What `solid` fills with: the same for everybody, since a mean colour would tell the skin's."""

_CELLS: Final = 6  # of pixelate, across the longer side of the box at strength 1
_SIGMA: Final = 0.24  # of blur, over the longer side of the box at strength 1
_GRID: Final = 2.0  # cells in a sigma: blur works on means of cells, so that nothing finer can be in its result
_LEAST_CELL: Final = 2  # pixels


class WeakMethodWarning(UserWarning):
    """The setting leaves more of a face than the default does; the message has the figure that was measured."""


def names() -> tuple[str, ...]:
    """Every method there is."""
    return tuple(_METHODS)


def make_method(name: str, strength: float = 1.0, *, donors: str | Path | None = None) -> Method:
    """Make a method by its name.

    Args:
        name: one of `names()`.
        strength: 1 is the measured default; less hides less, and warns. Methods that are not in `STRENGTHS` have none.
        donors: of `donor` only: folder of those who lend their faces; None for the rendered people that fdf brings.

    Raises:
        UsageError: no such method, a strength that is no positive number, or donors for a method that takes none.
    """
    if name not in _METHODS:
        near = difflib.get_close_matches(name, _METHODS, n=1)
        raise UsageError(
            f"There is no method {name!r}",
            expected=f"one of {', '.join(_METHODS)}",
            action=f"Did you mean {near[0]}?" if near else "",
        )
    if not (math.isfinite(strength) and 0 < strength <= 10):
        raise UsageError("The strength is out of range", expected="a number over 0, up to 10", got=str(strength))
    weak = weakness(name, strength)
    if weak:
        warnings.warn(weak, WeakMethodWarning, stacklevel=2)
    if donors is not None and name != "donor":
        raise UsageError(f"{name} takes no donors", expected="the method donor")
    module, kind = _METHODS[name]
    more = {} if donors is None else {"donors": donors}
    return cast(Method, getattr(importlib.import_module(module), kind)(strength=strength, **more))


class Solid:
    """One grey for everybody."""

    name = "solid"

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:  # noqa: ARG002 - it looks at nothing
        """Grey windows."""
        return [Replacement(np.full((*job.region.alpha.shape, 3), GREY, dtype=np.uint8)) for job in jobs]


class Pixelate:
    """Means of square cells, at most 6 across the longer side of the box at strength 1."""

    name = "pixelate"

    def __init__(self, strength: float = 1.0) -> None:
        self.cells = _CELLS / strength

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        """Windows of cells."""
        return [self._one(picture, job) for job in jobs]

    def _one(self, picture: Pixels, job: Job) -> Replacement:
        part = picture[job.region.slices]
        cell = _cell(job.face, 1 / self.cells)
        small = np.rint(_means(part, cell)).astype(np.uint8)
        large = small.repeat(cell, axis=0).repeat(cell, axis=1)
        return Replacement(np.ascontiguousarray(large[: part.shape[0], : part.shape[1]]))


class Blur:
    """Three Gaussians one after the other, together as wide (sigma) as a quarter of the face, on means of cells."""

    name = "blur"

    def __init__(self, strength: float = 1.0) -> None:
        self.sigma = _SIGMA * strength

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        """Blurred windows; nothing from outside a window goes into it."""
        return [self._one(picture, job) for job in jobs]

    def _one(self, picture: Pixels, job: Job) -> Replacement:
        import cv2

        part = picture[job.region.slices]
        height, width = part.shape[:2]
        cell = _cell(job.face, self.sigma / _GRID)
        small = _means(part, cell).astype(np.float32)
        sigma = max(self.sigma * job.face.size / cell, 1.0) / math.sqrt(3)
        for _ in range(3):
            small = np.asarray(cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
        # Whole numbers before enlarging: rounding is what sharpening can't undo.
        small = np.rint(small).astype(np.uint8)
        size = small.shape[1] * cell, small.shape[0] * cell
        large = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        return Replacement(np.ascontiguousarray(large[:height, :width]))


def _cell(face: Face, share: float) -> int:
    """Side of a cell in pixels, from its share of the face's size."""
    return max(_LEAST_CELL, math.ceil(share * face.size))


def _means(part: Pixels, cell: int) -> npt.NDArray[np.float64]:
    """Exact means of cells, counted from the top left corner; the last ones may be cut."""
    height, width = part.shape[:2]
    rows, columns = np.arange(0, height, cell), np.arange(0, width, cell)
    sums = np.add.reduceat(np.add.reduceat(part.astype(np.int64), rows, axis=0), columns, axis=1)
    area = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None]
    return np.asarray(sums / area[..., None], dtype=np.float64)


# Share of faces named right among five people, strength → (recognizer that knows clean pictures, one that knows pictures
# treated the same way), in %. Measured by benchmarks/anonymize_strength.py; the table is in docs/anonymize.md.
_MEASURED: Final[dict[str, dict[float, tuple[int, int]]]] = {
    "blur": {
        0.125: (100, 100),
        0.25: (82, 96),
        0.5: (24, 78),
        0.75: (16, 65),
        1.0: (22, 53),
        1.5: (16, 58),
        2.0: (18, 62),
    },
    "pixelate": {
        0.125: (100, 100),
        0.25: (100, 100),
        0.375: (95, 91),
        0.5: (49, 73),
        0.75: (29, 47),
        1.0: (25, 56),
        1.5: (20, 64),
        2.0: (31, 49),
    },
}


def weakness(name: str, strength: float) -> str:
    """What to warn of at a setting, empty if it is as strong as the default."""
    table = _MEASURED.get(name, {})
    if strength >= 1 or not table:
        return ""
    at = max((known for known in table if known <= strength), default=min(table))
    naive, trained = table[at]
    best, best_trained = table[1.0]
    return (
        f"{name} at strength {strength:g} leaves much of a face: at {at:g} recognizers named {naive} % of 55 faces of five "
        f"people, {trained} % when they knew pictures treated so (at strength 1: {best} % and {best_trained} %; "
        "guessing: 20 %). solid leaves nothing."
    )
