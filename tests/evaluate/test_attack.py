"""`fdf attack`: what attackers get out of vectors is checked on vectors made for it, the whole on the sample's people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner

import fdf.cli.commands  # noqa: F401 - registers the commands
from fdf.anonymize.base import Face, Job, Replacement
from fdf.anonymize.methods import WeakMethodWarning
from fdf.cli.app import app
from fdf.errors import DataError, ModelError, UsageError
from fdf.evaluate.attack import AttackReport, Row, Settings, attack, list_people
from fdf.evaluate.attackers import Attack, naive, parrot
from fdf.evaluate.faces import Seen
from fdf.evaluate.parrot import learn, people_folds
from fdf.evaluate.recognizers import Aim, DlibRecognizer, OnnxRecognizer, Sight
from fdf.vision.base import Pixels
from fdf.vision.picture import decode
from tests.anonymize.pictures import encoded
from tests.conftest import ROOT

SAMPLE = ROOT / "fdf/data/sample"


def crowd(
    people: int = 20, each: int = 6, dim: int = 24, spread: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of unit length round one centre a person, and who is who."""
    draw = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), each)
    centres = draw.normal(size=(people, dim)) / np.sqrt(dim)
    rows = centres[who] + spread * draw.normal(size=(len(who), dim)) / np.sqrt(dim)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), who


def both(clean: np.ndarray, hidden: np.ndarray, who: np.ndarray, folds: int = 4) -> tuple[Attack, Attack]:
    parts = people_folds(int(who.max()) + 1, folds, 0)
    learned = parrot("x", hidden, who, parts, 0.01)
    assert learned is not None
    return naive("x", clean, hidden, who, parts, 0.01), learned


def test_who_hides_nothing_is_named_by_both() -> None:
    clean, who = crowd()
    for one in both(clean, clean, who):
        assert one.rank1 is not None
        assert one.tar is not None
        assert one.rank1.value > 0.98
        assert one.tar.value > 0.9
        assert one.auc > 0.99
        assert one.gallery == 29  # five people of six pictures, less the picture itself
        assert one.rank1_chance == pytest.approx(5 / 29)
        assert one.rank1.n == one.tar.n == 120


def test_who_hides_everything_is_named_by_chance() -> None:
    clean, who = crowd()
    noise = np.random.default_rng(1).normal(size=clean.shape).astype(np.float32)
    for one in both(clean, noise, who):
        assert one.rank1 is not None
        # Nearest neighbours are mutual, so hits come in pairs: wider than Wilson's interval.
        assert abs(one.rank1.value - one.rank1_chance) < 0.12
        assert abs(one.auc - 0.5) < 0.06


@pytest.mark.parametrize("seed", range(3))
def test_the_parrot_undoes_what_a_linear_map_does(seed: int) -> None:
    """Turned, squeezed, and drowned in noise that lies in few directions: plain distances fail, a learned metric doesn't."""
    clean, who = crowd(people=30, seed=seed)
    draw = np.random.default_rng(seed + 9)
    turn = np.linalg.qr(draw.normal(size=(24, 24)))[0]
    noise = draw.normal(size=(len(who), 4)) @ draw.normal(size=(4, 24))
    hidden = (clean @ turn + noise).astype(np.float32)
    plain, learned = both(clean, hidden, who, folds=3)
    assert plain.rank1 is not None
    assert learned.rank1 is not None
    assert learned.far is not None
    assert plain.rank1.low < plain.rank1_chance + 0.05
    assert learned.rank1.value > 0.8 > plain.rank1.value
    assert learned.auc > plain.auc + 0.2
    assert learned.far.value < 0.05  # a threshold from people that the metric was learned from would be far above it


def test_the_very_photo_is_told_from_other_photos() -> None:
    clean, who = crowd(spread=0.6)
    hidden = clean + np.random.default_rng(0).normal(scale=0.01, size=clean.shape).astype(np.float32)
    plain, learned = both(clean, hidden, who)
    assert plain.same_rank1 is not None
    assert plain.same_tar is not None
    assert plain.tar is not None
    assert plain.same_rank1.value == 1
    assert plain.same_rank1_chance == pytest.approx(1 / 30)
    assert plain.same_tar.value > plain.tar.value
    assert learned.same_rank1 is learned.same_tar is learned.same_auc is None


def test_few_people_have_no_parrot_and_a_plain_metric() -> None:
    clean, who = crowd(people=3)
    assert parrot("x", clean, who, people_folds(3, 5, 0), 0.01) is None
    assert learn(clean[who < 2], who[who < 2]).metric.matrix is None
    still = np.repeat(crowd(people=8, each=1)[0], 3, axis=0)  # no difference between pictures of one person
    learned = learn(still, np.repeat(np.arange(8), 3))
    assert np.isfinite(learned.metric(still)).all()


