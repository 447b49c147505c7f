"""Films in, films without faces out: real files made in code, read back with PyAV."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="films need PyAV: the extra `video`")

from fdf.anonymize import video  # noqa: E402
from fdf.anonymize.base import Face, Job, Outcome, Replacement, Result  # noqa: E402
from fdf.anonymize.container import Source  # noqa: E402
from fdf.anonymize.film_following import interval_of  # noqa: E402
from fdf.anonymize.image import Anonymizer  # noqa: E402
from fdf.anonymize.people import dlib_people  # noqa: E402
from fdf.anonymize.video import FilmFinder, VideoOptions, VideoResult, anonymize_video  # noqa: E402
from fdf.errors import DataError, FdfError, MachineError, UsageError  # noqa: E402
from fdf.vision.base import Part  # noqa: E402
from tests.anonymize import clips  # noqa: E402

RED = (255, 0, 0)


class Marked:
    """Finds the red square of a frame and paints it black: as quick as a detector can be."""

    def __init__(self) -> None:
        self.tracks: list[int | None] = []

    def detect(self, picture: np.ndarray, part: Part | None = None) -> list[Face]:
        seen = np.zeros(picture.shape[:2], dtype=bool)
        seen[slice(None) if part is None else np.s_[part.y0 : part.y1, part.x0 : part.x1]] = True
        red = (picture[..., 0] > 180) & (picture[..., 1] < 90) & (picture[..., 2] < 90) & seen
        if red.sum() < 20:
            return []
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        return [Face(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32))]

    def render(self, picture: np.ndarray, faces: list[Face]) -> Result:
        out = picture.copy()
        for face in faces:
            x0, y0, x1, y1 = np.rint(face.box + np.float32([-3, -3, 3, 3])).astype(int)
            out[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 0
            self.tracks.append(face.track)
        return Result(out, faces, [Outcome("black", "black") for _ in faces])


class Blackout(Marked):
    """Every frame is a face: a frame that is not black in the target was passed by."""

    def detect(self, picture: np.ndarray, part: Part | None = None) -> list[Face]:  # noqa: ARG002
        return [Face(np.array([0, 0, *picture.shape[1::-1]], dtype=np.float32))]

    def render(self, picture: np.ndarray, faces: list[Face]) -> Result:
        return Result(np.zeros_like(picture) if faces else picture, faces, [])


def squares(count: int = 40, width: int = 160, height: int = 96) -> list[np.ndarray]:
    """A red square of 24 pixels that moves over a quiet background, always wholly in the picture."""
    behind = clips.background(width, height, 1) // 3 + 60
    frames = []
    for t in range(count):
        frame = behind.copy()
        x, y = 20 + t % 60 * 2 % (width - 50), 30 + t % 20
        frame[y : y + 24, x : x + 24] = RED
        frames.append(frame)
    return frames


def red(picture: np.ndarray) -> int:
    return int(((picture[..., 0] > 150) & (picture[..., 1] < 100) & (picture[..., 2] < 100)).sum())


def hide(source: Path | str, target: Path, **options: object) -> tuple[VideoResult, list[np.ndarray], list[Fraction]]:
    result = anonymize_video(source, target, Marked(), VideoOptions(**options))  # type: ignore[arg-type]
    pictures, times = clips.read(target)
    assert result.frames == len(pictures)
    assert not any(red(p) for p in pictures), "every frame was seen"
    return result, pictures, times


@pytest.fixture(scope="module")
def film() -> clips.Clip:
    return clips.film()


@pytest.mark.parametrize("every", ["adaptive", 1])
def test_no_face_is_exposed_in_any_frame(film: clips.Clip, tmp_path: Path, every: int | str) -> None:
    source, target = tmp_path / "film.mp4", tmp_path / "out.mp4"
    clips.write(film.pictures, source)
    options = VideoOptions(every=every)
    result = anonymize_video(source, target, Anonymizer(clips.Black(), finder=FilmFinder(640)), options)
    pictures, _ = clips.read(target)
    assert clips.exposed(film, pictures, (0, 0, 0)) == []
    assert film.face_frames > 300
    assert result.filled > 0, "the film must hold frames in which nothing is found"
    assert result.cuts == len(film.cuts)
    # Over-covering is no way to pass: most of the picture stays.
    assert np.mean([(p.max(axis=2) < 16).mean() for p in pictures]) < 0.25


@pytest.mark.parametrize("height", [36, 64])
def test_a_face_of_one_to_three_frames_is_covered(tmp_path: Path, height: int) -> None:
    clip = clips.brief(height)
    assert clip.face_frames == 6
    clips.write(clip.pictures, tmp_path / "in.mp4")
    anonymizer = Anonymizer(clips.Black(), finder=FilmFinder())
    result = anonymize_video(tmp_path / "in.mp4", tmp_path / "out.mp4", anonymizer)
    assert clips.exposed(clip, clips.read(tmp_path / "out.mp4")[0], (0, 0, 0)) == []
    assert result.looked < result.frames, "it was adaptive"


ONE, WEATHER = (640, 330), (400, 250)
VISITORS: dict[str, dict[str, Any]] = {
    "between two": {"size": 120, "at": ONE, "others": [(0, 480, 330, 190), (1, 800, 330, 190)]},
    "beside a large face": {"size": 60, "at": (790, 330), "others": [(0, *ONE, 200)]},
    "beside a larger one": {"size": 100, "at": (845, 330), "others": [(0, *ONE, 300)]},
    "half behind one who runs": {"size": 60, "at": (330, 340), "others": [(0, 250, 340, 130)], "pace": 10},
    "half behind, on the other side": {"size": 44, "at": (170, 340), "others": [(0, 250, 340, 130)], "pace": 10},
    "over one": {"size": 50, "at": (640, 200), "others": [(0, *ONE, 150)]},
    "in the dark": {"size": 90, "at": WEATHER, "light": 0.12},
    "small, in the dark": {"size": 44, "at": WEATHER, "light": 0.2},
    "in the dark, in changing light": {"size": 64, "at": WEATHER, "light": 0.12, "glow": 4},
    "in fog": {"size": 90, "at": WEATHER, "fog": 0.85},
}


@pytest.mark.parametrize("how", VISITORS.values(), ids=VISITORS)
def test_who_shows_up_for_three_frames_is_covered(how: dict[str, Any], tmp_path: Path) -> None:
    clip = clips.visitor(**how)
    clips.write(clip.pictures, tmp_path / "in.mp4")
    anonymizer = Anonymizer(clips.Magenta(), finder=FilmFinder(), fallback=clips.Magenta())
    result = anonymize_video(tmp_path / "in.mp4", tmp_path / "out.mp4", anonymizer)
    pictures = clips.read(tmp_path / "out.mp4")[0]
    assert clips.exposed(clip, pictures, clips.Magenta.colour) == []
    assert result.parts > 0, "not all of a frame in which one stirred"
    assert len(clips.exposed(clip, clip.pictures, clips.Magenta.colour)) == clip.face_frames
    assert result.looked < result.frames, "it was adaptive"


def test_a_frame_is_the_same_for_all_threads_that_ask_at_once(film: clips.Clip, tmp_path: Path) -> None:
    """Several parts of one are looked at together; PyAV's scaler of a frame is not made for that: it mixed them, or crashed."""
    clips.write(film.pictures[:60], tmp_path / "in.mp4")
    with contextlib.closing(Source(str(tmp_path / "in.mp4"))) as source, ThreadPoolExecutor(4) as pool:
        for slot in source.slots():
            pictures = list(pool.map(source.upright, [slot.frame] * 8))
            assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_films_of_few_frames_a_second_are_looked_at_more_closely() -> None:
    assert [interval_of("adaptive", fps, 12, showing=False) for fps in (1, 5, 10, 15, 24, 30, 60)] == [
        1,
        1,
        1,
        2,
        3,
        4,
        4,
    ]
    assert interval_of(6, 30, 12, showing=False) == 6
    assert {interval_of(every, 30, 12, showing=True) for every in ("adaptive", 6)} == {1}


