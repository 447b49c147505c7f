"""A small recipe that runs in seconds: some rows of the sample corpus, faster detection, three partitions."""

from __future__ import annotations

import bz2
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, free_port

ROWS = (0, 1, 2, 4, 20, 46, 60, 66, 70, 75, 80, 83, 88)
"""Good photos, a group, a licence that refuses, misbehaving URLs, an id that repeats across partitions."""


@pytest.fixture(scope="session")
def small_port() -> int:
    """One port for all small builds: URLs in their tables must agree."""
    return free_port()


@pytest.fixture
def small_recipe(tmp_path: Path, small_port: int) -> Callable[..., Path]:
    """Writes the small recipe; keyword arguments are extra TOML lines by section."""

    def write(folder: Path = tmp_path, *, port: int = small_port, extra: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        lines = bz2.decompress((ROOT / "fdf/data/sample/yfcc100m_sample.tsv.bz2").read_bytes()).split(b"\n")
        (folder / "rows.tsv").write_bytes(b"".join(lines[row] + b"\n" for row in ROWS))
        recipe = folder / "small.toml"
        recipe.write_text(
            f"""
name = "small"
partition_rows = 5
[source]
path = "rows.tsv"
[loopback]
folder = "bundled:sample/mirror"
port = {port}
[fetch]
allowed_hosts = []
requests_per_second = 0
backoff = 0.0
[detect]
embedder = ""
second_pass = false
[manifest]
shard_faces = 4
{extra}
"""
        )
        return recipe

    return write


def fingerprints(out: Path) -> dict[str, str]:
    """SHA-256 of every file that a build makes, but for receipts, which hold times and hosts, and memories of input files."""
    skipped = {".lock", "inputs.json"}
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in skipped and not path.name.endswith(".receipt.json")
    }
