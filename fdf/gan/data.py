"""Faces for the trainer, straight from the shards of a build.

WebDataset is the format; the library of that name isn't used. It streams: where a sample comes in a run depends on the number
of workers and on a shuffle buffer; going on at picture 1,234,567 means reading all that comes before it; and it doesn't know
the digests in our index. Here each tar is read through once (digest and sidecars), then every picture is a place in a file:

    picture p of a run = face permutation(seed, p // n)[p mod n], varied by random numbers of (seed, p) alone

A batch depends on nothing but the seed and its position, and a resumed run goes on exactly where it was. The price is reading
at random places: fine from a local disk, slow from a distant one.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from fdf.errors import DataError, FdfError
from fdf.gan.config import DataConfig
from fdf.gan.holes import hidden, hole
from fdf.gan.sidecars import ROWS, read_sidecar
from fdf.store.shards import INDEX, ShardEntry, Shards, open_shards

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

MIRRORED: Final = (0, 2, 1, 4, 3, 6, 5)
"""Where the keypoints are found after a flip: left and right change places. COCO order, see `fdf.vocabulary.KEYPOINT_NAMES`."""

_PICTURES: Final = ("png", "webp", "jpg")


@dataclass(frozen=True)
class Faces:
    """All faces that a run may draw, as places in files; no picture is in memory.

    Attributes:
        folder: where the paths of `entries` start; the digests in these are of what was read.
        digest: SHA-256 of the index.
        table: of each face, the columns of `ROWS`.
        shard, offset, length: where its picture is, (N,).
        boxes: (N, 4), keypoints: (N, 7, 3) float32, pixels and confidence.
        altered: shards whose digest is not the one in the index. Only with `verify=False`.
    """

    folder: Path
    entries: tuple[ShardEntry, ...]
    digest: str
    resolution: int
    table: pa.Table = field(repr=False)
    shard: np.ndarray = field(repr=False)
    offset: np.ndarray = field(repr=False)
    length: np.ndarray = field(repr=False)
    boxes: np.ndarray = field(repr=False)
    keypoints: np.ndarray = field(repr=False)
    altered: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Which faces these are, in which order: a digest of the shards' names and digests."""
        return hashlib.sha256("".join(f"{e.path} {e.sha256}\n" for e in self.entries).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.shard)

    def picture(self, index: int) -> np.ndarray:
        """Decode one picture, (R, R, 3) uint8 RGB."""
        import cv2

        path = self.folder / self.entries[self.shard[index]].path
        try:
            with path.open("rb") as file:
                file.seek(int(self.offset[index]))
                data = file.read(int(self.length[index]))
        except OSError as error:
            raise DataError(f"{path} can't be read any more ({error})", action="Is the disk still there?") from error
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
        side = self.resolution
        if picture is None or picture.shape[:2] != (side, side):
            raise DataError(
                f"A picture of {path}, at byte {self.offset[index]}, is not what the index says",
                expected=f"a picture of {side} × {side} px",
                got="nothing that can be decoded" if picture is None else f"{picture.shape[1]} × {picture.shape[0]} px",
                action="Build the shard stage again; one folder holds one resolution",
            )
        return np.asarray(picture)


def find_faces(
    path: Path,
    *,
    resolution: int,
    split: str | None = None,
    rights: Sequence[str] = (),
    verify: bool = True,
    workers: int = 1,
) -> Faces:
    """Look through the shards of a build: digests, and where each face lies.

    Args:
        verify: refuse a shard whose SHA-256 is not the one in the index; otherwise note it in `altered`.
        workers: processes that read; the result is the same.

    Raises:
        UsageError: no shards there, or none of this resolution, split and rights.
        DataError: missing, altered, cut or incomplete shards, or no face in them.
    """
    return faces_in(
        open_shards(path, resolution=resolution, split=split, rights=list(rights) or None),
        verify=verify,
        workers=workers,
    )


