"""What the trainer is given: the same pictures at the same places, whoever reads them; and shards that it refuses."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.consent.licenses import LICENSES, RIGHTS, find_license
from fdf.errors import DataError, FdfError, UsageError
from fdf.gan.config import DataConfig
from fdf.gan.data import Deck, Faces, Positions, find_faces, loader, vary
from fdf.gan.holes import hole
from fdf.gan.sidecars import license_of
from fdf.store.shards import open_shards, write_index
from tests.gan.making import SIDE, entry_of, make_shards, png, rewrite, row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def faces(folder: Path) -> Faces:
    return find_faces(folder, resolution=SIDE, split="training")


PLAIN = DataConfig(
    flip=0,
    ellipse_share=0,
    box_scale=(1, 1),
    box_shift=0,
    keypoint_drop=0,
    keypoints_drop_all=0,
    keypoint_confidence=0.3,
)


def batches(faces: Faces, positions: Positions, workers: int = 0, seed: int = 1) -> list[dict[str, np.ndarray]]:
    items = loader(Deck(faces, DataConfig(), seed), positions, workers=workers)
    return [{key: value.numpy() for key, value in item.items()} for item in items]


def same(left: list[dict[str, np.ndarray]], right: list[dict[str, np.ndarray]]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(one[key], other[key]) for one, other in zip(left, right, strict=True) for key in one
    )


def test_faces_are_those_of_the_shards(sample_build: Path) -> None:
    faces = find_faces(sample_build, resolution=64, split="training")
    samples = list(open_shards(sample_build, resolution=64, split="training"))
    assert len(faces) == len(samples)
    for index in (0, len(faces) // 2, len(faces) - 1):
        assert np.array_equal(faces.picture(index), samples[index].picture)
        assert faces.boxes[index] == pytest.approx(samples[index].box)
        assert faces.keypoints[index] == pytest.approx(samples[index].keypoints)
        assert faces.table["photo_id"][index].as_py() == samples[index].row["photo_id"]


def test_faces_are_chosen_by_split_and_rights(sample_build: Path) -> None:
    faces = find_faces(sample_build, resolution=64, split="training", rights=("pd", "by"))
    assert set(faces.table["rights_class"].to_pylist()) == {"pd", "by"}
    assert {entry.split for entry in faces.entries} == {"training"}


def test_an_epoch_draws_every_face_once(faces: Faces) -> None:
    deck = Deck(faces, DataConfig(), seed=3)
    epochs = [[deck.face(position) for position in range(start, start + 12)] for start in (0, 12)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1]


def test_the_number_of_workers_changes_nothing(faces: Faces) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    positions = Positions(0, 40, 8)
    assert same(batches(faces, positions), batches(faces, positions, workers=2))


def test_a_resumed_run_goes_on_at_its_place(faces: Faces) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert same(batches(faces, Positions(0, 64, 8))[3:], batches(faces, Positions(24, 64, 8)))


def test_processes_share_what_one_would_see() -> None:
    """Two processes with one part each see the parts of one process with two."""
    alone = list(Positions(0, 48, 8, accumulate=2))
    first, second = (list(Positions(0, 48, 8, rank=rank, world=2)) for rank in range(2))
    assert alone == [part for pair in zip(first, second, strict=True) for part in pair]


def test_another_seed_gives_other_pictures(faces: Faces) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert not same(batches(faces, Positions(0, 16, 8)), batches(faces, Positions(0, 16, 8), seed=2))


def test_a_flip_swaps_left_and_right() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    points = np.array([[8, 6, 1], [11, 5, 1], [6, 5, 1], [13, 6, 1], [3, 6, 0.1], [15, 14, 1], [1, 14, 1]], np.float32)
    box = np.array([3, 3, 10, 13], np.float32)
    plain = vary(picture, box, points, PLAIN, np.random.default_rng(0))
    flipped = vary(picture, box, points, PLAIN.model_copy(update={"flip": 1.0}), np.random.default_rng(0))
    assert np.array_equal(flipped[0], plain[0][:, :, ::-1])
    assert np.array_equal(flipped[1], plain[1][:, :, ::-1])
    nose, left_eye, right_eye, left_ear, right_ear, left_shoulder, right_shoulder = flipped[2].tolist()
    assert nose == [8, 6, 1]
    assert left_eye == [16 - 6, 5, 1], "the subject's left eye in the mirror was the right one"
    assert right_eye == [16 - 11, 5, 1]
    assert left_ear == [0, 0, 0], "the right ear was not sure: in the mirror the left one is absent"
    assert right_ear == [16 - 13, 6, 1]
    assert (left_shoulder, right_shoulder) == ([15, 14, 1], [1, 14, 1])
    assert left_eye[0] > right_eye[0], (
        "a person who looks at us has the left eye on the picture's right, mirrored or not"
    )


def test_a_hole_covers_the_box() -> None:
    box = np.array([2.2, 3.7, 12.4, 13.1])
    inside = hole(box, SIDE, ellipse=False)
    assert inside[4:13, 2:12].all()
    assert inside.sum() == 9 * 10
    round_ = hole(box, SIDE, ellipse=True)
    assert round_[8, 2:12].all()
    assert not round_[4, 2]
    assert hole(np.array([-20, -20, 40, 40]), SIDE, ellipse=False).all()


def face_in(box: np.ndarray, side: int, *, ellipse: bool) -> np.ndarray:
    """Pixels whose centres lie in a box, or in the ellipse inscribed in it: by the definition, in float64."""
    down, across = np.mgrid[:side, :side] + 0.5
    x0, y0, x1, y1 = box.astype(float)
    if ellipse:
        middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
        return ((across - middle_x) / (x1 - x0) * 2) ** 2 + ((down - middle_y) / (y1 - y0) * 2) ** 2 <= 1
    return (across >= x0) & (across < x1) & (down >= y0) & (down < y1)


# Edges that fall on centres of pixels, and numbers at their ends, are where a hole could lose a row.
edges = st.integers(-8 * 64, 40 * 64).map(lambda value: value / 64)
spans = st.integers(64, 60 * 64).map(lambda value: value / 64)
scales = st.just(1.0) | st.floats(1, 1.2) | st.floats(1, 4)
drawn = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


@given(
    corner=st.tuples(edges, edges), span=st.tuples(spans, spans), scale=st.tuples(scales, scales),
    shift=st.sampled_from([0.05, 0.5]) | st.floats(0, 0.5), ellipse=st.booleans(), flip=st.booleans(),
    drawn=st.tuples(drawn, drawn, drawn),
)  # fmt: skip
def test_no_hole_leaves_some_of_the_face(
    corner: tuple[float, float], span: tuple[float, float], scale: tuple[float, float], shift: float, ellipse: bool,
    flip: bool, drawn: tuple[float, float, float],
) -> None:  # fmt: skip
    """Whatever the recipe, the box and the random numbers: no pixel whose centre lies in the face stays."""
    config = DataConfig(flip=flip, ellipse_share=ellipse, box_scale=(min(scale), max(scale)), box_shift=shift)
    numbers: Any = SimpleNamespace(random=lambda count: np.array([0, 0, *drawn] + [0.5] * (count - 5)))
    box = np.array([*corner, corner[0] + span[0], corner[1] + span[1]], np.float32)
    _, mask, _ = vary(np.zeros((64, 64, 3), np.uint8), box, np.zeros((7, 3), np.float32), config, numbers)
    face = face_in(box, 64, ellipse=ellipse)
    assert mask[0][face[:, ::-1] if flip else face].all()


@pytest.mark.parametrize("ellipse", [False, True])
def test_holes_move_as_far_as_they_may(ellipse: bool) -> None:
    """By the shift where the scale leaves room for it; by what it leaves where it doesn't."""
    box, points = np.array([20, 20, 40, 40], np.float32), np.zeros((7, 3), np.float32)
    for scale, shift, furthest in ((2.0, 0.05, 1), (1.2, 0.5, 2)) if not ellipse else ((1.0, 0.05, 1), (1.0, 0.5, 1.5)):
        config = PLAIN.model_copy(update={"ellipse_share": ellipse, "box_scale": (scale, scale), "box_shift": shift})
        off = []
        for seed in range(200):
            _, mask, _ = vary(np.zeros((64, 64, 3), np.uint8), box, points, config, np.random.default_rng(seed))
            off.append(np.mean(np.nonzero(mask[0])[1]) + 0.5 - 30)
        assert min(off) == pytest.approx(-furthest, abs=0.6)
        assert max(off) == pytest.approx(furthest, abs=0.6)


