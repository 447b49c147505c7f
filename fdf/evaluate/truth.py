"""Where the faces of a film are: said by a file, or seen by a detector in the original."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from fdf.anonymize.base import Face
from fdf.anonymize.faces_json import FacesFile, from_row, read_faces
from fdf.anonymize.film_faces import SUFFIX, FacesReader
from fdf.errors import DataError, UsageError
from fdf.store.files import file_sha256
from fdf.vision.base import Pixels

THRESHOLD: Final = 0.5
"""Score from which on the detector's finding counts as a face. Anonymizers look lower: a false hit costs them a smudge, and
here it would be counted as a person."""


class Faces(Protocol):
    """Says where the faces of a film's frames are."""

    @property
    def name(self) -> str:
        """File, or detector."""

    @property
    def sha256(self) -> str:
        """Of the file, or of the detector's weights."""

    @property
    def threshold(self) -> float | None:
        """Of the detector."""

    def of(self, film: str, frame: int, picture: Pixels) -> Sequence[Face] | None:
        """The faces of one frame; None if nothing is said of it. A face that is in front of another hides it."""
        ...

    def check(self, film: str, frames: int) -> None:
        """The film is over after so many frames: raises DataError if more was said."""
        ...

    def close(self) -> None:
        """Give back what it holds; called once, whatever happened."""
        ...


class SeenFaces:
    """CenterFace in the original: one look at up to 1280 pixels, one at a third of that.

    What it doesn't see isn't counted, and an anonymizer that uses the same network doesn't see it either: a bound from below.

    Raises:
        UsageError: a threshold out of range.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        from fdf.anonymize.video import FilmFinder
        from fdf.vision.zoo import model

        if not 0 < threshold < 1:
            raise UsageError("The threshold is out of range", expected="between 0 and 1", got=str(threshold))
        self.name, self.sha256 = "centerface", model("centerface").sha256
        self.threshold: float | None = threshold
        self._finder = FilmFinder(threshold=threshold)

    def of(self, film: str, frame: int, picture: Pixels) -> list[Face]:  # noqa: ARG002 - it looks for itself
        """What it sees."""
        return self._finder.find(picture)

    def check(self, film: str, frames: int) -> None:
        """It says nothing of frames that aren't there."""

    def close(self) -> None:
        """It holds nothing."""


def read_truth(path: Path) -> Faces:
    """What a file says: `FollowedTruth` for a `.jsonl`, else `KnownTruth`.

    Raises:
        DataError: it can't be read.
    """
    return FollowedTruth(path) if path.suffix.lower() == SUFFIX else KnownTruth(path)


class FollowedTruth:
    """A file of a film's faces (`fdf.anonymize.film_faces`), as `fdf anonymize --save-detections` writes it: a line a frame.

    Raises:
        DataError: no such file.
    """

    threshold: float | None = None

    def __init__(self, path: Path) -> None:
        try:
            self.name, self.sha256, self._path = path.name, file_sha256(path), path
        except OSError as error:
            raise DataError(f"{path} can't be read", got=error.strerror or str(error)) from error
        self._files = ExitStack()
        self._reader: FacesReader | None = None

    def of(self, film: str, frame: int, picture: Pixels) -> list[Face]:
        """What the next line says.

        Raises:
            DataError: the line is wrong, is missing, or speaks of another film.
        """
        if self._reader is None:
            self._reader = FacesReader(self._files.enter_context(self._path.open("rb")), self.name, film)
        height, width = picture.shape[:2]
        return [one.face for one in self._reader.faces(frame, None, (width, height))]

    def check(self, film: str, frames: int) -> None:  # noqa: ARG002 - the reader knows
        """Whether all lines were asked for.

        Raises:
            DataError: there are more.
        """
        if self._reader is not None:
            self._reader.end()

    def close(self) -> None:
        """Close the file."""
        self._files.close()


class KnownTruth:
    """A file of faces (`fdf.anonymize.faces_json`) with one row a frame; frames without a row are not counted.

    Raises:
        DataError: no such file.
    """

    threshold: float | None = None

    def __init__(self, path: Path) -> None:
        read_faces(path)  # says what is wrong with it
        self.name, self.sha256 = path.name, file_sha256(path)
        pictures = FacesFile.model_validate_json(path.read_bytes()).pictures
        self._rows = {(row.file, row.frame): row for row in pictures}

    def of(self, film: str, frame: int, picture: Pixels) -> list[Face] | None:
        """What the file says.

        Raises:
            DataError: it speaks of frames of another size.
        """
        row = self._rows.get((film, frame))
        if row is None:
            return None
        if (row.width, row.height) != picture.shape[1::-1]:
            raise DataError(
                f"{self.name} speaks of another film than {film}",
                expected=f"{row.width} × {row.height} pixels, upright",
                got=f"{picture.shape[1]} × {picture.shape[0]}",
            )
        return [from_row(face) for face in row.faces]

    def check(self, film: str, frames: int) -> None:
        """Whether all it said of a film was asked for.

        Raises:
            DataError: it says nothing of the film, or something of frames that the film hasn't.
        """
        mine = [frame for name, frame in self._rows if name == film]
        if not mine or max(mine) >= frames:
            raise DataError(
                f"{self.name} is no truth of {film}",
                expected=f'rows with "file": "{film}" and "frame" from 0 to {frames - 1}',
                got=f"frame {max(mine)}"
                if mine
                else f"rows of {', '.join(sorted({name for name, _ in self._rows})[:3])}",
            )

    def close(self) -> None:
        """It holds nothing."""
