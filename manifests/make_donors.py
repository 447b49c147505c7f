"""Make the donors of `fdf anonymize --method donor`, `fdf/data/donors/`, anew: a maintainer's script, its output is committed.

    python manifests/make_donors.py [--out DIR] [--photos DIR]

Donors are people who do not exist, rendered by `fdf.synth` for this purpose: no hair on the head, no beard, glasses or hat,
flat light, at up to three turns of the head, one of them with open mouth. A photo takes 1.5 s of one core. What is rendered
lies in `--photos` (default `build/donor-photos`) and is not rendered twice. The other product is `donor_shape.npz` beside
`fdf/anonymize/donor_mesh.py`: the mean of the face mesh and how it moves with expressions, from renders of a few people with
all expressions of `fdf.synth.expression`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.donor_mesh import SHAPE, STABLE, openness
from fdf.anonymize.relight import fill
from fdf.store.files import write_bytes
from fdf.synth.camera import Look, Metered, develop
from fdf.synth.expression import EXPRESSIONS
from fdf.synth.geometry import stream
from fdf.synth.head import ASSET_SHA256, FACE_SPAN
from fdf.synth.identity import Identity, make_identity
from fdf.synth.light import Light
from fdf.synth.person import Placement, pose_person
from fdf.synth.recipe import PeopleConfig
from fdf.synth.render import Layers, Lens, Tracer
from fdf.synth.shot import Shot
from fdf.synth.source import VERSION
from fdf.synth.truth import face_box
from fdf.vision.base import Detections
from fdf.vision.facemesh import FaceMesh
from fdf.vision.pose import pose_from_mesh


def _both(**units: float) -> dict[str, float]:
    return {f"{name}{side}": weight for name, weight in units.items() for side in ("Left", "Right")}


SEED: Final = 2019
STUDIO: Final = 1
"""Raised with every change of this file that changes a photo: kept ones are made anew."""
PEOPLE_RENDERED: Final = 200
"""Those that are committed; `--count` makes more, the same ones first."""
RESTING: Final = 40
FACES: Final = 6
SIZE: Final = 232
SAMPLES: Final = 10
_FACE: Final = 0.74  # height of the face over that of the photo
_FOCAL: Final = 4.2  # over the photo's side: about 100 mm
PEOPLE: Final = PeopleConfig(
    age_years=(20.0, 55.0), monk_weights=(0, 1, 1, 1, 1, 1, 1, 1, 0, 0), shape_spread=0.7, makeup_share=0.15
)
"""Wide apart; the ends of the scale of tones are left out, since every donor's tone is changed to the target's."""
CLOSED: Final = {"browInnerUp": 0.1} | _both(mouthSmile=0.25, browOuterUp=0.2)
OPEN: Final = (
    {"jawOpen": 0.26, "browInnerUp": 0.15}
    | _both(mouthSmile=0.8, mouthUpperUp=0.5, cheekSquint=0.5, mouthLowerDown=0.3),
    {"jawOpen": 0.45, "browInnerUp": 0.1}
    | _both(mouthSmile=0.5, mouthUpperUp=0.6, mouthLowerDown=0.5, cheekSquint=0.3),
    {"jawOpen": 0.5, "browInnerUp": 0.1} | _both(mouthSmile=0.3, browOuterUp=0.2),
)
"""Open mouths. Donors have the first one: it shows a row of teeth, which the others' dark holes don't."""
VIEWS: Final = ((0.0, False), (20.0, True), (38.0, False))
"""Turn of the head, and whether the mouth is open; `fdf.anonymize.donors` mirrors them."""
THOROUGH: Final = 32
"""So many people have all of these; the others have the first two in turn: more people hide better than more photos of one."""


@dataclass(frozen=True)
class View:
    """One photo to make: who, how turned (degrees), with which face units."""

    person: int
    yaw: float
    units: Mapping[str, float]


def donor_views(count: int) -> Iterator[View]:
    """Photos of the first people, all of one person together. One with open mouth at 20° can do every pose, if less well."""
    for person in range(count):
        for yaw, is_open in VIEWS if person < THOROUGH else VIEWS[person % 2 : person % 2 + 1]:
            yield View(person, yaw, OPEN[0] if is_open else CLOSED)


def face_views(count: int) -> Iterator[View]:
    """Expressions of a few people who are no donors, for the shape model; each person's first is at rest."""
    for person in range(count):
        for units in (CLOSED, *OPEN, *(EXPRESSIONS[name] for name in EXPRESSIONS if name != "neutral")):
            yield View(100_000 + person, 0.0, units)


