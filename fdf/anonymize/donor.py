"""`donor`: another person's face, warped on to the face's mesh with its pose and expression, relit and blended in.

The idea of Y. Li and S. Lyu, "De-identification Without Losing Faces" (IH&MMSec 2019), without any training. Donors are
photos in a folder that says who agreed to what (`fdf.anonymize.donors`); those that fdf brings are rendered people who do not
exist. Of the source three things reach the output and nothing else: the pose of its mesh, five coordinates of its expression,
and six numbers of light and tone (`fdf.anonymize.relight`). Under it lies what `fdf.anonymize.ground` makes of the picture.

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
from fdf.anonymize.donor_mesh import Array, span
from fdf.anonymize.donors import DonorFolder, Mesher, Portrait
from fdf.anonymize.ground import cleared
from fdf.anonymize.relight import Lighting
from fdf.errors import DataError
from fdf.vision.base import Detections, Pixels
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
LEAST_COVER: Final = 0.7
"""Share of the detector's box that the mesh's box must cover: what a mesh leaves out, stays bare."""
MOST_RESIDUAL: Final = 0.30
"""Of the light's fit, natural logarithm: hands, beards, dark glasses and hard shadows lie above."""

_TRIES: Final = 3
_MOST_MIX: Final = 2.0
_BALD: Final = 1.0  # share of what donors have beyond the mesh that is drawn where hair is gone, too
_HAIRY: Final = 0.3  # and where hair stays
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
        """Windows with donors' faces. Jobs that come together hide one another's faces; larger ones lie over smaller ones."""
        plans = [self._plan(picture, job) for job in jobs]
        ground = cleared(picture, jobs, [None if isinstance(plan, str) else plan[0].mesh for plan in plans])
        reasons = {index: plan for index, plan in enumerate(plans) if isinstance(plan, str)}
        for index in sorted(range(len(jobs)), key=lambda k: jobs[k].face.size):
            plan, job = plans[index], jobs[index]
            if not isinstance(plan, str) and not self._draw(ground[job.region.slices], job, *plan):
                reasons[index] = "the donor's light can't be told"
        windows = [np.array(ground[job.region.slices]) for job in jobs]
        return [Replacement(None if k in reasons else pixels, reasons.get(k, "")) for k, pixels in enumerate(windows)]

    def _plan(self, picture: Pixels, job: Job) -> tuple[_Target, Portrait] | str:
        target = self._target(picture, job.face)
        if isinstance(target, str):
            return target
        portrait = self._portrait(job.seed, target)
        return portrait if isinstance(portrait, str) else (target, portrait)

    def _draw(self, window: Pixels, job: Job, target: _Target, portrait: Portrait) -> bool:
        x0, y0 = job.region.window[:2]
        own = target.mesh - np.array([x0, y0, 0.0])
        reach = _BALD if job.region.kind == "head" else _HAIRY
        rng = np.random.default_rng(job.seed)
        pixels = draw(window, own, target.light, portrait, self.mix, rng, reach)
        if pixels is not None:
            window[...] = pixels
        return pixels is not None

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
        if _cover(mesh, face) < LEAST_COVER:
            return "mesh and detector disagree"
        across = max(span(mesh), 1e-6)
        pose = pose_from_mesh(mesh)
        if face.landmarks5 is not None:
            apart = np.linalg.norm(five_points(found.points)[0] - face.landmarks5, axis=1).mean() / across
            if apart > MOST_APART:
                return "mesh and detector disagree"
            if abs(pose_from_five(face.landmarks5).yaw) > MAX_YAW_FIVE:
                return "turned too far to the side"
        if abs(pose.yaw) > MAX_YAW:
            return "turned too far to the side"
        if abs(pose.pitch) > MAX_PITCH:
            return "turned too far up or down"
        light = _lighting(picture, mesh)
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
    base: Pixels, mesh: Array, light: Lighting, portrait: Portrait, mix: float, rng: np.random.Generator, reach: float
) -> Pixels | None:
    """A donor's face over a window, uint8 like `base`; None if the donor's own light can't be told.

    Args:
        base: the window without the source's face.
        mesh: (468, 3) of the source in the window.
        light: of the source.
        portrait: the donor.
        mix: see `donor_mesh.recast`.
        rng: draws the shape.
        reach: see `donor_mesh.extended`.
    """
    made = donor_mesh.recast(mesh, portrait.mesh, mix, rng)
    own = _fit(portrait.pixels, portrait.mesh)
    if own is None:
        return None
    factors = relight.gains(own, donor_mesh.normals(portrait.mesh), light, donor_mesh.normals(made))
    shrink = span(portrait.mesh) / max(span(made), 1e-6)
    photo, there = donor_mesh.shrunk(portrait.pixels, portrait.mesh, shrink)
    linear = relight.to_linear(photo).astype(np.float32)
    warped = donor_mesh.warp(linear, there, made, factors, base.shape[:2], reach)
    alpha = warped.alpha[..., None]
    face = relight.to_srgb(warped.colors)
    return np.asarray(np.rint(base * (1 - alpha) + face * alpha), dtype=np.uint8)


def _seen(face: Face, picture: Pixels) -> Detections:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = np.clip(face.box, 0, [width, height, width, height])
    box = np.array([[x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)]], dtype=np.float32)
    five = None if face.landmarks5 is None else np.asarray(face.landmarks5, dtype=np.float32)[None]
    return Detections(box, np.array([face.score], dtype=np.float32), five)


def _cover(mesh: Array, face: Face) -> float:
    low = np.maximum(mesh[:, :2].min(axis=0), face.box[:2])
    high = np.minimum(mesh[:, :2].max(axis=0), face.box[2:])
    return float(np.maximum(high - low, 0).prod() / (face.box[2:] - face.box[:2]).prod())


def _lighting(picture: Pixels, mesh: Array) -> Lighting | None:
    """The light on a face of the picture, from means of pixels."""
    low = np.maximum(np.floor(mesh[:, :2].min(axis=0)).astype(int), 0)
    high = np.ceil(mesh[:, :2].max(axis=0)).astype(int) + 1
    part, own = donor_mesh.shrunk(
        np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]]), mesh - [*low, 0], 2 * span(mesh) / _SHADES
    )
    return _fit(part, own)


def _fit(pixels: Pixels, mesh: Array) -> Lighting | None:
    return relight.fit_lighting(pixels, mesh[:, :2], donor_mesh.normals(mesh), donor_mesh.load_shape().skin)
