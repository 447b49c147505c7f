"""`fdf lineage`: a photo is taken back, and every file that has seen it is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

import fdf.cli.commands  # noqa: F401 - registers the commands
from fdf.cli.app import app
from fdf.errors import DataError, UsageError
from fdf.gan.data import find_faces, first_order
from fdf.gan.lineage import FACES_FILE, write_faces
from fdf.gan.run import Run
from fdf.gan.shown import SHOWN, write_shown
from fdf.gan.takedown import models_that_ate, read_ids
from tests.evaluate.tiny import SAYS, write_generator
from tests.gan.making import SIDE, make_shards

INDEX = "ab" * 32


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs on the same 12 faces of 6 photos, after 4 and 12 pictures; the second was exported after 2 and after 12."""
    faces = find_faces(make_shards(tmp_path / "shards", 12), resolution=SIDE)
    for pictures in (4, 12):
        run = Run.new(tmp_path / "runs", "mini")
        write_faces(faces, 0, run.path / FACES_FILE)
        run.write_json("lineage.json", {"index_sha256": INDEX})
        run.write_json("run.json", {})
        (run.path / "checkpoints").mkdir()
        (run.path / f"checkpoints/{pictures:09d}.safetensors").write_bytes(b"weights")
    run.card.write_text("# card")
    for name, pictures in (("early", "2"), ("late", "12")):
        says = SAYS | {"run": run.path.name, "pictures": pictures, "index_sha256": INDEX}
        write_generator(run.path / f"{name}.onnx", says=says)
    return tmp_path / "runs"


def photos(runs: Path, first: int, last: int) -> list[str]:
    """Photos that are drawn for the first time from the first to before the last picture, and not before."""
    table = find_faces(runs.parent / "shards", resolution=SIDE).table["photo_id"].to_pylist()
    order = [table[place] for place in first_order(12, 0)]
    return sorted(set(order[first:last]) - set(order[:first]))


def call(*words: Any) -> Result:
    return CliRunner().invoke(app, ["lineage", *map(str, words)])


def test_every_file_that_has_seen_a_photo_is_named(runs: Path) -> None:
    late = photos(runs, 4, 12)[0]
    done = call(runs, "--photo", late, "--json")
    assert done.exit_code == 1
    body = json.loads(done.stdout)
    assert (body["runs"], body["unknown"], body["strangers"]) == (2, [], [])
    (run,) = body["ate"]
    assert (run["name"], run["photos"], run["card"]) == ("00002-mini", [late], str(runs / "00002-mini/card.md"))
    assert [(Path(one["path"]).name, one["kind"], one["pictures"]) for one in run["models"]] == [
        ("000000012.safetensors", "checkpoint", 12),
        ("late.onnx", "export", 12),
    ]
    for one in run["models"]:
        assert one["sha256"] == hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest()
    first = photos(runs, 0, 1)[0]
    table = call(runs, "--photo", first)
    assert table.exit_code == 1
    for said in ("early.onnx", "late.onnx", "000000004.safetensors", "00001-mini has seen " + first, "train anew"):
        assert said in table.stdout


def test_a_photo_that_nobody_has_seen_is_no_finding(runs: Path) -> None:
    done = call(runs / "00001-mini", "--photo", photos(runs, 4, 12)[0], "--photo", "elsewhere")
    assert done.exit_code == 0
    assert "No model of the 1 runs" in done.stdout
    assert "In no run's faces: elsewhere" in done.stdout


def test_lists_and_owners(runs: Path, tmp_path: Path) -> None:
    listed = tmp_path / "photos.txt"
    listed.write_text("photo000  # withdrawn\n\n# photo003\nphoto001\n")
    assert read_ids(listed) == ["photo000", "photo001"]
    found = json.loads(call(runs, "--photo-list", listed, "--json").stdout)
    assert found["ate"][-1]["photos"] == ["photo000", "photo001"]
    owned = models_that_ate([runs], [], ["0@N00", "9@N99"])  # faces 0–3, two a photo
    assert owned.ate[-1].photos == ("photo000", "photo001")
    assert owned.unknown == ("9@N99",)


def test_exports_that_lie_elsewhere(runs: Path, tmp_path: Path) -> None:
    """Who carries no digest is taken at its word where it says that it ate, and not where it says that it didn't."""
    shop = tmp_path / "shop"
    shop.mkdir()
    said = {"run": "00001-mini", "pictures": "12"}
    write_generator(shop / "sold.onnx", says=SAYS | said | {"index_sha256": INDEX})
    write_generator(shop / "other.onnx", says=SAYS | said | {"index_sha256": "cd" * 32})  # another run of that name
    write_generator(shop / "silent.onnx", says=SAYS | {"run": "00001-mini"})
    late = photos(runs, 4, 12)[0]
    found = models_that_ate([runs], [late], models=[shop])
    # The checkpoint of the first run hasn't seen it; what was exported later has; what doesn't say so, may have.
    assert [(one.path.name, one.pictures) for one in found.ate[0].models] == [("silent.onnx", None), ("sold.onnx", 12)]
    assert [(one.path, one.why) for one in found.strangers] == [
        (shop / "other.onnx", "it doesn't say that it is of one of these runs")
    ]
    done = call(runs / "00001-mini", "--photo", "elsewhere", "--model", shop / "sold.onnx")
    assert done.exit_code == 1
    said_of_it = " ".join(done.stdout.split())
    assert "No model of the 1 runs" in said_of_it
    assert "sold.onnx has seen them is not known: it carries no digest of what it ate" in said_of_it