def test_holes_and_keypoints_vary_as_the_recipe_says(faces: Faces) -> None:
    config = DataConfig(keypoint_drop=0.2, keypoints_drop_all=0.25, ellipse_share=0.4)
    picture, box, points = faces.picture(0), faces.boxes[0], faces.keypoints[0]
    made = [vary(picture, box, points, config, np.random.default_rng(seed)) for seed in range(800)]
    present = np.array([keypoints[:, 2] for _, _, keypoints in made])
    assert np.mean(present.sum(axis=1) == 0) == pytest.approx(0.25, abs=0.05)
    assert present[present.any(axis=1)].mean() == pytest.approx(0.8, abs=0.03)
    boxes = [mask[0, mask[0].any(axis=1)][:, mask[0].any(axis=0)].all() for _, mask, _ in made]
    assert np.mean(boxes) == pytest.approx(0.6, abs=0.06)
    assert len(Counter(mask.tobytes() for _, mask, _ in made)) > 50
    assert all(not keypoints[keypoints[:, 2] == 0].any() for _, _, keypoints in made), "absent ones say nothing"


def test_points_that_are_no_numbers_are_absent() -> None:
    points = np.full((7, 3), np.nan, np.float32)
    assert not vary(
        np.zeros((SIDE, SIDE, 3), np.uint8), np.array([2, 2, 9, 9]), points, PLAIN, np.random.default_rng(0)
    )[2].any()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def add_sample(tar: tarfile.TarFile, number: int, *, picture: bytes | None = None, body: object = None) -> None:
    add(tar, f"face{number}.png", png(number) if picture is None else picture)
    add(tar, f"face{number}.json", json.dumps(row(number) if body is None else body).encode())


