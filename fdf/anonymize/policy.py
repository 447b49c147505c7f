"""Who stays and who goes: a small TOML file.

    format = "fdf-policy"
    version = 1
    access = "proxy"                    # or "explicit", or "groups": who says yes, see docs/policy.md

    [[rule]]
    action = "show"
    people = "allowed"                  # a folder a person, next to this file
    by = "Eve Example, their teacher"

    [[rule]]
    action = "hide"
    person = "denied/carl"

A face is shown if a rule shows it and no rule hides it; where there is doubt it is hidden, and so is everybody of whom no rule
speaks. The order of rules makes no difference to that. Whatever fails while a face is judged hides every face of the picture.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fdf.anonymize.base import Face, Method
from fdf.anonymize.calibration import read_calibration, shipped
from fdf.anonymize.dissimilarity import Dissimilar, Judge, is_generative
from fdf.anonymize.gallery import person_folders, read_person
from fdf.anonymize.judging import Limits, Person, Verdict, judge
from fdf.anonymize.recognition import Quality, Recognizer, Recognizes, View
from fdf.errors import DataError, UsageError
from fdf.vision.base import Pixels

if TYPE_CHECKING:
    from fdf.anonymize.image import Finder

FORMAT: Final = "fdf-policy"

Access = Literal["proxy", "explicit", "groups"]
"""Who says yes: someone the person trusts; the person, to this very file; the person, to groups of viewers."""

_IN_BOX: Final = 0.5  # intersection over union from which on a box that is shown means a face
_BESIDE: Final = 0.2  # another face over this share of the box, and it is not clear which is meant
_TOUCHED: Final = 0.1  # a box that is hidden means every face that overlaps it so much, or whose middle lies in it

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
        box: [x0, y0, x1, y1) in pixels of the upright picture; pictures only, except to hide.
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


@dataclass(frozen=True, eq=False)
class Decision:
    """What was decided on one face.

    Attributes:
        face: whose.
        shown: whether it stays.
        rule: number of the rule that settled it, from 1; 0 for none.
        reason: in words.
        verdict: what the recognizer said, if it was asked.
    """

    face: Face
    shown: bool
    rule: int
    reason: str
    verdict: Verdict | None = None


@dataclass(frozen=True, eq=False)
class Policy:
    """A policy with its people read; `load_policy` makes it.

    Attributes:
        access: who says yes.
        rules: as in the file.
        people: everybody in a rule by `people` or `person`.
        limits: distances.
        recognizer: tells faces apart; None if no rule needs it.
        frames: see `RecognitionRow`.
        sha256: of the file.
        digest: of everything that decisions depend on.
        group: of viewers that the output is for.
        notes: what a user should know of it.
        judges: makes the judges of faces that a method draws; called once, when there is such a method.
        tries: of such a method.
    """

    access: Access
    rules: tuple[RuleRow, ...]
    people: tuple[Person, ...]
    limits: Limits
    recognizer: Recognizes | None
    frames: int = 3
    sha256: str = ""
    digest: str = ""
    group: str = ""
    notes: tuple[str, ...] = ()
    judges: Callable[[], tuple[Judge, ...]] = tuple
    tries: int = 8

    def guarded(self, method: Method) -> Method:
        """The method itself, or with judges before it if it draws faces."""
        if not is_generative(method) or isinstance(method, Dissimilar):
            return method
        judges = self.judges()
        return Dissimilar(method, judges, self.tries) if judges else method

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group of viewers that a rule names, sorted."""
        return tuple(sorted({name for rule in self.rules for name in rule.groups or ()}))

    def for_group(self, group: str) -> Policy:
        """The policy for one group of viewers.

        Raises:
            UsageError: no rule names it, or the policy knows no groups.
        """
        if group not in self.groups:
            near = difflib.get_close_matches(group, self.groups, n=1)
            raise UsageError(
                f"The policy has no group {group!r}",
                expected=f"one of {', '.join(self.groups)}" if self.groups else 'a policy with access = "groups"',
                action=f"Did you mean {near[0]}?" if near else "",
            )
        return dataclasses.replace(self, group=group)

    def applies(self, rule: RuleRow, sha256: str) -> bool:
        """Whether a rule is for this file and these viewers."""
        if rule.sha256 is not None and sha256 not in rule.sha256:
            return False
        return rule.action == "hide" or self.access != "groups" or self.group in (rule.groups or ())

    def verdict(self, view: View | None, sha256: str) -> Verdict:
        """What the people of the policy say to one face of a file."""
        sides: dict[str, list[Person]] = {"show": [], "hide": [], "else": []}
        for person in self.people:
            rule = self.rules[person.rule - 1]
            if rule.action == "hide":
                if self.applies(rule, sha256):
                    sides["hide"].append(person)
            else:
                sides["show" if self.applies(rule, sha256) else "else"].append(person)
        return judge(view, sides["show"], sides["else"], sides["hide"], self.limits)

    def decide(self, picture: Pixels, faces: Sequence[Face], sha256: str = "") -> list[Decision]:
        """Decide on every face of a picture, in order. Whatever fails hides all of them.

        Args:
            picture: upright RGB, uint8 (H, W, 3).
            faces: all that were found in it: a face that is left out can't be told from its neighbour.
            sha256: of the file; rules for certain files fit no other.
        """
        try:
            views: list[View | None] = [None] * len(faces)
            if self.recognizer is not None and self.people and faces:
                views = self.recognizer.views(picture, faces)
            return [self._decide(face, view, faces, sha256) for face, view in zip(faces, views, strict=True)]
        except Exception as error:  # of any kind: a defect must not show anybody
            why = f"judging failed: {type(error).__name__}: {error}"
            return [Decision(face, False, 0, why) for face in faces]

    def _decide(self, face: Face, view: View | None, faces: Sequence[Face], sha256: str) -> Decision:
        here = [(n, rule) for n, rule in enumerate(self.rules, start=1) if self.applies(rule, sha256)]
        for number, rule in here:
            if rule.action == "hide" and hides(rule, face):
                return Decision(face, False, number, rule.about)
        verdict = self.verdict(view, sha256) if self.people else None
        if verdict is not None and verdict.kind == "deny":
            return Decision(face, False, verdict.rule, verdict.reason, verdict)
        if verdict is not None and verdict.kind == "yes":
            return Decision(face, True, verdict.rule, verdict.reason, verdict)
        why = verdict.reason if verdict is not None else "no rule shows it"
        for number, rule in here:
            if rule.action != "show" or not _means(rule, face, faces):
                continue
            denied = any(person for person in self.people if self.rules[person.rule - 1].action == "hide")
            if denied and self.limits.quality.complaint(view):
                why = f"{rule.about}, but it could be someone denied: {self.limits.quality.complaint(view)}"
                return Decision(face, False, number, why, verdict)
            return Decision(face, True, number, rule.about, verdict)
        return Decision(face, False, 0, why, verdict)

    def row(self, decision: Decision, name: str, sha256: str, frame: int = 0) -> dict[str, Any]:
        """A decision as a line of the audit log."""
        return self.told(
            decision.shown, decision.rule, decision.reason, decision.verdict, decision.face.box.tolist()
        ) | {"input": name, "sha256": sha256, "frame": frame, "track": decision.face.track}

    def told(
        self, shown: bool, rule: int, reason: str, verdict: Verdict | None, box: Sequence[float]
    ) -> dict[str, Any]:
        """What every line of the audit log says; `margin` is how much farther the nearest other is."""
        row = self.rules[rule - 1] if rule else None
        v = verdict
        gap = None if v is None or v.distance is None or v.other_distance is None else v.other_distance - v.distance
        return {
            "decision": "shown" if shown else "hidden",
            "reason": reason,
            "rule": rule or None,
            "rule_says": row.about if row else None,
            "by": row.by if row and row.by else None,
            "box": [round(float(value), 1) for value in box],
            "person": v.person or None if v else None,
            "distance": _digits(v.distance if v else None),
            "threshold": _digits(v.threshold if v else None),
            "other": v.other or None if v else None,
            "margin": _digits(gap),
            "margin_needed": self.limits.margin,
            "embedder": self.recognizer.id if self.recognizer else None,
            "embedder_sha256": self.recognizer.sha256 if self.recognizer else None,
            "access": self.access,
            "group": self.group or None,
            "policy_sha256": self.sha256,
        }


