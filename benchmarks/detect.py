"""Pictures a second and recall of the face detectors, side by side, in one run, one thread each.

    python benchmarks/detect.py --photos PHOTOS --renders RENDERS --insightface scrfd.onnx …

PHOTOS is a folder of labelled photos in dlib's XML format (`*_with_face_landmarks.xml`, in it or one level below), RENDERS a
folder with pictures and `ground-truth.jsonl` (`file`, `box`). Without either there is nothing to measure.

Recall: labelled faces that a hit covers with IoU ≥ 0.4, and in brackets those that hold the centre of a hit. False hits:
hits that neither cover a labelled face nor have their centre in one; hits lower than 24 pixels are left out of them, since
small faces in the background of the photos carry no label. Speed: detectors take turns, `--rounds` times over all
pictures, one picture a call, decoded beforehand; the fastest round counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdf.vision.base import Detector
from fdf.vision.centerface import FAST, CenterFace
from fdf.vision.picture import Pixels, decode
from fdf.vision.zoo import load_detector

IOU = 0.4
SMALL = 24


@dataclass(frozen=True)
class Labelled:
    name: str
    pixels: list[Pixels]
    boxes: list[np.ndarray]


def photos(folder: Path) -> Labelled:
    """Photos with labels in dlib's XML. Files are named relative to the XML and must stay beside it."""
    labels: dict[Path, list[list[float]]] = {}
    for file in sorted([*folder.glob("*.xml"), *folder.glob("*/*.xml")]):
        text = file.read_bytes()
        if b"<!ENTITY" in text or b"<!DOCTYPE" in text:
            raise SystemExit(f"{file}: entity declarations have no place in a label file.")
        for image in ET.fromstring(text).iter("image"):  # noqa: S314 - entities are refused above
            path = (file.parent / image.attrib["file"]).resolve()
            if path.parent != file.parent.resolve():
                raise SystemExit(f"{file}: {image.attrib['file']} leaves the folder.")
            for box in image.iter("box"):
                x, y, w, h = (float(box.attrib[key]) for key in ("left", "top", "width", "height"))
                labels.setdefault(path, []).append([x, y, x + w, y + h])
    found = [path for path in labels if path.is_file()]
    return Labelled("photos", [decode(p.read_bytes()).pixels for p in found], [np.array(labels[p]) for p in found])


def renders(folder: Path) -> Labelled:
    rows = [json.loads(line) for line in (folder / "ground-truth.jsonl").read_text(encoding="utf-8").splitlines()]
    pixels = [decode((folder / Path(row["file"]).name).read_bytes()).pixels for row in rows]
    return Labelled("renders", pixels, [np.array([row["box"]]) for row in rows])


def score(found: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """Labelled faces covered, labelled faces that hold a hit's centre, false hits."""
    if not len(found):
        return 0, 0, 0
    corner = np.minimum(found[:, None, 2:], truth[None, :, 2:]) - np.maximum(found[:, None, :2], truth[None, :, :2])
    shared = np.clip(corner, 0, None).prod(axis=2)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (found, truth)]
    covers = shared / (area[0][:, None] + area[1][None] - shared) >= IOU
    centre = (found[:, :2] + found[:, 2:]) / 2
    holds = ((centre[:, None] >= truth[None, :, :2]) & (centre[:, None] < truth[None, :, 2:])).all(axis=2)
    large = found[:, 3] - found[:, 1] >= SMALL
    wrong = large & ~covers.any(axis=1) & ~holds.any(axis=1)
    return int(covers.any(axis=0).sum()), int(holds.any(axis=0).sum()), int(wrong.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with dlib's label XML and its photos")
    parser.add_argument("--renders", type=Path, help="folder with ground-truth.jsonl and its pictures")
    parser.add_argument("--insightface", type=Path, nargs="*", default=[], help="SCRFD ONNX files of yours")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    sets = [photos(args.photos)] if args.photos else []
    sets += [renders(args.renders)] if args.renders else []
    sets = [one for one in sets if one.pixels]
    if not sets:
        raise SystemExit(
            "Nothing to measure: give --photos DIR (dlib's label XML) or --renders DIR (ground-truth.jsonl)."
        )

    import cv2

    cv2.setNumThreads(1)
    makers: dict[str, Callable[[], Detector]] = {
        "dlib HOG, upsampled once": lambda: load_detector("dlib-hog"),
        "**CenterFace** (default)": CenterFace,
        "CenterFace, fast": lambda: CenterFace(FAST),
        "BlazeFace + face mesh": lambda: load_detector("blazeface-back+facemesh468"),
    }
    for path in args.insightface:
        makers[f"InsightFace {path.stem}"] = lambda path=path: load_detector("insightface-detector", path=path)
    detectors = {name: make() for name, make in makers.items()}
    best = {(name, one.name): float("inf") for name in detectors for one in sets}
    for turn in range(args.rounds + 1):
        for name, detector in detectors.items():
            for one in sets:
                pixels = one.pixels[:2] if turn == 0 else one.pixels  # turn 0 warms up
                start = time.perf_counter()
                for picture in pixels:
                    detector.detect([picture])
                if turn:
                    best[name, one.name] = min(best[name, one.name], time.perf_counter() - start)

    print(f"{platform.processor() or platform.machine()}, one thread; ", end="")
    print("; ".join(f"{one.name}: {len(one.pixels)} pictures, {sum(map(len, one.boxes))} faces" for one in sets) + "\n")
    head = [f"{one.name}: {what}" for one in sets for what in ("recall (centre)", "false hits", "pictures/s", "× dlib")]
    print("| detector | weights | " + " | ".join(head) + " |")
    print("|---|---|" + "---|" * len(head))
    base = next(iter(detectors))
    for name, detector in detectors.items():
        cells = []
        for one in sets:
            hits = [
                score(faces.boxes, truth) for faces, truth in zip(detector.detect(one.pixels), one.boxes, strict=True)
            ]
            covered, held, wrong = (sum(column) for column in zip(*hits, strict=True))
            total = sum(map(len, one.boxes))
            rate = len(one.pixels) / best[name, one.name]
            ratio = best[base, one.name] / best[name, one.name]
            cells += [f"{covered}/{total} ({held})", str(wrong), f"{rate:.1f}", f"{ratio:.2f}"]
        weights = ", ".join(dict.fromkeys(row.weight_license.removeprefix("LicenseRef-") for row in detector.models))
        print(f"| {name} | {weights} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
