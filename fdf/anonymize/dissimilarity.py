"""A face that was made up must not be anybody's: neither its source's nor that of someone under protection.

`Dissimilar` stands before a method that draws faces (one with `generative = True`). Each face it draws is put into the picture
as it will be seen and shown to every recognizer; if one of them finds it nearer than its threshold to the source or to a
protected person, another one is drawn, from a seed that follows from the first. When the tries are used up the method has
failed, and the caller covers the face. What a recognizer of another kind would say is not promised: docs/policy.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fdf.anonymize.base import Job, Method, Replacement
from fdf.anonymize.recognition import Recognizes, View, distance
from fdf.vision.base import Floats, Pixels

_SEEDS: Final = 10_000  # of tracks, remembered: a track keeps the face that passed

Protected = Mapping[str, Sequence[Floats]]
"""Name of a person → vectors of one recognizer."""


@dataclass(frozen=True, eq=False)
class Judge:
    """One recognizer that must not be taken in.

    Attributes:
        recognizer: gives the vectors.
        threshold: distance that the new face must exceed.
        protected: people that it must exceed it from, besides the source.
    """

    recognizer: Recognizes
    threshold: float
    protected: Protected = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < float("inf"):
            raise ValueError(f"Judge: expected a threshold over 0, got {self.threshold}.")


class Dissimilar:
    """A generating method whose faces every judge finds far enough from their source and from everybody protected.

    Args:
        method: draws faces by the seeds of jobs.
        judges: at least one.
        tries: faces drawn for a job at most.
    """

    generative = True

    def __init__(self, method: Method, judges: Sequence[Judge], tries: int = 8) -> None:
        if not judges or tries < 1:
            raise ValueError("Dissimilar: expected at least one judge and one try.")
        self.method, self.judges, self.tries = method, tuple(judges), tries
        self._seeds: dict[int, int] = {}
        self.least: float | None = None
        """Smallest margin over a judge's threshold of all faces that passed."""
        self._rows: list[dict[str, Any]] = []
        self._tracks: dict[int, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        """The method's."""
        return self.method.name

    @property
    def fingerprint(self) -> str:
        """Of what its faces depend on: the method's own, the judges, and whom they protect."""
        digest = hashlib.sha256(repr((getattr(self.method, "fingerprint", None), self.tries)).encode())
        for judge in self.judges:
            digest.update(repr((judge.recognizer.id, judge.recognizer.sha256, judge.threshold)).encode())
            for name, vectors in sorted(judge.protected.items()):
                digest.update(repr((name, len(vectors))).encode() + b"".join(one.tobytes() for one in vectors))
        return digest.hexdigest()

    def __getattr__(self, name: str) -> Any:
        """What else the method has to say, such as the largest face that it drew."""
        if name.startswith("_") or name == "method":
            raise AttributeError(name)
        return getattr(self.method, name)

    def drain(self) -> list[dict[str, Any]]:
        """Rows for the audit log since the last call, with the margins of every judge: one a job.

        Of a track there is one, the job with the smallest margin: a film has many frames.
        """
        rows = [*self._rows, *self._tracks.values()]
        self._rows, self._tracks = [], {}
        return rows

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        """One replacement a job: a face that passed, or none with the reason."""
        sources = [[judge.recognizer.views(picture, [job.face])[0] for judge in self.judges] for job in jobs]
        results: dict[int, Replacement] = {}
        tried = [replace_seed(job, self._seeds.get(job.seed, job.seed)) for job in jobs]
        told: dict[int, dict[str, Any]] = {}
        for attempt in range(self.tries):
            left = [index for index in range(len(jobs)) if index not in results]
            if not left:
                break
            # All of them each time: a method may hide one face of a picture from what it draws for another.
            drawn = self.method.replace(picture, tried)
            if len(drawn) != len(jobs):
                raise ValueError(f"{self.name} gave {len(drawn)} results for {len(jobs)} faces")
            for index in left:
                one = drawn[index]
                if one.pixels is None:
                    results[index] = one  # it can't do this face, whatever the seed
                    continue
                told[index] = row = self._compare(picture, tried[index], one.pixels, sources[index])
                row["tries"] = attempt + 1
                if row["passed"]:
                    results[index] = one
                    self.least = min(_least(row), float("inf") if self.least is None else self.least)
                    if len(self._seeds) < _SEEDS:
                        self._seeds[jobs[index].seed] = tried[index].seed
                else:
                    tried[index] = replace_seed(jobs[index], next_seed(tried[index].seed))
        if len(jobs) > 1 and any(row["tries"] > 1 for row in told.values()):
            # Windows that overlap hold one another's faces: none may show one that was rejected since.
            results |= self._together(picture, tried, results)
        for index, job in enumerate(jobs):
            if index in told:
                box = [round(float(value), 1) for value in job.face.box]
                self._note({"method": self.name, "box": box, "track": job.face.track, **told[index]})
        return [results.get(index) or self._given_up(told[index]) for index in range(len(jobs))]

    def _together(
        self, picture: Pixels, tried: Sequence[Job], results: Mapping[int, Replacement]
    ) -> dict[int, Replacement]:
        """Those that passed, all drawn once more in one call."""
        drawn = self.method.replace(picture, tried)
        return {index: drawn[index] for index, one in results.items() if one.pixels is not None}

    def _compare(self, picture: Pixels, job: Job, pixels: Pixels, sources: Sequence[View | None]) -> dict[str, Any]:
        shown = _pasted(picture, job, pixels)
        seen = [
            _against(judge, judge.recognizer.views(shown, [job.face])[0], source)
            for judge, source in zip(self.judges, sources, strict=True)
        ]
        return {"passed": all(one["passed"] for one in seen), "judges": seen}

    def _note(self, row: dict[str, Any]) -> None:
        track = row["track"]
        if track is None:
            self._rows.append(row)
        elif track not in self._tracks or _least(row) < _least(self._tracks[track]):
            self._tracks[track] = row

    def _given_up(self, row: Mapping[str, Any]) -> Replacement:
        worst = next(one for one in row["judges"] if not one["passed"])
        return Replacement(None, f"{row['tries']} faces drawn, all too much like {worst['nearest']}")


def _least(row: Mapping[str, Any]) -> float:
    return min(float("-inf") if one["margin"] is None else float(one["margin"]) for one in row["judges"])


def next_seed(seed: int) -> int:
    """The seed of the next try: the same after the same, unrelated to it by anything else."""
    digest = hashlib.blake2b(b"again " + str(seed).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def replace_seed(job: Job, seed: int) -> Job:
    """The job with another seed."""
    return job if seed == job.seed else dataclasses.replace(job, seed=seed)


def _against(judge: Judge, new: View | None, source: View | None) -> dict[str, Any]:
    """One judge's row. A face that can't be compared has not passed."""
    row: dict[str, Any] = {
        "embedder": judge.recognizer.id,
        "embedder_sha256": judge.recognizer.sha256,
        "threshold": round(judge.threshold, 4),
        "passed": False,
        "nearest": "what can't be compared",
        "distance": None,
        "margin": None,
    }
    if new is None or source is None:
        return row
    near = [(distance(new.vector, source.vector), "its source")]
    near += [(distance(new.vector, v), name) for name, vectors in judge.protected.items() for v in vectors]
    if not np.isfinite([away for away, _ in near]).all():
        return row
    away, name = min(near)
    margin = away - judge.threshold
    return row | {"passed": margin > 0, "nearest": name, "distance": round(away, 4), "margin": round(margin, 4)}


def _pasted(picture: Pixels, job: Job, pixels: Pixels) -> Pixels:
    """The picture as it will be seen, of this face."""
    out = np.array(picture)
    window, alpha = out[job.region.slices], job.region.alpha[..., None]
    window[...] = np.rint(window * (1 - alpha) + pixels * alpha).astype(np.uint8)
    return out


def is_generative(method: object) -> bool:
    """Whether a method draws faces by a seed."""
    return bool(getattr(method, "generative", False))
