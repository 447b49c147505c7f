"""One conformance test over every adapter. InsightFace's weights are not ours to ship: FDF_EVAL_MODELS names their folder."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fdf.errors import MachineError
from fdf.vision.base import Detections, Detector, Embedder, Keypointer, Keypoints
from fdf.vision.centerface import FAST, CenterFace, CenterFaceConfig
from fdf.vision.zoo import load_detector, load_embedder, load_keypointer
from fdf.vocabulary import KEYPOINT_FLIP

FACE = np.array([185, 65, 268, 176])  # the astronaut's, between the boxes of all detectors
_CACHE = {}


def from_eval(name):
    folder = os.environ.get("FDF_EVAL_MODELS")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip(f"FDF_EVAL_MODELS names no folder with {name}")
    return Path(folder) / name


DETECTORS = {
    "centerface": load_detector,
    "centerface-fast": lambda: CenterFace(FAST),
    "centerface-tiled": lambda: CenterFace(CenterFaceConfig(min_side=256, max_side=320, tile=256)),
    "blazeface": lambda: load_detector("blazeface-back+facemesh468"),
    "dlib-hog": lambda: load_detector("dlib-hog"),
    "scrfd-500m": lambda: load_detector("insightface-detector", path=from_eval("scrfd_500m_kps.onnx")),
    "scrfd-2.5g": lambda: load_detector("insightface-detector", path=from_eval("scrfd_2.5g_kps.onnx")),
}
KEYPOINTERS = {"movenet-thunder+facemesh468": load_keypointer}


def tiny_arcface(folder):
    """A stand-in with ArcFace's interface: colours of a 7 × 7 grid of the aligned face."""
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("AveragePool", ["input"], ["grid"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["grid"], ["embedding"]),
    ]
    shapes = ("input", ["n", 3, 112, 112]), ("embedding", ["n", 147])
    ins, outs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes)
    graph = helper.make_graph(nodes, "arcface", ins, outs)
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "w600k_tiny.onnx"
    )
    return load_embedder("insightface-embedder", path=folder)


EMBEDDERS = {"dlib-resnet128": load_embedder, "insightface-embedder": tiny_arcface}


def made(table, name):
    if name not in _CACHE:
        _CACHE[name] = table[name]()
    return _CACHE[name]


@pytest.fixture(params=DETECTORS)
def detector(request):
    return made(DETECTORS, request.param)


@pytest.fixture(params=KEYPOINTERS)
def keypointer(request):
    return made(KEYPOINTERS, request.param)


@pytest.fixture(params=EMBEDDERS)
def embedder(request, tmp_path_factory):
    if request.param == "insightface-embedder" and request.param not in _CACHE:
        _CACHE[request.param] = tiny_arcface(tmp_path_factory.mktemp("pack"))
    return made(EMBEDDERS, request.param)


@pytest.fixture(scope="module")
def pictures(astronaut):
    wide = np.full((70, 300, 3), 90, np.uint8)
    return [astronaut, wide, np.ascontiguousarray(astronaut[:, ::-1]), astronaut[:300]]


@pytest.fixture(scope="module")
def found(pictures):
    return made(DETECTORS, "centerface").detect(pictures)


@pytest.fixture(scope="module")
def points(pictures, found):
    return made(KEYPOINTERS, "movenet-thunder+facemesh468").keypoints(pictures, found)


def same(a, b):
    pairs = [(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__]
    return all((x is None and y is None) or np.array_equal(x, y) for x, y in pairs)


def overlap(box, other):
    wh = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    return wh.prod() / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - wh.prod())


class TestDetector:
    def test_is_one_and_names_its_weights(self, detector):
        assert isinstance(detector, Detector)
        assert detector.id
        assert detector.models
        for row in detector.models:
            assert len(row.sha256) == 64
            assert row.weight_license

    def test_no_pictures(self, detector):
        assert detector.detect([]) == []

    def test_finds_the_astronaut(self, detector, astronaut):
        (faces,) = detector.detect([astronaut])
        assert overlap(faces.boxes[0], FACE) > 0.5
        if faces.landmarks5 is not None:
            assert faces.landmarks5[0] == pytest.approx(
                np.array([[203, 102], [247, 104], [224, 125], [204, 142], [242, 144]]), abs=8
            )

    def test_batches_equal_singles_and_repeat(self, detector, pictures):
        together = detector.detect(pictures)
        assert len(together) == len(pictures)
        for picture, faces in zip(pictures, together, strict=True):
            assert same(detector.detect([picture])[0], faces)
        assert all(same(a, b) for a, b in zip(detector.detect(pictures[::-1])[::-1], together, strict=True))

    def test_boxes_lie_inside_and_scores_fall(self, detector, astronaut):
        cut = np.ascontiguousarray(astronaut[90:, 200:])
        for picture in (astronaut, cut, np.concatenate([astronaut, astronaut], axis=1)):
            (faces,) = detector.detect([picture])
            height, width = picture.shape[:2]
            assert (faces.boxes >= 0).all()
            assert (faces.boxes[:, [0, 2]] <= width).all()
            assert (faces.boxes[:, [1, 3]] <= height).all()
            assert (np.diff(faces.scores) <= 0).all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (3, 5), (40, 3000)])
    @pytest.mark.parametrize("value", [0, 255])
    def test_odd_pictures_without_faces(self, detector, shape, value):
        (faces,) = detector.detect([np.full((*shape, 3), value, np.uint8)])
        assert len(faces) == 0
        assert faces.boxes.shape == (0, 4)

    @pytest.mark.parametrize(
        "wrong",
        [
            np.zeros((9, 9), np.uint8),
            np.zeros((9, 9, 4), np.uint8),
            np.zeros((9, 9, 3), np.float32),
            np.zeros((0, 9, 3), np.uint8),
            "a.jpg",
        ],
    )
    def test_what_is_no_rgb_is_refused(self, detector, wrong):
        with pytest.raises(ValueError, match=r"Picture 1 of the batch: expected RGB, uint8 \(H, W, 3\)"):
            detector.detect([np.zeros((9, 9, 3), np.uint8), wrong])


