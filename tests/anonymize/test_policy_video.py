"""Who stays in a film: decided per track, from looks on both sides of every frame."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.audit_log import AuditLog, read_log
from fdf.anonymize.base import Face
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.judging import Limits, Person
from fdf.anonymize.jury import Jury
from fdf.anonymize.policy import Policy, RuleRow
from fdf.store.files import file_sha256
from tests.anonymize.people import ADA, ALLOWED, BEN, CARL, DENIED, Bright, Colours, gallery, people, policy
from tests.anonymize.pictures import face

REACH = 10  # a look every second frame
DARK = (40, 5, 5)
BLURRED = (200, 30, 31)


class Blurs(Colours):
    """Ada, badly seen, is still near."""

    def _view(self, picture: Any, one: Face) -> Any:
        seen = super()._view(picture, one)
        blurred = seen is not None and seen.vector[2] == np.float32(31 / 255)
        return dataclasses.replace(seen, sharpness=1.0) if blurred else seen


def vectors(colour: Any) -> Any:
    return (np.float32(colour) / 255,)


def made(*more: RuleRow, denied: bool = True) -> Policy:
    rules = [RuleRow(action="show", person="ada", by="Eve"), RuleRow(action="hide", person="carl"), *more]
    who = [Person("ada", 1, vectors(ADA)), *([Person("carl", 2, vectors(CARL))] if denied else [])]
    return Policy("proxy", tuple(rules), tuple(who), Limits(0.3, 0.4, 0.1), Colours())


def judged(frames: list[Any], jury: Jury, reach: int = REACH) -> list[list[bool]]:
    """Frames are colours of the faces in them, None for a face that is not found; shown or not, per frame and track."""
    shown: list[list[bool]] = []

    def emit(index: int) -> None:
        shown.append([jury.judge(index, n, boxes(frames[index])[n], "a.mp4") for n in range(len(frames[index]))])

    for index, colours in enumerate(frames):
        found = [(n, one) for n, one in enumerate(boxes(colours)) if colours[n] is not None]
        picture = people(*(colour or (0, 0, 0) for colour in colours))
        jury.look(index, found, lambda picture=picture: picture)
        if index >= reach:
            emit(index - reach)
    for index in range(max(0, len(frames) - reach), len(frames)):
        emit(index)
    return shown


def boxes(colours: Any) -> list[Face]:
    return [face(20 + 80 * n, 10, 80 + 80 * n, 70) for n in range(len(colours))]


def spans(shown: list[list[bool]], track: int = 0) -> list[int]:
    return [index for index, row in enumerate(shown) if row[track]]


def test_a_recognized_track_is_shown_between_its_first_and_last_look() -> None:
    jury = Jury(made(), "", REACH)
    shown = judged([[ADA, BEN]] * 60, jury)
    assert spans(shown) == list(range(59)), "looks are at even frames: the last is not between two"
    assert spans(shown, 1) == []
    assert [(row["track"], row["frame"], row["decision"]) for row in jury.rows] == [
        (0, 0, "shown"),
        (1, 0, "hidden"),
        (0, 59, "hidden"),
    ]
    assert jury.rows[0]["reason"] == "6 of 6 looks recognize ada"
    assert jury.rows[1]["reason"] == "not close enough to ada (frame 0)"
    assert jury.shown == 59


def test_a_stranger_on_a_track_hides_it_before_he_is_there() -> None:
    frames = [[ADA]] * 40 + [[BEN]] * 40 + [[ADA]] * 40
    assert spans(judged(frames, Jury(made(), "", REACH))) == [*range(30), *range(89, 119)]


def test_someone_denied_ends_it_for_good() -> None:
    frames = [[ADA]] * 40 + [[CARL]] + [[ADA]] * 60
    jury = Jury(made(), "", REACH)
    assert spans(judged(frames, jury)) == list(range(30))
    assert jury.rows[-1]["reason"] == "carl is denied"
    assert jury.rows[-1]["rule"] == 2


def test_too_few_clear_looks_show_nobody() -> None:
    def run(*clear: int, else_: Any = BLURRED) -> list[int]:
        jury = Jury(dataclasses.replace(made(), recognizer=Blurs()), "", REACH)
        return spans(judged([[ADA if t in clear else else_] for t in range(40)], jury))

    most = [t for t in range(40) if t != 20]
    assert run(20) == []
    assert run(18, 20) == []
    assert run(18, 20, 22) == [], "fewer than half of the looks around"
    assert run(*most) == list(range(39)), "one bad look among good ones"
    assert run(*most, else_=DARK) == [*range(10), *range(31, 40)], "one so bad that it could be somebody else"
    assert run() == []


def test_where_another_face_touches_a_track_it_is_hidden() -> None:
    jury = Jury(made(), "", REACH)
    picture = people(ADA)
    found = [(0, face(20, 10, 80, 70)), (1, face(60, 10, 120, 70))]
    for index in range(40):
        jury.look(index, found if index == 20 else found[:1], lambda: picture)
    assert not jury.judge(25, 0, found[0][1], "a.mp4")
    assert "another face touches it (frame 20)" in jury.rows[-1]["reason"]
    assert jury.judge(31, 0, found[0][1], "a.mp4")


def test_a_recognizer_that_fails_shows_nobody() -> None:
    found = made()

    def broken(*_: Any) -> Any:
        raise RuntimeError("boom")

    found.recognizer.views = broken  # type: ignore[union-attr,method-assign]
    jury = Jury(found, "", REACH)
    assert spans(judged([[ADA]] * 40, jury)) == []
    assert "judging failed: RuntimeError: boom" in jury.rows[0]["reason"]


def test_rules_for_tracks_and_boxes() -> None:
    sha = "a" * 64
    show = RuleRow(action="show", track=1, sha256=[sha], by="Eve")
    assert spans(judged([[ADA, BEN]] * 30, Jury(made(show), sha, REACH)), 1) == list(range(30))
    assert spans(judged([[ADA, BEN]] * 30, Jury(made(show), "b" * 64, REACH)), 1) == []
    assert spans(judged([[ADA, DARK]] * 30, Jury(made(show), sha, REACH)), 1) == [], "it could be someone denied"
    hide = RuleRow(action="hide", track=0)
    assert spans(judged([[ADA]] * 30, Jury(made(hide), sha, REACH))) == []
    corner = RuleRow(action="hide", box=(0, 0, 50, 50))
    assert spans(judged([[BEN, ADA]] * 30, Jury(made(corner), sha, REACH)), 1) == list(range(29))
    assert spans(judged([[ADA, BEN]] * 30, Jury(made(corner), sha, REACH))) == []


def test_without_look_ahead_nobody_is_recognized() -> None:
    assert spans(judged([[ADA]] * 20, Jury(made(), "", 0), 0)) == []


@settings(max_examples=60)
@given(st.lists(st.sampled_from([ADA, ADA, ADA, BEN, CARL, DARK, None]), min_size=1, max_size=60))
def test_whoever_is_shown_was_recognized_before_and_after(colours: list[Any]) -> None:
    jury = Jury(made(), "", REACH)
    shown = spans(judged([[one] for one in colours], jury))
    looks = [
        t
        for t, one in enumerate(colours)
        if one is ADA  # a superset of the looks that said yes
    ]
    for index in shown:
        near = [t for t in looks if abs(t - index) <= REACH]
        assert len(near) >= 3
        assert min(near) <= index <= max(near)
    # And someone denied never shows more.
    more = spans(judged([[one] for one in colours], Jury(made(denied=False), "", REACH)))
    assert set(shown) <= set(more)


def test_a_face_that_is_hidden_only_after_it_was_shown(tmp_path: Path) -> None:
    """The last frames are seldom looked at: the nearest finding lies in a frame that is written already."""
    pytest.importorskip("av", reason="films need PyAV: the extra `video`")
    from fdf.anonymize.video import VideoOptions, anonymize_video
    from tests.anonymize import clips

    gallery(tmp_path, allowed__ada=[ADA])
    found = dataclasses.replace(policy(tmp_path, ALLOWED), limits=Limits(0.35, 0.4, 0.1))
    clips.write([people(ADA)] * 37 + [people()] * 8, tmp_path / "a.mp4")
    anonymizer = Anonymizer("solid", finder=Lit(), policy=found)
    result = anonymize_video(tmp_path / "a.mp4", tmp_path / "b.mp4", anonymizer, VideoOptions(every=4, look_ahead=12))
    assert result.frames == 45
    assert 30 <= result.shown < 40


def test_a_film(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="films need PyAV: the extra `video`")
    from fdf.anonymize.video import VideoOptions, anonymize_video
    from tests.anonymize import clips

    gallery(tmp_path, allowed__ada=[ADA], denied__carl=[CARL])
    found = dataclasses.replace(policy(tmp_path, ALLOWED + DENIED), limits=Limits(0.35, 0.4, 0.1))
    frames = [people(ADA, BEN)] * 40
    source, target, log = tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "log.jsonl"
    clips.write(frames, source)
    anonymizer = Anonymizer("solid", finder=Lit(), policy=found)
    options = VideoOptions(every=1, look_ahead=10, hold=5)
    result = anonymize_video(source, target, anonymizer, options, audit=AuditLog(log))
    pictures, _ = clips.read(target)
    bare = [np.abs(p[40, 50].astype(int) - ADA).max() < 60 for p in pictures]
    assert [np.abs(p[40, 130].astype(int) - BEN).max() < 60 for p in pictures] == [False] * 40
    assert bare == [True] * 39 + [False]
    assert result.shown == 39
    assert result.covered == 41
    rows = read_log(log)
    assert [(row["track"], row["frame"], row["decision"]) for row in rows] == [
        (0, 0, "shown"),
        (1, 0, "hidden"),
        (0, 39, "hidden"),
    ]
    assert rows[0]["sha256"] == file_sha256(source)
    assert rows[0]["input"] == "a.mp4"
    assert rows[0]["person"] == "ada"


class Lit(Bright):
    """As decoded from a film: black is not quite black."""

    def find(self, picture: Any) -> list[Face]:
        return super().find(np.where(picture.max(axis=2, keepdims=True) > 90, picture, 0))