def refused(folder: Path, kind: type[FdfError], *said: str, **options: object) -> None:
    with pytest.raises(kind) as caught:
        find_faces(folder, resolution=SIDE, **options)  # type: ignore[arg-type]
    for text in said:
        assert text in str(caught.value)


def test_no_shards_and_no_such_choice_are_said(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path, UsageError, "no shards at", "fdf build")
    refused(folder, UsageError, "No split valdation", "training", split="valdation")
    with pytest.raises(UsageError, match=r"no resolution 64.*one of \[16\]"):
        find_faces(folder, resolution=64)


def test_an_empty_index_and_empty_shards_are_said(tmp_path: Path) -> None:
    write_index(tmp_path, [])
    refused(tmp_path, DataError, "lists no shards")
    rewrite(tmp_path, lambda _: 0)
    refused(tmp_path, DataError, "are empty", "at least one face", "1 shards without a sample", "fdf status")


def test_a_truncated_tar_is_said(tmp_path: Path) -> None:
    folder = make_shards(tmp_path, 5)
    path = folder / str(SIDE) / "training-by-00000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    refused(folder, DataError, "not the shard its index names", "sha256", "fdf validate")
    refused(folder, DataError, "can't be read as a tar", "Expected 5 samples", "before the damage", verify=False)
    write_index(folder, [entry_of(folder, path, 5)])
    refused(folder, DataError, "can't be read as a tar")


def test_a_missing_shard_is_said(tmp_path: Path) -> None:
    folder = make_shards(tmp_path, 5)
    (folder / str(SIDE) / "training-by-00000.tar").unlink()
    refused(folder, DataError, "can't be read as a tar", "No such file")


def test_mixed_resolutions_are_said(tmp_path: Path) -> None:
    rewrite(tmp_path, lambda tar: add_sample(tar, 0, body=row(0) | {"resolution": 32}) or 1)
    refused(tmp_path, DataError, "mixes resolutions", "Expected 16 px", "Got 32 px", "Build the shard stage again")
    rewrite(tmp_path, lambda tar: add_sample(tar, 0, picture=png(0, 32)) or 1)
    faces = find_faces(tmp_path, resolution=SIDE)
    with pytest.raises(DataError, match=r"Expected a picture of 16 × 16 px\. Got 32 × 32 px"):
        faces.picture(0)


@pytest.mark.parametrize("key", ["box_in_crop", "keypoints", "rights_class", "consent_date"])
def test_missing_keys_are_said(key: str, tmp_path: Path) -> None:
    rewrite(tmp_path, lambda tar: add_sample(tar, 0, body={k: v for k, v in row(0).items() if k != key}) or 1)
    refused(tmp_path, DataError, "sidecar of sample face0", "RELEASE row", f"Got no key '{key}'")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"box_in_crop": [0.7, 0.7, 0.2, 0.2]}, "a box that covers no pixel"),
        ({"box_in_crop": [0.2, 0.2, float("nan"), 0.8]}, "a box that covers no pixel"),
        ({"box_in_crop": [1.2, 0.2, 1.8, 0.8]}, "a box that covers no pixel"),
        ({"rights_class": "by-nc"}, "rights_class 'by-nc' in a shard of 'by'"),
        ({"split": "validation"}, "split 'validation' in a shard of 'training'"),
        ({"photo_id": None}, "photo_id None"),
        ({"photo_id": ""}, "photo_id ''"),
        ({"license_id": " "}, "license_id ' '"),
        ({"source": ""}, "source ''"),
        ({"owner_nsid": 5}, "owner_nsid 5"),
    ],
)
def test_faces_that_could_not_be_hidden_or_taken_back_are_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = make_shards(tmp_path, change=lambda number, body: body | change if number == 7 else body)
    with pytest.raises(DataError, match=rf"sample face007 of .*{re.escape(said)}"):
        find_faces(folder, resolution=SIDE)


