"""Taking something back: which checkpoints and exports have seen a photo, or the photos of an owner; which grids show one.

A model is of the run whose list of faces has the digest that the model carries, wherever either lies and whatever it is called
now. A model without that digest, from before there were any, names a run and an index of shards, which others may share: that
is enough to say that it has seen a photo, and never enough to say that it hasn't.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fdf.errors import ModelError, UsageError
from fdf.gan.ancestry import eaten_digest
from fdf.gan.lineage import FACES_FILE, LINEAGE_FILE, read_faces
from fdf.gan.shown import KEY, SHOWN, SHOWN_FILE, face_keys, grids_of, read_shown
from fdf.store.files import file_sha256
from fdf.vision.sessions import session

FaceKey = tuple[str, str, str]
"""Of a face, as `fdf.gan.shown.KEY` names it: source, photo_id and face_id."""

_CHECKPOINT: Final = ".safetensors"


@dataclass(frozen=True)
class ModelFile:
    """A file with weights that have seen some of the photos that were asked for.

    Attributes:
        path, sha256: of the file.
        kind: `checkpoint` or `export`.
        pictures: of the run that it has seen; None if the file doesn't say: then it counts as having seen all of them.
        photos: the photos asked for that it has seen. An int8 export has also seen those by which its ranges were set.
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
class Showing:
    """Sample grids of a run that show some of the photos, faces unmasked, or may do so.

    Attributes:
        name, path: of the run.
        folders: with such grids, to be deleted.
        photos: the photos asked for that they show.
        why: half a sentence if it isn't known what they show; then `photos` is empty.
    """

    name: str
    path: Path
    folders: tuple[Path, ...]
    photos: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class Stranger:
    """A file with weights of which it isn't known what they have seen. `why`: half a sentence."""

    path: Path
    why: str


@dataclass(frozen=True)
class Eaten:
    """Who has seen given photos.

    Attributes:
        runs: looked at; `ate`: those with models that have seen one.
        unknown: photos and owners asked for that no run may ever have drawn.
        strangers: models, given or in a run's folder, that can't be cleared: their run isn't among the runs, or they don't
            say for certain which it is and none that it may be has seen a photo, or their ranges were set by faces unknown.
        shown: runs whose sample grids show one, or may.
    """

    runs: int
    ate: tuple[RunThatAte, ...]
    unknown: tuple[str, ...]
    strangers: tuple[Stranger, ...]
    shown: tuple[Showing, ...] = ()


def models_that_ate(
    runs: Collection[Path], photo_ids: Collection[str], owners: Collection[str] = (), models: Collection[Path] = ()
) -> Eaten:
    """Which runs have models, checkpoints and exports, that have seen one of these photos, or sample grids that show one.

    Args:
        runs: folders of runs, or folders with such folders.
        photo_ids: ids of photos within their source.
        owners: ids of owners whose photos are meant, all of them.
        models: exports and checkpoints that lie elsewhere, or folders with such files; they say of which run they are.

    Raises:
        UsageError: there is no run, or no such model.
        DataError: a run with models that doesn't say what it ate, or says it in a damaged file.
    """
    folders = [_Folder(path) for path in sorted({folder for path in runs for folder in _runs_below(path)})]
    files = _files(folders, models)
    origins = {file.path: _origins(file, folders) for file in files}
    asked = _Asked.of(photo_ids, owners)
    known, seen, ate, shown = set[str](), set[Path](), list[RunThatAte](), list[Showing]()
    for folder in folders:
        visible = asked.among(folder.shown)
        known |= asked.names(visible)
        shown += _showing(folder, visible)
        mine = [file for file in files if folder in origins[file.path]]
        if not mine and all(file.home != folder.path for file in files):
            continue
        hit = asked.among(read_faces(folder.path))
        known |= asked.names(hit)
        if found := tuple(one for one in (_model(hit, visible, file) for file in mine) if one is not None):
            seen |= {one.path for one in found}
            card = folder.path / "card.md"
            which = sorted({photo for one in found for photo in one.photos})
            ate.append(RunThatAte(folder.path.name, folder.path, card if card.is_file() else None, tuple(which), found))
    doubts = ((file.path, _doubt(file, origins[file.path])) for file in files if file.path not in seen)
    strangers = tuple(Stranger(path, why) for path, why in sorted(doubts) if why)
    unknown = tuple(sorted({*photo_ids, *owners} - known))
    return Eaten(len(folders), tuple(ate), unknown, strangers, tuple(shown))


