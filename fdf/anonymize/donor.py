"""`donor`: another person's face, warped on to the face's mesh with its pose and expression, relit and blended in.

The idea of Y. Li and S. Lyu, "De-identification Without Losing Faces" (IH&MMSec 2019), without any training. Donors are
photos in a folder that says who agreed to what (`fdf.anonymize.donors`); those that fdf brings are rendered people who do not
exist. Of the source three things reach the output and nothing else: the pose of its mesh, five coordinates of its expression,
and six numbers of light and tone (`fdf.anonymize.relight`). What a donor's face doesn't cover continues the pixels outside of
the region, or is grey where there are hardly any.

It puts a face into the picture again, and is no safety: docs/anonymize.md says what is known. What it can't do it leaves to the
fallback: profiles, faces cut by the border, meshes that don't fit the detector's points, faces with much before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from fdf.anonymize import donor_mesh, relight
from fdf.anonymize.base import Face, Job, Replacement
from fdf.anonymize.donor_mesh import Array
from fdf.anonymize.donors import DonorFolder, Mesher, Portrait
from fdf.anonymize.methods import GREY
from fdf.anonymize.relight import Lighting
from fdf.errors import DataError
from fdf.vision.base import Detections, Floats, Pixels
from fdf.vision.facemesh import FaceMesh, five_points
from fdf.vision.pose import pose_from_five, pose_from_mesh

MIN_FACE: Final = 40.0
"""Pixels of the longer side of a box; the mesh of what is smaller is guesswork."""
MAX_YAW: Final = 42.0
"""Degrees by the mesh. It says 40 at full profile, so the detector's points must agree: see `MAX_YAW_FIVE`."""
MAX_YAW_FIVE: Final = 55.0
MAX_PITCH: Final = 32.0
LEAST_PRESENCE: Final = 0.9
MOST_APART: Final = 0.22
"""Mean distance between the detector's five points and the mesh's, over the distance of the eyes' outer corners."""
MOST_RESIDUAL: Final = 0.30
"""Of the light's fit, natural logarithm: hands, beards, dark glasses and hard shadows lie above."""

_TRIES: Final = 3
_MOST_MIX: Final = 2.0
_AROUND: Final = 0.12  # of the box's longer side: how far outside of a region is looked for its surroundings
_LEAST_AROUND: Final = 0.04  # share of the looked-at square that must be known
_SHADES: Final = 160  # pixels across a face at which its light is sampled: single pixels are noise


@dataclass(frozen=True, eq=False)
class _Target:
    """What the drawing knows of a face: nothing else of it can be in the output."""

    mesh: Array
    light: Lighting
    yaw: float
    pitch: float


class Donor:
    """Faces of donors.

    Args:
        strength: from 1 to 2, how far shapes are pushed away from the source's; there is no weaker setting than 1.
        donors: folder with `donors.toml`; None for the rendered people that fdf brings.
        mesher: makes the meshes; None for `FaceMesh()`.

    Raises:
        UsageError: no such folder.
        DataError: its `donors.toml` is invalid, or leaves out somebody's consent.
    """

    name = "donor"
    generative = True

    def __init__(
        self, strength: float = 1.0, donors: str | Path | None = None, *, mesher: Mesher | None = None
    ) -> None:
        self.strength = strength
        self.mix = float(np.clip(strength, 1.0, _MOST_MIX))
        self._mesher: Mesher = FaceMesh() if mesher is None else mesher
        self.donors = DonorFolder(donors, self._mesher)

    @property
    def fingerprint(self) -> str:
        """Of what its faces depend on besides their seeds."""
        return self.donors.fingerprint

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        """Windows with donors' faces. Jobs that come together hide one another's faces."""
        return [self._one(picture, job, jobs) for job in jobs]

    def _one(self, picture: Pixels, job: Job, jobs: Sequence[Job]) -> Replacement:
        target = self._target(picture, job.face)
        if isinstance(target, str):
            return Replacement(None, target)
        base = _base(picture, job, jobs)
        portrait = self._portrait(job.seed, target)
        if isinstance(portrait, str):
            return Replacement(None, portrait)
        x0, y0 = job.region.window[:2]
        own = target.mesh - np.array([x0, y0, 0.0])
        pixels = draw(base, own, target.light, portrait, self.mix, np.random.default_rng(job.seed))
        return Replacement(pixels) if pixels is not None else Replacement(None, "the donor's light can't be told")

    def _target(self, picture: Pixels, face: Face) -> _Target | str:
        """All that is taken from a face, or why it can't be done."""
        if face.size < MIN_FACE:
            return f"smaller than {MIN_FACE:g} pixels"
        found = self._mesher.meshes([picture], [_seen(face, picture)])[0]
        mesh = np.asarray(found.points[0], dtype=np.float64)
        if found.presence[0] < LEAST_PRESENCE or not np.isfinite(mesh).all():
            return "the mesh finds no clear face"
        height, width = picture.shape[:2]
        if ((mesh[:, :2] < 0) | (mesh[:, :2] > [width, height])).any():
            return "cut by the picture's border"
        span = max(float(np.linalg.norm(mesh[donor_mesh.EYES[0]] - mesh[donor_mesh.EYES[1]])), 1e-6)
        pose = pose_from_mesh(mesh)
        if face.landmarks5 is not None:
            apart = np.linalg.norm(five_points(found.points)[0] - face.landmarks5, axis=1).mean() / span
            if apart > MOST_APART:
                return "mesh and detector disagree"
            if abs(pose_from_five(face.landmarks5).yaw) > MAX_YAW_FIVE:
                return "turned too far to the side"
        if abs(pose.yaw) > MAX_YAW:
            return "turned too far to the side"
        if abs(pose.pitch) > MAX_PITCH:
            return "turned too far up or down"
        light = _lighting(picture, mesh, span)
        if light is None:
            return "too little of the skin is in sight"
        if light.residual > MOST_RESIDUAL:
            return "something lies over the face, or hard shadows"
        return _Target(mesh, light, pose.yaw, pose.pitch)

    def _portrait(self, seed: int, target: _Target) -> Portrait | str:
        """The first donor of a seed's order who fits the pose and can be read."""
        fits = self.donors.choose(seed, target.yaw, target.pitch, donor_mesh.openness(target.mesh))
        problem = "no donor looks that way"
        for photo, mirror in islice(fits, _TRIES):
            try:
                return self.donors.read(photo, mirror)
            except DataError as error:
                problem = str(error)
        return problem


