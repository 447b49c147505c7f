"""`fdf evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdf.cli.output import BuildProgress, JsonOption, console, print_json, print_table, write_report

if TYPE_CHECKING:
    from fdf.evaluate.memorization import Memorization
    from fdf.evaluate.result import Evaluation


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="An exported generator (.onnx), or the folder of a run.", show_default=False)
    ],
    shards: Annotated[Path, typer.Option("--shards", help="A build folder, or its shard folder.", show_default=False)],
    split: Annotated[str, typer.Option("--split", help="Which faces: validation or training.")] = "validation",
    count: Annotated[int, typer.Option("--count", "-n", help="Most faces to look at.")] = 500,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="Features of the distances: centerface-trunk, dlib-resnet128, inception-v3-compat or an ONNX file.",
        ),
    ] = "centerface-trunk",
    region: Annotated[
        Literal["face", "picture"], typer.Option("--region", help="What the features see: the face or the whole crop.")
    ] = "face",
    hole: Annotated[
        Literal["box", "ellipse"] | None,
        typer.Option(
            "--hole",
            help="What is taken away of the face box; the generator's own rule if left out.",
            show_default=False,
        ),
    ] = None,
    varied: Annotated[int, typer.Option("--varied", help="Faces of which several fakes are made.")] = 32,
    variants: Annotated[int, typer.Option("--variants", help="Fakes of each of these.")] = 4,
    training: Annotated[
        int,
        typer.Option(
            "--training",
            help="Most training faces to look for memorized ones in; of them, those that the model ate count. 0: none.",
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of z and of the choice of faces.")] = 0,
    threads: Annotated[int, typer.Option("--threads", "-j", help="Threads; no figure depends on it.")] = 2,
    against: Annotated[
        Path | None, typer.Option("--against", help="An earlier report to compare with.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Report to write (JSON), with a picture of the nearest faces that the model ate beside it, if it is known.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a generator: likeness to real faces, diversity, what it keeps, whom it gives away, whom it remembers.

    Runs on onnxruntime alone. docs/evaluate.md says what each figure means.
    """
    from fdf.evaluate.evaluation import Settings
    from fdf.evaluate.evaluation import evaluate as run
    from fdf.evaluate.result import compare, read_result, refuse_unlike

    settings = Settings(split, count, features, region, hole, varied, variants, training, seed, threads)
    before = read_result(against) if against else None
    if before:  # before the minutes that an evaluation takes
        refuse_unlike(before, {"quality": {"region": region}, "data": {"split": split, "seed": seed}})
    with BuildProgress() as progress:
        result = run(
            model, shards, settings, progress=progress, picture=out.with_suffix(".nearest.png") if out else None
        )
    write_report(out, body := result.to_dict())
    changed = compare(before, body) if before else None
    if as_json:
        print_json(body if changed is None else {**body, "against": {n: [a, b] for n, a, b in changed}})
        return
    _show(result)
    if out:
        console().print(f"Report: {out}")
    if changed is not None:
        print_table(
            f"Against {against}", ["figure", "#before", "#now"], [[n, _digits(a), _digits(b)] for n, a, b in changed]
        )


