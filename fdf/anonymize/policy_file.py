"""What stands in a policy: the tables of its TOML, and what can be wrong with them. No folder is looked at here."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fdf.errors import UsageError

FORMAT: Final = "fdf-policy"

Access = Literal["proxy", "explicit", "groups"]
"""Who says yes: someone the person trusts; the person, to this very file; the person, to groups of viewers."""

_Sha = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Rate = Annotated[float, Field(gt=0, le=0.1)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecognitionRow(_Table):
    """How faces are told apart.

    Attributes:
        embedder: zoo id.
        path: weights of your own, for the embedders that need them; relative to the policy.
        false_reveal: share of comparisons of different people that may come out as the same one. Per reference picture.
        false_hide: the same for people who are denied: larger, since a face too many is hidden.
        threshold: Euclidean distance instead of `false_reveal`.
        hide_threshold: instead of `false_hide`.
        calibration: file of fits of your own instead of the one that comes with fdf; relative to the policy.
        margin: everybody else must be so much farther than the person who is shown.
        min_size: pixels of the longer side of a face that is recognized.
        min_sharpness: variance of the Laplacian of its box at 64 × 64.
        max_yaw: degrees.
        max_pitch: degrees.
        frames: films: looks of a track that must agree before it is shown.
    """

    embedder: str = "dlib-resnet128"
    path: str | None = None
    false_reveal: _Rate = 0.001
    false_hide: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hide_threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    calibration: str | None = None
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    min_size: Annotated[float, Field(ge=24)] = 48.0
    min_sharpness: Annotated[float, Field(ge=0)] = 60.0
    max_yaw: Annotated[float, Field(gt=0, le=60)] = 40.0
    max_pitch: Annotated[float, Field(gt=0, le=60)] = 30.0
    frames: Annotated[int, Field(ge=2, le=100)] = 3


class RuleRow(_Table):
    """One rule: an action and exactly one of `people`, `person`, `box` and `track`.

    Attributes:
        action: `show` or `hide`.
        people: folder with a folder a person, relative to the policy.
        person: folder with pictures of one person.
        box: [x0, y0, x1, y1) in pixels of the upright picture. To hide in any file; to show in one that holds one picture.
        track: number of a track, as the audit log gives it; of a face in a file of faces.
        sha256: the files that the rule is for; all, if it is left out.
        groups: who may see it, with access = "groups".
        by: who decided, with access = "proxy"; goes into the log.
    """

    action: Literal["show", "hide"]
    people: str | None = None
    person: str | None = None
    box: tuple[_Number, _Number, _Number, _Number] | None = None
    track: Annotated[int, Field(ge=0)] | None = None
    sha256: Annotated[list[_Sha], Field(min_length=1)] | None = None
    groups: Annotated[list[_Name], Field(min_length=1)] | None = None
    by: str = ""

    @model_validator(mode="after")
    def _one(self) -> RuleRow:
        chosen = [name for name in ("people", "person", "box", "track") if getattr(self, name) is not None]
        if len(chosen) != 1:
            raise ValueError(
                f"needs exactly one of people, person, box and track, got {' and '.join(chosen) or 'none'}"
            )
        if self.box is not None and not (self.box[2] > self.box[0] and self.box[3] > self.box[1]):
            raise ValueError(f"a box is [x0, y0, x1, y1) with x1 > x0 and y1 > y0, got {list(self.box)}")
        if self.action == "show" and chosen[0] in {"box", "track"} and not self.sha256:
            raise ValueError(f"a {chosen[0]} that is shown needs the sha256 of its file: elsewhere it is someone else")
        if self.action == "hide" and (self.groups or self.by):
            raise ValueError("groups and by are for rules that show: what is hidden is hidden from everybody")
        return self

    @property
    def about(self) -> str:
        """The rule in a few words, for the log."""
        what = next(name for name in ("people", "person", "box", "track") if getattr(self, name) is not None)
        value = getattr(self, what)
        return f"{self.action} {what} {[round(v) for v in value] if what == 'box' else value}"


class JudgeRow(_Table):
    """A recognizer that faces which were made up must not resemble anybody to.

    Attributes:
        embedder: zoo id.
        path: weights of your own, relative to the policy.
        threshold: Euclidean distance; without it the fitted one of `rate`.
    """

    embedder: str = "dlib-resnet128"
    path: str | None = None
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class DissimilarityRow(_Table):
    """How far faces that a method draws must be from their source and from the protected.

    Attributes:
        judges: recognizers, all of which must agree.
        rate: share of pairs of different people that are nearer than the threshold: larger is stricter.
        protect: folder with a folder a person; relative to the policy. Everybody in a rule is protected anyway.
        tries: faces drawn before the fallback takes over.
    """

    judges: Annotated[list[JudgeRow], Field(min_length=1)] = [JudgeRow()]
    rate: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    protect: str | None = None
    tries: Annotated[int, Field(ge=1, le=1000)] = 8


class PolicyFile(_Table):
    """The whole file."""

    format: Literal["fdf-policy"]
    version: Literal[1]
    access: Access
    recognition: RecognitionRow = RecognitionRow()
    dissimilarity: DissimilarityRow = DissimilarityRow()
    rule: list[RuleRow] = []

    @model_validator(mode="after")
    def _consent(self) -> PolicyFile:
        needs = {
            "proxy": ("by", "who decided for them"),
            "explicit": ("sha256", "the files they said yes to"),
            "groups": ("groups", "who may see them"),
        }
        key, meaning = needs[self.access]
        for number, rule in enumerate(self.rule, start=1):
            if rule.action == "show" and not getattr(rule, key):
                raise ValueError(f'rule {number}: access = "{self.access}" needs `{key}`: {meaning}')
            if rule.groups and self.access != "groups":
                raise ValueError(f'rule {number}: groups mean nothing with access = "{self.access}"')
        return self


def parse_policy(data: bytes, name: str = "policy") -> PolicyFile:
    """Read the TOML of a policy; no folder is looked at.

    Raises:
        UsageError: it is no TOML, or something in it is wrong; the message says where.
    """
    try:
        return PolicyFile.model_validate(tomllib.loads(data.decode("utf-8")))
    except ValidationError as error:
        raise UsageError(f"{name}: {_first(error)}", action="docs/policy.md describes the file") from error
    except ValueError as error:  # of UTF-8 or of TOML
        raise UsageError(f"{name} is no TOML", got=str(error)) from error


def _first(error: ValidationError) -> str:
    one: Mapping[str, Any] = error.errors()[0]
    at = one["loc"]
    where = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in at)
    if one["type"] == "extra_forbidden":
        tables: dict[str, type[BaseModel]] = {
            "rule": RuleRow,
            "recognition": RecognitionRow,
            "dissimilarity": DissimilarityRow,
        }
        table: type[BaseModel] = PolicyFile if len(at) == 1 else tables[str(at[0])]
        table = JudgeRow if "judges" in at[:-1] else table
        near = difflib.get_close_matches(str(at[-1]), table.model_fields, n=1)
        guess = f"did you mean {near[0]}?" if near else f"known are {', '.join(table.model_fields)}"
        return f"there is no key {where}: {guess}"
    said = str(one["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
