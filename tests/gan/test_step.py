"""Steps of the trainer against the same steps written out: losses, penalties, Adam, schedule and average, in float64."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from fdf.gan.config import TrainRecipe
from tests.gan.making import SIDE, mini, short

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.functional import softplus  # noqa: E402

from fdf.gan.machine import Place  # noqa: E402
from fdf.gan.training import Part, Trainer  # noqa: E402

BATCH, LATENT, STEPS = 8, 8, 4
RATE, GAMMA, HALF_LIFE = (4e-3, 1e-3), (3.0, 0.5), (40.0, 80.0)
BETA2, WARMUP, PENALTY_EVERY, TOTAL = 0.9, 0.5, 3, 80


def recipe(**run: Any) -> TrainRecipe:
    return short(batch=BATCH, **run).override(
        optimizer={
            "learning_rate": RATE, "gamma": GAMMA, "ema_pictures": HALF_LIFE, "beta2": BETA2, "ema_warmup": WARMUP,
            "penalty_every": PENALTY_EVERY, "anneal_pictures": TOTAL,
        }
    )  # fmt: skip


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The z of each step, (STEPS, BATCH, LATENT); parts take theirs in turn."""
    z = torch.randn(STEPS, BATCH, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(Trainer, "_z", lambda self, number, count: z[self.steps, number * count :][:count])
    return z


def made(**run: Any) -> Trainer:
    """A trainer in float64: what is left between two ways to the same sum is no more than 1e-7 (the penalty's float32)."""
    trainer = Trainer(mini(LATENT), recipe(**run), Place(torch.device("cpu")))
    for network in (trainer.generator, trainer.discriminator, trainer.ema):
        network.double()
        with torch.no_grad():  # last convolutions begin at zero and would let nothing through
            for value in network.parameters():
                value.add_(
                    0.05 * torch.randn(value.shape, dtype=value.dtype, generator=torch.Generator().manual_seed(9))
                )
    return trainer


def pictures() -> list[Part]:
    random = torch.Generator().manual_seed(3)
    steps = []
    for _ in range(STEPS):
        picture = torch.rand(BATCH, 3, SIDE, SIDE, dtype=torch.float64, generator=random) * 2 - 1
        mask = torch.zeros(BATCH, 1, SIDE, SIDE, dtype=torch.float64)
        mask[:, :, SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = 1
        keypoints = torch.rand(BATCH, 7, 3, dtype=torch.float64, generator=random) * SIDE
        keypoints[..., 2] = 1
        steps.append((picture, mask, keypoints))
    return steps


def cosine(ends: tuple[float, float], seen: int) -> float:
    return ends[1] + (ends[0] - ends[1]) * (1 + math.cos(math.pi * seen / TOTAL)) / 2


class Adam:
    """Kingma and Ba 2015, Algorithm 1, with β₁ = 0."""

    def __init__(self, network: Any) -> None:
        self.weights = list(network.parameters())
        self.squares = [torch.zeros_like(value) for value in self.weights]
        self.steps = 0

    def update(self, loss: Any, rate: float) -> None:
        self.steps += 1
        slopes = torch.autograd.grad(loss, self.weights, allow_unused=True)
        for value, square, slope in zip(self.weights, self.squares, slopes, strict=True):
            if slope is None:
                continue
            square.mul_(BETA2).add_((1 - BETA2) * slope**2)
            with torch.no_grad():
                value.sub_(rate * slope / ((square / (1 - BETA2**self.steps)).sqrt() + 1e-8))


def test_steps_are_those_of_the_formulas(noise: Any) -> None:
    """The third penalty's step is none: R1 and R2 come at steps 0 and 3, each PENALTY_EVERY times as heavy."""
    trainer = made()
    generator, judge, average = (copy.deepcopy(n) for n in (trainer.generator, trainer.discriminator, trainer.ema))
    average.requires_grad_(True)
    adams = Adam(generator), Adam(judge)
    for step, (real, mask, keypoints) in enumerate(pictures()):
        measured = trainer.step([(real, mask, keypoints)])

        seen = step * BATCH
        rate, gamma = cosine(RATE, seen), cosine(GAMMA, seen)
        fake = generator(real, mask, keypoints, noise[step]).detach()
        lost_d = total = softplus(judge(fake, mask, keypoints) - judge(real, mask, keypoints)).mean()
        if step % PENALTY_EVERY == 0:
            norms = []
            for one in (real, fake):
                at = one.clone().requires_grad_()
                (slope,) = torch.autograd.grad(judge(at, mask, keypoints).sum(), at, create_graph=True)
                norms.append(slope.square().sum(dim=(1, 2, 3)).mean())
            total = lost_d + PENALTY_EVERY * gamma / 2 * (norms[0] + norms[1])
            assert measured[2:].tolist() == pytest.approx([norms[0].item(), norms[1].item(), 1], rel=1e-5)
        else:
            assert measured[2:].tolist() == [0, 0, 0]
        adams[1].update(total, rate)
        fake = generator(real, mask, keypoints, noise[step])
        lost_g = softplus(judge(real, mask, keypoints).detach() - judge(fake, mask, keypoints)).mean()
        adams[0].update(lost_g, rate)
        assert measured[:2].tolist() == pytest.approx([lost_d.item(), lost_g.item()], rel=1e-5)

        seen += BATCH
        keep = 0.5 ** (BATCH / min(cosine(HALF_LIFE, seen), WARMUP * seen))
        with torch.no_grad():
            for mean, value in zip(average.parameters(), generator.parameters(), strict=True):
                mean.copy_(keep * mean + (1 - keep) * value)
        for mine, theirs in ((judge, trainer.discriminator), (generator, trainer.generator), (average, trainer.ema)):
            same(mine, theirs)
    assert trainer.steps == STEPS
    assert trainer.pictures == STEPS * BATCH


@pytest.mark.parametrize("parts", [2, 4])
def test_a_step_in_parts_is_the_same_step(noise: Any, parts: int) -> None:
    whole, divided = made(), made(accumulate=parts)
    for batch in pictures():
        whole.step([batch])
        divided.step(list(zip(*(value.chunk(parts) for value in batch), strict=True)))
        for name in ("discriminator", "generator", "ema"):
            same(getattr(whole, name), getattr(divided, name))


def same(expected: Any, got: Any) -> None:
    """To a thousandth of the smallest step that Adam takes."""
    for (name, wanted), value in zip(expected.named_parameters(), got.parameters(), strict=True):
        torch.testing.assert_close(value.detach(), wanted.detach(), rtol=0, atol=1e-3 * RATE[1], msg=name)
