"""Making a stage anew without losing the old one before there is something new."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from fdf.pipeline.layout import Layout
from fdf.pipeline.recipe import STAGES
from fdf.store.files import TEMPORARY, disk_errors

_OLD = f"{TEMPORARY}old"


@contextlib.contextmanager
def set_aside(layout: Layout, stage: str) -> Iterator[None]:
    """Put a stage's folder aside while it is made anew; put it back if that fails before its first partition is done."""
    folder, old = layout.stage(stage), _old(layout, stage)
    with disk_errors(folder):
        if folder.exists():
            folder.rename(old)
    try:
        yield
    finally:
        _settle(layout, stage)


def settle_leftovers(layout: Layout) -> None:
    """Finish what a killed rebuild left: old folders go back if nothing new was done, else they go."""
    for stage in STAGES:
        _settle(layout, stage)


def _settle(layout: Layout, stage: str) -> None:
    folder, old = layout.stage(stage), _old(layout, stage)
    if not old.exists():
        return
    with disk_errors(folder):
        if (folder / "stage.json").exists() or any(
            folder.glob("*.receipt.json")
        ):  # a finished stage may have no partition
            shutil.rmtree(old)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            old.rename(folder)


def _old(layout: Layout, stage: str) -> Path:
    return layout.root / f"{stage}{_OLD}"
