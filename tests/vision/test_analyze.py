import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdf.schema import FACES
from fdf.vision.analyze import Analyzer, Face, face_id
from fdf.vision.base import Detections, Keypoints, make_detections, nms
from fdf.vision.centerface import CenterFaceConfig, _spans
from fdf.vision.picture import decode
from fdf.vision.pose import pose_from_five, pose_from_mesh
from fdf.vision.quality import measure
from fdf.vision.warp import Square, sample
from fdf.vision.zoo import load_detector, load_embedder, load_keypointer

DATA = Path(__file__).parent.parent / "data"
RENDERS = json.loads((DATA / "renders.json").read_text())


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(load_detector(), load_keypointer(), load_embedder())


@pytest.fixture(scope="module")
def faces(analyzer, astronaut):
    pictures = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), np.full((64, 99, 3), 200, np.uint8)]
    pictures += [decode((DATA / row["file"]).read_bytes()).pixels for row in RENDERS]
    return analyzer.analyze(pictures)


def test_a_face_has_every_measure_of_the_table(faces):
    columns = set(FACES.names) - {"face_id", "photo_id", "detector", "keypointer", "embedder"}
    assert columns == set(Face.__dataclass_fields__)
    assert [len(found) for found in faces] == [1, 1, 0, 1, 1]
    face = faces[0][0]
    assert face.score > 0.8
    assert max(abs(face.yaw), abs(face.pitch), abs(face.roll)) < 6
    assert face.sharpness > 300
    assert 130 < face.brightness < 180
    assert 20 < face.contrast < 80
    assert 30 < face.skin_ita < 75
    assert face.occlusion < 0.01
    assert face.embedding.shape == (128,)


def test_a_mirrored_face_turns_the_other_way(faces):
    there, back = faces[0][0], faces[1][0]
    assert back.yaw == pytest.approx(-there.yaw, abs=2.5)
    assert back.roll == pytest.approx(-there.roll, abs=2)
    assert back.pitch == pytest.approx(there.pitch, abs=2.5)
    assert back.skin_ita == pytest.approx(there.skin_ita, abs=5)


@pytest.mark.parametrize("k", range(len(RENDERS)))
def test_renders_with_known_truth(faces, k):
    truth, face = RENDERS[k], faces[3 + k][0]
    assert face.yaw == pytest.approx(truth["yaw"], abs=7)
    assert face.pitch == pytest.approx(truth["pitch"], abs=10)
    assert face.roll == pytest.approx(-truth["roll_counterclockwise"], abs=7)
    height = truth["box"][3] - truth["box"][1]
    off = np.linalg.norm(face.keypoints[:, :2] - np.array(truth["keypoints"]), axis=1) / height
    assert off[1:3].max() < 0.05
    assert off[0] < 0.10  # this truth's nose lies 4 % above the tip
    assert off[4 if truth["yaw"] > 0 else 3] < 0.15  # the ear that is seen


def test_every_model_is_named_once(analyzer):
    assert [row.id for row in analyzer.models] == ["centerface", "movenet-thunder", "facemesh468", "dlib-resnet128"]


def test_other_detectors_give_every_measure_too(astronaut):
    (found,) = Analyzer(load_detector("dlib-hog"), load_keypointer()).analyze([astronaut])
    assert found[0].landmarks5.shape == (5, 2)
    assert abs(found[0].yaw) < 6
    assert found[0].embedding is None


