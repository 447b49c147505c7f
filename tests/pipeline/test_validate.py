"""Every kind of damage is named, at its place, and none hides another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fdf.pipeline.compare import compare_manifests, find_release
from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES, load_recipe
from fdf.pipeline.runner import build
from fdf.pipeline.validate import steps, validate


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Filled by the first test that needs it: a build of the small recipe."""
    return {"base": tmp_path_factory.mktemp("validate")}


@pytest.fixture
def out(finished: dict[str, Path], small_recipe: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a finished build, to damage."""
    if "out" not in finished:
        build(load_recipe(small_recipe(finished["base"])), finished["base"] / "out", workers=1)
        finished["out"] = finished["base"] / "out"
    copy = tmp_path / "copy"
    shutil.copytree(finished["out"], copy)
    return copy


def problems(out: Path) -> list[tuple[str, str]]:
    return [(problem.where, problem.what) for problem in validate(Layout(out)).problems]


def said(found: list[tuple[str, str]], where: str, what: str) -> bool:
    return any(place == where and what in text for place, text in found)


def rewrite(path: Path, change: Callable[[dict], None]) -> None:
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def test_a_good_build_has_no_problem_and_progress_reaches_its_end(out: Path) -> None:
    heard: list[int] = []
    result = validate(Layout(out), heard.append)
    assert result.problems == []
    assert sum(heard) == steps(Layout(out)) > 20
    assert result.checked["partitions"] == 15
    assert result.checked["samples"] > 10
    assert result.checked["faces"] == 10


def test_an_index_names_the_manifest_that_is_there(out: Path) -> None:
    rewrite(out / "shard/index.json", lambda body: body.update(manifest_sha256="0" * 64))
    assert problems(out) == [
        (
            "shard/index.json",
            "names another manifest than the one that is there: pack again with --from shard --rebuild",
        )
    ]


@pytest.mark.parametrize(
    ("name", "content", "where", "what"),
    [
        ("metadata/part-00000.parquet", b"junk", "metadata/part-00000.parquet", "is no readable Parquet file"),
        ("metadata/part-00000.parquet", b"junk", "metadata/repeated.json", "is no readable Parquet file"),
        ("detect/part-00001.receipt.json", b"", "detect/part-00001.receipt.json", "is no receipt"),
        ("detect/part-00001.receipt.json", b"{}", "detect/part-00001.receipt.json", "of another version of fdf"),
        ("detect/part-00001.receipt.json", b"[1]", "detect/part-00001.receipt.json", "of another version of fdf"),
        ("filter/stage.json", b"{}", "filter/stage.json", "can't be read"),
        ("filter/stage.json", b"\xff\xfe", "filter/stage.json", "can't be read"),
        ("manifest/release.parquet", b"PAR1junkPAR1", "manifest/release.parquet", "is no readable Parquet file"),
        ("manifest/release.parquet", None, "manifest/release.parquet", "is missing"),
        ("manifest/SHA256SUMS", None, "manifest/SHA256SUMS", "is missing"),
        ("manifest/SHA256SUMS", b"", "manifest/SHA256SUMS", "does not name release.parquet"),
        ("manifest/SHA256SUMS", b"\xff", "manifest/SHA256SUMS", "can't be checked"),
        ("shard/index.json", b'{"shards": [{"path": 1}]}', "shard/index.json", "is no index of shards"),
        ("shard/index.json", None, "shard/index.json", "is no index of shards"),
        ("shard/index.json", b'{"shards": []}', "shard/index.json", "does not list 64/training-by-00000.tar"),
        ("metadata/repeated.json", None, "metadata/repeated.json", "is missing"),
        ("metadata/repeated.json", b"\x00", "metadata/repeated.json", "can't be read"),
        ("metadata/part-77777.parquet", b"x", "metadata/part-77777.parquet", "is in no receipt"),
        ("fetch/part-00007.tar", b"x", "fetch/part-00007.tar", "is in no receipt"),
        ("shard/64/stray.tar", b"x", "shard/64/stray.tar", "is in no receipt"),
        ("fetch/part-00001.receipt.json", None, "fetch", "has no receipt for part-00001"),
        ("recipe.toml", b"name = 3", "recipe.toml", "is no valid recipe"),
        ("detect/x.parquet.part-12345678", b"x", "detect/x.parquet.part-12345678", "left over by a killed run"),
    ],
)
def test_each_damage_is_named_and_the_check_goes_on(out: Path, name: str, content, where: str, what: str) -> None:
    last = out / "shard/training-by-sa-00000.dropped.parquet"  # looked at after most else
    last.unlink()
    if content is None:
        (out / name).unlink()
    else:
        (out / name).write_bytes(content)
    result = validate(Layout(out))
    found = [(problem.where, problem.what) for problem in result.problems]
    assert said(found, where, what), found
    assert said(found, "shard/training-by-sa-00000.dropped.parquet", "is missing"), found
    assert len(found) == len(set(found))
    assert len(found) <= (12 if what.startswith("does not list") else 6), "one damage is not many"
    assert result.checked["samples"] > 10, "the shards are looked at whatever else is wrong"


def test_all_at_once(out: Path) -> None:
    """A folder where nothing can be read still gets its list."""
    for path in [*out.rglob("*.parquet"), *out.rglob("*.json"), *out.rglob("*.tar"), out / "manifest/SHA256SUMS"]:
        path.write_bytes(b"\x00")
    places = {where for where, _ in problems(out)}
    assert {f"{name}/stage.json" for name in STAGES} <= places
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.receipt.json")} <= places
    assert {"manifest/release.parquet", "manifest/SHA256SUMS", "shard/index.json"} <= places


def test_repeated_ids_other_than_the_tables_hold(out: Path) -> None:
    path = out / "metadata/repeated.json"
    path.write_text(path.read_text().replace("900000000001", "900000000002"))
    assert problems(out) == [("metadata/repeated.json", "names other ids than repeat in the tables: part-00002")]


def test_a_recipe_that_is_not_the_one_of_the_build(out: Path) -> None:
    recipe = out / "recipe.toml"
    text = recipe.read_text()
    assert "min_face = 24.0" in text
    recipe.write_text(text.replace("min_face = 24.0", "min_face = 99.0").replace("retries = ", "retries = 1"))
    what = "is not what filter was made with: filter.rules.min_face: 24.0 → 99.0 (1 of its partitions)"
    assert problems(out) == [("recipe.toml", what)]


def test_a_receipt_that_the_stage_does_not_name_counts_for_nothing(out: Path) -> None:
    for path in (out / "shard").glob("training-by-00000.*"):
        shutil.copyfile(path, path.with_name(path.name.replace("00000", "00009")))
    receipt = out / "shard/training-by-00009.receipt.json"
    receipt.write_text(receipt.read_text().replace("training-by-00000", "training-by-00009"))
    for size in (64, 128, 256):
        shutil.copyfile(out / f"shard/{size}/training-by-00000.tar", out / f"shard/{size}/training-by-00009.tar")
    assert problems(out) == [
        ("shard/training-by-00009.receipt.json", "is of a partition that stage.json does not name")
    ]


def test_receipts_that_lie(out: Path) -> None:
    rewrite(out / "fetch/part-00000.receipt.json", lambda body: body["counts"].pop("kept"))
    rewrite(out / "fetch/part-00001.receipt.json", lambda body: body["outputs"].pop("fetch/part-00001.parquet"))
    rewrite(out / "fetch/part-00002.receipt.json", lambda body: body["fingerprint"].pop("inputs"))
    rewrite(out / "detect/part-00000.receipt.json", lambda body: body.update(partition="part-00002"))
    rewrite(out / "filter/all.receipt.json", lambda body: body["fingerprint"]["inputs"].update(detect="0"))
    rewrite(out / "manifest/stage.json", lambda body: body.update(content="0"))
    found = problems(out)
    for where, what in (
        ("fetch/part-00000", "KeyError: 'kept'"),
        ("fetch/part-00001.parquet", "is not named by the receipt"),
        ("fetch/part-00002", "KeyError: 'inputs'"),
        ("detect/part-00000", "its receipt is that of detect/part-00002"),
        ("filter/all", "was made from another detect than there is now"),
        ("manifest/stage.json", "its digest is not that of the receipts"),
        ("shard/training-by-00000", "was made from another manifest than there is now"),
    ):
        assert said(found, where, what), (where, what, found)


def test_an_unreadable_manifest_is_a_difference_not_a_crash(out: Path) -> None:
    published = out.parent / "published.parquet"
    shutil.copyfile(out / "manifest/release.parquet", published)
    assert compare_manifests(Layout(out), published) == []
    assert find_release(out) == out / "manifest/release.parquet"
    (out / "manifest/release.parquet").write_bytes(b"junk")
    (found,) = compare_manifests(Layout(out), published)
    assert found.where == f"manifest against {published}"
    assert "can't be compared" in found.what
    assert "release.parquet is no readable Parquet file" in found.what
