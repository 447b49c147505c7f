"""The assets, the shapes made of them, and who the people are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.errors import DataError
from fdf.synth import head, identity
from fdf.synth.complexion import lumps, shade
from fdf.synth.freeform import free_form
from fdf.synth.geometry import axis_rotation, normals, rotation_vector, stream, turn
from fdf.synth.identity import TRAITS, make_identity
from fdf.synth.recipe import PeopleConfig, SynthRecipe
from fdf.synth.shot import make_shot
from fdf.synth.skin import paint
from fdf.synth.truth import TRUTH, pose_angles


def test_assets_are_the_ones_stated_and_carry_their_licence():
    assert hashlib.sha256(head.ASSET.read_bytes()).hexdigest() == head.ASSET_SHA256
    assert head.ASSET.stat().st_size < 1_000_000
    assert "CC0 1.0" in (head.ASSET.parent / "LICENSE-CC0.md").read_text()
    assert "CC0 1.0" in (head.ASSET.parent / "README.md").read_text()


def test_altered_assets_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "head.npz.xz"
    other.write_bytes(head.ASSET.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(head, "ASSET", other)
    with pytest.raises(DataError, match="is not the file that fdf ships"):
        head.load_head.__wrapped__()


def test_no_children_are_in_the_model():
    names = head.load_head().targets
    assert not [name for name in names if "child" in name or "baby" in name]
    assert sum(name.startswith("unit/") for name in names) == 52
    with pytest.raises(ValueError, match="no children"):
        PeopleConfig(age_years=(12, 30))


def test_left_is_the_subjects_own_and_at_positive_x():
    model = head.load_head()
    for name in ("eye_left", "lash_left"):
        assert model.vertices[np.unique(model.parts[name])][:, 0].min() > 0


@pytest.mark.parametrize("level", [0, 1, 2])
def test_subdivision_keeps_the_shape_and_its_normals_point_outwards(level):
    part = head.surface("skin", level)
    assert np.abs(np.asarray(part.matrix.sum(axis=1)) - 1).max() < 1e-5
    skull = (part.rest[:, 1] > 7.9) & (part.rest[:, 2] < 0.8)
    outward = normals(part.rest, part.quads)[skull]
    radial = part.rest[skull] - [0, 7.3, 0.1]
    assert ((outward * radial).sum(axis=1) > 0).mean() > 0.99


@given(st.floats(-89, 89), st.floats(-60, 60), st.floats(-80, 80), st.floats(-30, 30), st.floats(-25, 25))
def test_pose_of_the_composed_rotation_is_the_pose_that_was_drawn(yaw, pitch, roll, aside, above):
    rotation = axis_rotation(2, -roll) @ axis_rotation(1, yaw) @ axis_rotation(0, -pitch)
    frame = axis_rotation(1, aside) @ axis_rotation(0, above)
    assert pose_angles(frame @ rotation, frame) == pytest.approx((yaw, pitch, roll), abs=1e-6)


def test_signs_of_the_pose():
    nose, crown = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    eye = np.eye(3)
    # Scene: x is the picture's right and the subject's left, y up, the camera looks along −z.
    left, up, clockwise = axis_rotation(1, 30), axis_rotation(0, -30), axis_rotation(2, -30)
    assert (left @ nose)[0] > 0
    assert pose_angles(left, eye)[0] == pytest.approx(30)
    assert (up @ nose)[1] > 0
    assert pose_angles(up, eye)[1] == pytest.approx(30)
    assert (clockwise @ crown)[0] > 0
    assert pose_angles(clockwise, eye)[2] == pytest.approx(30)


@given(st.integers(0, 2), st.floats(-170, 170))
def test_a_turn_by_a_rotation_vector_is_the_rotation(axis, degrees):
    r = axis_rotation(axis, degrees)
    points = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]])
    assert turn(points, rotation_vector(r), np.ones(2)) == pytest.approx(points @ r.T, abs=1e-7)


def test_streams_depend_on_names_only():
    assert stream(1, "a", 2).random() == stream(1, "a", 2).random()
    assert stream(1, "a", 2).random() != stream(1, "a", 3).random()
    assert stream(1, "a", 2).random() != stream(2, "a", 2).random()


@given(st.integers(0, 999_999), st.integers(0, 10_000))
@settings(max_examples=30)
def test_people_are_within_their_ranges_and_stay_who_they_are(seed, number):
    recipe = SynthRecipe()
    person = make_identity(seed, number, recipe.people)
    again = make_identity(seed, number, recipe.people)
    assert person.key == again.key
    assert person.shape == again.shape
    assert 20 <= person.age <= 90
    assert 1 <= person.monk <= 10
    assert 0 <= person.feminine <= 1
    assert (person.hair_rgb > 0).all()
    shot = make_shot(person, 0, recipe)
    assert abs(shot.yaw) <= 90
    assert abs(shot.pitch) <= 45
    assert abs(shot.yaw * (1 - shot.body)) <= 50 + 1e-9
    base = head.load_head().morph(person.shape, free_form(person))
    assert np.isfinite(base).all()
    assert np.abs(base - head.load_head().vertices).max() < 4


def test_a_person_does_not_depend_on_who_else_is_asked_for():
    alone = make_identity(3, 130, PeopleConfig())
    identity._places.cache_clear()
    for number in (500, 131, 0, 129):
        make_identity(3, number, PeopleConfig())
    again = make_identity(3, 130, PeopleConfig())
    assert (alone.traits == again.traits).all()
    assert alone.shape == again.shape
    assert vars(alone.brows) == vars(again.brows)
    other = make_identity(4, 130, PeopleConfig())
    assert (alone.traits != other.traits).all()


def test_traits_lie_further_apart_than_chance_has_them():
    traits = np.array([make_identity(3, number, PeopleConfig()).traits for number in range(60)])
    assert traits.shape == (60, len(TRAITS))
    assert np.abs(traits).max() <= np.sqrt(3)
    assert np.abs(traits.mean(axis=0)).max() < 0.6
    chance = np.random.default_rng(0).uniform(-np.sqrt(3), np.sqrt(3), traits.shape)
    nearest = []
    for values in (traits, chance):
        apart = np.linalg.norm(values[:, None] - values[None], axis=2) + np.eye(60) * 100
        nearest.append(apart.min(axis=1).mean())
    assert nearest[0] > 1.02 * nearest[1]


def test_relief_of_ones_own_spares_what_the_truth_is_measured_at():
    part = head.surface("skin", 1)
    tip = int(np.linalg.norm(part.rest - head.NOSE_TIP, axis=1).argmin())
    front = part.rest[:, 2] > 1
    for number in range(4):
        person = make_identity(0, number, PeopleConfig())
        height = lumps(person, part)
        assert abs(height[tip]) < 0.01
        assert 0.002 < height[front].std() < 0.04
        assert np.abs(height).max() < 0.12
        factors = shade(person, part, np.zeros(len(part.rest)))
        assert 0.3 < factors.min() < 0.95
        assert factors.max() < 1.6
        assert (factors == shade(make_identity(0, number, PeopleConfig()), part, np.zeros(len(part.rest)))).all()


def test_free_form_is_as_strong_for_everyone_and_leaves_the_body_alone():
    vertices = head.load_head().vertices
    front = (vertices[:, 2] > 0.7) & (vertices[:, 1] > 6.4) & (vertices[:, 1] < 7.9)
    fields = []
    for number in range(12):
        person = make_identity(5, number, PeopleConfig())
        moved = free_form(person)
        fields.append(moved[front].ravel())
        assert (moved == free_form(make_identity(5, number, PeopleConfig()))).all()
        assert not moved[vertices[:, 1] < 6.0].any()
        assert np.abs(moved[front]).max() < 0.25  # nothing is pushed by more than half a nose is wide
        assert 0.035 < np.sqrt((moved[front] ** 2).sum(axis=1).mean()) < 0.06
    wide = make_identity(5, 3, PeopleConfig(shape_spread=2.0))
    assert free_form(wide) == pytest.approx(2 * free_form(make_identity(5, 3, PeopleConfig())))
    alike = np.corrcoef(fields)[~np.eye(len(fields), dtype=bool)]
    assert np.abs(alike).mean() < 0.35  # everybody goes their own way


def test_free_form_moves_both_sides_alike_but_not_quite():
    vertices = head.load_head().vertices
    left = np.flatnonzero((vertices[:, 0] > 0.02) & (vertices[:, 2] > 0.7) & (vertices[:, 1] > 6.4))
    apart = np.linalg.norm(vertices[left][:, None] * [-1, 1, 1] - vertices[None], axis=2)
    right = apart.argmin(axis=1)
    assert np.median(apart.min(axis=1)) < 1e-3
    for number in range(6):
        moved = free_form(make_identity(5, number, PeopleConfig()))
        here, there = moved[left], moved[right] * [-1, 1, 1]
        assert 0.75 < np.corrcoef(here.ravel(), there.ravel())[0, 1] < 0.999


def test_skin_follows_the_monk_scale():
    part = head.surface("skin", 1)
    cheek = (
        (np.abs(np.abs(part.rest[:, 0]) - 0.4) < 0.1) & (np.abs(part.rest[:, 1] - 7.0) < 0.08) & (part.rest[:, 2] > 1)
    )
    people = [make_identity(0, n, PeopleConfig()) for n in range(24)]
    people = sorted((p for p in people if p.beard == "none"), key=lambda p: p.monk)
    light = [paint(person, part).colors[cheek].mean() for person in people]
    assert np.corrcoef([person.monk for person in people], light)[0, 1] < -0.9
    for person in people[:3]:
        made = paint(person, part)
        assert made.colors.min() > 0
        assert made.colors.max() < 1


def test_the_page_names_every_key_and_column():
    page = (Path(__file__).parents[2] / "docs" / "synth.md").read_text(encoding="utf-8")
    for section, info in SynthRecipe.model_fields.items():
        for key in info.annotation.model_fields:
            assert f"`{section}.{key}`" in page
    for field in TRUTH:
        assert f"| `{field.name}` |" in page
        assert field.metadata[b"doc"].decode() in page
