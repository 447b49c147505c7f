"""What an evaluation says, as plain values, and when two of them may stand side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fdf.errors import DataError, UsageError
from fdf.evaluate.memorization import Memorization
from fdf.evaluate.preservation import Preservation
from fdf.evaluate.quality import Quality
from fdf.evaluate.reidentification import Reidentification

FORMAT: Final = "fdf-evaluation-2"
"""1 held fakes against training faces that the generator never ate, and had a kernel distance of pairs."""

_ALIKE: Final = (
    ("quality.extractor", "features"),
    ("quality.extractor_sha256", "weights of the features"),
    ("quality.region", "region"),
    ("quality.faces", "number of faces"),
    ("data.index_sha256", "shards"),
    ("data.split", "split"),
    ("data.hole", "hole"),
    ("data.seed", "seed"),
    ("data.training", "training faces"),
    ("model.resolution", "resolution"),
)


@dataclass(frozen=True)
class ModelFacts:
    """The generator that was looked at."""

    name: str
    sha256: str
    resolution: int
    latent: int
    size: str
    licence: str


@dataclass(frozen=True)
class DataFacts:
    """The faces it was shown.

    Attributes:
        training: most training faces that may be looked at for memorization.
        training_of, training_looked: training faces of the shards, and how many of them were looked at.
        training_eaten: how many of these the generator ate: memorization rests on them alone.
        eaten: how many of the faces it was shown the generator, or one that it began with, may have learnt from: figures
            flatter it there. Both are None if no folder above the file can be told to be its run's: then nobody knows.
    """

    index_sha256: str
    split: str
    faces: int
    of: int
    hole: str
    seed: int
    training: int
    training_of: int
    training_looked: int
    training_eaten: int | None
    eaten: int | None
    rights_classes: tuple[str, ...]


@dataclass(frozen=True)
class Diversity:
    """How much fakes differ.

    Attributes:
        faces, variants: faces looked at, and fakes of each with different z.
        structure: 1 − MS-SSIM between fakes of one face, mean over pairs and faces; 0: z does nothing.
        embedding: distance of dlib's descriptors between fakes of one face, mean.
        between_fakes: median distance between fakes of different owners' faces.
        between_reals: the same for the originals: fakes far below it are all alike. None if all faces have one owner.
    """

    faces: int
    variants: int
    structure: float
    embedding: float
    between_fakes: float | None
    between_reals: float | None


@dataclass(frozen=True)
class Timing:
    """Seconds, and rates. The only part that differs between two runs."""

    seconds: float
    faces_per_second: float
    generator_ms: float


@dataclass(frozen=True)
class Evaluation:
    """Everything. `memorization` is None if it is not known; then `memorization_unknown` says why, in a sentence."""

    model: ModelFacts
    data: DataFacts
    quality: Quality
    diversity: Diversity
    preservation: Preservation
    reidentification: Reidentification | None
    memorization: Memorization | None
    memorization_unknown: str | None
    models: tuple[tuple[str, str], ...]
    timing: Timing

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        body: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **asdict(self)}))
        return body


def read_result(path: Path) -> dict[str, Any]:
    """A report that `fdf evaluate -o` wrote.

    Raises:
        UsageError: no such file. DataError: something else.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"There is no report at {path}", got=error.strerror or str(error)) from error
    except ValueError as error:
        raise DataError(f"{path} is no report of fdf evaluate ({error})") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise DataError(
            f"{path} is no report of this fdf evaluate",
            expected=f'"format": "{FORMAT}"',
            got=repr(body.get("format")) if isinstance(body, dict) else type(body).__name__,
            action="Evaluate that model again: figures of other versions mean other things",
        )
    return body


def refuse_unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to compare a report with one that was measured differently, as far as `now` says already how it is measured.

    Raises:
        UsageError: other features, region, faces, shards, split or seed: figures don't compare.
    """
    differ = [
        f"{name}: {_value(before, key)} and {_value(now, key)}"
        for key, name in _ALIKE
        if key.split(".")[1] in now.get(key.split(".")[0], {}) and _value(before, key) != _value(now, key)
    ]
    if differ:
        raise UsageError(
            "These two evaluations can't be compared",
            expected="the same features, faces and seed in both",
            got="; ".join(differ),
            action="Evaluate both models with the same options",
        )


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Figures of two reports side by side: (name, before, now).

    Memorization is left out where the two rest on different numbers of faces: the more, the nearer is the nearest.

    Raises:
        UsageError: they were measured differently: see `refuse_unlike`.
    """
    refuse_unlike(before, now)
    old = dict(_figures(before))
    alike = _value(before, "memorization.training") == _value(now, "memorization.training")
    return [
        (name, old[name], value)
        for name, value in _figures(now)
        if name in old and (alike or not name.startswith("memorization."))
    ]


def _value(body: Mapping[str, Any], key: str) -> Any:
    part, name = key.split(".")
    return (body.get(part) or {}).get(name)


def _figures(body: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for part in ("quality", "diversity", "preservation", "reidentification", "memorization"):
        for name, value in (body.get(part) or {}).items():
            if isinstance(value, dict):
                value = value.get("value", value.get("mean"))  # noqa: PLW2901
            if isinstance(value, float):
                yield f"{part}.{name}", value
