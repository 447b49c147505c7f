"""Films in `fdf anonymize`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fdf.cli.anonymize_progress import Bars

if TYPE_CHECKING:
    from fdf.anonymize.audit_log import AuditLog
    from fdf.anonymize.files import FileReport, TreeReport
    from fdf.anonymize.film_options import VideoOptions
    from fdf.anonymize.image import Anonymizer
    from fdf.anonymize.people import People


@dataclass(frozen=True)
class Films:
    """Anonymizes films, each by a call. Those of one object agree on who is who; `dataclasses.replace` makes one that forgot.

    Attributes:
        options: of `fdf.anonymize.video.VideoOptions`.
        threshold: of the films' own detector; None for the one that pictures get.
        alone: there is one film, no folder: it may have detections.
        look: settings of the detector, whichever it is.
        detections: file with its faces.
        save: file for its faces.
        numbered: something depends on the numbers of people: a face that is drawn, or a file of faces.
        people: a recognizer tells people apart, within a film and across films; without it every track is somebody else.
        log: where decisions go.
        bars: show how far it is.
    """

    options: dict[str, Any]
    threshold: float | None
    alone: bool
    look: tuple[object, ...] = ()
    detections: Path | None = None
    save: Path | None = None
    numbered: bool = False
    people: bool = False
    log: AuditLog | None = None
    bars: Bars = field(default_factory=Bars)

    def video_options(self) -> VideoOptions:
        """What is asked of every film.

        Raises:
            UsageError: a value that can't be.
        """
        from fdf.anonymize.film_options import VideoOptions

        files: dict[str, Any] = {"detections": self.detections, "save_detections": self.save} if self.alone else {}
        return VideoOptions(**self.options, **files)

    def __call__(self, source: Path | str, target: Path, anonymizer: Anonymizer) -> FileReport:
        """Anonymize one film.

        Raises:
            FdfError: it can't be read or written; nothing is there then.
        """
        from fdf.anonymize.container import is_stream
        from fdf.anonymize.files import FileReport
        from fdf.anonymize.video import anonymize_video
        from fdf.errors import UsageError

        name = "stream" if is_stream(source) else Path(source).name
        if self.detections and not self.alone:
            raise UsageError(
                f"{name}: --detections of a folder is for pictures, not for films", action="Give films one by one"
            )
        options, notes = self.video_options(), []
        if self.save and not self.alone:
            notes.append("--save-detections of a folder is for pictures: its faces are not saved")
        told: dict[str, Any] = {"audit": self.log} if self.log else {}
        if self.numbered and not self.detections:
            told["people"] = self._begun(source, options)
        with self.bars.film(name) as progress:
            if progress is not None:
                told["progress"] = progress
            result = anonymize_video(source, target, self._looking(anonymizer), options, **told)
        shows = {"shown": result.shown} if anonymizer.policy is not None else {}
        counts = {"faces": result.covered, **shows, **result.methods}
        counts |= {"fell_back": result.fell_back, "tracks": result.tracks}
        notes += [*result.notes, *([f"sound: {result.audio}"] if result.audio else [])]
        return FileReport(name, "done", frames=result.frames, counts=counts, removed=list(result.removed), notes=notes)

    @cached_property
    def _people(self) -> People:
        from fdf.anonymize.people import People, dlib_people

        return dlib_people() if self.people else People()

    def _begun(self, source: Path | str, options: VideoOptions) -> People:
        """Who is who so far; whoever is new now gets a number of this film, as it is looked at."""
        part = (options.start, options.end) if options.trim else ()
        looks = (options.every, options.hold, options.look_ahead, options.partial)
        self._people.begin(source, *self.look, *looks, *part)
        return self._people

    def _looking(self, anonymizer: Anonymizer) -> Anonymizer:
        """With the films' own detector: a tracker makes up for what one look misses."""
        if self.threshold is None:
            return anonymizer
        from fdf.anonymize.video import FilmFinder

        return anonymizer.with_finder(FilmFinder(threshold=self.threshold))


def say_forgotten(report: TreeReport) -> None:
    """Tell that nobody is remembered from films that an earlier run has done, if there are more."""
    from fdf.anonymize.files import is_video

    films = [one for one in report.files if is_video(one.file)]
    before = sum(one.status == "skipped" for one in films)
    if before and any(one.status == "done" for one in films):
        typer.secho(
            f"note: {before:,} film{'' if before == 1 else 's'} done before: whoever is in one of them and in a film of "
            "this run has two faces. To have one, make all anew in another output folder",
            fg="yellow",
            err=True,
        )
