"""Where things lie in a build folder. The only place that knows file names.

OUT/recipe.toml                     the resolved recipe
OUT/<stage>/<partition>.parquet     kept rows; .dropped.parquet drops; .receipt.json the receipt, written last
OUT/<stage>/stage.json              written when all partitions of the stage are done
OUT/fetch/<partition>.tar           original bytes, untouched
OUT/shard/<resolution>/<shard>.tar  samples; OUT/shard/index.json their index
OUT/manifest/release.parquet …      the manifest as published, with checksums
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fdf.errors import DataError, UsageError
from fdf.schema import RELEASE
from fdf.store.files import write_bytes
from fdf.store.receipts import Receipt, digest
from fdf.store.tables import read_table

RELEASE_FILE = "release.parquet"


@dataclass(frozen=True)
class StageRecord:
    """What `stage.json` says: the partitions of a finished stage and the digest of what they hold."""

    stage: str
    partitions: tuple[str, ...]
    content: str


@dataclass(frozen=True)
class Layout:
    """Paths below one build folder. Paths in tables and receipts are relative to `root`, with forward slashes."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.toml"

    @property
    def index(self) -> Path:
        """Folder of the shards and of their index."""
        return self.root / "shard"

    def stage(self, stage: str) -> Path:
        """Folder of a stage."""
        return self.root / stage

    def kept(self, stage: str, partition: str) -> Path:
        """Kept rows of a partition."""
        return self.root / stage / f"{partition}.parquet"

    def dropped(self, stage: str, partition: str) -> Path:
        """Drops of a partition."""
        return self.root / stage / f"{partition}.dropped.parquet"

    def receipt(self, stage: str, partition: str) -> Path:
        """Receipt of a partition."""
        return self.root / stage / f"{partition}.receipt.json"

    def archive(self, stage: str, partition: str) -> Path:
        """Original bytes of a partition."""
        return self.root / stage / f"{partition}.tar"

    def relative(self, path: Path) -> str:
        """A path as tables and receipts write it."""
        return path.relative_to(self.root).as_posix()

    def receipts(self, stage: str) -> dict[str, Receipt]:
        """All receipts of a stage by partition, in order; finished or not."""
        found = sorted(self.stage(stage).glob("*.receipt.json"))
        loaded = ((path.name.removesuffix(".receipt.json"), Receipt.load(path)) for path in found)
        return {name: receipt for name, receipt in loaded if receipt}

    def finished(self, stage: str) -> StageRecord | None:
        """The record of a finished stage; None if it isn't finished.

        Raises:
            DataError: there is one, but it can't be read.
        """
        path = self.stage(stage) / "stage.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            return StageRecord(raw["stage"], tuple(raw["partitions"]), raw["content"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} can't be read ({error})", action="Remove it and run `fdf build` again") from error

    def finish(self, stage: str, partitions: Sequence[str]) -> StageRecord:
        """Record that all partitions of a stage are done."""
        receipts = self.receipts(stage)
        content = digest({name: table_content(receipts[name]) for name in partitions})
        record = StageRecord(stage, tuple(partitions), content)
        if self.finished(stage) != record:
            body = {"stage": stage, "partitions": list(partitions), "content": content}
            write_bytes(self.stage(stage) / "stage.json", (json.dumps(body, indent=1) + "\n").encode())
        return record

    def require_build(self) -> None:
        """Raises:
        UsageError: this folder is no build.
        """
        if not self.recipe.is_file():
            raise UsageError(
                f"{self.root} is no build",
                expected="a folder that `fdf build --out` made, with a recipe.toml in it",
                action="Run `fdf build RECIPE --out DIR` first",
            )


def finished(layout: Layout, stage: str) -> StageRecord:
    """The record of a stage that must be finished.

    Raises:
        UsageError: it isn't.
    """
    record = layout.finished(stage)
    if record is None:
        raise UsageError(
            f"Stage {stage} in {layout.root} isn't finished", action=f"Run `fdf build --until {stage}` first"
        )
    return record


def find_release(path: Path) -> Path:
    """The release table of a build folder, of a published manifest's folder, or the file itself.

    Raises:
        UsageError: there is none.
    """
    for candidate in (path / "manifest" / RELEASE_FILE, path / RELEASE_FILE, path):
        if candidate.is_file():
            return candidate
    raise UsageError(
        f"There is no release manifest at {path}",
        expected=f"a build whose manifest stage is done, or a folder with a {RELEASE_FILE}",
        action="Run `fdf build RECIPE --out DIR --until manifest`",
    )


def read_release(path: Path) -> pa.Table:
    """The RELEASE table of a build folder, of a published manifest's folder, or of a file.

    Raises:
        UsageError: there is none. DataError: it can't be read.
    """
    return read_table(find_release(path), RELEASE)


def release_rows(path: Path) -> int:
    """How many faces a release table has.

    Raises:
        DataError: it can't be read, or is no release table.
    """
    return int(read_table(path, RELEASE, []).num_rows)


def release_batches(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Some columns of a release table in pieces of at most `rows`: never all of it in memory.

    Raises:
        DataError: it can't be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(rows, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file ({error})", action="Remove it and build again") from error


def table_content(receipt: Receipt) -> str:
    """Content digest of the kept table of a receipt's partition."""
    kept = f"{receipt.stage}/{receipt.partition}.parquet"
    return receipt.outputs[kept].content or ""
