"""Threads that hand frames on in order, a few ahead, and end together.

Each step of the work is an iterator over what the step before it gives. `Line.ahead` lets one run in a thread of its own.
Whatever goes wrong in a step, and whoever leaves the block, ends all of them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

_POLL = 0.2  # seconds after which a waiting thread looks whether the run has ended

T = TypeVar("T")


class Line:
    """A context; what failed in a thread is raised by `check`, in the thread that asks.

    Args:
        patience: seconds that threads get to end; None waits for them. A network stream may hang in the library.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._patience = patience
        self._over = threading.Event()  # nobody waits for anything any more
        self._left = threading.Event()
        self._failure: BaseException | None = None
        self._threads: list[tuple[threading.Thread, bool]] = []  # and whether it has something to do at the end

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread, ends in self._threads:
            if not ends:
                thread.join(self._patience)
        self._left.set()
        for thread, _ in self._threads:
            thread.join(self._patience)

    @property
    def over(self) -> bool:
        """Whether something failed, or the block was left: what is still to come is of no use."""
        return self._over.is_set()

    def check(self) -> None:
        """Raise what went wrong in any thread."""
        if self._failure is not None:
            raise self._failure

    def ahead(
        self,
        items: Iterator[T],
        size: int,
        *,
        stopped: Callable[[], bool] = lambda: False,
        after: Callable[[], None] | None = None,
    ) -> Iterator[T]:
        """The items of an iterator that runs in a thread of its own.

        Args:
            items: is closed in that thread.
            size: items that may wait to be taken.
            stopped: nobody waits for an item any more if it says so; those that wait already still come.
            after: called in that thread when the block is left and no other one works any more: closes what it used.
        """
        waiting: queue.Queue[tuple[T] | None] = queue.Queue(size)

        def work() -> None:
            try:
                with contextlib.closing(items):  # type: ignore[type-var]
                    for item in items:
                        if not self._put(waiting, (item,)):
                            return
                self._put(waiting, None)
            except BaseException as error:
                if self._failure is None and not self._over.is_set():
                    self._failure = error
                self._over.set()
            finally:
                if after is not None:
                    self._left.wait()
                    after()

        thread = threading.Thread(target=work, daemon=True)
        self._threads.append((thread, after is not None))
        thread.start()
        return self._taken(waiting, stopped)

    def _put(self, into: queue.Queue[Any], item: Any) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                into.put(item, timeout=_POLL)
                return True
        return False

    def _taken(self, out: queue.Queue[tuple[T] | None], stopped: Callable[[], bool]) -> Iterator[T]:
        while not self._over.is_set():
            try:
                item = out.get(timeout=_POLL)
            except queue.Empty:
                if stopped():
                    return
                continue
            if item is None:
                return
            yield item[0]
