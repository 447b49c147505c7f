"""How often recognizers still name faces after `solid`, `blur`, `pixelate` and `donor`, across strengths.

    python benchmarks/anonymize_strength.py PEOPLE [--recognizer net.onnx …]

PEOPLE has one folder a person with pictures of one face each. Every face is hidden as `fdf anonymize` does it, then cut and
aligned by the points of the *clean* picture, which no real attacker has: an upper bound. Figures are rank-1: the share of
pictures whose nearest other picture is of the same person. *naive*: the other pictures are clean. *knowing*: they were
treated the same way, so the recognizer compares like with like. TAR: same-person pairs of one clean and one hidden picture
under the distance that 1 % of clean different-person pairs reach. Each column shows the best recognizer, which is the worst
case. The row `solid` is what hair, clothes and background alone give away. Every picture has a salt of its own: faces of
chips all lie in one place, and would all get the same donor. *Found* is the share in which the detector finds a face again,
*fell back* the share that the method left to `solid`, CPU ms those of hiding.

Recognizers: dlib's ResNet, and ONNX files as `fdf.evaluate.recognizers` reads them. They run on the CPU.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Sequence
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


def load(folder: Path, finder: FaceFinder) -> list[Shown]:
    aim, out = Aim(), []
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


def area(probe: np.ndarray, clean: np.ndarray, people: np.ndarray) -> float:
    """AUC of hidden against clean pictures, same person over different."""
    away = np.linalg.norm(probe[:, None] - clean[None], axis=2)
    same = people[:, None] == people[None]
    near, far = away[same & ~np.eye(len(people), dtype=bool)], away[~same]
    return float((near[:, None] < far[None]).mean() + 0.5 * (near[:, None] == far[None]).mean())


def row_of(values: Sequence[float]) -> str:
    """Three rates in per cent, then the AUC."""
    return " | ".join([*(f"{100 * value:.0f} %" for value in values[:3]), f"{values[3]:.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--recognizer", type=Path, nargs="*", default=[])
    parser.add_argument("--region", default="face")
    parser.add_argument("--strengths", type=float, nargs="*", default=STRENGTHS)
    parser.add_argument("--methods", nargs="*", default=("none", "solid", "pixelate", "blur"))
    parser.add_argument("--thoroughness", default="normal", help="how closely to look for faces, before and after")
    parser.add_argument("--detail", action="store_true", help="one line a recognizer as well, and why faces fell back")
    args = parser.parse_args()
    region: RegionName = args.region
    finder = FaceFinder(args.thoroughness)
    shown = load(args.people, finder)
    people = np.array([one.person for one in shown])
    networks: list[Recognizer] = [DlibRecognizer(), *(OnnxRecognizer(path) for path in args.recognizer)]
    clean = {network.name: np.stack([network.embed(one.pixels, one.sight) for one in shown]) for network in networks}
    print(f"{len(shown)} pictures of {people.max() + 1} people, {', '.join(clean)}; region {region}\n")
    print(
        "| method | strength | rank-1 naive | rank-1 knowing | TAR @ 1 % FAR | AUC | found | fell back | CPU ms |\n"
        + "|---" * 9
        + "|"
    )
    fixed: dict[str, float | None] = {"none": None, "solid": 1.0, "donor": 1.0}
    cases: list[tuple[str, float | None]] = [(name, fixed[name]) for name in args.methods if name in fixed]
    cases += [(name, strength) for name in args.methods if name not in fixed for strength in args.strengths]
    warnings.simplefilter("ignore", WeakMethodWarning)
    for method, strength in cases:
        pictures, left, spent = [one.pixels for one in shown], 0.0, 0.0
        why: Counter[str] = Counter()
        if strength is not None:
            anonymizer, pictures, began = Anonymizer(method, region=region, strength=strength), [], time.process_time()
            for row, one in enumerate(shown):
                anonymizer.salt = f"picture {row}"
                result = anonymizer.render(one.pixels, one.faces)
                pictures.append(result.picture)
                why.update(outcome.reason for outcome in result.outcomes if outcome.fell_back)
                left += sum(outcome.fell_back for outcome in result.outcomes) / len(result.outcomes)
            spent = time.process_time() - began
        found = np.mean([bool(finder.find(picture)) for picture in pictures])
        lines = {}
        for network in networks:
            name = network.name
            hidden = np.stack([network.embed(*what) for what in zip(pictures, [s.sight for s in shown], strict=True)])
            naive, tar = rates(hidden, clean[name], clean[name], people)
            knowing, _ = rates(hidden, hidden, clean[name], people)
            lines[name] = naive, knowing, tar, area(hidden, clean[name], people)
        best = [max(column) for column in zip(*lines.values(), strict=True)]
        label = "–" if strength is None else f"{strength:g}"
        print(
            f"| {method} | {label} | "
            + row_of(best)
            + f" | {found:.0%} | {left / len(shown):.0%} | {1000 * spent / len(shown):.0f} |",
            flush=True,
        )
        if args.detail:
            for name, values in lines.items():
                print(f"|   {name} | | {row_of(values)} | | | |")
            for reason, count in why.most_common():
                print(f"|   {count} fell back: {reason} | | | | | | | | |", flush=True)


if __name__ == "__main__":
    main()
