"""`run.compile = true`: what torch.compile makes of the generator learns as the plain one does, in bf16, too."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.gan.making import make_shards, mini, short

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from fdf.gan.loop import Request, train  # noqa: E402
from fdf.gan.run import Run, read_checkpoint  # noqa: E402

# torch says these of itself while it compiles.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def losses(shards: Path, runs: Path, **settings: Any) -> list[tuple[float, float]]:
    torch.set_num_threads(1)
    # As wide as `tiny`'s two finest levels: torch 2.13 can't compile the gradient of F.interpolate there, in bf16.
    arch = dataclasses.replace(mini(), channels=(32, 96), group_width=16)
    result = train(Request(shards, short(pictures=24, **settings), runs, device="cpu", arch=arch))
    assert result is not None
    assert result.finished
    run = Run(result.run)
    assert all(value.isfinite().all() for value in read_checkpoint(run.latest())[0].values())
    assert [line["pictures"] for line in run.metrics()] == [8, 16, 24]
    return [(line["loss_d"], line["loss_g"]) for line in run.metrics()]


def test_a_compiled_generator_learns_in_bf16(shards: Path, tmp_path: Path) -> None:
    plain, compiled = (losses(shards, tmp_path / str(way), precision="bf16", compile=way) for way in (False, True))
    assert all(math.isfinite(value) for line in compiled for value in line)
    for left, right in zip(compiled, plain, strict=True):
        assert left == pytest.approx(right, rel=0.02)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))
