"""Make the bundled sample corpus, `fdf/data/sample/`: a maintainer's script, run once, its output is committed.

    python manifests/make_sample_corpus.py --renders DIR --small-renders DIR --portraits DIR [--skimage DIR] [--out DIR]

`--renders` and `--small-renders` hold rendered people (512 and 160 px JPEGs) with a `ground-truth.jsonl`: id, file, box,
kp (seven named keypoints), yaw, pitch, roll, y up. `--portraits` holds `astronaut.png` and `grace_hopper.jpg`. The same
inputs and the same versions of Pillow, numpy and OpenCV give the same bytes.

People are cut out of their renders with GrabCut and pasted into scenes by whole pixels after one resize, so the truth
(boxes, keypoints) follows every step exactly: (x, y) → (x·sx + dx, y·sy + dy), pixel edges as origin.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import io
import json
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote_plus

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

KEYPOINTS = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder")
LONG_EDGE = 500
COMMENT = b"A rendered person who does not exist; sample picture of fdf, CC0 1.0"
Size = tuple[int, int]
Floats = NDArray[np.float64]

# --- licences and owners -------------------------------------------------------------------------------------------

_CC = "http://creativecommons.org/licenses/{}/2.0/"
LICENSES = {
    "by": ("Attribution License", _CC.format("by")),
    "by-sa": ("Attribution-ShareAlike License", _CC.format("by-sa")),
    "by-nd": ("Attribution-NoDerivs License", _CC.format("by-nd")),
    "by-nc": ("Attribution-NonCommercial License", _CC.format("by-nc")),
    "by-nc-sa": ("Attribution-NonCommercial-ShareAlike License", _CC.format("by-nc-sa")),
    "by-nc-nd": ("Attribution-NonCommercial-NoDerivs License", _CC.format("by-nc-nd")),
    "pdm": ("Public Domain Mark 1.0", "https://creativecommons.org/publicdomain/mark/1.0/"),
    "cc0": ("CC0 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "unknown": ("Sample Unknown License", "http://example.org/licenses/sample-unknown/1.0/"),
    "none": ("", ""),
}
OWNERS = {
    1: ("Sample Photographer 1", "by"),
    2: ("Sample Photographer 2", "by-nc-sa"),
    3: ("Sample Photographer 3", "by-sa"),
    4: ("Sample Photographer 4", "by-nc"),
    5: ("Sample Photographer 5 📷🌻", "by-nc-sa"),
    6: ("مصوّر العيّنة 6 (Sample Photographer 6)", "by"),
    7: ("Sample, Sons & Daughters (Photographer 7)", "by-nc-sa"),
    8: ("Sample Photographer 8", "by-nc"),
    9: ("Élodie Échantillon-Ünsal (Sample Photographer 9)", "by-sa"),
    10: ("Sample Photographer 10", "by-nc-sa"),
    11: ("Sample Photographer 11, no derivatives", "by-nd"),
    12: ("Sample Photographer 12, odd rows", "by"),
    13: ("NASA (sample row)", "pdm"),
    14: ("US Navy (sample row)", "pdm"),
    15: ("scikit-image data (sample rows)", "cc0"),
}

RENDER = "rendered people"
MADE = "made for this corpus"
CC0 = "CC0-1.0"

# --- truth ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Face:
    """One face: box, seven keypoints (COCO order), pose as sampled, and who it is."""

    identity: str
    box: Floats
    keypoints: Floats
    yaw: float | None
    pitch: float | None
    roll: float | None
    labels: str = "render"

    def moved(self, sx: float, sy: float, dx: float, dy: float) -> Face:
        """The same face after the picture was scaled, then shifted."""
        s, d = np.array([sx, sy]), np.array([dx, dy], float)
        return replace(self, box=self.box * np.tile(s, 2) + np.tile(d, 2), keypoints=self.keypoints * s + d)

    def to_json(self) -> dict[str, object]:
        """Plain values, pixels to two decimals, degrees to one."""
        pose = {k: None if (v := getattr(self, k)) is None else round(v, 1) for k in ("yaw", "pitch", "roll")}
        return {
            "identity": self.identity,
            "box": [round(float(v), 2) for v in self.box],
            "keypoints": [[round(float(x), 2), round(float(y), 2)] for x, y in self.keypoints],
            **pose,
            "labels": self.labels,
        }


@dataclass(frozen=True)
class Shot:
    """A picture and the faces in it."""

    image: Image.Image
    faces: tuple[Face, ...] = ()

    def resized(self, size: Size) -> Shot:
        """Scaled to `size`; colour under transparency does not bleed."""
        mode = "RGBa" if self.image.mode == "RGBA" else self.image.mode
        image = self.image.convert(mode).resize(size, Image.Resampling.LANCZOS).convert(self.image.mode)
        sx, sy = size[0] / self.image.width, size[1] / self.image.height
        return Shot(image, tuple(f.moved(sx, sy, 0, 0) for f in self.faces))

    def fitted(self, long_edge: int = LONG_EDGE) -> Shot:
        """Scaled so that the long edge is `long_edge` pixels, as the mirror's pictures are."""
        s = long_edge / max(self.image.size)
        return self.resized((round(self.image.width * s), round(self.image.height * s)))

    def cropped(self, x0: int, y0: int, x1: int, y1: int) -> Shot:
        """The part [x0, x1) × [y0, y1)."""
        return Shot(self.image.crop((x0, y0, x1, y1)), tuple(f.moved(1, 1, -x0, -y0) for f in self.faces))

    def changed(self, change: Callable[[Image.Image], Image.Image]) -> Shot:
        """Other colours, same geometry."""
        return Shot(change(self.image), self.faces)


class Renders:
    """Rendered people by file stem (`90000_0`), whole or cut out of their backdrop."""

    def __init__(self, *folders: Path) -> None:
        """Read the ground truth of every folder."""
        self._rows: dict[str, tuple[Path, dict[str, object]]] = {}
        for folder in folders:
            for line in (folder / "ground-truth.jsonl").read_text().splitlines():
                row = json.loads(line)
                self._rows[Path(row["file"]).stem] = folder / row["file"], row

    def __call__(self, stem: str) -> Shot:
        """The whole render."""
        path, row = self._rows[stem]
        face = Face(
            identity=f"render-{row['id']}",
            box=np.array(row["box"]),
            keypoints=np.array([row["kp"][name] for name in KEYPOINTS]),  # type: ignore[index]
            yaw=row["yaw"],  # type: ignore[arg-type]
            pitch=row["pitch"],  # type: ignore[arg-type]
            roll=-float(row["roll"]),  # type: ignore[arg-type]  # y is up in the renderer, down in pictures
        )
        return Shot(Image.open(path).convert("RGB"), (face,))

    def cut(self, stem: str) -> Shot:
        """The person alone, RGBA."""
        shot = self(stem)
        image = shot.image.copy()
        image.putalpha(_matte(np.asarray(shot.image), shot.faces[0]))
        return Shot(image, shot.faces)


