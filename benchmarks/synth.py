"""How real the made-up people are to models that were trained on real ones, and how exact their truth.

    fdf synth CORPUS --people 250 --shots 2 --size 256 --seed 900
    python benchmarks/synth.py CORPUS [--recognizer MobileFaceNet.onnx] [--photos DIR] [--speed 20]

Recall: faces that a hit covers with IoU ≥ 0.4 (dlib HOG, whose boxes end at the brows: 0.3). Points: distance of a
detector's eyes and nose from the truth, in percent of the height of the truth's box, and its mean by axis (x right, y
down): a truth without bias has none. Identity: distances of embeddings between faces of one person and of different
people, for faces that are at most 30 % covered; TAR at 1 % FAR, and different pairs under the recognizer's limit. Pose:
`fdf.vision` against the truth. Contrast: standard deviation of grey by size of detail (between Gaussians of two widths)
over mean grey, in aligned faces, median; beside it that of `--photos`, a folder with real people. Speed: fresh photos in
this process, CPU seconds each after the first, and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fdf.vision.analyze import Analyzer, Face
from fdf.vision.base import Detector, Pixels
from fdf.vision.blazeface import BlazeFace
from fdf.vision.centerface import CenterFace
from fdf.vision.dlib_models import DlibEmbedder, DlibHog
from fdf.vision.facemesh import five_points
from fdf.vision.keypoints import BundledKeypoints
from fdf.vision.picture import decode
from fdf.vision.warp import Square, sample

IOU = 0.4
LIMITS = {"dlib ResNet": 0.6, "MobileFaceNet": 1.053}
"""Under these distances two faces pass for one person: dlib's own rule; cosine 0.446 for unit vectors."""
# ArcFace's five points in its chip of 112 pixels (insightface, face_align.py).
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


@dataclass
class Item:
    pixels: Pixels
    truth: dict[str, Any]
    face: Face | None = None
    second: np.ndarray | None = None


def load(folder: Path) -> list[Item]:
    rows = pq.read_table(folder / "truth.parquet").to_pylist()
    return [Item(decode((folder / "mirror" / row["file"]).read_bytes()).pixels, row) for row in rows]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total


def recall(items: list[Item], detector: Detector, limit: float) -> str:
    chosen = [item for item in items if abs(item.truth["yaw"]) < limit]
    hits, overlaps = [], []
    for item in chosen:
        (found,) = detector.detect([item.pixels])
        best = max((iou(box, item.truth["box"]) for box in found.boxes), default=0.0)
        hits.append(best >= (IOU if detector.id != "dlib-hog" else 0.3))
        overlaps.append(best)
    missed = [i.truth for i, hit in zip(chosen, hits, strict=True) if not hit]
    why = ", ".join(
        f"{row['photo_id'][-5:]} yaw {row['yaw']:.0f} pitch {row['pitch']:.0f} {row['glasses']} {row['held']} {row['place']}"
        f"{' mask' if row['mask'] else ''} occ {row['occluded']:.2f}"
        for row in missed[:8]
    )
    return f"{100 * np.mean(hits):.1f} % of {len(hits)}, median IoU {np.median(overlaps):.2f}; missed: {why}"


def points(items: list[Item]) -> list[tuple[str, str]]:
    """CenterFace's eyes and nose against the truth, near-frontal to half-profile, nothing before them."""
    rows: dict[str, list[np.ndarray]] = {"eyes": [], "nose": []}
    for item in items:
        truth, face = item.truth, item.face
        if (
            face is None
            or face.landmarks5 is None
            or abs(truth["yaw"]) > 30
            or truth["occluded"] > 0.3
            or truth["glasses"] == "dark"
        ):
            continue
        height = truth["box"][3] - truth["box"][1]
        at = np.array(truth["keypoints"]).reshape(7, 3)[:, :2]
        rows["eyes"].append((face.landmarks5[:2] - at[[2, 1]]).mean(axis=0) / height * 100)
        rows["nose"].append((face.landmarks5[2] - at[0]) / height * 100)
    found = []
    for name, values in rows.items():
        offsets = np.array(values)
        distance, bias = np.linalg.norm(offsets, axis=1), offsets.mean(axis=0)
        found.append(
            (
                f"{name}, CenterFace − truth",
                f"median {np.median(distance):.1f} %, bias x {bias[0]:+.1f} y {bias[1]:+.1f} % (n {len(offsets)})",
            )
        )
    return found


