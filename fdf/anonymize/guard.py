"""Judges before every method that draws faces: what it draws must be nobody's, with a policy or without.

Without a policy there is one judge, dlib's network behind the threshold that 5 % of different people are nearer than; whoever
is in a folder of the protected must be as far away as the source. A policy names its own (`[dissimilarity]`, docs/policy.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fdf.anonymize.base import Method
from fdf.anonymize.calibration import shipped
from fdf.anonymize.dissimilarity import Dissimilar, Judge, is_generative
from fdf.anonymize.gallery import person_folders, read_person
from fdf.anonymize.recognition import Quality, Recognizer, Recognizes
from fdf.vision.base import Floats

if TYPE_CHECKING:
    from fdf.anonymize.image import Finder

RATE: Final = 0.05
"""Share of pairs of different people that are nearer than the threshold."""
TRIES: Final = 8
"""Faces drawn before the fallback takes over."""


@dataclass(frozen=True, eq=False)
class Guard:
    """What stands before methods that draw.

    Attributes:
        judges: makes them; called once there is such a method.
        tries: faces drawn for one at most.
    """

    judges: Callable[[], tuple[Judge, ...]]
    tries: int = TRIES

    def before(self, method: Method) -> Method:
        """The method itself, or with judges before it if it draws faces."""
        if not is_generative(method) or isinstance(method, Dissimilar):
            return method
        judges = self.judges()
        return Dissimilar(method, judges, self.tries) if judges else method


def make_guard(
    protect: Path | None = None,
    *,
    rate: float = RATE,
    tries: int = TRIES,
    recognizer: Recognizes | None = None,
    finder: Finder | None = None,
) -> Guard:
    """The guard that needs no policy.

    Args:
        protect: folder with a folder a person: nobody may come out like one of them either.
        rate: share of pairs of different people that are nearer than the threshold: larger is stricter.
        tries: faces drawn for one at most.
        recognizer: None for `dlib-resnet128`.
        finder: of the faces in the protected people's pictures; None for `FaceFinder()`.

    Raises:
        DataError: a picture of the protected is no good; raised when the first method that draws is guarded.
        UsageError: there is no threshold for the recognizer.
    """

    @cache
    def judges() -> tuple[Judge, ...]:
        by = recognizer or Recognizer()
        limit = shipped().of(by.id, by.sha256).threshold(rate)
        folders = person_folders(protect) if protect else []
        look = finder or _finder() if folders else None
        people = {} if look is None else {str(one): _vectors(one, by, look) for one in folders}
        return (Judge(by, limit, people),)

    return Guard(judges, tries)


def _vectors(folder: Path, recognizer: Recognizes, finder: Finder) -> list[Floats]:
    rows = read_person(folder, recognizer, finder, Quality(), agree=float("inf"))
    return [one.vector for one in rows]


def _finder() -> Finder:
    from fdf.anonymize.detection import FaceFinder

    return FaceFinder()
