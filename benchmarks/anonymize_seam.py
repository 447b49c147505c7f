"""Seams of drawn faces: how much colours jump at the border of the hole, before and after they are matched.

    python benchmarks/anonymize_seam.py PHOTOS [--model generator.onnx]

For every face that `gan` draws in a folder of photos, at the generator's own size: mean difference (grey levels, RGB) of
neighbouring pixels across the border of the hole, as drawn and as matched, and of neighbours that are both seen and touch the
border: what a jump is in these photos anyway. Then the same as shares of faces whose jump is over twice that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import fdf.anonymize.gan
from fdf.anonymize.gan import Gan
from fdf.anonymize.image import Anonymizer
from fdf.vision.picture import decode

Jumps = tuple[float, float, float]


def jump(picture: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of neighbours of which one lies in `first` and the other one in `second`."""
    values = picture.astype(float)
    found = []
    for axis in (0, 1):
        a, b = np.moveaxis(values, axis, 0)[:-1], np.moveaxis(values, axis, 0)[1:]
        f, s = np.moveaxis(first, axis, 0), np.moveaxis(second, axis, 0)
        found.append(np.abs(a - b)[(f[:-1] & s[1:]) | (s[:-1] & f[1:])])
    return float(np.concatenate(found).mean())


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    rows: list[Jumps] = []
    match = fdf.anonymize.gan.match_border

    def watched(drawn: np.ndarray, picture: np.ndarray, seen: np.ndarray, hole: np.ndarray) -> np.ndarray:
        matched = match(drawn, picture, seen, hole)
        near = seen & (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        if near.any():
            rows.append((jump(drawn, seen, hole), jump(matched, seen, hole), jump(picture, near, seen & ~near)))
        return matched

    fdf.anonymize.gan.match_border = watched
    tool = Anonymizer(Gan(model=given.model), salt="seams")
    for file in sorted(given.photos.iterdir()):
        if file.suffix.lower() in (".jpg", ".jpeg", ".png"):
            tool(decode(file.read_bytes()).pixels)
    table = np.array(rows)
    for name, column in zip(("drawn", "matched", "photo beside it"), table.T, strict=True):
        wild = np.mean(column > 2 * table[:, 2])
        print(
            f"{name:16} mean {column.mean():5.1f}, median {np.median(column):5.1f}, over twice the photo's {100 * wild:3.0f} %"
        )
    print(f"{len(table)} faces")


if __name__ == "__main__":
    main()
