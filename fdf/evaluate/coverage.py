"""How many labelled faces are hidden, by their size.

Two kinds of labels: dlib's 68 points a face (`read_labels`), of which the 51 of brows, eyes, nose and mouth must lie where a
mask is opaque; and boxes in the frames of a film (`fdf.evaluate.film`), where the pixels themselves are looked at.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face, RegionName
from fdf.anonymize.regions import region_of
from fdf.errors import DataError
from fdf.evaluate.verification import Share, share
from fdf.vision.base import Pixels

Bools = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
Mask = Callable[[Pixels], tuple[Bools, int]]
"""A picture (H, W, 3) → which of its pixels are hidden for certain (H, W), and how many faces were found."""

SIZES: Final = (16, 32, 64, 128)
"""Pixels of a face's height at which a new class of sizes begins."""
INNER_POINTS: Final = slice(17, 68)
"""Of dlib's 68 points: brows, eyes, nose and mouth. The first 17 are the jaw."""


@dataclass(frozen=True)
class SizeClass:
    """Faces of low to below high pixels height (None: no end), and the share that is covered; None if there are none."""

    low: int
    high: int | None
    covered: Share | None


class SizeCount:
    """Adds up faces by size."""

    def __init__(self) -> None:
        self._counts = np.zeros((len(SIZES) + 1, 2), dtype=np.int64)

    def add(self, height: float, *, covered: bool) -> None:
        """A face of so many pixels."""
        self._counts[np.searchsorted(SIZES, height, side="right")] += [covered, 1]

    def result(self) -> tuple[SizeClass, ...]:
        """Every class of sizes, the smallest first."""
        ends = [0, *SIZES, None]
        rows = zip(ends[:-1], ends[1:], self._counts, strict=True)
        return tuple(SizeClass(low or 0, high, share(int(hit), int(n))) for low, high, (hit, n) in rows)


@dataclass(frozen=True)
class Coverage:
    """Labelled faces that a mask covers. `found`: faces that were found in all pictures, labelled or not."""

    covered: Share | None
    by_size: tuple[SizeClass, ...]
    found: int


def coverage(pictures: Iterable[tuple[Pixels, Points]], mask: Mask) -> Coverage:
    """Count the labelled faces, (N, 68, 2) of each picture, that a mask covers; their height is that of their points."""
    sizes, hidden, labelled, found = SizeCount(), 0, 0, 0
    for picture, points in pictures:
        area, hits = mask(picture)
        found += hits
        for face, good in zip(points, covered(area, points), strict=True):
            sizes.add(float(np.ptp(face[:, 1])), covered=bool(good))
            hidden, labelled = hidden + bool(good), labelled + 1
    return Coverage(share(hidden, labelled), sizes.result(), found)


def covered(mask: Bools, points: Points) -> Bools:
    """Which of N faces with 68 points, (N, 68, 2), a mask (H, W) covers wholly: (N,). Points outside count at the border."""
    inner = points[:, INNER_POINTS]
    x, y = (np.clip(inner[..., k].astype(int), 0, mask.shape[1 - k] - 1) for k in (0, 1))
    return np.asarray(mask[y, x].all(axis=1), dtype=np.bool_)


def hidden_mask(picture: Pixels, faces: Sequence[Face], region: RegionName = "face") -> Bools:
    """Where the regions of faces are opaque, (H, W)."""
    out = np.zeros(picture.shape[:2], dtype=np.bool_)
    for face in faces:
        area = region_of(face, region, picture.shape[1], picture.shape[0])
        if area is not None:
            out[area.slices] |= area.alpha >= 1
    return out


def read_labels(folder: Path) -> list[tuple[Path, Points]]:
    """Photos of a folder with their faces, (N, 68, 2), from dlib's label XML; photos that aren't there are left out.

    Raises:
        DataError: no labels, or files that are no such labels.
    """
    points: dict[Path, list[Points]] = {}
    for file in sorted(folder.glob("*.xml")):
        text = file.read_bytes()
        if b"<!ENTITY" in text or b"<!DOCTYPE" in text:
            raise DataError(
                f"{file} has declarations", expected="dlib's label XML, which has none", action="Remove them"
            )
        try:
            for image in ET.fromstring(text).iter("image"):  # noqa: S314 - entities are refused above
                path = file.parent / Path(image.attrib["file"]).name
                for box in image.iter("box"):
                    points.setdefault(path, []).append(_points(box))
        except (ET.ParseError, KeyError, ValueError) as error:
            raise DataError(
                f"{file} is no label XML of dlib's ({error})", expected="68 parts with x and y in each box"
            ) from error
    if not points:
        raise DataError(f"{folder} has no labels", expected="dlib's label XML, 68 points a face, beside the photos")
    return [(path, np.array(points[path])) for path in sorted(points) if path.is_file()]


def _points(box: ET.Element) -> Points:
    parts = sorted(box.iter("part"), key=lambda part: part.attrib["name"])
    rows = np.array([[float(part.attrib["x"]), float(part.attrib["y"])] for part in parts]).reshape(-1, 2)
    if len(rows) != INNER_POINTS.stop:
        raise ValueError(f"a box with {len(rows)} parts")
    return rows
