"""The generator and the discriminator, all of both.

After R3GAN (Huang et al. 2024, arXiv:2501.05441): residual blocks 1×1 → grouped 3×3 → 1×1 without normalization, Fixup-like
initialization (Zhang et al. 2019, arXiv:1901.09321) and fixed smoothing filters where the resolution changes. The generator is
a U-Net over the picture without its face; z bends it through a scale and a shift for each channel.

Pictures are (N, 3, R, R) in −1–1, masks (N, 1, R, R) with 1 in the hole, keypoints (N, 7, 3) as in `conditions.heat_maps`.
Both networks want `channels_last` weights on every device, and bring what comes in to that layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from fdf.errors import ModelError, UsageError
from fdf.gan.conditions import KEYPOINTS, composite, cover, heat_maps
from fdf.gan.config import RESOLUTIONS
from fdf.gan.convolution import Conv2d, convolve

_SLOPE: Final = 0.2
_GAIN: Final = (2 / (1 + _SLOPE**2)) ** 0.5  # He et al. 2015: keeps the spread through a leaky ReLU
_BESIDE: Final = KEYPOINTS + 1  # heat-maps and mask


@dataclass(frozen=True)
class Architecture:
    """Everything that decides the shapes of the weights. Levels are listed from the finest to the coarsest.

    Attributes:
        size: tiny, small or base.
        resolution: side of the pictures, pixels.
        latent: length of z.
        channels: of the generator, by level; the coarsest is 8 × 8.
        encoder: residual blocks on the way down, by level.
        decoder: residual blocks on the way up, by level.
        discriminator_channels: by level; the coarsest is 4 × 4.
        discriminator_blocks: by level.
        group_width: channels of a group in the 3×3 convolutions; inside blocks there are twice the channels of the level.
    """

    size: str
    resolution: int
    latent: int
    channels: tuple[int, ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    discriminator_channels: tuple[int, ...]
    discriminator_blocks: tuple[int, ...]
    group_width: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """From what `to_dict` gave, perhaps by way of JSON.

        Raises:
            ModelError: other fields than an architecture has.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ModelError(
                "The checkpoint describes a network of another kind.",
                expected=f"the fields {', '.join(sorted(known))}",
                got=", ".join(sorted(values)) or "none",
                action="Use the version of fdf that wrote it, or train again.",
            )
        plain: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
        return cls(**plain)


# Levels from 256 px down to 8 px (generator) and 4 px (discriminator): a smaller resolution leaves the first ones out.
_SIZES: Final[dict[str, dict[str, Any]]] = {
    "tiny": {
        "latent": 64,
        "channels": (16, 24, 32, 96, 176, 304),
        "encoder": (0, 0, 0, 1, 1, 2),
        "decoder": (1, 1, 1, 1, 2, 2),
        "discriminator_channels": (16, 16, 24, 72, 144, 224, 320),
        "discriminator_blocks": (1, 1, 1, 1, 1, 2, 1),
        "group_width": 16,
    },
    "small": {  # CPUs work on 16 channels at once: 24 would cost what 32 do
        "latent": 128,
        "channels": (16, 16, 48, 128, 256, 384),
        "encoder": (0, 0, 0, 1, 1, 2),
        "decoder": (1, 1, 1, 1, 2, 3),
        "discriminator_channels": (16, 24, 48, 112, 192, 320, 448),
        "discriminator_blocks": (1, 1, 1, 1, 1, 2, 1),
        "group_width": 16,
    },
    "base": {
        "latent": 256,
        "channels": (32, 48, 96, 224, 384, 576),
        "encoder": (0, 0, 1, 2, 2, 3),
        "decoder": (1, 1, 2, 2, 4, 5),
        "discriminator_channels": (32, 48, 96, 192, 320, 448, 576),
        "discriminator_blocks": (1, 1, 1, 2, 2, 2, 2),
        "group_width": 32,
    },
}


def architecture(size: str, resolution: int) -> Architecture:
    """Look a network up by its size (tiny, small, base) and resolution (64, 128, 256).

    Raises:
        UsageError: there is no such size or resolution.
    """
    if size not in _SIZES:
        raise UsageError("Unknown size of network.", expected=", ".join(_SIZES), got=repr(size))
    if resolution not in RESOLUTIONS:
        raise UsageError(
            "Unknown resolution.", expected=", ".join(map(str, RESOLUTIONS)) + " pixels", got=repr(resolution)
        )
    skipped = len(RESOLUTIONS) - 1 - RESOLUTIONS.index(resolution)
    levels: dict[str, Any] = {
        key: value[skipped:] if isinstance(value, tuple) else value for key, value in _SIZES[size].items()
    }
    return Architecture(size=size, resolution=resolution, **levels)


