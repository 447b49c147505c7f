"""Peak of resident memory while a long film is anonymized.

    python benchmarks/anonymize_memory.py [--minutes 30] [--fps 30] [--every 10] [--side 1280] [--policy]

The film is made in code: fifty frames of two faces that cross (tests/anonymize/clips.py, 1280 × 720), repeated packet by
packet. To look at every tenth frame only saves time; what is held depends on the size of a frame, the detector and the
look-ahead. `--policy`: one that shows nobody makes the film go through twice, looked at in every frame, so the faces of all
frames lie on the disk in between. The film is made in another process: its memory doesn't count.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def repeated(short: Path, long: Path, frames: int, fps: int) -> None:
    """A film of so many frames out of the packets of a short one, which has no frame that waits for a later one."""
    import av

    with av.open(str(short)) as source, av.open(str(long), "w") as out:
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.time_base = base = Fraction(1, 90000)
        for index in range(frames):
            packet = packets[index % len(packets)]
            again = av.Packet(bytes(packet))
            again.pts = again.dts = index * 90000 // fps
            again.time_base, again.stream, again.is_keyframe = base, stream, packet.is_keyframe
            out.mux(again)


def made(folder: Path, frames: int, fps: int) -> Path:
    """The film."""
    from tests.anonymize import clips

    short, long = folder / "short.mp4", folder / "long.mp4"
    clips.write(clips.film(1280, 720, shots="b").pictures, short, options={"bf": "0"}, fps=fps)
    repeated(short, long, frames, fps)
    return long


def said(done: int, total: int | None) -> None:
    if done % 1000 == 0:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{done:,} of {total:,} frames: peak {peak:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--every", default="10", help="a number of frames, or adaptive")
    parser.add_argument("--side", type=int, default=1280, help="long side at which frames are looked at, pixels")
    parser.add_argument("--policy", action="store_true")
    wanted = parser.parse_args()

    from fdf.anonymize.image import Anonymizer
    from fdf.anonymize.policy import load_policy
    from fdf.anonymize.video import FilmFinder, VideoOptions, anonymize_video

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            long = pool.submit(made, folder, round(wanted.minutes * 60 * wanted.fps), wanted.fps).result()
        rules = folder / "policy.toml"
        rules.write_text('format = "fdf-policy"\nversion = 1\naccess = "proxy"\n')
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        policy = load_policy(rules) if wanted.policy else None
        anonymizer = Anonymizer("solid", finder=FilmFinder(wanted.side), policy=policy)
        options = VideoOptions(every="adaptive" if wanted.every == "adaptive" else int(wanted.every))
        result = anonymize_video(long, folder / "out.mp4", anonymizer, options, progress=said)
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{result.frames:,} frames of 1280 × 720, {result.covered:,} faces hidden, {result.looked:,} frames looked at and "
        f"{result.parts:,} parts of others; "
        f"peak of resident memory {after.ru_maxrss / 1024:.0f} MiB ({before.ru_maxrss / 1024:.0f} before), "
        f"{cpu:.0f} s of CPU, {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
