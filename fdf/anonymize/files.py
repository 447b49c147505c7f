"""Picture files and folders of them in, anonymized ones out.

A file is read whole, every frame of it, and written under its name only when the new one is whole and has been looked through
for what it should not hold. What can't be read is not written at all: nothing is ever copied as it was. A folder keeps a
journal, so that a run that was killed goes on; a report says of every file what became of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fdf.anonymize.audit_log import AuditLog
from fdf.anonymize.base import Face, Result
from fdf.anonymize.codecs import (
    SUFFIXES,
    Document,
    NoReaderError,
    Still,
    encode,
    format_of,
    hidden,
    read,
    same_file,
    suits,
    views,
)
from fdf.anonymize.detection import distinct
from fdf.anonymize.faces_json import KnownFaces, picture_row
from fdf.anonymize.film_sink import TARGETS
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.inputs import JOURNAL, VIDEOS, find_sources, is_pattern, is_video, is_written
from fdf.errors import DataError, FdfError, MachineError, UsageError
from fdf.store.files import atomic_file, remove_leftovers, write_bytes
from fdf.vision.base import Pixels
from fdf.vision.picture import MAX_PIXELS

if TYPE_CHECKING:
    from fdf.anonymize.deciding import Decision, Policy

__all__ = [
    "EARLIER", "JOURNAL", "REPORT", "VIDEOS", "FileReport", "Settings", "TreeReport", "Video", "anonymize_bytes",
    "anonymize_file", "anonymize_tree", "find_sources", "is_pattern", "is_video", "left_out",
]  # fmt: skip

REPORT: Final = "fdf-anonymize.json"
EARLIER: Final = "what an earlier run wrote: not anonymized again"
"""Note of a folder that is left out."""
_SAME: Final = 0.9  # intersection over union from which on two boxes of an animation are one
_ONE_ONLY: Final = "a box shows nobody in a file of several pictures"
_HOLD: Final = 2  # frames of an animation before and after a hit in which its place is hidden, too


@dataclass(frozen=True)
class Settings:
    """How files are anonymized, besides the `Anonymizer`.

    Attributes:
        known: faces of a file, instead of looking for them.
        overwrite: replace outputs that are there already. Inputs are never replaced.
        quality: of JPEG, 1–100; AVIF and lossy WebP follow it.
        max_pixels: refuse larger pictures.
        fingerprint: of everything that the output depends on; another one makes a folder's files anew.
        audit: gets a row for every face that the anonymizer's policy decided on, before the output gets its name.
    """

    known: KnownFaces | None = None
    overwrite: bool = False
    quality: int = 95
    max_pixels: int = MAX_PIXELS
    fingerprint: str = ""
    audit: AuditLog | None = None


@dataclass
class FileReport:
    """What became of one file.

    Attributes:
        file: its name relative to the input folder, or alone.
        status: `done`, `skipped` (was done before), `failed` or `left out` (no picture by its name, or no regular file; with
            the note `EARLIER` a folder that an earlier run wrote).
        error: why it failed.
        frames: frames or pages of it.
        counts: faces, by method, fell_back: see `fdf.anonymize.base.Result`.
        fallbacks: reason of a fallback → how many.
        removed: what the file held besides its pixels and is not in the output.
        notes: what could not be kept.
        faces: rows of a file of faces.
        audit: rows of the audit log.
    """

    file: str
    status: str
    error: str = ""
    frames: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    fallbacks: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)
    audit: list[dict[str, Any]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """For the report: without faces and audit, and without what is empty."""
        left_out = {"faces", "audit"}
        return {
            name: value for name, value in vars(self).items() if name not in left_out and value not in ("", [], {}, 0)
        }


@dataclass
class TreeReport:
    """What became of a folder or of the files of a pattern."""

    files: list[FileReport] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many files have a status."""
        return sum(one.status == status for one in self.files)

    @property
    def counts(self) -> dict[str, int]:
        """Sums over all files."""
        total: dict[str, int] = {}
        for one in self.files:
            for name, number in one.counts.items():
                total[name] = total.get(name, 0) + number
        return total

    def summary(self) -> dict[str, Any]:
        """For the report."""
        kinds = ("done", "skipped", "failed", "left out")
        return {
            "files": {kind.replace(" ", "_"): self.count(kind) for kind in kinds},
            "counts": self.counts,
            "pictures": [one.row() for one in self.files],
        }


