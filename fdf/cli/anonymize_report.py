"""What `fdf anonymize` says when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fdf.cli.output import print_json

if TYPE_CHECKING:
    from fdf.anonymize.base import Method
    from fdf.anonymize.files import TreeReport
    from fdf.anonymize.policy import Policy

_NAMED = 5
"""Files and folders of one kind that are named; the report has all of them."""


def tell(reports: list[tuple[Policy | None, Path, TreeReport]], *, many: bool, dry: bool, as_json: bool) -> None:
    """What became of the files, in every version."""
    if not as_json:
        for _, target, report in reports:
            _print(report, target, many=many, dry=dry)
        return
    groups = {who.group: report.summary() for who, _, report in reports if who and who.group}
    print_json({"groups": groups} if groups else reports[0][2].summary())


def say_drawn(method: Method) -> None:
    """Tell what is to be known of faces that were drawn."""
    _say_soft(method)
    _say_margin(method)


def _say_soft(method: Method) -> None:
    """Tell of faces that came out soft."""
    largest = getattr(method, "largest", 0)
    if largest and largest > (side := getattr(method, "generator").resolution):  # noqa: B009 - whoever wraps it passes this on
        typer.secho(
            f"note: faces in squares of up to {largest} pixels were drawn at the generator's {side}: they look soft",
            fg="yellow",
            err=True,
        )


def _say_margin(method: Method) -> None:
    """Tell how far the faces that were drawn are from everybody they must not resemble."""
    least = getattr(method, "least", None)
    if least is not None:
        typer.secho(
            f"note: every face that was drawn is farther from its source than the threshold, the nearest by {least:.3f}",
            fg="yellow",
            err=True,
        )


def _named(files: list[str]) -> str:
    return ", ".join(files[:_NAMED]) + (" …" if len(files) > _NAMED else "")


def _print(report: TreeReport, output: Path, *, many: bool, dry: bool) -> None:
    from fdf.anonymize.files import EARLIER, REPORT

    for one in report.files:
        if one.status == "failed":
            typer.secho(f"failed: {one.file}: {one.error}", fg="red", err=True)
    counts = report.counts
    how = ", ".join(
        f"{number:,} {name}" for name, number in counts.items() if name not in {"faces", "fell_back", "tracks", "shown"}
    )
    faces = counts.get("faces", 0)
    line = f"{faces:,} face{'' if faces == 1 else 's'} hidden" + (f" ({how})" if how else "")
    if tracks := counts.get("tracks"):  # a film counts a face in every frame
        line += f" in {tracks:,} track{'' if tracks == 1 else 's'} of films" if many else f" in {tracks:,} tracks"
    if counts.get("fell_back"):
        why = sorted({reason for one in report.files for reason in one.fallbacks})
        line += f"; {counts['fell_back']:,} fell back: {'; '.join(why)}"
    if counts.get("shown"):
        line += f"; {counts['shown']:,} shown by the policy"
    known = ("faces", "shown")
    looked_at = [one for one in report.files if one.status in {"done", "skipped"}]
    bare = [one.file for one in looked_at if not any(one.counts.get(name) for name in known)]
    if bare:
        what = f"; no face was found in {len(bare):,} of {len(looked_at):,} files: look at them ({_named(bare)})"
        line += what if many else ": look at it"
    if many:
        parts = {
            "done": "done",
            "skipped": "done before",
            "failed": "failed",
            "left out": "left out (no picture or film)",
        }
        earlier = [one.file for one in report.files if EARLIER in one.notes]
        numbers = {status: report.count(status) - len(earlier) * (status == "left out") for status in parts}
        told = [f"{numbers[status]:,} {words}" for status, words in parts.items() if numbers[status]]
        if earlier:
            what = f"{len(earlier):,} folder{'' if len(earlier) == 1 else 's'} of earlier runs left out"
            told.append(f"{what} ({_named(earlier)})")
        line = f"{', '.join(told) or 'no files'}. {line}"
    else:
        for one in report.files:
            line += f". Removed: {', '.join(one.removed)}" if one.removed else ""
            line += f". Note: {'; '.join(one.notes)}" if one.notes else ""
    where = f"Report: {output / REPORT}" if many else f"→ {output}"
    typer.echo(f"Dry run, nothing written: {line}." if dry else f"{line}. {where}")
