"""`fdf ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdf.cli.output import terminated_as_interrupted


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 7860,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Generator of the method gan, made by fdf export.", show_default=False),
    ] = None,
    protect: Annotated[
        Path | None,
        typer.Option(
            "--protect", help="Folder with a folder a person: no drawn face may be like one.", show_default=False
        ),
    ] = None,
    max_size: Annotated[int, typer.Option("--max-size", min=1, help="Largest upload, megabytes.")] = 500,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open the page, only serve it.")] = False,
) -> None:
    """Hide faces on a page in the browser: drop a picture or a film, click on faces to keep or hide, download.

    The page is served to this machine only, nothing leaves it, and everything temporary is deleted when it ends.
    """
    import importlib.util

    from fdf.errors import UsageError

    try:
        found = importlib.util.find_spec("gradio")
    except ValueError:  # its entry in sys.modules is None
        found = None
    if found is None:
        raise UsageError("gradio is not installed", action='Install it with `pip install "fdf[ui]"`')
    from fdf.anonymize.page import serve

    def ready(address: str) -> None:
        typer.echo(f"{address} (Ctrl-C ends it)", err=True)

    try:
        with terminated_as_interrupted():
            serve(port=port, model=model, protect=protect, max_megabytes=max_size, browser=not no_browser, ready=ready)
    except KeyboardInterrupt:
        typer.echo("ended: everything temporary is deleted", err=True)
