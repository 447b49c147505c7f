"""Who is who among the tracks of a film: one number a person, from which a method draws one steady face.

Without an embedder every track is a person of its own. With one, a track whose face lies near one seen before gets that
one's number again: after a cut, after a walk out of the picture, in the next film of the project if the same `People` is
used. Numbers mean nothing outside it: the salt of the `Anonymizer` makes a face of them, so what one project calls person 3
can't be found again in another. Embeddings are held in memory only, never written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face
from fdf.vision.base import Detections, Keypoints, Pixels

Vector = npt.NDArray[np.float32]
EmbedFace = Callable[[Pixels, Face], Vector | None]
"""Gives the vector of a face, or None where the face is no good for one."""

_SAME = 0.5
"""Euclidean distance of dlib's vectors: its own rule says 0.6; a wrong link would give two people one face."""
_MIN_SIDE = 40.0  # pixels of a face that says who it is
_MOST = 10_000  # people remembered


class People:
    """Gives every track the number of a person.

    Args:
        embed: tells faces apart; None for a person a track.
        same: distance under which two vectors are one person.
    """

    def __init__(self, embed: EmbedFace | None = None, *, same: float = _SAME) -> None:
        self._embed, self._same = embed, same
        self._vectors: list[tuple[int, Vector]] = []
        self._next = 0

    @property
    def count(self) -> int:
        """People so far."""
        return self._next

    def number(self, face: Face, picture: Callable[[], Pixels], others: Collection[int] = ()) -> int:
        """The person of a new track.

        Args:
            face: found, not interpolated.
            picture: gives the picture that it was found in.
            others: people who are in the frame already: nobody is there twice.
        """
        vector = None
        if self._embed is not None and face.landmarks5 is not None and face.size >= _MIN_SIDE:
            vector = self._embed(picture(), face)
        if vector is not None:
            near = [(float(np.linalg.norm(v - vector)), n) for n, v in self._vectors if n not in others]
            if near and min(near)[0] < self._same:
                return min(near)[1]
        number = self._next
        self._next += 1
        if vector is not None and len(self._vectors) < _MOST:
            self._vectors.append((number, vector))
        return number


def dlib_people() -> People:
    """People told apart by the bundled dlib ResNet."""
    from fdf.vision.dlib_models import DlibEmbedder

    network = DlibEmbedder()

    def embed(picture: Pixels, face: Face) -> Vector | None:
        if face.landmarks5 is None:
            return None
        right, left, nose = face.landmarks5[:3]
        points = np.zeros((1, 7, 3), dtype=np.float32)
        points[0, :3, :2] = nose, left, right
        limit = np.array(picture.shape[1::-1] * 2, dtype=np.float32)
        box = np.clip(face.box, 0, limit)[None].astype(np.float32)
        found = Detections(box, np.ones(1, dtype=np.float32), face.landmarks5[None])
        return np.asarray(network.embed([picture], [found], [Keypoints(points)])[0][0])

    return People(embed)
