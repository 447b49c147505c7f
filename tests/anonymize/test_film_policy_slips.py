"""Somebody else in the place of someone who is shown: for a frame, out of focus, or after an empty chair."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fdf.anonymize.audit_log import AuditLog, read_log
from fdf.anonymize.base import Face
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.judging import Limits, Person, judge
from fdf.anonymize.jury import Jury
from fdf.anonymize.policy import Policy, RuleRow, load_policy
from fdf.anonymize.recognition import Recognizer, alike, glimpse
from tests.anonymize import clips
from tests.anonymize.people import ADA, ALLOWED, BEN, CARL, DENIED, SHA, Colours, gallery, people, policy
from tests.anonymize.pictures import face
from tests.anonymize.test_policy import view
from tests.anonymize.test_policy_video import BLURRED, DARK, REACH, Blurs, Lit, boxes, judged, made, spans

pytest.importorskip("av", reason="films need PyAV: the extra `video`")
from fdf.anonymize.video import VideoOptions, anonymize_video

# ---- films, with the recognizer that comes with fdf

EILEEN, GRACE = 0, 5  # two portraits of the sample corpus, of real people
MIDDLE, HEIGHT = (160, 92), 120
GROUND = clips.background(320, 180, 3)


def head(person: int, blur: float = 0) -> np.ndarray:
    clip, stage = clips.Clip(), clips._Stage(GROUND)
    stage.head(person, *MIDDLE, HEIGHT, blur=blur)
    stage.finish(clip)
    return clip.pictures[0]


class There:
    """Finds a face where there is one: what is tested is who it is."""

    def find(self, picture: Any) -> list[Face]:
        return [face(110, 32, 210, 152)] if np.abs(picture[92, 160].astype(int) - GROUND[92, 160]).max() > 24 else []


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer()


def bare(
    film: list[np.ndarray], root: Path, rules: str, recognizer: Recognizer
) -> tuple[list[int], list[dict[str, Any]]]:
    """Frames that show the face, and the log."""
    for name, person in (("allowed/eileen", EILEEN), ("denied/grace", GRACE)):
        (root / name).mkdir(parents=True)
        Image.fromarray(head(person)).save(root / name / "1.png")
    (root / "p.toml").write_text('format = "fdf-policy"\nversion = 1\naccess = "proxy"\n' + rules)
    clips.write(film, root / "a.mp4")
    anonymizer = Anonymizer(
        clips.Black(), finder=There(), policy=load_policy(root / "p.toml", recognizer=recognizer, finder=There())
    )
    log = AuditLog(root / "log.jsonl")
    anonymize_video(root / "a.mp4", root / "b.mp4", anonymizer, VideoOptions(every=1, workers=1), audit=log)
    pictures, _ = clips.read(root / "b.mp4")
    return [n for n, one in enumerate(pictures) if one[80:110, 140:180].mean() > 30], read_log(root / "log.jsonl")


@pytest.mark.parametrize("blur", [0.0, 6.0])
def test_a_stranger_for_two_frames_between_two_looks(tmp_path: Path, recognizer: Recognizer, blur: float) -> None:
    film = [head(EILEEN)] * 22 + [head(GRACE, blur)] * 2 + [head(EILEEN)] * 20
    shown, rows = bare(film, tmp_path, ALLOWED, recognizer)
    assert shown == [*range(7), *range(39, shown[-1] + 1)], "half a second before and after her nobody is bare"
    assert shown[-1] >= 41
    assert [row["decision"] for row in rows] == ["shown", "hidden", "shown", "hidden"]
    assert "not close enough to eileen (frame 22)" in rows[1]["reason"]
    assert ("not sharp" in rows[1]["reason"]) is bool(blur)
    assert rows[1]["distance"] > rows[1]["threshold"], "the log says how far"


def test_someone_denied_for_two_frames_between_two_looks(tmp_path: Path, recognizer: Recognizer) -> None:
    film = [head(EILEEN)] * 22 + [head(GRACE)] * 2 + [head(EILEEN)] * 6
    shown, rows = bare(film, tmp_path, ALLOWED + DENIED, recognizer)
    assert shown == []
    assert rows[0]["reason"] == "grace is denied (frame 22)"


def test_a_face_that_is_not_found_could_be_anybodys(tmp_path: Path, recognizer: Recognizer) -> None:
    film = [head(EILEEN)] * 20 + [GROUND] * 3 + [head(EILEEN)] * 9
    shown, rows = bare(film, tmp_path, ALLOWED, recognizer)
    assert shown == [*range(20), *range(23, shown[-1] + 1)]
    assert rows[1]["reason"] == "nothing to look at in frame 20: it could be anybody"


# ---- the same picture


def test_two_people_are_never_the_same_picture() -> None:
    found = face(110, 32, 210, 152)
    for blur in (0.0, 3.0, 6.0):
        seen = [glimpse(head(person, blur), found) for person in range(len(clips.PEOPLE))]
        assert not any(alike(a, b) for a, b in itertools.permutations(seen, 2))
        assert not any(alike(a, b / 4) for a, b in itertools.permutations(seen, 2) if b is not None)


def test_a_face_that_keeps_still_is_the_same_picture_however_it_is_encoded(tmp_path: Path) -> None:
    clips.write([head(EILEEN)] * 12, tmp_path / "a.mp4", options={"crf": "26"})
    seen = [glimpse(one, face(110, 32, 210, 152)) for one in clips.read(tmp_path / "a.mp4")[0]]
    assert all(alike(seen[0], one) for one in seen[1:])
    dark = [cv2.convertScaleAbs(head(person), alpha=0.05) for person in (EILEEN, GRACE)]
    assert not alike(*(glimpse(one, face(110, 32, 210, 152)) for one in dark)), "in the dark as well"
    assert glimpse(dark[0], face(319, 0, 420, 90)) is None
    assert not alike(None, None)


def test_what_keeps_still_is_looked_at_now_and_then_and_what_moves_in_every_frame() -> None:
    found, moving = made(), made()
    judged([[ADA]] * 60, Jury(found, "", REACH))
    judged([[(200 - 4 * (t % 2), 30, 30)] for t in range(60)], Jury(moving, "", REACH))
    assert found.recognizer.asked == 30  # type: ignore[union-attr]
    assert moving.recognizer.asked == 60  # type: ignore[union-attr]


# ---- what a look says


def test_a_bad_look_is_a_strangers_unless_it_is_near() -> None:
    limits, ada, ben = (
        Limits(0.3, 0.5, 0.1),
        [Person("ada", 1, (np.float32([0, 0]),))],
        Person("b", 1, (np.float32([0.25, 0]),)),
    )
    kinds = {
        (away, sharp): judge(view(np.float32([away, 0]), sharpness=sharp), ada, [], [], limits).kind
        for away in (0.1, 0.4, 0.6)
        for sharp in (500.0, 3.0)
    }
    assert [kinds[away, 500.0] for away in (0.1, 0.4, 0.6)] == ["yes", "unsure", "stranger"]
    assert [kinds[away, 3.0] for away in (0.1, 0.4, 0.6)] == ["unsure", "stranger", "stranger"]
    found = judge(view(np.float32([0.2, 0])), ada, [ben], [], limits)
    assert (found.kind, found.reason) == ("stranger", "too close to b as well"), "it is nearer to him"
    assert judge(view(np.float32([0.1, 0])), ada, [ben], [], limits).kind == "unsure"


def test_a_bad_look_that_is_near_says_nothing() -> None:
    frames = [[ADA]] * 20 + [[BLURRED]] * 4 + [[ADA]] * 20
    found = dataclasses.replace(made(), recognizer=Blurs())
    assert spans(judged(frames, Jury(found, "", REACH))) == list(range(43))


@settings(max_examples=80)
@given(st.lists(st.sampled_from([ADA, ADA, ADA, ADA, ADA, ADA, BEN, CARL, DARK, None]), min_size=1, max_size=60))
def test_nobody_but_who_is_allowed_is_ever_shown(colours: list[Any]) -> None:
    shown = spans(judged([[one] for one in colours], Jury(made(denied=False), "", REACH)))
    assert {colours[index] for index in shown} <= {ADA}


# ---- tracks by number


def numbered(*more: RuleRow, frames: int = 3) -> Policy:
    rule = RuleRow(action="show", track=0, sha256=[SHA], by="Eve")
    return Policy("proxy", (rule, *more), (), Limits(0.3, 0.4, 0.1), Colours(), frames)


def test_whoever_sits_down_in_an_empty_chair_is_hidden() -> None:
    jury = Jury(numbered(), SHA, REACH)
    assert spans(judged([[ADA]] * 30 + [[None]] * 12 + [[BEN]] * 50, jury)) == list(range(32))
    assert jury.rows[1]["reason"] == "frame 42 shows somebody else than the track began with (distance 0.94)"
    assert jury.rows[1]["rule"] == 1
    jury = Jury(numbered(), SHA, REACH)
    film = [[ADA]] * 30 + [[None]] * 12 + [[ADA]] * 30
    assert spans(judged(film, jury)) == [*range(32), *range(42, 72)], "she came back"
    assert jury.rows[1]["reason"] == "out of sight after frame 29, and not recognized since"


def test_whoever_stands_in_the_place_of_a_numbered_track_is_hidden() -> None:
    jury = Jury(numbered(), SHA, REACH)
    assert spans(judged([[ADA]] * 33 + [[BEN]] + [[ADA]] * 33, jury)) == [*range(23), *range(44, 67)]


def test_who_is_seen_well_after_somebody_else_was_seen_badly_is_not_who_a_track_began_with() -> None:
    jury = Jury(numbered(), SHA, REACH)
    assert spans(judged([[DARK]] * 30 + [[BEN]] * 40, jury)) == list(range(30))
    assert jury.rows[-1]["reason"] == "frame 30 shows somebody else than frame 0 may have"


def test_however_long_the_newcomer_was_seen_badly() -> None:
    found = dataclasses.replace(numbered(), recognizer=Blurs())
    badly = [[(30, 200 - 60 * (t % 2), 31)] for t in range(80)]
    jury = Jury(found, SHA, REACH)
    assert spans(judged([[BLURRED]] * 2 + badly + [[BEN]] * 40, jury)) == list(range(82))
    assert jury.rows[-1]["reason"] == "frame 82 shows somebody else than frame 0 may have"


@pytest.mark.parametrize("who", ["nobody to ask", "badly seen"])
def test_a_numbered_track_that_nobody_knows_is_hidden_after_a_gap(who: str) -> None:
    found = numbered() if who == "badly seen" else dataclasses.replace(numbered(), recognizer=None)
    one = DARK if who == "badly seen" else ADA
    jury = Jury(found, SHA, REACH)
    assert spans(judged([[one]] * 30 + [[None]] * 2 + [[one]] * 5 + [[None]] * 3 + [[one]] * 40, jury)) == list(
        range(39)
    )
    assert jury.rows[-1]["reason"] == "out of sight after frame 36, and not recognized since"
    assert jury.rows[-1]["frame"] == 39


def test_a_numbered_track_of_someone_allowed_comes_back_when_they_are_recognized() -> None:
    """A face is shown if any rule shows it."""
    rule = RuleRow(action="show", track=0, sha256=[SHA], by="Eve")
    jury = Jury(made(rule, denied=False), SHA, REACH)
    assert spans(judged([[BEN]] * 30 + [[ADA]] * 30, jury)) == [*range(20), *range(40, 59)]


@settings(max_examples=80)
@given(st.lists(st.sampled_from([ADA, ADA, ADA, ADA, ADA, ADA, BEN, CARL, None, None]), min_size=1, max_size=60))
def test_a_numbered_track_shows_who_it_began_with(colours: list[Any]) -> None:
    colours = [ADA, *colours]
    for index in spans(judged([[one] for one in colours], Jury(numbered(), SHA, REACH))):
        assert colours[index] is ADA or ADA in colours[max(0, index - 2) : index]


def test_a_film_in_which_somebody_sits_down_on_a_chair_that_was_left(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__dora=[(200, 200, 30)])
    clips.write([people(ADA)] * 30 + [people()] * 12 + [people(BEN)] * 30, tmp_path / "a.mp4", options={"crf": "4"})
    sha = hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest()
    rule = f'[[rule]]\naction = "show"\ntrack = 0\nsha256 = ["{sha}"]\nby = "Eve"\n'
    shown = {}
    for name, rules in (("number", rule), ("both", rule + ALLOWED)):
        found, log = policy(tmp_path, rules), AuditLog(tmp_path / f"{name}.jsonl")
        anonymizer = Anonymizer("solid", finder=Lit(), policy=found)
        anonymize_video(tmp_path / "a.mp4", tmp_path / f"{name}.mp4", anonymizer, VideoOptions(every=1), audit=log)
        pictures, _ = clips.read(tmp_path / f"{name}.mp4")
        shown[name] = [n for n, p in enumerate(pictures) if p[40, 50].max() > 150]
        assert all(row["reason"] for row in read_log(tmp_path / f"{name}.jsonl"))
    assert shown == {"number": list(range(30)), "both": list(range(30))}


# ---- faces of a file


def test_guesses_of_a_file_are_looked_at_too() -> None:
    """Saved by a run that looked at every fourth frame: what lies between is a guess, and may be anybody."""

    def run(who: Any, *, given: bool) -> list[int]:
        jury, shown = Jury(made(denied=False), "", REACH), []
        for index in range(48):
            guess = dataclasses.replace(boxes([ADA])[0], origin="track" if index % 4 else "detector")
            picture = people(who(index))
            jury.look(index, [(0, guess)] if given or not index % 4 else [], lambda picture=picture: picture)
            if index >= REACH and jury.judge(index - REACH, 0, guess, "a.mp4"):
                shown.append(index - REACH)
        return shown

    assert run(lambda _: ADA, given=True) == list(range(38))
    assert run(lambda index: BEN if index == 22 else ADA, given=True) == [*range(12), *range(33, 38)]
    assert run(lambda index: DARK if index == 22 else ADA, given=True) == [n for n in range(38) if n != 22]
    assert run(lambda _: ADA, given=False) == list(range(0, 38, 4))


def test_faces_without_a_track_are_in_the_log(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    clips.write([people(ADA)] * 10, tmp_path / "a.mp4")
    one, two = [20, 10, 60, 70], [62, 10, 80, 70]
    lines = [{"format": "fdf-film-faces", "version": 1, "file": "a.mp4", "width": 100, "height": 80}]
    for index in range(10):
        found = [one] if index < 4 else [] if index < 6 else [one, two]
        lines.append({"frame": index, "time": round(index / 30, 6), "faces": [{"box": box} for box in found]})
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    anonymizer, log = Anonymizer("solid", policy=policy(tmp_path, ALLOWED)), AuditLog(tmp_path / "log.jsonl")
    options = VideoOptions(detections=tmp_path / "a.jsonl")
    result = anonymize_video(tmp_path / "a.mp4", tmp_path / "b.mp4", anonymizer, options, audit=log)
    assert (result.covered, result.shown) == (4 + 8, 0)
    rows = [(row["frame"], row["track"], row["decision"], row["box"]) for row in read_log(tmp_path / "log.jsonl")]
    assert rows == [(0, None, "hidden", one), (6, None, "hidden", one), (6, None, "hidden", two)]
    assert {row["reason"] for row in read_log(tmp_path / "log.jsonl")} == {"no track: always hidden"}
