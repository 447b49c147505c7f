"""A run from its first look at the shards to its last checkpoint: what is refused, written and measured on the way."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

from fdf.errors import DataError, FdfError, UsageError
from fdf.gan.ancestry import Before, inherited_objections, voucher
from fdf.gan.card import write_card
from fdf.gan.config import TrainRecipe, differences, load_train_recipe
from fdf.gan.data import Deck, Faces, Positions, find_faces, loader
from fdf.gan.lineage import FACES_FILE, LINEAGE_FILE, lineage, objections, refuse, today, write_faces
from fdf.gan.machine import Place, Stop, place
from fdf.gan.networks import Architecture, architecture
from fdf.gan.run import Log, Run, read_header
from fdf.gan.samples import Samples
from fdf.gan.shown import SHOWN_FILE, write_shown
from fdf.gan.training import MEASURED, Part, Trainer
from fdf.store.files import write_bytes

_ASK_EVERY: Final = 8  # steps between questions to the other processes whether one was told to stop

Report = Callable[[Mapping[str, Any]], None]
"""Hears each line of metrics."""
Steps = Callable[[int, int], None]
"""Hears after each step how many pictures were seen, and how many there will be."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        shards: a build; may be left out with `resume`.
        recipe: all settings. With `resume` they may differ from the ones before, but not in networks, faces or seed.
        runs: where the run's numbered folder goes.
        resume: a run to go on with, from its latest checkpoint; or one of its checkpoints, then later ones are set aside.
        device: auto, cpu or cuda.
        workers: processes that decode; None: as the device needs.
        force: train in spite of stale, refusing or altered shards; the card will say so.
        arch: other networks than the recipe's.
        begin_with: a run, or a checkpoint of one, with whose weights a new run begins; of the same networks, at the same
            resolution or half of it.
    """

    shards: Path | None
    recipe: TrainRecipe
    runs: Path = Path("runs")
    resume: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = None
    force: bool = False
    arch: Architecture | None = None
    begin_with: Path | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended: `finished` is False if it was told to stop. Rates are those of this start."""

    run: Path
    pictures: int
    finished: bool
    seconds: float
    pictures_per_second: float
    data_wait_share: float


def train(
    request: Request, report: Report = lambda _: None, stepped: Steps = lambda _seen, _total: None
) -> Result | None:
    """Train a generator on the shards of a build, or go on with a run.

    Returns:
        How it ended; None in all processes but the first.

    Raises:
        UsageError, DataError, MachineError, ModelError: see the message. FdfError: the loss is no number any more.
    """
    if request.resume and request.begin_with:
        raise UsageError(
            "A run that goes on has its weights already",
            expected="either a run to resume, or one to begin with",
            action="Leave one of them out",
        )
    run = Run.resumed(request.resume) if request.resume else None
    recipe = request.recipe.resolved()
    changes = _allowed_changes(run, recipe) if run else ()
    shards = request.shards or (Path(run.read_json("run.json", "shards", "starts")["shards"]) if run else None)
    if shards is None:
        raise UsageError("No shards were given", expected="`fdf train SHARDS`: the folder of a build")
    with place(request.device) as where, contextlib.ExitStack() as held:
        if run and where.first:
            held.enter_context(run.locked())
        _divides(recipe, where)
        arch = request.arch or architecture(recipe.model.size, recipe.model.resolution)
        workers = request.workers
        if workers is None:  # next to a CPU's own training, decoding is nothing
            workers = 4 if where.device.type == "cuda" else 0
        data = recipe.data
        faces = find_faces(
            shards,
            resolution=arch.resolution,
            split=data.split,
            rights=data.rights,
            verify=not request.force,
            workers=workers,
        )
        before = Before.of(request.begin_with) if request.begin_with else Before.of_resumed(run)
        found = (*objections(faces, data, today()), *inherited_objections(before.ancestors, data, today()))
        refuse(found, force=request.force)
        trainer = Trainer(arch, recipe, where)
        seconds = _go_on(run, trainer, faces, shards) if run else 0.0
        if before.checkpoint:
            trainer.begin_with(before.checkpoint)
        first = None
        if where.first:
            fare = _Fare(shards, faces, before, Samples.choose(shards, faces, recipe, arch))
            mine = _prepare(run, request.runs, fare, trainer, (changes, found))
            if run is None:
                held.enter_context(mine.locked())
            first = mine, fare.samples
        return _Loop(trainer, faces, first, seconds, (report, stepped)).go(workers)


