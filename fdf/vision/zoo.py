"""The model registry: which weights there are, whose they are, what they may be used for, and that they are the right ones.

`zoo.toml` is the table; `Model` is one row of it. `load_model` turns an id into an adapter. No weights are used whose
SHA-256 is not the one in the table.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from fdf.errors import FdfError, ModelError, UsageError
from fdf.vision.base import Detector, Embedder, Keypointer

DEFAULT_DETECTOR: Final = "centerface"
DEFAULT_KEYPOINTER: Final = "movenet-thunder+facemesh468"
DEFAULT_EMBEDDER: Final = "dlib-resnet128"

ACCEPT_VARIABLE: Final = "FDF_ACCEPT_LICENSES"
"""Environment variable: weight licences the user has accepted, comma-separated."""

CACHE_VARIABLE: Final = "FDF_CACHE"
"""Environment variable: folder for fetched weights instead of the user's cache folder."""

_HERE: Final = Path(__file__).parent
_BUNDLED: Final = _HERE / "models"


@dataclass(frozen=True)
class Model:
    """One set of weights.

    Attributes:
        id: name in the zoo, and in the tables of a build.
        task: `detector`, `keypointer`, `mesh`, `embedder` or `generator`.
        file: file name of the weights; the library's name for `where = "library"`.
        sha256: SHA-256 of the file, lower-case hex.
        size: bytes of the file.
        where: `bundled`, `fetched` (from `url` on first use), `library` (compiled into it), `local` (the user's file).
        code_license: SPDX id of the code the weights come from.
        weight_license: SPDX id of the weights' own licence, or LicenseRef-….
        origin: who made it and where this copy comes from.
        training_data: what it was trained on, as far as known.
        url: where a fetched model comes from.
        needs_acceptance: the user must accept `weight_license` first.
        path: where a local model lies; not part of its identity.
    """

    id: str
    task: str
    file: str
    sha256: str
    size: int
    where: str
    code_license: str
    weight_license: str
    origin: str
    training_data: str
    url: str = ""
    needs_acceptance: bool = False
    path: str = ""


# id → (kind, module and class of the adapter)
_ADAPTERS: Final[dict[str, tuple[str, str, str]]] = {
    "centerface": ("detector", "fdf.vision.centerface", "CenterFace"),
    "blazeface-back+facemesh468": ("detector", "fdf.vision.blazeface", "BlazeFace"),
    "movenet-thunder+facemesh468": ("keypointer", "fdf.vision.keypoints", "BundledKeypoints"),
    "dlib-resnet128": ("embedder", "fdf.vision.dlib_models", "DlibEmbedder"),
    "dlib-hog": ("detector", "fdf.vision.dlib_models", "DlibHog"),
    "insightface-detector": ("detector", "fdf.vision.insightface_pack", "InsightFaceDetector"),
    "insightface-embedder": ("embedder", "fdf.vision.insightface_pack", "InsightFaceEmbedder"),
}
_NEED_PATH: Final = frozenset({"insightface-detector", "insightface-embedder"})
_TAKE_PATH: Final = _NEED_PATH | {"dlib-hog"}
_NO_SESSION: Final = frozenset({"dlib-resnet128", "dlib-hog"})


def read_zoo(path: Path) -> tuple[Model, ...]:
    """Read a registry file.

    Raises:
        ModelError: the file is no TOML, has unknown or missing keys, or an id twice.
    """
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("model", [])
        found = tuple(Model(**row) for row in rows)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        raise ModelError(
            f"The model registry {path.name} can't be read",
            expected="[[model]] tables with the keys " + ", ".join(field.name for field in fields(Model)),
            got=str(error),
            action="Reinstall fdf",
        ) from error
    if len({row.id for row in found}) != len(found):
        raise ModelError(f"The model registry {path.name} names a model twice", action="Reinstall fdf")
    return found


@cache
def models() -> tuple[Model, ...]:
    """Every model of the registry, in its order."""
    return read_zoo(_HERE / "zoo.toml")