Video = Callable[[Path, Path], FileReport]
"""Anonymizes a film; given by the caller, so that pictures don't need what films need."""


def anonymize_bytes(
    data: bytes, kind: str | None, anonymizer: Anonymizer, settings: Settings | None = None, name: str = "picture"
) -> tuple[bytes, FileReport]:
    """Anonymize the bytes of a picture file.

    Args:
        data: the file.
        kind: Pillow's name of the format to write; None for the one that came.
        anonymizer: hides the faces.
        settings: everything else.
        name: of the file in the report and in a file of faces.

    Raises:
        FdfError: the picture can't be read, or can't be written as `kind`.
    """
    settings = settings or Settings()
    document = read(data, settings.max_pixels)
    kind = kind or document.format
    faces = _faces(document, anonymizer, settings.known, name)
    report = FileReport(name, "done", frames=len(document.stills), notes=[*document.notes, *suits(document, kind)])
    if kind == "WEBP" and document.lossless and settings.quality != Settings.quality:
        report.notes.append("written without loss, as it came: the quality is of lossy WebP")
    stills = []
    bare = _judged(data, document, faces, anonymizer, report)
    for frame, still in enumerate(document.stills):
        cover = bare[frame] if document.loop is None else _held(bare, frame)
        result = anonymizer.render(still.rgb, cover)
        stills.append(hidden(still, result.picture, anonymizer.touched(still.rgb, cover)))
        _add(report, result)
        report.audit += [{**row, "input": name, "frame": frame} for row in anonymizer.drain()]
        size = still.rgb.shape[1], still.rgb.shape[0]
        report.faces.append(picture_row(name, frame, size, faces[frame]))
    out = encode(Document(**vars(document) | {"stills": stills}), kind, settings.quality)
    kept = {"ICC profile"} if document.profile else set()
    report.removed = [str(found) for found in document.found if found.what not in kept]
    return out, report


def anonymize_file(
    source: Path, target: Path, anonymizer: Anonymizer, settings: Settings | None = None, *, name: str = ""
) -> FileReport:
    """Anonymize a picture file; `target` appears only when it is whole.

    Raises:
        UsageError: `target` is `source`, is there already, or has a suffix of no format.
        FdfError: the picture can't be read or written.
    """
    settings = settings or Settings()
    _check_target(source, target, settings.overwrite)
    kind = format_of(target)
    if kind is None:
        raise UsageError(
            f"{target.name}: no picture format has this suffix",
            expected=f"one of {', '.join(sorted(SUFFIXES))}",
            action="Give the output another name",
        )
    out, report = anonymize_bytes(_bytes(source), kind, anonymizer, settings, name or source.name)
    with atomic_file(target) as file:
        file.write(out)
        if settings.audit is not None:
            settings.audit.append(report.audit)
    return report