def face_key(row: Mapping[str, Any]) -> FaceKey:
    """The key of a face, from the row of its sample in a shard."""
    source, photo, face = (str(row[name]) for name in KEY)
    return source, photo, face


def faces_eaten(model: Path) -> frozenset[FaceKey] | None:
    """The faces that an exported model may have learnt from, its ancestors' too.

    Returns:
        Their keys; None if no folder above it can be told to be its run's.

    Raises:
        DataError: the run's list is damaged.
    """
    file = _File.read(model, None)
    for path in model.resolve().parents:
        if (path / FACES_FILE).is_file() and _origins(file, [_Folder(path)]):
            table = read_faces(path, (*KEY, "first_picture"))
            if file.pictures is not None:
                table = table.filter(pc.less(table["first_picture"], file.pictures))
            return frozenset(face_keys(table))
    return None


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


def _below(folder: Path) -> list[Path]:
    """Everything that looks like weights, checkpoints that were set aside, too."""
    return sorted(path for kind in (".onnx", _CHECKPOINT) for path in folder.rglob(f"*{kind}"))


def _models_at(path: Path) -> list[Path]:
    found = _below(path) if path.is_dir() else [path] * path.is_file()
    if not found:
        raise UsageError(f"There is no model at {path}", expected="an .onnx file, a checkpoint, or a folder with some")
    return found


@dataclass(frozen=True)
class _Asked:
    """Ids of photos and of owners, to look for in tables of faces."""

    photos: pa.Array
    owners: pa.Array

    @classmethod
    def of(cls, photos: Collection[str], owners: Collection[str]) -> _Asked:
        return cls(*(pa.array(sorted(ids), pa.string()) for ids in (photos, owners)))

    def among(self, table: pa.Table | None) -> pa.Table:
        """The rows that were asked for; no row of no table."""
        if table is None:
            return SHOWN.empty_table()
        return table.filter(
            pc.or_(pc.is_in(table["photo_id"], self.photos), pc.is_in(table["owner_nsid"], self.owners))
        )

    @staticmethod
    def names(rows: pa.Table) -> set[str]:
        return {*rows["photo_id"].to_pylist(), *rows["owner_nsid"].to_pylist()}


