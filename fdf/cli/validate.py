"""`fdf validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdf.cli.output import JsonOption, console, print_json, working
from fdf.cli.status import FolderArgument


def validate(
    folder: FolderArgument,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Also compare the manifest with a published one: a folder such as manifests/sample.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-check a build: every digest, every schema, in = kept + dropped, shards against the manifest.

    Exit code 1 if anything is wrong.
    """
    from fdf.pipeline.compare import compare_manifests
    from fdf.pipeline.layout import Layout, find_release
    from fdf.pipeline.validate import steps
    from fdf.pipeline.validate import validate as check

    layout = Layout(folder)
    if against is not None:
        against = find_release(against)  # a wrong argument is said before the long check, not after it
    with working("checking", steps(layout)) as advance:
        result = check(layout, advance)
    problems = list(result.problems)
    if against is not None:
        with working("comparing"):
            problems += compare_manifests(layout, against)
    if as_json:
        print_json({"checked": result.checked, "problems": [vars(problem) for problem in problems]})
    else:
        out = console()
        for problem in problems:
            out.print(f"{problem.where}: {problem.what}")
        checked = ", ".join(f"{count:,} {what}" for what, count in result.checked.items())
        out.print(f"{'WRONG' if problems else 'ok'}: {checked} checked, {len(problems):,} problems")
    raise typer.Exit(1 if problems else 0)
