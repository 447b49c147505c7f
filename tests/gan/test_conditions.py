"""The two ways to the mean over a window; what else `fdf.gan.conditions` does is seen through the networks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="fdf.gan needs the extra [torch]")

from fdf.gan.conditions import _banded, _pooled  # noqa: E402


@settings(max_examples=30)
@given(side=st.integers(1, 24), width=st.integers(1, 8), seed=st.integers(0, 99))
def test_a_gpu_pools_what_a_cpu_multiplies(side: int, width: int, seed: int) -> None:
    values = torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(_pooled(values, width), _banded(values, width), rtol=0, atol=1e-12)
    single = values.float()
    torch.testing.assert_close(_pooled(single, width), _banded(single, width), rtol=0, atol=1e-6)


def test_means_are_exact_under_autocast() -> None:
    values = torch.rand(1, 3, 16, 16)
    for mean in (_banded, _pooled):
        with torch.autocast("cpu", torch.bfloat16):
            cast = mean(values, 2)
        assert cast.dtype == torch.float32
        assert torch.equal(cast, mean(values, 2))
