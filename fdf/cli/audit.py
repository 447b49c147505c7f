"""`fdf audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdf.cli.output import JsonOption, console, print_json, print_table, working


def audit(
    folder: Annotated[
        Path,
        typer.Argument(help="A build folder, a published manifest folder or a release.parquet.", show_default=False),
    ],
    limit: Annotated[int, typer.Option(min=0, help="Findings to print; --json prints all.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Audit rights: faces by licence, incomplete attributions, refused licences that got through, licences of the models.

    Exit code 1 if anything is wrong.
    """
    from dataclasses import asdict

    from fdf.consent.audit import BATCH_ROWS, COLUMNS, audit_batches
    from fdf.pipeline.layout import find_release, release_batches, release_rows

    path = find_release(folder)
    with working("auditing", release_rows(path)) as advance:
        result = audit_batches(release_batches(path, COLUMNS, BATCH_ROWS), advance)
    if as_json:
        print_json(asdict(result))
        raise typer.Exit(1 if result.findings else 0)
    print_table(
        f"Rights of {result.faces:,} faces",
        ["licence", "class", "#photos", "#faces", "#owners", "text"],
        [[r.license_id, r.rights_class, r.photos, r.faces, r.owners, r.license_url] for r in result.rights],
    )
    print_table(
        "Models that touched them",
        ["id", "task", "weights' licence", "#faces", "sha256"],
        [[m.id, m.task, m.weight_license, m.faces, m.sha256] for m in result.models],
    )
    out = console()
    whole = result.obligations
    out.print(
        f"As one work: {whole.conflict}" if whole.conflict else f"As one work, all of it asks for: {whole.rights_class}"
    )
    out.print(result.notice)
    for finding in result.findings[:limit]:
        out.print(f"{finding.kind}: face {finding.face_id} of photo {finding.photo_id}: {finding.detail}")
    if len(result.findings) > limit:
        out.print(f"… and {len(result.findings) - limit:,} more; --json prints all")
    out.print(f"{'WRONG' if result.findings else 'ok'}: {len(result.findings):,} findings")
    raise typer.Exit(1 if result.findings else 0)
