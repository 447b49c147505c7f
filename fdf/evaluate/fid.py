"""How far two sets of pictures are apart, measured in the features of a network: Fréchet and kernel distance.

Fréchet distance: Heusel et al. 2017 (arXiv:1706.08500). With few pictures it is too large, the more so the more features there
are (Bińkowski et al. 2018, arXiv:1801.01401, section 3), so it is read against that of two halves of real pictures of the same
number. Kernel distance (KID, the same paper): squared maximum mean discrepancy with the kernel (x·y / d + 1)³, unbiased if the
two sets don't depend on each other. Pictures and fakes made from them do: their kernel distance comes out far below 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]

_BLOCK = 2048  # rows of a kernel matrix that are in memory at once


def frechet_distance(a: Features, b: Features) -> float:
    """Squared Fréchet distance of two Gaussians fitted to feature rows: ‖μa − μb‖² + tr(A + B − 2 (A B)^½).

    The trace of the root is the sum of the singular values of Xa Xbᵀ, where A = Xaᵀ Xa: exact for any number of rows, and with
    no root of a small negative number in it. With fewer rows than features it is fast, too.

    Args:
        a: (N, d), two rows or more.
        b: (M, d).

    Raises:
        ValueError: fewer than two rows, another d, or values that aren't finite.
    """
    rows_a, rows_b = _checked(a, b)
    mean_a, mean_b = rows_a.mean(axis=0), rows_b.mean(axis=0)
    factor_a = _factor((rows_a - mean_a) / np.sqrt(len(rows_a) - 1))
    factor_b = _factor((rows_b - mean_b) / np.sqrt(len(rows_b) - 1))
    root = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    apart = float(((mean_a - mean_b) ** 2).sum() + (factor_a**2).sum() + (factor_b**2).sum() - 2 * root)
    return max(apart, 0.0)


def kernel_distance(a: Features, b: Features) -> float:
    """Squared MMD with the kernel (x·y / d + 1)³, over all pairs of rows; unbiased for sets that don't depend on each other.

    Of two such sets from one distribution it lies round 0, below it too, by about its standard error.

    Raises:
        ValueError: as `frechet_distance`.
    """
    rows_a, rows_b = _checked(a, b)
    n, m = len(rows_a), len(rows_b)
    within_a = (_kernel_sum(rows_a, rows_a) - _own(rows_a)) / (n * (n - 1))
    within_b = (_kernel_sum(rows_b, rows_b) - _own(rows_b)) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(rows_a, rows_b) / (n * m))


def kernel_distance_error(a: Features, b: Features, parts: int = 10) -> float | None:
    """Standard error of `kernel_distance`, from disjoint parts of the rows; None with fewer than two rows a part."""
    parts = min(parts, len(a) // 2, len(b) // 2)
    if parts < 2:
        return None
    values = [kernel_distance(a[part::parts], b[part::parts]) for part in range(parts)]
    return float(np.std(values, ddof=1) / np.sqrt(parts))


def _checked(a: Features, b: Features) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows_a, rows_b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if rows_a.ndim != 2 or rows_b.ndim != 2 or rows_a.shape[1] != rows_b.shape[1]:
        raise ValueError(
            f"Expected two tables of features with the same columns, got {rows_a.shape} and {rows_b.shape}."
        )
    if min(len(rows_a), len(rows_b)) < 2:
        raise ValueError(f"A distance of two sets needs two rows of each, got {len(rows_a)} and {len(rows_b)}.")
    if not (np.isfinite(rows_a).all() and np.isfinite(rows_b).all()):
        raise ValueError("Every feature must be finite.")
    return rows_a, rows_b


def _factor(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """X or a smaller R with Rᵀ R = Xᵀ X."""
    if len(rows) <= rows.shape[1]:
        return rows
    return np.asarray(np.linalg.qr(rows, mode="r"), dtype=np.float64)


def _kernel_sum(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    total = 0.0
    for at in range(0, len(a), _BLOCK):
        total += float(((a[at : at + _BLOCK] @ b.T / a.shape[1] + 1) ** 3).sum())
    return total


def _own(rows: npt.NDArray[np.float64]) -> float:
    return float((((rows**2).sum(axis=1) / rows.shape[1] + 1) ** 3).sum())