class Generator(nn.Module):
    """Draws a face into a hole, from what is round it, keypoints and chance."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        wide, width = arch.channels, arch.group_width
        count = sum(arch.encoder) + sum(arch.decoder)
        self.stem = _conv(3 + _BESIDE, wide[0], 3)
        self.encoder = nn.ModuleList(_blocks(n, c, width, count) for c, n in zip(wide, arch.encoder, strict=True))
        self.widen = nn.ModuleList(nn.Sequential(Halve(a), _conv(a, b, 1)) for a, b in pairwise(wide))
        self.narrow = nn.ModuleList(_conv(b, a, 1, gain=0.5**0.5) for a, b in pairwise(wide))
        self.beside = nn.ModuleList(_conv(_BESIDE, c, 1) for c in wide)
        self.style = Style(arch.latent, [c for c, n in zip(wide, arch.decoder, strict=True) for _ in range(n)])
        self.decoder = nn.ModuleList(_blocks(n, c, width, count) for c, n in zip(wide, arch.decoder, strict=True))
        self.head = _conv(wide[0], 3, 3, gain=0.25)

    def forward(self, picture: Tensor, mask: Tensor, keypoints: Tensor, z: Tensor) -> Tensor:
        """Fill the hole.

        Args:
            picture: (N, 3, R, R), −1–1. What lies in the hole is taken away before anything else.
            mask: (N, 1, R, R), 1 in the hole.
            keypoints: (N, 7, 3), x, y in pixels, presence 0–1.
            z: (N, latent), standard normal.

        Returns:
            (N, 3, R, R): outside the hole the picture, to the bit; inside the face, which may leave −1–1 by a little.
        """
        kind, side = self.head.weight.dtype, self.arch.resolution  # half-precision weights: conditions stay float32
        beside = list(_conditions(mask, keypoints, side, len(self.widen) + 1, kind))
        x = self.stem(_joined(cover(picture, mask).to(kind), beside[0]))
        passed = []
        for level, blocks in enumerate(self.encoder):
            x = self.widen[level - 1](x) if level else x
            x = blocks(x)
            passed.append(x)
        styles = iter(self.style(z.to(kind)))
        for level in reversed(range(len(passed))):
            if level < len(self.narrow):  # coming up from a coarser level
                x = double(self.narrow[level](x)) + passed[level]
            x = x + self.beside[level](beside[level])
            for block in self.decoder[level]:
                x = block(x, next(styles))
        return composite(picture, self.head(x).to(picture.dtype), mask, width=max(1, side // 32))


class Discriminator(nn.Module):
    """Tells pictures from composites; higher logits are more real. Sees hole and keypoints too."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        wide, blocks = arch.discriminator_channels, arch.discriminator_blocks
        self.stem = _conv(3 + _BESIDE, wide[0], 3)
        self.widen = nn.ModuleList(nn.Sequential(Halve(a), _conv(a, b, 1)) for a, b in pairwise(wide))
        self.levels = nn.ModuleList(
            _blocks(n, c, arch.group_width, sum(blocks)) for c, n in zip(wide, blocks, strict=True)
        )
        self.gather = _conv(wide[-1], wide[-1], 4, groups=wide[-1], padding=0)  # each channel weighs its 4 × 4 places
        self.head = nn.Linear(wide[-1], 1)
        nn.init.normal_(self.head.weight, std=wide[-1] ** -0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, picture: Tensor, mask: Tensor, keypoints: Tensor) -> Tensor:
        """Judge pictures (N, 3, R, R); returns float32 logits (N,)."""
        (beside,) = _conditions(mask, keypoints, self.arch.resolution, 1, picture.dtype)
        x = self.stem(_joined(picture, beside))
        for level, blocks in enumerate(self.levels):
            x = self.widen[level - 1](x) if level else x
            x = blocks(x)
        # As a sum of products, for a Linear would be bf16 under autocast and TF32 where matrices are: losses live on small
        # differences of logits.
        gathered = self.gather(x).flatten(1).to(self.head.weight.dtype)
        return ((gathered * self.head.weight).sum(dim=1) + self.head.bias).float()


