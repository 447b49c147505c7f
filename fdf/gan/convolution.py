"""A convolution whose gradient can be differentiated again for the price of two convolutions.

The penalty needs the gradient of a gradient. torch's own answer for grouped convolutions goes through their groups one by one:
a penalty step of `base` at 128 px was 1,991 convolutions and 48,756 operator calls, a plain step 42 and 1,823. A convolution is
linear in its input x and in its filters w, and so are both of its gradients in what they are made of. With g, what comes back:

    y   = convolve(x, w)        by x: to_input(g, w)       by w: to_filters(g, x)
    g_x = to_input(g, w)        by g: convolve(v, w)       by w: to_filters(g, v)      v: what comes back to g_x
    g_w = to_filters(g, x)      by g: convolve(x, u)       by x: to_input(g, u)        u: what comes back to g_w

The three are closed under differentiation, each is one call for all groups, and torch's own kernels do the work. That a
penalty is made cheap by replacing the convolution's double backward is the idea of StyleGAN's `conv2d_gradfix` (Karras et al.
2020, arXiv:1912.04958); all of this is written anew.

    with Twice() as twice:
        logits = discriminator(pictures, …)
    slope = twice.gradient(logits.sum(), pictures)
    slope.square().sum().backward()

Outside `Twice` nothing differs from torch, so compiling and exporting never see more than a plain convolution.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd import Function


class Twice:
    """A forward pass whose gradient by its input is to be differentiated again.

    Attributes:
        by_filters: whether a backward pass through it makes gradients by filters and biases, too.
    """

    def __init__(self) -> None:
        self.by_filters = True
        self._before: Token[Twice | None] | None = None

    def __enter__(self) -> Twice:
        self._before = _PASS.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _PASS.reset(self._before)

    def gradient(self, of: Tensor, by: Tensor) -> Tensor:
        """The gradient of a scalar of this pass by its input, ready to be differentiated.

        A Function isn't told which gradients are asked for: it would make those by the filters too, and here nobody wants them.
        """
        self.by_filters = False
        try:
            (slope,) = torch.autograd.grad(of, by, create_graph=True)
        finally:
            self.by_filters = True
        return slope


_PASS: Final[ContextVar[Twice | None]] = ContextVar("twice", default=None)


class Conv2d(nn.Conv2d):
    """torch's, but quick to differentiate twice; zeros beyond the border, no dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, …)."""
        (stride, _), padding = self.stride, self.padding[0]
        return convolve(x, self.weight, self.bias, stride=stride, padding=int(padding), groups=self.groups)


def convolve(
    x: Tensor, filters: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """`F.conv2d`; within `Twice` one that is cheap to differentiate twice, and any number of times.

    Args:
        x: (N, inputs, H, W).
        filters: (outputs, inputs / groups, h, w).
        bias: (outputs,).
        stride: of both directions.
        padding: zeros on all four sides, pixels.
        groups: parts of the channels that don't see each other.
    """
    twice = None if torch.compiler.is_compiling() else _PASS.get()
    if twice is None or not torch.is_grad_enabled():
        return F.conv2d(x, filters, bias, stride, padding, groups=groups)
    if torch.is_autocast_enabled(x.device.type):  # as autocast does to F.conv2d, which it knows by name
        kind = torch.get_autocast_dtype(x.device.type)
        x, filters, bias = x.to(kind), filters.to(kind), None if bias is None else bias.to(kind)
    return _Convolve.apply(x, filters, bias, _How(stride, padding, groups, twice))


class _How(NamedTuple):
    stride: int
    padding: int
    groups: int
    twice: Twice

    def words(self) -> tuple[Any, ...]:
        """The last arguments of torch's operators: no dilation, not transposed."""
        two = [self.stride, self.stride], [self.padding, self.padding]
        return *two, [1, 1], False, [0, 0], self.groups


class _Convolve(Function):
    """(x, w, bias) → y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, bias: Tensor | None, how: _How) -> Tensor:
        ctx.save_for_backward(x, filters)
        ctx.how = how
        return torch.ops.aten.convolution(x, filters, bias, *how.words())

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (x, filters), how = ctx.saved_tensors, ctx.how
        by_x, by_filters, by_bias, _ = ctx.needs_input_grad
        return (
            _ToInput.apply(g, filters, x.detach(), how) if by_x else None,
            _ToFilters.apply(g, x, filters.detach(), how) if by_filters and how.twice.by_filters else None,
            g.sum(dim=(0, 2, 3)) if by_bias and how.twice.by_filters else None,
            None,
        )


class _ToInput(Function):
    """(g, w) → g_x, of the shape of `like`."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, filters: Tensor, like: Tensor, how: _How) -> Tensor:
        ctx.save_for_backward(g, filters)
        ctx.how = how
        return torch.ops.aten.convolution_backward(g, like, filters, None, *how.words(), [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        (g, filters), how = ctx.saved_tensors, ctx.how
        by_g, by_filters, *_ = ctx.needs_input_grad
        return (
            _Convolve.apply(v, filters, None, how) if by_g else None,
            _ToFilters.apply(g, v, filters.detach(), how) if by_filters and how.twice.by_filters else None,
            None,
            None,
        )


class _ToFilters(Function):
    """(g, x) → g_w, of the shape of `like`."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, like: Tensor, how: _How) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.how = how
        return torch.ops.aten.convolution_backward(g, x, like, None, *how.words(), [False, True, False])[1]

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (g, x), how = ctx.saved_tensors, ctx.how
        by_g, by_x, *_ = ctx.needs_input_grad
        return (
            _Convolve.apply(x, u, None, how) if by_g else None,
            _ToInput.apply(g, u, x.detach(), how) if by_x else None,
            None,
            None,
        )
