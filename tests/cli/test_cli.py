"""The command as people meet it: help, errors in one paragraph, exit codes, JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def fdf(*arguments: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fdf", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def refused(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one paragraph of a refusal."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nimport fdf.cli.commands\nfrom fdf.cli.app import app\n"
        "r = CliRunner().invoke(app, ['--help'])\nassert r.exit_code == 0 and 'validate' in r.output, r.output\n"
        "heavy = {'torch', 'cv2', 'dlib', 'insightface', 'onnxruntime', 'pandas', 'pyarrow', 'numpy', 'pydantic', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_importing_fdf_is_light_and_public_names_resolve() -> None:
    code = (
        "import sys, fdf\nassert not {'numpy', 'pyarrow', 'cv2'} & set(sys.modules)\n"
        "print([n for n in fdf.__all__ if getattr(fdf, n, None) is None])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["build", "no-such.toml"], 2, ["no recipe no-such.toml", "pipelines/"]),
        (["build", "Makefile"], 2, ["Makefile can't be read as a recipe"]),
        (["build", "pipelines/sample.toml", "--set", "filter.rules.min_fase=3"], 2, ["did you mean 'min_face'"]),
        (["build", "pipelines/sample.toml", "--set", "filtre.x=3"], 2, ["unknown key 'filtre'", "did you mean 'filter'"]),
        (["build", "pipelines/sample.toml", "--set", "filter.rules.min_score=2"], 2, ["less than or equal to 1", "got 2"]),
        (["build", "pipelines/sample.toml", "--set", "nonsense"], 2, ["--set 'nonsense'", "section.key=value"]),
        (["build", "pipelines/sample.toml", "--set", "shard.resolutions=[32]", "--set", "filter.rules.min_crop=16"], 2,
         ["min_crop is 16", "smallest of shard.resolutions is 32"]),
        (["build", "pipelines/sample.toml", "--stage", "detekt"], 2, ["no stage 'detekt'"]),
        (["build", "pipelines/sample.toml", "--set", 'source.path="nowhere.tsv"'], 2, ["nowhere.tsv"]),
        (["build", "pipelines/sample.toml", "--set", 'detect.detector="centreface"'], 2, ["expected one of centerface"]),
        (["status", "docs"], 2, ["docs is no build", "fdf build RECIPE"]),
        (["validate", "docs"], 2, ["is no build"]),
        (["report", "docs"], 2, ["is no build"]),
        (["audit", "docs"], 2, ["no release manifest at docs"]),
    ],
)  # fmt: skip
def test_wrong_requests_are_one_paragraph_that_says_what_to_do(arguments, code, said, tmp_path) -> None:
    out = ["--out", tmp_path / "out"] if arguments[0] == "build" else []
    message = refused(fdf(*arguments, *out), code)
    for part in said:
        assert part in message
    assert not (tmp_path / "out/metadata").exists()


def test_an_unknown_option_is_a_usage_error() -> None:
    result = fdf("build", "--wokers", "2")
    assert result.returncode == 2
    assert "No such option" in result.stderr


def test_without_a_recipe_it_says_what_to_give(tmp_path: Path) -> None:
    assert "No recipe was given" in refused(fdf("build", cwd=tmp_path), 2)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Can't write" in refused(fdf("build", "pipelines/sample.toml", "--out", tmp_path / "x"), 3)


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Can't write" in refused(fdf("build", "pipelines/sample.toml", "--out", tmp_path / "file"), 3)


def test_a_folder_that_refuses_is_said() -> None:
    """Even root can't make a folder in /proc."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a Linux /proc")
    message = fdf("build", "pipelines/sample.toml", "--out", "/proc/fdf")
    assert message.returncode == 3, message.stderr
    assert "/proc/fdf" in message.stderr
    assert "Traceback" not in message.stderr


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    """A copy of the package with one byte of the detector changed: nothing is detected with it."""
    package = tmp_path / "fdf"
    shutil.copytree(ROOT / "fdf", package, ignore=shutil.ignore_patterns("__pycache__"))
    weights = package / "vision/models/centerface.onnx"
    changed = bytearray(weights.read_bytes())
    changed[1000] ^= 1
    weights.write_bytes(bytes(changed))
    recipe = tmp_path / "sample.toml"
    shutil.copyfile(ROOT / "pipelines/sample.toml", recipe)
    result = fdf(
        "build", recipe, "--out", tmp_path / "out", "--set", "loopback.port=0", cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    message = refused(result, 4)
    assert "centerface" in message
    assert "SHA-256" in message
    assert not (tmp_path / "out/metadata").exists(), "refused before anything is run"


def test_status_audit_validate_speak_json(sample_build: Path) -> None:
    rows = json.loads(fdf("status", sample_build, "--json").stdout)
    assert all(row["balanced"] for row in rows)
    audit = fdf("audit", sample_build, "--json")
    assert audit.returncode == 0
    body = json.loads(audit.stdout)
    assert body["faces"] == rows[-1]["kept"]
    assert body["findings"] == []
    assert {model["weight_license"] for model in body["models"]} >= {"MIT", "Apache-2.0", "CC0-1.0"}
    assert "not the consent" in body["notice"]
    checked = json.loads(fdf("validate", sample_build, "--json").stdout)
    assert checked["problems"] == []


def test_the_published_manifest_audits_by_itself() -> None:
    result = fdf("audit", ROOT / "manifests/sample")
    assert result.returncode == 0, result.stdout
    assert "CC-BY-NC-SA-2.0" in result.stdout
    assert "0 findings" in result.stdout


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = fdf("build", "pipelines/sample.toml", "--out", out, "--dry-run", "--json")
    steps = {step["stage"]: step for step in json.loads(result.stdout)["plan"]}
    assert list(steps) == ["metadata", "fetch", "detect", "filter", "manifest", "shard"]
    assert steps["metadata"]["units"] == 92
    assert steps["detect"]["seconds"] > 0
    assert not out.exists()


def test_a_finished_build_is_planned_as_done(sample_build: Path) -> None:
    steps = json.loads(fdf("build", "--out", sample_build, "--dry-run", "--json").stdout)["plan"]
    assert {step["note"] for step in steps} == {"done"}
    assert {step["seconds"] for step in steps} == {0.0}


def test_doctor_and_models(tmp_path: Path) -> None:
    checks = {check["name"]: check for check in json.loads(fdf("doctor", "--out", tmp_path, "--json").stdout)}
    assert checks["cv2"]["ok"]
    assert checks["weights centerface"]["ok"]
    models = json.loads(fdf("models", "--json").stdout)
    assert {"centerface", "facemesh468"} <= {model["id"] for model in models}
    assert all(len(model["sha256"]) == 64 for model in models if model["where"] == "bundled")


@pytest.mark.parametrize(("debug", "code"), [("", 70), ("1", 1)])
def test_what_nobody_foresaw_is_one_paragraph_too(debug: str, code: int) -> None:
    program = (
        "import sys, fdf.pipeline.funnel as f; f.funnel = lambda layout: 1 / 0;"
        "sys.argv = ['fdf', 'status', 'docs']; from fdf.cli.app import main; main()"
    )
    environment = {**os.environ, "FDF_DEBUG": debug}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert result.returncode == code
    assert ("Traceback" in result.stderr) == bool(debug)
    assert debug or "ZeroDivisionError" in result.stderr
