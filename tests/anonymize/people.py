"""People who are colours: policies can be tested without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.policy import Policy, load_policy
from fdf.anonymize.recognition import View
from fdf.vision.base import Pixels
from tests.anonymize.pictures import encoded, face

ADA, BEN, CARL, DORA = (200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)
GREY_DIM = 90.0
SHA = "a" * 64


class Colours:
    """A recognizer whose vector is the colour in the middle of the box. A dark face is badly seen."""

    id, sha256 = "colours", "c" * 64

    def __init__(self) -> None:
        self.asked = 0

    def views(self, picture: Pixels, faces: Sequence[Face]) -> list[View | None]:
        self.asked += 1
        return [self._view(picture, one) for one in faces]

    def _view(self, picture: Pixels, one: Face) -> View | None:
        x, y = ((one.box[:2] + one.box[2:]) / 2).astype(int)
        if not (0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]):
            return None
        vector = picture[y, x].astype(np.float32) / 255
        return View(vector, one.size, 500.0 if vector.max() > 0.2 else 1.0, 0.0, 0.0, 1.0)


class Bright:
    """Finds the columns that are no background."""

    def find(self, picture: Pixels) -> list[Face]:
        columns = np.flatnonzero((picture != 0).any(axis=(0, 2)))
        parts = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []
        return [face(part[0], 10, part[-1] + 1, 70) for part in parts]


def people(*colours: tuple[int, int, int]) -> Any:
    """A picture, 80 pixels high, with one face a colour."""
    picture = np.zeros((80, 20 + 80 * len(colours), 3), dtype=np.uint8)
    for place, colour in enumerate(colours):
        picture[10:70, 20 + 80 * place : 80 + 80 * place] = colour
    return picture


def gallery(root: Path, **persons: Sequence[tuple[int, int, int]]) -> None:
    """Folders of reference pictures: allowed__ada=[ADA] makes allowed/ada/0.png."""
    for name, colours in persons.items():
        for number, colour in enumerate(colours):
            path = root / name.replace("__", "/") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(people(colour), "PNG"))


HEAD = """format = "fdf-policy"
version = 1
access = "{access}"

[recognition]
threshold = 0.3
hide_threshold = 0.4
margin = 0.1

"""


def written(root: Path, rules: str, access: str = "proxy") -> Path:
    path = root / "policy.toml"
    path.write_text(HEAD.format(access=access) + rules)
    return path


def policy(root: Path, rules: str, access: str = "proxy") -> Policy:
    return load_policy(written(root, rules, access), recognizer=Colours(), finder=Bright())


ALLOWED = '[[rule]]\naction = "show"\npeople = "allowed"\nby = "Eve"\n'
DENIED = '[[rule]]\naction = "hide"\npeople = "denied"\n'
