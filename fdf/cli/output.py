"""How commands speak: tables for people, JSON for machines, progress on the error stream."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_UNBROKEN = 10_000
"""Columns where no terminal limits them: a pipe wants whole lines."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]


def console(*, error: bool = False) -> Console:
    """A console that neither colours nor wraps when its stream is no terminal. Data is never read as markup."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(file=stream, markup=False, highlight=False, width=None if stream.isatty() else _UNBROKEN)


def print_json(value: Any) -> None:
    """JSON on standard output."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def write_report(file: Path | None, body: dict[str, Any]) -> None:
    """JSON in a file, atomically, where one is asked for."""
    from fdf.store.files import write_bytes

    if file:
        write_bytes(file, (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; columns that begin with `#` are right-aligned numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    plain = not sys.stdout.isatty()
    table = Table(title=Text(title), title_justify="left", box=box.ASCII2 if plain else box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left", no_wrap=plain)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    out.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return "" if value is None else str(value)


@contextlib.contextmanager
def working(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show on the error stream, if it is a terminal, that something long goes on; gives a function to say how far it is.

    A bar if `total` is known, else a spinner. It goes away at the end.
    """
    out = console(error=True)
    if not out.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = [BarColumn(), MofNCompleteColumn()] if total else []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *bar, TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda units: bars.advance(task, units)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends what runs as Ctrl-C does: by KeyboardInterrupt, so that it can clean up."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class BuildProgress:
    """A `Reporter`: one live bar for the current stage on a terminal, one line a finished stage elsewhere."""

    def __init__(self) -> None:
        self._console = console(error=True)
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._units = 0

    def __enter__(self) -> BuildProgress:
        if self._console.is_terminal:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description:>9}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def stage(self, name: str, total: int | None) -> None:
        """A stage starts."""
        self._units = 0
        if self._bars:
            self._task = self._bars.add_task(name, total=total)

    def advance(self, units: int) -> None:
        """Units of the current stage are done."""
        self._units += units
        if self._bars and self._task is not None:
            self._bars.advance(self._task, units)

    def finished(self, name: str, *, ran: int, skipped: int) -> None:
        """The stage ends."""
        if self._bars and self._task is not None:
            self._bars.update(self._task, total=max(self._units, 1), completed=max(self._units, 1))
        elif not self._bars:
            state = (
                "up to date" if not ran else f"{ran} partitions done" + (f", {skipped} were already" if skipped else "")
            )
            self._console.print(f"{name:>9}: {state}")
