"""Do fakes look like real faces? Distances of fakes from reals, and beside each the same for reals from other reals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdf.evaluate.fid import Features, frechet_distance, kernel_distance, kernel_distance_error


@dataclass(frozen=True)
class Quality:
    """Fréchet (FID) and kernel (KID) distances in the features of one extractor.

    The faces are cut into two halves. *Halves* compares the fakes of one with the reals of the other, both ways, and the floor
    the reals of the one with the reals of the other: same number, no picture on both sides. *Paired* compares all fakes with
    the reals they were made from: what most papers print. Such pairs share everything but the face, so it reads low; the kernel
    distance has no such figure, since it is unbiased only where the two sets don't depend on each other.

    Attributes:
        extractor: name of the features; figures of two extractors have nothing to do with each other.
        extractor_sha256: of its weights.
        features: how many.
        region: `face` (square round the face, 1.25 × the box) or `picture` (the whole crop).
        faces: N of `paired`.
        half: N on either side of `halves` and of the floor.
        fid_paired: all fakes against the reals that they were made from; it may lie under the floor.
        fid_halves, kid_halves: mean of both ways.
        fid_floor, kid_floor: real against real.
        kid_halves_error, kid_floor_error: standard errors, None with too few faces.
        biased: fewer faces than features: the Fréchet distances, floor included, are far too large and only fit for comparison
            at the same N.
    """

    extractor: str
    extractor_sha256: str
    features: int
    region: str
    faces: int
    half: int
    fid_paired: float
    fid_halves: float
    fid_floor: float
    kid_halves: float
    kid_halves_error: float | None
    kid_floor: float
    kid_floor_error: float | None
    biased: bool


def quality(real: Features, fake: Features, *, extractor: str, sha256: str, region: str, seed: int) -> Quality:
    """Compare features of N reals (N, d) with those of the N fakes made from them, in the same order; N ≥ 4."""
    n = len(real)
    half = n // 2
    order = np.random.default_rng([seed, n]).permutation(n)
    a, b = order[:half], order[half : 2 * half]
    ways = ((fake[a], real[b]), (fake[b], real[a]))
    errors = [kernel_distance_error(*way) for way in ways]
    return Quality(
        extractor=extractor,
        extractor_sha256=sha256,
        features=real.shape[1],
        region=region,
        faces=n,
        half=half,
        fid_paired=frechet_distance(fake, real),
        fid_halves=float(np.mean([frechet_distance(*way) for way in ways])),
        fid_floor=frechet_distance(real[a], real[b]),
        kid_halves=float(np.mean([kernel_distance(*way) for way in ways])),
        kid_halves_error=None if None in errors else float(np.mean([error or 0.0 for error in errors])),
        kid_floor=kernel_distance(real[a], real[b]),
        kid_floor_error=kernel_distance_error(real[a], real[b]),
        biased=half <= real.shape[1],
    )
