"""`fdf anonymize`: what it says, what it writes, what it exits with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fdf.anonymize.detection
import fdf.cli.commands
from fdf.anonymize.codecs import read
from fdf.anonymize.methods import GREY
from fdf.cli.app import app
from fdf.errors import FdfError
from tests.anonymize.pictures import ASTRONAUT, Fixed, encoded, face, loaded_jpeg, noise

runner = CliRunner()


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Fixed:
    """One face in every picture, without a network."""
    finder = Fixed(face(20, 15, 50, 45))
    monkeypatch.setattr(fdf.anonymize.detection, "FaceFinder", lambda *_, **__: finder)
    return finder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in/a.png"
    path.parent.mkdir()
    path.write_bytes(encoded(noise(), "PNG"))
    return path


def run(*words: object) -> Any:
    return runner.invoke(app, ["anonymize", *map(str, words)])


def refused(*words: object) -> FdfError:
    result = run(*words)
    assert isinstance(result.exception, FdfError), result.output
    return result.exception


def test_a_picture(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "new/b.png"
    result = run(picture, "-o", out)
    assert result.exit_code == 0
    assert result.output == f"1 face hidden (1 solid). → {out}\n"
    assert (read(out.read_bytes()).stills[0].rgb[20:40, 25:45] == GREY).all()


def test_it_says_what_it_removed_as_text_and_json(finds: Fixed, tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(loaded_jpeg(noise()))
    assert "Removed: APP" not in run(source, "-o", tmp_path / "b.jpg").output
    result = run(source, "-o", tmp_path / "c.jpg", "--json")
    report = json.loads(result.stdout)
    assert "EXIF: GPS" in report["pictures"][0]["removed"]
    assert report["counts"] == {"faces": 1, "solid": 1, "fell_back": 0}
    assert report["files"]["done"] == 1


def test_a_folder_with_a_broken_picture_exits_with_one(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    (picture.parent / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    out = tmp_path / "out"
    result = run(picture.parent, "-o", out)
    assert result.exit_code == 1
    assert "failed: bad.jpg: The bytes give no picture (truncated)" in result.output
    assert "1 done, 1 failed. 1 face hidden (1 solid)." in result.output
    assert not (out / "bad.jpg").exists()
    again = run(picture.parent, "-o", out, "--json")
    assert json.loads(again.stdout)["files"] == {"done": 0, "skipped": 1, "failed": 1, "left_out": 0}


def test_a_pattern(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    result = run(picture.parent / "*.png", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert (tmp_path / "out/a.png").is_file()


def test_where_no_face_is_found_it_asks_to_look(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    finds.faces = []
    assert "0 faces hidden: look at it" in run(picture, "-o", tmp_path / "b.png").output
    said = run(picture.parent, "-o", tmp_path / "out").output
    assert "no face was found in 1 of 1 files: look at them" in said


def test_a_dry_run_writes_nothing(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(picture.parent, "-o", out, "--dry-run")
    assert result.output == "Dry run, nothing written: 1 done. 1 face hidden (1 solid).\n"
    assert not out.exists()


def test_faces_can_be_saved_mended_and_rendered(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    faces, out = tmp_path / "faces.json", tmp_path / "b.png"
    assert run(picture, "-o", out, "--save-detections", faces).exit_code == 0
    value = json.loads(faces.read_text())
    assert value["pictures"][0]["faces"][0]["box"] == [20, 15, 50, 45]
    value["pictures"][0]["faces"].append({"box": [60, 40, 75, 58]})
    faces.write_text(json.dumps(value))
    finds.asked = 0
    result = run(picture, "-o", out, "--detections", faces, "--overwrite")
    assert result.output.startswith("2 faces hidden")
    assert finds.asked == 0
    assert (read(out.read_bytes()).stills[0].rgb[45:55, 64:72] == GREY).all()


def test_faces_that_were_mended_are_not_replaced(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    mended, out = tmp_path / "faces.json", tmp_path / "b.png"
    mended.write_text("by hand")
    assert "faces.json is there already" in str(refused(picture, "-o", out, "--save-detections", mended))
    assert (mended.read_text(), out.exists()) == ("by hand", False)
    assert run(picture, "-o", out, "--save-detections", mended, "--overwrite").exit_code == 0


def test_a_log_is_no_other_file(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    lines = tmp_path / "faces.jsonl"
    lines.write_text("{}")
    words = (tmp_path / "f.mp4", "-o", tmp_path / "b.mp4", "--detections", lines, "--audit-log", lines)
    assert "--audit-log names a file that is something else here" in str(refused(*words))
    assert lines.read_text() == "{}"


def test_a_pipe_is_not_waited_for(finds: Fixed, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "pipe.jpg can't be read. Got no regular file" in str(
        refused(tmp_path / "pipe.jpg", "-o", tmp_path / "b.jpg")
    )


def test_what_a_killed_run_left_beside_its_output_goes(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    mine, other = tmp_path / "b.png.part-0123abcd", tmp_path / "c.png.part-0123abcd"
    mine.touch(), other.touch()
    assert run(picture, "-o", tmp_path / "b.png").exit_code == 0
    assert (mine.exists(), other.exists()) == (False, True)


def test_weak_settings_warn_on_the_error_stream(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    result = run(picture, "-o", tmp_path / "b.png", "--method", "pixelate", "--strength", "0.25")
    assert result.exit_code == 0
    assert "warning: pixelate at strength 0.25 leaves much of a face" in result.stderr
    assert "%" not in result.stdout


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["{in}", "-o", "{in}"], "Input and output are the same file", 2),
        (["{in}", "-o", "{dir}/x.doc"], "no picture format has this suffix", 2),
        (["{in}", "-o", "{dir}"], "The output is a folder", 2),
        (["{dir}/none.png", "-o", "{dir}/x.png"], "can't be read. Got No such file", 4),
        (["{dir}/*.gif", "-o", "{dir}/o"], "no file fits it as a pattern", 2),
        (["{dir}", "-o", "{dir}"], "The output folder holds the input", 2),
        (["{in}", "-o", "{dir}/x.png", "--method", "blurr"], "Did you mean blur?", 2),
        (["{in}", "-o", "{dir}/x.png", "--fallback", "none"], "There is no method 'none'", 2),
        (["{in}", "-o", "{dir}/x.png", "--save-detections", "{in}"], "a name that ends in .json", 2),
        (["", "-o", "{dir}/x.png"], "There is no input", 2),
        (["{in}", "-o", "{dir}/x.png", "--audit-log", "{in}"], "a name that ends in .jsonl", 2),
        (["{dir}/f.mp4", "-o", "{dir}/x.mp4", "--dry-run"], "--dry-run looks at pictures, not at films", 2),
        (["{in}", "-o", "{dir}/x.png", "--method", "blur", "--strength", "0"], "The strength is out of range", 2),
        (["{in}", "-o", "{dir}/x.png", "--detections", "{dir}/f.json"], "f.json can't be read", 4),
        (["{in}", "-o", "{dir}/x.png", "--salt", ""], "--salt is empty: all who leave it so would draw the same", 2),
        (["{in}", "-o", "{dir}/x.png", "--salt", " "], "leave --salt out for one that nobody knows", 2),
        (["{in}", "-o", "{dir}/x.png", "--protect", "{dir}"], "--protect is of methods that draw faces", 2),
        (["{in}", "-o", "{dir}/x.png", "--guard"], "Got --method solid, --fallback solid", 2),
        (["{dir}", "-o", "{dir}/o", "--people"], "--people is of methods that draw faces", 2),
        (["{dir}/f.mp4", "-o", "{dir}/x.mp4", "--people"], "Expected gan or donor as --method or --fallback", 2),
        (["{dir}/f.mp4", "-o", "{dir}/x.mp4", "--quality", "95"], "--quality is of pictures", 2),
        (
            ["{dir}/f.mp4", "-o", "{dir}/x.mp4", "--no-people", "--detections", "{dir}/f.jsonl"],
            "--no-people does not go with --detections",
            2,
        ),
        (["rtsp://h/1", "-o", "{dir}/x.mp4", "--every", "0"], "--every does not fit. Expected 1 or more, or", 2),
    ],
)
def test_refusals_say_what_is_wrong(
    finds: Fixed, picture: Path, words: list[str], said: str, code: int, tmp_path: Path
) -> None:
    before = picture.read_bytes()
    error = refused(*(word.replace("{in}", str(picture)).replace("{dir}", str(picture.parent)) for word in words))
    assert said in str(error)
    assert error.exit_code == code
    assert picture.read_bytes() == before
    assert list(picture.parent.iterdir()) == [picture]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{in}", "-o", "x.png", "--strength", "0.2"], "--strength is of blur, pixelate and donor. Got --method solid"),
        (["{in}", "-o", "x.png", "--strength", "1"], "--fallback solid. Leave it out"),
        (["{in}", "-o", "x.png", "--method", "gan", "--strength", "2"], "--strength is of blur, pixelate and donor"),
        (
            ["{in}", "-o", "x.png", "--method", "donor", "--strength", "0.2"],
            "--strength does not fit donor. Expected 1 to 2: nothing is weaker than 1. Got 0.2",
        ),
        (["{in}", "-o", "x.png", "--method", "blur", "--fallback", "donor", "--strength", "3"], "does not fit donor"),
        (["{in}", "-o", "x.png", "--method", "blurr", "--strength", "2"], "Did you mean blur?"),
        (["{in}", "-o", "x.png", "--salt", "s"], "--salt is of methods that draw faces. Expected gan or donor"),
        (["in", "-o", "out", "--salt", "s", "--method", "blur"], "Got --method blur, --fallback solid"),
        (["f.mp4", "-o", "x.mp4", "--salt", "s", "--save-detections", "f.jsonl"], "--salt is of methods that draw"),
        (["{in}", "-o", "x.png", "--quality", "80"], "--quality is of JPEG, AVIF, HEIC and lossy WebP. Got x.png"),
        (["{in}", "-o", "x.tif", "--quality", "95"], "--quality is of JPEG, AVIF, HEIC and lossy WebP. Got x.tif"),
        (
            ["{in}", "-o", "x.png", "--detections", "f.json", "--threshold", "0.1", "--thoroughness", "fast"],
            "--thoroughness and --threshold are for faces that are looked for. Got --detections f.json",
        ),
        (["in", "-o", "out", "--detections", "f.json", "--threshold", "0.1"], "--threshold is for faces that are"),
        (
            ["in", "-o", "out", "--policy", "p.toml", "--audit-log", "out/fdf-anonymize.jsonl"],
            "--audit-log has the name",
        ),
        (
            ["f.mp4", "-o", "x.mp4", "--policy", "p.toml", "--every", "4"],
            "--every is for films without a policy: with one every frame is looked at",
        ),
        (
            ["f.mp4", "-o", "x.mp4", "--detections", "f.jsonl", "--hold", "3", "--look-ahead", "3", "--every", "2"],
            "--every and --hold and --look-ahead are for faces that are looked for. Got --detections f.jsonl. Leave them",
        ),
        (["f.mp4", "-o", "x.mp4", "--detections", "f.jsonl", "--threshold", "0.3"], "--threshold is for faces"),
        (
            [
                "f.mp4",
                "-o",
                "x.mp4",
                "--detections",
                "f.jsonl",
                "--policy",
                "p.toml",
                "--hold",
                "3",
                "--look-ahead",
                "3",
            ],
            "--hold is for faces that are looked for",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(
    finds: Fixed, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused(*(word.replace("{in}", str(picture)) for word in words))
    assert said in str(error)
    assert error.exit_code == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "in"]
    assert finds.asked == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--threshold", "0.3", "--thoroughness", "fast", "--look-ahead", "3", "--policy", "p.toml"],
        ["--threshold", "0.3", "--method", "gan", "--protect", "people"],
        ["--partial", "--from", "1", "--to", "2", "--trim", "--codec", "h264", "--audio", "drop"],
    ],
)
def test_what_has_an_effect_beside_a_file_of_faces_is_taken(
    finds: Fixed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Reference pictures are looked at, a policy judges ahead; the refusal that comes is of the next check."""
    monkeypatch.chdir(tmp_path)
    rest = ["--detections", "f.jsonl", "--audit-log", "wrong"]
    assert "--audit-log writes lines of JSON" in str(refused("f.mp4", "-o", "x.mp4", *words, *rest))


