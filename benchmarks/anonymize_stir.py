"""A face that is there between two looks only: how often `--every adaptive` doesn't look, by its size.

    python benchmarks/anonymize_stir.py PHOTOS [--places 60] [--light 1 0.3 0.2 0.1] [--fog 0.85] [--beside 200]

One face (a rendered person of the sample corpus) is laid at random places of each photo, scaled to 1280 × 720; the frames
before and after are the photo itself. It isn't noticed if nothing stirs in the thumbnails (`fdf.anonymize.scenes.stir`). No
detector is asked. `--beside`: next to a face of so many pixels, which all three frames show and which moves by 12 pixels from
one to the next, just outside of what hides it. `noise`: what stirs in a photo whose pixels have noise of 12 grey levels
(standard deviation), at worst.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/anonymize"))

from fdf.anonymize.scenes import Moving, stir, thumbnail_size  # noqa: E402
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
) -> bool:
    """Whether a face at a random place is looked at."""
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
    stages[1].head(1, x, y, height)
    thumbnails = [thumbnail(weathered(stage.picture, *weather)) for stage in stages]
    return stir(*thumbnails, [Moving(boxes[0], boxes[2])] if beside else []) >= 1


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
            print(
                f"light {light:g}, {height:3} px: not noticed at {100 - 100 * np.mean(seen):.1f} % of {len(seen)} places"
            )
    rng = np.random.default_rng(0)
    noisy = [[thumbnail(p + rng.normal(0, 12, p.shape)) for _ in "ab"] for p in photos]
    print(f"noise: {max(stir(a, b, a) for a, b in noisy):.2f} of what is looked at")


if __name__ == "__main__":
    main()
