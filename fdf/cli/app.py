"""The `fdf` command. Each command's file parses, makes one library call and prints; errors end here as one paragraph."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated, Final

import typer

from fdf import __version__
from fdf.errors import FdfError

app = typer.Typer(
    name="fdf",
    help="Build, audit, regenerate and use the Flickr Diverse Faces corpus.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 and the number of the signal."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fdf {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build, audit, regenerate and use the Flickr Diverse Faces corpus."""


def _leave_threads() -> None:
    """End at once where threads of ours still run: they wait for a server or compute, and nobody needs it any more."""
    if any(not thread.daemon and thread.name.startswith("fdf") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def main() -> None:
    """Entry point: run a command, turn errors into one paragraph and an exit code that means something."""
    from fdf.cli import commands  # noqa: F401 - registers all commands

    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave_threads()
        raise
    except FdfError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("FDF_DEBUG"):
            raise
        kind = type(error).__name__
        message = (
            f"error: A defect of fdf, or something it did not foresee: {kind}: {error}. Nothing half-written is left. "
        )
        typer.secho(
            message + "Run it again with FDF_DEBUG=1 for the whole story, and please report it.", fg="red", err=True
        )
        sys.exit(70)
