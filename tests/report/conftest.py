"""Builds to report on: the finished sample, and changed copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fdf.pipeline.layout import Layout
from fdf.report.page import write_report
from fdf.report.snapshot import Snapshot, take_snapshot

AFTER_FETCH = ("detect", "filter", "manifest", "shard")


@pytest.fixture(scope="session")
def snapshot(sample_build: Path) -> Snapshot:
    return take_snapshot(Layout(sample_build))


@pytest.fixture(scope="session")
def page(sample_build: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the sample, with every face on it."""
    out = tmp_path_factory.mktemp("report") / "all.html"
    return write_report(sample_build, out, faces=500).read_text(encoding="utf-8")


@pytest.fixture
def copy_without(sample_build: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the sample build without some stages, as `--until` leaves it."""

    def copy(*stages: str) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(sample_build, folder, ignore=lambda _, names: [name for name in names if name == ".lock"])
        for stage in stages:
            shutil.rmtree(folder / stage)
        return folder

    return copy
