"""`fdf anonymize`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdf.cli.output import JsonOption, print_json, working

if TYPE_CHECKING:
    from fdf.anonymize.audit_log import AuditLog
    from fdf.anonymize.base import Method
    from fdf.anonymize.detection import FaceFinder
    from fdf.anonymize.files import FileReport, Settings, TreeReport
    from fdf.anonymize.image import Anonymizer
    from fdf.anonymize.policy import Policy


def anonymize(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A picture or film, a folder, or a pattern: 'in/*.jpg'."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File, or folder for a folder or a pattern.")],
    method: Annotated[str, typer.Option("--method", help="solid, blur, pixelate or gan.")] = "solid",
    region: Annotated[
        Literal["face", "head"], typer.Option("--region", help="What to hide: forehead to chin, or hair and ears too.")
    ] = "face",
    strength: Annotated[
        float, typer.Option("--strength", help="Of blur and pixelate; under 1 more of a face stays.")
    ] = 1.0,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Of gan: a generator that fdf export made. Default: the one that fdf brings."),
    ] = None,
    fallback: Annotated[str, typer.Option("--fallback", help="Method for faces that --method can't do.")] = "solid",
    thoroughness: Annotated[
        Literal["fast", "normal", "thorough"] | None,
        typer.Option(
            "--thoroughness", help="How closely to look for faces. Default: normal, in films what keeps pace."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Lowest score of a face, 0–1; lower finds more.")
    ] = None,
    detections: Annotated[
        Path | None, typer.Option("--detections", help="JSON with the faces, instead of looking for them.")
    ] = None,
    save_detections: Annotated[
        Path | None, typer.Option("--save-detections", help="Write the faces as JSON, to mend and render again.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="TOML file that says who stays; without it nobody does.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group", help="Of a policy for groups of viewers: make this version only. Default: all of them."
        ),
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option("--audit-log", help="Where every decision goes. Default: POLICY.audit.jsonl beside the policy."),
    ] = None,
    salt: Annotated[
        str | None, typer.Option("--salt", help="Same salt, same stand-ins. Default: one that nobody knows.")
    ] = None,
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of JPEG and other lossy files.")] = 95,
    audio: Annotated[
        Literal["keep", "drop", "distort"], typer.Option("--audio", help="Sound of films: a voice is a face, too.")
    ] = "keep",
    start: Annotated[
        float, typer.Option("--from", min=0, help="Films: seconds where the part of --trim begins.")
    ] = 0.0,
    end: Annotated[float | None, typer.Option("--to", help="Films: seconds where it ends.")] = None,
    trim: Annotated[bool, typer.Option("--trim", help="Films: write only the part between --from and --to.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look for faces and say what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hide the faces in pictures and films, and leave their metadata behind. What a method can't do is covered.

    The input is never overwritten. A folder can be gone on with after an interruption; exit code 1 if a file in it failed.
    """
    import warnings

    from fdf.anonymize.detection import FaceFinder
    from fdf.anonymize.faces_json import read_faces, write_faces
    from fdf.anonymize.files import Settings, anonymize_tree, find_sources, is_pattern, is_video
    from fdf.anonymize.image import Anonymizer
    from fdf.anonymize.methods import WeakMethodWarning
    from fdf.errors import UsageError

    if save_detections and save_detections.suffix.lower() != ".json":
        raise UsageError(
            "--save-detections writes JSON", expected="a name that ends in .json", got=str(save_detections)
        )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", WeakMethodWarning)
        finder = FaceFinder(thoroughness or "normal", threshold)
        plain = Anonymizer(
            _drawing(method, model, other=fallback),
            region=region,
            fallback=_drawing(fallback, model, other=method),
            finder=finder,
            salt=salt,
            strength=strength,
        )
    for one in said:
        typer.secho(f"warning: {one.message}", fg="yellow", err=True)
    known = read_faces(detections) if detections else None
    parts: list[Any] = [method, region, strength, fallback, thoroughness, threshold, salt, quality, audio, start, end]
    parts += [trim, detections.read_text() if detections else None]
    parts += [getattr(one, "fingerprint", None) for one in (plain.method, plain.fallback)]
    policies, log = _policies(policy, group, audit_log, finder)

    def film(path: Path, target: Path, anonymizer: Anonymizer) -> FileReport:
        if known:
            raise UsageError(f"{path.name}: --detections is for pictures, not for films")
        options = {"audio": audio, "start": start, "end": end, "trim": trim}
        film_threshold = 0.25 if threshold is None else threshold
        return _film(path, target, anonymizer, options, film_threshold if thoroughness is None else None, log)

    many = is_pattern(source) or Path(source).is_dir()
    sources = find_sources(source, output) if many else [(Path(source), Path(source).name)]
    reports: list[tuple[Policy | None, Path, TreeReport]] = []
    try:
        with working("anonymizing", len(sources) * len(policies) if many else None) as advance:
            for who in policies:
                by = repr(parts + ([who.digest, who.group] if who else []))
                settings = Settings(known, overwrite, quality, fingerprint=by, audit=log)
                anonymizer, target = _under(plain, who), _of_group(output, who, many=many)
                filmed = partial(film, anonymizer=anonymizer)
                if dry_run:
                    report = _look(sources, anonymizer, settings, advance)
                elif many:
                    report = anonymize_tree(sources, target, anonymizer, settings, video=filmed, advance=advance)
                else:
                    report = _one(Path(source), target, anonymizer, settings, filmed if is_video(source) else None)
                reports.append((who, target, report))
    except KeyboardInterrupt:
        left = "finished files are kept; run the same command again to go on" if many else "nothing is written"
        typer.secho(f"interrupted: {left}", fg="yellow", err=True)
        raise typer.Exit(130) from None
    if save_detections:
        write_faces(save_detections, [row for one in report.files for row in one.faces])
    _tell(reports, many=many, dry=dry_run, as_json=as_json)
    _say_soft(plain.method)
    raise typer.Exit(1 if any(one_report.count("failed") for _, _, one_report in reports) else 0)


