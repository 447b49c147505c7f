"""What the camera makes of light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdf.synth.camera import Look, Metered, develop, make_look
from fdf.synth.geometry import stream
from fdf.synth.light import Light
from fdf.synth.recipe import CameraConfig
from fdf.synth.render import Layers

SIDE = 128
LOOK = Look(
    blur="none", blur_px=0, angle=0, noise=0, balance=(1, 1, 1), contrast=0, clarity=0, saturation=1, exposure=1,
    vignette=0, quality=95,
)  # fmt: skip
LIGHT = Light("studio", False, np.ones((2, 4, 3), np.float32))


def taken(look, backdrop, skin=0.0, faces=()):
    layers = Layers(
        color=np.full((SIDE, SIDE, 3), 0.3) * skin,
        alpha=np.full((SIDE, SIDE), skin),
        albedo=np.full((SIDE, SIDE, 3), 0.4),
        skin=np.full((SIDE, SIDE), skin),
    )
    return develop(layers, backdrop, faces, LIGHT, look, 0.5, stream(0, "camera")).astype(int)


def test_clarity_strengthens_edges_and_leaves_what_is_even():
    backdrop = np.full((SIDE, SIDE, 3), 0.2)
    backdrop[:, SIDE // 2 :] = 0.4
    plain, clear = taken(LOOK, backdrop), taken(replace(LOOK, clarity=0.5), backdrop)
    step = [row[64, SIDE // 2 + 1, 0] - row[64, SIDE // 2 - 2, 0] for row in (plain, clear)]
    assert step[1] > 1.2 * step[0]
    far = np.abs(np.arange(SIDE) - SIDE // 2) > 16
    assert np.abs(plain - clear)[:, far].max() <= 1
    even = np.full((SIDE, SIDE, 3), 0.3)
    assert np.abs(taken(LOOK, even) - taken(replace(LOOK, clarity=0.6), even)).max() <= 1


def test_faces_are_metered_by_their_tone():
    backdrop, box = np.full((SIDE, SIDE, 3), 0.2), (20, 20, 100, 100)
    levels = [taken(LOOK, backdrop, 1.0, [Metered(box, monk)])[60, 60].mean() for monk in (1, 5, 10)]
    assert levels[0] > levels[1] > levels[2]
    # The meter's luminances, through the tone curve that every picture gets.
    expected = [0.40, 0.26, 0.095]
    curved = [255 * (1.055 * (v / (1 + 0.18 * v) * 1.12) ** (1 / 2.4) - 0.055) for v in expected]
    assert levels == pytest.approx(curved, abs=3)


def test_noise_is_that_of_a_picture_made_smaller():
    looks = [make_look(CameraConfig(night_share=0), LIGHT, 256, stream(0, "look", n)) for n in range(200)]
    assert 0.001 <= min(look.noise for look in looks) < max(look.noise for look in looks) <= 0.007
    assert {look.blur for look in looks} == {"none", "focus", "motion"}
    even = np.full((SIDE, SIDE, 3), 0.2)
    grain = [taken(replace(LOOK, noise=noise), even).std() for noise in (0.001, 0.007)]
    assert grain[1] > 3 * grain[0]
