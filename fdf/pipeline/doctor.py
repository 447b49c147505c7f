"""Is this machine fit for a build? Each check finds something and says what to do if it is wrong."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdf.errors import FdfError
from fdf.pipeline.engine import default_workers
from fdf.pipeline.recipe import LoopbackConfig
from fdf.vision.zoo import models, path_of

_MIN_FREE_GB = 1.0
_LIBRARIES = {
    "cv2": "opencv-python",
    "dlib": "dlib-bin",
    "onnxruntime": "onnxruntime",
    "pyarrow": "pyarrow",
}


@dataclass(frozen=True)
class Check:
    """One check."""

    name: str
    ok: bool
    found: str
    action: str = ""


def examine(out: Path) -> list[Check]:
    """All checks, in the order of a build."""
    checks = [Check("python", sys.version_info >= (3, 11), platform.python_version(), "fdf needs Python 3.11 or newer")]
    checks += [_library(module, package) for module, package in _LIBRARIES.items()]
    checks += _weights()
    checks += [_disk(out), _port(), Check("cores", True, str(default_workers()))]
    return [Check(c.name, c.ok, c.found, "" if c.ok else c.action) for c in checks]


def _library(module: str, package: str) -> Check:
    try:
        importlib.import_module(module)
        return Check(module, True, importlib.metadata.version(package))
    except ImportError as error:
        # The wheel of OpenCV needs libGL and libxcb of the system, which bare containers lack.
        system = "libGL" in str(error) or "libxcb" in str(error)
        action = "apt-get install libgl1 libxcb1 libglib2.0-0" if system else f"pip install {package}"
        return Check(module, False, str(error), action)


def _weights() -> Iterator[Check]:
    for model in models():
        if model.where != "bundled":
            continue
        try:
            yield Check(f"weights {model.id}", True, f"{path_of(model).stat().st_size / 1e6:.1f} MB, SHA-256 right")
        except FdfError as error:
            yield Check(f"weights {model.id}", False, error.problem, error.action)


def _disk(out: Path) -> Check:
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free / 1e9
    fit = free > _MIN_FREE_GB and os.access(folder, os.W_OK)
    found = f"{free:.1f} GB free in {folder}" + ("" if os.access(folder, os.W_OK) else ", not writable")
    return Check("disk", fit, found, "Choose a folder on another disk, one that you may write to")


def _port() -> Check:
    port = LoopbackConfig.model_fields["port"].default
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            return Check("loopback port", True, f"{port} is free")
        except OSError as error:
            return Check(
                "loopback port", False, f"{port}: {error.strerror}", "Build the sample with --set loopback.port=0"
            )
