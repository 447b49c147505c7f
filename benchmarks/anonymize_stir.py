"""A face that is there between two looks only: how often `--every adaptive` doesn't look, by its size.

    python benchmarks/anonymize_stir.py PHOTOS [--places 60]

One face (a rendered person of the sample corpus) is laid at random places of each photo, scaled to 1280 × 720; the frames
before and after are the photo itself. It isn't noticed if nothing stirs in the thumbnails (`fdf.anonymize.scenes.change`). No
detector is asked. `noise`: what stirs in a photo whose pixels have noise of 12 grey levels (standard deviation), at worst.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/anonymize"))

from fdf.anonymize.looking import _STIR  # noqa: E402
from fdf.anonymize.scenes import change, thumbnail_size  # noqa: E402
from fdf.vision.picture import decode  # noqa: E402

SIZE = 1280, 720
HEIGHTS = 24, 32, 44, 64, 90


def thumbnail(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, thumbnail_size(*SIZE), interpolation=cv2.INTER_AREA)


def main() -> None:
    import clips

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--places", type=int, default=60)
    given = parser.parse_args()
    files = [path for path in sorted(given.photos.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    photos = [cv2.resize(decode(path.read_bytes()).pixels, SIZE, interpolation=cv2.INTER_AREA) for path in files]
    rng = np.random.default_rng(0)
    for height in HEIGHTS:
        stirred = []
        for photo in photos:
            before = thumbnail(photo)
            for _ in range(given.places):
                stage = clips._Stage(photo)
                stage.head(1, *(rng.uniform(height, side - height) for side in SIZE), height)
                frame = np.clip(np.rint(stage.picture), 0, 255).astype(np.uint8)
                stirred.append(change(before, thumbnail(frame), before, [], SIZE[0]))
        missed = np.mean(np.array(stirred) < _STIR)
        print(
            f"{height:3} px: not noticed at {100 * missed:.1f} % of {len(stirred)} places, median stir {np.median(stirred):.0f}"
        )
    noisy = [
        [thumbnail(np.clip(p + rng.normal(0, 12, p.shape), 0, 255).astype(np.uint8)) for _ in "ab"] for p in photos
    ]
    print(f"noise: {max(change(a, b, a, [], SIZE[0]) for a, b in noisy):.1f} of {_STIR:g} grey levels")


if __name__ == "__main__":
    main()
