"""Taking something back: which checkpoints and exports have seen a photo, or the photos of an owner."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import ModelError, UsageError
from fdf.gan.lineage import FACES_FILE, LINEAGE_FILE, read_faces
from fdf.store.files import file_sha256
from fdf.vision.sessions import session


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
        table = read_faces(folder)
        hit = table.filter(pc.or_(pc.is_in(table["photo_id"], photos), pc.is_in(table["owner_nsid"], names)))
        known |= set(hit["photo_id"].to_pylist()) | set(hit["owner_nsid"].to_pylist())
        found = tuple(one for one in (_model(hit, *file) for file in files) if one is not None)
        if found:
            card = folder / "card.md"
            seen = sorted({photo for one in found for photo in one.photos})
            ate.append(RunThatAte(folder.name, folder, card if card.is_file() else None, tuple(seen), found))
    unknown = tuple(sorted({*photo_ids, *owners} - known))
    return Eaten(len(folders), tuple(ate), unknown, tuple(sorted(set(elsewhere) - mine)))


def photos_eaten(model: Path) -> frozenset[str] | None:
    """Ids of the photos that an exported model may have learnt from, its ancestors' too; None if its run isn't above it.

    Raises:
        DataError: the run's list is damaged.
    """
    said = _said(model)
    for folder in model.resolve().parents:
        if (folder / FACES_FILE).is_file() and _made_by(said, folder.name, _index_of(folder)):
            table = read_faces(folder)
            if (text := said.get("pictures", "")).isdigit():
                table = table.filter(pc.less(table["first_picture"], int(text)))
            return frozenset(table["photo_id"].to_pylist())
    return None


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
        *((path, "checkpoint", max(pictures, _counted(path))) for pictures, path in Run(folder).checkpoints()),
        *((path, "export", int(text) if text.isdigit() else None) for path, text in numbers),
    ]


def _counted(path: Path) -> int:
    """How many pictures a checkpoint says that it has seen, whatever its name says; 0 where it can't be asked."""
    from fdf.gan.run import read_header

    try:
        return int(read_header(path)["pictures"])
    except (ImportError, ModelError):  # no safetensors here, or damaged: then its name counts
        return 0


def _model(hit: pa.Table, path: Path, kind: str, pictures: int | None) -> ModelFile | None:
    """What a file has seen of the rows; None if nothing."""
    rows = hit if pictures is None else hit.filter(pc.less(hit["first_picture"], pictures))
    if not rows.num_rows:
        return None
    return ModelFile(path, file_sha256(path), kind, pictures, tuple(sorted(set(rows["photo_id"].to_pylist()))))


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
