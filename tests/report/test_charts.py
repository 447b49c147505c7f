"""Histograms: every value is counted once, in the bin that the axis says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.report.charts import Axis, doublings, histogram, linear, number, octaves
from fdf.report.overlay import marks

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=50)


@pytest.mark.parametrize("axis", [linear(-90, 90, 10, (0,)), linear(0, 1, 0.05, (0.5,))])
@given(values=VALUES)
def test_every_known_value_is_counted_once(axis: Axis, values: list[float]) -> None:
    array = np.asarray(values, dtype=np.float64)
    chart = histogram("x", "", "", axis, kept=array)
    assert sum(bar.kept for bar in chart.bars) == chart.counted == np.isfinite(array).sum()
    assert chart.unknown == np.isnan(array).sum()
    assert all(0 <= bar.x < 100 and bar.x + bar.width <= 100.01 for bar in chart.bars)


@given(values=st.lists(st.floats(0, 1e5), max_size=50))
def test_octaves_hold_their_values(values: list[float]) -> None:
    array = np.asarray(values, dtype=np.float64)
    chart = histogram("x", "px", "", octaves(array), kept=array)
    assert sum(bar.kept for bar in chart.bars) == len(values)
    assert chart.peak <= len(values)


@given(values=st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_counts_name_their_bins(values: list[int]) -> None:
    array = np.asarray(values, dtype=np.float64)
    chart = histogram("x", "", "", doublings(array), kept=array)
    ones = next(bar for bar in chart.bars if bar.label == "1")
    assert ones.kept == values.count(1)
    assert sum(bar.kept for bar in chart.bars) == len(values)


def test_bins_hold_their_lower_bound_and_ends_take_what_is_outside() -> None:
    axis = linear(0, 30, 10, (0, 30))
    chart = histogram("x", "", "", axis, kept=np.asarray([-5.0, 0, 10, 29.9, 30, 99]), found=np.asarray([10.0] * 4))
    assert [(bar.label, bar.kept, bar.found) for bar in chart.bars] == [
        ("under 10", 2, 0),
        ("10 to 20", 1, 4),
        ("20 and over", 3, 0),
    ]


def test_limits_outside_the_axis_are_left_out() -> None:
    axis = linear(0, 100, 10, (0,))
    chart = histogram("x", "", "", axis, kept=np.asarray([1.0]), limits=[(0, "off"), (25, "min"), (100, "off")])
    assert chart.limits == ((25.0, "min"),)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.001, "0"),
        (0.5, "0.5"),
        (-0.47, "−0.47"),
        (7.25, "7.2"),
        (20.0, "20"),
        (1023.6, "1,024"),
        (100, "100"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_marks_keep_sides_and_leave_out_what_is_outside() -> None:
    points = [(50.0, 50.0, 0.9), (60.0, 40.0, 0.9), (40.0, 40.0, 0.1), (75.0, 45.0, 0.9), (25.0, 45.0, 0.9)]
    points += [(120.0, 90.0, 0.9), (float("nan"), 90.0, 0.0)]
    found = marks(points, 0.2)
    assert [(mark.name, mark.side, mark.faint) for mark in found] == [
        ("nose", "middle", False),
        ("left eye", "left", False),
        ("right eye", "right", True),
        ("left ear", "left", False),
        ("right ear", "right", False),
    ]