def faces_in(shards: Shards, *, verify: bool = True, workers: int = 1) -> Faces:
    """Look through these shards, all of one resolution; the rest as `find_faces`."""
    resolution = shards.entries[0].resolution
    parts = _surveys(shards.folder, shards.entries, verify, workers)
    table = pa.concat_tables([part.table for part in parts]).unify_dictionaries()
    if not table.num_rows:
        raise DataError(
            f"The shards of {shards.folder} are empty",
            expected=f"at least one face of {resolution} px",
            got=f"{len(parts)} shards without a sample",
            action="`fdf status` shows where the faces were dropped",
        )
    counts = [part.table.num_rows for part in parts]
    return Faces(
        folder=shards.folder,
        entries=tuple(replace(e, sha256=part.sha256) for e, part in zip(shards.entries, parts, strict=True)),
        digest=hashlib.sha256((shards.folder / INDEX).read_bytes()).hexdigest(),
        resolution=resolution,
        table=table,
        shard=np.repeat(np.arange(len(parts), dtype=np.int32), counts),
        offset=np.concatenate([part.offset for part in parts]),
        length=np.concatenate([part.length for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        keypoints=np.concatenate([part.keypoints for part in parts]),
        altered=tuple(
            entry.path for entry, part in zip(shards.entries, parts, strict=True) if part.sha256 != entry.sha256
        ),
    )


@dataclass(frozen=True)
class _Survey:
    """What one tar holds."""

    table: pa.Table
    offset: np.ndarray
    length: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    sha256: str


def _surveys(folder: Path, entries: Sequence[ShardEntry], verify: bool, workers: int) -> list[_Survey]:
    if workers <= 1 or len(entries) < 16:
        return [_survey(folder, entry, verify) for entry in entries]
    import joblib

    parallel = joblib.Parallel(n_jobs=min(workers, len(entries)))
    return list(parallel(joblib.delayed(_survey)(folder, entry, verify) for entry in entries))


def _survey(folder: Path, entry: ShardEntry, verify: bool) -> _Survey:
    path = folder / entry.path
    places: dict[str, tuple[int, int]] = {}
    sidecars: dict[str, dict[str, Any]] = {}
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if verify and found != entry.sha256:
                raise DataError(
                    f"{path} is not the shard its index names",
                    expected=f"sha256 {entry.sha256}",
                    got=found,
                    action="Build the shard stage again; `fdf validate` names all damaged files",
                )
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    key, _, extension = member.name.partition(".")
                    if extension in _PICTURES:
                        places[key] = (member.offset_data, member.size)
                    elif extension == "json":
                        file.seek(member.offset_data)  # half the time of tar.extractfile, which seeks for itself, too
                        sidecars[key] = read_sidecar(file.read(member.size), entry, key, path)
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} can't be read as a tar ({error})",
            expected=f"{entry.samples} samples",
            got=f"{len(sidecars)} before the damage",
            action="Build the shard stage again; `fdf validate` names all damaged files",
        ) from error
    if lonely := sorted(places.keys() ^ sidecars.keys()):
        raise DataError(
            f"Sample {lonely[0]} of {path} is not whole",
            expected="a picture (png, webp or jpg) and a json",
            got="only the picture" if lonely[0] in places else "only the json",
            action="Build the shard stage again",
        )
    if verify and len(places) != entry.samples:
        raise DataError(
            f"{path} is cut, or its index is another's", expected=f"{entry.samples} samples", got=str(len(places)),
            action="Build the shard stage again",
        )  # fmt: skip
    keys, side = list(places), entry.resolution
    return _Survey(
        table=pa.Table.from_pylist([sidecars[key]["row"] for key in keys], schema=ROWS),
        offset=np.array([places[key][0] for key in keys], np.int64),
        length=np.array([places[key][1] for key in keys], np.int64),
        boxes=np.array([sidecars[key]["box"] for key in keys], np.float32).reshape(-1, 4) * np.float32(side),
        keypoints=np.array([sidecars[key]["keypoints"] for key in keys], np.float32).reshape(-1, 7, 3)
        * np.array([side, side, 1], np.float32),
        sha256=found,
    )


