"""Hair: a few hundred guide strands are grown over the head, thousands follow them; brows, lashes of hair, beards.

All in the person's rest frame; `count` scales with the size of the face in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from fdf.synth.geometry import Floats, Ints, unit
from fdf.synth.head import Surface
from fdf.synth.identity import Identity
from fdf.synth.piece import Strands
from fdf.synth.skin import Skin, brow_mask


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


STYLES: Final = {
    "buzz": Style(0.07, 3, 0, 1, 0, 0),
    "crop": Style(0.42, 7, 0.14, 0.5, 0.5, 0.09),
    "side": Style(0.55, 8, 0.12, 0.5, 0.55, 0.12),
    "back": Style(0.75, 9, 0.14, 0.6, 0.55, 0.14),
    "balding": Style(0.35, 6, 0.12, 0.4, 0.4, 0.05),
    "medium": Style(1.5, 13, 1.0, 0.3, 0.6, 0.15),
    "bob": Style(1.7, 14, 1.3, 0.3, 0.6, 0.16),
    "long": Style(3.3, 18, 1.5, 0.25, 0.6, 0.15),
    "waves": Style(3.0, 18, 1.3, 0.35, 0.62, 0.22, 0.09),
    "fringe": Style(2.2, 15, 1.3, 0.28, 0.6, 0.14),
    "bun": Style(1.35, 10, 0, 0.2, 0.6, 0.05),
    "curls": Style(1.1, 12, 0.55, 0.7, 0.55, 0.2, 0.07),
    "afro": Style(0.55, 9, 0.02, 1, 0.15, 0.0, 0.075),
}
_BUN: Final = np.array([0.0, 7.9, -1.25])
_GUIDES: Final = 420


@dataclass(frozen=True, eq=False)
class Roots:
    """Points on the skin: where they lie on the morphed surface, their normals, their place in the rest frame."""

    points: Floats
    normals: Floats
    rest: Floats


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
    points: Floats, normals: Floats, surface: Surface, mask: Floats, count: int, rng: np.random.Generator
) -> Roots | None:
    """Random roots where `mask` (n,) says, by area; None where it is empty."""
    quads = surface.quads
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

    return Roots(at(points), unit(at(normals)), at(surface.rest))


def head_hair(
    person: Identity, skin: Skin, points: Floats, normals: Floats, surface: Surface, count: int, hat: str
) -> list[Strands]:
    """The hair of the head; none under a headscarf, only what hangs out from under a hat."""
    if person.hair_style == "bun" and hat != "none":
        person = replace(person, hair_style="back")  # let down under a hat
    style = STYLES.get(person.hair_style)
    if style is None or hat == "headscarf":
        return []
    rng = person.stream("hair")
    rest = surface.rest
    density = skin.scalp**1.1 * (1 + 1.8 * ((rest[:, 2] > 0.5) & (rest[:, 1] > 7.5)))
    if hat != "none":
        density = density * (rest[:, 1] < 7.62)
    count = int(count * {"buzz": 0.9, "balding": 0.5, "afro": 1.2}.get(person.hair_style, 1.0))
    roots = scatter(points, normals, surface, density, count, rng)
    if roots is None:
        return []
    skull = Skull.of(points, normals, rest)
    if person.hair_style == "buzz":
        paths = _stubs(roots, style.length, rng)
    elif person.hair_style == "afro":
        paths = _standing(roots, style, person, rng)
    else:
        guides = scatter(points, normals, surface, density, _GUIDES, rng)
        if guides is None:
            return []
        grown = _grow(guides, style, person, skull, rng)
        paths = _follow(roots, grown, style, person, skull, rng)
    found = [_colored(paths, person, count, rng)]
    if person.hair_style == "bun":
        found.append(_bun(person, count, rng))
    return found


def _colored(paths: Floats, person: Identity, count: int, rng: np.random.Generator) -> Strands:
    n, k = paths.shape[:2]
    width = (
        0.0056 * np.sqrt(9000 / max(count, 1)) * (1.25 if person.hair_style in ("bun", "back", "side", "crop") else 1.0)
    )
    radius = width * np.linspace(1, 0.4, k)[None] * rng.uniform(0.75, 1.25, (n, 1))
    tint = np.exp(rng.normal(0, 0.22, (n, 1))) * (1 + rng.normal(0, 0.04, (n, 3)))
    colors = person.hair_rgb * tint
    if person.age > 40 and person.hair_color not in ("white", "grey"):
        grey = rng.random(n) < 0.35 * np.clip((person.age - 40) / 40, 0, 1)
        colors[grey] = 0.45 * colors[grey] + 0.55 * np.array([0.22, 0.218, 0.21])
    return Strands(paths, radius, colors, follow=False)


def _stubs(roots: Roots, length: float, rng: np.random.Generator) -> Floats:
    n = len(roots.points)
    lengths = length * rng.uniform(0.5, 1.2, n) * np.interp(roots.rest[:, 1], [6.6, 7.8], [0.45, 1])
    direction = unit(roots.normals + np.array([0, -0.25, 0.25]) + rng.normal(0, 0.22, (n, 3)))
    t = np.linspace(0, 1, 3)[None, :, None]
    return np.asarray(roots.points[:, None] + t * lengths[:, None, None] * direction[:, None])


def _standing(roots: Roots, style: Style, person: Identity, rng: np.random.Generator) -> Floats:
    """Hair that stands off the head in coils."""
    n, k = len(roots.points), style.steps
    size = person.stream("hair length").uniform(0.35, 1.35)
    lengths = style.length * size * rng.uniform(0.75, 1.06, n) * np.interp(roots.rest[:, 1], [6.4, 7.4], [0.5, 1])
    radial = unit((roots.points - [0, 7.35, 0.1]) * [1, 0.9, 1])
    direction = unit(0.5 * roots.normals + radial + rng.normal(0, 0.12, (n, 3)))
    t = np.linspace(0, 1, k + 1)[None, :, None]
    paths = roots.points[:, None] + t * lengths[:, None, None] * direction[:, None]
    return _coil(paths, roots.normals, style.coil * person.curl, rng)


def _coil(paths: Floats, axis: Floats, size: float, rng: np.random.Generator, pitch: float = 1.9) -> Floats:
    n, k = paths.shape[:2]
    first = unit(np.cross(axis, [0.3, 0.5, 0.8]))
    second = np.cross(axis, first)
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1)) + pitch * np.arange(k)[None, :, None]
    grow = size * np.minimum(1, np.arange(k) / 3)[None, :, None]
    return np.asarray(paths + grow * (first[:, None] * np.cos(phase) + second[:, None] * np.sin(phase)))


def _combed(roots: Roots, person: Identity, rng: np.random.Generator) -> Floats:
    """Direction (n, 3) in which the style is combed at each root."""
    rest, n = roots.rest, len(roots.rest)
    own = person.stream("parting")
    middle = own.random() < 0.25
    part = 0.0 if middle else float(own.uniform(0.15, 0.45) * own.choice([-1, 1]))
    side = np.where(rest[:, :1] >= part, 1.0, -1.0)
    back, zero = (rest[:, 2:] < 0.5) * 1.0, np.zeros((n, 1))
    name = person.hair_style
    if name == "crop":
        forward = np.array([0.2 * np.sign(part + 1e-9), -0.2, 1.0])
        direction = np.repeat(forward[None], n, axis=0)
    elif name == "back":
        direction = np.repeat(np.array([[0.0, 0.1, -1.0]]), n, axis=0)
    elif name == "side":
        direction = np.concatenate([side, zero - 0.15, zero - 0.25], axis=1)
    elif name == "bun":
        direction = _BUN - rest
    elif name in ("curls", "balding"):
        direction = unit((rest - [0, 8.0, 0.1]) * [1, 0.6, 1])
    else:
        direction = np.concatenate([side, zero - 0.25, 0.06 - 0.3 * back], axis=1)
    if name == "fringe":
        direction[_is_fringe(rest)] = (0.08, -0.5, 1.0)
    return unit(unit(direction) + rng.normal(0, 0.12, (n, 3)))


def _is_fringe(rest: Floats) -> Any:
    return (rest[:, 2] > 0.75) & (np.abs(rest[:, 0]) < 0.5)


def _lengths(roots: Roots, style: Style, person: Identity, rng: np.random.Generator) -> Floats:
    own = person.stream("hair length").uniform(0.7, 1.2)
    lengths = style.length * own * rng.uniform(0.8, 1.05, len(roots.points))
    if person.hair_style in ("crop", "side", "back"):
        fade = person.stream("fade").uniform(0.1, 0.4)
        lengths = lengths * np.interp(roots.rest[:, 1], [6.6, 7.4, 7.9, 8.3], [fade, fade + 0.12, 0.75, 1.0])
    if person.hair_style == "fringe":
        bangs = _is_fringe(roots.rest)
        lengths = np.where(bangs, rng.uniform(0.52, 0.64, len(lengths)), lengths)
    return np.asarray(lengths)


def _grow(roots: Roots, style: Style, person: Identity, skull: Skull, rng: np.random.Generator) -> tuple[Roots, Floats]:
    """Guide strands (n, k + 1, 3): combed, pulled down, kept off the skin; those that cross the face are left out."""
    n, k = len(roots.points), style.steps
    comb = _combed(roots, person, rng)
    tangent = unit(comb - (comb * roots.normals).sum(axis=1, keepdims=True) * roots.normals)
    direction = unit(style.lift * roots.normals + tangent + rng.normal(0, 0.06, (n, 3)))
    step = (_lengths(roots, style, person, rng) / k)[:, None]
    stand = 0.02 + style.loose * rng.uniform(0.35, 1, n)
    points = roots.points.copy()
    path = [points]
    down = np.array([0.0, -1.0, 0.0])
    for i in range(k):
        pull = style.gravity * min(1.0, 0.35 + i / k)
        keep = 0.18 * tangent if i < 0.3 * k else 0.0
        direction = unit(direction + pull * down + keep + rng.normal(0, 0.03, (n, 3)))
        if person.hair_style == "bun":
            direction = unit(unit(_BUN + rng.normal(0, 0.05, (n, 3)) - points) + 0.15 * direction)
        points = points + direction * step
        points, push, normal = skull.lift(points, stand * min(1.0, i / 3 + 0.3))
        direction = unit(direction + normal * (np.minimum(push, 0.1)[:, None] * 2.5))
        path.append(points)
    paths = np.stack(path, axis=1)
    clear = ~_crosses_face(paths, person.hair_style)
    if clear.sum() < 12:
        clear[:] = True
    return Roots(roots.points[clear], roots.normals[clear], roots.rest[clear]), paths[clear]


def _crosses_face(paths: Floats, style: str) -> Any:
    """Strands that hang before the face, or come through the neck."""
    x, y, z = np.abs(paths[..., 0]), paths[..., 1], paths[..., 2]
    if style == "fringe":
        before = ((z > 0.95) & (x < 0.46) & (y < 7.42)) | ((z > 0.85) & (x < 0.8) & (y < 7.3))
    else:
        before = ((z > 0.95) & (x < 0.5) & (y < 7.72)) | ((z > 0.85) & (x < 0.8) & (y < 7.35))
    throat = (y < 6.35) & (z > 0.25) & (x < 0.55)
    return (before | throat).any(axis=1)


def _follow(
    roots: Roots, guides: tuple[Roots, Floats], style: Style, person: Identity, skull: Skull, rng: np.random.Generator
) -> Floats:
    """Hairs between the guides: each takes the mean way of its three nearest, then clumps, strays and curls."""
    from scipy.spatial import cKDTree

    start, paths = guides
    n, k = len(roots.points), paths.shape[1]
    distance, near = cKDTree(start.rest).query(roots.rest, k=3)
    weight = 1 / (distance + 0.02) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    ways = paths - paths[:, :1]
    way = np.einsum("nj,njkc->nkc", weight, ways[near]) * rng.uniform(0.82, 1.05, (n, 1, 1))
    hairs = roots.points[:, None] + way
    t = np.linspace(0, 1, k)[None, :, None]
    clump = style.clump * rng.uniform(0.5, 1.1, (n, 1, 1)) * t**0.8
    hairs = hairs + np.clip(clump, 0, 1) * (paths[near[:, 0]] - hairs)
    hairs += rng.normal(0, 0.035, (n, 1, 3)) * t + rng.normal(0, 0.006, (n, k, 3)) * t
    if person.curl > 0:
        hairs = _coil(hairs, roots.normals, style.coil * person.curl, rng, pitch=1.9 if person.curl > 0.4 else 0.9)
    flat = hairs[:, 1:].reshape(-1, 3)
    lifted, _, _ = skull.lift(flat, 0.008)
    hairs[:, 1:] = lifted.reshape(n, k - 1, 3)
    hairs[:, 0] -= 0.012 * roots.normals
    clear = ~_crosses_face(hairs, person.hair_style)
    return np.asarray(hairs[clear] if clear.any() else hairs)


def _bun(person: Identity, count: int, rng: np.random.Generator) -> Strands:
    n = max(80, count // 10)
    first = unit(rng.normal(0, 1, (n, 3)))
    second = unit(np.cross(first, rng.normal(0, 1, (n, 3))))
    angle = np.linspace(0, 2.6, 9)[None, :, None]
    size = person.stream("bun").uniform(0.24, 0.42)
    paths = _BUN + [0, 0.05, 0.05] + size * (first[:, None] * np.cos(angle) + second[:, None] * np.sin(angle))
    width = 0.011 * np.sqrt(900 / n)
    colors = person.hair_rgb * np.exp(rng.normal(0, 0.2, (n, 1)))
    return Strands(np.asarray(paths), np.full((n, 9), width), colors)


def brow_hair(person: Identity, points: Floats, normals: Floats, surface: Surface, count: int) -> Strands | None:
    """Hairs of both brows."""
    rng = person.stream("brows")
    mask = brow_mask(surface.rest, person.brows, 0.95) * (surface.rest[:, 2] > 0.8)
    roots = scatter(points, normals, surface, mask, int(count * person.brows.density), rng)
    if roots is None:
        return None
    n = len(roots.points)
    x, side = np.abs(roots.rest[:, :1]), np.sign(roots.rest[:, :1])
    out = side * np.interp(x, [0.1, 0.2, 0.5], [0.3, 1, 1])
    up = np.interp(x, [0.1, 0.25, 0.55], [0.7, 0.25, -0.3])
    direction = unit(np.concatenate([out, up, np.full((n, 1), -0.25)], axis=1) + rng.normal(0, 0.18, (n, 3)))
    direction = unit(
        direction - (direction * roots.normals).sum(axis=1, keepdims=True) * roots.normals + 0.18 * roots.normals
    )
    t = np.linspace(0, 1, 4)[None, :, None]
    length = rng.uniform(0.035, 0.065, (n, 1, 1))
    paths = roots.points[:, None] + t * length * direction[:, None] - 0.012 * t**2 * roots.normals[:, None]
    width = 0.0021 * np.sqrt(650 / max(count, 1))
    hair = np.minimum(person.hair_rgb * 0.75, 0.14)
    return Strands(
        paths, width * np.array([[1, 1, 0.8, 0.4]]) * np.ones((n, 1)), hair * np.exp(rng.normal(0, 0.2, (n, 1)))
    )


def beard_hair(
    person: Identity, skin: Skin, points: Floats, normals: Floats, surface: Surface, count: int
) -> Strands | None:
    """Hairs of the beard; stubble is short."""
    form = {
        "full": (1.0, 0.15), "short": (1.0, 0.05), "goatee": (0.4, 0.10), "moustache": (0.25, 0.09), "stubble": (0.7, 0.016),
    }.get(person.beard)  # fmt: skip
    if form is None:
        return None
    rng = person.stream("beard")
    share, length = form
    roots = scatter(points, normals, surface, skin.beard**1.5, int(count * share), rng)
    if roots is None:
        return None
    n = len(roots.points)
    direction = unit(0.55 * roots.normals + [0, -0.75, 0.1] + rng.normal(0, 0.25, (n, 3)))
    t = np.linspace(0, 1, 5)[None, :, None]
    lengths = length * rng.uniform(0.4, 1.1, n) * np.interp(roots.rest[:, 1], [6.15, 6.6, 6.9], [1, 0.6, 0.35])
    paths = roots.points[:, None] + lengths[:, None, None] * (t * direction[:, None] + t**2 * np.array([0, -0.35, 0]))
    paths = paths + rng.normal(0, 0.006, paths.shape) * t
    width = (0.0019 if person.beard == "stubble" else 0.0034) * np.sqrt(8000 / max(count, 1))
    hair = np.minimum(person.hair_rgb, 0.3) * 0.85 + 0.004
    return Strands(paths, np.full((n, 5), width), hair * np.exp(rng.normal(0, 0.25, (n, 1))))


def kept(strands: list[Strands | None]) -> list[Strands]:
    """Those that exist."""
    return [one for one in strands if one is not None and len(one.paths)]


def subset(indices: Ints, strands: Strands) -> Strands:
    """Some of the hairs."""
    return Strands(strands.paths[indices], strands.radius[indices], strands.colors[indices], strands.follow)
