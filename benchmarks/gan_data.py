"""How many training pictures a second one core decodes and varies, beside the webdataset library on the same shards.

    pip install webdataset      # the rival; without it ours is measured alone
    python benchmarks/gan_data.py build/people --resolution 64 --batch 64

Both read the same tars and decode the same pictures in one process; ours also cuts holes and flips, and draws from all
shards at random, where the rival streams each tar through a buffer of 1,000 for shuffling and gives nothing but pictures. CPU
time counts (median of the rounds), so that other work on the machine disturbs little; both ways of reading go in turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fdf.gan.config import DataConfig
from fdf.gan.data import Deck, Faces, Positions, find_faces, loader


def ours(faces: Faces, batch: int, count: int) -> Iterator[Any]:
    deck = Deck(faces, DataConfig(), 0)
    return iter(loader(deck, Positions(start=0, stop=count, batch=batch)))


def rival(faces: Faces, batch: int, count: int) -> Iterator[Any]:
    import webdataset

    tars = [str((faces.folder / entry.path).resolve()) for entry in faces.entries]
    stream = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).shuffle(1000).decode("rgb8")
    pictures = (next(value for value in one.values() if isinstance(value, np.ndarray)) for one in stream.repeat())
    chunks = iter(lambda: list(itertools.islice(pictures, batch)), [])
    return (np.stack(chunk).transpose(0, 3, 1, 2) for chunk in itertools.islice(chunks, count // batch))


def per_second(stream: Iterator[Any], batch: int) -> float:
    """Pictures per second of CPU time, the first batch (opening, filling the buffer) left out."""
    next(stream)
    began, seen = time.process_time(), 0
    for _ in stream:
        seen += batch
    return seen / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--count", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    faces = find_faces(args.shards, resolution=args.resolution)
    ways = {"fdf": ours} | ({"webdataset": rival} if importlib.util.find_spec("webdataset") else {})
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, make in ways.items():
            rates[name].append(per_second(make(faces, args.batch, args.count), args.batch))
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):,.0f} pictures/s a core at {args.resolution} px")
    if len(rates) == 1:
        print("webdataset is not installed: nothing to compare with")
        return
    ratio = statistics.median(a / b for a, b in zip(rates["fdf"], rates["webdataset"], strict=True))
    print(f"fdf / webdataset: {ratio:.2f}")


if __name__ == "__main__":
    main()
