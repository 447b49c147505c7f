"""`fdf train` and `fdf export`."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fdf.cli.output import JsonOption, console, print_json, working
from fdf.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress


def train(
    shards: Annotated[
        Path | None,
        typer.Argument(help="A build folder, its `shard` folder or an `index.json`. Not needed with --resume."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where the run's numbered folder goes; default runs.", show_default=False),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", help="Size of the networks: tiny (default), small, base.", show_default=False),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="64 (default), 128 or 256 pixels.", show_default=False)
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(
            "--pictures",
            help="How far: pictures seen, in whole steps (rounded up); default 20,000.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", help="Pictures in a step, over all processes; default 16.", show_default=False),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="TOML with all settings: docs/train.md.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed, another run.", show_default=False)] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")] = "auto",
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            help="Go on with this run from its latest checkpoint, or from this checkpoint of a run.",
            show_default=False,
        ),
    ] = None,
    begin_with: Annotated[
        Path | None,
        typer.Option(
            "--begin-with",
            help="Begin with the weights of this run or checkpoint: the same networks, at this resolution or half of it.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split to learn from; default training.", show_default=False)
    ] = None,
    rights: Annotated[
        list[str] | None,
        typer.Option("--rights", help="Rights class to learn from, e.g. pd; repeat for several.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-j", min=0, max=256, help="Processes that decode; never changes a result.", show_default=False
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train on stale, refused or altered shards; the model's card says so.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a face generator on the shards of a build: one process, or several under `torchrun -m fdf`.

    Needs the extra `train` of the package. Stopped by Ctrl-C or SIGTERM it writes a checkpoint and exits with 130; `--resume`
    goes on to the same bits (on one CPU) as if it had never stopped.
    """
    need_torch()
    if resume and out:
        raise UsageError("A run that goes on stays in its folder", action="Leave out --out, or --resume")
    from fdf.gan.config import TrainRecipe, load_train_recipe
    from fdf.gan.loop import Request
    from fdf.gan.loop import train as run_training
    from fdf.gan.run import Run

    stated = recipe or (Run.resumed(resume).recipe if resume else None)
    settings = (load_train_recipe(stated) if stated else TrainRecipe()).override(
        model={"size": size, "resolution": resolution},
        data={"split": split, "rights": rights or None},
        run={"pictures": pictures, "batch": batch, "seed": seed},
    )
    with _TrainProgress() as progress:
        request = Request(shards, settings, out or Path("runs"), resume, device, workers, force, begin_with=begin_with)
        result = run_training(request, progress.hear, progress.step)
    if result is None:  # one of several processes, not the first
        return
    if as_json:
        print_json(vars(result))
    else:
        typer.echo(
            f"{result.run}: {result.pictures:,} pictures seen, {result.pictures_per_second:,.1f} a second, "
            f"{result.data_wait_share:.1%} of the time waiting for data. Its card: {result.run / 'card.md'}"
        )
    if not result.finished:
        typer.secho(f"interrupted: go on with `fdf train --resume {result.run}`", fg="yellow", err=True)
        raise typer.Exit(130)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or one of its checkpoints.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file; default RUN/generator-PRECISION.onnx.", show_default=False),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option("--precision", help="Of weights and arithmetic.")
    ] = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Write a run's averaged generator as ONNX, for `fdf anonymize`, and check it against torch.

    Needs the extra `train` of the package; running the file needs onnxruntime alone. A checkpoint that isn't of this run is
    refused: its rights would not be known.
    """
    need_torch("onnx", "onnxscript")
    from fdf.gan.ancestry import provenance
    from fdf.gan.config import load_train_recipe
    from fdf.gan.export import export_onnx
    from fdf.gan.run import load_generator, run_of
    from fdf.gan.samples import Samples

    folder = run_of(run)
    checkpoint = run if run.is_file() else folder.latest()
    metadata = provenance(folder, checkpoint)
    generator, arch, _ = load_generator(folder.path, checkpoint)
    target = out or folder.path / f"generator-{precision}.onnx"
    shards = Path(folder.read_json("run.json", "shards")["shards"])
    samples = Samples.again(folder.path, shards, load_train_recipe(folder.recipe), arch)
    if samples is None:
        why = "has none of the run's sample faces that may be used today" if shards.exists() else "is gone"
        typer.secho(f"note: {shards} {why}: compared on made-up pictures", fg="yellow", err=True)
    with working(f"exporting {target.name}"):
        batches = samples.batches() if samples else None
        check = export_onnx(generator, arch, target, precision=precision, metadata=metadata, samples=batches)
    if as_json:
        print_json({"path": target, **vars(check)})
        return
    said = {name: f"{value:.2g}" if isinstance(value, float) else value for name, value in vars(check).items()}
    typer.echo(f"{target}: {', '.join(f'{name} {value}' for name, value in said.items() if name != 'path')}")


def need_torch(*others: str) -> None:
    """Refuse where the extra is missing, before anything is imported.

    Raises:
        UsageError: torch or one of `others` isn't installed.
    """
    for name in ("torch", "safetensors", *others):
        try:
            found = importlib.util.find_spec(name)
        except ValueError:  # its entry in sys.modules is None
            found = None
        if found is None:
            raise UsageError(f"{name} is not installed", action='Install it with `pip install "fdf[train]"`')


class _TrainProgress:
    """A live bar on a terminal, a line every half minute elsewhere; nothing in processes but the first."""

    def __init__(self) -> None:
        self._console = console(error=True)
        self._quiet = os.environ.get("RANK", "0") != "0"
        self._bars: Progress | None = None
        self._task: Any = None
        self._said = time.monotonic()

    def __enter__(self) -> _TrainProgress:
        if self._console.is_terminal and not self._quiet:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"),
                console=self._console,
            )  # fmt: skip
            self._bars.start()
            self._task = self._bars.add_task("looking through the shards", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def step(self, pictures: int, total: int) -> None:
        """So many pictures are seen; what there is to say about them comes with the next line of metrics."""
        if self._bars:
            if self._bars.tasks[0].total is None:
                self._bars.update(self._task, description="training")
            self._bars.update(self._task, total=total, completed=pictures)
        elif not self._quiet and time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            self._console.print(f"{pictures:,} of {total:,} pictures")

    def hear(self, line: Mapping[str, Any]) -> None:
        """A line of metrics."""
        text = (
            f"{line['pictures_per_second']:,.1f} pictures/s, data wait {line['data_wait_share']:.1%}, "
            f"loss D {line['loss_d']:.3f} G {line['loss_g']:.3f}"
        )
        if self._bars:
            self._bars.update(self._task, total=line["total"], completed=line["pictures"], description=text)
        elif not self._quiet and (time.monotonic() - self._said > 30 or line["pictures"] >= line["total"]):
            self._said = time.monotonic()
            self._console.print(f"{line['pictures']:,} of {line['total']:,} pictures, {text}")
