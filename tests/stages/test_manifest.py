"""Stage `manifest`: every face with its rights, its place in the crop, its side of the split and its shard."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.consent.licenses import LICENSES, find_license
from fdf.consent.signals import POLICY_VERSION
from fdf.errors import DataError
from fdf.schema import FACES, RELEASE
from fdf.stages.base import StageResult, Tools
from fdf.stages.manifest import ManifestConfig, run, split_of
from fdf.vision.crop import cut
from fdf.vision.picture import pixel_sha256
from tests.fakes import BY, KEYPOINTS, MemoryArchive, face_row, kept_row, photo_row, picture, png, stored_row, tables

MODELS = [
    {"id": "z", "task": "embed", "sha256": "2" * 64, "weight_license": "CC0-1.0", "file": "z.onnx"},
    {"id": "a", "task": "detect", "sha256": "1" * 64, "weight_license": "MIT", "file": "a.onnx"},
]


class Corpus:
    """Tables of the stages before `manifest`, over real pictures in memory."""

    def __init__(self) -> None:
        self.archive = MemoryArchive()
        self.rows: dict[str, list[dict[str, Any]]] = {"metadata": [], "fetch": [], "detect": [], "filter": []}

    def photo(self, photo_id: str, faces: int = 1, data: bytes | None = None, **columns: Any) -> Corpus:
        self.rows["metadata"].append(photo_row(photo_id, **columns))
        self.rows["fetch"].append(
            stored_row(self.archive, photo_id, png(len(self.archive.names)) if data is None else data)
        )
        for index in range(faces):
            self.face(f"{photo_id}-{index}", photo_id)
        return self

    def face(self, face_id: str, photo_id: str, crop_box: tuple[int, ...] = (16, 8, 80, 72), **columns: Any) -> Corpus:
        self.rows["detect"].append(face_row(face_id, photo_id, **columns))
        self.rows["filter"].append(kept_row(face_id, photo_id, crop_box=list(crop_box)))
        return self

    def release(self, threads: int = 1, **config: Any) -> StageResult:
        tools = Tools(threads=threads, blobs=self.archive, models=MODELS)
        return run(tables(**self.rows), ManifestConfig(**config), tools)

    def table(self, **config: Any) -> list[dict[str, Any]]:
        return list(self.release(**config).kept.to_pylist())


def test_a_row_has_all_that_a_user_or_a_lawyer_needs() -> None:
    corpus = Corpus().photo("p0", faces=0, title="Dawn <b>", owner_nsid="1@N00", date_taken=datetime(2011, 11, 7))
    corpus.face("f", "p0", yaw=-12.5, occlusion=0.25)
    result = corpus.release()
    assert result.kept.schema == RELEASE
    assert result.dropped.num_rows == 0
    (row,) = result.kept.to_pylist()
    stored = corpus.rows["fetch"][0]
    expected = {
        "face_id": "f", "photo_id": "p0", "source": "test", "split": split_of("1@N00", ManifestConfig()),
        "license_id": "CC-BY-2.0", "license_url": BY, "rights_class": "by",
        "attribution": "“Dawn ‹b›” by Ada, https://example.org/p0, "
        f"licensed under CC BY 2.0 ({BY}); changes: cropped to one face",
        "changes": "cropped to one face", "title": "Dawn <b>", "owner_nsid": "1@N00", "owner_name": "Ada",
        "page_url": "https://example.org/p0", "download_url": "https://example.org/p0.jpg",
        "date_taken": datetime(2011, 11, 7), "photo_sha256": stored["sha256"], "photo_pixel_sha256": stored["pixel_sha256"],
        "photo_width": 96, "photo_height": 80, "box": [200.0, 100.0, 300.0, 220.0], "crop_rule": "fdf128",
        "crop_box": [16, 8, 80, 72], "crop_size": 64, "yaw": -12.5, "pitch": 0.0, "roll": 0.0, "sharpness": 100.0,
        "brightness": 120.0, "contrast": 40.0, "skin_ita": None, "occlusion": 0.25,
        "consent_decision": "allowed_by_licence", "consent_signals": ["licence", "tags", "http_headers"],
        "consent_date": date(2026, 1, 2), "consent_policy": POLICY_VERSION, "key": "f",
        "crop_sha256": pixel_sha256(picture(0)[8:72, 16:80]),
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["models"] == [
        {name: model[name] for name in model if name != "file"} for model in (MODELS[1], MODELS[0])
    ]


def test_box_and_keypoints_lead_back_to_the_photo() -> None:
    corpus = Corpus().photo("p0", faces=0).face("f", "p0", (-30, 8, 70, 108), box=[-5.0, 20.0, 50.0, 90.0])
    (row,) = corpus.table()
    x0, y0, side = -30, 8, 100
    box = np.array(row["box_in_crop"]) * side + [x0, y0, x0, y0]
    points = np.array(row["keypoints"]).reshape(7, 3)
    assert box == pytest.approx([-5.0, 20.0, 50.0, 90.0], abs=1e-4)
    assert points[:, :2] * side + [x0, y0] == pytest.approx(np.array(KEYPOINTS).reshape(7, 3)[:, :2], abs=1e-4)
    assert points[:, 2] == pytest.approx(np.array(KEYPOINTS)[2::3])
    assert points[0].tolist() == pytest.approx([(250 + 30) / 100, (170 - 8) / 100, 0.9])


def test_a_crop_that_leaves_the_photo_is_black_there() -> None:
    (row,) = Corpus().photo("p0", faces=0).face("f", "p0", (-10, -10, 54, 54)).table()
    crop = cut(picture(0), (-10, -10, 54, 54))
    assert not crop[:10].any()
    assert row["crop_sha256"] == pixel_sha256(crop)


def test_an_archive_that_has_changed_is_an_error_not_a_row() -> None:
    corpus = Corpus().photo("p0")
    place = corpus.rows["fetch"][0]
    place |= stored_row(corpus.archive, "p0", png(9)) | {name: place[name] for name in ("sha256", "pixel_sha256")}
    with pytest.raises(DataError, match="Photo p0 in archive is not the one that was fetched") as caught:
        corpus.table()
    assert place["pixel_sha256"] in str(caught.value)
    assert "fdf validate" in str(caught.value)
    corpus.archive.data = bytes(len(corpus.archive.data))
    with pytest.raises(DataError, match="not_an_image"):
        corpus.table()


def test_progress_counts_faces() -> None:
    corpus, steps = Corpus().photo("p0", 2).photo("p1", 1), list[int]()
    run(tables(**corpus.rows), ManifestConfig(), Tools(blobs=corpus.archive, advance=steps.append))
    assert sum(steps) == 3


@pytest.mark.parametrize(
    "licence", [row for row in LICENSES.values() if row.usable and not row.no_derivatives], ids=lambda row: row.id
)
def test_every_usable_licence_is_found_again_by_its_url(licence: Any) -> None:
    """PHOTOS holds the canonical URL, and `manifest` reads the rights off it."""
    found = find_license(None, licence.url)
    assert found is not None
    assert (found.id, found.rights_class) == (licence.id, licence.rights_class)
    assert found.rights_class in ("pd", "by", "by-sa", "by-nc", "by-nc-sa")


# --- split ---------------------------------------------------------------------------------------------------------------


def test_the_split_is_by_owner_and_by_photo_where_there_is_none() -> None:
    owners = [f"{number}@N00" for number in range(6)]
    corpus = Corpus()
    for index in range(24):
        corpus.photo(f"p{index}", owner_nsid=owners[index % 7] if index % 7 < 6 else None)
    rows = corpus.table(validation_share=0.5)
    config = ManifestConfig(validation_share=0.5)
    assert all(row["split"] == split_of(row["owner_nsid"] or row["photo_id"], config) for row in rows)
    assert {row["split"] for row in rows} == {"training", "validation"}


@given(st.lists(st.text(min_size=1), min_size=1), st.floats(0, 0.99), st.floats(0, 0.99), st.text())
def test_no_owner_is_on_both_sides_and_a_larger_share_only_adds(
    owners: list[str], small: float, large: float, seed: str
) -> None:
    small, large = sorted((small, large))
    for owner in owners:
        sides = [
            split_of(owner, ManifestConfig(validation_share=share, split_seed=seed)) for share in (small, small, large)
        ]
        assert sides[0] == sides[1]
        assert sides[0] in ("training", "validation")
        assert not (sides[0] == "validation" and sides[2] == "training")


def test_the_share_is_about_the_share_and_0_is_none() -> None:
    config = ManifestConfig(validation_share=0.2)
    drawn = Counter(split_of(f"{number}@N00", config) for number in range(5000))
    assert abs(drawn["validation"] - 1000) < 5 * (5000 * 0.2 * 0.8) ** 0.5
    assert Counter(split_of(str(n), ManifestConfig(validation_share=0)) for n in range(500)) == {"training": 500}
    other = ManifestConfig(validation_share=0.2, split_seed="other")
    assert any(split_of(str(n), config) != split_of(str(n), other) for n in range(100))


# --- shards --------------------------------------------------------------------------------------------------------------

LICENCES = ["CC-BY-2.0", "CC-BY-NC-SA-2.0", "CC-BY-4.0", "CC0-1.0"]
CLASSES = {"CC-BY-2.0": "by", "CC-BY-NC-SA-2.0": "by-nc-sa", "CC-BY-4.0": "by", "CC0-1.0": "pd"}
DATA = png(0, 24, 24)
FACES_OF_PHOTOS = st.lists(
    st.tuples(st.sampled_from(LICENCES), st.sampled_from("abcde"), st.integers(1, 3)), max_size=8
)


@given(FACES_OF_PHOTOS, st.integers(1, 4), st.randoms())
def test_a_shard_holds_one_rights_class_and_one_split_and_no_more_faces_than_it_may(
    photos: list[tuple[str, str, int]], shard_faces: int, chance: random.Random
) -> None:
    corpus = Corpus()
    for index, (licence, owner, faces) in enumerate(photos):
        columns = {"owner_nsid": owner, "license_id": licence, "license_url": LICENSES[licence].url}
        corpus.photo(f"p{index}", faces, DATA, **columns)
    config = {"shard_faces": shard_faces, "validation_share": 0.5}
    table = corpus.release(**config).kept
    rows = table.to_pylist()
    assert sorted(row["face_id"] for row in rows) == sorted(row["face_id"] for row in corpus.rows["filter"])
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["owner_nsid"], set()).add(row["split"])
    assert all(len(found) == 1 for found in sides.values())

    assert [row["shard"] for row in rows] == sorted(row["shard"] for row in rows)
    sizes: dict[str, list[int]] = {}
    for shard, group in itertools.groupby(rows, key=lambda row: row["shard"]):
        found = list(group)
        assert {(row["split"], row["rights_class"]) for row in found} == {tuple(shard.rsplit("-", 1)[0].split("-", 1))}
        assert all(row["rights_class"] == CLASSES[row["license_id"]] for row in found)
        sizes.setdefault(shard.rsplit("-", 1)[0], []).append(len(found))
    for found_sizes in sizes.values():  # all full but the last
        assert all(size == shard_faces for size in found_sizes[:-1])
        assert 1 <= found_sizes[-1] <= shard_faces

    for name in ("metadata", "fetch", "detect"):
        chance.shuffle(corpus.rows[name])
    groups = [list(group) for _, group in itertools.groupby(corpus.rows["filter"], key=lambda row: row["photo_id"])]
    chance.shuffle(groups)
    corpus.rows["filter"] = [row for group in groups for row in group]
    assert corpus.release(**config).kept.equals(table)


def test_any_number_of_threads_gives_the_same_table() -> None:
    corpus = Corpus()
    for index in range(12):
        corpus.photo(f"p{index}", faces=1 + index % 3)
    one, many = corpus.release(1).kept, corpus.release(4).kept
    assert one.equals(many)
    assert one.num_rows == 24


def test_embeddings_do_not_leave_the_build() -> None:
    assert "embedding" in FACES.names
    assert "embedding" not in RELEASE.names
    assert not any(pa.types.is_float16(field.type) for field in RELEASE)
