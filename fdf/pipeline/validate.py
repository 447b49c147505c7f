"""Re-check a build without trusting it: files against receipts, receipts against each other, shards against the manifest.

All problems are named: a damaged file is one of them, never the end of the check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from fdf.pipeline.laws import Validation, check_release, check_shards
from fdf.pipeline.layout import Layout, StageRecord, table_content
from fdf.pipeline.publish import CHECKSUMS
from fdf.pipeline.recipe import STAGES, load_recipe
from fdf.pipeline.repeats import find_repeats, read_repeats
from fdf.schema import DROPPED
from fdf.stages.base import Stage, reasons
from fdf.store.files import TEMPORARY, file_sha256, is_temporary
from fdf.store.receipts import Receipt, differences, digest
from fdf.store.shards import INDEX
from fdf.store.tables import content_digest, read_table
from fdf.vocabulary import Reason

_RECEIPT = ".receipt.json"
_REPEATED = "metadata/repeated.json"
_OWN = {".lock", "recipe.toml", "report.html", "stage.json", "repeated.json", INDEX, CHECKSUMS}
"""Files that no receipt names and that belong to a build."""


@dataclass(frozen=True)
class _Stage:
    """What lies in a stage's folder.

    Attributes:
        record: `stage.json`; None if there is none or `damaged`.
        receipts: all that can be read, by partition.
        unreadable: partitions whose receipt can't be read.
    """

    stage: Stage
    record: StageRecord | None
    damaged: bool
    receipts: Mapping[str, Receipt]
    unreadable: frozenset[str]

    @cached_property
    def current(self) -> Mapping[str, Receipt]:
        """Receipts that count: those that `stage.json` names; all of them where it is missing or damaged."""
        if self.record is None:
            return self.receipts
        return {name: self.receipts[name] for name in self.record.partitions if name in self.receipts}

    @cached_property
    def lost(self) -> frozenset[str]:
        """Partitions that should have a receipt and have no readable one."""
        named = self.record.partitions if self.record else ()
        return self.unreadable | (frozenset(named) - self.receipts.keys())


def validate(layout: Layout, advance: Callable[[int], None] = lambda _: None) -> Validation:
    """Check a whole build.

    Every file named by a receipt is read again and compared with its SHA-256; tables with their schema and content
    digest; counts with the tables; inputs with the outputs they were made from; the stored recipe with the receipts; the
    release with its laws (no owner on two sides, no shard of mixed rights, unique faces); every sample of every shard with
    its manifest row; and nothing else may lie in the folders of the stages.

    Args:
        layout: the build.
        advance: called with 1 after each receipt and each shard; `steps` says how many there are.

    Raises:
        UsageError: the folder is no build.
    """
    layout.require_build()
    result = Validation(advance=advance)
    for path in sorted(path for path in layout.root.rglob(f"*{TEMPORARY}*") if is_temporary(path.name)):
        result.add(layout.relative(path), "left over by a killed run; the next build removes it")
    found = {name: _gather(layout, stage, result) for name, stage in STAGES.items()}
    for name, files in found.items():
        for partition, receipt in files.receipts.items():
            with result.going_on(f"{name}/{partition}"):
                _check_receipt(layout, files.stage, partition, receipt, result)
            result.advance(1)
        with result.going_on(f"{name}/stage.json"):
            _check_record(files, _later_finished(found, name), result)
    _check_recipe(layout, found, result)
    repeats = _check_repeats(layout, found["metadata"], result)
    for files in found.values():
        _check_chain(files, found, repeats, result)
        _check_strays(layout, files, result)
    if found["manifest"].record or found["manifest"].damaged:
        check_release(layout, result)
    shard = found["shard"]
    if shard.record or shard.damaged:
        check_shards(layout, shard.current, shard.lost, result)
    result.problems = list(dict.fromkeys(result.problems))
    return result


def steps(layout: Layout) -> int:
    """How often `validate` will call `advance`, about."""
    receipts = sum(1 for name in STAGES for _ in layout.stage(name).glob(f"*{_RECEIPT}"))
    return receipts + sum(1 for _ in layout.index.glob("*/*.tar"))


def _gather(layout: Layout, stage: Stage, result: Validation) -> _Stage:
    receipts: dict[str, Receipt] = {}
    unreadable = set()
    for path in sorted(layout.stage(stage.name).glob(f"*{_RECEIPT}")):
        partition = path.name.removesuffix(_RECEIPT)
        with result.going_on(layout.relative(path)):
            if receipt := Receipt.load(path):
                receipts[partition] = receipt
        if partition not in receipts:
            unreadable.add(partition)
            result.advance(1)
    record, damaged = None, True
    with result.going_on(f"{stage.name}/stage.json"):
        record = layout.finished(stage.name)
        damaged = record is not None and not _plausible(record, stage.name)
        if damaged:
            record = None
            result.add(f"{stage.name}/stage.json", "is not the record of this stage")
    return _Stage(stage, record, damaged, receipts, frozenset(unreadable))


def _plausible(record: StageRecord, name: str) -> bool:
    return (
        record.stage == name and isinstance(record.content, str) and all(isinstance(p, str) for p in record.partitions)
    )


def _later_finished(found: Mapping[str, _Stage], name: str) -> bool:
    names = list(found)
    return any(found[later].record for later in names[names.index(name) + 1 :])


def _check_record(files: _Stage, later: bool, result: Validation) -> None:
    """`stage.json` against the receipts beside it."""
    name, record = files.stage.name, files.record
    if record is None:
        if not files.damaged and (files.receipts or files.unreadable or later):
            result.add(name, "is not finished: `fdf build` goes on with it")
        return
    for partition in sorted(files.lost - files.unreadable):
        result.add(name, f"has no receipt for {partition}")
    for partition in sorted((files.receipts.keys() | files.unreadable) - set(record.partitions)):
        result.add(f"{name}/{partition}{_RECEIPT}", "is of a partition that stage.json does not name")
    if not files.lost:
        contents = {partition: table_content(receipt) for partition, receipt in files.current.items()}
        if digest(contents) != record.content:
            result.add(f"{name}/stage.json", "its digest is not that of the receipts")


def _check_receipt(layout: Layout, stage: Stage, partition: str, receipt: Receipt, result: Validation) -> None:
    where = f"{stage.name}/{partition}"
    result.checked["partitions"] += 1
    if (receipt.stage, receipt.partition) != (stage.name, partition):
        result.add(where, f"its receipt is that of {receipt.stage}/{receipt.partition}")
    for name, output in receipt.outputs.items():
        result.checked["files"] += 1
        with result.going_on(name):
            path = layout.root / name
            if not path.is_file():
                result.add(name, "is missing")
            elif (found := file_sha256(path)) != output.sha256:
                result.add(name, f"has SHA-256 {found}, its receipt says {output.sha256}")
    kept = _table(layout, layout.relative(layout.kept(stage.name, partition)), stage.schema, receipt, result)
    dropped = _table(layout, layout.relative(layout.dropped(stage.name, partition)), DROPPED, receipt, result)
    if kept is not None and dropped is not None:
        for what in _law(stage, receipt.counts, kept, dropped):
            result.add(where, what)


def _table(layout: Layout, name: str, schema: pa.Schema, receipt: Receipt, result: Validation) -> pa.Table | None:
    """A table of a partition, checked against its receipt; None if it can't be read."""
    output = receipt.outputs.get(name)
    if output is None:
        result.add(name, "is not named by the receipt of its partition")
    if not (layout.root / name).is_file():
        return None  # said already
    table = None
    with result.going_on(name):
        table = read_table(layout.root / name, schema)
        if output and output.content != content_digest(table):
            result.add(name, "its content is not what the receipt says")
    return table


