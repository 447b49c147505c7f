"""What only a GPU can show: bf16 by itself, fused Adam that is gone on with, pinned batches, cuDNN's gradients of gradients,
products that are no TF32, a compiled generator, and what is exported afterwards.

No test of bits: on a GPU the order of sums isn't fixed, so a resumed run is only nearly the unbroken one.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdf.gan.config import DataConfig, TrainRecipe
from fdf.gan.data import Deck, Positions, find_faces, loader
from tests.conftest import ROOT, free_port
from tests.gan.making import make_shards, short

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from fdf.gan import objective  # noqa: E402
from fdf.gan.conditions import composite  # noqa: E402
from fdf.gan.convolution import Twice  # noqa: E402
from fdf.gan.export import TOLERANCE, export_onnx, made_up  # noqa: E402
from fdf.gan.loop import Request, train  # noqa: E402
from fdf.gan.machine import Place, place  # noqa: E402
from fdf.gan.networks import Block, Discriminator, architecture  # noqa: E402
from fdf.gan.run import Run, load_generator, read_checkpoint  # noqa: E402
from fdf.gan.training import Trainer  # noqa: E402

DEVICE = "cuda"
SIDE = 64

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"), 12, side=SIDE)


def go(shards: Path | None, runs: Path, recipe: TrainRecipe, **options: Any) -> Run:
    result = train(Request(shards, recipe, runs, device=DEVICE, workers=2, force=True, **options))
    assert result is not None
    assert result.finished
    return Run(result.run)


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`tiny` at 64 px after three steps, the first of them with the penalty."""
    return go(shards, tmp_path_factory.mktemp("runs"), short(pictures=24, checkpoint_every=24))


def test_bf16_is_taken_by_itself_and_the_weights_stay_fp32(trained: Run) -> None:
    (start,) = trained.read_json("run.json")["starts"]
    assert start["device"] == torch.cuda.get_device_name()
    assert start["bf16"] == torch.cuda.is_bf16_supported(), "precision auto"
    lines = trained.metrics()
    assert [line["pictures"] for line in lines] == [8, 16, 24]
    assert all(math.isfinite(line[name]) for line in lines for name in ("loss_d", "loss_g"))
    assert math.isfinite(lines[0]["r1"]), "the first step has the penalty"
    tensors, meta = read_checkpoint(trained.latest())
    assert meta["pictures"] == 24
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in tensors.values())


def test_gone_on_with_from_the_same_picture_with_adams_moments(shards: Path, trained: Run, tmp_path: Path) -> None:
    tensors, meta = read_checkpoint(trained.latest())
    with place(DEVICE) as where:
        trainer = Trainer(architecture("tiny", SIDE), TrainRecipe.model_validate(meta["recipe"]), where)
        trainer.load(trained.latest())
    state, counters = trainer.state()
    assert (counters["pictures"], counters["steps"]) == (24, 3)
    assert set(state) == set(tensors)
    for name, value in state.items():
        assert value.device.type == DEVICE, f"{name}: fused Adam wants its counters on the GPU, too"
        assert torch.equal(value.cpu(), tensors[name]), name
    assert {int(value) for name, value in state.items() if name.endswith(".step")} == {3}
    assert all(adam.defaults["fused"] for adam in trainer.adams.values())

    copied = shutil.copytree(trained.path, tmp_path / trained.path.name)
    resumed = go(None, tmp_path, short(pictures=40, checkpoint_every=24), resume=copied)
    assert [line["pictures"] for line in resumed.metrics()] == [8, 16, 24, 32, 40]
    after, meta = read_checkpoint(resumed.latest())
    assert (meta["pictures"], meta["steps"]) == (40, 5)
    assert {int(value) for name, value in after.items() if name.endswith(".step")} == {5}
    moved = [name for name in tensors if not torch.equal(after[name], tensors[name])]
    assert len(moved) > 0.9 * len(tensors), "it went on learning"


def test_the_export_of_a_run_on_a_gpu_is_as_torch(trained: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="exporting needs onnxscript")
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    generator, arch, _ = load_generator(trained.path)
    check = export_onnx(generator, arch, tmp_path / "x.onnx")
    assert check.max_error <= TOLERANCE
    inputs = made_up(arch, 2, seed=5)
    (filled,) = ort.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"]).run(None, inputs)
    exact = generator.to(DEVICE, torch.float64)  # on a GPU fp32 may mean TF32, which alone is 1e-3 off
    given = [torch.from_numpy(inputs[name]).to(DEVICE, torch.float64) for name in ("picture", "mask", "keypoints", "z")]
    with torch.no_grad():
        drawn = exact(*given)
    assert np.abs(drawn.cpu().numpy() - filled).max() <= TOLERANCE


