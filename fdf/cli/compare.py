"""`fdf compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdf.cli.output import JsonOption, console, print_json, print_table, working, write_report

if TYPE_CHECKING:
    from fdf.evaluate.film import FilmReport


def compare(
    original: Annotated[Path, typer.Argument(help="A film.", show_default=False)],
    anonymized: Annotated[Path, typer.Argument(help="What an anonymizer made of it.", show_default=False)],
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            help="Faces of the frames: JSON (fdf-faces), or .jsonl of --save-detections. Default: CenterFace looks.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", help="Lowest score of a face that CenterFace sees; default 0.5.", show_default=False
        ),
    ] = None,
    cover: Annotated[
        str | None,
        typer.Option(
            "--cover",
            help="Colour of the covers, e.g. 96,96,96. Default: any cover, judged by what remains of the original.",
            show_default=False,
        ),
    ] = None,
    at_most: Annotated[
        float | None,
        typer.Option("--at-most", help="Exit code 1 if more face-frames in 1,000 are exposed.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Report to write (JSON).", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure an anonymized film against its original: faces still seen, by size, and flicker.

    Needs the extra `video` of the package. docs/evaluate.md says what each figure means.
    """
    from fdf.errors import UsageError
    from fdf.evaluate.film import compare_films
    from fdf.evaluate.truth import THRESHOLD, SeenFaces, read_truth

    if truth and threshold is not None:
        raise UsageError("--threshold is of the detector, and --truth goes without", action="Leave one of them out")
    if at_most is not None and not 0 <= at_most <= 1000:
        raise UsageError("--at-most is out of range", expected="0 to 1,000 face-frames in 1,000", got=str(at_most))
    colour = _colour(cover)
    faces = read_truth(truth) if truth else SeenFaces(THRESHOLD if threshold is None else threshold)
    with working("comparing frames") as advance:
        report = compare_films(original, anonymized, faces, cover=colour, progress=lambda _done, _total: advance(1))
    write_report(out, body := report.to_dict())
    if as_json:
        print_json(body)
    else:
        _show(report)
    rate = report.exposure.per_1000
    raise typer.Exit(1 if at_most is not None and rate is not None and rate > at_most else 0)


def _colour(text: str | None) -> tuple[int, int, int] | None:
    from fdf.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        raise UsageError("--cover is no colour", expected="red, green and blue from 0 to 255: 96,96,96", got=repr(text))
    red, green, blue = (int(part) for part in parts)
    return red, green, blue


def _show(report: FilmReport) -> None:
    exposure, flicker, out = report.exposure, report.flicker, console()
    rows = [["exposed face-frames", _said(exposure.exposed)], ["faces with an exposed frame", _said(exposure.tracks)]]
    for one in report.coverage:
        if one.covered:
            size = f"{one.low} px and more" if one.high is None else f"{one.low}–{one.high - 1} px"
            rows.append([f"covered, {size} high", str(one.covered)])
    if flicker:
        rows += [
            ["flicker beyond the original, grey levels", f"{flicker.excess:.2f} (5 % above {flicker.excess_p95:.2f})"],
            ["change from frame to frame", f"{flicker.anonymized:.2f}, original {flicker.original:.2f}"],
        ]
    print_table(
        f"{report.anonymized[0]}: {report.labelled:,} of {report.frames:,} frames",
        ["measure", "count, share, 95 %"],
        rows,
    )
    seen = (
        "" if report.threshold is None else f" from a score of {report.threshold:g}; what it doesn't see isn't counted"
    )
    out.print(f"Faces: {report.truth[0]} ({report.truth[1][:12]}){seen}.")
    if exposure.faint:
        out.print(
            f"{exposure.faint:,} exposed face-frames have hardly any detail: no blur could hide them from this measure."
        )
    if exposure.frames:
        shown = ", ".join(map(str, exposure.frames[:10]))
        out.print(f"Look at frames {shown}{' …' if len(exposure.frames) > 10 else ''} (from 0).")
    out.print("Frames of a film are alike: the interval of faces, not that of face-frames, is the one to trust.")


def _said(value: object) -> str:
    return "no faces" if value is None else str(value)