def _matte(rgb: NDArray[np.uint8], face: Face) -> Image.Image:
    """Alpha of the person, by GrabCut seeded from the face box and the shoulders."""
    h, w = rgb.shape[:2]
    x0, y0, x1, y1 = face.box
    bw, bh, cx, cy = x1 - x0, y1 - y0, (x0 + x1) / 2, (y0 + y1) / 2
    left, right = face.keypoints[5, 1], face.keypoints[6, 1]
    mask = np.full((h, w), cv2.GC_PR_BGD, np.uint8)

    def ellipse(y: float, rx: float, ry: float, value: int) -> None:
        cv2.ellipse(mask, (int(cx), int(y)), (int(rx * bw), int(ry * bh)), 0, 0, 360, value, -1)

    def polygon(points: list[list[float]], value: int) -> None:
        cv2.fillPoly(mask, [np.array(points).astype(np.int32)], value)

    ellipse(cy - 0.08 * bh, 0.95, 0.85, cv2.GC_PR_FGD)
    shoulders = [[w, min(h, left) - 0.05 * bh], [w, h], [0, h], [0, min(h, right) - 0.05 * bh]]
    polygon([[cx - 0.6 * bw, y1], [cx + 0.6 * bw, y1], *shoulders], cv2.GC_PR_FGD)
    ellipse(cy, 0.42, 0.46, cv2.GC_FGD)
    neck = y1 - 0.1 * bh
    polygon([[cx - 0.2 * bw, neck], [cx + 0.2 * bw, neck], [cx + 0.3 * bw, h], [cx - 0.3 * bw, h]], cv2.GC_FGD)
    side, top = int(0.02 * w), int(min(left, right) - 0.25 * bh)
    mask[: int(0.02 * h)] = cv2.GC_BGD
    mask[:top, :side] = mask[:top, -side:] = cv2.GC_BGD

    cv2.setRNGSeed(1)
    cv2.setNumThreads(1)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    cv2.grabCut(bgr, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    person = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(person)
    person = (labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - person)
    for hole in range(1, count):
        if stats[hole, cv2.CC_STAT_AREA] < 0.01 * h * w:
            person[labels == hole] = 1
    soft = cv2.erode(person, np.ones((3, 3), np.uint8)).astype(np.float32)
    soft = cv2.GaussianBlur(soft, (0, 0), max(0.6, 1.2 * h / 512))
    return Image.fromarray((soft * 255).round().astype(np.uint8))


# --- scenes --------------------------------------------------------------------------------------------------------

Colour = tuple[int, int, int]


def _gradient(size: Size, top: Colour, bottom: Colour) -> Image.Image:
    t = np.linspace(0, 1, size[1])[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.broadcast_to(rows, (size[1], size[0], 3)).round().astype(np.uint8))


def bokeh(size: Size, seed: int, top: Colour = (58, 52, 84), bottom: Colour = (120, 84, 70)) -> Image.Image:
    """Out-of-focus lights of an evening street."""
    rng = np.random.default_rng(seed)
    image = _gradient(size, top, bottom)
    lights = Image.new("RGB", size)
    draw = ImageDraw.Draw(lights)
    for _ in range(45):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        r, warm = rng.uniform(6, 26), rng.uniform(0.3, 1)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(int(150 * warm), int(105 * warm), int(60 * warm)))
    lights = lights.filter(ImageFilter.GaussianBlur(5))
    return Image.fromarray(np.clip(np.asarray(image, int) + np.asarray(lights), 0, 255).astype(np.uint8))


def park(size: Size, seed: int, horizon: float = 0.55) -> Image.Image:
    """Sky, a line of trees and a lawn, slightly out of focus."""
    rng = np.random.default_rng(seed)
    w, h = size
    image = _gradient(size, (142, 178, 214), (222, 230, 232))
    draw = ImageDraw.Draw(image)
    edge = int(horizon * h)
    for _ in range(60):
        x, r = rng.uniform(-20, w + 20), rng.uniform(14, 46)
        y, shade = edge - rng.uniform(0, 50), rng.uniform(0.6, 1.1)
        colour = (int(62 * shade), int(94 * shade), int(52 * shade))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    draw.rectangle((0, edge, w, h), fill=(104, 134, 74))
    image = image.filter(ImageFilter.GaussianBlur(4))
    lawn = rng.normal(0, 9, (h, w, 1)) * (np.arange(h)[:, None, None] > edge)
    return Image.fromarray(np.clip(np.asarray(image, float) + lawn, 0, 255).astype(np.uint8))


def textured(path: Path, size: Size, tint: Colour, blur: float = 0.0) -> Image.Image:
    """A grey texture (bricks, gravel) in the colour `tint`."""
    grey = Image.open(path).convert("L").transpose(Image.Transpose.ROTATE_90)  # courses of bricks lie
    scale = max(size[0] / grey.width, size[1] / grey.height)
    grey = grey.resize((round(grey.width * scale) + 1, round(grey.height * scale) + 1), Image.Resampling.LANCZOS)
    grey = grey.crop((0, 0, *size)).filter(ImageFilter.GaussianBlur(blur))
    values = np.asarray(grey, float)[..., None]
    return Image.fromarray(np.clip(values / values.mean() * np.array(tint), 0, 255).astype(np.uint8))


def photo(path: Path, size: Size, blur: float) -> Image.Image:
    """A picture filling the frame, out of focus."""
    image = Image.open(path).convert("RGB")
    scale = max(size[0] / image.width, size[1] / image.height)
    image = image.resize((round(image.width * scale) + 1, round(image.height * scale) + 1), Image.Resampling.LANCZOS)
    return image.crop((0, 0, *size)).filter(ImageFilter.GaussianBlur(blur))


@dataclass(frozen=True)
class Person:
    """Somebody in a scene: which render, height of the face box, where the middle and the bottom of the cut-out go."""

    stem: str
    face: float
    x: float
    bottom: float


@dataclass(frozen=True)
class Rail:
    """A band across the scene from `top` down, which hides what stands behind: a hedge, a bench, a table."""

    top: int
    colour: Colour
    rough: float = 6.0


