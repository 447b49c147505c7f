"""What all tests share: a fixed clock, and the sample corpus built once for the whole session."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
EPOCH = "1700000000"
"""SOURCE_DATE_EPOCH of all builds in tests: columns that hold a time agree, too."""


# No test is timed: on a busy machine any example can take longer than Hypothesis' 200 ms, or seconds to make.
settings.register_profile("fdf", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fdf")

# What a script starts in its background ignores Ctrl-C, and so do its children: tests that send one would wait in vain.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def sample_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of the sample recipe. Read-only: tests that change a build copy it."""
    from fdf.pipeline.recipe import load_recipe
    from fdf.pipeline.runner import build

    # Test processes share one build: the first makes it, the others leave it alone. Building again would write its recipe with
    # another port, while somebody reads it.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out, finished = shared / "sample-build", shared / "sample-build.finished"
    with FileLock(shared / "sample-build.lock"), pytest.MonkeyPatch.context() as patch:
        if not finished.exists():
            patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
            recipe = load_recipe(ROOT / "pipelines/sample.toml", [f"loopback.port={free_port()}"])
            build(recipe, out, workers=2)
            finished.touch()
    return out
