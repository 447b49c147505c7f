"""How much covers flicker in a film: every method on one clip, beyond what the original does itself.

    python benchmarks/anonymize_flicker.py [--photo PORTRAIT] [--frames 60] [--model generator.onnx]

The clip: a portrait (default: one in the public domain) under a camera that sways, nears and turns a little, 640 × 640, 30
frames a second, H.264. `gan` also without its matching of colours along the border. There is no guard: it redraws by chance.
Mean and 95th percentile of the change of luma in a face's inner area from frame to frame beyond the original's (`fdf compare`),
and the faces that the method could not do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/anonymize"))

import fdf.anonymize.gan  # noqa: E402
from fdf.anonymize.base import Method  # noqa: E402
from fdf.anonymize.gan import Gan  # noqa: E402
from fdf.anonymize.image import Anonymizer  # noqa: E402
from fdf.anonymize.methods import make_method  # noqa: E402
from fdf.anonymize.video import VideoOptions, anonymize_video  # noqa: E402
from fdf.evaluate.film import compare_films  # noqa: E402
from fdf.vision.picture import decode  # noqa: E402

SIDE = 640


def swaying(photo: np.ndarray, frames: int) -> list[np.ndarray]:
    """The photo under a moving camera."""
    height, width = photo.shape[:2]
    made = []
    for t in np.arange(frames) / 30:
        scale = SIDE / min(height, width) * (1.1 + 0.1 * np.sin(1.3 * t))
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 3 * np.sin(2.1 * t), scale)
        matrix[:, 2] += [SIDE / 2 - width / 2 + 30 * np.sin(1.7 * t), SIDE / 2 - height / 2 + 20 * np.cos(1.1 * t)]
        made.append(cv2.warpAffine(photo, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT))
    return made


def main() -> None:
    import clips

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    photo = given.photo or ROOT / "tests/data/astronaut.png"
    match = fdf.anonymize.gan.match_border
    with tempfile.TemporaryDirectory() as folder:
        film, out = Path(folder) / "film.mp4", Path(folder) / "out.mp4"
        clips.write(swaying(decode(photo.read_bytes()).pixels, given.frames), film)
        for name in ("solid", "pixelate", "blur", "gan", "gan, not matched", "donor"):
            fdf.anonymize.gan.match_border = (lambda drawn, *_: drawn) if name.endswith("not matched") else match
            method: Method = Gan(model=given.model) if name.startswith("gan") else make_method(name)
            out.unlink(missing_ok=True)
            done = anonymize_video(film, out, Anonymizer(method, salt="flicker"), VideoOptions(every=1))
            flicker = compare_films(film, out).flicker
            if flicker is None:
                raise SystemExit("no face was found in two frames that follow each other")
            said = f"{flicker.excess:5.2f}, 5 % above {flicker.excess_p95:5.2f}"
            print(f"{name:16} {said}; fell back {done.fell_back} of {done.covered}")


if __name__ == "__main__":
    main()
