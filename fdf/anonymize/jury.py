"""May a person in a film be shown? Decided per track, from looks at it before and after every frame.

A track is joined by position alone, so it can slip from one person to another: where they cross, or where one stands in the
other's place for a frame. So nothing is ever shown because it was shown before: a frame shows a face only if

- the track was recognized at that frame or before it, and again at it or after it, both within the look-ahead,
- from the last such look before to the first after, the face was looked at in every frame, or is the same picture as in the
  look before (`fdf.anonymize.recognition.alike`); a frame in which it was not found can't be looked at,
- of the looks within the look-ahead on both sides, at least `frames` and at least half recognized it as the same rule's person,
- none of them saw a stranger (a badly seen face counts as one if it is not near), and none saw another face touch this one,
- and no look saw someone denied: that hides the track in all of its frames.

Everything else is hidden: before the first look, after the last, and while a face is badly seen.

A track that the user shows by its number needs nobody to recognize it, but it must stay the same person: `_Doubts`.

Who is denied is known at the end: a file is judged first (`look`, `judge`), then `settle` and written by what `stays` says.
A stream can't wait for its end: there `judge` has the last word, and someone denied hides the track from the look-ahead before
that look on.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from fdf.anonymize.base import Face
from fdf.anonymize.deciding import Policy, hides, overlap
from fdf.anonymize.judging import Verdict
from fdf.anonymize.recognition import View, alike, distance, glimpse
from fdf.vision.base import Floats, Pixels

_LOOKS: Final = 5  # at a track within the look-ahead, at least
_TOUCH: Final = 0.02  # intersection over union of two faces from which on they can be mixed up
_MISSED: Final = 2  # frames without a finding after which a track may be somebody else's …
_SKIPPED: Final = 3  # … or with a guess from a file in each of them: so many may have been skipped when it was saved
_REMEMBERED: Final = 30  # bad looks at a track before its first clear one
_NEVER: Final = -(10**9)

_Decision = tuple[bool, int, str, Verdict | None]
"""Shown or not, number of the rule, why, and by which look."""


@dataclass(frozen=True, eq=False)
class _Look:
    index: int
    kind: str  # of a verdict, or "touch"
    verdict: Verdict
    view: View | None = None  # None: there was nothing to look at
    clear: bool = False


@dataclass(eq=False)
class _Doubts:
    """Whether a track that is shown by its number is still the person whom it began with.

    Looks must agree with the first clear one: one that is farther than `limits.hide` is a stranger's. After that, and after
    more than `_MISSED` frames without the face, it is hidden until a clear look is as near as `limits.show`: somebody else may
    have taken the place. Without a recognizer, or without a clear look before, that is for good; so it is if the first clear
    look is farther than `limits.hide` from a bad one before it: it may be the newcomer's.
    """

    first: _Look | None = None
    poor: list[_Look] = field(
        default_factory=list
    )  # bad looks before the first clear one: the first and the last of them
    found: int = _NEVER  # newest frame with the face
    changes: list[tuple[int, str]] = field(default_factory=list)  # frame from which on there is a doubt, or none: ""

    def away(self, one: _Look) -> float:
        """Distance of a look to the first clear one; infinite if looking failed, 0 if nothing can be said."""
        if one.view is None:
            return float("inf") if one.kind == "stranger" else 0.0
        return (
            0.0 if self.first is None or self.first.view is None else distance(one.view.vector, self.first.view.vector)
        )

    def add(self, index: int, one: _Look | None, *, found: bool, guessed: bool, show: float, hide: float) -> None:
        """The next frame: the look that speaks for it, and whether the face was found, or is a guess from a file."""
        doubted = bool(self.changes and self.changes[-1][1])
        if self.first is None and one is not None and one.view is not None and not doubted:
            strange = [poor for poor in self.poor if poor.view and distance(poor.view.vector, one.view.vector) > hide]
            if one.clear and strange:
                self._change(index, f"frame {index} shows somebody else than frame {strange[0].index} may have")
            elif one.clear:
                self.first = one
            elif not self.poor or self.poor[-1] is not one:
                del self.poor[_REMEMBERED // 2 : len(self.poor) - _REMEMBERED // 2 + 1]
                self.poor.append(one)
        if one is not None and not self.away(one) <= hide:
            self._change(index, f"somebody else took its place (frame {index})")
        elif found:
            sure = self.first is not None and one is not None and one.clear and self.away(one) <= show
            if not self.changes or sure:
                self._change(index, "")
        elif self.changes and index - self.found > (_SKIPPED if guessed else _MISSED):
            self._change(index, f"out of sight after frame {self.found}, and not recognized since")
        if found:
            self.found = index

    def at(self, index: int) -> str:
        """Why it can't be shown in a frame; empty if it can."""
        place = bisect_right(self.changes, index, key=lambda change: change[0])
        return self.changes[place - 1][1] if place else "not found yet"

    def _change(self, index: int, why: str) -> None:
        if not self.changes or bool(self.changes[-1][1]) is not bool(why):
            self.changes.append((index, why))


