"""Putting people before a camera: one, a few, or a crowd; then a photo of them and the truth about it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdf.synth.backdrop import make_backdrop
from fdf.synth.camera import Look, Metered, develop, make_look
from fdf.synth.geometry import stream
from fdf.synth.head import FACE_SPAN
from fdf.synth.identity import Identity, make_identity
from fdf.synth.light import Light, make_light
from fdf.synth.person import Placement, Posed, pose_person
from fdf.synth.piece import Piece
from fdf.synth.recipe import Scene, SynthRecipe
from fdf.synth.render import Lens, Tracer
from fdf.synth.shot import Shot, make_shot
from fdf.synth.truth import age_group, face_box, pose_angles

COMMENT: Final = "Synthetic: rendered by fdf synth. No person in this picture exists. CC0 1.0."
"""Stands in every picture as JPEG comment and EXIF description."""

_ASPECTS: Final = ((1.0, 0.4), (0.8, 0.25), (0.75, 0.2), (1.25, 0.15))
_SMALLEST: Final = 16.0
"""Height in pixels of the smallest face of a crowd."""


@dataclass(frozen=True)
class Appearance:
    """Person `person` in their shot `shot`."""

    person: int
    shot: int


@dataclass(frozen=True)
class Plan:
    """One photo to make; says all that decides its bytes, with the recipe and the version of this code.

    Attributes:
        index: number of the photo in its run: names its random stream.
        size: the picture's short side, pixels.
    """

    index: int
    seed: int
    scene: Scene
    size: int
    cast: tuple[Appearance, ...]


@dataclass(frozen=True, eq=False)
class Photo:
    """A finished photo: uint8 (height, width, 3), JPEG bytes, one row of truth a face (without `photo_id` and `file`)."""

    pixels: npt.NDArray[np.uint8]
    jpeg: bytes
    truth: list[dict[str, Any]]


@dataclass(frozen=True)
class _Spot:
    """Where a face goes in the picture: its middle and its height, pixels."""

    x: float
    y: float
    height: float


@dataclass(frozen=True, eq=False)
class _Face:
    """One person in the photo, and the box of their face."""

    person: Identity
    shot: Shot
    place: Placement
    posed: Posed
    box: list[float]


@dataclass(frozen=True, eq=False)
class _Shown:
    """What holds for the photo as a whole."""

    lens: Lens
    light: Light
    look: Look
    focal_mm: float
    scene: Scene


def make_photo(plan: Plan, recipe: SynthRecipe) -> Photo:
    """Render one photo. The same plan and recipe give the same bytes, in any process."""
    rng = stream(plan.seed, "photo", plan.scene, plan.size, plan.index)
    lens, focal_mm, spots = _compose(plan, recipe, rng)
    light = make_light(recipe.camera, rng)
    faces = []
    for appearance, spot in zip(plan.cast, spots, strict=True):
        person = make_identity(plan.seed, appearance.person, recipe.people)
        shot = make_shot(person, appearance.shot, recipe)
        place = _placement(lens, spot)
        posed = pose_person(person, shot, place, spot.height)
        faces.append(_Face(person, shot, place, posed, face_box(lens.project(posed.outline))))
    faces.sort(key=lambda face: face.box[1] - face.box[3])
    tracer = Tracer([piece for face in faces for piece in face.posed.pieces if _in_view(piece, lens)], light, lens)
    layers = tracer.trace(recipe.camera.samples or _samples(plan.size), int(rng.integers(1 << 30)))
    look = make_look(recipe.camera, light, plan.size, rng)
    backdrop = make_backdrop(light, lens.width, lens.height, rng)
    metered = [Metered(_inside(face.box, lens), face.person.monk) for face in faces]
    millimetre = (faces[0].box[3] - faces[0].box[1]) / (100 * FACE_SPAN)
    pixels = develop(layers, backdrop, metered, light, look, millimetre, rng)
    shown = _Shown(lens, light, look, focal_mm, plan.scene)
    rows = [{"face": number, **_truth(face, tracer, shown)} for number, face in enumerate(faces)]
    return Photo(pixels, encode(pixels, look.quality), rows)


def _in_view(piece: Piece, lens: Lens) -> bool:
    """Whether any of a mesh may lie in the picture; what doesn't (legs in a portrait) hides nothing in it."""
    if (piece.points[:, 2] > -0.5).any():
        return True
    pixels = lens.project(piece.points)
    size = np.array([lens.width, lens.height])
    return bool((pixels.max(axis=0) > 0).all() and (pixels.min(axis=0) < size).all())


