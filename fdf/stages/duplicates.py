"""Finding what is there twice: photos by bytes, pixels or likeness; a face within a burst of one owner.

All choices are deterministic and independent of the order of partitions: who comes first is decided by upload date, then id.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
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
    if max_distance >= 0:
        # Against kept photos only: a chain of small steps must not swallow a whole series.
        kept = _KeptHashes(max_distance)
        for photo in ordered:
            if photo.photo_id in found:
                continue
            if near := kept.nearest(photo.phash):
                found[photo.photo_id] = near[0], f"{near[1]} of {_HASH_BITS} hash bits differ"
            else:
                kept.add(photo.phash, photo.photo_id)
    return {photo_id: _last(found, photo_id) for photo_id in found}


def _last(found: Mapping[str, tuple[str, str]], photo_id: str) -> tuple[str, str]:
    """The link that leads to a kept photo: a twin by its bytes may itself be dropped as a twin by its pixels."""
    twin, how = found[photo_id]
    return _last(found, twin) if twin in found else (twin, how)


class _KeptHashes:
    """Perceptual hashes of kept photos: any two of them differ in more than `max_distance` bits.

    Multi-index hashing (Norouzi 2012): of max_distance + 1 slices of the hash at least one must be equal, so only hashes
    that share a slice are compared. Exact, not approximate.
    """

    def __init__(self, max_distance: int) -> None:
        self._max_distance = max_distance
        edges = np.linspace(0, _HASH_BITS, max_distance + 2).astype(int).tolist()
        self._slices = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._owners: dict[int, tuple[int, str]] = {}
        self._buckets: dict[tuple[int, int], array[int]] = {}

    def add(self, phash: int, photo_id: str) -> None:
        """Keep a photo that has no `nearest`."""
        self._owners[phash] = len(self._owners), photo_id
        for low, mask in self._slices:
            self._buckets.setdefault((low, phash >> low & mask), array("Q")).append(phash)

    def nearest(self, phash: int) -> tuple[str, int] | None:
        """The nearest kept photo within the distance, of several the one that came first, and how many bits differ."""
        if phash in self._owners:
            return self._owners[phash][1], 0
        best: tuple[int, int, str] | None = None
        for low, mask in self._slices:
            bucket = self._buckets.get((low, phash >> low & mask))
            if bucket is None:
                continue
            distances = np.bitwise_count(np.frombuffer(bucket, np.uint64) ^ np.uint64(phash))
            index = int(distances.argmin())  # a bucket is in order: the first of several
            if (distance := int(distances[index])) <= self._max_distance:
                found = (distance, *self._owners[bucket[index]])
                best = found if best is None else min(best, found)
        return best and (best[2], best[0])


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
    """Faces in the order in which they are decided; rivals are kept faces of other photos within `seconds`."""
    found: dict[str, tuple[str, str]] = {}
    if len(faces) < 2:
        return found
    embeddings = np.stack([face.embedding for face in faces]).astype(np.float32)
    kept: list[tuple[float, int]] = []  # by time
    reach = math.nextafter(seconds, math.inf)  # the window must not lose what the rounded difference lets in
    for index, face in enumerate(faces):
        start = bisect_left(kept, (face.taken - reach, -1))
        end = bisect_right(kept, (face.taken + reach, len(faces)))
        rivals = sorted(
            rival
            for taken, rival in kept[start:end]
            if abs(taken - face.taken) <= seconds and faces[rival].photo_id != face.photo_id
        )
        distances = np.linalg.norm(embeddings[rivals] - embeddings[index], axis=1) if rivals else np.zeros(0)
        if rivals and distances.min() <= max_distance:
            twin = faces[rivals[int(distances.argmin())]].face_id
            found[face.face_id] = twin, f"embedding distance {distances.min():.3f}"
        else:
            insort(kept, (face.taken, index))
    return found
