"""CenterFace: the default detector, bundled.

One fully convolutional network gives a heat map of face centres with size, offset and five points
(Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019, arXiv:1911.03599). It sees faces from
about 24 to 400 pixels of its input, so a picture is looked at twice: with its long side at 640–1280 pixels, and at a third
of that for faces which fill the picture. Smaller faces in big pictures need tiles.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Detections, Floats, Part, Pixels, check_pictures, make_detections, nms
from fdf.vision.sessions import run_rows, session
from fdf.vision.zoo import Model, model, path_of

_STRIDE = 4  # of the heat map
_MULTIPLE = 32  # the network wants sides that are multiples of this
_PART = 64  # parts of pictures come in multiples of this
_SMALL_PART = 128  # and have as much in the second pass at least: in 64 pixels it sees too little around a face
_KEPT = 4_000_000  # numbers: a picture of 1280 × 960
_CHUNK = 8  # pictures of one size held as floats at once


@dataclass(frozen=True)
class CenterFaceConfig:
    """How CenterFace looks at a picture.

    Attributes:
        score: lowest score of a face, 0–1.
        overlap: two boxes with a greater intersection over union are one face.
        min_side: pictures whose long side is smaller are enlarged to this before the network.
        max_side: pictures whose long side is larger are shrunk to this.
        second_pass: look again at a third of the size (at least 256), for faces larger than 400 pixels of the first, and
            for smaller ones that are smeared, turned or half hidden.
        tile: also cut pictures whose long side exceeds `max_side` into overlapping tiles of this many pixels of the
            original, for faces smaller than 24/`max_side` of the picture; 0 for none. Costs one pass a tile.
    """

    score: float = 0.5
    overlap: float = 0.35
    min_side: int = 640
    max_side: int = 1280
    second_pass: bool = True
    tile: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.score < 1 or not 0 < self.overlap < 1:
            raise ValueError("CenterFaceConfig: score and overlap must lie between 0 and 1.")
        if not _MULTIPLE <= self.min_side <= self.max_side:
            raise ValueError(f"CenterFaceConfig: expected {_MULTIPLE} <= min_side <= max_side.")
        if self.tile and self.tile < 2 * _MULTIPLE:
            raise ValueError(f"CenterFaceConfig: a tile has at least {2 * _MULTIPLE} pixels; 0 for no tiles.")


FAST = CenterFaceConfig(max_side=640, second_pass=False)
"""One pass at 640 pixels: as many faces on ordinary photos, fewer where they are small or fill the picture."""


@dataclass(frozen=True)
class _View:
    """One look at one picture: the part [x0, y0, x1, y1) of it at width × height for the network."""

    picture: int
    part: Part
    width: int
    height: int


class CenterFace:
    """Detector with five points, MIT weights trained on WIDER FACE. Boxes reach from forehead to chin."""

    id = "centerface"

    def __init__(self, config: CenterFaceConfig | None = None, *, threads: int = 1, cuda: bool = False) -> None:
        self.config = config or CenterFaceConfig()
        row = model("centerface")
        self.models: tuple[Model, ...] = (row,)
        self._network = session(path_of(row), threads=threads, cuda=cuda)
        self._inputs: list[Floats] = []  # to be filled again, one for each thread that looks

    def detect(self, pictures: Sequence[Pixels]) -> list[Detections]:
        """Faces of each picture, boxes clipped to it. Pictures of one network size go through together."""
        check_pictures(pictures)
        by_size: dict[tuple[int, int], list[_View]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            for view in self._views(index, picture.shape[1], picture.shape[0]):
                by_size[view.width, view.height].append(view)
        found: list[list[npt.NDArray[np.float64]]] = [[] for _ in pictures]
        for views in by_size.values():
            for at in range(0, len(views), _CHUNK):
                chunk = views[at : at + _CHUNK]
                outputs = self._run(pictures, chunk)
                for row, view in enumerate(chunk):
                    found[view.picture].append(_decode([output[row] for output in outputs], view, self.config.score))
        return [self._joined(rows, picture) for rows, picture in zip(found, pictures, strict=True)]

    def detect_part(self, picture: Pixels, part: Part) -> Detections:
        """Faces of a part of a picture, in its pixels: as large for the network as if it saw the whole, in both passes.

        The second one finds more than large faces: blurred, turned and half hidden ones, too.

        One that the part cuts off may be missed, or found as far as it shows. A little more than the part may be seen: up to
        what fills the network's input.

        Raises:
            ValueError: a bad picture, or a part that is empty or not inside of it.
        """
        check_pictures([picture])
        height, width = picture.shape[:2]
        if not (0 <= part.x0 < part.x1 <= width and 0 <= part.y0 < part.y1 <= height):
            raise ValueError(f"Expected a part of a picture of {width} × {height} pixels, got {tuple(part)}.")
        longest = max(width, height)
        passes = {self._scale(width, height): _PART, self._side(longest) / longest: _PART}  # one, if there are no tiles
        if self.config.second_pass:
            passes[self._small_side(longest) / longest] = _SMALL_PART
        found = []
        for scale, least in passes.items():
            x0, x1, columns = _filled(part.x0, part.x1, width, scale, least)
            y0, y1, rows = _filled(part.y0, part.y1, height, scale, least)
            view = _View(0, Part(x0, y0, x1, y1), columns, rows)
            outputs = self._run([picture], [view])
            found.append(_decode([output[0] for output in outputs], view, self.config.score))
        return self._joined(found, picture)

    def _run(self, pictures: Sequence[Pixels], views: Sequence[_View]) -> list[Floats]:
        """What the network says of views of one size."""
        shape = (len(views), 3, views[0].height, views[0].width)
        try:
            buffer = self._inputs.pop()
        except IndexError:
            buffer = np.empty(0, dtype=np.float32)
        if buffer.size < math.prod(shape):
            buffer = np.empty(math.prod(shape), dtype=np.float32)
        rows = buffer[: math.prod(shape)].reshape(shape)
        for row, view in zip(rows, views, strict=True):
            _fill(row, pictures[view.picture], view)
        outputs = run_rows(self._network, rows)
        if buffer.size <= _KEPT:
            self._inputs.append(buffer)
        return outputs

    def _scale(self, width: int, height: int) -> float:
        """Pixels of the network for one of the picture: in tiles, if it is large enough for them."""
        longest = max(width, height)
        if self.config.tile and longest > self.config.max_side:
            longest = self.config.tile
        return self._side(longest) / longest

    def _side(self, longest: int) -> int:
        """Long side for the network of a picture, or a tile, whose long side is `longest` pixels."""
        return min(max(longest, self.config.min_side), self.config.max_side)

    def _small_side(self, longest: int) -> int:
        """The same for the second pass."""
        return max(256, self._side(longest) // 3)

    def _views(self, index: int, width: int, height: int) -> list[_View]:
        config = self.config
        whole = Part(0, 0, width, height)
        longest = max(width, height)
        views = [_View(index, whole, *_network_size(width, height, self._side(longest)))]
        if config.second_pass:
            views.append(_View(index, whole, *_network_size(width, height, self._small_side(longest))))
        if config.tile and longest > config.max_side:
            for x0, x1 in _spans(width, config.tile):
                for y0, y1 in _spans(height, config.tile):
                    part_side = self._side(max(x1 - x0, y1 - y0))
                    views.append(_View(index, Part(x0, y0, x1, y1), *_network_size(x1 - x0, y1 - y0, part_side)))
        return list(dict.fromkeys(views))

    def _joined(self, rows: list[npt.NDArray[np.float64]], picture: Pixels) -> Detections:
        # By falling score first: the order in which views were grouped must not decide a tie.
        every = np.concatenate(rows)
        every = every[np.lexsort((*every[:, :4].T, -every[:, 4]))]
        every = every[nms(every[:, :4], every[:, 4], self.config.overlap)]
        return make_detections(every[:, :4], every[:, 4], every[:, 5:], picture.shape[1], picture.shape[0])


def _network_size(width: int, height: int, side: int) -> tuple[int, int]:
    scale = side / max(width, height)
    w, h = (max(_MULTIPLE, round(v * scale / _MULTIPLE) * _MULTIPLE) for v in (width, height))
    return w, h


def _filled(start: int, stop: int, length: int, scale: float, least: int = _PART) -> tuple[int, int, int]:
    """An interval of a picture, widened inside of it to what fills the network's input; and how much that is.

    No less than `least`, unless that is more than the picture has.
    """
    side = max(least, -(-round((stop - start) * scale) // _PART) * _PART)
    wide = min(length, max(stop - start, round(side / scale)))
    if wide == length:  # there is no more to see: as in a look at the whole
        side = max(_MULTIPLE, round(length * scale / _MULTIPLE) * _MULTIPLE)
    begin = min(max(0, start - (wide - (stop - start)) // 2), length - wide)
    return begin, begin + wide, side


def _spans(length: int, tile: int) -> list[tuple[int, int]]:
    """Intervals of at most `tile` that cover 0–length and overlap by a quarter of it or more."""
    if length <= tile:
        return [(0, length)]
    count = -(-(length - tile) // (tile * 3 // 4)) + 1
    starts = [round(k * (length - tile) / (count - 1)) for k in range(count)]
    return [(start, start + tile) for start in starts]


def _fill(row: Floats, picture: Pixels, view: _View) -> None:
    """A view as the network wants it, 0–255, (3, H, W)."""
    import cv2

    part = picture[view.part.y0 : view.part.y1, view.part.x0 : view.part.x1]
    shrinks = view.width < part.shape[1] and view.height < part.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    row[:] = cv2.resize(part, (view.width, view.height), interpolation=how).transpose(2, 0, 1)


def _decode(outputs: list[Floats], view: _View, threshold: float) -> npt.NDArray[np.float64]:
    """Rows of box (4), score (1) and five points (10) in pixels of the picture."""
    heat, scale, offset, points = outputs
    y, x = np.where(heat[0] >= threshold)
    score = heat[0, y, x].astype(np.float64)
    h, w = np.exp(scale[:, y, x].astype(np.float64)) * _STRIDE
    cy, cx = (offset[:, y, x].astype(np.float64) + 0.5 + np.stack([y, x])) * _STRIDE
    corner = np.stack([cx - w / 2, cy - h / 2], axis=1)
    box = np.concatenate([corner, corner + np.stack([w, h], axis=1)], axis=1)
    five = points[:, y, x].T.reshape(-1, 5, 2)[..., ::-1] * np.stack([w, h], axis=1)[:, None] + corner[:, None]
    keep = nms(box, score, 0.3)
    x0, y0, x1, y1 = view.part
    factor = np.array([(x1 - x0) / view.width, (y1 - y0) / view.height])
    box = (box[keep].reshape(-1, 2, 2) * factor + [x0, y0]).reshape(-1, 4)
    five = (five[keep] * factor + [x0, y0]).reshape(-1, 10)
    return np.concatenate([box, score[keep, None], five], axis=1)
