"""What a finished stage leaves for others: repeated ids, checksums of the release, the index of the shards."""

from __future__ import annotations

from pathlib import Path

from fdf.errors import DataError
from fdf.pipeline.layout import RELEASE_FILE, Layout
from fdf.pipeline.repeats import record_repeats
from fdf.store.files import file_sha256, write_bytes
from fdf.store.receipts import Receipt
from fdf.store.shards import INDEX, MANIFEST, ShardEntry, read_index, write_index

CHECKSUMS = "SHA256SUMS"


def publish(layout: Layout, stage: str) -> None:
    """Write what a stage publishes, if it is not there already. Repeatable."""
    if stage == "metadata":
        record_repeats(layout)
    elif stage == "manifest":
        _publish_manifest(layout)
    elif stage == "shard":
        _publish_index(layout)


def shard_entries(receipts: dict[str, Receipt]) -> list[ShardEntry]:
    """Index lines of all tars that the shard receipts name."""
    entries = []
    for name, receipt in receipts.items():
        split, rights = name.split("-", 1)[0], name.split("-", 1)[1].rsplit("-", 1)[0]
        for path, output in receipt.outputs.items():
            if path.endswith(".tar"):
                resolution = int(Path(path).parent.name)
                samples = receipt.notes[f"samples.{resolution}"]
                relative = Path(path).relative_to("shard").as_posix()
                entries.append(ShardEntry(relative, resolution, split, rights, samples, output.size, output.sha256))
    return sorted(entries, key=lambda entry: (entry.resolution, entry.path))


def _publish_manifest(layout: Layout) -> None:
    """`manifest/SHA256SUMS` of the release table, in the format of sha256sum."""
    line = f"{file_sha256(layout.stage('manifest') / RELEASE_FILE)}  {RELEASE_FILE}\n"
    path = layout.stage("manifest") / CHECKSUMS
    if not path.is_file() or path.read_text() != line:
        write_bytes(path, line.encode())


def _publish_index(layout: Layout) -> None:
    """`shard/index.json`, with the digest of the manifest as it is now that they were packed.

    One that lists these shards already stays as it is: runs and models name its digest, and if the manifest was made anew
    since, it wasn't what the shards were packed from.
    """
    entries = shard_entries(layout.receipts("shard"))
    try:
        if read_index(layout.index / INDEX) == entries:
            return
    except DataError:
        pass  # missing or damaged: it is made from the receipts anyway
    written = (receipt.outputs.get(MANIFEST) for receipt in layout.receipts("manifest").values())
    write_index(layout.index, entries, next((output.sha256 for output in written if output), None))
