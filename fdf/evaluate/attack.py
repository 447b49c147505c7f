"""Do recognizers still name a face that was hidden? People in, figures out.

A folder with one folder a person → every face clean, hidden by each method, seen by each recognizer (`recognizers`) → two
attackers (`attackers`) and what is left of the face (`preservation`). Pictures go through one at a time: only vectors stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from fdf.anonymize.base import Face, Method, RegionName
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.image import Anonymizer, Finder
from fdf.anonymize.methods import names
from fdf.errors import DataError, UsageError
from fdf.evaluate.attackers import Attack, naive, parrot
from fdf.evaluate.faces import SAME_PLACE, Eyes, Seen, join_seen, overlap
from fdf.evaluate.parrot import Ints, people_folds
from fdf.evaluate.preservation import Preservation, preservation
from fdf.evaluate.recognizers import Aim, DlibRecognizer, Recognizer, Sight
from fdf.vision.base import Floats, Pixels
from fdf.vision.picture import PictureError, decode

FORMAT: Final = "fdf-attack-1"
CLEAN: Final = "none"
"""The row of pictures that nobody hid: what recognizers can do at all with these."""
FLOOR: Final = "solid"
"""The row of the grey box: what hair, clothes and background alone give away. No method of hiding faces gets below it."""

GRADED: Final = ("blur", "pixelate")
"""Methods that hide less or more of a face by their strength. That of `donor` only pushes shapes farther away."""

_LEAST: Final = 2  # pictures of a person, and people
_CROP: Final = 1.6  # side of the window that preservation looks at, over the box


@dataclass(frozen=True)
class Settings:
    """How to attack.

    Attributes:
        strength: of `blur` and `pixelate` where the method doesn't state its own (`blur=0.5`).
        region: what is hidden.
        points: `given`: the attacker knows where face and eyes were, an upper bound. `seen`: they must be found in the hidden
            picture, and where they aren't the attacker gets the floor.
        far: false accept rate of the thresholds.
        folds: at most so many; each has two people or more.
        seed: of folds, and of what methods draw.
    """

    strength: float = 1.0
    region: RegionName = "face"
    points: Literal["given", "seen"] = "given"
    far: float = 0.01
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.far < 1:
            raise UsageError("The false accept rate is out of range", expected="between 0 and 1", got=str(self.far))
        if self.folds < 1:
            raise UsageError("There must be a fold", expected="--folds 1 or more", got=str(self.folds))


@dataclass(frozen=True)
class Counts:
    """What came of the folder.

    Attributes:
        people, pictures: that the figures are of.
        files: looked at.
        unreadable: files that are no pictures or damaged.
        no_face: pictures in which no face was found. They can't be hidden, so they are no measure of hiding.
        several: pictures with more than one face; the largest counts.
        left_out: people with fewer than two usable pictures.
    """

    people: int
    pictures: int
    files: int
    unreadable: int
    no_face: int
    several: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        method: as it was asked for, `blur` or `blur=0.5`; `none` are the clean pictures.
        strength: of methods that have one.
        floor: whether it is the solid box.
        fell_back: faces that the method couldn't do; another one hid them.
        not_found: faces that an attacker who must find them got the floor for; 0 if the points are given.
        attacks: of each recognizer, naive and parrot.
        preservation: what is left of the face, beside the clean pictures. Points and pose of these are the mesh's own.
    """

    method: str
    strength: float | None
    floor: bool
    fell_back: int
    not_found: int
    attacks: tuple[Attack, ...]
    preservation: Preservation


@dataclass(frozen=True)
class AttackReport:
    """Everything. `recognizers` are names with the SHA-256 of their weights."""

    counts: Counts
    settings: Settings
    recognizers: tuple[tuple[str, str], ...]
    folds: int
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        body: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **asdict(self)}))
        return body


