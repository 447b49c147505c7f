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

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdf.anonymize.calibration import read_calibration, shipped
from fdf.anonymize.deciding import Decision, Policy, hides, overlap
from fdf.anonymize.dissimilarity import Judge
from fdf.anonymize.gallery import person_folders, read_person
from fdf.anonymize.judging import Limits, Person
from fdf.anonymize.policy_file import PolicyFile, RecognitionRow, RuleRow, parse_policy
from fdf.anonymize.recognition import Quality, Recognizer, Recognizes
from fdf.errors import DataError, UsageError

if TYPE_CHECKING:
    from fdf.anonymize.image import Finder

__all__ = ["Decision", "Policy", "PolicyFile", "RuleRow", "hides", "load_policy", "overlap", "parse_policy"]


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
    # Who is shown by the number of a track is compared with the track's own first look: that takes a recognizer, too.
    if any(rule.people or rule.person or (rule.action == "show" and rule.track is not None) for rule in file.rule):
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
        recognizer,
        own.frames,
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        "",
        tuple(notes),
        cache(lambda: _judges(file, path.parent, recognizer, finder)),
        file.dissimilarity.tries,
    )


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
