"""Films in `fdf anonymize`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdf.cli.anonymize_progress import Bars

if TYPE_CHECKING:
    from fdf.anonymize.audit_log import AuditLog
    from fdf.anonymize.files import FileReport
    from fdf.anonymize.image import Anonymizer


@dataclass(frozen=True)
class Films:
    """Anonymizes films, each by a call.

    Attributes:
        options: of `fdf.anonymize.video.VideoOptions`.
        threshold: of the films' own detector; None for the one that pictures get.
        alone: there is one film, no folder: it may have detections.
        detections: file with its faces.
        save: file for its faces.
        log: where decisions go.
        bars: show how far it is.
    """

    options: dict[str, Any]
    threshold: float | None
    alone: bool
    detections: Path | None = None
    save: Path | None = None
    log: AuditLog | None = None
    bars: Bars = field(default_factory=Bars)

    def __call__(self, source: Path | str, target: Path, anonymizer: Anonymizer) -> FileReport:
        """Anonymize one film.

        Raises:
            FdfError: it can't be read or written; nothing is there then.
        """
        from fdf.anonymize.container import is_stream
        from fdf.anonymize.files import FileReport
        from fdf.anonymize.video import VideoOptions, anonymize_video
        from fdf.errors import UsageError

        name = "stream" if is_stream(source) else Path(source).name
        if self.detections and not self.alone:
            raise UsageError(
                f"{name}: --detections of a folder is for pictures, not for films", action="Give films one by one"
            )
        options: dict[str, Any] = dict(self.options)
        notes = []
        if self.alone:
            options |= {"detections": self.detections, "save_detections": self.save}
        elif self.save:
            notes.append("--save-detections of a folder is for pictures: its faces are not saved")
        told: dict[str, Any] = {"audit": self.log} if self.log else {}
        with self.bars.film(name) as progress:
            if progress is not None:
                told["progress"] = progress
            result = anonymize_video(source, target, self._looking(anonymizer), VideoOptions(**options), **told)
        shows = {"shown": result.shown} if anonymizer.policy is not None else {}
        counts = {"faces": result.covered, **shows, **result.methods}
        counts |= {"fell_back": result.fell_back, "tracks": result.tracks}
        notes += [*result.notes, *([f"sound: {result.audio}"] if result.audio else [])]
        return FileReport(name, "done", frames=result.frames, counts=counts, removed=list(result.removed), notes=notes)

    def _looking(self, anonymizer: Anonymizer) -> Anonymizer:
        """With the films' own detector: a tracker makes up for what one look misses."""
        if self.threshold is None:
            return anonymizer
        from fdf.anonymize.video import FilmFinder

        return anonymizer.with_finder(FilmFinder(threshold=self.threshold))