def _law(stage: Stage, counts: Mapping[str, Any], kept: pa.Table, dropped: pa.Table) -> Iterator[str]:
    """in = kept + dropped, counted anew; reasons from the closed list."""
    units = stage.kept_units(kept)
    if counts["kept"] != units or counts["rows"] != kept.num_rows:
        yield f"the receipt counts {counts['kept']} kept in {counts['rows']} rows, the table holds {kept.num_rows} rows"
    if counts["dropped"] != reasons(dropped):
        yield f"the receipt counts drops {counts['dropped']}, the table holds {reasons(dropped)}"
    if counts["in"] != units + dropped.num_rows:
        yield f"{counts['in']} in, but {units} kept + {dropped.num_rows} dropped"
    unknown = set(dropped["reason"].unique().to_pylist()) - set(Reason)
    if unknown:
        yield f"unknown reasons: {', '.join(sorted(unknown))}"


def _check_recipe(layout: Layout, found: Mapping[str, _Stage], result: Validation) -> None:
    """The stored recipe must be the one that the receipts were made with."""
    where = layout.relative(layout.recipe)
    with result.going_on(where):
        recipe = load_recipe(layout.recipe)
        for name, files in found.items():
            now = recipe.section(name).fingerprint()
            changed: Counter[str] = Counter()
            for partition, receipt in files.current.items():
                with result.going_on(f"{name}/{partition}"):
                    # A mirror of our own replaces the recipe's, which is then not part of the fingerprint.
                    unasked = {"mirror"} if "loopback" in receipt.fingerprint else set()
                    asked = {key: value for key, value in now.items() if key not in unasked}
                    changed.update(differences({name: receipt.fingerprint["config"]}, {name: asked}))
            for what, count in changed.items():
                result.add(where, f"is not what {name} was made with: {what} ({count:,} of its partitions)")


