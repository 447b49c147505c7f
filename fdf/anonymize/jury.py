"""May a person in a film be shown? Decided per track, from looks at it before and after every frame.

A track is joined by position alone, so it can slip from one person to another where they cross. So nothing is ever shown
because it was shown before: a frame shows a face only if

- the track was recognized at that frame or before it, and again at it or after it, both within the look-ahead,
- of the looks within the look-ahead on both sides, at least `frames` and at least half recognized it as the same rule's person,
- none of them saw a stranger, and none saw another face touch this one,
- and no look saw someone denied: that hides the track in all of its frames.

Everything else is hidden: before the first look, after the last, and while a face is badly seen.

The last point needs the whole film: a file is judged first (`look`, `judge`), then `settle` and written by what `stays` says.
A stream can't wait for its end: there `judge` has the last word, and someone denied hides the track from the look-ahead before
that look on.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fdf.anonymize.base import Face
from fdf.anonymize.deciding import Policy, hides, overlap
from fdf.anonymize.judging import Verdict
from fdf.vision.base import Pixels

_LOOKS: Final = 5  # at a track within the look-ahead
_TOUCH: Final = 0.02  # intersection over union of two faces from which on they can be mixed up


@dataclass(frozen=True, eq=False)
class _Look:
    index: int
    kind: str  # of a verdict, or "touch"
    verdict: Verdict


@dataclass(eq=False)
class _Track:
    looks: list[_Look] = field(default_factory=list)
    last: int = -(10**9)
    denied: _Look | None = None
    changes: list[tuple[int, bool]] = field(default_factory=list)  # frame from which on it is shown, or not


class Jury:
    """Decides on the tracks of one film.

    Args:
        policy: who stays.
        sha256: of the film; empty for a stream.
        reach: frames that the tracker keeps back: nothing later is known of a frame. It may be set until the first look.
    """

    def __init__(self, policy: Policy, sha256: str, reach: int) -> None:
        self._policy, self._sha256 = policy, sha256
        self.reach = reach
        self._tracks: dict[int, _Track] = {}
        self._looked: set[int] = set()  # tracks with looks: those of the last second, not of the whole film
        self._hide = [
            (number, rule)
            for number, rule in enumerate(policy.rules, start=1)
            if rule.action == "hide"
            and (rule.track is not None or rule.box is not None)
            and policy.applies(rule, sha256)
        ]
        self._show = {
            rule.track: number
            for number, rule in enumerate(policy.rules, start=1)
            if rule.action == "show" and rule.track is not None and policy.applies(rule, sha256)
        }
        self.rows: list[dict[str, Any]] = []
        self.shown = 0

    def look(self, index: int, found: Sequence[tuple[int, Face]], picture: Callable[[], Pixels]) -> None:
        """Look at the faces found in a frame, as each of them is due.

        Args:
            index: number of the frame; frames come in order.
            found: track and face of every finding in it.
            picture: gives the frame.
        """
        pixels: Pixels | None = None
        for number, face in found:
            track = self._tracks.setdefault(number, _Track())
            if any(overlap(face.box, other.box) > _TOUCH for n, other in found if n != number):
                track.looks.append(_Look(index, "touch", Verdict("unsure", "another face touches it")))
                self._looked.add(number)
            if track.denied is not None or index - track.last < max(1, self.reach // _LOOKS) or not self._policy.people:
                continue
            track.last = index
            try:
                if pixels is None:
                    pixels = picture()
                recognizer = self._policy.recognizer
                view = recognizer.views(pixels, [face])[0] if recognizer is not None else None
                verdict = self._policy.verdict(view, self._sha256)
            except Exception as error:  # of any kind: a defect must not show anybody
                verdict = Verdict("stranger", f"judging failed: {type(error).__name__}: {error}")
            track.looks.append(look := _Look(index, verdict.kind, verdict))
            self._looked.add(number)
            if verdict.kind == "deny":
                track.denied = look
        self._forget(index)

    def judge(self, index: int, number: int, face: Face, name: str) -> bool:
        """Whether a track stays in a frame, by all that is known so far; `rows` gets one whenever that changes.

        Args:
            index: number of the frame, at most the look-ahead behind the newest.
            number: of the track.
            face: as it would be covered.
            name: of the film, for the log.
        """
        track = self._tracks.setdefault(number, _Track())
        shown, rule, reason, verdict = self._decide(track, index, number, face)
        self.shown += shown
        if not track.changes or track.changes[-1][1] is not shown:
            track.changes.append((index, shown))
            row = self._policy.told(shown, rule, reason, verdict, face.box.tolist())
            self.rows.append(row | {"input": name, "sha256": self._sha256, "frame": index, "track": number})
        return shown

    def settle(self) -> None:
        """The film is over: whoever is denied in one frame of a track is hidden in all of them. `shown` counts anew."""
        rows, told = [], set()
        for row in self.rows:
            number = row["track"]
            denied = self._tracks[number].denied
            if denied is None:
                rows.append(row)
            elif number not in told:
                told.add(number)
                no = denied.verdict
                why = f"{no.reason} (frame {denied.index})"
                rows.append(row | self._policy.told(False, no.rule, why, no, row["box"]))
        for number in told:
            self._tracks[number].changes = [(0, False)]
        self.rows, self.shown = rows, 0

    def stays(self, index: int, number: int) -> bool:
        """Whether a track stays in a frame, after `settle`; what was never judged does not."""
        changes = self._tracks[number].changes if number in self._tracks else []
        place = bisect_right(changes, index, key=lambda change: change[0])
        shown = place > 0 and changes[place - 1][1]
        self.shown += shown
        return shown

    def _decide(self, track: _Track, index: int, number: int, face: Face) -> tuple[bool, int, str, Verdict | None]:
        for n, rule in self._hide:
            if hides(rule, _numbered(face, number)):
                verdict = Verdict("deny", rule.about, rule=n)
                track.denied = track.denied or _Look(index, "deny", verdict)
        if track.denied is not None:
            no = track.denied.verdict
            return False, no.rule, no.reason, no
        near = [one for one in track.looks if abs(one.index - index) <= self.reach]
        if number in self._show:
            return self._by_number(near, self._show[number])
        for kind in ("touch", "stranger"):
            against = next((one for one in near if one.kind == kind), None)
            if against is not None:
                return False, 0, f"{against.verdict.reason} (frame {against.index})", against.verdict
        yes = [one for one in near if one.kind == "yes"]
        if not yes:
            why = near[-1].verdict if near else None
            return False, 0, why.reason if why else "not looked at yet", why
        best = min(yes, key=lambda one: (one.verdict.distance or 0.0, one.index)).verdict
        who = {one.verdict.person for one in yes}
        said = f"{len(yes)} of {len(near)} looks"
        if len(who) > 1:
            return False, 0, f"{said} say {' and '.join(sorted(who))}", best
        if not (min(one.index for one in yes) <= index <= max(one.index for one in yes)):
            return False, 0, f"not between two looks that recognize {best.person}", best
        if len(yes) < max(self._policy.frames, len(near) / 2):
            return False, 0, f"only {said} recognize {best.person}", best
        return True, best.rule, f"{said} recognize {best.person}", best

    def _by_number(self, near: Sequence[_Look], rule: int) -> tuple[bool, int, str, Verdict | None]:
        """A track that the user shows by its number: still nobody may be denied or touch it."""
        touch = next((one for one in near if one.kind == "touch"), None)
        if touch is not None:
            return False, rule, f"{touch.verdict.reason} (frame {touch.index})", touch.verdict
        denied = any(self._policy.rules[person.rule - 1].action == "hide" for person in self._policy.people)
        clear = [one for one in near if one.kind in {"yes", "stranger"} or one.verdict.distance is not None]
        if denied and len(clear) < self._policy.frames:
            return False, rule, f"it could be someone denied: {len(clear)} clear looks", None
        return True, rule, self._policy.rules[rule - 1].about, None

    def _forget(self, index: int) -> None:
        oldest = index - 2 * self.reach - 2
        for number in list(self._looked):
            track = self._tracks[number]
            if track.looks[0].index < oldest:
                track.looks = [one for one in track.looks if one.index >= oldest]
            if not track.looks:
                self._looked.discard(number)


def _numbered(face: Face, number: int) -> Face:
    return face if face.track == number else dataclasses.replace(face, track=number)
