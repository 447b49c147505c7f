"""`build`: which stages, which partitions, skip what is done, refuse what differs, run the rest, record it.

Nothing here knows what a stage does; nothing in a stage knows where its tables lie.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from fdf.errors import FingerprintError, MachineError, UsageError
from fdf.pipeline import engine
from fdf.pipeline.layout import Layout, finished, table_content
from fdf.pipeline.publish import publish
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.pipeline.repeats import read_repeats
from fdf.pipeline.worker import Job, Slot, run_job
from fdf.sources import Source, bundled, open_source
from fdf.sources.loopback import LoopbackMirror
from fdf.stages.base import Stage
from fdf.store.files import disk_errors, make_folder, remove_leftovers, write_bytes
from fdf.store.receipts import Receipt, differences, digest
from fdf.store.tables import read_table
from fdf.vision.zoo import sha256_of


class Reporter(Protocol):
    """Hears how a build goes on. Units are photos or faces, as the stage counts."""

    def stage(self, name: str, total: int | None) -> None:
        """A stage starts; `total` units if that is known."""

    def advance(self, units: int) -> None:
        """So many units of the current stage are done."""

    def finished(self, name: str, *, ran: int, skipped: int) -> None:
        """A stage ends: partitions that ran now, and those found done."""


class Silent:
    """A reporter that says nothing."""

    def stage(self, name: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, units: int) -> None:
        """Say nothing."""

    def finished(self, name: str, *, ran: int, skipped: int) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class BuildResult:
    """What a build did: partitions that ran and that were found done, by stage."""

    root: Path
    ran: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """A run of consecutive stages."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, stage: str | None = None, first: str | None = None, last: str | None = None) -> Selection:
        """From `--stage`, or `--from` and `--until`; all stages if none is given.

        Raises:
            UsageError: unknown names, both forms at once, or an empty run.
        """
        names = tuple(STAGES)
        for given in (stage, first, last):
            if given is not None and given not in names:
                raise UsageError(f"There is no stage {given!r}", expected=f"one of {', '.join(names)}")
        if stage and (first or last):
            raise UsageError("--stage goes without --from and --until", action="Give --stage alone, or the other two")
        start = names.index(stage or first or names[0])
        end = names.index(stage or last or names[-1])
        if end < start:
            raise UsageError(
                f"--until {last} comes before --from {first}", expected=f"an order as in {', '.join(names)}"
            )
        return cls(names[start : end + 1])


def build(
    recipe: Recipe,
    out: Path,
    *,
    selection: Selection | None = None,
    workers: int | None = None,
    rebuild: bool = False,
    reporter: Reporter | None = None,
    stay_seconds: float = engine.STAY_SECONDS,
) -> BuildResult:
    """Run stages of a recipe into a folder; run it again to go on where it stopped.

    Args:
        recipe: from `load_recipe`.
        out: the build folder; made if it isn't there.
        selection: which stages; all if left out.
        workers: processes for long stages; all cores if left out. Never changes the output.
        rebuild: throw away the selected stages and make them anew.
        reporter: hears of the progress.
        stay_seconds: seconds of work before worker processes are started.

    Raises:
        UsageError: earlier stages are missing. FingerprintError: the folder holds another build.
        MachineError: the disk or a port refuses, or another build is running in `out`.
    """
    selection = selection or Selection.of()
    layout = Layout(make_folder(out.resolve()))
    with _locked(layout):
        _require_earlier(layout, selection, recipe)
        if rebuild:
            for name in selection.names:
                with disk_errors(layout.stage(name)), contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(layout.stage(name))
        remove_leftovers(layout.root)
        write_bytes(layout.recipe, recipe.to_toml().encode())
        run = _Run(recipe, layout, workers or engine.default_workers(), reporter or Silent(), stay_seconds)
        ran, skipped = {}, {}
        for name in selection.names:
            ran[name], skipped[name] = run.stage(STAGES[name])
    return BuildResult(layout.root, ran, skipped)


