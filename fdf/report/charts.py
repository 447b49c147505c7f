"""Histograms as numbers a template can draw: bars in per cent of the width, heights in pixels. No drawing library.

Widths are relative so that a chart fills its column while its lettering keeps its size; nothing here knows what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

HEIGHT: Final = 76
"""Pixels of the tallest bar."""


@dataclass(frozen=True)
class Axis:
    """Where values go. Values outside the edges are counted in the first and last bin.

    Attributes:
        edges: bounds of the bins, ascending; a bin holds its lower bound.
        ticks: values lettered below the axis.
        kind: `linear`; `log`: bins are equally wide in log2; `count`: whole numbers, a bin [2, 4) reads "2–3".
    """

    edges: tuple[float, ...]
    ticks: tuple[float, ...]
    kind: str = "linear"

    def place(self, value: float) -> float:
        """Where a value stands, in per cent of the width."""
        low, high, at = (
            (math.log2(v) for v in (self.edges[0], self.edges[-1], max(value, 1e-9)))
            if self.kind != "linear"
            else (self.edges[0], self.edges[-1], value)
        )
        return round(100 * (at - low) / (high - low), 3)


@dataclass(frozen=True)
class Bar:
    """One bin: how many of all values and of the kept ones."""

    label: str
    x: float
    width: float
    found: int
    kept: int
    found_height: float
    kept_height: float


@dataclass(frozen=True)
class Tick:
    """A lettered value below the axis."""

    x: float
    label: str
    anchor: str


@dataclass(frozen=True)
class Chart:
    """One histogram. `limits` are thresholds of the recipe, as (per cent of the width, text)."""

    name: str
    unit: str
    caption: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    limits: tuple[tuple[float, str], ...]
    median: str
    counted: int
    unknown: int
    compares: bool

    @property
    def peak(self) -> int:
        """What the tallest bar counts: the scale of the chart."""
        return max((max(bar.found, bar.kept) for bar in self.bars), default=0)

    @property
    def summary(self) -> str:
        """The chart in a sentence, for those who can't see it."""
        if not self.counted:
            return f"{self.name}: no values."
        tallest = max(self.bars, key=lambda bar: bar.kept)
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name}: histogram of {self.counted:,} values, median {self.median}{unit}, "
            f"most often {tallest.label}{unit} ({tallest.kept:,})."
        )


def linear(low: float, high: float, step: float, ticks: Sequence[float]) -> Axis:
    """Equal bins of `step` from `low` to `high`."""
    count = round((high - low) / step)
    return Axis(tuple(low + step * i for i in range(count + 1)), tuple(ticks))


def octaves(values: Values, per_octave: int = 2, most: float = 2.0**20) -> Axis:
    """Bins for sizes: `per_octave` to a doubling, over the range of the values."""
    real = values[np.isfinite(values) & (values > 0)]
    low, high = (float(real.min()), float(min(real.max(), most))) if real.size else (16.0, 256.0)
    first, last = math.floor(math.log2(max(low, 1.0))), math.floor(math.log2(max(high, 1.0))) + 1
    first = min(first, last - 4) if last >= 4 else 0
    last = max(last, first + 2)
    edges = tuple(2.0 ** (first + i / per_octave) for i in range((last - first) * per_octave + 1))
    every = 1 if last - first <= 6 else 2 if last - first <= 8 else 3  # octaves from letter to letter
    return Axis(edges, tuple(2.0**power for power in range(first, last + 1, every)), "log")


def doublings(values: Values) -> Axis:
    """Bins for counts: 1, 2–3, 4–7, 8–15, …"""
    last = max(int(values.max()) if values.size else 1, 8).bit_length()
    edges = tuple(2.0**power for power in range(last + 1))
    return Axis(edges, edges[:-1], "count")


def histogram(  # one argument a thing the reader sees
    name: str,
    unit: str,
    caption: str,
    axis: Axis,
    *,
    kept: Values,
    found: Values | None = None,
    limits: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Count values into a chart.

    Args:
        name, unit, caption: what it shows.
        axis: the bins.
        kept: values in the strong colour; NaN is unknown.
        found: all values before anything was dropped, behind them; None to show `kept` alone.
        limits: thresholds to mark, as (value, text); those outside the axis are left out.
    """
    solid, known = _count(kept, axis)
    behind = _count(found, axis)[0] if found is not None else solid
    top = max(int(behind.max()), int(solid.max()), 1)
    outside = (bool((known < axis.edges[0]).any()), bool((known >= axis.edges[-1]).any()))
    places = [axis.place(edge) for edge in axis.edges]
    bars = tuple(
        Bar(
            label=_label(axis, i, outside),
            x=places[i],
            width=round(places[i + 1] - places[i], 3),
            found=int(behind[i]),
            kept=int(solid[i]),
            found_height=_height(int(behind[i]), top),
            kept_height=_height(int(solid[i]), top),
        )
        for i in range(len(axis.edges) - 1)
    )
    return Chart(
        name=name,
        unit=unit,
        caption=caption,
        bars=bars,
        ticks=tuple(_ticks(axis)),
        limits=tuple((axis.place(v), text) for v, text in limits if axis.edges[0] < v < axis.edges[-1]),
        median=number(float(np.median(known))) if known.size else "–",
        counted=int(known.size),
        unknown=int(kept.size - known.size),
        compares=found is not None,
    )


def number(value: float) -> str:
    """A measured value at the precision a reader can use: `0.88`, `7.4`, `212`, `1,024`."""
    size = abs(value)
    text = f"{value:,.2f}" if size < 1 else f"{value:,.1f}" if size < 10 else f"{value:,.0f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−") if text not in ("-0", "0") else "0"


def _count(values: Values, axis: Axis) -> tuple[npt.NDArray[np.int64], Values]:
    known = values[np.isfinite(values)]
    inside = np.clip(known, axis.edges[0], np.nextafter(axis.edges[-1], -np.inf))
    counts, _ = np.histogram(inside, bins=np.asarray(axis.edges))
    return counts.astype(np.int64), known


def _height(count: int, top: int) -> float:
    """Proportional, but whatever is there stays visible."""
    return round(max(HEIGHT * count / top, 1.5), 2) if count else 0.0


def _label(axis: Axis, index: int, outside: tuple[bool, bool]) -> str:
    low, high = axis.edges[index], axis.edges[index + 1]
    if axis.kind == "count":
        return f"{low:,.0f}" if high - low == 1 else f"{low:,.0f}–{high - 1:,.0f}"
    if index == 0 and outside[0]:
        return f"under {number(high)}"
    if index == len(axis.edges) - 2 and outside[1]:
        return f"{number(low)} and over"
    return f"{number(low)} to {number(high)}"


def _ticks(axis: Axis) -> list[Tick]:
    """Letters inside the picture: the first starts at the left edge, the last ends at the right one."""
    ticks: list[Tick] = []
    for value in axis.ticks:
        at = axis.place(value)
        if axis.kind == "count":  # a count names its bin, not its border
            ticks.append(
                Tick(round(at + 50 / (len(axis.edges) - 1), 3), _label(axis, len(ticks), (False, False)), "middle")
            )
        else:
            ticks.append(Tick(at, number(value), "start" if at <= 0 else "end" if at >= 100 else "middle"))
    return ticks