def encode(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes that say in two places what they are."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x010E] = COMMENT  # ImageDescription
    exif[0x013B] = "fdf synth"  # Artist
    exif[0x8298] = "CC0 1.0, https://creativecommons.org/publicdomain/zero/1.0/"  # Copyright
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=quality, exif=exif, comment=COMMENT.encode(), optimize=True)
    return target.getvalue()


def _samples(size: int) -> int:
    """Paths a pixel: small pictures need more of them to look alike, and can afford them."""
    return int(np.clip(round(32 * (128 / size) ** 0.6), 12, 45))


def _compose(plan: Plan, recipe: SynthRecipe, rng: np.random.Generator) -> tuple[Lens, float, list[_Spot]]:
    """Camera and places of the faces in the picture, in the order of the cast."""
    low, high = recipe.camera.focal_mm
    if plan.scene == "portrait":
        ratios, weights = zip(*_ASPECTS, strict=True)
        aspect = float(rng.choice(ratios, p=np.array(weights) / sum(weights)))
        focal = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    else:
        aspect = float(rng.choice([1.5, 4 / 3], p=[0.6, 0.4]))
        focal = float(np.exp(rng.uniform(np.log(low), np.log(min(high, max(low, 60.0))))))
    width, height = (plan.size, round(plan.size / aspect)) if aspect < 1 else (round(plan.size * aspect), plan.size)
    lens = Lens(width, height, focal / 24 * plan.size)
    if plan.scene == "portrait":
        tall = rng.uniform(*recipe.camera.face_fraction) * min(height, 1.15 * width)
        x = width * (0.5 + np.clip(rng.normal(0, 0.05), -0.12, 0.12))
        y = height * (0.5 + np.clip(rng.normal(-0.01, 0.035), -0.1, 0.1))
        return lens, focal, [_Spot(float(x), float(y), float(tall))]
    return lens, focal, _crowd(plan, lens, rng)


def _crowd(plan: Plan, lens: Lens, rng: np.random.Generator) -> list[_Spot]:
    """Several faces: the nearer the larger and lower, none much over another."""
    if plan.scene == "group":
        return _group(plan, lens, rng)
    count, short = len(plan.cast), min(lens.width, lens.height)
    heights = np.exp(rng.uniform(np.log(_SMALLEST), np.log(max(0.24 * short, _SMALLEST * 1.5)), count))
    order = np.argsort(-heights)
    spots: dict[int, _Spot] = {}
    placed: list[_Spot] = []
    for row in order:
        tall = float(heights[row])
        spot = _try(lens, tall, short, rng)
        for attempt in range(200):
            if not any(_covers(spot, other) for other in placed):
                break
            spot = _try(lens, max(_SMALLEST, tall * 0.995**attempt), short, rng)
        spots[int(row)] = spot
        placed.append(spot)
    return [spots[row] for row in range(count)]


def _group(plan: Plan, lens: Lens, rng: np.random.Generator) -> list[_Spot]:
    """People shoulder to shoulder, seen down to the waist; every second one stands a step back."""
    count = len(plan.cast)
    tall = min(0.36 * lens.height, lens.width / (1.25 * count)) * rng.uniform(0.8, 1.0)
    apart = min(tall * rng.uniform(1.05, 1.35), lens.width / count)
    left = lens.width / 2 - apart * (count - 1) / 2 + rng.uniform(-0.3, 0.3) * max(0.0, lens.width - apart * count)
    eye_level, first = lens.height * rng.uniform(0.32, 0.44), int(rng.integers(2))
    spots = []
    for row in range(count):
        back = (row + first) % 2
        height = tall * (0.8 if back else 1.0) * rng.uniform(0.94, 1.04)
        y = eye_level + tall * rng.normal(0, 0.16) - 0.12 * tall * back
        x = np.clip(left + apart * (row + rng.normal(0, 0.06)), 0.5 * tall, lens.width - 0.5 * tall)
        spots.append(_Spot(float(x), float(np.clip(y, 0.75 * height, lens.height - height)), float(height)))
    return spots


