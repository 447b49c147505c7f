"""The whole evaluation on the sample corpus with a generator of a few nodes."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import fdf.cli.commands  # noqa: F401 - registers the commands
from fdf.cli.app import app
from fdf.errors import DataError, FdfError, MachineError, ModelError, UsageError
from fdf.evaluate.batches import choose, draw_z
from fdf.evaluate.evaluation import Settings, evaluate, find_generator
from fdf.evaluate.faces import Eyes
from fdf.evaluate.features import DlibDescriptor, load_extractor
from fdf.evaluate.result import read_result
from fdf.gan.lineage import FACES_FILE
from fdf.gan.takedown import FaceKey, face_key, faces_eaten
from fdf.store.files import file_sha256
from fdf.store.shards import Sample, open_shards, read_index, write_index
from fdf.vision.zoo import models, path_of
from tests.evaluate.tiny import SAYS, write_generator

FEW: dict[str, Any] = {"split": "training", "count": 12, "varied": 1, "variants": 2, "training": 8}


class Steps:
    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def stage(self, name: str, total: int | None) -> None:
        self.told.append((name, total or 0))

    def advance(self, units: int) -> None:
        self.told.append(("", units))


@pytest.fixture(scope="module")
def training(sample_build: Path) -> list[Sample]:
    return list(open_shards(sample_build, resolution=64, split="training"))


def looked(faces: Sequence[Sample], count: int) -> list[Sample]:
    return [faces[place] for place in choose(len(faces), count, Settings().seed)]


def write_run(run: Path, keys: Sequence[FaceKey]) -> Path:
    """A run's folder with a generator in it that ate these."""
    (run / "exports").mkdir(parents=True)
    columns = dict(zip(("source", "photo_id", "face_id"), map(list, zip(*keys, strict=True)), strict=True))
    pq.write_table(pa.table({**columns, "first_picture": [0] * len(keys)}), run / FACES_FILE)
    says = {**SAYS, "run": run.name, "pictures": "500", "eaten_sha256": file_sha256(run / FACES_FILE)}
    return write_generator(run / "exports" / "tiny.onnx", says=says)


FOREIGN: list[FaceKey] = [("synthetic", "1", "of another build"), ("synthetic", "2", "of another build")]


@pytest.fixture(scope="module")
def eaten(training: list[Sample]) -> list[Sample]:
    """Three of the eight that `FEW` looks at, two of them among the four that are looked at with --training 4."""
    four, eight = (looked(training, count) for count in (4, 8))
    return [*four[:2], next(face for face in eight if face not in four)]


