"""`fdf build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdf.cli.output import BuildProgress, JsonOption, print_json, print_table
from fdf.errors import UsageError

if TYPE_CHECKING:
    from fdf.pipeline.recipe import Recipe
    from fdf.pipeline.runner import Selection

DEFAULT_RECIPE = Path("pipelines/sample.toml")


def build(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="TOML recipe. Left out: the one stored in --out, else pipelines/sample.toml.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Build folder. Left out: build/<name of the recipe>.", show_default=False),
    ] = None,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Run this stage only; earlier ones must be finished.")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="Start with this stage.")] = None,
    last: Annotated[str | None, typer.Option("--until", help="End with this stage.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, max=1024, help="Processes; default: all cores.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value: `filter.rules.min_face=48`. Repeatable.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Throw the selected stages away and make them anew.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Print the plan and an estimate; change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a dataset: metadata → fetch → detect → filter → manifest → shard.

    Run it again to go on where it stopped: finished partitions are skipped, and a folder made with other settings is refused.
    """
    from fdf.pipeline.runner import Selection

    loaded, folder = load(recipe, out, overrides or [])
    selection = Selection.of(stage, first, last)
    if dry_run:
        _print_plan(loaded, folder, selection, workers, as_json)
        return
    _run(loaded, folder, selection, workers, rebuild, as_json)


def load(recipe: Path | None, out: Path | None, overrides: list[str]) -> tuple[Recipe, Path]:
    """The recipe and the folder that the arguments mean."""
    from fdf.pipeline.layout import Layout
    from fdf.pipeline.recipe import load_recipe

    if recipe is None:
        stored = Layout(out).recipe if out else None
        recipe = stored if stored and stored.is_file() else DEFAULT_RECIPE
        if not recipe.is_file():
            raise UsageError(
                "No recipe was given",
                expected="a TOML file, or --out with an earlier build in it",
                action="For example: fdf build pipelines/sample.toml --out build/sample",
            )
    loaded = load_recipe(recipe, overrides)
    return loaded, out or Path("build") / loaded.name


def _run(recipe: Recipe, folder: Path, selection: Selection, workers: int | None, rebuild: bool, as_json: bool) -> None:
    from fdf.cli.status import print_funnel
    from fdf.pipeline.funnel import funnel
    from fdf.pipeline.layout import Layout
    from fdf.pipeline.runner import build as run_build

    try:
        with BuildProgress() as progress:
            result = run_build(recipe, folder, selection=selection, workers=workers, rebuild=rebuild, reporter=progress)
    except KeyboardInterrupt:
        typer.secho(
            "interrupted: finished partitions are kept; run the same command again to go on", fg="yellow", err=True
        )
        raise typer.Exit(130) from None
    rows = funnel(Layout(result.root))
    if as_json:
        print_json({"out": folder, "ran": result.ran, "skipped": result.skipped, "funnel": [vars(row) for row in rows]})
        return
    print_funnel(rows)


def _print_plan(recipe: Recipe, folder: Path, selection: Selection, workers: int | None, as_json: bool) -> None:
    from fdf.pipeline.plan import plan, total

    steps = plan(recipe, folder, selection, workers)
    if as_json:
        print_json({"recipe": recipe.name, "out": folder, "plan": [vars(step) for step in steps]})
        return
    print_table(
        f"Plan for {recipe.name} in {folder}",
        ["stage", "reads", "unit", "#partitions", "#done", "#units", "#estimate", "note"],
        [[s.stage, ", ".join(s.reads), s.unit, s.partitions, s.done, s.units, s.estimate, s.note] for s in steps],
    )
    typer.echo(f"In all about {total(steps)}; counts of stages to come are upper bounds.")