class Block(nn.Module):
    """x + 1×1(leaky(grouped 3×3(leaky(1×1(x))))), twice as wide inside; adds nothing before it has learnt something.

    Args:
        channels: of x.
        group_width: channels of a group of the 3×3 convolution.
        count: blocks in the whole network; Fixup scales the first two convolutions by count^(−1/4).
    """

    def __init__(self, channels: int, group_width: int, count: int) -> None:
        super().__init__()
        inside, gain = 2 * channels, _GAIN * count**-0.25
        self.open = _conv(channels, inside, 1, gain=gain)
        self.look = _conv(inside, inside, 3, gain=gain, groups=max(1, inside // group_width))
        self.close = _conv(inside, channels, 1, gain=0.0)

    def forward(self, x: Tensor, style: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Apply to (N, channels, H, W), with a style (scale, shift), each (N, channels, 1, 1), on the way in."""
        y = x if style is None else torch.addcmul(style[1], x, style[0])
        y = F.leaky_relu(self.open(y), _SLOPE, inplace=True)
        y = F.leaky_relu(self.look(y), _SLOPE, inplace=True)
        return x + self.close(y)


class Halve(nn.Module):
    """Half the side: smoothed by [1, 2, 1], then means of 2 × 2, which together is one depthwise convolution [1, 3, 3, 1]."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, channels, H / 2, W / 2)."""
        return convolve(x, self.kernel, stride=2, padding=1, groups=len(self.kernel))


class Style(nn.Module):
    """z → two layers → a scale round 1 and a shift round 0 for every channel of every decoder block."""

    def __init__(self, latent: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.first, self.second = nn.Linear(latent, latent), nn.Linear(latent, latent)
        self.out = nn.Linear(latent, 2 * sum(self.channels))
        for layer, gain in ((self.first, _GAIN), (self.second, _GAIN), (self.out, 0.5)):
            nn.init.normal_(layer.weight, std=gain * latent**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Scale and shift, each (N, channels, 1, 1), for one block after the other, the coarsest level first."""
        w = F.leaky_relu(self.second(F.leaky_relu(self.first(z), _SLOPE)), _SLOPE)
        scale, shift = self.out(w)[..., None, None].chunk(2, dim=1)
        widths = self.channels[::-1]
        return iter(zip((1 + scale).split(widths, dim=1), shift.split(widths, dim=1), strict=True))


def double(x: Tensor) -> Tensor:
    """Twice the side: every pixel four times, then smoothed by [1, 2, 1]; which is bilinear.

    One operator and one node of ONNX, but its gradient scatters, which torch.compile (2.13) can't do in bf16 on a CPU. So a
    compiled generator that learns blends.
    """
    if x.requires_grad and torch.compiler.is_compiling():
        return blended(x)
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def blended(x: Tensor) -> Tensor:
    """`double` as what it is: 3/4 of the pixel and 1/4 of its neighbour, the border's pixels being their own."""
    rows = x.permute(0, 2, 3, 1)  # channels last in shape, too, or stacking would lose the layout
    for way in (1, 2):
        end = rows.shape[way] - 1
        before = torch.cat([rows.narrow(way, 0, 1), rows.narrow(way, 0, end)], dim=way)
        after = torch.cat([rows.narrow(way, 1, end), rows.narrow(way, end, 1)], dim=way)
        pair = torch.lerp(rows, before, 0.25), torch.lerp(rows, after, 0.25)
        rows = torch.stack(pair, dim=way + 1).flatten(way, way + 1)
    return rows.permute(0, 3, 1, 2)


def _conditions(mask: Tensor, keypoints: Tensor, side: int, levels: int, kind: torch.dtype) -> Iterator[Tensor]:
    """Mask and heat-maps of each level, (N, 8, side / 2^level, …); the mask's means are exact, being of zeros and ones."""
    for level in range(levels):
        mask = F.avg_pool2d(mask, 2) if level else mask
        beside = torch.cat([mask, heat_maps(keypoints, side >> level, side=side)], dim=1)
        yield beside.to(kind, memory_format=torch.channels_last)


def _joined(picture: Tensor, beside: Tensor) -> Tensor:
    """What a stem gets, channels last, whatever the picture was."""
    return torch.cat([picture, beside], dim=1).contiguous(memory_format=torch.channels_last)


def _blocks(number: int, channels: int, group_width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, group_width, count) for _ in range(number)))


def _conv(inputs: int, outputs: int, size: int, *, gain: float = 1.0, groups: int = 1, padding: int = -1) -> Conv2d:
    """A convolution that keeps the spread of its input times `gain` (He et al. 2015, arXiv:1502.01852)."""
    layer = Conv2d(inputs, outputs, size, padding=size // 2 if padding < 0 else padding, groups=groups)
    nn.init.normal_(layer.weight, std=gain * (inputs // groups * size * size) ** -0.5)
    nn.init.zeros_(layer.bias)
    return layer