@settings(max_examples=60)
@given(people=st.integers(1, 60), folds=st.integers(1, 9), seed=st.integers(0, 99))
def test_everybody_is_in_one_fold_with_somebody_else(people: int, folds: int, seed: int) -> None:
    parts = people_folds(people, folds, seed)
    assert parts.shape == (people,)
    sizes = np.bincount(parts)
    assert len(sizes) <= folds
    assert sizes.min() >= min(people, 2)
    assert sizes.max() - sizes.min() <= 1
    assert (parts == people_folds(people, folds, seed)).all()


@settings(max_examples=8)
@given(seed=st.integers(0, 99))
def test_what_the_parrot_says_of_a_fold_does_not_depend_on_the_order_within_it(seed: int) -> None:
    """Nobody is in training and in test: whoever is tested can't move the metric, so garbage there stays there."""
    clean, who = crowd(people=8, seed=seed)
    parts = people_folds(8, 2, seed)
    trained = learn(clean[parts[who] != 0], who[parts[who] != 0], seed)
    garbled = clean.copy()
    garbled[parts[who] == 0] = np.random.default_rng(seed).normal(size=(int((parts[who] == 0).sum()), clean.shape[1]))
    first, second = (parrot("x", rows, who, parts, 0.01, seed) for rows in (clean, garbled))
    assert first is not None
    assert second is not None
    assert first.thresholds[0] == second.thresholds[0] == np.sort(trained.impostors)[len(trained.impostors) // 100]


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of the sample's people who is in two photos or more."""
    root = tmp_path_factory.mktemp("people")
    rows = [json.loads(line) for line in (SAMPLE / "truth.jsonl").read_text().splitlines()]
    faces = [(row, face) for row in rows for face in row["faces"]]
    names = [face["identity"] for _, face in faces]
    chosen = sorted(name for name in set(names) if names.count(name) > 1)[:4]
    for row, face in faces:
        if face["identity"] not in chosen:
            continue
        picture = decode((SAMPLE / "mirror" / row["file"]).read_bytes()).pixels
        box = np.array(face["box"])
        centre, half = (box[:2] + box[2:]) / 2, 0.8 * (box[2:] - box[:2]).max()
        x0, y0 = np.maximum(centre - half, 0).astype(int)
        x1, y1 = (centre + half).astype(int)
        path = root / face["identity"] / f"{row['photo_id']}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(np.ascontiguousarray(picture[y0:y1, x0:x1]), "PNG"))
    return root


class Lighter:
    """Hides next to nothing."""

    name = "lighter"

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        return [Replacement(np.minimum(picture[job.region.slices], 253) + np.uint8(2)) for job in jobs]


class Unable:
    name = "unable"

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:  # noqa: ARG002
        return [Replacement(None, "no idea") for _ in jobs]


class Whole:
    """A finder for pictures that are one face, without a network; black ones show nobody."""

    def find(self, picture: Pixels) -> list[Face]:
        if not picture.any():
            return []
        height, width = picture.shape[:2]
        return [Face(np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height], np.float32))]


class Blind:
    """Sees nothing in no time."""

    def look(self, pictures: Sequence[Pixels], boxes: np.ndarray, *, embed: bool) -> Seen:  # noqa: ARG002
        assert not embed
        n = len(pictures)
        no, none = np.zeros(n, bool), np.zeros((n, 3), np.float32)
        return Seen(no, no, no, np.zeros((n, 3, 2), np.float32), none, np.zeros((n, 128), np.float32))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdf.evaluate.attack.Eyes", Blind)


class Means:
    """A recognizer of colours."""

    name, sha256 = "means", "0" * 64

    def embed(self, picture: Pixels, sight: Sight) -> np.ndarray:
        x0, y0, x1, y1 = sight.found.boxes[0].astype(int)
        return picture[y0:y1, x0:x1].mean(axis=(0, 1), dtype=np.float64).astype(np.float32)


def colours(root: Path, **people: Sequence[tuple[int, int, int]]) -> Path:
    for name, pictures in people.items():
        (root / name).mkdir(parents=True)
        for number, colour in enumerate(pictures):
            picture = np.full((40, 40, 3), colour, np.uint8)
            (root / name / f"{number}.png").write_bytes(encoded(picture, "PNG"))
    return root


