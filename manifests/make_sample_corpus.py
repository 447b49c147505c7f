"""Make the bundled sample corpus, `fdf/data/sample/`, anew: a maintainer's script, its output is committed.

    python manifests/make_sample_corpus.py [--out DIR] [--photos DIR] [--portraits DIR] [--skimage DIR]

People are rendered by `fdf.synth` with the seed below: a quarter of an hour on one core. What is rendered lies in
`--photos` (default `build/sample-photos`) and is not rendered twice; the folder's names follow what was asked for and
`fdf.synth.source.VERSION`. The two portraits and the pictures without people are read from the corpus as it is, unless
`--portraits` (`astronaut.png`, `grace_hopper.jpg`) or `--skimage` (`skimage/data`) say where the originals lie. The same
versions of fdf, Mitsuba, Pillow and numpy give the same bytes on one platform.

Most photos are the bytes that `fdf.synth` wrote. Where one is scaled or hung on a wall, its truth follows exactly:
(x, y) → (x·sx + dx, y·sy + dy), pixel edges as origin.
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote_plus

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fdf.store.files import write_bytes
from fdf.synth.head import ASSET_SHA256
from fdf.synth.recipe import SynthRecipe
from fdf.synth.scene import COMMENT, Appearance, Plan, make_photo
from fdf.synth.source import VERSION

LONG_EDGE = 500
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

RENDER = "fdf synth"
MADE = "made for this corpus"
CC0 = "CC0-1.0"

# --- truth ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Face:
    """One face: box, seven keypoints (x, y, visible) in COCO order, pose, and who it is."""

    identity: str
    box: Floats
    keypoints: Floats
    yaw: float | None
    pitch: float | None
    roll: float | None
    labels: str = "render"

    def moved(self, sx: float, sy: float, dx: float, dy: float) -> Face:
        """The same face after the picture was scaled, then shifted."""
        s, d = np.array([sx, sy, 1]), np.array([dx, dy, 0], float)
        box = self.box * np.tile(s[:2], 2) + np.tile(d[:2], 2)
        return replace(self, box=box, keypoints=self.keypoints * s + d)

    def to_json(self) -> dict[str, object]:
        """Plain values, pixels to two decimals, degrees to one."""
        pose = {k: None if (v := getattr(self, k)) is None else round(v, 1) for k in ("yaw", "pitch", "roll")}
        return {
            "identity": self.identity,
            "box": [round(float(v), 2) for v in self.box],
            "keypoints": [[round(float(x), 2), round(float(y), 2), int(seen)] for x, y, seen in self.keypoints],
            **pose,
            "labels": self.labels,
        }


@dataclass(frozen=True)
class Shot:
    """A picture and the faces in it; `data` are its bytes, if it has some and they are untouched."""

    image: Image.Image
    faces: tuple[Face, ...] = ()
    data: bytes | None = None

    def resized(self, size: Size) -> Shot:
        """Scaled to `size`."""
        sx, sy = size[0] / self.image.width, size[1] / self.image.height
        faces = tuple(f.moved(sx, sy, 0, 0) for f in self.faces)
        return Shot(self.image.resize(size, Image.Resampling.LANCZOS), faces)

    def fitted(self, long_edge: int = LONG_EDGE) -> Shot:
        """Scaled so that the long edge is `long_edge` pixels, as the mirror's pictures are."""
        s = long_edge / max(self.image.size)
        return self.resized((round(self.image.width * s), round(self.image.height * s)))

    def changed(self, change: Callable[[Image.Image], Image.Image]) -> Shot:
        """Other colours, same geometry."""
        return Shot(change(self.image), self.faces)


Person = int | tuple[int, int]
"""Number of a person, or (number, shot): a person in their shot 0, or in another one."""

SEED = 2012
FACING = SynthRecipe.model_validate(
    {
        "pose": {"wide_share": 0.0, "yaw_sigma": 16.0},
        "wear": {"mask_share": 0.0, "object_share": 0.0, "sunglasses_share": 0.0},
        "camera": {"blur_share": 0.0, "night_share": 0.04, "jpeg_quality": (80, 95), "face_fraction": (0.38, 0.6)},
    }
)
"""Faces that detectors find; what makes a picture hard is done to it on purpose, below."""
TURNED = FACING.model_copy(update={"pose": SynthRecipe.model_validate({"pose": {"wide_share": 1.0}}).pose})


