"""`donor`: nothing of a face gets through but its mesh and six numbers; whatever can't be done is left to the fallback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fdf.cli.commands  # noqa: F401 - it fills the command
from fdf.anonymize import donor
from fdf.anonymize.base import Face, Job, Method, RegionName, Replacement
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.dissimilarity import Judge
from fdf.anonymize.donor import Donor
from fdf.anonymize.donors import DEFAULT_FOLDER
from fdf.anonymize.ground import cleared, unseen_of
from fdf.anonymize.guard import Guard
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from fdf.anonymize.recognition import View
from fdf.anonymize.relight import Lighting
from fdf.cli.app import app
from fdf.vision.base import Floats, Pixels
from fdf.vision.picture import decode
from tests.anonymize.donor_folder import Held, five, placed, write_folder
from tests.anonymize.pictures import ASTRONAUT, face, noise

HEIGHT, WIDTH = 200, 220
AT = (60.0, 110.0, 90.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("donors"), 0.0, 4.0, -6.0, 30.0)


def made(folder: Path, *meshes: Floats, presence: float = 1.0) -> Donor:
    known = [placed(yaw=yaw) for yaw in (0.0, 4.0, -6.0, 30.0)]
    method = Donor(donors=folder, mesher=Held(*known))
    method._mesher = Held(*meshes, presence=presence)
    return method


def on(mesh: Floats, points: Floats | None = None) -> Face:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    return face(*low, *high, landmarks5=five(mesh) if points is None else points)


def skin(mesh: Floats, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """A picture of something lit from the left, without any noise."""
    x = np.linspace(180, 120, width)[None, :, None]
    return np.asarray(np.broadcast_to(x * [1.0, 0.8, 0.7], (height, width, 3)), dtype=np.uint8)


def jobs_of(picture: Pixels, *faces: Face, region: RegionName = "face") -> list[Job]:
    return Anonymizer(salt="s", region=region).jobs(picture, faces)


def unseen(picture: Pixels, jobs: list[Job], *meshes: Floats) -> Any:
    """Where the source must not be seen, (H, W)."""
    mask = np.zeros(picture.shape[:2], dtype=np.bool_)
    for job, mesh in zip(jobs, meshes, strict=True):
        mask[job.region.slices] |= unseen_of(job, mesh)
    return mask


def only(method: Donor, picture: Pixels, *faces: Face) -> Any:
    return method.replace(picture, jobs_of(picture, *faces))[0]


class Others:
    """A method that does every face but the first, in one colour."""

    name = "others"

    def replace(self, picture: Any, jobs: list[Job]) -> list[Replacement]:  # noqa: ARG002
        done = [Replacement(np.full((*job.region.alpha.shape, 3), (0, 200, 0), np.uint8)) for job in jobs[1:]]
        return [Replacement(None, "the first"), *done]


@pytest.mark.parametrize("kind", ["face", "head"])
def test_as_a_fallback_it_shows_nothing_of_faces_that_others_have_hidden(folder: Path, kind: RegionName) -> None:
    mesh = placed(*AT)
    near = face(mesh[:, 0].max() - 5, 70, mesh[:, 0].max() + 60, 150)
    tool = Anonymizer(Others(), fallback=made(folder, mesh), region=kind, salt="s")
    picture = skin(mesh)
    _, other = tool.jobs(picture, [on(mesh), near])
    bare = np.zeros(picture.shape[:2], np.bool_)
    bare[other.region.slices] = other.region.alpha >= 1
    bare[:, : int(mesh[:, 0].max()) + 2] = False  # the mesh itself shows light of the first face
    picture[bare] = (0, 0, 255)
    result = tool.render(picture, [on(mesh), near])
    assert [outcome.method for outcome in result.outcomes] == ["donor", "others"]
    window = tool.jobs(picture, [on(mesh)])[0].region
    shared = np.zeros_like(bare)
    shared[window.slices] = window.alpha >= 1
    assert (shared & bare).sum() > 50, "the two regions overlap"
    blue = (result.picture[..., 2].astype(int) - result.picture[..., 1] > 60) & bare
    assert not blue.any()


def test_it_fulfils_the_protocol(folder: Path) -> None:
    mesh = placed(*AT)
    method, picture = made(folder, mesh), skin(mesh)
    assert isinstance(method, Method)
    assert (method.name, method.generative) == ("donor", True)
    before, jobs = picture.copy(), jobs_of(picture, on(mesh), on(mesh))
    for job, result in zip(jobs, method.replace(picture, jobs), strict=True):
        assert result.pixels is not None, result.reason
        assert result.pixels.shape == (*job.region.alpha.shape, 3)
        assert result.pixels.dtype == np.uint8
    assert np.array_equal(picture, before)
    assert method.replace(picture, []) == []


@pytest.mark.parametrize("region", ["face", "head"])
def test_with_light_and_mesh_held_no_pixel_of_the_face_matters(
    folder: Path, monkeypatch: pytest.MonkeyPatch, region: RegionName
) -> None:
    """Noise in the place of all that is hidden, of a head with its soft edges: the same comes back to the last bit."""
    light = Lighting(np.array([-1.2, 0.1, -0.1, -0.1]), np.array([0.3, -0.2]), 0.1)
    monkeypatch.setattr(donor, "_lighting", lambda *_: light)
    one, other = placed(*AT), placed(45.0, 60.0, 150.0)
    picture, faces = noise(HEIGHT, WIDTH), [on(one), on(other)]
    jobs = jobs_of(picture, *faces, region=region)
    hidden = unseen(picture, jobs, one, other)
    if region == "head":
        assert np.array_equal(hidden, Anonymizer(region="head").touched(picture, faces))
    changed = np.where(hidden[..., None], noise(HEIGHT, WIDTH, 1), picture)
    method = made(folder, one, other)
    for first, second in zip(method.replace(picture, jobs), method.replace(changed, jobs), strict=True):
        assert first.pixels is not None, first.reason
        assert np.array_equal(first.pixels, second.pixels)


def test_of_the_pixels_only_the_lights_samples_matter(folder: Path) -> None:
    """The light is read at the mesh's points: everything between them can become noise."""
    mesh = placed(*AT)
    picture = skin(mesh)
    hidden = unseen(picture, jobs_of(picture, on(mesh)), mesh)
    columns, rows = np.floor(mesh[:, :2]).astype(int).T
    hidden[rows, columns] = False
    changed = np.where(hidden[..., None], noise(HEIGHT, WIDTH), picture)
    assert (changed != picture).any(axis=2).sum() > 5_000
    method = made(folder, mesh)
    first, second = only(method, picture, on(mesh)), only(method, changed, on(mesh))
    assert first.pixels is not None, first.reason
    assert np.array_equal(first.pixels, second.pixels)


