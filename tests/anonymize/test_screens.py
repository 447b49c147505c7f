"""`-o window:` and `-o camera:`: what is shown is what a file would hold."""

from __future__ import annotations

import os
import signal
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("av", reason="films need PyAV: the extra `video`")

import fdf.cli.commands  # noqa: F401 - it fills the app
from fdf.anonymize import screens, video
from fdf.anonymize.base import Face, Result
from fdf.anonymize.container import Slot
from fdf.anonymize.video import VideoOptions, anonymize_video
from fdf.cli.app import app
from fdf.errors import DataError, MachineError, UsageError
from tests.anonymize import clips
from tests.anonymize.test_video import Marked, red, squares


class Wall:
    """A screen that remembers; it is switched off after some pictures."""

    def __init__(self, most: int = 1000) -> None:
        self.pictures: list[np.ndarray] = []
        self.most, self.closed = most, 0

    def show(self, picture: np.ndarray) -> bool:
        assert not self.closed
        self.pictures.append(picture.copy())
        return len(self.pictures) < self.most

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall()
    monkeypatch.setattr(video, "open_screen", lambda *_: made)
    return made


@pytest.fixture
def film(tmp_path: Path) -> Path:
    clips.write([frame[:95] for frame in squares(20)], tmp_path / "a.mkv", codec="ffv1", pixels="bgr0", fps=200)
    return tmp_path / "a.mkv"


def test_a_screen_gets_every_frame_without_its_face(film: Path, wall: Wall) -> None:
    result = anonymize_video(film, "window:", Marked())
    assert (result.frames, len(wall.pictures)) == (20, 20)
    assert not any(red(picture) for picture in wall.pictures)
    assert {picture.shape for picture in wall.pictures} == {(96, 160, 3)}
    assert wall.closed
    assert [path.name for path in film.parent.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize("what", ["detect", "render"])
def test_a_failure_ends_the_show_before_a_bare_frame(film: Path, wall: Wall, what: str) -> None:
    broken, calls = Marked(), []

    def fails(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 8:
            raise RuntimeError("no memory left")
        return getattr(Marked, what)(broken, *arguments)

    setattr(broken, what, fails)
    with pytest.raises(DataError, match="no memory left"):
        anonymize_video(film, "camera:", broken, VideoOptions(every=1, look_ahead=2))
    assert len(wall.pictures) <= 8
    assert not any(red(picture) for picture in wall.pictures)
    assert wall.closed


def test_a_stream_whose_method_fails_goes_black(film: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Marked):
        def render(self, *_: Any) -> Result:
            raise RuntimeError("boom")

    from fdf.anonymize import container

    opened = container._open
    monkeypatch.setattr(container, "_open", lambda name, **_: opened(name, live=False))
    monkeypatch.setattr(video, "is_stream", lambda _: True)
    result = anonymize_video(film, "window:", Broken())
    assert result.blind == 20
    assert max(int(picture.max()) for picture in wall.pictures) == 0


def test_closing_the_window_ends_it_in_good_order(film: Path, wall: Wall) -> None:
    before = set(threading.enumerate())
    wall.most = 5
    result = anonymize_video(film, "window:", Marked())
    assert (result.frames, len(wall.pictures)) == (5, 5)
    assert set(threading.enumerate()) <= before


def test_ctrl_c_ends_a_show_in_good_order(film: Path, wall: Wall) -> None:
    pressed: list[int] = []

    class Pressed(Marked):
        def render(self, picture: np.ndarray, faces: list[Face]) -> Result:
            if len(wall.pictures) == 3 and not pressed:
                pressed.append(1)
                os.kill(os.getpid(), signal.SIGINT)
            return super().render(picture, faces)

    result = anonymize_video(film, "window:", Pressed())
    assert 3 <= result.frames <= 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_film_keeps_its_pace_and_a_stream_its_own() -> None:
    now, waited = [100.0], []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(round(timeout or 0, 6))
            now[0] += timeout or 0
            return False

    def show(live: bool, late: float) -> list[float]:
        waited.clear()
        source: Any = types.SimpleNamespace(live=live, time_base=0.1, audio_streams=[])
        sink = screens.ScreenSink(source, Wall(), Stop(), clock=lambda: now[0])
        for index in range(4):
            sink.write(Slot(index, None, 50 + index), np.zeros((2, 2, 3), np.uint8))
            now[0] += late if index == 1 else 0.04
        return list(waited)

    assert show(False, 0.04) == [0.0, 0.06, 0.06, 0.06]
    assert show(False, 0.5) == [0.0, 0.06, 0.06], "what comes late moves the rest"
    assert show(True, 0.04) == []


def test_a_camera_gets_what_pyvirtualcam_wants(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Device:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            sent.append((arguments, named))

        def send(self, picture: np.ndarray) -> None:
            assert red(picture) == 0
            sent.append(picture.shape)

        def close(self) -> None:
            sent.append("closed")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", types.SimpleNamespace(Camera=Device))
    anonymize_video(film, "camera:/dev/video9", Marked())
    assert sent == [((160, 96, 200.0), {"device": "/dev/video9"}), *[(96, 160, 3)] * 20, "closed"]

    def none(*_: Any, **__: Any) -> None:
        raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback device found.\nmore")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", types.SimpleNamespace(Camera=none))
    with pytest.raises(MachineError, match=r"\(the first one\) can't be opened.*No v4l2 loopback.*modprobe"):
        anonymize_video(film, "camera:", Marked())


def test_what_is_missing_is_said(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MachineError, match=r"pip install 'fdf\[camera\]'"):
        anonymize_video(film, "camera:", Marked())
    with pytest.raises(UsageError, match="A window has no name"):
        anonymize_video(film, "window:me", Marked())
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(MachineError, match="python3-tk"):
        anonymize_video(film, "window:", Marked())


def test_without_a_display_there_is_an_error_and_no_crash(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tkinter = pytest.importorskip("tkinter")
    # As Tk says it where nothing can be connected to, on any system.
    monkeypatch.setattr(tkinter, "Tk", _no_display(tkinter))
    with pytest.raises(MachineError, match="no display to open a window on"):
        anonymize_video(film, "window:", Marked())


def _no_display(tkinter: Any) -> Any:
    def tk(**_: Any) -> None:
        raise tkinter.TclError("no display name and no $DISPLAY environment variable")

    return tk


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="no display: try it under xvfb-run")
def test_a_real_window() -> None:
    window = screens.Window()
    try:
        for shade in (0, 255):
            assert window.show(np.full((2000, 3000, 3), shade, np.uint8)), "shrunk to the screen"
        window._root.event_generate("<Escape>")
        window._root.update()
        assert not window.show(np.zeros((20, 30, 3), np.uint8))
    finally:
        window.close()
    window.close()


def test_the_command_refuses_what_a_screen_can_not_show(film: Path, tmp_path: Path) -> None:
    def error(*words: object) -> str:
        return str(CliRunner().invoke(app, ["anonymize", *map(str, words)]).exception)

    assert "shows one film or stream" in error(tmp_path, "-o", "window:")
    assert "shows one film or stream" in error(tmp_path / "a.png", "-o", "camera:")
    assert "not at streams" in error("rtsp://127.0.0.1/1", "-o", tmp_path / "b.mp4", "--dry-run")
    assert "Can't open the stream" in error("rtsp://127.0.0.1:9/1", "-o", tmp_path / "b.mp4")