def draw(
    base: Pixels, mesh: Array, light: Lighting, portrait: Portrait, mix: float, rng: np.random.Generator
) -> Pixels | None:
    """A donor's face over a window, uint8 like `base`; None if the donor's own light can't be told.

    Args:
        base: the window without the source's face.
        mesh: (468, 3) of the source in the window.
        light: of the source.
        portrait: the donor.
        mix: see `donor_mesh.recast`.
        rng: draws the shape.
    """
    made = donor_mesh.recast(mesh, portrait.mesh, mix, rng)
    own = _fit(portrait.pixels, portrait.mesh)
    if own is None:
        return None
    factors = relight.gains(own, donor_mesh.normals(portrait.mesh), light, donor_mesh.normals(made))
    shrink = _span(portrait.mesh) / max(_span(made), 1e-6)
    photo, there = donor_mesh.shrunk(portrait.pixels, portrait.mesh, shrink)
    linear = relight.to_linear(photo).astype(np.float32)
    warped = donor_mesh.warp(linear, there, made, factors, base.shape[:2])
    alpha = warped.alpha[..., None]
    face = relight.to_srgb(warped.colors)
    return np.asarray(np.rint(base * (1 - alpha) + face * alpha), dtype=np.uint8)


def _seen(face: Face, picture: Pixels) -> Detections:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = np.clip(face.box, 0, [width, height, width, height])
    box = np.array([[x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)]], dtype=np.float32)
    five = None if face.landmarks5 is None else np.asarray(face.landmarks5, dtype=np.float32)[None]
    return Detections(box, np.array([face.score], dtype=np.float32), five)


def _lighting(picture: Pixels, mesh: Array, span: float) -> Lighting | None:
    """The light on a face of the picture, from means of pixels."""
    low = np.maximum(np.floor(mesh[:, :2].min(axis=0)).astype(int), 0)
    high = np.ceil(mesh[:, :2].max(axis=0)).astype(int) + 1
    part, own = donor_mesh.shrunk(
        np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]]), mesh - [*low, 0], 2 * span / _SHADES
    )
    return _fit(part, own)


def _fit(pixels: Pixels, mesh: Array) -> Lighting | None:
    return relight.fit_lighting(pixels, mesh[:, :2], donor_mesh.normals(mesh), donor_mesh.load_shape().skin)


def _span(mesh: Array) -> float:
    return float(np.linalg.norm(mesh[donor_mesh.EYES[0]] - mesh[donor_mesh.EYES[1]]))


def _base(picture: Pixels, job: Job, jobs: Sequence[Job]) -> Pixels:
    """The window as its surroundings go on in it, uint8; the grey of `solid` where there are hardly any.

    Nothing under anybody's region is looked at, soft edges included.
    """
    x0, y0, x1, y1 = job.region.window
    height, width = picture.shape[:2]
    margin = max(2, round(_AROUND * job.face.size))
    left, top, right, bottom = (
        max(0, x0 - margin),
        max(0, y0 - margin),
        min(width, x1 + margin),
        min(height, y1 + margin),
    )
    known: Floats = np.ones((bottom - top, right - left), dtype=np.float32)
    for one in jobs:
        a, b, c, d = one.region.window
        c0, c1, r0, r1 = max(a, left), min(c, right), max(b, top), min(d, bottom)
        if c0 < c1 and r0 < r1:
            known[r0 - top : r1 - top, c0 - left : c1 - left][
                one.region.alpha[r0 - b : r1 - b, c0 - a : c1 - a] > 0
            ] = 0
    if known.mean() < _LEAST_AROUND:
        return np.full((y1 - y0, x1 - x0, 3), GREY, dtype=np.uint8)
    filled = relight.fill(picture[top:bottom, left:right].astype(np.float32), known)
    return np.asarray(np.rint(filled[y0 - top : y1 - top, x0 - left : x1 - left]), dtype=np.uint8)