@pytest.mark.parametrize(
    ("rights", "licence", "said"),
    [
        ("pd", "CC-BY-NC-ND-4.0", "states rights that its licence doesn't give. "
         "Expected rights_class 'nd', as CC-BY-NC-ND-4.0 has it. Got 'pd'. "
         "Find out which of them is wrong, then build again from the manifest stage"),
        ("by", "CC-BY-SA-2.0", "Expected rights_class 'by-sa', as CC-BY-SA-2.0 has it. Got 'by'"),
        ("by", "CC0-1.0", "Expected rights_class 'pd', as CC0-1.0 has it. Got 'by'"),
        ("pd", "LicenseRef-No-Known-Copyright-Restrictions", "Expected rights_class 'none'"),
        ("by", "CC-BY-9.0", "is not known: what it asks can't be said. Expected a license_id that stands in docs/licences.md. "
         "Got 'CC-BY-9.0'. Build again from the metadata stage"),
        ("by", "cc-by-2.0", "Got 'cc-by-2.0'"),
        ("by", "Attribution License", "Got 'Attribution License'"),
    ],
)  # fmt: skip
def test_rights_are_those_of_the_licence(rights: str, licence: str, said: str, tmp_path: Path) -> None:
    """The class of the weights comes from the one, what their users must do from the other."""
    folder = make_shards(
        tmp_path, rights=rights, change=lambda n, body: body | {"license_id": licence} if n == 7 else body
    )
    with pytest.raises(DataError, match=rf"sample face007 of .*{re.escape(said)}"):
        find_faces(folder, resolution=SIDE)


@pytest.mark.parametrize("rights", RIGHTS)
def test_each_rights_class_has_licences_that_fit(rights: str, tmp_path: Path) -> None:
    assert len(find_faces(make_shards(tmp_path, 2, rights=rights), resolution=SIDE)) == 2


def test_every_licence_that_a_manifest_may_name_is_known() -> None:
    """Ports have ids of their own, of the unported version, or, those of 2.1, of no list at all."""
    ports = ("de", "scotland", "igo", "au", "jp")
    urls = [
        f"https://creativecommons.org/licenses/{code}/{version}/{port}/"
        for code in ("by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
        for version in ("1.0", "2.0", "2.1", "2.5", "3.0")
        for port in ports
    ]
    found = [*LICENSES.values(), *(find_license(None, url) for url in urls)]
    for licence in found:
        assert licence is not None
        assert (known := license_of(licence.id)) is not None, licence.id
        assert (known.id, known.rights_class) == (licence.id, licence.rights_class)
    assert license_of("LicenseRef-CC-BY-2.1-AU") is not None


def test_half_samples_are_said(tmp_path: Path) -> None:
    rewrite(tmp_path, lambda tar: add(tar, "face0.png", png(0)) or 1)
    refused(tmp_path, DataError, "Sample face0", "not whole", "Got only the picture")
    rewrite(tmp_path, lambda tar: add(tar, "face0.json", json.dumps(row(0)).encode()) or 1)
    refused(tmp_path, DataError, "Got only the json")
    rewrite(tmp_path, lambda tar: add_sample(tar, 0) or 2)
    refused(tmp_path, DataError, "is cut", "Expected 2 samples", "Got 1")


def test_what_a_worker_meets_reaches_the_trainer_as_one_paragraph(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    rewrite(tmp_path, lambda tar: add_sample(tar, 0, picture=b"no picture") or 1)
    faces = find_faces(tmp_path, resolution=SIDE)
    (item,) = loader(Deck(faces, DataConfig(), 0), Positions(0, 4, 4), workers=1)
    assert isinstance(item, DataError)
    assert "Got nothing that can be decoded" in str(item)
    assert "Traceback" not in str(item)