def scene(renders: Renders, backdrop: Image.Image, things: Iterable[Person | Rail], seed: int) -> Shot:
    """Paste people and rails over the backdrop, back to front. Raises if a face is covered or leaves the picture."""
    rng = np.random.default_rng(seed)
    canvas, faces = backdrop.convert("RGB"), list[Face]()
    w, h = canvas.size
    for thing in things:
        layer = Image.new("RGBA", canvas.size)
        fresh: tuple[Face, ...] = ()
        if isinstance(thing, Rail):
            band = np.array(thing.colour) + rng.normal(0, thing.rough, (h, w, 1))
            band += 22.0 * (np.abs(np.arange(h) - thing.top - 3) < 3)[:, None, None]
            rail = Image.fromarray(np.clip(band, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
            layer.paste(rail.crop((0, thing.top, w, h)), (0, thing.top))
        else:
            person = renders.cut(thing.stem)
            scale = thing.face / (person.faces[0].box[3] - person.faces[0].box[1])
            person = person.resized((round(person.image.width * scale), round(person.image.height * scale)))
            dx, dy = round(thing.x - person.image.width / 2), round(thing.bottom - person.image.height)
            layer.paste(person.image, (dx, dy))
            fresh = tuple(f.moved(1, 1, dx, dy) for f in person.faces)
        alpha = np.asarray(layer.getchannel("A"))
        for face in faces:
            x0, y0, x1, y1 = face.box.round().astype(int)
            if (alpha[y0:y1, x0:x1] > 127).mean() > 0.06:
                msg = f"{thing} covers {face.identity}"
                raise ValueError(msg)
        canvas.paste(layer, (0, 0), layer)
        faces += fresh
    for face in faces:
        if face.box[:2].min() < 0 or (face.box[2:] > (w, h)).any():
            msg = f"{face.identity} leaves the picture"
            raise ValueError(msg)
    grain = np.asarray(canvas, float) + rng.normal(0, 2.0, (h, w, 1))
    return Shot(Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)), tuple(faces))


def gallery(renders: Renders, wall: Image.Image, frames: Iterable[tuple[str, int, int, int]]) -> Shot:
    """Framed prints (stem, x, y, side) on a wall."""
    canvas, faces = wall.convert("RGB"), list[Face]()
    for stem, x, y, side in frames:
        shadow = Image.new("L", canvas.size)
        ImageDraw.Draw(shadow).rectangle((x - 8, y - 6, x + side + 16, y + side + 18), fill=120)
        canvas.paste((20, 15, 15), (0, 0), shadow.filter(ImageFilter.GaussianBlur(6)))
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((x - 12, y - 12, x + side + 11, y + side + 11), fill=(52, 38, 30))
        draw.rectangle((x - 7, y - 7, x + side + 6, y + side + 6), fill=(236, 232, 222))
        person = renders(stem).resized((side, side))
        canvas.paste(person.image, (x, y))
        faces += [f.moved(1, 1, x, y) for f in person.faces]
    return Shot(canvas, tuple(faces))


# --- files ---------------------------------------------------------------------------------------------------------


def jpeg(image: Image.Image, quality: int = 86, **options: object) -> bytes:
    """A baseline JPEG with a comment that says what the picture is."""
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": quality, "optimize": True, "comment": COMMENT} | options)
    return out.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG whose pixels lie on their side and whose EXIF says how to stand them up (6 or 8)."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    return jpeg(image.transpose(turn), exif=exif)