def test_a_strength_is_the_fallbacks_too(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    """`gan` can't do a face of 30 pixels at the border; what covers it is as strong as was asked."""
    finds.faces = [face(-20, 15, 10, 45)]

    def made(*words: object) -> Any:
        result = run(picture, "-o", tmp_path / "b.png", "--overwrite", *words)
        assert "1 face hidden (1 " in result.output, result.exception
        return read((tmp_path / "b.png").read_bytes()).stills[0].rgb, result

    fell, _ = made("--method", "gan", "--no-guard", "--fallback", "pixelate", "--strength", 2)
    asked, _ = made("--method", "pixelate", "--strength", 2)
    plain, _ = made("--method", "pixelate")
    assert np.array_equal(fell, asked)
    assert not np.array_equal(fell, plain)
    _, weak = made("--method", "pixelate", "--fallback", "pixelate", "--strength", 0.25)
    assert weak.stderr.count("warning: pixelate at strength 0.25") == 1


def test_a_strength_reaches_donors_of_ones_own(finds: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdf.anonymize.donors import DEFAULT_FOLDER
    from fdf.cli.anonymize import _plain

    plain = _plain(("donor", "solid"), 1.5, (None, DEFAULT_FOLDER), None, finder=finds)
    assert getattr(plain.method, "mix") == 1.5  # noqa: B009 - other methods have none


def test_a_quality_that_lossless_webp_has_not_is_noted(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    words = (picture, "-o", tmp_path / "b.webp", "--overwrite")
    assert "Note" not in run(*words).output
    assert "Note: written without loss, as it came: the quality is of lossy WebP" in run(*words, "--quality", 50).output


def test_earlier_outputs_are_counted_and_named(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    (picture.parent / "notes.txt").write_text("mine")
    run(picture.parent, "-o", picture.parent / "out")
    said = "1 done, 1 left out (no picture or film), 1 folder of earlier runs left out (out). 1 face hidden (1 solid)."
    result = run(picture.parent, "-o", picture.parent / "out2")
    assert result.output.startswith(said), result.output
    assert sorted(path.name for path in (picture.parent / "out2").glob("*.png")) == ["a.png"]
    both = run(f"{picture.parent}/**/*", "-o", tmp_path / "three", "--dry-run")
    assert "1 done, 1 left out (no picture or film), 2 folders of earlier runs left out (out, out2)." in both.output
    (row,) = (
        row
        for row in json.loads(run(picture.parent, "-o", picture.parent / "out2", "--json").stdout)["pictures"]
        if row["file"] == "out"
    )
    assert row == {"file": "out", "status": "left out", "notes": ["what an earlier run wrote: not anonymized again"]}


FILM_OPTIONS = {
    "--people/--no-people": ["--no-people"],
    "--audio": ["--audio", "keep"],
    "--from": ["--from", "0"],
    "--to": ["--to", "3"],
    "--trim": ["--trim"],
    "--every": ["--every", "adaptive"],
    "--hold": ["--hold", "-1"],
    "--look-ahead": ["--look-ahead", "3"],
    "--codec": ["--codec", "h264"],
    "--partial": ["--partial"],
}


@pytest.mark.parametrize("option", FILM_OPTIONS)
def test_options_of_films_are_not_passed_over_for_a_picture(
    finds: Fixed, picture: Path, tmp_path: Path, option: str
) -> None:
    error = refused(picture, "-o", tmp_path / "b.png", *FILM_OPTIONS[option])
    assert error.problem == f"{option} is of films", "even where what was given is the default"
    assert (error.got, error.exit_code) == (str(picture), 2)
    several = refused(picture, "-o", tmp_path / "b.png", "--trim", "--from", 5, "--to", 3)
    assert several.problem == "--from and --to and --trim are of films"
    assert not (tmp_path / "b.png").exists()
    assert finds.asked == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "x"], "--every does not fit. Expected 1 or more, or adaptive. Got x"),
        (["--every", "0"], "--every does not fit"),
        (["--hold", "-1"], "--hold does not fit. Expected 0–1000 frames. Got -1"),
        (["--look-ahead", "2000"], "--look-ahead does not fit"),
        (["--from", "5", "--to", "3"], "--to does not fit. Expected more seconds than --from. Got 3.0"),
        (["--trim"], "--trim does not fit. Expected --from or --to with it"),
    ],
)
@pytest.mark.parametrize("many", ["in", "in/*.png"])
def test_a_folder_is_not_begun_with_what_no_film_can_have(
    finds: Fixed, picture: Path, tmp_path: Path, words: list[str], said: str, many: str
) -> None:
    error = refused(tmp_path / many, "-o", tmp_path / "out", *words)
    assert said in str(error)
    assert error.exit_code == 2
    assert not (tmp_path / "out").exists()
    assert finds.asked == 0


