"""Somebody who is there for one to three frames only: what `--every adaptive` leaves bare and `--every 1` covers.

    python benchmarks/anonymize_visitors.py [--films 14] [--seed 0] [--only run fog]

Films of 12 frames of 1280 × 720 are drawn at random (tests/anonymize/clips.py): one or two people of 100–220 pixels, and behind
them, half hidden, or right beside, somebody of 24–64 pixels in some of the frames 5, 6 and 7, which lie between two looks.
A face-frame is bare if 10 % or more of the inner area that shows isn't covered. Both ways of looking see the same file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fdf.anonymize.image import Anonymizer  # noqa: E402
from fdf.anonymize.video import FilmFinder, VideoOptions, VideoResult, anonymize_video  # noqa: E402
from tests.anonymize import clips  # noqa: E402

FRAMES, WIDTH, HEIGHT = 12, 1280, 720
MOMENTS = [(5,), (6,), (7,), (5, 6), (6, 7), (5, 6, 7), (5, 7)]
PACES = {"stand": (0, 0.5), "walk": (0, 5), "run": (6, 14), "race": (14, 26)}  # pixels a frame
Weather = Callable[[np.ndarray, np.random.Generator], np.ndarray]
WEATHER: dict[str, Weather] = {
    "fog": lambda picture, _: 0.2 * picture + 0.8 * 190,
    "dark": lambda picture, _: 0.15 * picture,
    "noise": lambda picture, rng: picture + rng.normal(0, 7, picture.shape),
}
KINDS = [*PACES, "nod", "two", *WEATHER, "compressed"]


def film(kind: str, rng: np.random.Generator) -> clips.Clip:
    """A film of this kind; drawn again until the visitor shows at all."""
    behind, clip = clips.background(WIDTH, HEIGHT, 3), clips.Clip()
    while not any(truth.visible and truth.person == 2 for frame in clip.truth for truth in frame):
        clip, draw = clips.Clip(), _scene(kind, rng)
        for t in range(FRAMES):
            stage = clips._Stage(behind)
            draw(stage, t)
            if kind in WEATHER:
                stage.picture = np.asarray(WEATHER[kind](stage.picture, rng), dtype=np.float32)
            stage.finish(clip)
    return clip


def _scene(kind: str, rng: np.random.Generator) -> Callable[[clips._Stage, int], None]:
    size, height = rng.uniform(100, 220), rng.uniform(24, 64)
    pace = rng.uniform(*PACES.get(kind, PACES["run"])) * rng.choice([-1, 1]) * (kind != "nod")
    swing = rng.uniform(5, 20) * (kind == "nod")
    period, other = rng.choice([4, 6, 8]), rng.uniform(100, 180) if kind == "two" else None
    seen = MOMENTS[rng.integers(len(MOMENTS))]
    middle = seen[len(seen) // 2]
    side = rng.choice([-1, 1])
    away = side * (0.39 * size * rng.uniform(0.55, 1.35) + 0.2 * height), rng.uniform(-0.45, 0.45) * size
    x0, y0 = WIDTH / 2 - middle * pace + rng.uniform(-100, 100), HEIGHT / 2 + rng.uniform(-80, 80)

    def draw(stage: clips._Stage, t: int) -> None:
        if t in seen:
            stage.head(2, x0 + middle * pace + away[0], y0 + away[1], height)
        stage.head(0, x0 + t * pace, y0 + swing * np.sin(2 * np.pi * t / period), size)
        if other is not None:
            gap = side * (0.39 * (size + other) + 0.6 * height)
            stage.head(4, x0 + middle * pace + gap - (t - middle) * pace, y0, other)

    return draw


def bare(clip: clips.Clip, path: Path, every: int | str, finder: FilmFinder) -> tuple[int, VideoResult]:
    """Face-frames that are bare, and what was looked at."""
    out = path.with_name(f"{path.stem}.{every}.mp4")
    anonymizer = Anonymizer(clips.Magenta(), finder=finder, fallback=clips.Magenta())
    result = anonymize_video(path, out, anonymizer, VideoOptions(every=every))
    return len(clips.exposed(clip, clips.read(out)[0], clips.Magenta.colour)), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=14, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    finder = FilmFinder()
    for kind in given.only:
        worse = faces = frames = looked = parts = 0
        for number in range(given.films):
            rng = np.random.default_rng([given.seed, number, zlib.crc32(kind.encode())])
            clip = film(kind, rng)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "film.mp4"
                crf = str(rng.integers(32, 41)) if kind == "compressed" else "18"
                clips.write(clip.pictures, path, options={"preset": "veryfast", "crf": crf})
                few, result = bare(clip, path, "adaptive", finder)
                every = bare(clip, path, 1, finder)[0] if few else 0
            worse += few > every
            faces += clip.face_frames
            frames, looked, parts = frames + FRAMES, looked + result.looked, parts + result.parts
        print(
            f"{kind}: worse than every frame in {worse} of {given.films} films ({faces} face-frames); "
            f"{looked} of {frames} frames looked at, and {parts} parts of others",
            flush=True,
        )


if __name__ == "__main__":
    main()
