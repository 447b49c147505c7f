"""Whether a generator does as well as `fdf anonymize` uses it as `fdf evaluate` measures it.

    python benchmarks/gan_as_used.py SHARDS [--model generator.onnx] [--split training] [--count 200]

`fdf evaluate` takes the face box away and gives all keypoints of the shards. The anonymizer hides more, its region with the
soft edge, and knows nose and eyes only. Same faces, same z, all four combinations: the share that detectors find, and of which
the mesh is sure. The region is cut by the crop, where the anonymizer would take a larger crop: a little harder than in use.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.gan import default_generator
from fdf.anonymize.regions import region_of
from fdf.evaluate.batches import choose, draw_z
from fdf.evaluate.faces import Eyes
from fdf.gan.data import find_faces
from fdf.vision.base import Floats
from fdf.vision.generator import FaceGenerator, hole_mask, known_points

FACIAL: Final = 3  # nose and eyes come first
BATCH: Final = 16


def first(keypoints: Floats, count: int) -> Floats:
    """The first ones; the others are absent."""
    kept = keypoints.copy()
    kept[..., count:, :] = 0
    return kept


def region_mask(box: Floats, keypoints: Floats, resolution: int) -> Floats:
    """What the anonymizer hides of a crop, float32 (R, R). A region holds known ears; the anonymizer doesn't know them."""
    region = region_of(Face(box=box, keypoints=first(keypoints, FACIAL)), "face", resolution, resolution)
    mask = np.zeros((resolution, resolution), dtype=np.float32)
    if region is not None:
        mask[region.slices][region.alpha > 0] = 1
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--model", type=Path, help="a generator (.onnx); else the one that fdf brings")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    generator, eyes = FaceGenerator.load(args.model or default_generator()), Eyes()
    faces = find_faces(args.shards, resolution=generator.resolution, split=args.split)
    places = choose(len(faces), args.count, seed=0)
    pictures = np.stack([faces.picture(place) for place in places])
    boxes, keypoints = faces.boxes[places], faces.keypoints[places]
    z = np.concatenate([draw_z(0, place, 1, generator.latent) for place in places])
    side = generator.resolution
    holes = {
        "box": np.stack([hole_mask(box, side) for box in boxes])[:, None],
        "region": np.stack([region_mask(*one, side) for one in zip(boxes, keypoints, strict=True)])[:, None],
    }
    print(f"{len(places)} faces of {args.shards}, {args.split}, {side} px\n")
    print(
        "| hole | hidden | keypoints | CenterFace finds | BlazeFace finds | mesh is sure |\n|---|---|---|---|---|---|"
    )
    for name, masks in holes.items():
        for count in (keypoints.shape[1], FACIAL):
            given = known_points(first(keypoints, count))
            drawn = [
                generator.generate(pictures[part], boxes[part], given[part], z[part], masks=masks[part])
                for part in (slice(start, start + BATCH) for start in range(0, len(places), BATCH))
            ]
            seen = eyes.look(list(np.concatenate(drawn)), boxes, embed=False)
            shares = " | ".join(f"{share.mean():.1%}" for share in (seen.centerface, seen.blazeface, seen.clear))
            print(f"| {name} | {masks.mean():.0%} | {count} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
