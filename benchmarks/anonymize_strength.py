"""How often recognizers still name faces after `solid`, `blur` and `pixelate`, across strengths.

    python benchmarks/anonymize_strength.py PEOPLE [--arcface net.onnx …] [--loose net.onnx …]

PEOPLE has one folder a person with pictures of one face each. Every face is hidden as `fdf anonymize` does it, then cut and
aligned by the points of the *clean* picture, which no real attacker has: an upper bound. Figures are rank-1: the share of
pictures whose nearest other picture is of the same person. *naive*: the other pictures are clean. *knowing*: they were
treated the same way, so the recognizer compares like with like. TAR: same-person pairs of one clean and one hidden picture
under the distance that 1 % of clean different-person pairs reach. Each column shows the best recognizer, which is the worst
case. The row `solid` is what hair, clothes and background alone give away.

Recognizers: dlib's ResNet; with --arcface networks that take 112 × 112 RGB (x − 127.5) / 128 aligned as ArcFace does; with
--loose networks that take a loose 224 × 224 RGB crop, 0–255. They run on the CPU.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from fdf.anonymize.base import Face, RegionName
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import WeakMethodWarning
from fdf.vision.base import Detections, Keypoints, Pixels
from fdf.vision.facemesh import FaceMesh, five_points
from fdf.vision.picture import decode
from fdf.vision.warp import Square, fit, sample
from fdf.vision.zoo import load_embedder

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
STRENGTHS = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Shown:
    pixels: Pixels
    person: int
    detections: Detections
    keypoints: Keypoints
    faces: list[Face]

    @property
    def five(self) -> np.ndarray:
        assert self.keypoints.mesh is not None
        return five_points(self.keypoints.mesh)[0]


Embed = Callable[[Pixels, Shown], np.ndarray]


def load(folder: Path) -> list[Shown]:
    finder, mesher, out = FaceFinder("normal"), FaceMesh(), []
    people = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    for person, path in enumerate(people):
        for file in sorted(path.iterdir()):
            pixels = decode(file.read_bytes()).pixels
            faces = finder.find(pixels)
            if not faces:
                continue
            best = max(faces, key=lambda face: face.score)
            assert best.landmarks5 is not None
            found = Detections(best.box[None], np.float32([best.score]), best.landmarks5[None])
            mesh = mesher.meshes([pixels], [found])[0]
            points = Keypoints(np.zeros((1, 7, 3), np.float32), mesh.points, mesh.presence)
            out.append(Shown(pixels, person, found, points, faces))
    return out


def dlib_embed() -> Embed:
    network = load_embedder("dlib-resnet128")
    return lambda pixels, shown: network.embed([pixels], [shown.detections], [shown.keypoints])[0][0]


def onnx_embed(path: Path, size: int, square: Callable[[Shown], Square], norm: Callable[[np.ndarray], np.ndarray]):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = network.get_inputs()[0]
    outputs = network.get_outputs()
    pick = next((k for k, o in enumerate(outputs) if isinstance(o.shape[-1], int) and o.shape[-1] >= 128), 0)

    def embed(pixels: Pixels, shown: Shown) -> np.ndarray:
        crop = norm(sample(pixels, square(shown), size).astype(np.float32))[None]
        copies = entry.shape[0] if isinstance(entry.shape[0], int) else 1
        vector = network.run(None, {entry.name: np.repeat(crop, copies, axis=0)})[pick][0]
        return vector / np.linalg.norm(vector)

    return embed


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
    parser.add_argument("--arcface", type=Path, nargs="*", default=[])
    parser.add_argument("--loose", type=Path, nargs="*", default=[])
    parser.add_argument("--region", default="face")
    parser.add_argument("--strengths", type=float, nargs="*", default=STRENGTHS)
    parser.add_argument("--methods", nargs="*", default=("none", "solid", "pixelate", "blur"))
    parser.add_argument("--detail", action="store_true", help="one line a recognizer as well")
    args = parser.parse_args()
    region: RegionName = args.region
    shown = load(args.people)
    people = np.array([one.person for one in shown])
    embedders: dict[str, Embed] = {"dlib-resnet128": dlib_embed()}
    for path in args.arcface:
        embedders[path.stem] = onnx_embed(
            path, 112, lambda one: fit((ARCFACE + 0.5) / 112, one.five), lambda x: (x - 127.5) / 128
        )
    for path in args.loose:

        def square(one: Shown) -> Square:
            x0, y0, x1, y1 = one.detections.boxes[0].tolist()
            return Square((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) * 1.25)

        embedders[path.stem] = onnx_embed(path, 224, square, lambda x: x)
    clean = {name: np.stack([embed(one.pixels, one) for one in shown]) for name, embed in embedders.items()}
    print(f"{len(shown)} pictures of {people.max() + 1} people, {', '.join(embedders)}; region {region}\n")
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
        for name, embed in embedders.items():
            hidden = np.stack([embed(pixels, one) for pixels, one in zip(pictures, shown, strict=True)])
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