def png(width: int, height: int, idat: bytes) -> bytes:
    """A PNG made by hand: header, one data chunk, end, each with a valid CRC."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def placeholder() -> bytes:
    """What a host sends in place of a photo that is gone; our own drawing."""
    image = Image.new("RGB", (500, 375), (243, 245, 246))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((205, 90, 295, 160), 10, outline=(150, 158, 164), width=5)
    draw.ellipse((231, 106, 269, 144), outline=(150, 158, 164), width=5)
    draw.line((190, 175, 310, 75), fill=(150, 158, 164), width=6)
    font = ImageFont.load_default(size=22)
    draw.text((250, 215), "This photo is no longer available", fill=(90, 98, 104), font=font, anchor="mm")
    draw.text((250, 250), "sample placeholder of fdf", fill=(150, 158, 164), font=font, anchor="mm")
    out = io.BytesIO()
    image.quantize(16).save(out, "PNG", optimize=True)
    return out.getvalue()


HTML = b"""<!DOCTYPE html>
<html lang="en"><head><title>Sample error page</title></head>
<body><h1>Something went wrong</h1><p>A page of text served under the name of a picture.</p></body></html>
"""

# --- rows ----------------------------------------------------------------------------------------------------------


def mirror_key(download_url: str, extension: str = "jpg") -> str:
    """Key in the multimedia-commons layout: MD5 of the URL, each byte in hex without zero padding."""
    digest = hashlib.md5(download_url.encode(), usedforsecurity=False).digest()
    k = "".join(f"{byte:x}" for byte in digest)
    return f"data/images/{k[:3]}/{k[3:6]}/{k}.{extension}"


@dataclass(frozen=True)
class Row:
    """One metadata row, decoded; `cells` writes it the way the 23-column file does."""

    number: int
    owner: int
    title: str
    license: str = ""
    tags: tuple[str, ...] = ("sample", "render")
    machine_tags: tuple[str, ...] = ("fdf:sample=1",)
    taken: str = ""
    device: str = "Virtual Camera"
    description: str = "A sample row of fdf."
    place: tuple[str, str, str] = ("", "", "")
    extension: str = "jpg"
    video: bool = False
    raw_title: str = ""
    no_url: bool = False

    @property
    def photo_id(self) -> str:
        """Twelve digits: longer than any id Flickr gave."""
        return str(900_000_000_000 + self.number)

    @property
    def secrets(self) -> tuple[str, str]:
        """Made-up secret and original secret, ten hex digits each."""
        digest = hashlib.sha256(f"fdf sample {self.photo_id}".encode()).hexdigest()
        return digest[:10], digest[10:20]

    @property
    def server(self) -> tuple[int, int]:
        """Server and farm."""
        return 8001 + self.number % 12, 1 + self.number % 9

    @property
    def download_url(self) -> str:
        """URL of the 500 px picture in the form of the time."""
        server, farm = self.server
        return f"http://farm{farm}.staticflickr.com/{server}/{self.photo_id}_{self.secrets[0]}.jpg"

    def cells(self) -> list[str]:
        """The 23 columns, encoded."""
        name, usual = OWNERS[self.owner]
        nsid = f"{90_000_000 + self.owner}@N00"
        license_name, license_url = LICENSES[self.license or usual]
        minute = self.number % 60
        taken = self.taken or f"2012-05-{1 + self.number % 28:02d} {8 + self.number % 11:02d}:{minute:02d}:00.0"
        server, farm = self.server
        return [
            self.photo_id,
            nsid,
            quote_plus(name),
            taken,
            str(1_340_000_000 + 3_600 * self.number),
            quote_plus(self.device),
            self.raw_title or quote_plus(self.title),
            quote_plus(self.description),
            ",".join(quote_plus(tag) for tag in self.tags),
            ",".join(quote_plus(tag, safe=":=") for tag in self.machine_tags),
            *self.place,
            f"http://www.flickr.com/photos/{nsid}/{self.photo_id}/",
            "" if self.no_url else self.download_url,
            license_name,
            license_url,
            str(server),
            str(farm),
            *self.secrets,
            self.extension,
            "1" if self.video else "0",
        ]


@dataclass(frozen=True)
class Entry:
    """A row, the file behind it (if any), what the server does with it and what must come of it."""

    row: Row
    what: str
    origin: str = ""
    rights: str = ""
    data: bytes | None = None
    suffix: str = "jpg"
    faces: tuple[Face, ...] | None = None
    size: Size = (0, 0)
    expected: str = "ok"
    aim: str = ""
    routes: tuple[tuple[str, dict[str, object]], ...] = ()


@dataclass
class Corpus:
    """Collects entries; numbers photos in the order they come."""

    entries: list[Entry] = field(default_factory=list)

    def row(self, owner: int, title: str, **more: object) -> Row:
        """A row with the next number."""
        return Row(len(self.entries) + 1, owner, title, **more)  # type: ignore[arg-type]

    def add(self, row: Row, shot: Shot | None, what: str, **more: object) -> Entry:
        """A picture (JPEG unless `data` is given) or a row without one."""
        if shot is not None:
            more = {"data": more.get("data") or jpeg(shot.image), "faces": shot.faces, "size": shot.image.size} | more
            more = {"origin": RENDER, "rights": CC0} | more
        entry = Entry(row, what, **more)  # type: ignore[arg-type]
        self.entries.append(entry)
        return entry


# --- the corpus ----------------------------------------------------------------------------------------------------

PARK_ROWS = (Person("20002_1", 62, 105, 246), Person("20004_0", 60, 250, 240), Person("20008_1", 62, 392, 246))
SQUARE, TALL, WIDE = "square", "tall", "wide"
PLAIN = (
    # stem, owner, shape, row details
    ("90000_0", 1, SQUARE, {}),
    ("90003_0", 1, SQUARE, {}),
    ("90004_0", 2, TALL, {"raw_title": "Salt+%26amp%3B+pepper%3A+render+90004"}),
    ("90006_0", 2, SQUARE, {"taken": "4501-01-01 00:00:00.0"}),
    ("90009_0", 3, TALL, {"place": ("12.5", "200.0", "16")}),
    ("90014_0", 3, SQUARE, {"raw_title": "Caf%E9+au+lait%2C+rendu+90014+%FF%FE"}),
    ("90016_0", 5, WIDE, {"title": "Render 90016 😀 👩🏽‍🦱 🏳️‍🌈", "tags": ("sample", "render", "émoji 😀")}),
    ("90017_0", 5, TALL, {"title": "שלום עולם — دنيا — render 90017 \u202etxt.exe"}),
    ("90018_0", 6, SQUARE, {}),
    ("90024_0", 6, SQUARE, {"title": '<script>alert("90024")</script><img src=x onerror=alert(1)>'}),
    ("90027_0", 7, SQUARE, {"title": "Render 90027, a very long title " + "that goes on and on " * 100}),
    ("90033_0", 7, SQUARE, {"title": 'Render 90033\non two lines\twith a tab, a "quote" and a \\ backslash'}),
    ("90034_0", 8, TALL, {"title": '=HYPERLINK("http://example.org","render 90034")'}),
    ("90036_0", 8, SQUARE, {"title": ""}),
    ("90038_0", 9, SQUARE, {"place": ("-30.25", "40.5", "3")}),
    ("90040_0", 9, WIDE, {"taken": ""}),
)


def _shaped(shot: Shot, shape: str) -> Shot:
    """Square, upright 4:5 or lying 5:4 around the face, long edge 500."""
    x0, y0, x1, y1 = shot.faces[0].box
    w, h = shot.image.size
    if shape == TALL:
        left = int(np.clip((x0 + x1) / 2 - 0.4 * w, 0, 0.2 * w))
        return shot.cropped(left, 0, left + int(0.8 * w), h).fitted()
    if shape == WIDE:
        top = int(np.clip((y0 + y1) / 2 - 0.42 * h, 0, 0.2 * h))
        return shot.cropped(0, top, w, top + int(0.8 * h)).fitted()
    return shot.fitted()


def add_singles(c: Corpus, renders: Renders) -> None:
    """(a) Renders as they are; many of their rows hold surprises of the real file."""
    for stem, owner, shape, details in PLAIN:
        title = details.get("title", f"Render {stem[:5]}")
        rest = {k: v for k, v in details.items() if k != "title"}
        odd = {"taken": "impossible date taken", "place": "a place"}
        note = ", ".join(odd.get(k, f"odd {k.removeprefix('raw_')}") for k in details)
        if "place" in rest and rest["place"][1] == "200.0":
            note = "impossible latitude"
        row = c.row(owner, str(title), **rest)
        c.add(row, _shaped(renders(stem), shape), f"render {stem}, {shape}" + (f"; {note}" if note else ""))


def add_groups(c: Corpus, renders: Renders, skimage: Path) -> None:
    """(b) Several people in one picture, and (c) small faces in a larger scene."""
    brick, coffee, rocket = skimage / "brick.png", skimage / "coffee.png", skimage / "rocket.jpg"
    wood, hedge, stone = (112, 84, 62), (66, 92, 54), (150, 144, 136)
    wide, low = (500, 375), (500, 333)
    with_brick, with_coffee = f"{RENDER}; wall: scikit-image brick (CC0)", f"{RENDER}; background: scikit-image coffee"
    with_rocket = f"{RENDER}; background: scikit-image rocket (public domain)"
    row_of_four = [Person(s, 88, 66 + 122 * i, 282) for i, s in enumerate(("20006_0", "20010_0", "20013_0", "20022_0"))]
    front = [Person(s, 104, x, 376) for s, x in (("20007_1", 166), ("20020_1", 334))]
    crowd = [
        Person(s, f, 45 + 82 * i, 262)
        for i, (s, f) in enumerate(
            (("20012_1", 46), ("20016_0", 52), ("20019_1", 41), ("20023_0", 55), ("20024_0", 44), ("20027_0", 49))
        )
    ]
    three = [Person("90023_0", 138, 86, 334), Person("90029_0", 130, 414, 334), Person("90028_0", 142, 250, 334)]
    near = [
        Person("20000_1", 66, 350, 285),
        Person("20005_1", 58, 445, 280),
        Rail(272, wood),
        Person("90026_0", 200, 150, 376),
    ]
    frames = [
        ("20011_0", 45, 40, 175),
        ("20025_0", 285, 30, 160),
        ("20026_1", 62, 265, 130),
        ("20028_0", 255, 230, 190),
    ]
    spectators = [Person("20001_1", 46, 120, 334), Person("20009_1", 50, 215, 334), Person("20020_0", 44, 330, 334)]
    table = [Person("20025_1", 70, 160, 262), Person("20026_0", 62, 345, 258), Rail(240, wood)]
    far = [Person("20022_1", 16, 330, 196), Rail(192, hedge, 12)]
    for owner, title, shot, what, origin in (
        (1, "Two of them in the evening", scene(renders, bokeh(wide, 1), [Person("90002_0", 172, 136, 376), Person("90007_0", 178, 362, 376)], 1), "two people", RENDER),  # noqa: E501
        (2, "At the café", scene(renders, photo(coffee, low, 12), [Person("90019_0", 164, 128, 334), Person("90030_0", 146, 368, 334)], 2), "two people", with_coffee),  # noqa: E501
        (3, "Three in the park", scene(renders, park(low, 3), three, 3), "three people", RENDER),
        (5, "One near, two far", scene(renders, bokeh(wide, 4, (40, 60, 74), (96, 92, 88)), near, 4), "three people at different scales", RENDER),  # noqa: E501
        (7, "Four against a wall", scene(renders, textured(brick, (500, 281), (150, 96, 78)), row_of_four, 5), "four people, faces of 88 px", with_brick),  # noqa: E501
        (8, "Portraits on a wall", gallery(renders, textured(brick, (500, 460), (188, 180, 166)), frames), "four framed portraits", with_brick),  # noqa: E501
        (10, "Two rows", scene(renders, park(wide, 7, 0.5), [*PARK_ROWS, Rail(226, stone), *front], 7), "five people in two rows", RENDER),  # noqa: E501
        (10, "Behind the hedge", scene(renders, park(low, 8), [*crowd, Rail(254, hedge, 12)], 8), "six people, faces of 41–55 px", RENDER),  # noqa: E501
        (2, "Waiting for the launch", scene(renders, photo(rocket, low, 1.2), spectators, 9), "three people, faces of 44–50 px", with_rocket),  # noqa: E501
        (9, "A table for two", scene(renders, photo(coffee, wide, 14), table, 10), "two people, faces of 62–70 px", with_coffee),  # noqa: E501
        (6, "Alone with the bricks", scene(renders, textured(brick, wide, (142, 148, 156)), [Person("20000_0", 42, 352, 376)], 11), "one person, face of 42 px", with_brick),  # noqa: E501
    ):  # fmt: skip
        c.add(c.row(owner, title), shot, what, origin=origin)
    shot = scene(renders, park(low, 12), far, 12)
    c.add(
        c.row(6, "Somebody far away"),
        shot,
        "one person, face of 16 px",
        aim="detect: no_face or filter: face_too_small",
    )


def add_hard(c: Corpus, renders: Renders) -> None:
    """(d) Too dark, too bright, blurred; (e) steep yaw; (f) turned by EXIF; other encodings."""

    def levels(gain: float, offset: float) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.point(lambda v: min(255, max(0, round(v * gain + offset))))

    def blur(radius: float) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.filter(ImageFilter.GaussianBlur(radius))

    for stem, owner, name, change, reason in (
        ("90011_0", 2, "dark", levels(0.16, 0), "too_dark"),
        ("90037_0", 5, "very dark", levels(0.08, 0), "too_dark"),
        ("90020_0", 7, "overexposed", levels(0.9, 150), "too_bright"),
        ("90032_0", 10, "very overexposed", levels(0.7, 180), "too_bright"),
        ("90022_0", 3, "blurred", blur(9), "blurred"),
        ("90005_0", 8, "very blurred", blur(11), "blurred"),
    ):
        shot = renders(stem).changed(change).fitted()
        c.add(c.row(owner, f"Render {stem[:5]}, {name}"), shot, f"render {stem}, {name}", aim=f"filter: {reason}")
    for stem, owner, side in (("90008_0", 1, 500), ("90035_0", 2, 500), ("20117_0", 9, 256), ("20120_1", 10, 256)):
        shot = renders(stem).fitted(side)
        yaw = shot.faces[0].yaw
        c.add(
            c.row(owner, f"Render {stem[:5]}, from the side"), shot, f"render {stem}, yaw {yaw:.0f}°", aim="steep yaw"
        )
    for stem, owner, orientation in (("90012_0", 3, 6), ("90031_0", 5, 8)):
        shot = _shaped(renders(stem), TALL)
        data = turned(shot.image, orientation)
        what = f"render {stem}, turned by EXIF orientation {orientation}"
        c.add(c.row(owner, f"Render {stem[:5]}, camera held sideways"), shot, what, data=data)
    grey = renders("90001_0").changed(lambda image: image.convert("L")).fitted()
    c.add(c.row(1, "Render 90001 in black and white"), grey, "render 90001_0, greyscale JPEG")
    cmyk = renders("90043_0").fitted()
    data = jpeg(cmyk.image.convert("CMYK"))
    c.add(c.row(6, "Render 90043, ready for print"), cmyk, "render 90043_0, CMYK JPEG", data=data)
    slow = renders("90010_0").fitted()
    data = jpeg(slow.image, progressive=True)
    c.add(c.row(7, "Render 90010, line by line"), slow, "render 90010_0, progressive JPEG", data=data)
    tiny = renders("90039_0").fitted(320)
    out = io.BytesIO()
    tiny.image.quantize(128).save(out, "GIF")
    row = c.row(8, "Render 90039 as a GIF", extension="gif")
    c.add(row, tiny, "render 90039_0, GIF under its own extension", data=out.getvalue(), suffix="gif")


def add_repeats(c: Corpus, renders: Renders, skimage: Path) -> None:
    """(g) Exact and near duplicates, and a burst: one owner, the same people within seconds."""
    by_title = {entry.row.title: entry for entry in c.entries}
    for title, owner, word in (("Render 90003", 1, "again"), ("Render 90018", 10, "reposted by another owner")):
        old = by_title[title]
        row = c.row(owner, f"{title}, {word}")
        c.add(row, Shot(Image.new("L", old.size), old.faces or ()), f"the same bytes as {old.row.photo_id}", data=old.data, size=old.size, expected="filter: duplicate_photo")  # noqa: E501  # fmt: skip
    smaller = renders("90024_0").fitted(400)
    expected = {"expected": "filter: duplicate_photo"}
    c.add(
        c.row(6, "Render 90024, smaller"), smaller, "render 90024_0 at 400 px", data=jpeg(smaller.image, 62), **expected
    )
    shot = renders("90000_0").changed(lambda image: image.point(lambda v: min(255, round(v * 1.04)))).fitted()
    c.add(
        c.row(5, "Render 90000, retouched"),
        shot,
        "render 90000_0, brighter by 4 %",
        data=jpeg(shot.image, 74),
        **expected,
    )

    brick = textured(skimage / "brick.png", (500, 375), (132, 120, 128), 2.5)
    alone = scene(renders, bokeh((375, 500), 20, (70, 88, 110), (60, 56, 80)), [Person("90013_0", 236, 190, 501)], 20)
    pair = scene(renders, brick, [Person("90013_0", 172, 140, 376), Person("90041_0", 162, 358, 376)], 21)
    shots = [renders("90013_0").fitted(), alone, pair, renders("20021_0").fitted(300), renders("20021_1").fitted(300)]
    what = ("render 90013_0", "the same person, another frame", "the same person with a friend", "render 20021_0", "render 20021_1: same person")  # noqa: E501  # fmt: skip
    for i, (shot, text) in enumerate(zip(shots, what, strict=True)):
        # Camera time within seconds for the first three, half an hour later for the other pair.
        taken = f"2012-06-15 {10 + i // 3}:30:{10 + 2 * i:02d}.0"
        origin = f"{RENDER}; wall: scikit-image brick (CC0)" if i == 2 else RENDER
        aim = "filter: duplicate_face for all but one of the burst"
        c.add(c.row(4, f"Burst, frame {i + 1}", taken=taken), shot, f"burst: {text}", origin=origin, aim=aim)


def add_portraits(c: Corpus, portraits: Path) -> None:
    """(h) Public-domain portraits of real people in office, labelled by hand."""
    collins = Face("eileen-collins", np.array([180.0, 72, 271, 178]), np.array([[226.5, 123], [247, 102.5], [203.5, 101], [272, 128], [179, 121], [326, 262], [76, 256]], float), None, None, None, "hand")  # noqa: E501  # fmt: skip
    data = (portraits / "astronaut.png").read_bytes()
    row = c.row(13, "Eileen Collins, NASA portrait", tags=("astronaut", "portrait"), device="", extension="png")
    c.add(row, Shot(Image.open(io.BytesIO(data)), (collins,)), "portrait of Eileen Collins, PNG under its own extension", data=data, suffix="png", origin="NASA", rights="public domain (US government work); credit: NASA")  # noqa: E501  # fmt: skip
    hopper = Face("grace-hopper", np.array([138.0, 112, 300, 272]), np.array([[223, 193], [255, 156], [185.5, 158.5], [304, 172], [134.5, 170], [385, 316], [55, 318]], float), None, None, None, "hand")  # noqa: E501  # fmt: skip
    shot = Shot(Image.open(portraits / "grace_hopper.jpg").convert("RGB")).fitted()
    data = jpeg(shot.image, 88, comment=b"Grace Hopper, US Navy portrait, public domain; resized")
    row = c.row(14, "Rear Admiral Grace Hopper, US Navy portrait", tags=("navy", "portrait"), device="")
    c.add(row, replace(shot, faces=(hopper,)), "portrait of Grace Hopper, resized", data=data, origin="US Navy", rights="public domain (US government work); credit: US Navy")  # noqa: E501  # fmt: skip


SKIMAGE = (
    # file, title, licence in the row, what scikit-image's documentation says of it (skimage.data docstrings)
    ("chelsea.png", "Chelsea the cat", "cc0", "No copyright restrictions. CC0 by the photographer (Stefan van der Walt)."),
    ("coffee.png", "Coffee cup", "cc0", "No copyright restrictions. CC0 by the photographer (Rachel Michetti)."),
    ("rocket.jpg", "Launch photo of DSCOVR on Falcon 9", "pdm", "The image was captured by SpaceX and released in the public domain."),  # noqa: E501
    ("hubble_deep_field.jpg", "Hubble eXtreme Deep Field", "pdm", "The image was captured by NASA and may be freely used in the public domain."),  # noqa: E501
    ("brick.png", "Brick wall", "cc0", "The original image was downloaded from CC0Textures and licensed under the Creative Commons CC0 License."),  # noqa: E501
    ("gravel.png", "Gravel", "cc0", "The original image was downloaded from CC0Textures and licensed under the Creative Commons CC0 License."),  # noqa: E501
    ("grass.png", "Grass", "cc0", "The original image was downloaded from DeviantArt and licensed under the Creative Commons CC0 License."),  # noqa: E501
    ("clock_motion.png", "Motion blurred clock", "pdm", "Released into the public domain by the photographer (Stefan van der Walt)."),  # noqa: E501
    ("horse.png", "Silhouette of a horse", "cc0", "No copyright restrictions. CC0 given by owner (Andreas Preuss (marauder))."),
)  # fmt: skip


def add_faceless(c: Corpus, skimage: Path) -> None:
    """(i) Photos without a face, from the scikit-image package."""
    for name, title, license_, _ in SKIMAGE:
        path = skimage / name
        origin, rights = f"scikit-image, `{name}`", {"cc0": CC0, "pdm": "public domain"}[license_]
        more: dict[str, object] = {"origin": origin, "rights": rights, "faces": (), "expected": "detect: no_face"}
        tags = ("sample", "no face")
        if name == "horse.png":  # as it is: an RGBA PNG
            image = Image.open(path)
            more |= {"data": path.read_bytes(), "suffix": "png", "size": image.size}
            c.add(c.row(15, title, license=license_, tags=tags, extension="png"), None, "RGBA PNG, no face", **more)
            continue
        image = Image.open(path)
        shot = Shot(image.convert("RGB" if image.mode in ("RGB", "RGBA", "P") else "L")).fitted()
        credit = f"scikit-image data/{name}, {rights}; resized".encode()
        row = c.row(15, title, license=license_, tags=tags, device="")
        c.add(row, shot, "no face", data=jpeg(shot.image, 84, comment=credit), **more)


def add_bad(c: Corpus, renders: Renders) -> None:
    """(j) Files and answers that go wrong, and servers that say no."""
    whole = jpeg(renders("20030_0").fitted(400).image)
    image = {"origin": RENDER, "rights": CC0}
    made: dict[str, str] = {"origin": MADE, "rights": CC0}
    row = c.row(12, "Half a picture")
    c.add(row, None, "JPEG cut after 60 % of its bytes", data=whole[: len(whole) * 6 // 10], expected="fetch: truncated", **image)  # noqa: E501  # fmt: skip
    c.add(
        c.row(12, "A page, not a picture"), None, "HTML named .jpg", data=HTML, expected="fetch: not_an_image", **made
    )
    bomb = png(30_000, 30_000, zlib.compress(b"\0" * 1000, 9))
    row = c.row(12, "Nine hundred megapixels", extension="png")
    c.add(
        row, None, "PNG header of 30000 × 30000", data=bomb, suffix="png", expected="fetch: decompression_bomb", **made
    )
    broken = png(400, 300, b"this is no zlib stream " * 8)
    row = c.row(12, "Sound header, no pixels", extension="png")
    made |= {"suffix": "png", "expected": "fetch: undecodable"}
    c.add(row, None, "PNG whose pixel data is no zlib stream", data=broken, **made)

    def routed(row: Row, **answer: object) -> tuple[tuple[str, dict[str, object]], ...]:
        return ((mirror_key(row.download_url), answer),)

    row = c.row(12, "Removed by its owner")
    c.add(row, None, "302 to the placeholder picture", routes=routed(row, redirect="/photo_unavailable.png"), expected="fetch: placeholder")  # noqa: E501  # fmt: skip
    row = c.row(12, "Deleted")
    c.add(row, None, "answers 404", routes=routed(row, status=404), expected="fetch: gone")
    row = c.row(12, "Deleted for good")
    c.add(row, None, "answers 410", routes=routed(row, status=410), expected="fetch: gone")
    row = c.row(12, "Made private")
    every = tuple((mirror_key(row.download_url, e), {"status": 403}) for e in ("jpg", "png", "gif"))
    c.add(row, None, "answers 403 under every extension", routes=every, expected="fetch: private")

    for stem, owner, what, answer, expected in (
        ("90042_0", 9, "429 once, then the picture", {"status": 429, "times": 1, "retry_after": 0}, "ok"),
        ("90021_0", 10, "503 once, then the picture", {"status": 503, "times": 1}, "ok"),
        ("90025_0", 3, "robots header that allows use", {"headers": {"X-Robots-Tag": "max-image-preview:large"}}, "ok"),
        ("90015_0", 8, "X-Robots-Tag: noai", {"headers": {"X-Robots-Tag": "noai"}}, "fetch: opted_out"),
        ("20034_0", 2, "noai after another directive", {"headers": {"X-Robots-Tag": "max-image-preview:large, noai"}}, "fetch: opted_out"),  # noqa: E501
        ("20044_0", 7, "tdm-reservation: 1", {"headers": {"tdm-reservation": "1"}}, "fetch: opted_out"),
    ):  # fmt: skip
        row = c.row(owner, f"Render {stem[:5]}")
        shot = renders(stem).fitted(500 if stem[0] == "9" else 320)
        c.add(row, shot, f"render {stem}; {what}", routes=routed(row, **answer), expected=expected)


def odd_rows(c: Corpus) -> list[tuple[str, Entry | None, str]]:
    """Rows that never reach the fetch: (line, entry, expected). Entries take the numbers after the pictures'."""
    lines: list[tuple[str, Entry | None, str]] = []

    def add(row: Row, what: str, expected: str, line: str | None = None) -> None:
        entry = Entry(row, what, expected=expected)
        c.entries.append(entry)
        lines.append(("\t".join(row.cells()) if line is None else line, entry, expected))

    nd, unknown = "metadata: license_no_derivatives", "metadata: license_unknown"
    refused = ((11, "by-nd"), (11, "by-nc-nd"), (11, "by-nd"), (12, "by-nc-nd"), (11, "by-nc-nd"))
    for i, (owner, license_) in enumerate(refused):
        add(c.row(owner, f"No derivatives {i + 1}", license=license_), f"licence {license_.upper()}", nd)
    add(c.row(12, "Unknown licence", license="unknown"), "a licence nobody knows", unknown)
    add(c.row(12, "No licence", license="none"), "licence name and URL empty", unknown)
    add(c.row(12, "A video", video=True, extension="mov"), "marker 1: a video", "metadata: not_a_photo")
    row = c.row(12, "A cut row")
    add(row, "22 columns", "metadata: bad_row", "\t".join(row.cells()[:-1]))
    add(c.row(12, "No download URL", no_url=True), "download URL empty", "metadata: bad_row")
    tags = ("sample", "no_cv", "portrait")
    add(c.row(2, "Please do not use", tags=tags), "tag no_cv", "metadata: opted_out")
    row = c.row(5, "Please do not use either", machine_tags=("fdf:sample=1", "fdf:no_cv=1"))
    add(row, "machine tag fdf:no_cv=1", "metadata: opted_out")
    lines.append(("", None, "metadata: bad_row"))
    twin = replace(c.entries[0].row, title="Render 90000, its id a second time")
    lines.append(("\t".join(twin.cells()), None, "metadata: bad_row"))
    return lines


