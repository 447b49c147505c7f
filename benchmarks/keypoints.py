"""How exact the bundled keypoints and head pose are, and which model is best for which point.

    python benchmarks/keypoints.py --photos PHOTOS --renders RENDERS

Folders as for `benchmarks/detect.py`: photos with 68 labelled points each face, renders with exact keypoints and angles.
Errors are distances in % of the face's height (renders: of the labelled box; photos: eye distance / 0.4).
"""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdf.vision.base import Detections, Pixels
from fdf.vision.centerface import CenterFace
from fdf.vision.facemesh import EARS, FaceMesh, five_points
from fdf.vision.keypoints import BundledKeypoints
from fdf.vision.movenet import MoveNet
from fdf.vision.picture import decode
from fdf.vision.pose import pose_from_five, pose_from_mesh
from fdf.vocabulary import KEYPOINT_NAMES

BINS = ((0, 15), (15, 30), (30, 45), (45, 90))


@dataclass(frozen=True)
class Truth:
    picture: int
    points: np.ndarray  # (7, 2), NaN where unknown
    height: float
    row: dict


def photos(folder: Path) -> tuple[list[Pixels], list[Truth]]:
    pictures, truths = [], []
    for file in sorted([*folder.glob("*.xml"), *folder.glob("*/*.xml")]):
        for image in ET.fromstring(file.read_bytes()).iter("image"):  # noqa: S314 - the user's own labels
            pictures.append(decode((file.parent / Path(image.attrib["file"]).name).read_bytes()).pixels)
            for box in image.iter("box"):
                parts = sorted(box.iter("part"), key=lambda part: part.attrib["name"])
                xy = np.array([[float(p.attrib["x"]), float(p.attrib["y"])] for p in parts]) + 0.5
                seven = np.full((7, 2), np.nan)
                seven[0], seven[1], seven[2] = xy[30], xy[42:48].mean(0), xy[36:42].mean(0)
                truths.append(Truth(len(pictures) - 1, seven, float(np.linalg.norm(seven[1] - seven[2])) / 0.4, {}))
    return pictures, truths


def renders(folder: Path) -> tuple[list[Pixels], list[Truth]]:
    rows = [json.loads(line) for line in (folder / "ground-truth.jsonl").read_text(encoding="utf-8").splitlines()]
    pictures = [decode((folder / Path(row["file"]).name).read_bytes()).pixels for row in rows]
    points = [np.array([row["kp"][name] for name in KEYPOINT_NAMES]) for row in rows]
    heights = [row["box"][3] - row["box"][1] for row in rows]
    return pictures, [Truth(i, p, h, r) for i, (p, h, r) in enumerate(zip(points, heights, rows, strict=True))]


def candidates(pictures: list[Pixels], found: list[Detections]) -> dict[str, list[np.ndarray]]:
    """(N, 7, 2) per picture and way to find the points; NaN where it has none."""
    body = [points[..., :2] for points in MoveNet().points(pictures, found)]
    mesh, five = [], []
    for one, faces in zip(FaceMesh().meshes(pictures, found), found, strict=True):
        seven = np.full((len(faces), 7, 2), np.nan)
        seven[:, :3] = five_points(one.points)[:, [2, 1, 0]]
        seven[:, 3:5] = one.points[:, list(EARS), :2]
        mesh.append(seven)
        seven = np.full((len(faces), 7, 2), np.nan)
        seven[:, :3] = faces.landmarks5[:, [2, 1, 0]]
        five.append(seven)
    return {"MoveNet": body, "face mesh": mesh, "CenterFace": five}


def cell(errors: np.ndarray) -> str:
    errors = errors[np.isfinite(errors)]
    return f"{np.mean(errors):.1f} / {np.quantile(errors, 0.9):.1f}" if len(errors) else "–"