FOUR: dict[str, Any] = {
    "ada": [(200, 20, 20), (210, 30, 20), (205, 20, 30)],
    "ben": [(20, 200, 20), (30, 210, 20), (20, 205, 30)],
    "carl": [(20, 20, 200), (20, 30, 210), (30, 20, 205)],
    "dora": [(200, 200, 20), (210, 205, 30), (205, 210, 20)],
}


def of(report: AttackReport, method: str) -> Row:
    return next(row for row in report.rows if row.method == method)


def test_floor_and_ceiling_stand_beside_every_method(tmp_path: Path, blind: None) -> None:
    report = attack(colours(tmp_path, **FOUR), [Lighter(), Unable()], [Means()], finder=Whole())
    assert [(row.method, row.floor, row.fell_back) for row in report.rows] == [
        ("none", False, 0),
        ("solid", True, 0),
        ("lighter", False, 0),
        ("unable", False, 12),
    ]
    assert (report.folds, report.counts.people, report.counts.pictures) == (2, 4, 12)
    for method in ("none", "lighter"):
        for one in of(report, method).attacks:
            assert one.rank1 is not None
            assert one.rank1.value == 1
    clean, hidden = (of(report, method).attacks[0] for method in ("none", "solid"))
    assert clean.same_tar is None  # a photo that was not hidden is no news
    assert hidden.rank1 is not None
    assert hidden.rank1.value == pytest.approx(0.5, abs=0.1)  # all are alike: the nearest is always the same one
    assert hidden.auc == pytest.approx(0.5, abs=0.1)
    assert of(report, "unable").attacks[0].auc == hidden.auc


def test_who_must_find_a_face_gets_the_floor_where_there_is_none(tmp_path: Path, blind: None) -> None:
    class Once(Whole):
        def find(self, picture: Pixels) -> list[Face]:
            bare = len(np.unique(picture.reshape(-1, 3), axis=0)) == 1
            return super().find(picture) if bare else []

    folder = colours(tmp_path, **FOUR)
    given, seen = (
        attack(folder, [Lighter()], [Means()], Settings(points=points), finder=Once())  # type: ignore[arg-type]
        for points in ("given", "seen")
    )
    assert of(given, "lighter").not_found == 0
    assert of(seen, "lighter").not_found == of(seen, "solid").not_found == 12
    assert of(seen, "lighter").attacks == of(seen, "solid").attacks == of(given, "solid").attacks
    assert of(given, "lighter").attacks != of(given, "solid").attacks


def test_what_can_not_be_used_is_counted(tmp_path: Path, blind: None) -> None:
    folder = colours(tmp_path, **FOUR, once=[(9, 9, 9)], night=[(0, 0, 0), (0, 0, 0)])
    (folder / "ada/broken.png").write_bytes(b"\x89PNG")
    (folder / "ada/.hidden").write_bytes(b"")
    (folder / "readme.txt").write_text("")
    counts = attack(folder, [], [Means()], finder=Whole()).counts
    assert (counts.files, counts.unreadable, counts.no_face, counts.pictures) == (16, 1, 2, 12)
    assert counts.left_out == ("night", "once")


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ({"ada": FOUR["ada"]}, "1 of 1 people, 3 files"),
        ({"ada": FOUR["ada"], "ben": FOUR["ben"][:1]}, "1 of 2 people"),
        ({"ada": [(0, 0, 0)] * 2, "ben": [(0, 0, 0)] * 2}, "0 of 2 people, 4 files (0 unreadable, 4 without a face"),
    ],
)
def test_too_few_people_are_an_error(tmp_path: Path, blind: None, people: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match="too few people") as error:
        attack(colours(tmp_path, **people), [], [Means()], finder=Whole())
    assert said in str(error.value)
    assert "one folder a person" in str(error.value)


def test_folders_that_show_nobody_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        list_people(tmp_path / "none")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"shows nobody.*no folders"):
        list_people(tmp_path)
    (tmp_path / "ada").mkdir()
    with pytest.raises(UsageError, match="1 empty folders"):
        list_people(tmp_path)


@pytest.mark.parametrize("wrong", [{"far": 0.0}, {"far": 1.5}, {"folds": 0}])
def test_settings_out_of_range_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)


