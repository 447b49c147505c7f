"""Writing a corpus of people who do not exist: photos in the layout of the mirror, metadata rows in the form of YFCC100M.

    OUT/mirror/data/images/…      the photos
    OUT/metadata.tsv.bz2          23 columns, one row a photo, licence CC0 1.0, machine tag `fdf:synthetic=1`
    OUT/truth.parquet             one row a face: `fdf.synth.truth`
    OUT/synth.json                what was asked for: seed, recipe, version; written first
    OUT/receipt.json              written last: digests and counts; without it the corpus is unfinished
    OUT/parts/                    truth of photos finished so far, while the run lasts

A photo is committed by its part, after the picture itself; so a killed run loses at most the photos being made.
People are cast in families: two photos share people only within one family, and the family is the photos' owner. So the
manifest's split by owner never puts one person on two sides.
"""

from __future__ import annotations

import bz2
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from fdf.errors import FingerprintError, UsageError
from fdf.sources.yfcc import mirror_key
from fdf.store.files import atomic_file, disk_errors, file_sha256, make_folder, remove_leftovers, write_bytes
from fdf.synth.geometry import stream
from fdf.synth.head import ASSET_SHA256, require_renderer
from fdf.synth.recipe import Scene, SynthRecipe
from fdf.synth.scene import Appearance, Plan, make_photo
from fdf.synth.truth import TRUTH

VERSION: Final = 4
"""Raise it when the same request would give other pictures."""

SIZES: Final = (32, 2048)
LICENSE: Final = ("CC0 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/")
AUTHOR: Final = "fdf synth"
MACHINE_TAGS: Final = ("fdf:synthetic=1", "fdf:source=synthetic")
HOST: Final = "http://synthetic.invalid"
"""`.invalid` never resolves (RFC 2606): no row leads to a place on the internet."""

_FAMILY: Final[dict[Scene, int]] = {"portrait": 1, "group": 6, "crowd": 24}
_CAST: Final[dict[Scene, tuple[int, int]]] = {"portrait": (1, 1), "group": (2, 5), "crowd": (8, 20)}


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        people: how many different people; shots: in how many photos each of them is.
        size: short side of the photos, pixels.
    """

    people: int
    shots: int = 2
    size: int = 256
    scene: Scene = "portrait"
    seed: int = 0
    recipe: SynthRecipe = field(default_factory=SynthRecipe)

    def check(self) -> None:
        """Refuse the impossible.

        Raises:
            UsageError: numbers out of range.
        """
        low, high = SIZES
        if self.people < 1:
            raise UsageError(f"{self.people} people can't be photographed", expected="--people of 1 or more")
        if self.shots < 1:
            raise UsageError(f"{self.shots} photos of each person are none", expected="--shots of 1 or more")
        if not low <= self.size <= high:
            raise UsageError(
                f"Pictures of {self.size} pixels can't be made", expected=f"--size from {low} to {high}, the short side"
            )
        if not 0 <= self.seed < 1_000_000:
            raise UsageError(
                f"{self.seed} is no seed", expected="--seed from 0 to 999999: photo ids hold six digits of it"
            )

    def fingerprint(self) -> dict[str, Any]:
        """All that decides the bytes of the pictures."""
        return {
            "people": self.people, "shots": self.shots, "size": self.size, "scene": self.scene, "seed": self.seed,
            "recipe": self.recipe.fingerprint(), "version": VERSION, "assets": ASSET_SHA256,
        }  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What was made: photos and faces in the corpus, how many photos now, and seconds of work for each."""

    out: Path
    photos: int
    faces: int
    made: int
    seconds: float


def plans(request: Request) -> Iterator[Plan]:
    """All photos of a request, in order; every person is in exactly `shots` of them."""
    family = _FAMILY[request.scene]
    low, high = _CAST[request.scene]
    index = 0
    for shot in range(request.shots):
        for first in range(0, request.people, family):
            members = list(range(first, min(first + family, request.people)))
            rng = stream(request.seed, "cast", request.scene, first, shot)
            rng.shuffle(members)
            while members:
                count = int(rng.integers(low, high + 1))
                if len(members) - count < low:
                    count = len(members) if len(members) <= high else low
                cast = tuple(Appearance(person, shot) for person in members[:count])
                members = members[count:]
                yield Plan(index, request.seed, request.scene, request.size, cast)
                index += 1


def photo_id(plan: Plan) -> str:
    """`8`, the seed, the number of the photo: 14 digits, three more than Flickr's ids of the time."""
    return f"8{plan.seed:06d}{plan.index:07d}"


def download_url(plan: Plan) -> str:
    """The URL that names the photo and its key in the mirror."""
    return f"{HOST}/{plan.scene}/{photo_id(plan)}.jpg"


