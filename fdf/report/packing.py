"""Splits by owner, and shards by what they hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pyarrow.compute as pc

from fdf.pipeline.publish import shard_entries
from fdf.report.snapshot import Snapshot
from fdf.store.shards import ShardEntry

LISTED_SHARDS = 200
"""Shards named one by one; the index names all."""


@dataclass(frozen=True)
class SplitLine:
    """One side of the split."""

    name: str
    faces: int
    photos: int
    owners: int
    share: float
    owner_share: float


@dataclass(frozen=True)
class Splits:
    """Both sides, and how many owners stand on more than one (must be none)."""

    lines: tuple[SplitLine, ...]
    shared_owners: int


@dataclass(frozen=True)
class ShardGroup:
    """Shards of one resolution, split and rights class."""

    resolution: int
    split: str
    rights_class: str
    shards: int
    samples: int
    size: int


@dataclass(frozen=True)
class Shards:
    """All shards, in groups, and the first ones by name."""

    groups: tuple[ShardGroup, ...]
    listed: tuple[ShardEntry, ...]
    total: int
    size: int
    samples: dict[int, int]


def owner_splits(build: Snapshot) -> Splits | None:
    """Sizes of the splits; None before the manifest."""
    if not build.released:
        return None
    table = build.release("split", "owner_nsid", "photo_id")
    table = table.set_column(1, "owner_nsid", pc.coalesce(table["owner_nsid"], table["photo_id"]))
    faces = max(table.num_rows, 1)
    owners = max(pc.count_distinct(table["owner_nsid"]).as_py(), 1)
    groups = table.group_by("split").aggregate(
        [([], "count_all"), ("photo_id", "count_distinct"), ("owner_nsid", "count_distinct")]
    )
    lines = tuple(
        SplitLine(
            name=row["split"],
            faces=row["count_all"],
            photos=row["photo_id_count_distinct"],
            owners=row["owner_nsid_count_distinct"],
            share=row["count_all"] / faces,
            owner_share=row["owner_nsid_count_distinct"] / owners,
        )
        for row in sorted(groups.to_pylist(), key=lambda row: str(row["split"]))
    )
    sides = table.group_by("owner_nsid").aggregate([("split", "count_distinct")])
    return Splits(lines, int(pc.sum(pc.greater(sides["split_count_distinct"], 1)).as_py() or 0))


def shard_groups(build: Snapshot) -> Shards | None:
    """The shards that are there; None before the first."""
    receipts = build.receipts.get("shard", {})
    if not receipts and "shard" not in build.records:
        return None
    entries = shard_entries(dict(receipts))
    groups: dict[tuple[int, str, str], list[ShardEntry]] = defaultdict(list)
    samples: dict[int, int] = defaultdict(int)
    for entry in entries:
        groups[entry.resolution, entry.split, entry.rights_class].append(entry)
        samples[entry.resolution] += entry.samples
    return Shards(
        groups=tuple(
            ShardGroup(*key, len(group), sum(e.samples for e in group), sum(e.size for e in group))
            for key, group in sorted(groups.items())
        ),
        listed=tuple(entries[:LISTED_SHARDS]),
        total=len(entries),
        size=sum(entry.size for entry in entries),
        samples=dict(sorted(samples.items())),
    )