def test_hair_and_ears_stay_round_a_face_and_go_with_a_head(folder: Path) -> None:
    mesh = placed(*AT)
    picture = skin(mesh)
    picture[::2] = 255 - picture[::2]  # of which a continuation keeps nothing
    kept = {}
    for region in ("face", "head"):
        job = jobs_of(picture, on(mesh), region=region)[0]
        hidden = unseen_of(job, mesh)
        ground = cleared(picture, [job], [mesh])
        assert np.array_equal(ground[job.region.slices][~hidden], picture[job.region.slices][~hidden])
        assert (ground[job.region.slices][hidden] != picture[job.region.slices][hidden]).any(axis=1).mean() > 0.95
        kept[region] = int((~hidden).sum())
    jobs = jobs_of(picture, on(mesh))
    assert kept["face"] > 0.2 * jobs[0].region.alpha.size
    rows, columns = np.floor(mesh[:, 1]).astype(int), np.floor(mesh[:, 0]).astype(int)
    assert unseen(picture, jobs, mesh)[rows, columns].all(), "all of the mesh"


def test_where_faces_overlap_none_brings_the_other_back(folder: Path) -> None:
    """What lies round one face may be the middle of another, whether that gets a donor or not."""
    one, other = placed(70.0, 90.0, 90.0), placed(80.0, 145.0, 110.0)
    picture = noise(HEIGHT, WIDTH)
    jobs = jobs_of(picture, on(one), on(other))
    for meshes in ([one, other], [one, None], [None, None]):
        hidden = unseen(picture, jobs, *meshes)
        changed = np.where(hidden[..., None], noise(HEIGHT, WIDTH, 1), picture)
        assert np.array_equal(cleared(picture, jobs, meshes)[hidden], cleared(changed, jobs, meshes)[hidden])


def test_at_most_nine_numbers_say_what_the_light_is(folder: Path) -> None:
    mesh = placed(*AT)
    target = made(folder, mesh)._target(skin(mesh), on(mesh))
    assert not isinstance(target, str)
    assert target.light.level.size + target.light.tint.size <= 9


