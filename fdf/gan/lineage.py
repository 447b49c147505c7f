"""What a run eats, and what that makes of its weights: whose photos, under which licences, looked at when.

Written before the first step, so that nothing is ever eaten that isn't listed: `lineage.json` for people, `faces.parquet` with
every face and the picture of the run at which it is first drawn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fdf.consent.licenses import RIGHTS, combined_rights
from fdf.errors import DataError, ModelError, UsageError
from fdf.gan.config import DataConfig
from fdf.gan.data import Faces, first_order
from fdf.store.files import atomic_file, disk_errors, file_sha256
from fdf.vision.sessions import session

ALLOWING: Final = frozenset({"allowed_by_licence"})
"""Consent decisions that allow a face to be learnt from. What isn't listed refuses."""
FACES_FILE: Final = "faces.parquet"
LINEAGE_FILE: Final = "lineage.json"


@dataclass(frozen=True)
class Lineage:
    """What a run eats.

    Attributes:
        index_sha256: of the index of the shards; `shards`: path, SHA-256, rights class and number of samples of each.
        faces, photos, owners: how many.
        synthetic_faces: rendered people, whose photos lie under a host in `.invalid` (RFC 2606), which never existed.
        sources, licenses, rights_classes, decisions, policies: value → faces.
        consent_dates: the first and the last day on which signals against use were looked for.
        weights_rights_class: the strictest reading: what the weights ask of their users if they count as made from all of it.
        conflict: why no single licence satisfies all of it; empty if one does.
        forced: what spoke against training on it, and was overruled with --force.
        ancestors: lineages of the runs whose weights this one began with, the last one first, each with `run`, `pictures` and
            `checkpoint_sha256`. Rights and `forced` are of all of it; counts are of this run alone.
    """

    index_sha256: str
    shards: tuple[dict[str, Any], ...]
    resolution: int
    faces: int
    photos: int
    owners: int
    synthetic_faces: int
    sources: dict[str, int]
    licenses: dict[str, int]
    rights_classes: dict[str, int]
    decisions: dict[str, int]
    policies: dict[str, int]
    consent_dates: tuple[str, str]
    weights_rights_class: str
    conflict: str
    forced: tuple[str, ...]
    ancestors: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"format": "fdf-lineage-1", **asdict(self)}


