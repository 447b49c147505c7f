"""`fdf train` and `fdf export` as people meet them."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fdf.cli.train import export, train
from fdf.errors import RecipeError, UsageError
from tests.conftest import ROOT
from tests.gan.making import make_shards, mini, short

needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors")),
    reason="the extra train is not installed",
)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def fdf(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fdf", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment(), timeout=300
    )


@needs_torch
@pytest.mark.slow
def test_train_stop_resume(sample_build: Path, tmp_path: Path) -> None:
    """The whole way on the sample corpus, with the real networks: begun, told to stop, gone on with."""
    runs = tmp_path / "runs"
    recipe = tmp_path / "train.toml"
    recipe.write_text("[run]\nmetrics_every = 2\nsample_faces = 1\nsample_variants = 1\n")
    command = ["train", sample_build, "--out", runs, "--recipe", recipe, "--batch", "2", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fdf", *map(str, command), "--pictures", "100000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not any(path.stat().st_size for path in runs.glob("*/metrics.jsonl")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    run = runs / "00001-tiny-64"
    assert f"interrupted: go on with `fdf train --resume {run}`" in said
    assert "pictures seen" in out
    seen = max(int(path.stem) for path in run.glob("checkpoints/*.safetensors"))

    result = fdf("train", "--resume", run, "--pictures", seen + 4, "--device", "cpu", "--json")
    assert result.returncode == 0, result.stderr
    body = json.loads(result.stdout)
    assert (body["pictures"], body["finished"], body["run"]) == (seen + 4, True, str(run))
    assert f"{seen + 4:,} of {seen + 4:,} pictures" in result.stderr
    assert "data wait" in result.stderr
    assert "Rights: `by-nc-sa`" in (run / "card.md").read_text(encoding="utf-8")


@needs_torch
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")),
    reason="the extra train is not installed",
)
def test_export_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fdf.gan.loop import Request
    from fdf.gan.loop import train as run_training

    shards = make_shards(tmp_path / "shards", 6)
    result = run_training(Request(shards, short(pictures=8), tmp_path / "runs", device="cpu", arch=mini()))
    assert result is not None
    export(result.run, as_json=True)
    body = json.loads(capsys.readouterr().out)
    assert body["path"] == str(result.run / "generator-fp32.onnx")
    assert body["precision"] == "fp32"
    assert body["compared"] == 5, "two faces of the shards with two z, and one alone"
    import onnx

    properties = {item.key: item.value for item in onnx.load(body["path"]).metadata_props}
    assert properties["rights_class"] == "by"
    assert properties["run"] == "00001-mini-16"
    assert properties["pictures"] == "8"
    assert "conflict" not in properties
    shards.rename(tmp_path / "elsewhere")
    export(result.run, as_json=True)
    said = capsys.readouterr()
    assert "is gone: compared on made-up pictures" in said.err
    assert json.loads(said.out)["compared"] == 13


@needs_torch
def test_wrong_requests_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No shards were given"):
        train()
    with pytest.raises(UsageError, match="There are no shards at"):
        train(tmp_path, out=tmp_path / "runs")
    with pytest.raises(UsageError, match="is no run"):
        export(tmp_path)
    with pytest.raises(RecipeError, match=r"run\.pictures: Input should be greater than or equal to 1"):
        train(tmp_path, pictures=0)
    with pytest.raises(UsageError, match="A run that goes on stays in its folder"):
        train(resume=tmp_path, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["train", "export"])
def test_without_torch_the_extra_is_named(command: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules['torch'] = None; sys.argv = ['fdf', '{command}', 'x'];"
        "from fdf.cli.app import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 2
    assert 'torch is not installed. Install it with `pip install "fdf[train]"`' in result.stderr
