"""What `fdf anonymize` refuses before it reads a picture: requests that can't be meant as they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import typer

if TYPE_CHECKING:
    from fdf.anonymize.image import Anonymizer

What = Literal["picture", "film", "many"]

_OF_FILMS: Final = frozenset(
    {"people", "audio", "start", "end", "trim", "every", "hold", "look_ahead", "codec", "partial"}
)
_OF_PICTURES: Final = frozenset({"quality"})
_OF_LOOKING: Final = frozenset({"thoroughness", "threshold"})
_OF_FOLLOWING: Final = frozenset({"every", "hold", "look_ahead"})
_WITH_QUALITY: Final = ("JPEG", "WEBP", "AVIF", "HEIF")


def what_of(source: str, output: Path, *, dry: bool) -> What:
    """Whether the input is a picture, a film or stream, or many files; and whether that fits the output.

    Raises:
        UsageError: it doesn't.
    """
    from fdf.anonymize.container import is_stream
    from fdf.anonymize.files import is_pattern, is_video
    from fdf.errors import UsageError

    if not source:
        raise UsageError("There is no input", expected="a picture, a film, a stream, a folder or a pattern", got="''")
    stream = is_stream(source)
    many = not stream and (is_pattern(source) or Path(source).is_dir())
    if stream and dry:
        raise UsageError("--dry-run looks at pictures, not at streams", got=source)
    found: What = "many" if many else "film" if stream or is_video(source) else "picture"
    if found == "film" and dry:
        raise UsageError(
            "--dry-run looks at pictures, not at films", got=source, action="Try --trim with --from and --to"
        )
    if is_screen(output) and found != "film":
        raise UsageError("A window or camera shows one film or stream", got=source, action="Choose a file with -o")
    return found


def is_screen(output: Path) -> bool:
    """Whether an output is a window or a camera."""
    return str(output).startswith(("window:", "camera:"))


def check_given(context: typer.Context, what: What, source: str) -> None:
    """Options of films are not for a picture, nor the other way round: nothing that was asked for is passed over.

    Raises:
        UsageError: names them.
    """
    if what != "many":
        foreign, owners = (_OF_FILMS, "films") if what == "picture" else (_OF_PICTURES, "pictures")
        _refuse(context, foreign, f"of {owners}", source)


def check_effect(
    context: typer.Context,
    what: What,
    output: Path,
    methods: tuple[str, str],
    detections: Path | None,
    *,
    policy: bool,
    protect: bool,
) -> None:
    """Nor is anything passed over that would change nothing, given the other options.

    Args:
        context: of the command.
        what: comes in.
        output: goes out.
        methods: the one asked for and its fallback.
        detections: file of faces.
        policy: there is one. It judges as far ahead as is asked, and has reference pictures for the detector.
        protect: so have the protected.

    Raises:
        UsageError: names what would have no effect, or a strength that a method hasn't.
    """
    from fdf.anonymize.codecs import format_of

    _check_strength(context, methods)
    kind = format_of(output)
    if what == "picture" and kind and kind not in _WITH_QUALITY:
        _refuse(context, {"quality"}, "of JPEG, AVIF, HEIC and lossy WebP", str(output))
    if policy and detections is None and str(context.params.get("every")) not in {"adaptive", "1"}:
        _refuse(context, {"every"}, "for films without a policy: with one every frame is looked at", "--policy FILE")
    if detections is not None:
        idle = frozenset() if policy or protect else _OF_LOOKING
        if what == "film":
            idle |= _OF_FOLLOWING - ({"look_ahead"} if policy else set())
        _refuse(context, idle, "for faces that are looked for", f"--detections {detections}")


def _check_strength(context: typer.Context, methods: tuple[str, str]) -> None:
    from fdf.anonymize.methods import STRENGTHS, names
    from fdf.errors import UsageError

    if not _is_given(context, "strength") or not set(methods) <= set(names()):
        return
    if not set(methods) & set(STRENGTHS):
        got = f"--method {methods[0]}, --fallback {methods[1]}"
        *most, last = STRENGTHS
        _refuse(context, {"strength"}, f"of {', '.join(most)} and {last}", got)
    strength = float(context.params["strength"])
    for name in methods:
        low, high = STRENGTHS.get(name, (0.0, 10.0))
        if low and not low <= strength <= high:
            raise UsageError(
                f"--strength does not fit {name}",
                expected=f"{low:g} to {high:g}: nothing is weaker than {low:g}",
                got=f"{strength:g}",
                action="Leave it out for 1",
            )


def _refuse(context: typer.Context, options: Collection[str], of: str, got: str) -> None:
    """Refuse the options among these that were given, even with their defaults. Raises UsageError."""
    from fdf.errors import UsageError

    names = [
        "/".join([*one.opts, *one.secondary_opts])
        for one in context.command.params
        if one.name in options and _is_given(context, one.name)
    ]
    if names:
        raise UsageError(
            f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {of}",
            got=got,
            action=f"Leave {'it' if len(names) == 1 else 'them'} out",
        )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in {"DEFAULT", "DEFAULT_MAP"}


def check_salt(salt: str | None) -> None:
    """An empty salt is everybody's. Raises UsageError."""
    from fdf.errors import UsageError

    if salt is not None and not salt.strip():
        raise UsageError(
            "--salt is empty: all who leave it so would draw the same stand-ins",
            expected="words that nobody guesses",
            got=repr(salt),
            action="Set the variable that it came from, if it was one; or leave --salt out for one that nobody knows",
        )


