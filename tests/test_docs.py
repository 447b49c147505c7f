"""Documentation that can't lie: generated pages are current, commands in the text exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import fdf.cli.commands  # noqa: F401 - registers the commands
from fdf.cli.app import app
from fdf.cli.docs import pages
from fdf.gan.config import load_train_recipe
from fdf.pipeline.recipe import load_recipe
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(pages()))
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages()[name], "run `fdf docs`"


def blocks(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.S) for line in block.splitlines()
    ]
    inline = re.findall(r"`(fdf [a-z][^`]*)`", text)
    return [line.removeprefix("$ ").split("  #")[0].strip() for line in lines + inline]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_shown_exists_with_its_options(path: Path) -> None:
    for line in blocks(path):
        words = shlex.split(line.replace("…", "")) if line.startswith("fdf ") else []
        if len(words) < 2 or words[1].startswith("-"):
            continue
        assert words[1] in COMMANDS, f"{path.name}: {line}"
        known = {option for parameter in COMMANDS[words[1]].params for option in parameter.opts} | {"-h", "--help"}
        used = {word.split("=")[0] for word in words[2:] if word.startswith("-")}
        assert used <= known, f"{path.name}: {line}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_inside_the_project_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_readme_begins_with_two_commands() -> None:
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_loads_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    resolved = tmp_path / "recipe.toml"
    resolved.write_text(recipe.to_toml())
    assert load_recipe(resolved) == recipe


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines/train").glob("*.toml")), ids=lambda path: path.name)
def test_every_training_recipe_loads_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    recipe = load_train_recipe(path)
    resolved = tmp_path / "recipe.toml"
    resolved.write_text(recipe.to_toml())
    assert load_train_recipe(resolved) == recipe


def test_nothing_speaks_of_the_place_where_it_was_written() -> None:
    """Paths of one machine have no business in a project."""
    words = re.compile(r"/(?:root|home/\w+)/|/work/")
    for path in [*PAGES, *(ROOT / "pipelines").rglob("*.toml"), *(ROOT / "fdf").rglob("*.py")]:
        assert not words.search(path.read_text(encoding="utf-8")), path
