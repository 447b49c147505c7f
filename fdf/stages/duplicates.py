"""Finding what is there twice: photos by bytes, pixels or likeness; a face within a burst of one owner.

All choices are deterministic and independent of the order of partitions: who comes first is decided by upload date, then id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

_HASH_BITS = 64


class PhotoView(NamedTuple):
    """What decides whether two photos are the same. `order` sorts the one to keep first."""

    photo_id: str
    order: tuple[float, str]
    sha256: str
    pixel_sha256: str
    phash: int


class BurstFace(NamedTuple):
    """A face that may be there several times in a burst. `order` sorts the one to keep first."""

    face_id: str
    photo_id: str
    owner: str
    taken: float
    order: tuple[float, str]
    embedding: np.ndarray


def duplicate_photos(photos: Iterable[PhotoView], max_distance: int) -> dict[str, tuple[str, str]]:
    """Photo id → (id of the photo that is kept, how alike they are).

    Args:
        photos: the candidates, in any order.
        max_distance: bits of the 64-bit perceptual hash that may differ; a negative number turns likeness off.
    """
    ordered = sorted(photos, key=lambda photo: photo.order)
    found: dict[str, tuple[str, str]] = {}
    for kind in ("sha256", "pixel_sha256"):
        first: dict[str, str] = {}
        for photo in ordered:
            if photo.photo_id not in found:
                twin = first.setdefault(getattr(photo, kind), photo.photo_id)
                if twin != photo.photo_id:
                    found[photo.photo_id] = twin, "same bytes" if kind == "sha256" else "same pixels"
    rest = [photo for photo in ordered if photo.photo_id not in found]
    for earlier, later, distance in _alike(np.array([p.phash for p in rest], np.uint64), max_distance):
        # Against kept photos only: a chain of small steps must not swallow a whole series.
        if rest[later].photo_id not in found and rest[earlier].photo_id not in found:
            found[rest[later].photo_id] = rest[earlier].photo_id, f"{distance} of {_HASH_BITS} hash bits differ"
    return {photo_id: _last(found, photo_id) for photo_id in found}


def _last(found: Mapping[str, tuple[str, str]], photo_id: str) -> tuple[str, str]:
    """The link that leads to a kept photo: a twin by its bytes may itself be dropped as a twin by its pixels."""
    twin, how = found[photo_id]
    return _last(found, twin) if twin in found else (twin, how)


def _alike(hashes: np.ndarray, max_distance: int) -> list[tuple[int, int, int]]:
    """All pairs (earlier, later, distance) within `max_distance` bits, sorted by the later one, then distance.

    Multi-index hashing (Norouzi 2012): of max_distance + 1 slices of the hash at least one must be equal, so only
    photos that share a slice are compared. Exact, not approximate.
    """
    pairs: dict[tuple[int, int], int] = {}
    edges = np.linspace(0, _HASH_BITS, max(0, max_distance + 2)).astype(int).tolist()
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        slices = (hashes >> np.uint64(low)) & mask
        for group in _groups(slices):
            for position, later in enumerate(group[1:], 1):
                earlier = group[:position]
                distances = np.bitwise_count(hashes[earlier] ^ hashes[later])
                for index in np.flatnonzero(distances <= max_distance):
                    pairs[int(earlier[index]), int(later)] = int(distances[index])
    return sorted(((a, b, d) for (a, b), d in pairs.items()), key=lambda pair: (pair[1], pair[2], pair[0]))


def _groups(values: np.ndarray) -> Iterator[np.ndarray]:
    """Indices that share a value, ascending, for values that occur more than once."""
    order = np.argsort(values, kind="stable")
    edges = np.flatnonzero(np.diff(values[order])) + 1
    yield from (group for group in np.split(order, edges) if len(group) > 1)


def burst_duplicates(faces: Iterable[BurstFace], seconds: float, max_distance: float) -> dict[str, tuple[str, str]]:
    """Face id → (id of the face that is kept, how near), for the same face shot again by one owner within `seconds`.

    Args:
        max_distance: Euclidean distance of embeddings under which two faces are the same person.
    """
    by_owner: dict[Hashable, list[BurstFace]] = defaultdict(list)
    for face in faces:
        by_owner[face.owner].append(face)
    found: dict[str, tuple[str, str]] = {}
    for owned in by_owner.values():
        found |= _burst_of_owner(sorted(owned, key=lambda face: face.order), seconds, max_distance)
    return found


def _burst_of_owner(faces: Sequence[BurstFace], seconds: float, max_distance: float) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    if len(faces) < 2:
        return found
    taken = np.array([face.taken for face in faces])
    photos = np.array([face.photo_id for face in faces])
    embeddings = np.stack([face.embedding for face in faces]).astype(np.float32)
    kept: list[int] = []
    for index, face in enumerate(faces):
        rivals = np.array(
            [k for k in kept if abs(taken[k] - taken[index]) <= seconds and photos[k] != photos[index]], int
        )
        distances = np.linalg.norm(embeddings[rivals] - embeddings[index], axis=1)
        if len(distances) and distances.min() <= max_distance:
            twin = faces[rivals[int(distances.argmin())]].face_id
            found[face.face_id] = twin, f"embedding distance {distances.min():.3f}"
        else:
            kept.append(index)
    return found