def check_saving(path: Path | None, *, film: bool, overwrite: bool) -> None:
    """A file of faces has its suffix, and replaces none that was perhaps mended by hand. Raises UsageError."""
    from fdf.errors import UsageError

    if path and not film and path.suffix.lower() != ".json":
        raise UsageError("--save-detections writes JSON", expected="a name that ends in .json", got=str(path))
    if path and path.exists() and not overwrite:
        raise UsageError(f"{path} is there already", action="Add --overwrite to replace it, or choose another name")


def check_people(wanted: bool | None, detections: Path | None, *, film: bool) -> None:
    """A film's file of faces says who is who. Raises UsageError."""
    from fdf.errors import UsageError

    if film and detections and wanted is not None:
        raise UsageError(
            f"{'--people' if wanted else '--no-people'} does not go with --detections",
            got=str(detections),
            action="Leave it out: the file says who is who. Give it where the file is saved",
        )


def check_log(path: Path | None, others: Sequence[Path | None]) -> None:
    """A log is added to: no other file may be taken for one. Raises UsageError."""
    from fdf.anonymize.inputs import JOURNAL
    from fdf.errors import UsageError

    if path and path.name == JOURNAL:
        raise UsageError("--audit-log has the name of the file in which fdf marks its output folders", got=str(path))
    if path and path.suffix.lower() != ".jsonl":
        raise UsageError("--audit-log writes lines of JSON", expected="a name that ends in .jsonl", got=str(path))
    if path and path.resolve() in {one.resolve() for one in others if one}:
        raise UsageError("--audit-log names a file that is something else here", got=str(path))


def check_logged(path: Path | None, policy: Path | None, plain: Anonymizer) -> None:
    """A log needs somebody who decides. Raises UsageError."""
    from fdf.anonymize.dissimilarity import Dissimilar
    from fdf.errors import UsageError

    if path and not policy and not any(isinstance(one, Dissimilar) for one in (plain.method, plain.fallback)):
        raise UsageError(
            "--audit-log goes with --policy, or with a guarded method that draws faces", action="Add --policy FILE"
        )


def draws(plain: Anonymizer) -> bool:
    """Whether a method or its fallback draws faces."""
    from fdf.anonymize.dissimilarity import is_generative

    return is_generative(plain.method) or is_generative(plain.fallback)


def check_drawn(plain: Anonymizer, given: Mapping[str, bool]) -> None:
    """Options of faces that are drawn are for methods that draw.

    Args:
        plain: with its methods.
        given: option → whether it was given.

    Raises:
        UsageError: names the first of them.
    """
    from fdf.errors import UsageError

    for option in (name for name, asked in given.items() if asked and not draws(plain)):
        raise UsageError(
            f"{option} is of methods that draw faces",
            expected="gan or donor as --method or --fallback",
            got=f"--method {plain.method.name}, --fallback {plain.fallback.name}",
            action="Leave it out, or choose one of them",
        )
