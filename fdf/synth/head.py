"""The morphable upper body: MakeHuman's base mesh and targets (CC0, see `assets/README.md`), cropped to what is used.

Base frame: decimetres, x to the subject's left, y up, z forward; the eyes lie at about (±0.31, 7.28, 1.25).
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdf.errors import DataError, MachineError
from fdf.synth.geometry import Floats, Ints, lattice_noise, subdivide

ASSET: Final = Path(__file__).resolve().parent / "assets" / "head.npz.xz"
ASSET_SHA256: Final = "400305bd9c2bdf0217426582f64e077ffb622887f07317914d8f4bbc0ebc48d5"

NECK: Final = np.array([0.0, 6.35, 0.12])
"""The point about which the head turns: half-way up the neck."""
SHOULDER: Final = np.array([1.68, 5.25, 0.15])

# Points of the base mesh, found as its nearest vertices.
NOSE_RIDGE: Final = ((0.0, 6.969, 1.669), (0.0, 7.003, 1.652))
NOSE_TIP: Final = (0.0, 6.986, 1.6605)
"""Half-way between these two, a little above the foremost point: where people put the tip who label photos (docs/synth.md)."""
EAR: Final = (0.745, 7.06, 0.43)
"""The ear's canal, beside the tragus: where COCO's annotators put an ear that they see."""
ACROMION: Final = (1.50, 5.52, 0.05)
"""The bony tip of the shoulder."""
FACE_SPAN: Final = 1.85
"""Height of the average face from chin to upper forehead, decimetres."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A subdivided part of the mesh.

    Attributes:
        matrix: sparse (n, base vertices): positions of the surface = matrix @ base vertices.
        coarser: sparse (n, vertices one level up), for noise of medium size; None at level 0.
        quads: (m, 4).
        rest: (n, 3) positions of the unmorphed mesh: coordinates for masks and textures.
    """

    matrix: Any
    coarser: Any
    quads: npt.NDArray[np.int64]
    rest: Floats

    def grain(self, rng: np.random.Generator, level: int = 0) -> Floats:
        """Unit noise at each vertex: white (level 0) or as wide as the cells one level up (1)."""
        if level == 0 or self.coarser is None:
            return rng.standard_normal(len(self.rest))
        values = self.coarser @ rng.standard_normal(self.coarser.shape[1])
        return np.asarray(values / values.std())

    def clouds(self, rng: np.random.Generator, scale: float) -> Floats:
        """Unit noise at each vertex with features of `scale` decimetres, 0.1 and more: computed on the base mesh."""
        values = self.matrix @ lattice_noise(load_head().vertices, scale, rng)
        return np.asarray(values / values.std())


@dataclass(frozen=True, eq=False)
class Head:
    """The base mesh and how it can change.

    Attributes:
        vertices: float64 (n, 3).
        targets: name → (vertex indices, displacements) at weight 1.
        controls: slider → (targets towards −1, targets towards +1).
        parts: name → quads over the base vertices.
        masks: name → (n,) 0–1: lips, eyelids, ears, inside-mouth.
    """

    vertices: Floats
    targets: Mapping[str, tuple[Ints, Floats]]
    controls: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    parts: Mapping[str, Ints]
    masks: Mapping[str, Floats]

    def morph(self, weights: Mapping[str, float], offsets: Floats | None = None) -> Floats:
        """Base vertices (n, 3) moved by weighted targets and `offsets` (n, 3), then all together: the skull stays in its place.

        Small or old bodies carry their heads lower; hats, scarves and cameras need them in one place.
        """
        moved = self.vertices.copy()
        for name, weight in weights.items():
            if abs(weight) > 1e-4:
                index, delta = self.targets[name]
                moved[index] += weight * delta
        if offsets is not None:
            moved += offsets
        skull = self.vertices[:, 1] > 6.9
        return np.asarray(moved - (moved[skull] - self.vertices[skull]).mean(axis=0))

    def nearest(self, point: tuple[float, float, float], part: str = "skin") -> int:
        """Index of the vertex of a part that lies nearest to a point of the base frame."""
        candidates = np.unique(self.parts[part])
        return int(candidates[np.linalg.norm(self.vertices[candidates] - np.array(point), axis=1).argmin()])


@cache
def load_head() -> Head:
    """The bundled model, once a process.

    Raises:
        DataError: the asset file is missing or altered.
    """
    import hashlib

    try:
        packed = ASSET.read_bytes()
    except OSError as error:
        raise DataError(f"{ASSET} can't be read ({error})", action="Install fdf again") from error
    found = hashlib.sha256(packed).hexdigest()
    if found != ASSET_SHA256:
        raise DataError(f"{ASSET} is not the file that fdf ships", expected=f"SHA-256 {ASSET_SHA256}", got=found)
    with np.load(io.BytesIO(lzma.decompress(packed))) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    listing = json.loads(data["listing"].tobytes())
    ends, scale = data["target_ends"].astype(int), data["target_scale"].astype(float) / 32767
    targets = {}
    for row, name in enumerate(listing["targets"]):
        span = slice(ends[row], ends[row + 1])
        targets[name] = (data["target_index"][span].astype(np.int64), data["target_delta"][span] * scale[row])
    masks = dict(zip(listing["masks"], data["masks"].astype(float) / 255, strict=True))
    return Head(
        vertices=data["vertices"].astype(np.float64),
        targets=targets,
        controls={name: (tuple(low), tuple(high)) for name, (low, high) in sorted(listing["controls"].items())},
        parts={name: data[f"part_{name}"].astype(np.int64) for name in listing["parts"]},
        masks=masks,
    )


@cache
def surface(part: str, level: int) -> Surface:
    """A part after `level` subdivisions (0–2), once a process."""
    from scipy import sparse

    head = load_head()
    quads = np.asarray(head.parts[part], dtype=np.int64)
    matrix, coarser = sparse.identity(len(head.vertices), format="csr"), None
    matrix, quads = _compact(matrix, quads)
    for _ in range(level):
        coarser, finer = subdivide(quads, matrix.shape[0])
        coarser, quads = _compact(coarser, finer)
        matrix = (coarser @ matrix).tocsr()
    return Surface(matrix, coarser, quads, np.asarray(matrix @ head.vertices))


def _compact(matrix: Any, quads: Ints) -> tuple[Any, npt.NDArray[np.int64]]:
    used, inverse = np.unique(quads, return_inverse=True)
    return matrix[used], inverse.reshape(quads.shape).astype(np.int64)


def require_renderer() -> None:
    """Say clearly what is missing where the extra is not installed.

    Raises:
        MachineError: Mitsuba or SciPy can't be imported.
    """
    for module in ("scipy", "mitsuba"):
        try:
            __import__(module)
        except ImportError as error:
            raise MachineError(
                f"fdf synth needs {module}, which can't be imported here ({error})",
                expected="Mitsuba 3 and SciPy: the extra [synth]",
                action='Install it: pip install "fdf[synth]"',
            ) from error
