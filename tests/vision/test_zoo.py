import dataclasses
import hashlib
import http.server
import pickle
import subprocess
import sys
import threading

import pytest

import fdf
from fdf.errors import MachineError, ModelError, UsageError
from fdf.vision import sessions, zoo
from fdf.vision.zoo import Model, load_detector, load_model, local_model, model, models, path_of, read_zoo

WEIGHTS = b"not really weights" * 100


def row(tmp_path, **changes):
    path = tmp_path / "weights.onnx"
    path.write_bytes(WEIGHTS)
    base = Model(
        id="mine", task="detector", file="weights.onnx", sha256=hashlib.sha256(WEIGHTS).hexdigest(), size=len(WEIGHTS),
        where="local", code_license="MIT", weight_license="MIT", origin="a test", training_data="none", path=str(path),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_every_bundled_model_is_there_and_is_the_right_one():
    bundled = [row for row in models() if row.where == "bundled"]
    assert len(bundled) == 6
    for one in bundled:
        assert path_of(one).stat().st_size == one.size
        assert not one.needs_acceptance


def test_every_file_is_in_the_zoo_and_in_the_notice():
    folder = path_of(model("centerface")).parent
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"NOTICE"}
    assert files == {row.file for row in models() if row.where == "bundled"}
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in files)
    assert not [word for word in ("iris", "lightning", "blazeface_full") if word in notice]


def test_unknown_ids_are_answered_with_a_guess():
    with pytest.raises(UsageError, match="id you mean centerface"):
        model("centreface")
    with pytest.raises(UsageError, match="id you mean centerface"):
        fdf.load_model("center-face")
    with pytest.raises(UsageError, match="is not a detector"):
        load_detector("dlib-resnet128")
    with pytest.raises(UsageError, match="needs your own model"):
        load_model("insightface-detector")
    with pytest.raises(UsageError, match="takes no path"):
        load_model("centerface", path="x.onnx")


def test_a_wrong_hash_is_refused(tmp_path):
    good = row(tmp_path)
    assert path_of(good).read_bytes() == WEIGHTS
    wrong = dataclasses.replace(good, sha256="0" * 64)
    with pytest.raises(ModelError) as caught:
        path_of(wrong)
    said = str(caught.value)
    assert "0" * 64 in said
    assert good.sha256 in said
    assert caught.value.action


def test_weights_changed_after_the_first_check_are_refused(tmp_path):
    good = row(tmp_path)
    path_of(good)
    (tmp_path / "weights.onnx").write_bytes(WEIGHTS + b"!")
    with pytest.raises(ModelError, match="not the ones"):
        path_of(good)
    (tmp_path / "weights.onnx").unlink()
    with pytest.raises(ModelError, match="can't be read"):
        path_of(good)


def test_a_replaced_bundled_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "centerface.onnx").write_bytes(WEIGHTS)
    monkeypatch.setattr(zoo, "_BUNDLED", tmp_path)
    with pytest.raises(ModelError, match="Reinstall fdf"):
        load_model("centerface")


def test_licences_must_be_accepted(tmp_path, monkeypatch):
    strict = row(tmp_path, needs_acceptance=True, weight_license="LicenseRef-Research-only")
    monkeypatch.delenv("FDF_ACCEPT_LICENSES", raising=False)
    with pytest.raises(ModelError, match="FDF_ACCEPT_LICENSES=LicenseRef-Research-only"):
        path_of(strict)
    assert path_of(strict, accept=["LicenseRef-Research-only"])
    monkeypatch.setenv("FDF_ACCEPT_LICENSES", "MIT, LicenseRef-Research-only")
    assert path_of(strict)


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/good": WEIGHTS, "/wrong": b"<html>"}.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("FDF_CACHE", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_fetching_checks_and_keeps(server, tmp_path):
    path = path_of(row(tmp_path, where="fetched", url=f"{server}/good"))
    assert path.read_bytes() == WEIGHTS
    assert path_of(row(tmp_path, where="fetched", url="http://127.0.0.1:9/closed")) == path


@pytest.mark.parametrize(
    ("page", "words"), [("/wrong", "not the file the registry names"), ("/gone", "could not be fetched")]
)
def test_failed_fetches_say_so_and_leave_nothing(server, tmp_path, page, words):
    with pytest.raises(ModelError, match=words):
        path_of(row(tmp_path, where="fetched", url=server + page))
    assert not list((tmp_path / "cache" / "models").glob("*weights.onnx"))


def test_no_network_is_said_in_a_paragraph(tmp_path, monkeypatch):
    monkeypatch.setenv("FDF_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="Check the network"):
        path_of(row(tmp_path, where="fetched", url="http://127.0.0.1:9/closed"))


def test_local_models_carry_hash_and_licence(tmp_path):
    path = path_of(row(tmp_path))
    mine = local_model(path, model_id="a", task="embedder", code_license="MIT", weight_license="LicenseRef-X")
    assert (mine.sha256, mine.size, mine.where) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS), "local")
    with pytest.raises(ModelError, match="no weights at"):
        local_model(tmp_path / "nothing", model_id="a", task="t", code_license="MIT", weight_license="MIT")


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(ModelError, match="can't load weights"):
        sessions.session(path_of(row(tmp_path)))
    with pytest.raises(ModelError, match="InsightFace"):
        load_model("insightface-detector", path=tmp_path)
    with pytest.raises(ModelError, match="no InsightFace model"):
        load_model("insightface-embedder", path=tmp_path / "nothing")
    with pytest.raises(ModelError, match="shape predictor"):
        load_model("dlib-hog", path=tmp_path / "weights.onnx")


def test_a_missing_gpu_is_said():
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has one")
    with pytest.raises(MachineError, match="GPU"):
        load_model("centerface", cuda=True)


@pytest.mark.parametrize(
    "text", ["[[model]]\nid = 3\n", "model = 'x'", "[[model", "[[model]]\nid='a'\nsize=1\ncolour='red'\n"]
)
def test_a_broken_registry_is_said(tmp_path, text):
    (tmp_path / "zoo.toml").write_text(text)
    with pytest.raises(ModelError, match="can't be read"):
        read_zoo(tmp_path / "zoo.toml")


def test_models_survive_pickling():
    assert pickle.loads(pickle.dumps(models())) == models()  # noqa: S301


def test_importing_the_adapters_is_light():
    code = (
        "import sys, fdf.vision.zoo, fdf.vision.centerface, fdf.vision.blazeface, fdf.vision.keypoints, fdf.vision.analyze\n"
        "import fdf.vision.dlib_models, fdf.vision.insightface_pack, fdf.vision.crop, fdf.vision.picture\n"
        "print(sorted({'cv2', 'onnxruntime', 'dlib', 'insightface', 'pooch', 'torch', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sessions_are_shared_and_threads_do_not_change_results(astronaut):
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    one, two = load_detector(), load_detector(threads=2)
    assert load_detector()._network is one._network
    want = one.detect([astronaut])[0].boxes
    assert two.detect([astronaut])[0].boxes == pytest.approx(want, abs=1e-2)
    with ThreadPoolExecutor(4) as pool:
        for faces in pool.map(lambda _: one.detect([astronaut])[0], range(8)):
            assert np.array_equal(faces.boxes, want)