def today() -> date:
    """The day by the clock; SOURCE_DATE_EPOCH fixes it (reproducible-builds.org)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(fixed), UTC).date() if fixed.isdigit() else datetime.now(UTC).date()


def objections(faces: Faces, config: DataConfig, day: date) -> Iterator[str]:
    """Why these faces should not be learnt from; nothing if all is well."""
    if faces.altered:
        yield f"{len(faces.altered)} shards are not the ones that the index names, first {faces.altered[0]}"
    refused = {name: count for name, count in _counts(faces, "consent_decision").items() if name not in ALLOWING}
    if refused:
        what = ", ".join(f"{count} × {name}" for name, count in refused.items())
        yield f"{sum(refused.values())} faces have no consent decision that allows it ({what})"
    oldest = (day - timedelta(days=config.max_consent_age_days)).isoformat()
    dates = pc.cast(faces.table["consent_date"], pa.string())
    stale = pc.and_(pc.less(dates, oldest), pc.invert(_synthetic(faces)))
    number = pc.sum(stale).as_py() or 0
    if number:
        first = pc.min(dates.filter(stale)).as_py()
        yield f"signals of {number} faces were looked at before {oldest}, the earliest on {first}: they may have changed"


def refuse(found: Collection[str], *, force: bool) -> None:
    """Stop at objections, unless forced.

    Raises:
        DataError: there are some.
    """
    if found and not force:
        raise DataError(
            "These shards should not be trained on",
            expected="signals that are fresh and allow it, and shards as the index names them",
            got="; ".join(found),
            action="Build again (`fdf build` looks at all signals), or overrule it with --force: the model's card will say so",
        )


def ancestors_of(run: Path, checkpoint: Path, pictures: int) -> tuple[dict[str, Any], ...]:
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


def lineage(faces: Faces, forced: Collection[str] = (), ancestors: Collection[Mapping[str, Any]] = ()) -> Lineage:
    """Count what there is; rights are of all that went into the weights, by way of ancestors, too."""
    dates = pc.min_max(pc.cast(faces.table["consent_date"], pa.string())).as_py()
    rights = _counts(faces, "rights_class")
    eaten = {*rights, *(name for one in ancestors for name in one["rights_classes"])}
    combined = combined_rights(eaten)
    parts = {part for name in eaten for part in name.split("-")}
    strictest = "-".join(part for part in ("by", "nc", "sa") if part in parts) or "pd"
    worst = max(eaten, key=RIGHTS.index)
    return Lineage(
        index_sha256=faces.digest,
        shards=tuple(
            {"path": e.path, "sha256": e.sha256, "rights_class": e.rights_class, "split": e.split, "samples": e.samples}
            for e in faces.entries
        ),
        resolution=faces.resolution,
        faces=len(faces),
        photos=faces.table.group_by(["source", "photo_id"]).aggregate([]).num_rows,
        # A photo whose owner isn't known stands for an owner of its own.
        owners=pc.count_distinct(pc.coalesce(faces.table["owner_nsid"], faces.table["photo_id"])).as_py(),
        synthetic_faces=pc.sum(_synthetic(faces)).as_py() or 0,
        sources=_counts(faces, "source"),
        licenses=_counts(faces, "license_id"),
        rights_classes=rights,
        decisions=_counts(faces, "consent_decision"),
        policies=_counts(faces, "consent_policy"),
        consent_dates=(str(dates["min"]), str(dates["max"])),
        weights_rights_class=worst if worst in ("nd", "none") else strictest,
        conflict=combined.conflict,
        forced=tuple(forced),
        ancestors=tuple(dict(one) for one in ancestors),
    )


def write_faces(faces: Faces, seed: int, path: Path, inherited: pa.Table | None = None) -> None:
    """Write which faces a run may draw, and when it first does: a checkpoint has eaten those below its number of pictures.

    Args:
        inherited: those of `faces_eaten_by`, eaten before the first picture.
    """
    first = np.empty(len(faces), np.int64)
    first[first_order(len(faces), seed)] = np.arange(len(faces))
    shard = pa.DictionaryArray.from_arrays(pa.array(faces.shard), pa.array([entry.path for entry in faces.entries]))
    columns = faces.table.select(["photo_id", "face_id", "owner_nsid", "source", "license_id", "rights_class"])
    table = columns.append_column("shard", shard).append_column("first_picture", pa.array(first))
    if inherited is not None:
        table = pa.concat_tables([table, inherited.cast(table.schema)])
    with atomic_file(path) as file, disk_errors(path):
        pq.write_table(table.sort_by([("photo_id", "ascending"), ("face_id", "ascending")]), file, compression="zstd")


def faces_eaten_by(run: Path, pictures: int) -> pa.Table:
    """The faces that a run's weights at so many pictures have seen, as rows for a run that begins with them: at picture −1.

    Raises:
        DataError: the run doesn't say.
    """
    table = _read_faces(run, None)
    table = table.filter(pc.less(table["first_picture"], pictures))
    before = pa.array(np.full(table.num_rows, -1))
    return table.set_column(table.column_names.index("first_picture"), "first_picture", before)


@dataclass(frozen=True)
class ModelFile:
    """A file with weights that have seen some of the photos that were asked for.

    Attributes:
        path, sha256: of the file.
        kind: `checkpoint` or `export`.
        pictures: of the run that it has seen; None if the file doesn't say: then it counts as having seen all of them.
        photos: the photos asked for that it has seen.
    """

    path: Path
    sha256: str
    kind: str
    pictures: int | None
    photos: tuple[str, ...]


@dataclass(frozen=True)
class RunThatAte:
    """A run with models that have seen some of the photos. `card` is its model card, if there is one."""

    name: str
    path: Path
    card: Path | None
    photos: tuple[str, ...]
    models: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Eaten:
    """Who has seen given photos.

    Attributes:
        runs: looked at; `ate`: those with models that have seen one.
        unknown: photos and owners asked for that no run may ever have drawn.
        strangers: models given whose run isn't among the runs: nothing is known of them.
    """

    runs: int
    ate: tuple[RunThatAte, ...]
    unknown: tuple[str, ...]
    strangers: tuple[Path, ...]


def models_that_ate(
    runs: Collection[Path], photo_ids: Collection[str], owners: Collection[str] = (), models: Collection[Path] = ()
) -> Eaten:
    """Which runs have models, checkpoints and exports, that have seen one of these photos.

    Args:
        runs: folders of runs, or folders with such folders.
        photo_ids: ids of photos within their source.
        owners: ids of owners whose photos are meant, all of them.
        models: exported files that lie elsewhere, or folders with such files; their metadata names their run.

    Raises:
        UsageError: there is no run, or no such model.
        DataError: a run with models that doesn't say what it ate, or says it in a damaged file.
    """
    folders = sorted({folder for path in runs for folder in _runs_below(path)})
    elsewhere = {path: _said(path) for given in models for path in _exports_at(given)}
    photos, names = (pa.array(sorted(ids), pa.string()) for ids in (photo_ids, owners))
    known, mine, ate = set[str](), set[Path](), list[RunThatAte]()
    for folder in folders:
        index = _index_of(folder)
        here = {path: said for path, said in elsewhere.items() if _made_by(said, folder.name, index)}
        mine |= set(here)
        files = _weights(folder, here)
        if not files:
            continue
        table = _read_faces(folder)
        hit = table.filter(pc.or_(pc.is_in(table["photo_id"], photos), pc.is_in(table["owner_nsid"], names)))
        known |= set(hit["photo_id"].to_pylist()) | set(hit["owner_nsid"].to_pylist())
        found = tuple(one for one in (_model(hit, *file) for file in files) if one is not None)
        if found:
            card = folder / "card.md"
            seen = sorted({photo for one in found for photo in one.photos})
            ate.append(RunThatAte(folder.name, folder, card if card.is_file() else None, tuple(seen), found))
    unknown = tuple(sorted({*photo_ids, *owners} - known))
    return Eaten(len(folders), tuple(ate), unknown, tuple(sorted(set(elsewhere) - mine)))


def runs_that_ate(runs: Path, photo_ids: Collection[str]) -> dict[str, list[str]]:
    """Which runs below a folder have models that have seen one of these photos: name of the run → its photos.

    Raises:
        As `models_that_ate`.
    """
    return {run.name: list(run.photos) for run in models_that_ate([runs], photo_ids).ate}


def read_ids(path: Path) -> list[str]:
    """Ids from a text file, one a line; empty lines and what follows a # don't count.

    Raises:
        UsageError: no such file, or none in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} can't be read ({error})", expected="a text file, UTF-8, one photo id a line"
        ) from error
    ids = [line.split("#")[0].strip() for line in lines]
    if not any(ids):
        raise UsageError(f"{path} names no photo", expected="one photo id a line")
    return [name for name in ids if name]


