"""Films anonymized by deface and by fdf, side by side, in one run, on one clip with the same detector.

    python benchmarks/anonymize.py --deface /path/to/deface [--rounds 3] [--repeat 2] [--memory 30]

deface (https://github.com/ORB-HD/deface, with onnx and onnxruntime) lives in an environment of its own: it brings another
OpenCV. The clip is made in code (tests/anonymize/clips.py): 1280 × 720, 30 frames a second, two faces of 200–230 px that
cross. Both programs use CenterFace in onnxruntime on all cores, cover with a blur or one colour, and encode H.264 with the
same preset and CRF.

Speed: whole processes, taking turns; the fastest of the rounds counts. *Wall* is what a user waits for, *CPU* (user and
system, with children) is what it cost and hardly depends on what else the machine does. Exposure: both on the film of the
exposure test, covering in black (deface: rectangles, which cover more than its default ellipses). `--memory` anonymizes
a clip of so many minutes and tells the peak of resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/anonymize"))

ENCODER = {"codec": "libx264", "ffmpeg_params": ["-preset", "veryfast", "-crf", "20"]}  # as `fdf anonymize` sets it

OURS = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from clips import Black
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.video import FilmFinder, VideoOptions, anonymize_video
method = Black() if {method!r} == "black" else {method!r}
anonymizer = Anonymizer(method, finder=FilmFinder({side}))
result = anonymize_video({source!r}, Path({target!r}), anonymizer, VideoOptions(every={every!r}))
print(f"looked at {{result.looked}} of {{result.frames}} frames, and {{result.parts}} parts of others")
"""


def ours(source: Path, target: Path, side: int, every: int | str, method: str = "blur") -> list[str]:
    code = OURS.format(
        tests=str(ROOT / "tests/anonymize"),
        source=str(source),
        target=str(target),
        side=side,
        every=every,
        method=method,
    )
    return [sys.executable, "-c", code]


def measured(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and the last line of output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, (done.stdout.strip().splitlines() or [""])[-1]


def speed(deface: str, folder: Path, rounds: int, repeat: int) -> None:
    import clips

    film = clips.film(1280, 720, shots="b")
    pictures = (film.pictures + film.pictures[::-1]) * repeat
    source = folder / "two.mp4"
    clips.write(pictures, source)
    out = folder / "out.mp4"
    theirs = [deface, str(source), "-o", str(out), "--ffmpeg-config", json.dumps(ENCODER)]
    columns = {
        "deface, 720p": theirs,
        "fdf, 720p, every frame": ours(source, out, 1280, 1),
        "fdf, 720p, adaptive": ours(source, out, 1280, "adaptive"),
        "deface, 720p, solid": [*theirs, "--replacewith", "solid"],
        "fdf, 720p, solid, adaptive": ours(source, out, 1280, "adaptive", "solid"),
        "deface, 640 × 360": [*theirs, "--scale", "640x360"],
        "fdf, 640 × 360, every frame": ours(source, out, 640, 1),
        "fdf, 640 × 360, adaptive": ours(source, out, 640, "adaptive"),
    }
    best: dict[str, tuple[float, float, str]] = {}
    for _ in range(rounds):
        for name, command in columns.items():
            wall, cpu, said = measured(command)
            old = best.get(name, (float("inf"), float("inf"), ""))
            best[name] = (min(wall, old[0]), min(cpu, old[1]), said if name.startswith("fdf") else "")
            print(
                f"  {name}: {wall:.1f} s, {cpu:.1f} s of CPU  {said if name.startswith('fdf') else ''}", file=sys.stderr
            )
    print(f"{os.cpu_count()} cores, {len(pictures)} frames; frames a second (and × deface at the same size)\n")
    print("| | frames/s (wall) | × | frames per CPU second | × | |\n|---|---|---|---|---|---|")
    for name, (wall, cpu, said) in best.items():
        at = "720p, solid" if "solid" in name else "720p" if "720p" in name else "640 × 360"
        base = best[f"deface, {at}"]
        n = len(pictures)
        print(f"| {name} | {n / wall:.1f} | {base[0] / wall:.2f} | {n / cpu:.1f} | {base[1] / cpu:.2f} | {said} |")


def exposure(deface: str, folder: Path, width: int) -> None:
    """Masks of the clip, not boxes: it knows which pixels of a face another one hides."""
    import clips

    from fdf.evaluate.exposure import ExposureCount, judge, visible
    from fdf.evaluate.film import frame_pairs

    film = clips.film(width, width * 9 // 16)
    source, out = folder / "film.mp4", folder / "out.mp4"
    clips.write(film.pictures, source)
    print(f"\nExposed of {film.face_frames} visible face-frames ({width} × {width * 9 // 16}):\n")
    print("| | exposed, 95 % | per 1,000 | of them by what remains |\n|---|---|---|---|")
    for name, command in {
        "deface": [deface, str(source), "-o", str(out), "--replacewith", "solid"],
        "fdf, every frame": ours(source, out, 1280, 1, "black"),
        "fdf, adaptive": ours(source, out, 1280, "adaptive", "black"),
    }.items():
        measured(command)
        counts = {cover: ExposureCount() for cover in ((0, 0, 0), None)}
        pairs = zip(frame_pairs(source, out), film.pictures, film.truth, strict=True)
        for index, ((_, after, _), before, truths) in enumerate(pairs):
            for truth in filter(visible, truths):
                for cover, count in counts.items():
                    count.add(index, truth.person, judge(truth, before, after, cover))
        black, any_cover = (count.result() for count in counts.values())
        print(f"| {name} | {black.exposed} | {black.per_1000:.0f} | {any_cover.exposed} |")


def memory(folder: Path, minutes: float) -> None:
    import clips

    film = clips.film(1280, 720, shots="b")
    source, out = folder / "long.mp4", folder / "out.mp4"
    swing = film.pictures + film.pictures[::-1]
    clips.write([swing[i % len(swing)] for i in range(round(minutes * 60 * 30))], source, sounds=1)
    command = ours(source, out, 640, "adaptive", "solid")
    command[2] += "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    wall, _, said = measured(command)
    print(f"\nA clip of {minutes:g} minutes at 720p: {wall:.0f} s, peak of resident memory {said} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deface", help="the program; without it only --memory is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="times 100 frames")
    parser.add_argument("--width", type=int, default=1280, help="of the film of the exposure test")
    parser.add_argument("--memory", type=float, metavar="MINUTES", help="measure memory with a clip of so many minutes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.deface:
            if arguments.rounds:
                speed(arguments.deface, Path(name), arguments.rounds, arguments.repeat)
            exposure(arguments.deface, Path(name), arguments.width)
        if arguments.memory:
            memory(Path(name), arguments.memory)


if __name__ == "__main__":
    main()
