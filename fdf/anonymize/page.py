"""The page of `fdf ui`: wires between gradio and `desk`. Nothing is decided here.

It answers on 127.0.0.1 and to that name only. Its headers forbid the browser to fetch or send anything elsewhere, so that
neither fonts nor scripts nor counters of the library it is made with can, and to keep copies. Uploads, what is shown and what
is made lie in one folder, which is deleted at the end.
"""

from __future__ import annotations

import os
import queue
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, get_args

from fdf.anonymize.audio import AUDIO_CHOICES
from fdf.anonymize.base import REGIONS
from fdf.anonymize.codecs import SUFFIXES
from fdf.anonymize.desk import Choices, Desk, Sheet
from fdf.anonymize.detection import Thoroughness
from fdf.anonymize.files import VIDEOS
from fdf.anonymize.guard import make_guard
from fdf.errors import FdfError, MachineError

HOST: Final = "127.0.0.1"
PORT: Final = 7860

_NOTHING: Final = (None, None, "Nothing here yet.", None, None, "")
_CHOOSE, _ADD = "keeps or hides a face", "adds a face: two corners"
_OLD: Final = 3600  # seconds after which gradio's copies go, if the page stays open
_QUIET: Final = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_RUN_HISTORY": "False",  # it would keep faces in the browser
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_SERVER_NAME": HOST,
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "MPLBACKEND": "agg",
}
_HEADERS: Final = {
    b"content-security-policy": (
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
        b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
}
_INTRO: Final = """### Hide faces
Everything stays on this machine. No detector finds every face: look before you publish.
Red boxes are hidden, green ones are kept.
"""


class Sealed:
    """ASGI: every answer with headers that keep the page to itself."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, and put the headers on what comes back."""

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in _HEADERS]
                message = {**message, "headers": [*kept, *_HEADERS.items()]}
            await send(message)

        await self._app(scope, receive, sealed)


