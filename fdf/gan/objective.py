"""The whole objective: a relativistic pairing with a penalty on both sides, nothing else.

R3GAN (Huang et al. 2024, arXiv:2501.05441): every real picture is paired with a fake one and the discriminator only has to say
which is which (RpGAN, Jolicoeur-Martineau 2018, arXiv:1807.00734); zero-centred gradient penalties R1 on real and R2 on fake
pictures (Mescheder et al. 2018, arXiv:1801.04406) make it converge. Real and fake share hole and keypoints.

A step of training, with γ the weight of the penalties, computed every k-th step:

    loss_d, r1, r2 = penalized_loss(…)        total = loss_d + γ / 2 · k · (R1 + R2)        loss_g = generator_loss(…)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from fdf.gan.convolution import Twice

Judge = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A discriminator: picture, mask and keypoints to logits (N,)."""


def generator_loss(discriminator: Judge, real: Tensor, fake: Tensor, mask: Tensor, keypoints: Tensor) -> Tensor:
    """Fakes should look more real than the real ones. Freeze the discriminator's weights meanwhile: it is quicker."""
    with torch.no_grad():
        real_logits = discriminator(real, mask, keypoints)
    return F.softplus(real_logits - discriminator(fake, mask, keypoints)).mean()


def discriminator_loss(discriminator: Judge, real: Tensor, fake: Tensor, mask: Tensor, keypoints: Tensor) -> Tensor:
    """Real pictures should look more real than fake ones. No gradient reaches the generator."""
    return _pairing(_both(discriminator, torch.cat([real, fake.detach()]), mask, keypoints))


def gradient_penalty(
    discriminator: Judge,
    real: Tensor,
    fake: Tensor,
    mask: Tensor,
    keypoints: Tensor,
    *,
    finite_difference: float | None = None,
) -> tuple[Tensor, Tensor]:
    """R1 and R2: mean squared norm of the gradient of the logit by the picture, at real and at fake pictures.

    Args:
        discriminator: pictures, masks, keypoints to logits; no logit may depend on another picture of the batch.
        real: (N, 3, R, R).
        fake: (N, 3, R, R).
        mask: (N, 1, R, R).
        keypoints: (N, 7, 3).
        finite_difference: None for the exact form. A number ε, a length over the whole picture, for `secants`, which
            differentiates no gradient.
    """
    _, r1, r2 = penalized_loss(discriminator, real, fake, mask, keypoints, finite_difference=finite_difference)
    return r1, r2


def penalized_loss(
    discriminator: Judge,
    real: Tensor,
    fake: Tensor,
    mask: Tensor,
    keypoints: Tensor,
    *,
    finite_difference: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`discriminator_loss` and both values of `gradient_penalty`, from one pass through the discriminator."""
    pictures = torch.cat([real, fake]).detach().requires_grad_()
    if finite_difference is None:
        with Twice() as twice:
            logits = _both(discriminator, pictures, mask, keypoints)
        norms = twice.gradient(logits.sum(), pictures).float().square().sum(dim=(1, 2, 3))
    else:
        logits = _both(discriminator, pictures, mask, keypoints)
        (slope,) = torch.autograd.grad(logits.sum(), pictures, retain_graph=True)
        norms = secants(
            lambda at: _both(discriminator, at, mask, keypoints), pictures.detach(), slope, finite_difference
        )
    r1, r2 = norms.chunk(2)
    return _pairing(logits), r1.mean(), r2.mean()


def secants(judge: Callable[[Tensor], Tensor], pictures: Tensor, slope: Tensor, step: float) -> Tensor:
    """Squared slopes of the lines through the logits at x − εv and x + εv; v = g / ‖g‖ is held fixed, ε is the `step`.

    For a smooth judge this is ‖g‖² as ε → 0, and so is its gradient, since d‖g‖² = 2 ‖g‖ v·dg. Ours is piecewise linear: the
    exact form's gradient sees no kink, this one's every kink between the two points, with a weight of 1 / 2ε. So they don't
    meet, and get noisier as ε → 0. On the trained `tiny` discriminator at 64 px, 128 pictures:

        ε                                0.01    0.1    0.3      1      3     10
        value, of the exact one's        1.00   0.99   0.96   0.85   0.56   0.13
        gradients' cosine with exact     0.43   0.62   0.66   0.69   0.59   0.27

    It does restrain: after 24 steps with γ = 2 the exact R1, 0.77 before, was 5.1 without a penalty, 0.09 with the exact one,
    0.07 with ε = 0.1 to 1, 0.08 with 3, 0.28 with 10.

    Args:
        judge: pictures to logits (N,).
        pictures: (N, 3, R, R).
        slope: the logits' gradient there, (N, 3, R, R).
        step: ε, a length over the whole picture; 1 is where both rows are best together.

    Returns:
        (N,), differentiable by the judge's weights.
    """
    lengths = slope.float().flatten(1).norm(dim=1)[:, None, None, None]
    way = step * slope / lengths.clamp(min=1e-12)
    ahead, behind = judge(pictures + way), judge(pictures - way)
    return ((ahead - behind) / (2 * step)).square()


def _pairing(logits: Tensor) -> Tensor:
    """From the logits of the real and then the fake half of a batch."""
    real, fake = logits.chunk(2)
    return F.softplus(fake - real).mean()


def _both(discriminator: Judge, pictures: Tensor, mask: Tensor, keypoints: Tensor) -> Tensor:
    """Logits of a batch of real and then fake pictures, which share masks and keypoints."""
    return discriminator(pictures, mask.repeat(2, 1, 1, 1), keypoints.repeat(2, 1, 1))
