"""`fdf status`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdf.cli.output import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from fdf.pipeline.funnel import FunnelRow

FolderArgument = Annotated[Path, typer.Argument(help="A build folder.", show_default=False)]


def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show the funnel of a build: in, kept and dropped by reason, for each stage."""
    from fdf.pipeline.funnel import funnel
    from fdf.pipeline.layout import Layout

    rows = funnel(Layout(folder))
    if as_json:
        print_json([{**vars(row), "balanced": row.balanced} for row in rows])
        return
    print_funnel(rows)


def print_funnel(rows: Sequence[FunnelRow]) -> None:
    """The funnel, and under it what was counted besides."""
    print_table(
        "Funnel",
        ["stage", "unit", "#in", "#kept", "#dropped", "reasons", "state"],
        [
            [
                row.stage,
                row.unit,
                row.given,
                row.kept,
                sum(row.dropped.values()),
                ", ".join(f"{reason} {count:,}" for reason, count in row.dropped.items()),
                "done" if row.finished else f"{row.partitions} partitions so far",
            ]
            for row in rows
        ],
    )
    for row in rows:
        notes = ", ".join(f"{name} {count:,}" for name, count in row.notes.items() if count)
        if notes:
            typer.echo(f"{row.stage}: {notes}")
