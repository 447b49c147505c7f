"""fdf builds, audits, regenerates and uses the Flickr Diverse Faces corpus."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# onnxruntime's wheels report usage to their maker unless told not to before they load. What fdf looks at stays here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Public name → module that defines it. Loaded on first use, so that `import fdf` and `fdf --help` stay instant.
_PUBLIC = {
    "Recipe": "fdf.pipeline.recipe",
    "load_recipe": "fdf.pipeline.recipe",
    "build": "fdf.pipeline.runner",
    "crop_box": "fdf.vision.crop",
    "open_shards": "fdf.store.shards",
    "find_license": "fdf.consent.licenses",
    "load_model": "fdf.vision.zoo",
    "Anonymizer": "fdf.anonymize.image",
    "FdfError": "fdf.errors",
}

if TYPE_CHECKING:
    from fdf.anonymize.image import Anonymizer as Anonymizer
    from fdf.consent.licenses import find_license as find_license
    from fdf.errors import FdfError as FdfError
    from fdf.pipeline.recipe import Recipe as Recipe
    from fdf.pipeline.recipe import load_recipe as load_recipe
    from fdf.pipeline.runner import build as build
    from fdf.store.shards import open_shards as open_shards
    from fdf.vision.crop import crop_box as crop_box
    from fdf.vision.zoo import load_model as load_model

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - strings, computed


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fdf' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
