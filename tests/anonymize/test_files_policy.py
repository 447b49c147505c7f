"""Rules by box on files of several pictures: a box was drawn round one face of one picture."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fdf.anonymize.base import Face
from fdf.anonymize.codecs import read
from fdf.anonymize.files import anonymize_bytes
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from fdf.anonymize.recognition import View
from fdf.vision.base import Pixels
from tests.anonymize.people import ADA, ALLOWED, BEN, CARL, Bright, Colours, gallery, people, policy
from tests.anonymize.pictures import encoded

NOTE = "a box shows nobody in a file of several pictures"
ABOUT = "show box [20, 10, 80, 70]"
KINDS: dict[str, dict[str, Any]] = {
    "TIFF": {},
    "PNG": {"duration": 100, "loop": 0},
    "WEBP": {"duration": 100, "loop": 0, "lossless": True},
    "GIF": {"duration": 100, "loop": 0},
}


def pages(kind: str, *pictures: Any) -> bytes:
    first, *rest = (Image.fromarray(one) for one in pictures)
    return encoded(first, kind, save_all=True, append_images=rest, **KINDS[kind])


def show_box(data: bytes) -> str:
    """A rule for the first face of a file."""
    sha256 = hashlib.sha256(data).hexdigest()
    return f'[[rule]]\naction = "show"\nbox = [20, 10, 80, 70]\nsha256 = ["{sha256}"]\n'


def made(root: Path, data: bytes, rules: str, access: str = "explicit") -> tuple[list[Pixels], Any]:
    anonymizer = Anonymizer(finder=Bright(), policy=policy(root, rules, access))
    out, report = anonymize_bytes(data, None, anonymizer, name="a")
    return [still.rgb for still in read(out).stills], report


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_shows_nobody_in_a_file_of_several_pictures(tmp_path: Path, kind: str) -> None:
    """Page 1 is Ada, who said yes; on the others Ben sits in her place."""
    data = pages(kind, people(ADA), people(BEN), people(CARL))
    stills, report = made(tmp_path, data, show_box(data))
    assert report.frames == 3
    for still in stills:  # frames that are alike become one in an animation
        assert np.abs(still[40, 50].astype(int) - GREY).max() <= 8
    assert "shown" not in report.counts
    assert report.notes == [NOTE]
    assert [(row["frame"], row["decision"], row["rule"], row["reason"]) for row in report.audit] == [
        (frame, "hidden", 1, f"no rule shows it; {ABOUT}, but {NOTE}") for frame in range(3)
    ]


def test_it_shows_a_face_of_one_picture_as_before(tmp_path: Path) -> None:
    data = pages("TIFF", people(ADA, BEN))
    stills, report = made(tmp_path, data, show_box(data))
    assert tuple(stills[0][40, 50]) == ADA
    assert tuple(stills[0][40, 130]) != BEN
    assert (report.counts["shown"], report.notes) == (1, [])
    assert [row["reason"] for row in report.audit] == [ABOUT, "no rule shows it"]


def test_other_rules_hold_in_a_file_of_several_pictures(tmp_path: Path) -> None:
    """Who is recognized stays, a box that hides hides; the order of rules changes nothing."""
    gallery(tmp_path, allowed__ada=[ADA], denied__carl=[CARL])
    data = pages("TIFF", people(ADA, ADA), people(BEN, ADA), people(CARL, ADA))
    sha256 = hashlib.sha256(data).hexdigest()
    shows = ALLOWED.replace('by = "Eve"', f'sha256 = ["{sha256}"]')
    hides = '[[rule]]\naction = "hide"\npeople = "denied"\n[[rule]]\naction = "hide"\nbox = [100, 10, 160, 70]\n'
    for rules in (show_box(data) + shows + hides, shows + hides + show_box(data)):
        stills, report = made(tmp_path, data, rules)
        assert tuple(stills[0][40, 50]) == ADA
        assert report.counts["shown"] == 1
        left = [row["reason"] for row in report.audit if row["box"][0] < 90]
        assert (left[0], left[2]) == ("is ada", "carl is denied")
        assert left[1].endswith(f"; {ABOUT}, but {NOTE}")
        assert {row["reason"] for row in report.audit if row["box"][0] > 90} == {"hide box [100, 10, 160, 70]"}


def test_a_box_of_another_file_is_not_spoken_of(tmp_path: Path) -> None:
    data = pages("TIFF", people(ADA), people(BEN))
    _, report = made(tmp_path, data, show_box(b"another"))
    assert report.notes == []
    assert {row["reason"] for row in report.audit} == {"no rule shows it"}


def test_what_fails_is_still_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Colours, picture: Pixels, faces: list[Face]) -> list[View | None]:
        raise RuntimeError("boom")

    gallery(tmp_path, allowed__ada=[ADA])
    data = pages("TIFF", people(ADA), people(BEN))
    found = policy(tmp_path, ALLOWED + show_box(data) + 'by = "Eve"\n')
    monkeypatch.setattr(Colours, "views", broken)
    _, report = anonymize_bytes(data, None, Anonymizer(finder=Bright(), policy=found))
    assert {row["decision"] for row in report.audit} == {"hidden"}
    assert all(row["reason"].startswith("judging failed: RuntimeError: boom; ") for row in report.audit)