def vary(
    picture: np.ndarray, box: np.ndarray, keypoints: np.ndarray, config: DataConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One face as the networks see it, varied.

    Args:
        picture: uint8 (R, R, 3); box: (4,) pixels; keypoints: (7, 3) x, y in pixels and confidence.

    Returns:
        Picture uint8 (3, R, R), hole float32 (1, R, R), keypoints float32 (7, 3) with presence 0 or 1 instead of the
        confidence and zeros for absent ones.
    """
    side = picture.shape[0]
    # All numbers are drawn whatever the settings: another share of flips leaves all else as it was.
    flip, ellipse, scale, shift_x, shift_y, drop_all, *drops = rng.random(13)
    x0, y0, x1, y1 = (float(value) for value in box)
    if flip < config.flip:
        picture, x0, x1 = picture[:, ::-1], side - x1, side - x0
        keypoints = keypoints[list(MIRRORED)] * np.array([-1, 1, 1], np.float32) + np.array([side, 0, 0], np.float32)
    low, high = config.box_scale
    shift = ((2 * shift_x - 1) * config.box_shift, (2 * shift_y - 1) * config.box_shift)
    is_ellipse = bool(ellipse < config.ellipse_share)
    wide = hidden((x0, y0, x1, y1), low + (high - low) * scale, shift, ellipse=is_ellipse)
    mask = hole(wide, side, ellipse=is_ellipse)
    there = (keypoints[:, 2] >= config.keypoint_confidence) & np.isfinite(keypoints).all(axis=1)
    there &= (np.array(drops) >= config.keypoint_drop) & (drop_all >= config.keypoints_drop_all)
    points = np.where(there[:, None], np.concatenate([keypoints[:, :2], np.ones((7, 1))], axis=1), 0)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)), mask[None], points.astype(np.float32)


class Deck:
    """Picture p of a run, for any p; see the head of this file. A map-style dataset whose items are whole parts of a batch."""

    def __init__(self, faces: Faces, config: DataConfig, seed: int) -> None:
        # A copy goes to every worker: without the table, which only the lineage needs.
        self.faces, self.config, self.seed = replace(faces, table=ROWS.empty_table()), config, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def face(self, position: int) -> int:
        """Which face is drawn at a position."""
        epoch, place = divmod(position, len(self.faces))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, first_order(len(self.faces), self.seed, epoch)
        return int(self._order[place])

    def __getitem__(self, positions: Sequence[int]) -> dict[str, np.ndarray] | FdfError:
        """The pictures at `positions`: picture uint8 (B, 3, R, R), mask (B, 1, R, R), keypoints (B, 7, 3), positions (B,).

        An error comes back as a value: a loader's worker would bury it under its own traceback.
        """
        try:
            made = [self._one(position) for position in positions]
        except FdfError as error:
            return error
        picture, mask, keypoints = (np.stack(part) for part in zip(*made, strict=True))
        return {"picture": picture, "mask": mask, "keypoints": keypoints, "positions": np.array(positions, np.int64)}

    def _one(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index, faces = self.face(position), self.faces
        rng = np.random.default_rng((self.seed, 1, position))
        return vary(faces.picture(index), faces.boxes[index], faces.keypoints[index], self.config, rng)


def first_order(count: int, seed: int, epoch: int = 0) -> np.ndarray:
    """The order in which an epoch draws the faces."""
    return np.random.default_rng((seed, 0, epoch)).permutation(count)


@dataclass(frozen=True)
class Positions:
    """Which positions this process works on, part by part: `accumulate` parts a step, from picture `start` on.

    The parts of a step are numbered over all processes, so that two processes with one part each do what one process with
    two parts does.
    """

    start: int
    stop: int
    batch: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[int]]:
        part = self.batch // (self.world * self.accumulate)
        for first in range(self.start, self.stop, self.batch):
            for number in range(self.rank * self.accumulate, (self.rank + 1) * self.accumulate):
                yield list(range(first + number * part, first + (number + 1) * part))


def loader(deck: Deck, positions: Positions, *, workers: int = 0, pin: bool = False) -> DataLoader[Any]:
    """A torch DataLoader over the parts of `positions`, decoded in `workers` processes; items as in `Deck`, as tensors."""
    from torch.utils.data import DataLoader

    context = None
    if workers:
        # Not fork: the parent has threads and perhaps a GPU. The server imports once what all workers need.
        context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
        if os.name == "posix":
            context.set_forkserver_preload(["torch.utils.data", "cv2", __name__])
    return DataLoader(
        deck,
        sampler=positions,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        multiprocessing_context=context,
        worker_init_fn=_quiet_worker,
    )


def _quiet_worker(_: int) -> None:
    """Ctrl-C and SIGTERM go to all processes of a terminal or a job; the trainer answers them, and ends its workers."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
