"""Fit the thresholds of a policy: how near two different people may come, by the rate at which a stranger is let through.

    python benchmarks/policy_thresholds.py --synth FOLDER [--people FOLDER …] [--strangers FOLDER …] --out fit.toml
    python benchmarks/policy_thresholds.py --people MINE --data "my 300 colleagues" --out mine.toml

--synth is a folder that `fdf synth` made, --people one with a folder a person, --strangers one of pictures in which every face
is a person of its own. If there are rendered people the fit is theirs and the others only check it: people who don't exist
lie closer together than real ones, so what holds for them is on the safe side for those. Only faces that a policy would
accept (size, sharpness, pose) count. `calibration = "mine.toml"` in a policy uses a fit of your own.

Distances are those of `fdf.anonymize.recognition`; the threshold at a rate is `fdf.evaluate.verification.threshold_at_far`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tomli_w

from fdf.anonymize.calibration import FORMAT
from fdf.anonymize.detection import FaceFinder
from fdf.anonymize.recognition import Quality, Recognizer, different_pairs, distance
from fdf.evaluate.verification import accepted, share, threshold_at_far
from fdf.vision.picture import decode

RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001, 0.00005, 0.00002, 0.00001)
LEAST = 10  # pairs under a threshold: fewer are chance

People = dict[str, list[np.ndarray]]


def synth(folder: Path) -> Iterator[tuple[str, Path]]:
    for part in sorted((folder / "parts").glob("*.json")):
        rows = json.loads(part.read_text())
        if len(rows) == 1 and not rows[0]["mask"] and rows[0]["occluded"] < 0.3:
            yield rows[0]["person"], folder / "mirror" / rows[0]["file"]


def folders(root: Path) -> Iterator[tuple[str, Path]]:
    for person in sorted(path for path in root.iterdir() if path.is_dir()):
        yield from ((f"{root.name}/{person.name}", file) for file in sorted(person.iterdir()))


def read(files: Iterator[tuple[str, Path]], recognizer: Recognizer, *, strangers: bool = False) -> People:
    finder, quality, people = FaceFinder("fast"), Quality(), {}
    refused = 0
    for person, file in files:
        if not file.is_file() or file.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
            continue
        pixels = decode(file.read_bytes()).pixels
        faces = finder.find(pixels)
        for number, view in enumerate(recognizer.views(pixels, faces if strangers else faces[:1])):
            if view is None or quality.complaint(view):
                refused += 1
                continue
            people.setdefault(f"{person}/{number}" if strangers else person, []).append(view.vector)
    print(f"{len(people)} people, {sum(map(len, people.values()))} faces; {refused} not good enough", flush=True)
    return people


def same(people: People) -> list[float]:
    return [distance(a, b) for vectors in people.values() for a, b in itertools.combinations(vectors, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synth", type=Path)
    parser.add_argument("--people", type=Path, nargs="*", default=[])
    parser.add_argument("--strangers", type=Path, nargs="*", default=[])
    parser.add_argument("--embedder", default="dlib-resnet128")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    recognizer = Recognizer(args.embedder, args.weights)
    rendered = read(synth(args.synth), recognizer) if args.synth else {}
    real: People = {}
    for root in args.people:
        real |= read(folders(root), recognizer)
    for root in args.strangers:
        files = ((f"{root.name}/{file.stem}", file) for file in sorted(root.iterdir()))
        real |= read(files, recognizer, strangers=True)
    fitted = rendered or real
    pairs = np.array(different_pairs(list(fitted.values())))
    rates = [rate for rate in RATES if rate * len(pairs) >= LEAST]
    thresholds = [round(threshold_at_far(pairs, rate), 4) for rate in rates]
    checks = {"real": real, "rendered": rendered}
    for name, group in checks.items():
        if len(group) < 2:
            continue
        apart, together = np.array(different_pairs(list(group.values()))), same(group)
        print(
            f"{name}: {len(group)} people, different {apart.mean():.3f} ± {apart.std():.3f} (nearest {apart.min():.3f})"
        )
        if together:
            print(f"  same {np.mean(together):.3f} ± {np.std(together):.3f}, {len(together)} pairs")
        for rate, threshold in zip(rates, thresholds, strict=True):
            wrong = share(int((apart < threshold).sum()), len(apart))
            right = f"{accepted(np.array(together), threshold):.1%}" if together else "–"
            assert wrong is not None
            print(
                f"  rate {rate:g} threshold {threshold:.4f}: {wrong.value:.4%} (≤ {wrong.high:.4%}) false, {right} true"
            )
    fit = {
        "embedder": recognizer.id,
        "sha256": recognizer.sha256,
        "data": args.data or ("rendered people (fdf synth)" if rendered else "pictures of one's own"),
        "people": len(fitted),
        "faces": sum(map(len, fitted.values())),
        "pairs": len(pairs),
        "rates": rates,
        "thresholds": thresholds,
    }
    text = tomli_w.dumps({"format": FORMAT, "version": 1, "fit": [fit]})
    if args.out:
        args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
