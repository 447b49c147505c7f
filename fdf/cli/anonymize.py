"""`fdf anonymize`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fdf.cli import anonymize_checks as checks
from fdf.cli import anonymize_options as an
from fdf.cli.anonymize_film import Films, say_forgotten
from fdf.cli.anonymize_progress import progress
from fdf.cli.anonymize_report import say_drawn, tell
from fdf.cli.output import JsonOption, terminated_as_interrupted

if TYPE_CHECKING:
    from fdf.anonymize.audit_log import AuditLog
    from fdf.anonymize.base import Method
    from fdf.anonymize.files import FileReport, Settings, TreeReport
    from fdf.anonymize.guard import Guard
    from fdf.anonymize.image import Anonymizer, Finder
    from fdf.anonymize.policy import Policy


def anonymize(
    context: typer.Context,
    source: an.Source,
    output: an.Output,
    method: an.Method = "solid",
    region: an.Region = "face",
    strength: an.Strength = 1.0,
    model: an.Model = None,
    donors: an.Donors = None,
    guard: an.Guarded = None,
    protect: an.Protect = None,
    fallback: an.Fallback = "solid",
    thoroughness: an.Thoroughness = None,
    threshold: an.Threshold = None,
    detections: an.Detections = None,
    save_detections: an.SaveDetections = None,
    policy: an.PolicyFile = None,
    group: an.Groups = None,
    audit_log: an.Log = None,
    salt: an.Salt = None,
    people: an.People = None,
    quality: an.Quality = 95,
    audio: an.Audio = "keep",
    start: an.Start = 0.0,
    end: an.End = None,
    trim: an.Trim = False,
    every: an.Every = "adaptive",
    hold: an.Hold = None,
    look_ahead: an.LookAhead = None,
    codec: an.Codec = None,
    partial: an.Partial = False,
    overwrite: an.Overwrite = False,
    dry_run: an.DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Hide the faces in pictures and films, and leave their metadata behind. What a method can't do is covered.

    The input is never overwritten. A folder can be gone on with after an interruption; exit code 1 if a file in it failed.
    """
    from fdf.anonymize.detection import FaceFinder
    from fdf.anonymize.faces_json import read_faces, write_faces
    from fdf.anonymize.files import Settings

    what = checks.what_of(source, output, dry=dry_run)
    checks.check_given(context, what, source)
    checks.check_effect(
        context, what, output, (method, fallback), detections, policy=bool(policy), protect=bool(protect)
    )
    checks.check_salt(salt)
    checks.check_saving(save_detections, film=what == "film", overwrite=overwrite)
    checks.check_log(audit_log, [Path(source), output, detections, save_detections, policy])
    checks.check_people(people, detections, film=what == "film")
    asked: dict[str, Any] = {
        "audio": audio,
        "start": start,
        "end": end,
        "trim": trim,
        "codec": codec,
        "partial": partial,
    }
    asked |= {"every": int(every) if every.isdecimal() else every, "hold": hold, "look_ahead": look_ahead}
    film_threshold = None if thoroughness else 0.25 if threshold is None else threshold
    look = (thoroughness, threshold if film_threshold is None else film_threshold)
    films = Films(asked, film_threshold, what == "film", look, detections, save_detections)
    if what != "picture":
        films.video_options()  # a folder isn't begun with what can't be
    finder = FaceFinder(thoroughness or "normal", threshold)
    before = _guard(guard, protect, finder, policy)
    plain = _plain((method, fallback), strength, (model, donors), before, region=region, finder=finder, salt=salt)
    saves, drawn = save_detections is not None and what == "film", checks.draws(plain)
    for_drawn = {"--protect": protect is not None, "--guard": bool(guard), "--people": bool(people) and not saves}
    checks.check_drawn(plain, for_drawn | {"--salt": salt is not None})
    films = dataclasses.replace(films, numbered=drawn or saves, people=drawn if people is None else people)
    known = read_faces(detections) if detections and what != "film" else None
    parts: list[Any] = [method, region, strength, fallback, thoroughness, threshold, salt, quality, audio, start, end]
    parts += [trim, detections.read_text() if known and detections else None, guard, str(donors)]
    parts += [getattr(one, "fingerprint", None) for one in (plain.method, plain.fallback)]
    parts += [every, hold, look_ahead, codec, partial, *([films.people] if drawn else [])]
    checks.check_logged(audit_log, policy, plain)
    versions, log = _policies(policy, group, audit_log, finder)
    settings, films = Settings(known, overwrite, quality, audit=log), dataclasses.replace(films, log=log)
    work = _Work(source, output, what, plain, settings, films, repr(parts), dry_run, quiet=as_json)
    reports = work.done(versions)
    if save_detections and what != "film":
        write_faces(save_detections, [row for one in reports for file in one[2].files for row in file.faces])
    tell(reports, many=what == "many", dry=dry_run, as_json=as_json)
    say_drawn(plain.method)
    raise typer.Exit(1 if any(one_report.count("failed") for _, _, one_report in reports) else 0)