def anonymize_tree(
    sources: Sequence[tuple[Path, str]],
    target: Path,
    anonymizer: Anonymizer,
    settings: Settings | None = None,
    *,
    video: Video | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> TreeReport:
    """Anonymize many files into a folder. A file that fails is reported and not written; the others go on.

    Args:
        sources: path of a file and its name below `target`, as `find_sources` gives them.
        target: the folder; its report is `fdf-anonymize.json` in it.
        anonymizer: hides the faces.
        settings: everything else.
        video: anonymizes films; without it they fail.
        advance: called with 1 after every file.
    """
    settings = settings or Settings()
    remove_leftovers(target) if target.is_dir() else None
    journal = _Journal(target, settings.fingerprint)
    report = TreeReport()
    for source, name in sources:
        one = _tree_file(source, name, target, anonymizer, settings, journal, video)
        report.files.append(one)
        advance(1)
    text = json.dumps(report.summary(), indent=1, ensure_ascii=False) + "\n"
    write_bytes(target / REPORT, text.encode())
    return report


def left_out(source: Path, name: str) -> FileReport | None:
    """The report of what is no picture or film by its name, or no regular file; None for everything else."""
    special = source.exists() and not source.is_file()  # a pipe would never end
    if not special and (format_of(name) is not None or is_video(name)):
        return None
    return FileReport(name, "left out", notes=[EARLIER] if special and is_written(source) else [])


def _tree_file(
    source: Path,
    name: str,
    target: Path,
    anonymizer: Anonymizer,
    settings: Settings,
    journal: _Journal,
    video: Video | None,
) -> FileReport:
    other = left_out(source, name)
    if other is not None:
        return other
    path = target / (name if not is_video(name) or Path(name).suffix.lower() in TARGETS else f"{name}.mp4")
    try:
        data = _bytes(source) if not is_video(name) else b""
        before = journal.find(name, source, data, path)
        if before is not None:
            return before
        mine = journal.wrote(name, path)
        own = Settings(**vars(settings) | {"overwrite": settings.overwrite or mine})
        if is_video(name):
            _check_target(source, path, own.overwrite)
            if video is None:
                raise NoReaderError("Films can't be anonymized here", action="Install PyAV: pip install av")
            report = video(source, path)
            report.file = name
            if path.name != source.name:
                report.notes.append(f"{source.suffix} can be read, not written: it is {path.name}")
        else:
            report = anonymize_file(source, path, anonymizer, own, name=name)
    except MachineError as error:
        if not isinstance(error, NoReaderError):
            raise  # a full disk is full for the next file, too
        report = FileReport(name, "failed", error=str(error))
    except FdfError as error:
        report = FileReport(name, "failed", error=str(error))
    except Exception as error:  # a hostile file must not end the run of the others
        report = FileReport(name, "failed", error=f"Not foreseen: {type(error).__name__}: {error}. It is not written.")
    if report.status == "done":
        journal.add(report, source, data, path)
    return report


def _faces(document: Document, anonymizer: Anonymizer, known: KnownFaces | None, name: str) -> list[list[Face]]:
    found = []
    for frame, still in enumerate(document.stills):
        height, width = still.rgb.shape[:2]
        found.append(_look(still, anonymizer) if known is None else known.faces(name, frame, width, height))
    return found


def _judged(
    data: bytes, document: Document, faces: Sequence[list[Face]], anonymizer: Anonymizer, report: FileReport
) -> list[list[Face]]:
    """The faces of each frame that must be hidden."""
    policy = anonymizer.policy
    if policy is None:
        return list(faces)
    sha256 = hashlib.sha256(data).hexdigest()
    several = len(document.stills) > 1
    places = _shown_boxes(policy) if several else frozenset()
    if any(policy.applies(policy.rules[number - 1], sha256) for number in places):
        report.notes.append(_ONE_ONLY)
    left = []
    for frame, still in enumerate(document.stills):
        decide = partial(_boxless, policy, places) if places else policy.decide
        decisions = decide(still.rgb, faces[frame], sha256)
        left.append([one.face for one in decisions if not one.shown])
        shown = sum(one.shown for one in decisions)
        if shown:
            report.counts["shown"] = report.counts.get("shown", 0) + shown
        report.audit += [policy.row(one, report.file, sha256, frame) for one in decisions]
    return left


def _shown_boxes(policy: Policy) -> frozenset[int]:
    """Numbers of the rules that show a box."""
    rules = enumerate(policy.rules, start=1)
    return frozenset(number for number, rule in rules if rule.action == "show" and rule.box is not None)


def _boxless(
    policy: Policy, places: Collection[int], picture: Pixels, faces: Sequence[Face], sha256: str
) -> list[Decision]:
    """What a policy says without its rules that show a box.

    Such a rule means one face of one picture; in the next picture of the file somebody else may be in that place.
    """
    rules = enumerate(policy.rules, start=1)
    void = [rule.model_copy(update={"sha256": []}) if number in places else rule for number, rule in rules]
    decisions = dataclasses.replace(policy, rules=tuple(void)).decide(picture, faces, sha256)
    meant = dataclasses.replace(policy, people=(), recognizer=None).decide(
        picture, faces, sha256
    )  # by their places alone
    return [
        dataclasses.replace(one, rule=by.rule, reason=f"{one.reason}; {by.reason}, but {_ONE_ONLY}")
        if not (one.shown or one.rule) and by.rule in places
        else one
        for one, by in zip(decisions, meant, strict=True)
    ]


def _look(still: Still, anonymizer: Anonymizer) -> list[Face]:
    found = [anonymizer.detect(view) for view in views(still)]
    return found[0] if len(found) == 1 else distinct([face for faces in found for face in faces])


def _held(faces: Sequence[Sequence[Face]], frame: int) -> list[Face]:
    """A frame's faces and those of the frames around it: a hit missed in one frame is hidden by its neighbours'."""
    near = range(max(0, frame - _HOLD), min(len(faces), frame + _HOLD + 1))
    return distinct([face for at in near for face in faces[at]], _SAME)


def _add(report: FileReport, result: Result) -> None:
    for name, number in result.counts.items():
        report.counts[name] = report.counts.get(name, 0) + number
    for outcome in result.outcomes:
        if outcome.fell_back:
            report.fallbacks[outcome.reason] = report.fallbacks.get(outcome.reason, 0) + 1


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if same_file(source, target):
        raise UsageError(
            "Input and output are the same file",
            got=str(target),
            action="Choose another output: the original is never overwritten",
        )
    if target.is_dir():
        raise UsageError("The output is a folder", expected="the name of a file", got=str(target))
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already", action="Add --overwrite to replace it, or choose another output")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read", got=error.strerror or str(error)) from error