def hides(rule: RuleRow, face: Face) -> bool:
    """Whether a rule that hides a box or a track means a face: a touch is enough."""
    if rule.track is not None:
        return face.track == rule.track
    if rule.box is None:
        return False
    middle = (face.box[:2] + face.box[2:]) / 2
    inside = rule.box[0] <= middle[0] <= rule.box[2] and rule.box[1] <= middle[1] <= rule.box[3]
    return bool(inside) or overlap(rule.box, face.box) >= _TOUCHED


def overlap(a: Sequence[float] | np.ndarray[Any, Any], b: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """Intersection over union of two boxes."""
    p, q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    shared = float(np.clip(np.minimum(p[2:], q[2:]) - np.maximum(p[:2], q[:2]), 0, None).prod())
    return shared / float((p[2:] - p[:2]).prod() + (q[2:] - q[:2]).prod() - shared)


def load_policy(path: Path, *, recognizer: Recognizes | None = None, finder: Finder | None = None) -> Policy:
    """Read a policy and the reference pictures that it names. Everything that can be wrong with them is an error here.

    Args:
        path: the TOML file; folders in it are relative to its own.
        recognizer: instead of the one that the policy names.
        finder: of the faces in reference pictures; None for `FaceFinder()`.

    Raises:
        DataError: it can't be read, or a reference picture is no good.
        UsageError: something in it is wrong; or there is no threshold for its embedder.
        ModelError: weights are missing or altered.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"The policy {path} can't be read", got=error.strerror or str(error)) from error
    file = parse_policy(data, path.name)
    own, limits, notes = file.recognition, Limits(1.0, 1.0, 0.0), []
    people: list[Person] = []
    shas: list[str] = []
    if any(rule.people or rule.person for rule in file.rule):
        recognizer = recognizer or _recognizer(own.embedder, own.path, path.parent)
        limits = _limits(own, recognizer, path.parent)
        finder = finder or _finder()
        people, shas = _people(file, path.parent, recognizer, finder, limits)
        shown = [one for one in people if file.rule[one.rule - 1].action == "show"]
        compared = sum(len(one.references) for one in shown)
        if compared and own.threshold is None:
            rate = own.false_reveal
            notes.append(
                f"a stranger's face is compared with {compared} reference picture{'' if compared == 1 else 's'}: at most "
                f"{min(1.0, rate * compared):.2%} of strangers are shown if they are like those the threshold was fitted on"
            )
    parts = [data.hex(), *shas, recognizer.sha256 if recognizer else "", repr(limits)]
    return Policy(
        file.access,
        tuple(file.rule),
        tuple(people),
        limits,
        recognizer if people else None,
        own.frames,
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        "",
        tuple(notes),
        cache(lambda: _judges(file, path.parent, recognizer, finder)),
        file.dissimilarity.tries,
    )


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


def _limits(own: RecognitionRow, recognizer: Recognizes, folder: Path) -> Limits:
    quality = Quality(own.min_size, own.min_sharpness, own.max_yaw, own.max_pitch)
    show, hide = own.threshold, own.hide_threshold
    if show is None or hide is None:
        known = read_calibration(folder / own.calibration) if own.calibration else shipped()
        if show is None:
            show = known.of(recognizer.id, recognizer.sha256).threshold(own.false_reveal)
        if hide is None:
            # With a threshold of one's own the fit may be missing; then who is denied is looked for a little farther.
            fits = [fit for fit in known.fit if fit.sha256 == recognizer.sha256]
            hide = max(show, fits[0].threshold(own.false_hide)) if fits else show + own.margin
    if hide < show:
        raise UsageError(
            "hide_threshold is below threshold: denied people would be recognized later than allowed ones",
            expected=f"at least {show:g}",
            got=f"{hide:g}",
        )
    return Limits(show, hide, own.margin, quality)


def _people(
    file: PolicyFile, root: Path, recognizer: Recognizes, finder: Finder, limits: Limits
) -> tuple[list[Person], list[str]]:
    people: list[Person] = []
    shas: list[str] = []
    read: dict[Path, tuple[Any, ...]] = {}
    actions: dict[Path, tuple[str, int]] = {}
    for number, rule in enumerate(file.rule, start=1):
        folders = [root / rule.person] if rule.person else person_folders(root / rule.people) if rule.people else []
        for folder in folders:
            key = folder.resolve()
            action, before = actions.setdefault(key, (rule.action, number))
            if action != rule.action:
                raise UsageError(f"{folder.name} is both shown and hidden: rules {before} and {number}")
            if key not in read:
                read[key] = read_person(folder, recognizer, finder, limits.quality, agree=limits.hide)
            people.append(Person(folder.name, number, tuple(one.vector for one in read[key])))
            shas += [one.sha256 for one in read[key]]
    return people, shas


def _judges(file: PolicyFile, root: Path, recognizer: Recognizes | None, finder: Finder | None) -> tuple[Judge, ...]:
    """The judges of a policy. Each reads the pictures anew: vectors of two embedders have nothing in common."""
    own, wanted = file.recognition, file.dissimilarity
    folders = [root / rule.person for rule in file.rule if rule.person]
    for parent in [rule.people for rule in file.rule] + [wanted.protect]:
        folders += person_folders(root / parent) if parent else []
    quality = Quality(own.min_size, own.min_sharpness, own.max_yaw, own.max_pitch)
    known = read_calibration(root / own.calibration) if own.calibration else shipped()
    judges = []
    for row in wanted.judges:
        same = recognizer is not None and row.embedder == own.embedder and row.path == own.path
        by = recognizer if same and recognizer is not None else _recognizer(row.embedder, row.path, root)
        limit = row.threshold or known.of(by.id, by.sha256).threshold(wanted.rate)
        finder = finder or _finder()
        # How alike a person's pictures are is checked with the rules; a judge only needs them to be good.
        people = {str(one): read_person(one, by, finder, quality, agree=float("inf")) for one in dict.fromkeys(folders)}
        judges.append(Judge(by, limit, {name: [one.vector for one in rows] for name, rows in people.items()}))
    return tuple(judges)


def _recognizer(embedder: str, path: str | None, root: Path) -> Recognizes:
    return Recognizer(embedder, root / path if path else None)


def _finder() -> Finder:
    from fdf.anonymize.detection import FaceFinder

    return FaceFinder()


def _means(rule: RuleRow, face: Face, faces: Sequence[Face]) -> bool:
    """Whether a rule that shows a box or a track means this face and no other."""
    if rule.track is not None:
        return face.track == rule.track and sum(one.track == rule.track for one in faces) == 1
    if rule.box is None or overlap(rule.box, face.box) < _IN_BOX:
        return False
    return all(one is face or overlap(rule.box, one.box) < _BESIDE for one in faces)


def _digits(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
