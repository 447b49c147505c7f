"""Shards of a few small drawn faces, and networks that train on them in a moment."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fdf.gan.config import TrainRecipe
from fdf.store.shards import ShardEntry, ShardWriter, write_index

SIDE = 16
LICENCES = {
    "pd": "CC0-1.0", "by": "CC-BY-2.0", "by-sa": "CC-BY-SA-2.0", "by-nc": "CC-BY-NC-2.0", "by-nc-sa": "CC-BY-NC-SA-2.0",
    "nd": "CC-BY-ND-2.0", "none": "LicenseRef-All-Rights-Reserved",
}  # fmt: skip
"""A licence of each rights class."""
Change = Callable[[int, dict[str, Any]], Mapping[str, Any]]


def png(seed: int, side: int = SIDE) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def row(number: int, side: int = SIDE) -> dict[str, Any]:
    points = np.random.default_rng((9, number)).random((7, 3)).astype(float)
    points[:, 2] = 0.9
    return {
        "face_id": f"face{number:03d}", "photo_id": f"photo{number // 2:03d}", "owner_nsid": f"{number // 4}@N00",
        "source": "made", "split": "training", "license_id": "CC-BY-2.0", "rights_class": "by",
        "download_url": f"http://farm1.staticflickr.com/1/{number}.jpg", "consent_date": "2023-11-01",
        "consent_decision": "allowed_by_licence", "consent_policy": "fdf-signals-1", "resolution": side,
        "box_in_crop": [0.25, 0.2, 0.75, 0.8], "keypoints": points.ravel().tolist(),
    }  # fmt: skip


def rendered(number: int, body: dict[str, Any]) -> dict[str, Any]:
    """What the sidecar of a face says that `fdf synth` rendered; for shards of `pd`."""
    photo = f"80000000{number:06d}"
    url = f"http://synthetic.invalid/portrait/{photo}.jpg"
    return body | {
        "source": "synthetic",
        "photo_id": photo,
        "owner_nsid": f"8000000{number:06d}@S00",
        "download_url": url,
    }


def make_shards(
    folder: Path,
    count: int = 12,
    *,
    start: int = 0,
    per_shard: int = 5,
    split: str = "training",
    rights: str = "by",
    change: Change = lambda _, body: body,
    side: int = SIDE,
) -> Path:
    """A build's shard folder with faces number `start` to before `count` of `side` px; `change` may alter a sidecar.

    Adds to an index that is there.
    """
    entries = []
    for first in range(start, count, per_shard):
        with ShardWriter(folder, f"{split}-{rights}-{first:05d}") as writer:
            numbers = range(first, min(first + per_shard, count))
            for number in numbers:
                kind = {"split": split, "rights_class": rights, "license_id": LICENCES[rights]}
                body = change(number, row(number, side) | kind)
                writer.add(side, f"face{number:03d}", {"png": png(number, side), "json": json.dumps(body).encode()})
        entries.append(entry_of(folder, writer.paths[0], len(numbers), split, rights, side))
    index = folder / "index.json"
    if index.is_file():
        from fdf.store.shards import read_index

        entries += read_index(index)
    write_index(folder, entries)
    return folder


def entry_of(
    folder: Path, path: Path, samples: int, split: str = "training", rights: str = "by", side: int = SIDE
) -> ShardEntry:
    data = path.read_bytes()
    return ShardEntry(
        path.relative_to(folder).as_posix(), side, split, rights, samples, len(data), hashlib.sha256(data).hexdigest()
    )


def rewrite(folder: Path, make: Callable[[tarfile.TarFile], int]) -> Path:
    """Replace the shards by one tar that `make` fills; it returns how many samples the index shall promise."""
    path = folder / str(SIDE) / "training-by-00000.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        samples = make(tar)
    write_index(folder, [entry_of(folder, path, samples)])
    return path


def mini(latent: int = 8) -> Any:
    """The smallest networks of the kind."""
    from fdf.gan.networks import Architecture

    return Architecture("mini", SIDE, latent, (8, 8), (0, 1), (1, 1), (8, 8, 8), (1, 1, 1), 8)


def short(**run: Any) -> TrainRecipe:
    """A recipe of a few steps."""
    settings = {"pictures": 48, "batch": 8, "metrics_every": 8, "checkpoint_every": 16, "sample_every": 24}
    return TrainRecipe().override(run={**settings, "sample_faces": 2, "sample_variants": 2, **run})