def lay_out(c: Corpus, odd: list[tuple[str, Entry | None, str]]) -> tuple[list[str], dict[str, str], dict[str, int]]:
    """The lines of the metadata file, the expected outcomes and the line of each photo."""
    lines: list[str] = []
    expected: dict[str, str] = {}
    at: dict[str, int] = {}
    waiting = list(odd)
    unreadable = "22 columns"
    for n, entry in enumerate(e for e in c.entries if e not in [o[1] for o in odd]):
        at[entry.row.photo_id] = len(lines)
        expected[entry.row.photo_id] = entry.expected
        lines.append("\t".join(entry.row.cells()))
        if n % 5 == 4 and waiting:
            line, bad, outcome = waiting.pop(0)
            key = f"line:{len(lines)}" if bad is None or bad.what == unreadable else bad.row.photo_id
            if bad is not None:
                at[bad.row.photo_id] = len(lines)
            expected[key] = outcome
            lines.append(line)
    if waiting:
        msg = "more odd rows than places for them"
        raise ValueError(msg)
    return lines, expected, at


# --- writing -------------------------------------------------------------------------------------------------------

README = """\
# The sample corpus

`fdf build pipelines/sample.toml` builds from these files, over loopback HTTP, without the internet. This folder is written by
`manifests/make_sample_corpus.py`; don't edit it by hand.

| file | what |
|---|---|
| `yfcc100m_sample.tsv.bz2` | {rows} metadata rows in the 23-column form of YFCC100M: no header, tab-separated, percent/plus encoding |
| `mirror/` | {pictures} files laid out like the public multimedia-commons mirror: `data/images/{{k[0:3]}}/{{k[3:6]}}/{{k}}.jpg`, k = MD5 of the download URL, each byte in hex without zero padding; some keep their own extension. And `photo_unavailable.png`, the placeholder |
| `routes.json` | what the loopback server does out of the ordinary, by path below `mirror/`: see below |
| `truth.jsonl` | one line a readable picture: size and {faces} faces with box, keypoints, pose, identity |
| `expected.json` | by photo id, or `line:<n>` (from 0) for a row without a usable id: what must come of it |

## Rights

**Nobody in a rendered picture exists.** They are renders made for this project and dedicated to the public domain (CC0 1.0), the scenes made of them as well. The
licences in *their metadata rows* (the six Creative Commons 2.0 licences) are **there to exercise the code**: they are not the licence of the pictures, and the
owners are invented: NSIDs `90000001@N00` and up, photo ids from 900000000001, outside what Flickr gave out. No URL in the rows leads to a real photo.

Real people are in two pictures only, official portraits in the public domain as works of the US government:

- Eileen Collins, astronaut. Credit: NASA. The file is scikit-image's `astronaut.png`, unchanged.
- Rear Admiral Grace Hopper. Credit: US Navy. Resized to 500 px.

Pictures without people come from the scikit-image package; its documentation (the docstrings of `skimage.data`) says of them:

{quotes}

They were resized to 500 px and saved as JPEG, except `horse.png`, unchanged. `brick`, `coffee` and `rocket` also serve as backgrounds. Rows of these pictures carry
their real licence. The rest (placeholder, broken files) was made for this corpus and is CC0 1.0.

## `routes.json`

`{{"<path below mirror/>": {{…}}}}`; a path not in it is served as the file, or 404.

| key | meaning |
|---|---|
| `status` | answer with this status and no picture |
| `times` | only the first `times` requests for this path; then the file. Absent: always |
| `retry_after` | seconds in a `Retry-After` header of those answers |
| `redirect` | answer 302 with this `Location` (a path on the same server, from the root of `mirror/`) |
| `headers` | serve the file, with these headers added |

## `truth.jsonl`

`photo_id`, `file`, `width`, `height` and `faces`, possibly empty. Pixels of the upright picture (EXIF applied), (x, y) from its top left corner; box [x0, y0, x1, y1);
keypoints in COCO order: nose, left eye, right eye, left ear, right ear, left shoulder, right shoulder, left being the subject's own. Shoulders and ears may be hidden or lie outside the
picture. For renders, boxes and keypoints are projections of points of the mesh and follow every crop, resize and paste exactly; the box spans the face from chin to upper forehead, without ears and hair.
The renderer's "nose" lies some 4 % of the face's height above the tip that detectors mark. `yaw`, `pitch`, `roll` are the **sampled** angles in degrees, not the composed rotation nor corrected for perspective: positive yaw
to the subject's left, pitch up, roll clockwise in the picture. `labels: hand` marks the two portraits, labelled by eye, to about 3 px (shoulders 10 px), without pose. `identity` is the same for
every picture of one person.

## `expected.json`

`ok`: the photo passes metadata and fetch; what later stages make of it depends on models and thresholds, and isn't claimed. `<stage>: <reason>`: dropped there, for that reason, certain from how the row or the file
was made. Of duplicates, the later line is the one
dropped. `detect: no_face` says that there is no face in the picture. "Meant for" in the table below is what a picture is there to provoke, not a promise.

{counts}

## Every row

{table}
"""  # noqa: E501


