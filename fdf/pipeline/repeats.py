"""Photo ids that stand in more than one partition of the metadata.

`metadata` sees one partition and drops what repeats there. What repeats across partitions is found here, once all of them are
done, and dropped by `fetch`: the first row has the id, kept or not, as it would within one partition. From `fetch` on ids are
unique.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fdf.errors import DataError
from fdf.pipeline.layout import Layout
from fdf.schema import DROPPED, PHOTOS
from fdf.store.files import write_bytes
from fdf.store.tables import read_table

_FILE = "repeated.json"


def record_repeats(layout: Layout, partitions: Sequence[str]) -> None:
    """Find the repeated ids of finished metadata and write them beside it: partition → ids that an earlier one holds."""
    body = (json.dumps(find_repeats(layout, partitions), indent=1) + "\n").encode()
    path = layout.stage("metadata") / _FILE
    if not path.is_file() or path.read_bytes() != body:
        write_bytes(path, body)


def read_repeats(layout: Layout) -> dict[str, list[str]]:
    """What `record_repeats` wrote."""
    path = layout.stage("metadata") / _FILE
    try:
        found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error})", action="Run `fdf build --until metadata` again") from error


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
