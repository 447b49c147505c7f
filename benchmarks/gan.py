"""How fast the generator trains and runs, beside a network of the shape that DeepPrivacy2 published.

    python benchmarks/gan.py --train tiny 64                   # training pictures/s
    python benchmarks/gan.py --train base 128 --rival --device cuda --batch 64
    python benchmarks/gan.py --train tiny 64 --interval 1 --steps 4              # every step with the penalties
    python benchmarks/gan.py --train tiny 64 --interval 1000000 --steps 4        # none of them
    python benchmarks/gan.py --infer small 128 --threads 1     # ms a face, fp32 and int8, onnxruntime

*Training pictures/s*: what is timed is `fdf.gan.training.Trainer.step`, on the device as `fdf train` sets it up: both steps on
the same fakes, the penalties every `--interval`-th time, Adam, the average of the weights. A round is whole intervals, unless
`--steps` says how long it is. Batches
are noise in the loader's format, in memory, and go to the device one by one as in `fdf train`; how fast the loader itself is,
`gan_data.py` measures. Every round measures all networks one after the other; the median of the rounds counts, and the ratio is
the median of the rounds' own ratios, so that whatever else the machine does hits both.

The rival is written from its published shape (Hukkelås & Lindseth 2023, arXiv:2211.09454), from nothing of its code: a residual
U-Net of six levels, 64 to 512 channels, and the residual discriminator of StyleGAN2 with 80 to 640; one block of two full 3×3
convolutions a level and direction. Modulation and noise are left out, which favours the rival. It is trained by the very same
trainer: same loss, penalties, Adam, average, precision and device settings.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from fdf.gan import training
from fdf.gan.conditions import composite, cover, heat_maps
from fdf.gan.config import TrainRecipe
from fdf.gan.machine import Place, place
from fdf.gan.networks import Architecture, Generator, architecture
from fdf.gan.training import Part, Trainer


class Residual(nn.Module):
    """Two 3×3 convolutions beside a 1×1."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.first, self.second, self.side = nn.Conv2d(a, a, 3, 1, 1), nn.Conv2d(a, b, 3, 1, 1), nn.Conv2d(a, b, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.first(x), 0.2, inplace=True)
        return (self.side(x) + F.leaky_relu(self.second(y), 0.2, inplace=True)) * 0.5**0.5


class RivalGenerator(nn.Module):
    """A residual U-Net of six levels."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        wide = [64, 128, 256, 512, 512, 512]
        self.stem, self.head = nn.Conv2d(11, wide[0], 1), nn.Conv2d(wide[0], 3, 1)
        self.down = nn.ModuleList(Residual(a, b) for a, b in zip(wide, [*wide[1:], wide[-1]], strict=True))
        self.up = nn.ModuleList(Residual(b, a) for a, b in zip(wide, [*wide[1:], wide[-1]], strict=True))
        self.style = nn.Linear(latent, wide[-1])

    def forward(self, picture, mask, keypoints, z):
        x = self.stem(torch.cat([cover(picture, mask), mask, heat_maps(keypoints, picture.shape[-1])], dim=1))
        passed = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.avg_pool2d(x, 2))
            passed.append(x)
        x = x + self.style(z)[..., None, None]
        for level in reversed(range(len(self.up))):
            x = self.up[level](x if level == len(self.up) - 1 else x + passed[level])
            if level:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        return composite(picture, self.head(x).to(picture.dtype), mask, max(1, picture.shape[-1] // 32))


class RivalDiscriminator(nn.Module):
    """The residual discriminator of StyleGAN2."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        levels = resolution.bit_length() - 3  # down to 4 × 4
        wide = [min(640, 80 * 2**level) for level in range(levels + 1)]
        self.stem = nn.Conv2d(11, wide[0], 1)
        self.blocks = nn.ModuleList(Residual(a, b) for a, b in pairwise(wide))
        self.last, self.head = nn.Conv2d(wide[-1], wide[-1], 3, 1, 1), nn.Linear(wide[-1] * 16, 1)

    def forward(self, picture, mask, keypoints):
        x = self.stem(torch.cat([picture, mask, heat_maps(keypoints, picture.shape[-1])], dim=1))
        for block in self.blocks:
            x = F.avg_pool2d(block(x), 2)
        return self.head(F.leaky_relu(self.last(x), 0.2).flatten(1)).squeeze(1).float()


def millions(network: nn.Module) -> float:
    return sum(weight.numel() for weight in network.parameters()) / 1e6


class Rival(Trainer):
    """The trainer with the rival's networks in the place of ours; all else is inherited."""

    def __init__(self, arch: Architecture, recipe: TrainRecipe, where: Place) -> None:
        rivals = {
            "Generator": lambda arch: RivalGenerator(arch.latent),
            "Discriminator": lambda arch: RivalDiscriminator(arch.resolution),
        }
        with mock.patch.multiple(training, **rivals):
            super().__init__(replace(arch, size="rival", latent=512), recipe, where)


