"""`build`: which stages, which partitions, skip what is done, refuse what differs, run the rest, record it.

Nothing here knows what a stage does; nothing in a stage knows where its tables lie.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fdf.errors import UsageError
from fdf.pipeline import engine
from fdf.pipeline.jobs import Jobs, refuse_if_different
from fdf.pipeline.layout import Layout
from fdf.pipeline.preflight import check
from fdf.pipeline.publish import publish
from fdf.pipeline.rebuild import set_aside, settle_leftovers
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.pipeline.worker import Job, Slot, run_job
from fdf.sources import bundled
from fdf.sources.loopback import LoopbackMirror
from fdf.stages.base import Stage
from fdf.store.files import locked, make_folder, remove_leftovers, write_bytes
from fdf.store.receipts import Receipt


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
        rebuild: make the selected stages anew; what is there goes once something new is done.
        reporter: hears of the progress.
        stay_seconds: seconds of work before worker processes are started.

    Raises:
        UsageError: earlier stages are missing. FingerprintError: the folder holds another build.
        MachineError: the disk or a port refuses, or another build is running in `out`.
    """
    selection = selection or Selection.of()
    layout = Layout(make_folder(out.resolve()))
    busy = f"Another build is running in {layout.root}"
    with locked(layout.root, busy, "Wait for it, or choose another --out"):
        settle_leftovers(layout)
        check(recipe, layout, selection.names, rebuild=rebuild)
        remove_leftovers(layout.root)
        write_bytes(layout.recipe, recipe.to_toml().encode())
        run = _Run(Jobs(recipe, layout), workers or engine.default_workers(), reporter or Silent(), stay_seconds)
        ran, skipped = {}, {}
        for name in selection.names:
            with set_aside(layout, name) if rebuild else contextlib.nullcontext():
                ran[name], skipped[name] = run.stage(STAGES[name])
    return BuildResult(layout.root, ran, skipped)


class _Run:
    """One call of `build`."""

    def __init__(self, jobs: Jobs, workers: int, reporter: Reporter, stay_seconds: float) -> None:
        self.jobs, self.layout, self.workers, self.reporter = jobs, jobs.layout, workers, reporter
        self.stay_seconds = stay_seconds

    def stage(self, stage: Stage) -> tuple[int, int]:
        """Run one stage to its end; returns how many partitions ran and how many were done already."""
        existing = self.layout.receipts(stage.name)
        if self.jobs.up_to_date(stage, existing):
            self.reporter.stage(stage.name, 0)
            self.reporter.finished(stage.name, ran=0, skipped=len(existing))
            publish(self.layout, stage.name)
            return 0, len(existing)
        self.reporter.stage(stage.name, self.jobs.units(stage))
        done: set[str] = set()
        names: list[str] = []
        ran = 0
        with _mirror(self.jobs.recipe, stage) as mirror:
            todo = self._todo(stage, mirror, existing, names, done)
            total = self.jobs.count(stage)
            for result in engine.run(
                todo, self._here, self._there, workers=self.workers, total=total, stay_seconds=self.stay_seconds
            ):
                ran += 1
                if not result.here:
                    self.reporter.advance(result.result.counts["in"])
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
        for job in self.jobs.of(stage, mirror):
            names.append(job.partition)
            receipt = existing.get(job.partition)
            if receipt:
                refuse_if_different(self.layout, stage, receipt.fingerprint, job.fingerprint)
                if receipt.present(self.layout.root):
                    done.add(job.partition)
                    self.reporter.advance(receipt.counts["in"])
                    continue
            yield job


@contextlib.contextmanager
def _mirror(recipe: Recipe, stage: Stage) -> Iterator[str]:
    """Base URL of the mirror; starts our own where the recipe asks for it."""
    if stage.name != "fetch":
        yield ""
    elif recipe.loopback is None:
        yield recipe.fetch.mirror.rstrip("/")
    else:
        with LoopbackMirror(bundled.resolve(recipe.loopback.folder, Path()), recipe.loopback.port) as mirror:
            yield mirror.url