def test_an_output_that_is_there_is_refused(finds: Fixed, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.png"
    out.write_bytes(b"mine")
    assert "Add --overwrite" in str(refused(picture, "-o", out))
    assert out.read_bytes() == b"mine"
    assert run(picture, "-o", out, "--overwrite").exit_code == 0


def test_an_unreadable_picture_says_why_and_leaves_nothing(finds: Fixed, tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(b"<html>not found</html>")
    error = refused(source, "-o", tmp_path / "b.jpg")
    assert "not_an_image" in str(error)
    assert error.exit_code == 4
    assert not (tmp_path / "b.jpg").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("many", [True, False])
def test_an_interrupted_run_keeps_what_is_finished_and_nothing_half(
    finds: Fixed, picture: Path, tmp_path: Path, how: signal.Signals, many: bool
) -> None:
    before = signal.getsignal(how)
    (picture.parent / "b.png").write_bytes(picture.read_bytes())
    find, seen = finds.find, [] if many else [0]

    def stop(pixels: Any) -> Any:
        if seen:
            os.kill(os.getpid(), how)
        seen.append(1)
        return find(pixels)

    finds.find = stop  # type: ignore[method-assign]
    out = tmp_path / ("out" if many else "out.png")
    result = run(picture.parent if many else picture, "-o", out)
    assert result.exit_code == 130
    left = sorted(path.name for path in out.rglob("*.png")) if many else []
    assert left == (["a.png"] if many else [])
    assert "finished files are kept; run the same" in result.stderr if many else "nothing is written" in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".") and path.suffix != ".jsonl"]
    assert signal.getsignal(how) is before
    finds.find = find  # type: ignore[method-assign]
    assert run(picture.parent if many else picture, "-o", out).exit_code == 0, "it can be gone on with"


