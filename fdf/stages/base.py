"""What a stage is: a name, a version, the tables it reads, the schema it writes, a config and one function.

A stage gets tables and tools and gives tables back. It never learns where they lie: `fdf.pipeline` joins it to `fdf.store`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from fdf.schema import DROPPED
from fdf.vocabulary import Reason

Item = TypeVar("Item")
Result = TypeVar("Result")


class Config(BaseModel):
    """Base of all recipe sections: immutable values, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def fingerprint(self) -> dict[str, Any]:
        """The settings that decide the output; those marked as execution (time-outs, threads, ports) are left out."""
        execution = {
            name
            for name, info in type(self).model_fields.items()
            if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("execution")
        }
        return self.model_dump(mode="json", exclude=execution)


def execution(default: Any, description: str, **limits: Any) -> Any:
    """A setting that changes how a stage runs, never what it writes: not part of fingerprints."""
    return Field(default, description=description, json_schema_extra={"execution": True}, **limits)


class Sink(Protocol):
    """Takes original bytes for good."""

    def add(self, name: str, data: bytes) -> tuple[str, int, int]:
        """Store the bytes; returns (archive, offset, length)."""


class Blobs(Protocol):
    """Gives original bytes back."""

    def read(self, archive: str, offset: int, length: int) -> bytes:
        """Bytes of one photo."""


class Samples(Protocol):
    """Takes the samples of one shard, in order."""

    def add(self, resolution: int, key: str, files: Mapping[str, bytes]) -> None:
        """Append one sample: extension → bytes."""


@dataclass(frozen=True)
class Tools:
    """What a stage may use besides its tables. The pipeline hands each stage the ones it names in `Stage.tools`.

    Attributes:
        threads: how many threads the stage may use; never changes its output.
        now: the clock; fixed by SOURCE_DATE_EPOCH for reproducible builds.
        advance: call with the number of units just finished, for progress bars.
        mirror: base URL of the mirror; source: name of the source.
        repeated: photo ids of this partition that stand in an earlier one.
        models: entries of all models that touched the tables so far (id, task, sha256, weight_license, …).
    """

    threads: int = 1
    now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(microsecond=0)
    advance: Callable[[int], None] = lambda _: None
    sink: Sink | None = None
    blobs: Blobs | None = None
    samples: Samples | None = None
    downloader: Any = None
    mirror: str = ""
    source: str = ""
    analyzer: Any = None
    models: Sequence[Mapping[str, str]] = ()
    repeated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StageResult:
    """What a stage made: what it kept, what it dropped and why, and other things it counted."""

    kept: pa.Table
    dropped: pa.Table
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        version: raise it when the same input would give another output.
        unit: what is counted, `photo` or `face`: in = kept + dropped holds for it.
        scope: `partition` (each by itself), `dataset` (all at once: duplicates, balance) or `shard` (a task for each
            shard that the first table names).
        reads: names of the stages whose kept tables it gets; the first is its main input, whose units are counted.
            Each row of it is one unit. `metadata` reads the records of a source, under the name `source`.
        tools: names of the `Tools` fields it needs.
        columns: of a `dataset` stage: the columns it needs of a table it reads; all of those that are not named.
        partition: name of the one partition of a `dataset` stage.
        seconds: measured on one core for one unit of input, for the estimates of `--dry-run`.
    """

    name: str
    version: int
    unit: Literal["photo", "face"]
    scope: Literal["partition", "dataset", "shard"]
    reads: tuple[str, ...]
    schema: pa.Schema
    config: type[Config]
    run: Callable[[Mapping[str, pa.Table], Any, Tools], StageResult]
    doc: str
    tools: tuple[str, ...] = ()
    seconds: float = 0.0
    partition: str = "all"
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def kept_units(self, kept: pa.Table) -> int:
        """How many units of input a table of this stage's output stands for (several faces: still one photo)."""
        return len(kept["photo_id"].unique()) if self.unit == "photo" else int(kept.num_rows)


def drop(stage: str, photo_id: str, reason: Reason, detail: str = "", face_id: str | None = None) -> dict[str, Any]:
    """One row of DROPPED."""
    return {
        "stage": stage,
        "photo_id": photo_id,
        "face_id": face_id,
        "reason": reason.value,
        "detail": detail or None,
        "retryable": reason.retryable,
    }


def dropped_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """The DROPPED table of some `drop` rows."""
    return pa.Table.from_pylist(list(rows), schema=DROPPED)


def by_photo(table: pa.Table, *columns: str) -> dict[str, dict[str, Any]]:
    """Photo id → its row (all columns if none are named).

    PHOTOS of a whole dataset may hold an id twice; the first row has it, as in `fetch`, which drops the later ones.
    """
    rows = (table.select(list(dict.fromkeys(("photo_id", *columns)))) if columns else table).to_pylist()
    return {row["photo_id"]: row for row in reversed(rows)}


def reasons(dropped: pa.Table) -> dict[str, int]:
    """How many drops of each reason."""
    return dict(sorted(Counter(dropped["reason"].to_pylist()).items()))


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, window: int | None = None
) -> Iterator[Result]:
    """Map with threads; results come in the order of the items, at most `window` (2 × threads) are held at once."""
    if threads <= 1:
        yield from map(function, items)
        return
    pending: list[Future[Result]] = []
    source = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="fdf")
    try:
        pending.extend(pool.submit(function, item) for item in islice(source, window or 2 * threads))
        while pending:
            result = pending.pop(0).result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
