"""A person in one moment: morphed, dressed, posed, placed before the camera; and where their face then is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fdf.synth import clothes, facial, hair, wear
from fdf.synth.expression import morph_weights
from fdf.synth.eyes import Ball, eye_parts, eyeballs, mouth_parts
from fdf.synth.freeform import free_form
from fdf.synth.geometry import Floats, Ints, axis_rotation, normals, rotation_vector, smoothstep, triangles, turn, unit
from fdf.synth.head import ACROMION, EAR, NECK, NOSE_RIDGE, Surface, load_head, surface
from fdf.synth.identity import Identity
from fdf.synth.locks import bands, mass_normal
from fdf.synth.piece import Part, Piece, one_color
from fdf.synth.shot import Shot
from fdf.synth.skin import Skin, paint

_FACE_CENTRE: Final = np.array([0.0, 7.1, 1.2])
_FINE_FROM: Final = 84.0
"""Faces of so many pixels and more get two subdivisions, smaller ones one."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a person stands: `centre` of the face (3,) in the scene, camera at the origin looking along −z, y up."""

    centre: Floats

    @property
    def frame(self) -> Floats:
        """Rotation (3, 3) that takes the optical axis to the line of sight: facing the camera is facing along it."""
        sight = -self.centre / np.linalg.norm(self.centre)
        pitch = np.degrees(np.arcsin(sight[1]))
        yaw = np.degrees(np.arctan2(sight[0], sight[2]))
        return axis_rotation(1, float(yaw)) @ axis_rotation(0, float(-pitch))


@dataclass(frozen=True, eq=False)
class Posed:
    """A person ready to be traced, with points for the truth in the frame of the scene.

    Attributes:
        pieces: all meshes.
        keypoints: (7, 3) in the order of `fdf.vocabulary.KEYPOINT_NAMES`.
        outline: (n, 3) points of the face from chin to hairline and ear to ear, that span its box.
        skin: (n, 3) points spread over the face, and `skin_normals`, to see how much of it is covered.
        rotation: (3, 3) of the head, base frame to scene.
        frame: (3, 3) of the line of sight.
    """

    pieces: list[Piece]
    keypoints: Floats
    outline: Floats
    skin: Floats
    skin_normals: Floats
    rotation: Floats
    frame: Floats


class _Poser:
    """Turns the head on the neck, the body under it, and puts both into the scene."""

    def __init__(self, shot: Shot, placement: Placement) -> None:
        frame = placement.frame
        body = axis_rotation(2, shot.lean) @ axis_rotation(1, shot.body * shot.yaw + shot.turn)
        head = shot.rotation
        self._neck = rotation_vector(body.T @ head)
        self._body = frame @ body
        self.rotation, self.frame = frame @ head, frame
        middle = turn((_FACE_CENTRE - NECK)[None], self._neck, np.ones(1))[0] + NECK
        self._shift = placement.centre - self._body @ middle

    def __call__(self, points: Floats, share: Floats) -> Floats:
        turned = turn(points - NECK, self._neck, share) + NECK
        return np.asarray(turned @ self._body.T + self._shift)


def _share(points: Floats) -> Floats:
    """How far points of the body follow the head."""
    return np.asarray(smoothstep(5.5, 6.5, points[..., 1] + 0.5 * (points[..., 2] - 0.1)))


def pose_person(person: Identity, shot: Shot, placement: Placement, face_pixels: float) -> Posed:
    """Build one person.

    Args:
        face_pixels: height of the face in the picture; decides how finely everything is made.
    """
    head = load_head()
    base = head.morph({**person.shape, **morph_weights(shot.units, shot.gaze)}, free_form(person))
    skin_surface = surface("skin", 2 if face_pixels >= _FINE_FROM else 1)
    skin = paint(person, skin_surface)
    points = np.asarray(skin_surface.matrix @ base)
    outward = normals(points, skin_surface.quads)
    under = smoothstep(0.02, -0.05, clothes.neckline(person, shot, skin_surface.rest))  # clothes never let skin through
    points = points + outward * (skin.relief - 0.07 * under)[:, None]
    points = clothes.lower_arms(points, skin_surface.rest)
    pose = _Poser(shot, placement)
    balls = eyeballs(base)

    parts = _worn(person, shot, skin_surface, points, outward, base, balls)
    hairs, under = _hair(person, shot, skin, points, outward, skin_surface, face_pixels)
    pieces = [_skin_piece(person, shot, skin, skin_surface, points, pose)]
    pieces += [_piece(part, pose) for part in [*parts, *under]]
    pieces += [_hair_piece(one, pose) for one in hairs]
    rows = _face_rows(skin_surface)
    return Posed(
        pieces=pieces,
        keypoints=_keypoints(base, balls, pose),
        outline=pose(base[_outline()], np.ones(len(_outline()))),
        skin=pose(points[rows], np.ones(len(rows))),
        skin_normals=normals(pose(points, _share(skin_surface.rest)), skin_surface.quads)[rows],
        rotation=pose.rotation,
        frame=pose.frame,
    )


