"""The sample corpus, whole: every photo accounted for, every outcome the one it was made for."""

from __future__ import annotations

import json
import os
import shutil
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fdf.errors import FingerprintError, MachineError, RecipeError, UsageError
from fdf.pipeline.compare import compare_manifests
from fdf.pipeline.funnel import funnel
from fdf.pipeline.layout import Layout, read_release
from fdf.pipeline.publish import publish
from fdf.pipeline.recipe import STAGES, load_recipe
from fdf.pipeline.runner import Selection, _Run, build
from fdf.pipeline.validate import validate
from fdf.schema import DROPPED
from fdf.store.files import TEMPORARY
from fdf.store.shards import packed_from, read_index, write_index
from fdf.store.tables import read_tables
from tests.conftest import ROOT
from tests.pipeline.conftest import fingerprints

SAMPLE = ROOT / "fdf/data/sample"


def drops_of(out: Path, stage: str) -> list[dict[str, object]]:
    layout = Layout(out)
    return read_tables((layout.dropped(stage, p) for p in layout.receipts(stage)), DROPPED).to_pylist()


def test_every_photo_has_the_outcome_it_was_made_for(sample_build: Path) -> None:
    expected = json.loads((SAMPLE / "expected.json").read_text())
    photo_level = {
        str(row["photo_id"]): f"{stage}: {row['reason']}"
        for stage in ("metadata", "fetch", "detect")
        for row in drops_of(sample_build, stage)
    }
    for row in drops_of(sample_build, "filter"):
        if row["reason"] == "duplicate_photo":
            photo_level[str(row["photo_id"])] = "filter: duplicate_photo"
    wrong = {
        photo_id: (outcome, photo_level.get(photo_id, "ok"))
        for photo_id, outcome in expected.items()
        if photo_level.get(photo_id, "ok") != outcome
    }
    # The second row of an id is named by its line within a partition, by the id across partitions.
    repeated = wrong.pop("line:83", None)
    assert repeated is None or "900000000001" in wrong
    wrong.pop("900000000001", None)
    # A face of 16 px, smaller than the detector can see: fetched well, found or not.
    assert set(wrong) <= {"900000000028"}, wrong


def test_in_is_kept_and_dropped_at_every_stage(sample_build: Path) -> None:
    rows = funnel(Layout(sample_build))
    assert [row.stage for row in rows] == list(STAGES)
    assert all(row.balanced and row.finished for row in rows)
    assert rows[0].given == 92
    for before, after in pairwise(rows):
        assert after.given == before.rows, f"{after.stage} did not get all that {before.stage} kept"


def test_impossible_fields_are_counted_not_dropped(sample_build: Path) -> None:
    notes = funnel(Layout(sample_build))[0].notes
    assert notes == {"nulled.date_taken": 1, "nulled.latitude": 1, "nulled.title_bytes": 1}


def test_it_is_valid_and_is_the_published_manifest(sample_build: Path) -> None:
    result = validate(Layout(sample_build))
    assert result.problems == []
    assert result.checked["samples"] > 100
    assert compare_manifests(Layout(sample_build), ROOT / "manifests/sample") == []


def test_faces_are_where_the_truth_says(sample_build: Path) -> None:
    """Boxes and eyes against the renders' own geometry, through fetch, EXIF and detection."""
    truth = {row["photo_id"]: row for row in map(json.loads, (SAMPLE / "truth.jsonl").read_text().splitlines())}
    faces = read_tables(
        (Layout(sample_build).kept("detect", p) for p in Layout(sample_build).receipts("detect")),
        STAGES["detect"].schema,
    ).to_pylist()
    wanted, found, errors = 0, 0, []
    built = {face["photo_id"] for face in faces} | {row["photo_id"] for row in drops_of(sample_build, "detect")}
    for photo_id in built:
        for face in truth.get(photo_id, {"faces": []})["faces"]:
            wanted += 1
            match = max(
                (f for f in faces if f["photo_id"] == photo_id), key=lambda f: _iou(f["box"], face["box"]), default=None
            )
            if match is None or _iou(match["box"], face["box"]) < 0.4:
                continue
            found += 1
            points, true = np.reshape(match["keypoints"], (7, 3)), np.reshape(face["keypoints"], (7, -1))
            height = face["box"][3] - face["box"][1]
            errors.append(np.linalg.norm(points[1:3, :2] - true[1:3, :2], axis=1).mean() / height)
    assert wanted >= 90
    assert found / wanted > 0.97
    assert np.median(errors) < 0.02
    assert np.max(errors) < 0.06


