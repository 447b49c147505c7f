"""How hair grows: roots on the skin, guide strands combed and pulled down over the head, and the hairs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fdf.synth.geometry import Floats, unit
from fdf.synth.head import Surface
from fdf.synth.identity import Identity


@dataclass(frozen=True)
class Style:
    """How a hair style grows: lengths in decimetres, others without unit.

    Attributes:
        gravity: pull downwards a step; lift: how far roots stand off the skin.
        clump: 0 every hair for itself to 1 all follow their guide.
        loose: how far the mass of hair stands off the head.
        coil: radius of curls at full curl.
    """

    length: float
    steps: int
    gravity: float
    lift: float
    clump: float
    loose: float
    coil: float = 0.045


BUN: Final = np.array([0.0, 7.9, -1.25])
_PARTED: Final = ("side", "medium", "bob", "long", "waves", "fringe")


@dataclass(frozen=True, eq=False)
class Roots:
    """Points on the skin: where they lie on the morphed surface, their normals, their place in the rest frame.

    Attributes:
        mask: (n,) how thick hair grows there, 0–1.
        under: (n, 3) colour of the skin.
    """

    points: Floats
    normals: Floats
    rest: Floats
    mask: Floats
    under: Floats

    def __getitem__(self, rows: Any) -> Roots:
        return Roots(self.points[rows], self.normals[rows], self.rest[rows], self.mask[rows], self.under[rows])


@dataclass(frozen=True, eq=False)
class Skull:
    """The morphed skin as an obstacle: nearest vertices and their normals."""

    tree: Any
    points: Floats
    normals: Floats

    @classmethod
    def of(cls, points: Floats, normals: Floats, rest: Floats) -> Skull:
        """From the skin's vertices; those of mouth and nose don't matter."""
        from scipy.spatial import cKDTree

        rows = np.flatnonzero(
            (rest[:, 1] > 5.0) & ~((np.abs(rest[:, 0]) < 0.5) & (rest[:, 2] < 1.2) & (rest[:, 2] > 0.4))
        )
        step = max(1, len(rows) // 12_000)
        rows = rows[::step]
        return cls(cKDTree(points[rows]), points[rows], normals[rows])

    def lift(self, points: Floats, height: Floats | float) -> tuple[Floats, Floats, Floats]:
        """Points pushed out to at least `height` over the skin; also how far each was pushed, and the normal there."""
        _, nearest = self.tree.query(points)
        normal = self.normals[nearest]
        above = ((points - self.points[nearest]) * normal).sum(axis=1)
        push = np.maximum(0, height - above)
        return points + push[:, None] * normal, push, normal


def scatter(
    points: Floats, normals: Floats, surface: Surface, mask: Floats, under: Floats, count: int, rng: np.random.Generator
) -> Roots | None:
    """Random roots where `mask` (n,) says, by area; None where it is empty."""
    quads = surface.quads[(mask[surface.quads] > 0).any(axis=1)]
    across = np.cross(points[quads[:, 2]] - points[quads[:, 0]], points[quads[:, 3]] - points[quads[:, 1]])
    weight = np.linalg.norm(across, axis=1) * mask[quads].mean(axis=1)
    total = weight.sum()
    if total <= 1e-6 or count < 1:
        return None
    chosen = quads[rng.choice(len(quads), count, p=weight / total)]
    u, v = rng.random((2, count, 1))
    shares = ((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v)

    def at(values: Floats) -> Floats:
        return np.asarray(sum(share * values[chosen[:, k]] for k, share in enumerate(shares)))

    return Roots(at(points), unit(at(normals)), at(surface.rest), at(mask[:, None])[:, 0], at(under))


def _parting(person: Identity) -> float:
    """Where the parting runs, decimetres to the person's left."""
    own = person.stream("parting")
    middle = own.random() < 0.25
    return 0.0 if middle else float(own.uniform(0.15, 0.45) * own.choice([-1, 1]))