@pytest.mark.parametrize(("hold", "ahead"), [(0, 0), (1, 0), (0, 2), (1, 1), (3, 3)])
@pytest.mark.parametrize("every", ["adaptive", 5])
def test_a_face_that_stands_still_is_covered_however_short_it_is_held(
    every: Any, hold: int, ahead: int, tmp_path: Path
) -> None:
    """Frames that nobody looked at aren't frames in which it was missed: no more of them than hold and look-ahead bridge."""
    still = clips.film(640, 360, shots="b").pictures[20]
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    clips.write([still] * 14, source)
    anonymizer = Anonymizer(clips.Black(), finder=FilmFinder(640))
    result = anonymize_video(source, target, anonymizer, VideoOptions(every=every, hold=hold, look_ahead=ahead))
    assert result.frames == 14
    (first, *others) = [(picture < 16).all(axis=2).mean() for picture in clips.read(target)[0]]
    assert first > 0.02
    assert min(others) > 0.8 * first


def test_the_measure_sees_what_is_bare(film: clips.Clip) -> None:
    assert len(clips.exposed(film, film.pictures, (0, 0, 0))) == film.face_frames


def test_one_person_one_number_across_a_cut(tmp_path: Path) -> None:
    clip = clips.film(shots="dad")
    pictures = clip.pictures[:6] + clip.pictures[40:46] + clip.pictures[110:116]
    clips.write(pictures, tmp_path / "a.mp4")
    seen: list[set[int | None]] = []

    class Watching(Anonymizer):
        def render(self, picture: np.ndarray, faces: list[Face]) -> Result:  # type: ignore[override]
            seen.append({face.track for face in faces})
            return super().render(picture, faces)

    people = dlib_people()
    anonymizer = Watching(clips.Black(), finder=FilmFinder(640))
    anonymize_video(tmp_path / "a.mp4", tmp_path / "b.mp4", anonymizer, people=people)
    # Shot a shows the person on the right of shot d; after the second cut both are known again.
    assert people.count == 2
    assert seen[0] == seen[-1]
    assert seen[8] < seen[0]


