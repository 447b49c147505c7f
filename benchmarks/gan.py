"""How fast the generator trains and runs, beside a network of the shape that DeepPrivacy2 published.

    python benchmarks/gan.py --train tiny 64                   # training pictures/s
    python benchmarks/gan.py --train base 128 --rival --device cuda --batch 64 --bf16
    python benchmarks/gan.py --infer small 128 --threads 1     # ms a face, fp32 and int8, onnxruntime

*Training pictures/s*: pictures that went by in a second of whole iterations: a step of the discriminator, a step of the
generator, and the penalties every `--interval`-th step spread over them. Real pictures are noise in memory: the loader is
measured elsewhere. Every round measures all networks one after the other; the median of the rounds counts, and the ratio is the
median of the rounds' own ratios, so that whatever else the machine does hits both.

The rival is written from its published shape (Hukkelås & Lindseth 2023, arXiv:2211.09454), from nothing of its code: a residual
U-Net of six levels, 64 to 512 channels, and the residual discriminator of StyleGAN2 with 80 to 640; one block of two full 3×3
convolutions a level and direction. Modulation and noise are left out, which favours the rival.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from fdf.gan.conditions import composite, cover, heat_maps
from fdf.gan.networks import Discriminator, Generator, architecture
from fdf.gan.objective import discriminator_loss, generator_loss, gradient_penalty


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


class Trial:
    """One pair of networks with optimizers and a batch, ready to be timed."""

    def __init__(self, name: str, generator: nn.Module, discriminator: nn.Module, latent: int, args) -> None:
        self.name, self.args, side = name, args, args.resolution
        layout = {"device": args.device, "memory_format": torch.channels_last}
        self.g, self.d = generator.to(**layout), discriminator.to(**layout)
        self.adam_g, self.adam_d = (
            torch.optim.Adam(net.parameters(), 1e-4, betas=(0.0, 0.95)) for net in (self.g, self.d)
        )
        self.real = (torch.rand(args.batch, 3, side, side) * 2 - 1).to(**layout)
        self.mask = torch.zeros(args.batch, 1, side, side, device=args.device)
        self.mask[..., side // 4 : -side // 8, side // 4 : -side // 4] = 1
        self.keypoints = torch.rand(args.batch, 7, 3, device=args.device) * side
        self.keypoints[..., 2] = 1
        self.z = torch.randn(args.batch, latent, device=args.device)
        print(f"{name}: G {millions(generator):.2f} M, D {millions(discriminator):.2f} M weights")

    def step(self, penalty: bool) -> None:
        rest = self.mask, self.keypoints
        kind = torch.device(self.args.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.args.bf16):
            with torch.no_grad():
                fake = self.g(self.real, *rest, self.z)
            loss = discriminator_loss(self.d, self.real, fake, *rest)
            if penalty:
                r1, r2 = gradient_penalty(self.d, self.real, fake, *rest, finite_difference=self.args.finite_difference)
                loss = loss + 0.1 * self.args.interval * (r1 + r2)
        self.adam_d.zero_grad()
        loss.backward()
        self.adam_d.step()
        self.d.requires_grad_(False)
        with torch.autocast(kind, torch.bfloat16, enabled=self.args.bf16):
            loss = generator_loss(self.d, self.real, self.g(self.real, *rest, self.z), *rest)
        self.adam_g.zero_grad()
        loss.backward()
        self.adam_g.step()
        self.d.requires_grad_(True)

    def pictures_per_second(self) -> float:
        plain, heavy = self._seconds(False), self._seconds(True)
        return self.args.batch * self.args.interval / (plain * (self.args.interval - 1) + heavy)

    def _seconds(self, penalty: bool) -> float:
        steps = 1 if self.args.device == "cpu" else 20
        return timed(lambda: [self.step(penalty) for _ in range(steps)], self.args.device) / steps


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of wall clock."""
    if device != "cpu":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def train(size: str, args) -> None:
    arch = architecture(size, args.resolution)
    trials = [Trial(f"fdf {size}", Generator(arch), Discriminator(arch), arch.latent, args)]
    if args.rival:
        trials.append(Trial("rival", RivalGenerator(512), RivalDiscriminator(args.resolution), 512, args))
    for trial in trials:
        trial.step(True)
        trial.step(False)
    rates = [[trial.pictures_per_second() for trial in trials] for _ in range(args.rounds)]
    for trial, found in zip(trials, zip(*rates, strict=True), strict=True):
        print(f"{trial.name}: {statistics.median(found):.1f} training pictures/s (best round {max(found):.1f})")
    if args.rival:
        print(f"ratio: {statistics.median(ours / theirs for ours, theirs in rates):.2f} ×")


def infer(size: str, args) -> None:
    import onnxruntime as ort

    from fdf.gan.export import export_onnx, made_up

    arch, options = architecture(size, args.resolution), ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    with tempfile.TemporaryDirectory() as folder:
        sessions, one = {}, made_up(arch, 1, 0)
        for precision in ("fp32", "int8"):
            check = export_onnx(Generator(arch), arch, Path(folder) / f"{precision}.onnx", precision=precision)
            sessions[precision] = ort.InferenceSession(check.path, options, providers=["CPUExecutionProvider"])
            sessions[precision].run(None, one)
            print(f"{precision}: {check.bytes / 1e6:.1f} MB, largest error {check.max_error:.2g}")
    for name, session in sessions.items():
        times = [timed(lambda session=session: session.run(None, one), "cpu") * 1e3 for _ in range(20 * args.rounds)]
        print(
            f"{size} {args.resolution} px {name}: {statistics.median(times):.1f} ms a face (best {min(times):.1f} ms)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs=2, metavar=("SIZE", "RESOLUTION"))
    parser.add_argument("--infer", nargs=2, metavar=("SIZE", "RESOLUTION"))
    parser.add_argument("--rival", action="store_true", help="DeepPrivacy2's shape beside ours")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--interval", type=int, default=8, help="penalties every k-th step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--finite-difference", type=float)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for work, wanted in ((train, args.train), (infer, args.infer)):
        if wanted:
            args.resolution = int(wanted[1])
            work(wanted[0], args)


if __name__ == "__main__":
    main()
