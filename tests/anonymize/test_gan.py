"""`gan`: nothing of any face reaches the generator, and nothing of it is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import fdf.anonymize.detection
import fdf.anonymize.gan
import fdf.cli.commands
from fdf.anonymize.base import Face, Job, Method, RegionName, Replacement
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.gan import DEFAULT_MODEL, Gan, square_of
from fdf.anonymize.guard import make_guard
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import make_method
from fdf.anonymize.regions import region_of
from fdf.cli.app import app
from fdf.errors import ModelError, UsageError
from fdf.vision.picture import decode
from fdf.vision.zoo import local_model, models, path_of
from tests.anonymize.pictures import ASTRONAUT, Fixed, encoded, face, noise
from tests.conftest import ROOT

SIDE, LATENT = 64, 4


def write_blurrer(path: Path, side: int = SIDE, seed: int = 0) -> Path:
    """A generator that would show a face if it got one: means of the *picture* in the hole, and a hue of z and keypoints."""
    inputs = {"picture": [3, side, side], "mask": [1, side, side], "keypoints": [7, 3], "z": [LATENT]}
    weights = np.random.default_rng(seed).normal(0, 0.2, (LATENT, 3)).astype(np.float32)
    flat = np.full((21, 3), 1e-4, np.float32)
    constants = {
        "w": weights, "v": flat, "shape": np.array([0, 21], np.int64), "axes": np.array([2, 3], np.int64),
        "one": np.array(1, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["mean"], kernel_shape=[9, 9], pads=[4] * 4),
        helper.make_node("MatMul", ["z", "w"], ["hue"]),
        helper.make_node("Reshape", ["keypoints", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["place"]),
        helper.make_node("Add", ["hue", "place"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "axes"], ["pixel"]),
        helper.make_node("Add", ["mean", "pixel"], ["drawn"]),
        helper.make_node("Mul", ["drawn", "mask"], ["inside"]),
        helper.make_node("Sub", ["one", "mask"], ["seen"]),
        helper.make_node("Mul", ["picture", "seen"], ["outside"]),
        helper.make_node("Add", ["inside", "outside"], ["filled"]),
    ]
    graph = helper.make_graph(
        nodes,
        "blurrer",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("filled", TensorProto.FLOAT, ["N", 3, side, side])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"resolution": str(side), "latent": str(LATENT)})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blurrer(tmp_path_factory.mktemp("gan") / "g.onnx")


@pytest.fixture(scope="module")
def gan(model: Path) -> Gan:
    return Gan(model=model)


def jobs_of(faces: list[Face], picture: Any, kind: RegionName = "face") -> list[Job]:
    return Anonymizer(region=kind, salt="s").jobs(picture, faces)


class Spy:
    """What a network gets."""

    def __init__(self, gan: Gan) -> None:
        self.network, self.fed = gan.generator._network, [{}]
        self.fed.clear()

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.fed.append(feed)
        return self.network.run(names, feed)  # type: ignore[no-any-return]


@pytest.fixture
def spied(model: Path) -> tuple[Gan, Spy]:
    one = Gan(model=model)
    one.generator._network = spy = Spy(one)
    return one, spy


FIVE = np.float32([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def with_points(*box: float) -> Face:
    low, high = np.float32(box[:2]), np.float32(box[2:])
    return face(*box, landmarks5=low + FIVE * (high - low))


def test_it_fulfils_the_protocol(gan: Gan) -> None:
    assert isinstance(gan, Method)
    assert (gan.name, gan.generative) == ("gan", True)
    picture = noise(200, 240)
    before, jobs = picture.copy(), jobs_of([face(60, 60, 100, 110), face(150, 80, 190, 120)], picture)
    results = gan.replace(picture, jobs)
    for job, result in zip(jobs, results, strict=True):
        assert result.pixels is not None
        assert result.pixels.shape == (*job.region.alpha.shape, 3)
        assert result.pixels.dtype == np.uint8
    assert np.array_equal(picture, before)
    assert gan.replace(picture, []) == []


def nothing_is_left(method: Gan, picture: np.ndarray, faces: list[Face], kind: RegionName, seed: int) -> int:
    """Noise in place of all that is hidden, soft edges too, and the same comes back to the last bit."""
    tool = Anonymizer(method, region=kind, salt="s")
    jobs, other = tool.jobs(picture, faces), picture.copy()
    touched = tool.touched(picture, faces)
    other[touched] = noise(*picture.shape[:2], seed=seed + 1)[touched]
    done = 0
    for job, first, second in zip(jobs, method.replace(picture, jobs), method.replace(other, jobs), strict=True):
        assert first.reason == second.reason
        if first.pixels is not None and second.pixels is not None:
            assert first.pixels.tobytes() == second.pixels.tobytes()
            assert (first.pixels[job.region.alpha >= 1] != picture[job.region.slices][job.region.alpha >= 1]).any()
            done += 1
    one, two = tool.render(picture, faces).picture, tool.render(other, faces).picture
    for job in jobs:
        core = job.region.alpha >= 1
        assert np.array_equal(one[job.region.slices][core], two[job.region.slices][core])
    assert np.array_equal(one[~touched], picture[~touched])
    return done


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 2),
    st.sampled_from(["face", "head"]),
    st.lists(
        st.tuples(*[st.floats(-20, 300, width=32)] * 2, *[st.floats(8, 260, width=32)] * 2), min_size=1, max_size=4
    ),
)
def test_nothing_of_a_face_is_left(gan: Gan, seed: int, kind: RegionName, boxes: list[tuple[float, ...]]) -> None:
    faces = [with_points(x, y, x + w, y + h) for x, y, w, h in boxes]
    nothing_is_left(gan, noise(320, 360, seed), faces, kind, seed)


class Flat:
    """A method that does the first face alone, in one colour."""

    name = "flat"

    def replace(self, picture: Any, jobs: list[Job]) -> list[Replacement]:  # noqa: ARG002
        first = np.full((*jobs[0].region.alpha.shape, 3), (200, 30, 90), np.uint8)
        return [Replacement(first), *[Replacement(None, "not the first")] * (len(jobs) - 1)]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 2), st.sampled_from(["face", "head"]), st.floats(-60, 60), st.floats(-60, 60))
def test_as_a_fallback_it_sees_nothing_of_faces_that_others_have_hidden(
    gan: Gan, seed: int, kind: RegionName, across: float, down: float
) -> None:
    tool = Anonymizer(Flat(), fallback=gan, region=kind, salt="s")
    faces = [with_points(120, 110, 180, 180), with_points(160 + across, 150 + down, 230 + across, 240 + down)]
    picture = noise(320, 360, seed)
    other, touched = picture.copy(), tool.touched(picture, faces)
    other[touched] = noise(320, 360, seed + 1)[touched]
    one, two = tool.render(picture, faces), tool.render(other, faces)
    assert [outcome.method for outcome in one.outcomes] == ["flat", "gan"]
    cores = np.zeros(touched.shape, np.bool_)
    for job in tool.jobs(picture, faces):
        cores[job.region.slices] |= job.region.alpha >= 1
    assert np.array_equal(one.picture[cores], two.picture[cores])


@pytest.mark.parametrize("kind", ["face", "head"])
def test_nothing_of_a_face_is_left_at_any_scale(gan: Gan, kind: RegionName) -> None:
    """Crops under, at and over the generator's size and its double, where the ways of scaling differ."""
    for size in (16, 20, 31, 33, 40, 64, 75, 100, 180):
        picture = noise(1000, 1000, size)
        faces = [
            with_points(400, 400, 400 + size, 400 + 1.3 * size),
            face(400 + 1.2 * size, 410, 400 + 2.1 * size, 480),
        ]
        assert nothing_is_left(gan, picture, faces, kind, size) == 2