def adapters() -> tuple[str, ...]:
    """Every id that `load_model` takes."""
    return tuple(_ADAPTERS)


def kinds() -> dict[str, str]:
    """Id of each adapter → `detector`, `keypointer` or `embedder`."""
    return {name: kind for name, (kind, _, _) in _ADAPTERS.items()}


def takes_path(model_id: str) -> bool:
    """Whether an adapter takes weights of the user's own."""
    return model_id in _TAKE_PATH


def needs_path(model_id: str) -> bool:
    """Whether an adapter can't do without weights of the user's own: fdf ships none for it."""
    return model_id in _NEED_PATH


def model(model_id: str) -> Model:
    """One model of the registry.

    Raises:
        UsageError: no such id; the nearest ones are named.
    """
    for row in models():
        if row.id == model_id:
            return row
    raise _unknown("model", model_id, [row.id for row in models()])


def load_model(
    model_id: str, *, path: str | Path | None = None, threads: int = 1, cuda: bool = False
) -> Detector | Keypointer | Embedder:
    """Make the adapter of an id, with its default settings.

    Args:
        model_id: one of `adapters()`; ids of adapters that use several models are joined by `+`.
        path: the user's own file or folder: a must for `insightface-detector` and `insightface-embedder` (an ONNX file or
            the folder of a pack), optional for `dlib-hog` (a dlib shape predictor with 5 or 68 points).
        threads: threads inside one operator of a network.
        cuda: run networks on the GPU.

    Raises:
        UsageError: no such id, or a path where none belongs, or none where one is needed.
        ModelError: the weights are missing, altered, or their licence has not been accepted.
        MachineError: no GPU, or a library is missing.
    """
    if model_id not in _ADAPTERS:
        raise _unknown("adapter", model_id, list(_ADAPTERS))
    if path is None and model_id in _NEED_PATH:
        raise UsageError(
            f"{model_id} needs your own model",
            expected="path= an ONNX file or the folder of an InsightFace pack",
            action="Bring your own; fdf ships none: InsightFace's weights are for non-commercial research only",
        )
    if path is not None and model_id not in _TAKE_PATH:
        raise UsageError(f"{model_id} takes no path", got=str(path), action="Leave it out: its weights are in the zoo")
    _, module, name = _ADAPTERS[model_id]
    arguments: dict[str, Any] = {} if model_id in _NO_SESSION else {"threads": threads, "cuda": cuda}
    if path is not None:
        arguments["path"] = path
    made = getattr(importlib.import_module(module), name)(**arguments)
    return cast("Detector | Keypointer | Embedder", made)


def load_detector(model_id: str = DEFAULT_DETECTOR, **arguments: Any) -> Detector:
    """`load_model` for a detector. Raises UsageError if the id is something else."""
    return cast(Detector, _of_kind(model_id, "detector", arguments))


def load_keypointer(model_id: str = DEFAULT_KEYPOINTER, **arguments: Any) -> Keypointer:
    """`load_model` for a keypointer. Raises UsageError if the id is something else."""
    return cast(Keypointer, _of_kind(model_id, "keypointer", arguments))


def load_embedder(model_id: str = DEFAULT_EMBEDDER, **arguments: Any) -> Embedder:
    """`load_model` for an embedder. Raises UsageError if the id is something else."""
    return cast(Embedder, _of_kind(model_id, "embedder", arguments))


