"""To begin with the weights of another run: the same networks on other faces, or the same at half the resolution.

The second is progressive growing (Karras et al. 2018, arXiv:1710.10196): what was learnt at 64 px, where a picture costs a
quarter, is not learnt again at 128. New layers are set so that the grown network does at first what the smaller one did,
enlarged; only the stems lose something, since a 3×3 filter at half the resolution becomes its mean. Nothing is faded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from fdf.errors import ModelError
from fdf.gan.config import RESOLUTIONS
from fdf.gan.networks import Architecture, Generator
from fdf.gan.run import check_weights

if TYPE_CHECKING:
    from fdf.gan.networks import Discriminator

_LISTS: Final = ("encoder", "decoder", "widen", "narrow", "beside", "levels")
"""Lists of layers by level, the finest first: one that grows puts one before them."""


def inherited(
    network: Generator | Discriminator, weights: Mapping[str, Tensor], before: Architecture, path: Path
) -> dict[str, Tensor]:
    """Weights for a network that begins where another one is.

    Args:
        network: as it was made, with weights by chance; it keeps those that nothing is inherited for.
        weights: state of a network of the architecture `before`.
        path: where they are from, for messages.

    Raises:
        ModelError: the other one is neither the same nor the same at half the resolution, or something of it is missing.
    """
    if before == network.arch:
        check_weights(network, weights, path)
        return dict(weights)
    if before != _halved(network.arch):
        mine, half = f"{network.arch.size} at {network.arch.resolution} px", network.arch.resolution // 2
        smaller = f" or of {network.arch.size} at {half} px" if half >= min(RESOLUTIONS) else ""
        named_alike = before.size == network.arch.size and before.resolution in (network.arch.resolution, half)
        raise ModelError(
            f"{path} can't be gone on with by other networks",
            expected=f"a checkpoint of {mine}{smaller}",
            got=f"{before.size} at {before.resolution} px" + (" of other widths" if named_alike else ""),
            action="Choose --size and --resolution to suit it, or train from nothing",
        )
    check_weights(type(network)(before), weights, path)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state |= {_one_level_on(name): value for name, value in weights.items() if not name.startswith(("stem", "head"))}
    _enter(state, weights)
    if isinstance(network, Generator):
        _leave(state, weights)
        _more_styles(state, network, weights)
    else:
        state |= {name: value for name, value in weights.items() if name.startswith("head")}
    return state


def _halved(arch: Architecture) -> Architecture:
    """The same architecture without its finest level."""
    lists = ("channels", "encoder", "decoder", "discriminator_channels", "discriminator_blocks")
    return replace(arch, resolution=arch.resolution // 2, **{name: getattr(arch, name)[1:] for name in lists})


def _one_level_on(name: str) -> str:
    group, *rest = name.split(".")
    return ".".join([group, str(int(rest[0]) + 1), *rest[1:]]) if group in _LISTS else name


def _enter(state: dict[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Pass what comes in on, through the new stem, to a 1×1 convolution that does what the stem did to smooth pictures."""
    mean = weights["stem.weight"].sum(dim=(2, 3), keepdim=True)
    inputs = mean.shape[1]
    stem, widen = state["stem.weight"], state["widen.0.1.weight"]
    stem[:inputs] = torch.eye(inputs)[:, :, None, None] * _centre(stem)
    state["stem.bias"][:] = 0
    widen[:] = 0
    widen[:, :inputs] = mean
    state["widen.0.1.bias"][:] = weights["stem.bias"]


def _leave(state: dict[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """The colours are made where they were, by a 1×1 convolution, and brought up in the last three of the new channels."""
    narrow, head = state["narrow.0.weight"], state["head.weight"]
    narrow[-3:] = weights["head.weight"].sum(dim=(2, 3), keepdim=True)
    state["narrow.0.bias"][-3:] = weights["head.bias"]
    head[:] = 0
    head[:, -3:] = torch.eye(3)[:, :, None, None] * _centre(head)
    state["head.bias"][:] = 0
    for name in ("stem.weight", "beside.0.weight", "beside.0.bias"):  # nothing else comes in there
        state[name][-3:] = 0


def _more_styles(state: dict[str, Tensor], network: Generator, weights: Mapping[str, Tensor]) -> None:
    """Rows of the styles: all scales, then all shifts, of each the coarsest level first: the new level's come last."""
    rows = len(weights["style.out.weight"]) // 2
    for name in ("style.out.weight", "style.out.bias"):
        fresh = network.state_dict()[name].clone()
        half = len(fresh) // 2
        fresh[:rows], fresh[half : half + rows] = weights[name][:rows], weights[name][rows:]
        state[name] = fresh


def _centre(filters: Tensor) -> Tensor:
    """1 in the middle of a 3×3 filter."""
    place = torch.zeros(filters.shape[2:])
    place[1, 1] = 1
    return place
