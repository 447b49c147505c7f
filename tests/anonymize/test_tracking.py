"""A face that was found once is covered before, after and in between."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fdf.anonymize.base import Face
from fdf.anonymize.people import People
from fdf.anonymize.tracking import Covered, Tracker, TrackingConfig

SIZE = (1280, 720)


def face(x: float, y: float, side: float = 80, score: float = 0.9) -> Face:
    box = np.array([x - side / 2, y - side * 0.6, x + side / 2, y + side * 0.6], dtype=np.float32)
    points = np.array([[x, y, 1.0]] * 7, dtype=np.float32)
    return Face(box, score, keypoints=points, landmarks5=points[:5, :2].copy())


def run(
    frames: list[list[Face] | None], config: TrackingConfig | None = None, cuts: tuple[int, ...] = ()
) -> list[Covered]:
    tracker = Tracker(config, SIZE)
    out = []
    for index, faces in enumerate(frames):
        out += tracker.push(index, faces, cut=index in cuts)
    return out + tracker.finish()


def inside(inner: Face, covers: list[Face], share: float = 0.9) -> bool:
    """Whether the middle of a true face, 0.8 of its box, lies under the covers, each grown as a region grows it."""
    x0, y0, x1, y1 = inner.box
    xs, ys = np.meshgrid(np.linspace(0.1, 0.9, 17) * (x1 - x0) + x0, np.linspace(0.1, 0.9, 17) * (y1 - y0) + y0)
    under = np.zeros(xs.shape, dtype=bool)
    for cover in covers:
        a, b = cover.box[:2], cover.box[2:]
        margin = 0.12 * (b - a)
        low, high = a - margin, b + margin
        under |= (xs >= low[0]) & (xs <= high[0]) & (ys >= low[1]) & (ys <= high[1])
    # What lies outside the frame can't be seen.
    under |= (xs < 0) | (ys < 0) | (xs > SIZE[0]) | (ys > SIZE[1])
    return bool(under.mean() >= share)


@st.composite
def walks(draw: st.DrawFn) -> list[Face]:
    """A face that moves and changes size smoothly: 60 frames, up to 12 % of its side a frame, turning within 20 frames."""
    speed = draw(st.floats(0, 9))
    period, phase = draw(st.floats(60, 200)), draw(st.floats(0, 6.3))
    grow = draw(st.floats(0, 0.2))
    t = np.arange(60)
    angle = 2 * np.pi * t / period + phase
    x = 640 + np.cumsum(speed * np.cos(angle))
    y = 360 + np.cumsum(speed * 0.6 * np.sin(angle))
    side = 80 * (1 + grow * np.sin(t / 15 + phase))
    return [face(float(a), float(b), float(c)) for a, b, c in zip(x, y, side, strict=True)]


@given(walk=walks(), start=st.integers(0, 45), length=st.integers(1, 15))
@settings(max_examples=40)
def test_dropping_up_to_hold_findings_leaves_every_frame_covered(walk: list[Face], start: int, length: int) -> None:
    frames = [[f] for f in walk]
    for index in range(start, min(start + length, len(frames))):
        frames[index] = []
    out = run(frames)
    assert [c.index for c in out] == list(range(len(walk)))
    bare = [c.index for c, truth in zip(out, walk, strict=True) if not inside(truth, c.faces)]
    assert not bare
    assert {f.track for c in out for f in c.faces} == {0}, "one face, one track"


@given(walk=walks(), missed=st.sets(st.integers(0, 59), max_size=30), jitter=st.integers(0, 2**16))
@settings(max_examples=25)
def test_scattered_misses_and_jitter_leave_nothing_bare(walk: list[Face], missed: set[int], jitter: int) -> None:
    rng = np.random.default_rng(jitter)
    frames: list[list[Face] | None] = []
    for index, true in enumerate(walk):
        box = (true.box + rng.normal(0, 2, 4)).astype(np.float32)
        frames.append([] if index in missed else [dataclasses.replace(true, box=box)])
    gaps = "".join("m" if index in missed else " " for index in range(60)).split(" ")
    assume(max(map(len, gaps)) <= TrackingConfig().hold)
    out = run(frames)
    assert not [c.index for c, truth in zip(out, walk, strict=True) if not inside(truth, c.faces)]


@given(
    walks_=st.lists(walks(), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
    missed=st.sets(st.integers(0, 59), max_size=20),
)
@settings(max_examples=10)
def test_the_order_of_faces_makes_no_difference(walks_: list[list[Face]], seed: int, missed: set[int]) -> None:
    shift = [np.array([300 * k - 450, 0] * 2, dtype=np.float32) for k in range(len(walks_))]
    frames = [
        [] if t in missed else [dataclasses.replace(w[t], box=w[t].box + s) for w, s in zip(walks_, shift, strict=True)]
        for t in range(60)
    ]
    mixed = [random.Random(seed + t).sample(faces, len(faces)) for t, faces in enumerate(frames)]
    one, other = run(list(frames)), run(list(mixed))
    for a, b in zip(one, other, strict=True):
        assert [f.track for f in a.faces] == [f.track for f in b.faces]
        assert all(np.array_equal(f.box, g.box) for f, g in zip(a.faces, b.faces, strict=True))


def test_a_box_is_never_smaller_than_what_was_found() -> None:
    rng = np.random.default_rng(3)
    frames = [[face(400 + 7 * t + rng.normal(0, 4), 300 + rng.normal(0, 4), 80 + rng.normal(0, 5))] for t in range(50)]
    for covered, (found,) in zip(run([*frames]), frames, strict=True):
        (cover,) = covered.faces
        assert (cover.box[:2] <= found.box[:2] + 1e-3).all()
        assert (cover.box[2:] >= found.box[2:] - 1e-3).all()
        assert cover.origin == "detector"


def test_keypoints_follow_without_lag() -> None:
    frames = [[face(200 + 10 * t, 300)] for t in range(40)]
    for t, covered in enumerate(run([*frames])):
        assert covered.faces[0].keypoints is not None
        assert abs(covered.faces[0].keypoints[0, 0] - (200 + 10 * t)) < 0.5


def test_covered_before_the_first_and_after_the_last_finding() -> None:
    frames: list[list[Face] | None] = [[] for _ in range(100)]
    frames[50] = [face(600, 300)]
    config = TrackingConfig(hold=10, look_ahead=7)
    out = run(frames, config)
    assert [c.index for c in out if c.faces] == list(range(43, 61))
    wide = [float(c.faces[0].box[2] - c.faces[0].box[0]) for c in out if c.faces]
    assert wide == sorted(wide[:8], reverse=True) + sorted(wide[8:]), "wider the farther"
    assert out[49].faces[0].origin == "track"
    assert out[60].faces[0].keypoints is None, "far from any finding there are no points to trust"


def test_a_cut_ends_tracks_on_both_sides() -> None:
    frames: list[list[Face] | None] = [[face(600, 300)] for _ in range(20)] + [[] for _ in range(20)]
    out = run(frames, cuts=(20,))
    assert all(c.faces for c in out[:20])
    assert not any(c.faces for c in out[20:])
    back = run(frames[::-1], cuts=(20,))
    assert not any(c.faces for c in back[:20])


def test_two_faces_that_cross_keep_their_tracks() -> None:
    frames: list[list[Face] | None] = [
        [face(200 + 10 * t, 300, 90, 0.9), face(1000 - 10 * t, 320, 90, 0.8)] for t in range(80)
    ]
    for t in range(38, 43):  # the one in front hides the other
        frames[t] = frames[t][:1]  # type: ignore[index]
    out = run(frames)
    # Track 0 runs to the right; skip the frames in which both are at one place.
    places = {t: [float(f.box[0] + f.box[2]) / 2 for f in out[t].faces] for t in (0, 20, 60, 79)}
    assert places[0][0] < places[20][0] < places[60][0] < places[79][0]
    assert len({f.track for c in out for f in c.faces}) == 2


def test_memory_does_not_grow() -> None:
    tracker = Tracker(size=SIZE)
    for t in range(1000):
        tracker.push(t, [face(600 + 50 * np.sin(t / 20), 300), face(100 + t % 40 * 25, 600)])
    assert sum(len(track.at) for track in tracker._tracks) < 400
    assert len(tracker._looked) < 100


def test_wrong_frame_numbers_and_settings_are_refused() -> None:
    tracker = Tracker()
    tracker.push(3, [])
    with pytest.raises(ValueError, match="Expected frame 4, got 6"):
        tracker.push(6, [])
    with pytest.raises(ValueError, match="0 or more"):
        TrackingConfig(hold=-1)


def test_people_are_known_again_and_never_there_twice() -> None:
    vectors = {100: [0.0, 0.0], 300: [3.0, 0.0], 105: [0.1, 0.0]}
    people = People(lambda _, f: np.array(vectors[round(float(f.box[0] + 40))], dtype=np.float32))
    picture = lambda: np.zeros((8, 8, 3), dtype=np.uint8)  # noqa: E731
    assert people.number(face(100, 100), picture) == 0
    assert people.number(face(300, 100), picture) == 1
    assert people.number(face(105, 100), picture) == 0
    assert people.number(face(105, 100), picture, others={0}) == 2
    alone = People()
    assert [alone.number(face(100, 100), picture) for _ in range(3)] == [0, 1, 2]
