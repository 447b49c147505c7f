import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fdf.vision.crop import RULES, crop_box, cut, resize

VECTORS = json.loads((Path(__file__).parent.parent / "data/fdf_crop_vectors.json").read_text())


@pytest.mark.parametrize("rule", RULES)
def test_all_published_crops_agree(rule):
    wrong = [
        case for case in VECTORS
        if list(crop_box(case["box"], case["image_width"], case["image_height"], rule)) != case[rule]
    ]  # fmt: skip
    assert len(VECTORS) == 400
    assert wrong == []


@st.composite
def faces(draw):
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    x = sorted(draw(st.tuples(st.floats(0, width), st.floats(0, width))))
    y = sorted(draw(st.tuples(st.floats(0, height), st.floats(0, height))))
    assume(x[1] - x[0] >= 1 and y[1] - y[0] >= 1)
    return (x[0], y[0], x[1], y[1]), width, height


@given(faces(), st.sampled_from(RULES))
def test_crops_are_square_and_hold_the_middle_of_the_face(face, rule):
    box, width, height = face
    x0, y0, x1, y1 = crop_box(box, width, height, rule)
    assert x1 - x0 == y1 - y0 > 0
    assert x0 - 1 <= (box[0] + box[2]) / 2 <= x1 + 1
    assert y0 - 1 <= (box[1] + box[3]) / 2 <= y1 + 1


@given(faces())
def test_fdf128_stays_inside_or_is_the_centred_square(face):
    box, width, height = face
    x0, y0, x1, y1 = crop_box(box, width, height, "fdf128")
    side = max(box[2] - box[0], box[3] - box[1])
    inside = x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height
    assert inside or abs((x1 - x0) - 1.7 * side) < 4


@pytest.mark.parametrize(
    ("box", "size", "rule", "words"),
    [
        ((5, 5, 5, 9), (9, 9), "fdf128", "x1 > x0"),
        ((5, 5, 7, float("nan")), (9, 9), "fdf128", "finite"),
        ((5, 5, 7), (9, 9), "fdf256", "four"),
        ((5, 5, 7, 7), (0, 9), "fdf256", "at least one pixel"),
        ((5, 5, 7, 7), (9, 9), "fdf512", "fdf128, fdf256"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(box, size, rule, words):
    with pytest.raises(ValueError, match=words):
        crop_box(box, *size, rule)


@given(st.tuples(*[st.integers(-30, 30)] * 2), st.integers(1, 40))
def test_cut_is_black_outside_and_exact_inside(corner, side):
    picture = np.random.default_rng(1).integers(1, 256, (17, 23, 3), dtype=np.uint8)
    x, y = corner
    out = cut(picture, (x, y, x + side, y + side))
    assert out.shape == (side, side, 3)
    for j, i in ((0, 0), (side - 1, side // 2), (side // 3, side - 1)):
        py, px = y + j, x + i
        inside = 0 <= py < 17 and 0 <= px < 23
        assert np.array_equal(out[j, i], picture[py, px] if inside else [0, 0, 0])


def test_cut_copies():
    picture = np.full((4, 4, 3), 9, np.uint8)
    cut(picture, (0, 0, 4, 4))[:] = 0
    assert (picture == 9).all()


def test_small_sizes_are_means_of_the_128():
    crop = np.random.default_rng(2).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    large = resize(crop, 128).astype(np.float64)
    mean = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.array_equal(resize(crop, 64), np.floor(mean + 0.5).astype(np.uint8))
    half = resize(crop, 64).astype(np.float64).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.array_equal(resize(crop, 32), np.floor(half + 0.5).astype(np.uint8))


@pytest.mark.parametrize("size", [1, 50, 64, 128, 256])
@pytest.mark.parametrize("side", [1, 90, 128, 401])
def test_resize_keeps_a_flat_colour(side, size):
    out = resize(np.full((side, side, 3), (10, 200, 31), np.uint8), size)
    assert out.shape == (size, size, 3)
    assert (out == (10, 200, 31)).all()


def test_resize_and_cut_refuse_nonsense():
    square = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="square"):
        resize(square[:4], 4)
    with pytest.raises(ValueError, match="1 or more"):
        resize(square, 0)
    with pytest.raises(ValueError, match="RGB"):
        resize(square[..., 0], 4)
    with pytest.raises(ValueError, match="x1 > x0"):
        cut(square, (3, 3, 3, 5))
