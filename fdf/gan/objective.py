"""The whole objective: a relativistic pairing with a penalty on both sides, nothing else.

R3GAN (Huang et al. 2024, arXiv:2501.05441): every real picture is paired with a fake one and the discriminator only has to say
which is which (RpGAN, Jolicoeur-Martineau 2018, arXiv:1807.00734); zero-centred gradient penalties R1 on real and R2 on fake
pictures (Mescheder et al. 2018, arXiv:1801.04406) make it converge. Real and fake share hole and keypoints.

A step of training, with γ the weight of the penalties, computed every k-th step:

    loss_d = discriminator_loss(…) + γ / 2 · k · (R1 + R2)        loss_g = generator_loss(…)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Judge = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A discriminator: picture, mask and keypoints to logits (N,)."""


def generator_loss(discriminator: Judge, real: Tensor, fake: Tensor, mask: Tensor, keypoints: Tensor) -> Tensor:
    """Fakes should look more real than the real ones. Freeze the discriminator's weights meanwhile: it is quicker."""
    with torch.no_grad():
        real_logits = discriminator(real, mask, keypoints)
    return F.softplus(real_logits - discriminator(fake, mask, keypoints)).mean()


def discriminator_loss(discriminator: Judge, real: Tensor, fake: Tensor, mask: Tensor, keypoints: Tensor) -> Tensor:
    """Real pictures should look more real than fake ones. No gradient reaches the generator."""
    real_logits, fake_logits = _both(discriminator, torch.cat([real, fake.detach()]), mask, keypoints)
    return F.softplus(fake_logits - real_logits).mean()


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
        finite_difference: None for the exact form, which differentiates twice. A number ε for a form without that, as
            torch.compile wants it: v = g / ‖g‖ is held fixed and ‖g‖ ≈ (D(x + εv) − D(x − εv)) / 2ε, whose square has the
            penalty's own value and, since d‖g‖² = 2‖g‖ v·dg, its own gradient too, as ε → 0. ε is a length over the whole
            picture; 0.1 to 1 serves.
    """
    pictures = torch.cat([real, fake]).detach().requires_grad_()
    logits = torch.cat(_both(discriminator, pictures, mask, keypoints))
    (slope,) = torch.autograd.grad(logits.sum(), pictures, create_graph=finite_difference is None)
    norms = slope.float().square().sum(dim=(1, 2, 3))
    if finite_difference is not None:
        step = finite_difference * slope / norms.sqrt().clamp(min=1e-12)[:, None, None, None]
        ahead, behind = (
            torch.cat(_both(discriminator, (pictures + way * step).detach(), mask, keypoints)) for way in (1, -1)
        )
        norms = ((ahead - behind) / (2 * finite_difference)).square()
    r1, r2 = norms.chunk(2)
    return r1.mean(), r2.mean()


def _both(discriminator: Judge, pictures: Tensor, mask: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the real and of the fake half of a batch."""
    real, fake = discriminator(pictures, mask.repeat(2, 1, 1, 1), keypoints.repeat(2, 1, 1)).chunk(2)
    return real, fake