@given(st.floats(-89, 89), st.floats(-80, 80), st.floats(-170, 170))
def test_pose_of_a_turned_template_is_the_turn(yaw, pitch, roll):
    from fdf.vision.pose import _template

    a, b, c = np.radians([-yaw, -pitch, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    indices, template = _template()
    mesh = np.zeros((468, 3))
    mesh[indices] = 40 * template @ (rz @ ry @ rx).T + [300, 200, 0]
    pose = pose_from_mesh(mesh)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((yaw, pitch, roll), abs=1e-6)


def test_coarse_pose_has_the_same_signs():
    five = np.array([[40, 50], [80, 50], [60, 75], [45, 95], [75, 95]], float)
    flat = pose_from_five(five)
    assert abs(flat.yaw) < 1
    assert abs(flat.pitch) < 3
    assert flat.roll == 0
    assert pose_from_five(five + np.array([[0, 0], [0, 0], [8, 0], [0, 0], [0, 0]])).yaw > 15
    assert pose_from_five(five + np.array([[0, 0], [0, 0], [0, -6], [0, 0], [0, 0]])).pitch > 10
    assert pose_from_five(five + np.array([[0, 0], [0, 9], [0, 4], [0, 0], [0, 0]])).roll > 10
    assert pose_from_five(np.zeros((5, 2))).yaw == 0


@given(
    box=st.tuples(*[st.floats(0, 900)] * 2, *[st.floats(8, 400)] * 2),
    noise=st.tuples(*[st.floats(-1e-4, 1e-4)] * 4),
)
def test_face_ids_are_stable_and_differ_between_photos(box, noise):
    x, y, w, h = (round(v / 4) * 4 + 1 for v in box)  # the middle of a cell, half of one for the centre
    one = face_id("a" * 64, (x, y, x + w, y + h))
    assert one == face_id("a" * 64, np.array([x, y, x + w, y + h]) + noise)
    assert one != face_id("b" * 64, (x, y, x + w, y + h))
    assert one != face_id("a" * 64, (x + 8, y, x + 8 + w, y + h))
    assert len(one) == 20
    assert int(one, 16) >= 0


def test_quality_of_flat_and_noisy_faces():
    grey = np.full((100, 100, 3), 128, np.uint8)
    box = np.array([10, 10, 90, 90], np.float32)
    flat = measure(grey, box, None, None, None)
    assert (flat.sharpness, flat.brightness, flat.contrast) == (0, 128, 0)
    assert flat.skin_ita is None
    assert flat.occlusion is None
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    assert measure(noise, box, None, None, 0.25).sharpness > 1000
    assert measure(noise, box, None, None, 0.25).occlusion == 0.75
    away = np.full((5, 2), -50, np.float32)
    assert measure(grey, box, away, None, None).skin_ita is None
    tiny = measure(grey, np.array([99, 99, 100, 100], np.float32), None, None, None)
    assert tiny.brightness == 128


def test_darker_skin_has_a_lower_angle():
    five = np.array([[40, 40], [70, 40], [55, 60], [43, 75], [67, 75]], np.float32)
    box = np.array([30, 20, 80, 90], np.float32)
    angles = []
    for colour in ((245, 215, 195), (200, 150, 120), (120, 80, 60), (60, 40, 30)):
        picture = np.full((120, 120, 3), colour, np.uint8)
        angles.append(measure(picture, box, five, None, None).skin_ita)
    assert angles == sorted(angles, reverse=True)
    assert angles[0] > 41
    assert -90 < angles[2] < 10


@given(st.floats(-50, 150), st.floats(-50, 150), st.floats(1, 400), st.floats(-4, 4), st.sampled_from([8, 64]))
def test_samples_map_back_to_where_they_came_from(x, y, side, angle, size):
    square = Square(x, y, side, angle)
    back = square.to_picture(np.array([[size / 2, size / 2], [0, size / 2], [size, size / 2]]), size)
    assert back[0] == pytest.approx([x, y], abs=1e-6)
    assert np.linalg.norm(back[1] - back[2]) == pytest.approx(side)
    picture = np.full((60, 80, 3), 7, np.uint8)
    out = sample(picture, square, size)
    assert out.shape == (size, size, 3)
    assert out.max() <= 7


@given(st.floats(3, 30))
def test_samples_that_shrink_keep_positions(side_factor):
    ramp = np.broadcast_to(np.arange(240, dtype=np.uint8)[None, :, None], (240, 240, 3)).copy()
    side = min(16 * side_factor / 2, 200.0)
    out = sample(ramp, Square(120, 120, side), 16).astype(float)
    want = 120 - side / 2 + (np.arange(16) + 0.5) * side / 16 - 0.5
    assert np.abs(out[8, 1:-1, 0] - want[1:-1]).max() < 1.5


def test_detections_refuse_what_does_not_fit():
    box, score = np.array([[1, 1, 9, 9]], np.float32), np.array([0.5], np.float32)
    for boxes, scores, five, words in (
        (box.astype(float), score, None, "float32"),
        (box, score[:0], None, "scores"),
        (box[:, [2, 1, 0, 3]], score, None, "x1 > x0"),
        (box * np.nan, score, None, "finite"),
        (box, score + 1, None, "0–1"),
        (np.repeat(box, 2, 0), np.array([0.1, 0.9], np.float32), None, "fall"),
        (box, score, np.zeros((1, 4, 2), np.float32), "landmarks5"),
    ):
        with pytest.raises(ValueError, match=words):
            Detections(boxes, scores, five)
    with pytest.raises(ValueError, match="confidences"):
        Keypoints(np.full((1, 7, 3), 2, np.float32))
    with pytest.raises(ValueError, match="mesh"):
        Keypoints(np.zeros((1, 7, 3), np.float32), mesh=np.zeros((1, 400, 3), np.float32))
    with pytest.raises(ValueError, match="min_side"):
        CenterFaceConfig(min_side=2000)


boxes_of = st.lists(st.tuples(*[st.floats(-50, 150)] * 2, *[st.floats(0, 90)] * 2, st.floats(0, 1)), max_size=12)


@given(boxes_of, st.integers(0, 5))
def test_detections_are_clipped_sorted_and_independent_of_order(rows, seed):
    table = np.array(rows, float).reshape(-1, 5)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    shuffled = np.random.default_rng(seed).permutation(len(table))
    one = make_detections(boxes, table[:, 4], None, 100, 80)
    two = make_detections(boxes[shuffled], table[shuffled, 4], None, 100, 80)
    assert np.array_equal(one.boxes, two.boxes)
    assert np.array_equal(one.scores, two.scores)
    assert (one.boxes[:, 2:] <= [100, 80]).all()
    keep = nms(boxes, table[:, 4], 0.5)
    assert len(set(keep.tolist())) == len(keep)
    assert (np.diff(table[keep, 4]) <= 0).all()


@given(st.integers(1, 9000), st.integers(64, 2000))
def test_tiles_cover_the_picture_and_overlap(length, tile):
    spans = _spans(length, tile)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end - start >= min(tile, length) // 5
