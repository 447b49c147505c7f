"""`fdf synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fdf.cli.output import BuildProgress, JsonOption, print_json


def synth(
    out: Annotated[Path, typer.Argument(help="Folder for the corpus; run again with the same options to go on.")],
    people: Annotated[int, typer.Option("--people", help="How many different people.")] = 10,
    shots: Annotated[int, typer.Option("--shots", help="In how many photos each of them is.")] = 2,
    size: Annotated[int, typer.Option("--size", help="Short side of the photos, pixels.")] = 256,
    scene: Annotated[
        Literal["portrait", "group", "crowd"], typer.Option("--scene", help="One person, 2–5, or 8–20 in a photo.")
    ] = "portrait",
    seed: Annotated[int, typer.Option("--seed", help="Other seeds, other people.")] = 0,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, max=1024, help="Processes.")] = 1,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="TOML with other distributions: docs/synth.md.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Render photos of people who do not exist, with exact truth: a source like any other, consent needed from nobody.

    Needs the extra `synth` of the package. Build a dataset from it with `pipelines/synthetic.toml`.
    """
    from fdf.synth.recipe import SynthRecipe, load_synth_recipe
    from fdf.synth.source import Request, synthesize

    request = Request(people, shots, size, scene, seed, load_synth_recipe(recipe) if recipe else SynthRecipe())
    try:
        with BuildProgress() as progress:

            def started(total: int, done: int) -> None:
                progress.stage("synth", total)
                progress.advance(done)

            result = synthesize(request, out, workers=workers, started=started, advance=progress.advance)
    except KeyboardInterrupt:
        typer.secho("interrupted: finished photos are kept; run the same command again to go on", fg="yellow", err=True)
        raise typer.Exit(130) from None
    if as_json:
        print_json(vars(result))
        return
    typer.echo(
        f"{result.photos:,} photos with {result.faces:,} faces in {out} ({result.made:,} made now, {result.seconds:.0f} s). "
        "Nobody in them exists; CC0 1.0."
    )
