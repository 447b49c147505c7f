"""What a run needs of the machine: a device, other processes, and being told to stop."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from fdf.errors import MachineError, UsageError


@dataclass(frozen=True)
class Place:
    """Where this process computes: its device and its rank among the processes of `torchrun`."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """The one process that writes."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace tensors by their mean over all processes, in one message.

        Instead of DistributedDataParallel: its hooks know one backward pass through its own forward, and the penalty
        differentiates twice.
        """
        present = [tensor for tensor in tensors if tensor is not None]
        if self.world == 1 or not present:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in present])
        torch.distributed.all_reduce(flat)
        flat /= self.world
        for tensor, part in zip(present, flat.split([tensor.numel() for tensor in present]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
        return bool(value.item())

    def wait(self) -> None:
        """Until all processes are here."""
        self.any(False)


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Take a device, and join the other processes if `torchrun` started this one.

    Raises:
        MachineError: `cuda` is asked for and there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"There is no device {device!r}", expected="auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "--device cuda was asked for, and torch sees no GPU",
            expected="an NVIDIA GPU with a driver, and a build of torch for it",
            got=f"torch {torch.__version__}",
            action="Use --device cpu, or install torch with CUDA: https://pytorch.org/get-started/locally/",
        )
    cuda = device != "cpu" and torch.cuda.is_available()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if cuda:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    where = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    if world == 1:
        yield Place(where)
        return
    # Its functions take the process group of the moment they are imported for a default argument. Imported later (by
    # torch._dynamo, with the first optimizer), they keep the group for ever: its threads outlive destroy_process_group and
    # may abort the interpreter at its end.
    importlib.import_module("torch.distributed.nn")
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Place(where, rank, world)
    finally:
        torch.distributed.destroy_process_group()


class Stop:
    """Set by the first SIGINT or SIGTERM while it is entered; the second one acts as if nobody listened."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        try:
            self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: nobody sends signals there
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, self._before[number])
