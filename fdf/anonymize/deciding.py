"""A policy with its people: it says of every face whether it stays, and why.

Whatever fails while a face is judged hides every face of the picture.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fdf.anonymize.base import Face, Method
from fdf.anonymize.dissimilarity import Judge
from fdf.anonymize.guard import Guard
from fdf.anonymize.judging import Limits, Person, Verdict, judge
from fdf.anonymize.policy_file import Access, RuleRow
from fdf.anonymize.recognition import Recognizes, View
from fdf.errors import UsageError
from fdf.vision.base import Pixels

_IN_BOX: Final = 0.5  # intersection over union from which on a box that is shown means a face
_BESIDE: Final = 0.2  # another face over this share of the box, and it is not clear which is meant
_TOUCHED: Final = 0.1  # a box that is hidden means every face that overlaps it so much, or whose middle lies in it


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
        return Guard(self.judges, self.tries).before(method)

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


def _means(rule: RuleRow, face: Face, faces: Sequence[Face]) -> bool:
    """Whether a rule that shows a box or a track means this face and no other."""
    if rule.track is not None:
        return face.track == rule.track and sum(one.track == rule.track for one in faces) == 1
    if rule.box is None or overlap(rule.box, face.box) < _IN_BOX:
        return False
    return all(one is face or overlap(rule.box, one.box) < _BESIDE for one in faces)


def _digits(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
