"""The folder of a run. It explains itself: what was asked for, what was eaten, how it went, what came of it.

RUNS/00001-tiny-64/recipe.toml        all settings; `fdf train --recipe` takes it
                   run.json           where the shards were, machine, versions, every start of the run
                   lineage.json       whose photos, licences, dates; faces.parquet: face by face
                   metrics.jsonl      one line every so many pictures; tensorboard/ the same
                   samples/…png       the same faces each time: original, hole, several z; samples.parquet: whose
                   checkpoints/….safetensors   everything that going on needs; never a pickle
                   card.md            the model card, written anew with each checkpoint
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fdf.errors import DataError, MachineError, ModelError, UsageError
from fdf.store.files import atomic_file, disk_errors, locked, make_folder, remove_leftovers, write_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from fdf.gan.networks import Architecture, Generator

FORMAT: Final = "fdf-checkpoint-1"
_CHECKPOINTS: Final = "checkpoints"
_NUMBER: Final = re.compile(r"(\d{5,})-")
_CHECKPOINT: Final = re.compile(r"(\d{9,})\.safetensors")


class Run:
    """One run's folder, there already.

    Args:
        until: take the run as if this checkpoint were its latest.
    """

    def __init__(self, path: Path, until: Path | None = None) -> None:
        self.path, self._until = path, until

    @classmethod
    def new(cls, runs: Path, name: str) -> Run:
        """Make the next numbered folder below `runs`; two runs that begin at once get two numbers."""
        with cls(runs).advice("The folder of a new run"):
            make_folder(runs)
        taken = [int(found[1]) for path in runs.iterdir() if (found := _NUMBER.match(path.name))]
        number = max(taken, default=0) + 1
        while True:
            run = cls(runs / f"{number:05d}-{name}")
            with run.advice("The folder of a new run"), disk_errors(runs), contextlib.suppress(FileExistsError):
                run.path.mkdir()
                return run
            number += 1

    @classmethod
    def find(cls, path: Path) -> Run:
        """A run that is there; its temporary leftovers are removed by whoever goes on with it.

        Raises:
            UsageError: no run.
        """
        if not (path / "run.json").is_file():
            raise UsageError(
                f"{path} is no run", expected="a folder that `fdf train` wrote, such as runs/00001-tiny-64"
            )
        return cls(path)

    @classmethod
    def resumed(cls, path: Path) -> Run:
        """A run to go on with: its folder, or the checkpoint to go on from as if it were the latest.

        Raises:
            UsageError: neither.
        """
        if not path.is_file():
            return cls.find(path)
        run = run_of(path)
        names = [checkpoint.name for _, checkpoint in run.checkpoints()]
        if path.name not in names or path.parent.name != _CHECKPOINTS:
            raise UsageError(
                f"{path} is no checkpoint of {run.path}",
                expected=f"one of {', '.join(names) or 'none'} in its folder {_CHECKPOINTS}",
            )
        return cls(run.path, run.path / _CHECKPOINTS / path.name)

    def locked(self) -> AbstractContextManager[None]:
        """One training at a time in one run; see `fdf.store.files.locked`."""
        return locked(
            self.path, f"{self.path} is being trained by another process", "Wait for it or stop it, then resume"
        )

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.path / "card.md"

    def write_json(self, name: str, body: Any) -> None:
        """Write a JSON file of the run, atomically."""
        write_bytes(self.path / name, (json.dumps(body, indent=1, ensure_ascii=False, default=str) + "\n").encode())

    def read_json(self, name: str, *needs: str) -> dict[str, Any]:
        """Read a JSON file of the run.

        Raises:
            DataError: it isn't there, is damaged, or lacks one of the keys in `needs`.
        """
        path = self.path / name
        try:
            body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if missing := [key for key in needs if key not in body]:
                raise ValueError(f"no key {missing[0]!r}")
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path} can't be read ({error})", expected="a file that `fdf train` wrote") from error
        return body

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Pictures seen and path of each checkpoint, the latest last."""
        every = self._every_checkpoint()
        return [one for one in every if one[0] <= int(self._until.stem)] if self._until else every

    def _every_checkpoint(self) -> list[tuple[int, Path]]:
        found = ((_CHECKPOINT.fullmatch(path.name), path) for path in self.path.glob(f"{_CHECKPOINTS}/*.safetensors"))
        return sorted((int(match[1]), path) for match, path in found if match)

    def latest(self) -> Path:
        """The latest checkpoint.

        Raises:
            UsageError: there is none yet.
        """
        every = self.checkpoints()
        if not every:
            raise UsageError(f"{self.path} has no checkpoint yet", action="Train again from the start: a new run")
        return every[-1][1]

    def save(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *, keep: int) -> Path:
        """Write a checkpoint, then let the oldest go.

        Raises:
            MachineError: the disk refuses; the checkpoints before are whole.
        """
        path = self.path / _CHECKPOINTS / f"{meta['pictures']:09d}.safetensors"
        with self.advice(f"The checkpoint at {meta['pictures']:,} pictures"):
            write_checkpoint(path, tensors, meta)
        for _, old in self.checkpoints()[:-keep]:
            old.unlink(missing_ok=True)
        return path

    @contextlib.contextmanager
    def advice(self, what: str) -> Iterator[None]:
        """Say of what the disk refuses to take how the run goes on, instead of how a build would.

        Raises:
            MachineError: `what` was not written; the checkpoints before are whole.
        """
        try:
            yield
        except MachineError as error:
            before = self.checkpoints()
            mend = error.action if error.expected else "Free some space"  # where it is full, nothing else is expected
            raise MachineError(
                f"{what} was not written: {error.problem}",
                expected=error.expected,
                action=f"The last whole checkpoint has seen {before[-1][0]:,} pictures. {mend}, then go on with "
                f"`fdf train --resume {self.path}`"
                if before
                else f"{mend} and start again",
            ) from error

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics so far."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        lines: list[dict[str, Any]] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # half a line of a killed process
                lines.append(json.loads(line))
        return lines

    def rewind(self, pictures: int) -> list[str]:
        """Forget what was measured after a checkpoint, and what a killed process left half-written.

        Checkpoints after the one that the run is gone on from are set aside, under names that are no checkpoint's; returns
        these.
        """
        remove_leftovers(self.path)
        before = {path for _, path in self.checkpoints()}
        aside = [_set_aside(path) for _, path in self._every_checkpoint() if path not in before]
        self._until = None
        kept = [line for line in self.metrics() if line["pictures"] <= pictures]
        write_bytes(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())
        return aside