class _Journal:
    """What a folder's earlier runs wrote: one line a file, so that a killed run goes on."""

    def __init__(self, target: Path, fingerprint: str) -> None:
        self._path, self._fingerprint = target / JOURNAL, fingerprint
        self._rows: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            for line in self._path.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    self._rows[row["file"]] = row
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a run that was killed

    def find(self, name: str, source: Path, data: bytes, target: Path) -> FileReport | None:
        """The report of a file that needs no work any more."""
        row = self._rows.get(name)
        if row is None or row.get("input") != self._digest(source, data) or not self.wrote(name, target):
            return None
        fields = {"frames", "counts", "fallbacks", "removed", "notes", "faces"}
        return FileReport(name, "skipped", **{key: row[key] for key in fields if key in row})

    def wrote(self, name: str, target: Path) -> bool:
        """Whether the output that lies there is the one we wrote."""
        row = self._rows.get(name)
        if row is None or not target.is_file():
            return False
        with target.open("rb") as file:
            return bool(row.get("output") == hashlib.file_digest(file, "blake2b").hexdigest()[:32])

    def add(self, report: FileReport, source: Path, data: bytes, target: Path) -> None:
        """Note a finished file."""
        with target.open("rb") as file:
            output = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
        row = {**report.row(), "faces": report.faces, "input": self._digest(source, data), "output": output}
        with self._path.open("ab") as journal:
            journal.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            journal.flush()

    def _digest(self, source: Path, data: bytes) -> str:
        state = source.stat()
        what = data or f"{state.st_size} {state.st_mtime_ns}".encode()
        return hashlib.blake2b(
            what, key=hashlib.sha256(self._fingerprint.encode()).digest(), digest_size=16
        ).hexdigest()
