"""Who stays in a film because of a click on its first frame: as long as their track can't be somebody else's.

A tracker follows places, not people: where two cross it may go on with the wrong one. So a face that was chosen is shown from
the first frame on, and hidden for good from the moment that another face touches it, that it was not seen for a while, or
that it jumped. To keep somebody throughout, write a policy with their pictures (`fdf.anonymize.policy`): that recognizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fdf.anonymize.base import Face
from fdf.anonymize.deciding import overlap
from fdf.anonymize.faces_json import from_row
from fdf.anonymize.film_faces import FrameRow
from fdf.store.files import atomic_file

_MEANT: Final = 0.5  # intersection over union with the face that was clicked on
_STEADY: Final = 0.3  # … of its boxes in two frames that follow one another
_AROUND: Final = 0.25  # how far round a face another one touches it, share of its sides
_UNSEEN: Final = 0.5  # seconds without a finding


@dataclass
class _Kept:
    """A track that is shown so far."""

    track: int
    last: Face
    seen: float
    until: int | None = None


@dataclass(frozen=True)
class Keeping:
    """What came of the faces that were to stay.

    Attributes:
        tracks: number of the track → first frame in which it is hidden; None if it is shown to the end.
        strangers: faces for which the film's own detector has no track in the first frame: they are hidden.
    """

    tracks: dict[int, int | None] = field(default_factory=dict)
    strangers: int = 0


def keep(lines: Path, out: Path, chosen: Sequence[Face]) -> Keeping:
    """Take faces out of a film's lines (`fdf.anonymize.film_faces`), so that rendering them leaves these as they are.

    Args:
        lines: of all frames, with tracks.
        out: where to write the others.
        chosen: in the first frame.
    """
    kept, strangers = _ends(lines, chosen)
    with lines.open("rb") as source, atomic_file(out) as file:
        file.write(source.readline())
        for row in _rows(source):
            left = [face for face in row.faces if face.track not in kept or _over(kept[face.track], row.frame)]
            file.write(row.model_copy(update={"faces": left}).model_dump_json(exclude_none=True).encode() + b"\n")
    return Keeping(kept, strangers)


def _over(end: int | None, frame: int) -> bool:
    return end is not None and frame >= end


def _ends(lines: Path, chosen: Sequence[Face]) -> tuple[dict[int, int | None], int]:
    """For each track that is meant the frame from which on it is hidden; and how many faces have none."""
    kept: list[_Kept] = []
    strangers = 0
    with lines.open("rb") as source:
        source.readline()
        for row in _rows(source):
            faces = [from_row(face) for face in row.faces]
            if row.frame == 0:
                meant = {track for one in chosen if (track := _meant(one, faces)) is not None}
                strangers = len(chosen) - len(meant)
                kept = [
                    _Kept(face.track, face, row.time)
                    for face in faces
                    if face.track is not None and face.track in meant
                ]
            for one in kept:
                if one.until is None and not _still(one, faces, row.time):
                    one.until = row.frame
    return {one.track: one.until for one in kept}, strangers


def _meant(chosen: Face, faces: Sequence[Face]) -> int | None:
    best = max(faces, key=lambda face: overlap(face.box, chosen.box), default=None)
    return best.track if best is not None and overlap(best.box, chosen.box) >= _MEANT else None


def _still(one: _Kept, faces: Sequence[Face], time: float) -> bool:
    """Whether a track is sure to be the same face in this frame, too. Once it is gone, whoever comes gets another number."""
    mine = next((face for face in faces if face.track == one.track), None)
    if mine is None:
        return True
    if overlap(mine.box, one.last.box) < _STEADY or any(_touch(mine, face) for face in faces if face is not mine):
        return False
    one.last = mine
    if mine.origin == "detector":
        one.seen = time
    return time - one.seen <= _UNSEEN


def _touch(face: Face, other: Face) -> bool:
    grown = (face.box[2:] - face.box[:2]) * _AROUND
    return bool(((face.box[:2] - grown) < other.box[2:]).all() and (other.box[:2] < (face.box[2:] + grown)).all())


def _rows(source: Iterator[bytes]) -> Iterator[FrameRow]:
    for line in source:
        yield FrameRow.model_validate_json(line)