def write(c: Corpus, odd: list[tuple[str, Entry | None, str]], out: Path) -> None:
    """Write the folder anew."""
    lines, expected, at = lay_out(c, odd)
    mirror = out / "mirror"
    if mirror.exists():
        shutil.rmtree(mirror)
    truth, routes, table = list[str](), dict[str, object](), dict[int, str]()
    faces = pictures = 0
    for entry in c.entries:
        row, key = entry.row, mirror_key(entry.row.download_url, entry.suffix)
        if entry.data is not None:
            path = mirror / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.data)
            pictures += 1
        routes |= dict(entry.routes)
        if entry.faces is not None:
            record = {"photo_id": row.photo_id, "file": key, "width": entry.size[0], "height": entry.size[1]}
            truth.append(json.dumps(record | {"faces": [f.to_json() for f in entry.faces]}))
            faces += len(entry.faces)
        licence = LICENSES[row.license or OWNERS[row.owner][1]][0] or "none"
        name = f"`{Path(key).name}`" if entry.data is not None else ""
        aim = f"; meant for {entry.aim}" if entry.aim else ""
        cells = (row.photo_id, name, entry.what, entry.origin, entry.rights, licence, entry.expected + aim)
        table[at[row.photo_id]] = "| " + " | ".join((str(at[row.photo_id]), *cells)) + " |"
    for key, outcome in expected.items():
        n = int(key.partition(":")[2] or -1)
        if n >= 0 and n not in table:
            what = "the id of line 0 a second time" if lines[n] else "an empty line"
            table[n] = f"| {n} | {lines[n].partition(chr(9))[0]} |  | {what} |  |  |  | {outcome} |"
    (mirror / "photo_unavailable.png").write_bytes(placeholder())
    text = "".join(line + "\n" for line in lines)
    (out / "yfcc100m_sample.tsv.bz2").write_bytes(bz2.compress(text.encode(), 9))
    (out / "truth.jsonl").write_text("".join(line + "\n" for line in truth))
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    (out / "routes.json").write_text(json.dumps(routes, indent=1) + "\n")
    quotes = "\n".join(f"- `{name}` ({title}): “{quote}”" for name, title, _, quote in SKIMAGE)
    head = (
        "| line | photo id | file | what it is | origin | real licence | licence in the row | expected |\n" + "|---" * 8
    )
    counts = Counter(expected.values())
    readme = README.format(
        rows=len(lines),
        pictures=pictures,
        faces=faces,
        quotes=quotes,
        counts="| outcome | rows |\n|---|---|\n" + "\n".join(f"| {k} | {n} |" for k, n in sorted(counts.items())),
        table=head + "|\n" + "\n".join(table[n] for n in sorted(table)),
    )
    (out / "README.md").write_text(readme)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{len(lines)} rows, {pictures} pictures, {faces} faces, {size / 1e6:.2f} MB in {out}")
    for outcome, n in sorted(counts.items()):
        print(f"{n:4d}  {outcome}")


def main() -> None:
    """Read the arguments and write the corpus."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--renders", "--small-renders", "--portraits"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--skimage", type=Path, help="skimage/data; by default that of the installed package")
    parser.add_argument("--out", type=Path, default=root / "fdf" / "data" / "sample")
    args = parser.parse_args()
    if args.skimage is None:
        import skimage

        args.skimage = Path(skimage.__file__).parent / "data"
    renders, c = Renders(args.renders, args.small_renders), Corpus()
    add_singles(c, renders)
    add_groups(c, renders, args.skimage)
    add_hard(c, renders)
    add_repeats(c, renders, args.skimage)
    add_portraits(c, args.portraits)
    add_faceless(c, args.skimage)
    add_bad(c, renders)
    write(c, odd_rows(c), args.out)


if __name__ == "__main__":
    main()
