"""How many floating-point operations a training picture costs, beside a network of the shape that DeepPrivacy2 published.

    python benchmarks/gan_operations.py base 128

Counted, not timed, so it holds for any machine: what convolutions and matrix products of `fdf.gan.training.Trainer.step` do,
over a whole interval (one step with the penalties, the others without), a multiplication and an addition being two operations.
How many of them a device does in a second is another matter: grouped convolutions reach a smaller part of a GPU's peak than
full ones.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from gan import Rival, Trial
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fdf.gan.config import TrainRecipe
from fdf.gan.machine import place
from fdf.gan.networks import architecture
from fdf.gan.training import Trainer

ATEN = torch.ops.aten
BATCH, INTERVAL = 2, 8


class Operations(TorchDispatchMode):
    """Adds up what is done inside of it.

    torch's own counter can't follow `autograd.grad`, and takes grouped convolutions for full ones in slopes by their weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func.overloadpacket
        if packet is ATEN.convolution:
            self.total += convolution(args[0], args[1], out, transposed=args[6])
        elif packet is ATEN.convolution_backward:
            slope, x, weight = args[:3]
            wanted = sum(args[-1][:2])  # the slope by the input, by the weights
            self.total += wanted * convolution(x, weight, slope, transposed=args[7])
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **kwargs, out_val=out)
        return out


def convolution(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, *, transposed: bool) -> int:
    """Of one pass, forward or to one of the slopes: each weight of a filter meets each place once."""
    return 2 * (x if transposed else out).numel() * weight.numel() // weight.shape[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size")
    parser.add_argument("resolution", type=int)
    args = parser.parse_args()
    recipe = TrainRecipe().override(optimizer={"penalty_every": INTERVAL}, run={"batch": BATCH, "pictures": 10**9})
    length = argparse.Namespace(batch=BATCH, interval=INTERVAL, steps=None, intervals=1, resolution=args.resolution)
    each = []
    with place("cpu") as where:
        for kind in (Trainer, Rival):
            trial = Trial(kind(architecture(args.size, args.resolution), recipe, where), length)
            with Operations() as operations:
                trial.go(INTERVAL)
            each.append(operations.total / (BATCH * INTERVAL) / 1e9)
            print(f"{trial.name}: {each[-1]:.1f} GFLOP a training picture")
    print(f"ratio: {each[1] / each[0]:.2f} ×")


if __name__ == "__main__":
    main()
