"""One partition, from inputs on disk to a receipt: the idempotent function that every engine runs.

It reads the tables that its job names, hands them to the stage with the tools it asks for, checks in = kept + dropped,
writes data under temporary names, renames, and writes the receipt last.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fdf import __version__
from fdf.errors import DataError, RecipeError
from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.schema import DROPPED
from fdf.sources.base import Batch, Source
from fdf.sources.download import Downloader, HttpPolicy, is_loopback
from fdf.stages.base import Stage, StageResult, Tools, reasons
from fdf.stages.detect import DetectConfig
from fdf.stages.fetch import AGENT
from fdf.store.archives import ArchiveReader, open_archive
from fdf.store.files import file_sha256
from fdf.store.receipts import Output, Receipt
from fdf.store.shards import ShardWriter
from fdf.store.tables import content_digest, read_table, read_tables, write_table
from fdf.vision.analyze import Analyzer

_LIBRARIES = ("dlib-bin", "numpy", "onnxruntime", "opencv-python", "pillow", "pyarrow")
"""Recorded in receipts: their versions may change the last bits."""

_PLACE_COLUMNS = ("photo_id", "archive", "offset", "length", "width", "height")


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of one partition. Picklable and small, but for a batch of metadata lines.

    Attributes:
        inputs: name of a stage → its partitions to read.
        fingerprint: goes into the receipt as it is.
        models: entries of the models that this stage, or those before it, used.
        mirror: base URL of the mirror.
        repeated: photo ids of this partition that an earlier one holds.
        batch: for `metadata`, what to parse, and the source that parses it.
    """

    stage: str
    partition: str
    recipe: Recipe
    root: Path
    inputs: Mapping[str, tuple[str, ...]]
    fingerprint: Mapping[str, Any]
    models: tuple[Mapping[str, str], ...] = ()
    mirror: str = ""
    repeated: frozenset[str] = frozenset()
    source: Source | None = None
    batch: Batch | None = None


@dataclass(frozen=True)
class Slot:
    """What a job may use: threads of its own, and how many processes share the rate of requests.

    Attributes:
        parent: process id of the build that started this worker; None in the build's own process.
    """

    threads: int = 1
    processes: int = 1
    parent: int | None = None
    advance: Callable[[int], None] | None = None


