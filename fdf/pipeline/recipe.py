"""Recipes: TOML values → frozen, checked settings. Nothing in a recipe is ever executed."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from fdf.errors import RecipeError
from fdf.sources import bundled
from fdf.stages.base import Config, Stage, execution
from fdf.stages.detect import STAGE as DETECT
from fdf.stages.detect import DetectConfig
from fdf.stages.fetch import STAGE as FETCH
from fdf.stages.fetch import FetchConfig
from fdf.stages.filter import STAGE as FILTER
from fdf.stages.filter import FilterConfig
from fdf.stages.manifest import STAGE as MANIFEST
from fdf.stages.manifest import ManifestConfig
from fdf.stages.metadata import STAGE as METADATA
from fdf.stages.metadata import MetadataConfig
from fdf.stages.shard import STAGE as SHARD
from fdf.stages.shard import ShardConfig

STAGES: dict[str, Stage] = {stage.name: stage for stage in (METADATA, FETCH, DETECT, FILTER, MANIFEST, SHARD)}
"""The pipeline, in order."""


_PATHS = ("source.path", "loopback.folder", "detect.detector_path", "detect.embedder_path")


class SourceConfig(Config):
    """Where photo records come from."""

    kind: Literal["yfcc", "photo_list"] = Field("yfcc", description="Form of the metadata: see docs/sources.md.")
    name: str = Field("", description="Name written into the tables; default: the kind.")
    path: str = Field(description="The file: relative to the recipe, absolute, or `bundled:…` for one that fdf ships.")
    options: dict[str, str | int | bool] = Field({}, description="Options of this kind of source.")


class LoopbackConfig(Config):
    """A mirror of our own on 127.0.0.1, for samples and tests. Replaces `fetch.mirror`."""

    folder: str = Field(description="What to serve: laid out like the public mirror.")
    port: int = execution(8377, "Port; 0 takes any free one.", ge=0, le=65535)


class Recipe(Config):
    """A whole recipe. Sections are the stages' own settings."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Short name: letters, digits, - and _.")
    description: str = execution("", "What this recipe is for.")
    partition_rows: int = Field(
        10_000, ge=1, le=1_000_000, description="Metadata rows in a partition: the unit of resuming."
    )
    source: SourceConfig
    loopback: LoopbackConfig | None = None
    metadata: MetadataConfig = MetadataConfig()
    fetch: FetchConfig = FetchConfig()
    detect: DetectConfig = DetectConfig()
    filter: FilterConfig = FilterConfig()
    manifest: ManifestConfig = ManifestConfig()
    shard: ShardConfig = ShardConfig()

    @model_validator(mode="after")
    def _agree(self) -> Recipe:
        """Settings that contradict each other."""
        smallest = min(self.shard.resolutions)
        if not self.shard.enlarge and self.filter.rules.min_crop < smallest:
            raise ValueError(
                f"filter.rules.min_crop is {self.filter.rules.min_crop}, the smallest of shard.resolutions is {smallest}: "
                "faces in between would be in the manifest and in no shard; raise one, lower the other, or set shard.enlarge"
            )
        others = [name for name in self.fetch.candidates if name != "download_url"]
        if self.source.kind == "photo_list" and "candidates" in self.fetch.model_fields_set and others:
            raise ValueError(f"fetch.candidates: a photo_list gives download_url only, not {', '.join(others)}")
        if self.detect.min_side > self.detect.max_side:
            raise ValueError("detect.min_side is larger than detect.max_side")
        return self

    def section(self, stage: str) -> Config:
        """Settings of one stage."""
        config: Config = getattr(self, stage)
        return config

    def to_toml(self) -> str:
        """The resolved recipe, with every default spelled out: it can be built again as it is."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe; paths in it become absolute.

    Args:
        path: a TOML file.
        overrides: `section.key=value` with a TOML value, for example `filter.rules.min_face=48`.

    Raises:
        RecipeError: unreadable, no TOML, an unknown key (with the nearest known one) or an impossible value.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"There is no recipe {path}", expected="a TOML file; pipelines/ holds examples") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} can't be read as a recipe ({error})", expected="a TOML file in UTF-8") from error
    for override in overrides:
        _override(values, override)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(
            f"{path} is no valid recipe: " + "; ".join(_explain(error)),
            action="All keys are in docs/recipes.md",
        ) from error
    return _resolved(recipe, path.resolve().parent)


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    source = recipe.source.model_copy(
        update={"path": _absolute(recipe.source.path, base), "name": recipe.source.name or recipe.source.kind}
    )
    loopback = recipe.loopback and recipe.loopback.model_copy(
        update={"folder": _absolute(recipe.loopback.folder, base)}
    )
    weights = {
        name: _absolute(path, base)
        for name in ("detector_path", "embedder_path")
        if (path := getattr(recipe.detect, name))
    }
    update: dict[str, Any] = {
        "source": source,
        "loopback": loopback,
        "detect": recipe.detect.model_copy(update=weights),
    }
    if recipe.source.kind == "photo_list":
        update["fetch"] = recipe.fetch.model_copy(update={"candidates": ("download_url",)})
    return recipe.model_copy(update=update)


def _absolute(path: str, base: Path) -> str:
    return path if path.startswith(bundled.PREFIX) else str(bundled.resolve(path, base))


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(
            f"--set {override!r} can't be read", expected="section.key=value, e.g. filter.rules.min_face=48"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is meant as text
    if key.strip() in _PATHS and isinstance(value, str):
        value = _absolute(value, Path.cwd())  # who types a path means it from where they stand
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {override!r}: {section} is a value, not a section")
    values[last] = value


def _explain(error: ValidationError) -> Iterator[str]:
    """One clause a problem: where, what was expected, what came, and the nearest known key."""
    for problem in error.errors(include_url=False)[:5]:
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = sorted(_known_keys(Recipe, problem["loc"][:-1]))
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f", known here: {', '.join(known)}"
            yield f"unknown key {where!r}{hint}"
        elif problem["type"] == "missing":
            yield f"{where!r} is missing"
        else:
            came = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
            said = problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {said}{came}" if where else said
    if error.error_count() > 5:
        yield f"and {error.error_count() - 5} more"


def _known_keys(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        choices = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