def bare(person: Identity) -> Identity:
    """The same person without hair on head and chin, without glasses, moles and freckles."""
    return replace(person, hair_style="bald", beard="none", glasses=False, moles=0, freckles=0.0)


def flat() -> Light:
    """Light from everywhere, a little more from above and before: shadows would stay on whoever gets the face."""
    rows, columns = 32, 64
    theta = (np.arange(rows) + 0.5) / rows * np.pi
    phi = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    up, front = np.cos(theta)[:, None], -np.sin(theta)[:, None] * np.cos(phi)[None]
    level = 0.55 + 0.25 * up + 0.6 * np.maximum(front, -0.5)
    return Light("studio", False, np.repeat(level[..., None], 3, axis=2).astype(np.float32))


def shot_of(view: View) -> Shot:
    """How the person stands: nothing worn, eyes to the camera."""
    return Shot(
        number=0, yaw=view.yaw, pitch=0.0, roll=0.0, body=0.3, turn=0.0, lean=0.0, arms="hanging",
        gaze=(float(np.clip(-0.3 * view.yaw, -12, 12)), 0.0), expression="",
        units=view.units, hat="none", glasses="none", mask=False, scarf=False, held="none",
    )  # fmt: skip


def photograph(view: View) -> NDArray[np.uint8]:
    """Render one photo, uint8 (SIZE, SIZE, 3)."""
    person = bare(make_identity(SEED, view.person, PEOPLE))
    lens, light = Lens(SIZE, SIZE, _FOCAL * SIZE), flat()
    place = Placement(np.array([0.0, 0.0, -FACE_SPAN * lens.focal / (_FACE * SIZE)]))
    posed = pose_person(person, shot_of(view), place, _FACE * SIZE)
    tracer = Tracer(posed.pieces, light, lens)
    layers = tracer.trace(SAMPLES, int(stream(SEED, "donor", view.person).integers(1 << 30)))
    box = face_box(lens.project(posed.outline))
    x0, y0, x1, y1 = (int(np.clip(value, 0, SIZE)) for value in box)
    look = Look("none", 0.0, 0.0, 0.0, (1.0, 1.0, 1.0), 0.15, 0.0, 1.0, 1.0, 0.0, 95)
    grey = np.full((SIZE, SIZE, 3), 0.2)
    millimetre = (box[3] - box[1]) / (100 * FACE_SPAN)
    rng = stream(SEED, "donor film", view.person)
    pixels = develop(layers, grey, [Metered((x0, y0, x1, y1), person.monk)], light, look, millimetre, rng)
    return unframed(pixels, layers)


