"""Running many independent tasks: joblib, and nothing of our own.

Small builds never start a worker process: the first seconds of work run here, and only what is left after that goes to
`loky` processes. Results come as they finish; nothing that is written depends on that order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import joblib

Task = TypeVar("Task")
Result = TypeVar("Result")

STAY_SECONDS = 20.0
"""Work in this process for so long before starting others: a worker costs 2–3 s of imports and model loading."""


def default_workers() -> int:
    """Cores that this process may use."""
    return int(joblib.cpu_count())


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
    stay_seconds: float = STAY_SECONDS,
) -> Iterator[Done[Result]]:
    """Run each task once, in this process or in a worker.

    Args:
        tasks: may be a generator; it is read as workers become free, so memory stays bounded.
        here: runs a task in this process; may use `workers` threads.
        there: the same in a worker process: picklable, one thread. Both must write the same bytes.
        workers: processes to start at most; with one, everything runs here.
        stay_seconds: see `STAY_SECONDS`.
    """
    start = time.perf_counter()
    rest = iter(tasks)
    for task in rest:
        yield Done(here(task), here=True)
        if workers > 1 and time.perf_counter() - start > stay_seconds:
            break
    else:
        return
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1
        )
        for result in parallel(joblib.delayed(there)(task) for task in rest):
            yield Done(result, here=False)
