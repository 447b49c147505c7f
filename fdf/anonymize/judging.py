"""May this face be shown? The rule of thumb is: hidden, unless everything speaks for showing it.

Pure arithmetic on distances; who is allowed where is the policy's business (`fdf.anonymize.policy`). Two properties hold by
construction and are tested: one more reference of a denied person never shows more, one less of an allowed person
never shows more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from fdf.anonymize.recognition import Quality, View
from fdf.vision.base import Floats

Kind = Literal["yes", "deny", "stranger", "unsure"]
"""Show; someone denied; clearly nobody who is allowed; can't be said. All but the first hide the face."""

_FAR: Final = float("inf")


@dataclass(frozen=True, eq=False)
class Person:
    """Someone the policy knows.

    Attributes:
        name: of the folder.
        rule: number of the rule that names the person, from 1.
        references: one vector a reference picture, at least one.
    """

    name: str
    rule: int
    references: tuple[Floats, ...]


@dataclass(frozen=True)
class Limits:
    """Distances of one embedder.

    Attributes:
        show: an allowed person is at most this far.
        hide: a denied person is taken for present up to here; never under `show`.
        margin: everybody else is at least this much farther than the allowed person.
        quality: how well a face must be seen.
    """

    show: float
    hide: float
    margin: float
    quality: Quality = field(default_factory=Quality)

    def __post_init__(self) -> None:
        if not (0 < self.show <= self.hide < _FAR and 0 <= self.margin < _FAR):
            raise ValueError(f"Limits: expected 0 < show <= hide and margin >= 0, got {self}.")


@dataclass(frozen=True)
class Verdict:
    """What the look of a face says.

    Attributes:
        kind: only `yes` shows it.
        reason: in words.
        person: who it was compared with last: the allowed one that is nearest, or the denied one it was taken for.
        rule: of that person; 0 for none.
        distance: to that person; None if nothing was compared.
        threshold: it was compared with.
        other: nearest of everybody who must be farther, None if there is nobody.
        other_distance: to that one.
    """

    kind: Kind
    reason: str
    person: str = ""
    rule: int = 0
    distance: float | None = None
    threshold: float | None = None
    other: str = ""
    other_distance: float | None = None


def judge(
    view: View | None, allowed: Sequence[Person], others: Sequence[Person], denied: Sequence[Person], limits: Limits
) -> Verdict:
    """Judge one face.

    A face that is badly seen is never a yes. It is a stranger's all the same if its vector is farther than `limits.show` from
    everybody who is allowed, or nearer to somebody else: in a film that speaks against the faces around it.

    Args:
        view: what is seen of it.
        allowed: who may be shown here.
        others: who is known but may not be shown here; they must be farther than the allowed one, nothing else.
        denied: who must never be shown.
        limits: distances.
    """
    if view is not None:
        no, away = _nearest(view.vector, denied)
        if no is not None and not away > limits.hide:  # however badly it is seen: nan hides as well
            return Verdict("deny", f"{no.name} is denied", no.name, no.rule, away, limits.hide)
    complaint = limits.quality.complaint(view)
    if view is None:
        return Verdict("unsure", complaint)
    who, near = _nearest(view.vector, allowed)
    if who is None:
        return Verdict("unsure" if complaint else "stranger", complaint or "nobody is allowed here")
    rival, far = _nearest(view.vector, [*others, *denied])
    found = {
        "person": who.name,
        "rule": who.rule,
        "distance": near,
        "threshold": limits.show,
        "other": rival.name if rival else "",
        "other_distance": far if rival else None,
    }
    kind: Kind = "unsure" if complaint else "yes"
    why = "" if complaint else f"is {who.name}"
    if not near <= limits.show:
        kind, why = (
            ("unsure" if near <= limits.hide and not complaint else "stranger"),
            f"not close enough to {who.name}",
        )
    elif rival is not None and not far >= near + limits.margin:
        kind, why = ("unsure" if far >= near else "stranger"), f"too close to {rival.name} as well"
    return Verdict(kind, ", and ".join(one for one in (complaint, why) if one), **found)  # type: ignore[arg-type]


def _nearest(vector: Floats, people: Sequence[Person]) -> tuple[Person | None, float]:
    """Ties go to the name that comes first, so that the order of rules changes nothing."""
    best: tuple[Person | None, float] = None, _FAR
    for person in sorted(people, key=lambda one: (one.name, one.rule)):
        rows = np.stack(person.references).astype(np.float64) - vector.astype(np.float64)
        away = float(np.linalg.norm(rows, axis=1).min())
        if np.isnan(away):
            return person, away
        if away < best[1]:
            best = person, away
    return best