@dataclass(frozen=True)
class _Folder:
    """A run, by what its models say of it."""

    path: Path

    @cached_property
    def eaten(self) -> str:
        return eaten_digest(self.path)

    @cached_property
    def shown(self) -> pa.Table | None:
        """Whose originals its grids show; None if it doesn't say."""
        return read_shown(self.path)

    @cached_property
    def index(self) -> str:
        """The digest of the index of its shards; empty where the run doesn't say."""
        try:
            return str(json.loads((self.path / LINEAGE_FILE).read_text(encoding="utf-8"))["index_sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


@dataclass(frozen=True)
class _File:
    """A file with weights: where it lies (`home`: the folder of a run, or None), and what it says, empty or None if nothing.

    `ranged`: sample faces set its ranges. A damaged file says nothing, and may still have seen a photo.
    """

    path: Path
    home: Path | None
    kind: str
    eaten: str
    run: str
    index: str
    pictures: int | None
    ranged: bool = False

    @classmethod
    def read(cls, path: Path, home: Path | None) -> _File:
        if path.suffix == _CHECKPOINT:
            header = _header(path)
            named = int(path.stem) if path.stem.isdecimal() else 0
            # It counts as further than it says if its name does.
            pictures = max(named, int(header["pictures"])) if header else named or None
            return cls(path, home, "checkpoint", str(header.get("eaten", "")), "", "", pictures)
        said = _said(path)
        eaten, run, index, text = (said.get(name, "") for name in ("eaten_sha256", "run", "index_sha256", "pictures"))
        pictures = int(text) if text.isdecimal() else None
        return cls(path, home, "export", eaten, run, index, pictures, said.get("precision") == "int8")

    def names(self, folder: _Folder) -> bool:
        """Whether it says the name of a run and, if both say one, its index."""
        return self.run == folder.path.name and (not self.index or not folder.index or self.index == folder.index)


def _files(folders: Collection[_Folder], elsewhere: Collection[Path]) -> list[_File]:
    """All files with weights, each once, with the innermost run that it lies in."""
    found = dict[Path, _File]()
    for folder in sorted(folders, key=lambda folder: -len(folder.path.resolve().parts)):
        for path in _below(folder.path):
            if path.resolve() not in found:
                found[path.resolve()] = _File.read(path, folder.path)
    for path in (path for given in elsewhere for path in _models_at(given)):
        if path.resolve() not in found:
            found[path.resolve()] = _File.read(path, None)
    return sorted(found.values(), key=lambda file: (file.kind, file.path))


def _origins(file: _File, folders: Collection[_Folder]) -> list[_Folder]:
    """The runs that a file may be of.

    Runs that ate the same in the same order have one digest: then place and name tell them apart if they can, and if they
    can't it makes no difference to what was seen.
    """
    home = [folder for folder in folders if folder.path == file.home]
    if not file.eaten:
        return home if _settled(file, home) else [f for f in folders if f in home or file.names(f)]
    fits = [folder for folder in folders if folder.eaten == file.eaten]
    return [f for f in fits if f in home] or [f for f in fits if file.names(f)] or fits


def _settled(file: _File, origins: Collection[_Folder]) -> bool:
    """Whether a file is of these runs for certain: by its digest, or by its place if what it says doesn't contradict that."""
    if file.eaten:
        return bool(origins)
    return any(folder.path == file.home and (not file.run or file.names(folder)) for folder in origins)


def _doubt(file: _File, origins: Collection[_Folder]) -> str:
    """Why nothing is known of a file in which no photo was found; empty if it is known to have seen none."""
    if _settled(file, origins):
        blind = file.ranged and all(folder.shown is None for folder in origins)
        return f"faces set its ranges that its run doesn't name, having no {SHOWN_FILE}" if blind else ""
    if file.eaten:
        return f"none of these runs ate what it was made from ({FACES_FILE} of SHA-256 {file.eaten})"
    if origins:
        return "it carries no digest of what it ate, and other runs may have the name that it says: export it anew"
    return "it doesn't say that it is of one of these runs"


def _showing(folder: _Folder, visible: pa.Table) -> Iterator[Showing]:
    """What to say of a run's grids; `visible`: what they show of what was asked for."""
    folders, photos = grids_of(folder.path), tuple(sorted(set(visible["photo_id"].to_pylist())))
    if folders and folder.shown is None:
        yield Showing(
            folder.path.name, folder.path, folders, (), f"the run, begun by an older fdf, has no {SHOWN_FILE}"
        )
    elif folders and photos:
        yield Showing(folder.path.name, folder.path, folders, photos)


def _model(hit: pa.Table, visible: pa.Table, file: _File) -> ModelFile | None:
    """What a file has seen of the rows that its run ate and shows; None if nothing."""
    rows = hit if file.pictures is None else hit.filter(pc.less(hit["first_picture"], file.pictures))
    photos = {*rows["photo_id"].to_pylist(), *(visible["photo_id"].to_pylist() if file.ranged else ())}
    if not photos:
        return None
    return ModelFile(file.path, file_sha256(file.path), file.kind, file.pictures, tuple(sorted(photos)))


def _header(path: Path) -> dict[str, Any]:
    """The header of a checkpoint; nothing if it can't be read."""
    from fdf.gan.run import read_header

    try:
        return read_header(path)
    except (ImportError, ModelError):  # no safetensors here, or damaged
        return {}


def _said(path: Path) -> dict[str, str]:
    """The metadata of an exported model; nothing if it can't be read."""
    try:
        return dict(session(path).get_modelmeta().custom_metadata_map)
    except ModelError:
        return {}
