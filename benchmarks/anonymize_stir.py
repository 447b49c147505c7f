"""A face that is there between two looks only: how often `--every adaptive` doesn't look, by its size.

    python benchmarks/anonymize_stir.py PHOTOS [--places 60] [--light 1 0.3 0.2 0.1] [--fog 0.85] [--beside 200]

One face (a rendered person of the sample corpus) is laid at random places of each photo, scaled to 1280 × 720; the frames
before and after are the photo itself. It isn't noticed if its place is in no part of the frame that is looked at
(`fdf.anonymize.stirring`). No detector is asked. `--beside`: next to a face of so many pixels, which all three frames show and
which moves by up to 12 pixels each way from one to the next, just outside of what hides it. The share of the frame that is
looked at comes beside it, and that of the same frames if nobody shows up. `noise`: what is looked at in photos whose pixels
have noise of 12 grey levels (standard deviation).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/anonymize"))

from fdf.anonymize.scenes import thumbnail_size  # noqa: E402
from fdf.anonymize.stirring import Moving, parts, stir  # noqa: E402
from fdf.vision.picture import decode  # noqa: E402

SIZE = 1280, 720
HEIGHTS = 24, 32, 44, 64, 90


def weathered(picture: np.ndarray, light: float, fog: float) -> np.ndarray:
    return (picture * (1 - fog) + 190 * fog) * light


def thumbnail(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(np.clip(np.rint(picture), 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, thumbnail_size(*SIZE), interpolation=cv2.INTER_AREA)


def boxed(x: float, y: float, height: float) -> np.ndarray:
    """The box of a sprite in pixels of the thumbnail, as a detector may give it: off by a pixel of the film or two."""
    half = np.array([0.39, 0.5]) * height
    middle = np.array([x, y])
    return np.concatenate([middle - half, middle + half]) * (thumbnail_size(*SIZE)[0] / SIZE[0])


def noticed(
    photo: np.ndarray, height: float, beside: float, rng: np.random.Generator, weather: tuple[float, float]
) -> tuple[bool, float, float]:
    """Whether a face at a random place is looked at; the share of the frame that is, with it and without."""
    import clips

    x, y = (rng.uniform(0.3 * v, 0.7 * v) if beside else rng.uniform(height, v - height) for v in SIZE)
    stages, boxes = [clips._Stage(photo) for _ in range(3)], []
    if beside:
        way, turn = rng.uniform(-12, 12, 2), rng.uniform(0, 2 * np.pi)
        for step, stage in zip((-1, 0, 1), stages, strict=True):
            stage.head(0, *(np.array([x, y]) + step * way), beside)
            boxes.append(boxed(*(np.array([x, y]) + step * way + rng.normal(0, 1.5, 2)), beside))
        away = np.array([0.39, 0.5]) * (1.24 * beside + height) / max(abs(np.cos(turn)), abs(np.sin(turn)))
        x, y = np.array([x, y]) + away * [np.cos(turn), np.sin(turn)]
    moving = [Moving(boxes[0], boxes[2])] if beside else []
    alone = looked_at([thumbnail(weathered(stage.picture, *weather)) for stage in stages], moving)
    stages[1].head(1, x, y, height)
    seen = looked_at([thumbnail(weathered(stage.picture, *weather)) for stage in stages], moving)
    scale = thumbnail_size(*SIZE)[0] / SIZE[0]
    return bool(seen[int(y * scale), int(x * scale)]), seen.mean(), alone.mean()


def looked_at(thumbnails: list[np.ndarray], moving: Sequence[Moving] = ()) -> np.ndarray:
    """Which pixels of the thumbnail in the middle a detector sees."""
    boxes = parts(stir(*thumbnails, moving))
    seen = np.full(thumbnails[1].shape, boxes is None)
    for x0, y0, x1, y1 in boxes or ():
        seen[y0:y1, x0:x1] = True
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--places", type=int, default=60)
    parser.add_argument("--light", type=float, nargs="+", default=[1.0])
    parser.add_argument("--fog", type=float, default=0.0, help="share of the light that is a plain grey")
    parser.add_argument("--beside", type=float, default=0.0, help="height of a face that is there already, pixels")
    given = parser.parse_args()
    files = [path for path in sorted(given.photos.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    photos = [cv2.resize(decode(path.read_bytes()).pixels, SIZE, interpolation=cv2.INTER_AREA) for path in files]
    for light in given.light:
        for height in HEIGHTS:
            seen = []
            for photo in photos:
                rng = np.random.default_rng(height)
                for _ in range(given.places):
                    seen.append(noticed(photo, height, given.beside, rng, (light, given.fog)))
            found, share, alone = 100 * np.mean(seen, axis=0)
            print(
                f"light {light:g}, {height:3} px: not noticed at {100 - found:.1f} % of {len(seen)} places; "
                f"{share:.1f} % of the frame looked at, {alone:.1f} % if nobody is there"
            )
    rng = np.random.default_rng(0)
    noisy = [[thumbnail(p + rng.normal(0, 12, p.shape)) for _ in "ab"] for p in photos]
    print(f"noise: {100 * np.mean([looked_at([a, b, a]).mean() for a, b in noisy]):.1f} % of the frame looked at")


if __name__ == "__main__":
    main()
