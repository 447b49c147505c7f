"""Shards as a trainer reads them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import fdf
from fdf.errors import DataError, UsageError
from fdf.pipeline.layout import read_release
from fdf.store.shards import INDEX, open_shards, packed_from, read_index, read_shard, torch_dataset, write_index


def test_every_face_comes_back_with_its_picture_box_and_keypoints(sample_build: Path) -> None:
    release = {row["face_id"]: row for row in read_release(sample_build).to_pylist()}
    samples = list(fdf.open_shards(sample_build, resolution=64))
    assert {sample.key for sample in samples} == set(release), "no crop is under 64 px: all faces are there"
    for sample in samples:
        row = release[sample.key]
        assert sample.picture.shape == (64, 64, 3)
        assert sample.picture.dtype == np.uint8
        assert sample.box == pytest.approx(np.array(row["box_in_crop"]) * 64, abs=1e-3)
        assert sample.keypoints[:, :2] == pytest.approx(np.reshape(row["keypoints"], (7, 3))[:, :2] * 64, abs=1e-2)
        assert sample.row["attribution"] == row["attribution"]
        assert sample.row["license_url"] == row["license_url"]
        assert set(sample.row) == set(row) | {"resolution"}


def test_an_index_names_the_manifest_and_needn_t(sample_build: Path, tmp_path: Path) -> None:
    entries, name = read_index(sample_build / "shard" / INDEX), "5e" * 32
    write_index(tmp_path, entries)
    older = (tmp_path / INDEX).read_bytes()
    assert packed_from(tmp_path / INDEX) is None
    assert b"manifest" not in older, "nothing is claimed, and the bytes are those of before"
    write_index(tmp_path, entries, name)
    assert packed_from(tmp_path / INDEX) == name
    assert read_index(tmp_path / INDEX) == entries
    for damage in ('"release.parquet"', '["5e"]', "7"):
        (tmp_path / INDEX).write_text(f'{{"shards": [], "manifest_sha256": {damage}}}')
        with pytest.raises(DataError, match="is no index of shards"):
            packed_from(tmp_path / INDEX)


def test_crops_are_never_enlarged(sample_build: Path) -> None:
    for resolution in (64, 128, 256):
        shards = open_shards(sample_build, resolution=resolution)
        assert len(list(shards)) == len(shards)
        assert all(sample.row["crop_size"] >= resolution for sample in shards)


def test_splits_and_rights_are_chosen_by_shard(sample_build: Path) -> None:
    everything = open_shards(sample_build, resolution=64)
    assert everything.rights_classes == {"pd", "by", "by-sa", "by-nc", "by-nc-sa"}
    free = open_shards(sample_build, resolution=64, rights=["pd", "by"])
    assert {sample.row["rights_class"] for sample in free} == {"pd", "by"}
    sides = [open_shards(sample_build, resolution=64, split=split) for split in ("training", "validation")]
    assert sum(map(len, sides)) == len(everything)
    owners = [{sample.row["owner_nsid"] for sample in side} for side in sides]
    assert not owners[0] & owners[1]
    pictures, boxes, keypoints = free.arrays()
    assert pictures.shape == (len(free), 64, 64, 3)
    assert boxes.shape == (len(free), 4)
    assert keypoints.shape == (len(free), 7, 3)


def test_workers_share_the_shards_without_overlap(sample_build: Path) -> None:
    shards = open_shards(sample_build, resolution=64)
    parts = [sample.key for worker in range(3) for sample in shards.part(worker, 3)]
    assert sorted(parts) == sorted(sample.key for sample in shards)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "several resolutions"),
        ({"resolution": 32}, r"no resolution 32. Expected one of \[64, 128, 256\]"),
        ({"resolution": 64, "split": "test"}, "No split test .*training, validation"),
        ({"resolution": 64, "rights": ["cc"]}, "No rights cc"),
        ({"resolution": 64, "shards": "nothing*"}, "No shard of .* fits"),
    ],
)
def test_wrong_requests_say_what_there_is(sample_build: Path, arguments, said) -> None:
    with pytest.raises(UsageError, match=said):
        open_shards(sample_build, **arguments)


def test_no_shards_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There are no shards"):
        open_shards(tmp_path)
    (tmp_path / INDEX).write_text('{"shards": []}')
    with pytest.raises(DataError, match="lists no shards"):
        open_shards(tmp_path)
    (tmp_path / INDEX).write_text('{"shards": [{"path": 1}]}')
    with pytest.raises(DataError, match="no index of shards"):
        open_shards(tmp_path)


def test_a_changed_or_cut_tar_is_refused(sample_build: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_build / "shard", tmp_path / "shard")
    shards = open_shards(tmp_path, resolution=128, split="training", rights=["by-nc-sa"])
    path = shards.folder / shards.entries[0].path
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not the shard its index names"):
        list(shards)
    with pytest.raises(DataError, match=r"can't be read|not whole|can't be decoded"):
        list(read_shard(path))


def tar_of(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a__png": b""}, "not whole"),
        ({"a__json": b"{}"}, "not whole"),
        ({"a__png": b"", "a__json": b"{"}, "sidecar of sample a"),
        ({"a__png": b"", "a__json": b"{}"}, "sidecar of sample a"),
        (
            {
                "a__png": b"no picture",
                "a__json": json.dumps({"resolution": 64, "box_in_crop": [0] * 4, "keypoints": [0] * 21}).encode(),
            },
            "picture of sample a",
        ),
    ],
)
def test_a_broken_sample_is_named(tmp_path: Path, files, said) -> None:
    with pytest.raises(DataError, match=said):
        list(read_shard(tar_of(tmp_path / "x.tar", **files)))


def test_torch_reads_them_with_workers(sample_build: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shards = open_shards(sample_build, resolution=64)
    loader = torch.utils.data.DataLoader(torch_dataset(shards), batch_size=8, num_workers=2)
    batches = list(loader)
    keys = [key for batch in batches for key in batch["key"]]
    assert sorted(keys) == sorted(sample.key for sample in shards)
    assert batches[0]["picture"].shape == (8, 3, 64, 64)
    assert batches[0]["picture"].dtype == torch.uint8
    assert batches[0]["keypoints"].shape == (8, 7, 3)


def test_without_torch_the_extra_is_named(sample_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(UsageError, match=r"fdf\[torch\]"):
        torch_dataset(open_shards(sample_build, resolution=64))
