"""Lay a rendered corpus out for `fdf attack`: one folder a person, of people that no generator has learnt from.

    fdf synth build/people --people 3000 --shots 2 --size 160 --seed 2026
    fdf build pipelines/synthetic.toml --out build/synthetic
    python benchmarks/attack_people.py build/people build/synthetic build/attacked
    fdf attack build/attacked --method blur --method pixelate --method gan --method donor -o attack.json

Whole photos, so that methods that draw see what is around a face; those of the build's validation split, people with two photos
or more.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pyarrow.parquet as pq


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="what fdf synth wrote")
    parser.add_argument("build", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    wanted = parser.parse_args()
    released = pq.read_table(wanted.build / "manifest" / "release.parquet", columns=["photo_id", "split"]).to_pandas()
    held_out = released.loc[released["split"] == "validation", "photo_id"]
    truth = pq.read_table(wanted.corpus / "truth.parquet", columns=["photo_id", "file", "person"]).to_pandas()
    kept = truth[truth["photo_id"].isin(held_out)]
    kept = kept[kept.groupby("person")["photo_id"].transform("count") >= 2]
    for person, file in zip(kept["person"], kept["file"], strict=True):
        folder = wanted.out / person
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wanted.corpus / "mirror" / file, folder / Path(file).name)
    print(f"{len(kept):,} photos of {kept['person'].nunique():,} people")


if __name__ == "__main__":
    main()
