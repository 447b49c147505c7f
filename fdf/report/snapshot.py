"""What a build folder holds at this moment, read once: recipe, receipts, which stages are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from fdf.pipeline.funnel import FunnelRow, funnel
from fdf.pipeline.layout import Layout, StageRecord
from fdf.pipeline.recipe import STAGES, Recipe, load_recipe
from fdf.store.receipts import Receipt
from fdf.store.tables import read_table


@dataclass(frozen=True)
class Snapshot:
    """One build. `records` holds finished stages, `receipts` the partitions of every stage that has begun."""

    layout: Layout
    recipe: Recipe
    recipe_text: str
    funnel: tuple[FunnelRow, ...]
    records: Mapping[str, StageRecord]
    receipts: Mapping[str, Mapping[str, Receipt]]

    @property
    def missing(self) -> list[str]:
        """Stages that are not finished, in the order of the pipeline."""
        return [name for name in STAGES if name not in self.records]

    @property
    def released(self) -> bool:
        """Whether there is a release manifest."""
        return "manifest" in self.records

    @property
    def released_faces(self) -> int:
        """Rows of the release manifest."""
        return sum(int(part.counts["rows"]) for part in self.receipts["manifest"].values()) if self.released else 0

    @property
    def release_path(self) -> Path:
        """The release manifest, if `released`."""
        return self.layout.kept("manifest", STAGES["manifest"].partition)

    def kept_paths(self, stage: str) -> list[Path]:
        """Kept tables of the partitions that are done."""
        return [self.layout.kept(stage, name) for name in self.receipts.get(stage, {})]

    def dropped_paths(self, stage: str) -> list[Path]:
        """Drops of the partitions that are done."""
        return [self.layout.dropped(stage, name) for name in self.receipts.get(stage, {})]

    def release(self, *columns: str) -> Any:
        """Some columns of the release manifest, as a table."""
        return read_table(self.release_path, STAGES["manifest"].schema, columns)

    @cached_property
    def versions(self) -> list[str]:
        """Versions of fdf that made it; more than one if the build was continued with another."""
        return sorted({receipt.code for parts in self.receipts.values() for receipt in parts.values()})

    @cached_property
    def pythons(self) -> list[str]:
        """Versions of Python that made it."""
        return sorted({str(receipt.made.get("python", "")) for receipt in self._all()} - {""})

    @cached_property
    def made(self) -> tuple[datetime, datetime] | None:
        """When the first and the last partition were done, UTC; None if nothing was."""
        times = sorted(datetime.fromisoformat(receipt.made["at"]) for receipt in self._all() if "at" in receipt.made)
        return (times[0], times[-1]) if times else None

    @cached_property
    def models(self) -> list[Mapping[str, str]]:
        """Entries of all models that touched the data, by id."""
        found = {model["id"]: model for receipt in self._all() for model in receipt.models}
        return [found[name] for name in sorted(found)]

    def _all(self) -> list[Receipt]:
        return [receipt for parts in self.receipts.values() for receipt in parts.values()]


def take_snapshot(layout: Layout) -> Snapshot:
    """Read a build folder.

    Raises:
        UsageError: it is no build. DataError: a receipt can't be read. RecipeError: the recipe can't.
    """
    layout.require_build()
    found = {name: layout.finished(name) for name in STAGES}
    return Snapshot(
        layout=layout,
        recipe=load_recipe(layout.recipe),
        recipe_text=layout.recipe.read_text(encoding="utf-8"),
        funnel=tuple(funnel(layout)),
        records={name: record for name, record in found.items() if record},
        receipts={name: layout.receipts(name) for name in STAGES},
    )
