"""Running many independent tasks: joblib, and nothing of our own.

Small builds never start a worker process: the first seconds of work run here, and only what is left after that goes to
`loky` processes. Results come as they finish; nothing that is written depends on that order.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from fdf.errors import MachineError

Task = TypeVar("Task")
Result = TypeVar("Result")

STAY_SECONDS = 20.0
"""Work in this process for so long before starting others: a worker costs 2–3 s of imports and model loading."""


def default_workers() -> int:
    """Cores that this process may use."""
    return int(joblib.cpu_count())


_WORKER_COSTS = 5.0
"""Seconds of work that must be left for workers to be worth their start."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A result, and whether it was made in this process."""

    result: Result
    here: bool


def run(
    tasks: Iterable[Task],
    here: Callable[[Task], Result],
    there: Callable[[Task], Result],
    *,
    workers: int,
    total: int | None = None,
    stay_seconds: float = STAY_SECONDS,
) -> Iterator[Done[Result]]:
    """Run each task once, in this process or in a worker.

    Args:
        tasks: may be a generator; it is read as workers become free, so memory stays bounded.
        here: runs a task in this process; may use `workers` threads.
        there: the same in a worker process: picklable, one thread. Both must write the same bytes.
        workers: processes to start at most; with one, everything runs here.
        total: how many tasks there are, if that is known: workers aren't started for less than they cost.
        stay_seconds: see `STAY_SECONDS`.

    Raises:
        MachineError: a worker process was killed.
    """
    start = time.perf_counter()
    rest = iter(tasks)
    for done, task in enumerate(rest, 1):
        yield Done(here(task), here=True)
        spent = time.perf_counter() - start
        left = spent / done * (total - done) if total is not None else spent
        if workers > 1 and spent > stay_seconds and left > min(stay_seconds, _WORKER_COSTS):
            break
    else:
        return
    try:
        yield from _elsewhere(rest, there, workers)
    except TerminatedWorkerError as error:
        raise MachineError(
            "A worker process was killed, most likely because memory ran out",
            action="Run the same command again with fewer --workers, or a smaller partition_rows: what is finished is kept",
        ) from error


def _elsewhere(rest: Iterator[Task], there: Callable[[Task], Result], workers: int) -> Iterator[Done[Result]]:
    watched = functools.partial(_watched, there, os.getpid())
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1
        )
        for result in parallel(joblib.delayed(watched)(task) for task in rest):
            yield Done(result, here=False)


def _watched(function: Callable[[Task], Result], parent: int, task: Task) -> Result:
    """Run a task in a worker that ends with the process that started it, however that ends."""
    _end_with(parent)
    return function(task)


@functools.cache
def _end_with(parent: int) -> None:
    """Start a thread that ends this process when its parent is gone: loky's workers would go on with the queue."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, name="fdf-watch", daemon=True).start()
