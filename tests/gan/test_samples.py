"""Sample grids show originals: only of faces that may be shown, and the run says whose."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from fdf.gan.config import TrainRecipe
from fdf.gan.takedown import models_that_ate
from tests.gan.making import SIDE, Change, make_shards, mini, png, short

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from fdf.gan.loop import Request, train  # noqa: E402
from fdf.gan.run import Run  # noqa: E402
from fdf.gan.samples import Samples  # noqa: E402

BRIEF = short(pictures=8)
FORBIDDEN = {
    "refused": {"consent_decision": "refused_by_owner"},
    "stale": {"consent_date": "2023-01-31"},
    "of no known day": {"consent_date": None},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(folder: Path, change: Change = lambda _, body: body, rights: str = "by") -> Path:
    """Faces 0–11 to learn from, 12–15 for validation; these may be changed, and are of another owner."""

    def victim(number: int, body: dict[str, Any]) -> Any:
        return change(number, body | {"photo_id": f"victim{number}", "owner_nsid": "victim@N00"})

    make_shards(folder, 12)
    return make_shards(folder, 16, start=12, split="validation", rights=rights, change=victim)


def go(shards: Path, runs: Path, recipe: TrainRecipe = BRIEF, **options: Any) -> Path:
    result = train(Request(shards, recipe, runs, device="cpu", arch=mini(), **options))
    assert result is not None
    return result.run


def named(run: Path) -> list[tuple[str, str]]:
    """Faces that the run says its grids show: id and split."""
    return [(row["face_id"], row["split"]) for row in pq.read_table(run / "samples.parquet").to_pylist()]


def originals(run: Path) -> list[int]:
    """Whose pictures stand in the first column of the last grid."""
    grid = cv2.imread(str(max((run / "samples").glob("*.png"))))
    assert grid is not None
    pictures = {number: cv2.imdecode(np.frombuffer(png(number), np.uint8), cv2.IMREAD_COLOR) for number in range(16)}
    cells = (grid[top : top + SIDE, :SIDE] for top in range(0, grid.shape[0], SIDE + 2))
    return [next(number for number, one in pictures.items() if np.array_equal(one, cell)) for cell in cells]


def card(run: Path) -> str:
    return " ".join((run / "card.md").read_text(encoding="utf-8").split())


def test_faces_of_the_validation_split_are_shown_and_named(tmp_path: Path) -> None:
    run = go(build(tmp_path / "shards"), tmp_path / "runs")
    assert originals(run) == [12, 13]
    assert named(run) == [("face012", "validation"), ("face013", "validation")]
    assert (
        "2 faces of 2 photos, unmasked, in `samples/` and `tensorboard/`: CC-BY-2.0 (2); of the splits validation (2). "
        "`samples.parquet` names them"
    ) in card(run)


@pytest.mark.parametrize("why", FORBIDDEN)
def test_a_face_that_may_not_be_learnt_from_is_not_shown(why: str, tmp_path: Path) -> None:
    shards = build(tmp_path / "shards", lambda _, body: body | FORBIDDEN[why])
    run = go(shards, tmp_path / "runs")
    assert all(number < 12 for number in originals(run)), "no picture of the validation split"
    assert [face for face, _ in named(run)] == [f"face{number:03d}" for number in originals(run)]
    assert {split for _, split in named(run)} == {"training"}
    assert "of the splits training (2)" in card(run)
    (run / "samples.parquet").unlink()  # as if an older fdf had begun it
    again = Samples.again(run, shards, BRIEF, mini())
    assert again is not None
    assert set(again.rows["split"].to_pylist()) == {"training"}, "nor do they set the ranges of int8"


def test_nor_are_faces_whose_licence_allows_nothing_or_that_were_not_asked_for(tmp_path: Path) -> None:
    shut = go(build(tmp_path / "shut", rights="none"), tmp_path / "runs")
    assert {split for _, split in named(shut)} == {"training"}
    recipe = BRIEF.override(data={"rights": ["by"]})
    other = go(build(tmp_path / "nc", rights="by-nc"), tmp_path / "runs", recipe)
    assert {split for _, split in named(other)} == {"training"}


def test_the_others_of_their_split_are_shown(tmp_path: Path) -> None:
    def all_but_one(number: int, body: dict[str, Any]) -> dict[str, Any]:
        return body if number == 14 else body | FORBIDDEN["refused"]

    run = go(build(tmp_path / "shards", all_but_one), tmp_path / "runs")
    assert originals(run) == [14]
    assert named(run) == [("face014", "validation")]


def test_damaged_shards_are_not_shown(tmp_path: Path) -> None:
    shards = build(tmp_path / "shards")
    tar = shards / f"{SIDE}/validation-by-00012.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    assert all(number < 12 for number in originals(go(shards, tmp_path / "runs")))


def test_what_is_learnt_from_by_force_is_shown_only_if_nothing_else_is(tmp_path: Path) -> None:
    def stale(number: int, body: dict[str, Any]) -> dict[str, Any]:
        return body | (FORBIDDEN["stale"] if number != 5 else {})

    run = go(make_shards(tmp_path / "some", change=stale), tmp_path / "runs", force=True)
    assert originals(run) == [5]
    every = make_shards(tmp_path / "every", change=lambda _, body: body | FORBIDDEN["stale"])
    assert len(originals(go(every, tmp_path / "runs", force=True))) == 2


def test_a_photo_that_is_shown_is_found(tmp_path: Path) -> None:
    """Nothing has learnt from it, and yet it lies there for all to see."""
    run = go(build(tmp_path / "shards"), tmp_path / "runs")
    for photos, owners in ((["victim12"], []), ([], ["victim@N00"])):
        found = models_that_ate([tmp_path / "runs"], photos, owners)
        assert (found.ate, found.unknown, found.strangers) == ((), (), ())
        (shown,) = found.shown
        assert (shown.name, shown.path, shown.why) == (run.name, run, "")
        assert {run / "samples"} <= set(shown.folders) <= {run / "samples", run / "tensorboard"}
        assert shown.photos[0] == "victim12"
    assert not models_that_ate([run], ["victim15"]).shown
    for folder in shown.folders:
        shutil.rmtree(folder)
    assert not models_that_ate([run], ["victim12"]).shown, "deleted, as was said"


def test_what_was_shown_once_stays_named(tmp_path: Path) -> None:
    shards = build(tmp_path / "shards")
    run = go(shards, tmp_path / "runs")
    go(shards, tmp_path / "runs", short(pictures=16, sample_faces=1), resume=run)
    assert originals(run) == [12]
    assert len(named(run)) == 2
    go(shards, tmp_path / "runs", short(pictures=24, sample_faces=4), resume=run)
    assert [face for face, _ in named(run)] == ["face012", "face013", "face014", "face015"]


def test_whom_an_older_run_shows_is_not_known(tmp_path: Path) -> None:
    shards = build(tmp_path / "shards")
    run = go(shards, tmp_path / "runs")
    (run / "samples.parquet").unlink()
    go(shards, tmp_path / "runs", short(pictures=16), resume=run)
    assert not (run / "samples.parquet").exists(), "it would not name those that were shown before"
    assert "Whose is not known: an older fdf began this run" in card(run)
    (shown,) = models_that_ate([run], ["elsewhere"]).shown
    assert shown.photos == ()
    assert shown.why == "the run, begun by an older fdf, has no samples.parquet"


def test_exports_use_the_faces_that_the_run_names_while_they_may_be_used(tmp_path: Path, monkeypatch: Any) -> None:
    shards = build(tmp_path / "shards")
    run = go(shards, tmp_path / "runs")
    again = Samples.again(run, shards, BRIEF, mini())
    assert again is not None
    assert again.rows["face_id"].to_pylist() == ["face012", "face013"]
    more = Samples.again(run, shards, short(sample_faces=4), mini())
    assert more is not None
    assert more.rows["face_id"].to_pylist() == ["face012", "face013"], "no others: these are known"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    assert Samples.again(run, shards, BRIEF, mini()) is None, "their signals are stale"
    assert Run(run).latest().is_file()