def metadata_row(plan: Plan) -> list[str]:
    """The 23 columns of YFCC100M, form-encoded as they are published."""
    family = min(one.person for one in plan.cast) // _FAMILY[plan.scene]
    name = photo_id(plan)
    # Each shot on a day of its own: photos of one owner on one day are a burst to the filter.
    taken = time.strftime("%Y-%m-%d 12:00:00.0", time.gmtime(1_577_880_000 + 86_400 * plan.cast[0].shot))
    uploaded = str(1_600_000_000 + plan.index)
    title = quote_plus(f"Synthetic {plan.scene} {name}: nobody here exists")
    return [
        name, f"8{plan.seed:06d}{family:06d}@S00", quote_plus(AUTHOR), taken, uploaded, quote_plus("fdf synth (rendered)"),
        title, "", "synthetic,rendered", ",".join(quote_plus(tag) for tag in MACHINE_TAGS), "", "", "",
        f"{HOST}/{plan.scene}/{name}", download_url(plan), *LICENSE, "0", "0", "0", "0", "jpg", "0",
    ]  # fmt: skip


def synthesize(
    request: Request,
    out: Path,
    *,
    workers: int = 1,
    started: Callable[[int, int], None] = lambda _total, _done: None,
    advance: Callable[[int], None] = lambda _: None,
) -> Result:
    """Make a corpus, or go on with one that was begun; the same request gives the same bytes with any `workers`.

    Args:
        started: hears how many photos there are, and how many are done already.
        advance: hears of finished photos.

    Raises:
        UsageError: the request is impossible. MachineError: the renderer is missing, or the disk refuses.
        FingerprintError: the folder holds another corpus.
    """
    request.check()
    require_renderer()
    begun = time.perf_counter()
    make_folder(out)
    _claim(request, out)
    every = list(plans(request))
    parts = out / "parts"
    finished = (out / "receipt.json").is_file()
    todo = [plan for plan in every if not (_picture(plan, out).is_file() and (finished or _part(plan, out).is_file()))]
    started(len(every), len(every) - len(todo))
    for _ in _run(todo, request.recipe, out, workers):
        advance(1)
    faces = _count(out) if finished else _finish(request, every, out)
    with disk_errors(parts):
        shutil.rmtree(parts, ignore_errors=True)
    return Result(out, len(every), faces, len(todo), time.perf_counter() - begun)


def _claim(request: Request, out: Path) -> None:
    """Write what is asked for into the folder; refuse one that holds something else."""
    stated, mine = out / "synth.json", request.fingerprint()
    if stated.is_file():
        before = json.loads(stated.read_text(encoding="utf-8"))["request"]
        if before != mine:
            changed = [
                f"{key}: {before.get(key)!r} before, {mine[key]!r} now" for key in mine if before.get(key) != mine[key]
            ]
            raise FingerprintError(
                f"{out} holds another synthetic corpus",
                expected="the same people, shots, size, scene, seed, recipe and version as now",
                got="; ".join(changed),
                action="Choose another folder, or ask for the same again",
            )
        remove_leftovers(out)
        return
    if any(out.iterdir()):
        raise UsageError(f"{out} is not empty", expected="a new folder, or one that fdf synth began")
    text = json.dumps({"request": mine}, indent=1, sort_keys=True)
    write_bytes(stated, text.encode())


def _picture(plan: Plan, out: Path) -> Path:
    return out / "mirror" / mirror_key(download_url(plan))


def _part(plan: Plan, out: Path) -> Path:
    return out / "parts" / f"{plan.index:07d}.json"


def _make(plan: Plan, recipe: SynthRecipe, out: Path) -> int:
    """Make one photo: the picture, then the part that commits it."""
    photo = make_photo(plan, recipe)
    key = mirror_key(download_url(plan))
    write_bytes(_picture(plan, out), photo.jpeg)
    rows = [{"photo_id": photo_id(plan), "file": key, **row} for row in photo.truth]
    write_bytes(_part(plan, out), json.dumps(rows).encode())
    return len(rows)


def _run(todo: Sequence[Plan], recipe: SynthRecipe, out: Path, workers: int) -> Iterator[int]:
    if workers <= 1 or len(todo) < 2:
        yield from (_make(plan, recipe, out) for plan in todo)
        return
    import joblib

    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_make)(plan, recipe, out) for plan in todo)


def _finish(request: Request, every: Sequence[Plan], out: Path) -> int:
    """Put the parts together, in order; the receipt comes last."""
    rows = [row for plan in every for row in json.loads(_part(plan, out).read_bytes())]
    with atomic_file(out / "truth.parquet") as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=TRUTH), file)
    lines = "".join("\t".join(metadata_row(plan)) + "\n" for plan in every)
    write_bytes(out / "metadata.tsv.bz2", bz2.compress(lines.encode()))
    pictures = hashlib.sha256()
    for plan in every:
        pictures.update(file_sha256(_picture(plan, out)).encode())
    receipt = {
        "request": request.fingerprint(), "photos": len(every), "faces": len(rows), "pictures": pictures.hexdigest(),
        "truth": file_sha256(out / "truth.parquet"), "metadata": file_sha256(out / "metadata.tsv.bz2"),
    }  # fmt: skip
    write_bytes(out / "receipt.json", json.dumps(receipt, indent=1, sort_keys=True).encode())
    return len(rows)


def _count(out: Path) -> int:
    return int(json.loads((out / "receipt.json").read_bytes())["faces"])
