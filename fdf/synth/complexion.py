"""What makes one skin different from another of the same tone: light and dark areas, unevenness, small relief of its own.

Recognizers tell rendered people apart by these more than by stronger shapes (docs/synth.md); all of it stays with a person.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from fdf.synth.geometry import Floats, bump, lattice_noise, smoothstep
from fdf.synth.head import NOSE_TIP, Surface, load_head
from fdf.synth.identity import Identity

# Where skin is darker (strength < 0) or lighter than its tone: centre and width on the folded face (x ≥ 0), strength for a
# person one unit from the mean, and that mean. As light on photos: up to about a fifth, under the eyes and in the sockets.
_AREAS: Final = {
    "under the eyes": ((0.30, 7.12, 1.40), (0.16, 0.05, 0.25), -0.10, 0.8),
    "inner sockets": ((0.20, 7.33, 1.40), (0.12, 0.07, 0.25), -0.09, 0.6),
    "upper lids": ((0.38, 7.38, 1.40), (0.14, 0.05, 0.25), -0.07, 0.4),
    "muzzle": ((0.0, 6.55, 1.50), (0.28, 0.16, 0.40), -0.05, 0.0),
    "forehead": ((0.0, 7.75, 1.40), (0.45, 0.17, 0.50), -0.06, 0.0),
    "hollows": ((0.50, 6.85, 1.10), (0.15, 0.16, 0.35), -0.07, 0.0),
    "cheekbones": ((0.40, 7.00, 1.30), (0.13, 0.10, 0.30), 0.06, 0.0),
    "bridge": ((0.0, 7.10, 1.55), (0.09, 0.30, 0.30), 0.06, 0.0),
    "wings": ((0.14, 6.97, 1.50), (0.09, 0.08, 0.20), -0.06, 0.0),
}  # fmt: skip
_LASH_LINE: Final = 0.25
_PATCHES: Final = ((0.40, 0.055), (0.22, 0.03))
"""Size in decimetres and strength of patches that lie anywhere."""
_BUMPS: Final = ((0.45, 0.016), (0.30, 0.011), (0.18, 0.002))
"""Size and height of what no slider of the mesh has, decimetres: a millimetre or so."""
_TINT: Final = np.array([0.8, 1.0, 1.05])
"""Darker skin is redder: exponents by colour."""


def folded(points: Floats) -> Floats:
    """Points with both halves of the face on one side."""
    return np.asarray(np.abs(points) * [1, 0, 0] + points * [0, 1, 1])


def shade(person: Identity, surface: Surface, lids: Floats) -> Floats:
    """Factors (n, 3) on the skin's colour."""
    rng = person.stream("complexion")
    rest = folded(
        load_head().vertices
    )  # all but the finest is smooth enough for the base mesh, and ten times cheaper there
    soft = np.zeros(len(rest))
    for name, (centre, width, strength, mean) in _AREAS.items():
        soft += strength * (mean + person.trait(name)) * bump(rest, centre, width)
    for scale, strength in _PATCHES:
        soft += strength * _symmetric(scale, rng)
    soft += 0.02 * max(0.0, 1 + person.trait("mottled")) * _unit(lattice_noise(load_head().vertices, 0.12, rng))
    total = surface.matrix @ soft - _LASH_LINE * max(0.0, 0.6 + person.trait("lash line")) * lids
    return np.asarray((1 + np.clip(total, -0.55, 0.4))[:, None] ** _TINT)


def lumps(person: Identity, surface: Surface) -> Floats:
    """Small relief (n,) of the person's own over the face, decimetres; none at the tip of the nose: its place is truth."""
    rng = person.stream("lumps")
    rest = load_head().vertices
    own = sum(height * _symmetric(scale, rng) for scale, height in _BUMPS)
    own = own * smoothstep(0.4, 0.8, rest[:, 2]) * smoothstep(6.1, 6.4, rest[:, 1])
    own = own * (1 - 0.85 * bump(folded(rest), (0.31, 7.26, 1.35), (0.13, 0.07, 0.3)))  # lids must keep to the eyeballs
    own = own * (1 - 0.75 * bump(folded(rest), (0.0, 6.62, 1.45), (0.30, 0.13, 0.40)))  # lips are drawn by sliders
    return np.asarray(surface.matrix @ (own * (1 - bump(rest, NOSE_TIP, (0.08, 0.08, 0.15)))))


def _symmetric(scale: float, rng: np.random.Generator) -> Floats:
    """Unit noise at the vertices of the base mesh, most of it the same on both sides."""
    vertices = load_head().vertices
    return _unit(0.9 * lattice_noise(folded(vertices), scale, rng) + 0.42 * lattice_noise(vertices, scale, rng))


def _unit(values: Floats) -> Floats:
    return np.asarray(values / values.std())
