"""`fdf lineage`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdf.cli.output import JsonOption, console, print_json, print_table, working

if TYPE_CHECKING:
    from fdf.gan.takedown import Eaten


def lineage(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs, or folders with such folders.", show_default=False)
    ],
    photo: Annotated[
        list[str] | None, typer.Option("--photo", help="Id of a photo. Repeatable.", show_default=False)
    ] = None,
    photo_list: Annotated[
        Path | None,
        typer.Option("--photo-list", help="Text file with one photo id a line.", show_default=False),
    ] = None,
    owner: Annotated[
        list[str] | None,
        typer.Option("--owner", help="Id of an owner: all of their photos. Repeatable.", show_default=False),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            help="Exports and checkpoints that lie elsewhere: a file or a folder. Repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Name the models that have seen a photo: checkpoints and exports, with their digests, to withdraw them.

    And the runs whose sample grids show it, to delete them. Exit code 1 if a model has seen one of the photos, or a grid shows
    one, or that isn't known of some model or grid; 0 if there is no such thing.
    """
    from dataclasses import asdict

    from fdf.errors import UsageError
    from fdf.gan.takedown import models_that_ate, read_ids

    photos = [*(photo or []), *(read_ids(photo_list) if photo_list else [])]
    if not photos and not owner:
        raise UsageError("No photo was named", expected="--photo, --photo-list or --owner")
    with working("looking through runs"):
        found = models_that_ate(runs, photos, owner or [], model or [])
    if as_json:
        print_json(asdict(found))
    else:
        _show(found, runs)
    raise typer.Exit(1 if found.ate or found.strangers or found.shown else 0)


def _show(found: Eaten, runs: list[Path]) -> None:
    out = console()
    if found.ate:
        rows = [
            [run.name, one.kind, one.path, one.pictures, len(one.photos), one.sha256]
            for run in found.ate
            for one in run.models
        ]
        print_table(
            "Models that have seen these photos", ["run", "kind", "file", "#pictures", "#photos", "sha256"], rows
        )
        for run in found.ate:
            card = f"; its card: {run.card}" if run.card else ""
            out.print(f"{run.name} has seen {_some(run.photos)}{card}")
        out.print("Weights can't forget: build the shards again without the photos, train anew, withdraw these files.")
    else:
        out.print(
            f"No model of the {found.runs:,} runs below {', '.join(map(str, runs))} has seen one of these photos."
        )
    for grids in found.shown:
        where = " and ".join(f"{folder}/" for folder in grids.folders)
        if grids.why:
            out.print(f"Whether the grids in {where} show them is not known: {grids.why}. Delete them if in doubt.")
        else:
            out.print(
                f"{grids.name} shows {_some(grids.photos)}, faces unmasked, in {where}: delete them, and what was copied."
            )
    if found.unknown:
        out.print(f"In no run's faces: {_some(found.unknown)}")
    for one in found.strangers:
        out.print(f"Whether {one.path} has seen them is not known: {one.why}.")


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:10]) + (" …" if len(ids) > 10 else "")