def path_of(row: Model, *, accept: Collection[str] = ()) -> Path:
    """Path of a model's weights, with their SHA-256 checked (once per process and file).

    Args:
        row: a model that lies in a file (`bundled`, `fetched` or `local`).
        accept: licences accepted by the caller, besides those in the environment variable FDF_ACCEPT_LICENSES.

    Raises:
        ModelError: missing, altered, not accepted, or not to be had from the network.
    """
    _check_accepted(row, accept)
    if row.where == "library":
        raise ModelError(f"{row.id} has no file: it is compiled into {row.file}")
    path = _fetch(row) if row.where == "fetched" else Path(row.path) if row.where == "local" else _BUNDLED / row.file
    try:
        state = path.stat()
        got = _sha256(str(path), state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ModelError(
            f"The weights of {row.id} can't be read",
            expected=f"a file at {path}",
            got=error.strerror or str(error),
            action=_remedy(row),
        ) from error
    if got != row.sha256:
        raise ModelError(
            f"The weights of {row.id} are not the ones the registry names ({path})",
            expected=f"SHA-256 {row.sha256} and {row.size} bytes",
            got=f"{got} and {state.st_size} bytes",
            action=_remedy(row),
        )
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, remembered until its size or time changes."""
    state = path.stat()
    return _sha256(str(path), state.st_size, state.st_mtime_ns)


def local_model(path: str | Path, *, model_id: str, task: str, code_license: str, weight_license: str) -> Model:
    """Describe a file that the user brings.

    Raises:
        ModelError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(
            f"There are no weights at {path}", expected="a file", action="Check the path; fdf ships no such model"
        )
    return Model(
        id=model_id,
        task=task,
        file=path.name,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        where="local",
        code_license=code_license,
        weight_license=weight_license,
        origin="the user's own file",
        training_data="see its authors",
        path=str(path.resolve()),
    )


@cache
def _sha256(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001 - size and time are part of the cache's key
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_accepted(row: Model, accept: Collection[str]) -> None:
    accepted = {name.strip() for name in os.environ.get(ACCEPT_VARIABLE, "").split(",")} | set(accept)
    if row.needs_acceptance and row.weight_license not in accepted:
        raise ModelError(
            f"The licence of {row.id}'s weights has not been accepted",
            expected=f"{row.weight_license} in {ACCEPT_VARIABLE}",
            got=os.environ.get(ACCEPT_VARIABLE) or "nothing",
            action=f"Read the licence ({row.origin}); if you agree, set {ACCEPT_VARIABLE}={row.weight_license}",
        )


def _fetch(row: Model) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    folder = Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("fdf")) / "models"
    name = f"{row.sha256[:16]}-{row.file}"
    if (folder / name).is_file() and sha256_of(folder / name) == row.sha256:
        return folder / name
    agent = {"User-Agent": "fdf (fetching model weights)"}
    try:
        pooch.retrieve(
            row.url,
            known_hash=f"sha256:{row.sha256}",
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(headers=agent, timeout=60),
        )
    except ValueError as error:  # pooch: hash of the download differs
        raise ModelError(
            f"The download of {row.id} is not the file the registry names",
            expected=f"SHA-256 {row.sha256}",
            got=f"something else from {row.url}",
            action="Try again; if it stays so, the file at the source was changed: don't use it",
        ) from error
    except OSError as error:  # requests' errors are OSErrors
        raise ModelError(
            f"{row.id} could not be fetched from {row.url}",
            got=f"{type(error).__name__}: {error}",
            action=f"Check the network, or put the file at {folder / name} yourself",
        ) from error
    return folder / name


def _remedy(row: Model) -> str:
    if row.where == "bundled":
        return "Reinstall fdf: its bundled weights are damaged or replaced"
    if row.where == "fetched":
        return f"Delete the file; it is fetched anew from {row.url}"
    return "Point to the right file; it changed since it was described"


def _of_kind(model_id: str, kind: str, arguments: dict[str, Any]) -> object:
    known = kinds()
    if known.get(model_id, kind) != kind:
        right = ", ".join(name for name, found in known.items() if found == kind)
        raise UsageError(
            f"{model_id} is not a {kind}", expected=f"one of {right}", got=f"an adapter of kind {known[model_id]}"
        )
    return load_model(model_id, **arguments)


def _unknown(what: str, got: str, known: list[str]) -> FdfError:
    near = difflib.get_close_matches(got, known, n=2, cutoff=0.5)
    guess = f"Did you mean {' or '.join(near)}?" if near else "`fdf models` lists them"
    return UsageError(f"There is no {what} {got!r}", expected=f"one of {', '.join(known)}", action=guess)
