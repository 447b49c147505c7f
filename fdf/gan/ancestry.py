"""What was learnt before a run's first picture: the runs whose weights it begins with, and what these ate."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import DataError
from fdf.gan.config import DataConfig
from fdf.gan.lineage import LINEAGE_FILE, Lineage, read_faces
from fdf.gan.run import Run, read_header, run_of
from fdf.store.files import file_sha256


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
            UsageError: no run, or none with a checkpoint. ModelError: a damaged checkpoint. DataError: what it ate isn't said.
        """
        run = run_of(path)
        checkpoint = path if path.is_file() else run.latest()
        pictures = int(read_header(checkpoint)["pictures"])
        return cls(checkpoint, _ancestors_of(run.path, checkpoint, pictures), _faces_eaten_by(run.path, pictures))

    @classmethod
    def of_resumed(cls, run: Run | None) -> Before:
        """Of a run that goes on: as it was written down."""
        return cls(ancestors=tuple(run.read_json(LINEAGE_FILE).get("ancestors", ()))) if run else cls()


def inherited_objections(ancestors: Collection[Mapping[str, Any]], config: DataConfig, day: date) -> Iterator[str]:
    """Why weights of these runs should not be gone on with."""
    oldest = (day - timedelta(days=config.max_consent_age_days)).isoformat()
    for one in ancestors:
        name = f"{one['run']}, whose weights it begins with,"
        if one["forced"]:
            yield f"{name} was trained against objections: " + "; ".join(one["forced"])
        elif one["synthetic_faces"] < one["faces"] and one["consent_dates"][0] < oldest:
            yield f"{name} ate faces whose signals were looked at before {oldest}: they may have changed"
        others = sorted(set(one["rights_classes"]) - set(config.rights)) if config.rights else []
        if others:
            yield f"{name} ate faces of other rights classes than asked for ({', '.join(others)})"


def _ancestors_of(run: Path, checkpoint: Path, pictures: int) -> tuple[dict[str, Any], ...]:
    """The lineage of a run whose checkpoint another one begins with, and before it those of its own ancestors.

    Raises:
        DataError: the run doesn't say what it ate: then nothing may be made from it.
    """
    try:
        body = json.loads((run / LINEAGE_FILE).read_text(encoding="utf-8"))
        older = body.pop("ancestors", [])
        missing = {field.name for field in fields(Lineage)} - {"ancestors"} - set(body)
        if missing:
            raise KeyError(min(missing))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"What {run} ate is not known: its {LINEAGE_FILE} can't be read ({error})",
            expected="the file that `fdf train` wrote before the first step",
            action="Bring it back, or train from nothing",
        ) from error
    said = {"run": run.name, "pictures": pictures, "checkpoint_sha256": file_sha256(checkpoint)}
    return ({**said, **body}, *older)


def _faces_eaten_by(run: Path, pictures: int) -> pa.Table:
    """The faces that a run's weights at so many pictures have seen, as rows for a run that begins with them: at picture −1.

    Raises:
        DataError: the run doesn't say.
    """
    table = read_faces(run, None)
    table = table.filter(pc.less(table["first_picture"], pictures))
    before = pa.array(np.full(table.num_rows, -1))
    return table.set_column(table.column_names.index("first_picture"), "first_picture", before)