def _combed(roots: Roots, person: Identity, rng: np.random.Generator) -> Floats:
    """Direction (n, 3) in which the style is combed at each root."""
    rest, n = roots.rest, len(roots.rest)
    part = _parting(person)
    side = np.where(rest[:, :1] >= part, 1.0, -1.0)
    back, zero = (rest[:, 2:] < 0.5) * 1.0, np.zeros((n, 1))
    name = person.hair_style
    if name == "crop":
        forward = np.array([0.35 * np.sign(part + 1e-9), -0.2, 1.0])
        direction = np.repeat(forward[None], n, axis=0)
        direction[rest[:, 1] < 7.6] = (0, -1, 0.1)
    elif name == "back":
        direction = np.repeat(np.array([[0.0, 0.1, -1.0]]), n, axis=0)
    elif name == "side":
        direction = np.concatenate([side, zero - 0.15, zero - 0.25], axis=1)
    elif name == "bun":
        direction = BUN - rest
    elif name in ("curls", "balding"):
        direction = unit((rest - [0, 8.0, 0.1]) * [1, 0.6, 1])
    else:
        direction = np.concatenate([side, zero - 0.25, 0.06 - 0.3 * back], axis=1)
    if name == "fringe":
        direction[is_fringe(rest)] = (0.08, -0.5, 1.0)
    return unit(unit(direction) + rng.normal(0, 0.05, (n, 3)))


def is_fringe(rest: Floats) -> Any:
    """Roots of the hair over the forehead."""
    return (rest[:, 2] > 0.75) & (np.abs(rest[:, 0]) < 0.5)


def _lengths(roots: Roots, style: Style, person: Identity, rng: np.random.Generator) -> Floats:
    own = person.stream("hair length").uniform(0.7, 1.2)
    lengths = style.length * own * rng.uniform(0.88, 1.03, len(roots.points))
    if person.hair_style in ("crop", "side", "back"):
        fade = person.stream("fade").uniform(0.1, 0.4)
        lengths = lengths * np.interp(roots.rest[:, 1], [6.6, 7.4, 7.9, 8.3], [fade, fade + 0.12, 0.75, 1.0])
    if person.hair_style == "fringe":
        bangs = is_fringe(roots.rest)
        lengths = np.where(bangs, rng.uniform(0.5, 0.56, len(lengths)), lengths)
    return np.asarray(lengths)


def grow(roots: Roots, style: Style, person: Identity, skull: Skull, rng: np.random.Generator) -> tuple[Roots, Floats]:
    """Guide strands (n, k + 1, 3): combed, pulled down, kept off the skin; those that cross the face are left out."""
    n, k = len(roots.points), style.steps
    comb = _combed(roots, person, rng)
    tangent = unit(comb - (comb * roots.normals).sum(axis=1, keepdims=True) * roots.normals)
    direction = unit(style.lift * roots.normals + tangent + rng.normal(0, 0.04, (n, 3)))
    step = (_lengths(roots, style, person, rng) / k)[:, None]
    stand = 0.02 + style.loose * rng.uniform(0.5, 1, n)
    points = roots.points.copy()
    path = [points]
    down = np.array([0.0, -1.0, 0.0])
    for i in range(k):
        pull = style.gravity * min(1.0, 0.35 + i / k)
        keep = 0.18 * tangent if i < 0.3 * k else 0.0
        direction = unit(direction + pull * down + keep + rng.normal(0, 0.012, (n, 3)))
        if person.hair_style == "bun":
            direction = unit(unit(BUN + rng.normal(0, 0.05, (n, 3)) - points) + 0.15 * direction)
        points = points + direction * step
        points, push, normal = skull.lift(points, stand * min(1.0, i / 3 + 0.3))
        direction = unit(direction + normal * (np.minimum(push, 0.1)[:, None] * 2.5))
        path.append(points)
    paths = np.stack(path, axis=1)
    clear = ~crosses_face(paths, person.hair_style)
    if clear.sum() < 12:
        clear[:] = True
    return roots[clear], paths[clear]


