"""What must stay: the fake is a face, its points lie where they were asked for, it looks where the original looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fdf.evaluate.faces import Seen
from fdf.evaluate.verification import Share, share
from fdf.vision.base import Floats

FAILED: Final = 0.1
"""Normalized mean error from which on the face is somewhere else."""


@dataclass(frozen=True)
class Spread:
    """Median, mean and 90th percentile of n values."""

    median: float
    mean: float
    p90: float
    n: int


@dataclass(frozen=True)
class Preservation:
    """Fakes, and beside them the originals seen by the same networks.

    Attributes:
        centerface, blazeface: share of fakes in which the detector finds the face.
        centerface_real, blazeface_real: the same for the originals.
        nme: distance of nose and eyes of the fake from the keypoints that the generator got, over the root of the box's area.
            Only where the keypoints are known and the mesh is sure of the fake.
        nme_real: the same for the originals: how far our own measure errs.
        nme_failed: share of those fakes with an error above 0.1.
        yaw, pitch, roll: absolute difference between fake and original, degrees, where the mesh is sure of both.
        yaw_chance, pitch_chance, roll_chance: mean difference of a fake to another face's original: no pose kept at all.
    """

    centerface: Share | None
    centerface_real: Share | None
    blazeface: Share | None
    blazeface_real: Share | None
    nme: Spread | None
    nme_real: Spread | None
    nme_failed: Share | None
    yaw: Spread | None
    pitch: Spread | None
    roll: Spread | None
    yaw_chance: float | None
    pitch_chance: float | None
    roll_chance: float | None


def spread(values: Floats) -> Spread | None:
    """Summary of values; None of none."""
    rows = np.asarray(values, dtype=np.float64)
    if not len(rows):
        return None
    return Spread(float(np.median(rows)), float(rows.mean()), float(np.quantile(rows, 0.9)), len(rows))


def normalized_error(points: Floats, keypoints: Floats, boxes: Floats) -> Floats:
    """Mean distance of nose and eyes (N, 3, 2) from known keypoints (N, 7, 3), over the root of the box's area: (N,).

    NaN where none of the three is known.
    """
    wanted = keypoints[:, :3]
    known = wanted[..., 2] > 0
    away = np.where(known, np.linalg.norm(points - wanted[..., :2], axis=2), 0).sum(axis=1)
    size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    count = known.sum(axis=1)
    return np.where(count > 0, away / np.maximum(count, 1) / size, np.nan).astype(np.float32)


def angle_between(a: Floats, b: Floats) -> Floats:
    """Absolute difference of angles in degrees, 0–180."""
    return np.abs((np.asarray(a) - np.asarray(b) + 180) % 360 - 180).astype(np.float32)


def preservation(real: Seen, fake: Seen, keypoints: Floats, boxes: Floats) -> Preservation:
    """Compare N originals with their fakes. `keypoints` (N, 7, 3) are those that the generator got, with presence 0 or 1."""
    n = len(real)
    errors = normalized_error(fake.points, keypoints, boxes)[fake.clear]
    errors = errors[np.isfinite(errors)]
    errors_real = normalized_error(real.points, keypoints, boxes)[real.clear]
    both = np.flatnonzero(real.clear & fake.clear)
    apart = angle_between(fake.pose[both], real.pose[both])
    chance = np.zeros((0, 3), dtype=np.float32)
    if len(both) > 1:  # every fake with up to 32 other originals
        turns = [angle_between(fake.pose[both], real.pose[np.roll(both, by)]) for by in range(1, min(len(both), 33))]
        chance = np.concatenate(turns)
    by_chance = [float(column.mean()) if len(column) else None for column in chance.T]
    return Preservation(
        centerface=share(int(fake.centerface.sum()), n),
        centerface_real=share(int(real.centerface.sum()), n),
        blazeface=share(int(fake.blazeface.sum()), n),
        blazeface_real=share(int(real.blazeface.sum()), n),
        nme=spread(errors),
        nme_real=spread(errors_real[np.isfinite(errors_real)]),
        nme_failed=share(int((errors > FAILED).sum()), len(errors)),
        yaw=spread(apart[:, 0]),
        pitch=spread(apart[:, 1]),
        roll=spread(apart[:, 2]),
        yaw_chance=by_chance[0],
        pitch_chance=by_chance[1],
        roll_chance=by_chance[2],
    )