def test_pinned_batches_are_the_same_pictures(shards: Path) -> None:
    deck = Deck(find_faces(shards, resolution=SIDE), DataConfig(), seed=3)
    plain, pinned = (list(loader(deck, Positions(0, 24, 8), workers=2, pin=pin)) for pin in (False, True))
    assert len(plain) == len(pinned) == 3
    for left, right in zip(plain, pinned, strict=True):
        assert right["picture"].is_pinned()
        for name, value in left.items():
            assert torch.equal(right[name].to(DEVICE, non_blocking=True).cpu(), value), name


def test_one_step_is_that_of_the_cpu(shards: Path) -> None:
    """In fp32, or TF32 for it, to what other kernels round: no loss and no penalty is left out or counted twice on a GPU."""
    (item,) = loader(Deck(find_faces(shards, resolution=SIDE), DataConfig(), 0), Positions(0, 8, 8))
    recipe = short(precision="fp32")
    measured = []
    for device in ("cpu", DEVICE):
        trainer = Trainer(architecture("tiny", SIDE), recipe, Place(torch.device(device)))
        picture, mask, keypoints = (item[name].to(device) for name in ("picture", "mask", "keypoints"))
        part = picture.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last), mask, keypoints
        measured.append(trainer.step([part]).cpu())
    torch.testing.assert_close(measured[1], measured[0], rtol=2e-2, atol=1e-3)


class Stock(Twice):
    """torch's own double backward."""

    def __enter__(self) -> Stock:
        return self


@pytest.mark.parametrize(("bf16", "alike"), [(False, 0.9999), (True, 0.99)])
def test_a_penalty_step_is_that_of_torchs_double_backward(
    bf16: bool, alike: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    judge = Discriminator(architecture("tiny", SIDE)).to(DEVICE, memory_format=torch.channels_last)
    for block in judge.modules():
        if isinstance(block, Block):
            torch.nn.init.normal_(block.close.weight, std=0.05)
    real, fake = (2 * torch.rand(2, 4, 3, SIDE, SIDE, device=DEVICE) - 1).unbind()
    mask = torch.zeros(4, 1, SIDE, SIDE, device=DEVICE)
    mask[..., 16:48, 16:48] = 1
    data = [*(x.contiguous(memory_format=torch.channels_last) for x in (real, fake)), mask]
    data.append(SIDE * torch.rand(4, 7, 3, device=DEVICE))
    slopes = []
    for kind in (Twice, Stock):
        monkeypatch.setattr(objective, "Twice", kind)
        judge.zero_grad()
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
                loss, r1, r2 = objective.penalized_loss(judge, *data)
            (loss + 8 * (r1 + r2)).backward()
        slopes.append(torch.cat([value.grad.flatten() for value in judge.parameters()]))
    assert slopes[0].isfinite().all()
    assert torch.cosine_similarity(*slopes, dim=0) > alike
    assert slopes[0].norm().item() == pytest.approx(slopes[1].norm().item(), rel=2e-2)


def test_the_soft_edge_is_the_cpus_where_products_are_tf32() -> None:
    torch.manual_seed(0)
    picture, face = torch.rand(2, 2, 3, SIDE, SIDE) * 2 - 1
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., 16:48, 16:48] = 1
    expected = composite(picture, face, mask, width=4)
    with place(DEVICE) as where:
        assert torch.get_float32_matmul_precision() == "high", "as in training"
        drawn = composite(*(value.to(where.device) for value in (picture, face, mask)), width=4)
    torch.testing.assert_close(drawn.cpu(), expected, rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch says these of itself while it compiles
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_compiled_generator_learns_in_bf16(shards: Path, trained: Run, tmp_path: Path) -> None:
    compiled = go(shards, tmp_path, short(pictures=24, checkpoint_every=24, compile=True))
    for left, right in zip(compiled.metrics(), trained.metrics(), strict=True):
        for name in ("loss_d", "loss_g"):
            assert left[name] == pytest.approx(right[name], rel=0.05)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")
def test_two_gpus_do_what_one_does_with_two_parts(shards: Path, tmp_path: Path) -> None:
    recipe = short(pictures=24, precision="fp32")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    launcher = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-addr=127.0.0.1",
        f"--master-port={free_port()}",
    ]
    train_it = [
        "-m",
        "fdf",
        "train",
        shards,
        "--recipe",
        tmp_path / "recipe.toml",
        "--out",
        tmp_path / "two",
        "--force",
    ]
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, train_it), "--device", DEVICE, "--workers", "0"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (two,) = (tmp_path / "two").iterdir()
    assert Run(two).read_json("run.json")["starts"][0]["processes"] == 2
    one = go(shards, tmp_path / "one", recipe.override(run={"accumulate": 2}))
    losses = [[line["loss_d"] for line in run.metrics()] for run in (Run(two), one)]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
