"""What an engineer needs to make the build again, and to know that it is the same one."""

from __future__ import annotations

from dataclasses import dataclass

from fdf.pipeline.publish import CHECKSUMS
from fdf.pipeline.recipe import STAGES
from fdf.report.snapshot import Snapshot
from fdf.schema import RELEASE


@dataclass(frozen=True)
class Provenance:
    """Commands, and digests by stage and by file."""

    commands: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, str], ...]
    checksums: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ColumnLine:
    """One column of the release manifest."""

    name: str
    kind: str
    doc: str


def provenance(build: Snapshot) -> Provenance:
    """How to make the build again. Commands name no folder of this machine."""
    folder = f"build/{build.recipe.name}"
    return Provenance(
        commands=(
            (f"fdf build recipe.toml --out {folder}", "build it, or go on with it"),
            (f"fdf validate {folder}", "check every digest, schema and count"),
            (f"fdf audit {folder}", "check the rights of every face"),
            (f"fdf report {folder}", "make this page"),
        ),
        digests=tuple((name, build.records[name].content) for name in STAGES if name in build.records),
        checksums=_checksums(build),
    )


def data_dictionary() -> list[ColumnLine]:
    """The columns of the release manifest."""
    return [ColumnLine(f.name, str(f.type), (f.metadata or {}).get(b"doc", b"").decode()) for f in RELEASE]


def _checksums(build: Snapshot) -> tuple[tuple[str, str], ...]:
    """SHA-256 and name of the published files, as `sha256sum` wrote them."""
    path = build.layout.stage("manifest") / CHECKSUMS
    if not build.released or not path.is_file():
        return ()
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    return tuple((parts[0], parts[1]) for parts in lines if len(parts) == 2)
