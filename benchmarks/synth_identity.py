"""How well dlib tells the people of a rendered corpus apart, from the tables of its build: no picture is opened again.
`--recognizer` names a network in an ONNX file that looks at the pictures instead.

    fdf synth build/people --people 3000 --shots 2 --size 160 --seed 2026
    fdf build pipelines/synthetic.toml --out build/synthetic
    python benchmarks/synth_identity.py build/people build/synthetic

`benchmarks/synth.py` measures the same on a few hundred photos, and everything else. Faces are those whose box overlaps the
true one by an IoU of 0.3 or more and that are at most 30 % covered; all pairs of photos of one person count, and as many pairs
of different people as `--pairs` says.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fdf.evaluate.recognizers import Aim, OnnxRecognizer
from fdf.evaluate.verification import share
from fdf.vision.picture import decode

SAME = 0.6  # dlib's own threshold


def embeddings(build: Path) -> pa.Table:
    parts = sorted(p for p in (build / "detect").glob("part-*.parquet") if p.suffixes == [".parquet"])
    return pa.concat_tables([pq.read_table(p, columns=["photo_id", "box", "embedding"]) for p in parts])


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of rows of boxes (N, 4) with boxes (N, 4)."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=1)
    return inside / ((a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - inside)


def seen_by(recognizer: OnnxRecognizer, corpus: Path, faces: pd.DataFrame) -> np.ndarray:
    """Vectors (N, D) of the faces where the detector found them; the mesh aligns them."""
    aim, rows = Aim(), []
    for file, box in zip(faces["file"], faces["box_found"], strict=True):
        picture = decode((corpus / "mirror" / file).read_bytes()).pixels
        sight = aim(picture, np.array(box, dtype=np.float32), None)
        assert sight is not None
        rows.append(recognizer.embed(picture, sight))
    return np.stack(rows)


def matched(
    corpus: Path, build: Path, recognizer: OnnxRecognizer | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (N, D), persons (N,), yaw (N,), pitch (N,)."""
    columns = ["photo_id", "file", "person", "box", "yaw", "pitch", "occluded"]
    truth = pq.read_table(corpus / "truth.parquet", columns=columns).to_pandas()
    both = truth.merge(embeddings(build).to_pandas(), on="photo_id", suffixes=("", "_found")).dropna(
        subset=["embedding"]
    )
    boxes = [np.array(both[name].tolist(), dtype=float) for name in ("box", "box_found")]
    kept = both[(iou(*boxes) >= 0.3) & (both["occluded"] <= 0.3)]
    if recognizer is None:
        vectors = np.array(kept["embedding"].tolist(), dtype=np.float32)
    else:
        vectors = seen_by(recognizer, corpus, kept)
    return vectors, kept["person"].to_numpy(str), kept["yaw"].to_numpy(), kept["pitch"].to_numpy()


def distances(vectors: np.ndarray, persons: np.ndarray, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Of all pairs of one person, and of pairs of two."""
    photos: dict[str, list[int]] = {}
    for at, person in enumerate(persons):
        photos.setdefault(person, []).append(at)
    same = [pair for group in photos.values() for pair in combinations(group, 2)]
    drawn = np.random.default_rng(0).integers(len(persons), size=(2 * pairs, 2))
    other = drawn[persons[drawn[:, 0]] != persons[drawn[:, 1]]][:pairs]
    sets = np.array(same).reshape(-1, 2), other
    return tuple(np.linalg.norm(vectors[p[:, 0]] - vectors[p[:, 1]], axis=1) for p in sets)  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("build", type=Path)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--recognizer", type=Path)
    parser.add_argument("--limit", type=float, help=f"distance under which two count as one; dlib's is {SAME}")
    args = parser.parse_args()

    recognizer = OnnxRecognizer(args.recognizer) if args.recognizer else None
    vectors, persons, yaw, pitch = matched(args.corpus, args.build, recognizer)
    under = SAME if recognizer is None else args.limit
    for most_yaw, most_pitch in ((45, 46), (25, 15)):
        turned = (np.abs(yaw) < most_yaw) & (np.abs(pitch) < most_pitch)
        same, other = distances(vectors[turned], persons[turned], args.pairs)
        limit = np.quantile(other, 0.01)
        print(
            f"|yaw| < {most_yaw}°, |pitch| < {most_pitch}°: {turned.sum():,} faces, {len(set(persons[turned])):,} people"
        )
        print(f"  same {same.mean():.3f} ± {same.std():.3f}, different {other.mean():.3f} ± {other.std():.3f}")
        print(f"  TAR at 1 % FAR: {share(int((same <= limit).sum()), len(same))}, threshold {limit:.3f}")
        if under is not None:
            print(f"  different people under {under}: {(other < under).mean():.1%} of {len(other):,} pairs")


if __name__ == "__main__":
    main()
