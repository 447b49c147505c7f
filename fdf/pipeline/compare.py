"""Is this build's manifest the published one?

On the same kind of machine it is, to the byte, apart from columns that hold a time. Networks on another kind of processor
round differently in the last bits, so measured columns are compared within tolerances and everything else exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fdf.errors import FdfError
from fdf.pipeline.laws import Problem
from fdf.pipeline.layout import Layout, find_release
from fdf.pipeline.recipe import STAGES
from fdf.schema import RELEASE, volatile_columns
from fdf.store.tables import content_digest, read_table

_TOLERANCE: Final[dict[str, float]] = {
    "box": 0.5,
    "box_in_crop": 0.01,
    "keypoints": 0.02,
    "score": 0.01,
    "yaw": 1.0,
    "pitch": 1.0,
    "roll": 1.0,
    "sharpness": 5.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "skin_ita": 2.0,
    "occlusion": 0.05,
}
_FOLLOWS_BOX: Final = {"crop_box": 1, "crop_size": 2}
"""Whole pixels that may step by one where a box edge lies on a boundary; the crop's digest follows."""


def compare_manifests(layout: Layout, published: Path) -> list[Problem]:
    """Differences between a build's release and the one in `published`; empty if they agree.

    A table that can't be read is a difference as well.

    Raises:
        UsageError: there is no published manifest.
    """
    path = find_release(published)
    ours = layout.kept("manifest", STAGES["manifest"].partition)
    where = f"manifest against {path}"
    try:
        mine, theirs = read_table(ours, RELEASE), read_table(path, RELEASE)
    except FdfError as error:
        return [Problem(where, f"can't be compared: {error}")]
    if content_digest(theirs) == content_digest(mine):
        return []
    return [Problem(where, what) for what in _differences(mine, theirs)]


def _differences(ours: pa.Table, theirs: pa.Table) -> Iterator[str]:
    matched: dict[tuple[str, str], dict[str, Any]] = {_key(row): row for row in ours.to_pylist()}
    for row in theirs.to_pylist():
        mine = matched.pop(_key(row), None)
        if mine is None:
            yield f"face {row['face_id']} of photo {row['photo_id']} is not in this build"
        else:
            yield from (f"face {row['face_id']}: {what}" for what in _row_differences(mine, row))
    for photo_id, face_id in matched:
        yield f"face {face_id} of photo {photo_id} is not in the published manifest"


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["photo_id"], row["face_id"]


def _row_differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    same_crop = mine["crop_box"] == theirs["crop_box"]
    for name in RELEASE.names:
        if name in volatile_columns(RELEASE) or (name == "crop_sha256" and not same_crop):
            continue
        tolerance = _TOLERANCE.get(name, _FOLLOWS_BOX.get(name))
        a, b = mine[name], theirs[name]
        if tolerance is None or a is None or b is None:
            equal = a == b
        else:
            equal = bool(np.all(np.abs(np.asarray(a, float) - np.asarray(b, float)) <= tolerance))
        if not equal:
            yield f"{name} is {a!r}, published {b!r}"