def test_films_are_handed_on(monkeypatch: pytest.MonkeyPatch, finds: Fixed, tmp_path: Path) -> None:
    video = pytest.importorskip("fdf.anonymize.video")
    source, asked = tmp_path / "in/a.mp4", []
    source.parent.mkdir()
    source.write_bytes(b"film")

    def film(path: Path, target: Path, anonymizer: Any, options: Any) -> Any:
        assert (options.detections, options.save_detections) == (None, None)
        asked.append((path.name, options.audio, options.every, options.hold, options.codec, options.partial))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"faceless")
        return video.VideoResult(frames=3, covered=5, methods={"solid": 5}, audio="dropped")

    monkeypatch.setattr(video, "anonymize_video", film)
    monkeypatch.setattr(video, "FilmFinder", lambda **_: finds)
    result = run(source, "-o", tmp_path / "b.mp4", "--audio", "drop", "--every", 3, "--hold", 9)
    assert result.output.startswith("5 faces hidden (5 solid). Note: sound: dropped.")
    assert run(source.parent, "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out/a.mp4").read_bytes() == b"faceless"
    assert asked == [("a.mp4", "drop", 3, 9, None, False), ("a.mp4", "keep", "adaptive", None, None, False)]
    again = run(source.parent, "-o", tmp_path / "out", "--json")
    assert json.loads(again.stdout)["files"]["skipped"] == 1


