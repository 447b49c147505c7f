"""How often recognizers still name faces after `solid`, `blur` and `pixelate`, across strengths.

    python benchmarks/anonymize_strength.py PEOPLE [--recognizer net.onnx …]

PEOPLE has one folder a person with pictures of one face each. Every face is hidden as `fdf anonymize` does it, then cut and
aligned by the points of the *clean* picture, which no real attacker has: an upper bound. Figures are rank-1: the share of
pictures whose nearest other picture is of the same person. *naive*: the other pictures are clean. *knowing*: they were
treated the same way, so the recognizer compares like with like. TAR: same-person pairs of one clean and one hidden picture
under the distance that 1 % of clean different-person pairs reach. Each column shows the best recognizer, which is the worst
case. The row `solid` is what hair, clothes and background alone give away.

Recognizers: dlib's ResNet, and ONNX files as `fdf.evaluate.recognizers` reads them. They run on the CPU.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdf.anonymize.base import Face, RegionName
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import WeakMethodWarning
from fdf.evaluate.recognizers import Aim, DlibRecognizer, OnnxRecognizer, Recognizer, Sight
from fdf.vision.base import Pixels
from fdf.vision.picture import decode

STRENGTHS = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Shown:
    pixels: Pixels
    person: int
    sight: Sight
    faces: list[Face]


def load(folder: Path) -> list[Shown]:
    finder, aim, out = FaceFinder("normal"), Aim(), []
    people = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    for person, path in enumerate(people):
        for file in sorted(path.iterdir()):
            pixels = decode(file.read_bytes()).pixels
            faces = finder.find(pixels)
            if not faces:
                continue
            best = max(faces, key=lambda face: face.score)
            sight = aim(pixels, best.box, best.landmarks5)
            assert sight is not None
            out.append(Shown(pixels, person, sight, faces))
    return out


def rates(probe: np.ndarray, gallery: np.ndarray, clean: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """Rank-1, and TAR at 1 % FAR of clean pairs."""

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    same = people[:, None] == people[None]
    other = ~np.eye(len(people), dtype=bool)
    far = distances(probe, gallery) + np.where(other, 0, np.inf)
    threshold = np.quantile(distances(clean, clean)[~same], 0.01)
    hit = people[far.argmin(axis=1)] == people
    return float(hit.mean()), float((distances(probe, clean)[same & other] <= threshold).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--recognizer", type=Path, nargs="*", default=[])
    parser.add_argument("--region", default="face")
    parser.add_argument("--strengths", type=float, nargs="*", default=STRENGTHS)
    parser.add_argument("--methods", nargs="*", default=("none", "solid", "pixelate", "blur"))
    parser.add_argument("--detail", action="store_true", help="one line a recognizer as well")
    args = parser.parse_args()
    region: RegionName = args.region
    shown = load(args.people)
    people = np.array([one.person for one in shown])
    networks: list[Recognizer] = [DlibRecognizer(), *(OnnxRecognizer(path) for path in args.recognizer)]
    clean = {network.name: np.stack([network.embed(one.pixels, one.sight) for one in shown]) for network in networks}
    print(f"{len(shown)} pictures of {people.max() + 1} people, {', '.join(clean)}; region {region}\n")
    print("| method | strength | rank-1 naive | rank-1 knowing | TAR @ 1 % FAR |\n|---|---|---|---|---|")
    fixed: dict[str, float | None] = {"none": None, "solid": 1.0}
    cases: list[tuple[str, float | None]] = [(name, fixed[name]) for name in args.methods if name in fixed]
    cases += [(name, strength) for name in args.methods if name not in fixed for strength in args.strengths]
    warnings.simplefilter("ignore", WeakMethodWarning)
    for method, strength in cases:
        pictures = [one.pixels for one in shown]
        if strength is not None:
            anonymizer = Anonymizer(method, region=region, strength=strength)
            pictures = [anonymizer.render(one.pixels, one.faces).picture for one in shown]
        lines = {}
        for network in networks:
            name = network.name
            hidden = np.stack([network.embed(*what) for what in zip(pictures, [s.sight for s in shown], strict=True)])
            naive, tar = rates(hidden, clean[name], clean[name], people)
            knowing, _ = rates(hidden, hidden, clean[name], people)
            lines[name] = naive, knowing, tar
        best = [max(column) for column in zip(*lines.values(), strict=True)]
        label = "–" if strength is None else f"{strength:g}"
        print(f"| {method} | {label} | " + " | ".join(f"{100 * value:.0f} %" for value in best) + " |", flush=True)
        if args.detail:
            for name, values in lines.items():
                print(f"|   {name} | | " + " | ".join(f"{100 * value:.0f} %" for value in values) + " |")


if __name__ == "__main__":
    main()
