"""Does the generator draw the people it was trained on? Nearest faces of those that it ate, by dlib's descriptor.

A fake may be near to some training face by chance: any face is, if there are enough of them. So the distance of each fake to
its nearest training face stands beside that of real faces which were not trained on. A generator that remembers puts fakes
nearer. Of faces that it never ate it can remember nothing: they would only hide what it does remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.evaluate.verification import Share, share
from fdf.vision.base import Floats

NEAR: Final = 0.4
"""Distance under which two pictures are hardly of two people: dlib's rule takes 0.6 for the same person."""

_BLOCK: Final = 256


@dataclass(frozen=True)
class Memorization:
    """Distances to the nearest face that the generator ate.

    Attributes:
        training: faces looked at, all of them eaten.
        training_total: how many it ate, here and elsewhere; of a part, the nearest of all may be missed.
        fakes, reals: 5 %, 25 % and 50 % quantiles for fakes, and for the originals they were made from.
        ratio: median of the fakes over that of the reals; under 1, fakes are nearer.
        near, near_real: share nearer than 0.4.
        nearer_than_reals: share of fakes nearer than the nearest 5 % of the reals; 5 % if nothing is remembered.
    """

    training: int
    training_total: int
    fakes: tuple[float, float, float]
    reals: tuple[float, float, float]
    ratio: float
    near: Share | None
    near_real: Share | None
    nearer_than_reals: Share | None


def nearest(
    rows: Floats, owners: Sequence[str], training: Floats, training_owners: Sequence[str]
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Distance to and index of the nearest training face of another owner: (N,), (N,). Infinite and −1 if there is none.

    Faces of the same owner are left out: they may show the person of the original, and finding that person is
    re-identification and not memory.
    """
    far, index = np.full(len(rows), np.inf, dtype=np.float32), np.full(len(rows), -1, dtype=np.intp)
    names, mine = np.asarray(training_owners, dtype=object), np.asarray(owners, dtype=object)
    for at in range(0, len(training), _BLOCK):
        part = training[at : at + _BLOCK]
        found = np.empty((len(rows), len(part)), dtype=np.float32)
        for row, vector in enumerate(rows):
            found[row] = np.sqrt(((part - vector) ** 2).sum(axis=1))
        found[mine[:, None] == names[None, at : at + _BLOCK]] = np.inf
        best = found.argmin(axis=1)
        value = found[np.arange(len(rows)), best]
        closer = value < far
        far[closer], index[closer] = value[closer], best[closer] + at
    return far, index


def memorization(fakes: Floats, reals: Floats, training: int, training_total: int) -> Memorization | None:
    """Sum up distances (N,) to the nearest training face; None if no face has one."""
    fakes, reals = fakes[np.isfinite(fakes)], reals[np.isfinite(reals)]
    if not len(fakes):
        return None
    q_fake, q_real = (tuple(float(q) for q in np.quantile(rows, [0.05, 0.25, 0.5])) for rows in (fakes, reals))
    return Memorization(
        training=training,
        training_total=training_total,
        fakes=(q_fake[0], q_fake[1], q_fake[2]),
        reals=(q_real[0], q_real[1], q_real[2]),
        ratio=q_fake[2] / max(q_real[2], 1e-9),
        near=share(int((fakes < NEAR).sum()), len(fakes)),
        near_real=share(int((reals < NEAR).sum()), len(reals)),
        nearer_than_reals=share(int((fakes < q_real[0]).sum()), len(fakes)),
    )
