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

from fdf.errors import DataError, ModelError
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
        body, pictures = vouched(run, checkpoint)
        older = body.pop("ancestors")
        said = {"run": run.path.name, "pictures": pictures, "checkpoint_sha256": file_sha256(checkpoint)}
        return cls(checkpoint, ({**said, **body}, *older), _faces_eaten_by(run.path, pictures))

    @classmethod
    def of_resumed(cls, run: Run | None) -> Before:
        """Of a run that goes on: as it was written down.

        Raises:
            DataError: what was written down is not what the checkpoint is of.
        """
        return cls(ancestors=tuple(vouched(run, run.latest())[0]["ancestors"])) if run else cls()


def voucher(run: Run) -> dict[str, str]:
    """Digests of what a run says that it eats, for the headers of its checkpoints."""
    return {"lineage": lineage_digest(run.read_json(LINEAGE_FILE)), "eaten": file_sha256(run.path / FACES_FILE)}


def vouched(run: Run, checkpoint: Path) -> tuple[dict[str, Any], int]:
    """The lineage of a checkpoint and the pictures it has seen, if what lies beside it is what it was made from.

    Raises:
        DataError: it isn't, or the checkpoint, from before there were digests, doesn't say. ModelError: a damaged checkpoint.
    """
    header, body = read_header(checkpoint), run.read_json(LINEAGE_FILE)
    files = {"lineage": LINEAGE_FILE, "eaten": FACES_FILE}
    if not files.keys() & header.keys():
        raise DataError(
            f"What {checkpoint} ate is not known: it carries no digests of its run's files, so it may be of any run",
            expected=f"a checkpoint with the digests of {' and '.join(files.values())}, as `fdf train` writes them",
            action="Train anew",
        )
    found = {"lineage": lineage_digest(body), "eaten": eaten_digest(run.path)}
    if strange := [name for name, digest in found.items() if header.get(name) != digest]:
        raise DataError(
            f"What {checkpoint} ate is not known: {' and '.join(files[name] for name in strange)} of its run "
            "isn't what it was made from",
            expected="the files that `fdf train` wrote, unchanged, and checkpoints where it wrote them",
            action="Bring them back, or train from nothing",
        )
    return body, int(header["pictures"])


def provenance(run: Run, checkpoint: Path) -> dict[str, str]:
    """What an export of a checkpoint says of its run, its rights and what it ate; what is empty is left out.

    `eaten_sha256` is what it is known by: a start with other flags writes the lineage anew, what was eaten never changes.

    Raises:
        DataError: what it ate isn't known. ModelError: a damaged checkpoint, or one of other networks than its run's.
    """
    body, pictures = vouched(run, checkpoint)
    mine = run.read_json("run.json", "architecture")["architecture"]
    theirs = read_header(checkpoint)["architecture"]
    if theirs != mine:  # runs of two sizes on the same shards have the same digests
        wanted, got = (f"{one['size']} at {one['resolution']} px" for one in (mine, theirs))
        raise ModelError(
            f"{checkpoint} is a checkpoint of another architecture than its run's",
            expected=wanted,
            got=got if got != wanted else f"{got} of other widths",
            action="Bring it back to the run that wrote it",
        )
    digests = voucher(run)
    stated = {
        "run": run.path.name,
        "pictures": str(pictures),
        "rights_class": body["weights_rights_class"],
        "conflict": body["conflict"],
        "index_sha256": body["index_sha256"],
        "lineage_sha256": digests["lineage"],
        "eaten_sha256": digests["eaten"],
        "forced": "; ".join(body["forced"]),
        "begun_with": "; ".join(f"{one['run']} at {one['pictures']} pictures" for one in body["ancestors"]),
    }
    return {name: value for name, value in stated.items() if value}


def eaten_digest(folder: Path) -> str:
    """SHA-256 of the list of faces of a run, by which its models know it; `nothing` where there is no list."""
    path = folder / FACES_FILE
    return file_sha256(path) if path.is_file() else "nothing"


def inherited_objections(ancestors: Collection[Mapping[str, Any]], config: DataConfig, day: date) -> Iterator[str]:
    """Why weights of these runs should not be gone on with."""
    oldest = (day - timedelta(days=config.max_consent_age_days)).isoformat()
    for one in ancestors:
        name = f"{one['run']}{_INHERITED}"
        if own := [text for text in one["forced"] if _INHERITED not in text]:
            yield f"{name} was trained against objections: " + "; ".join(own)
        rendered = min(
            one["synthetic_faces"], one["sources"].get("synthetic", 0)
        )  # the first was once taken more lightly
        if rendered < one["faces"] and one["consent_dates"][0] < oldest:
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