def _allowed_changes(run: Run, recipe: TrainRecipe) -> tuple[str, ...]:
    before = load_train_recipe(run.recipe)
    changes = tuple(differences(before, recipe))
    fixed = [change for change in changes if change.startswith(("model.", "run.seed", "data.split", "data.rights"))]
    if fixed:
        raise UsageError(
            f"{run.path} was begun with another architecture, other faces or another seed",
            expected="only settings that a run may change on its way",
            got="; ".join(fixed),
            action="Start a new run without --resume",
        )
    asked, seen = recipe.run.pictures, int(read_header(run.latest())["pictures"])
    if asked != before.run.pictures and asked < seen:  # the same number as before: it is finished, and stays as it is
        raise UsageError(
            f"{run.path} has seen more pictures than were asked for now",
            expected=f"--pictures {seen} or more",
            got=f"{asked}",
            action="To go back, name an earlier checkpoint: `--resume RUN/checkpoints/….safetensors`",
        )
    return changes


def _divides(recipe: TrainRecipe, where: Place) -> None:
    share = where.world * recipe.run.accumulate
    if recipe.run.batch % share:
        raise UsageError(
            f"A batch of {recipe.run.batch} can't be divided evenly",
            expected=f"a multiple of {share}",
            got=f"{where.world} processes × {recipe.run.accumulate} parts each",
            action="Choose another --batch",
        )


def _go_on(run: Run, trainer: Trainer, faces: Faces, shards: Path) -> float:
    """Load the latest checkpoint; returns the seconds that were trained before."""
    meta = trainer.load(run.latest())
    if meta["faces"] != faces.fingerprint:
        raise DataError(
            f"{shards} doesn't hold the faces that {run.path} was trained on",
            expected=f"shards with the digests in {run.path / 'lineage.json'}",
            action="Give the same build, or start a new run without --resume",
        )
    return float(meta["seconds"])


@dataclass(frozen=True)
class _Fare:
    """What a run eats, what it ate before it began, and what its grids show."""

    shards: Path
    faces: Faces
    before: Before
    samples: Samples


def _prepare(
    run: Run | None, runs: Path, fare: _Fare, trainer: Trainer, notes: tuple[Sequence[str], Sequence[str]]
) -> Run:
    """Write down what will be eaten and shown, before the first bite. `notes`: settings that changed, objections overruled."""
    changes, forced = notes
    recipe, where = trainer.recipe, trainer.where
    name = torch.cuda.get_device_name(where.device) if where.device.type == "cuda" else "cpu"
    start = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "from_pictures": trainer.pictures, "device": name,
        "processes": where.world, "bf16": trainer.bf16, "torch": str(torch.__version__), "changes": list(changes),
        "forced": list(forced),
    }  # fmt: skip
    if run:
        with run.advice("That the run goes on"):
            return _again(run, fare, trainer, start)
    if fare.before.ancestors:
        start["begun_with"] = {key: fare.before.ancestors[0][key] for key in ("run", "pictures")}
    run = Run.new(runs, f"{trainer.arch.size}-{trainer.arch.resolution}")
    networks = {"generator": trainer.generator, "discriminator": trainer.discriminator}
    body = {
        "format": "fdf-run-1",
        "shards": str(fare.shards.resolve()),
        "architecture": trainer.arch.to_dict(),
        "parameters": {key: sum(p.numel() for p in network.parameters()) for key, network in networks.items()},
        "starts": [start],
    }
    try:
        with run.advice("What the run will eat"):
            write_faces(fare.faces, recipe.run.seed, run.path / FACES_FILE, fare.before.eaten)
            write_shown(run.path, fare.samples.rows)
            run.write_json(LINEAGE_FILE, lineage(fare.faces, forced, fare.before.ancestors).to_dict())
            write_bytes(run.recipe, recipe.to_toml().encode())
            run.write_json("run.json", body)  # last: with it the folder is a run
    except BaseException:  # a full disk, a Ctrl-C
        shutil.rmtree(run.path, ignore_errors=True)  # made above, and nobody's yet
        raise
    return run