def test_nothing_of_a_face_is_left_by_a_trained_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="a real export needs the extra [train]")
    pytest.importorskip("onnxscript", reason="a real export needs the extra [train]")
    from fdf.gan.export import export_onnx
    from fdf.gan.networks import Architecture, Block, Generator

    torch.set_num_threads(1)
    arch = Architecture(
        size="tiny", resolution=64, latent=8, channels=(16, 16, 16, 32), encoder=(0, 0, 0, 1), decoder=(0, 0, 0, 1),
        discriminator_channels=(16, 16, 16, 16, 32), discriminator_blocks=(0, 0, 0, 0, 0), group_width=16,
    )  # fmt: skip
    torch.manual_seed(0)
    network = Generator(arch)
    for block in network.modules():
        if isinstance(block, Block):
            torch.nn.init.normal_(block.close.weight, std=0.1)
    export_onnx(network, arch, tmp_path / "g.onnx")
    real, picture = Gan(model=tmp_path / "g.onnx"), noise(300, 300)
    for kind in ("face", "head"):
        assert nothing_is_left(real, picture, [with_points(100, 100, 150, 165), face(160, 90, 200, 150)], kind, 3) == 2  # type: ignore[arg-type]


def test_the_network_sees_no_pixel_of_any_face_and_everything_else(spied: tuple[Gan, Spy]) -> None:
    method, spy = spied
    white = np.full((300, 300, 3), 255, dtype=np.uint8)
    faces = [with_points(100, 100, 150, 165), face(165, 110, 205, 150)]
    white[Anonymizer(salt="s").touched(white, faces)] = 0  # faces are black, the world is white
    method.replace(white, jobs_of(faces, white))
    (feed,) = spy.fed  # all faces in one call
    picture, mask = feed["picture"], np.broadcast_to(feed["mask"] >= 0.5, feed["picture"].shape)
    assert len(picture) == 2
    assert (picture[mask] == 0).all()
    assert (picture[~mask] == 1).all()  # a pixel with a trace of black or of the grey under it would be darker
    assert 0.2 < mask.mean() < 0.8