def write_network(path: Path, shape: list[Any], out: int = 64) -> Path:
    """A network that gives the means of its picture's rows, `out` times a number."""
    side = shape[2]
    inside = helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [shape[0], out])
    sizes = [int(np.prod(shape[1:])), out]
    weights = np.random.default_rng(0).normal(size=sizes).astype(np.float32) / side
    nodes = [
        helper.make_node("Flatten", ["in"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["out"]),
    ]
    tensor = helper.make_tensor("w", TensorProto.FLOAT, sizes, weights.ravel())
    graph = helper.make_graph(nodes, "recognizer", [inside], [result], [tensor])
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    return path


def test_recognizers_of_all_layouts(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8)
    sight = Aim()(picture, np.array([-5, 30, 120, 130], np.float32), None)
    assert sight is not None
    assert sight.found.boxes[0].tolist() == [0, 30, 120, 130]
    assert Aim()(picture, np.array([-50, 30, 1, 130], np.float32), None) is None
    rows = [("N", 3, 112, 112), ("N", 112, 112, 3), (2, 112, 112, 3), ("N", 64, 64, 3)]
    for number, shape in enumerate(rows):
        network = OnnxRecognizer(write_network(tmp_path / f"{number}.onnx", list(shape)))
        vector = network.embed(picture, sight)
        assert (network.name, vector.shape, vector.dtype) == (str(number), (64,), np.float32)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert DlibRecognizer().embed(picture, sight).shape == (128,)


def test_what_is_no_recognizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        OnnxRecognizer(tmp_path / "none.onnx")
    short = write_network(tmp_path / "short.onnx", ["N", 3, 112, 112], out=3)
    oblong = write_network(tmp_path / "oblong.onnx", ["N", 3, 8, 16])
    for path in (short, oblong):
        assert onnx.load(path)
        with pytest.raises(ModelError, match="no recognizer that can be used here"):
            OnnxRecognizer(path)


def test_the_command_on_people_of_the_sample(sample_people: Path, tmp_path: Path) -> None:
    network = write_network(tmp_path / "tiny.onnx", ["N", 3, 112, 112])
    out = tmp_path / "report.json"
    words = ["attack", str(sample_people), "-o", str(out), "--method", "pixelate", "--strength", "0.2"]
    done = CliRunner().invoke(app, [*words, "--recognizer", str(network)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    body = json.loads(out.read_text())
    assert body["format"] == "fdf-attack-1"
    assert (body["counts"]["people"], body["folds"]) == (4, 2)
    assert [row["method"] for row in body["rows"]] == ["none", "solid", "pixelate"]
    first = [row["attacks"][0] for row in body["rows"]]
    assert [one["recognizer"] for one in body["rows"][0]["attacks"]] == ["dlib-resnet128"] * 2 + ["tiny"] * 2
    assert [one["attacker"] for one in body["rows"][0]["attacks"]] == ["naive", "parrot"] * 2
    clean, solid, cells = (one["rank1"]["value"] for one in first)
    assert clean > 0.9
    assert clean >= cells >= solid
    found = [row["preservation"]["centerface"]["value"] for row in body["rows"]]
    assert found[0] > 0.9
    assert found[1] == 0
    assert body["rows"][0]["preservation"]["nme"]["mean"] < 1e-6
    for words in ("pixelate", "dlib-resnet128", "parrot", "1.0% FAR", "What is left of the face"):
        assert words in done.output


def test_the_same_seed_gives_the_same_figures(tmp_path: Path, blind: None) -> None:
    folder = colours(tmp_path, **FOUR)
    first, second = (attack(folder, ["blur"], [Means()], Settings(seed=3), finder=Whole()).to_dict() for _ in range(2))
    assert first == second
    assert first["rows"][2]["method"] == "blur"


def test_methods_with_a_strength_of_their_own(tmp_path: Path, blind: None) -> None:
    folder = colours(tmp_path, **FOUR)
    with pytest.warns(WeakMethodWarning):
        report = attack(folder, ["blur=0.5", "blur", "pixelate"], [Means()], Settings(strength=2.0), finder=Whole())
    assert [(row.method, row.strength) for row in report.rows] == [
        ("none", None), ("solid", None), ("blur=0.5", 0.5), ("blur", 2.0), ("pixelate", 2.0),
    ]  # fmt: skip
    for wrong, said in (
        ("solid=1", "solid has no strength. Expected one of blur or pixelate"),
        ("blur=much", "strength of blur is no number"),
        ("blur=", "strength of blur is no number"),
        ("blur=0", "strength is out of range"),
        ("blur=nan", "strength is out of range"),
        ("blurr=0.5", "Did you mean blur"),
    ):
        with pytest.raises(UsageError) as error:
            attack(folder, [wrong], [Means()], finder=Whole())
        assert said in str(error.value)


def test_a_model_without_gan_and_an_unknown_method_are_refused(tmp_path: Path) -> None:
    folder = colours(tmp_path, **FOUR)
    for words, said in ((["--model", "x.onnx"], "--model is of --method gan"), (["--method", "blurr"], "Did you mean")):
        done = CliRunner().invoke(app, ["attack", str(folder), *words])
        assert isinstance(done.exception, UsageError)
        assert said in str(done.exception)
