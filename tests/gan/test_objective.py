"""The losses against what can be worked out by hand, and a few steps that learn something."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="fdf.gan needs the extra [torch]")

from fdf.gan.networks import Architecture, Block, Discriminator, Generator  # noqa: E402
from fdf.gan.objective import (  # noqa: E402
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    penalized_loss,
)

torch.set_num_threads(1)  # small networks; two threads that wait for each other on a busy machine take minutes


def batch(count=4, side=8):
    torch.manual_seed(0)
    real, fake = torch.rand(2, count, 3, side, side) * 2 - 1
    return real, fake, torch.zeros(count, 1, side, side), torch.zeros(count, 7, 3)


def linear(picture, mask, keypoints):
    return 0.5 * picture.flatten(1).sum(1)


def quadratic(picture, mask, keypoints):
    return picture.square().flatten(1).sum(1)


@pytest.mark.parametrize("finite_difference", [None, 0.1])
def test_penalty_of_a_linear_judge(finite_difference):
    r1, r2 = gradient_penalty(linear, *batch(), finite_difference=finite_difference)
    assert r1.item() == pytest.approx(0.25 * 3 * 8 * 8, rel=1e-3)
    assert r2.item() == pytest.approx(0.25 * 3 * 8 * 8, rel=1e-3)


@pytest.mark.parametrize("finite_difference", [None, 0.1])
def test_penalty_of_a_quadratic_judge(finite_difference):
    real, fake, mask, keypoints = batch()
    r1, r2 = gradient_penalty(quadratic, real, fake, mask, keypoints, finite_difference=finite_difference)
    assert r1.item() == pytest.approx(4 * real.square().sum().item() / len(real), rel=1e-3)
    assert r2.item() == pytest.approx(4 * fake.square().sum().item() / len(fake), rel=1e-3)


def test_both_forms_of_the_penalty_teach_a_smooth_judge_the_same():
    torch.manual_seed(0)
    layers = torch.nn.Linear(192, 16), torch.nn.Softplus(), torch.nn.Linear(16, 1)
    inner = torch.nn.Sequential(torch.nn.Flatten(), *layers)
    inner.double()

    def judge(picture, mask, keypoints):
        return inner(picture).squeeze(1)

    data = [value.double() for value in batch()]
    gradients = []
    for form in (None, 0.01):
        r1, r2 = gradient_penalty(judge, *data, finite_difference=form)
        gradients.append(torch.autograd.grad(r1 + 2 * r2, list(inner.parameters()), allow_unused=True))
    for exact, near in zip(*gradients, strict=True):
        if exact is not None:
            assert torch.allclose(exact, near, rtol=1e-3, atol=1e-8)


def test_the_pairing_is_symmetric():
    real, fake, mask, keypoints = batch()
    assert discriminator_loss(linear, real, fake, mask, keypoints) == generator_loss(
        linear, fake, real, mask, keypoints
    )
    assert discriminator_loss(linear, real, real, mask, keypoints).item() == pytest.approx(math.log(2))


def test_each_loss_teaches_only_its_own_network():
    real, fake, mask, keypoints = batch()
    weight = torch.ones((), requires_grad=True)
    fake.requires_grad_()

    def judge(picture, mask, keypoints):
        return weight * linear(picture, mask, keypoints)

    discriminator_loss(judge, real, fake, mask, keypoints).backward()
    assert fake.grad is None
    assert weight.grad is not None
    generator_loss(judge, real, fake, mask, keypoints).backward()
    assert fake.grad is not None


def small():
    return Architecture(
        size="tiny", resolution=64, latent=8, channels=(16, 16, 16, 32), encoder=(0, 0, 0, 1), decoder=(0, 0, 1, 1),
        discriminator_channels=(16, 16, 16, 16, 32), discriminator_blocks=(0, 0, 0, 1, 1), group_width=16,
    )  # fmt: skip


def toy(arch, count=4):
    torch.manual_seed(0)
    real = torch.full((count, 3, 64, 64), 0.6) + 0.05 * torch.randn(count, 3, 64, 64)
    mask = torch.zeros(count, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    return real, mask, torch.zeros(count, 7, 3), torch.randn(count, arch.latent)


def busy(arch):
    """A discriminator whose blocks do something: piecewise linear, with kinks everywhere."""
    torch.manual_seed(1)
    judge = Discriminator(arch)
    for block in judge.modules():
        if isinstance(block, Block):
            torch.nn.init.normal_(block.close.weight, std=0.1)
    return judge


def test_one_pass_gives_the_loss_and_the_penalties():
    arch = small()
    real, mask, keypoints, _ = toy(arch)
    judge, data = busy(arch), (real, real.flip(-1) - 0.3, mask, keypoints)
    loss, r1, r2 = penalized_loss(judge, *data)
    (loss + 3 * r1 + r2).backward()
    together = [value.grad.clone() for value in judge.parameters()]
    judge.zero_grad()
    discriminator_loss(judge, *data).backward()
    first, second = gradient_penalty(judge, *data)
    (3 * first + second).backward()
    assert (r1.item(), r2.item()) == pytest.approx((first.item(), second.item()), rel=1e-5)
    largest = max(value.abs().max().item() for value in together)
    for left, value in zip(together, judge.parameters(), strict=True):
        torch.testing.assert_close(left, value.grad, rtol=1e-4, atol=1e-5 * largest)


def test_finite_differences_restrain_a_real_discriminator():
    """They don't teach what the exact form does, whose gradient sees no kink; they measure the same and bring it down."""
    arch = small()
    real, mask, keypoints, _ = toy(arch)
    judge, data = busy(arch), (real, real.flip(-1) - 0.3, mask, keypoints)

    def exact():
        return sum(value.item() for value in gradient_penalty(judge, *data))

    before = exact()
    assert sum(v.item() for v in gradient_penalty(judge, *data, finite_difference=0.1)) == pytest.approx(
        before, rel=0.1
    )
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3, betas=(0.0, 0.95))
    for _ in range(10):
        optimizer.zero_grad()
        sum(gradient_penalty(judge, *data, finite_difference=1.0)).backward()
        optimizer.step()
    assert exact() < 0.5 * before


