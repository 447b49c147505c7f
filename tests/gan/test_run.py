"""The folder of a run: numbers, checkpoints, lineage, card; and finding the models that ate a photo."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fdf.errors import DataError, ModelError, RecipeError, UsageError
from fdf.gan.card import card
from fdf.gan.config import DataConfig, TrainRecipe, differences, load_train_recipe
from fdf.gan.data import find_faces, first_order
from fdf.gan.lineage import FACES_FILE, lineage, lineage_digest, objections, refuse, today, write_faces
from fdf.gan.run import Run
from fdf.gan.takedown import models_that_ate
from fdf.store.files import file_sha256
from fdf.store.shards import read_index, write_index
from tests.conftest import ROOT
from tests.gan.making import SIDE, make_shards


def test_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Run.new(tmp_path / "runs", "tiny-64").path.name == "00001-tiny-64"
    (tmp_path / "runs/00007-base-128").mkdir()
    (tmp_path / "runs/notes").mkdir()
    assert Run.new(tmp_path / "runs", "tiny-64").path.name == "00008-tiny-64"
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(()))
    assert Run.new(tmp_path / "runs", "tiny-64").path.name == "00002-tiny-64", "another run was begun in this moment"


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no run\. Expected a folder that `fdf train` wrote"):
        Run.find(tmp_path)
    with pytest.raises(UsageError, match="has no checkpoint yet"):
        Run(tmp_path).latest()
    with pytest.raises(UsageError, match="There is no run below"):
        models_that_ate([tmp_path], ["1"])


def test_checkpoints_come_back_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    from fdf.gan.run import read_checkpoint

    run = Run.new(tmp_path, "x")
    weights = {"ema.a": torch.randn(3, 4), "adam.a.step": torch.tensor(3.0)}
    for pictures in (16, 32, 48):
        path = run.save(weights, {"pictures": pictures}, keep=2)
    assert [pictures for pictures, _ in run.checkpoints()] == [32, 48]
    tensors, meta = read_checkpoint(path, "ema.")
    assert list(tensors) == ["a"]
    assert torch.equal(tensors["a"], weights["ema.a"])
    assert meta == {"format": "fdf-checkpoint-1", "pictures": 48}
    data = path.read_bytes()
    for damage in (data[: len(data) // 2], b"", b"x" * 100):
        path.write_bytes(damage)
        with pytest.raises(
            ModelError, match=r"can't be read as a checkpoint.*a run goes on from the checkpoint before"
        ):
            read_checkpoint(path)


def test_metrics_after_a_checkpoint_are_forgotten(tmp_path: Path) -> None:
    run = Run.new(tmp_path, "x")
    assert run.metrics() == []
    (run.path / "checkpoints").mkdir()
    (run.path / "run.json").touch()
    chosen, damaged = (run.path / "checkpoints" / f"{n:09d}.safetensors" for n in (16, 24))
    for number, text in enumerate(("first", "second")):
        chosen.touch()
        damaged.write_text(text)
        assert Run.resumed(run.path).latest() == damaged
        again = Run.resumed(chosen)
        assert again.latest() == chosen
        assert again.rewind(16) == [f"000000024.aside{number or ''}.safetensors"]
        assert run.latest() == chosen
    aside = run.path / "checkpoints" / "000000024.aside.safetensors"
    assert aside.read_text() == "first", "nothing is lost"
    elsewhere = run.path / "samples" / chosen.name
    elsewhere.parent.mkdir()
    elsewhere.touch()
    for path in (aside, elsewhere):
        with pytest.raises(UsageError, match=r"is no checkpoint of .*Expected one of 000000016\.safetensors"):
            Run.resumed(path)
    (run.path / "metrics.jsonl").write_text('{"pictures": 8}\n{"pictures": 16}\n{"pictures": 24}\n{"pictu')
    run.rewind(16)
    assert (run.path / "metrics.jsonl").read_text() == '{"pictures": 8}\n{"pictures": 16}\n'


def test_lineage_of_the_sample_corpus(sample_build: Path) -> None:
    faces = find_faces(sample_build, resolution=64, split="training")
    found = lineage(faces)
    assert found.faces == len(faces) == sum(found.licenses.values()) == sum(shard["samples"] for shard in found.shards)
    assert found.photos < found.faces
    assert set(found.rights_classes) == {"pd", "by", "by-sa", "by-nc", "by-nc-sa"}
    assert found.weights_rights_class == "by-nc-sa"
    assert "by-sa" in found.conflict
    assert found.consent_dates == ("2023-11-14", "2023-11-14")
    assert found.manifest_sha256 == file_sha256(sample_build / "manifest/release.parquet")
    assert found.policies == {"fdf-signals-1": found.faces}
    assert not list(objections(faces, DataConfig(), today()))
    free = lineage(find_faces(sample_build, resolution=64, split="training", rights=("pd", "by")))
    assert (free.weights_rights_class, free.conflict) == ("by", "")


def test_shards_older_than_their_manifest(tmp_path: Path) -> None:
    """A build whose manifest was made anew, perhaps without somebody, and whose shards were not."""
    folder, manifest = make_shards(tmp_path / "shard", 6), tmp_path / "manifest/release.parquet"
    manifest.parent.mkdir()
    manifest.write_bytes(b"six faces")
    packed = file_sha256(manifest)

    def said() -> list[str]:
        return list(objections(find_faces(folder, resolution=SIDE), DataConfig(), date(2023, 11, 14)))

    assert not said(), "an index that names no manifest was written before indexes did"
    assert lineage(find_faces(folder, resolution=SIDE)).manifest_sha256 is None
    write_index(folder, read_index(folder / "index.json"), packed)
    assert not said()
    assert lineage(find_faces(folder, resolution=SIDE)).manifest_sha256 == packed
    manifest.write_bytes(b"five faces")
    (objection,) = said()
    for part in (
        "not packed from the manifest beside them",
        packed[:12],
        file_sha256(manifest)[:12],
        "--from shard --rebuild",
    ):
        assert part in objection
    with pytest.raises(DataError, match="not packed from the manifest"):
        refuse([objection], force=False)
    manifest.unlink()
    assert not said(), "shards may be taken elsewhere without their build"


def test_a_lineage_from_before_manifests_were_named_is_the_same(tmp_path: Path) -> None:
    body = lineage(find_faces(make_shards(tmp_path / "shard", 6), resolution=SIDE)).to_dict()
    older = {key: value for key, value in body.items() if key != "manifest_sha256"}
    assert lineage_digest(older) == lineage_digest(body), "or no run that was begun before could be gone on with"
    assert lineage_digest(body | {"manifest_sha256": "5e" * 32}) != lineage_digest(body)


def test_runs_that_ate_a_photo_are_found(tmp_path: Path) -> None:
    faces = find_faces(make_shards(tmp_path / "shards", 12), resolution=SIDE)
    for pictures in (4, 12):
        run = Run.new(tmp_path / "runs", "mini")
        write_faces(faces, 0, run.path / FACES_FILE)
        (run.path / "checkpoints").mkdir()
        (run.path / f"checkpoints/{pictures:09d}.safetensors").touch()
    photos = faces.table["photo_id"].to_pylist()
    early = {photos[i] for i in first_order(12, 0)[:4]}
    late = sorted(set(photos) - early)
    assert late

    def ate(ids: list[str]) -> dict[str, list[str]]:
        return {run.name: list(run.photos) for run in models_that_ate([tmp_path / "runs"], ids).ate}

    assert ate([*early, *late, "unknown"]) == {"00001-mini": sorted(early), "00002-mini": sorted(set(photos))}
    assert ate(late[:1]) == {"00002-mini": late[:1]}
    assert pq.read_table(tmp_path / "runs/00001-mini" / FACES_FILE)["shard"].to_pylist()[0].startswith("16/training-by")


def test_a_card_says_what_matters(sample_build: Path) -> None:
    faces = find_faces(sample_build, resolution=64, split="training")
    start = {"processes": 2, "device": "cpu"}
    text = "\n".join(
        card(
            {"starts": [start, start], "parameters": {"generator": 3_000_000, "discriminator": 1_500_000}},
            lineage(faces, ["the moon was full"]).to_dict(),
            [{"loss_d": 0.5, "loss_g": 0.75}],
            {"architecture": {"size": "tiny", "resolution": 64}, "pictures": 640, "steps": 40, "seconds": 7200.0,
             "recipe": TrainRecipe().model_dump(mode="json", exclude_none=True)},
        )
    )  # fmt: skip
    for said in (
        "against objections** (`--force`): the moon was full", "Rights: `by-nc-sa`", "No single licence satisfies", "2.00 h",
        "on 2 × cpu, in 2 starts", f"640 ({640 / len(faces):.1f} × each face)", "from 2023-11-14",
        file_sha256(sample_build / "manifest/release.parquet"),
        "not the consent of the person", "generator 3,000,000", "learning_rate = [", "faces.parquet", "those below 640",
    ):  # fmt: skip
        assert said in text, said
    settings = re.search(r"```toml\n(.*?)```", text, re.S)
    assert settings is not None


def test_recipes_survive_and_wrong_ones_are_said(tmp_path: Path) -> None:
    recipe = TrainRecipe().override(run={"batch": 32, "seed": None}).resolved()
    assert recipe.optimizer.anneal_pictures == 20_000
    path = tmp_path / "train.toml"
    path.write_text(recipe.to_toml())
    assert load_train_recipe(path) == recipe
    assert list(differences(TrainRecipe(), recipe)) == ["optimizer.anneal_pictures: 0 → 20000", "run.batch: 16 → 32"]
    for text, said in (
        ("[run]\nbach = 3", "run.bach"), ("[run]\nbatch = 0", "greater than or equal to 1"),
        ("[data", "can't be read as a recipe"),
        ("[data]\nbox_scale = [2, 1]", "the smaller one first"), ("[data]\nbox_scale = [0.99, 1]", "from 1 to 4"),
        ("[optimizer]\nlearning_rate = [0, 1]", "above 0"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(RecipeError, match=re.escape(said)):
            load_train_recipe(path)


def test_the_page_lists_every_key_of_a_recipe() -> None:
    page = (ROOT / "docs/train.md").read_text(encoding="utf-8")
    for section, values in TrainRecipe().model_dump(mode="json").items():
        for key, value in values.items():
            info = type(getattr(TrainRecipe(), section)).model_fields[key]
            default = json.dumps(value) if value is not None else "–"
            assert f"| `{section}.{key}` | `{default}` | {info.description} |" in page, f"{section}.{key}"
