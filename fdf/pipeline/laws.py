"""What must hold of a release and of its shards, and how a check names what does not, without ever stopping at it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import FdfError
from fdf.pipeline.layout import RELEASE_FILE, Layout
from fdf.pipeline.publish import CHECKSUMS, shard_entries
from fdf.pipeline.recipe import STAGES
from fdf.schema import RELEASE
from fdf.store.files import file_sha256
from fdf.store.receipts import Receipt
from fdf.store.shards import INDEX, ShardEntry, packed_from, read_index, read_shard
from fdf.store.tables import read_table

_Placed = tuple[str, str, str]
"""Split, rights class and shard of a face."""


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    where: str
    what: str


@dataclass
class Validation:
    """What was checked, by kind, and what was found wrong.

    Attributes:
        advance: called with 1 for every receipt and every shard that was looked at.
    """

    checked: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    advance: Callable[[int], None] = lambda _: None

    def add(self, where: str, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, what))

    @contextlib.contextmanager
    def going_on(self, where: str) -> Iterator[None]:
        """Whatever goes wrong in this block is a problem at `where`, and the check goes on after it.

        Everything is caught on purpose: what lies in the folder may be damaged in ways that no list of errors foresees.
        """
        try:
            yield
        except FdfError as error:
            self.add(where, str(error))
        except Exception as error:
            self.add(where, f"can't be checked ({type(error).__name__}: {error})")


def check_release(layout: Layout, result: Validation) -> None:
    """No owner on two sides of the split, no shard of mixed rights, no face twice; the checksums are those of the files."""
    path = layout.kept("manifest", STAGES["manifest"].partition)
    where = layout.relative(path)
    with result.going_on(where):
        if path.is_file():
            columns = ["face_id", "photo_id", "owner_nsid", "split", "shard", "rights_class"]
            release = read_table(path, RELEASE, columns)
            result.checked["faces"] += release.num_rows
            for what in _release_laws(release):
                result.add(where, what)
        else:
            result.add(where, "is missing")
    sums = layout.stage("manifest") / CHECKSUMS
    with result.going_on(layout.relative(sums)):
        for what in _wrong_sums(sums):
            result.add(layout.relative(sums), what)


def _release_laws(release: pa.Table) -> Iterator[str]:
    faces = release.group_by("face_id").aggregate([([], "count_all")])
    for face in faces.filter(pc.greater(faces["count_all"], 1))["face_id"].to_pylist():
        yield f"face {face} is there twice"
    owner = pc.if_else(pc.equal(release["owner_nsid"], ""), None, release["owner_nsid"])
    sided = pa.table({"owner": pc.coalesce(owner, release["photo_id"]), "split": release["split"]})
    sides = sided.group_by("owner").aggregate([("split", "count_distinct")])
    for name in sides.filter(pc.greater(sides["split_count_distinct"], 1))["owner"].to_pylist():
        yield f"owner {name} is on two sides of the split"
    kinds: dict[str, list[tuple[str, str]]] = {}
    for row in release.group_by(["shard", "split", "rights_class"]).aggregate([]).to_pylist():
        kinds.setdefault(row["shard"], []).append((row["split"], row["rights_class"]))
    for shard, found in kinds.items():
        if len(found) > 1:
            yield f"shard {shard} mixes {sorted(found)}"


def _wrong_sums(sums: Path) -> Iterator[str]:
    if not sums.is_file():
        yield "is missing"
        return
    lines = [line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines()]
    if RELEASE_FILE not in {name for _, _, name in lines}:
        yield f"does not name {RELEASE_FILE}"
    for digest, _, name in lines:
        named = sums.parent / Path(name).name
        if not named.is_file() or file_sha256(named) != digest:
            yield f"{name} is not the file it names"


def check_shards(layout: Layout, receipts: Mapping[str, Receipt], lost: Collection[str], result: Validation) -> None:
    """The index against the receipts, and every sample of every shard against its manifest row.

    Args:
        receipts: of the partitions that count.
        lost: partitions without a readable receipt; for their shards the index is believed.
    """
    entries: list[ShardEntry] = []
    for name, receipt in receipts.items():
        with result.going_on(f"shard/{name}.receipt.json"):
            entries += shard_entries({name: receipt})
    entries.sort(key=lambda entry: (entry.resolution, entry.path))
    where, path = f"shard/{INDEX}", layout.kept("manifest", STAGES["manifest"].partition)
    with result.going_on(where):
        index, origin = read_index(layout.index / INDEX), packed_from(layout.index / INDEX)
        if origin is not None and path.is_file() and file_sha256(path) != origin:
            result.add(
                where, "names another manifest than the one that is there: pack again with --from shard --rebuild"
            )
        for what in _wrong_index(index, entries, lost):
            result.add(where, what)
        entries += [entry for entry in index if Path(entry.path).stem in lost]
    expected: dict[str, _Placed] | None = None
    with result.going_on(layout.relative(path)):
        if path.is_file():  # said already where it isn't
            expected = _placed(path)
    for entry in entries:
        with result.going_on(f"shard/{entry.path}"):
            for what in _shard(layout, entry, expected, result):
                result.add(f"shard/{entry.path}", what)
        result.advance(1)


def _wrong_index(index: list[ShardEntry], entries: list[ShardEntry], lost: Collection[str]) -> Iterator[str]:
    """How an index differs from what it should list; shards of lost receipts are left out."""
    index = [entry for entry in index if Path(entry.path).stem not in lost]
    listed, named = ({entry.path: entry for entry in group} for group in (index, entries))
    for path in sorted(named.keys() - listed.keys()):
        yield f"does not list {path}"
    for path in sorted(listed.keys() - named.keys()):
        yield f"lists {path}, which is in no receipt"
    for path in sorted(listed.keys() & named.keys()):
        if listed[path] != named[path]:
            yield f"says something else of {path} than its receipt"
    if listed == named and index != entries:
        yield "lists a shard twice, or shards in another order"


def _placed(release: Path) -> dict[str, _Placed]:
    """Face id → where it belongs. Equal places are one object: a million faces take a quarter of a gigabyte."""
    names = ("split", "rights_class", "shard")
    table = read_table(release, RELEASE, ["face_id", *names])
    one: dict[_Placed, _Placed] = {}
    found: dict[str, _Placed] = {}
    for batch in table.to_batches(max_chunksize=50_000):
        columns = (batch[name].to_pylist() for name in names)
        for face, place in zip(batch["face_id"].to_pylist(), zip(*columns, strict=True), strict=True):
            found[face] = one.setdefault(place, place)
    return found


def _shard(
    layout: Layout, entry: ShardEntry, expected: Mapping[str, _Placed] | None, result: Validation
) -> Iterator[str]:
    count = 0
    for sample in read_shard(layout.index / entry.path, entry.sha256):
        count += 1
        result.checked["samples"] += 1
        if sample.row["face_id"] != sample.key or sample.row["rights_class"] != entry.rights_class:
            yield f"the sidecar of {sample.key} says something else than its manifest row"
        if expected is None:
            continue
        split, rights, shard = expected.get(sample.key, ("", "", ""))
        if not shard:
            yield f"sample {sample.key} is not in the manifest"
        elif (rights, split) != (entry.rights_class, entry.split):
            yield f"sample {sample.key} is {split}/{rights}"
        elif shard != Path(entry.path).stem:
            yield f"sample {sample.key} belongs in shard {shard}"
    if count != entry.samples:
        yield f"holds {count} samples, the index says {entry.samples}"
