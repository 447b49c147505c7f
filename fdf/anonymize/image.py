"""`Anonymizer`: a picture in, a picture without faces out.

    import fdf
    result = fdf.Anonymizer("blur")(picture)   # RGB, uint8 (H, W, 3), as fdf.vision.picture.decode gives it
    result.picture, result.faces, result.counts

It fails closed. A method that raises, gives the wrong shape, gives the face back or says that it can't do a face loses that
face to the fallback; if that can't either, it becomes grey.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import REGIONS, Face, Job, Method, Outcome, Region, RegionName, Replacement, Result
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.methods import DEFAULT, Solid, make_method
from fdf.anonymize.regions import region_of
from fdf.errors import UsageError
from fdf.vision.base import Part, Pixels, check_pictures

if TYPE_CHECKING:
    from fdf.anonymize.deciding import Decision, Policy
    from fdf.anonymize.guard import Guard


class Finder(Protocol):
    """Anything that finds faces; `FaceFinder` is the one of fdf."""

    def find(self, picture: Pixels) -> list[Face]:
        """The faces of a picture."""
        ...


@runtime_checkable
class FindsParts(Protocol):
    """A finder that can look at a part of a picture as closely as at the whole; others get the part as a picture."""

    def find_part(self, picture: Pixels, part: Part) -> list[Face]:
        """The faces of a part of a picture, in pixels of the picture."""
        ...


class Anonymizer:
    """Hides the faces of pictures.

    Args:
        method: a name of `fdf.anonymize.methods.names()`, or a `Method` of your own.
        region: `face` for forehead to chin, `head` for hair and ears too.
        fallback: what hides a face that `method` can't do; a name or a `Method`.
        finder: finds the faces; None for `FaceFinder()`, made when it is first needed.
        salt: of the seeds that methods draw from. The same salt gives the same faces; None draws one that nobody knows.
        strength: of method and fallback, as far as they are given by their names and have one (`methods.STRENGTHS`).
        policy: who stays; None hides everybody. With one, a method that draws faces must keep them unlike anybody.
        guard: the same for methods that draw faces, without a policy; a policy brings its own.

    Raises:
        UsageError: an unknown method or region, a strength out of range, or an empty salt.
    """

    def __init__(
        self,
        method: str | Method = DEFAULT,
        *,
        region: RegionName = "face",
        fallback: str | Method = DEFAULT,
        finder: Finder | None = None,
        salt: str | None = None,
        strength: float = 1.0,
        policy: Policy | None = None,
        guard: Guard | None = None,
    ) -> None:
        if salt is not None and not salt.strip():
            raise UsageError(
                "The salt is empty",
                expected="a text that nobody guesses, or none",
                action="Leave it out for a random one",
            )
        if region not in REGIONS:
            raise UsageError("There is no such region", expected=f"one of {', '.join(REGIONS)}", got=repr(region))
        self.method = make_method(method, strength) if isinstance(method, str) else method
        self.fallback = make_method(fallback, strength) if isinstance(fallback, str) else fallback
        self.policy = policy
        if policy is not None:
            self.method, self.fallback = policy.guarded(self.method), policy.guarded(self.fallback)
        elif guard is not None:
            self.method, self.fallback = guard.before(self.method), guard.before(self.fallback)
        self.region: RegionName = region
        self._finder = finder
        self.salt = secrets.token_hex(16) if salt is None else salt

    @property
    def finder(self) -> Finder:
        """What finds the faces."""
        if self._finder is None:
            self._finder = FaceFinder()
        return self._finder

    def with_finder(self, finder: Finder) -> Anonymizer:
        """The same one, with other eyes: methods, salt and policy are shared."""
        other = copy.copy(self)
        other._finder = finder
        return other

    def with_policy(self, policy: Policy) -> Anonymizer:
        """The same one under a policy."""
        other = copy.copy(self)
        other.policy = policy
        other.method, other.fallback = policy.guarded(self.method), policy.guarded(self.fallback)
        return other

    def detect(self, picture: Pixels, part: Part | None = None) -> list[Face]:
        """The faces of a picture, or of a part of it; in pixels of the picture.

        Raises:
            ValueError: anything but upright RGB, uint8 (H, W, 3).
        """
        check_pictures([picture])
        if part is None:
            return self.finder.find(picture)
        if isinstance(self.finder, FindsParts):
            return self.finder.find_part(picture, part)
        found = self.finder.find(np.ascontiguousarray(picture[part.y0 : part.y1, part.x0 : part.x1]))
        return [face.mapped(shift=(part.x0, part.y0)) for face in found]

    def __call__(
        self, picture: Pixels, detections: Sequence[Face | Sequence[float]] | None = None, *, sha256: str = ""
    ) -> Result:
        """Hide every face that the policy does not show.

        Args:
            picture: upright RGB, uint8 (H, W, 3).
            detections: all of its faces, instead of looking for them: as `detect` gave them, or your own boxes, four numbers
                x0, y0, x1, y1 each.
            sha256: of its file, for policies that speak of certain files.

        Raises:
            ValueError: anything but upright RGB, uint8 (H, W, 3).
        """
        faces = self.detect(picture) if detections is None else [_as_face(one) for one in detections]
        return self.render(picture, [one.face for one in self.decide(picture, faces, sha256) if not one.shown])

    def decide(self, picture: Pixels, faces: Sequence[Face], sha256: str = "") -> list[Decision]:
        """What the policy says of each of a picture's faces, in order; without one they are all hidden."""
        from fdf.anonymize.deciding import Decision

        if self.policy is None:
            return [Decision(face, False, 0, "there is no policy") for face in faces]
        return self.policy.decide(picture, faces, sha256)

    def drain(self) -> list[dict[str, Any]]:
        """Rows for the audit log of faces that were drawn since the last call."""
        rows: list[dict[str, Any]] = []
        for method in (self.method, self.fallback):
            if hasattr(method, "drain"):
                rows += method.drain()
        return rows

    def render(self, picture: Pixels, faces: Sequence[Face]) -> Result:
        """Hide these faces, whatever a policy says; nothing is looked for.

        Faces whose region lies outside the picture are left out.

        Raises:
            ValueError: anything but upright RGB, uint8 (H, W, 3).
        """
        check_pictures([picture])
        jobs = self.jobs(picture, faces)
        out = np.array(picture)
        done = self._replace(picture, jobs)
        # The largest last: where regions overlap the strongest blur wins, since it grows with the face. What fell back after
        # all others: their windows may hold what was drawn for it and rejected.
        for index in sorted(range(len(jobs)), key=lambda k: (done[k][1].fell_back, jobs[k].face.size)):
            _blend(out, jobs[index].region, done[index][0])
        return Result(out, [job.face for job in jobs], [outcome for _, outcome in done])

    def jobs(self, picture: Pixels, faces: Sequence[Face]) -> list[Job]:
        """A job for each face that reaches into the picture."""
        height, width = picture.shape[:2]
        regions = [(face, region_of(face, self.region, width, height)) for face in faces]
        return [Job(face, region, self._seed(face)) for face, region in regions if region is not None]

    def touched(self, picture: Pixels, faces: Sequence[Face]) -> npt.NDArray[np.bool_]:
        """Where `render` changes a picture, (H, W)."""
        mask = np.zeros(picture.shape[:2], dtype=np.bool_)
        for job in self.jobs(picture, faces):
            mask[job.region.slices] |= job.region.alpha > 0
        return mask

    def _seed(self, face: Face) -> int:
        # A box on a grid of eight pixels: the same face of a picture rendered again gets the same seed.
        who = f"track {face.track}" if face.track is not None else f"box {np.rint(face.box / 8).astype(int).tolist()}"
        digest = hashlib.blake2b(who.encode(), key=hashlib.sha256(self.salt.encode()).digest(), digest_size=8)
        return int.from_bytes(digest.digest(), "big")

    def _replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[tuple[Pixels, Outcome]]:
        asked = self.method.name
        done: dict[int, tuple[Pixels, Outcome]] = {}
        reasons: dict[int, str] = {}
        shown = picture
        for method in (self.method, self.fallback, Solid()):
            left = [index for index in range(len(jobs)) if index not in done]
            if not left:
                break
            if done:  # what comes later sees nothing of the faces that are hidden, nor leaves any of it in its windows
                shown = np.array(picture)
                for index in sorted(done, key=lambda k: jobs[k].face.size):
                    job = jobs[index]
                    np.copyto(shown[job.region.slices], done[index][0], where=job.region.alpha[..., None] > 0)
            results = _run(method, shown, [jobs[index] for index in left])
            for index, result in zip(left, results, strict=True):
                if result.pixels is not None:
                    done[index] = result.pixels, Outcome(method.name, asked, reasons.get(index, ""))
                else:
                    reasons.setdefault(index, result.reason or "no reason given")
        return [done[index] for index in range(len(jobs))]