@dataclass(eq=False)
class _Track:
    looks: list[_Look] = field(default_factory=list)
    seen: dict[int, _Look] = field(default_factory=dict)  # by frame: the look at it, or at the same picture before
    last: _Look | None = None
    glimpse: Floats | None = None  # of the last look
    sure: int = _NEVER  # newest look that recognized somebody
    denied: _Look | None = None
    doubts: _Doubts = field(default_factory=_Doubts)
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
        self._untracked = 0
        self.rows: list[dict[str, Any]] = []
        self.shown = 0

    def look(self, index: int, found: Sequence[tuple[int, Face]], picture: Callable[[], Pixels]) -> None:
        """Look at the faces of a frame, as each of them is due.

        Args:
            index: number of the frame; frames come in order.
            found: track and face of every finding in it. Guesses of a tracker (`origin` "track") may be among them: they are
                looked at, too, and count if they are seen well.
            picture: gives the frame; asked for once.
        """
        picture = cache(picture)
        guesses = {number for number, face in found if face.origin == "track"}
        for number, face in found:
            track = self._tracks.setdefault(number, _Track())
            others = (other for n, other in found if n != number and n not in guesses)
            if number not in guesses and any(overlap(face.box, other.box) > _TOUCH for other in others):
                track.looks.append(_Look(index, "touch", Verdict("unsure", "another face touches it")))
                self._looked.add(number)
            if track.denied is None and (self._policy.people or (number in self._show and self._policy.recognizer)):
                self._examine(track, index, number, face, picture)
        limits, here = self._policy.limits, {number for number, _ in found}
        for number in self._show:
            if number not in self._tracks:
                continue
            track = self._tracks[number]
            one = track.seen.get(index)
            there = number in here - guesses if one is None else one.view is not None
            guessed = number in guesses
            track.doubts.add(index, one, found=there, guessed=guessed, show=limits.show, hide=limits.hide)
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

    def untracked(self, index: int, faces: Sequence[Face], name: str) -> None:
        """Faces without a track are hidden: nobody can say whose they are. `rows` gets them whenever they get more or less."""
        if len(faces) != self._untracked:
            for face in faces:
                row = self._policy.told(False, 0, "no track: always hidden", None, face.box.tolist())
                self.rows.append(row | {"input": name, "sha256": self._sha256, "frame": index, "track": None})
        self._untracked = len(faces)

    def settle(self) -> None:
        """The film is over: whoever is denied in one frame of a track is hidden in all of them. `shown` counts anew."""
        rows, told = [], set()
        for row in self.rows:
            number = row["track"]
            denied = None if number is None else self._tracks[number].denied
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

    def _examine(self, track: _Track, index: int, number: int, face: Face, picture: Callable[[], Pixels]) -> None:
        """Look at a face now and then, and at everything that is not the same picture as before if it may be shown."""
        due = track.last is None or index - track.last.index >= max(1, self.reach // _LOOKS)
        close = number in self._show or index - track.sure <= self.reach
        if not due and not close:
            return
        view, small = None, None
        try:
            small = glimpse(picture(), face)
            if not due and track.last is not None and alike(track.glimpse, small):
                track.seen[index] = track.last
                return
            recognizer = self._policy.recognizer
            view = recognizer.views(picture(), [face])[0] if recognizer is not None else None
            clear = not self._policy.limits.quality.complaint(view)
            verdict = self._policy.verdict(view, self._sha256)
        except Exception as error:  # of any kind: a defect must not show anybody
            view, clear = None, False
            verdict = Verdict("stranger", f"judging failed: {type(error).__name__}: {error}")
        if face.origin == "track" and view is not None and not clear:
            return  # nothing was found there, and nothing is
        look = _Look(index, verdict.kind, verdict, view, clear)
        track.last, track.glimpse = look, small
        track.seen[index] = look
        track.looks.append(look)
        self._looked.add(number)
        if verdict.kind == "yes":
            track.sure = index
        if verdict.kind == "deny":
            track.denied = look

    def _decide(self, track: _Track, index: int, number: int, face: Face) -> _Decision:
        for n, rule in self._hide:
            if hides(rule, _numbered(face, number)):
                verdict = Verdict("deny", rule.about, rule=n)
                track.denied = track.denied or _Look(index, "deny", verdict)
        if track.denied is not None:
            no = track.denied.verdict
            return False, no.rule, no.reason, no
        near = [one for one in track.looks if abs(one.index - index) <= self.reach]
        recognized = self._recognized(track, near, index)
        if number not in self._show or recognized[0]:
            return recognized
        return self._by_number(track, near, index, self._show[number])

    def _recognized(self, track: _Track, near: Sequence[_Look], index: int) -> _Decision:
        """A track on which somebody is recognized."""
        seen = self._seen(track, index)
        against = next((one for one in (*near, *seen) if one.kind in {"touch", "stranger"}), None)
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
        blind = _unseen(track, index)
        if blind is not None:
            return False, 0, f"nothing to look at in frame {blind}: it could be anybody", best
        return True, best.rule, f"{said} recognize {best.person}", best

    def _by_number(self, track: _Track, near: Sequence[_Look], index: int, rule: int) -> _Decision:
        """A track that the user shows by its number: still nobody may be denied, touch it or take its place."""
        touch = next((one for one in near if one.kind == "touch"), None)
        if touch is not None:
            return False, rule, f"{touch.verdict.reason} (frame {touch.index})", touch.verdict
        limits, doubts = self._policy.limits, track.doubts
        other = next((one for one in self._seen(track, index) if not doubts.away(one) <= limits.hide), None)
        if other is not None and other.view is None:
            return False, rule, f"{other.verdict.reason} (frame {other.index})", other.verdict
        if other is not None:
            why = (
                f"frame {other.index} shows somebody else than the track began with (distance {doubts.away(other):.2f})"
            )
            return False, rule, why, None
        denied = any(self._policy.rules[person.rule - 1].action == "hide" for person in self._policy.people)
        clear = sum(one.clear for one in near)
        if denied and clear < self._policy.frames:
            return False, rule, f"it could be someone denied: {clear} clear looks", None
        if doubt := doubts.at(index):
            return False, rule, doubt, None
        return True, rule, self._policy.rules[rule - 1].about, None

    def _seen(self, track: _Track, index: int) -> list[_Look]:
        """The looks that speak for the frames around one, those of frames that were not looked at again as well."""
        return [one for at, one in track.seen.items() if abs(at - index) <= self.reach]

    def _forget(self, index: int) -> None:
        oldest = index - 2 * self.reach - 2
        for number in list(self._looked):
            track = self._tracks[number]
            while track.seen and next(iter(track.seen)) < oldest:
                del track.seen[next(iter(track.seen))]
            if track.looks and track.looks[0].index < oldest:
                track.looks = [one for one in track.looks if one.index >= oldest]
            if not track.looks and not track.seen:
                self._looked.discard(number)


def _unseen(track: _Track, index: int) -> int | None:
    """A frame without anything to look at, between the last time before a frame that someone is recognized and the first after.

    There must be such looks on both sides.
    """
    for step in (-1, 1):
        at = index
        while (one := track.seen.get(at)) is None or one.kind != "yes":
            if one is None or one.view is None:
                return at
            at += step
    return None


def _numbered(face: Face, number: int) -> Face:
    return face if face.track == number else dataclasses.replace(face, track=number)
