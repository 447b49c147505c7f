"""Distances of sets against what is known about them in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.evaluate.fid import frechet_distance, kernel_distance, kernel_distance_error
from fdf.evaluate.quality import Quality, quality

SETS = st.tuples(st.integers(2, 30), st.integers(2, 30), st.integers(1, 12), st.integers(0, 10_000))


def rows(n: int, d: int, seed: int, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (n, d)).astype(np.float32)


def slow_frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is printed, its root by eigenvalues of the product."""
    a, b = a.astype(float), b.astype(float)
    cov_a, cov_b = (np.cov(x, rowvar=False).reshape(x.shape[1], -1) for x in (a, b))
    root = np.sqrt(np.clip(np.linalg.eigvals(cov_a @ cov_b).real, 0, None)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root)


def slow_kernel(a: np.ndarray, b: np.ndarray) -> float:
    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((float(x.astype(float) @ y.astype(float)) / len(x) + 1) ** 3)

    n, m = len(a), len(b)
    within = sum(k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j) / (n * (n - 1))
    within += sum(k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j) / (m * (m - 1))
    return within - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


@given(SETS)
@settings(max_examples=60)
def test_frechet_is_the_printed_formula(sets: tuple[int, int, int, int]) -> None:
    n, m, d, seed = sets
    a, b = rows(n, d, seed), rows(m, d, seed + 1, 2.0) + 0.5
    # The slow form takes roots of eigenvalues that are zero but for rounding.
    assert frechet_distance(a, b) == pytest.approx(slow_frechet(a, b), rel=1e-5, abs=1e-5)


@given(SETS)
@settings(max_examples=40)
def test_frechet_is_symmetric_never_negative_and_zero_for_one_set(sets: tuple[int, int, int, int]) -> None:
    n, m, d, seed = sets
    a, b = rows(n, d, seed), rows(m, d, seed + 1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9)
    assert frechet_distance(a, b) >= 0
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-6)


def test_frechet_of_gaussians_is_the_analytic_one() -> None:
    """N(0, 1) and N(3, 4) by column: 9 + (1 − 2)² a column."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (200_000, 3)), rng.normal(3, 2, (200_000, 3))
    assert frechet_distance(a, b) == pytest.approx(3 * (9 + 1), rel=0.01)


def test_frechet_of_few_faces_is_too_large_and_the_kernel_distance_is_not() -> None:
    """Two samples of one distribution: FID of 20 rows is above that of 200, KID is about 0 for both."""
    few = [(rows(20, 64, s), rows(20, 64, s + 1000)) for s in range(60)]
    many = [(rows(200, 64, s), rows(200, 64, s + 1000)) for s in range(20)]
    assert np.mean([frechet_distance(*pair) for pair in few]) > 3 * np.mean([frechet_distance(*p) for p in many])
    values = [kernel_distance(*pair) for pair in few]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_kernel_distance_is_of_halves_alone_since_pairs_bias_it() -> None:
    """Fakes that hardly differ from their reals: over all pairs far below 0, over halves round 0 as two sets of reals are."""
    found: list[Quality] = []
    paired = list[float]()
    for seed in range(30):
        real = rows(60, 376, seed)
        fake = real + rows(60, 376, seed + 1000, 0.1)
        paired.append(kernel_distance(fake, real))
        found.append(quality(real, fake, extractor="x", sha256="", region="face", seed=seed))
    assert np.mean(paired) == pytest.approx(-0.233, abs=0.01), "not unbiased there, so no report has it"
    values = [one.kid_halves for one in found]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert np.std(values) < 0.1
    assert {name for name in Quality.__annotations__ if name.startswith("kid")} == {
        "kid_halves",
        "kid_halves_error",
        "kid_floor",
        "kid_floor_error",
    }
    assert all(one.fid_paired < one.fid_floor / 10 for one in found), "reads low, as docs/evaluate.md says"


@given(st.tuples(st.integers(2, 8), st.integers(2, 8), st.integers(1, 6), st.integers(0, 10_000)))
@settings(max_examples=40)
def test_kernel_distance_is_the_sum_over_pairs(sets: tuple[int, int, int, int]) -> None:
    n, m, d, seed = sets
    a, b = rows(n, d, seed), rows(m, d, seed + 1) + 0.3
    assert kernel_distance(a, b) == pytest.approx(slow_kernel(a, b), rel=1e-8, abs=1e-8)


def test_kernel_distance_grows_and_its_error_needs_rows() -> None:
    a = rows(300, 8, 0)
    near, far = (kernel_distance(a, rows(300, 8, 1) + shift) for shift in (0.2, 1.0))
    assert 0 < near < far
    error = kernel_distance_error(a, rows(300, 8, 1) + 1)
    assert error is not None
    assert 0 < error < far
    assert kernel_distance_error(a[:3], a[:3]) is None


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (rows(5, 3, 0), rows(5, 4, 0), "the same columns"),
        (rows(1, 3, 0), rows(5, 3, 0), "two rows of each, got 1 and 5"),
        (np.full((3, 2), np.nan), rows(3, 2, 0), "must be finite"),
    ],
)
def test_what_is_no_pair_of_sets_is_refused(a: np.ndarray, b: np.ndarray, said: str) -> None:
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match=said):
            distance(a, b)