@dataclass(eq=False)
class _Taken:
    """What is kept of the pictures hidden by one method (None: not hidden)."""

    name: str
    anonymizer: Anonymizer | None
    strength: float | None = None
    vectors: list[list[Floats]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)
    fell_back: list[bool] = field(default_factory=list)
    not_found: list[bool] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A picture with its faces, the one that counts, and where it is."""

    pixels: Pixels
    faces: list[Face]
    face: Face
    sight: Sight


def attack(
    folder: Path,
    methods: Sequence[str | Method] = ("solid", "blur", "pixelate"),
    recognizers: Sequence[Recognizer] | None = None,
    settings: Settings | None = None,
    *,
    finder: Finder | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> AttackReport:
    """Try to name hidden faces.

    Args:
        folder: one folder a person in it, with two pictures or more of their face.
        methods: names, with a strength if need be (`blur=0.5`), or methods of your own. The clean pictures and the solid box
            are always measured as well.
        recognizers: None for dlib's.
        settings: how.
        finder: finds the faces; None for `FaceFinder()`.
        advance: is told of each file.

    Raises:
        UsageError: no such folder, method or setting.
        DataError: fewer than two people with two pictures of a face.
    """
    settings = settings or Settings()
    files = list_people(folder)
    takers = [*_takers(methods, settings)]
    networks = [DlibRecognizer()] if recognizers is None else list(recognizers)
    owners, counted = _watch(files, takers, networks, settings, finder or FaceFinder(), advance)
    owned, numbers = np.unique(np.array(owners, dtype=str), return_inverse=True)
    enough = np.bincount(numbers, minlength=len(owned)) >= _LEAST
    kept = np.flatnonzero(enough[numbers])
    good = [str(name) for name in owned[enough]]
    everybody = sorted({person for person, _ in files})
    counts = replace(
        counted, people=len(good), pictures=len(kept), left_out=tuple(name for name in everybody if name not in good)
    )
    if len(good) < _LEAST:
        what = f"{counts.unreadable} unreadable, {counts.no_face} without a face that was found"
        raise DataError(
            f"{folder} has too few people to tell apart",
            expected="two people or more with two pictures or more of their face",
            got=f"{len(good)} of {len(everybody)} people, {len(files)} files ({what})",
            action="Add people, or more pictures of each: one folder a person",
        )
    people = np.unique(numbers[kept], return_inverse=True)[1].astype(np.int64)
    folds = people_folds(len(good), settings.folds, settings.seed)
    rows = tuple(_row(taker, takers[0], networks, kept, people, folds, settings) for taker in takers)
    weights = tuple((network.name, network.sha256) for network in networks)
    return AttackReport(counts, settings, weights, int(folds.max()) + 1, rows)


def _watch(
    files: Sequence[tuple[str, Path]],
    takers: Sequence[_Taken],
    networks: Sequence[Recognizer],
    settings: Settings,
    finder: Finder,
    advance: Callable[[int], None],
) -> tuple[list[str], Counts]:
    """Take every picture in; gives the owner of each that has a face, and what became of the files."""
    eyes, aim = Eyes(), Aim()
    search = None if settings.points == "given" else (finder, aim)
    owners: list[str] = []
    unreadable = no_face = several = 0
    for person, file in files:
        advance(1)
        try:
            pixels = decode(file.read_bytes()).pixels
        except (PictureError, OSError):
            unreadable += 1
            continue
        shown = _look(pixels, finder, aim)
        if shown is None:
            no_face += 1
            continue
        several += len(shown.faces) > 1
        _take(takers, shown, f"{settings.seed}/{len(owners)}", networks, eyes, search)
        owners.append(person)
    return owners, Counts(0, 0, len(files), unreadable, no_face, several, ())


def list_people(folder: Path) -> list[tuple[str, Path]]:
    """(person, file) of every file in the folders of a folder, sorted; names that begin with a dot are passed over.

    Raises:
        UsageError: no folder, or no files in folders.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}", expected="a folder with one folder a person in it")
    people = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    files = [(path.name, file) for path in people for file in sorted(path.iterdir()) if not file.name.startswith(".")]
    files = [(name, file) for name, file in files if file.is_file()]
    if not files:
        raise UsageError(
            f"{folder} shows nobody",
            expected="one folder a person in it, with pictures of their face",
            got="no folders" if not people else f"{len(people)} empty folders",
            action="Put the pictures of each person into a folder of their own",
        )
    return files


def _takers(methods: Sequence[str | Method], settings: Settings) -> Iterator[_Taken]:
    yield _Taken(CLEAN, None)
    yield _Taken(FLOOR, Anonymizer(FLOOR, region=settings.region))
    for method in methods:
        if not isinstance(method, str):
            yield _Taken(method.name, Anonymizer(method, region=settings.region))
        elif method != FLOOR:
            name, stated = parse_method(method)
            strength = settings.strength if stated is None else stated
            anonymizer = Anonymizer(name, region=settings.region, strength=strength)
            yield _Taken(method, anonymizer, strength if name in GRADED else None)


