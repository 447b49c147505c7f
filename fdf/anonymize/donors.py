"""A folder of donors: photos of people whose faces may be shown on others', and the file that says so.

    donors.toml
        format = "fdf-donors"
        version = 1

        [[person]]
        id = "anna"
        consent = "Signed on 2026-03-01: Anna agrees that her face is shown on other people's photos."
        licence = "CC0-1.0"
        source = "Photographed by us"
        photos = [{file = "anna/front.jpg", sha256 = "…"}]

Nobody gives their face without a word in `consent`: a person without one makes the whole folder invalid. The file comes from
anywhere, so nothing in it is trusted: names stay inside the folder, hashes must fit, numbers must be finite. A photo may say
`points` (eyes, nose tip, mouth corners), `yaw`, `pitch` and `open` of its face, which saves looking for them.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator, model_validator

from fdf.anonymize.donor_mesh import Array, mirrored, openness
from fdf.errors import DataError, UsageError
from fdf.store.files import file_sha256
from fdf.vision.base import Detections, Floats, Pixels
from fdf.vision.facemesh import Meshes
from fdf.vision.picture import PictureError, decode
from fdf.vision.pose import pose_from_mesh

LISTING: Final = "donors.toml"
DEFAULT_FOLDER: Final = Path(__file__).resolve().parents[1] / "data" / "donors"
"""Rendered people who do not exist."""
YAW_TOLERANCE: Final = 22.0
"""Degrees between a donor's photo and a target; beyond it cheeks are stretched out of nothing."""
PITCH_TOLERANCE: Final = 25.0
OPEN: Final = 0.09
"""`openness` from which on a mouth is open: then the donor's must be, too, or there are no teeth to show."""

_WIDEST: Final = 0.5  # least openness of a donor over the target's: teeth are not stretched further
_LARGEST_LISTING: Final = 16 << 20
_LARGEST_FILE: Final = 32 << 20
_LARGEST_PHOTO: Final = 40_000_000  # pixels
_KEPT: Final = 48  # photos in memory
_LEAST_PRESENCE: Final = 0.5
_NOTHING: Final = ("", "-", "?", "n/a", "na", "no", "none", "nil", "todo", "tbd", "unknown", "false")

Point = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
Text = Annotated[str, Field(max_length=2000)]
Angle = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]


