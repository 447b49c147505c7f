"""Each network gives the numbers that were recorded when its weights were converted."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from fdf.vision.centerface import CenterFace, CenterFaceConfig
from fdf.vision.dlib_models import DlibEmbedder, chip_square
from fdf.vision.sessions import run_rows, session
from fdf.vision.warp import sample
from fdf.vision.zoo import model, path_of

DATA = Path(__file__).parent.parent / "data"

GOLDEN = json.loads((DATA / "model_golden.json").read_text())
INPUTS = {
    "centerface": ("centerface", lambda im: im.astype("float32").transpose(2, 0, 1)[None]),
    "blazeface_back": ("blazeface-back", lambda im: im[None, ::2, ::2].astype("float32") / np.float32(127.5) - 1),
    "facemesh468": ("facemesh468", lambda im: im[None, 24:216, 128:320].astype("float32") / np.float32(255)),
    "movenet_thunder": ("movenet-thunder", lambda im: im[None, ::2, ::2].astype("float32")),
}


@pytest.mark.parametrize("name", INPUTS)
def test_outputs_are_the_recorded_ones(name, astronaut):
    assert hashlib.sha256(astronaut.tobytes()).hexdigest() == GOLDEN["pixels_sha256"]
    model_id, prepare = INPUTS[name]
    network = session(path_of(model(model_id)))
    outputs = run_rows(network, np.ascontiguousarray(prepare(astronaut)))
    for (key, want), got in zip(GOLDEN["models"][name]["outputs"].items(), outputs, strict=True):
        near = 1e-2 if "logit" in key or "regress" in key else 2e-3
        assert list(got.shape) == want["shape"], key
        assert int(got.argmax()) == want["argmax_flat"], key
        assert got.ravel()[:8] == pytest.approx(want["first8"], abs=near), key
        assert [got.mean(), got.std(), got.max()] == pytest.approx([want["mean"], want["std"], want["max"]], abs=near)


def test_a_row_does_not_depend_on_its_batch(astronaut):
    network = session(path_of(model("facemesh468")))
    rows = np.stack([astronaut[24:216, 128 + k : 320 + k] for k in range(3)]).astype(np.float32) / np.float32(255)
    together = run_rows(network, rows)
    for k in range(3):
        for alone, both in zip(run_rows(network, rows[k : k + 1]), together, strict=True):
            assert np.array_equal(alone[0], both[k])


def test_centerface_decodes_as_recorded(astronaut):
    want = GOLDEN["models"]["centerface"]["decoded"]
    (found,) = CenterFace(CenterFaceConfig(min_side=512, max_side=512, second_pass=False)).detect([astronaut])
    assert found.boxes == pytest.approx(np.array(want["boxes"]), abs=0.01)
    assert found.scores == pytest.approx(np.array(want["scores"]), abs=2e-3)
    assert found.landmarks5 == pytest.approx(np.array(want["points"]), abs=0.01)


def test_dlib_chip_is_where_dlib_cuts_it(astronaut):
    import dlib

    five = np.array([(255, 104), (238, 104), (194, 101), (211, 102), (224, 131)], dtype=float)
    shape = dlib.full_object_detection(dlib.rectangle(180, 60, 270, 178), [dlib.point(int(x), int(y)) for x, y in five])
    theirs = dlib.get_face_chip(astronaut, shape, size=150, padding=0.25).astype(float)
    ours = sample(astronaut, chip_square(five + 0.5), 150).astype(float)
    assert np.abs(theirs - ours).mean() < 4
    network = DlibEmbedder()._network
    vectors = [np.array(network.compute_face_descriptor(chip.astype(np.uint8))) for chip in (theirs, ours)]
    assert np.linalg.norm(vectors[0] - vectors[1]) < 0.12