def test_keypoints_lie_where_the_face_was(spied: tuple[Gan, Spy]) -> None:
    method, spy = spied
    picture = noise(300, 300)
    seven = np.zeros((7, 3), dtype=np.float32)
    seven[0], seven[4] = (130, 140, 0.9), (90, 130, 0.1)  # the ear is a guess
    faces = [with_points(100, 100, 150, 165), face(100, 100, 150, 165, keypoints=seven), face(100, 100, 150, 165)]
    jobs = jobs_of(faces, picture)
    method.replace(picture, jobs)
    five, given_, none = spy.fed[0]["keypoints"]
    x0, y0, x1, _ = square_of(faces[0], jobs[0].region.window, 300, 300)
    scale = SIDE / (x1 - x0)
    nose, right_eye = np.array([125, 139]), np.array([115, 126])
    assert five[0] == pytest.approx([*(nose - (x0, y0)) * scale, 1], abs=1e-3)
    assert five[2] == pytest.approx([*(right_eye - (x0, y0)) * scale, 1], abs=1e-3)
    assert (five[3:] == 0).all()
    x0, y0, x1, _ = square_of(faces[1], jobs[1].region.window, 300, 300)
    assert given_[0] == pytest.approx([(130 - x0) * SIDE / (x1 - x0), (140 - y0) * SIDE / (x1 - x0), 1], abs=1e-3)
    assert (given_[1:] == 0).all()
    assert (none == 0).all()


def test_the_same_seed_draws_the_same_face(gan: Gan) -> None:
    picture, one = noise(200, 200), face(80, 80, 120, 120)
    first, again, other = (
        Anonymizer(gan, salt=salt).render(picture, [one]).picture for salt in ("project", "project", "another")
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("one", "size", "why"),
    [
        (face(90, 90, 105, 102), 200, "smaller than 16 pixels"),
        (face(5, 5, 195, 195), 200, "too little to see around it"),
        (face(-60, -60, 30, 30), 200, "mostly outside the picture"),
    ],
)
def test_what_it_cannot_do_is_covered(gan: Gan, one: Face, size: int, why: str) -> None:
    result = Anonymizer(gan).render(noise(size, size), [one])
    assert [(o.method, o.reason) for o in result.outcomes] == [("solid", why)]
    both = Anonymizer(gan).render(noise(size, size), [one, face(140, 140, 165, 170)])
    assert len({o.method for o in both.outcomes} & {"solid"}) == 1


def test_how_much_larger_than_the_generators_faces_were_is_known(model: Path) -> None:
    method = Gan(model=model)
    Anonymizer(method).render(noise(600, 600), [face(20, 20, 45, 45), face(250, 250, 350, 350)])
    assert 170 < method.largest < 260


@given(*[st.floats(-50, 380, width=32)] * 2, *[st.floats(1, 200, width=32)] * 2, st.sampled_from(["face", "head"]))
def test_the_square_holds_the_region_and_something_beside_it(
    x: float, y: float, w: float, h: float, kind: RegionName
) -> None:
    width, height = 400, 300
    one = face(x, y, x + w, y + h)
    region = region_of(one, kind, width, height)
    if region is None:
        return
    a, b, c, d = region.window
    x0, y0, x1, y1 = square_of(one, region.window, width, height)
    assert x1 - x0 == y1 - y0
    for low, high, start, stop, limit in ((a, c, x0, x1, width), (b, d, y0, y1, height)):
        assert start <= low
        assert high <= stop
        assert start < low or low == 0
        assert stop > high or high == limit


