"""What was learnt before a run's first picture: the runs whose weights it begins with, and what these ate."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import DataError
from fdf.gan.config import DataConfig
from fdf.gan.lineage import FACES_FILE, LINEAGE_FILE, lineage_digest, read_faces
from fdf.gan.run import Run, read_header, run_of
from fdf.store.files import file_sha256

_INHERITED: Final = ", whose weights it begins with,"


@dataclass(frozen=True)
class Before:
    """What a run begins with: nothing, or another run's weights and all that they ate.

    Attributes:
        checkpoint: whose weights are taken over.
        ancestors: lineages, as `Lineage.ancestors` has them.
        eaten: rows for `write_faces`: faces seen before the first picture.
    """

    checkpoint: Path | None = None
    ancestors: tuple[dict[str, Any], ...] = ()
    eaten: pa.Table | None = None

    @classmethod
    def of(cls, path: Path) -> Before:
        """Of a new run that begins with the weights of a run, its latest, or of one of its checkpoints.

        Raises:
            UsageError: no run, or none with a checkpoint. ModelError: a damaged checkpoint. DataError: what it ate isn't known.
        """
        run = run_of(path)
        checkpoint = path if path.is_file() else run.latest()
        body, pictures = _vouched(run, checkpoint)
        older = body.pop("ancestors")
        said = {"run": run.path.name, "pictures": pictures, "checkpoint_sha256": file_sha256(checkpoint)}
        return cls(checkpoint, ({**said, **body}, *older), _faces_eaten_by(run.path, pictures))

    @classmethod
    def of_resumed(cls, run: Run | None) -> Before:
        """Of a run that goes on: as it was written down.

        Raises:
            DataError: what was written down is not what the checkpoint is of.
        """
        return cls(ancestors=tuple(_vouched(run, run.latest())[0]["ancestors"])) if run else cls()


def voucher(run: Run) -> dict[str, str]:
    """Digests of what a run says that it eats, for the headers of its checkpoints."""
    return {"lineage": lineage_digest(run.read_json(LINEAGE_FILE)), "eaten": file_sha256(run.path / FACES_FILE)}


def _vouched(run: Run, checkpoint: Path) -> tuple[dict[str, Any], int]:
    """The lineage of a checkpoint and the pictures it has seen, if what lies beside it is what it was made from."""
    header, body = read_header(checkpoint), run.read_json(LINEAGE_FILE)
    found = {"lineage": lineage_digest(body), "eaten": _digest(run.path / FACES_FILE)}
    if strange := [name for name, digest in found.items() if header.get(name) != digest]:
        files = {"lineage": LINEAGE_FILE, "eaten": FACES_FILE}
        raise DataError(
            f"What {checkpoint} ate is not known: {' and '.join(files[name] for name in strange)} of its run "
            "isn't what it was made from",
            expected="the files that `fdf train` wrote, unchanged, and checkpoints where it wrote them",
            action="Bring them back, or train from nothing",
        )
    return body, int(header["pictures"])


def _digest(path: Path) -> str:
    return file_sha256(path) if path.is_file() else "nothing"


def inherited_objections(ancestors: Collection[Mapping[str, Any]], config: DataConfig, day: date) -> Iterator[str]:
    """Why weights of these runs should not be gone on with."""
    oldest = (day - timedelta(days=config.max_consent_age_days)).isoformat()
    for one in ancestors:
        name = f"{one['run']}{_INHERITED}"
        if own := [text for text in one["forced"] if _INHERITED not in text]:
            yield f"{name} was trained against objections: " + "; ".join(own)
        if one["synthetic_faces"] < one["faces"] and one["consent_dates"][0] < oldest:
            yield f"{name} ate faces whose signals were looked at before {oldest}: they may have changed"
        others = sorted(set(one["rights_classes"]) - set(config.rights)) if config.rights else []
        if others:
            yield f"{name} ate faces of other rights classes than asked for ({', '.join(others)})"


def _faces_eaten_by(run: Path, pictures: int) -> pa.Table:
    """The faces that a run's weights at so many pictures have seen, as rows for a run that begins with them: at picture −1.

    Raises:
        DataError: the run doesn't say.
    """
    table = read_faces(run, None)
    table = table.filter(pc.less(table["first_picture"], pictures))
    before = pa.array(np.full(table.num_rows, -1))
    return table.set_column(table.column_names.index("first_picture"), "first_picture", before)
