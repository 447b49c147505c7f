"""`fdf attack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdf.cli.output import JsonOption, console, print_json, print_table, working, write_report

if TYPE_CHECKING:
    from fdf.evaluate.attack import AttackReport, Row
    from fdf.evaluate.recognizers import Recognizer


def attack(
    faces: Annotated[
        Path,
        typer.Argument(help="A folder with one folder a person, pictures of their face in it.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Report to write (JSON).", show_default=False)
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="solid, blur, pixelate or gan; with its own strength: blur=0.5. Repeatable; default: the first three.",
            show_default=False,
        ),
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="Of blur and pixelate that state none.")] = 1.0,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Of gan: a generator that fdf export made. Default: the one that fdf brings."),
    ] = None,
    region: Annotated[
        Literal["face", "head"], typer.Option("--region", help="What to hide: forehead to chin, or hair and ears too.")
    ] = "face",
    recognizer: Annotated[
        list[Path] | None,
        typer.Option(
            "--recognizer", help="A recognizer besides dlib's (ONNX, ArcFace-style). Repeatable.", show_default=False
        ),
    ] = None,
    points: Annotated[
        Literal["given", "seen"],
        typer.Option(
            "--points",
            help="Whether the attacker knows where the face was, or must find it in the hidden picture.",
        ),
    ] = "given",
    far: Annotated[float, typer.Option("--far", help="False accept rate of the thresholds.")] = 0.01,
    folds: Annotated[int, typer.Option("--folds", help="Most groups of people to learn and test on in turn.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of groups, and of what methods draw.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Try to name hidden faces: recognizers that know clean pictures, and such that learned from hidden ones.

    docs/attack.md says what each figure means.
    """
    import warnings

    from fdf.anonymize.methods import WeakMethodWarning
    from fdf.errors import UsageError
    from fdf.evaluate.attack import Settings, list_people
    from fdf.evaluate.attack import attack as run
    from fdf.evaluate.recognizers import DlibRecognizer, OnnxRecognizer

    names = list(dict.fromkeys(method or ["solid", "blur", "pixelate"]))
    if model is not None and "gan" not in names:
        raise UsageError("--model is of --method gan", action="Leave it out, or add --method gan")
    settings = Settings(strength, region, points, far, folds, seed)
    files = list_people(faces)
    networks: list[Recognizer] = [DlibRecognizer(), *(OnnxRecognizer(path) for path in recognizer or [])]
    with warnings.catch_warnings(), working("attacking", len(files)) as advance:
        warnings.simplefilter("ignore", WeakMethodWarning)  # how weak they are is what comes out
        methods = [_with_model(name, model) for name in names]
        report = run(faces, methods, networks, settings, advance=advance)
    write_report(out, body := report.to_dict())
    if as_json:
        print_json(body)
    else:
        _show(report)


def _with_model(name: str, model: Path | None) -> Any:
    if name != "gan" or model is None:
        return name
    from fdf.anonymize.gan import Gan

    return Gan(model=model)


def _show(report: AttackReport) -> None:
    counts = report.counts
    rows = [cells for row in report.rows for cells in _attacks(row)]
    print_table(
        f"Who is it? {counts.pictures:,} pictures of {counts.people:,} people",
        [
            "method",
            "recognizer",
            "attacker",
            "#TAR",
            "#FAR",
            "#rank-1",
            "#chance",
            "#AUC",
            "#same photo: TAR",
            "#rank-1",
        ],
        rows,
    )
    print_table(
        "What is left of the face",
        ["method", "#found", "#NME", "#yaw", "#pitch", "#roll", "#fell back", "#floor instead"],
        [_kept(row) for row in report.rows],
    )
    out = console()
    out.print(
        f"Shares with their 95 % intervals. Thresholds aim at {report.settings.far:.1%} FAR. none: clean pictures. "
        "solid: what hair, clothes and background give away."
    )
    if report.folds < 2:
        out.print("No parrot attack: it takes four people or more.")
    for number, what in (
        (counts.unreadable, "could not be read"),
        (counts.no_face, "show no face that was found, and are not counted"),
        (counts.several, "show several faces; the largest counts"),
    ):
        if number:
            out.print(f"{number:,} of {counts.files:,} files {what}.")
    if counts.left_out:
        out.print(f"Left out, with fewer than two pictures of a face: {', '.join(counts.left_out)}.")


def _attacks(row: Row) -> list[list[Any]]:
    return [
        [
            row.method,
            one.recognizer,
            one.attacker,
            _share(one.tar),
            _share(one.far, interval=False),
            _share(one.rank1),
            f"{one.rank1_chance:.0%}",
            one.auc,
            _share(one.same_tar),
            _share(one.same_rank1),
        ]
        for one in row.attacks
    ]


def _kept(row: Row) -> list[Any]:
    p = row.preservation
    angles = [f"{spread.mean:.1f}°" if spread else "" for spread in (p.yaw, p.pitch, p.roll)]
    nme = f"{p.nme.mean:.1%}" if p.nme else ""
    return [row.method, _share(p.centerface), nme, *angles, row.fell_back, row.not_found]


def _share(value: Any, *, interval: bool = True) -> str:
    if value is None:
        return ""
    return f"{value.value:.0%}" + (f" ({value.low:.0%}–{value.high:.0%})" if interval else "")
