"""Thresholds, rates and areas against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.evaluate.verification import accepted, auc, equal_error_rate, share, tar_at_far, threshold_at_far

PAIRS = st.lists(st.integers(0, 12).map(lambda v: v / 8), min_size=1, max_size=25)  # many ties


@given(PAIRS, st.floats(0, 1))
def test_the_threshold_is_the_largest_that_keeps_the_rate(impostor: list[float], far: float) -> None:
    threshold = threshold_at_far(np.array(impostor), far)
    allowed = math.floor(far * len(impostor) + 1e-9)
    assert sum(d < threshold for d in impostor) <= allowed
    if threshold < math.inf:
        assert sum(d < np.nextafter(threshold, 9) for d in impostor) > allowed
    else:
        assert allowed >= len(impostor)


@given(PAIRS, PAIRS, st.floats(0, 1))
def test_tar_counts_genuine_pairs_under_it(genuine: list[float], impostor: list[float], far: float) -> None:
    threshold = threshold_at_far(np.array(impostor), far)
    counted = sum(d < threshold for d in genuine) / len(genuine)
    assert tar_at_far(np.array(genuine), np.array(impostor), far) == pytest.approx(counted)
    assert accepted(np.array(genuine), threshold) == pytest.approx(counted)


@given(PAIRS, PAIRS)
def test_auc_is_the_share_of_won_comparisons(genuine: list[float], impostor: list[float]) -> None:
    won = sum((g < i) + (g == i) / 2 for g in genuine for i in impostor) / (len(genuine) * len(impostor))
    assert auc(np.array(genuine), np.array(impostor)) == pytest.approx(won)
    assert auc(np.array(impostor), np.array(genuine)) == pytest.approx(1 - won)


@given(PAIRS, PAIRS)
def test_equal_error_rate_is_the_best_balance_over_all_thresholds(genuine: list[float], impostor: list[float]) -> None:
    rate, threshold = equal_error_rate(np.array(genuine), np.array(impostor))

    def rates(t: float) -> tuple[float, float]:
        return sum(d >= t for d in genuine) / len(genuine), sum(d < t for d in impostor) / len(impostor)

    refused, taken = rates(threshold)
    assert rate == pytest.approx((refused + taken) / 2)
    best = min(abs(a - b) for a, b in (rates(t) for t in [*genuine, *impostor, math.inf]))
    assert abs(refused - taken) == pytest.approx(best)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_in_its_interval(counts: tuple[int, int]) -> None:
    found = share(*counts)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    # Wilson's bounds are where the normal test just accepts the counted share.
    for bound in {found.low, found.high} - {0.0, 1.0}:
        z = (found.value - bound) / math.sqrt(bound * (1 - bound) / found.n)
        assert abs(z) == pytest.approx(1.96, abs=0.01)


def test_a_share_of_nothing_is_none() -> None:
    assert share(0, 0) is None
    with pytest.raises(ValueError, match="0 to 3, got 4"):
        share(4, 3)


def test_bad_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="no impostor distances"):
        threshold_at_far(np.array([]), 0.1)
    with pytest.raises(ValueError, match="not a number"):
        auc(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="lies in 0–1"):
        threshold_at_far(np.array([1.0]), 1.5)
