"""Hands with bent fingers, and the forearms behind them. In the person's rest frame."""

from __future__ import annotations

from typing import Final

import numpy as np

from fdf.synth.geometry import Floats, Ints, tube, unit
from fdf.synth.piece import Part, one_color
from fdf.synth.skin import tone

_LENGTHS: Final = (0.74, 0.84, 0.78, 0.6)
"""Fingers from the index to the little one, decimetres."""


def hand(monk: float, wrist: Floats, along: Floats, palm: Floats, thumb: int, bend: float, share: float) -> list[Part]:
    """A hand from its wrist.

    Args:
        along: direction of palm and straight fingers; palm: where its inside looks, towards which fingers bend.
        thumb: 1 or −1: side of the thumb, along × palm times this.
        bend: 0 flat to 1 a fist.
        share: how far it follows the head.
    """
    d = unit(np.asarray(along, dtype=float))
    n = unit(palm - (palm @ d) * d)
    s = thumb * np.cross(d, n)
    color = tone(monk) * np.array([1.0, 0.93, 0.92])
    t = np.linspace(0, 1, 6)[:, None]
    back = wrist + t * d * 0.92
    wide = np.interp(t[:, 0], [0, 0.35, 1], [0.23, 0.36, 0.38])
    points, quads = tube(back, 1.0, 12)
    offsets = points.reshape(6, 12, 3) - back[:, None]
    across, deep = (offsets @ s)[..., None], (offsets @ n)[..., None]
    flat = (
        back[:, None]
        + across * s * wide[:, None, None]
        + deep * n * np.array([0.16, 0.17, 0.16, 0.15, 0.13, 0.06])[:, None, None]
    )
    found = [_skin(flat.reshape(-1, 3), quads, color, share)]
    for k, length in enumerate(_LENGTHS):
        start = wrist + d * (0.86 - 0.03 * abs(k - 1)) + s * (0.28 - 0.185 * k)
        found.append(_finger(start, d, n, length, 0.092 - 0.005 * k, bend * (1 + 0.06 * k), color, share))
    found.append(
        _finger(
            wrist + 0.25 * d + 0.24 * s,
            unit(0.6 * d + 0.65 * s + 0.2 * n),
            n - 0.5 * s,
            0.75,
            0.11,
            0.4 * bend,
            color,
            share,
        )
    )
    return [_joined(found)]


def _joined(parts: list[Part]) -> Part:
    """Several skin parts as one mesh: meshes cost time by their number, too."""
    starts = np.cumsum([0, *(len(part.points) for part in parts[:-1])])
    quads = np.concatenate([part.quads + start for part, start in zip(parts, starts, strict=True)])
    points, colors = (np.concatenate([getattr(part, name) for part in parts]) for name in ("points", "colors"))
    count = len(points)
    return Part("skin", points, quads, colors, np.full(count, parts[0].share[0]), np.full(count, 0.5))


def _finger(
    start: Floats, along: Floats, palm: Floats, length: float, radius: float, bend: float, color: Floats, share: float
) -> Part:
    """Three bones as one bent tube with a round tip."""
    k = 9
    n = unit(palm - (palm @ along) * along)
    t = np.linspace(0, 1, k)
    angle = bend * 3.0 * np.clip(t * 1.25 - 0.1, 0, 1)
    steps = (np.cos(angle)[:, None] * along + np.sin(angle)[:, None] * n) * length / (k - 1)
    path = start + np.concatenate([np.zeros((1, 3)), np.cumsum(steps[:-1], axis=0)])
    joints = 1 + 0.07 * np.cos(t * 3 * 2 * np.pi)
    points, quads = tube(path, radius * joints * np.interp(t, [0, 0.7, 0.9, 1], [1, 0.85, 0.7, 0.2]), 10)
    part = _skin(points, quads, color, share)
    part.colors[-20:] *= [1.0, 0.88, 0.88]
    return part


def forearm(
    start: Floats, wrist: Floats, radius: tuple[float, float], color: Floats, share: float, upper: Floats | None = None
) -> Part:
    """From the elbow to the wrist: in a sleeve that begins on the upper arm (`upper`: the way up), or bare."""
    t = np.linspace(0, 1, 9)[:, None]
    path = start + (wrist - start) * t
    wide = np.linspace(*radius, 9) * (1 + 0.1 * np.sin(np.pi * np.clip(t[:, 0] * 1.5, 0, 1)))
    if upper is not None:  # the sleeve bends round the elbow
        path = np.concatenate([[start + 0.45 * upper, start + 0.15 * upper], start + (wrist - start) * t[1:]])
        wide = np.concatenate([[0.97 * radius[0], 1.05 * radius[0]], wide[1:]])
    points, quads = tube(path, wide, 14)
    if upper is None:
        return _skin(points, quads, color, share)
    return Part("cloth", points, quads, one_color(color, len(points)), np.full(len(points), share))


def _skin(points: Floats, quads: Ints, color: Floats, share: float) -> Part:
    count = len(points)
    return Part("skin", points, quads, one_color(color, count), np.full(count, share), np.full(count, 0.5))