def parse_method(text: str) -> tuple[str, float | None]:
    """`blur` or `blur=0.5` → the name, and the strength if one is stated.

    Raises:
        UsageError: a strength of a method that has none, or one that is no number.
    """
    name, equals, number = text.partition("=")
    if not equals:
        return name, None
    if name in names() and name not in GRADED:
        raise UsageError(f"{name} has no strength", expected=f"one of {' or '.join(GRADED)}, e.g. blur=0.5", got=text)
    try:
        return name, float(number)
    except ValueError as error:
        raise UsageError(f"The strength of {name} is no number", expected="e.g. blur=0.5", got=repr(number)) from error


def _look(pixels: Pixels, finder: Finder, aim: Aim) -> _Shown | None:
    faces = finder.find(pixels)
    if not faces:
        return None
    face = max(faces, key=lambda one: one.size)
    sight = aim(pixels, face.box, face.landmarks5)
    return None if sight is None else _Shown(pixels, faces, face, sight)


def _take(
    takers: Sequence[_Taken],
    shown: _Shown,
    salt: str,
    networks: Sequence[Recognizer],
    eyes: Eyes,
    search: tuple[Finder, Aim] | None,
) -> None:
    """Hide, embed and look at one picture by every method; the floor comes before all that may need it."""
    x0, y0, x1, y1 = (int(value) for value in _window(shown.face.box, shown.pixels))
    box = (shown.sight.found.boxes[0] - np.array([x0, y0, x0, y0]))[None].astype(np.float32)
    floor: list[Floats] = []
    for taker in takers:
        picture, fell_back, sight = shown.pixels, False, shown.sight
        if taker.anonymizer is not None:
            taker.anonymizer.salt = (
                salt  # faces of chips all lie in one place: a salt a picture, or all would be drawn alike
            )
            result = taker.anonymizer.render(shown.pixels, shown.faces)
            picture = result.picture
            fell_back = any(
                face is shown.face and outcome.fell_back
                for face, outcome in zip(result.faces, result.outcomes, strict=True)
            )
        found: Sight | None = sight
        if search is not None and taker.anonymizer is not None:
            found = _again(picture, shown.face, *search)
        vectors = [network.embed(picture, found or sight) for network in networks]
        if taker.name == FLOOR and not floor:
            floor = vectors = [network.embed(picture, sight) for network in networks]
        taker.vectors.append(vectors if found is not None else floor)
        taker.seen.append(eyes.look([np.ascontiguousarray(picture[y0:y1, x0:x1])], box, embed=False))
        taker.boxes.append(box)
        taker.fell_back.append(fell_back)
        taker.not_found.append(found is None)


def _again(picture: Pixels, face: Face, finder: Finder, aim: Aim) -> Sight | None:
    """Where the face seems to be after it was hidden."""
    faces = finder.find(picture)
    shared = overlap(np.array([one.box for one in faces], dtype=np.float32), face.box)
    if not len(shared) or shared.max() < SAME_PLACE:
        return None
    best = faces[int(shared.argmax())]
    return aim(picture, best.box, best.landmarks5)


def _window(box: Floats, picture: Pixels) -> Floats:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * _CROP / 2
    limit = np.array(picture.shape[1::-1] * 2)
    return np.asarray(np.clip(np.rint(np.concatenate([centre - half, centre + half])), 0, limit), dtype=np.float32)


def _row(
    taker: _Taken,
    clean: _Taken,
    networks: Sequence[Recognizer],
    kept: Ints,
    people: Ints,
    folds: Ints,
    settings: Settings,
) -> Row:
    attacks: list[Attack] = []
    for place, network in enumerate(networks):
        before, after = (np.stack([one.vectors[k][place] for k in kept]) for one in (clean, taker))
        attacks.append(naive(network.name, before, after, people, folds, settings.far))
        learned = parrot(network.name, after, people, folds, settings.far, settings.seed)
        attacks += [learned] if learned is not None else []
    real, fake = (join_seen([one.seen[k] for k in kept]) for one in (clean, taker))
    if taker is clean:  # a photo is no copy of itself: nothing of it is known as same-photo
        attacks = [
            replace(one, same_tar=None, same_rank1=None, same_rank1_chance=None, same_auc=None) for one in attacks
        ]
    keypoints = np.zeros((len(kept), 7, 3), dtype=np.float32)
    keypoints[:, :3, :2], keypoints[:, :3, 2] = real.points, real.clear[:, None]
    boxes = np.concatenate([clean.boxes[k] for k in kept])
    return Row(
        taker.name,
        taker.strength,
        taker.name == FLOOR,
        sum(taker.fell_back[k] for k in kept),
        sum(taker.not_found[k] for k in kept),
        tuple(attacks),
        preservation(real, fake, keypoints, boxes),
    )