class Studio:
    """Photos by `fdf.synth`, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        """Photos go to `folder`."""
        self._folder = folder

    def portrait(self, person: Person, size: int = 400, *, index: int | None = None, turned: bool = False) -> Shot:
        """One person; `size` is the short side in pixels, the long one ends at 500."""
        number, shot = person if isinstance(person, tuple) else (person, 0)
        index = number + 1000 * shot if index is None else index
        plan = Plan(index, SEED, "portrait", size, (Appearance(number, shot),))
        photo = self._make(plan, TURNED if turned else FACING)
        return photo if max(photo.image.size) <= LONG_EDGE else photo.fitted()

    def group(self, index: int, *people: Person) -> Shot:
        """People side by side; `index` decides about place and light."""
        return self._several("group", index, people)

    def crowd(self, index: int, *people: Person) -> Shot:
        """People near and far."""
        return self._several("crowd", index, people)

    def _several(self, scene: Literal["group", "crowd"], index: int, people: tuple[Person, ...]) -> Shot:
        cast = tuple(Appearance(*one) if isinstance(one, tuple) else Appearance(one, 0) for one in people)
        return self._make(Plan(index, SEED, scene, 333, cast), FACING)

    def _make(self, plan: Plan, recipe: SynthRecipe) -> Shot:
        asked = {"plan": asdict(plan), "recipe": recipe.fingerprint(), "version": VERSION, "assets": ASSET_SHA256}
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
        picture, truth = self._folder / f"{name}.jpg", self._folder / f"{name}.json"
        if not truth.is_file():
            photo = make_photo(plan, recipe)
            self._folder.mkdir(parents=True, exist_ok=True)
            write_bytes(picture, photo.jpeg)
            write_bytes(truth, json.dumps(photo.truth).encode())
            print(f"rendered {plan.scene} of {[one.person for one in plan.cast]}", flush=True)
        data = picture.read_bytes()
        faces = tuple(
            Face(row["person"], np.array(row["box"]), np.reshape(row["keypoints"], (7, 3)), row["yaw"], row["pitch"], row["roll"])  # noqa: E501
            for row in json.loads(truth.read_bytes())
        )  # fmt: skip
        return Shot(Image.open(io.BytesIO(data)).convert("RGB"), faces, data)


# --- a wall --------------------------------------------------------------------------------------------------------

Colour = tuple[int, int, int]


def textured(picture: Image.Image, size: Size, tint: Colour) -> Image.Image:
    """A grey texture (bricks) in the colour `tint`."""
    grey = picture.convert("L").transpose(Image.Transpose.ROTATE_90)  # courses of bricks lie
    scale = max(size[0] / grey.width, size[1] / grey.height)
    grey = grey.resize((round(grey.width * scale) + 1, round(grey.height * scale) + 1), Image.Resampling.LANCZOS)
    values = np.asarray(grey.crop((0, 0, *size)), float)[..., None]
    return Image.fromarray(np.clip(values / values.mean() * np.array(tint), 0, 255).astype(np.uint8))


def gallery(wall: Image.Image, frames: Iterable[tuple[Shot, int, int, int]]) -> Shot:
    """Framed prints (square photo, x, y, side) on a wall."""
    canvas, faces = wall.convert("RGB"), list[Face]()
    for print_, x, y, side in frames:
        if print_.image.width != print_.image.height:
            msg = f"{print_.faces[0].identity} is not square"
            raise ValueError(msg)
        shadow = Image.new("L", canvas.size)
        ImageDraw.Draw(shadow).rectangle((x - 8, y - 6, x + side + 16, y + side + 18), fill=120)
        canvas.paste((20, 15, 15), (0, 0), shadow.filter(ImageFilter.GaussianBlur(6)))
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((x - 12, y - 12, x + side + 11, y + side + 11), fill=(52, 38, 30))
        draw.rectangle((x - 7, y - 7, x + side + 6, y + side + 6), fill=(236, 232, 222))
        person = print_.resized((side, side))
        canvas.paste(person.image, (x, y))
        faces += [f.moved(1, 1, x, y) for f in person.faces]
    return Shot(canvas, tuple(faces))


# --- files ---------------------------------------------------------------------------------------------------------


def jpeg(image: Image.Image, quality: int = 86, **options: object) -> bytes:
    """A baseline JPEG with a comment that says what the picture is."""
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": quality, "optimize": True, "comment": COMMENT.encode()} | options)
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
    device: str = "fdf synth (rendered)"
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


class Old:
    """Pictures of the corpus as it is, by what their rows say: those that nobody rendered."""

    def __init__(self, folder: Path) -> None:
        """Read all of it that is not rendered, since it may be written over."""
        self._data: dict[str, bytes] = {}
        text = bz2.decompress((folder / "yfcc100m_sample.tsv.bz2").read_bytes()).decode()
        for cells in (line.split("\t") for line in text.splitlines()):
            if len(cells) == 23 and cells[1] in {f"{90_000_000 + owner}@N00" for owner in (13, 14, 15)}:
                self._data[cells[6]] = (folder / "mirror" / mirror_key(cells[14], cells[21])).read_bytes()

    def __call__(self, title: str) -> bytes:
        """Bytes of the picture with this title."""
        return self._data[quote_plus(title)]


@dataclass
class Corpus:
    """Collects entries; numbers photos in the order they come."""

    old: Old
    entries: list[Entry] = field(default_factory=list)

    def row(self, owner: int, title: str, **more: object) -> Row:
        """A row with the next number."""
        return Row(len(self.entries) + 1, owner, title, **more)  # type: ignore[arg-type]

    def add(self, row: Row, shot: Shot | None, what: str, **more: object) -> Entry:
        """A picture (JPEG unless `data` is given) or a row without one."""
        if shot is not None:
            more = {"data": shot.data or jpeg(shot.image), "faces": shot.faces, "size": shot.image.size} | more
            more = {"origin": RENDER, "rights": CC0} | more
        entry = Entry(row, what, **more)  # type: ignore[arg-type]
        self.entries.append(entry)
        return entry


# --- the corpus ----------------------------------------------------------------------------------------------------

PLAIN: tuple[tuple[int, int, dict[str, object]], ...] = (
    # person, owner, row details
    (15, 1, {}),
    (2, 1, {}),
    (45, 2, {"raw_title": "Salt+%26amp%3B+pepper%3A+render+45"}),
    (28, 2, {"taken": "4501-01-01 00:00:00.0"}),
    (0, 3, {"place": ("12.5", "200.0", "16")}),
    (38, 3, {"raw_title": "Caf%E9+au+lait%2C+rendu+38+%FF%FE"}),
    (8, 5, {"title": "Render 8 😀 👩🏽‍🦱 🏳️‍🌈", "tags": ("sample", "render", "émoji 😀")}),
    (20, 5, {"title": "שלום עולם — دنيا — render 20 \u202etxt.exe"}),
    (24, 6, {}),
    (31, 6, {"title": '<script>alert("31")</script><img src=x onerror=alert(1)>'}),
    (12, 7, {"title": "Render 12, a very long title " + "that goes on and on " * 100}),
    (4, 7, {"title": 'Render 4\non two lines\twith a tab, a "quote" and a \\ backslash'}),
    (37, 8, {"title": '=HYPERLINK("http://example.org","render 37")'}),
    (36, 8, {"title": ""}),
    (68, 9, {"place": ("-30.25", "40.5", "3")}),
    (60, 9, {"taken": ""}),
)


def add_singles(c: Corpus, studio: Studio) -> None:
    """(a) Portraits as they are; many of their rows hold surprises of the real file."""
    for person, owner, details in PLAIN:
        title = details.get("title", f"Render {person}")
        rest = {k: v for k, v in details.items() if k != "title"}
        odd = {"taken": "impossible date taken", "place": "a place"}
        note = ", ".join(odd.get(k, f"odd {k.removeprefix('raw_')}") for k in details)
        if details.get("place") == ("12.5", "200.0", "16"):
            note = "impossible latitude"
        row = c.row(owner, str(title), **rest)
        c.add(row, studio.portrait(person), f"portrait of person {person}" + (f"; {note}" if note else ""))


def add_groups(c: Corpus, studio: Studio) -> None:
    """(b) Several people in one picture, and (c) small faces in a larger scene."""
    wall = textured(Image.open(io.BytesIO(c.old("Brick wall"))), (500, 460), (188, 180, 166))
    frames = [(14, 2, 45, 40, 175), (33, 4, 285, 30, 160), (35, 5, 62, 265, 130), (39, 6, 255, 230, 190)]
    prints = [(studio.portrait(person, 190, index=i), *place) for person, i, *place in frames]
    for owner, title, shot, what, aim in (
        (1, "Two of them in the evening", studio.group(5, 70, 71), "two people", ""),
        (2, "At the café", studio.group(0, 72, 73), "two people", ""),
        (3, "Three of us", studio.group(9, 74, 75, 76), "three people", ""),
        (5, "One near, two far", studio.crowd(360, 77, 78, 79), "three people at different scales", ""),
        (7, "Four of us", studio.group(6, 80, 81, 82, 83), "four people", ""),
        (8, "Portraits on a wall", gallery(wall, prints), "four framed portraits", ""),
        (10, "All five", studio.group(3, 84, 85, 86, 87, 88), "five people", ""),
        (10, "Everybody came", studio.crowd(18, *range(89, 97)), "crowd of eight", ""),
        (2, "Waiting for the launch", studio.crowd(7, *range(97, 111)), "crowd of fourteen", ""),
        (9, "By the window", studio.crowd(105, 111, 112), "two people", ""),
        (6, "Alone in the library", studio.crowd(106, 113), "one person", ""),
        (
            6,
            "Somebody far away",
            studio.crowd(356, 114).fitted(400),
            "one person",
            "detect: no_face or filter: face_too_small",
        ),
    ):
        high = sorted(round(face.box[3] - face.box[1]) for face in shot.faces)
        sizes = f"{high[0]}–{high[-1]}" if high[-1] > high[0] else f"{high[0]}"
        text = f"{what}, face{'s' if len(high) > 1 else ''} of {sizes} px"
        origin = f"{RENDER}; wall: scikit-image brick (CC0)" if "framed" in what else RENDER
        c.add(c.row(owner, title), shot, text, origin=origin, aim=aim)


def add_hard(c: Corpus, studio: Studio) -> None:
    """(d) Too dark, too bright, blurred; (e) steep yaw; (f) turned by EXIF; other encodings."""

    def levels(gain: float, offset: float) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.point(lambda v: min(255, max(0, round(v * gain + offset))))

    def blur(radius: float) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.filter(ImageFilter.GaussianBlur(radius))

    for person, owner, name, change, reason in (
        (9, 2, "dark", levels(0.16, 0), "too_dark"),
        (6, 5, "very dark", levels(0.08, 0), "too_dark"),
        (48, 7, "overexposed", levels(0.9, 150), "too_bright"),
        (64, 10, "very overexposed", levels(0.7, 180), "too_bright"),
        (66, 3, "blurred", blur(9), "blurred"),
        (54, 8, "very blurred", blur(11), "blurred"),
    ):
        shot = studio.portrait(person).changed(change)
        c.add(c.row(owner, f"Render {person}, {name}"), shot, f"person {person}, {name}", aim=f"filter: {reason}")
    for person, owner, size in ((1, 1, 400), (13, 2, 400), (25, 9, 256), (57, 10, 256)):
        shot = studio.portrait(person, size, turned=True)
        what = f"person {person}, yaw {shot.faces[0].yaw:.0f}°"
        c.add(c.row(owner, f"Render {person}, from the side"), shot, what, aim="steep yaw")
    for person, owner, orientation in ((30, 3, 6), (46, 5, 8)):
        shot = studio.portrait(person)
        what = f"person {person}, turned by EXIF orientation {orientation}"
        row = c.row(owner, f"Render {person}, camera held sideways")
        c.add(row, shot, what, data=turned(shot.image, orientation))
    grey = studio.portrait(23).changed(lambda image: image.convert("L"))
    c.add(c.row(1, "Render 23 in black and white"), grey, "person 23, greyscale JPEG")
    cmyk = studio.portrait(27)
    data = jpeg(cmyk.image.convert("CMYK"))
    c.add(c.row(6, "Render 27, ready for print"), cmyk, "person 27, CMYK JPEG", data=data)
    slow = studio.portrait(53)
    data = jpeg(slow.image, progressive=True)
    c.add(c.row(7, "Render 53, line by line"), slow, "person 53, progressive JPEG", data=data)
    tiny = studio.portrait(51, 300)
    out = io.BytesIO()
    tiny.image.quantize(128).save(out, "GIF")
    row = c.row(8, "Render 51 as a GIF", extension="gif")
    c.add(row, tiny, "person 51, GIF under its own extension", data=out.getvalue(), suffix="gif")


def add_repeats(c: Corpus, studio: Studio) -> None:
    """(g) Exact and near duplicates, and a burst: one owner, the same people within seconds."""
    by_title = {entry.row.title: entry for entry in c.entries}
    expected = {"expected": "filter: duplicate_photo"}
    for title, owner, word in (("Render 2", 1, "again"), ("Render 24", 10, "reposted by another owner")):
        old = by_title[title]
        row = c.row(owner, f"{title}, {word}")
        shot = Shot(Image.new("L", old.size), old.faces or (), old.data)
        c.add(row, shot, f"the same bytes as {old.row.photo_id}", **expected)
    smaller = studio.portrait(31).fitted(320)
    data = jpeg(smaller.image, 62)
    c.add(c.row(6, "Render 31, smaller"), smaller, "person 31, photo of line 10 at 320 px", data=data, **expected)
    shot = studio.portrait(15).changed(lambda image: image.point(lambda v: min(255, round(v * 1.04))))
    data = jpeg(shot.image, 74)
    c.add(c.row(5, "Render 15, retouched"), shot, "person 15, photo of line 0 brighter by 4 %", data=data, **expected)

    burst = (
        (studio.portrait(43), "person 43"),
        (studio.portrait((43, 1)), "the same person, another frame"),
        (studio.group(9, (43, 2), 52), "the same person with a friend"),
        (studio.portrait(19, 300), "person 19"),
        (studio.portrait((19, 1), 300), "person 19 again"),
    )
    for i, (shot, text) in enumerate(burst):
        # Camera time within seconds for the first three, half an hour later for the other pair.
        taken = f"2012-06-15 {10 + i // 3}:30:{10 + 2 * i:02d}.0"
        aim = "filter: duplicate_face for all but one of the burst"
        c.add(c.row(4, f"Burst, frame {i + 1}", taken=taken), shot, f"burst: {text}", aim=aim)


def add_portraits(c: Corpus, portraits: Path | None) -> None:
    """(h) Public-domain portraits of real people in office, labelled by hand."""
    collins = Face("eileen-collins", np.array([180.0, 72, 271, 178]), np.array([[226.5, 123, 1], [247, 102.5, 1], [203.5, 101, 1], [272, 128, 0], [179, 121, 0], [326, 262, 1], [76, 256, 1]], float), None, None, None, "hand")  # noqa: E501  # fmt: skip
    title = "Eileen Collins, NASA portrait"
    data = (portraits / "astronaut.png").read_bytes() if portraits else c.old(title)
    row = c.row(13, title, tags=("astronaut", "portrait"), device="", extension="png")
    c.add(row, Shot(Image.open(io.BytesIO(data)), (collins,)), "portrait of Eileen Collins, PNG under its own extension", data=data, suffix="png", origin="NASA", rights="public domain (US government work); credit: NASA")  # noqa: E501  # fmt: skip
    hopper = Face("grace-hopper", np.array([138.0, 112, 300, 272]), np.array([[223, 193, 1], [255, 156, 1], [185.5, 158.5, 1], [304, 172, 1], [134.5, 170, 1], [385, 316, 1], [55, 318, 1]], float), None, None, None, "hand")  # noqa: E501  # fmt: skip
    title = "Rear Admiral Grace Hopper, US Navy portrait"
    if portraits:
        shot = Shot(Image.open(portraits / "grace_hopper.jpg").convert("RGB")).fitted()
        data = jpeg(shot.image, 88, comment=b"Grace Hopper, US Navy portrait, public domain; resized")
    else:
        data = c.old(title)
        shot = Shot(Image.open(io.BytesIO(data)))
    row = c.row(14, title, tags=("navy", "portrait"), device="")
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


def add_faceless(c: Corpus, skimage: Path | None) -> None:
    """(i) Photos without a face, from the scikit-image package."""
    for name, title, license_, _ in SKIMAGE:
        origin, rights = f"scikit-image, `{name}`", {"cc0": CC0, "pdm": "public domain"}[license_]
        more: dict[str, object] = {"origin": origin, "rights": rights, "faces": (), "expected": "detect: no_face"}
        tags = ("sample", "no face")
        if name == "horse.png":  # as it is: an RGBA PNG
            data = (skimage / name).read_bytes() if skimage else c.old(title)
            more |= {"data": data, "suffix": "png", "size": Image.open(io.BytesIO(data)).size}
            row = c.row(15, title, license=license_, tags=tags, extension="png", device="Virtual Camera")
            c.add(row, None, "RGBA PNG, no face", **more)
            continue
        if skimage:
            image = Image.open(skimage / name)
            shot = Shot(image.convert("RGB" if image.mode in ("RGB", "RGBA", "P") else "L")).fitted()
            credit = f"scikit-image data/{name}, {rights}; resized".encode()
            data = jpeg(shot.image, 84, comment=credit)
        else:
            data = c.old(title)
            shot = Shot(Image.open(io.BytesIO(data)))
        row = c.row(15, title, license=license_, tags=tags, device="")
        c.add(row, shot, "no face", data=data, **more)


def add_bad(c: Corpus, studio: Studio) -> None:
    """(j) Files and answers that go wrong, and servers that say no."""
    whole = studio.portrait(65, 300).data or b""
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

    for person, size, owner, what, answer, expected in (
        (42, 400, 9, "429 once, then the picture", {"status": 429, "times": 1, "retry_after": 0}, "ok"),
        (32, 400, 10, "503 once, then the picture", {"status": 503, "times": 1}, "ok"),
        (59, 400, 3, "robots header that allows use", {"headers": {"X-Robots-Tag": "max-image-preview:large"}}, "ok"),
        (61, 300, 8, "X-Robots-Tag: noai", {"headers": {"X-Robots-Tag": "noai"}}, "fetch: opted_out"),
        (67, 300, 2, "noai after another directive", {"headers": {"X-Robots-Tag": "max-image-preview:large, noai"}}, "fetch: opted_out"),  # noqa: E501
        (40, 300, 7, "tdm-reservation: 1", {"headers": {"tdm-reservation": "1"}}, "fetch: opted_out"),
    ):  # fmt: skip
        row = c.row(owner, f"Render {person}")
        shot = studio.portrait(person, size)
        c.add(row, shot, f"person {person}; {what}", routes=routed(row, **answer), expected=expected)


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
    twin = replace(c.entries[0].row, title=f"{c.entries[0].row.title}, its id a second time")
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

**Nobody in a rendered picture exists.** They were made by [`fdf synth`](../../../docs/synth.md) and are dedicated to the public domain (CC0 1.0), as is what was made of them. The
licences in *their metadata rows* (the six Creative Commons 2.0 licences) are **there to exercise the code**: they are not the licence of the pictures, and the
owners are invented: NSIDs `90000001@N00` and up, photo ids from 900000000001, outside what Flickr gave out. No URL in the rows leads to a real photo.

Real people are in two pictures only, official portraits in the public domain as works of the US government:

- Eileen Collins, astronaut. Credit: NASA. The file is scikit-image's `astronaut.png`, unchanged.
- Rear Admiral Grace Hopper. Credit: US Navy. Resized to 500 px.

Pictures without people come from the scikit-image package; its documentation (the docstrings of `skimage.data`) says of them:

{quotes}

They were resized to 500 px and saved as JPEG, except `horse.png`, unchanged. `brick` also serves as the wall of the framed portraits. Rows of these pictures carry
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
keypoints [x, y, visible] in COCO order: nose, left eye, right eye, left ear, right ear, left shoulder, right shoulder, left being the subject's own. Hidden points (visible 0) are where they are,
outside the picture too. Of renders, this is the truth of `fdf synth`: points of the mesh, projected, which follow every resize and paste; the box spans the face from chin to hairline and to before
the ears. `yaw`, `pitch`, `roll` in degrees are the head's final rotation against the line of sight: positive yaw to the subject's left, pitch up, roll clockwise in the picture. What each number
means exactly: [docs/synth.md](../../../docs/synth.md). `labels: hand` marks the two portraits, labelled by eye, to about 3 px (shoulders 10 px), without pose. `identity` is the same for every picture
of one person; two photos of the same person never belong to two owners, but for copies of one photo.

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
    parser.add_argument("--photos", type=Path, default=root / "build" / "sample-photos", help="rendered photos, kept")
    parser.add_argument("--portraits", type=Path, help="folder with astronaut.png and grace_hopper.jpg")
    parser.add_argument("--skimage", type=Path, help="skimage/data, the folder of scikit-image's pictures")
    parser.add_argument("--out", type=Path, default=root / "fdf" / "data" / "sample")
    args = parser.parse_args()
    studio, c = Studio(args.photos), Corpus(Old(root / "fdf" / "data" / "sample"))
    add_singles(c, studio)
    add_groups(c, studio)
    add_hard(c, studio)
    add_repeats(c, studio)
    add_portraits(c, args.portraits)
    add_faceless(c, args.skimage)
    add_bad(c, studio)
    write(c, odd_rows(c), args.out)


if __name__ == "__main__":
    main()
