"""Are these two pictures of one person? Thresholds, rates and areas from distances of pairs.

A *genuine* pair shows one person twice, an *impostor* pair two people. A pair is accepted if its distance is under the
threshold. For similarities (cosine), pass their negatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Distances = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Share:
    """A share of something with what it was counted from.

    Attributes:
        value: 0–1.
        low: lower end of its 95 % interval (Wilson 1927, Probable inference, JASA 22, 209–212). It is for n that don't depend
            on each other; of frames of one film, or pictures of one person, it is too narrow.
        high: upper end.
        n: of how many.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """`0 of 318: 0.0 % (0.0–1.2)`; a count that is a sum of shares is rounded."""
        return (
            f"{self.value * self.n:,.0f} of {self.n:,}: {self.value:.1%} ({100 * self.low:.1f}–{100 * self.high:.1f})"
        )


def share(count: float, n: int) -> Share | None:
    """`count` of `n` with Wilson's 95 % interval; None of nothing. A sum of n shares may be a broken number."""
    if n < 1:
        return None
    if not 0 <= count <= n:
        raise ValueError(f"Expected 0 to {n}, got {count}.")
    z = 1.959963984540054
    rate, slack = count / n, z * z / n
    middle = (rate + slack / 2) / (1 + slack)
    half = z / (1 + slack) * math.sqrt(rate * (1 - rate) / n + slack / (4 * n))
    # At 0 and 1 the formula gives the bound but for rounding.
    return Share(rate, 0.0 if count == 0 else middle - half, 1.0 if count == n else middle + half, n)


def threshold_at_far(impostor: Distances, far: float) -> float:
    """The largest threshold that accepts at most a share `far` of the impostor pairs.

    It is one of the impostor distances (the first that must not be accepted), or infinity when `far` allows them all.

    Raises:
        ValueError: no pairs, values that aren't numbers, or `far` outside 0–1.
    """
    ordered = np.sort(_checked("impostor", impostor))
    if not 0 <= far <= 1:
        raise ValueError(f"A false accept rate lies in 0–1, got {far}.")
    allowed = math.floor(far * len(ordered) + 1e-9)
    return float(ordered[allowed]) if allowed < len(ordered) else math.inf


def accepted(distances: Distances, threshold: float) -> float:
    """Share of pairs under the threshold: the true accept rate of genuine pairs, the false accept rate of impostors."""
    return float((_checked("pairs", distances) < threshold).mean())


def tar_at_far(genuine: Distances, impostor: Distances, far: float) -> float:
    """True accept rate at the threshold where at most `far` of the impostors are accepted."""
    return accepted(genuine, threshold_at_far(impostor, far))


def auc(genuine: Distances, impostor: Distances) -> float:
    """Chance that a genuine pair is nearer than an impostor pair, ties counted half: 1 told apart, 0.5 not at all."""
    near, far = _checked("genuine", genuine), np.sort(_checked("impostor", impostor))
    above = len(far) - np.searchsorted(far, near, side="right")
    ties = np.searchsorted(far, near, side="right") - np.searchsorted(far, near, side="left")
    return float((above.sum() + ties.sum() / 2) / (len(near) * len(far)))


def equal_error_rate(genuine: Distances, impostor: Distances) -> tuple[float, float]:
    """Where as many genuine pairs are refused as impostors accepted: (rate, threshold).

    Over all thresholds between the distances, the one where the two rates differ least (the lowest, if several do); the rate is
    their mean there.
    """
    near, far = np.sort(_checked("genuine", genuine)), np.sort(_checked("impostor", impostor))
    thresholds = np.unique(np.concatenate([near, far, [math.inf]]))
    refused = 1 - np.searchsorted(near, thresholds, side="left") / len(near)
    taken = np.searchsorted(far, thresholds, side="left") / len(far)
    best = int(np.argmin(np.abs(refused - taken)))
    return float((refused[best] + taken[best]) / 2), float(thresholds[best])


def _checked(name: str, distances: Distances) -> npt.NDArray[np.float64]:
    values = np.asarray(distances, dtype=np.float64).reshape(-1)
    if not len(values):
        raise ValueError(f"There are no {name} distances.")
    if np.isnan(values).any():
        raise ValueError(f"A {name} distance is not a number.")
    return values