class TestKeypointer:
    def test_is_one(self, keypointer):
        assert isinstance(keypointer, Keypointer)
        assert keypointer.id == "+".join(row.id for row in keypointer.models)

    def test_left_is_the_subjects_left(self, points):
        nose, left_eye, right_eye, left_ear, right_ear, left_shoulder, right_shoulder = points[0].points[0]
        assert left_ear[0] > left_eye[0] > nose[0] > right_eye[0] > right_ear[0]
        assert left_shoulder[0] > nose[0] > right_shoulder[0]
        assert min(left_shoulder[1], right_shoulder[1]) > nose[1] > max(left_eye[1], right_eye[1])
        assert (points[0].points[0][:, 2] > 0.3).all()
        assert points[0].points[0][:3, :2] == pytest.approx(np.array([[224, 125], [247, 104], [203, 102]]), abs=5)

    def test_a_mirrored_picture_swaps_left_and_right(self, points):
        there, back = points[0].points[0].copy(), points[2].points[0][list(KEYPOINT_FLIP)].copy()
        back[:, 0] = 512 - back[:, 0]
        assert np.linalg.norm(there[:5, :2] - back[:5, :2], axis=1).max() < 8
        assert np.linalg.norm(there[5:, :2] - back[5:, :2], axis=1).max() < 60

    def test_batches_equal_singles(self, keypointer, pictures, found, points):
        for picture, faces, want in zip(pictures, found, points, strict=True):
            assert same(keypointer.keypoints([picture], [faces])[0], want)

    def test_no_pictures_no_faces_and_no_landmarks(self, keypointer, astronaut, found, points):
        assert keypointer.keypoints([], []) == []
        (none,) = keypointer.keypoints([astronaut], [found[1]])
        assert none.points.shape == (0, 7, 3)
        (bare,) = keypointer.keypoints([astronaut], [Detections(found[0].boxes, found[0].scores)])
        assert np.linalg.norm(bare.points[0, :3, :2] - points[0].points[0, :3, :2], axis=1).max() < 4

    def test_faces_at_the_border_and_of_one_pixel(self, keypointer, astronaut):
        boxes = np.array([[0, 0, 1, 1], [500, 500, 512, 512], [0, 0, 512, 512]], np.float32)
        (got,) = keypointer.keypoints([astronaut], [Detections(boxes, np.full(3, 0.9, np.float32))])
        assert got.points.shape == (3, 7, 3)

    def test_lists_of_other_length_are_refused(self, keypointer, astronaut):
        with pytest.raises(ValueError, match="1 pictures but 0 results"):
            keypointer.keypoints([astronaut], [])


class TestEmbedder:
    def test_is_one(self, embedder):
        assert isinstance(embedder, Embedder)
        for row in embedder.models:
            assert len(row.sha256) == 64
            if row.where == "local":
                assert row.weight_license == "LicenseRef-InsightFace-noncommercial"

    def test_shape_repeat_and_likeness(self, embedder, pictures, found, points):
        vectors = embedder.embed(pictures, found, points)
        assert [v.shape for v in vectors] == [(len(faces), embedder.dim) for faces in found]
        assert all(v.dtype == np.float32 and np.isfinite(v).all() for v in vectors)
        for picture, faces, keys, want in zip(pictures, found, points, vectors, strict=True):
            assert np.array_equal(embedder.embed([picture], [faces], [keys])[0], want)
        if embedder.id == "dlib-resnet128":
            assert np.linalg.norm(vectors[0][0] - vectors[2][0]) < 0.5  # her mirror image
        else:
            assert np.linalg.norm(vectors[0][0]) == pytest.approx(1)
        assert np.linalg.norm(vectors[0][0] - vectors[3][0]) < 0.2  # the same, less of the picture

    def test_without_a_mesh(self, embedder, astronaut, found, points):
        bare = Keypoints(points[0].points)
        (got,) = embedder.embed([astronaut], [found[0]], [bare])
        assert np.linalg.norm(got[0] - embedder.embed([astronaut], [found[0]], [points[0]])[0][0]) < 0.5

    def test_no_pictures(self, embedder):
        assert embedder.embed([], [], []) == []


def test_without_insightface_the_extra_is_named(monkeypatch, tmp_path):
    (tmp_path / "det.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "insightface.model_zoo", None)
    with pytest.raises(MachineError, match=r"insightface can't be imported.*fdf\[insightface\]"):
        load_detector("insightface-detector", path=tmp_path / "det.onnx")