def test_films_of_one_salt_share_no_seed_unless_they_are_the_same(tmp_path: Path) -> None:
    class Draws(clips.Black):
        generative = True

        def __init__(self) -> None:
            self.seeds: set[int] = set()

        def replace(self, picture: np.ndarray, jobs: Sequence[Job]) -> list[Replacement]:
            self.seeds |= {job.seed for job in jobs}
            return super().replace(picture, jobs)

    def seeds(name: str) -> set[int]:
        method = Draws()
        anonymizer = Anonymizer(method, finder=FilmFinder(640), salt="one project")
        anonymize_video(tmp_path / name, tmp_path / f"{name}.out.mp4", anonymizer)
        return method.seeds

    pictures = clips.film(shots="d").pictures
    clips.write(pictures[:10], tmp_path / "a.mp4")
    clips.write(pictures[10:20], tmp_path / "b.mp4")
    (tmp_path / "c.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    a, b, c = (seeds(f"{name}.mp4") for name in "abc")
    assert len(a) == len(b) == 2
    assert not a & b, "strangers have other fakes"
    assert a == c


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path, suffix: str) -> None:
    times = [0, 3000, 6100, 9000, 20000, 23000, 26001, 60000, 61500, 90000]
    clips.write(squares(10), tmp_path / "in.mp4", times=times)
    _, _, found = hide(tmp_path / "in.mp4", tmp_path / f"out{suffix}")
    exact = [Fraction(t, 90000) for t in times]
    # Matroska counts milliseconds; the others keep the source's clock.
    tolerance = Fraction(1, 1900) if suffix in {".mkv", ".webm"} else 0
    assert all(abs(a - b) <= tolerance for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize(("rotation", "mirrored"), [(90, False), (180, False), (270, False), (0, True), (90, True)])
def test_a_turned_film_comes_out_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    frames = squares(6)
    for frame in frames:
        frame[:20, :20] = (0, 255, 0)  # in the stored picture's upper left corner
    clips.write(frames, tmp_path / "in.mp4", rotation=rotation, mirrored=mirrored)
    result, pictures, _ = hide(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert result.size == ((96, 160) if rotation in {90, 270} else (160, 96))
    expected = np.rot90(frames[0], rotation // 90)
    if mirrored:
        # FFmpeg's matrix mirrors the picture's columns after turning it.
        expected = expected[:, ::-1]
    green = lambda p: np.argwhere((p[..., 1] > 200) & (p[..., 0] < 90) & (p[..., 2] < 90)).mean(axis=0)  # noqa: E731
    assert np.abs(green(pictures[0]) - green(expected)).max() < 2
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert next(out.decode(video=0)).rotation == 0


def test_odd_sides_are_made_even(tmp_path: Path) -> None:
    frames = [frame[:95, :159] for frame in squares(6)]
    clips.write(frames, tmp_path / "in.mkv", codec="ffv1", pixels="bgr0")
    result, pictures, _ = hide(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert result.size == (160, 96)
    assert any("even" in note for note in result.notes)
    assert np.abs(pictures[0][:95, 100:159].astype(int) - frames[0][:, 100:]).mean() < 4


@pytest.mark.parametrize(
    ("codec", "pixels"), [("libx264", "yuv422p10le"), ("libx264", "yuv444p"), ("ffv1", "gray"), ("ffv1", "bgra")]
)
def test_other_pixel_formats(tmp_path: Path, codec: str, pixels: str) -> None:
    frames = squares(6)
    if pixels == "gray":
        # No colour, no red square: only the way through.
        clips.write(frames, tmp_path / "in.mkv", codec=codec, pixels=pixels)
        _, pictures, _ = hide(tmp_path / "in.mkv", tmp_path / "out.mp4")
        assert np.ptp(pictures[0].astype(int), axis=2).max() < 12
        return
    if pixels == "bgra":
        frames = [
            np.dstack([f, np.where(np.arange(160) < 120, 255, 0)[None].repeat(96, 0)]).astype(np.uint8) for f in frames
        ]
    clips.write(frames, tmp_path / "in.mkv", codec=codec, pixels=pixels)
    _, pictures, _ = hide(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert np.abs(pictures[0][60:, 60:116].astype(int) - frames[0][60:, 60:116, :3]).mean() < 5
    if pixels == "bgra":
        assert pictures[0][:, 124:].max() < 20, "what transparency hides stays hidden"


@pytest.mark.parametrize("matrix", [1, 6])
def test_colours_stay(tmp_path: Path, matrix: int) -> None:
    frames = squares(4)
    clips.write(frames, tmp_path / "in.mp4", matrix=matrix)
    hide(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "in.mp4")) as a, av.open(str(tmp_path / "out.mp4")) as b:
        one, other = next(a.decode(video=0)), next(b.decode(video=0))
    assert int(other.colorspace) == int(one.colorspace) == matrix
    luma = [f.to_ndarray()[60:96, 60:160].astype(int) for f in (one, other)]
    assert abs(luma[0] - luma[1]).mean() < 3


def sound(path: Path) -> tuple[list[str], list[bytes], np.ndarray]:
    """Codecs, packets and the samples of the first audio stream."""
    with av.open(str(path)) as film_:
        names = [s.codec_context.name for s in film_.streams.audio]
        if not names:
            return names, [], np.zeros(0)
        packets = [bytes(p) for p in film_.demux(film_.streams.audio[0]) if p.size]
        film_.seek(0)
        samples = [f.to_ndarray().reshape(-1) for f in film_.decode(film_.streams.audio[0])]
    return names, packets, np.concatenate(samples)


def pitch(samples: np.ndarray) -> float:
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    return float(np.abs(np.fft.rfft(middle * np.hanning(len(middle))))[5:].argmax() + 5) * 44100 / len(middle)


def test_sound_is_kept_dropped_or_distorted(tmp_path: Path) -> None:
    clips.write(squares(60), tmp_path / "in.mp4", sounds=2)
    before = sound(tmp_path / "in.mp4")
    kept, _, _ = hide(tmp_path / "in.mp4", tmp_path / "keep.mp4")
    assert sound(tmp_path / "keep.mp4")[:2] == before[:2]
    assert "copied" in kept.audio
    assert "can be recognized" in kept.audio
    dropped, _, _ = hide(tmp_path / "in.mp4", tmp_path / "drop.mp4", audio="drop")
    assert sound(tmp_path / "drop.mp4")[0] == []
    assert dropped.audio == "dropped"
    changed, _, _ = hide(tmp_path / "in.mp4", tmp_path / "distort.mp4", audio="distort")
    names, _, samples = sound(tmp_path / "distort.mp4")
    assert len(names) == 2
    assert abs(pitch(before[2]) - 220) < 3
    assert abs(pitch(samples) - 220) > 20
    assert abs(len(samples) - len(before[2])) < 0.15 * 44100, "as long as before"
    assert "voice changed" in changed.audio


def test_sound_that_the_target_does_not_take_is_encoded_again(tmp_path: Path) -> None:
    clips.write(squares(40), tmp_path / "in.mkv", sounds=1, sound_codec="pcm_s16le")
    result, _, _ = hide(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert "encoded again as aac" in result.audio
    names, _, samples = sound(tmp_path / "out.mp4")
    assert names == ["aac"]
    assert abs(pitch(samples) - 220) < 3
    result, _, _ = hide(tmp_path / "in.mkv", tmp_path / "out.webm")
    assert sound(tmp_path / "out.webm")[0] == ["opus"]
    clips.write(squares(4), tmp_path / "mute.mp4")
    assert hide(tmp_path / "mute.mp4", tmp_path / "mute-out.mp4")[0].audio == "none in the source"


def test_trim_and_without_it_the_rest_is_anonymized_too(tmp_path: Path) -> None:
    clips.write(squares(90), tmp_path / "in.mp4", sounds=1, options={"g": "12"})
    result, pictures, times = hide(tmp_path / "in.mp4", tmp_path / "a.mp4", start=1.0, end=2.0, trim=True)
    assert len(pictures) == 30
    assert times[0] == 0
    assert times[-1] == Fraction(29, 30)
    assert abs(len(sound(tmp_path / "a.mp4")[2]) / 44100 - 1) < 0.1
    result, pictures, _ = hide(tmp_path / "in.mp4", tmp_path / "b.mp4", start=1.0, end=2.0)
    assert len(pictures) == 90
    assert any("--trim" in note for note in result.notes)
    with pytest.raises(DataError, match="no frame between"):
        hide(tmp_path / "in.mp4", tmp_path / "c.mp4", start=50.0, trim=True)
    assert not (tmp_path / "c.mp4").exists()


def test_nothing_else_is_carried_over(tmp_path: Path) -> None:
    cover = np.full((64, 64, 3), RED, dtype=np.uint8)
    clips.write(
        squares(10),
        tmp_path / "in.mp4",
        cover=cover,
        metadata={"title": "Anna's birthday", "location": "+52.5200+013.4050/", "comment": "x"},
        chapters=True,
        sounds=1,
    )
    result, _, _ = hide(tmp_path / "in.mp4", tmp_path / "out.mp4")
    told = " ".join(result.removed)
    assert "title" in told
    assert "cover pictures: 1" in told
    assert "chapters: 1" in told
    data = (tmp_path / "out.mp4").read_bytes()
    assert b"Anna" not in data
    assert b"+52.52" not in data
    assert b"Lavf" not in data
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert len(out.streams) == 2
        assert not out.chapters()
        assert set(out.metadata) <= {"major_brand", "minor_version", "compatible_brands"}


def test_the_same_film_gives_the_same_bytes(tmp_path: Path) -> None:
    clips.write(squares(30), tmp_path / "in.mp4", sounds=1)
    for name in ("a.mp4", "b.mp4"):
        anonymize_video(tmp_path / "in.mp4", tmp_path / name, Marked(), VideoOptions(workers=1 + (name == "b.mp4")))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_ctrl_c_leaves_nothing_of_a_file(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    clips.write(squares(60), tmp_path / "in.mp4")

    class Pressed(Marked):
        def render(self, picture: np.ndarray, faces: list[Face]) -> Result:
            os.kill(os.getpid(), signal.SIGINT)
            return super().render(picture, faces)

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signal comes in one line or the other
        anonymize_video(tmp_path / "in.mp4", tmp_path / "out.mp4", Pressed())
        time.sleep(5)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
    assert set(threading.enumerate()) <= before


def test_ctrl_c_ends_a_stream_and_its_file_is_whole(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    clips.write(squares(90), buffer, container="mpegts", options={"g": "10"})
    data, sent = buffer.getvalue(), threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                self.wfile.write(data)
                sent.set()
                time.sleep(30)  # a camera that has nothing new
            except OSError:
                pass

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "import os, sys; sys.path.insert(0, '.')\nfrom pathlib import Path\nimport numpy as np\n"
        "from fdf.anonymize.video import *\nfrom fdf.anonymize.base import *\n"
        "class Nobody:\n"
        "    def detect(self, picture, part=None): os.write(1, b'frame\\n'); return []\n"
        "    def render(self, picture, faces): return Result(picture, [], [])\n"
        f"r = anonymize_video('http://127.0.0.1:{server.server_port}/live.ts', Path({str(tmp_path / 'out.mp4')!r}), Nobody(),"
        " VideoOptions(every=1))\nprint('frames', r.frames)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(video.__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        for _ in range(40):
            assert process.stdout.readline().startswith("frame")
        assert not (tmp_path / "out.mp4").exists()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        server.shutdown()
        server.server_close()
    assert process.returncode == 0
    frames = int(rest.split("frames")[-1])
    assert len(clips.read(tmp_path / "out.mp4")[0]) == frames >= 20


@pytest.mark.parametrize("what", ["detect", "render"])
def test_a_detector_or_method_that_fails_stops_the_run(tmp_path: Path, what: str) -> None:
    clips.write(squares(30), tmp_path / "in.mp4")
    broken = Marked()
    calls = []

    def fails(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("no memory left")
        return getattr(Marked, what)(broken, *arguments)

    setattr(broken, what, fails)
    with pytest.raises(DataError, match="no memory left"):
        anonymize_video(tmp_path / "in.mp4", tmp_path / "out.mp4", broken)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_damaged_film_is_refused_and_partly_written_when_asked(tmp_path: Path) -> None:
    clips.write(squares(120), tmp_path / "whole.mkv", options={"g": "10"})
    data = bytearray((tmp_path / "whole.mkv").read_bytes())
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="--partial"):
        hide(cut, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    result, pictures, _ = hide(cut, tmp_path / "out.mp4", partial=True)
    assert not result.whole
    assert 20 < len(pictures) < 115
    assert any("damaged" in note for note in result.notes)


def test_wrong_requests_say_so(tmp_path: Path) -> None:
    clips.write(squares(4), tmp_path / "in.mp4")
    with pytest.raises(UsageError, match="unknown kind"):
        hide(tmp_path / "in.mp4", tmp_path / "out.avi")
    with pytest.raises(UsageError, match="at once"):
        hide(tmp_path / "in.mp4", tmp_path / "in.mp4")
    with pytest.raises(UsageError, match="WebM"):
        hide(tmp_path / "in.mp4", tmp_path / "out.webm", codec="h264")
    with pytest.raises(DataError, match="no file"):
        hide(tmp_path / "none.mp4", tmp_path / "out.mp4")
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n")
    with pytest.raises(DataError, match="no film that can be read"):
        hide(playlist, tmp_path / "out.mp4")
    for wrong in ({"every": 0}, {"start": 2.0, "end": 1.0}, {"audio": "loud"}, {"trim": True}, {"codec": "gif"}):
        with pytest.raises(UsageError):
            VideoOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", range(6))
def test_hostile_films_end_with_a_message_or_without_a_face(tmp_path: Path, part: int) -> None:
    """Sixty films damaged at random: whatever comes out was seen; whatever fails leaves nothing."""
    buffer = io.BytesIO()
    clips.write(squares(20), buffer, container="mp4" if part % 2 else "matroska", sounds=1, options={"g": "5"})
    original = buffer.getvalue()
    for seed in range(10):
        rng = random.Random(part * 100 + seed)
        data = bytearray(original)
        for _ in range(rng.choice([1, 3, 10, 60])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
            data[at:at] = rng.randbytes(rng.randrange(1, 500))
        source, target = tmp_path / f"{seed}.mp4", tmp_path / f"{seed}-out.mp4"
        source.write_bytes(data)
        for partial in (False, True):
            try:
                anonymize_video(source, target, Blackout(), VideoOptions(partial=partial, workers=1))
                assert max(int(p.max()) for p in clips.read(target)[0]) < 12, f"film {seed}: a frame was passed by"
                target.unlink()
            except FdfError as error:
                assert len(str(error)) > 20  # noqa: PT017
                assert not target.exists()
        left = [p.name for p in tmp_path.iterdir() if ".part-" in p.name]
        assert not left


@pytest.mark.parametrize(
    ("system", "name", "opened"),
    [
        ("linux", "/dev/video2", ("/dev/video2", "v4l2", {})),
        ("linux", "camera:", ("/dev/video0", "v4l2", {})),
        ("linux", "camera:/dev/v4l/by-id/usb", ("/dev/v4l/by-id/usb", "v4l2", {})),
        ("darwin", "camera:1", ("1", "avfoundation", {"framerate": "30"})),
        ("win32", "camera:Integrated Webcam", ("video=Integrated Webcam", "dshow", {})),
    ],
)
def test_a_camera_is_opened_as_its_system_has_it(
    system: str, name: str, opened: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def refuse(file: str, *, format: str, options: dict[str, str], timeout: float) -> None:
        asked.append((file, format, options))
        raise OSError(19, "No such device")

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MachineError, match=r"Can't open the stream .*No such device"):
        anonymize_video(name, tmp_path / "out.mp4", Anonymizer("solid"))
    assert asked == [opened]
    assert not list(tmp_path.iterdir())