@dataclass(frozen=True)
class _Work:
    """All files, in every version."""

    source: str
    output: Path
    what: checks.What
    plain: Anonymizer
    settings: Settings
    films: Films
    by: str
    dry: bool
    quiet: bool

    def done(self, versions: Sequence[Policy | None]) -> list[tuple[Policy | None, Path, TreeReport]]:
        """A report for each version. Ctrl-C ends the command."""
        from fdf.anonymize.files import find_sources
        from fdf.errors import UsageError

        many = self.what == "many"
        if len(versions) > 1 and checks.is_screen(self.output):
            raise UsageError("A screen shows one version", action="Choose it with --group")
        sources = find_sources(self.source, self.output) if many else [(Path(self.source), Path(self.source).name)]
        try:
            with (
                terminated_as_interrupted(),
                progress(len(sources) * len(versions) if many else None, quiet=self.quiet) as bars,
            ):
                films = dataclasses.replace(self.films, bars=bars)
                return [self._version(who, sources, films, bars.advance) for who in versions]
        except KeyboardInterrupt:
            left = "finished files are kept; run the same command again to go on" if many else "nothing is written"
            typer.secho(f"interrupted: {left}", fg="yellow", err=True)
            raise typer.Exit(130) from None

    def _version(
        self, who: Policy | None, sources: list[tuple[Path, str]], films: Films, advance: Callable[[int], None]
    ) -> tuple[Policy | None, Path, TreeReport]:
        from fdf.anonymize.files import anonymize_tree

        many = self.what == "many"
        by = self.by + (repr([who.digest, who.group]) if who else "")
        settings = dataclasses.replace(self.settings, fingerprint=by)
        anonymizer = self.plain.with_policy(who) if who else self.plain
        target = _of_group(self.output, who, many=many)
        film = partial(dataclasses.replace(films), anonymizer=anonymizer)  # each version remembers its own people
        if self.dry:
            report = _look(sources, anonymizer, settings, advance)
        elif many:
            report = anonymize_tree(sources, target, anonymizer, settings, video=film, advance=advance)
            if films.people:
                say_forgotten(report)
        else:
            report = _one(self.source, target, anonymizer, settings, film if self.what == "film" else None)
        return who, target, report


def _guard(wanted: bool | None, protect: Path | None, finder: Finder, policy: Path | None) -> Guard | None:
    """What stands before methods that draw; a policy brings its own."""
    from fdf.anonymize.guard import make_guard
    from fdf.errors import UsageError

    if policy is not None:
        for option, given in (("--no-guard", wanted is False), ("--protect", protect is not None)):
            if given:
                raise UsageError(f"{option} does not go with --policy", action="Say it there, in [dissimilarity]")
        return None
    if wanted is False and protect is not None:
        raise UsageError("--protect needs the guard", action="Leave --no-guard out")
    return None if wanted is False else make_guard(protect, finder=finder)


def _plain(
    names: tuple[str, str],
    strength: float,
    drawn: tuple[Path | None, Path | None],
    guard: Guard | None,
    **settings: Any,
) -> Anonymizer:
    """The anonymizer of two methods, the one asked for and its fallback, without a policy. Weak settings warn.

    Args:
        names: of both.
        strength: of both, as far as they have one.
        drawn: generator of `gan` and folder of `donor`, or None.
        guard: stands before methods that draw.
        settings: of `Anonymizer`.
    """
    import warnings

    from fdf.anonymize.image import Anonymizer
    from fdf.anonymize.methods import WeakMethodWarning

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", WeakMethodWarning)
        method, fallback = (_drawing(name, strength, *drawn, other=other) for name, other in (names, names[::-1]))
        plain = Anonymizer(method, fallback=fallback, strength=strength, guard=guard, **settings)
    for text in dict.fromkeys(str(one.message) for one in said):
        typer.secho(f"warning: {text}", fg="yellow", err=True)
    return plain


