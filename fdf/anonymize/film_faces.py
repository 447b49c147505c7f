"""The faces of a film in a file, one frame a line: what is hidden where, to be mended by hand and rendered again.

    {"format": "fdf-film-faces", "version": 1, "file": "party.mp4", "width": 1280, "height": 720}
    {"frame": 0, "time": 0.0, "faces": [{"box": [10, 20, 60, 90], "track": 0, "person": 0}]}
    {"frame": 1, "time": 0.033333, "faces": []}

Every frame has its line, in order. A run in two passes keeps the same lines in a file without a name between them, so a film
of an hour takes no more memory than one of a second. Everything is checked when it is read, as in `fdf.anonymize.faces_json`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fdf.anonymize.base import Face
from fdf.anonymize.faces_json import FaceRow, from_row, outside, to_row, track_twice
from fdf.anonymize.people import People
from fdf.errors import DataError

FORMAT: Final = "fdf-film-faces"
SUFFIX: Final = ".jsonl"

_LINE: Final = 4 << 20  # bytes: a frame of ten thousand faces
_SAME_TIME: Final = 1e-3  # seconds

Row = TypeVar("Row", bound=BaseModel)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilmFaceRow(FaceRow):
    """A face in a frame.

    Attributes:
        person: whose it is: methods that draw give all tracks of a person one face.
            None for a person a track, whom no other film has.
    """

    person: Annotated[int, Field(ge=0)] | None = None


class HeadRow(_Row):
    """The first line."""

    format: Literal["fdf-film-faces"]
    version: Literal[1]
    file: str
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class FrameRow(_Row):
    """Every other line."""

    frame: Annotated[int, Field(ge=0)]
    time: Annotated[float, Field(allow_inf_nan=False)]
    faces: list[FilmFaceRow]

    @model_validator(mode="after")
    def _once(self) -> FrameRow:
        twice = track_twice(self.faces)
        if twice is not None:
            raise ValueError(f"track {twice} is in the frame twice")
        return self


@dataclass(frozen=True, eq=False)
class Followed:
    """One face of a frame.

    Attributes:
        face: with the number of its track, or None if a user put it there without one.
        person: whose it is, or None for what the track says.
    """

    face: Face
    person: int | None

    @property
    def drawn(self) -> Face:
        """Under the number of its person: what a method draws for it is drawn for the person."""
        return self.face if self.person is None else dataclasses.replace(self.face, track=self.person)


class FacesWriter:
    """Writes the lines of one film, frame after frame, into a file opened for bytes."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self._next = 0

    def add(self, time: float, size: tuple[int, int], faces: Sequence[Followed]) -> None:
        """Add the next frame: its time in seconds, and the width and height of all of them."""
        if not self._next:
            self._line({"format": FORMAT, "version": 1, "file": self._name, "width": size[0], "height": size[1]})
        rows = [
            to_row(one.face) | ({} if one.person is None or one.face.track is None else {"person": one.person})
            for one in faces
        ]
        self._line({"frame": self._next, "time": round(time, 6), "faces": rows})
        self._next += 1

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


class FacesReader:
    """Gives the faces of one film back, frame after frame.

    Args:
        file: opened for bytes, at its beginning.
        name: for messages.
        film: for messages.
        people: give a number to tracks whose line names no person: track 0 of another film is somebody else. None leaves them.
    """

    def __init__(self, file: IO[bytes], name: str, film: str, people: People | None = None) -> None:
        self._file, self._name, self._film, self._people = file, name, film, people
        self._head: HeadRow | None = None
        self._line = 0

    def faces(self, index: int, time: float | None, size: tuple[int, int]) -> list[Followed]:
        """The faces of the next frame.

        Args:
            index: of the frame.
            time: of the frame, seconds; None if it isn't known.
            size: width and height of the frame, upright.

        Raises:
            DataError: a line is wrong, is missing, or speaks of another film.
        """
        if self._head is None:
            self._head = self._row(HeadRow, self._read() or b"")
        if (self._head.width, self._head.height) != size:
            raise DataError(
                f"{self._name} speaks of another film than {self._film}",
                expected=f"{self._head.width}×{self._head.height} pixels, upright",
                got=f"{size[0]}×{size[1]}",
                action="Save the faces of this film again: boxes of another size would hide the wrong places",
            )
        line = self._read()
        if line is None:
            raise DataError(
                f"{self._name} says nothing of frame {index} of {self._film} so nothing is written",
                action='Add the lines that are missing, with "faces": [] where there is nobody',
            )
        row = self._row(FrameRow, line)
        if row.frame != index:
            raise DataError(
                f"{self._name}, line {self._line}: frames are not in order", expected=str(index), got=str(row.frame)
            )
        if time is not None and abs(row.time - time) > _SAME_TIME:
            raise DataError(
                f"{self._name} speaks of another film than {self._film}, or of another part of it",
                expected=f"frame {index} at {row.time:g} s",
                got=f"{time:g} s",
                action="Give the film, --from, --to and --trim that it was saved with",
            )
        for face in row.faces:
            if outside(face, *size):
                raise DataError(
                    f"{self._name}, line {self._line}: the box {list(face.box)} lies outside the frame of {size[0]}×{size[1]}"
                )
        return [Followed(from_row(face), self._person(face)) for face in row.faces]

    def _person(self, face: FilmFaceRow) -> int | None:
        if face.person is not None or face.track is None or self._people is None:
            return face.person
        return self._people.of_track(face.track)

    def end(self) -> None:
        """Nothing may be left: more frames than the film has mean another film. Raises DataError."""
        if self._read() is not None:
            raise DataError(
                f"{self._name} has more frames than {self._film}",
                action="Give the film that it was saved from, with the same --from and --to",
            )

    def again(self) -> None:
        """From the beginning."""
        self._file.seek(0)
        self._head, self._line = None, 0

    def _read(self) -> bytes | None:
        """The next line that is not empty; None at the end."""
        while line := self._file.readline(_LINE + 1):
            self._line += 1
            if len(line) > _LINE:
                raise DataError(f"{self._name}, line {self._line}: too long", expected=f"{_LINE:,} bytes at most")
            if line.strip():
                return line
        return None

    def _row(self, kind: type[Row], line: bytes) -> Row:
        try:
            return kind.model_validate(json.loads(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            said = str(first["msg"]).removeprefix("Value error, ")
            what = f"{where}: {said}" if where else said
        except (ValueError, RecursionError) as error:  # of UTF-8 or of JSON
            what = f"no JSON: {error}"
        raise DataError(
            f"{self._name} is no file of a film's faces: line {self._line}: {what}",
            expected=f'{{"format": "{FORMAT}", …}}, then a line a frame, as docs/anonymize-video.md describes it',
        )
