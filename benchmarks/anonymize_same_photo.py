"""What recognizers still tell where the attacker holds the very photo: faces of whole photos, hidden, against the originals.

    python benchmarks/anonymize_same_photo.py PHOTOS [--recognizer net.onnx …] [--least 48]

PHOTOS is a folder of photos. Every face of `--least` pixels and more is hidden together with all others of its photo and cut
by the points of the clean picture, which no attacker without the original has: the strongest naive attack there is. *Named*:
the share of hidden faces whose nearest clean face, among all clean faces of all photos, is its own. *Near*: the share whose
distance to their own clean face is under the one that 1 % of clean pairs of different faces reach. Each column shows the
best recognizer. *Found*: the share at which the detector sees a face again. Faces of one person in two photos count as
different.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.gan import Gan
from fdf.anonymize.image import Anonymizer
from fdf.evaluate.recognizers import Aim, DlibRecognizer, OnnxRecognizer, Recognizer, Sight
from fdf.vision.base import Pixels
from fdf.vision.picture import decode


@dataclass(frozen=True)
class Photo:
    pixels: Pixels
    faces: list[Face]
    sights: dict[int, Sight]


def load(folder: Path, least: float) -> list[Photo]:
    finder, aim, out = FaceFinder(), Aim(), []
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"}):
        pixels = decode(file.read_bytes()).pixels
        faces = finder.find(pixels)
        sights = {k: aim(pixels, one.box, one.landmarks5) for k, one in enumerate(faces) if one.size >= least}
        out.append(Photo(pixels, faces, {k: sight for k, sight in sights.items() if sight is not None}))
    return out


def hit(face: Face, found: list[Face]) -> bool:
    """Whether a finding has its middle in the middle half of a face's box."""
    centre, half = (face.box[:2] + face.box[2:]) / 2, (face.box[2:] - face.box[:2]) / 4
    return any((np.abs((one.box[:2] + one.box[2:]) / 2 - centre) <= half).all() for one in found)


def embedded(network: Recognizer, photos: list[Photo], pictures: list[Pixels]) -> np.ndarray:
    pairs = [
        (picture, sight) for photo, picture in zip(photos, pictures, strict=True) for sight in photo.sights.values()
    ]
    return np.stack([network.embed(picture, sight) for picture, sight in pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--recognizer", type=Path, nargs="*", default=[])
    parser.add_argument("--methods", nargs="*", default=("none", "solid", "blur", "pixelate", "gan", "donor"))
    parser.add_argument("--model", type=Path, help="generator of gan, instead of the one that fdf brings")
    parser.add_argument("--least", type=float, default=48)
    parser.add_argument("--salt", default="benchmark")
    args = parser.parse_args()
    photos = load(args.photos, args.least)
    networks: list[Recognizer] = [DlibRecognizer(), *(OnnxRecognizer(path) for path in args.recognizer)]
    clean = {one.name: embedded(one, photos, [photo.pixels for photo in photos]) for one in networks}
    count = sum(len(photo.sights) for photo in photos)
    finder = FaceFinder()
    print(f"{count} faces of {args.least:g} px and more, {len(photos)} photos, {', '.join(clean)}\n")
    print("| method | named | near | found | fell back |\n|---|---|---|---|---|")
    for method in args.methods:
        pictures, back = [photo.pixels for photo in photos], 0
        if method != "none":
            by = Gan(model=args.model) if method == "gan" and args.model else method
            results = [Anonymizer(by, salt=args.salt).render(photo.pixels, photo.faces) for photo in photos]
            pictures = [result.picture for result in results]
            back = sum(
                outcome.fell_back
                for result in results
                for face, outcome in zip(result.faces, result.outcomes, strict=True)
                if face.size >= args.least
            )
        named, near = [], []
        for network in networks:
            away = np.linalg.norm(embedded(network, photos, pictures)[:, None] - clean[network.name][None], axis=2)
            known = np.linalg.norm(clean[network.name][:, None] - clean[network.name][None], axis=2)
            limit = np.quantile(known[~np.eye(count, dtype=bool)], 0.01)
            named.append((away.argmin(axis=1) == np.arange(count)).mean())
            near.append((np.diag(away) <= limit).mean())
        seen = [
            hit(photo.faces[k], found)
            for photo, found in zip(photos, map(finder.find, pictures), strict=True)
            for k in photo.sights
        ]
        print(f"| {method} | {max(named):.0%} | {max(near):.0%} | {np.mean(seen):.0%} | {back} |", flush=True)


if __name__ == "__main__":
    main()
