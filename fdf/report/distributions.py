"""Which measures the page charts, and where their values lie. One column is read at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdf.report.charts import Axis, Chart, Values, doublings, histogram, linear, octaves
from fdf.report.snapshot import Snapshot
from fdf.schema import FACES, KEPT, RELEASE
from fdf.stages.rules import RulesConfig
from fdf.store.tables import read_table


@dataclass(frozen=True)
class Measure:
    """A column of FACES and RELEASE, how to chart it and which rules of the recipe limit it."""

    column: str
    name: str
    unit: str
    caption: str
    axis: Axis | Callable[[Values], Axis]
    limits: tuple[str, ...] = ()
    both_sides: bool = False


_ANGLE: Final = linear(-90, 90, 10, (-90, -45, 0, 45, 90))

_MEASURES: Final = (
    Measure("score", "Detector score", "", "0–1", linear(0, 1, 0.05, (0, 0.25, 0.5, 0.75, 1)), ("min_score",)),
    Measure("yaw", "Yaw", "°", "positive: to the subject’s own left", _ANGLE, ("max_yaw",), both_sides=True),
    Measure("pitch", "Pitch", "°", "positive: up", _ANGLE, ("max_pitch",), both_sides=True),
    Measure("roll", "Roll", "°", "positive: clockwise in the picture", _ANGLE, ("max_roll",), both_sides=True),
    Measure("sharpness", "Sharpness", "", "variance of the Laplacian at 64 px", octaves, ("min_sharpness",)),
    Measure(
        "brightness",
        "Brightness",
        "",
        "mean luminance, 0–255",
        linear(0, 256, 16, (0, 64, 128, 192, 256)),
        ("min_brightness", "max_brightness"),
    ),
    Measure(
        "contrast",
        "Contrast",
        "",
        "standard deviation of the luminance",
        linear(0, 128, 8, (0, 32, 64, 96, 128)),
        ("min_contrast",),
    ),
    Measure("skin_ita", "Skin ITA", "°", "appearance in this light, not a group of people", _ANGLE),
)


def distributions(build: Snapshot) -> list[Chart]:
    """Charts of what was found and what was released; of what was found, if nothing is yet; none before `detect`."""
    faces = build.kept_paths("detect")
    if not faces:
        return []
    release = [build.release_path] if build.released_faces else []
    rules = build.recipe.filter.rules
    column = partial(_pair, faces, release)
    found, kept = column("box", _short_side)
    charts = [
        _chart("Face size", "px", "short side of the face box", octaves, found, kept, [(rules.min_face, "min_face")])
    ]
    if release:
        crops = _column(release, RELEASE, "crop_size", _plain)
        charts.append(
            _chart("Crop size", "px", "side of the square crop", octaves, None, crops, [(rules.min_crop, "min_crop")])
        )
    elif build.kept_paths("filter"):
        crops = _column(build.kept_paths("filter"), KEPT, "crop_box", _short_side)
        charts.append(_chart("Crop size", "px", "side of the square crop", octaves, None, crops))
    for measure in _MEASURES:
        found, kept = column(measure.column, _plain)
        limits = _limits(rules, measure)
        charts.append(_chart(measure.name, measure.unit, measure.caption, measure.axis, found, kept, limits))
    # Dropping a face moves its photo to another bin: found and kept can't stand in one chart.
    found, kept = column("photo_id", _occurrences)
    charts.append(
        _chart(
            "Faces per photo", "", "photos that have 1, 2–3, 4–7, …", doublings, None, found if kept is None else kept
        )
    )
    if release:
        charts.append(
            _chart("Faces per owner", "", "owners that have 1, 2–3, 4–7, …", doublings, None, _per_owner(build))
        )
    return [chart for chart in charts if chart.peak]


def _chart(
    name: str,
    unit: str,
    caption: str,
    axis: Axis | Callable[[Values], Axis],
    found: Values | None,
    kept: Values | None,
    limits: Sequence[tuple[float, str]] = (),
) -> Chart:
    """A chart of both, or of the one there is."""
    solid = kept if kept is not None else found
    if solid is None:
        raise ValueError(f"{name} has no values to chart")
    everything = solid if found is None else np.concatenate([found, solid])
    chosen = axis if isinstance(axis, Axis) else axis(everything)
    behind = found if kept is not None else None
    return histogram(name, unit, caption, chosen, kept=solid, found=behind, limits=limits)


def _limits(rules: RulesConfig, measure: Measure) -> list[tuple[float, str]]:
    values = [(float(getattr(rules, name)), name) for name in measure.limits]
    return [*values, *((-value, name) for value, name in values if measure.both_sides)]


def _pair(
    faces: Sequence[Path], release: Sequence[Path], name: str, values: Callable[[pa.Array], Values]
) -> tuple[Values, Values | None]:
    return (
        _column(faces, FACES, name, values),
        _column(release, RELEASE, name, values) if release else None,
    )


def _column(paths: Sequence[Path], schema: pa.Schema, name: str, values: Callable[[pa.Array], Values]) -> Values:
    """One column of several partitions, as numbers; a photo lies in one partition alone."""
    parts = [values(read_table(path, schema, [name])[name].combine_chunks()) for path in paths]
    return np.concatenate(parts) if parts else np.empty(0)


def _plain(column: pa.Array) -> Values:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False))


def _short_side(column: pa.Array) -> Values:
    boxes = _plain(pc.list_flatten(column)).reshape(-1, 4)
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1) if len(boxes) else np.empty(0))


def _occurrences(column: pa.Array) -> Values:
    return _plain(pc.value_counts(column).field("counts"))


def _per_owner(build: Snapshot) -> Values:
    table = build.release("owner_nsid", "photo_id")
    return _occurrences(pc.coalesce(table["owner_nsid"], table["photo_id"]).combine_chunks())