def fingerprint(recipe: Recipe, stage: Stage, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what a partition of `stage` holds."""
    found: dict[str, Any] = {
        "stage": stage.name,
        "version": stage.version,
        "config": recipe.section(stage.name).fingerprint(),
        "inputs": dict(inputs),
    }
    if "analyzer" in stage.tools:
        found["models"] = {model["id"]: model["sha256"] for model in recipe.detect.models()}
    return found


def source_identity(recipe: Recipe, source: Source) -> dict[str, Any]:
    """What the metadata was read from: digests, not paths."""
    return {
        "name": recipe.source.name,
        "kind": recipe.source.kind,
        "options": dict(recipe.source.options),
        "partition_rows": recipe.partition_rows,
        "sha256": [sha256_of(path) for path in source.files()],
    }


def open_recipe_source(recipe: Recipe) -> Source:
    """The source that a recipe names."""
    path = bundled.resolve(recipe.source.path, Path())
    return open_source(recipe.source.kind, path, name=recipe.source.name, **recipe.source.options)


class _Run:
    """One call of `build`."""

    def __init__(self, recipe: Recipe, layout: Layout, workers: int, reporter: Reporter, stay_seconds: float) -> None:
        self.recipe, self.layout, self.workers, self.reporter = recipe, layout, workers, reporter
        self.stay_seconds = stay_seconds

    def stage(self, stage: Stage) -> tuple[int, int]:
        """Run one stage to its end; returns how many partitions ran and how many were done already."""
        existing = self.layout.receipts(stage.name)
        if self._up_to_date(stage, existing):
            self.reporter.stage(stage.name, 0)
            self.reporter.finished(stage.name, ran=0, skipped=len(existing))
            publish(self.layout, stage.name)
            return 0, len(existing)
        self.reporter.stage(stage.name, self._units(stage))
        done: set[str] = set()
        names: list[str] = []
        ran = 0
        with self._mirror(stage) as mirror:
            jobs = self._todo(stage, mirror, existing, names, done)
            for finished in engine.run(
                jobs, self._here, self._there, workers=self.workers, stay_seconds=self.stay_seconds
            ):
                ran += 1
                if not finished.here:
                    self.reporter.advance(finished.result.counts["in"])
        self.layout.finish(stage.name, names)
        publish(self.layout, stage.name)
        self.reporter.finished(stage.name, ran=ran, skipped=len(done))
        return ran, len(done)

    def _here(self, job: Job) -> Receipt:
        return run_job(job, Slot(threads=self.workers, advance=self.reporter.advance))

    @property
    def _there(self) -> functools.partial[Receipt]:
        return functools.partial(run_job, slot=Slot(processes=self.workers, parent=os.getpid()))

    def _todo(
        self, stage: Stage, mirror: str, existing: Mapping[str, Receipt], names: list[str], done: set[str]
    ) -> Iterator[Job]:
        """The jobs that still have to run; fills `names` with all partitions and `done` with those found done."""
        for job in self._jobs(stage, mirror):
            names.append(job.partition)
            receipt = existing.get(job.partition)
            if receipt:
                self._refuse_if_different(stage, receipt.fingerprint, job.fingerprint)
                if receipt.present(self.layout.root):
                    done.add(job.partition)
                    self.reporter.advance(receipt.counts["in"])
                    continue
            yield job

    def _jobs(self, stage: Stage, mirror: str) -> Iterator[Job]:
        if stage.name == "metadata":
            yield from self._metadata_jobs(stage)
            return
        records = {name: finished(self.layout, name) for name in stage.reads}
        models = _models_so_far(self.layout, self.recipe, stage)
        make = functools.partial(
            Job, stage=stage.name, recipe=self.recipe, root=self.layout.root, models=models, mirror=mirror
        )
        if stage.scope == "partition":
            receipts = {name: self.layout.receipts(name) for name in stage.reads}
            repeats = read_repeats(self.layout) if "repeated" in stage.tools else {}
            for part in records[stage.reads[0]].partitions:
                inputs: dict[str, Any] = {name: table_content(receipts[name][part]) for name in stage.reads}
                repeated = repeats.get(part, [])
                if repeated:
                    inputs["repeated"] = repeated
                print_ = fingerprint(self.recipe, stage, inputs)
                read = dict.fromkeys(stage.reads, (part,))
                yield make(partition=part, inputs=read, fingerprint=print_, repeated=frozenset(repeated))
            return
        print_ = fingerprint(self.recipe, stage, {name: record.content for name, record in records.items()})
        inputs_ = {name: record.partitions for name, record in records.items()}
        for part in self._shards() if stage.scope == "shard" else (stage.partition,):
            yield make(partition=part, inputs=inputs_, fingerprint=print_)

    def _metadata_jobs(self, stage: Stage) -> Iterator[Job]:
        source = open_recipe_source(self.recipe)
        identity = source_identity(self.recipe, source)
        for number, batch in enumerate(source.batches(self.recipe.partition_rows)):
            inputs = {"source": identity, "first_line": batch.first_line, "rows": batch.rows}
            yield Job(
                stage=stage.name,
                partition=f"part-{number:05d}",
                recipe=self.recipe,
                root=self.layout.root,
                inputs={},
                fingerprint=fingerprint(self.recipe, stage, inputs),
                source=source,
                batch=batch,
            )

    def _shards(self) -> list[str]:
        path = self.layout.kept("manifest", finished(self.layout, "manifest").partitions[0])
        return sorted(read_table(path, STAGES["manifest"].schema, ["shard"])["shard"].unique().to_pylist())

    def _up_to_date(self, stage: Stage, existing: Mapping[str, Receipt]) -> bool:
        """Whether a finished stage is today's, without reading the source again."""
        record = self.layout.finished(stage.name)
        if record is None or set(record.partitions) - existing.keys():
            return False
        if any(not existing[name].present(self.layout.root) for name in record.partitions):
            return False
        if stage.name == "metadata":
            identity = {"source": source_identity(self.recipe, open_recipe_source(self.recipe))}
            for receipt in existing.values():
                lines = {key: receipt.fingerprint["inputs"].get(key) for key in ("first_line", "rows")}
                expected = fingerprint(self.recipe, stage, identity | lines)
                self._refuse_if_different(stage, receipt.fingerprint, expected)
            return True
        jobs = list(self._jobs(stage, mirror=""))
        for job in jobs:
            if job.partition in existing:
                self._refuse_if_different(stage, existing[job.partition].fingerprint, job.fingerprint)
        return [job.partition for job in jobs] == list(record.partitions)

    def _refuse_if_different(self, stage: Stage, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        if digest(before) == digest(now):
            return
        changed = differences(before, now)
        raise FingerprintError(
            f"Stage {stage.name} in {self.layout.root} was made from something else",
            expected="the same recipe, inputs, stage version and models as now",
            got="; ".join(changed[:6]) + (f"; and {len(changed) - 6} more" if len(changed) > 6 else ""),
            action=f"To make it anew, and the stages after it, add `--from {stage.name} --rebuild`; "
            "to keep it, choose another --out or undo the change",
        )

    def _units(self, stage: Stage) -> int | None:
        """Units that will come in, if that is known before the stage runs."""
        if stage.name == "metadata":
            return None
        main = finished(self.layout, stage.reads[0])
        receipts = self.layout.receipts(main.stage)
        return sum(int(receipts[name].counts["rows"]) for name in main.partitions)

    @contextlib.contextmanager
    def _mirror(self, stage: Stage) -> Iterator[str]:
        """Base URL of the mirror; starts our own where the recipe asks for it."""
        if stage.name != "fetch":
            yield ""
        elif self.recipe.loopback is None:
            yield self.recipe.fetch.mirror.rstrip("/")
        else:
            folder = bundled.resolve(self.recipe.loopback.folder, Path())
            with LoopbackMirror(folder, self.recipe.loopback.port) as mirror:
                yield mirror.url


def _require_earlier(layout: Layout, selection: Selection, recipe: Recipe) -> None:
    """Everything that the first selected stage, or one before it, reads must be finished."""
    names = list(STAGES)
    missing = [name for name in names[: names.index(selection.names[0])] if layout.finished(name) is None]
    if missing:
        raise UsageError(
            f"{selection.names[0]} can't run yet",
            expected=f"finished stages before it in {layout.root}",
            got=f"{', '.join(missing)} still missing",
            action=f"Run `fdf build {recipe.name} --out {layout.root} --until {missing[-1]}` first, "
            f"or `--until {selection.names[-1]}` to run all of them",
        )


def _models_so_far(layout: Layout, recipe: Recipe, stage: Stage) -> tuple[Mapping[str, str], ...]:
    """Entries of the models that made the tables that `stage` reads, or that it uses itself."""
    if "analyzer" in stage.tools:
        return recipe.detect.models()
    found: dict[str, Mapping[str, str]] = {}
    for name in stage.reads:
        for receipt in layout.receipts(name).values():
            found |= {model["id"]: model for model in receipt.models}
    return tuple(found[name] for name in sorted(found))


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One build at a time in one folder; the lock goes with the process, however it ends."""
    lock = FileLock(layout.root / ".lock")
    try:
        with disk_errors(layout.root):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise MachineError(
            f"Another build is running in {layout.root}", action="Wait for it, or choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