def serve(
    *,
    port: int = PORT,
    model: Path | None = None,
    protect: Path | None = None,
    max_megabytes: int = 500,
    browser: bool = True,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page until interrupted.

    Args:
        port: on 127.0.0.1.
        model: generator of the method `gan`.
        protect: folder with a folder a person: no drawn face may be like one of them.
        max_megabytes: of an upload.
        browser: open it.
        ready: hears the address once the page answers.

    Raises:
        MachineError: the port is taken.
        ModelError: `model` is no generator.
        UsageError: `protect` holds no folder of a person.
    """
    with _folder() as folder, _environment(folder):
        _check_port(port)
        page = build(Desk(folder / "desk", model=model, guard=make_guard(protect)))
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            inbrowser=browser,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            strict_cors=True,
            max_file_size=f"{max_megabytes}mb",
            theme=_theme(),
            prevent_thread_lock=True,
            app_kwargs={
                "middleware": [
                    Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
                    Middleware(Sealed),
                ],
                "openapi_url": None,
            },
        )
        try:
            ready(f"http://{HOST}:{port}")
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def build(desk: Desk) -> Any:
    """The page, not yet served."""
    import gradio as gr

    suffixes = sorted([*SUFFIXES, *VIDEOS])
    with gr.Blocks(title="fdf: hide faces", analytics_enabled=False, delete_cache=(600, _OLD)) as page:
        sheet = gr.State(None, time_to_live=_OLD, delete_callback=desk.close)
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                upload = gr.File(label="Drop a picture or a film", file_types=suffixes, type="filepath", height=170)
                mode = gr.Radio([_CHOOSE, _ADD], value=_CHOOSE, label="A click on the picture")
                method = gr.Dropdown(desk.methods, value="solid", label="Method")
                region = gr.Radio(list(REGIONS), value="face", label="What is hidden", info="head: hair and ears too")
                strength = gr.Slider(0.25, 2, value=1, step=0.25, label="Strength", info="blur, pixelate; donor from 1")
                looks = list(get_args(Thoroughness))
                thorough = gr.Dropdown(looks, value="normal", label="How closely to look for faces")
                audio = gr.Radio(
                    list(AUDIO_CHOICES), value="keep", label="Sound of films", info="a voice is a face, too"
                )
            with gr.Column(scale=3):
                with gr.Row():
                    found = gr.Image(label="Found", interactive=False, buttons=["fullscreen"], format="png", height=420)
                    done = gr.Image(
                        label="Preview", interactive=False, buttons=["fullscreen"], format="png", height=420
                    )
                said = gr.Markdown(_NOTHING[2])
                with gr.Row():
                    preview = gr.Button("Preview")
                    make = gr.Button("Make the file", variant="primary")
                file = gr.File(label="Anonymized, metadata removed", interactive=False, height=80)
                report = gr.Markdown()
        choices = [method, region, strength, thorough, audio]
        shown = [sheet, found, said, done, file, report]
        upload.upload(_opening(desk), [upload, sheet, *choices], [upload, *shown], api_name="open")
        thorough.input(_looking(desk), [sheet, *choices], shown, api_name="look")
        found.select(_clicking(desk), [sheet, mode], shown, api_name=False, show_progress="hidden")
        for choice in choices:  # what was made is not what is chosen any more
            choice.change(lambda: (None, None, ""), None, [done, file, report], api_name=False, show_progress="hidden")
        preview.click(_previewing(desk), [sheet, *choices], [done, report], api_name="preview")
        make.click(_making(desk), [sheet, *choices], [file, report, done], api_name="make", concurrency_limit=1)
    return page


Wire = Callable[..., Any]


def _opening(desk: Desk) -> Wire:
    def work(path: str | None, old: Sheet | None, *words: Any) -> tuple[Any, ...]:
        if path is None:
            raise _told("There is no file")
        desk.close(old)
        with _plainly():
            sheet = desk.open(Path(path), Choices(*words))
        return None, *_show(desk, sheet)

    return work


def _looking(desk: Desk) -> Wire:
    def work(sheet: Sheet | None, *words: Any) -> tuple[Any, ...]:
        if sheet is None:
            return _NOTHING
        with _plainly():
            return _show(desk, desk.look(sheet, Choices(*words)))

    return work


def _clicking(desk: Desk) -> Wire:
    from gradio import SelectData

    def work(sheet: Sheet | None, mode: str, event: Any) -> tuple[Any, ...]:
        if sheet is None:
            return _NOTHING
        x, y = event.index
        after = desk.click(sheet, x, y, "add" if mode == _ADD else "choose")
        return _show(desk, after)

    work.__annotations__["event"] = SelectData  # gradio looks for it at run time
    return work


def _previewing(desk: Desk) -> Wire:
    def work(sheet: Sheet | None, *words: Any) -> tuple[Any, ...]:
        with _plainly():
            return desk.preview(_there(sheet), Choices(*words))

    return work


def _making(desk: Desk) -> Wire:
    import gradio as gr

    def work(sheet: Sheet | None, *words: Any, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        ready, choices = _there(sheet), Choices(*words)
        with _plainly():
            picture, _ = desk.preview(ready, choices)
            path, told = _followed(lambda hear: desk.make(ready, choices, hear), progress)
        return str(path), told, picture

    return work


def _followed(work: Callable[[Callable[[int, int | None], None]], tuple[Path, str]], progress: Any) -> tuple[Path, str]:
    """Run in a thread and tell gradio how far it is: it listens in this one only."""
    heard: queue.SimpleQueue[tuple[int, int | None]] = queue.SimpleQueue()
    result: list[tuple[Path, str]] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work(lambda at, of: heard.put((at, of))))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.25)
        last = None
        while not heard.empty():
            last = heard.get()
        if last is not None:
            progress((last[0], last[1]) if last[1] else (last[0], None), unit="frames")
    if failure:
        raise failure[0]
    return result[0]


def _show(desk: Desk, sheet: Sheet) -> tuple[Any, ...]:
    return sheet, desk.shown(sheet), desk.words(sheet), None, None, ""


def _there(sheet: Sheet | None) -> Sheet:
    if sheet is None:
        raise _told("Drop a picture or a film first")
    return sheet


def _told(message: str) -> Exception:
    import gradio as gr

    return gr.Error(message, print_exception=False, duration=None)  # type: ignore[no-any-return]


@contextmanager
def _plainly() -> Iterator[None]:
    """Errors as the page shows them."""
    try:
        yield
    except FdfError as error:
        raise _told(str(error)) from error
    except Exception as error:  # a hostile file must not show a traceback
        raise _told(f"Not foreseen: {type(error).__name__}: {error}. Nothing was written.") from error


def _theme() -> Any:
    """Fonts of the machine: those of gradio come from the internet."""
    import gradio as gr

    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise MachineError(
                f"Port {port} on {HOST} can't be had", got=str(error), action="Choose another one with --port"
            ) from error


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fdf-ui-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """What gradio and onnxruntime read when they are imported; as it was, afterwards."""
    wanted = {**_QUIET, "GRADIO_TEMP_DIR": str(folder / "gradio")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