def _iou(a: list[float], b: list[float]) -> float:
    corner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.clip(corner, 0, None)))
    areas = [float(np.prod(np.subtract(box[2:], box[:2]))) for box in (a, b)]
    return shared / (sum(areas) - shared)


def test_rights_never_mix_and_owners_never_cross(sample_build: Path) -> None:
    release = read_release(sample_build).to_pandas()
    assert set(release.groupby("shard")["rights_class"].nunique()) == {1}
    assert set(release.groupby("owner_nsid")["split"].nunique()) == {1}
    assert set(release["split"]) == {"training", "validation"}
    assert release["face_id"].is_unique
    assert not release["license_id"].str.contains("ND").any()


def test_a_second_run_touches_nothing(small_recipe, tmp_path: Path) -> None:
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    first = build(recipe, out, workers=1)
    assert all(first.ran.values())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".parquet", ".tar", ".json")}
    again = build(recipe, out, workers=2)
    assert set(again.ran.values()) == {0}
    assert again.skipped == first.ran
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_index_of_the_shards_names_their_manifest(sample_build: Path, tmp_path: Path) -> None:
    index = sample_build / "shard/index.json"
    line = (sample_build / "manifest/SHA256SUMS").read_text()
    assert packed_from(index) == line.split()[0], "what `sha256sum --check` says of the manifest"
    for stage in ("manifest", "shard"):  # all that publishing reads
        (tmp_path / stage).mkdir()
        for path in (sample_build / stage).glob("*.json"):
            shutil.copy(path, tmp_path / stage)
    copied = tmp_path / "shard/index.json"
    copied.unlink()
    publish(Layout(tmp_path), "shard")
    assert copied.read_bytes() == index.read_bytes(), "it follows from the receipts alone"
    write_index(copied.parent, read_index(index))
    older = copied.read_bytes()
    publish(Layout(tmp_path), "shard")
    assert copied.read_bytes() == older, "runs and models name the digest of the index that they were made from"


def test_a_changed_setting_is_refused_and_rebuilt_on_demand(small_recipe, tmp_path: Path) -> None:
    path, out = small_recipe(), tmp_path / "out"
    build(load_recipe(path), out, workers=1)
    before = fingerprints(out)
    changed = load_recipe(path, ["filter.rules.min_face=120"])
    with pytest.raises(FingerprintError) as caught:
        build(changed, out, workers=1)
    assert "config.rules.min_face: 24.0 → 120.0" in str(caught.value)
    assert load_recipe(out / "recipe.toml").filter.rules.min_face == 24.0
    assert "--from filter --rebuild" in str(caught.value)
    assert fingerprints(out) == before, "a refused build must change nothing"
    build(changed, out, workers=1, selection=Selection.of(first="filter"), rebuild=True)
    fresh = tmp_path / "fresh"
    build(changed, fresh, workers=1)
    assert fingerprints(out) == fingerprints(fresh)
    # Settings that only change how a stage runs are free to change.
    build(load_recipe(path, ["filter.rules.min_face=120", "fetch.threads=3", "fetch.retries=1"]), out, workers=1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (['source.path="nowhere.tsv"'], UsageError),
        (["loopback.port={taken}"], MachineError),
        (['loopback.folder="nowhere"'], UsageError),
        (['fetch.allowed_hosts=["example.org"]'], RecipeError),
    ],
)
def test_a_rebuild_that_can_not_run_throws_nothing_away(small_recipe, tmp_path: Path, changes, error) -> None:
    import socket

    path, out = small_recipe(), tmp_path / "out"
    build(load_recipe(path), out, workers=1, selection=Selection.of(last="fetch"))
    before = fingerprints(out)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        recipe = load_recipe(path, [change.replace("{taken}", str(taken.getsockname()[1])) for change in changes])
        with pytest.raises(error):
            build(recipe, out, workers=1, rebuild=True)
    assert fingerprints(out) == before