def _covers(one: _Spot, other: _Spot) -> bool:
    """Whether two heads would stand before each other."""
    reach = one.height + other.height
    return abs(one.x - other.x) < 0.46 * reach and abs(one.y - other.y) < 0.62 * reach


def _try(lens: Lens, tall: float, short: int, rng: np.random.Generator) -> _Spot:
    x = rng.uniform(0.6 * tall, lens.width - 0.6 * tall)
    depth = np.log(tall / _SMALLEST) / np.log(max(0.24 * short / _SMALLEST, 1.5))
    y = lens.height * np.clip(0.16 + 0.5 * depth + rng.normal(0, 0.06), 0.08, 0.8)
    return _Spot(float(x), float(y), tall)


def _placement(lens: Lens, spot: _Spot) -> Placement:
    depth = max(FACE_SPAN * lens.focal / spot.height, 3.2)
    x = (spot.x - lens.width / 2) / lens.focal * depth
    y = -(spot.y - lens.height / 2) / lens.focal * depth
    return Placement(np.array([x, y, -depth]))


def _inside(box: Sequence[float], lens: Lens) -> tuple[int, int, int, int]:
    limits = lens.width, lens.height, lens.width, lens.height
    x0, y0, x1, y1 = (int(np.clip(value, 0, limit)) for value, limit in zip(box, limits, strict=True))
    return x0, y0, x1, y1


def _truth(face: _Face, tracer: Tracer, shown: _Shown) -> dict[str, Any]:
    """One row, without `photo_id`, `file` and `face`."""
    person, shot, posed, lens = face.person, face.shot, face.posed, shown.lens
    pixels = lens.project(posed.keypoints)
    within = ((pixels >= 0) & (pixels < [lens.width, lens.height])).all(axis=1)
    margins = np.array([0.06, 0.06, 0.06, 0.16, 0.16, 0.35, 0.35])
    seen = np.array(
        [tracer.visible(point[None], float(margin))[0] for point, margin in zip(posed.keypoints, margins, strict=True)]
    )
    keypoints = np.concatenate([pixels, (within & seen)[:, None]], axis=1)
    yaw, pitch, roll = pose_angles(posed.rotation, posed.frame)
    return {
        "width": lens.width,
        "height": lens.height,
        "person": person.key,
        "box": face.box,
        "keypoints": [float(value) for value in keypoints.ravel()],
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "gaze_yaw": shot.gaze[0],
        "gaze_pitch": shot.gaze[1],
        "occluded": _occluded(posed, lens, tracer),
        "expression": shot.expression,
        "monk": person.monk,
        "age_years": person.age,
        "age_group": age_group(person.age),
        "feminine": person.feminine,
        "hair_style": person.hair_style,
        "hair_color": person.hair_color,
        "beard": person.beard,
        "glasses": shot.glasses,
        "hat": shot.hat,
        "mask": shot.mask,
        "scarf": shot.scarf,
        "held": shot.held,
        "place": shown.light.place,
        "backlit": shown.light.back,
        "distance_m": float(np.linalg.norm(face.place.centre)) / 10,
        "focal_mm": shown.focal_mm,
        "blur": shown.look.blur,
        "blur_px": shown.look.blur_px if shown.look.blur != "none" else 0.0,
        "noise": shown.look.noise,
        "jpeg_quality": shown.look.quality,
        "scene": shown.scene,
    }


def _occluded(posed: Posed, lens: Lens, tracer: Tracer) -> float:
    """Share of the face's front, where it is turned to the camera, that can't be seen."""
    towards = (posed.skin_normals * -posed.skin).sum(axis=1) / np.linalg.norm(posed.skin, axis=1)
    front = posed.skin[towards > 0.25]
    if not len(front):
        return 0.0
    pixels = lens.project(front)
    within = ((pixels >= 0) & (pixels < [lens.width, lens.height])).all(axis=1)
    return float(1 - (within & tracer.visible(front, 0.05)).mean())