def test_the_discriminator_learns_to_tell():
    arch = small()
    real, mask, keypoints, z = toy(arch)
    judge, generator = Discriminator(arch), Generator(arch)
    fake = generator(real, mask, keypoints, z).detach()
    optimizer = torch.optim.Adam(judge.parameters(), 2e-3, betas=(0.0, 0.95))
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = discriminator_loss(judge, real, fake, mask, keypoints)
        r1, r2 = gradient_penalty(judge, real, fake, mask, keypoints)
        (loss + 0.05 * (r1 + r2)).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_together_they_fill_a_plain_hole():
    """Light-grey pictures: after some steps the generator's hole has come near to light grey."""
    arch = small()
    real, mask, keypoints, z = toy(arch)
    generator, judge = Generator(arch), Discriminator(arch)
    optimizers = [torch.optim.Adam(net.parameters(), 4e-3, betas=(0.0, 0.95)) for net in (generator, judge)]
    hole = mask.expand_as(real) > 0.5

    def error():
        with torch.no_grad():
            return (generator(real, mask, keypoints, z) - real)[hole].abs().mean().item()

    before = error()
    for _ in range(20):
        fake = generator(real, mask, keypoints, z)
        optimizers[1].zero_grad()
        r1, r2 = gradient_penalty(judge, real, fake, mask, keypoints)
        (discriminator_loss(judge, real, fake, mask, keypoints) + 0.1 * (r1 + r2)).backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        generator_loss(judge, real, fake, mask, keypoints).backward()
        optimizers[0].step()
    assert error() < 0.85 * before