def _again(run: Run, fare: _Fare, trainer: Trainer, start: dict[str, Any]) -> Run:
    """Write down that a run goes on. Its lineage stays, the faces being the same; what was overruled or is shown is added.

    Not to nothing: whom the grids show of a run that an older fdf began stays unknown.
    """
    pictures = trainer.pictures
    if (run.path / SHOWN_FILE).is_file():
        write_shown(run.path, fare.samples.rows)
    if aside := run.rewind(pictures):
        start["set_aside"] = aside
    body = run.read_json("run.json", "starts")
    forced = [*dict.fromkeys(text for one in (*body["starts"], start) for text in one["forced"])]
    run.write_json(LINEAGE_FILE, run.read_json(LINEAGE_FILE) | {"forced": forced})
    run.write_json("run.json", body | {"shards": str(fare.shards.resolve()), "starts": [*body["starts"], start]})
    write_bytes(run.recipe, trainer.recipe.to_toml().encode())
    if pictures:  # what was overruled holds for the checkpoint that is there, too
        write_card(run, read_header(run.latest()))
    return run


class _Loop:
    """Steps until the end, with all that is written on the way. Only the first process has a `run` and `samples`."""

    def __init__(
        self,
        trainer: Trainer,
        faces: Faces,
        first: tuple[Run, Samples] | None,
        seconds: float,
        hears: tuple[Report, Steps],
    ) -> None:
        self.trainer, self.faces = trainer, faces
        self.report, self.stepped = hears
        self.run: Run | None = first[0] if first else None
        self.samples: Samples | None = first[1] if first else None
        self._sums, self._steps = torch.zeros(len(MEASURED) + 1, device=trainer.where.device), 0
        self._before, self._began, self._first = seconds, time.perf_counter(), trainer.pictures
        self._waited = self._window_waited = 0.0
        self._window = (self._began, trainer.pictures)
        settings = trainer.recipe.run
        ahead = max(settings.pictures - trainer.pictures, 0)
        self._total = trainer.pictures + math.ceil(ahead / settings.batch) * settings.batch  # steps are whole
        self._log: Log | None = None
        self._voucher = voucher(self.run) if self.run else {}

    def go(self, workers: int) -> Result | None:
        """Train until the end or a signal."""
        trainer, settings, where = self.trainer, self.trainer.recipe.run, self.trainer.where
        positions = Positions(
            trainer.pictures, settings.pictures, settings.batch, settings.accumulate, where.rank, where.world
        )
        deck = Deck(self.faces, trainer.recipe.data, settings.seed)
        stream = iter(loader(deck, positions, workers=workers, pin=where.device.type == "cuda"))
        self._log = Log(self.run, trainer.pictures) if self.run else None
        try:
            with Stop() as stop:
                stopped = False
                while trainer.pictures < settings.pictures and not stopped:
                    past = trainer.pictures
                    self._sums += trainer.step([self._next(stream) for _ in range(settings.accumulate)])
                    self._steps += 1
                    self.stepped(trainer.pictures, self._total)
                    ask = where.world == 1 or trainer.steps % _ASK_EVERY == 0
                    stopped = ask and where.any(stop.asked)
                    last = stopped or trainer.pictures >= settings.pictures

                    def due(every: int, past: int = past, last: bool = last) -> bool:
                        return last or trainer.pictures // every > past // every

                    save = due(settings.checkpoint_every)
                    if save or due(settings.metrics_every):
                        self._measure()
                    if due(settings.sample_every):
                        self._draw()
                    if save:
                        self._save()
        finally:
            del stream  # ends the workers
            if self._log:
                self._log.close()
        if not self.run:
            return None
        spent = time.perf_counter() - self._began
        rate = (trainer.pictures - self._first) / spent
        return Result(self.run.path, trainer.pictures, not stopped, spent, rate, self._waited / spent)

    def _next(self, stream: Iterator[Any]) -> Part:
        begun = time.perf_counter()
        item = next(stream)
        if isinstance(item, FdfError):
            raise item
        waited = time.perf_counter() - begun
        self._waited, self._window_waited = self._waited + waited, self._window_waited + waited
        device = self.trainer.where.device
        picture, mask, keypoints = (item[key].to(device, non_blocking=True) for key in ("picture", "mask", "keypoints"))
        return picture.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last), mask, keypoints

    def _measure(self) -> None:
        """Average what was measured since the last time, check it, write it down."""
        trainer, where = self.trainer, self.trainer.where
        where.average([self._sums])
        sums, parts = self._sums.tolist(), self._steps * trainer.recipe.run.accumulate
        counts = (parts, parts, max(sums[-1], 1.0), max(sums[-1], 1.0))
        means = {
            name: value / count
            for name, value, count in zip(MEASURED, sums, counts, strict=False)
            if sums[-1] or name not in ("r1", "r2")
        }
        now = time.perf_counter()
        spent, pictures = now - self._window[0], trainer.pictures - self._window[1]
        line = {
            "pictures": trainer.pictures,
            "steps": trainer.steps,
            **means,
            **trainer.schedule(),
            "pictures_per_second": round(pictures / spent, 3),
            "data_wait_share": round(self._window_waited / spent, 5),
            "seconds": round(self._before + now - self._began, 3),
        }
        self._sums.zero_()
        self._steps, self._window, self._window_waited = 0, (now, trainer.pictures), 0.0
        if not all(math.isfinite(value) for value in means.values()):
            self._refuse("the loss is no number any more (" + ", ".join(f"{k} {v:.4g}" for k, v in means.items()) + ")")
        if self._log:
            self._log.write(line)
            self.report({**line, "total": self._total})

    def _draw(self) -> None:
        if self.run and self.samples and self._log:
            path = self.run.path / "samples" / f"{self.trainer.pictures:09d}.png"
            with self.run.advice("A sample grid"):
                grid = self.samples.draw(self.trainer.ema, path)
            self._log.picture("samples", grid, self.trainer.pictures)

    def _save(self) -> None:
        """Checkpoint and card; the other processes wait."""
        trainer = self.trainer
        if not trainer.healthy():
            self._refuse("the weights are no numbers any more")
        if self.run:
            tensors, meta = trainer.state()
            seconds = self._before + time.perf_counter() - self._began
            meta |= {"seconds": round(seconds, 3), "faces": self.faces.fingerprint, **self._voucher}
            self.run.save(tensors, meta, keep=trainer.recipe.run.keep)
            with self.run.advice("The card"):
                write_card(self.run, meta)
        trainer.where.wait()

    def _refuse(self, what: str) -> None:
        recipe, run = self.trainer.recipe, self.run
        kept = run.checkpoints() if run else []
        where = f" The last good checkpoint, {kept[-1][1]}, is kept." if kept else ""
        rate, gamma = recipe.optimizer.learning_rate, recipe.optimizer.gamma
        raise FdfError(
            f"Training stopped at {self.trainer.pictures:,} pictures: {what}.{where}",
            action=f"Lower optimizer.learning_rate (now {rate[0]:g} to {rate[1]:g}) or raise optimizer.gamma "
            f"(now {gamma[0]:g} to {gamma[1]:g})"
            + (', or try run.precision = "fp32"' if self.trainer.bf16 else "")
            + (
                f", and go on with `fdf train --resume {run.path} --recipe …`; without --recipe it has these settings again"
                if run and kept
                else " and start again"
            ),
        )
