"""The hair of a head in its style: locks over a cap, with strands on top. All in the person's rest frame.

`face_pixels` says how large the face is in the picture: nothing is made that is much finer than a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from fdf.synth.geometry import Floats, lattice_noise, smoothstep, unit
from fdf.synth.grow import BUN, Roots, Skull, Style, coil, follow, grow, scatter
from fdf.synth.head import FACE_SPAN, Surface
from fdf.synth.identity import Identity
from fdf.synth.locks import cap
from fdf.synth.piece import Part
from fdf.synth.skin import Skin

STYLES: Final = {
    "buzz": Style(0.07, 3, 0, 1, 0, 0.02),
    "crop": Style(0.42, 7, 0.14, 0.4, 0.3, 0.07),
    "side": Style(0.55, 8, 0.12, 0.4, 0.35, 0.09),
    "back": Style(0.75, 9, 0.14, 0.5, 0.35, 0.1),
    "balding": Style(0.35, 6, 0.12, 0.3, 0.3, 0.04),
    "medium": Style(1.5, 13, 1.0, 0.3, 0.4, 0.11),
    "bob": Style(1.7, 14, 1.3, 0.3, 0.4, 0.12),
    "long": Style(3.3, 18, 1.5, 0.25, 0.4, 0.11),
    "waves": Style(3.0, 18, 1.3, 0.35, 0.45, 0.16, 0.09),
    "fringe": Style(2.2, 15, 1.3, 0.28, 0.4, 0.1),
    "bun": Style(1.35, 10, 0, 0.2, 0.4, 0.04),
    "curls": Style(1.1, 12, 0.55, 0.7, 0.5, 0.18, 0.07),
    "afro": Style(0.55, 7, 0.02, 1, 0.15, 0.0, 0.05),
}
_GUIDES: Final = 420
_STREAKS: Final = 4
"""Vertices across a lock."""


@dataclass(frozen=True, eq=False)
class Hairs:
    """Bands of hair in the person's rest frame.

    Attributes:
        paths: (n, k, 3), root first.
        radius: (n, k) half widths.
        colors: (n, columns, 3) linear reflectance of the streaks of each.
        facing: 1: flat to the camera; 0: flat on the head.
        follow: whether the whole hair follows the head (brows, beard) or hangs with gravity over the shoulders.
    """

    paths: Floats
    radius: Floats
    colors: Floats
    facing: float = 1.0
    follow: bool = True


def pixel(face_pixels: float) -> float:
    """Decimetres a pixel at the face."""
    return FACE_SPAN / max(face_pixels, 12.0)


def head_hair(
    person: Identity, skin: Skin, points: Floats, normals: Floats, surface: Surface, face_pixels: float, hat: str
) -> tuple[list[Hairs], Part | None]:
    """Hair of the head and the cap under it; none under a headscarf, only what hangs out from under a hat."""
    if person.hair_style == "bun" and hat != "none":
        person = replace(person, hair_style="back")  # let down under a hat
    style = STYLES.get(person.hair_style)
    if style is None or hat == "headscarf":
        return [], None
    rng = person.stream("hair")
    rest = surface.rest
    scalp = skin.scalp * (rest[:, 1] < 7.62) if hat != "none" else skin.scalp
    density = scalp**1.1 * (1 + 1.2 * ((rest[:, 2] > 0.5) & (rest[:, 1] > 7.5)))
    under = _cap(person, style, skin, scalp, points, normals, surface)
    near = float(np.clip(face_pixels / 90, 0.3, 1.6))

    def rooted(count: float) -> Roots | None:
        return scatter(points, normals, surface, density, skin.colors, int(count), rng)

    if person.hair_style in ("buzz", "afro"):
        roots = rooted((900 if person.hair_style == "buzz" else 2200) * near)
        if roots is None:
            return [], under
        paths = (
            _stubs(roots, style.length, rng) if person.hair_style == "buzz" else _standing(roots, style, person, rng)
        )
        return [_strands(paths, roots, person, face_pixels, rng)], under
    guides = rooted(_GUIDES)
    if guides is None:
        return [], under
    skull = Skull.of(points, normals, rest)
    grown = grow(guides, style, person, skull, rng)
    found = []
    for locks, count in ((True, (620 if style.length > 1 else 900) * min(near, 1)), (False, 1300 * near)):
        roots = rooted(count)
        if roots is not None:
            kept, paths = follow(roots, grown, style, person, skull, rng, 0.015 if locks else 0.045)
            found.append((_locks if locks else _strands)(paths, kept, person, face_pixels, rng))
    if person.hair_style == "bun":
        found.append(_bun(person, face_pixels, rng))
    return found, under


def _cap(
    person: Identity, style: Style, skin: Skin, scalp: Floats, points: Floats, normals: Floats, surface: Surface
) -> Part | None:
    rest = surface.rest
    if person.hair_style == "balding":
        return None
    rng = person.stream("cap")
    if person.hair_style == "afro":
        length = style.length * _afro_size(person) * np.interp(rest[:, 1], [6.4, 7.4], [0.5, 1])
        lifted = points + (0.8 * length)[:, None] * _radial(points, normals)
    else:
        lifted = points + (0.55 * style.loose) * normals
    grain = 0.7 * lattice_noise(rest * [1, 0.5, 1], 0.12, rng) + 0.5 * surface.grain(rng)
    return cap(surface, points, lifted, scalp, skin.colors, 0.72 * person.hair_rgb, grain)


def _tints(roots: Roots, person: Identity, spread: float, rng: np.random.Generator) -> Floats:
    """Colour (n, 3) of each hair: neighbours are alike; at the hairline hairs are thin and skin shines through."""
    n = len(roots.points)
    tone = 0.22 * lattice_noise(roots.rest, 0.35, person.stream("hair tone"))
    temples = 0.35 + 0.65 * smoothstep(0.35, 0.65, np.abs(roots.rest[:, 0]))
    if person.greyed:
        patches = 0.12 * lattice_noise(roots.rest, 0.5, person.stream("grey hair")) + 0.15 * (temples - 0.6)
        white = np.clip(person.greyed + patches * (1 - person.greyed), 0, 1)
    else:
        white = 0.35 * np.clip((person.age - 40) / 40, 0, 1) * temples * rng.uniform(0.0, 0.6, n)
    colors = person.hair_mixed(white)
    colors *= np.exp(tone + rng.normal(0, spread, n))[:, None]
    edge = (0.6 * smoothstep(0.75, 0.2, roots.mask))[:, None]
    return np.asarray(colors + edge * (0.6 * roots.under - colors) * (colors < roots.under))


def _locks(paths: Floats, roots: Roots, person: Identity, face_pixels: float, rng: np.random.Generator) -> Hairs:
    n, k = paths.shape[:2]
    fine = person.curl >= 0.5 or person.hair_style in ("crop", "side", "back", "balding")
    width = max(0.036 if fine else 0.062, 0.8 * pixel(face_pixels))
    taper = np.interp(np.linspace(0, 1, k), [0, 0.15, 0.7, 1], [0.55, 1, 0.85, 0.2])
    thin = smoothstep(0.05, 0.6, roots.mask) * 0.6 + 0.4
    radius = width * taper[None] * (rng.uniform(0.7, 1.2, n) * thin)[:, None]
    pepper = 0.16 + 0.8 * person.greyed * (1 - person.greyed)
    streaks = np.minimum(np.exp(rng.normal(0, pepper, (n, _STREAKS, 1))), 2)
    return Hairs(paths, radius, _tints(roots, person, 0.07, rng)[:, None] * streaks, facing=0.25, follow=False)


def _strands(paths: Floats, roots: Roots, person: Identity, face_pixels: float, rng: np.random.Generator) -> Hairs:
    n, k = paths.shape[:2]
    width = max(0.006, 0.42 * pixel(face_pixels))
    radius = width * np.linspace(1, 0.35, k)[None] * rng.uniform(0.7, 1.1, (n, 1))
    tints = _tints(roots, person, 0.12, rng)
    return Hairs(paths, radius, np.repeat(tints[:, None], 2, axis=1), facing=1.0, follow=False)


def _stubs(roots: Roots, length: float, rng: np.random.Generator) -> Floats:
    n = len(roots.points)
    lengths = length * rng.uniform(0.5, 1.2, n) * np.interp(roots.rest[:, 1], [6.6, 7.8], [0.45, 1])
    direction = unit(0.5 * roots.normals + np.array([0, -0.35, 0.35]) + rng.normal(0, 0.15, (n, 3)))
    t = np.linspace(0, 1, 3)[None, :, None]
    return np.asarray(roots.points[:, None] + t * lengths[:, None, None] * direction[:, None])


def _afro_size(person: Identity) -> float:
    return float(person.stream("hair length").uniform(0.35, 1.35))


def _radial(points: Floats, normals: Floats) -> Floats:
    return unit(0.5 * normals + unit((points - [0, 7.35, 0.1]) * [1, 0.9, 1]))


def _standing(roots: Roots, style: Style, person: Identity, rng: np.random.Generator) -> Floats:
    """The outer part of hair that stands off the head in coils; the cap is the inner one."""
    n, k = len(roots.points), style.steps
    edge = 0.35 + 0.65 * smoothstep(0.1, 0.8, roots.mask)
    lengths = style.length * _afro_size(person) * rng.uniform(0.85, 1.08, n) * edge
    lengths = lengths * np.interp(roots.rest[:, 1], [6.4, 7.4], [0.5, 1])
    direction = unit(_radial(roots.points, roots.normals) + rng.normal(0, 0.1, (n, 3)))
    t = np.linspace(0.45, 1, k + 1)[None, :, None]
    paths = roots.points[:, None] + t * lengths[:, None, None] * direction[:, None]
    return coil(paths, roots.normals, style.coil * person.curl, rng.uniform(0, 2 * np.pi, n), 1.3)


def _bun(person: Identity, face_pixels: float, rng: np.random.Generator) -> Hairs:
    n = 130
    first = unit(rng.normal(0, 1, (n, 3)) * [0.4, 1, 1])
    second = unit(np.cross(first, rng.normal(0, 1, (n, 3))))
    angle = np.linspace(0, 2.8, 9)[None, :, None]
    size = person.stream("bun").uniform(0.24, 0.42)
    paths = BUN + [0, 0.05, 0.05] + size * (first[:, None] * np.cos(angle) + second[:, None] * np.sin(angle))
    radius = np.full((n, 9), max(0.06, 0.9 * pixel(face_pixels)))
    streaks = np.exp(rng.normal(0, 0.16, (n, _STREAKS, 1)))
    return Hairs(np.asarray(paths), radius, person.hair_rgb * streaks, facing=0.25)
