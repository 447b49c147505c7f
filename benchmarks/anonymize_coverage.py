"""How many labelled faces the anonymizer covers, by thoroughness, beside deface's detection with its default settings.

    python benchmarks/anonymize_coverage.py PHOTOS [--empty FOLDER]

PHOTOS is a folder of photos with dlib's label XML (`*_with_face_landmarks.xml`, 68 points a face). A face is covered when
the 51 points of its brows, eyes, nose and mouth all lie where the mask is opaque. Shares come with their 95 % intervals
(Wilson). Photos are shown as they are; shrunk, so that
their median face is 24, 16, 12 or 10 pixels high, and put into a grey canvas of 1600 × 1200, as small faces are in big
pictures; and turned. `--empty` is a folder of pictures without faces: hits there are all false. deface is measured if it can
be imported: threshold 0.2, boxes × 1.3, an ellipse, as its command line does it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fdf.anonymize.detection import FaceFinder
from fdf.evaluate.coverage import Mask, SizeClass, coverage, hidden_mask, read_labels
from fdf.vision.picture import Pixels, decode


def shrunk(picture: Pixels, points: np.ndarray, height: float) -> tuple[Pixels, np.ndarray]:
    """Median face of this height, from brows to chin, on a canvas."""
    scale = height / float(np.median(np.ptp(points[..., 1], axis=1)))
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    canvas = np.random.default_rng(0).normal(128, 8, (1200, 1600, 3)).clip(0, 255).astype(np.uint8)
    top, left = (1200 - size[1]) // 2, (1600 - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas, points * [size[0] / picture.shape[1], size[1] / picture.shape[0]] + [left, top]


def turned(picture: Pixels, points: np.ndarray, degrees: float) -> tuple[Pixels, np.ndarray]:
    h, w = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(w * cos + h * sin), round(w * sin + h * cos)
    matrix[:, 2] += np.array(size) / 2 - [w / 2, h / 2]
    out = cv2.warpAffine(picture, matrix, size, borderValue=(128, 128, 128))
    return out, points @ matrix[:, :2].T + matrix[:, 2]


def ours(finder: FaceFinder) -> Mask:
    def mask(picture: Pixels) -> tuple[np.ndarray, int]:
        faces = finder.find(picture)
        return hidden_mask(picture, faces), len(faces)

    return mask


def deface() -> Mask | None:
    try:
        from deface.centerface import CenterFace
    except ImportError:
        return None
    network: Any = CenterFace(backend="onnxrt")

    def mask(picture: Pixels) -> tuple[np.ndarray, int]:
        found, _ = network(picture, threshold=0.2)
        out = np.zeros(picture.shape[:2], dtype=np.uint8)
        for x0, y0, x1, y1, *_ in found:
            # deface.deface.scale_bb with mask_scale 1.3, then the ellipse of its default replacement.
            dx, dy = (x1 - x0) * 0.3, (y1 - y0) * 0.3
            x0, y0, x1, y1 = (round(v) for v in (x0 - dx, y0 - dy, x1 + dx, y1 + dy))  # noqa: PLW2901
            centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
            cv2.ellipse(out, centre, axes, 0, 0, 360, 1, -1)
        return out > 0, len(found)

    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--empty", type=Path)
    parser.add_argument("--only", nargs="*", help="names of conditions")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = [(decode(path.read_bytes()).pixels, points) for path, points in read_labels(args.photos)]
    conditions: dict[str, list[tuple[Pixels, np.ndarray]]] = {"as they are": pictures}
    conditions |= {f"{px} px": [shrunk(*one, px) for one in pictures] for px in (24, 16, 12, 10)}
    conditions |= {f"{deg}°": [turned(*one, deg) for one in pictures] for deg in (30, 60, 90, 180)}
    conditions = {name: cases for name, cases in conditions.items() if not args.only or name in args.only}
    empty = [decode(path.read_bytes()).pixels for path in sorted(args.empty.iterdir())] if args.empty else []
    masks: dict[str, Mask | None] = {"deface": deface()}
    masks |= {name: ours(FaceFinder(name)) for name in ("fast", "normal", "thorough")}
    total = sum(len(points) for _, points in pictures)
    print(f"| {total} faces | " + " | ".join(conditions) + f" | false hits in {len(empty)} pictures | CPU ms a photo |")
    print("|---|" + "---|" * (len(conditions) + 2))
    sizes: dict[str, tuple[SizeClass, ...]] = {}
    for name, mask in masks.items():
        if mask is None:
            continue
        cells, speed = [], 0.0
        for what, cases in conditions.items():
            start = time.process_time()
            found = coverage(cases, mask)
            cells.append(str(found.covered))
            if what == "as they are":
                speed = (time.process_time() - start) / len(cases) * 1000
                sizes[name] = found.by_size
        false = sum(mask(picture)[1] for picture in empty)
        print(f"| {name} | " + " | ".join(cells) + f" | {false} | {speed:.0f} |", flush=True)
    for name, rows in sizes.items():
        told = [f"{row.low}–{row.high or '∞'} px {row.covered}" for row in rows if row.covered]
        print(f"\n{name}, as they are, by height of the face: {'; '.join(told)}")


if __name__ == "__main__":
    main()
