"""How long `--method gan` takes a face, from a picture with boxes to the picture without faces: crop, network, paste, blend.

    python benchmarks/anonymize_gan.py                      # small at 128 px with random weights, one core
    python benchmarks/anonymize_gan.py --model generator.onnx --faces 8 --side 200

Weights don't matter here. Everything runs in one thread, and its CPU time counts (median of the rounds), which other work on
the machine disturbs less than wall clock; that of the best round stands beside it. *Network* is the generator alone on the same
faces; the rest is cutting, scaling and blending.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.gan import Gan
from fdf.anonymize.image import Anonymizer

PICTURE = 720, 1280


def random_generator(folder: str, size: str, resolution: int, precision: str) -> Path:
    from fdf.gan.export import export_onnx
    from fdf.gan.networks import Generator, architecture

    arch = architecture(size, resolution)
    path = Path(folder) / "random.onnx"
    export_onnx(Generator(arch), arch, path, precision=precision)  # type: ignore[arg-type]
    return path


def faces_of(count: int, side: float) -> list[Face]:
    """Faces side by side, in rows, with the five points of a detector."""
    five = np.float32([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    across = max(1, int(PICTURE[1] // (2.5 * side)))
    found = []
    for number in range(count):
        corner = np.float32([(number % across) * 2.5 + 0.7, (number // across) * 2.5 + 0.7]) * np.float32(side)
        size = np.float32([0.75, 1]) * np.float32(side)
        found.append(Face(np.concatenate([corner, corner + size]), landmarks5=corner + five * size))
    return found


def milliseconds(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """CPU time, median; wall clock, best."""
    work()
    cpu, wall = [], []
    for _ in range(rounds):
        begin, began = time.perf_counter(), time.thread_time()
        work()
        cpu.append((time.thread_time() - began) * 1e3)
        wall.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(cpu), min(wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a generator; random weights without one (needs torch)")
    parser.add_argument("--size", default="small")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--faces", type=int, default=2)
    parser.add_argument("--side", type=float, default=160, help="height of a face, pixels")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or random_generator(folder, args.size, args.resolution, args.precision)
        method = Gan(model=model)
    picture = np.random.default_rng(0).integers(0, 256, (*PICTURE, 3), dtype=np.uint8)
    faces, tool = faces_of(args.faces, args.side), Anonymizer(method, salt="s")
    outcomes = tool.render(picture, faces).outcomes
    if any(outcome.fell_back for outcome in outcomes):
        raise SystemExit(f"not all faces can be drawn: {sorted({outcome.reason for outcome in outcomes})}")
    jobs, bare = tool.jobs(picture, faces), Anonymizer("solid", salt="s")
    alone = method.generator
    held: list[tuple[object, ...]] = []
    real, alone.generate = alone.generate, lambda *a, **k: held.append((a, k)) or real(*a, **k)  # type: ignore
    method.replace(picture, jobs)
    (words, named), alone.generate = held[0], real  # type: ignore[method-assign]
    rows = {
        "whole": lambda: tool.render(picture, faces),
        "method alone": lambda: method.replace(picture, jobs),
        "network alone": lambda: real(*words, **named),  # type: ignore[misc,arg-type]
        "solid instead": lambda: bare.render(picture, faces),
    }
    print(f"{method.card.name}, {method.generator.resolution} px, {len(faces)} faces of {args.side:g} px in {PICTURE}")
    for name, work in rows.items():
        cpu, wall = milliseconds(work, args.rounds)
        print(f"{name:>14}: {cpu / len(faces):6.2f} CPU ms a face (best wall clock {wall / len(faces):.2f})")


if __name__ == "__main__":
    main()
