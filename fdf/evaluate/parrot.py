"""The parrot attack: who learns from pictures that were hidden the same way sees more than who knows clean ones only.

The name is of Newton, Sweeney and Malin 2005 (Preserving privacy by de-identifying face images). Here it learns a linear metric
on a recognizer's vectors: distances are measured in units of what differs between hidden pictures of one person (whitening by
the within-person covariance, the first half of linear discriminant analysis), shrunk towards the plain distance, since people
are few and dimensions many. How far it is shrunk is chosen on the training people alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.evaluate.reidentification import distances
from fdf.evaluate.verification import auc
from fdf.vision.base import Floats

SHRINKAGES: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Candidates: 1 is the plain covariance of noise, the same in all directions."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Metric:
    """Vectors are moved by `centre`, (d,), mapped by `matrix`, (d, d), and brought to unit length. None: left as they are."""

    centre: Floats | None = None
    matrix: Floats | None = None

    def __call__(self, vectors: Floats) -> Floats:
        """(N, d) → (N, d)."""
        if self.centre is None or self.matrix is None:
            return vectors
        rows = (vectors - self.centre) @ self.matrix
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def people_folds(people: int, folds: int, seed: int) -> Ints:
    """The fold of each of so many people, at least two people in each: (people,). All 0 if they are too few for two folds."""
    count = max(1, min(folds, people // 2))
    return np.asarray(np.random.default_rng(seed).permutation(people) % count, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Learned:
    """A metric, and how far apart different people are by it, (n,): measured on people that it had not been learned from."""

    metric: Metric
    impostors: Floats


def learn(vectors: Floats, people: Sequence[int] | Ints, seed: int = 0) -> Learned:
    """The metric that tells these people apart best when it was learned on others of them.

    The people are cut into halves; what was learned from one is tried on the other. Distances of people that a metric was
    learned from are too large, and a threshold from them would accept everybody. With two people nothing can be tried, and
    the plain distance stays.

    Args:
        vectors: (N, d), of hidden pictures.
        people: who is on each, (N,), two people or more.
        seed: of the halves.
    """
    names, who = np.unique(np.asarray(people), return_inverse=True)
    half = np.random.default_rng(seed).permutation(len(names)) % 2
    scores = np.zeros(len(SHRINKAGES))
    apart: list[list[Floats]] = [[] for _ in SHRINKAGES]
    plain = 0.0
    for part in (0, 1):
        test = half[who] == part
        near, far = _pairs(vectors[test], who[test])
        if not (near.any() and far.any()):
            continue
        between = distances(vectors[test], vectors[test])
        plain += auc(between[near], between[far])
        for place, shrinkage in enumerate(SHRINKAGES):
            seen = _whitening(vectors[~test], who[~test], shrinkage)(vectors[test])
            between = distances(seen, seen)
            scores[place] += auc(between[near], between[far])
            apart[place].append(between[far])
    best = int(np.argmax(scores))
    if scores[best] <= plain:
        return Learned(Metric(), distances(vectors, vectors)[_pairs(vectors, who)[1]])
    return Learned(_whitening(vectors, who, SHRINKAGES[best]), np.concatenate(apart[best]))


def _pairs(vectors: Floats, who: Ints) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which pairs, each once, are of one person, and which of two."""
    upper = np.triu(np.ones((len(vectors), len(vectors)), dtype=bool), 1)
    same = who[:, None] == who[None]
    return upper & same, upper & ~same


def _whitening(vectors: Floats, who: Ints, shrinkage: float) -> Metric:
    rows = np.asarray(vectors, dtype=np.float64)
    centre = rows.mean(axis=0)
    means = np.stack([rows[who == one].mean(axis=0) for one in np.unique(who)])
    within = rows - means[np.unique(who, return_inverse=True)[1]]
    covariance = within.T @ within / max(len(rows) - len(means), 1)
    noise = float(np.trace(covariance)) / len(covariance)
    if noise <= 0:  # all pictures of each person are the same
        return Metric(centre.astype(np.float32), np.eye(len(covariance), dtype=np.float32))
    values, axes = np.linalg.eigh((1 - shrinkage) * covariance / noise + shrinkage * np.eye(len(covariance)))
    matrix = axes / np.sqrt(np.maximum(values, 1e-9)) @ axes.T
    return Metric(centre.astype(np.float32), matrix.astype(np.float32))
