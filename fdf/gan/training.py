"""The trainer: two networks, two steps and an average. `fdf.gan.loop` goes round it.

Everything random in a step belongs to its number: pictures and their variation to their positions (`data.Deck`), z and torch's
own generator to (seed, step, part). So a checkpoint holds weights, averages, Adam's moments and two counters, and going on from
it gives, on one CPU, the same bits as never having stopped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from fdf.errors import ModelError
from fdf.gan.config import TrainRecipe
from fdf.gan.grow import inherited
from fdf.gan.machine import Place
from fdf.gan.networks import Architecture, Discriminator, Generator
from fdf.gan.objective import discriminator_loss, generator_loss, penalized_loss
from fdf.gan.run import load_weights, read_checkpoint

MEASURED: Final = ("loss_d", "loss_g", "r1", "r2")

Part = tuple[Tensor, Tensor, Tensor]
"""Picture (B, 3, R, R) in −1–1, mask (B, 1, R, R), keypoints (B, 7, 3)."""


def anneal(ends: tuple[float, float], pictures: int, total: int) -> float:
    """A cosine from the first to the second value, as in R3GAN (Huang et al. 2024); the second one from `total` on."""
    first, last = ends
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(pictures / total, 1)))


class Trainer:
    """Both networks and all that learning changes.

    Attributes:
        steps, pictures: how far it is.
    """

    def __init__(self, arch: Architecture, recipe: TrainRecipe, where: Place) -> None:
        self.arch, self.recipe, self.where = arch, recipe, where
        self.steps = self.pictures = 0
        torch.manual_seed(recipe.run.seed)  # the same weights in every process
        layout = {"device": where.device, "memory_format": torch.channels_last}
        self.generator, self.discriminator = Generator(arch).to(**layout), Discriminator(arch).to(**layout)
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        options = {"betas": (0.0, recipe.optimizer.beta2), "lr": recipe.optimizer.learning_rate[0]}
        self.adams = {
            "generator": torch.optim.Adam(self.generator.parameters(), fused=where.device.type == "cuda", **options),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), fused=where.device.type == "cuda", **options
            ),
        }
        # Only the generator: torch.compile can't differentiate twice what it compiled, as the exact penalty has to.
        self.draw = torch.compile(self.generator) if recipe.run.compile else self.generator
        on_gpu = where.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.bf16 = recipe.run.precision == "bf16" or (recipe.run.precision == "auto" and on_gpu)

    def step(self, parts: Sequence[Part]) -> Tensor:
        """Learn from this process's share of a batch; returns the sums of `MEASURED` and how often r1 and r2 were measured."""
        settings, now = self.recipe.optimizer, self.schedule()
        penalize = self.steps % settings.penalty_every == 0
        measured = torch.zeros(len(MEASURED) + 1, device=self.where.device)
        torch.manual_seed((self.recipe.run.seed * 1_000_003 + self.steps) * 1_009 + self.where.rank)

        # Both steps see the same fakes. A batch in one part is drawn once for both; in several, again, to hold one at a time.
        held = len(parts) == 1
        for number, part in enumerate(parts):
            picture, mask, keypoints = part
            with torch.set_grad_enabled(held), self._cast():
                fake = self.draw(picture, mask, keypoints, self._z(number, len(picture)))
            with self._cast():
                if penalize:
                    loss, r1, r2 = penalized_loss(
                        self.discriminator, picture, fake, mask, keypoints, finite_difference=settings.finite_difference
                    )
                    total = loss + now["gamma"] / 2 * settings.penalty_every * (r1 + r2)
                    measured += torch.stack(
                        [torch.zeros_like(r1), torch.zeros_like(r1), r1, r2, torch.ones_like(r1)]
                    ).detach()
                else:
                    loss = total = discriminator_loss(self.discriminator, picture, fake, mask, keypoints)
            (total / len(parts)).backward()
            measured[0] += loss.detach()
        self._update("discriminator", self.discriminator, now["learning_rate"])

        self.discriminator.requires_grad_(False)
        for number, part in enumerate(parts):
            picture, mask, keypoints = part
            with self._cast():
                if not held:
                    fake = self.draw(picture, mask, keypoints, self._z(number, len(picture)))
                loss = generator_loss(self.discriminator, picture, fake, mask, keypoints)
            (loss / len(parts)).backward()
            measured[1] += loss.detach()
        self.discriminator.requires_grad_(True)
        self._update("generator", self.generator, now["learning_rate"])

        self.steps, self.pictures = self.steps + 1, self.pictures + self.recipe.run.batch
        keep = 0.5 ** (self.recipe.run.batch / max(self.schedule()["ema_pictures"], 1e-8))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), 1 - keep)
        return measured

    def schedule(self) -> dict[str, float]:
        """Learning rate, γ and half-life of the average at this point."""
        settings, total = self.recipe.optimizer, self.recipe.optimizer.anneal_pictures or self.recipe.run.pictures
        names = ("learning_rate", "gamma", "ema_pictures")
        now = {name: anneal(getattr(settings, name), self.pictures, total) for name in names}
        now["ema_pictures"] = min(now["ema_pictures"], settings.ema_warmup * self.pictures)
        return now

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that going on needs: named tensors, and a header of plain values."""
        networks = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}
        tensors = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
        for name, adam in self.adams.items():
            for key, parameter in networks[name].named_parameters():
                tensors |= {f"adam.{name}.{key}.{moment}": value for moment, value in adam.state[parameter].items()}
        recipe = self.recipe.model_dump(mode="json", exclude_none=True)
        counters = {"pictures": self.pictures, "steps": self.steps}
        return tensors, {**counters, "architecture": self.arch.to_dict(), "recipe": recipe}

    def load(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint; returns its header.

        Raises:
            ModelError: damaged, or of another architecture.
        """
        tensors, meta = read_checkpoint(path)
        networks = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}
        for name, network in networks.items():
            load_weights(network, _below(tensors, f"{name}."), path)
        for name, adam in self.adams.items():
            for key, parameter in networks[name].named_parameters():
                moments = _below(tensors, f"adam.{name}.{key}.")
                adam.state[parameter] = {
                    moment: torch.empty_like(parameter, requires_grad=False).copy_(value) if value.ndim else value.to(
                        self.where.device if self.where.device.type == "cuda" else "cpu"
                    )
                    for moment, value in moments.items()
                }  # fmt: skip
        self.steps, self.pictures = meta["steps"], meta["pictures"]
        return meta

    def begin_with(self, path: Path) -> dict[str, Any]:
        """Take over the weights of another run's checkpoint (`grow`), not its counters and moments; returns its header.

        Raises:
            ModelError: damaged, no numbers, or of an architecture that this one can't grow from.
        """
        tensors, meta = read_checkpoint(path)
        before = Architecture.from_dict(meta["architecture"])
        for name, network in (("ema", self.generator), ("discriminator", self.discriminator)):
            network.load_state_dict(inherited(network, _below(tensors, f"{name}."), before, path))
        # A run that is still going on may have another latest checkpoint for another process.
        self.where.share(value.data for net in (self.generator, self.discriminator) for value in net.parameters())
        self.ema.load_state_dict(self.generator.state_dict())
        if not self.healthy():
            raise ModelError(f"The weights of {path} are no numbers", action="Begin with an earlier checkpoint")
        return meta

    def healthy(self) -> bool:
        """Whether all weights are numbers."""
        every = [*self.generator.parameters(), *self.discriminator.parameters(), *self.ema.parameters()]
        return bool(torch.stack([value.isfinite().all() for value in every]).all())

    def _cast(self) -> Any:
        return torch.autocast(self.where.device.type, torch.bfloat16, enabled=self.bf16)

    def _z(self, number: int, count: int) -> Tensor:
        part = self.where.rank * self.recipe.run.accumulate + number
        rng = np.random.default_rng((self.recipe.run.seed, 2, self.steps, part))
        z = rng.standard_normal((count, self.arch.latent), dtype=np.float32)
        return torch.from_numpy(z).to(self.where.device, non_blocking=True)

    def _update(self, name: str, network: Any, learning_rate: float) -> None:
        self.where.average(parameter.grad for parameter in network.parameters())
        adam = self.adams[name]
        for group in adam.param_groups:
            group["lr"] = learning_rate
        adam.step()
        adam.zero_grad(set_to_none=True)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
