"""Duplicates: what is the same, who stays, and that no order of the input changes it."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fdf.stages.duplicates import BurstFace, PhotoView, _KeptHashes, burst_duplicates, duplicate_photos

HASHES = st.integers(0, 2**64 - 1)


def photo(photo_id: str, day: float = 0, sha: str = "", pixels: str = "", phash: int | None = None) -> PhotoView:
    """A photo that is like no other, but for what is given."""
    own = random.Random(photo_id).getrandbits(64)
    return PhotoView(
        photo_id, (day, photo_id), sha or f"s{photo_id}", pixels or f"p{photo_id}", own if phash is None else phash
    )


def flipped(phash: int, bits: int, seed: int = 0) -> int:
    for bit in random.Random(seed).sample(range(64), bits):
        phash ^= 1 << bit
    return phash


# --- photos ------------------------------------------------------------------------------------------------------------


def test_the_same_bytes() -> None:
    found = duplicate_photos([photo("b", sha="x"), photo("a", sha="x"), photo("c")], 4)
    assert found == {"b": ("a", "same bytes")}


def test_the_same_pixels() -> None:
    found = duplicate_photos([photo("b", pixels="x"), photo("a", pixels="x"), photo("c")], 4)
    assert found == {"b": ("a", "same pixels")}


def test_the_earliest_upload_stays_then_the_smaller_id() -> None:
    late, early = photo("a", day=2, sha="x"), photo("b", day=1, sha="x")
    undated = photo("0", day=float("inf"), sha="x")
    found = duplicate_photos([late, undated, early], 4)
    assert found == {"a": ("b", "same bytes"), "0": ("b", "same bytes")}


@pytest.mark.parametrize("distance", [0, 1, 4, 16])
@pytest.mark.parametrize("seed", range(5))
def test_likeness_ends_at_exactly_the_allowed_distance(distance: int, seed: int) -> None:
    base = random.Random(seed).getrandbits(64)
    near, far = photo("b", phash=flipped(base, distance, seed)), photo("c", phash=flipped(base, distance + 1, seed))
    assert duplicate_photos([photo("a", phash=base), near], distance) == {
        "b": ("a", f"{distance} of 64 hash bits differ")
    }
    assert duplicate_photos([photo("a", phash=base), far], distance) == {}


def test_a_negative_distance_turns_likeness_off_and_nothing_else() -> None:
    alike = [photo("a", phash=7), photo("b", phash=7), photo("c", sha="x"), photo("d", sha="x")]
    assert duplicate_photos(alike, -1) == {"d": ("c", "same bytes")}
    assert duplicate_photos(alike, 0) == {"d": ("c", "same bytes"), "b": ("a", "0 of 64 hash bits differ")}


def test_small_steps_make_no_chain() -> None:
    """a–b and b–c are alike, a–c are not: b goes, c stays."""
    steps = [photo("a", phash=0), photo("b", phash=0b1111), photo("c", phash=0b11111111)]
    assert duplicate_photos(steps, 4) == {"b": ("a", "4 of 64 hash bits differ")}


def test_the_nearest_kept_photo_is_named() -> None:
    three = [photo("a", phash=0), photo("b", phash=0b11111), photo("c", phash=0b111)]
    assert duplicate_photos(three, 4) == {"c": ("b", "2 of 64 hash bits differ")}


def test_the_twin_that_is_named_is_one_that_stays() -> None:
    """c has the bytes of b, b the pixels of a: both go for a."""
    three = [
        photo("a", pixels="x", phash=1),
        photo("b", sha="y", pixels="x", phash=1),
        photo("c", sha="y", pixels="x", phash=1),
    ]
    assert duplicate_photos(three, 4) == {"b": ("a", "same pixels"), "c": ("a", "same pixels")}
    near = [photo("a", phash=0), photo("b", sha="y", phash=1), photo("c", sha="y", phash=1)]
    assert duplicate_photos(near, 4) == {"b": ("a", "1 of 64 hash bits differ"), "c": ("a", "1 of 64 hash bits differ")}


def test_nothing_and_one() -> None:
    assert duplicate_photos([], 4) == {}
    assert duplicate_photos([photo("a")], 4) == {}


NEAR = st.builds(lambda base, seed, bits: flipped(base, bits, seed), st.sampled_from([0, 2**64 - 1, 0xF0F0]), st.integers(0, 9),
                 st.integers(0, 6))  # fmt: skip
PHOTOS = st.lists(
    st.builds(
        lambda name, day, sha, pixels, phash: photo(str(name), day, sha, pixels, phash),
        st.integers(0, 99), st.integers(0, 3), st.sampled_from(["", "x", "y"]), st.sampled_from(["", "p"]), NEAR | HASHES,
    ),
    unique_by=lambda view: view.photo_id, max_size=14,
)  # fmt: skip


@given(PHOTOS, st.randoms(), st.integers(-1, 8))
def test_the_order_of_the_input_changes_nothing(photos: list[PhotoView], chance: random.Random, distance: int) -> None:
    found = duplicate_photos(photos, distance)
    shuffled = photos.copy()
    chance.shuffle(shuffled)
    assert duplicate_photos(shuffled, distance) == found
    order = {view.photo_id: view.order for view in photos}
    for photo_id, (twin, _) in found.items():
        assert twin not in found
        assert order[twin] < order[photo_id]
    kept = [view for view in photos if view.photo_id not in found]
    for one, other in combinations(kept, 2):
        assert one.sha256 != other.sha256
        assert one.pixel_sha256 != other.pixel_sha256
        assert (one.phash ^ other.phash).bit_count() > distance


@given(st.lists(NEAR | HASHES, max_size=25), NEAR | HASHES, st.integers(0, 16))
def test_the_nearest_of_the_kept_is_what_brute_force_finds(hashes: list[int], asked: int, distance: int) -> None:
    kept: list[int] = []
    index = _KeptHashes(distance)
    for phash in [*hashes, asked]:
        near = [(bits, place) for place, one in enumerate(kept) if (bits := (one ^ phash).bit_count()) <= distance]
        expected = (str(min(near)[1]), min(near)[0]) if near else None
        assert index.nearest(phash) == expected
        if not near:
            index.add(phash, str(len(kept)))
            kept.append(phash)


def plain(photos: list[PhotoView], distance: int) -> dict[str, tuple[str, str]]:
    """`duplicate_photos` as one would write it without a thought of time."""
    ordered = sorted(photos, key=lambda view: view.order)
    found: dict[str, tuple[str, str]] = {}
    for name, how in (("sha256", "same bytes"), ("pixel_sha256", "same pixels")):
        alive = [view for view in ordered if view.photo_id not in found]
        for later, view in enumerate(alive):
            twin = next((one for one in alive[:later] if getattr(one, name) == getattr(view, name)), None)
            if twin is not None:
                found[view.photo_id] = twin.photo_id, how
    alive = [view for view in ordered if view.photo_id not in found]
    for later, view in enumerate(alive):
        near = [
            ((one.phash ^ view.phash).bit_count(), place)
            for place, one in enumerate(alive[:later])
            if one.photo_id not in found
        ]
        if near and min(near)[0] <= distance:
            bits, place = min(near)
            found[view.photo_id] = alive[place].photo_id, f"{bits} of 64 hash bits differ"
    for photo_id, (twin, how) in found.items():
        kept = twin
        while kept in found:
            kept, how = found[kept]  # noqa: PLW2901
        found[photo_id] = kept, how
    return found


@given(PHOTOS, st.integers(-1, 16))
@example([photo("a", phash=0), photo("b", phash=3), photo("c", phash=7), photo("d", phash=3)], 2)
@example([photo("a", phash=1), photo("b", phash=2), photo("c", phash=0)], 1)  # two that are equally near
def test_duplicates_are_those_of_the_plain_way(photos: list[PhotoView], distance: int) -> None:
    assert duplicate_photos(photos, distance) == plain(photos, distance)


# --- bursts -------------------------------------------------------------------------------------------------------------


def shot(
    name: str, owner: str = "o", at: float = 0, size: int = 50, where: float = 0.0, photo_id: str = ""
) -> BurstFace:
    embedding = np.array([where, 1.0], np.float16)
    return BurstFace(name, photo_id or f"photo of {name}", owner, at, (-size, name), embedding)


def burst(*faces: BurstFace, seconds: float = 60, distance: float = 0.5) -> dict[str, tuple[str, str]]:
    return burst_duplicates(faces, seconds, distance)


def test_the_largest_face_of_a_burst_stays() -> None:
    found = burst(shot("a", size=40), shot("b", at=10, size=90, where=0.25), shot("c", at=20, size=60))
    assert found == {"a": ("b", "embedding distance 0.250"), "c": ("b", "embedding distance 0.250")}


def test_of_two_faces_of_a_size_the_smaller_id_stays() -> None:
    assert burst(shot("b"), shot("a")) == {"b": ("a", "embedding distance 0.000")}


@pytest.mark.parametrize(("apart", "same"), [(60, True), (60.5, False), (-60, True), (-61, False)])
def test_a_burst_ends_at_exactly_its_seconds(apart: float, same: bool) -> None:
    assert bool(burst(shot("a", at=1000), shot("b", at=1000 + apart))) is same


@pytest.mark.parametrize(("where", "same"), [(0.5, True), (0.501, False)])
def test_a_person_ends_at_exactly_the_distance(where: float, same: bool) -> None:
    assert bool(burst(shot("a"), shot("b", where=where))) is same


def test_another_owner_is_never_of_the_burst() -> None:
    assert burst(shot("a", owner="o"), shot("b", owner="p")) == {}


def test_two_faces_of_one_photo_are_two_people() -> None:
    assert burst(shot("a", photo_id="p"), shot("b", photo_id="p")) == {}


def test_bursts_make_no_chain() -> None:
    """a–b and b–c are near in time, a–c are not: b goes for a, c stays."""
    assert burst(shot("a", at=0, size=3), shot("b", at=50, size=2), shot("c", at=100, size=1)) == {
        "b": ("a", "embedding distance 0.000")
    }


def test_the_nearest_face_is_named() -> None:
    found = burst(shot("a", size=90), shot("b", size=80, where=0.75), shot("c", where=0.5))
    assert found == {"c": ("b", "embedding distance 0.250")}


SHOTS = st.lists(
    st.builds(shot, st.uuids().map(str), st.sampled_from("op"), st.integers(0, 200), st.integers(1, 5),
              st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from(["", "x", "y"])),
    unique_by=lambda found: found.face_id, max_size=12,
)  # fmt: skip


@given(SHOTS, st.randoms())
def test_the_order_of_faces_changes_nothing(faces: list[BurstFace], chance: random.Random) -> None:
    found = burst(*faces)
    shuffled = faces.copy()
    chance.shuffle(shuffled)
    assert burst(*shuffled) == found
    by_id = {one.face_id: one for one in faces}
    for lost, (twin, _) in found.items():
        assert twin not in found
        assert by_id[twin].owner == by_id[lost].owner
        assert abs(by_id[twin].taken - by_id[lost].taken) <= 60
        assert by_id[twin].order < by_id[lost].order


def plain_burst(faces: list[BurstFace], seconds: float, distance: float) -> dict[str, tuple[str, str]]:
    """`burst_duplicates` as one would write it without a thought of time."""
    found: dict[str, tuple[str, str]] = {}
    kept: list[BurstFace] = []
    for face in sorted(faces, key=lambda one: one.order):
        near = [
            (float(np.linalg.norm(one.embedding.astype(np.float32) - face.embedding.astype(np.float32))), place)
            for place, one in enumerate(kept)
            if one.owner == face.owner and one.photo_id != face.photo_id and abs(one.taken - face.taken) <= seconds
        ]
        if near and min(near)[0] <= distance:
            apart, place = min(near)
            found[face.face_id] = kept[place].face_id, f"embedding distance {apart:.3f}"
        else:
            kept.append(face)
    return found


MOMENTS = st.integers(0, 200) | st.floats(-100, 100) | st.sampled_from([0.1, 0.2, 0.3, 60.1, 1e9 + 0.3, 1e9 + 60.3])
MOMENT_SHOTS = st.lists(
    st.builds(shot, st.uuids().map(str), st.sampled_from("op"), MOMENTS, st.integers(1, 5),
              st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from(["", "x", "y"])),
    unique_by=lambda found: found.face_id, max_size=12,
)  # fmt: skip


@given(MOMENT_SHOTS, st.sampled_from([0.0, 0.1, 60.0]), st.sampled_from([0.0, 0.3, 0.5]))
@example([shot("a", at=60.0), shot("b", at=-1e-20)], 60.0, 0.5)  # 60 apart, rounded
def test_bursts_are_those_of_the_plain_way(faces: list[BurstFace], seconds: float, distance: float) -> None:
    assert burst_duplicates(faces, seconds, distance) == plain_burst(faces, seconds, distance)
