"""Folders of donors: nobody without consent, nothing outside of the folder, and a choice that only the seed makes."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdf.anonymize.donors import DEFAULT_FOLDER, LISTING, PITCH_TOLERANCE, YAW_TOLERANCE, DonorFolder
from fdf.errors import DataError, UsageError
from tests.anonymize.donor_folder import SIDE, Held, five, photo, placed, write_folder


def folder(path: Path, *yaws: float, gap: float = 0.0) -> DonorFolder:
    return DonorFolder(write_folder(path, *yaws, gap=gap), Held(placed()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('consent = "Agreed in writing."\n', "", "no statement of consent: nobody's face is used without"),
        ('consent = "Agreed in writing."', 'consent = "  None "', "says nothing: who donates a face must have agreed"),
        ('licence = "CC0-1.0"', 'licence = ""', "says nothing"),
        ('source = "A test"\n', "", "source: Field required"),
        ('file = "0.png"', 'file = "../0.png"', "must be a name inside the folder"),
        ('file = "0.png"', 'file = "/etc/passwd"', "must be a name inside the folder"),
        ('file = "0.png"', "file = 'a\\b.png'", "must be a name inside the folder"),
        ("yaw = 0.0", "yaw = nan", "photos.0.yaw"),
        ("yaw = 0.0", "yaw = 120.0", "photos.0.yaw"),
        ("points = [[", "points = [[inf, 1.0], [", "photos.0.points"),
        ("sha256 = ", 'extra = 1, sha256 = "0", was = ', "photos.0"),
        ("version = 1", "version = 2", "version"),
        ("version = 1", "version = ", "can't be read"),
    ],
)
def test_a_listing_that_is_not_right_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_folder(tmp_path, 0.0) / LISTING
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        DonorFolder(tmp_path, Held(placed()))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside = write_folder(tmp_path / "in", 0.0)
    (inside / "0.png").rename(tmp_path / "0.png")
    (inside / "0.png").symlink_to(tmp_path / "0.png")
    with pytest.raises(DataError, match="leads out of the folder"):
        DonorFolder(inside, Held(placed()))


def test_two_people_of_one_id_are_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 0.0, 1.0) / LISTING
    path.write_text(path.read_text().replace('id = "d1"', 'id = "d0"'))
    with pytest.raises(DataError, match="two people have the same id"):
        DonorFolder(tmp_path, Held(placed()))


def test_no_folder_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no folder of donors.*Expected a folder with donors\.toml"):
        DonorFolder(tmp_path / "none", Held(placed()))


def test_what_a_row_leaves_out_is_measured(tmp_path: Path) -> None:
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    digest = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    (tmp_path / LISTING).write_text(
        'format = "fdf-donors"\nversion = 1\n[[person]]\nid = "a"\nconsent = "Agreed."\nlicence = "CC0"\nsource = "A test"\n'
        f'photos = [{{file = "a.png", sha256 = "{digest}"}}]\n'
    )
    mesh = placed(yaw=20)
    found = DonorFolder(tmp_path, Held(mesh), lambda _: five(mesh)).people["a"][0]
    assert found.yaw == pytest.approx(20, abs=4)
    with pytest.raises(DataError, match=r"is no photo of a donor.*one clear face"):
        DonorFolder(tmp_path, Held(mesh), lambda _: None)


def test_every_donor_gets_their_share_of_seeds(tmp_path: Path) -> None:
    donors = folder(tmp_path, *[0.0] * 5)
    firsts = Counter(next(donors.choose(seed, 0, 0, 0))[0].person for seed in range(1000))
    assert len(firsts) == 5
    assert min(firsts.values()) > 140


def test_a_seed_keeps_its_order_of_people_at_every_pose(tmp_path: Path) -> None:
    donors = folder(tmp_path, 0.0, 10.0, -10.0, 15.0)
    orders = [[photo.person for photo, _ in donors.choose(7, yaw, 0, 0)] for yaw in (-5.0, 0.0, 5.0)]
    assert orders[0] == orders[1] == orders[2]
    assert len(orders[0]) == 4


def test_nobody_is_turned_further_than_the_tolerance(tmp_path: Path) -> None:
    donors = folder(tmp_path, 0.0, 35.0)
    assert [(one.yaw, mirror) for one, mirror in donors.choose(1, -40, 0, 0)] == [(35.0, True)]
    assert [(one.yaw, mirror) for one, mirror in donors.choose(1, 40, 0, 0)] == [(35.0, False)]
    assert not list(donors.choose(1, 35 + YAW_TOLERANCE + 1, 0, 0))
    assert not list(donors.choose(1, 0, PITCH_TOLERANCE + 1, 0))


def test_an_open_mouth_needs_an_open_mouth(tmp_path: Path) -> None:
    assert not list(folder(tmp_path / "closed", 0.0).choose(1, 0, 0, 0.3))
    assert list(folder(tmp_path / "open", 0.0, gap=0.2).choose(1, 0, 0, 0.3))


def test_a_mirrored_donor_is_the_photo_turned_round(tmp_path: Path) -> None:
    donors = folder(tmp_path, 0.0)
    one = donors.people["d0"][0]
    plain, turned = donors.read(one, False), donors.read(one, True)
    assert np.array_equal(turned.pixels, plain.pixels[:, ::-1])
    assert turned.mesh[33, 0] == pytest.approx(SIDE - plain.mesh[263, 0])


def test_the_donors_that_fdf_brings_are_whole_and_know_their_points() -> None:
    mesher = Held(placed())
    donors = DonorFolder(None, mesher)
    assert mesher.asked == 0  # nothing is measured when a program starts
    photos = [one for person in donors.people.values() for one in person]
    assert all(hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256 for one in photos)
    assert {one.path.name for one in photos} | {LISTING} == {path.name for path in DEFAULT_FOLDER.iterdir()}
    assert len(donors.people) == 154  # docs/anonymize.md says so
    assert sum(path.stat().st_size for path in DEFAULT_FOLDER.iterdir()) < 2_500_000
    for yaw, gap, least in ((0, 0.0, 90), (0, 0.15, 50), (-30, 0.0, 30)):
        assert len(list(donors.choose(1, yaw, 0, gap))) >= least, (yaw, gap)
