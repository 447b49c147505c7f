"""How a generator gets better with the pictures it saw: `fdf evaluate` on the checkpoints of one run.

    fdf train build/people --recipe pipelines/train/people-tiny-64.toml    # its `run.keep` keeps what is measured
    python benchmarks/gan_curve.py runs/00001-tiny-64 build/people --points 8 --out docs/train/curve

Writes `OUT.json` (all figures), `OUT.svg` (the curve, with the distance of real halves as its floor) and `OUT.png` (the same
faces with the same z at each point), and prints the table. Every point sees the same faces, so that points can be compared with
one another; with fewer faces than features all distances are far too large (docs/evaluate.md).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fdf.evaluate.evaluation import evaluate
from fdf.evaluate.settings import Settings
from fdf.gan.export import export_onnx
from fdf.gan.run import Run, load_generator

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 56, 40, 16


def measure(checkpoint: Path, shards: Path, settings: Settings) -> dict[str, Any]:
    """Export a checkpoint, evaluate it, forget the export."""
    generator, arch, meta = load_generator(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        export_onnx(generator, arch, path)
        result = evaluate(path, shards, settings)
    kept, quality = result.preservation, result.quality
    return {
        "pictures": meta["pictures"],
        "fid_halves": quality.fid_halves,
        "fid_floor": quality.fid_floor,
        "kid_halves": quality.kid_halves,
        "kid_floor": quality.kid_floor,
        "faces": quality.faces,
        "features": quality.extractor,
        "centerface": kept.centerface and kept.centerface.value,
        "blazeface": kept.blazeface and kept.blazeface.value,
        "nme": kept.nme and kept.nme.median,
        "structure": result.diversity.structure,
    }


def chosen(run: Run, points: int) -> list[Path]:
    """Checkpoints, about evenly over the pictures on a square-root scale: most happens early. The last one is among them."""
    have = run.checkpoints()
    wanted = np.linspace(1, have[-1][0] ** 0.5, points) ** 2
    nearest = {min(have, key=lambda one, at=at: abs(one[0] - at)) for at in wanted}  # type: ignore[misc]
    return [path for _, path in sorted(nearest)]


def curve(rows: list[dict[str, Any]]) -> str:
    """Distance of halves over pictures, with its floor, as SVG."""
    top = 1.1 * max(row["fid_halves"] for row in rows)
    last = rows[-1]["pictures"]

    def place(pictures: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 12) * pictures / last
        return round(x, 1), round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'

    points = [place(row["pictures"], row["fid_halves"]) for row in rows]
    floor = place(0, rows[-1]["fid_floor"])[1]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - 12}" y2="{floor}" stroke="#888" stroke-dasharray="5 4"/>',
        text(WIDTH - 14, floor - 5, "real against real", "end"),
        f'<polyline fill="none" stroke="#1f6feb" stroke-width="2" points="{" ".join(f"{x},{y}" for x, y in points)}"/>',
        *(f'<circle cx="{x}" cy="{y}" r="3.5" fill="#1f6feb"/>' for x, y in points),
        f'<polyline fill="none" stroke="#333" points="{LEFT},{TOP} {LEFT},{HEIGHT - BOTTOM} {WIDTH - 12},{HEIGHT - BOTTOM}"/>',
        *(text(LEFT - 8, place(0, top * s)[1] + 4, f"{top * s:.0f}", "end") for s in (0, 0.25, 0.5, 0.75, 1)),
        *(text(place(last * s, 0)[0], HEIGHT - BOTTOM + 18, f"{last * s:,.0f}") for s in (0, 0.25, 0.5, 0.75)),
        text(WIDTH - 12, HEIGHT - BOTTOM + 18, f"{last:,} pictures", "end"),
        text(
            LEFT + 8, TOP + 4, f"Fréchet distance of halves, {rows[-1]['features']}, {rows[-1]['faces']} faces", "start"
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def grids(run: Run, pictures: list[int], faces: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The run's own sample grids side by side: original and hole once, then the first z at each point."""
    columns: list[np.ndarray[Any, Any]] = []
    for number in pictures:
        grid = cv2.imread(str(run.path / "samples" / f"{number:09}.png"))
        if grid is None:
            continue
        side = run_side(run)
        part = grid[: faces * (side + 2) - 2]
        if not columns:
            columns.append(part[:, : 2 * (side + 2)])
        columns.append(part[:, 2 * (side + 2) : 3 * (side + 2)])
    return np.hstack(columns)


def run_side(run: Run) -> int:
    """Resolution of a run, from its checkpoint."""
    return int(load_generator(run.latest())[1].resolution)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    run = Run.find(args.run)
    settings = Settings(split=args.split, count=args.count, training=0, varied=16, threads=1)
    rows = []
    print("| pictures | distance of halves | real | CenterFace finds | BlazeFace finds | points off | structure |")
    print("|---|---|---|---|---|---|---|")
    for checkpoint in chosen(run, args.points):
        row = measure(checkpoint, args.shards, settings)
        rows.append(row)
        found = " | ".join(
            "–" if row[name] is None else f"{row[name]:.1%}" for name in ("centerface", "blazeface", "nme")
        )
        print(
            f"| {row['pictures']:,} | {row['fid_halves']:.1f} | {row['fid_floor']:.1f} | {found} | {row['structure']:.3f} |",
            flush=True,
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    args.out.with_suffix(".svg").write_text(curve(rows), encoding="utf-8")
    cv2.imwrite(str(args.out.with_suffix(".png")), grids(run, [row["pictures"] for row in rows], 8))


if __name__ == "__main__":
    main()
