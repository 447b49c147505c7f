"""Faces in a JSON file: bring your own boxes, or save those that were found, mend them by hand and render again.

    {"format": "fdf-faces", "version": 1, "pictures": [
      {"file": "party/1.jpg", "width": 640, "height": 480, "faces": [{"box": [10, 20, 60, 90]}]}]}

`box` is all that a face needs; what else it can have says docs/anonymize.md. Everything is checked when it is read, since a
box in the wrong place is a bare face: unknown keys, values that are no numbers, boxes outside the picture, another size of
the picture than the file's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fdf.anonymize.base import Face, Origin
from fdf.errors import DataError
from fdf.store.files import write_bytes

FORMAT: Final = "fdf-faces"

_Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]  # no picture is larger, and float32 holds it
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)


class FaceRow(_Row):
    """A face."""

    box: tuple[_Number, _Number, _Number, _Number]
    score: _Share = 1.0
    keypoints: Annotated[list[tuple[_Number, _Number, _Share]], Field(min_length=7, max_length=7)] | None = None
    landmarks5: Annotated[list[tuple[_Number, _Number]], Field(min_length=5, max_length=5)] | None = None
    track: Annotated[int, Field(ge=0)] | None = None
    origin: Origin = "user"

    @model_validator(mode="after")
    def _ordered(self) -> FaceRow:
        x0, y0, x1, y1 = np.array(self.box, dtype=np.float32)
        if not (x1 > x0 and y1 > y0):
            raise ValueError(f"a box is [x0, y0, x1, y1) with x1 > x0 and y1 > y0, got {list(self.box)}")
        return self


class PictureRow(_Row):
    """A picture, or one frame of it."""

    file: str
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    frame: Annotated[int, Field(ge=0)] = 0
    faces: list[FaceRow]

    @model_validator(mode="after")
    def _nobody_twice(self) -> PictureRow:
        twice = track_twice(self.faces)
        if twice is not None:
            where = f"{self.file}, frame {self.frame}," if self.frame else self.file
            raise ValueError(f"track {twice} is in {where} twice")
        return self

    @model_validator(mode="after")
    def _inside(self) -> PictureRow:
        for index, face in enumerate(self.faces):
            if outside(face, self.width, self.height):
                raise ValueError(
                    f"face {index} of {self.file}: the box {list(face.box)} lies outside the picture of "
                    f"{self.width}×{self.height} pixels"
                )
        return self


class FacesFile(_Row):
    """The whole file."""

    format: Literal["fdf-faces"]
    version: Literal[1]
    pictures: list[PictureRow]

    @model_validator(mode="after")
    def _once(self) -> FacesFile:
        seen: set[tuple[str, int]] = set()
        for row in self.pictures:
            if (row.file, row.frame) in seen:
                raise ValueError(f"{row.file}, frame {row.frame}, is there twice")
            seen.add((row.file, row.frame))
        return self


class KnownFaces:
    """Faces by picture and frame, as a file gave them."""

    def __init__(self, pictures: Iterable[PictureRow], source: str) -> None:
        self._rows = {(row.file, row.frame): row for row in pictures}
        self._source = source

    def faces(self, file: str, frame: int, width: int, height: int) -> list[Face]:
        """The faces of one frame.

        Raises:
            DataError: the file doesn't name it, or names it with another size.
        """
        row = self._rows.get((file, frame))
        if row is None:
            where = f"{file}, frame {frame}," if frame else file
            raise DataError(
                f"{self._source} says nothing of {where} so it stays unwritten",
                action='Add it, with "faces": [] if there is nobody in it',
            )
        if (row.width, row.height) != (width, height):
            raise DataError(
                f"{self._source} speaks of another picture than {file}",
                expected=f"{row.width}×{row.height} pixels, upright",
                got=f"{width}×{height}",
                action="Save the faces of this picture again: boxes of another size would hide the wrong places",
            )
        return [from_row(face) for face in row.faces]


def track_twice(faces: Sequence[FaceRow]) -> int | None:
    """The number of a track that two faces of one picture have: nobody is there twice. None if there is no such track."""
    tracks = [face.track for face in faces if face.track is not None]
    return next((track for track in tracks if tracks.count(track) > 1), None)


def outside(face: FaceRow, width: int, height: int) -> bool:
    """Whether nothing of a face's box lies in the picture."""
    x0, y0, x1, y1 = face.box
    return x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0


def read_faces(path: Path) -> KnownFaces:
    """Read a file of faces.

    Raises:
        DataError: it can't be read, or something in it is wrong; the message says where.
    """
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} can't be read", got=error.strerror or str(error)) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no JSON", got=str(error)) from error
    try:
        return KnownFaces(FacesFile.model_validate(raw).pictures, path.name)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataError(
            f"{path.name} is no file of faces: {where}: {first['msg']}{more}",
            expected='{"format": "fdf-faces", "version": 1, "pictures": […]} as docs/anonymize.md describes it',
        ) from error


def write_faces(path: Path, pictures: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that `picture_row` made."""
    value = {"format": FORMAT, "version": 1, "pictures": list(pictures)}
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def picture_row(file: str, frame: int, size: tuple[int, int], faces: Sequence[Face]) -> dict[str, Any]:
    """One picture of the file; `size` is (width, height)."""
    row: dict[str, Any] = {"file": file, "width": size[0], "height": size[1]}
    if frame:
        row["frame"] = frame
    return row | {"faces": [to_row(face) for face in faces]}


def to_row(face: Face) -> dict[str, Any]:
    """A face as JSON; float32 values come back the same."""
    row: dict[str, Any] = {"box": _plain(face.box), "score": round(face.score, 4), "origin": face.origin}
    for name in ("keypoints", "landmarks5"):
        value = getattr(face, name)
        if value is not None:
            row[name] = _plain(value)
    return row | ({} if face.track is None else {"track": face.track})


def from_row(row: FaceRow) -> Face:
    """A face of the file."""
    keypoints = None if row.keypoints is None else np.array(row.keypoints, dtype=np.float32)
    five = None if row.landmarks5 is None else np.array(row.landmarks5, dtype=np.float32)
    return Face(np.array(row.box, dtype=np.float32), row.score, keypoints, five, row.track, row.origin)


def _plain(array: np.ndarray[Any, Any]) -> Any:
    """Lists with the shortest decimals that give the same float32."""
    if array.ndim > 1:
        return [_plain(part) for part in array]
    return [float(str(value)) if math.isfinite(value) else None for value in array]
