"""Anonymized frames as they come: `-o window:` and `-o camera:[NAME]`.

A window is tkinter's, which comes with Python. A camera is one that other programs take for a webcam (pyvirtualcam with
v4l2loopback on Linux, OBS on macOS and Windows). Sound is not played. Both get what a file would get and nothing before it:
when hiding fails, the last frame without faces is the last one that was shown.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from fdf.anonymize.container import Slot, Source
from fdf.anonymize.film_sink import even
from fdf.errors import MachineError, UsageError
from fdf.vision.base import Pixels

WINDOW: Final = "window:"
CAMERA: Final = "camera:"


class Screen(Protocol):
    """Shows pictures."""

    def show(self, picture: Pixels) -> bool:
        """Show upright RGB; False if nobody wants to see more."""

    def close(self) -> None:
        """Show nothing any more; may be called twice."""


class ScreenSink:
    """A sink that shows frames at the pace of the film.

    Args:
        source: what is shown; a stream sets its own pace.
        screen: closed with the sink.
        stop: set when nobody wants to see more; it ends the wait for a frame's time, too.
        clock: seconds.
    """

    def __init__(
        self, source: Source, screen: Screen, stop: threading.Event, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._screen, self._stop, self._clock = source, screen, stop, clock
        self._begun: float | None = None
        self.frames = 0
        self.lost = 0

    @property
    def sounds(self) -> str:
        """What became of the sound, in words."""
        return "not played" if self._source.audio_streams else "none in the source"

    def write(self, slot: Slot, picture: Pixels | None) -> None:
        """Show one frame when its time has come."""
        slot.audio = []
        if self._stop.is_set():
            return
        picture = even(self._source.upright(slot.frame) if picture is None else picture)
        self._wait(float(slot.pts * self._source.time_base))
        if not self._screen.show(picture):
            self._stop.set()
        self.frames += 1

    def sound(self, packets: list[Any]) -> None:
        """Sound is not played."""

    def close(self) -> None:
        """The film is over."""
        self._screen.close()

    def abandon(self) -> None:
        """Something failed."""
        self._screen.close()

    def _wait(self, at: float) -> None:
        if self._source.live:
            return
        now = self._clock()
        if self._begun is None:
            self._begun = now - at
        late = now - self._begun - at
        if late > 0:
            self._begun += late  # what could not be shown in time moves the rest: nothing is left out
        else:
            self._stop.wait(-late)


class Window:
    """A window; Escape, q or its button close it.

    Raises:
        MachineError: Python came without tkinter, or there is no display.
    """

    def __init__(self, title: str = "fdf") -> None:
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise MachineError(
                f"A window needs tkinter, which this Python lacks ({error})",
                action="Install it (Debian, Ubuntu: apt install python3-tk), or write a file",
            ) from error
        self._images = ImageTk
        self._photo: Any = None  # tkinter shows what someone else keeps
        try:
            self._root = root = tkinter.Tk(className="fdf")
        except tkinter.TclError as error:
            raise MachineError(
                f"There is no display to open a window on ({error})", action="Run it on a desktop, or write a file"
            ) from error
        root.title(title)
        self._label = tkinter.Label(root, borderwidth=0, background="black")
        self._label.pack()
        self._open = True
        root.protocol("WM_DELETE_WINDOW", self._shut)
        for key in ("<Escape>", "q"):
            root.bind(key, self._shut)
        root.update()

    def show(self, picture: Pixels) -> bool:
        """Show upright RGB, no larger than the screen; False once it was closed."""
        import cv2
        from PIL import Image

        if not self._open:
            return False
        height, width = picture.shape[:2]
        room = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
        scale = min(1.0, 0.95 * room[0] / width, 0.9 * room[1] / height)
        if scale < 1:
            small = max(1, round(width * scale)), max(1, round(height * scale))
            picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self._photo = self._images.PhotoImage(Image.fromarray(picture), master=self._root)
        self._label.configure(image=self._photo)
        self._root.update()
        return self._open

    def close(self) -> None:
        """Take the window away."""
        import tkinter

        self._open = False
        with contextlib.suppress(tkinter.TclError):
            self._root.destroy()

    def _shut(self, _: object = None) -> None:
        self._open = False


class Camera:
    """A virtual camera; the device is opened with the first picture, which has its size.

    Args:
        name: of the device; empty for the first one.
        rate: frames a second that it says of itself.

    Raises:
        MachineError: pyvirtualcam is missing, or there is no such device.
    """

    def __init__(self, name: str, rate: float) -> None:
        try:
            self._library = importlib.import_module("pyvirtualcam")
        except ImportError as error:
            raise MachineError(
                "A virtual camera needs pyvirtualcam, which is not installed", action="pip install 'fdf[camera]'"
            ) from error
        self._name, self._rate = name, rate
        self._camera: Any = None

    def show(self, picture: Pixels) -> bool:
        """Send upright RGB; a camera always wants more."""
        height, width = picture.shape[:2]
        if self._camera is None:
            try:
                self._camera = self._library.Camera(width, height, self._rate, device=self._name or None)
            except (RuntimeError, OSError, ValueError) as error:
                raise MachineError(
                    f"The virtual camera {self._name or '(the first one)'} can't be opened ({_first_line(error)})",
                    action="Linux: modprobe v4l2loopback, then -o camera:/dev/videoN. macOS, Windows: install OBS",
                ) from error
        try:
            self._camera.send(picture)
        except (RuntimeError, OSError, ValueError) as error:
            raise MachineError(f"The virtual camera takes no more frames ({_first_line(error)})") from error
        return True

    def close(self) -> None:
        """Give the device back."""
        camera, self._camera = self._camera, None
        if camera is not None:
            with contextlib.suppress(Exception):
                camera.close()


def is_screen(target: str | Path) -> bool:
    """Whether a target is a window or a camera rather than a file."""
    return str(target).startswith((WINDOW, CAMERA))


def open_screen(target: str | Path, source: Source) -> Screen:
    """The screen that a target asks for.

    Raises:
        UsageError: a window with a name.
        MachineError: there is none.
    """
    name = str(target)
    if name.startswith(CAMERA):
        return Camera(name.removeprefix(CAMERA), float(source.fps))
    if name != WINDOW:
        raise UsageError("A window has no name", expected=f"-o {WINDOW}", got=name)
    return Window("fdf: anonymized")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
