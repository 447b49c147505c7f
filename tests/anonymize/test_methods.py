"""What methods let through: nothing finer than their cells."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.base import Job, Method
from fdf.anonymize.methods import GREY, STRENGTHS, WeakMethodWarning, make_method, names, weakness
from fdf.anonymize.regions import region_of
from fdf.errors import UsageError
from tests.anonymize.pictures import face, noise


def job(size: float = 48, picture: tuple[int, int] = (120, 120)) -> Job:
    one = face(40, 40, 40 + size, 40 + size)
    region = region_of(one, "face", picture[1], picture[0])
    assert region is not None
    return Job(one, region, 0)


def cell_of(name: str, size: float) -> int:
    return max(2, int(np.ceil(size / 6 if name == "pixelate" else size * 0.24 / 2)))


# Two need more than noise and a box: a file (test_gan.py), a face (test_donor.py).
@pytest.mark.parametrize("name", [name for name in names() if name not in ("gan", "donor")])
def test_every_method_fulfils_the_protocol(name: str) -> None:
    method = make_method(name)
    assert isinstance(method, Method)
    assert method.name == name
    picture, one = noise(120, 120), job()
    before = picture.copy()
    results = method.replace(picture, [one, one])
    assert len(results) == 2
    for result in results:
        assert result.pixels is not None
        assert result.pixels.shape == (*one.region.alpha.shape, 3)
        assert result.pixels.dtype == np.uint8
    assert np.array_equal(picture, before)
    assert method.replace(picture, []) == []


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["blur", "pixelate", "solid"]), st.floats(10, 70))
def test_nothing_finer_than_a_cell_gets_through(seed: int, name: str, size: float) -> None:
    """Shuffle the pixels within every cell: the result is the same to the last bit."""
    one, picture = job(size), noise(120, 120, seed)
    rows, columns = one.region.slices
    cell, other, rng = cell_of(name, one.face.size), picture.copy(), np.random.default_rng(seed)
    for y in range(rows.start, rows.stop, cell):
        for x in range(columns.start, columns.stop, cell):
            part = other[y : min(y + cell, rows.stop), x : min(x + cell, columns.stop)]
            part[...] = rng.permutation(part.reshape(-1, 3)).reshape(part.shape)
    method = make_method(name)
    first, second = (method.replace(p, [one])[0].pixels for p in (picture, other))
    assert first is not None
    assert second is not None
    assert np.array_equal(first, second)


def test_pixelate_shows_at_most_eight_cells_across_a_face() -> None:
    for size in (10, 33, 48, 70):
        one = job(size)
        pixels = make_method("pixelate").replace(noise(120, 120), [one])[0].pixels
        assert pixels is not None
        changes = (pixels[0, 1:] != pixels[0, :-1]).any(axis=1).nonzero()[0]
        assert one.face.size / (np.diff(changes).min()) <= 8


def test_blur_takes_nothing_from_outside_its_window() -> None:
    one, picture = job(), noise(120, 120)
    outside = noise(120, 120, 1)
    outside[one.region.slices] = picture[one.region.slices]
    first, second = (make_method("blur").replace(p, [one])[0].pixels for p in (picture, outside))
    assert np.array_equal(first, second)  # type: ignore[arg-type]


def test_solid_is_one_grey() -> None:
    pixels = make_method("solid").replace(noise(120, 120), [job()])[0].pixels
    assert pixels is not None
    assert (pixels == GREY).all()


@pytest.mark.parametrize("name", ["blur", "pixelate"])
def test_weak_settings_warn_with_what_was_measured(name: str) -> None:
    with pytest.warns(WeakMethodWarning, match=r"recognizers named \d+ % of 55 faces"):
        make_method(name, 0.5)
    assert weakness(name, 1) == ""
    assert weakness("solid", 0.1) == ""
    assert "at 0.125" in weakness(name, 0.01)


def test_the_methods_with_a_strength_are_those_that_it_changes() -> None:
    from fdf.anonymize.donor import Donor

    for name in ("solid", "blur", "pixelate"):
        weak, strong = (make_method(name, strength).replace(noise(120, 120), [job()])[0].pixels for strength in (1, 2))
        assert (not np.array_equal(weak, strong)) == (name in STRENGTHS), name  # type: ignore[arg-type]
    low, high = STRENGTHS["donor"]
    mixes = [cast(Donor, make_method("donor", strength)).mix for strength in (low / 2, low, high, high + 1)]
    assert mixes == [low, low, high, high], "beyond its range nothing changes"
    assert set(STRENGTHS) == set(names()) - {"solid", "gan"}


@pytest.mark.parametrize("strength", [0, -1, float("nan"), float("inf"), 11])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="The strength is out of range"):
        make_method("blur", strength)


def test_an_unknown_method_is_refused_with_a_guess() -> None:
    with pytest.raises(UsageError, match=r"no method 'pixellate'.*Did you mean pixelate\?"):
        make_method("pixellate")


def test_only_donor_takes_donors() -> None:
    with pytest.raises(UsageError, match="blur takes no donors"):
        make_method("blur", donors="somewhere")
    with pytest.raises(UsageError, match="is no folder of donors"):
        make_method("donor", donors="no such folder")