class Trial:
    """A trainer and batches as the loader gives them, ready to be timed."""

    def __init__(self, trainer: Trainer, args: argparse.Namespace) -> None:
        self.trainer, self.cuda = trainer, trainer.where.device.type == "cuda"
        self.name = trainer.arch.size if isinstance(trainer, Rival) else f"fdf {trainer.arch.size}"
        self.steps = args.steps or args.interval * (args.intervals or (8 if self.cuda else 1))
        self.batches = itertools.cycle([made_up(args.batch, args.resolution, seed, self.cuda) for seed in range(4)])
        sizes = millions(trainer.generator), millions(trainer.discriminator)
        print(f"{self.name}: G {sizes[0]:.2f} M, D {sizes[1]:.2f} M weights, {'bf16' if trainer.bf16 else 'fp32'}")

    def go(self, steps: int) -> None:
        """Train some steps."""
        for item in itertools.islice(self.batches, steps):
            self.trainer.step([self._part(item)])

    def pictures_per_second(self) -> float:
        """Of one round."""
        return self.trainer.recipe.run.batch * self.steps / timed(lambda: self.go(self.steps), cuda=self.cuda)

    def _part(self, item: dict[str, torch.Tensor]) -> Part:
        # As the loop of `fdf train` takes a batch from the loader.
        device = self.trainer.where.device
        picture, mask, keypoints = (item[key].to(device, non_blocking=True) for key in ("picture", "mask", "keypoints"))
        return picture.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last), mask, keypoints


def made_up(batch: int, side: int, seed: int, pin: bool) -> dict[str, torch.Tensor]:
    """A batch of noise, as `fdf.gan.data.loader` gives it."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((batch, 1, side, side), np.float32)
    mask[..., side // 4 : -side // 8, side // 4 : -side // 4] = 1
    keypoints = np.concatenate([rng.random((batch, 7, 2)) * side, np.ones((batch, 7, 1))], axis=2).astype(np.float32)
    item = {"picture": rng.integers(0, 256, (batch, 3, side, side), np.uint8), "mask": mask, "keypoints": keypoints}
    tensors = {name: torch.from_numpy(value) for name, value in item.items()}
    return {name: tensor.pin_memory() for name, tensor in tensors.items()} if pin else tensors


def timed(work: Callable[[], object], *, cuda: bool = False) -> float:
    """Seconds of wall clock, to the end of what the GPU was given."""
    if cuda:
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def train(size: str, args: argparse.Namespace) -> None:
    arch = architecture(size, args.resolution)
    recipe = TrainRecipe().override(
        optimizer={"penalty_every": args.interval, "finite_difference": args.finite_difference},
        run={"batch": args.batch, "precision": args.precision, "compile": args.compile, "pictures": 10**9},
    )
    with place(args.device) as where:
        print(f"torch {torch.__version__} on {machine(where)}, batches of {args.batch} at {args.resolution} px")
        kinds = (Trainer, Rival) if args.rival else (Trainer,)
        trials = [Trial(kind(arch, recipe, where), args) for kind in kinds]
        for (
            trial
        ) in trials:  # the first step has the penalties, the second has none; a GPU chooses its kernels meanwhile
            trial.go(min(args.interval + 1, 9) if trial.cuda else 2)
        rates = [[trial.pictures_per_second() for trial in trials] for _ in range(args.rounds)]
    for trial, found in zip(trials, zip(*rates, strict=True), strict=True):
        print(
            f"{trial.name}: {statistics.median(found):.1f} training pictures/s (rounds {min(found):.1f}–{max(found):.1f}), "
            f"{1e3 * args.batch / statistics.median(found):.0f} ms a step"
        )
    if args.rival:
        print(f"ratio: {statistics.median(ours / theirs for ours, theirs in rates):.2f} ×")


def machine(where: Place) -> str:
    """What it runs on."""
    if where.device.type == "cuda":
        return f"{torch.cuda.get_device_name(where.device)} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})"
    return f"{torch.get_num_threads()} threads of a CPU"


def infer(size: str, args: argparse.Namespace) -> None:
    import onnxruntime as ort

    from fdf.gan.export import export_onnx
    from fdf.gan.export import made_up as inputs

    arch, options = architecture(size, args.resolution), ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    with tempfile.TemporaryDirectory() as folder:
        sessions, one = {}, inputs(arch, 1, 0)
        for precision in ("fp32", "int8"):
            check = export_onnx(Generator(arch), arch, Path(folder) / f"{precision}.onnx", precision=precision)
            sessions[precision] = ort.InferenceSession(check.path, options, providers=["CPUExecutionProvider"])
            sessions[precision].run(None, one)
            print(f"{precision}: {check.bytes / 1e6:.1f} MB, largest error {check.max_error:.2g}")
    for name, session in sessions.items():
        times = [timed(lambda session=session: session.run(None, one)) * 1e3 for _ in range(20 * args.rounds)]
        print(
            f"{size} {args.resolution} px {name}: {statistics.median(times):.1f} ms a face (best {min(times):.1f} ms)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs=2, metavar=("SIZE", "RESOLUTION"))
    parser.add_argument("--infer", nargs=2, metavar=("SIZE", "RESOLUTION"))
    parser.add_argument("--rival", action="store_true", help="DeepPrivacy2's shape beside ours")
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--interval", type=int, default=8, help="penalties every k-th step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--intervals", type=int, help="of a round; 1 on the CPU, 8 on a GPU if left out")
    length.add_argument("--steps", type=int, help="of a round, instead of whole intervals")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="as `run.precision`")
    parser.add_argument("--compile", action="store_true", help="as `run.compile`, of both")
    parser.add_argument("--finite-difference", type=float)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for work, wanted in ((train, args.train), (infer, args.infer)):
        if wanted:
            args.resolution = int(wanted[1])
            work(wanted[0], args)


if __name__ == "__main__":
    main()
