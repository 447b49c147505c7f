"""What `fdf ui` does, without its page: a picture or film on a desk, faces to keep or hide, and the file that comes of it.

A `Sheet` is what lies there; every step gives a new one. Files are made by the same code as those of `fdf anonymize`.
"""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from fdf.anonymize.audio import AudioChoice
from fdf.anonymize.base import Face, Method, RegionName
from fdf.anonymize.codecs import SUFFIXES, read, views
from fdf.anonymize.detection import FaceFinder, Thoroughness, distinct
from fdf.anonymize.faces_json import FORMAT, FacesFile, KnownFaces, picture_row
from fdf.anonymize.files import Settings, anonymize_bytes, is_video
from fdf.anonymize.guard import Guard, make_guard
from fdf.anonymize.image import Anonymizer, Finder
from fdf.anonymize.methods import WeakMethodWarning, make_method, names
from fdf.errors import DataError, FdfError, UsageError
from fdf.store.files import write_bytes
from fdf.vision.base import Pixels

SHOWN: Final = 1400
"""Longest side of what the page shows, pixels."""

_REACH: Final = 0.5  # a click this far from a box, over the box's size, still means it
_LEAST_BOX: Final = 4.0  # pixels of the sides of a box drawn by hand
_HIDDEN, _KEPT, _CORNER = (255, 60, 60), (60, 220, 90), (255, 200, 0)

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Choices:
    """What is chosen on the page; the same words as those of `fdf anonymize`."""

    method: str = "solid"
    region: RegionName = "face"
    strength: float = 1.0
    thoroughness: Thoroughness = "normal"
    audio: AudioChoice = "keep"


@dataclass(frozen=True, eq=False)
class Sheet:
    """One picture or film.

    Attributes:
        name: of the file that came; it isn't the one of the file that is made.
        rgb: what is shown: the picture, or the first frame.
        faces: found in it, and those that were added by hand, behind them.
        kept: numbers of the faces that stay as they are.
        frames: of the picture; 0 for a film. Faces can be chosen in pictures of one frame, and in a film's first one.
        data: the file, of a picture.
        film: where the film lies.
        corner: the first of two corners of a face that is being added.
        salt: of this sheet's stand-ins: what is previewed is what is written, and no other picture has the same.
    """

    name: str
    rgb: Pixels
    faces: tuple[Face, ...] = ()
    kept: frozenset[int] = frozenset()
    frames: int = 1
    data: bytes = field(default=b"", repr=False)
    film: Path | None = None
    corner: tuple[float, float] | None = None
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    @property
    def choosable(self) -> bool:
        """Whether single faces can be kept."""
        return self.frames <= 1

    @property
    def hidden(self) -> list[Face]:
        """The faces that are to be hidden."""
        return [face for number, face in enumerate(self.faces) if number not in self.kept]


