"""Whose originals a run shows: its sample grids have them unmasked in the first column, in `samples/` and in `tensorboard/`.

`samples.parquet` names them, written before the first grid is. The same faces set the ranges of int8 exports.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fdf.errors import DataError
from fdf.store.files import atomic_file, disk_errors

SHOWN_FILE: Final = "samples.parquet"
SHOWN: Final = pa.schema(
    [
        (name, pa.string())
        for name in ("photo_id", "face_id", "owner_nsid", "source", "license_id", "rights_class", "split", "shard")
    ]
)
"""Columns as in `faces.parquet`, and the split: faces of another one than the run's were not learnt from."""
_GRIDS: Final = ("samples", "tensorboard")
KEY: Final = ("source", "photo_id", "face_id")
"""What tells faces apart. Ids of photos alone are shared: builds of `fdf synth` give one id to different people."""


def face_keys(table: pa.Table) -> Iterator[tuple[str, str, str]]:
    """The key of each face of a table that has such columns."""
    return zip(*(table[name].to_pylist() for name in KEY), strict=True)


def write_shown(run: Path, rows: pa.Table) -> None:
    """Write which faces the grids of a run show, columns of `SHOWN`; those that it named before stay named."""
    before = read_shown(run)
    every = rows.to_pylist() if before is None else [*before.to_pylist(), *rows.to_pylist()]
    distinct = {tuple(row.values()): row for row in every}
    path = run / SHOWN_FILE
    with atomic_file(path) as file, disk_errors(path):
        pq.write_table(pa.Table.from_pylist(list(distinct.values()), schema=SHOWN), file, compression="zstd")


def read_shown(run: Path) -> pa.Table | None:
    """What `write_shown` wrote; None of a run that doesn't say, as those that an older fdf began.

    Raises:
        DataError: it is damaged.
    """
    path = run / SHOWN_FILE
    if not path.is_file():
        return None
    try:
        return pq.read_table(path, columns=SHOWN.names).cast(SHOWN)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{path} can't be read ({error})",
            expected="a file that `fdf train` wrote",
            action="Bring it back, or delete it: then it counts as not known whom the grids of this run show",
        ) from error


def grids_of(run: Path) -> tuple[Path, ...]:
    """The folders of a run that have grids in them."""
    folders = (run / name for name in _GRIDS)
    return tuple(folder for folder in folders if folder.is_dir() and any(folder.iterdir()))
