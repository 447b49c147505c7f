"""Receipts: what a finished partition was made from, and what it holds.

A receipt is written last. If it is there, the partition is whole; if its fingerprint is today's, the partition is skipped;
if it is another, the build refuses and says what differs. A *stage* receipt follows when all its partitions have theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fdf.errors import DataError
from fdf.store.files import write_bytes


@dataclass(frozen=True)
class Output:
    """One file that a partition wrote, relative to the build folder."""

    sha256: str
    size: int
    rows: int | None = None
    content: str | None = None
    """Content digest for tables; None for other files."""


@dataclass(frozen=True)
class Receipt:
    """What one partition was made from and what came out.

    Attributes:
        fingerprint: inputs (content digests), config, stage version and model digests: all that decides the output.
        counts: `in`, `kept`, `rows`, and `dropped` by reason; in = kept + Σ dropped.
        notes: other things counted, such as fields that became null.
        code: fdf version that ran; `made`: when, where, how long. Neither is part of the fingerprint.
    """

    stage: str
    partition: str
    fingerprint: Mapping[str, Any]
    counts: Mapping[str, Any]
    notes: Mapping[str, int]
    models: tuple[Mapping[str, str], ...]
    outputs: Mapping[str, Output]
    code: str
    made: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it atomically."""
        write_bytes(path, (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Receipt | None:
        """Read it; None if there is none.

        Raises:
            DataError: there is a file, but no receipt in it.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(
                f"{path} is no receipt ({error})", action="Remove it: its partition is built again"
            ) from error
        try:
            outputs = {name: Output(**output) for name, output in raw.pop("outputs").items()}
            return cls(**(raw | {"outputs": outputs, "models": tuple(raw["models"])}))
        except (TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{path} is a receipt of another version of fdf", action="Build again with --rebuild"
            ) from error

    def present(self, root: Path) -> bool:
        """Whether all outputs are there with the size they had (their bytes are checked by `fdf validate`)."""
        return all(
            (root / name).is_file() and (root / name).stat().st_size == o.size for name, o in self.outputs.items()
        )


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints, a line each: `config.min_face: 24 → 32`."""
    flat_before, flat_now = dict(_flatten(before)), dict(_flatten(now))
    missing = "(none)"
    return [
        f"{key}: {_short(flat_before.get(key, missing))} → {_short(flat_now.get(key, missing))}"
        for key in sorted(flat_before.keys() | flat_now.keys())
        if flat_before.get(key, missing) != flat_now.get(key, missing)
    ]


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flatten(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "…" + text[-8:]