def test_without_a_generator_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(fdf.anonymize.gan, "models", lambda: ())
    with pytest.raises(
        ModelError, match=r"no generator of its own. Name one with --model; `fdf train` and `fdf export`"
    ):
        make_method("gan")
    row = local_model(model, model_id=DEFAULT_MODEL, task="generator", code_license="CC0-1.0", weight_license="CC0-1.0")
    monkeypatch.setattr(fdf.anonymize.gan, "models", lambda: (row,))
    assert make_method("gan").name == "gan"


def test_the_generator_that_fdf_brings_draws_another_face() -> None:
    """Out of the box, under the guard: Eileen Collins, by NASA."""
    astronaut, finder = decode(ASTRONAUT.read_bytes()).pixels, FaceFinder("fast")
    anonymizer = Anonymizer("gan", finder=finder, salt="s", guard=make_guard())
    before = finder.find(astronaut)
    result = anonymizer.render(astronaut, before)
    assert [(one.method, one.reason) for one in result.outcomes] == [("gan", "")]
    assert len(finder.find(result.picture)) == 1, "there is a face again"
    row = anonymizer.drain()[0]
    assert row["passed"]
    assert row["judges"][0]["distance"] > row["judges"][0]["threshold"]


def test_the_card_of_the_generator_that_fdf_brings_is_its_own() -> None:
    row = next(row for row in models() if row.id == DEFAULT_MODEL)
    stated = {one.key: one.value for one in onnx.load(path_of(row)).metadata_props}
    card = (ROOT / "docs/generator-default.md").read_text()
    assert row.sha256 in card
    assert f"| pictures seen | {int(stated['pictures']):,} " in card
    assert f"{int(stated['pictures']):,} pictures" in row.origin
    assert stated["index_sha256"] in card
    assert (stated["rights_class"], row.weight_license) == ("pd", "CC0-1.0")
    assert "synthetic | 1,781 faces (100%)" in card, "nobody's consent was needed"


def test_a_file_that_is_no_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no generator at"):
        Gan(model=tmp_path / "none.onnx")
    onnx.save(helper.make_model(helper.make_graph([], "empty", [], [])), tmp_path / "empty.onnx")
    with pytest.raises(ModelError):
        Gan(model=tmp_path / "empty.onnx")


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["anonymize", *map(str, words)])


def test_the_command(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = Fixed(face(100, 60, 150, 120))
    monkeypatch.setattr(fdf.anonymize.detection, "FaceFinder", lambda *_, **__: finder)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(encoded(noise(200, 240), "PNG"))
    words = (tmp_path / "in", "-o", tmp_path / "out", "--method", "gan", "--salt", "s", "--no-guard", "--model")
    result = run(*words, model)
    assert "1 done. 1 face hidden (1 gan)" in result.output
    assert "pixels were drawn at the generator's 64: they look soft" in result.stderr
    assert json.loads(run(*words, model, "--json").stdout)["files"]["skipped"] == 1
    other = write_blurrer(tmp_path / "other.onnx", seed=1)
    assert json.loads(run(*words, other, "--json").stdout)["files"]["done"] == 1  # another generator, another picture
    refused = run(*words[:3], "--method", "blur", "--model", model).exception
    assert isinstance(refused, UsageError)
    assert "--model is of --method gan" in str(refused)


def test_the_command_draws_nothing_that_its_guard_refuses(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grey for a face, plain colours for its fakes: to a recognizer all of them are the same person."""
    monkeypatch.setattr(fdf.anonymize.detection, "FaceFinder", lambda *_, **__: Fixed(face(100, 60, 150, 120)))
    (tmp_path / "a.png").write_bytes(encoded(np.full((200, 240, 3), 128, np.uint8), "PNG"))
    result = run(tmp_path / "a.png", "-o", tmp_path / "b.png", "--method", "gan", "--salt", "s", "--model", model)
    assert "1 face hidden (1 solid); 1 fell back: 8 faces drawn, all too much like its source" in result.output


def test_a_portrait(gan: Gan) -> None:
    """The detector's own face: drawn, not covered."""
    import cv2

    picture = np.asarray(cv2.imread(str(ASTRONAUT), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    result = Anonymizer(gan)(picture)
    assert [outcome.method for outcome in result.outcomes] == ["gan"]