def mesh_points(items: list[Item], keypointer: BundledKeypoints, detector: CenterFace) -> list[tuple[str, str]]:
    """Face mesh: iris-free eye centres (mean of the corners) and nose tip, as `fdf.vision` takes them."""
    rows: dict[str, list[np.ndarray]] = {"eyes": [], "nose": []}
    for item in items:
        truth = item.truth
        if item.face is None or abs(truth["yaw"]) > 30 or truth["occluded"] > 0.3 or truth["glasses"] == "dark":
            continue
        (found,) = detector.detect([item.pixels])
        (keys,) = keypointer.keypoints([item.pixels], [found])
        if keys.mesh is None:
            continue
        row = int(np.argmax([iou(box, truth["box"]) for box in found.boxes]))
        height = truth["box"][3] - truth["box"][1]
        at = np.array(truth["keypoints"]).reshape(7, 3)[:, :2]
        (five,) = five_points(keys.mesh[row : row + 1])
        rows["eyes"].append((five[:2] - at[[2, 1]]).mean(axis=0) / height * 100)
        rows["nose"].append((five[2] - at[0]) / height * 100)
    found_rows = []
    for name, values in rows.items():
        offsets = np.array(values)
        distance, bias = np.linalg.norm(offsets, axis=1), offsets.mean(axis=0)
        found_rows.append(
            (
                f"{name}, face mesh − truth",
                f"median {np.median(distance):.1f} %, bias x {bias[0]:+.1f} y {bias[1]:+.1f} % (n {len(offsets)})",
            )
        )
    return found_rows


def aligned(pixels: Pixels, five: np.ndarray) -> Pixels:
    """The face in ArcFace's chip (112, 112, 3): similarity of its five points to the chip's."""
    target, have = ARCFACE / 112, np.asarray(five, dtype=float)
    za, zb = (p[:, 0] + 1j * p[:, 1] for p in (target - target.mean(axis=0), have - have.mean(axis=0)))
    factor = (za.conj() @ zb) / (za.conj() @ za).real
    centre = complex(*have.mean(axis=0)) + (0.5 + 0.5j - complex(*target.mean(axis=0))) * factor
    return sample(pixels, Square(centre.real, centre.imag, abs(factor), float(np.angle(factor))), 112)


def contrast(chips: list[Pixels]) -> str:
    """Median by size of detail: below σ 1, 1–2, 2–4, 4–8 and 8–16 pixels of the chip, in percent of its mean grey."""
    import cv2

    rows = []
    for chip in chips:
        before = chip.mean(axis=2, dtype=np.float32)
        inside = (slice(16, 104), slice(12, 100))
        mean, row = before[inside].mean(), []
        for sigma in (1, 2, 4, 8, 16):
            after = cv2.GaussianBlur(before, (0, 0), sigma)
            row.append(100 * (before - after)[inside].std() / mean)
            before = after
        rows.append(row)
    return " / ".join(f"{value:.1f}" for value in np.median(rows, axis=0)) + f" % (n {len(rows)})"


def photographed(folder: Path, detector: CenterFace) -> list[Pixels]:
    """Aligned faces of 60 pixels and more in the pictures of a folder and of its folders."""
    chips = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"}):
        pixels = decode(path.read_bytes()).pixels
        (found,) = detector.detect([pixels])
        for box, score, five in zip(found.boxes, found.scores, found.landmarks5, strict=True):
            if box[3] - box[1] >= 60 and score >= 0.6:
                chips.append(aligned(pixels, five))
    return chips