def test_a_rebuild_that_fails_puts_the_old_stage_back(small_recipe, tmp_path: Path, monkeypatch) -> None:
    path, out = small_recipe(), tmp_path / "out"
    recipe = load_recipe(path)
    build(recipe, out, workers=1, selection=Selection.of(last="fetch"))
    before = fingerprints(out)
    monkeypatch.setattr("fdf.sources.download.Downloader._request", _no_answer)
    with pytest.raises(MachineError, match="No answer for"):
        build(recipe, out, workers=1, selection=Selection.of(stage="fetch"), rebuild=True)
    assert fingerprints(out) == before


def _no_answer(*arguments: object) -> None:
    raise ConnectionError("nobody there")


def test_what_the_loopback_mirror_serves_is_part_of_the_fingerprint(small_recipe, tmp_path: Path) -> None:
    path, out = small_recipe(), tmp_path / "out"
    build(load_recipe(path), out, workers=1, selection=Selection.of(last="fetch"))
    (tmp_path / "other/mirror").mkdir(parents=True)
    with pytest.raises(FingerprintError, match=r"fetch .* loopback: "):
        build(load_recipe(path, [f'loopback.folder="{tmp_path}/other/mirror"']), out, workers=1)


def test_any_port_gives_the_same_content(small_recipe, tmp_path: Path) -> None:
    """A partition fetched again through another port makes nothing after it stale."""
    path, out = small_recipe(), tmp_path / "out"
    build(load_recipe(path, ["loopback.port=0"]), out, workers=1, selection=Selection.of(last="detect"))
    (out / "fetch/part-00001.tar").unlink()
    result = build(load_recipe(path, ["loopback.port=0"]), out, workers=1, selection=Selection.of(last="detect"))
    assert (result.ran["fetch"], result.ran["detect"]) == (1, 0)


def test_a_receipt_never_vouches_for_newer_files(small_recipe, tmp_path: Path, monkeypatch) -> None:
    """A partition is made again and the run dies before its receipt: the old one must not stand."""
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    last = Selection.of(last="metadata")
    build(recipe, out, workers=1, selection=last)
    (out / "metadata/part-00001.dropped.parquet").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("fdf.store.receipts.Receipt.save", _no_answer)
        with pytest.raises(ConnectionError):
            build(recipe, out, workers=1, selection=last)
    assert not (out / "metadata/part-00001.receipt.json").exists()
    assert build(recipe, out, workers=1, selection=last).ran == {"metadata": 1}
    assert validate(Layout(out)).problems == []


def test_a_killed_worker_is_one_clear_error(small_recipe, tmp_path: Path, monkeypatch) -> None:
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    # By value, not by name: a worker can't import this file.
    monkeypatch.setattr(_Run, "_there", property(lambda _: lambda _: os.kill(os.getpid(), signal.SIGKILL)))
    with pytest.raises(MachineError, match=r"A worker process was killed.*fewer --workers"):
        build(recipe, out, workers=2, stay_seconds=0)