def test_the_light_comes_along(folder: Path) -> None:
    mesh = placed(*AT)
    method, picture = made(folder, mesh), skin(mesh)
    bright, dark = (only(method, p, on(mesh)).pixels for p in (picture, picture // 3))
    middle = slice(bright.shape[0] // 3, -bright.shape[0] // 3)
    assert bright[middle].mean() > 2 * dark[middle].mean()


def test_seeds_draw_faces_and_keep_them(folder: Path) -> None:
    mesh = placed(*AT)
    method, picture = made(folder, mesh), skin(mesh)
    job = jobs_of(picture, on(mesh))[0]
    drawn = [method.replace(picture, [Job(job.face, job.region, seed)])[0].pixels for seed in (1, 1, 2)]
    assert drawn[0] is not None
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_no_strength_is_weaker_than_one(folder: Path) -> None:
    assert [Donor(s, folder, mesher=Held(placed())).mix for s in (0.1, 1.0, 1.6, 9.0)] == [1.0, 1.0, 1.6, 2.0]


def points_off(mesh: Floats) -> Floats:
    return five(mesh) + np.float32([20, 0])


def profile(mesh: Floats) -> Floats:
    """The mesh says 40°, but the detector's eyes lie on top of each other, the nose far before them."""
    points = five(mesh).copy()
    points[:2, 0] = points[:2, 0].mean()
    points[3:, 0] = points[:2, 0].mean()
    points[2, 0] = points[0, 0] + 0.6 * (points[3:, 1].mean() - points[0, 1])
    return points


@pytest.mark.parametrize(
    ("mesh", "points", "presence", "reason"),
    [
        (placed(20.0, 110, 90), None, 1.0, "smaller than 40 pixels"),
        (placed(*AT), None, 0.5, "the mesh finds no clear face"),
        (placed(60.0, 20, 90), None, 1.0, "cut by the picture's border"),
        (placed(*AT), points_off, 1.0, "mesh and detector disagree"),
        (placed(*AT, yaw=60), None, 1.0, "turned too far to the side"),
        (placed(*AT, pitch=-45), None, 1.0, "turned too far up or down"),
        (placed(*AT, pitch=-28), None, 1.0, "no donor looks that way"),
    ],
)
def test_what_it_cannot_do_it_leaves(folder: Path, mesh: Floats, points: Any, presence: float, reason: str) -> None:
    method = made(folder, mesh, presence=presence)
    found = only(method, skin(mesh), on(mesh, points(mesh) if points else None))
    assert (found.pixels, found.reason) == (None, reason)


def test_a_mesh_that_leaves_out_much_of_the_box_is_left(folder: Path) -> None:
    mesh = placed(*AT)
    large = face(40, 10, 180, 175)  # brought by somebody, without points to compare with
    found = only(made(folder, mesh), skin(mesh), large)
    assert (found.pixels, found.reason) == (None, "mesh and detector disagree")


def test_a_profile_that_the_mesh_mistakes_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donor, "MOST_APART", 9.0)
    mesh = placed(*AT, yaw=35)
    found = only(made(folder, mesh), skin(mesh), on(mesh, profile(mesh)))
    assert (found.pixels, found.reason) == (None, "turned too far to the side")


def test_what_lies_over_a_face_is_left(folder: Path) -> None:
    mesh = placed(*AT)
    found = only(made(folder, mesh), noise(HEIGHT, WIDTH), on(mesh))
    assert (found.pixels, found.reason) == (None, "something lies over the face, or hard shadows")


def test_a_face_that_fills_the_picture_lies_on_grey(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As grey as `solid`: a mean of what is hidden would tell the skin's colour."""
    mesh = placed(82.0, 82, 82)
    picture, light = skin(mesh, 164, 164), Lighting(np.array([-1.2, 0.1, -0.1, -0.1]), np.array([0.3, -0.2]), 0.1)
    jobs = jobs_of(picture, on(mesh), region="head")
    assert unseen(picture, jobs, mesh).mean() > 0.96
    monkeypatch.setattr(donor, "_lighting", lambda *_: light)
    method = made(folder, mesh)
    first, second = (method.replace(one, jobs)[0] for one in (picture, noise(164, 164)))
    assert first.pixels is not None, first.reason
    assert (first.pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == GREY).all()
    assert (first.pixels[first.pixels.shape[0] // 2, first.pixels.shape[1] // 2] != GREY).any()
    assert np.array_equal(first.pixels, second.pixels)


def test_a_donor_whose_file_was_changed_is_no_donor(tmp_path: Path) -> None:
    mesh = placed(*AT)
    method = made(write_folder(tmp_path, 0.0), mesh)
    (tmp_path / "0.png").write_bytes(b"something else")
    found = only(method, skin(mesh), on(mesh))
    assert found.pixels is None
    assert "is not the file that donors.toml names" in found.reason


def test_the_fallback_covers_what_it_leaves(folder: Path) -> None:
    mesh = placed(*AT, yaw=60)
    result = Anonymizer(made(folder, mesh), salt="s")(skin(mesh), [on(mesh)])
    assert [one.method for one in result.outcomes] == ["solid"]
    assert result.counts["fell_back"] == 1


def test_on_a_photo_a_face_is_there_again_and_it_is_another(astronaut: Pixels) -> None:
    """With the detector, the mesh and the donors that fdf brings: Eileen Collins, by NASA."""
    finder = FaceFinder("fast")
    anonymizer = Anonymizer("donor", finder=finder, salt="s")
    before = finder.find(astronaut)
    result = anonymizer.render(astronaut, before)
    assert [(one.method, one.reason) for one in result.outcomes] == [("donor", "")]
    assert max(overlap(one.box, before[0].box) for one in finder.find(result.picture)) > 0.5
    touched = anonymizer.touched(astronaut, before)
    assert np.array_equal(result.picture[~touched], astronaut[~touched])
    x0, y0, x1, y1 = before[0].box.astype(int)
    apart = np.abs(result.picture[y0:y1, x0:x1].astype(int) - astronaut[y0:y1, x0:x1]).max(axis=2)
    assert (apart > 0).mean() > 0.85  # the corners of its box are hair and neck
    assert np.median(apart) > 8
    assert not np.array_equal(
        Anonymizer("donor", finder=finder, salt="t").render(astronaut, before).picture, result.picture
    )


class Strict:
    """A recognizer that finds the first looks alike, then nothing."""

    id, sha256 = "strict", "0" * 64

    def __init__(self, alike: int) -> None:
        self.alike, self.looks = alike, 0

    def views(self, picture: Pixels, faces: Any) -> list[View | None]:  # noqa: ARG002
        self.looks += 1
        vector = np.array([0, 0] if self.looks <= 1 + self.alike else [1, 0], dtype=np.float32)
        return [View(vector, 90.0, 100.0, 0.0, 0.0, 1.0) for _ in faces]


@pytest.mark.parametrize(("alike", "method", "drawn"), [(2, "donor", 3), (9, "solid", 4)])
def test_under_the_guard_other_donors_are_tried_then_it_is_covered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, alike: int, method: str, drawn: int
) -> None:
    mesh, seeds = placed(*AT), []
    before = made(folder, mesh)
    whole = before.donors.choose
    monkeypatch.setattr(before.donors, "choose", lambda seed, *pose: seeds.append(seed) or whole(seed, *pose))
    guard = Guard(lambda: (Judge(Strict(alike), 0.5),), tries=4)
    result = Anonymizer(before, salt="s", guard=guard).render(skin(mesh), [on(mesh)])
    assert [one.method for one in result.outcomes] == [method]
    assert len(set(seeds)) == drawn
    assert (result.outcomes[0].reason == "") == (method == "donor")


def test_the_command_takes_a_folder_of_donors(tmp_path: Path) -> None:
    def run(*words: object) -> Any:
        given = ["anonymize", ASTRONAUT, "-o", tmp_path / "out.png", "--thoroughness", "fast", "--no-guard", *words]
        return CliRunner().invoke(app, [str(word) for word in given])

    wrong = run("--method", "donor", "--donors", tmp_path / "none")
    assert "is no folder of donors" in str(wrong.exception)
    other = run("--method", "blur", "--donors", DEFAULT_FOLDER)
    assert "--donors is of --method donor" in str(other.exception)
    assert not (tmp_path / "out.png").exists()
    assert "1 face hidden (1 donor)" in run("--method", "donor", "--donors", DEFAULT_FOLDER).output


@pytest.fixture(scope="module")
def astronaut() -> Pixels:
    return decode(ASTRONAUT.read_bytes()).pixels


def overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes."""
    size = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return float(size / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - size))
