"""What stands beside the picture: keypoint heat-maps, the hole, and its soft edge.

Pixel i of a row covers x from i to i + 1, so its centre is i + 0.5: coordinates scale with the resolution, without an offset.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

KEYPOINTS: Final = 7
SIGMA: Final = 1 / 32
"""Width of a heat-map's hill, as a share of the picture's side: 2 px at 64."""
_NARROWEST: Final = 0.7  # pixels; a narrower hill could fall between two pixel centres


def heat_maps(keypoints: Tensor, resolution: int, sigma: float = SIGMA, *, side: int | None = None) -> Tensor:
    """Draw each keypoint as a Gaussian hill as high as its presence.

    Args:
        keypoints: (N, 7, 3), (x, y) in pixels of the picture and presence 0–1. Where presence is 0 or not a number the
            position is never looked at: it may be anything, NaN too.
        resolution: side of the maps, pixels.
        sigma: standard deviation of a hill, share of the side; never under 0.7 px of the map.
        side: side of the picture that the keypoints are measured in; None: that of the maps.

    Returns:
        (N, 7, resolution, resolution), 0–1, in the precision of the keypoints.
    """
    there = keypoints[..., 2:] > 0  # False for NaN
    points = torch.where(there, keypoints, 0.0)
    points = torch.where(torch.isfinite(points), points, 0.0)
    presence = torch.where(torch.isfinite(keypoints).all(dim=-1), points[..., 2].clamp(max=1), 0.0)
    centres = torch.arange(resolution, device=keypoints.device, dtype=keypoints.dtype) + 0.5
    width = max(sigma * resolution, _NARROWEST)
    away = (centres - points[..., :2, None] * (resolution / (side or resolution))) / width  # (N, 7, 2, R)
    hills = torch.exp(-0.5 * away.square())
    return presence[..., None, None] * hills[..., 1, :, None] * hills[..., 0, None, :]


def visible_part(mask: Tensor) -> Tensor:
    """True where the picture may be looked at: mask under one half. A mask that is not a number hides."""
    return mask < 0.5


def cover(picture: Tensor, mask: Tensor) -> Tensor:
    """Replace what lies in the hole by mid-grey.

    A choice and not a product: 0 × NaN is NaN, and no bit of the face may pass.
    """
    return torch.where(visible_part(mask), picture, 0.0)


def composite(picture: Tensor, generated: Tensor, mask: Tensor, width: int) -> Tensor:
    """Put the generated face into the hole.

    Outside the hole the picture stays as it is, to the bit. A slope outside would alter known pixels; one that mixes with the
    picture inside would show the hidden face. So inside, the generated face goes over into the *visible* pixels spread across
    the edge: their mean in a window of `width` pixels each way.

    Args:
        picture: (N, 3, R, R); what lies in the hole has no influence.
        generated: (N, 3, R, R).
        mask: (N, 1, R, R), 1 in the hole.
        width: depth of the soft edge, pixels.
    """
    visible = visible_part(mask)
    seen = _box(visible.to(picture.dtype), width)
    spread = _box(cover(picture, mask), width) / seen.clamp(min=1e-6)
    return torch.where(visible, picture, spread + _slope(seen) * (generated - spread))


def _slope(seen: Tensor) -> Tensor:
    """From the share of visible pixels in the window, one half at a straight edge: 0 there, 1 where nothing is seen."""
    return (1 - 2 * seen).clamp(0, 1)


def _box(values: Tensor, width: int) -> Tensor:
    """Mean over a window of 2 × width + 1 pixels, rows then columns; zeros beyond the border.

    As products with a band matrix on the CPU, where that is ten times as fast as pooling, which reads each pixel
    2 × width + 1 times each way. A GPU may be set to make products of TF32, which has 11 bits; there it is pooled.
    """
    return _pooled(values, width) if values.is_cuda else _banded(values, width)


def _banded(values: Tensor, width: int) -> Tensor:
    at = torch.arange(values.shape[-1], device=values.device)
    band = ((at[:, None] - at[None]).abs() <= width).to(values.dtype) / (2 * width + 1)
    device = "cpu" if values.is_meta else values.device.type
    with torch.autocast(device, enabled=False):  # which would take the last bits of products
        return band @ values @ band  # it is symmetric


def _pooled(values: Tensor, width: int) -> Tensor:
    window = 2 * width + 1
    columns = F.avg_pool2d(values, (window, 1), stride=1, padding=(width, 0))
    return F.avg_pool2d(columns, (1, window), stride=1, padding=(0, width))
