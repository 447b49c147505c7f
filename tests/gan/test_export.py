"""The exported file: as torch, for any batch, blind to the face; of weights whose rights are known, and known again later."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch", reason="fdf.gan needs the extra [torch]")
onnx = pytest.importorskip("onnx", reason="exporting needs onnx")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript")

import onnxruntime as ort  # noqa: E402

from fdf.cli.train import export as command  # noqa: E402
from fdf.errors import DataError, MachineError, ModelError, UsageError  # noqa: E402
from fdf.gan import export  # noqa: E402
from fdf.gan.ancestry import voucher  # noqa: E402
from fdf.gan.loop import Request, train  # noqa: E402
from fdf.gan.networks import Architecture, Block, Generator  # noqa: E402
from fdf.gan.run import Run, read_checkpoint, write_checkpoint  # noqa: E402
from fdf.gan.takedown import faces_eaten, models_that_ate  # noqa: E402
from tests.gan.making import make_shards, mini, short  # noqa: E402

ARCH = Architecture(
    size="tiny", resolution=64, latent=8, channels=(16, 16, 16, 32), encoder=(0, 0, 0, 1), decoder=(0, 0, 0, 1),
    discriminator_channels=(16, 16, 16, 16, 32), discriminator_blocks=(0, 0, 0, 0, 0), group_width=16,
)  # fmt: skip

torch.set_num_threads(1)  # small networks; two threads that wait for each other on a busy machine take minutes


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    network = Generator(ARCH)
    for block in network.modules():
        if isinstance(block, Block):
            torch.nn.init.normal_(block.close.weight, std=0.1)
    return network


@pytest.fixture(scope="module", autouse=True)
def traced(tmp_path_factory):
    """Trace each network once: it takes torch seconds."""
    folder, trace = tmp_path_factory.mktemp("traced"), export._trace

    def once(generator, arch, path):
        weights = b"".join(value.numpy().tobytes() for value in generator.state_dict().values())
        known = folder / hashlib.sha256(weights).hexdigest()
        if not known.exists():
            trace(generator, arch, known)
        shutil.copy(known, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_trace", once)
        yield


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def exported(request, generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / f"{request.param}.onnx"
    check = export.export_onnx(generator, ARCH, path, precision=request.param, metadata={"run": "00001"})
    return check, ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_error_and_size_are_reported(exported):
    check, _ = exported
    limit = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.3}[check.precision]
    assert 0 <= check.mean_error <= check.max_error <= limit
    assert check.bytes == check.path.stat().st_size > 1000
    assert check.compared == 13
    assert [entry.name for entry in check.path.parent.iterdir()] == [check.path.name]  # nothing half-made stays


def test_the_file_says_what_it_is(exported):
    check, session = exported
    props = session.get_modelmeta().custom_metadata_map
    assert set(export.METADATA) | {"run"} == set(props)
    assert (props["resolution"], props["latent"], props["size"]) == ("64", "8", "tiny")
    assert props["precision"] == check.precision
    shapes = {entry.name: (entry.type, entry.shape[1:]) for entry in session.get_inputs()}
    assert shapes == {
        "picture": ("tensor(float)", [3, 64, 64]),
        "mask": ("tensor(float)", [1, 64, 64]),
        "keypoints": ("tensor(float)", [7, 3]),
        "z": ("tensor(float)", [8]),
    }
    assert all(isinstance(entry.shape[0], str) for entry in session.get_inputs())
    assert check.opset == export.OPSET


def test_any_batch(exported):
    _, session = exported
    three = export.made_up(ARCH, 3, seed=7)
    (together,) = session.run(None, three)
    assert together.shape == (3, 3, 64, 64)
    (alone,) = session.run(None, {name: values[:1] for name, values in three.items()})
    assert np.abs(alone - together[:1]).max() < 2e-2


def test_the_face_has_no_influence(exported):
    _, session = exported
    inputs = export.made_up(ARCH, 2, seed=8)
    (before,) = session.run(None, inputs)
    for garbage in (np.nan, np.inf, -7.0):
        other = {**inputs, "picture": np.where(inputs["mask"] > 0.5, np.float32(garbage), inputs["picture"])}
        (after,) = session.run(None, other)
        assert after.tobytes() == before.tobytes()


def test_outside_the_hole_nothing_changes(exported):
    _, session = exported
    inputs = export.made_up(ARCH, 2, seed=9)
    (filled,) = session.run(None, inputs)
    outside = np.broadcast_to(inputs["mask"] < 0.5, filled.shape)
    assert np.array_equal(filled[outside], inputs["picture"][outside])


def test_missing_keypoints_may_lie_anywhere(exported):
    _, session = exported
    inputs = export.made_up(ARCH, 2, seed=10)
    inputs["keypoints"][:, 1, 2] = 0
    (before,) = session.run(None, inputs)
    inputs["keypoints"][:, 1, :2] = np.nan
    (after,) = session.run(None, inputs)
    assert after.tobytes() == before.tobytes()


def test_unknown_precision(generator, tmp_path):
    with pytest.raises(UsageError, match="precision"):
        export.export_onnx(generator, ARCH, tmp_path / "x.onnx", precision="fp8")


def test_broken_weights_are_not_exported(tmp_path):
    broken = Generator(ARCH)
    torch.nn.init.constant_(broken.head.weight, float("nan"))
    with pytest.raises(ModelError, match="not numbers"):
        export.export_onnx(broken, ARCH, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(generator, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="Can't write"):
        export.export_onnx(generator, ARCH, tmp_path / "file" / "x.onnx")


def trained(runs: Path, shards: Path | None, *, pictures: int = 8, arch: Any = None, **options: Any) -> Run:
    recipe = short(pictures=pictures, seed=options.pop("seed", 0))
    result = train(Request(shards, recipe, runs, device="cpu", arch=arch or mini(), **options))
    assert result is not None
    return Run(result.run)


def single(folder: Path, rights: str) -> Path:
    """Shards of 12 faces of as many photos."""
    return make_shards(folder, 12, rights=rights, change=lambda n, body: body | {"photo_id": f"{rights}{n}"})


def test_rights_are_not_laundered(tmp_path):
    """A checkpoint that isn't of the run in whose folder it lies would go out under that run's rights."""
    shards, out = single(tmp_path / "pd", "pd"), tmp_path / "x.onnx"
    free = trained(tmp_path / "runs", shards)
    restricted = trained(tmp_path / "runs", single(tmp_path / "nc", "by-nc-sa"))
    moved = free.path / "checkpoints/000000099.safetensors"
    shutil.copyfile(restricted.latest(), moved)
    for given in (free.path, moved):
        with pytest.raises(
            DataError, match=r"99\.safetensors ate is not known: lineage\.json and faces\.parquet of its run isn"
        ):
            command(given, out=out)

    tensors, meta = read_checkpoint(restricted.latest())
    write_checkpoint(moved, tensors, {key: meta[key] for key in meta.keys() - {"lineage", "eaten"}})
    with pytest.raises(DataError, match=r"99\.safetensors ate is not known: it carries no digests"):
        command(free.path, out=out)
    with pytest.raises(DataError, match=r"99\.safetensors ate is not known: it carries no digests"):
        trained(tmp_path / "runs", None, pictures=200, resume=free.path)

    wider = trained(tmp_path / "runs", shards, arch=dataclasses.replace(mini(), channels=(8, 16)))
    assert voucher(wider) == voucher(free), "the same faces in the same order: digests can't tell them apart"
    shutil.copyfile(wider.latest(), moved)
    with pytest.raises(
        ModelError, match=r"of another architecture than its run's.*Expected mini at 16 px.*of other widths"
    ):
        command(free.path, out=out)
    assert not out.exists()


def test_an_export_is_known_by_what_was_eaten(tmp_path, capsys):
    """Not by the names of runs, which are alike in two `--out` folders, nor by what a later start may change."""
    shards = single(tmp_path / "shards", "pd")
    one, other = (trained(tmp_path / name, shards, seed=seed) for seed, name in enumerate(("a", "b")))
    assert one.path.name == other.path.name
    alone, within = tmp_path / "alone.onnx", other.path / "generator-fp32.onnx"
    command(other.path, out=alone)
    assert re.search(r", max_error (0\.\d\d|0|\d(\.\d)?e-\d\d), mean_error", capsys.readouterr().out)
    shutil.copyfile(alone, within)
    first, theirs = ({r["photo_id"] for r in rows(run) if r["first_picture"] < 8} for run in (one, other))
    photo = min(theirs - first)

    def seen(*runs: Path) -> tuple[list[tuple[Path, int | None]], list[Path]]:
        found = models_that_ate(runs, [photo], models=[alone])
        files = [(model.path, model.pictures) for run in found.ate for model in run.models if model.kind == "export"]
        return files, [stranger.path for stranger in found.strangers]

    assert seen(one.path) == ([], [alone]), "the same name and index, and not the run it is of"
    assert seen(one.path, other.path) == ([(alone, 8), (within, 8)], [])

    before = voucher(other)
    trained(tmp_path / "b", None, pictures=16, seed=1, resume=other.path, force=True)
    assert voucher(other)["eaten"] == before["eaten"]
    renamed = other.path.rename(tmp_path / "b/kept")
    assert seen(one.path, renamed) == ([(alone, 8), (renamed / within.name, 8)], [])
    assert {photo for _, photo, _ in faces_eaten(renamed / within.name)} == theirs
    shutil.copyfile(renamed / within.name, one.path / "foreign.onnx")
    assert faces_eaten(one.path / "foreign.onnx") is None
    assert seen(one.path) == ([], [one.path / "foreign.onnx", alone])


def rows(run: Run) -> list[dict[str, Any]]:
    return pq.read_table(run.path / "faces.parquet").to_pylist()