def crosses_face(paths: Floats, style: str) -> Any:
    """Strands that hang before the face, or come through the neck."""
    x, y, z = np.abs(paths[..., 0]), paths[..., 1], paths[..., 2]
    if style == "fringe":
        before = ((z > 0.95) & (x < 0.5) & (y < 7.42)) | ((z > 0.85) & (x < 0.72) & (y < 7.35))
    else:
        before = ((z > 0.95) & (x < 0.5) & (y < 7.76)) | ((z > 0.85) & (x < 0.72) & (y < 7.4))
    throat = (y < 6.35) & (z > 0.25) & (x < 0.55)
    return (before | throat).any(axis=1)


def follow(
    roots: Roots,
    guides: tuple[Roots, Floats],
    style: Style,
    person: Identity,
    skull: Skull,
    rng: np.random.Generator,
    stray: float,
) -> tuple[Roots, Floats]:
    """Hairs between the guides: each takes the mean way of its three nearest, then clumps, strays and curls.

    Args:
        stray: how far tips leave their way, decimetres.
    """
    from scipy.spatial import cKDTree

    start, paths = guides
    n = len(roots.points)
    apart = np.zeros(3)
    if person.hair_style in _PARTED:
        apart[0] = 4.0  # far away in the search: no hair takes a mean way of both sides of the parting
    part = _parting(person)

    def sided(rest: Floats) -> Floats:
        return np.asarray(rest + np.where(rest[:, :1] >= part, 1.0, -1.0) * apart)

    distance, near = cKDTree(sided(start.rest)).query(sided(roots.rest), k=3)
    weight = 1 / (distance + 0.05) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    if person.curl > 0.3:
        paths = _finer(paths)
    k = paths.shape[1]
    ways = paths - paths[:, :1]
    way = np.einsum("nj,njkc->nkc", weight, ways[near]) * rng.uniform(0.9, 1.04, (n, 1, 1))
    hairs = roots.points[:, None] + way
    t = np.linspace(0, 1, k)[None, :, None]
    clump = style.clump * rng.uniform(0.3, 0.8, (n, 1, 1)) * t**1.2
    hairs = hairs + np.clip(clump, 0, 1) * (paths[near[:, 0]] - hairs)
    hairs += rng.normal(0, stray, (n, 1, 3)) * t
    if person.curl > 0:
        phase = np.random.default_rng(person.number).uniform(0, 2 * np.pi, len(paths))[near[:, 0]]
        phase = phase + rng.normal(0, 0.35 if person.curl < 0.5 else 0.9, n)
        pitch = {True: 0.95, False: 0.8}[person.curl > 0.3]
        hairs = coil(hairs, roots.normals, style.coil * person.curl, phase, pitch)
    lifted, _, _ = skull.lift(hairs[:, 1:].reshape(-1, 3), 0.008)
    hairs[:, 1:] = lifted.reshape(n, k - 1, 3)
    hairs[:, 0] -= 0.012 * roots.normals
    clear = ~crosses_face(hairs, person.hair_style)
    if not clear.any():
        clear[:] = True
    return roots[clear], np.asarray(hairs[clear])


def _finer(paths: Floats) -> Floats:
    """Twice as many points: curls need them."""
    middle = (paths[:, :-1] + paths[:, 1:]) / 2
    n, k = paths.shape[:2]
    found = np.empty((n, 2 * k - 1, 3))
    found[:, ::2], found[:, 1::2] = paths, middle
    return found


def coil(paths: Floats, axis: Floats, size: float, phase: Floats, pitch: float) -> Floats:
    """Curls round paths (n, k, 3); neighbours with one `phase` (n,) curl together."""
    k = paths.shape[1]
    first = unit(np.cross(axis, [0.3, 0.5, 0.8]))
    second = np.cross(axis, first)
    angle = phase[:, None, None] + pitch * np.arange(k)[None, :, None]
    widening = size * np.minimum(1, np.arange(k) / 4)[None, :, None]
    return np.asarray(paths + widening * (first[:, None] * np.cos(angle) + second[:, None] * np.sin(angle)))
