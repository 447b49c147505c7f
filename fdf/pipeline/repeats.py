"""Photo ids that stand in more than one partition of the metadata.

`metadata` sees one partition and drops what repeats there. What repeats across partitions is found here, once all of them are
done, and dropped by `fetch`: the first row has the id, kept or not, as it would within one partition. From `fetch` on ids are
unique.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdf.errors import DataError
from fdf.pipeline.layout import Layout, finished
from fdf.schema import DROPPED, PHOTOS
from fdf.store.files import write_bytes
from fdf.store.tables import read_table

_FILE = "repeated.json"
_REMEDY = "Remove it and run `fdf build --until metadata` again"


def record_repeats(layout: Layout) -> None:
    """Find the repeated ids of finished metadata and write them beside it: partition → ids that an earlier one holds.

    Not done again for metadata that it was done for.
    """
    metadata = finished(layout, "metadata")
    path = layout.stage("metadata") / _FILE
    with contextlib.suppress(DataError):
        if _read(layout)["metadata"] == metadata.content:
            return
    body = {"metadata": metadata.content, "repeated": find_repeats(layout, metadata.partitions)}
    write_bytes(path, (json.dumps(body, indent=1) + "\n").encode())


def read_repeats(layout: Layout) -> dict[str, list[str]]:
    """What `record_repeats` wrote.

    Raises:
        DataError: missing, damaged, or of other metadata.
    """
    found = _read(layout)
    if found["metadata"] != finished(layout, "metadata").content:
        raise DataError(f"{layout.stage('metadata') / _FILE} is of other metadata", action=_REMEDY)
    repeated: dict[str, list[str]] = found["repeated"]
    return repeated


def _read(layout: Layout) -> dict[str, Any]:
    path = layout.stage("metadata") / _FILE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error})", action=_REMEDY) from error
    whole = isinstance(body, dict) and isinstance(body.get("metadata"), str) and isinstance(body.get("repeated"), dict)
    if not whole or any(not isinstance(ids, list) for ids in body["repeated"].values()):
        raise DataError(f"{path} holds something else than repeated ids", action=_REMEDY)
    found: dict[str, Any] = body
    return found


def find_repeats(layout: Layout, partitions: Sequence[str]) -> dict[str, list[str]]:
    """Partition → its photos whose id an earlier partition has, be it kept or dropped there.

    Holds eight bytes an id: 68 M photos take half a gigabyte.
    """
    hashes = [pd.util.hash_array(_ids(layout, part).to_numpy()) for part in partitions]
    values, counts = np.unique(np.concatenate(hashes), return_counts=True) if hashes else (np.empty(0, np.uint64),) * 2
    suspects = values[counts > 1]
    seen: set[str] = set()
    found: dict[str, list[str]] = {}
    for part, hashed in zip(partitions, hashes, strict=True):
        ids = set(_ids(layout, part)[np.isin(hashed, suspects)])
        kept = (
            set(read_table(layout.kept("metadata", part), PHOTOS, ["photo_id"])["photo_id"].to_pylist()) if ids else ids
        )
        if repeated := sorted(ids & seen & kept):
            found[part] = repeated
        seen |= ids
    return found


def _ids(layout: Layout, partition: str) -> pd.Series:
    """Each id of a partition once; rows named by their line have none."""
    kept = read_table(layout.kept("metadata", partition), PHOTOS, ["photo_id"])["photo_id"]
    dropped = read_table(layout.dropped("metadata", partition), DROPPED, ["photo_id"])["photo_id"]
    ids = pd.concat([kept.to_pandas(), dropped.to_pandas()], ignore_index=True).astype(object).drop_duplicates()
    return ids[~ids.str.startswith("line:")]
