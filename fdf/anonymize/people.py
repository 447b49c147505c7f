"""Who is who among the tracks of a film: one number a person, from which a method draws one steady face.

Without an embedder every track is a person of its own. With one, a track whose face lies near one seen before gets that
one's number again: after a cut, after a walk out of the picture, in the next film of the project if the same `People` is
used. The salt of the `Anonymizer` makes a face of a number. Embeddings are held in memory only, never written.

So two people of one salt must not have one number. `begin` makes numbers of the film and of the track that a person was first
seen in, whoever was seen before: they differ between films that never met, in one run or in several, and come again with the
film. It is the whole file's SHA-256: names are given twice, and recorders fill files of one length that begin alike. Counting
on from a number of the film would not do: the third new person of a film is another one if the first was known already.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face
from fdf.anonymize.container import is_stream
from fdf.errors import DataError
from fdf.store.files import file_sha256
from fdf.vision.base import Pixels

if TYPE_CHECKING:
    from fdf.anonymize.image import Finder

Vector = npt.NDArray[np.float32]
EmbedFace = Callable[[Pixels, Face], Vector | None]
"""Gives the vector of a face, or None where it can't be seen well enough."""

_SAME = 0.5
"""Euclidean distance of dlib's vectors: its own rule says 0.6; a wrong link would give two people one face. See
`thresholds.toml` for how many rendered people are nearer; of 2,884 pairs of real ones none was (docs/policy.md)."""
_MIN_SIDE = 40.0  # pixels of a face that says who it is
_MOST = 10_000  # people remembered
_ROOM = 0.5  # looked at round a box, share of its longer side
_BITS: Final = 53  # of a number: JSON's are doubles to many who read them


class People:
    """Gives every track the number of a person: 0, 1, 2 …, or the film's own once one has begun.

    Args:
        embed: tells faces apart; None for a person a track.
        same: distance under which two vectors are one person.
    """

    def __init__(self, embed: EmbedFace | None = None, *, same: float = _SAME) -> None:
        self._embed, self._same = embed, same
        self._vectors: list[tuple[int, Vector]] = []
        self._count = 0
        self._film: bytes | None = None

    @property
    def count(self) -> int:
        """People so far."""
        return self._count

    def begin(self, film: str | Path, *how: object) -> None:
        """A film begins: whoever is new from here on gets a number that nobody of another film has.

        The same film gives the same numbers again. A stream never comes twice; its numbers are drawn by chance.

        Args:
            film: path, URL or device.
            how: whatever decides which tracks there are, each with a `repr` that says it: track 3 of another look at the film
                may be somebody else.

        Raises:
            DataError: the file can't be read.
        """
        try:
            one = secrets.token_hex(16) if is_stream(film) else file_sha256(Path(film))
        except OSError as error:
            raise DataError(f"{film} can't be read", got=error.strerror or str(error)) from error
        self._film = hashlib.sha256(repr((one, *how)).encode()).digest()

    def number(self, face: Face, picture: Callable[[], Pixels], others: Collection[int] = ()) -> int:
        """The person of a new track.

        Args:
            face: as it is covered when it first comes up, with its track.
            picture: gives the picture in which it is first found, perhaps some frames later.
            others: people who are in the frame already: nobody is there twice.

        Raises:
            ValueError: a film has begun, and the face has no track.
        """
        vector = None
        if self._embed is not None and face.size >= _MIN_SIDE:
            vector = self._embed(picture(), face)
        if vector is not None:
            near = [(float(np.linalg.norm(v - vector)), n) for n, v in self._vectors if n not in others]
            if near and min(near)[0] < self._same:
                return min(near)[1]
        number = self._new(face)
        if vector is not None and len(self._vectors) < _MOST:
            self._vectors.append((number, vector))
        return number

    def of_track(self, track: int) -> int | None:
        """Whose a track of the film is if nobody else says so: a person's whom no other film has. None if no film has begun."""
        if self._film is None:
            return None
        digest = hashlib.blake2b(f"track {track}".encode(), key=self._film, digest_size=8).digest()
        return int.from_bytes(digest, "big") >> (64 - _BITS)

    def _new(self, face: Face) -> int:
        self._count += 1
        if self._film is not None and face.track is None:
            raise ValueError("People: expected a face with the number of its track, got none.")
        number = None if face.track is None else self.of_track(face.track)
        return self._count - 1 if number is None else number


def dlib_people(finder: Finder | None = None) -> People:
    """People told apart by the bundled dlib ResNet, where a face is seen well enough to say.

    Args:
        finder: looks for a face whose track gives no points; None for a quick `FaceFinder`, made when it is needed.
    """
    from fdf.anonymize.recognition import Quality, Recognizer

    recognizer, quality = Recognizer(), Quality(min_size=_MIN_SIDE)
    found = [finder] if finder is not None else []

    def embed(picture: Pixels, face: Face) -> Vector | None:
        if face.landmarks5 is None:
            if not found:
                found.append(_quick())
            one = _looked_up(picture, face, found[0])
            if one is None:
                return None
            face = one
        view = recognizer.views(picture, [face])[0]
        return None if view is None or quality.complaint(view) else view.vector

    return People(embed)


def _looked_up(picture: Pixels, face: Face, finder: Finder) -> Face | None:
    """The one face in a box that a tracker guessed: who walks in is covered before they are found, and wider."""
    height, width = picture.shape[:2]
    room = _ROOM * face.size
    x0, y0 = (max(0, int(v - room)) for v in face.box[:2])
    x1, y1 = (min(most, int(v + room) + 1) for v, most in zip(face.box[2:], (width, height), strict=True))
    if x1 <= x0 or y1 <= y0:
        return None
    inside = []
    for found in finder.find(np.ascontiguousarray(picture[y0:y1, x0:x1])):
        one = found.mapped(shift=(x0, y0))
        middle = (one.box[:2] + one.box[2:]) / 2
        if (face.box[:2] <= middle).all() and (middle <= face.box[2:]).all():
            inside.append(one)
    return inside[0] if len(inside) == 1 else None


def _quick() -> Finder:
    from fdf.anonymize.detection import FaceFinder

    return FaceFinder("fast")