def _policies(
    path: Path | None, groups: list[str] | None, log: Path | None, finder: FaceFinder
) -> tuple[list[Policy] | list[None], AuditLog | None]:
    """A policy for each version to make, and where decisions go."""
    from fdf.errors import UsageError

    if path is None:
        for name, given in (("--group", groups), ("--audit-log", log)):
            if given:
                raise UsageError(f"{name} goes with --policy", action="Add --policy FILE")
        return [None], None
    from fdf.anonymize.audit_log import AuditLog
    from fdf.anonymize.policy import load_policy

    policy = load_policy(path, finder=finder)
    for note in policy.notes:
        typer.secho(f"note: {note}", fg="yellow", err=True)
    wanted = dict.fromkeys(groups or policy.groups)
    versions = [policy.for_group(name) for name in wanted] or [policy]
    return versions, AuditLog(log or path.with_name(f"{path.name.removesuffix('.toml')}.audit.jsonl"))


def _under(plain: Anonymizer, policy: Policy | None) -> Anonymizer:
    """The anonymizer with a policy."""
    from fdf.anonymize.image import Anonymizer

    if policy is None:
        return plain
    settings: dict[str, Any] = {"region": plain.region, "finder": plain.finder, "salt": plain.salt, "policy": policy}
    return Anonymizer(plain.method, fallback=plain.fallback, **settings)


def _of_group(output: Path, policy: Policy | None, *, many: bool) -> Path:
    """Where a group's version goes: `party.family.jpg`, or a folder a group."""
    if policy is None or not policy.group:
        return output
    return output / policy.group if many else output.with_name(f"{output.stem}.{policy.group}{output.suffix}")


def _drawing(name: str, model: Path | None, *, other: str) -> str | Method:
    """A method by its name, or made with its generator."""
    if model is None:
        return name
    from fdf.anonymize.gan import Gan
    from fdf.errors import UsageError

    if "gan" not in (name, other):
        raise UsageError(
            "--model is of --method gan", got=f"--method {name}", action="Leave it out, or add --method gan"
        )
    return Gan(model=model) if name == "gan" else name


def _say_soft(method: Method) -> None:
    """Tell of faces that came out soft."""
    largest = getattr(method, "largest", 0)
    if largest and largest > (side := getattr(method, "generator").resolution):  # noqa: B009 - whoever wraps it passes this on
        typer.secho(
            f"note: faces in squares of up to {largest} pixels were drawn at the generator's {side}: they look soft",
            fg="yellow",
            err=True,
        )


def _tell(reports: list[tuple[Policy | None, Path, TreeReport]], *, many: bool, dry: bool, as_json: bool) -> None:
    """What became of the files, in every version."""
    if not as_json:
        for _, target, report in reports:
            _print(report, target, many=many, dry=dry)
        return
    groups = {who.group: report.summary() for who, _, report in reports if who and who.group}
    print_json({"groups": groups} if groups else reports[0][2].summary())


