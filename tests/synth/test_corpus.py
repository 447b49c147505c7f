"""Photos, their truth, and the corpus around them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fdf.errors import FingerprintError, MachineError, RecipeError, UsageError
from fdf.sources.yfcc import open_yfcc
from fdf.stages.base import Tools
from fdf.stages.metadata import STAGE as METADATA
from fdf.stages.metadata import MetadataConfig
from fdf.store.files import file_sha256
from fdf.synth import head, source
from fdf.synth.recipe import SynthRecipe, load_synth_recipe
from fdf.synth.scene import COMMENT, Appearance, Plan, make_photo
from fdf.synth.truth import TRUTH

SMALL = SynthRecipe.model_validate({"camera": {"samples": 2}})
PLAIN = SynthRecipe.model_validate(
    {
        "camera": {"samples": 8, "night_share": 0, "backlight_share": 0, "blur_share": 0},
        "pose": {"wide_share": 0, "yaw_sigma": 10, "pitch_sigma": 4},
        "wear": {"hat_share": 0, "headscarf_share": 0, "mask_share": 0, "sunglasses_share": 0, "object_share": 0},
        "people": {"glasses_share": 0},
    }
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus") / "people"
    request = source.Request(3, 1, 48, seed=7, recipe=SMALL)
    return request, out, source.synthesize(request, out)


def contents(out):
    return {path.relative_to(out).as_posix(): file_sha256(path) for path in sorted(out.rglob("*")) if path.is_file()}


@given(st.integers(1, 60), st.integers(1, 4), st.sampled_from(["portrait", "group", "crowd"]), st.integers(0, 999_999))
@settings(max_examples=60)
def test_everybody_is_in_as_many_photos_as_asked_and_families_never_mix(people, shots, scene, seed):
    request = source.Request(people, shots, 64, scene, seed)
    made = list(source.plans(request))
    assert [plan.index for plan in made] == list(range(len(made)))
    seen = Counter((one.person, one.shot) for plan in made for one in plan.cast)
    assert seen == Counter({(person, shot): 1 for person in range(people) for shot in range(shots)})
    rows = [source.metadata_row(plan) for plan in made]
    assert len({row[0] for row in rows}) == len(rows)
    owners: dict[int, set[str]] = {}
    for plan, row in zip(made, rows, strict=True):
        for one in plan.cast:
            owners.setdefault(one.person, set()).add(row[1])
    assert all(len(found) == 1 for found in owners.values())


def test_the_same_plan_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib;from fdf.synth.scene import *;from fdf.synth.recipe import SynthRecipe;"
        "r=SynthRecipe.model_validate({'camera':{'samples':2}});"
        "p=make_photo(Plan(4,3,'portrait',48,(Appearance(2,1),)),r);print(hashlib.sha256(p.jpeg).hexdigest())"
    )
    import hashlib

    mine = make_photo(Plan(4, 3, "portrait", 48, (Appearance(2, 1),)), SMALL)
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert hashlib.sha256(mine.jpeg).hexdigest() == theirs


def test_truth_lies_where_the_face_is():
    from fdf.vision.centerface import CenterFace

    detector = CenterFace()
    found = 0
    for person in range(3):
        photo = make_photo(Plan(person, 11, "portrait", 160, (Appearance(person, 0),)), PLAIN)
        (row,) = photo.truth
        x0, y0, x1, y1 = row["box"]
        points = np.array(row["keypoints"]).reshape(7, 3)
        nose, left, right = points[:3]
        assert x0 < nose[0] < x1
        assert y0 < nose[1] < y1
        assert left[0] > right[0]  # the subject's left eye is on the picture's right
        assert points[0, 2] == 1
        roll = np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0]))
        assert roll == pytest.approx(row["roll"], abs=8)
        (faces,) = detector.detect([photo.pixels])
        if len(faces):
            found += 1
            five = faces.landmarks5[0]
            assert np.linalg.norm(five[0] - right[:2]) < 0.08 * (y1 - y0)
            assert np.linalg.norm(five[1] - left[:2]) < 0.08 * (y1 - y0)
            assert np.linalg.norm(five[2] - nose[:2]) < 0.1 * (y1 - y0)
    assert found >= 2


def test_pictures_say_what_they_are(corpus):
    _, out, _ = corpus
    for path in (out / "mirror").rglob("*.jpg"):
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            assert picture.info["comment"].decode() == COMMENT
            assert picture.getexif()[0x010E] == COMMENT
            assert "No person in this picture exists" in COMMENT


def test_rows_are_photos_under_cc0_by_nobody_real(corpus):
    request, out, result = corpus
    opened = open_yfcc(out / "metadata.tsv.bz2", name="synthetic")
    (batch,) = opened.batches(100)
    made = METADATA.run({"source": opened.parse(batch)}, MetadataConfig(), Tools(source="synthetic"))
    assert made.dropped.num_rows == 0
    photos = made.kept.to_pylist()
    assert len(photos) == result.photos == request.people
    for photo in photos:
        assert photo["license_id"] == "CC0-1.0"
        assert photo["owner_name"] == "fdf synth"
        assert "fdf:synthetic=1" in photo["machine_tags"]
        assert (out / "mirror" / photo["mirror_key"]).is_file()
        assert ".invalid/" in photo["download_url"]
    truth = pq.read_table(out / "truth.parquet")
    assert truth.schema.equals(TRUTH)
    assert all(truth.schema.field(field.name).metadata[b"doc"] == field.metadata[b"doc"] for field in TRUTH)
    assert {row["photo_id"] for row in truth.to_pylist()} == {photo["photo_id"] for photo in photos}


def test_a_run_that_was_cut_short_ends_with_the_same_files(corpus, tmp_path):
    request, out, _ = corpus
    cut = tmp_path / "cut"
    shutil.copytree(out, cut)
    for name in ("receipt.json", "truth.parquet", "metadata.tsv.bz2"):
        (cut / name).unlink()
    next((cut / "mirror").rglob("*.jpg")).with_suffix(".jpg.part-deadbeef").write_bytes(b"half")
    again = source.synthesize(request, cut, workers=2)
    assert again.made == request.people
    assert contents(cut) == contents(out)
    assert source.synthesize(request, cut).made == 0


def test_a_lost_picture_is_made_again(corpus, tmp_path):
    request, out, _ = corpus
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    next((copy / "mirror").rglob("*.jpg")).unlink()
    assert source.synthesize(request, copy).made == 1
    assert contents(copy) == contents(out)


@pytest.mark.slow
def test_killed_half_way_it_goes_on(tmp_path):
    command = [
        sys.executable,
        "-m",
        "fdf",
        "synth",
        str(tmp_path / "k"),
        "--people",
        "5",
        "--shots",
        "1",
        "--size",
        "48",
    ]
    run = subprocess.Popen(command)
    for _ in range(600):
        if list(tmp_path.glob("k/parts/*.json")):
            break
        time.sleep(0.1)
    run.kill()
    run.wait()
    assert not (tmp_path / "k" / "receipt.json").exists()
    subprocess.run(command, check=True)
    subprocess.run([*command[:4], str(tmp_path / "fresh"), *command[5:]], check=True)
    assert contents(tmp_path / "k") == contents(tmp_path / "fresh")


def test_another_request_is_refused_and_so_is_a_folder_of_others(corpus, tmp_path):
    request, out, _ = corpus
    with pytest.raises(FingerprintError, match="people: 3 before, 4 now"):
        source.synthesize(source.Request(4, 1, 48, seed=7, recipe=SMALL), out)
    (tmp_path / "something.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        source.synthesize(request, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": 0}, "0 people"),
        ({"people": 1, "shots": 0}, "0 photos of each"),
        ({"people": 1, "size": 7}, "Pictures of 7 pixels"),
        ({"people": 1, "seed": -1}, "-1 is no seed"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(change, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        source.synthesize(source.Request(**change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="Can't write"):
        source.synthesize(source.Request(1), tmp_path / "file" / "out")


def test_a_missing_renderer_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(MachineError, match=r'pip install "fdf\[synth\]"'):
        source.synthesize(source.Request(1), tmp_path / "out")
    with pytest.raises(MachineError):
        head.require_renderer()


def test_recipes_are_checked(tmp_path):
    path = tmp_path / "mix.toml"
    path.write_text("[people]\nage_years = [30, 40]\n")
    assert load_synth_recipe(path).people.age_years == (30, 40)
    path.write_text("[people]\nage = 3\n")
    with pytest.raises(RecipeError, match=r"people\.age"):
        load_synth_recipe(path)
    path.write_text("[camera]\njpeg_quality = [90, 10]\n")
    with pytest.raises(RecipeError, match="smaller one first"):
        load_synth_recipe(path)
    with pytest.raises(RecipeError, match="can't be read"):
        load_synth_recipe(tmp_path / "none.toml")


@pytest.mark.slow
def test_groups_have_a_face_for_everybody(tmp_path):
    out = tmp_path / "group"
    result = source.synthesize(source.Request(6, 1, 96, "group", recipe=SMALL), out)
    truth = pq.read_table(out / "truth.parquet").to_pylist()
    assert result.faces == len(truth) == 6
    assert len({row["person"] for row in truth}) == 6
    sizes = [row["box"][3] - row["box"][1] for row in truth]
    assert min(sizes) > 8
    assert json.loads((out / "receipt.json").read_text())["faces"] == 6


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--people", "0"], 2, "--people of 1 or more"),
        (["--size", "7"], 2, "--size from 32 to 2048"),
        (["--recipe", "nowhere.toml"], 2, "nowhere.toml"),
    ],
)
def test_the_command_says_what_is_wrong(options, code, words, tmp_path):
    command = [sys.executable, "-m", "fdf", "synth", str(tmp_path / "out"), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_the_pipeline_takes_it_like_any_source(corpus, tmp_path):
    from fdf.pipeline.recipe import load_recipe
    from fdf.pipeline.runner import Selection, build

    request, out, _ = corpus
    recipe = load_recipe(
        Path(__file__).parents[2] / "pipelines" / "synthetic.toml",
        [f'source.path="{out}/metadata.tsv.bz2"', f'loopback.folder="{out}/mirror"', "loopback.port=0"],
    )
    built = build(recipe, tmp_path / "build", selection=Selection.of(last="fetch"), workers=1)
    kept = pq.read_table(built.root / "fetch" / "part-00000.parquet")
    assert kept.num_rows == request.people
    assert set(kept["candidate"].to_pylist()) == {"mirror"}
