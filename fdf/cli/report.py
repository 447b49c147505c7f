"""`fdf report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdf.cli.output import working
from fdf.cli.status import FolderArgument


def report(
    folder: FolderArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page. Left out: report.html in the build.", show_default=False),
    ] = None,
    faces: Annotated[int, typer.Option(min=0, max=500, help="Example faces on the page.")] = 48,
) -> None:
    """Write one self-contained HTML page: funnel, licences, sizes, poses, quality, faces, models, how to rebuild."""
    from fdf.report.page import write_report

    with working("writing the report"):
        path = write_report(folder, out, faces=faces)
    typer.echo(path)
