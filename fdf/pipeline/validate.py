"""Re-check a build without trusting it: files against receipts, receipts against each other, shards against the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdf.errors import FdfError
from fdf.pipeline.layout import Layout, table_content
from fdf.pipeline.publish import CHECKSUMS, shard_entries
from fdf.pipeline.recipe import STAGES
from fdf.pipeline.repeats import find_repeats
from fdf.schema import DROPPED, Reason
from fdf.stages.base import Stage, reasons
from fdf.store.files import TEMPORARY, file_sha256
from fdf.store.receipts import Receipt
from fdf.store.shards import INDEX, ShardEntry, read_index, read_shard
from fdf.store.tables import content_digest, read_table, read_tables


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    where: str
    what: str


@dataclass
class Validation:
    """What was checked, by kind, and what was found wrong."""

    checked: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


def validate(layout: Layout) -> Validation:
    """Check a whole build.

    Every file named by a receipt is read again and compared with its SHA-256; tables with their schema and content
    digest; counts with the tables; inputs with the outputs they were made from; the release with its laws (no owner on two
    sides, no shard of mixed rights, unique faces); every sample of every shard with its manifest row.

    Raises:
        UsageError: the folder is no build.
    """
    layout.require_build()
    result = Validation()
    for path in layout.root.rglob(f"*{TEMPORARY}*"):
        result.problems.append(Problem(layout.relative(path), "left over by a killed run; the next build removes it"))
    records = {name: layout.finished(name) for name in STAGES}
    for name, stage in STAGES.items():
        receipts = layout.receipts(name)
        record = records[name]
        for receipt in receipts.values():
            _check_receipt(layout, stage, receipt, result)
        if record is None:
            if receipts or any(records[later] for later in list(STAGES)[list(STAGES).index(name) :]):
                result.problems.append(Problem(name, "is not finished: `fdf build` goes on with it"))
            continue
        result.problems += [Problem(name, f"has no receipt for {p}") for p in record.partitions if p not in receipts]
        _check_chain(layout, stage, receipts, result)
    if records["manifest"]:
        _check_release(layout, result)
    if records["shard"]:
        _check_shards(layout, result)
    return result


def _check_receipt(layout: Layout, stage: Stage, receipt: Receipt, result: Validation) -> None:
    where = f"{stage.name}/{receipt.partition}"
    result.checked["partitions"] += 1
    for name, output in receipt.outputs.items():
        result.checked["files"] += 1
        path = layout.root / name
        if not path.is_file():
            result.problems.append(Problem(name, "is missing"))
        elif (found := file_sha256(path)) != output.sha256:
            result.problems.append(Problem(name, f"has SHA-256 {found}, its receipt says {output.sha256}"))
    try:
        kept = read_table(layout.kept(stage.name, receipt.partition), stage.schema)
        dropped = read_table(layout.dropped(stage.name, receipt.partition), DROPPED)
    except FdfError as error:
        result.problems.append(Problem(where, str(error)))
        return
    for path_of, table in ((layout.kept, kept), (layout.dropped, dropped)):
        name = layout.relative(path_of(stage.name, receipt.partition))
        if receipt.outputs[name].content != content_digest(table):
            result.problems.append(Problem(name, "its content is not what the receipt says"))
    result.problems += [Problem(where, what) for what in _law(stage, receipt.counts, kept, dropped)]


def _law(stage: Stage, counts: Mapping[str, Any], kept: pa.Table, dropped: pa.Table) -> Iterator[str]:
    """in = kept + dropped, counted anew; reasons from the closed list."""
    if counts["kept"] != stage.kept_units(kept) or counts["rows"] != kept.num_rows:
        yield f"the receipt counts {counts['kept']} kept in {counts['rows']} rows, the table holds {kept.num_rows} rows"
    if counts["dropped"] != reasons(dropped):
        yield f"the receipt counts drops {counts['dropped']}, the table holds {reasons(dropped)}"
    if counts["in"] != stage.kept_units(kept) + dropped.num_rows:
        yield f"{counts['in']} in, but {stage.kept_units(kept)} kept + {dropped.num_rows} dropped"
    unknown = set(dropped["reason"].to_pylist()) - set(Reason)
    if unknown:
        yield f"unknown reasons: {', '.join(sorted(unknown))}"


def _check_chain(layout: Layout, stage: Stage, receipts: Mapping[str, Receipt], result: Validation) -> None:
    """What a stage says it read must be what the stages before it hold now."""
    if stage.name == "metadata":
        return
    record = layout.finished("metadata")
    repeats = find_repeats(layout, record.partitions) if record and "repeated" in stage.tools else {}
    for partition, receipt in receipts.items():
        inputs = receipt.fingerprint["inputs"]
        if "repeated" in stage.tools and inputs.get("repeated", []) != repeats.get(partition, []):
            result.problems.append(
                Problem(f"{stage.name}/{partition}", "was made with other repeated ids than there are")
            )
        for name in stage.reads:
            digest = inputs[name]
            record = layout.finished(name)
            if stage.scope == "partition":
                before = layout.receipts(name).get(partition)
                now = table_content(before) if before else None
            else:
                now = record.content if record else None
            if now != digest:
                result.problems.append(
                    Problem(f"{stage.name}/{partition}", f"was made from another {name} than there is now")
                )


def _check_release(layout: Layout, result: Validation) -> None:
    path = layout.kept("manifest", STAGES["manifest"].partition)
    try:
        release = read_table(path, STAGES["manifest"].schema)
    except FdfError:
        return  # said already
    result.checked["faces"] += release.num_rows
    where = layout.relative(path)
    sides: dict[str, set[str]] = {}
    kinds: dict[str, set[tuple[str, str]]] = {}
    columns = ("owner_nsid", "photo_id", "split", "shard", "rights_class")
    for owner, photo, split, shard, rights in zip(*(release[name].to_pylist() for name in columns), strict=True):
        sides.setdefault(owner or photo, set()).add(split)
        kinds.setdefault(shard, set()).add((split, rights))
    doubled = [key for key, count in Counter(release["face_id"].to_pylist()).items() if count > 1]
    result.problems += [Problem(where, f"face {key} is there twice") for key in doubled[:10]]
    result.problems += [
        Problem(where, f"owner {o} is on two sides of the split") for o, s in sides.items() if len(s) > 1
    ]
    result.problems += [Problem(where, f"shard {s} mixes {sorted(k)}") for s, k in kinds.items() if len(k) > 1]
    sums = layout.stage("manifest") / CHECKSUMS
    for line in sums.read_text().splitlines() if sums.is_file() else []:
        digest, _, name = line.partition("  ")
        named = layout.stage("manifest") / Path(name).name
        if not named.is_file() or file_sha256(named) != digest:
            result.problems.append(Problem(layout.relative(sums), f"{name} is not the file it names"))


def _check_shards(layout: Layout, result: Validation) -> None:
    receipts = layout.receipts("shard")
    try:
        index = read_index(layout.index / INDEX)
    except FdfError as error:
        result.problems.append(Problem(f"shard/{INDEX}", str(error)))
        return
    if index != shard_entries(receipts):
        result.problems.append(Problem(f"shard/{INDEX}", "does not list what the receipts say"))
    columns = ["face_id", "rights_class", "split", "shard"]
    release = read_tables([layout.kept("manifest", STAGES["manifest"].partition)], STAGES["manifest"].schema, columns)
    expected = {row["face_id"]: row for row in release.to_pylist()}
    listed = {path.relative_to(layout.index).as_posix() for path in layout.index.glob("*/*.tar")}
    for path in sorted(listed - {entry.path for entry in index}):
        result.problems.append(Problem(f"shard/{path}", "is in no receipt"))
    for entry in index:
        result.problems += [Problem(f"shard/{entry.path}", what) for what in _shard(layout, entry, expected, result)]


def _shard(layout: Layout, entry: ShardEntry, expected: Mapping[str, Any], result: Validation) -> Iterator[str]:
    count = 0
    try:
        for sample in read_shard(layout.index / entry.path, entry.sha256):
            count += 1
            result.checked["samples"] += 1
            row = expected.get(sample.key)
            if row is None:
                yield f"sample {sample.key} is not in the manifest"
            elif (row["rights_class"], row["split"]) != (entry.rights_class, entry.split):
                yield f"sample {sample.key} is {row['split']}/{row['rights_class']}"
            elif sample.row["face_id"] != sample.key or sample.row["rights_class"] != entry.rights_class:
                yield f"the sidecar of {sample.key} says something else than its manifest row"
    except FdfError as error:
        yield str(error)
        return
    if count != entry.samples:
        yield f"holds {count} samples, the index says {entry.samples}"
