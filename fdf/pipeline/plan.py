"""What a build would do, and roughly how long: for `--dry-run`. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fdf.errors import UsageError
from fdf.pipeline.engine import default_workers
from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.pipeline.runner import Selection, open_recipe_source
from fdf.sources.base import Source
from fdf.stages.base import Stage

_SAMPLE_BATCH = 1000
_TEXT_PER_COMPRESSED: Mapping[bytes, float] = {b"BZh": 3.4, b"\x1f\x8b": 2.6}
"""Bytes of text in a byte of bz2 and gzip, as measured on YFCC100M-like rows (docs/sources.md)."""


@dataclass(frozen=True)
class Step:
    """One stage of a plan. `units` and `seconds` are upper bounds: what earlier stages will drop isn't known yet."""

    stage: str
    reads: tuple[str, ...]
    unit: str
    partitions: int
    done: int
    units: int
    seconds: float
    note: str


def plan(recipe: Recipe, out: Path, selection: Selection, workers: int | None = None) -> list[Step]:
    """The stages of a selection with what is done, what is to do and an estimate from measured rates."""
    layout = Layout(out.resolve())
    rows, exact = _source_rows(recipe)
    steps = []
    for name, stage in STAGES.items():
        receipts = layout.receipts(name)
        done_units = sum(receipt.counts["in"] for receipt in receipts.values())
        if name in selection.names:
            left = 0 if layout.finished(name) else max(0, rows - done_units)
            partitions = _partitions(stage, recipe, rows)
            seconds = _seconds(stage, recipe, left, workers or default_workers())
            note = "done" if layout.finished(name) else "" if exact else "estimated from the size of the input"
            steps.append(Step(name, stage.reads, stage.unit, partitions, len(receipts), rows, seconds, note))
        if layout.finished(name):
            rows, exact = sum(receipt.counts["rows"] for receipt in receipts.values()), True
        elif receipts and done_units:
            share = sum(receipt.counts["rows"] for receipt in receipts.values()) / done_units
            rows = round(rows * share)
    return steps


def _partitions(stage: Stage, recipe: Recipe, rows: int) -> int:
    if stage.scope == "partition":
        return max(1, -(-rows // recipe.partition_rows))
    return max(1, -(-rows // recipe.manifest.shard_faces)) if stage.scope == "shard" else 1


def _seconds(stage: Stage, recipe: Recipe, units: int, workers: int) -> float:
    seconds = units * stage.seconds / (1 if stage.scope == "dataset" else workers)
    if stage.name == "fetch" and recipe.loopback is None and recipe.fetch.requests_per_second:
        # Politeness is the budget, not the machine.
        seconds = max(seconds, units / recipe.fetch.requests_per_second)
    return round(seconds, 1)


def _source_rows(recipe: Recipe) -> tuple[int, bool]:
    """Rows of the source: counted if one batch holds them all, else estimated from sizes."""
    source = open_recipe_source(recipe)
    batches = source.batches(_SAMPLE_BATCH)
    first = next(batches, None)
    if first is None or first.rows < _SAMPLE_BATCH or next(batches, None) is None:
        return (first.rows if first else 0), True
    if not isinstance(first.payload, bytes):
        return sum(batch.rows for batch in source.batches(1_000_000)), True
    per_row = len(first.payload) / first.rows
    return round(_text_bytes(source) / per_row), False


def _text_bytes(source: Source) -> float:
    total = 0.0
    for path in source.files():
        try:
            with path.open("rb") as file:
                magic = file.read(3)
        except OSError as error:
            raise UsageError(f"{path} can't be read ({error.strerror})") from error
        ratio = next((value for key, value in _TEXT_PER_COMPRESSED.items() if magic.startswith(key)), 1.0)
        total += path.stat().st_size * ratio
    return total