def _as_face(one: Face | Sequence[float]) -> Face:
    """A face, or one of a box."""
    if isinstance(one, Face):
        return one
    box = np.asarray(one)
    if box.shape != (4,) or box.dtype.kind not in "fiu":
        raise ValueError(f"A detection: expected a Face or a box of four numbers, x0, y0, x1, y1, got {one!r}.")
    return Face(box.astype(np.float32), origin="user")


def _run(method: Method, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
    """Results of a method, checked; whatever is wrong with one becomes a reason."""
    try:
        view = picture.view()
        view.flags.writeable = False
        results = list(method.replace(view, jobs))
    except Exception as error:  # of any kind: a method's defect must not leave a face bare
        return [Replacement(None, f"{method.name} failed: {type(error).__name__}: {error}")] * len(jobs)
    if len(results) != len(jobs):
        return [Replacement(None, f"{method.name} gave {len(results)} results for {len(jobs)} faces")] * len(jobs)
    return [_checked(method, picture, job, result) for job, result in zip(jobs, results, strict=True)]


def _checked(method: Method, picture: Pixels, job: Job, result: object) -> Replacement:
    if not isinstance(result, Replacement):
        return Replacement(None, f"{method.name} gave {type(result).__name__}")
    if result.pixels is None:
        return result
    wanted, pixels = (*job.region.alpha.shape, 3), np.asarray(result.pixels)
    if pixels.shape != wanted or pixels.dtype != np.uint8:
        return Replacement(None, f"{method.name} gave {pixels.dtype} {pixels.shape}, expected uint8 {wanted}")
    window = picture[job.region.slices]
    middle = window.shape[0] // 2  # a row through the face settles nearly every case
    if (pixels[middle] == window[middle]).all():
        core = job.region.alpha >= 1
        original = window[core]
        if np.array_equal(pixels[core], original) and len(original) and (original != original[0]).any():
            return Replacement(None, f"{method.name} gave the face back as it was")
    return result


def _blend(out: Pixels, region: Region, pixels: Pixels) -> None:
    import cv2

    window, alpha = out[region.slices], region.alpha
    soft = cv2.blendLinear(window, pixels, 1 - alpha, alpha)
    window[...] = cv2.copyTo(pixels, (alpha >= 1).view(np.uint8), soft)  # to the bit: sums of weights are rounded
