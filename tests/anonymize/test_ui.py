"""`fdf ui`: the desk without its page, and the page as a browser talks to it."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from typer.testing import CliRunner

import fdf.cli.commands  # noqa: F401 - registers them
from fdf.anonymize.codecs import read
from fdf.anonymize.desk import SHOWN, Choices, Desk, Sheet, nearest
from fdf.anonymize.dissimilarity import Judge
from fdf.anonymize.guard import Guard
from fdf.anonymize.methods import GREY
from fdf.cli.app import app
from fdf.errors import DataError, FdfError, MachineError, UsageError
from tests.anonymize.people import Colours
from tests.anonymize.pictures import ASTRONAUT, Fixed, encoded, face, loaded_jpeg, noise
from tests.anonymize.test_gan import write_blurrer
from tests.conftest import ROOT, free_port

GRADIO = importlib.util.find_spec("gradio") is not None
needs_gradio = pytest.mark.skipif(not GRADIO, reason="the page needs gradio: the extra `ui`")


class Finders:
    """Says always the same, and remembers how closely it was asked to look."""

    def __init__(self) -> None:
        self.finder, self.asked = Fixed(face(20, 15, 40, 40), face(50, 20, 70, 44)), list[str]()

    def __call__(self, thoroughness: str) -> Fixed:
        self.asked.append(thoroughness)
        return self.finder


@pytest.fixture
def finders() -> Finders:
    return Finders()


@pytest.fixture
def desk(tmp_path: Path, finders: Finders) -> Desk:
    return Desk(tmp_path / "desk", finder=finders)


def dropped(folder: Path, data: bytes, name: str = "Jane at the clinic.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture
def sheet(desk: Desk, tmp_path: Path) -> Sheet:
    return desk.open(dropped(tmp_path, encoded(noise(), "PNG")))


def made(desk: Desk, sheet: Sheet, choices: Choices | None = None) -> tuple[Any, Path, str]:
    path, words = desk.make(sheet, choices or Choices())
    return read(path.read_bytes()).stills[0].rgb, path, words


def test_what_is_dropped_is_looked_at_and_gone_from_the_disk(desk: Desk, tmp_path: Path, finders: Finders) -> None:
    path = dropped(tmp_path, encoded(noise(), "PNG"))
    sheet = desk.open(path, Choices(thoroughness="thorough"))
    assert not path.exists()
    assert (len(sheet.faces), finders.asked) == (2, ["thorough"])
    assert desk.words(sheet) == "Jane at the clinic.png: 80 × 60. 2 faces found."
    finders.finder.faces = []
    empty = desk.look(sheet, Choices())
    assert "0 faces found. Look at it: is there really nobody?" in desk.words(empty)


@pytest.mark.parametrize(
    ("name", "data"), [("a.png", b"no picture"), ("a.txt", b"text"), ("a.jpg", b"\xff\xd8\xff\xe0")]
)
def test_what_is_no_picture_is_refused_and_gone(desk: Desk, tmp_path: Path, name: str, data: bytes) -> None:
    path = dropped(tmp_path, data, name)
    with pytest.raises(FdfError):
        desk.open(path)
    assert not path.exists()
    with pytest.raises(DataError, match="can't be read"):
        desk.open(path)


def test_a_click_keeps_a_face_and_another_one_hides_it(desk: Desk, sheet: Sheet) -> None:
    kept = desk.click(sheet, 30, 30)
    assert (kept.kept, sheet.kept) == ({0}, set())
    assert desk.words(kept).endswith("2 faces found, 1 kept.")
    assert desk.click(kept, 30, 30).kept == set()
    assert desk.click(sheet, 79, 0).kept == set()  # nowhere near
    picture, _, words = made(desk, kept)
    assert np.array_equal(picture[15:40, 20:40], noise()[15:40, 20:40])
    assert (picture[20:44, 50:70] == GREY).all()
    assert words.startswith("1 face hidden.")


def test_the_face_that_is_meant_is_the_smallest_under_the_click() -> None:
    large, small, far = face(0, 0, 100, 100), face(40, 40, 60, 60), face(150, 0, 170, 20)
    assert nearest((large, small, far), 50, 50) == 1
    assert nearest((large, small, far), 90, 90) == 0
    assert nearest((large, small, far), 145, 10) == 2
    assert nearest((far,), 400, 400) is None
    assert nearest((), 1, 1) is None


def test_two_corners_add_a_face(desk: Desk, sheet: Sheet) -> None:
    half = desk.click(sheet, 78, 58, "add")
    assert "click on the opposite corner" in desk.words(half)
    assert not np.array_equal(desk.shown(half), desk.shown(sheet))
    whole = desk.click(half, 60, 46, "add")
    assert (len(whole.faces), whole.faces[-1].origin, whole.corner) == (3, "user", None)
    assert whole.faces[-1].box.tolist() == [60, 46, 78, 58]
    assert len(desk.click(half, 77, 57, "add").faces) == 2  # a double click
    assert (made(desk, whole)[0][46:58, 60:78] == GREY).all()
    again = desk.look(desk.click(whole, 30, 30), Choices(thoroughness="fast"))
    assert (len(again.faces), again.kept) == (3, set())


def test_what_is_shown_of_a_large_picture_is_small_and_clicks_fit(desk: Desk, tmp_path: Path, finders: Finders) -> None:
    finders.finder.faces = [face(2000, 1000, 2400, 1500)]
    sheet = desk.open(dropped(tmp_path, encoded(np.zeros((1600, 2800, 3), np.uint8), "PNG")))
    assert desk.shown(sheet).shape == (800, SHOWN, 3)
    assert desk.click(sheet, 1100, 600).kept == {0}
    assert desk.preview(sheet, Choices())[0].shape == (800, SHOWN, 3)


def test_the_preview_is_what_is_written(desk: Desk, sheet: Sheet, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "gan", finder=Finders(), model=write_blurrer(tmp_path / "g.onnx"))
    sheet = desk.open(dropped(tmp_path, encoded(noise(200, 240), "PNG")))
    for choices in (Choices("gan"), Choices("blur", "head"), Choices("pixelate", strength=1.5)):
        picture, path, _ = made(desk, sheet, choices)
        assert np.array_equal(desk.preview(sheet, choices)[0], picture)
        assert path.name == "anonymized.png"  # its own name might tell who it is
    assert sheet.salt != desk.open(dropped(tmp_path, encoded(noise(), "PNG"))).salt


def test_gan_is_there_where_a_generator_is(desk: Desk, sheet: Sheet, tmp_path: Path, monkeypatch: Any) -> None:
    import fdf.anonymize.gan

    monkeypatch.setattr(fdf.anonymize.gan, "models", lambda: ())
    bare = Desk(tmp_path / "bare", finder=Finders())
    assert "gan" not in bare.methods
    with pytest.raises(UsageError, match="Start the page with --model"):
        bare.preview(sheet, Choices("gan"))
    assert "gan" in Desk(tmp_path / "gan", finder=Finders(), model=write_blurrer(tmp_path / "g.onnx")).methods


def test_a_drawn_face_that_is_too_much_like_its_source_is_not_written(tmp_path: Path) -> None:
    guard = Guard(lambda: (Judge(Colours(), 9.0, {}),), tries=3)  # nothing is that far away
    desk = Desk(tmp_path / "gan", finder=Finders(), model=write_blurrer(tmp_path / "g.onnx"), guard=guard)
    sheet = desk.open(dropped(tmp_path, encoded(noise(200, 240), "PNG")))
    picture, words = desk.preview(sheet, Choices("gan"))
    assert np.array_equal(picture, desk.preview(sheet, Choices("solid"))[0])
    assert "gan could not do a face: 3 faces drawn, all too much like its source; solid did" in words
    _, _, told = made(desk, sheet, Choices("gan"))
    assert "fell back: " in told
    assert "3 faces drawn" in told


def test_metadata_go_and_weak_settings_are_told(desk: Desk, tmp_path: Path) -> None:
    sheet = desk.open(dropped(tmp_path, loaded_jpeg(noise()), "a.jpg"))
    _, path, words = made(desk, sheet, Choices("pixelate", strength=0.25))
    assert b"Secret" not in path.read_bytes()
    assert "EXIF: GPS" in words
    assert "pixelate at strength 0.25 leaves much of a face" in words
    assert "leaves much of a face" in desk.preview(sheet, Choices("pixelate", strength=0.25))[1]


def test_of_an_animation_all_faces_are_hidden(desk: Desk, tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    sheet = desk.open(
        dropped(tmp_path, encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50))
    )
    assert (sheet.frames, desk.click(sheet, 30, 30)) == (3, sheet)
    assert "all faces of all frames will be hidden" in desk.words(sheet)
    stills = read(desk.make(sheet, Choices())[0].read_bytes()).stills
    assert all((still.rgb[20:40, 22:38] == GREY).all() for still in stills)


def middle(frame: Any, box: Any) -> Any:
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    return frame[y - 3 : y + 3, x - 3 : x + 3]


def test_a_film(desk: Desk, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="films need PyAV: the extra `video`")
    from tests.anonymize.clips import write

    frames = [np.full((96, 128, 3), 200, np.uint8)] * 8
    write(frames, tmp_path / "clip.mp4")
    sheet = desk.open(tmp_path / "clip.mp4", Choices())
    assert not (tmp_path / "clip.mp4").exists()
    assert "a film of 128 × 96. 2 faces found in its first frame" in desk.words(sheet)
    assert desk.click(sheet, 30, 30, "add") is sheet, "every frame is looked at"
    heard: list[int] = []
    path, words = desk.make(sheet, Choices(thoroughness="fast"), lambda at, _: heard.append(at))
    assert path.name == "anonymized.mp4"
    assert heard[-1] == 8
    assert words.startswith("2 tracks, 16 faces hidden in 8 frames")
    one = desk.click(sheet, 30, 30)
    assert "2 faces found in its first frame, 1 kept" in desk.words(one)
    other, words = desk.make(one, Choices(thoroughness="fast"))
    assert "8 faces hidden in 8 frames. kept to the end" in words
    import av

    with av.open(str(other)) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    kept, hidden = (sheet.faces[number].box.astype(int) for number in (min(one.kept), 1 - min(one.kept)))
    for frame in shown:
        assert np.abs(middle(frame, kept).astype(int) - 200).max() < 6
        assert np.abs(middle(frame, hidden).astype(int) - GREY).max() < 6
    other.unlink()
    assert sheet.film is not None
    desk.close(sheet)
    assert not sheet.film.parent.exists()
    broken = dropped(tmp_path, b"no film", "b.mp4")
    with pytest.raises(FdfError):
        desk.open(broken)
    assert not broken.exists()
    assert [p for p in (tmp_path / "desk").rglob("*") if p.is_file()] == [path]


def test_without_gradio_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(app, ["ui"])
    assert isinstance(result.exception, UsageError)
    assert 'pip install "fdf[ui]"' in str(result.exception)


def test_a_port_that_is_taken_is_told() -> None:
    import socket

    from fdf.anonymize.page import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MachineError, match=r"can't be had.*--port"):
            serve(port=taken.getsockname()[1], browser=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page in a process of its own: its address and the folder of its temporary files."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    temporary = folder / "tmp"
    temporary.mkdir()
    said = (folder / "said.txt").open("w")
    command = [sys.executable, "-m", "fdf", "ui", "--port", str(port), "--no-browser", "--max-size", "2"]
    environment = {**os.environ, "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (folder / "said.txt").read_text()
            try:
                requests.get(url, timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.5)
        yield url, temporary
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "said.txt").read_text()
        assert list(temporary.iterdir()) == []  # nothing stays, no session file of any library either
        assert f"{url} (Ctrl-C ends it)" in (folder / "said.txt").read_text()
        assert (folder / "said.txt").read_text().endswith("everything temporary is deleted\n")
    finally:
        if process.poll() is None:
            process.kill()
        said.close()


def asked(url: str, name: str, *words: Any) -> list[Any]:
    """Call a function of the page as a browser of one session does."""
    body = {"data": [None if word is Ellipsis else word for word in words], "session_hash": "test"}
    began = requests.post(f"{url}/gradio_api/call/{name}", json=body, timeout=30)
    began.raise_for_status()
    stream = requests.get(f"{url}/gradio_api/call/{name}/{began.json()['event_id']}", timeout=120).text
    found = re.findall(r"event: (\w+)\ndata: (.*)", stream)
    assert found[-1][0] == "complete", stream
    return json.loads(found[-1][1])  # type: ignore[no-any-return]


def uploaded(url: str, name: str, data: bytes) -> requests.Response:
    return requests.post(f"{url}/gradio_api/upload", files={"files": (name, data)}, timeout=30)


CHOICES = ["solid", "face", 1, "normal", "keep"]


@needs_gradio
def test_a_picture_goes_in_and_comes_back_without_its_face(served: tuple[str, Path]) -> None:
    url, temporary = served
    data = encoded(Image.open(ASTRONAUT).convert("RGB"), "JPEG", quality=95, comment=b"SecretComment")
    path = uploaded(url, "jane.jpg", data).json()[0]
    assert Path(path).is_relative_to(temporary)
    shown = asked(url, "open", {"path": path, "meta": {"_type": "gradio.FileData"}}, *CHOICES)
    assert not Path(path).exists()  # read, and deleted
    assert any("1 face found" in str(word) for word in shown)
    back = asked(url, "make", *CHOICES)
    file = next(word for word in back if isinstance(word, dict) and str(word.get("path")).endswith(".jpg"))
    answer = requests.get(f"{url}/gradio_api/file={file['path']}", timeout=30)
    answer.raise_for_status()
    assert b"Secret" not in answer.content
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert picture.shape == (512, 512, 3)
    assert np.abs(picture[90:150, 200:240].astype(int) - GREY[0]).max() < 8
    assert any("1 face hidden" in str(word) for word in back)


@needs_gradio
def test_a_film_goes_in_and_comes_back(served: tuple[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("av", reason="films need PyAV: the extra `video`")
    from tests.anonymize.clips import write

    write([np.full((96, 128, 3), 200, np.uint8)] * 12, tmp_path / "clip.mp4")
    url, _ = served
    path = uploaded(url, "clip.mp4", (tmp_path / "clip.mp4").read_bytes()).json()[0]
    shown = asked(url, "open", {"path": path, "meta": {"_type": "gradio.FileData"}}, *CHOICES)
    assert any("a film of 128 × 96" in str(word) for word in shown)
    back = asked(url, "make", *CHOICES)
    assert any("0 faces hidden in 12 frames" in str(word) for word in back)
    assert any(isinstance(word, dict) and str(word.get("path")).endswith("anonymized.mp4") for word in back)
    with pytest.raises(AssertionError, match="event: error"):
        asked(url, "make", "no such method", *CHOICES[1:])


@needs_gradio
def test_the_page_keeps_to_itself(served: tuple[str, Path]) -> None:
    url, _ = served
    page = requests.get(url, timeout=10)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    config = requests.get(f"{url}/config", timeout=10).json()
    assert config["analytics_enabled"] is False
    assert not config.get("run_history")
    assert not re.search(r"fonts\.g(oogleapis|static)", page.text)
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=10).status_code == 400
    assert requests.get(f"{url}/gradio_api/file=/etc/passwd", timeout=10).status_code in {403, 404}


@needs_gradio
def test_uploads_are_limited(served: tuple[str, Path]) -> None:
    assert uploaded(served[0], "a.png", bytes(3_000_000)).status_code == 413
