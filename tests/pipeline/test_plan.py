"""`--dry-run`: what is done, what differs, how long the rest takes; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fdf.errors import UsageError
from fdf.pipeline.plan import Step, duration, plan, total
from fdf.pipeline.recipe import load_recipe
from fdf.pipeline.runner import Selection, build


def test_a_new_build(small_recipe: Callable[..., Path], tmp_path: Path) -> None:
    steps = plan(load_recipe(small_recipe()), tmp_path / "out", Selection.of(), workers=1)
    assert [step.stage for step in steps] == ["metadata", "fetch", "detect", "filter", "manifest", "shard"]
    assert (steps[0].units, steps[0].partitions, steps[0].done, steps[0].note) == (13, 3, 0, "")
    assert all(step.estimate == duration(step.seconds) for step in steps)
    assert total(steps) == duration(sum(step.seconds for step in steps))
    assert not (tmp_path / "out").exists()


def notes(steps: list[Step]) -> dict[str, str]:
    return {step.stage: step.note for step in steps}


def test_what_differs_is_not_done(small_recipe: Callable[..., Path], tmp_path: Path) -> None:
    path, out = small_recipe(), tmp_path / "out"
    build(load_recipe(path), out, workers=1, selection=Selection.of(last="filter"))
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    done = plan(load_recipe(path), out, Selection.of(last="filter"))
    assert set(notes(done).values()) == {"done"}
    assert total(done) == "0 s"
    changed = plan(
        load_recipe(path, ["filter.rules.min_face=99", "detect.score=0.6", "fetch.retries=7"]), out, Selection.of()
    )
    assert notes(changed) == {
        "metadata": "done",
        "fetch": "done",
        "detect": "differs: config.score: 0.5 → 0.6 (needs --from detect --rebuild)",
        "filter": "differs: config.rules.min_face: 24.0 → 99.0 (needs --from detect --rebuild)",
        "manifest": "",
        "shard": "",
    }
    assert [step.done for step in changed] == [3, 3, 0, 0, 0, 0]
    assert changed[2].seconds > 0
    only = plan(load_recipe(path, ["detect.score=0.6"]), out, Selection.of(first="detect"))
    assert notes(only)["filter"] == "made before detect was changed"
    other = plan(load_recipe(path, ["partition_rows=6"]), out, Selection.of(stage="metadata"))
    assert "source.partition_rows: 5 → 6" in notes(other)["metadata"]
    assert before == {file: file.stat().st_mtime_ns for file in out.rglob("*")}


def test_a_missing_source_is_a_clear_refusal(small_recipe: Callable[..., Path], tmp_path: Path) -> None:
    path, out = small_recipe(), tmp_path / "out"
    build(load_recipe(path), out, workers=1, selection=Selection.of(last="metadata"))
    (tmp_path / "rows.tsv").unlink()
    recipe = load_recipe(path)
    with pytest.raises(UsageError, match=r"rows\.tsv does not exist.*\[source\]"):
        plan(recipe, out, Selection.of())
    with pytest.raises(UsageError, match=r"rows\.tsv does not exist"):
        plan(recipe, tmp_path / "other", Selection.of(first="fetch"))
    # Stages after finished metadata need no source.
    assert plan(recipe, out, Selection.of(stage="fetch"))[0].units == 13


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.2, "<1 s"),
        (12.4, "12 s"),
        (300, "5.0 min"),
        (12_240, "3.4 h"),
        (1_365_120, "15.8 d"),
        (4e8, "4,629.6 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
