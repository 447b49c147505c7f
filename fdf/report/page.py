"""The page: gather what a build holds, fill the template, write one file.

One build gives one page, to the byte: no clock is read, every date comes from a receipt. The page needs nothing but itself:
pictures are `data:` URIs, there is no script, and its Content-Security-Policy forbids the rest.
"""

from __future__ import annotations

from pathlib import Path

from fdf.consent.audit import NOTICE
from fdf.pipeline.layout import Layout
from fdf.report.distributions import distributions
from fdf.report.gallery import dropped_faces, kept_faces
from fdf.report.journey import journey
from fdf.report.packing import owner_splits, shard_groups
from fdf.report.provenance import data_dictionary, provenance
from fdf.report.rights import rights
from fdf.report.snapshot import Snapshot, take_snapshot
from fdf.report.templating import fill
from fdf.store.files import write_bytes

PAGE = "report.html"


def write_report(folder: Path, out: Path | None = None, *, faces: int = 48) -> Path:
    """Write the report of a build, finished or not; returns its path.

    Args:
        folder: the build.
        out: the page; `report.html` in the build if left out.
        faces: how many example faces to show; 0 shows none, of the dropped ones neither.

    Raises:
        UsageError: `folder` is no build.
        DataError: a table, receipt or the recipe in it can't be read.
        MachineError: the page can't be written.
    """
    page = render(take_snapshot(Layout(folder)), faces=faces)
    path = out or folder / PAGE
    write_bytes(path, page.encode("utf-8"))
    return path


def render(build: Snapshot, *, faces: int = 48) -> str:
    """The page as text."""
    return fill(
        build=build,
        notice=NOTICE,
        journey=journey(build),
        rights=rights(build),
        charts=distributions(build),
        splits=owner_splits(build),
        shards=shard_groups(build),
        kept=kept_faces(build, faces),
        dropped=dropped_faces(build, faces),
        provenance=provenance(build),
        dictionary=data_dictionary(),
    )
