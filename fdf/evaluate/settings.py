"""How a generator is looked at, and who is told how far that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from fdf.errors import UsageError
from fdf.evaluate.features import DEFAULT
from fdf.vision.generator import HOLES

FEWEST: Final = 4
"""Faces under which there are no two halves to compare."""


@dataclass(frozen=True)
class Settings:
    """How to look.

    Attributes:
        split: of the shards.
        count: most faces; chosen by the seed if there are more.
        features: extractor, see `features.load_extractor`.
        region: what the extractor sees: a square round the face, or the whole crop.
        hole: shape of what is taken away; None: what the file asks for.
        varied: faces of which several fakes are made.
        variants: fakes of each of these.
        training: most training faces to look for memorized ones in; 0: don't look.
        seed: of z and of all choices.
        threads: that look at faces; no figure depends on it.
    """

    split: str = "validation"
    count: int = 500
    features: str = DEFAULT
    region: Literal["face", "picture"] = "face"
    hole: Literal["box", "ellipse"] | None = None
    varied: int = 32
    variants: int = 4
    training: int = 1000
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        for name, least in (
            ("count", FEWEST),
            ("varied", 1),
            ("variants", 2),
            ("training", 0),
            ("seed", 0),
            ("threads", 1),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is too small", expected=f"{least} or more", got=str(getattr(self, name)))
        if self.region not in {"face", "picture"}:
            raise UsageError(f"There is no region {self.region!r}", expected="face or picture")
        if self.hole not in {None, *HOLES}:
            raise UsageError(f"There is no hole {self.hole!r}", expected=" or ".join(HOLES))


class Reporter(Protocol):
    """Is told how far it is."""

    def stage(self, name: str, total: int | None) -> None:
        """Something with `total` units starts."""

    def advance(self, units: int) -> None:
        """Units are done."""


class Silent:
    """Tells nobody."""

    def stage(self, name: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, units: int) -> None:
        """Nothing."""