def _set_aside(path: Path) -> str:
    names = (f"{path.stem}.aside{number or ''}{path.suffix}" for number in itertools.count())
    free = next(name for name in names if not path.with_name(name).exists())
    with disk_errors(path):
        path.rename(path.with_name(free))
    return free


class Log:
    """Appends metrics to metrics.jsonl and, where tensorboard is installed, to its event files."""

    def __init__(self, run: Run, pictures: int) -> None:
        self._run, self._path = run, run.path / "metrics.jsonl"
        self._board: Any = None
        with self._writing("The log"):
            self._file = self._path.open("a", encoding="utf-8")
            with contextlib.suppress(ImportError):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(run.path / "tensorboard"), purge_step=pictures or None)

    def write(self, line: Mapping[str, Any]) -> None:
        """One line."""
        with self._writing(f"The line of metrics at {line['pictures']:,} pictures"):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            if self._board is not None:
                for name, value in line.items():
                    if isinstance(value, int | float):
                        self._board.add_scalar(name, value, line["pictures"])

    def picture(self, name: str, pixels: Any, pictures: int) -> None:
        """A picture (H, W, 3) for tensorboard."""
        if self._board is not None:
            with self._writing(f"The picture at {pictures:,} pictures"):
                self._board.add_image(name, pixels, pictures, dataformats="HWC")

    def close(self) -> None:
        """Flush and close."""
        # Every line was flushed; what may be left is one that the disk refused, which was said.
        with contextlib.suppress(OSError):
            self._file.close()
        if self._board is not None:
            with self._writing("The last of tensorboard"):
                self._board.close()

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        with self._run.advice(what), disk_errors(self._path):
            yield


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Tensors and a JSON header as safetensors, atomically."""
    from safetensors.torch import save

    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as file:
        file.write(save(flat, {"fdf": json.dumps({"format": FORMAT, **meta}, sort_keys=True)}))


def read_checkpoint(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors whose names begin with `prefix`, without it, and the header.

    Raises:
        ModelError: cut, damaged, or not written by `fdf train`.
    """
    with _opened(path) as (file, meta):
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}, meta


def read_header(path: Path) -> dict[str, Any]:
    """The header alone: pictures, steps, architecture, recipe.

    Raises:
        ModelError: as `read_checkpoint`.
    """
    with _opened(path, "numpy") as (_, meta):  # torch needn't be there, nor wait to be imported
        return meta


@contextlib.contextmanager
def _opened(path: Path, framework: str = "pt") -> Iterator[tuple[Any, dict[str, Any]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            meta: dict[str, Any] = json.loads((file.metadata() or {})["fdf"])
            if meta["format"] != FORMAT or not isinstance(meta["pictures"], int):
                raise KeyError(meta["format"])
            yield file, meta
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} can't be read as a checkpoint ({error})",
            expected=f"safetensors that `fdf train` wrote ({FORMAT})",
            action="Name the one before it, or remove it: a run goes on from the checkpoint before",
        ) from error


def load_generator(run: Path, checkpoint: Path | None = None) -> tuple[Generator, Architecture, dict[str, Any]]:
    """The averaged generator of a run's latest (or another) checkpoint, ready to draw.

    Args:
        run: folder of a run, or a checkpoint itself.

    Returns:
        Generator in evaluation mode on the CPU, its architecture, and the checkpoint's header (pictures, recipe, …).
    """
    from fdf.gan.networks import Architecture, Generator

    path = checkpoint or (run if run.is_file() else Run.find(run).latest())
    weights, meta = read_checkpoint(path, "ema.")
    arch = Architecture.from_dict(meta["architecture"])
    generator = Generator(arch)
    load_weights(generator, weights, path)
    return generator.eval().requires_grad_(False), arch, meta


def load_weights(network: Any, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict.

    Raises:
        ModelError: it is another network's.
    """
    check_weights(network, weights, path)
    network.load_state_dict(dict(weights))


def check_weights(network: Any, weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a state dict that is another network's.

    Raises:
        ModelError: other names or shapes.
    """
    mine = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    if mine != theirs:
        name = next(iter(sorted(set(mine.items()) ^ set(theirs.items()))))[0]
        raise ModelError(
            f"{path} is a checkpoint of another architecture",
            expected=f"{name} of shape {mine[name]}" if name in mine else f"no {name}",
            got=f"{theirs[name]}" if name in theirs else "nothing of that name",
            action="Resume with the size and resolution that the run began with, or start a new run",
        )


def run_of(path: Path) -> Run:
    """The run of a folder, or of one of its checkpoints.

    Raises:
        UsageError: neither.
    """
    if path.is_file() and not (path.parent.parent / "run.json").is_file():
        raise UsageError(
            f"{path} lies in no run", expected="a checkpoint where `fdf train` wrote it, or the folder of its run"
        )
    return Run.find(path.parent.parent if path.is_file() else path)
