"""`fdf doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdf.cli.output import JsonOption, print_json, print_table


def doctor(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder you mean to build in: its disk is looked at.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Check this machine: libraries, model weights, disk, loopback port. Exit code 1 if something is missing."""
    from fdf.pipeline.doctor import examine

    checks = examine(out)
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        print_table(
            "This machine", ["check", "ok", "found", "what to do"], [[c.name, c.ok, c.found, c.action] for c in checks]
        )
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)