class Mesher(Protocol):
    """Anything that gives meshes; `fdf.vision.facemesh.FaceMesh` is the one of fdf."""

    def meshes(self, pictures: list[Pixels], detections: list[Detections]) -> list[Meshes]:
        """The meshes of each picture's faces, in the order of its detections."""
        ...


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Photo(_Row):
    file: Annotated[str, Field(min_length=1, max_length=500)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    points: Annotated[list[Point], Field(min_length=5, max_length=5)] | None = None
    yaw: Angle | None = None
    pitch: Angle | None = None
    open: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value or ":" in value or "\0" in value:
            raise ValueError("must be a name inside the folder, with / between its parts")
        return value


class _Person(_Row):
    id: Annotated[str, Field(min_length=1, max_length=200)]
    consent: Text
    licence: Text
    source: Text
    photos: Annotated[list[_Photo], Field(min_length=1)]

    @field_validator("consent", "licence", "source")
    @classmethod
    def _said(cls, value: str) -> str:
        if value.strip().lower() in _NOTHING:
            raise ValueError("says nothing: who donates a face must have agreed, and it must be known where it is from")
        return value


class _Listing(_Row):
    format: Literal["fdf-donors"]
    version: Literal[1]
    person: Annotated[list[_Person], Field(min_length=1, max_length=100_000)]

    @model_validator(mode="after")
    def _once(self) -> _Listing:
        ids = [one.id for one in self.person]
        if len(set(ids)) < len(ids):
            raise ValueError("two people have the same id")
        return self


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo of a donor.

    Attributes:
        person: id of the donor.
        path: of the file; it is read and its hash is checked when its turn comes.
        points: float32 (5, 2) in the order of `fdf.vocabulary.LANDMARK_NAMES`.
        yaw: degrees, as `fdf.vision.pose` has it; `pitch`, too.
        open: openness of the mouth.
    """

    person: str
    path: Path
    sha256: str
    points: Floats
    yaw: float
    pitch: float
    open: float


@dataclass(frozen=True, eq=False)
class Portrait:
    """A donor's photo and the mesh of its face, (468, 3) in its pixels."""

    pixels: Pixels
    mesh: Array


class DonorFolder:
    """The donors of a folder.

    Args:
        folder: with its `donors.toml`; None for the people that fdf brings, who do not exist.
        mesher: makes the meshes of their faces.
        find: gives the five points of the one face of a photo whose row doesn't say them; None for fdf's detector.

    Raises:
        UsageError: no such folder, or no `donors.toml` in it.
        DataError: the file says something impossible, or leaves out somebody's consent; a photo without a face.
    """

    def __init__(
        self, folder: str | Path | None, mesher: Mesher, find: Callable[[Pixels], Floats | None] | None = None
    ) -> None:
        self.folder = DEFAULT_FOLDER if folder is None else Path(folder)
        self._mesher, self._find = mesher, find or _the_one_face
        self._portraits: OrderedDict[str, Portrait] = OrderedDict()
        packed = _read_listing(self.folder)
        self.fingerprint = hashlib.sha256(packed).hexdigest()
        """SHA-256 of `donors.toml`, which holds those of all photos."""
        self.people: dict[str, list[Photo]] = {}
        for person in _parsed(packed, self.folder).person:
            self.people[person.id] = [self._photo(person.id, row) for row in person.photos]

    def choose(self, seed: int, yaw: float, pitch: float, open_: float) -> Iterator[tuple[Photo, bool]]:
        """Photos that fit a pose, and whether to mirror them: one a person, people in an order that the seed alone decides.

        Never by likeness. A seed meets the same people in the same order at every pose, so that a track keeps its face.
        """
        for person in sorted(self.people, key=lambda name: _lot(seed, name)):
            fits = [
                (abs(turn - yaw) + 0.5 * abs(photo.pitch - pitch) + 60 * (photo.open >= OPEN > open_), mirror, photo)
                for photo in self.people[person]
                for mirror, turn in ((False, photo.yaw), (True, -photo.yaw))
                if abs(turn - yaw) <= YAW_TOLERANCE and abs(photo.pitch - pitch) <= PITCH_TOLERANCE
                if open_ < OPEN or photo.open >= max(OPEN, _WIDEST * open_)
            ]
            if fits:
                _, mirror, photo = min(fits, key=lambda fit: fit[:2])
                yield photo, mirror

    def read(self, photo: Photo, mirror: bool) -> Portrait:
        """A photo and its mesh, turned left to right where asked for.

        Raises:
            DataError: it can't be read, isn't the file that the listing names, or the mesh finds no face.
        """
        key = str(photo.path)
        if key not in self._portraits:
            pixels = _read_photo(photo.path, photo.sha256)
            mesh = self._mesh(pixels, photo.points)
            if mesh is None:
                raise DataError(f"{photo.path} shows no clear face where its points are")
            self._portraits[key] = Portrait(pixels, np.asarray(mesh, dtype=np.float64))
            while len(self._portraits) > _KEPT:
                self._portraits.popitem(last=False)
        self._portraits.move_to_end(key)
        found = self._portraits[key]
        if not mirror:
            return found
        return Portrait(np.ascontiguousarray(found.pixels[:, ::-1]), mirrored(found.mesh, found.pixels.shape[1]))

    def _photo(self, person: str, row: _Photo) -> Photo:
        path = self.folder / row.file
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{self.folder / LISTING}: {row.file} leads out of the folder")
        if row.points is None or row.yaw is None or row.pitch is None or row.open is None:
            return self._measured(person, path, row)
        points = np.array(row.points, dtype=np.float32)
        return Photo(person, path, row.sha256, points, row.yaw, row.pitch, row.open)

    def _measured(self, person: str, path: Path, row: _Photo) -> Photo:
        pixels = _read_photo(path, row.sha256)
        points = self._find(pixels) if row.points is None else np.array(row.points, dtype=np.float32)
        mesh = None if points is None else self._mesh(pixels, points)
        if points is None or mesh is None:
            raise DataError(
                f"{path} is no photo of a donor", expected="one clear face", action="Take it out of donors.toml"
            )
        pose = pose_from_mesh(mesh)
        return Photo(person, path, row.sha256, points, pose.yaw, pose.pitch, openness(mesh))

    def _mesh(self, pixels: Pixels, points: Floats) -> Floats | None:
        height, width = pixels.shape[:2]
        whole = np.array([[0, 0, width, height]], dtype=np.float32)
        seen = Detections(whole, np.ones(1, dtype=np.float32), np.asarray(points, dtype=np.float32)[None])
        found = self._mesher.meshes([pixels], [seen])[0]
        return np.asarray(found.points[0]) if found.presence[0] >= _LEAST_PRESENCE else None


def _lot(seed: int, person: str) -> bytes:
    key = (seed % (1 << 64)).to_bytes(8, "big")
    return hashlib.blake2b(person.encode(), key=key, digest_size=8).digest()


def _read_listing(folder: Path) -> bytes:
    path = folder / LISTING
    try:
        with path.open("rb") as file:
            packed = file.read(_LARGEST_LISTING + 1)
    except OSError as error:
        raise UsageError(
            f"{folder} is no folder of donors ({error.strerror})",
            expected=f"a folder with {LISTING}, which says who agreed to what",
            action="docs/anonymize.md shows one",
        ) from error
    if len(packed) > _LARGEST_LISTING:
        raise DataError(f"{path} is too large", expected=f"at most {_LARGEST_LISTING >> 20} MB")
    return packed


def _parsed(packed: bytes, folder: Path) -> _Listing:
    try:
        return _Listing.model_validate(tomllib.loads(packed.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{folder / LISTING} can't be read ({error})", expected="a TOML file in UTF-8") from error
    except ValidationError as error:
        raise DataError(f"{folder / LISTING}: {'; '.join(_said(row) for row in error.errors()[:3])}") from error


def _said(row: Any) -> str:
    where = ".".join(map(str, row["loc"]))
    if row["type"] == "missing" and str(row["loc"][-1]) == "consent":
        return f"{where}: no statement of consent: nobody's face is used without"
    return f"{where}: {row['msg'].removeprefix('Value error, ')}"


def _read_photo(path: Path, sha256: str) -> Pixels:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"{path} is too large", expected=f"at most {_LARGEST_FILE >> 20} MB")
        found = file_sha256(path)
        if found != sha256:
            raise DataError(f"{path} is not the file that {LISTING} names", expected=f"SHA-256 {sha256}", got=found)
        return decode(path.read_bytes(), _LARGEST_PHOTO).pixels
    except OSError as error:
        raise DataError(f"{path} can't be read ({error})") from error
    except PictureError as error:
        raise DataError(f"{path} is no picture: {error.detail}") from error


def _the_one_face(pixels: Pixels) -> Floats | None:
    from fdf.anonymize.detection import FaceFinder

    faces = [face for face in FaceFinder("normal").find(pixels) if face.score >= 0.5]
    return faces[0].landmarks5 if len(faces) == 1 else None
