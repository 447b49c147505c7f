"""The funnel of a build: what came in, what was kept, what was dropped and why, for each stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES


@dataclass(frozen=True)
class FunnelRow:
    """One stage. `rows` differs from `kept` where a photo gives several faces; `seconds` sums the partitions' own time."""

    stage: str
    unit: str
    finished: bool
    partitions: int
    given: int
    kept: int
    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether in = kept + dropped."""
        return self.given == self.kept + sum(self.dropped.values())


def funnel(layout: Layout) -> list[FunnelRow]:
    """One row a stage that has begun, in the order of the pipeline."""
    layout.require_build()
    rows = []
    for name, stage in STAGES.items():
        receipts = layout.receipts(name)
        if not receipts:
            continue
        dropped: Counter[str] = Counter()
        notes: Counter[str] = Counter()
        for receipt in receipts.values():
            dropped.update(receipt.counts["dropped"])
            notes.update(receipt.notes)
        rows.append(
            FunnelRow(
                stage=name,
                unit=stage.unit,
                finished=layout.finished(name) is not None,
                partitions=len(receipts),
                given=sum(receipt.counts["in"] for receipt in receipts.values()),
                kept=sum(receipt.counts["kept"] for receipt in receipts.values()),
                rows=sum(receipt.counts["rows"] for receipt in receipts.values()),
                dropped=dict(dropped.most_common()),
                notes=dict(sorted(notes.items())),
                seconds=round(sum(receipt.made["seconds"] for receipt in receipts.values()), 2),
            )
        )
    return rows
