"""What is continued and matched comes from what is seen alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.membrane import fill, match_border

SIDE = 48
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25)
@given(seeds, st.integers(3, 40), st.integers(3, 40))
def test_filling_never_looks_at_what_is_unknown(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.random((height, width)) < 0.3
    known[0, 0] = True
    colors = rng.uniform(0, 255, (height, width, 3)).astype(np.float32)
    other = np.where(known[..., None], colors, rng.uniform(0, 255, colors.shape)).astype(np.float32)
    found = fill(colors, known)
    assert np.array_equal(found, fill(other, known))
    assert np.array_equal(found[known], colors[known])
    assert found.min() >= colors[known].min() - 1e-2
    assert found.max() <= colors[known].max() + 1e-2


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A slope of light with a round hole in it."""
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.stack([60 + x, 80 + y, 100 + (x + y) / 2], axis=-1).astype(np.uint8)
    return picture, (x - 24) ** 2 + (y - 22) ** 2 < 14**2


def step(picture: np.ndarray, hole: np.ndarray) -> float:
    """Mean difference of neighbours across the border of a hole."""
    values = picture.astype(float)
    down, across = hole[1:] != hole[:-1], hole[:, 1:] != hole[:, :-1]
    return float(
        np.concatenate([np.abs(values[1:] - values[:-1])[down], np.abs(values[:, 1:] - values[:, :-1])[across]]).mean()
    )


@settings(max_examples=25)
@given(seeds)
def test_matching_looks_at_seen_pixels_only_and_changes_the_hole_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture, hole = scene()
    seen = ~hole & (rng.random(hole.shape) < 0.5)
    drawn = np.where(hole[..., None], rng.integers(0, 256, picture.shape), picture).astype(np.uint8)
    other = np.where(seen[..., None], picture, rng.integers(0, 256, picture.shape)).astype(np.uint8)
    found = match_border(drawn, picture, seen, hole)
    assert np.array_equal(found, match_border(drawn, other, seen, hole))
    assert np.array_equal(found[~hole], drawn[~hole])


@pytest.mark.parametrize("offset", [-45, 30])
def test_a_seam_goes_and_the_middle_keeps_its_tone(offset: int) -> None:
    picture, hole = scene()
    drawn = np.where(hole[..., None], picture.astype(int) + offset, picture).astype(np.uint8)
    found = match_border(drawn, picture, ~hole, hole)
    assert step(drawn, hole) > 0.9 * abs(offset)
    assert step(found, hole) < 3  # the slope itself is 0.7
    assert np.abs(found[22, 24].astype(int) - drawn[22, 24]).max() <= 0.1 * abs(offset)


def test_what_fits_or_has_nothing_beside_it_stays() -> None:
    picture, hole = scene()
    assert np.abs(match_border(picture, picture, ~hole, hole).astype(int) - picture).max() <= 2
    drawn = np.where(hole[..., None], 0, picture).astype(np.uint8)
    assert np.array_equal(match_border(drawn, picture, np.zeros_like(hole), hole), drawn)
