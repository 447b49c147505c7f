"""Hair, clothes and hands: what people wear over their skin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.synth import hair, hands
from fdf.synth.facial import hair_color
from fdf.synth.geometry import stream
from fdf.synth.grow import crosses_face
from fdf.synth.identity import BEARD_GREYS, BROW_GREYS, FEMALE_STYLES, GREYED, MALE_STYLES, make_identity
from fdf.synth.locks import bands, mass_normal
from fdf.synth.person import Placement, pose_person
from fdf.synth.recipe import PeopleConfig, SynthRecipe
from fdf.synth.shot import make_shot


def test_every_style_but_bald_is_known():
    assert {*FEMALE_STYLES, *MALE_STYLES} - {"bald"} == set(hair.STYLES)


def test_bands_are_as_wide_as_asked_and_have_the_colours_of_their_streaks():
    paths = np.stack([np.zeros(5), np.linspace(1, -1, 5), np.full(5, -9.0)], axis=1)[None]
    colors = np.array([[[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]])
    piece = bands(paths, np.full(paths.shape, [0.0, 0, 1]), np.full((1, 5), 0.25), colors)
    assert np.ptp(piece.points[:, 0]) == pytest.approx(0.5)
    assert len(piece.faces) == 8
    assert piece.colors[::2, 0].max() < piece.colors[1::2, 0].min()


def test_the_mass_of_hair_looks_up_on_the_crown_and_sideways_below():
    up, left = mass_normal(np.array([[0, 8.4, 0.1], [0.8, 6.0, 0.1]]))
    assert up == pytest.approx([0, 1, 0])
    assert left == pytest.approx([1, 0, 0])


def test_hair_hangs_before_no_face():
    hanging = np.array([[[0.2, 8.0, 1.3], [0.2, 7.2, 1.5]], [[0.9, 8.0, 0.2], [1.0, 6.5, 0.2]]])
    assert crosses_face(hanging, "long").tolist() == [True, False]


def test_hair_greys_hair_by_hair_and_brows_last():
    old = [make_identity(6, number, PeopleConfig(age_years=(70, 85))) for number in range(60)]
    assert {"grey", "white"} <= {person.hair_color for person in old}
    for person in old:
        assert (person.greyed > 0) == (person.hair_color in GREYED)
        if person.hair_color in GREYED:
            low, high = GREYED[person.hair_color]
            assert low <= person.greyed <= high
        assert person.hair_mixed(0.0) == pytest.approx(person.hair_young)
        assert (np.diff(person.hair_mixed([0, person.greyed, 1]).mean(axis=1)) >= 0).all()
    grey = next(person for person in old if person.greyed > 0.5 and person.hair_young.mean() < 0.05)
    rows = np.stack([hair_color(grey, follows, 4000, stream(1, "test")) for follows in (BROW_GREYS, BEARD_GREYS)])
    white = (rows.mean(axis=-1) > 0.3).mean(axis=1)
    assert len(np.unique(rows.reshape(-1, 3), axis=0)) == 2, "a hair has its pigment or none"
    assert white == pytest.approx(grey.greyed * np.array([BROW_GREYS, BEARD_GREYS]), abs=0.03)


@pytest.mark.parametrize("thumb", [-1, 1])
def test_fingers_bend_to_the_palm(thumb):
    wrist, along, palm = np.zeros(3), np.array([0.0, -1, 0]), np.array([0.0, 0, 1])
    (flat,) = hands.hand(5, wrist, along, palm, thumb, 0.0, 1.0)
    (fist,) = hands.hand(5, wrist, along, palm, thumb, 0.9, 1.0)
    assert fist.points[:, 2].max() > flat.points[:, 2].max() + 0.2
    assert flat.points[:, 1].min() < fist.points[:, 1].min() - 0.2
    assert flat.quads.max() < len(flat.points)


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_necks_turn_no_further_than_they_can(number):
    shot = make_shot(make_identity(5, number, PeopleConfig()), 0, SynthRecipe())
    assert abs(shot.yaw * (1 - shot.body) - shot.turn) <= 50 + 1e-6


def test_people_are_built_with_their_free_form_and_the_truth_goes_with_it():
    recipe, place = SynthRecipe(), Placement(np.array([0, 0, -20.0]))
    person = make_identity(3, 5, recipe.people)
    shot = make_shot(person, 0, recipe)
    own, plain = (pose_person(one, shot, place, 40) for one in (person, replace(person, spread=0.0)))
    moved = np.linalg.norm(own.skin - plain.skin, axis=1)
    assert 0.025 < np.sqrt((moved**2).mean()) < 0.09
    points = np.linalg.norm(own.keypoints - plain.keypoints, axis=1)
    assert (points[:5] > 0.005).all()  # nose, eyes, ears
    assert points[5:] == pytest.approx([0, 0], abs=0.06)  # shoulders: only as far as the skull is put back in its place


def test_the_same_person_has_the_same_meshes_and_none_is_broken():
    recipe = SynthRecipe()
    rng = stream(3, "people")
    for number in rng.integers(0, 500, 4):
        person = make_identity(3, int(number), recipe.people)
        made = [
            pose_person(person, make_shot(person, 0, recipe), Placement(np.array([0, 0, -20.0])), 40).pieces
            for _ in range(2)
        ]
        for one, other in zip(*made, strict=True):
            assert np.array_equal(one.points, other.points)
            assert np.isfinite(one.points).all()
            assert one.faces.max() < len(one.points)
            assert one.colors.min() >= 0
            assert one.colors.max() <= 1
