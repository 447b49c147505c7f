"""How far `fdf anonymize` is, on the error stream if that is a terminal: files, and the frames of the film under way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fdf.cli.output import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class Bars:
    """One bar for the files of a folder, and one for each film while it lasts. Without `rich` bars nothing is shown."""

    def __init__(self, bars: Progress | None = None, files: int | None = None) -> None:
        self._bars = bars
        self._files: TaskID | None = None
        if bars is not None and files is not None:
            self._files = bars.add_task("anonymizing", total=files, unit="files")

    def advance(self, files: int) -> None:
        """Files are done."""
        if self._bars is not None and self._files is not None:
            self._bars.advance(self._files, files)

    @contextlib.contextmanager
    def film(self, name: str) -> Iterator[Callable[[int, int | None], None] | None]:
        """A bar for one film; gives what is called with the frames done and their number, if that is known."""
        bars = self._bars
        if bars is None:
            yield None
            return
        task = bars.add_task(name, total=None, unit="frames")
        try:
            yield lambda done, total: bars.update(
                task, completed=done, total=None if total is None else max(done, total)
            )
        finally:
            bars.remove_task(task)


@contextlib.contextmanager
def progress(files: int | None, *, quiet: bool, out: Console | None = None) -> Iterator[Bars]:
    """Bars that go away at the end.

    Args:
        files: of a folder or a pattern; None for a single one.
        quiet: show nothing.
        out: None for the error stream.
    """
    out = out or console(error=True)
    if quiet or not out.is_terminal:
        yield Bars()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Frames a second; files are too different for a rate."""

        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} frames/s" if speed and task.fields["unit"] == "frames" else "")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as bars:
        yield Bars(bars, files)