def test_one_stage_needs_those_before_it(small_recipe, tmp_path: Path) -> None:
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    with pytest.raises(UsageError, match="metadata, fetch still missing") as caught:
        build(recipe, out, selection=Selection.of(stage="detect"))
    assert "--until fetch" in str(caught.value)
    build(recipe, out, workers=1, selection=Selection.of(last="fetch"))
    result = build(recipe, out, workers=1, selection=Selection.of(stage="detect"))
    assert result.ran == {"detect": 3}
    assert Layout(out).finished("filter") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "detetc"}, "no stage 'detetc'"),
        ({"stage": "detect", "first": "fetch"}, "--stage goes without"),
        ({"first": "filter", "last": "fetch"}, "--until fetch comes before --from filter"),
    ],
)
def test_impossible_selections(arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        Selection.of(**arguments)


def test_an_id_repeated_in_a_later_partition_is_dropped_there(small_recipe, tmp_path: Path) -> None:
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    build(recipe, out, workers=1, selection=Selection.of(last="fetch"))
    bad = [row for row in drops_of(out, "fetch") if row["reason"] == "bad_row"]
    assert [(row["photo_id"], row["detail"]) for row in bad] == [
        ("900000000001", "this photo id stands in an earlier partition")
    ]
    # The same rows in one partition: dropped by metadata instead, and the same photos remain.
    whole, other = load_recipe(small_recipe(), ["partition_rows=100"]), tmp_path / "whole"
    build(whole, other, workers=1, selection=Selection.of(last="fetch"))
    assert [row["detail"] for row in drops_of(other, "metadata") if row["reason"] == "bad_row"] == [
        "photo id 900000000001 was there before"
    ]
    kept = [sorted(_kept_ids(folder, "fetch")) for folder in (out, other)]
    assert kept[0] == kept[1]


def _kept_ids(out: Path, stage: str) -> list[str]:
    layout = Layout(out)
    return read_tables((layout.kept(stage, p) for p in layout.receipts(stage)), STAGES[stage].schema)[
        "photo_id"
    ].to_pylist()


def test_other_forms_of_the_same_metadata_give_the_same_photos(small_recipe, tmp_path: Path) -> None:
    """TSV of 23 columns, of 25 columns in gzip, and SQLite."""
    import gzip
    import sqlite3

    path = small_recipe()
    rows = [line.split(b"\t") for line in (tmp_path / "rows.tsv").read_bytes().splitlines()]
    whole = [row for row in rows if len(row) == 23]
    (tmp_path / "rows.tsv").write_bytes(b"".join(b"\t".join(row) + b"\n" for row in whole))
    with gzip.open(tmp_path / "rows25.tsv.gz", "wb") as file:
        for number, row in enumerate(whole):
            file.write(b"\t".join([str(number).encode(), row[0], b"0" * 32, *row[1:]]) + b"\n")
    columns = (  # noqa: SIM905 - as the table's definition writes them
        "photoid uid unickname datetaken dateuploaded capturedevice title description usertags machinetags longitude "
        "latitude accuracy pageurl downloadurl licensename licenseurl serverid farmid secret secretoriginal ext marker"
    ).split()
    database = sqlite3.connect(tmp_path / "rows.sql")
    database.execute(f"create table yfcc100m_dataset ({', '.join(columns)})")
    marks = ", ".join("?" * 23)
    database.executemany(f"insert into yfcc100m_dataset values ({marks})", [[c.decode() for c in row] for row in whole])  # noqa: S608
    database.commit()
    database.close()
    tables = []
    for name in ("rows.tsv", "rows25.tsv.gz", "rows.sql"):
        recipe = load_recipe(path, [f'source.path="{tmp_path / name}"', "partition_rows=100"])
        out = tmp_path / name.replace(".", "-")
        build(recipe, out, workers=1, selection=Selection.of(last="metadata"))
        tables.append(pq.read_table(out / "metadata/part-00000.parquet"))
    assert tables[0].num_rows > 5
    assert tables[0] == tables[1] == tables[2]


def test_a_list_of_photos_is_built_to_the_end(tmp_path: Path, small_port: int) -> None:
    """Any collection: a CSV of URLs with licences, fetched by its download URLs."""
    from fdf.sources.yfcc import mirror_key

    keys = [mirror_key(f"http://farm9.staticflickr.com/8001/{n}.jpg") for n in range(3)]
    folder = tmp_path / "mirror"
    truth = {row["photo_id"]: row for row in map(json.loads, (SAMPLE / "truth.jsonl").read_text().splitlines())}
    pictures = [
        SAMPLE / "mirror" / truth[photo_id]["file"] for photo_id in ("900000000001", "900000000002", "900000000004")
    ]
    for key, picture in zip(keys, pictures, strict=True):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, folder / key)
    licences = ["CC BY 4.0", "https://creativecommons.org/licenses/by-nd/4.0/", "CC0-1.0"]
    lines = [
        f"http://127.0.0.1:{small_port}/{key},{licence},Ada,Title {n},https://example.org/{n}"
        for n, (key, licence) in enumerate(zip(keys, licences, strict=True))
    ]
    (tmp_path / "photos.csv").write_text("url,license,author,title,page\n" + "\n".join(lines) + "\n")
    (tmp_path / "mine.toml").write_text(
        f"""
name = "mine"
[source]
kind = "photo_list"
path = "photos.csv"
[loopback]
folder = "mirror"
port = {small_port}
[fetch]
candidates = ["download_url"]
allowed_hosts = []
[detect]
embedder = ""
"""
    )
    build(load_recipe(tmp_path / "mine.toml"), tmp_path / "out", workers=1)
    release = read_release(tmp_path / "out").to_pylist()
    assert {row["license_id"] for row in release} == {"CC-BY-4.0", "CC0-1.0"}
    assert {row["rights_class"] for row in release} == {"by", "pd"}
    credit = next(row["attribution"] for row in release if row["license_id"] == "CC-BY-4.0")
    assert "“Title 0” by Ada, https://example.org/0" in credit
    assert [row["reason"] for row in drops_of(tmp_path / "out", "metadata")] == ["license_no_derivatives"]
    assert validate(Layout(tmp_path / "out")).problems == []


