"""Faces that are made up: nobody's, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.base import Job, Replacement
from fdf.anonymize.dissimilarity import Dissimilar, Judge, next_seed
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from tests.anonymize.people import ADA, ALLOWED, BEN, CARL, DORA, Bright, Colours, gallery, people, policy
from tests.anonymize.pictures import face


class Draws:
    """A generator of one colour, chosen by the seed."""

    name, generative = "draws", True

    def __init__(self, colours: Sequence[tuple[int, int, int]]) -> None:
        self.colours, self.seeds = list(colours), []  # type: ignore[var-annotated]
        self.fingerprint = "f"

    def replace(self, picture: Any, jobs: Sequence[Job]) -> list[Replacement]:  # noqa: ARG002
        self.seeds.append([job.seed for job in jobs])
        return [Replacement(self._window(job)) for job in jobs]

    def _window(self, job: Job) -> Any:
        out = np.zeros((*job.region.alpha.shape, 3), np.uint8)
        out[:] = self.colours[job.seed % len(self.colours)]
        return out


def colour(result: Any, place: int = 0) -> tuple[int, ...]:
    return tuple(result.picture[40, 50 + 80 * place].tolist())


def run(method: Any, picture: Any, **settings: Any) -> Any:
    return Anonymizer(method, salt="s", **settings)(picture, Bright().find(picture))


@settings(max_examples=60)
@given(st.lists(st.sampled_from([ADA, BEN, CARL, DORA]), min_size=1, max_size=9), st.integers(1, 5), st.booleans())
def test_what_is_shown_is_far_from_everybody_or_grey(colours: Any, tries: int, protect: bool) -> None:
    protected = {"carl": [np.float32(CARL) / 255]} if protect else {}
    guarded = Dissimilar(Draws(colours), [Judge(Colours(), 0.3, protected)], tries)
    result = run(guarded, people(ADA, BEN))
    for place, source in enumerate((ADA, BEN)):
        seen = colour(result, place)
        assert seen not in {source, *([CARL] if protect else [])}
        assert seen == GREY or seen in colours
        assert result.outcomes[place].method == ("solid" if seen == GREY else "draws")
    assert all(len(row["judges"]) == 1 for row in guarded.drain())


def test_when_the_tries_are_used_up_it_is_solid_and_the_margins_are_told() -> None:
    method = Draws([ADA])
    guarded = Dissimilar(method, [Judge(Colours(), 0.3)], 4)
    result = run(guarded, people(ADA))
    assert colour(result) == GREY
    assert result.outcomes[0].reason == "4 faces drawn, all too much like its source"
    assert result.counts == {"faces": 1, "solid": 1, "fell_back": 1}
    seeds = [one for (one,) in method.seeds]
    assert len(set(seeds)) == 4
    assert seeds[1:] == [next_seed(one) for one in seeds[:-1]]
    (row,) = guarded.drain()
    assert row["method"] == "draws"
    assert (row["passed"], row["tries"]) == (False, 4)
    assert row["judges"][0] == {
        "embedder": "colours",
        "embedder_sha256": "c" * 64,
        "threshold": 0.3,
        "passed": False,
        "nearest": "its source",
        "distance": 0.0,
        "margin": -0.3,
    }
    assert guarded.drain() == []


class Blind(Colours):
    id = "blind"

    def views(self, picture: Any, faces: Any) -> Any:  # noqa: ARG002
        return [None] * len(faces)


def test_every_judge_must_agree() -> None:
    def outcome(*judges: Judge) -> str:
        return str(run(Dissimilar(Draws([BEN]), judges, 2), people(ADA)).outcomes[0].method)

    one = Judge(Colours(), 0.3)
    assert outcome(one) == "draws"
    assert outcome(one, Judge(Colours(), 1.5)) == "solid"
    assert outcome(one, Judge(Colours(), 0.3, {"ben": [np.float32(BEN) / 255]})) == "solid"
    assert outcome(one, Judge(Blind(), 0.1)) == "solid", "what can't be compared has not passed"
    with pytest.raises(ValueError, match="at least one judge"):
        Dissimilar(Draws([BEN]), [])
    with pytest.raises(ValueError, match="threshold over 0"):
        Judge(Colours(), float("nan"))


def test_a_track_keeps_the_face_that_passed() -> None:
    method = Draws([ADA, BEN, CARL])
    guarded = Dissimilar(method, [Judge(Colours(), 0.3)], 50)
    anonymizer = Anonymizer(guarded, salt="x")
    seen = {colour(anonymizer.render(people(ADA), [face(20, 10, 80, 70, track=3)])) for _ in range(4)}
    assert len(seen) == 1
    assert all(seeds == method.seeds[-1] for seeds in method.seeds[-3:]), "it did not have to be found again"
    assert len(guarded.drain()) == 1, "one row a track"


def test_every_face_is_given_each_time_and_what_a_method_can_not_do_stays_so() -> None:
    class Half(Draws):
        def replace(self, picture: Any, jobs: Any) -> list[Replacement]:
            _, *rest = super().replace(picture, jobs)
            return [Replacement(None, "too small"), *rest]

    method = Half([BEN, CARL])
    result = run(Dissimilar(method, [Judge(Colours(), 0.3)], 30), people(ADA, BEN))
    assert [(one.method, one.reason) for one in result.outcomes] == [("solid", "too small"), ("draws", "")]
    assert {len(seeds) for seeds in method.seeds} == {2}


def test_no_window_shows_what_was_rejected_for_a_neighbour() -> None:
    """Where regions overlap, the larger one's window holds the smaller one's face: it must be the one that passed."""

    class Joint(Draws):
        def replace(self, picture: Any, jobs: Any) -> list[Replacement]:
            canvas = np.array(picture)
            for job in sorted(jobs, key=lambda one: -one.face.size):
                canvas[job.region.slices][job.region.alpha > 0] = self.colours[job.seed % len(self.colours)]
            return [Replacement(np.array(canvas[job.region.slices])) for job in jobs]

    picture = people(ADA, BEN)
    large, small = face(20, 10, 90, 80), face(92, 25, 118, 55)
    for salt in range(40):
        method = Joint([BEN, CARL, DORA])
        tool = Anonymizer(Dissimilar(method, [Judge(Colours(), 0.3)], 9), salt=str(salt))
        result = tool.render(picture, [large, small])
        if [row["tries"] for row in tool.drain()] == [1, 2]:
            break
    else:
        pytest.fail("no salt draws the smaller one twice")
    job = tool.jobs(picture, [small])[0]
    core = result.picture[job.region.slices][job.region.alpha >= 1]
    assert len(np.unique(core, axis=0)) == 1, "of one colour: no strip of the one that was rejected"


def test_a_policy_puts_judges_before_methods_that_draw(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA], protected__ben=[BEN])
    rules = '[dissimilarity]\nprotect = "protected"\ntries = 40\n[[dissimilarity.judges]]\nthreshold = 0.3\n' + ALLOWED
    found = policy(tmp_path, rules)
    picture = people(ADA, CARL)
    anonymizer = Anonymizer(Draws([ADA, BEN, CARL, DORA]), policy=found)
    result = anonymizer(picture, Bright().find(picture))
    assert colour(result, 0) == ADA, "shown"
    assert colour(result, 1) == DORA, "the only one who is nobody: neither allowed, protected nor the source"
    assert [row["passed"] for row in anonymizer.drain()] == [True]
    assert isinstance(anonymizer.method, Dissimilar)
    assert anonymizer.method.fingerprint != "f", "it is of the judges, too"
    assert not isinstance(anonymizer.fallback, Dissimilar), "solid draws nothing"