def _runs_below(path: Path) -> set[Path]:
    found = {file.parent for name in ("run.json", FACES_FILE) for file in path.rglob(name)}
    if not found:
        raise UsageError(f"There is no run below {path}", expected="a folder that `fdf train --out` wrote")
    return found


def _exports_at(path: Path) -> list[Path]:
    found = sorted(path.rglob("*.onnx")) if path.is_dir() else [path] * path.is_file()
    if not found:
        raise UsageError(f"There is no exported model at {path}", expected="an .onnx file, or a folder with some")
    return found


def _weights(folder: Path, elsewhere: dict[Path, dict[str, str]]) -> list[tuple[Path, str, int | None]]:
    """Path, kind and pictures seen of all files with weights of a run."""
    from fdf.gan.run import Run

    exports = {path: _said(path) for path in sorted(folder.rglob("*.onnx"))} | elsewhere
    numbers = ((path, said.get("pictures", "")) for path, said in exports.items())
    return [
        *((path, "checkpoint", pictures) for pictures, path in Run(folder).checkpoints()),
        *((path, "export", int(text) if text.isdigit() else None) for path, text in numbers),
    ]


def _model(hit: pa.Table, path: Path, kind: str, pictures: int | None) -> ModelFile | None:
    """What a file has seen of the rows; None if nothing."""
    rows = hit if pictures is None else hit.filter(pc.less(hit["first_picture"], pictures))
    if not rows.num_rows:
        return None
    return ModelFile(path, file_sha256(path), kind, pictures, tuple(sorted(set(rows["photo_id"].to_pylist()))))


def _read_faces(folder: Path, columns: Sequence[str] | None = ("photo_id", "owner_nsid", "first_picture")) -> pa.Table:
    path = folder / FACES_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} has models and no {FACES_FILE}: what they ate is not known",
            expected="the file that `fdf train` wrote before the first step",
            action="Bring it back, or treat these models as if they had seen every photo of their shards",
        )
    try:
        return pq.read_table(path, columns=columns and list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} can't be read ({error})", expected="a file that `fdf train` wrote") from error


def _said(path: Path) -> dict[str, str]:
    """The metadata of an exported model; nothing if it can't be read, since a damaged file may still have seen a photo."""
    try:
        return dict(session(path).get_modelmeta().custom_metadata_map)
    except ModelError:
        return {}


def _made_by(said: dict[str, str], name: str, index: str) -> bool:
    return said.get("run") == name and (not index or said.get("index_sha256", index) == index)


def _index_of(folder: Path) -> str:
    """The digest of the index of the shards that a run was made from; empty where the run doesn't say."""
    try:
        return str(json.loads((folder / LINEAGE_FILE).read_text(encoding="utf-8"))["index_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _counts(faces: Faces, column: str) -> dict[str, int]:
    rows = pc.value_counts(faces.table[column].combine_chunks().cast(pa.string())).to_pylist()
    return {
        str(row["values"]): row["counts"] for row in sorted(rows, key=lambda row: (-row["counts"], str(row["values"])))
    }


def _synthetic(faces: Faces) -> pa.Array:
    hosts = [
        (urlsplit(url or "").hostname or "").endswith(".invalid") for url in faces.table["download_url"].to_pylist()
    ]
    return pa.array(hosts, pa.bool_())
