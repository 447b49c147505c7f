"""Who stays, who goes: the file, the rules, and that doubt hides."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdf.anonymize.calibration import Calibration, Fit, read_calibration, shipped
from fdf.anonymize.judging import Limits, Person, Verdict, judge
from fdf.anonymize.policy import load_policy, parse_policy
from fdf.anonymize.recognition import View
from fdf.errors import DataError, UsageError
from tests.anonymize.people import (
    ADA,
    ALLOWED,
    BEN,
    CARL,
    DENIED,
    DORA,
    HEAD,
    SHA,
    Bright,
    Colours,
    gallery,
    people,
    policy,
    written,
)
from tests.anonymize.pictures import encoded, face

# ---- judging: invariants

vectors = st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)).map(lambda v: np.array(v, dtype=np.float32))
persons = st.lists(st.lists(vectors, min_size=1, max_size=3), max_size=3)
LIMITS = Limits(0.3, 0.5, 0.1)


def view(vector: Any, **bad: float) -> View:
    return View(vector, **({"size": 100.0, "sharpness": 500.0, "yaw": 0.0, "pitch": 0.0, "presence": 1.0} | bad))


def named(prefix: str, galleries: Any) -> list[Person]:
    return [Person(f"{prefix}{n}", n + 1, tuple(refs)) for n, refs in enumerate(galleries)]


def yes(verdict: Verdict) -> bool:
    return verdict.kind == "yes"


@settings(max_examples=300)
@given(vectors, persons, persons, persons)
def test_who_is_shown_is_near_enough_and_everybody_else_farther(one: Any, a: Any, o: Any, d: Any) -> None:
    found = judge(view(one), named("a", a), named("o", o), named("d", d), LIMITS)
    away = {
        name: min((float(np.linalg.norm(one.astype(float) - r)) for refs in some for r in refs), default=np.inf)
        for name, some in {"a": a, "o": o, "d": d}.items()
    }
    if yes(found):
        assert away["a"] <= LIMITS.show + 1e-6
        assert min(away["o"], away["d"]) >= away["a"] + LIMITS.margin - 1e-6
        assert away["d"] > LIMITS.hide - 1e-6
        assert found.person.startswith("a")
    if away["d"] < LIMITS.hide - 1e-6:
        assert found.kind == "deny"


@settings(max_examples=300)
@given(vectors, persons, persons, persons, vectors, st.data())
def test_more_denied_or_less_allowed_never_shows_more(
    one: Any, a: Any, o: Any, d: Any, more: Any, data: st.DataObject
) -> None:
    before = judge(view(one), named("a", a), named("o", o), named("d", d), LIMITS)
    denied = judge(view(one), named("a", a), named("o", o), named("d", [*d, [more]]), LIMITS)
    assert yes(before) or not yes(denied)
    if a:
        place = data.draw(st.integers(0, len(a) - 1))
        fewer = [refs[1:] if n == place else refs for n, refs in enumerate(a)]
        less = judge(view(one), named("a", [r for r in fewer if r]), named("o", o), named("d", d), LIMITS)
        assert yes(before) or not yes(less)


@settings(max_examples=100)
@given(vectors, persons, persons, persons, st.randoms())
def test_the_order_of_people_changes_nothing(one: Any, a: Any, o: Any, d: Any, random: Any) -> None:
    sides = [named("a", a), named("o", o), named("d", d)]
    before = judge(view(one), *sides, LIMITS)
    for side in sides:
        random.shuffle(side)
    assert judge(view(one), *sides, LIMITS) == before


HERE = np.float32([0, 0])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"presence": 0.2}, "no clear face"),
        ({"size": 20.0}, "too small (20 px)"),
        ({"sharpness": 3.0}, "not sharp"),
        ({"yaw": -70.0}, "turned away (yaw -70°)"),
        ({"pitch": 50.0}, "turned away (pitch 50°)"),
        ({"sharpness": float("nan")}, "not sharp"),
        ({"yaw": float("nan")}, "turned away"),
    ],
)
def test_who_is_badly_seen_is_not_shown(bad: dict[str, float], said: str) -> None:
    allowed = [Person("ada", 1, (HERE,))]
    assert yes(judge(view(HERE), allowed, [], [], LIMITS))
    found = judge(view(HERE, **bad), allowed, [], [], LIMITS)
    assert found.kind == "unsure"
    assert said in found.reason


def test_a_denied_person_is_denied_however_badly_seen() -> None:
    denied = [Person("carl", 2, (HERE,))]
    assert judge(view(HERE, presence=0.0, size=10.0), [Person("ada", 1, (HERE,))], [], denied, LIMITS).kind == "deny"


def test_vectors_that_are_no_numbers_hide() -> None:
    broken, one = np.float32([np.nan, 0]), [Person("ada", 1, (HERE,))]
    assert not yes(judge(view(broken), one, [], [], LIMITS))
    assert not yes(judge(view(HERE), [Person("ada", 1, (broken,))], [], [], LIMITS))
    assert not yes(judge(view(HERE), one, [], [Person("carl", 1, (broken,))], LIMITS))
    assert not yes(judge(view(HERE), one, [Person("ben", 1, (broken,))], [], LIMITS))
    assert not yes(judge(None, one, [], [], LIMITS))


# ---- the file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x =", "is no TOML"),
        (HEAD.format(access="proxy").replace("threshold", "treshold", 1), "treshold: did you mean threshold?"),
        (HEAD.format(access="lax"), "access"),
        (HEAD.format(access="proxy") + '[[rules]]\naction = "show"\n', "there is no key rules: did you mean rule?"),
        (HEAD.format(access="proxy") + ALLOWED + "peple = 1\n", "no key rule.1.peple: did you mean people?"),
        (HEAD.format(access="proxy") + '[[rule]]\naction = "show"\n', "exactly one of people, person, box and track"),
        (HEAD.format(access="proxy") + DENIED + "track = 1\n", "got people and track"),
        (HEAD.format(access="proxy") + '[[rule]]\naction = "hide"\nbox = [5, 5, 5, 9]\n', "x1 > x0"),
        (HEAD.format(access="proxy") + '[[rule]]\naction = "show"\nbox = [1, 1, 5, 9]\n', "needs the sha256 of its file"),
        (HEAD.format(access="proxy") + DENIED + 'groups = ["x"]\n', "hidden from everybody"),
        (HEAD.format(access="proxy") + '[[rule]]\naction = "show"\nperson = "x"\n', "rule 1: access = \"proxy\" needs `by`"),
        (HEAD.format(access="explicit") + ALLOWED, "needs `sha256`: the files they said yes to"),
        (HEAD.format(access="explicit") + ALLOWED + 'sha256 = ["abc"]\n', "rule.1.sha256.1"),
        (HEAD.format(access="groups") + ALLOWED, "needs `groups`: who may see them"),
        (HEAD.format(access="groups") + ALLOWED + 'groups = ["../up"]\n', "rule.1.groups.1"),
        (HEAD.format(access="proxy") + ALLOWED + 'groups = ["x"]\n', "groups mean nothing"),
        (HEAD.format(access="proxy").replace("0.3", "nan", 1), "recognition.threshold"),
        (HEAD.format(access="proxy") + '[[dissimilarity.judges]]\nembeder = "x"\n', "did you mean embedder?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_policy_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_policy(text.encode())
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("two.png", encoded(people(ADA, ADA), "PNG"), "must show one face. Got 2"),
        ("none.png", encoded(people(), "PNG"), "none that was found"),
        ("broken.png", encoded(people(ADA), "PNG")[:90], "can't be read"),
        ("notes.txt", b"call her first", "can't be read"),
        ("dark.png", encoded(people((40, 9, 9)), "PNG"), "not seen well enough. Got not sharp"),
        ("else.png", encoded(people(BEN), "PNG"), "does not look like the other pictures of ada"),
    ],
)
def test_a_reference_that_is_no_good_is_an_error(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    (tmp_path / "allowed/ada" / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        policy(tmp_path, ALLOWED)
    assert said in str(error.value)
    assert name in str(error.value) or "0.png" in str(error.value)


def test_folders_that_hold_something_else_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        policy(tmp_path, ALLOWED)
    gallery(tmp_path, allowed=[ADA])
    with pytest.raises(DataError, match=r"does not hold a folder a person.*`person`"):
        policy(tmp_path, ALLOWED)
    (tmp_path / "denied/carl").mkdir(parents=True)
    with pytest.raises(DataError, match="no reference picture"):
        policy(tmp_path, DENIED)
    with pytest.raises(DataError, match="can't be read"):
        load_policy(tmp_path / "none.toml")


def test_nobody_is_both_shown_and_hidden(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    with pytest.raises(UsageError, match="ada is both shown and hidden: rules 1 and 2"):
        policy(tmp_path, ALLOWED + '[[rule]]\naction = "hide"\nperson = "allowed/ada"\n')


def test_unknown_embedders_and_thresholds_are_errors(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    path = written(tmp_path, ALLOWED)
    path.write_text(path.read_text().replace("threshold = 0.3\nhide_threshold = 0.4", 'embedder = "dlip-resnet128"'))
    with pytest.raises(UsageError, match="Did you mean dlib-resnet128"):
        load_policy(path)
    path.write_text(path.read_text().replace('embedder = "dlip-resnet128"', ""))
    with pytest.raises(UsageError, match="no fitted threshold for colours with the weights cccc"):
        load_policy(path, recognizer=Colours(), finder=Bright())


FIT = {"embedder": "colours", "sha256": Colours.sha256, "data": "x", "people": 9, "faces": 9, "pairs": 2000}


def test_thresholds_come_from_fits() -> None:
    fit = Fit(**FIT, rates=[0.01, 0.001], thresholds=[0.5, 0.4])
    assert (fit.threshold(0.5), fit.threshold(0.01), fit.threshold(0.009)) == (0.5, 0.5, 0.4)
    with pytest.raises(UsageError, match="finer than"):
        fit.threshold(0.0005)
    for bad in ({"rates": [0.1]}, {"rates": [0.001, 0.01]}, {"thresholds": [0.4, 0.5]}, {"rates": [0.01, 0.0001]}):
        with pytest.raises(ValueError, match=r"must|pairs"):
            Fit(**{**FIT, "rates": [0.01, 0.001], "thresholds": [0.5, 0.4], **bad})


def test_what_comes_with_fdf_belongs_to_the_weights_that_come_with_fdf() -> None:
    from fdf.vision.zoo import model

    fit = shipped().of("dlib-resnet128", model("dlib-resnet128").sha256)
    assert fit.threshold(0.001) < fit.threshold(0.05) < 0.6, "dlib's own rule is laxer"


def test_a_calibration_of_ones_own(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    body = "\n".join(f"{k} = {v!r}" for k, v in FIT.items()).replace("'", '"')
    mine = tmp_path / "mine.toml"
    mine.write_text(
        f'format = "fdf-calibration"\nversion = 1\n[[fit]]\n{body}\nrates = [0.05, 0.001]\nthresholds = [0.4, 0.2]\n'
    )
    path = written(tmp_path, ALLOWED)
    path.write_text(path.read_text().replace("threshold = 0.3\nhide_threshold = 0.4", 'calibration = "mine.toml"'))
    found = load_policy(path, recognizer=Colours(), finder=Bright())
    assert (found.limits.show, found.limits.hide) == (0.2, 0.4)
    assert "at most 0.10% of strangers" in found.notes[0]
    mine.write_text("[[fit]]")
    with pytest.raises(DataError, match="is no calibration"):
        load_policy(path, recognizer=Colours(), finder=Bright())
    with pytest.raises(DataError, match="can't be read"):
        read_calibration(tmp_path / "none.toml")
    assert Calibration(format="fdf-calibration", version=1, fit=[]).fit == []


# ---- deciding


def said(found: Any, colours: tuple[tuple[int, int, int], ...], sha256: str = SHA) -> list[tuple[bool, str]]:
    picture = people(*colours)
    return [(one.shown, one.reason) for one in found.decide(picture, Bright().find(picture), sha256)]


def test_people_are_shown_denied_and_hidden(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA], denied__carl=[CARL])
    found = policy(tmp_path, ALLOWED + DENIED)
    told = said(found, (ADA, BEN, CARL, (40, 5, 5)))
    assert told == [
        (True, "is ada"),
        (False, "not close enough to ada"),
        (False, "carl is denied"),
        (False, "not sharp (1), and not close enough to ada"),
    ]
    assert said(policy(tmp_path, ""), (ADA,)) == [(False, "no rule shows it")]


def test_rules_may_stand_in_any_order(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA], more__ben=[BEN], denied__carl=[CARL])
    picture = people(ADA, BEN, CARL, DORA)
    boxes = f'[[rule]]\naction = "show"\nbox = [260, 10, 320, 70]\nsha256 = ["{SHA}"]\nby = "Eve"\n'
    rules = [
        ALLOWED,
        ALLOWED.replace("allowed", "more"),
        DENIED,
        boxes,
        '[[rule]]\naction = "hide"\nbox = [0, 0, 5, 5]\n',
    ]
    told = set()
    for order in itertools.permutations(rules):
        found = policy(tmp_path, "".join(order)).decide(picture, Bright().find(picture), SHA)
        told.add(tuple((one.shown, one.reason) for one in found))
    assert len(told) == 1
    assert [shown for shown, _ in told.pop()] == [True, True, False, True]


def test_a_box_that_is_shown_means_one_face_of_one_file(tmp_path: Path) -> None:
    gallery(tmp_path, denied__carl=[CARL])
    rule = f'[[rule]]\naction = "show"\nbox = [20, 10, 80, 70]\nsha256 = ["{SHA}"]\nby = "Eve"\n'
    found = policy(tmp_path, rule)
    assert said(found, (ADA, BEN)) == [(True, "show box [20, 10, 80, 70]"), (False, "no rule shows it")]
    assert said(found, (ADA,), "b" * 64)[0][0] is False
    picture = people(ADA)
    crowd = [face(20, 10, 80, 70), face(30, 10, 80, 60)]
    assert not any(one.shown for one in found.decide(picture, crowd, SHA)), "which of them is meant?"
    guarded = policy(tmp_path, rule + DENIED)
    assert said(guarded, (ADA,))[0] == (True, "show box [20, 10, 80, 70]")
    assert said(guarded, (CARL,))[0] == (False, "carl is denied")
    assert "it could be someone denied: not sharp" in said(guarded, ((40, 5, 5),))[0][1]


def test_a_box_that_is_hidden_means_whatever_touches_it(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    found = policy(tmp_path, ALLOWED + '[[rule]]\naction = "hide"\nbox = [60, 40, 120, 90]\n')
    assert said(found, (ADA, ADA, ADA)) == [(False, "hide box [60, 40, 120, 90]")] * 2 + [(True, "is ada")]


def test_tracks_of_faces_of_ones_own(tmp_path: Path) -> None:
    rules = (
        f'[[rule]]\naction = "show"\ntrack = 1\nsha256 = ["{SHA}"]\nby = "Eve"\n[[rule]]\naction = "hide"\ntrack = 2\n'
    )
    found = policy(tmp_path, rules)
    one, two, three = (face(20, 10, 80, 70, track=n) for n in (1, 2, 3))
    assert [d.shown for d in found.decide(people(ADA), [one, two, three], SHA)] == [True, False, False]
    assert [d.shown for d in found.decide(people(ADA), [one, one], SHA)] == [False, False]
    assert [d.shown for d in found.decide(people(ADA), [one], "b" * 64)] == [False]


def test_explicit_authorization_is_for_this_very_file(tmp_path: Path) -> None:
    gallery(tmp_path, ada=[ADA], ben=[BEN])
    rules = f'[[rule]]\naction = "show"\nperson = "ada"\nsha256 = ["{SHA}"]\n'
    rules += f'[[rule]]\naction = "show"\nperson = "ben"\nsha256 = ["{"b" * 64}"]\n'
    found = policy(tmp_path, rules, "explicit")
    assert [shown for shown, _ in said(found, (ADA, BEN))] == [True, False]
    assert [shown for shown, _ in said(found, (ADA, BEN), "b" * 64)] == [False, True]
    assert said(found, (ADA, BEN), "") == [(False, "nobody is allowed here")] * 2
    # Between the two: near enough to Ada, but Ben said no to this picture and is not farther by the margin.
    between = tuple(round(0.52 * a + 0.48 * b) for a, b in zip(ADA, BEN, strict=True))
    lax = dataclasses.replace(found, limits=Limits(0.9, 0.9, 0.1))
    assert said(lax, (between,)) == [(False, "too close to ben as well")]


def test_a_version_for_each_group_of_viewers(tmp_path: Path) -> None:
    gallery(tmp_path, ada=[ADA], ben=[BEN])
    rules = '[[rule]]\naction = "show"\nperson = "ada"\ngroups = ["family", "work"]\n'
    rules += '[[rule]]\naction = "show"\nperson = "ben"\ngroups = ["family"]\n'
    found = policy(tmp_path, rules, "groups")
    assert found.groups == ("family", "work")
    assert [shown for shown, _ in said(found.for_group("family"), (ADA, BEN))] == [True, True]
    assert [shown for shown, _ in said(found.for_group("work"), (ADA, BEN))] == [True, False]
    assert [shown for shown, _ in said(found, (ADA, BEN))] == [False, False], "no group is no viewer"
    with pytest.raises(UsageError, match="Did you mean family"):
        found.for_group("famly")


@pytest.mark.parametrize("broken", ["raises", "too few", "nonsense"])
def test_whatever_fails_hides_everybody(tmp_path: Path, broken: str) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    rule = f'[[rule]]\naction = "show"\nbox = [20, 10, 80, 70]\nsha256 = ["{SHA}"]\nby = "Eve"\n'
    found = policy(tmp_path, ALLOWED + rule)

    def views(_: Any, faces: Any) -> Any:
        if broken == "raises":
            raise RuntimeError("boom")
        return [] if broken == "too few" else ["?"] * len(faces)

    found.recognizer.views = views  # type: ignore[union-attr,method-assign,assignment]
    told = said(found, (ADA, BEN))
    assert [shown for shown, _ in told] == [False, False]
    assert all("judging failed" in reason for _, reason in told)


def test_a_row_says_what_was_decided_and_by_what(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA], denied__carl=[CARL])
    found = policy(tmp_path, ALLOWED + DENIED)
    picture = people(ADA)
    row = found.row(found.decide(picture, Bright().find(picture), SHA)[0], "a.png", SHA)
    assert row == {
        "decision": "shown",
        "reason": "is ada",
        "rule": 1,
        "rule_says": "show people allowed",
        "by": "Eve",
        "box": [20.0, 10.0, 80.0, 70.0],
        "person": "ada",
        "distance": 0.0,
        "threshold": 0.3,
        "other": "carl",
        "margin": 0.9428,
        "margin_needed": 0.1,
        "embedder": "colours",
        "embedder_sha256": "c" * 64,
        "access": "proxy",
        "group": None,
        "policy_sha256": found.sha256,
        "input": "a.png",
        "sha256": SHA,
        "frame": 0,
        "track": None,
    }


def test_the_digest_follows_everything_that_decisions_depend_on(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    first = policy(tmp_path, ALLOWED).digest
    assert policy(tmp_path, ALLOWED).digest == first
    (tmp_path / "allowed/ada/1.png").write_bytes(encoded(people((201, 30, 30)), "PNG"))
    assert policy(tmp_path, ALLOWED).digest != first
