"""What a build would do, and roughly how long: for `--dry-run`. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdf.errors import UsageError
from fdf.pipeline.engine import default_workers
from fdf.pipeline.jobs import Jobs, open_recipe_source
from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.pipeline.runner import Selection
from fdf.sources.base import Source
from fdf.stages.base import Stage
from fdf.store.receipts import Receipt, differences

_SAMPLE_BATCH = 1000
_TEXT_PER_COMPRESSED: Mapping[bytes, float] = {b"BZh": 3.4, b"\x1f\x8b": 2.6}
"""Bytes of text in a byte of bz2 and gzip, as measured on YFCC100M-like rows (docs/sources.md)."""


@dataclass(frozen=True)
class Step:
    """One stage of a plan. `units` and `seconds` are upper bounds: what earlier stages will drop isn't known yet.

    Attributes:
        done: partitions that need not run again; none where the stage was made with other settings.
        seconds: what is left to do; the whole stage where it has to be made anew.
        note: `done`, how the stage differs from the recipe, or where the numbers come from.
        estimate: `seconds` for people: `12 s`, `3.4 h`, `15.8 d`.
    """

    stage: str
    reads: tuple[str, ...]
    unit: str
    partitions: int
    done: int
    units: int
    seconds: float
    note: str
    estimate: str = ""


def plan(recipe: Recipe, out: Path, selection: Selection, workers: int | None = None) -> list[Step]:
    """The stages of a selection with what is done, what is to do and an estimate from measured rates.

    Raises:
        UsageError: the source is needed and isn't there. DataError: it, or a receipt, is damaged.
    """
    layout = Layout(out.resolve())
    rows, exact = 0, True
    if "metadata" in selection.names or not layout.finished("metadata"):
        rows, exact = _source_rows(recipe)
    jobs = Jobs(recipe, layout)
    steps = []
    stale = ""
    for name, stage in STAGES.items():
        receipts, finished = layout.receipts(name), layout.finished(name) is not None
        made = [receipt.counts for receipt in receipts.values()]
        done_units = sum(counts["in"] for counts in made)
        if name in selection.names:
            changed = _changed(jobs, stage, receipts)
            differs = bool(receipts) and bool(changed or stale)
            left = rows if differs else 0 if finished else max(0, rows - done_units)
            note = _note(changed, stale, name, finished) if receipts else ""
            seconds = _seconds(stage, recipe, left, workers or default_workers())
            steps.append(
                Step(
                    stage=name,
                    reads=stage.reads,
                    unit=stage.unit,
                    partitions=_partitions(stage, recipe, rows),
                    done=0 if differs else len(receipts),
                    units=rows,
                    seconds=seconds,
                    note=note or ("" if exact else "estimated from the size of the input"),
                    estimate=duration(seconds),
                )
            )
            stale = stale or (name if changed else "")
        if finished:
            rows, exact = sum(counts["rows"] for counts in made), True
        elif made and done_units:
            rows = round(rows * sum(counts["rows"] for counts in made) / done_units)
    return steps


def total(steps: Iterable[Step]) -> str:
    """How long all steps take together, for people."""
    return duration(sum(step.seconds for step in steps))


def duration(seconds: float) -> str:
    """Seconds for people: `12 s`, `4.5 min`, `3.4 h`, `15.8 d`."""
    if 0 < seconds < 1:
        return "<1 s"
    for limit, size, unit in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:,.{0 if size == 1 else 1}f} {unit}"
    return f"{seconds / 86400:,.1f} d"


def _changed(jobs: Jobs, stage: Stage, receipts: Mapping[str, Receipt]) -> list[str]:
    """What differs between the settings that receipts were made with and today's; tables they read are not looked at."""
    if not receipts:
        return []
    now = jobs.fingerprint(stage, {})
    if stage.name == "metadata":
        now["source"] = _source_settings(jobs.recipe)
    found: dict[str, None] = {}
    for receipt in receipts.values():
        before = dict(receipt.fingerprint)
        inputs = before.pop("inputs", {})
        if stage.name == "metadata":
            before["source"] = {key: value for key, value in inputs.get("source", {}).items() if key != "sha256"}
        found |= dict.fromkeys(differences(before, now))
    return list(found)


def _source_settings(recipe: Recipe) -> dict[str, Any]:
    """As `Jobs.source_identity`, without the digests: a plan does not read fifteen gigabytes."""
    source = recipe.source
    return {
        "name": source.name,
        "kind": source.kind,
        "options": dict(source.options),
        "partition_rows": recipe.partition_rows,
    }


def _note(changed: Sequence[str], stale: str, name: str, finished: bool) -> str:
    if changed:
        more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"differs: {'; '.join(changed[:3])}{more} (needs --from {stale or name} --rebuild)"
    if stale:
        return f"made before {stale} was changed"
    return "done" if finished else ""


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