def _worn(
    person: Identity,
    shot: Shot,
    skin: Surface,
    points: Floats,
    outward: Floats,
    base: Floats,
    balls: dict[str, Ball],
) -> list[Part]:
    torso = surface("torso", 1)
    body = np.asarray(torso.matrix @ base)
    parts = [*eye_parts(person, balls, shot.gaze), *mouth_parts(person, base), *_lashes(person, base)]
    parts += clothes.clothes(person, shot, torso, body, _share(torso.rest))
    if shot.scarf:
        parts.append(clothes.scarf(person, shot))
    if shot.hat != "none":
        parts += wear.hat(person, shot, skin, points, outward)
    head = load_head()
    if shot.glasses != "none":
        brow = np.abs(head.vertices[:, 0]) < 0.5
        brow &= (np.abs(head.vertices[:, 1] - 7.41) < 0.11) & (head.vertices[:, 2] > 1.1)
        ears = {side: base[_ear(side)] for side in ("left", "right")}
        parts += wear.glasses(person, shot, balls, float(base[brow, 2].max()), ears)
    if shot.mask:
        parts.append(wear.mask(person, shot, skin, points, outward))
    if shot.held != "none":
        mouth = base[head.nearest((0.0, 6.61, 1.59))]
        parts += wear.held(person, shot, mouth)
    return parts


def _hair(
    person: Identity, shot: Shot, skin: Skin, points: Floats, outward: Floats, part: Surface, face_pixels: float
) -> tuple[list[hair.Hairs], list[Part]]:
    found, under = hair.head_hair(person, skin, points, outward, part, face_pixels, shot.hat)
    brows = facial.brow_hair(person, skin, points, outward, part, face_pixels)
    beard = facial.beard_hair(person, skin, points, outward, part, face_pixels)
    return [*found, *(one for one in (brows, beard) if one is not None)], [under] if under is not None else []


def _lashes(person: Identity, base: Floats) -> list[Part]:
    """The mesh's lashes; of those who wear no make-up every second quad only."""
    found = []
    for side in ("left", "right"):
        part = surface(f"lash_{side}", 1)
        points = np.asarray(part.matrix @ base)
        quads = part.quads[:: 1 if person.makeup > 0.3 or person.feminine > 0.5 else 2]
        found.append(Part("matte", points, quads, one_color((0.02, 0.015, 0.012), len(points)), np.ones(len(points))))
    return found


def _skin_piece(person: Identity, shot: Shot, skin: Skin, part: Surface, points: Floats, pose: _Poser) -> Piece:
    placed = pose(points, _share(part.rest))
    clothed = (clothes.neckline(person, shot, part.rest) < -0.12) & (part.rest[:, 1] < 6.2)
    bare = part.quads[~clothed[part.quads].all(axis=1)]
    return Piece("skin", placed, triangles(bare), skin.colors, normals(placed, part.quads), skin.roughness)


def _piece(part: Part, pose: _Poser) -> Piece:
    placed = pose(part.points, part.share)
    smooth = normals(placed, np.asarray(part.quads)) if len(placed) > 8 else None
    return Piece(part.material, placed, triangles(part.quads), part.colors, smooth, part.roughness)


def _hair_piece(hairs: hair.Hairs, pose: _Poser) -> Piece:
    flat = hairs.paths.reshape(-1, 3)
    share = np.ones(len(flat)) if hairs.follow else np.asarray(smoothstep(5.0, 6.2, flat[:, 1]))
    placed = pose(flat, share)
    outward = unit(pose(flat + 0.05 * mass_normal(flat), share) - placed)
    shape = hairs.paths.shape
    return bands(placed.reshape(shape), outward.reshape(shape), hairs.radius, hairs.colors, facing=hairs.facing)


def _ear(side: str) -> int:
    return load_head().nearest((EAR[0] * (1 if side == "left" else -1), *EAR[1:]))


def _keypoints(base: Floats, balls: dict[str, Ball], pose: _Poser) -> Floats:
    """Nose tip, middles of the eyes' openings, ears, shoulders (7, 3); left is the subject's own."""
    head = load_head()
    front = {side: ball.centre + np.array([0, -0.014, ball.radius]) for side, ball in balls.items()}
    tip = base[[head.nearest(point) for point in NOSE_RIDGE]].mean(axis=0)
    rows = [tip, front["left"], front["right"], base[_ear("left")], base[_ear("right")]]
    placed = pose(np.array(rows), np.ones(5))
    tips = [head.nearest((sign * ACROMION[0], *ACROMION[1:]), "torso") for sign in (1, -1)]
    shoulders = pose(clothes.lower_arms(base[tips], head.vertices[tips]), _share(head.vertices[tips]))
    return np.concatenate([placed, shoulders])


def _outline() -> Ints:
    """Base vertices of the face: chin to hairline, between the ears."""
    head = load_head()
    v = head.vertices
    rows = np.zeros(len(v), dtype=bool)
    rows[np.unique(head.parts["skin"])] = True
    inside = rows & (v[:, 1] > 6.15) & (v[:, 1] < 8.02) & (v[:, 2] > 0.35) & (np.abs(v[:, 0]) < 0.72)
    return np.flatnonzero(inside)


def _face_rows(part: Surface) -> Ints:
    """A few hundred skin vertices spread over the face, inner parts of mouth and nose left out."""
    v = part.rest
    inside = (v[:, 1] > 6.25) & (v[:, 1] < 7.75) & (v[:, 2] > 0.8) & (np.abs(v[:, 0]) < 0.66)
    inside &= v[:, 2] > 1.42 - 1.1 * v[:, 0] ** 2 - 0.1
    rows = np.flatnonzero(inside)
    return rows[:: max(1, len(rows) // 240)]