def run_job(job: Job, slot: Slot) -> Receipt:
    """Run one partition and commit it; returns its receipt.

    Raises:
        FdfError: as the stage or the disk says; nothing half-written is left under a final name.
    """
    started = time.perf_counter()
    stage, layout = STAGES[job.stage], Layout(job.root)
    # A receipt vouches for its files: it must not stand beside new ones.
    layout.receipt(job.stage, job.partition).unlink(missing_ok=True)
    tables = _read_inputs(job, stage, layout)
    with contextlib.ExitStack() as stack:
        tools, files = _tools(job, stage, layout, slot, stack)
        result = stage.run(tables, job.recipe.section(job.stage), tools)
        counts = _counts(stage, tables[stage.reads[0]], result)
        if slot.parent is not None and slot.parent != os.getppid():
            # The build was killed and this worker outlived it: another one, perhaps of another recipe, may own the folder.
            raise SystemExit(f"the build that started this worker is gone; {job.stage}/{job.partition} is not written")
    outputs = _write(job, layout, stage, result, files)
    receipt = Receipt(
        stage=job.stage,
        partition=job.partition,
        fingerprint=job.fingerprint,
        counts=counts,
        notes=result.notes,
        models=job.models,
        outputs=outputs,
        code=__version__,
        made={
            "at": now().isoformat(),
            "seconds": round(time.perf_counter() - started, 3),
            "host": platform.node(),
            "python": platform.python_version(),
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    )
    receipt.save(layout.receipt(job.stage, job.partition))
    return receipt


def now() -> datetime:
    """The clock, whole seconds; SOURCE_DATE_EPOCH fixes it (reproducible-builds.org)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if not fixed:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(fixed), UTC)
    except (ValueError, OverflowError) as error:
        raise RecipeError(
            "SOURCE_DATE_EPOCH is no time", expected="whole seconds since 1970", got=repr(fixed)
        ) from error


def http_policy(recipe: Recipe, processes: int, mirror: str = "") -> HttpPolicy:
    """The policy of one of `processes` workers, which share one budget of requests.

    Args:
        mirror: base URL of our own mirror, where the recipe has one.
    """
    config = recipe.fetch
    hosts = frozenset(host.lower() for host in config.allowed_hosts)
    if recipe.loopback and mirror:
        hosts |= {mirror.removeprefix("http://")}
    if not config.contact and any(not is_loopback(host) for host in hosts):
        raise RecipeError(
            "fetch.contact is empty",
            expected="an e-mail address or URL of who runs this: servers must be able to reach you",
            action='Set it in the recipe, or with --set fetch.contact="you@example.org"',
        )
    contact = f" (+{config.contact})" if config.contact else ""
    return HttpPolicy(
        user_agent=f"{AGENT}/{__version__}{contact}",
        allowed_hosts=hosts,
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
        photo_timeout=config.photo_timeout,
        max_bytes=config.max_bytes,
        retries=config.retries,
        backoff=config.backoff,
        retry_after_cap=config.retry_after_cap,
        requests_per_second=config.requests_per_second / processes,
    )


def _downloader_for(policy: HttpPolicy) -> Downloader:
    if _downloader(policy).stopped:  # an earlier run of this process was interrupted
        _downloader.cache_clear()
    return _downloader(policy)


# One downloader and one analyzer a process: they hold connections, the pace towards each host, and loaded networks.
_downloader = lru_cache(maxsize=1)(Downloader)


@lru_cache(maxsize=1)
def _analyzer(config: DetectConfig) -> Analyzer:
    return config.analyzer()


def _tools(
    job: Job, stage: Stage, layout: Layout, slot: Slot, stack: contextlib.ExitStack
) -> tuple[Tools, Callable[[], list[Path]]]:
    """The tools that the stage asks for, and a list of the files they will have written."""
    given: dict[str, Any] = {}
    files: Callable[[], list[Path]] = list
    if "sink" in stage.tools:
        path = layout.archive(job.stage, job.partition)
        given["sink"] = stack.enter_context(open_archive(path, layout.relative(path)))
        files = lambda: [path]  # noqa: E731
    if "samples" in stage.tools:
        writer = stack.enter_context(ShardWriter(layout.index, job.partition))
        given["samples"] = writer
        files = lambda: writer.paths  # noqa: E731
    if "blobs" in stage.tools:
        given["blobs"] = ArchiveReader(layout.root)
    if "downloader" in stage.tools:
        given["downloader"] = _downloader_for(http_policy(job.recipe, slot.processes, job.mirror))
    if "analyzer" in stage.tools:
        given["analyzer"] = _analyzer(job.recipe.detect)
    if slot.advance:
        given["advance"] = slot.advance
    tools = Tools(
        threads=slot.threads,
        now=now,
        mirror=job.mirror,
        source=job.recipe.source.name,
        models=job.models,
        repeated=job.repeated,
        **given,
    )
    return tools, files


def _read_inputs(job: Job, stage: Stage, layout: Layout) -> dict[str, pa.Table]:
    if job.batch is not None and job.source is not None:
        return {"source": job.source.parse(job.batch)}
    if stage.scope == "shard":
        return _read_shard_inputs(job, layout)
    if stage.scope == "dataset":
        return _read_dataset(job, stage, layout)
    return {
        name: read_tables((layout.kept(name, part) for part in job.inputs[name]), STAGES[name].schema)
        for name in stage.reads
    }


def _read_dataset(job: Job, stage: Stage, layout: Layout) -> dict[str, pa.Table]:
    """The main table whole; of the others the columns that the stage asks for and the rows of photos in the main one.

    Partition by partition: memory goes with the faces, not with the photos that never had one.
    """
    tables: dict[str, pa.Table] = {}
    photos: pa.Array | None = None
    for name in stage.reads:
        schema, columns = STAGES[name].schema, stage.columns.get(name)
        parts = []
        for part in job.inputs[name]:
            table = read_table(layout.kept(name, part), schema, columns)
            parts.append(table if photos is None else table.filter(pc.is_in(table["photo_id"], value_set=photos)))
        tables[name] = pa.concat_tables(parts) if parts else read_tables([], schema, columns)
        if photos is None:
            photos = tables[name]["photo_id"].unique()
    return tables


def _read_shard_inputs(job: Job, layout: Layout) -> dict[str, pa.Table]:
    """Rows of one shard (the manifest is sorted by shard: row groups without it are not read) and their photos."""
    path = layout.kept("manifest", job.inputs["manifest"][0])
    try:
        rows = pq.read_table(path, filters=[("shard", "=", job.partition)], partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} can't be read ({error})", action="Build the manifest again") from error
    places = _places(job.root, job.inputs["fetch"], job.fingerprint["inputs"]["fetch"])
    wanted = pc.is_in(places["photo_id"], value_set=rows["photo_id"].combine_chunks())
    return {"manifest": rows, "fetch": places.filter(wanted)}


@lru_cache(maxsize=1)
def _places(root: Path, partitions: tuple[str, ...], content: str) -> pa.Table:  # noqa: ARG001 - part of the cache's key
    """Where all photos lie; read once a process and content, not once a shard."""
    layout = Layout(root)
    paths = (layout.kept("fetch", part) for part in partitions)
    return read_tables(paths, STAGES["fetch"].schema, _PLACE_COLUMNS)


def _counts(stage: Stage, given: pa.Table, result: StageResult) -> dict[str, Any]:
    """The law: in = kept + dropped, checked before anything is written.

    Raises:
        DataError: the stage lost or doubled something; a defect of the stage, never of the data.
    """
    counts = {
        "in": given.num_rows,
        "kept": stage.kept_units(result.kept),
        "rows": result.kept.num_rows,
        "dropped": reasons(result.dropped),
    }
    if counts["in"] != counts["kept"] + result.dropped.num_rows:
        raise DataError(
            f"Stage {stage.name} does not account for every {stage.unit}",
            expected=f"{counts['in']} in = kept + dropped",
            got=f"{counts['kept']} + {result.dropped.num_rows}",
            action="This is a defect of fdf: please report it with the recipe",
        )
    return counts


def _write(
    job: Job, layout: Layout, stage: Stage, result: StageResult, files: Callable[[], list[Path]]
) -> dict[str, Output]:
    outputs = {layout.relative(path): Output(file_sha256(path), path.stat().st_size) for path in files()}
    for path, table, schema in (
        (layout.kept(job.stage, job.partition), result.kept, stage.schema),
        (layout.dropped(job.stage, job.partition), result.dropped, DROPPED),
    ):
        write_table(path, table)
        content = content_digest(read_table(path, schema))
        outputs[layout.relative(path)] = Output(file_sha256(path), path.stat().st_size, table.num_rows, content)
    return outputs
