"""Reference pictures: a folder a person, one face in each picture.

They say who may be shown, so nothing about them is guessed: a picture that can't be read, shows nobody, two faces or a face
that is badly seen, or that doesn't look like the person's others, is an error before any work is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fdf.anonymize.base import Face
from fdf.anonymize.recognition import Quality, Recognizes, distance
from fdf.errors import DataError
from fdf.vision.base import Floats
from fdf.vision.picture import PictureError, decode

if TYPE_CHECKING:
    from fdf.anonymize.image import Finder


@dataclass(frozen=True, eq=False)
class Reference:
    """One reference picture.

    Attributes:
        path: where it lies.
        sha256: of the file.
        vector: of the face in it.
    """

    path: Path
    sha256: str
    vector: Floats


def read_person(
    folder: Path, recognizer: Recognizes, finder: Finder, quality: Quality, *, agree: float
) -> tuple[Reference, ...]:
    """The reference pictures of one person, by file name; names that begin with a dot are passed over.

    Args:
        folder: holds nothing but pictures of one person.
        recognizer: gives the vectors.
        finder: finds the faces.
        quality: every face must have.
        agree: each picture must be this near to another one of the person, if there are several.

    Raises:
        DataError: what is said above.
    """
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"The reference pictures in {folder} can't be read",
            expected="a folder with pictures of one person",
            got=error.strerror or str(error),
        ) from error
    if not files:
        raise DataError(f"There is no reference picture in {folder}", expected="at least one picture of one face")
    found = tuple(_reference(path, recognizer, finder, quality) for path in files)
    for one in found:
        near = [distance(one.vector, other.vector) for other in found if other is not one]
        if near and not min(near) <= agree:
            raise DataError(
                f"{one.path} does not look like the other pictures of {folder.name}",
                expected=f"a distance of at most {agree:.3f} to one of them",
                got=f"{min(near):.3f}",
                action="Take it out if it is someone else; otherwise choose pictures that are more alike",
            )
    return found


def person_folders(folder: Path) -> list[Path]:
    """The folders of a folder with one a person, by name.

    Raises:
        DataError: it can't be read, is empty, or holds something else.
    """
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"The people in {folder} can't be read",
            expected="a folder with a folder a person",
            got=error.strerror or str(error),
        ) from error
    wrong = [path.name for path in inside if not path.is_dir()]
    if wrong or not inside:
        raise DataError(
            f"{folder} does not hold a folder a person",
            got=", ".join(wrong[:3]) if wrong else "nothing",
            action="Use `person` instead of `people` for the pictures of a single person" if wrong else "",
        )
    return inside


def _reference(path: Path, recognizer: Recognizes, finder: Finder, quality: Quality) -> Reference:
    try:
        data = path.read_bytes()
        pixels = decode(data).pixels
    except (OSError, PictureError) as error:
        raise DataError(f"The reference picture {path} can't be read", got=str(error)) from error
    faces: Sequence[Face] = finder.find(pixels)
    if len(faces) != 1:
        boxes = "; ".join(str([round(float(v)) for v in face.box]) for face in faces[:4])
        raise DataError(
            f"The reference picture {path} must show one face",
            got=f"{len(faces)} ({boxes})" if faces else "none that was found",
            action="Cut it out, or take another picture",
        )
    view = recognizer.views(pixels, faces)[0]
    complaint = quality.complaint(view)
    if complaint or view is None:
        raise DataError(f"The face in the reference picture {path} is not seen well enough", got=complaint)
    return Reference(path, hashlib.sha256(data).hexdigest(), view.vector)