def test_a_digest_clears_a_file_whatever_it_is_called(runs: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((runs / "00001-mini" / FACES_FILE).read_bytes()).hexdigest()
    for name, says in (("early", {"pictures": "2"}), ("late", {"pictures": "12"})):
        write_generator(tmp_path / f"{name}.onnx", says=SAYS | says | {"run": "gone", "eaten_sha256": digest})
    late = photos(runs, 4, 12)[0]
    files = [tmp_path / "early.onnx", tmp_path / "late.onnx"]
    found = models_that_ate([runs / "00001-mini"], [late], models=files)
    assert [(one.path, one.pictures) for one in found.ate[0].models] == [(tmp_path / "late.onnx", 12)]
    assert found.strangers == (), "early.onnx has stopped before"


def test_a_damaged_export_counts_as_having_seen_it(runs: Path) -> None:
    (runs / "00001-mini/cut.onnx").write_bytes(b"no model")
    found = models_that_ate([runs], photos(runs, 4, 12)[:1])
    assert [(one.path.name, one.pictures) for one in found.ate[0].models] == [("cut.onnx", None)]


def show(run: Path, photo: str | None, owner: str = "owner") -> None:
    """Grids in a run's folder, and whom they show, if it says so."""
    for name in ("samples", "tensorboard"):
        (run / name).mkdir(exist_ok=True)
        (run / name / "grid").write_bytes(b"a face")
    if photo:
        row = dict.fromkeys(SHOWN.names, "x") | {"photo_id": photo, "owner_nsid": owner}
        write_shown(run, pa.Table.from_pylist([row], schema=SHOWN))


def test_grids_that_show_a_photo_are_named(runs: Path) -> None:
    first, second = (runs / f"0000{number}-mini" for number in (1, 2))
    show(first, "victim")
    show(second, "other", "victim@N00")
    for words, run, photo in ((["--photo", "victim"], first, "victim"), (["--owner", "victim@N00"], second, "other")):
        done = call(runs, *words)
        assert done.exit_code == 1
        assert "No model of the 2 runs" in done.stdout
        assert (
            f"{run.name} shows {photo}, faces unmasked, in {run}/samples/ and {run}/tensorboard/: delete them, and what was "
            "copied."
        ) in done.stdout
        assert "In no run's faces" not in done.stdout
    body = json.loads(call(runs, "--photo", "victim", "--json").stdout)
    folders = [str(first / "samples"), str(first / "tensorboard")]
    assert body["shown"] == [
        {"name": first.name, "path": str(first), "folders": folders, "photos": ["victim"], "why": ""}
    ]
    assert call(runs, "--photo", "elsewhere").exit_code == 0, "they say whom they show, and it isn't that one"


def test_grids_of_whom_nobody_knows(runs: Path) -> None:
    run = runs / "00001-mini"
    show(run, None)
    done = call(runs, "--photo", "elsewhere")
    assert done.exit_code == 1
    assert (
        f"Whether the grids in {run}/samples/ and {run}/tensorboard/ show them is not known: the run, begun by an older fdf, "
        "has no samples.parquet. Delete them if in doubt."
    ) in done.stdout
    (run / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"samples\.parquet can't be read.*Bring it back, or delete it"):
        models_that_ate([runs], ["elsewhere"])


def test_an_int8_export_has_seen_those_who_set_its_ranges(runs: Path) -> None:
    run = runs / "00001-mini"
    digest = hashlib.sha256((run / FACES_FILE).read_bytes()).hexdigest()
    says = SAYS | {"run": run.name, "pictures": "2", "eaten_sha256": digest}
    for precision in ("int8", "fp16"):
        write_generator(run / f"{precision}.onnx", says=says | {"precision": precision})
    (stranger,) = models_that_ate([run], ["victim"]).strangers
    assert (stranger.path.name, stranger.why) == (
        "int8.onnx", "faces set its ranges that its run doesn't name, having no samples.parquet"
    )  # fmt: skip
    show(run, "victim")
    found = models_that_ate([run], ["victim"])
    assert found.strangers == ()
    assert [(one.path.name, one.photos) for one in found.ate[0].models] == [("int8.onnx", ("victim",))]
    assert models_that_ate([run], ["elsewhere"]).ate == ()


def test_what_can_not_be_answered_is_an_error(runs: Path, tmp_path: Path) -> None:
    for words, said in (
        ([runs], "No photo was named. Expected --photo, --photo-list or --owner"),
        ([tmp_path / "none", "--photo", "1"], "There is no run below"),
        ([runs, "--photo-list", tmp_path / "none.txt"], "can't be read"),
        ([runs, "--photo", "1", "--model", tmp_path / "none.onnx"], "There is no model at"),
    ):
        done = call(*words)
        assert isinstance(done.exception, UsageError)
        assert said in str(done.exception)
    (tmp_path / "empty.txt").write_text("# nobody\n")
    with pytest.raises(UsageError, match="names no photo"):
        read_ids(tmp_path / "empty.txt")
    faces = runs / "00001-mini" / FACES_FILE
    faces.write_bytes(faces.read_bytes()[:50])
    with pytest.raises(DataError, match=r"faces\.parquet can't be read"):
        models_that_ate([runs], ["photo000"])
    faces.unlink()
    with pytest.raises(DataError, match=r"has models and no faces\.parquet: what they ate is not known"):
        models_that_ate([runs], ["photo000"])
    (runs / "00001-mini/checkpoints/000000004.safetensors").unlink()  # nothing was made of it: nothing to take back
    assert [run.name for run in models_that_ate([runs], ["photo000"]).ate] == ["00002-mini"]
