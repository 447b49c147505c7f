"""Stage `detect`: settings that would fail late or be ignored are refused early, and what is read is what was fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from fdf.errors import DataError, ModelError
from fdf.stages.base import StageResult, Tools
from fdf.stages.detect import DetectConfig, run
from fdf.stages.pictures import read_picture
from fdf.vision.analyze import Face, face_id
from fdf.vision.zoo import adapters, kinds, load_model, needs_path, sha256_of
from tests.fakes import MemoryArchive, dropped, encode, picture, png, stored_row, tables
from tests.vision.test_adapters import from_eval, tiny_arcface

# --- settings -----------------------------------------------------------------------------------------------------------

DETECTORS = "expected one of centerface, blazeface-back.facemesh468, dlib-hog, insightface-detector"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"detector": "dlib-resnet128"}, DETECTORS),
    ({"detector": "centreface"}, DETECTORS),
    ({"detector": ""}, DETECTORS),
    ({"keypointer": ""}, "expected one of movenet-thunder.facemesh468"),
    ({"keypointer": "centerface"}, "expected one of movenet-thunder.facemesh468"),
    ({"embedder": "dlib-hog"}, "expected one of dlib-resnet128, insightface-embedder"),
    ({"detector_path": "x.onnx"}, "detector_path is set, but centerface takes no weights .* dlib-hog, insightface-detector"),
    ({"embedder_path": "x.onnx"}, "embedder_path is set, but dlib-resnet128 takes no .* does: insightface-embedder"),
    ({"embedder": "", "embedder_path": "x.onnx"}, "embedder_path is set, but an empty embedder takes no weights"),
    ({"detector": "insightface-detector"}, "insightface-detector needs weights of your own: set detector_path"),
    ({"embedder": "insightface-embedder"}, "insightface-embedder needs weights of your own: set embedder_path"),
    *(
        ({"detector": "blazeface-back+facemesh468", **setting}, f"{next(iter(setting))} would be ignored by blazeface")
        for setting in ({"min_side": 641}, {"max_side": 2000}, {"second_pass": False}, {"tile": 640})
    ),
    ({"detector": "dlib-hog", "score": 0.6}, "score would be ignored by dlib-hog: leave it out"),
    ({"detector": "dlib-hog", "score": 0.6, "tile": 640}, "tile, score would be ignored by dlib-hog: leave them out"),
    ({"detector": "insightface-detector", "detector_path": "x", "tile": 640}, "tile would be ignored by insightface"),
    ({"tile": 10}, "a tile has at least 64 pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "answer"), REFUSED)
def test_settings_that_fail_late_or_do_nothing_are_refused(settings: dict[str, Any], answer: str) -> None:
    with pytest.raises(ValidationError, match=answer):
        DetectConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"embedder": ""},
        {"min_side": 320, "max_side": 2000, "second_pass": False, "tile": 640, "score": 0.3},
        {"detector": "blazeface-back+facemesh468", "score": 0.3},
        {"detector": "dlib-hog"},
        {"detector": "dlib-hog", "detector_path": "five.dat"},
        {"detector": "insightface-detector", "detector_path": "pack", "score": 0.4},
        {"embedder": "insightface-embedder", "embedder_path": "pack"},
    ],
)
def test_settings_that_work_are_accepted_and_so_is_their_full_form(settings: dict[str, Any]) -> None:
    config = DetectConfig(**settings)
    assert DetectConfig(**config.model_dump()) == config  # a resolved recipe spells every default out


def test_paths_are_no_part_of_the_fingerprint() -> None:
    here = DetectConfig(detector="dlib-hog", detector_path="here.dat")
    there = DetectConfig(detector="dlib-hog", detector_path="/there/five.dat")
    assert here.fingerprint() == there.fingerprint()
    assert not {"detector_path", "embedder_path", "batch"} & set(here.fingerprint())
    assert "detector" in here.fingerprint()


@pytest.mark.parametrize("kind", ["detector", "embedder"])
def test_missing_weights_are_named_with_the_setting(kind: str, tmp_path: Path) -> None:
    config = DetectConfig(**{kind: f"insightface-{kind}", f"{kind}_path": str(tmp_path / "nothing")})
    with pytest.raises(ModelError) as caught:
        config.models()
    assert f"There are no weights at {tmp_path / 'nothing'}" in str(caught.value)
    assert f"Correct detect.{kind}_path" in str(caught.value)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    config = DetectConfig(detector="insightface-detector", detector_path=str(tmp_path))
    with pytest.raises(ModelError, match=f"No detection model of InsightFace was found at {tmp_path}"):
        config.models()


def test_weights_of_the_users_own_are_told_by_their_bytes_wherever_they_lie(tmp_path: Path) -> None:
    digests = []
    for place in ("one", "two"):
        folder = tmp_path / place / "pack"
        folder.mkdir(parents=True)
        tiny_arcface(folder)
        config = DetectConfig(embedder="insightface-embedder", embedder_path=str(folder))
        digests.append({row["id"]: row["sha256"] for row in config.models()})
    assert digests[0] == digests[1]
    assert digests[0]["insightface/pack/w600k_tiny"] == sha256_of(folder / "w600k_tiny.onnx")


def test_a_detector_of_insightface_takes_the_recipes_score() -> None:
    path = from_eval("scrfd_500m_kps.onnx")
    config = DetectConfig(detector="insightface-detector", detector_path=str(path), score=0.4)
    assert {row["id"]: row["sha256"] for row in config.models()}["insightface/scrfd_500m_kps"] == sha256_of(path)
    assert config.analyzer().analyze([picture(0)])


@pytest.mark.parametrize("name", [name for name in adapters() if not needs_path(name)])
def test_an_adapter_is_of_the_kind_that_the_zoo_says(name: str) -> None:
    method = {"detector": "detect", "keypointer": "keypoints", "embedder": "embed"}[kinds()[name]]
    assert hasattr(load_model(name), method)


# --- the stage ----------------------------------------------------------------------------------------------------------


class Looker:
    """An analyzer that finds one face in every picture that is not black."""

    id = "looker"
    embedder = None

    @property
    def detector(self) -> Looker:
        return self

    keypointer = detector

    def analyze(self, pictures: list[np.ndarray]) -> list[list[Face]]:
        face = Face(
            np.array([8, 8, 40, 40], np.float32), 0.9, np.zeros((7, 3), np.float32), *[None] * 4, 1, 2, 3, *[None] * 3
        )
        return [[face] if pixels.any() else [] for pixels in pictures]


def detect(archive: MemoryArchive, rows: list[dict[str, Any]], threads: int = 1, **config: Any) -> StageResult:
    given: dict[str, pa.Table] = tables(fetch=rows)
    return run(given, DetectConfig(**config), Tools(threads=threads, blobs=archive, analyzer=Looker()))


def test_every_photo_has_faces_or_a_drop_in_order() -> None:
    archive = MemoryArchive()
    rows = [stored_row(archive, f"p{number}", png(number)) for number in range(5)]
    rows.insert(2, stored_row(archive, "black", encode(np.zeros((60, 50, 3), np.uint8))))
    results = [detect(archive, rows, threads, batch=batch) for threads, batch in ((1, 8), (3, 2))]
    assert results[0].kept.equals(results[1].kept)
    assert results[0].kept["photo_id"].to_pylist() == [f"p{number}" for number in range(5)]
    assert results[0].kept["face_id"].to_pylist()[0] == face_id(rows[0]["sha256"], (8, 8, 40, 40))
    assert dropped(results[0]) == {"black": ("no_face", "none over 0.5 in 50×60")}
    assert results[0].notes == {"faces": 5}


def test_other_bytes_than_those_that_were_fetched_are_an_error() -> None:
    archive = MemoryArchive()
    rows = [stored_row(archive, "p0", png(0)), stored_row(archive, "p1", png(1))]
    rows[1] |= {name: rows[0][name] for name in ("offset", "length")}
    with pytest.raises(DataError) as caught:
        detect(archive, rows)
    message = str(caught.value)
    assert "Photo p1 in archive is not the one that was fetched" in message
    assert rows[0]["sha256"] in caught.value.got
    assert rows[1]["sha256"] in caught.value.expected
    assert "`fdf validate` names the file; build again from fetch with --from fetch --rebuild" in message


def test_bytes_that_give_no_picture_are_an_error_that_names_them() -> None:
    archive = MemoryArchive()
    row = stored_row(archive, "p0", png(0))
    archive.data = archive.data[:60] + bytes(len(archive.data) - 60)
    with pytest.raises(DataError, match=r"Photo p0 in archive can't be decoded .*--from fetch --rebuild"):
        detect(archive, [row])
    larger = stored_row(archive, "p1", png(1)) | {"width": 5}
    with pytest.raises(DataError, match=r"Photo p1 in archive can't be decoded \(decompression_bomb\)"):
        detect(archive, [larger])


def test_a_place_without_a_hash_is_read_unchecked() -> None:
    archive = MemoryArchive()
    row = stored_row(archive, "p0", png(0))
    place = {name: row[name] for name in ("photo_id", "archive", "offset", "length", "width", "height")}
    assert np.array_equal(read_picture(archive, place), picture(0))
    assert np.array_equal(read_picture(archive, row), picture(0))


def test_a_damaged_tiff_is_no_text_across_a_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    archive = MemoryArchive()
    row = stored_row(archive, "p0", encode(picture(0), "TIFF", compression="tiff_adobe_deflate"))
    archive.data = archive.data[:100] + b"\xff" * 100 + archive.data[200:]
    with pytest.raises(DataError, match="can't be decoded"):
        detect(archive, [row])
    assert capfd.readouterr().err == ""
