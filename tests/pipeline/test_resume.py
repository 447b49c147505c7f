"""Killed at any instant, a build goes on and ends byte-identical; so it does with any number of workers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fdf.pipeline.jobs import Jobs
from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES, load_recipe
from fdf.pipeline.runner import Selection, build
from fdf.pipeline.validate import validate
from fdf.pipeline.worker import Slot, run_job
from tests.pipeline.conftest import fingerprints


def command(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "fdf", "build", str(recipe), "--out", str(out), "--workers", "1", "--json"]


def with_workers(recipe: Path, out: Path) -> list[str]:
    """The same with two worker processes from the first moment on."""
    code = (
        "import sys; from pathlib import Path; from fdf import build, load_recipe;"
        "build(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), workers=2, stay_seconds=0)"
    )
    return [sys.executable, "-c", code, str(recipe), str(out)]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "wanted"), [(command, 13), (with_workers, 7)], ids=["one process", "workers"])
def test_killed_at_random_moments_it_ends_byte_identical(small_recipe, tmp_path: Path, command, wanted: int) -> None:
    """Each build is killed until it survives a whole round; over as many builds as that takes."""
    recipe = small_recipe()
    start = time.monotonic()
    subprocess.run(command(recipe, tmp_path / "calm"), check=True, capture_output=True)
    whole = time.monotonic() - start
    calm = fingerprints(tmp_path / "calm")
    moments = random.Random(20)
    kills = builds = 0
    while kills < wanted:
        out = tmp_path / f"shot{builds}"
        with (tmp_path / "errors").open("w") as errors:  # a file, not a pipe: workers may hold it a moment longer
            process = subprocess.Popen(command(recipe, out), stdout=subprocess.DEVNULL, stderr=errors)
            try:
                process.wait(timeout=moments.uniform(0.3, 1.0) * whole)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        said = (tmp_path / "errors").read_text()
        assert "error:" not in said, said
        if process.returncode == 0:
            assert fingerprints(out) == calm
            builds += 1
    subprocess.run(command(recipe, out), check=True, capture_output=True)
    assert fingerprints(out) == calm
    assert validate(Layout(out)).problems == []


@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_bytes(small_recipe, tmp_path: Path) -> None:
    recipe = load_recipe(small_recipe())
    outputs = []
    for workers in (1, 2, 4):
        out = tmp_path / f"w{workers}"
        # Zero seconds of patience: all but the first partition of a stage run in worker processes.
        build(recipe, out, workers=workers, stay_seconds=0.0)
        outputs.append(fingerprints(out))
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(small_recipe, tmp_path: Path) -> None:
    """The kernel itself refuses: no file may grow over 40 kB, so the first archive can't be written."""
    recipe, out = small_recipe(), tmp_path / "out"
    limited = [
        sys.executable,
        "-c",
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "sys.argv[0] = 'fdf'; runpy.run_module('fdf', run_name='__main__')",
        *command(recipe, out)[3:],
    ]
    refused = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert refused.returncode == 3, refused.stderr
    message = refused.stderr.strip().splitlines()
    errors = [line for line in message if line.startswith("error:")]
    assert len(errors) == 1
    assert "refuses to take more" in errors[0]
    assert "run the same command again" in errors[0]
    assert not list(out.rglob("*.part-*")), "a half-written file was left"
    assert Layout(out).finished("metadata") is not None
    subprocess.run(command(recipe, out), check=True, capture_output=True)
    subprocess.run(command(recipe, tmp_path / "calm"), check=True, capture_output=True)
    assert fingerprints(out) == fingerprints(tmp_path / "calm")


@pytest.mark.slow
def test_interrupted_it_says_so_and_goes_on(small_recipe, tmp_path: Path) -> None:
    recipe, out = small_recipe(), tmp_path / "out"
    process = subprocess.Popen(command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # It has begun to work when its first receipt is there; that is the moment to press Ctrl-C.
    while not list(out.glob("metadata/*.receipt.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert subprocess.run(command(recipe, out), capture_output=True, check=False).returncode == 0


def test_a_worker_that_outlives_its_build_writes_nothing(small_recipe, tmp_path: Path) -> None:
    """The build was killed while a worker was at work; the folder then belongs to whoever comes next."""
    recipe, out = load_recipe(small_recipe()), tmp_path / "out"
    build(recipe, out, workers=1, selection=Selection.of(last="metadata"))
    resigned = recipe.fetch.model_copy(update={"retries": 0, "give_up_after": 0})
    jobs = Jobs(recipe.model_copy(update={"fetch": resigned}), Layout(out))
    quick = next(jobs.of(STAGES["fetch"], "http://127.0.0.1:9"))
    with pytest.raises(SystemExit, match="is gone; fetch/part-00000 is not written"):
        run_job(quick, Slot(parent=os.getpid()))
    assert not list((out / "fetch").glob("part-00000*"))
    run_job(quick, Slot(parent=os.getppid()))
    assert Layout(out).receipts("fetch").keys() == {"part-00000"}


@pytest.mark.slow
def test_interrupted_while_a_server_keeps_silent_it_ends_at_once(small_recipe, tmp_path: Path) -> None:
    """Requests under way would wait for their read time-out; the person at the keyboard doesn't."""
    path, out = small_recipe(), tmp_path / "out"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)  # connections are taken by the kernel, and nobody ever answers
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        path.write_text(
            path.read_text().split("[loopback]")[0] + f'[fetch]\nmirror = "http://{host}"\nread_timeout = 300\n'
        )
        overrides = [f'fetch.allowed_hosts=["{host}"]', 'fetch.candidates=["mirror"]']
        arguments = [word for override in overrides for word in ("--set", override)]
        with subprocess.Popen(
            [*command(path, out), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            while not (out / "fetch").is_dir():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()  # one that hears nothing must not live on beside other tests
    assert process.returncode == 130, errors
    assert "run the same command again" in errors
    assert not list(out.rglob("*.part-*"))
