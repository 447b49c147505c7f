"""Does the fake give its original away? One recognizer, dlib's, against chance.

The generator never sees the face, so whatever links the two comes from what is round it, from the keypoints, or from chance.
This is the naive attack with one recognizer: the lowest bar, not a proof of anonymity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.evaluate.verification import Share, auc, share, threshold_at_far
from fdf.vision.base import Floats

DLIB_SAME: Final = 0.6
"""Distance under which dlib's own rule says: the same person."""
FAR: Final = 0.01
"""False accept rate of the threshold that is fitted on different people of the same set."""

_BLOCK: Final = 1024


@dataclass(frozen=True)
class Reidentification:
    """Distances of dlib's descriptors between a fake and its original.

    Attributes:
        recognizer: zoo id.
        median: of the distance between a fake and its original.
        different: median distance between originals of different people.
        same: share of fakes nearer to their original than 0.6, dlib's own threshold.
        different_same: share of pairs of different people nearer than that: what chance gives.
        threshold: distance under which only 1 % of the different people of this set are.
        accepted: share of fakes nearer to their original than that.
        auc: chance that a fake is nearer to its original than two different people are: 0.5 is none.
        rank1: share of fakes whose nearest original, of all N, is their own.
        rank1_chance: 1/N.
        pairs: how many pairs of different people were compared.
    """

    recognizer: str
    median: float
    different: float
    same: Share | None
    different_same: Share | None
    threshold: float
    accepted: Share | None
    auc: float
    rank1: Share | None
    rank1_chance: float
    pairs: int


def distances(a: Floats, b: Floats) -> Floats:
    """Euclidean distances between rows: (N, d), (M, d) → float32 (N, M)."""
    # Differences and not the binomial formula: near-equal rows must come out near 0.
    out = np.empty((len(a), len(b)), dtype=np.float32)
    step = max(1, _BLOCK * 64 // max(len(b), 1))
    for at in range(0, len(a), step):
        out[at : at + step] = np.sqrt(((a[at : at + step, None] - b[None]) ** 2).sum(axis=2))
    return out


def different_people(rows: Floats, owners: Sequence[str]) -> Floats:
    """Distances of all pairs whose owners differ, each once."""
    upper = np.triu(_other(owners), 1)
    return np.asarray(distances(rows, rows)[upper], dtype=np.float32)


def reidentification(real: Floats, fake: Floats, owners: Sequence[str]) -> Reidentification | None:
    """Compare descriptors of N originals with those of their fakes; None if all belong to one owner.

    Args:
        real, fake: (N, d), in one order.
        owners: of the photos. Faces of two owners count as different people; of one owner they may be the same.
    """
    impostors = different_people(real, owners)
    if not len(impostors):
        return None
    between = distances(fake, real)
    own = between.diagonal()
    threshold = threshold_at_far(impostors, FAR)
    n = len(real)
    return Reidentification(
        recognizer="dlib-resnet128",
        median=float(np.median(own)),
        different=float(np.median(impostors)),
        same=share(int((own < DLIB_SAME).sum()), n),
        different_same=share(int((impostors < DLIB_SAME).sum()), len(impostors)),
        threshold=threshold,
        accepted=share(int((own < threshold).sum()), n),
        auc=auc(own, impostors),
        rank1=share(int((between.argmin(axis=1) == np.arange(n)).sum()), n),
        rank1_chance=1 / n,
        pairs=len(impostors),
    )


def _other(owners: Sequence[str]) -> npt.NDArray[np.bool_]:
    codes = np.unique(np.asarray(owners, dtype=object).astype(str), return_inverse=True)[1]
    return np.asarray(codes[:, None] != codes[None, :], dtype=np.bool_)
