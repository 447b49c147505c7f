"""Two attackers, from vectors of clean pictures and of the same pictures hidden, in one order.

*Naive*: has clean pictures, and a threshold that 1 % of the pairs of different people among them reach. *Parrot*: hides their
pictures the same way and learned metric and threshold on other people's hidden pictures (`fdf.evaluate.parrot`).

People are divided into folds. Whoever is looked for is looked for among the people of their fold, by both attackers, so that
rank-1 has one chance level; the parrot learns from the other folds. Nobody is in training and in test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.evaluate.parrot import Ints, learn
from fdf.evaluate.reidentification import distances
from fdf.evaluate.verification import Share, auc, share, threshold_at_far
from fdf.vision.base import Floats

Bools = npt.NDArray[np.bool_]

NAIVE: Final = "naive"
PARROT: Final = "parrot"


@dataclass(frozen=True)
class Attack:
    """What one attacker with one recognizer makes of one method. Shares are means over the n hidden pictures.

    *Cross-photo*: against other photos of the person. *Same photo*: against the very photo before it was hidden.

    Attributes:
        attacker: `naive` or `parrot`.
        recognizer: its name.
        thresholds: distance under which a pair is accepted; the parrot has one a fold.
        tar: cross-photo pairs of one person that are accepted.
        far: pairs of different people that are accepted: above the rate that was aimed at, `tar` is worth less.
        rank1: how often the nearest other picture is of the same person.
        rank1_chance: the same if the nearest were drawn by lot.
        auc: chance that a cross-photo pair is nearer than a pair of different people; 0.5 is none.
        same_tar, same_rank1, same_rank1_chance, same_auc: the same for the very photo, where the nearest must be that photo.
            None for the parrot, who would compare a picture with itself.
        gallery: pictures among which one is looked for, mean.
    """

    attacker: str
    recognizer: str
    thresholds: tuple[float, ...]
    tar: Share | None
    far: Share | None
    rank1: Share | None
    rank1_chance: float
    auc: float
    same_tar: Share | None
    same_rank1: Share | None
    same_rank1_chance: float | None
    same_auc: float | None
    gallery: float


def naive(name: str, clean: Floats, hidden: Floats, people: Ints, folds: Ints, far: float) -> Attack:
    """Clean pictures against hidden ones.

    Args:
        name: of the recognizer.
        clean, hidden: vectors (N, d).
        people: who is on each, 0 … P−1, (N,); two pictures or more of each.
        folds: of each person, (P,).
        far: false accept rate of the threshold.
    """
    n, same = len(people), people[:, None] == people[None]
    own = np.eye(n, dtype=np.bool_)
    threshold = threshold_at_far(distances(clean, clean)[np.triu(~same, 1)], far)
    between = distances(hidden, clean)
    found = _tally(between, same & ~own, ~same, _gallery(people, folds) & ~own, threshold)
    diagonal, gallery = between.diagonal(), _gallery(people, folds)
    nearest = np.where(gallery, between, np.inf).argmin(axis=1)
    return Attack(
        NAIVE,
        name,
        (threshold,),
        *found.shares(),
        auc=auc(between[same & ~own], between[~same]),
        same_tar=share(int((diagonal < threshold).sum()), n),
        same_rank1=share(int((nearest == np.arange(n)).sum()), n),
        same_rank1_chance=float((1 / gallery.sum(axis=1)).mean()),
        same_auc=auc(diagonal, between[~same]),
        gallery=float(gallery.sum(axis=1).mean()) - 1,
    )


def parrot(name: str, hidden: Floats, people: Ints, folds: Ints, far: float, seed: int = 0) -> Attack | None:
    """Hidden pictures against hidden ones, by a metric of other people; None if the people are too few for two folds.

    Args are those of `naive`; `seed` is of the choice of the metric.
    """
    if folds.max(initial=0) < 1:
        return None
    parts, areas, weights, thresholds = [], [], [], []
    for fold in range(int(folds.max()) + 1):
        test = folds[people] == fold
        who = people[test]
        learned = learn(hidden[~test], people[~test], seed)
        threshold, seen = threshold_at_far(learned.impostors, far), learned.metric(hidden[test])
        same, own = who[:, None] == who[None], np.eye(len(who), dtype=np.bool_)
        between = distances(seen, seen)
        parts.append(_tally(between, same & ~own, ~same, ~own, threshold))
        areas.append(auc(between[same & ~own], between[~same]))
        weights.append(len(who))
        thresholds.append(threshold)
    found = _Tally(*(np.concatenate([getattr(part, key) for part in parts]) for key in _Tally.__dataclass_fields__))
    return Attack(
        PARROT,
        name,
        tuple(thresholds),
        *found.shares(),
        auc=float(np.average(areas, weights=weights)),
        same_tar=None,
        same_rank1=None,
        same_rank1_chance=None,
        same_auc=None,
        gallery=float(np.average([weight - 1 for weight in weights], weights=weights)),
    )


@dataclass(frozen=True, eq=False)
class _Tally:
    """Of each hidden picture: shares accepted of its own person and of others, whether the nearest is right, and chance."""

    accepted: Floats
    wrongly: Floats
    hit: Bools
    chance: Floats

    def shares(self) -> tuple[Share | None, Share | None, Share | None, float]:
        n = len(self.hit)
        tar, far = (share(float(column.sum(dtype=np.float64)), n) for column in (self.accepted, self.wrongly))
        return tar, far, share(int(self.hit.sum()), n), float(self.chance.mean())


def _tally(between: Floats, genuine: Bools, impostor: Bools, gallery: Bools, threshold: float) -> _Tally:
    under = between < threshold
    nearest = np.where(gallery, between, np.inf).argmin(axis=1)
    return _Tally(
        (under & genuine).sum(axis=1) / genuine.sum(axis=1),
        (under & impostor).sum(axis=1) / impostor.sum(axis=1),
        genuine[np.arange(len(genuine)), nearest],
        (genuine & gallery).sum(axis=1) / gallery.sum(axis=1),
    )


def _gallery(people: Ints, folds: Ints) -> Bools:
    fold = folds[people]
    return np.asarray(fold[:, None] == fold[None], dtype=np.bool_)