def unframed(pixels: NDArray[np.uint8], layers: Layers) -> NDArray[np.uint8]:
    """The photo with skin's colour for a backdrop: a mesh reaches over the outline, and grey would come along."""
    import cv2

    known = cv2.erode((layers.skin > 0.98).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    filled = fill(pixels.astype(np.float32), known.astype(np.float32))
    alpha = cv2.erode(layers.alpha.astype(np.float32), np.ones((3, 3), np.uint8))[..., None]
    return np.asarray(np.rint(pixels * alpha + filled * (1 - alpha)), dtype=np.uint8)


class Studio:
    """Photos, kept in a folder as lossless files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = {"studio": STUDIO, "seed": SEED, "version": VERSION, "assets": ASSET_SHA256}

    def __call__(self, view: View) -> NDArray[np.uint8]:
        """The photo of a view."""
        asked = self._key | {"view": [view.person, view.yaw, dict(view.units)]}
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
        path = self._folder / f"{name}.png"
        if not path.is_file():
            target = io.BytesIO()
            Image.fromarray(photograph(view)).save(target, "PNG")
            self._folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, target.getvalue())
        return np.asarray(Image.open(path).convert("RGB"), dtype=np.uint8)


# --- the shape of faces ----------------------------------------------------------------------------------------------

_MOVES: Final = 5
"""Directions of expression that are kept; all of a target's shape that leaves with a donor's face."""
_PEOPLE: Final = 12


def similarity(goal: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """`found` (468, 3) moved, turned and scaled to lie nearest to `goal` over `STABLE`."""
    rows = list(STABLE)
    a, b = goal[rows] - goal[rows].mean(axis=0), found[rows] - found[rows].mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (s * np.diag(sign)).sum() / (b**2).sum()
    return np.asarray(scale * (found - found[rows].mean(axis=0)) @ (u @ sign @ vt).T + goal[rows].mean(axis=0))


def mirror_pairs(meshes: NDArray[np.float64]) -> NDArray[np.int64]:
    """The mirror image of each point, (468,): an assignment of the mean to its own reflection."""
    from scipy.optimize import linear_sum_assignment

    mean = meshes.mean(axis=0)
    centred = mean - mean[[168, 4, 152, 10]].mean(axis=0) * [1, 0, 0]
    for _ in range(3):  # the middle plane by the pairs, the pairs by the middle plane
        apart = np.linalg.norm(centred[:, None] - centred[None] * [-1, 1, 1], axis=2)
        _, pairs = linear_sum_assignment(apart + apart.T)
        centred = centred - (centred + centred[pairs] * [-1, 1, 1]).mean(axis=0) / 2 * [1, 0, 0]
    if not np.array_equal(pairs[pairs], np.arange(len(pairs))):
        msg = "points have no unique mirror images"
        raise ValueError(msg)
    return np.asarray(pairs, dtype=np.int64)


def principal(rows: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal directions of rows about zero, orthonormal, and the standard deviation along each."""
    _, s, vt = np.linalg.svd(rows, full_matrices=False)
    return vt[:count], s[:count] / np.sqrt(len(rows))


def make_shape(faces: list[NDArray[np.float64]], resting: list[NDArray[np.float64]], open_: int) -> bytes:
    """The bytes of `donor_shape.npz`.

    Args:
        faces: meshes of `face_views`, `open_` + 1 … of a person in turn, the first at rest.
        resting: meshes of donors who look into the camera.
        open_: views of a person.
    """
    from scipy.spatial import Delaunay

    everyone = np.array(resting)
    mean = everyone[0]
    for _ in range(4):  # Procrustes: to the mean, which is scaled and turned to the front
        everyone = np.array([similarity(mean, one) for one in everyone])
        mean = everyone.mean(axis=0)
        mean = mean / np.linalg.norm(mean[33] - mean[263])
    pairs = mirror_pairs(everyone)
    flip = np.array([-1.0, 1.0, 1.0])
    for _ in range(3):
        mean = (mean + similarity(mean, mean[pairs] * flip)) / 2
    mean = upright(mean, pairs)
    everyone = np.array([similarity(mean, one) for one in everyone])
    people = np.concatenate([everyone - mean, (everyone - mean)[:, pairs] * flip]).reshape(-1, mean.size)
    moves = []
    for at in range(0, len(faces), open_):
        rest, *others = (similarity(mean, one) for one in faces[at : at + open_])
        moves += [one - rest for one in others]
    moved = np.array(moves) * mobile(mean)[:, None]
    both = np.concatenate([moved, moved[:, pairs] * flip]).reshape(-1, mean.size)
    directions, _ = principal(both, _MOVES)
    ways, spread = principal(people - (people @ directions.T) @ directions, _PEOPLE)
    wide = mean + np.mean([move for k, move in enumerate(moves) if k % (open_ - 1) < len(OPEN)], axis=0)
    triangles = clockwise(wide, Delaunay(wide[:, :2]).simplices)
    target = io.BytesIO()
    np.savez_compressed(
        target,
        mean=mean.astype(np.float32),
        expressions=directions.reshape(_MOVES, -1, 3).astype(np.float16),
        people=(ways * spread[:, None]).reshape(_PEOPLE, -1, 3).astype(np.float16),
        triangles=triangles.astype(np.int16),
        mirror=pairs.astype(np.int16),
    )
    return target.getvalue()


def mobile(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of a move counts as expression at each point, 0–1: all of it at lips, lids and brows only.

    Ten directions over the whole face hold nine tenths of what tells people apart, too: a dropped jaw is a long face.
    """
    x, y = np.abs(mean[:, 0]), mean[:, 1]
    eyes, mouth = mean[[33, 263], 1].mean(), mean[[13, 14], 1].mean()
    lips = np.exp(-(((x / 0.42) ** 2 + ((y - mouth) / 0.38) ** 2) ** 2))
    lids = np.exp(-((((x - 0.36) / 0.30) ** 2 + ((y - eyes + 0.1) / 0.2) ** 2) ** 2))
    return np.asarray(np.maximum(lips, 0.8 * lids))


def upright(mean: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean facing the camera: its mirror plane at x = 0, pitch as `fdf.vision.pose` has it, eyes a unit apart."""
    across = (mean - mean[pairs])[list(STABLE)]
    x = np.linalg.svd(across)[2][0]
    x = x * np.sign(x[0])
    middle = (mean + mean[pairs])[list(STABLE)].mean(axis=0) / 2
    z = np.cross(x, [0.0, 1.0, 0.0])
    z /= np.linalg.norm(z)
    turned = (mean - middle) @ np.stack([x, np.cross(z, x), z]).T
    pitch = np.radians(pose_from_mesh(turned).pitch)
    c, s = np.cos(pitch), np.sin(pitch)
    for sign in (1, -1):  # whichever way round brings the pitch to nought
        level = turned @ np.array([[1, 0, 0], [0, c, -sign * s], [0, sign * s, c]]).T
        if abs(pose_from_mesh(level).pitch) < 0.5:
            turned = level
            break
    return np.asarray(turned / np.linalg.norm(turned[33] - turned[263]))


def clockwise(mean: NDArray[np.float64], triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Triangles that all turn clockwise on the screen (y down); slivers of the hull are left out."""
    a, b, c = (mean[triangles[:, k], :2] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    turned = np.where(area[:, None] > 0, triangles, triangles[:, [0, 2, 1]])
    return turned[np.abs(area) > 1e-6]


# --- writing ---------------------------------------------------------------------------------------------------------

CONSENT: Final = "Rendered by fdf synth for this purpose: this person does not exist, so there is nobody to ask."
HEAD: Final = """\
# People who do not exist, for `fdf anonymize --method donor`. Written by manifests/make_donors.py; don't edit it by hand.
# Dedicated to the public domain (CC0 1.0).
format = "fdf-donors"
version = 1
"""
_LEAST_OPEN: Final = 0.09
_MOST_CLOSED: Final = 0.05
_QUALITY: Final = 82


class Eyes:
    """The detector and the mesh that fdf uses."""

    def __init__(self) -> None:
        self._finder, self._mesher = FaceFinder("fast"), FaceMesh()

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
        """Five points (5, 2) and mesh (468, 3) of the one face of a photo; None if there is none."""
        faces = self._finder.find(pixels)
        if len(faces) != 1 or faces[0].landmarks5 is None:
            return None
        size = pixels.shape[1], pixels.shape[0]
        box = np.clip(faces[0].box, 0, [*size, *size])[None].astype(np.float32)
        five = faces[0].landmarks5.astype(np.float32)
        found = self._mesher.meshes([pixels], [Detections(box, np.ones(1, np.float32), five[None])])[0]
        return (five, found.points[0].astype(np.float64)) if found.presence[0] > 0.9 else None


def listing_row(pixels: NDArray[np.uint8], view: View, eyes: Eyes, path: Path) -> str | None:
    """A photo's line in `donors.toml`, and the photo beside it; None where the mesh doesn't see what was rendered."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "WEBP", quality=_QUALITY, method=6)
    data = target.getvalue()
    seen = eyes(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.uint8))
    if seen is None:
        return None
    five, mesh = seen
    pose, gap = pose_from_mesh(mesh), openness(mesh)
    if abs(pose.yaw - view.yaw) > 12 or not (gap > _LEAST_OPEN if view.units is not CLOSED else gap < _MOST_CLOSED):
        return None
    write_bytes(path, data)
    points = ", ".join(f"[{x:.1f}, {y:.1f}]" for x, y in five)
    digest = hashlib.sha256(data).hexdigest()
    return (
        f'    {{file = "{path.name}", sha256 = "{digest}", points = [{points}], '
        f"yaw = {pose.yaw:.1f}, pitch = {pose.pitch:.1f}, open = {gap:.3f}}},\n"
    )


def write_donors(out: Path, studio: Studio, eyes: Eyes, count: int) -> None:
    """Write the folder anew: people with at least one usable photo. The listing is whole whenever this is stopped."""
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("*.webp"):
        path.unlink()
    text, people, photos = [HEAD], 0, 0
    for number in range(count):
        views = [view for view in donor_views(number + 1) if view.person == number]
        rows = [
            listing_row(studio(view), view, eyes, out / f"p{number:03d}{letter}.webp")
            for letter, view in zip("abc", views, strict=False)
        ]
        kept = [row for row in rows if row is not None]
        if not kept:
            continue
        people, photos = people + 1, photos + len(kept)
        text.append(
            f'\n[[person]]\nid = "p{number:03d}"\nconsent = "{CONSENT}"\nlicence = "CC0-1.0"\n'
            f'source = "fdf synth, manifests/make_donors.py, seed {SEED}"\nphotos = [\n{"".join(kept)}]\n'
        )
        write_bytes(out / "donors.toml", "".join(text).encode())
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{people} people, {photos} photos, {size / 1e6:.2f} MB in {out}")


def write_shape(studio: Studio, eyes: Eyes, resting: int) -> None:
    """Write `donor_shape.npz`, and say its SHA-256, which goes into `fdf/anonymize/donor_mesh.py`."""
    faces = [eyes(studio(view)) for view in face_views(FACES)]
    views = len(faces) // FACES
    whole = [faces[at : at + views] for at in range(0, len(faces), views)]
    kept = [one[1] for person in whole if None not in person for one in person if one is not None]
    front = [eyes(studio(View(person, 0.0, CLOSED))) for person in range(resting)]
    data = make_shape(kept, [one[1] for one in front if one is not None], views)
    write_bytes(SHAPE, data)
    print(f"{SHAPE}: {len(data) / 1e3:.0f} kB, SHA-256 {hashlib.sha256(data).hexdigest()}")


def main() -> None:
    """Read the arguments and write the shape and the donors."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=root / "build" / "donor-photos", help="rendered photos, kept")
    parser.add_argument("--out", type=Path, default=root / "fdf" / "data" / "donors")
    parser.add_argument("--count", type=int, default=PEOPLE_RENDERED, help="people to render; a few are left out")
    args = parser.parse_args()
    studio, eyes = Studio(args.photos), Eyes()
    write_shape(studio, eyes, RESTING)
    write_donors(args.out, studio, eyes, args.count)


if __name__ == "__main__":
    main()
