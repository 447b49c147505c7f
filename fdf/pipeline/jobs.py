"""Which partitions a stage has, and what decides what each of them holds: its fingerprint."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fdf.errors import FingerprintError
from fdf.pipeline.layout import Layout, finished, table_content
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.pipeline.repeats import read_repeats
from fdf.pipeline.worker import Job
from fdf.sources import Source, bundled, open_source
from fdf.sources.loopback import folder_digest
from fdf.stages.base import Stage
from fdf.store.files import file_sha256, write_bytes
from fdf.store.receipts import Receipt, differences, digest
from fdf.store.tables import read_table

_DIGESTS = "inputs.json"


class Jobs:
    """The jobs of one build: a recipe in a folder."""

    def __init__(self, recipe: Recipe, layout: Layout) -> None:
        self.recipe, self.layout = recipe, layout

    def of(self, stage: Stage, mirror: str = "") -> Iterator[Job]:
        """All jobs of a stage, in order; those before it must be finished."""
        if stage.name == "metadata":
            yield from self._of_metadata(stage)
        elif stage.scope == "partition":
            yield from self._of_partitions(stage, mirror)
        else:
            records = {name: finished(self.layout, name) for name in stage.reads}
            fingerprint = self.fingerprint(stage, {name: record.content for name, record in records.items()})
            inputs = {name: record.partitions for name, record in records.items()}
            for part in self._shards() if stage.scope == "shard" else (stage.partition,):
                yield self._job(stage, partition=part, inputs=inputs, fingerprint=fingerprint)

    def count(self, stage: Stage) -> int | None:
        """How many jobs a stage has; None if only its source knows."""
        if stage.name == "metadata":
            return None
        if stage.scope == "partition":
            return len(finished(self.layout, stage.reads[0]).partitions)
        return len(self._shards()) if stage.scope == "shard" else 1

    def units(self, stage: Stage) -> int | None:
        """Units that will come in, if that is known before the stage runs."""
        if stage.name == "metadata":
            return None
        main = finished(self.layout, stage.reads[0])
        receipts = self.layout.receipts(main.stage)
        return sum(int(receipts[name].counts["rows"]) for name in main.partitions)

    def up_to_date(self, stage: Stage, existing: Mapping[str, Receipt]) -> bool:
        """Whether a finished stage is today's, without reading the source again.

        Raises:
            FingerprintError: it was made from something else.
        """
        record = self.layout.finished(stage.name)
        if record is None or set(record.partitions) - existing.keys():
            return False
        if any(not existing[name].present(self.layout.root) for name in record.partitions):
            return False
        if (
            stage.name == "metadata"
        ):  # its settings and its source's digests have been compared: see `refuse_other_settings`
            return True
        jobs = list(self.of(stage))
        for job in jobs:
            if job.partition in existing:
                refuse_if_different(self.layout, stage, existing[job.partition].fingerprint, job.fingerprint)
        return [job.partition for job in jobs] == list(record.partitions)

    def refuse_other_settings(self, stage: Stage) -> None:
        """Compare what is there with today's settings, models and source, before anything is run or written.

        Raises:
            FingerprintError: they differ.
        """
        for receipt in self.layout.receipts(stage.name).values():
            before = dict(receipt.fingerprint)
            inputs = dict(before["inputs"])
            if stage.name == "metadata":
                inputs["source"] = self.source_identity(open_recipe_source(self.recipe))
            # Tables of earlier stages are compared when their turn comes: they may have to be made first.
            refuse_if_different(self.layout, stage, before, self.fingerprint(stage, inputs))

    def fingerprint(self, stage: Stage, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """All that decides what a partition of `stage` holds."""
        found: dict[str, Any] = {
            "stage": stage.name,
            "version": stage.version,
            "config": self.recipe.section(stage.name).fingerprint(),
            "inputs": dict(inputs),
        }
        if "analyzer" in stage.tools:
            found["models"] = {model["id"]: model["sha256"] for model in self.recipe.detect.models()}
        if "downloader" in stage.tools and self._loopback:
            found["loopback"] = self._loopback
            del found["config"]["mirror"]  # it is not asked
        return found

    @functools.cached_property
    def _loopback(self) -> str:
        """Digest of what our own mirror serves; empty if the recipe has none."""
        loopback = self.recipe.loopback
        return folder_digest(bundled.resolve(loopback.folder, Path())) if loopback else ""

    def source_identity(self, source: Source) -> dict[str, Any]:
        """What the metadata is read from: digests, not paths."""
        return {
            "name": self.recipe.source.name,
            "kind": self.recipe.source.kind,
            "options": dict(self.recipe.source.options),
            "partition_rows": self.recipe.partition_rows,
            "sha256": [self._source_digest(path) for path in source.files()],
        }

    def _source_digest(self, path: Path) -> str:
        """SHA-256 of an input file, remembered in the build until its size or time changes: fifteen gigabytes take a minute."""
        state = [path.stat().st_size, path.stat().st_mtime_ns]
        memory = self.layout.root / _DIGESTS
        try:
            known = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        remembered = known.get(str(path)) if isinstance(known, dict) else None
        if isinstance(remembered, dict) and remembered.get("state") == state:
            return str(remembered["sha256"])
        found = file_sha256(path)
        if self.layout.root.is_dir():
            write_bytes(memory, json.dumps({str(path): {"state": state, "sha256": found}}).encode())
        return found

    def _of_metadata(self, stage: Stage) -> Iterator[Job]:
        source = open_recipe_source(self.recipe)
        identity = self.source_identity(source)
        for number, batch in enumerate(source.batches(self.recipe.partition_rows)):
            inputs = {"source": identity, "first_line": batch.first_line, "rows": batch.rows}
            yield Job(
                stage=stage.name,
                partition=f"part-{number:05d}",
                recipe=self.recipe,
                root=self.layout.root,
                inputs={},
                fingerprint=self.fingerprint(stage, inputs),
                source=source,
                batch=batch,
            )

    def _of_partitions(self, stage: Stage, mirror: str) -> Iterator[Job]:
        receipts = {name: self.layout.receipts(name) for name in stage.reads}
        repeats = read_repeats(self.layout) if "repeated" in stage.tools else {}
        for part in finished(self.layout, stage.reads[0]).partitions:
            inputs: dict[str, Any] = {name: table_content(receipts[name][part]) for name in stage.reads}
            repeated = repeats.get(part, [])
            if repeated:
                inputs["repeated"] = repeated
            yield self._job(
                stage,
                partition=part,
                inputs=dict.fromkeys(stage.reads, (part,)),
                fingerprint=self.fingerprint(stage, inputs),
                mirror=mirror,
                repeated=frozenset(repeated),
            )

    def _job(self, stage: Stage, **fields: Any) -> Job:
        return Job(stage=stage.name, recipe=self.recipe, root=self.layout.root, models=self._models(stage), **fields)

    def _models(self, stage: Stage) -> tuple[Mapping[str, str], ...]:
        """Entries of the models that made the tables that `stage` reads, or that it uses itself."""
        if "analyzer" in stage.tools:
            return self.recipe.detect.models()
        receipts = (receipt for name in stage.reads for receipt in self.layout.receipts(name).values())
        found = {model["id"]: model for receipt in receipts for model in receipt.models}
        return tuple(found[name] for name in sorted(found))

    def _shards(self) -> list[str]:
        path = self.layout.kept("manifest", finished(self.layout, "manifest").partitions[0])
        return sorted(read_table(path, STAGES["manifest"].schema, ["shard"])["shard"].unique().to_pylist())


def open_recipe_source(recipe: Recipe) -> Source:
    """The source that a recipe names."""
    path = bundled.resolve(recipe.source.path, Path())
    return open_source(recipe.source.kind, path, name=recipe.source.name, **recipe.source.options)


def refuse_if_different(layout: Layout, stage: Stage, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare two fingerprints.

    Raises:
        FingerprintError: they differ; says in what, and what to do.
    """
    if digest(before) == digest(now):
        return
    changed = differences(before, now)
    raise FingerprintError(
        f"Stage {stage.name} in {layout.root} was made from something else",
        expected="the same recipe, inputs, stage version and models as now",
        got="; ".join(changed[:6]) + (f"; and {len(changed) - 6} more" if len(changed) > 6 else ""),
        action=f"To make it anew, and the stages after it, add `--from {stage.name} --rebuild`; "
        "to keep it, choose another --out or undo the change",
    )