@pytest.fixture(scope="module")
def generator(eaten: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = [*(face_key(face.row) for face in eaten), *FOREIGN]
    return write_run(tmp_path_factory.mktemp("model") / "00001-tiny-64", keys)


@pytest.fixture(scope="module")
def report(sample_build: Path, generator: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    picture = tmp_path_factory.mktemp("out") / "near.png"
    steps = Steps()
    found = evaluate(generator, sample_build, Settings(**FEW), progress=steps, picture=picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert ("faces", 12) in steps.told
    assert ("training", 8) in steps.told
    assert sum(units for name, units in steps.told if not name) == 20
    return found.to_dict()


def test_a_coloured_box_is_no_face_and_the_report_says_so(report: dict[str, Any]) -> None:
    assert report["format"] == "fdf-evaluation-2"
    assert report["model"]["licence"] == "CC0-1.0"
    assert (report["data"]["faces"], report["data"]["split"], report["data"]["hole"]) == (12, "training", "box")
    quality = report["quality"]
    assert (quality["extractor"], quality["features"], quality["half"], quality["biased"]) == (
        "centerface-trunk",
        376,
        6,
        True,
    )
    assert quality["fid_halves"] > 3 * quality["fid_floor"] > 0
    assert quality["kid_halves"] > abs(quality["kid_floor"])
    kept = report["preservation"]
    assert kept["centerface"]["value"] < 0.2
    assert kept["centerface_real"]["value"] > 0.9
    assert kept["nme_real"]["mean"] < 0.05
    assert report["diversity"]["structure"] > 0
    assert report["diversity"]["between_fakes"] < report["diversity"]["between_reals"]
    assert report["reidentification"]["rank1_chance"] == pytest.approx(1 / 12)
    assert report["timing"]["faces_per_second"] > 0


def test_memory_rests_on_the_faces_that_the_generator_ate(
    report: dict[str, Any], training: list[Sample], eaten: list[Sample]
) -> None:
    data, memory = report["data"], report["memorization"]
    assert (data["training_of"], data["training_looked"], data["training_eaten"]) == (65, 8, 3)
    assert (memory["training"], memory["training_total"]) == (3, 5)
    assert report["memorization_unknown"] is None

    def vectors(faces: Sequence[Sample]) -> np.ndarray:
        return Eyes().embed([face.picture for face in faces], np.stack([face.box for face in faces]))

    shown = looked(training, FEW["count"])
    far = np.linalg.norm(vectors(shown)[:, None] - vectors(eaten)[None], axis=2)
    own = [[one.row["owner_nsid"] == other.row["owner_nsid"] for other in eaten] for one in shown]
    assert memory["reals"][2] == pytest.approx(np.median(np.where(own, np.inf, far).min(axis=1)), rel=1e-5)


def test_nothing_is_said_of_memory_where_nobody_knows_what_was_eaten(
    sample_build: Path, training: list[Sample], tmp_path: Path
) -> None:
    """A split `training` isn't what this generator was trained on."""
    nobodys = path_of(next(row for row in models() if row.id == "generator-default"))
    few = Settings(**{**FEW, "count": 4})
    found = evaluate(nobodys, sample_build, few, picture=tmp_path / "near.png")
    assert found.memorization is None
    assert found.memorization_unknown is not None
    assert "generator_default.onnx" in found.memorization_unknown
    assert "nobody knows which faces it ate" in found.memorization_unknown
    assert (found.data.training_of, found.data.training_looked, found.data.training_eaten) == (65, 0, None)
    assert not (tmp_path / "near.png").exists(), "it would show faces that it may never have seen"

    others = [face_key(face.row) for face in training if face not in looked(training, 8)]
    elsewhere = evaluate(write_run(tmp_path / "00002-tiny-64", [*others, *FOREIGN]), sample_build, few)
    assert elsewhere.memorization is None
    assert elsewhere.memorization_unknown == "The generator ate none of the 8 training faces looked at, but 59 others."
    assert (elsewhere.data.training_looked, elsewhere.data.training_eaten) == (8, 0)


def test_the_command_says_that_memory_is_not_known(sample_build: Path, tmp_path: Path) -> None:
    model = write_generator(tmp_path / "lone.onnx")
    said = CliRunner().invoke(app, ["evaluate", str(model), "--shards", str(sample_build), "--varied", "1"])
    assert said.exit_code == 0, said.output
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in said.output.splitlines() if "|" in line}
    for name in ("distance to what it ate, median", "nearer than 0.4 to what it ate", "nearer than 95 % of reals"):
        assert rows[name] == "not known"
    assert "Memorization is not known. No folder above lone.onnx" in said.output


def test_photos_without_an_owner_count_as_one_each(
    sample_build: Path, training: list[Sample], generator: Path, tmp_path: Path
) -> None:
    def rewritten(data: bytes) -> bytes:
        return json.dumps({**json.loads(data), "owner_nsid": None}).encode()

    entries = [e for e in read_index(sample_build / "shard/index.json") if e.path.startswith("64/")]
    for entry in entries:
        (path := tmp_path / entry.path).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(sample_build / "shard" / entry.path) as old, tarfile.open(path, "w") as new:
            for member in old:
                data = old.extractfile(member).read()  # type: ignore[union-attr]
                data = rewritten(data) if member.name.endswith(".json") else data
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    write_index(tmp_path, [replace(entry, sha256=file_sha256(tmp_path / entry.path)) for entry in entries])
    assert {face.row["owner_nsid"] for face in open_shards(tmp_path, resolution=64)} == {None}

    found = evaluate(generator, tmp_path, Settings(**FEW))
    photos = [face.row["photo_id"] for face in looked(training, FEW["count"])]
    assert found.reidentification is not None
    assert found.reidentification.pairs == sum(a != b for k, a in enumerate(photos) for b in photos[:k]) > 0
    assert found.memorization is not None, found.memorization_unknown
    assert found.memorization.training == 3
    assert found.diversity.between_reals is not None


def test_faces_that_the_generator_learnt_from_are_counted(
    report: dict[str, Any], sample_build: Path, eaten: list[Sample], training: list[Sample], tmp_path: Path
) -> None:
    """A checkpoint has eaten the faces drawn before its number of pictures, those of the runs before it (−1) too."""
    assert report["data"]["eaten"] == sum(face in eaten for face in looked(training, FEW["count"]))
    alone = evaluate(write_generator(tmp_path / "alone.onnx"), sample_build, Settings(**{**FEW, "training": 0}))
    assert alone.data.eaten is None
    assert alone.memorization_unknown == "No training faces were to be looked at (--training 0)."
    every = [face_key(face.row) for face in open_shards(sample_build, resolution=64, split="training")]
    keys = [every[place] for place in choose(len(every), FEW["count"], Settings().seed)]
    # Builds of `fdf synth` share sources and photo ids, and mean other people by them.
    others = [(source, photo, f"{face} of another build") for source, photo, face in keys[5:]]
    eaten = [*keys[:5], *others]
    columns = dict(zip(("source", "photo_id", "face_id"), map(list, zip(*eaten, strict=True)), strict=True))
    run = tmp_path / "00007-tiny-64"
    (run / "exports").mkdir(parents=True)
    pq.write_table(
        pa.table({**columns, "first_picture": [-1, 0, 499, 500, 501, *([0] * len(others))]}), run / FACES_FILE
    )

    def exported(name: str, **says: str) -> Path:
        return write_generator(run / "exports" / name, says={**SAYS, "pictures": "500", **says})

    model = exported("g.onnx", run="renamed", eaten_sha256=file_sha256(run / FACES_FILE))
    assert faces_eaten(model) == {*keys[:3], *others}, "known by its digest, whatever its folder is called"
    assert evaluate(model, sample_build, Settings(**{**FEW, "training": 0})).data.eaten == 3

    (run / "lineage.json").write_text('{"index_sha256": "aa"}')
    assert faces_eaten(exported("foreign.onnx", run=run.name, index_sha256="aa", eaten_sha256="0" * 64)) is None
    assert faces_eaten(old := exported("old.onnx", run=run.name, index_sha256="aa")) is not None
    (run / "lineage.json").write_text('{"index_sha256": "bb"}')
    assert faces_eaten(old) is None, "the folder of another run of the same name"


def test_threads_change_no_figure_and_other_features_only_theirs(
    sample_build: Path, generator: Path, report: dict[str, Any]
) -> None:
    again = evaluate(generator, sample_build, Settings(**FEW, threads=1, features="dlib-resnet128")).to_dict()
    assert again["quality"]["features"] == 128
    assert again["quality"]["extractor"] == "dlib-resnet128"
    mine, theirs = ({k: v for k, v in body.items() if k not in {"quality", "timing"}} for body in (again, report))
    assert mine == theirs


def test_the_command_writes_a_report_and_compares_only_likes(
    sample_build: Path, generator: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    common = ["evaluate", str(generator), "--shards", str(sample_build), "--varied", "1", "--training", "4"]
    first = CliRunner().invoke(app, [*common, "-o", str(out)])
    assert first.exit_code == 0, first.output
    for said in (
        "5 faces of 5 (validation, 64 px)",
        "FID, halves",
        "not to be mixed",
        "biased upwards",
        "4 of 65 training faces were looked at; --training looks at more",
        "The generator ate 2 of these, and 5 in all: memorization rests on the 2.",
        "reads low: they share all but the face",
    ):
        assert said in first.output, first.output
    assert "KID × 1,000, halves" in first.output
    assert "KID × 1,000, all" not in first.output, "it isn't unbiased where fakes are held against their own reals"
    assert not [name for name in json.loads(out.read_text())["quality"] if name.startswith("kid_paired")]
    assert (tmp_path / "report.nearest.png").is_file()
    second = CliRunner().invoke(app, [*common, "--json", "--against", str(out)])
    assert second.exit_code == 0, second.output
    body = json.loads(second.stdout)
    written = json.loads(out.read_text())
    assert {k: v for k, v in body.items() if k not in {"timing", "against"}} == {
        k: v for k, v in written.items() if k != "timing"
    }
    assert all(a == b for a, b in body["against"].values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fdf.evaluate.evaluation.evaluate", None)  # it is said before the minutes that this takes
        third = CliRunner().invoke(app, [*common, "--seed", "1", "--against", str(out)])
    assert isinstance(third.exception, UsageError)
    assert "seed: 0 and 1" in str(third.exception)
    (tmp_path / "old.json").write_text(json.dumps({**written, "format": "fdf-evaluation-1"}))
    with pytest.raises(DataError, match=r"Got 'fdf-evaluation-1'\. Evaluate that model again"):
        read_result(tmp_path / "old.json")


def test_an_extractor_from_a_file(tmp_path: Path) -> None:
    def write(name: str, shape: list[int | str]) -> Path:
        graph = helper.make_graph(
            [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
            "means",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (tmp_path / name).write_bytes(model.SerializeToString())
        return tmp_path / name

    extractor = load_extractor(str(write("means.onnx", ["N", 3, 8, 8])))
    assert not isinstance(extractor, DlibDescriptor)
    assert (extractor.id, extractor.size, len(extractor.sha256)) == ("onnx:means", 8, 64)
    white = np.full((8, 8, 3), 255, np.uint8)
    assert extractor.extract([white, white * 0]).tolist() == [[1, 1, 1], [-1, -1, -1]]
    with pytest.raises(ModelError, match=r"no feature extractor that fdf can feed.*fixed S"):
        load_extractor(str(write("free.onnx", ["N", 3, "H", "W"])))


def test_the_bundled_extractor_sees_blur(sample_build: Path) -> None:
    import cv2

    from fdf.evaluate.fid import kernel_distance

    extractor = load_extractor()
    assert not isinstance(extractor, DlibDescriptor)
    pictures = [
        cv2.resize(face.picture, (128, 128)) for face in open_shards(sample_build, resolution=64, split="training")
    ]
    sharp = extractor.extract(pictures)
    assert sharp.shape == (65, 376)
    assert (extractor.extract(pictures[3:4])[0] == sharp[3]).all()
    blurred = [
        kernel_distance(sharp, extractor.extract([cv2.GaussianBlur(p, (0, 0), s) for p in pictures])) for s in (2, 4)
    ]
    assert 0 < blurred[0] < blurred[1]


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"split": "test"}, UsageError, "No split test in .*expected one of training, validation"),
        ({"count": 3}, UsageError, "count is too small. Expected 4 or more"),
        ({"features": "resnet"}, UsageError, "no features 'resnet'.*centerface-trunk"),
        ({"features": "none.onnx"}, UsageError, r"no extractor at none\.onnx"),
        ({"region": "nose"}, UsageError, "no region 'nose'"),
        ({"hole": "star"}, UsageError, "no hole 'star'"),
    ],
)
def test_requests_that_can_not_be(
    sample_build: Path, generator: Path, settings: dict[str, Any], kind: type[FdfError], said: str
) -> None:
    with pytest.raises(kind, match=f"(?i){said}"):
        evaluate(generator, sample_build, Settings(**settings))


def test_inception_without_its_library_says_what_to_do() -> None:
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        with pytest.raises(MachineError, match=r"needs torch-fidelity.*centerface-trunk"):
            load_extractor("inception-v3-compat")


def test_a_generator_of_another_resolution(sample_build: Path, tmp_path: Path) -> None:
    path = write_generator(tmp_path / "g.onnx", resolution=32, says={**SAYS, "resolution": "32"})
    with pytest.raises(UsageError, match=r"has no resolution 32.*one of \[64, 128, 256\]"):
        evaluate(path, sample_build)


def test_a_split_with_too_few_faces(sample_build: Path, generator: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    entries = [e for e in read_index(sample_build / "shard/index.json") if e.path.startswith("64/validation-pd-0")]
    for entry in entries:
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample_build / "shard" / entry.path, folder / entry.path)
    write_index(folder, entries)
    with pytest.raises(DataError, match=r"split validation of .* too few faces at 64 px\. Expected 4 or more\. Got 1"):
        evaluate(generator, folder)


def test_the_newest_export_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing at"):
        find_generator(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no exported generator.*Run `fdf export"):
        find_generator(tmp_path)
    for age, name in enumerate(("generator-int8.onnx", "b/generator.onnx", "a.onnx", "generator-fp16.onnx")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (1000 + age, 1000 + age))
    assert find_generator(tmp_path).name == "a.onnx"
    assert find_generator(tmp_path / "a.onnx").name == "a.onnx"


def test_the_choice_and_z_depend_on_the_seed_alone() -> None:
    assert choose(5, 9, 0) == [0, 1, 2, 3, 4]
    assert choose(100, 10, 0) == choose(100, 10, 0) != choose(100, 10, 1)
    assert (draw_z(0, 7, 4, 8)[0] == draw_z(0, 7, 1, 8)[0]).all()
    assert (draw_z(0, 7, 1, 8) != draw_z(1, 7, 1, 8)).all()
