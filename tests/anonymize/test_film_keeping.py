"""Who stays in a film by a click: no longer than their track is sure to be theirs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.base import Face
from fdf.anonymize.film_faces import FacesReader, FacesWriter, Followed
from fdf.anonymize.film_keeping import Keeping, keep
from tests.anonymize.pictures import face

SIZE = 400, 300
FPS = 25


def on(track: int, x: float, y: float = 100, side: float = 40, origin: Any = "detector") -> Followed:
    found = face(x, y, x + side, y + side)
    return Followed(Face(found.box, found.score, track=track, origin=origin), None)


def kept(folder: Path, frames: list[list[Followed]], *chosen: Face) -> tuple[Keeping, list[list[int | None]]]:
    """What came of it, and the tracks that are left in each frame, as the renderer will read them."""
    file = io.BytesIO()
    writer = FacesWriter(file, "a.mp4")
    for index, faces in enumerate(frames):
        writer.add(index / FPS, SIZE, faces)
    (folder / "every.jsonl").write_bytes(file.getvalue())
    found = keep(folder / "every.jsonl", folder / "left.jsonl", chosen)
    reader = FacesReader(io.BytesIO((folder / "left.jsonl").read_bytes()), "left", "a.mp4")
    left = [[one.face.track for one in reader.faces(k, k / FPS, SIZE)] for k in range(len(frames))]
    reader.end()
    return found, left


def test_who_is_chosen_stays_and_the_others_are_hidden(tmp_path: Path) -> None:
    found, left = kept(tmp_path, [[on(0, 50 + k), on(1, 300)] for k in range(30)], face(52, 98, 91, 139))
    assert found == Keeping({0: None})
    assert left == [[1]] * 30


def test_where_two_meet_both_are_hidden_from_then_on(tmp_path: Path) -> None:
    """They may have changed places: the track goes on, and is somebody else's."""
    frames = [[on(0, 50 + 10 * k), on(1, 250 - 10 * k)] for k in range(20)]
    found, left = kept(tmp_path, frames, face(50, 100, 90, 140))
    met = found.tracks[0]
    assert met is not None
    assert 4 < met < 10, "before they lie over one another"
    assert left == [[1]] * met + [[0, 1]] * (20 - met)


def test_who_is_out_of_sight_or_jumps_is_hidden_from_then_on(tmp_path: Path) -> None:
    lost = [[on(0, 50, origin="detector" if k < 5 else "track")] for k in range(40)]
    found, left = kept(tmp_path, lost, face(50, 100, 90, 140))
    assert found.tracks == {0: 5 + FPS // 2}
    assert left[-1] == [0]
    jumped = [[on(0, 50 if k < 8 else 200)] for k in range(12)]
    assert kept(tmp_path, jumped, face(50, 100, 90, 140))[0].tracks == {0: 8}


def test_whoever_comes_after_is_hidden(tmp_path: Path) -> None:
    found, left = kept(tmp_path, [[on(0, 50)], [on(0, 50)], [], [on(1, 50)]], face(50, 100, 90, 140))
    assert (found.tracks, left) == ({0: None}, [[], [], [], [1]])


def test_a_face_that_the_film_does_not_know_is_told(tmp_path: Path) -> None:
    found, left = kept(tmp_path, [[on(0, 50)]], face(200, 100, 240, 140))
    assert (found, left) == (Keeping({}, 1), [[0]])
    assert json.loads((tmp_path / "left.jsonl").read_text().splitlines()[0])["width"] == SIZE[0]


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=4), min_size=2, max_size=12))
def test_only_the_chosen_track_is_ever_left_out_and_never_comes_back(
    tmp_path_factory: Any, rows: list[list[tuple[int, int]]]
) -> None:
    frames = [[on(0, 50), on(4, 350)], *([on(t, x) for t, x in dict(row).items()] for row in rows)]
    found, left = kept(tmp_path_factory.mktemp("k"), frames, face(50, 100, 90, 140))
    for index, (before, after) in enumerate(zip(frames, left, strict=True)):
        tracks = [one.face.track for one in before]
        end = found.tracks[0]
        assert after == [t for t in tracks if t != 0 or (end is not None and index >= end)]