class Desk:
    """Opens, shows and makes. Nothing of it outlives `folder`, which belongs to the caller.

    Args:
        folder: for films and for what is made.
        model: generator of the method `gan`.
        finder: makes what finds faces, by thoroughness.
        guard: stands before methods that draw faces; None for `make_guard()`.

    Raises:
        ModelError: `model` is no generator.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: Path | None = None,
        finder: Callable[[Thoroughness], Finder] = FaceFinder,
        guard: Guard | None = None,
    ) -> None:
        self._folder, self._make_finder, self._guard = folder, finder, guard or make_guard()
        self._finders: dict[str, Finder] = {}
        self._gan = _generator(model)

    @property
    def methods(self) -> list[str]:
        """What can be chosen: `gan` only where there is a generator."""
        return [name for name in names() if name != "gan" or self._gan is not None]

    def open(self, path: Path, choices: Choices | None = None) -> Sheet:
        """Take a file: it is gone from where it lay.

        Raises:
            FdfError: it is no picture or film that can be read.
        """
        choices = choices or Choices()
        try:
            if is_video(path):
                return self._film(path)
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path.name} can't be read", got=error.strerror or str(error)) from error
        finally:
            path.unlink(missing_ok=True)
        document = read(data)
        sheet = Sheet(path.name, document.stills[0].rgb, frames=len(document.stills), data=data)
        return self.look(sheet, choices)

    def look(self, sheet: Sheet, choices: Choices) -> Sheet:
        """Look for faces again; what was chosen is forgotten, what was added stays.

        Raises:
            FdfError: as `open`.
        """
        finder = self._finder(choices.thoroughness)
        seen = [sheet.rgb] if sheet.film else views(read(sheet.data).stills[0])
        found = distinct([face for view in seen for face in finder.find(view)])
        added = [face for face in sheet.faces if face.origin == "user"]
        return dataclasses.replace(sheet, faces=(*found, *added), kept=frozenset(), corner=None)

    def close(self, sheet: Sheet | None) -> None:
        """Delete what a sheet has on the disk."""
        if sheet is not None and sheet.film is not None:
            shutil.rmtree(sheet.film.parent, ignore_errors=True)

    def click(self, sheet: Sheet, x: float, y: float, mode: Literal["choose", "add"] = "choose") -> Sheet:
        """A click on what `shown` shows.

        Args:
            sheet: on which.
            x: pixels of the shown picture, from the left.
            y: from the top.
            mode: `choose` turns the nearest face between kept and hidden; `add` sets one corner, then the other: of pictures,
                since a film is looked at in every frame.
        """
        if not sheet.choosable:
            return sheet
        scale = _scale(sheet.rgb)
        x, y = x / scale, y / scale
        if mode == "choose":
            number = nearest(sheet.faces, x, y)
            return sheet if number is None else dataclasses.replace(sheet, kept=sheet.kept ^ {number})
        if sheet.film is not None:
            return sheet
        if sheet.corner is None:
            return dataclasses.replace(sheet, corner=(x, y))
        (x0, x1), (y0, y1) = sorted((sheet.corner[0], x)), sorted((sheet.corner[1], y))
        if x1 - x0 < _LEAST_BOX or y1 - y0 < _LEAST_BOX:
            return dataclasses.replace(sheet, corner=None)  # a double click: nothing was meant
        face = Face(np.array([x0, y0, x1, y1], dtype=np.float32), origin="user")
        return dataclasses.replace(sheet, faces=(*sheet.faces, face), corner=None)

    def shown(self, sheet: Sheet) -> Pixels:
        """The picture with a box round each face, RGB, at most `SHOWN` pixels long."""
        import cv2

        picture, scale = _small(sheet.rgb), _scale(sheet.rgb)
        thick = max(2, round(max(picture.shape) / 300))
        for number, face in enumerate(sheet.faces):
            x0, y0, x1, y1 = (round(float(v) * scale) for v in face.box)
            colour = _KEPT if number in sheet.kept else _HIDDEN
            cv2.rectangle(picture, (x0, y0), (x1, y1), (0, 0, 0), thick + 2)
            cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick)
            word, size = f"{number + 1} {'keep' if number in sheet.kept else 'hide'}", 0.2 * (thick + 1)
            (wide, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
            top = max(0, y0 - high - 3 * thick)
            cv2.rectangle(picture, (x0, top), (x0 + wide + 2 * thick, top + high + 2 * thick), (0, 0, 0), -1)
            place = x0 + thick, top + high + thick
            cv2.putText(picture, word, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick - 1, cv2.LINE_AA)
        if sheet.corner is not None:
            x, y = (round(v * scale) for v in sheet.corner)
            cv2.drawMarker(picture, (x, y), _CORNER, cv2.MARKER_CROSS, 10 * thick, thick)
        return picture

    def words(self, sheet: Sheet) -> str:
        """What was found, and what can be done about it."""
        height, width = sheet.rgb.shape[:2]
        found = f"{len(sheet.faces)} face{'' if len(sheet.faces) == 1 else 's'} found"
        if sheet.film is not None:
            kept = f", {len(sheet.kept)} kept" if sheet.kept else ""
            return (
                f"{sheet.name}: a film of {width} × {height}. {found} in its first frame{kept}; every frame will be looked at. "
                "A face that is kept stays until another one touches it or it is out of sight."
            )
        size = f"{sheet.name}: {width} × {height}"
        if sheet.frames > 1:
            return f"{size}, {sheet.frames} frames. {found} in the first one; all faces of all frames will be hidden."
        kept = f", {len(sheet.kept)} kept" if sheet.kept else ""
        if sheet.corner is not None:
            return f"{size}. {found}{kept}. Now click on the opposite corner."
        look = "" if sheet.faces else " Look at it: is there really nobody?"
        return f"{size}. {found}{kept}.{look}"

    def preview(self, sheet: Sheet, choices: Choices) -> tuple[Pixels, str]:
        """What the picture, or the first frame, will look like; at most `SHOWN` pixels long, and what is to be said.

        Raises:
            UsageError: a choice that isn't one.
        """
        anonymizer, said = self._anonymizer(sheet, choices)
        result = anonymizer.render(sheet.rgb, sheet.hidden)
        said += sorted(
            {f"{o.asked} could not do a face: {o.reason}; {o.method} did" for o in result.outcomes if o.fell_back}
        )
        return _small(result.picture), ". ".join(said)

    def make(self, sheet: Sheet, choices: Choices, progress: Progress | None = None) -> tuple[Path, str]:
        """Write the anonymized file, under a name that says nothing; what was removed and what is to be said, in words.

        Raises:
            FdfError: it can't be read or written; nothing is there then.
        """
        anonymizer, said = self._anonymizer(sheet, choices)
        place = self._folder / secrets.token_hex(8)
        if sheet.film is not None:
            from fdf.anonymize.video import FilmFinder, VideoOptions, anonymize_video

            if choices.thoroughness == "normal":  # the film's own detector: a tracker makes up for what one look misses
                anonymizer = _with_finder(anonymizer, FilmFinder(threshold=0.25))
            suffix = (
                sheet.film.suffix.lower() if sheet.film.suffix.lower() in {".mp4", ".mkv", ".webm", ".mov"} else ".mp4"
            )
            target = place / f"anonymized{suffix}"
            options = VideoOptions(audio=choices.audio)
            with tempfile.TemporaryDirectory(dir=self._folder) as work:
                if sheet.kept:
                    lines, kept = _without(sheet, anonymizer, Path(work), progress)
                    options, said = dataclasses.replace(options, detections=lines), [*kept, *said]
                film = anonymize_video(sheet.film, target, anonymizer, options, progress=progress)
            said = [f"{film.tracks} tracks, {film.covered} faces hidden in {film.frames} frames", *said]
            if film.fell_back:
                said.append(f"{film.fell_back} of them fell back to solid")
            said += [*film.notes, *([f"sound: {film.audio}"] if film.audio else [])]
            return target, _told(said, film.removed)
        known = _known(sheet) if sheet.frames == 1 else None
        out, report = anonymize_bytes(sheet.data, None, anonymizer, Settings(known=known), sheet.name)
        kind = read(sheet.data).format
        target = place / f"anonymized{next(suffix for suffix, name in SUFFIXES.items() if name == kind)}"
        write_bytes(target, out)
        hidden = report.counts.get("faces", 0)
        said = [f"{hidden} face{'' if hidden == 1 else 's'} hidden", *said]
        said += [f"fell back: {reason}" for reason in report.fallbacks] + report.notes
        return target, _told(said, report.removed)

    def _film(self, path: Path) -> Sheet:
        from fdf.anonymize.container import Source

        place = self._folder / secrets.token_hex(8)
        place.mkdir(parents=True)
        film = place / f"film{path.suffix.lower()}"
        try:
            shutil.move(path, film)
            source = Source(str(film))
            try:
                first = next(iter(source.slots()), None)
                if first is None:
                    raise DataError(f"{path.name} gave no frame")
                rgb = source.upright(first.frame)
            finally:
                source.close()
            return self.look(Sheet(path.name, rgb, frames=0, film=film), Choices())
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def _finder(self, thoroughness: Thoroughness) -> Finder:
        if thoroughness not in self._finders:
            self._finders[thoroughness] = self._make_finder(thoroughness)
        return self._finders[thoroughness]

    def _anonymizer(self, sheet: Sheet, choices: Choices) -> tuple[Anonymizer, list[str]]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", WeakMethodWarning)
            if choices.method == "gan" and self._gan is None:
                raise UsageError("There is no generator", action="Start the page with --model")
            method = self._gan if choices.method == "gan" else make_method(choices.method, choices.strength)
            assert method is not None  # noqa: S101 - for the type checker
            finder = self._finder(choices.thoroughness)
            made = Anonymizer(method, region=choices.region, finder=finder, salt=sheet.salt, guard=self._guard)
        return made, [str(one.message) for one in said]


def _without(sheet: Sheet, anonymizer: Anonymizer, work: Path, progress: Progress | None) -> tuple[Path, list[str]]:
    """Lines with all faces of a film but those that are kept, for as long as they are; and what came of them, in words."""
    from fdf.anonymize.film_keeping import keep
    from fdf.anonymize.video import VideoOptions, anonymize_video

    assert sheet.film is not None  # noqa: S101 - for the type checker
    every, left, first = work / "every.jsonl", work / "faces.jsonl", work / "first.mp4"
    grey = Anonymizer(region=anonymizer.region, finder=anonymizer.finder, salt=sheet.salt)
    anonymize_video(sheet.film, first, grey, VideoOptions(audio="drop", save_detections=every), progress=progress)
    found = keep(every, left, [face for number, face in enumerate(sheet.faces) if number in sheet.kept])
    ends = ["to the end" if end is None else f"until frame {end}" for end in found.tracks.values()]
    said = [f"kept {', '.join(ends)}"] if ends else []
    return left, said + ([f"{found.strangers} could not be followed and are hidden"] if found.strangers else [])


def nearest(faces: tuple[Face, ...], x: float, y: float) -> int | None:
    """The face that a click at (x, y) means: the smallest box round it, else the nearest within half a box; None if none."""
    best: tuple[float, float, int] | None = None
    for number, face in enumerate(faces):
        x0, y0, x1, y1 = (float(v) for v in face.box)
        away = float(np.hypot(max(x0 - x, 0, x - x1), max(y0 - y, 0, y - y1)))
        if away <= _REACH * face.size and (best is None or (away, face.size) < best[:2]):
            best = away, face.size, number
    return None if best is None else best[2]


def _generator(model: Path | None) -> Method | None:
    from fdf.anonymize.gan import Gan

    if model is not None:
        return Gan(model=model)
    try:
        return Gan()
    except FdfError:
        return None  # this fdf brings none


def _known(sheet: Sheet) -> KnownFaces:
    size = sheet.rgb.shape[1], sheet.rgb.shape[0]
    value: dict[str, Any] = {
        "format": FORMAT,
        "version": 1,
        "pictures": [picture_row(sheet.name, 0, size, sheet.hidden)],
    }
    return KnownFaces(FacesFile.model_validate(value).pictures, "the page")


def _with_finder(anonymizer: Anonymizer, finder: Finder) -> Anonymizer:
    return Anonymizer(
        anonymizer.method,
        region=anonymizer.region,
        fallback=anonymizer.fallback,
        finder=finder,
        salt=anonymizer.salt,
    )


def _told(said: list[str], removed: list[str]) -> str:
    gone = f" Removed from the file: {', '.join(removed)}." if removed else ""
    return f"{'. '.join(said)}.{gone}"


def _scale(rgb: npt.NDArray[np.uint8]) -> float:
    return min(1.0, SHOWN / float(max(rgb.shape[:2])))


def _small(rgb: Pixels) -> Pixels:
    """A copy of at most `SHOWN` pixels."""
    import cv2

    scale = _scale(rgb)
    if scale == 1:
        return rgb.copy()
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