def _check_repeats(layout: Layout, metadata: _Stage, result: Validation) -> Mapping[str, list[str]] | None:
    """The ids that repeat across partitions, found anew and compared with the file; None if they can't be known."""
    if metadata.record is None:
        return None
    repeats = written = None
    with result.going_on(_REPEATED):
        repeats = find_repeats(layout, metadata.record.partitions)
    if not (layout.root / _REPEATED).is_file():
        result.add(_REPEATED, "is missing")
        return repeats
    with result.going_on(_REPEATED):
        written = read_repeats(layout)
    if repeats is not None and written is not None and written != repeats:
        differ = [p for p in metadata.record.partitions if _ids(written, p) != repeats.get(p, [])]
        result.add(_REPEATED, f"names other ids than repeat in the tables: {', '.join(differ) or 'unknown partitions'}")
    return repeats


def _ids(written: Any, partition: str) -> Any:
    return written.get(partition, []) if isinstance(written, Mapping) else None


def _check_chain(
    files: _Stage, found: Mapping[str, _Stage], repeats: Mapping[str, list[str]] | None, result: Validation
) -> None:
    """What a stage says it read must be what the stages before it hold now."""
    stage = files.stage
    if stage.name == "metadata":
        return
    for partition, receipt in files.current.items():
        where = f"{stage.name}/{partition}"
        with result.going_on(where):
            inputs = receipt.fingerprint["inputs"]
            told = inputs.get("repeated", [])
            if "repeated" in stage.tools and repeats is not None and told != repeats.get(partition, []):
                result.add(where, "was made with other repeated ids than there are")
            for name in stage.reads:
                before = found[name]
                if stage.scope == "partition":
                    known = partition not in before.lost
                    made = before.current.get(partition)
                    now = table_content(made) if made else None
                else:
                    known, now = not before.damaged, before.record.content if before.record else None
                if known and now != inputs[name]:
                    result.add(where, f"was made from another {name} than there is now")


def _check_strays(layout: Layout, files: _Stage, result: Validation) -> None:
    """Nothing but what the receipts name may lie in a stage's folder."""
    folder = layout.stage(files.stage.name)
    named = {name for receipt in files.receipts.values() for name in receipt.outputs}
    for path in sorted(folder.rglob("*")):
        ours = path.name in _OWN or (path.parent == folder and path.name.endswith(_RECEIPT))
        lost = path.name.partition(".")[0] in files.lost  # its receipt is the problem
        if ours or lost or is_temporary(path.name) or path.is_dir() or layout.relative(path) in named:
            continue
        result.add(layout.relative(path), "is in no receipt")