def table(name: str, pictures: list[Pixels], truths: list[Truth]) -> None:
    found = CenterFace().detect(pictures)
    keys = BundledKeypoints().keypoints(pictures, found)
    ways = candidates(pictures, found) | {"**bundled**": [k.points[..., :2] for k in keys]}
    pairs = []
    for truth in truths:
        boxes = found[truth.picture].boxes
        if len(boxes):
            gap = np.linalg.norm(boxes.reshape(-1, 2, 2).mean(1) - truth.points[1:3].mean(0), axis=1)
            if gap.min() < truth.height:
                pairs.append((truth, int(gap.argmin())))
    print(f"\n{name}: {len(pairs)} of {len(truths)} faces found; mean / 90th percentile, % of face height\n")
    print("| point | " + " | ".join(ways) + " |\n|---|" + "---|" * len(ways))
    for k, point in enumerate(KEYPOINT_NAMES):
        errors = {
            way: np.array([np.linalg.norm(rows[t.picture][j, k] - t.points[k]) / t.height * 100 for t, j in pairs])
            for way, rows in ways.items()
        }
        if np.isfinite(errors["**bundled**"]).any():
            print(f"| {point} | " + " | ".join(cell(e) for e in errors.values()) + " |")
    for k, point in enumerate(KEYPOINT_NAMES[:3]):
        apart = [
            np.linalg.norm(ways["face mesh"][t.picture][j, k] - ways["CenterFace"][t.picture][j, k]) / t.height * 100
            for t, j in pairs
        ]
        below = {
            way: np.median([(ways[way][t.picture][j, k] - t.points[k])[1] / t.height * 100 for t, j in pairs])
            for way in ("face mesh", "CenterFace")
        }
        print(
            f"{point}: face mesh and CenterFace lie {np.median(apart):.1f} % apart (median); below the truth "
            + ", ".join(f"{way} {value:+.1f} %" for way, value in below.items())
        )
    sure = [(t, keys[t.picture].points[j]) for t, j in pairs]
    for names, ks in (("ears", (3, 4)), ("shoulders", (5, 6))):
        for low, high in ((0, 0.3), (0.3, 0.5), (0.5, 1.01)):
            errors = [
                np.linalg.norm(p[k, :2] - t.points[k]) / t.height * 100
                for t, p in sure
                for k in ks
                if low <= p[k, 2] < high
            ]
            if errors and np.isfinite(errors).all():
                print(f"{names} of confidence {low}–{min(high, 1)}: {len(errors)}, median {np.median(errors):.1f} %")
    if truths[0].row:
        pose_table([(t, found[t.picture].landmarks5[j], keys[t.picture].mesh[j]) for t, j in pairs])


def pose_table(faces: list[tuple[Truth, np.ndarray, np.ndarray]]) -> None:
    # The mesh template was made from even identities of this corpus. The renderer's roll is counterclockwise.
    faces = [face for face in faces if face[0].row["id"] % 2]
    truth = np.array([[t.row["yaw"], t.row["pitch"], -t.row["roll"]] for t, _, _ in faces])
    print(
        "\n| |yaw| of the truth | faces | mesh: yaw, pitch, roll | five points: yaw, pitch, roll |\n|---|---|---|---|"
    )
    for low, high in (*BINS, (0, 90)):
        inside = (abs(truth[:, 0]) >= low) & (abs(truth[:, 0]) < high)
        cells = []
        for which, pose in ((2, pose_from_mesh), (1, pose_from_five)):
            poses = [pose(face[which]) for face in faces]
            errors = abs(np.array([[p.yaw, p.pitch, p.roll] for p in poses]) - truth)[inside]
            cells.append(", ".join(f"{e:.1f}°" for e in errors.mean(0)) if len(errors) else "–")
        print(f"| {low}–{high}° | {inside.sum()} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--renders", type=Path)
    args = parser.parse_args()
    if not args.photos and not args.renders:
        raise SystemExit(
            "Nothing to measure: give --photos DIR (dlib's label XML) or --renders DIR (ground-truth.jsonl)."
        )
    if args.photos:
        table("Photos", *photos(args.photos))
    if args.renders:
        table("Renders", *renders(args.renders))


if __name__ == "__main__":
    main()
