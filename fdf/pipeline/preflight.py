"""What can be refused is refused before anything is run, written or thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fdf.errors import RecipeError, UsageError
from fdf.pipeline.jobs import Jobs, open_recipe_source
from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES, Recipe
from fdf.pipeline.worker import http_policy
from fdf.sources import bundled
from fdf.sources.loopback import LoopbackMirror
from fdf.vision.zoo import model, path_of


def check(recipe: Recipe, layout: Layout, names: Sequence[str], *, rebuild: bool) -> None:
    """Check that the stages `names` can run.

    Raises:
        UsageError: earlier stages, or the source, are missing. RecipeError: a setting can't work.
        FingerprintError: a stage that is there was made from something else (not with `rebuild`).
        MachineError: the port of the loopback mirror is taken. ModelError: weights are missing or altered.
    """
    _require_earlier(layout, names)
    if not rebuild:
        jobs = Jobs(recipe, layout)
        for name in names:
            jobs.refuse_other_settings(STAGES[name])
    to_run = [name for name in names if rebuild or layout.finished(name) is None]
    if "metadata" in to_run:
        open_recipe_source(recipe)
    if "fetch" in to_run:
        _check_fetch(recipe)
    if "detect" in to_run:
        for entry in recipe.detect.models():
            if not (recipe.detect.detector_path or recipe.detect.embedder_path):
                _check_weights(entry["id"])


def _check_weights(model_id: str) -> None:
    entry = model(model_id)
    if entry.where == "bundled":
        path_of(entry)


def _check_fetch(recipe: Recipe) -> None:
    http_policy(recipe, processes=1)
    if recipe.loopback is not None:
        with LoopbackMirror(bundled.resolve(recipe.loopback.folder, Path()), recipe.loopback.port):
            return
    host = urlsplit(recipe.fetch.mirror).netloc.lower()
    asks_mirror = {"mirror", "mirror_ext"} & set(recipe.fetch.candidates)
    if asks_mirror and host not in {allowed.lower() for allowed in recipe.fetch.allowed_hosts}:
        raise RecipeError(
            f"fetch.mirror is at {host}, which is not among fetch.allowed_hosts: every photo would be refused",
            expected=f"{host} among {', '.join(recipe.fetch.allowed_hosts) or 'none'}",
            action="Add it to fetch.allowed_hosts, or leave the mirror out of fetch.candidates",
        )


def _require_earlier(layout: Layout, names: Sequence[str]) -> None:
    """Everything before the first selected stage must be finished."""
    every = list(STAGES)
    missing = [name for name in every[: every.index(names[0])] if layout.finished(name) is None]
    if missing:
        raise UsageError(
            f"{names[0]} can't run yet",
            expected=f"finished stages before it in {layout.root}",
            got=f"{', '.join(missing)} still missing",
            action=f"Run the same command with `--until {missing[-1]}` first, or with `--until {names[-1]}` alone to run all",
        )