def test_a_deleted_output_is_made_again(small_recipe, tmp_path: Path) -> None:
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    build(recipe, out, workers=1)
    before = fingerprints(out)
    (out / "fetch/part-00001.tar").unlink()
    result = build(recipe, out, workers=1)
    assert result.ran["fetch"] == 1
    assert result.ran["detect"] == 0, "the same bytes came back: nothing after it is stale"
    assert fingerprints(out) == before


def test_leftovers_of_a_killed_run_are_removed(small_recipe, tmp_path: Path) -> None:
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    build(recipe, out, workers=1, selection=Selection.of(last="metadata"))
    leftover = out / f"metadata/part-00000.parquet{TEMPORARY}00000000"
    leftover.write_bytes(b"half")
    assert "left over" in validate(Layout(out)).problems[0].what
    build(recipe, out, workers=1, selection=Selection.of(last="metadata"))
    assert not leftover.exists()


def test_a_loopback_port_in_use_is_said(small_recipe, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"Port {port} .*loopback.port"):
            build(load_recipe(small_recipe(port=port)), tmp_path / "out", workers=1)


def test_a_contact_is_asked_for_outside_loopback(small_recipe, tmp_path: Path) -> None:
    recipe = load_recipe(small_recipe(), ['fetch.allowed_hosts=["example.org"]'])
    with pytest.raises(RecipeError, match="contact is empty"):
        build(recipe, tmp_path / "out", workers=1)


def test_no_network_is_one_error_and_nothing_is_lost(
    small_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that can't be resolved: the run stops and can go on; if asked to, it records retryable drops instead."""
    import socket

    def unreachable(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    path = small_recipe()
    path.write_text(
        path.read_text().split("[loopback]")[0] + '[fetch]\nmirror = "http://mirror.invalid"\nretries = 0\n'
    )
    recipe = load_recipe(
        path, ['fetch.allowed_hosts=["mirror.invalid"]', 'fetch.contact="a@b.example"', 'fetch.candidates=["mirror"]']
    )
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(MachineError, match=r"network is down.*Run the same command again.*give_up_after=0"):
        build(recipe, tmp_path / "out", workers=1)
    assert Layout(tmp_path / "out").finished("metadata") is not None
    assert not list((tmp_path / "out/fetch").glob("part*"))
    resigned = recipe.model_copy(update={"fetch": recipe.fetch.model_copy(update={"give_up_after": 0})})
    build(resigned, tmp_path / "out", workers=1)
    drops = [row for row in drops_of(tmp_path / "out", "fetch") if row["reason"] != "bad_row"]
    assert drops
    assert {(row["reason"], row["retryable"]) for row in drops} == {("dns", True)}
    assert pq.read_table(tmp_path / "out/manifest/release.parquet").num_rows == 0
    assert validate(Layout(tmp_path / "out")).problems == []


def test_two_builds_in_one_folder_are_refused(small_recipe, tmp_path: Path) -> None:
    from filelock import FileLock

    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(MachineError, match="Another build is running"):
        build(load_recipe(small_recipe()), out)


def test_damage_is_found_and_named(sample_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(sample_build, out)
    tar = next((out / "shard/128").glob("*.tar"))
    damaged = bytearray(tar.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    tar.write_bytes(bytes(damaged))
    archive = out / "fetch/part-00001.tar"
    archive.write_bytes(archive.read_bytes()[:-1])
    (out / "filter/all.dropped.parquet").unlink()
    receipt = out / "metadata/part-00000.receipt.json"
    receipt.write_text(receipt.read_text().replace('"in": 24', '"in": 25'))
    (out / "manifest/SHA256SUMS").write_text("0" * 64 + "  release.parquet\n")
    (out / "shard/64/stray.tar").write_bytes(b"")
    problems = {(p.where, p.what.split(",")[0][:40]) for p in validate(Layout(out)).problems}
    places = {where for where, _ in problems}
    for expected in (
        f"shard/128/{tar.name}",
        "fetch/part-00001.tar",
        "filter/all.dropped.parquet",
        "metadata/part-00000",
        "manifest/SHA256SUMS",
        "shard/64/stray.tar",
    ):
        assert expected in places, problems
