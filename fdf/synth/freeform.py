"""Shape that no slider of the mesh has: the whole head pushed and pulled smoothly, each person's in their own way.

Sliders span what the mesh's authors thought of, and spreading them 1.7 times as far hardly moves people apart for recognizers;
this does, at 5 mm (docs/synth.md). The model is that of Lüthi et al. 2018, "Gaussian Process Morphable Models": a smooth
random field over the mesh, mostly symmetric; drawn by random Fourier features (Rahimi and Recht 2007), which are the same for
everyone, with weights of the person's own.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from fdf.synth.complexion import folded
from fdf.synth.geometry import Floats, bump, smoothstep, stream
from fdf.synth.head import load_head
from fdf.synth.identity import Identity

_SCALE, _STRENGTH = 0.25, 0.05
"""Length over which neighbours move together, and root mean square of the displacement over the face; decimetres."""
_WAVES: Final = 64
_ASYMMETRY: Final = 0.2


def free_form(person: Identity) -> Floats:
    """Displacement (n, 3) of the base vertices, decimetres: of the same strength for everyone, times the person's spread.

    Its mean over the face is zero; body and clothes stay as they are.
    """
    here, mirrored, moves = _waves()
    even, own = person.stream("free form").standard_normal((2, _WAVES, 3))
    field = _summed(here + mirrored, even) / np.sqrt(2)
    field[:, :1] = _summed(here - mirrored, even[:, :1]) / np.sqrt(2)  # symmetric: both sides out, or both in
    field += _ASYMMETRY * _summed(here, own)
    v = load_head().vertices
    face = field[(v[:, 2] > 0.7) & (v[:, 1] > 6.2) & (v[:, 1] < 7.9)]
    middle = face.mean(axis=0)
    strength = person.spread * _STRENGTH / np.sqrt(((face - middle) ** 2).sum(axis=1).mean())
    return np.asarray(strength * (field - middle) * moves[:, None])


def _summed(features: Floats, weights: Floats) -> Floats:
    """features @ weights, in one order on any number of threads: pictures must not depend on BLAS."""
    return np.asarray(np.einsum("nw,wk->nk", features, weights))


@cache
def _waves() -> tuple[Floats, Floats, Floats]:
    """Features (n, waves) at the base vertices and at their mirror images; how far each vertex may move (n,), 0–1."""
    rng = stream(0, "free form")
    v = load_head().vertices
    frequencies, phases = rng.standard_normal((3, _WAVES)) / _SCALE, rng.uniform(0, 2 * np.pi, _WAVES)
    here, mirrored = (
        np.sqrt(2 / _WAVES) * np.cos(_summed(points, frequencies) + phases) for points in (v, v * [-1, 1, 1])
    )
    nostrils = bump(folded(v), (0.10, 6.93, 1.5), (0.1, 0.07, 0.2))
    moves = smoothstep(6.0, 6.4, v[:, 1]) * (1 - 0.5 * nostrils)  # not below the chin; nostrils would gape
    return np.asarray(here), np.asarray(mirrored), np.asarray(moves)
