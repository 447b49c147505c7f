"""The funnel as the page shows it: what came into each stage, what stayed, what left and why, and whether that adds up."""

from __future__ import annotations

from dataclasses import dataclass

from fdf.pipeline.funnel import FunnelRow
from fdf.pipeline.layout import table_content
from fdf.pipeline.recipe import STAGES
from fdf.report.snapshot import Snapshot
from fdf.vocabulary import Reason


@dataclass(frozen=True)
class DropLine:
    """One reason in one stage. `retryable` is None for a reason this version of fdf doesn't know."""

    reason: str
    count: int
    share: float
    doc: str
    retryable: bool | None


@dataclass(frozen=True)
class StageLine:
    """One stage. Bar lengths are per cent of the widest stage that counts the same unit."""

    name: str
    unit: str
    doc: str
    state: str
    row: FunnelRow | None
    kept_bar: float
    dropped_bar: float
    drops: tuple[DropLine, ...]
    problem: str = ""

    @property
    def notes(self) -> list[tuple[str, int]]:
        """What was counted besides; the faces of `detect` are its rows and are said anyway."""
        return (
            [(name, count) for name, count in self.row.notes.items() if count and name != "faces"] if self.row else []
        )

    @property
    def dropped(self) -> int:
        """How many it dropped, for whatever reason."""
        return sum(self.row.dropped.values()) if self.row else 0


@dataclass(frozen=True)
class Journey:
    """All stages, and the numbers a reader wants first."""

    stages: tuple[StageLine, ...]
    units: int
    opted_out: int
    refused_licences: int
    retryable: int

    @property
    def problems(self) -> list[str]:
        """What doesn't add up; empty if all does."""
        return [f"{stage.name}: {stage.problem}" for stage in self.stages if stage.problem]


def journey(build: Snapshot) -> Journey:
    """Lay out the funnel of a build."""
    rows = {row.stage: row for row in build.funnel}
    widest = {
        unit: max((row.given for row in rows.values() if row.unit == unit), default=0) for unit in ("photo", "face")
    }
    stages = tuple(_stage(build, name, rows.get(name), widest) for name in STAGES)
    drops = [drop for stage in stages for drop in stage.drops]
    return Journey(
        stages=stages,
        units=sum(row.given for row in rows.values()),
        opted_out=sum(drop.count for drop in drops if drop.reason == Reason.OPTED_OUT),
        refused_licences=sum(drop.count for drop in drops if drop.reason.startswith("license_")),
        retryable=sum(drop.count for drop in drops if drop.retryable),
    )


def _stage(build: Snapshot, name: str, row: FunnelRow | None, widest: dict[str, int]) -> StageLine:
    stage = STAGES[name]
    if row is None:
        state = "done: nothing came in" if name in build.records else "not run yet"
        return StageLine(name, stage.unit, stage.doc, state, None, 0, 0, ())
    full = max(widest[row.unit], 1)
    some = f"not finished: {row.partitions:,} partition{'s' * (row.partitions != 1)} so far"
    return StageLine(
        name=name,
        unit=row.unit,
        doc=stage.doc,
        state="" if row.finished else some,
        row=row,
        kept_bar=100 * row.kept / full,
        dropped_bar=100 * sum(row.dropped.values()) / full,
        drops=tuple(_drop(reason, count, row.given) for reason, count in row.dropped.items()),
        problem=_problem(build, row),
    )


def _drop(reason: str, count: int, given: int) -> DropLine:
    share = count / given if given else 0.0
    known = next((member for member in Reason if member == reason), None)
    if known is None:  # written by another version of fdf
        return DropLine(reason, count, share, "Not a reason of this version of fdf.", None)
    return DropLine(reason, count, share, known.doc, known.retryable)


def _problem(build: Snapshot, row: FunnelRow) -> str:
    """The two laws: in = kept + dropped, and what a stage was made from is what the stages before it hold."""
    if not row.balanced:
        dropped = sum(row.dropped.values())
        return f"{row.given:,} came in, but {row.kept:,} kept + {dropped:,} dropped make {row.kept + dropped:,}"
    if not row.finished:
        return ""
    stage = STAGES[row.stage]
    for before in stage.reads:
        record, receipts = build.records.get(before), build.receipts.get(before, {})
        for part, receipt in build.receipts[row.stage].items():
            if before == "source":
                continue
            used = receipt.fingerprint["inputs"].get(before)
            by_part = stage.scope == "partition"
            now = table_content(receipts[part]) if by_part and part in receipts else record.content if record else None
            if used != now:
                return f"made from another run of {before} than the one that is there now; `fdf build` makes it anew"
    return ""
