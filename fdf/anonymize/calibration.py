"""Thresholds of embedders: how near two faces must be so that a stranger passes at a stated rate.

`thresholds.toml` is the table that comes with fdf; a file of your own has the same form. It is fitted on pairs of *different*
people by benchmarks/policy_thresholds.py, per embedder, and belongs to the very weights: another SHA-256 has no threshold.
A rate is per comparison: of a stranger's face with *one* reference picture.
"""

from __future__ import annotations

import itertools
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fdf.errors import DataError, UsageError

FORMAT: Final = "fdf-calibration"

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Fit(BaseModel):
    """One embedder's thresholds.

    Attributes:
        embedder: its zoo id.
        sha256: of its weights.
        data: who was compared.
        people: how many.
        faces: of them.
        pairs: of faces of different people.
        rates: shares of these pairs, falling.
        thresholds: the Euclidean distance under which that share of the pairs lies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedder: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    data: str
    people: Annotated[int, Field(ge=2)]
    faces: Annotated[int, Field(ge=2)]
    pairs: Annotated[int, Field(ge=1)]
    rates: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]
    thresholds: Annotated[list[_Positive], Field(min_length=1)]

    @model_validator(mode="after")
    def _falling(self) -> Fit:
        if len(self.rates) != len(self.thresholds):
            raise ValueError("there must be as many thresholds as rates")
        for name, values in (("rates", self.rates), ("thresholds", self.thresholds)):
            if any(b > a for a, b in itertools.pairwise(values)):
                raise ValueError(f"{name} must fall")
        if min(self.rates) * self.pairs < 1:
            raise ValueError(f"{self.pairs} pairs say nothing about a rate of {min(self.rates):g}")
        return self

    def threshold(self, rate: float) -> float:
        """The threshold of the largest rate that is not above the one asked for.

        Raises:
            UsageError: all rates are above it.
        """
        fits = [limit for known, limit in zip(self.rates, self.thresholds, strict=True) if known <= rate * (1 + 1e-9)]
        if not fits:
            raise UsageError(
                f"A rate of {rate:g} is finer than what {self.embedder} was fitted for",
                expected=f"{min(self.rates):g} or more ({self.pairs:,} pairs of {self.data})",
                action="Ask for a larger rate, give a threshold, or a calibration of your own on more people",
            )
        return fits[0]


class Calibration(BaseModel):
    """A file of fits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["fdf-calibration"]
    version: Literal[1]
    fit: list[Fit]

    def of(self, embedder: str, sha256: str) -> Fit:
        """The fit of an embedder's weights.

        Raises:
            UsageError: there is none.
        """
        for fit in self.fit:
            if fit.sha256 == sha256:
                return fit
        raise UsageError(
            f"There is no fitted threshold for {embedder} with the weights {sha256[:16]}…",
            expected=", ".join(f"{fit.embedder} {fit.sha256[:16]}…" for fit in self.fit) or "a fit",
            action="Give `threshold`, or fit one: benchmarks/policy_thresholds.py, then `calibration`",
        )


def read_calibration(path: Path) -> Calibration:
    """Read a file of fits.

    Raises:
        DataError: it can't be read, or something in it is wrong.
    """
    try:
        return Calibration.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path} can't be read", got=error.strerror or str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path.name} is no calibration: {where}: {first['msg']}") from error
    except ValueError as error:
        raise DataError(f"{path.name} is no calibration", got=str(error)) from error


@cache
def shipped() -> Calibration:
    """The fits that come with fdf."""
    return read_calibration(Path(__file__).with_name("thresholds.toml"))