def _policies(
    path: Path | None, groups: list[str] | None, log: Path | None, finder: Finder
) -> tuple[list[Policy] | list[None], AuditLog | None]:
    """A policy for each version to make, and where decisions go."""
    from fdf.anonymize.audit_log import AuditLog
    from fdf.errors import UsageError

    if path is None:
        if groups:
            raise UsageError("--group goes with --policy", action="Add --policy FILE")
        return [None], AuditLog(log) if log else None
    from fdf.anonymize.policy import load_policy

    policy = load_policy(path, finder=finder)
    for note in policy.notes:
        typer.secho(f"note: {note}", fg="yellow", err=True)
    wanted = dict.fromkeys(groups or policy.groups)
    versions = [policy.for_group(name) for name in wanted] or [policy]
    return versions, AuditLog(log or path.with_name(f"{path.name.removesuffix('.toml')}.audit.jsonl"))


def _of_group(output: Path, policy: Policy | None, *, many: bool) -> Path:
    """Where a group's version goes: `party.family.jpg`, or a folder a group."""
    if policy is None or not policy.group:
        return output
    return output / policy.group if many else output.with_name(f"{output.stem}.{policy.group}{output.suffix}")


def _drawing(name: str, strength: float, model: Path | None, donors: Path | None, *, other: str) -> str | Method:
    """A method by its name, or made with its generator or donors."""
    from fdf.anonymize.methods import make_method
    from fdf.errors import UsageError

    for option, given, owner in (("--model", model, "gan"), ("--donors", donors, "donor")):
        if given is not None and owner not in (name, other):
            raise UsageError(
                f"{option} is of --method {owner}",
                got=f"--method {name}",
                action=f"Leave it out, or add --method {owner}",
            )
    if model is not None and name == "gan":
        from fdf.anonymize.gan import Gan

        return Gan(model=model)
    return make_method(name, strength, donors=donors) if donors is not None and name == "donor" else name


def _one(
    source: str,
    output: Path,
    anonymizer: Anonymizer,
    settings: Settings,
    film: Callable[[Path | str, Path], FileReport] | None,
) -> TreeReport:
    from fdf.anonymize.container import is_stream
    from fdf.anonymize.files import TreeReport, anonymize_file
    from fdf.errors import DataError, UsageError
    from fdf.store.files import remove_leftovers_of

    path = Path(source)
    if not is_stream(source) and not path.is_file():
        got = "no regular file: a pipe would never end" if path.exists() else "No such file or directory"
        raise DataError(f"{source} can't be read", got=got)
    remove_leftovers_of(output)
    if film is None:
        return TreeReport([anonymize_file(path, output, anonymizer, settings)])
    same = not is_stream(source) and output.exists() and output.samefile(path)
    if output.exists() and not settings.overwrite and not same:
        raise UsageError(f"{output} is there already", action="Add --overwrite to replace it, or choose another output")
    return TreeReport([film(source if is_stream(source) else path, output)])


def _look(
    sources: list[tuple[Path, str]], anonymizer: Anonymizer, settings: Settings, advance: Callable[[int], None]
) -> TreeReport:
    from fdf.anonymize.files import FileReport, TreeReport, anonymize_bytes, is_video, left_out
    from fdf.errors import FdfError

    report = TreeReport()
    for path, name in sources:
        try:
            one = left_out(path, name)
            if one is None and is_video(name):
                one = FileReport(name, "left out", notes=["a film: not looked at in a dry run"])
            elif one is None:
                one = anonymize_bytes(path.read_bytes(), None, anonymizer, settings, name)[1]
        except (FdfError, OSError) as error:
            if len(sources) == 1 and isinstance(error, FdfError):
                raise
            one = FileReport(name, "failed", error=str(error))
        report.files.append(one)
        advance(1)
    return report