def _one(
    source: Path,
    output: Path,
    anonymizer: Anonymizer,
    settings: Settings,
    film: Callable[[Path, Path], FileReport] | None,
) -> TreeReport:
    from fdf.anonymize.files import TreeReport, anonymize_file
    from fdf.errors import DataError, UsageError

    if not source.exists():
        raise DataError(f"{source} can't be read", got="No such file or directory")
    if film is None:
        return TreeReport([anonymize_file(source, output, anonymizer, settings)])
    if output.exists() and not settings.overwrite and not output.samefile(source):
        raise UsageError(f"{output} is there already", action="Add --overwrite to replace it, or choose another output")
    return TreeReport([film(source, output)])


def _film(
    source: Path,
    target: Path,
    anonymizer: Anonymizer,
    options: dict[str, Any],
    threshold: float | None,
    log: AuditLog | None,
) -> FileReport:
    from fdf.anonymize.files import FileReport
    from fdf.anonymize.image import Anonymizer
    from fdf.anonymize.video import FilmFinder, VideoOptions, anonymize_video

    if threshold is not None:  # the film's own detector: a tracker makes up for what one look misses
        anonymizer = Anonymizer(
            anonymizer.method,
            region=anonymizer.region,
            fallback=anonymizer.fallback,
            finder=FilmFinder(threshold=threshold),
            salt=anonymizer.salt,
            policy=anonymizer.policy,
        )
    told: dict[str, Any] = {"audit": log} if log else {}
    result = anonymize_video(source, target, anonymizer, VideoOptions(**options), **told)
    counts = {
        "faces": result.covered,
        **({"shown": result.shown} if log else {}),
        **result.methods,
        "fell_back": result.fell_back,
        "tracks": result.tracks,
    }
    notes = [*result.notes, *([f"sound: {result.audio}"] if result.audio else [])]
    return FileReport(
        source.name, "done", frames=result.frames, counts=counts, removed=list(result.removed), notes=notes
    )


def _look(
    sources: list[tuple[Path, str]], anonymizer: Anonymizer, settings: Settings, advance: Callable[[int], None]
) -> TreeReport:
    from fdf.anonymize.codecs import format_of
    from fdf.anonymize.files import FileReport, TreeReport, anonymize_bytes, is_video
    from fdf.errors import FdfError

    report = TreeReport()
    for path, name in sources:
        try:
            if is_video(name) or format_of(name) is None:
                one = FileReport(
                    name, "left out", notes=["a film: not looked at in a dry run"] if is_video(name) else []
                )
            else:
                one = anonymize_bytes(path.read_bytes(), None, anonymizer, settings, name)[1]
        except (FdfError, OSError) as error:
            if len(sources) == 1 and isinstance(error, FdfError):
                raise
            one = FileReport(name, "failed", error=str(error))
        report.files.append(one)
        advance(1)
    return report


def _print(report: TreeReport, output: Path, *, many: bool, dry: bool) -> None:
    from fdf.anonymize.files import REPORT

    for one in report.files:
        if one.status == "failed":
            typer.secho(f"failed: {one.file}: {one.error}", fg="red", err=True)
    counts = report.counts
    how = ", ".join(
        f"{number:,} {name}" for name, number in counts.items() if name not in {"faces", "fell_back", "tracks", "shown"}
    )
    faces = counts.get("faces", 0)
    line = f"{faces:,} face{'' if faces == 1 else 's'} hidden" + (f" ({how})" if how else "")
    if counts.get("fell_back"):
        why = sorted({reason for one in report.files for reason in one.fallbacks})
        line += f"; {counts['fell_back']:,} fell back: {'; '.join(why)}"
    if counts.get("shown"):
        line += f"; {counts['shown']:,} shown by the policy"
    known = ("faces", "shown")
    bare = sum(
        one.status in {"done", "skipped"} and not any(one.counts.get(name) for name in known) for one in report.files
    )
    if bare:
        line += (
            f"; no face was found in {bare:,} of {len(report.files):,} files: look at them" if many else ": look at it"
        )
    if many:
        parts = {
            "done": "done",
            "skipped": "done before",
            "failed": "failed",
            "left out": "left out (no picture or film)",
        }
        told = [f"{report.count(status):,} {words}" for status, words in parts.items() if report.count(status)]
        line = f"{', '.join(told) or 'no files'}. {line}"
    else:
        for one in report.files:
            line += f". Removed: {', '.join(one.removed)}" if one.removed else ""
            line += f". Note: {'; '.join(one.notes)}" if one.notes else ""
    where = f"Report: {output / REPORT}" if many else f"→ {output}"
    typer.echo(f"Dry run, nothing written: {line}." if dry else f"{line}. {where}")