def second_recognizer(path: Path) -> Callable[[Item], np.ndarray | None]:
    """MobileFaceNet of 192 numbers, cosine distance; weights are the user's own."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def embed(item: Item) -> np.ndarray | None:
        if item.face is None or item.face.landmarks5 is None:
            return None
        chip = aligned(item.pixels, item.face.landmarks5)
        batch = np.repeat(((chip.astype(np.float32) - 127.5) / 128)[None], 2, axis=0)
        vector = session.run(None, {"input": batch})[0][0]
        return np.asarray(vector / np.linalg.norm(vector))

    return embed


def identity(
    items: list[Item], vectors: list[np.ndarray | None], name: str, yaw: float, pitch: float
) -> list[tuple[str, str]]:
    usable = [
        (item.truth["person"], vector)
        for item, vector in zip(items, vectors, strict=True)
        if vector is not None
        and abs(item.truth["yaw"]) < yaw
        and abs(item.truth["pitch"]) < pitch
        and item.truth["occluded"] <= 0.3
    ]
    same_limit = LIMITS.get(name, LIMITS["MobileFaceNet"])
    name = f"{name}, |yaw| < {yaw:g}°, |pitch| < {pitch:g}°"
    same, different = [], []
    for (a, va), (b, vb) in itertools.combinations(usable, 2):
        (same if a == b else different).append(float(np.linalg.norm(va - vb)))
    s, d = np.array(same), np.array(different)
    limit = np.quantile(d, 0.01)
    auc = float(np.mean([(d > value).mean() for value in s]))
    return [
        (
            f"{name}: same, different",
            f"{s.mean():.3f} ± {s.std():.3f} (n {len(s)}), {d.mean():.3f} ± {d.std():.3f}, AUC {auc:.4f}",
        ),
        (f"{name}: TAR at 1 % FAR", f"{100 * (s <= limit).mean():.1f} %"),
        (f"{name}: different pairs under {same_limit}", f"{100 * (d < same_limit).mean():.1f} %"),
    ]


def pose(items: list[Item]) -> list[tuple[str, str]]:
    found = []
    for name in ("yaw", "pitch", "roll"):
        errors = np.array(
            [
                getattr(item.face, name) - item.truth[name]
                for item in items
                if item.face is not None and getattr(item.face, name) is not None and abs(item.truth["yaw"]) < 60
            ]
        )
        found.append(
            (
                f"pose: {name}, |yaw| < 60°",
                f"mean error {np.abs(errors).mean():.1f}°, bias {errors.mean():+.1f}° (n {len(errors)})",
            )
        )
    return found


def speed(count: int) -> list[tuple[str, str]]:
    from fdf.synth.recipe import SynthRecipe
    from fdf.synth.scene import Appearance, Plan, make_photo

    found = []
    for size in (128, 256):
        times = []
        for index in range(count + 1):
            start = time.process_time()
            make_photo(Plan(index, 901, "portrait", size, (Appearance(index, 0),)), SynthRecipe())
            times.append(time.process_time() - start)
        found.append(
            (
                f"CPU seconds a portrait at {size} px",
                f"mean {np.mean(times[1:]):.2f}, largest {max(times[1:]):.2f} (n {count})",
            )
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*found, ("largest memory", f"{memory:.0f} MiB")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--recognizer", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--speed", type=int, default=0)
    args = parser.parse_args()
    rows: list[tuple[str, str]] = speed(args.speed) if args.speed else []
    if args.corpus:
        items = load(args.corpus)
        detector, keypointer = CenterFace(), BundledKeypoints()
        analyzer = Analyzer(detector, keypointer, DlibEmbedder())
        for item in items:
            (faces,) = analyzer.analyze([item.pixels])
            item.face = max(faces, key=lambda face: iou(face.box, item.truth["box"]), default=None)
            if item.face is not None and iou(item.face.box, item.truth["box"]) < IOU:
                item.face = None
        free = [item for item in items if item.truth["occluded"] <= 0.3]
        for name, model, yaw in (
            ("CenterFace", detector, 45),
            ("BlazeFace", BlazeFace(), 45),
            ("dlib HOG", DlibHog(), 30),
        ):
            rows += [(f"recall, {name}, |yaw| < {yaw}°, all", recall(items, model, yaw))]
            rows += [(f"recall, {name}, |yaw| < {yaw}°, at most 30 % covered", recall(free, model, yaw))]
        rows += points(items) + mesh_points(items, keypointer, detector)
        vectors = {"dlib ResNet": [item.face.embedding if item.face else None for item in items]}
        if args.recognizer:
            embed = second_recognizer(args.recognizer)
            vectors[args.recognizer.stem] = [embed(item) for item in items]
        for name, values in vectors.items():
            for yaw, pitch in ((45, 46), (25, 15)):
                rows += identity(items, values, name, yaw, pitch)
        rows += pose(items)
        near = [
            aligned(item.pixels, item.face.landmarks5)
            for item in items
            if item.face is not None
            and item.face.landmarks5 is not None
            and abs(item.truth["yaw"]) < 25
            and item.truth["occluded"] <= 0.3
        ]
        rows += [("contrast of faces", contrast(near))]
        if args.photos:
            rows += [("contrast of faces in photos", contrast(photographed(args.photos, detector)))]
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
