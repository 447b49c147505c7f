"""The convolution of the penalty against torch's own: values, gradients, gradients of gradients, and how many it takes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="fdf.gan needs the extra [torch]")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from fdf.gan import objective  # noqa: E402
from fdf.gan.convolution import Conv2d, Twice, convolve  # noqa: E402
from fdf.gan.networks import Block, Discriminator, architecture  # noqa: E402
from fdf.gan.objective import penalized_loss  # noqa: E402
from tests.gan.making import mini  # noqa: E402

torch.set_num_threads(1)  # small networks; two threads that wait for each other on a busy machine take minutes

# Input, filters, whether there is a bias, settings: the kinds of convolution in the discriminator.
KINDS = {
    "1x1": ((2, 3, 2, 3), (4, 3, 1, 1), True, {}),
    "3x3": ((1, 2, 4, 3), (3, 2, 3, 3), True, {"padding": 1}),
    "grouped": ((2, 4, 3, 3), (4, 2, 3, 3), True, {"padding": 1, "groups": 2}),
    "halving": ((2, 2, 4, 4), (2, 1, 4, 4), False, {"stride": 2, "padding": 1, "groups": 2}),
    "halving, odd": ((1, 2, 5, 4), (2, 1, 4, 4), False, {"stride": 2, "padding": 1, "groups": 2}),
    "gathering": ((2, 3, 4, 4), (3, 1, 4, 4), True, {"groups": 3}),
}


def tensors(kind: str, dtype: Any = torch.float64) -> list[Any]:
    shape, filters, biased, _ = KINDS[kind]
    torch.manual_seed(0)
    sizes = [shape, filters] + [filters[:1]] * biased
    return [(0.3 * torch.randn(size, dtype=dtype)).requires_grad_() for size in sizes]


def stock(x: Any, filters: Any, bias: Any = None, **settings: Any) -> Any:
    return torch.nn.functional.conv2d(x, filters, bias, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences(kind: str) -> None:
    settings = KINDS[kind][-1]
    with Twice():
        assert torch.autograd.gradcheck(lambda *given: convolve(*given, **settings), tensors(kind))
        assert torch.autograd.gradgradcheck(lambda *given: convolve(*given, **settings), tensors(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_torchs_convolution_three_times_over(kind: str) -> None:
    """Value, gradients, and the gradients of all of those: of a sum that has every one of them in it."""
    results = []
    for how in (stock, convolve):
        given = tensors(kind)
        with Twice():
            y = how(*given, **KINDS[kind][-1])
        first = torch.autograd.grad(y.pow(3).sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(value.pow(2).sum() for value in first), given, create_graph=True)
        third = torch.autograd.grad(sum(value.pow(2).sum() for value in second), given)
        results.append([y, *first, *second, *third])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * float(theirs.detach().abs().max()))


@pytest.mark.parametrize("kind", ["grouped", "halving"])
def test_autocast_casts_it_as_it_does_torchs(kind: str) -> None:
    results = []
    for how in (stock, convolve):
        x, *rest = tensors(kind, torch.float32)
        with torch.autocast("cpu", torch.bfloat16), Twice() as twice:
            y = how(x, *rest, **KINDS[kind][-1])
            slope = twice.gradient(y.float().square().sum(), x)
        slope.square().sum().backward()
        assert (y.dtype, slope.dtype, {value.grad.dtype for value in rest}) == (
            torch.bfloat16,
            torch.float32,
            {torch.float32},
        )
        results.append([y.float(), slope, *(value.grad for value in rest)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=2e-2 * float(theirs.detach().abs().max()))


def test_the_layout_stays() -> None:
    x = torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    block = Block(16, 8, 4).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(block.close.weight)
    with Twice() as twice:
        y = block(x)
        slope = twice.gradient(y.sum(), x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert slope.is_contiguous(memory_format=torch.channels_last)


def test_the_first_gradient_makes_none_by_filters_and_the_second_all() -> None:
    layer = Conv2d(4, 4, 3, padding=1, groups=2)
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    with Count() as plain, Twice() as twice:
        slope = twice.gradient(layer(x).square().sum(), x)
    assert plain.calls == {"convolution": 1, "convolution_backward": 1}
    slope.sum().backward()
    assert all(value.grad is not None for value in (x, layer.weight, layer.bias))


def test_outside_it_is_torchs_own() -> None:
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    layer = Conv2d(4, 4, 3, padding=1)
    assert layer(x).grad_fn.name() == "ConvolutionBackward0"
    with Twice():
        assert layer(x).grad_fn.name() != "ConvolutionBackward0"
        with torch.no_grad():
            assert layer(x).grad_fn is None
    assert layer(x).grad_fn.name() == "ConvolutionBackward0"
    assert set(layer.state_dict()) == {"weight", "bias"}, "checkpoints name them so"


class Count(TorchDispatchMode):
    """Counts torch's convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.calls[name] += name.startswith("convolution")
        self.calls = +self.calls
        return func(*args, **(kwargs or {}))


class Stock(Twice):
    """torch's own double backward."""

    def __enter__(self) -> Stock:
        return self


def judge(arch: Any) -> Any:
    """A discriminator whose blocks do something."""
    torch.manual_seed(1)
    network = Discriminator(arch).to(memory_format=torch.channels_last)
    for block in network.modules():
        if isinstance(block, Block):
            torch.nn.init.normal_(block.close.weight, std=0.05)
    return network


def batch(arch: Any, count: int) -> tuple[Any, ...]:
    torch.manual_seed(2)
    side = arch.resolution
    real, fake = torch.rand(2, count, 3, side, side) * 2 - 1
    mask = torch.zeros(count, 1, side, side)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return real, fake, mask, torch.rand(count, 7, 3) * side


def penalty_step(network: Any, data: tuple[Any, ...]) -> list[Any]:
    network.zero_grad()
    loss, r1, r2 = penalized_loss(network, *data)
    (loss + 8 * (r1 + r2)).backward()
    return [loss, r1, r2, *(value.grad for value in network.parameters())]


def test_a_penalty_step_is_that_of_torchs_double_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    network, data = judge(mini()).double(), [value.double() for value in batch(mini(), 4)]
    mine = penalty_step(network, data)
    with monkeypatch.context() as patch:
        patch.setattr(objective, "Twice", Stock)
        theirs = penalty_step(network, data)
    assert theirs[1] > 1e-3
    for left, right in zip(mine, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-9)


def test_a_penalty_step_takes_few_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = architecture("tiny", 64)
    network, data = judge(arch), batch(arch, 1)
    layers = sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules()) + len(network.widen)
    with Count() as mine:
        penalty_step(network, data)
    assert mine.calls["convolution"] == 2 * layers, "there, and there again with what comes back"
    assert mine.calls["convolution_backward"] <= 4 * layers
    assert sum(mine.calls.values()) < 200
    monkeypatch.setattr(objective, "Twice", Stock)
    with Count() as theirs:
        penalty_step(network, data)
    assert theirs.calls["convolution"] > 10 * mine.calls["convolution"], "if torch learnt it, ours could go"
