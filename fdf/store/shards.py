"""WebDataset shards: written by the build, read by a trainer.

A shard is a tar of samples `<key>.png` + `<key>.json`, one folder a resolution, with an `index.json` that names every shard,
its SHA-256, split and rights class, and the manifest that they were packed from. `open_shards` reads them back without any
framework; `torch_dataset` wraps it for torch.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdf.consent.licenses import RELEASABLE
from fdf.errors import DataError, UsageError
from fdf.store.archives import tar_member
from fdf.store.files import atomic_file

INDEX = "index.json"
MANIFEST = "manifest/release.parquet"
"""Where a build has the table of all faces that it released, beside the folder of its shards."""
_PICTURES = {"png", "webp", "jpg"}


@dataclass(frozen=True)
class ShardEntry:
    """One line of the index. `path` is relative to the index."""

    path: str
    resolution: int
    split: str
    rights_class: str
    samples: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Sample:
    """One face.

    Attributes:
        picture: uint8 RGB, shape (resolution, resolution, 3).
        box: float32 [x0, y0, x1, y1) in pixels of `picture`.
        keypoints: float32 (7, 3): x, y in pixels of `picture` and confidence; COCO order, see `fdf.vocabulary.KEYPOINT_NAMES`.
        row: the RELEASE row, with `resolution`.
    """

    key: str
    picture: np.ndarray = field(repr=False)
    box: np.ndarray
    keypoints: np.ndarray = field(repr=False)
    row: Mapping[str, Any] = field(repr=False)


class ShardWriter:
    """The tars of one shard, a file a resolution, opened when their first sample comes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._tars: dict[int, tarfile.TarFile] = {}
        self._files = contextlib.ExitStack()

    def add(self, resolution: int, key: str, files: Mapping[str, bytes]) -> None:
        """Append one sample."""
        if resolution not in self._tars:
            file = self._files.enter_context(atomic_file(self._folder / str(resolution) / f"{self._name}.tar"))
            self._tars[resolution] = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        for extension, data in sorted(files.items(), reverse=True):
            self._tars[resolution].addfile(tar_member(f"{key}.{extension}", len(data)), io.BytesIO(data))

    @property
    def paths(self) -> list[Path]:
        """The files this writer makes."""
        return [self._folder / str(resolution) / f"{self._name}.tar" for resolution in sorted(self._tars)]

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            for tar in self._tars.values():
                tar.close()
        self._files.__exit__(kind, error, trace)


class Shards:
    """An iterable over the samples of some shards, in their order. Iterating again starts again.

    Args:
        entries: what to read, `folder` where their paths start.
        verify: check each shard's SHA-256 before its first sample.
    """

    def __init__(self, folder: Path, entries: Sequence[ShardEntry], *, verify: bool = True) -> None:
        self.folder, self.entries, self.verify = folder, tuple(entries), verify

    def __len__(self) -> int:
        return sum(entry.samples for entry in self.entries)

    def __iter__(self) -> Iterator[Sample]:
        for entry in self.entries:
            yield from read_shard(self.folder / entry.path, entry.sha256 if self.verify else None)

    @property
    def rights_classes(self) -> frozenset[str]:
        """What using all of it asks of you."""
        return frozenset(entry.rights_class for entry in self.entries)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Everything in memory: pictures (N, R, R, 3) uint8, boxes (N, 4) and keypoints (N, 7, 3) float32."""
        samples = list(self)
        return (
            np.stack([sample.picture for sample in samples]),
            np.stack([sample.box for sample in samples]),
            np.stack([sample.keypoints for sample in samples]),
        )

    def part(self, index: int, count: int) -> Shards:
        """Every `count`-th shard from `index`: a worker's share."""
        return Shards(self.folder, self.entries[index::count], verify=self.verify)


def open_shards(
    path: str | os.PathLike[str],
    *,
    resolution: int | None = None,
    split: str | None = None,
    rights: Sequence[str] | None = None,
    shards: str = "*",
    verify: bool = True,
) -> Shards:
    """Open the shards of a build for reading.

    Args:
        path: a build folder, its `shard` folder or an `index.json`.
        resolution: side of the pictures; may be left out when there is only one.
        split: `training` or `validation`; both if left out.
        rights: rights classes that you may use, for example `["pd", "by"]`; all if left out.
        shards: pattern of shard names, such as `training-by-*`.
        verify: check each shard's SHA-256 against the index before it is read.

    Raises:
        UsageError: no such folder, resolution, split or rights class.
        DataError: the index is missing, damaged or empty.
    """
    index = _find_index(Path(path))
    entries = read_index(index)
    if not entries:
        raise DataError(f"{index} lists no shards", expected="at least one face that passed the filter")
    resolution = _one_resolution(entries, resolution, index)
    for name, wanted, known in (
        ("split", [split] if split else [], {entry.split for entry in entries}),
        ("rights", list(rights or ()), {entry.rights_class for entry in entries}.union(RELEASABLE)),
    ):
        unknown = sorted(set(wanted) - known)
        if unknown:
            raise UsageError(
                f"No {name} {', '.join(unknown)} in {index}", expected=f"one of {', '.join(sorted(known))}"
            )
    chosen = [
        entry
        for entry in entries
        if entry.resolution == resolution
        and split in (None, entry.split)
        and (rights is None or entry.rights_class in rights)
        and fnmatch.fnmatch(Path(entry.path).stem, shards)
    ]
    if not chosen:
        raise UsageError(f"No shard of {index} fits", got=f"{resolution=}, {split=}, {rights=}, {shards=}")
    return Shards(index.parent, chosen, verify=verify)