def test_a_real_run_from_the_shell(tmp_path: Path) -> None:
    out = tmp_path / "b.jpg"
    command = [sys.executable, "-m", "fdf", "anonymize", str(ASTRONAUT), "-o", str(out), "--thoroughness", "fast"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 face hidden (1 solid). Removed: ")
    assert done.stdout.endswith(f". → {out}\n")
    assert np.abs(read(out.read_bytes()).stills[0].rgb[100:140, 210:240].astype(int) - GREY).max() < 4
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_progress_of_a_film_shows_frames_and_their_rate() -> None:
    import io

    from rich.console import Console

    from fdf.cli.anonymize_progress import Bars, progress

    def shown(files: int | None, total: int | None, *, quiet: bool = False, terminal: bool = True) -> str:
        out = Console(file=io.StringIO(), force_terminal=terminal, width=140, markup=False)
        with progress(files, quiet=quiet, out=out) as bars, bars.film("[a].mp4") as frames:
            for done in range(1, 31) if frames else ():
                frames(done, total)
            if bars._bars is not None:
                bars._bars.refresh()
            bars.advance(1)
        return out.file.getvalue()  # type: ignore[attr-defined]

    alone = shown(None, 60)
    assert "[a].mp4" in alone
    assert "30/60" in alone
    assert "frames/s" in alone
    assert "0:00:0" in alone.split("frames/s")[-1], "time gone and time left"
    assert "30/?" in shown(None, None), "a stream has no end"
    folder = shown(7, 60)
    assert "anonymizing" in folder
    assert "0/7" in folder
    assert shown(7, 60, quiet=True) == ""
    assert shown(7, 60, terminal=False) == ""
    with Bars().film("a.mp4") as nothing:
        assert nothing is None


def test_json_is_quiet_and_a_film_can_be_saved_mended_and_rendered(
    monkeypatch: pytest.MonkeyPatch, finds: Fixed, tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="films need PyAV: the extra `video`")
    from fdf.anonymize import video
    from tests.anonymize import clips

    monkeypatch.setattr(video, "FilmFinder", lambda **_: finds)
    source, faces, out = tmp_path / "a.mp4", tmp_path / "faces.jsonl", tmp_path / "b.mp4"
    clips.write([noise(64, 96)] * 12, source)
    result = run(source, "-o", out, "--save-detections", faces, "--json")
    assert result.exit_code == 0, result.exception
    assert result.stderr == ""
    assert json.loads(result.stdout)["counts"]["faces"] == 12
    first, finds.asked = out.read_bytes(), 0
    assert run(source, "-o", out, "--detections", faces, "--overwrite").exit_code == 0
    assert out.read_bytes() == first
    assert finds.asked == 0
    assert "ends in .jsonl" in str(refused(source, "-o", tmp_path / "c.mp4", "--save-detections", tmp_path / "f.json"))
    (tmp_path / "in").mkdir()
    source.rename(tmp_path / "in/a.mp4")
    saved = run(tmp_path / "in", "-o", tmp_path / "out", "--save-detections", tmp_path / "f.json", "--json")
    assert "its faces are not saved" in saved.stdout
