"""Stage `shard`: lossless crops at every resolution, with their whole provenance, the same bytes whoever makes them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError

from fdf.errors import DataError
from fdf.schema import RELEASE, SHARDED
from fdf.stages import manifest
from fdf.stages.base import StageResult, Tools
from fdf.stages.shard import ShardConfig, run
from fdf.vision.crop import cut, resize
from tests.fakes import MemoryArchive, MemorySamples, encode, face_row, kept_row, photo_row, picture, stored_row, tables

SIZES = {"small": (10, 10, 50, 50), "exact": (0, 0, 64, 64), "large": (-20, -20, 140, 140)}
"""Faces and their crops: 40, 64 and 160 pixels wide; the last one leaves the photo."""


@pytest.fixture(scope="module")
def archive() -> MemoryArchive:
    return MemoryArchive()


@pytest.fixture(scope="module")
def given(archive: MemoryArchive) -> dict[str, pa.Table]:
    """A manifest of one shard and the places of its photos, made by the stage before."""
    photos = [
        photo_row("p0", owner_nsid="o", title="Dämmerung", date_taken=datetime(2011, 11, 7, 1, 2, 3)),
        photo_row("p1"),
    ]
    photos[1]["owner_nsid"] = "o"
    fetched = [
        stored_row(archive, "p0", encode(picture(0, 150, 130))),
        stored_row(archive, "p1", encode(picture(1, 96, 80), "JPEG")),
    ]
    faces = [face_row(name, "p0", yaw=0.1, skin_ita=None) for name in SIZES] + [face_row("other", "p1")]
    kept = [kept_row(name, "p0", crop_box=list(box)) for name, box in SIZES.items()] + [kept_row("other", "p1")]
    earlier = tables(metadata=photos, fetch=fetched, detect=faces, filter=kept)
    release = manifest.run(earlier, manifest.ManifestConfig(), Tools(blobs=archive)).kept
    assert len(release["shard"].unique()) == 1
    return {"manifest": release, "fetch": earlier["fetch"]}


def pack(
    given: dict[str, pa.Table], archive: MemoryArchive, threads: int = 1, **config: Any
) -> tuple[StageResult, MemorySamples]:
    samples = MemorySamples()
    result = run(given, ShardConfig(**config), Tools(threads=threads, blobs=archive, samples=samples))
    return result, samples


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_every_face_is_there_at_every_resolution_that_it_reaches(
    given: dict[str, pa.Table], archive: MemoryArchive
) -> None:
    result, samples = pack(given, archive, resolutions=(128, 32, 64))
    there = {row["face_id"]: row["resolutions"] for row in result.kept.to_pylist()}
    assert there == {"small": [32], "exact": [32, 64], "large": [32, 64, 128], "other": [32, 64]}
    assert result.kept.schema == SHARDED
    assert result.kept["face_id"].to_pylist() == given["manifest"]["face_id"].to_pylist()
    assert result.dropped.num_rows == 0
    assert result.notes == {"samples.32": 4, "samples.64": 3, "samples.128": 1}
    assert len(samples.added) == 8
    for resolution, key, files in samples.added:
        assert resolution in there[key]
        assert pixels(files["png"]).shape == (resolution, resolution, 3)


def test_a_crop_is_enlarged_only_if_the_recipe_says_so(given: dict[str, pa.Table], archive: MemoryArchive) -> None:
    result, samples = pack(given, archive, resolutions=(256,))
    assert samples.added == []
    assert result.kept["resolutions"].to_pylist() == [[]] * 4
    result, samples = pack(given, archive, resolutions=(256,), enlarge=True)
    assert [pixels(files["png"]).shape for _, _, files in samples.added] == [(256, 256, 3)] * 4


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_pictures_are_lossless(given: dict[str, pa.Table], archive: MemoryArchive, kind: str) -> None:
    _, samples = pack(given, archive, resolutions=(64,), format=kind)
    found = {key: pixels(files[kind]) for _, key, files in samples.added}
    assert found.keys() == {"exact", "large", "other"}
    photo = picture(0, 150, 130)
    assert np.array_equal(found["exact"], photo[:64, :64])
    assert np.array_equal(found["large"], resize(cut(photo, SIZES["large"]), 64))


def test_jpeg_is_named_jpg_and_its_quality_is_the_recipes(given: dict[str, pa.Table], archive: MemoryArchive) -> None:
    sizes = []
    for quality in (50, 95):
        _, samples = pack(given, archive, resolutions=(64,), format="jpeg", jpeg_quality=quality)
        assert all(set(files) == {"jpg", "json"} for _, _, files in samples.added)
        sizes.append(sum(len(files["jpg"]) for _, _, files in samples.added))
    assert sizes[0] < sizes[1]


def test_the_sidecar_has_the_whole_row(given: dict[str, pa.Table], archive: MemoryArchive) -> None:
    _, samples = pack(given, archive, resolutions=(32, 64))
    rows = {row["face_id"]: row for row in given["manifest"].to_pylist()}
    for resolution, key, files in samples.added:
        sidecar, row = json.loads(files["json"]), rows[key]
        assert set(sidecar) == {*RELEASE.names, "resolution"}
        assert sidecar["resolution"] == resolution
        for name in RELEASE.names:
            value, found = row[name], sidecar[name]
            if pa.types.is_temporal(RELEASE.field(name).type) and value is not None:
                assert found == value.isoformat()
            elif name in ("box", "box_in_crop", "keypoints"):
                assert np.array_equal(np.float32(found), np.float32(value))
            elif isinstance(value, float):
                assert np.float32(found) == np.float32(value)
            else:
                assert found == value
    text = next(files["json"].decode() for _, key, files in samples.added if key == "exact")
    assert '"yaw": 0.1}' in text  # the shortest form of a float32
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert '"title": "Dämmerung"' in text


def test_any_number_of_threads_gives_the_same_bytes(given: dict[str, pa.Table], archive: MemoryArchive) -> None:
    config: dict[str, Any] = {"resolutions": (16, 32, 64, 128), "enlarge": True}
    one, many = pack(given, archive, 1, **config), pack(given, archive, 4, **config)
    assert one[1].added == many[1].added
    assert one[0].kept.equals(many[0].kept)
    assert [key for _, key, _ in one[1].added[::4]] == given["manifest"]["key"].to_pylist()


def test_another_crop_than_the_manifests_is_an_error(given: dict[str, pa.Table], archive: MemoryArchive) -> None:
    changed = MemoryArchive(names=[*archive.names], data=archive.data)
    place = given["fetch"].to_pylist()[0]
    other = encode(picture(5, 150, 130))
    moved = {**place, **dict(zip(("archive", "offset", "length"), changed.add("x", other), strict=True))}
    fetched = tables(fetch=[moved, given["fetch"].to_pylist()[1]])["fetch"]
    with pytest.raises(DataError) as caught:
        pack(given | {"fetch": fetched}, changed)
    message = str(caught.value)
    assert "is not the one in the manifest" in message
    assert given["manifest"].to_pylist()[0]["crop_sha256"] in message or "sha256" in message
    assert "fdf validate" in message
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("bad", [{"resolutions": ()}, {"resolutions": (64, 64)}, {"resolutions": (4,)},
                                 {"resolutions": (9999,)}, {"format": "gif"}, {"jpeg_quality": 0}])  # fmt: skip
def test_impossible_configs_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ShardConfig(**bad)


def test_times_in_sidecars_are_iso_8601(given: dict[str, pa.Table], archive: MemoryArchive) -> None:
    _, samples = pack(given, archive, resolutions=(64,))
    sidecar = json.loads(next(files["json"] for _, key, files in samples.added if key == "exact"))
    assert sidecar["date_taken"] == "2011-11-07T01:02:03"
    assert datetime.fromisoformat(sidecar["date_uploaded"]) == datetime(2011, 11, 7, tzinfo=UTC)
    assert sidecar["consent_date"] == "2026-01-02"