def read_shard(path: Path, sha256: str | None = None) -> Iterator[Sample]:
    """Samples of one tar.

    Raises:
        DataError: missing, another SHA-256 than the index says, cut, or a sample without picture or sidecar.
    """
    try:
        with path.open("rb") as file:
            if sha256 is not None:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != sha256:
                    raise DataError(f"{path} is not the shard its index names", expected=f"sha256 {sha256}", got=found)
                file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                yield from _samples(tar, path)
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} can't be read as a tar ({error})", action="`fdf validate` names all damaged files"
        ) from error


def write_index(folder: Path, entries: Sequence[ShardEntry], manifest_sha256: str | None = None) -> None:
    """Write `index.json` atomically, sorted by resolution and name.

    Args:
        manifest_sha256: of the `MANIFEST` that the shards were packed from; left out where it isn't known.
    """
    ordered = sorted(entries, key=lambda entry: (entry.resolution, entry.path))
    origin = {"manifest_sha256": manifest_sha256} if manifest_sha256 else {}
    body = {"format": "fdf-shards-1", **origin, "shards": [vars(entry) for entry in ordered]}
    with atomic_file(folder / INDEX) as file:
        file.write((json.dumps(body, indent=1) + "\n").encode())


def read_index(path: Path) -> list[ShardEntry]:
    """Entries of an `index.json`."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return [ShardEntry(**entry) for entry in body["shards"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no index of shards ({error})", action="Build the shard stage again") from error


def packed_from(path: Path) -> str | None:
    """SHA-256 of the manifest that the shards of an `index.json` were packed from; None if it doesn't say, as older ones don't.

    Raises:
        DataError: it is no index.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("manifest_sha256")
        if found is not None and not re.fullmatch("[0-9a-f]{64}", found):
            raise ValueError(f"manifest_sha256 {found!r}")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no index of shards ({error})", action="Build the shard stage again") from error
    return str(found) if found else None


def torch_dataset(shards: Shards) -> Any:
    """A `torch.utils.data.IterableDataset` over `shards`; each loader worker reads its own share of the tars.

    Items are dicts: `picture` uint8 tensor (3, R, R), `box` (4,), `keypoints` (7, 3), `key`.

    Raises:
        UsageError: torch is not installed.
    """
    try:
        import torch
        from torch.utils.data import IterableDataset, get_worker_info
    except ImportError as error:
        raise UsageError("torch is not installed", action='Install it with `pip install "fdf[torch]"`') from error

    class _Dataset(IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[dict[str, Any]]:
            worker = get_worker_info()
            mine = shards if worker is None else shards.part(worker.id, worker.num_workers)
            for sample in mine:
                yield {
                    "picture": torch.from_numpy(sample.picture.transpose(2, 0, 1).copy()),
                    "box": torch.from_numpy(sample.box),
                    "keypoints": torch.from_numpy(sample.keypoints),
                    "key": sample.key,
                }

        def __len__(self) -> int:
            return len(shards)

    return _Dataset()


def _find_index(path: Path) -> Path:
    for candidate in (path, path / INDEX, path / "shard" / INDEX):
        if candidate.is_file():
            return candidate
    raise UsageError(
        f"There are no shards at {path}",
        expected=f"a build folder, its shard folder or an {INDEX}",
        action="Run `fdf build` to the end; the index comes last",
    )


def _one_resolution(entries: Sequence[ShardEntry], wanted: int | None, index: Path) -> int:
    found = sorted({entry.resolution for entry in entries})
    if wanted is None and len(found) > 1:
        raise UsageError(f"{index} has several resolutions", expected=f"resolution= one of {found}")
    if wanted is not None and wanted not in found:
        raise UsageError(f"{index} has no resolution {wanted}", expected=f"one of {found}")
    return found[0] if wanted is None else wanted


def _samples(tar: tarfile.TarFile, path: Path) -> Iterator[Sample]:
    """Group members by key; files of a sample stand together."""
    key, files = "", dict[str, bytes]()
    for member in tar:
        stem, _, extension = member.name.partition(".")
        if stem != key and files:
            yield _sample(key, files, path)
            files = {}
        content = tar.extractfile(member)
        if content is None:
            raise DataError(f"{path} holds {member.name!r}, which is no plain file")
        key, files[extension] = stem, content.read()
    if files:
        yield _sample(key, files, path)


def _sample(key: str, files: Mapping[str, bytes], path: Path) -> Sample:
    import cv2

    extension = next((name for name in files if name in _PICTURES), None)
    if extension is None or "json" not in files:
        raise DataError(f"Sample {key} of {path} is not whole", expected="a picture and a json", got=", ".join(files))
    try:
        row = json.loads(files["json"])
        side = float(row["resolution"])
        box = np.asarray(row["box_in_crop"], np.float32) * np.float32(side)
        keypoints = np.asarray(row["keypoints"], np.float32).reshape(7, 3) * np.array([side, side, 1], np.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"The sidecar of sample {key} of {path} can't be read ({error})") from error
    picture = cv2.imdecode(np.frombuffer(files[extension], np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None or picture.shape[:2] != (side, side):
        raise DataError(f"The picture of sample {key} of {path} can't be decoded at {side:g} px")
    return Sample(key, picture, box, keypoints, row)