def _show(result: Evaluation) -> None:
    q, d, p, r = result.quality, result.diversity, result.preservation, result.reidentification
    rows: list[list[Any]] = [
        ["FID, all fakes and their own reals", q.fid_paired, "reads low: they share all but the face", q.faces],
        ["FID, halves", q.fid_halves, f"{_digits(q.fid_floor)} real and real", q.half],
        [
            "KID × 1,000, halves",
            _with_error(q.kid_halves, q.kid_halves_error),
            f"{_with_error(q.kid_floor, q.kid_floor_error)} real and real",
            q.half,
        ],
        ["1 − MS-SSIM over z", d.structure, "", d.faces],
        ["descriptor distance over z", d.embedding, "", d.faces],
        ["descriptor distance between fakes", d.between_fakes, f"{_digits(d.between_reals)} reals", ""],
        ["found by CenterFace", _share(p.centerface), f"{_share(p.centerface_real)} reals", q.faces],
        ["found by BlazeFace", _share(p.blazeface), f"{_share(p.blazeface_real)} reals", q.faces],
    ]
    if p.nme:
        beside = f"{p.nme_real.mean:.1%} reals" if p.nme_real else ""
        rows.append(["keypoint error (NME), mean", f"{p.nme.mean:.1%}", beside, p.nme.n])
    for name in ("yaw", "pitch", "roll"):
        value = getattr(p, name)
        if value:
            chance = getattr(p, f"{name}_chance")
            rows.append([f"{name} error, mean", f"{value.mean:.1f}°", f"{_digits(chance)}° by chance", value.n])
    if r:
        rows += [
            ["taken for its original at 0.6", _share(r.same), f"{_share(r.different_same)} different people", q.faces],
            ["… at 1 % false accepts", _share(r.accepted), "1.0 %", q.faces],
            ["AUC fake–original", r.auc, "0.50 none", q.faces],
            ["own original is the nearest", _share(r.rank1), f"{r.rank1_chance:.1%} by chance", q.faces],
        ]
    rows += _memory(result.memorization)
    print_table(
        f"{result.model.name}: {q.faces:,} faces of {result.data.of:,} ({result.data.split}, {result.model.resolution} px)",
        ["measure", "#value", "beside it", "#n"],
        [[name, value if isinstance(value, str) else _digits(value), beside, n] for name, value, beside, n in rows],
    )
    _say(result)


def _memory(m: Memorization | None) -> list[list[Any]]:
    names = ("distance to what it ate, median", "nearer than 0.4 to what it ate", "nearer than 95 % of reals")
    if m is None:
        return [[name, "not known", "", ""] for name in names]
    figures = (
        (m.fakes[2], f"{_digits(m.reals[2])} reals"),
        (_share(m.near), f"{_share(m.near_real)} reals"),
        (_share(m.nearer_than_reals), "5.0 % by chance"),
    )
    return [[name, value, beside, m.training] for name, (value, beside) in zip(names, figures, strict=True)]


def _say(result: Evaluation) -> None:
    """What must be known to read the figures."""
    q, out = result.quality, console()
    out.print("Shares with their 95 % intervals (Wilson).")
    out.print(
        f"Distances in {q.extractor} ({q.extractor_sha256[:12]}, {q.features} features, {q.region}): not to be mixed."
    )
    if q.biased:
        out.print(
            f"FID is biased upwards: {q.half} faces for {q.features} features. Read it against its floor, or read KID."
        )
    if result.data.eaten:
        out.print(
            f"{result.data.eaten:,} of these faces are ones that the generator may have learnt from: figures flatter it."
        )
    elif result.data.eaten is None:
        out.print(
            "Whether the generator has learnt from these faces is not known: no run above its file can be told to be its own."
        )
    if result.reidentification is None:
        out.print("All these faces have one owner: nothing is said about re-identification.")
    _say_memory(result)
    t = result.timing
    out.print(
        f"{t.seconds:.0f} s, {t.faces_per_second:.1f} faces/s; the generator takes {t.generator_ms:.1f} ms a face."
    )


def _say_memory(result: Evaluation) -> None:
    data, m, out = result.data, result.memorization, console()
    if data.training_eaten is not None and data.training_looked:
        more = "; --training looks at more" if data.training_looked < data.training_of else ""
        out.print(f"{data.training_looked:,} of {data.training_of:,} training faces were looked at{more}.")
    if m is None:
        out.print(f"Memorization is not known. {result.memorization_unknown}")
    else:
        ate = f"The generator ate {m.training:,} of these, and {m.training_total:,} in all"
        out.print(f"{ate}: memorization rests on the {m.training:,}.")


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _with_error(value: float, error: float | None) -> str:
    return _digits(1000 * value) + (f" ± {_digits(1000 * error)}" if error is not None else "")


def _share(value: Any) -> str:
    return "" if value is None else f"{value.value:.1%} ({100 * value.low:.1f}–{100 * value.high:.1f})"
