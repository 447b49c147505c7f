"""`ordered_map`: in order, a bounded window, an exception that stops it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fdf.stages.base import ordered_map


@pytest.mark.parametrize("threads", [0, 1, 2, 8, 50])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    assert list(ordered_map(lambda n: n * n, range(40), threads)) == [n * n for n in range(40)]
    assert list(ordered_map(str, [], threads)) == []


def test_results_come_in_order_even_if_the_first_is_the_slowest() -> None:
    late = threading.Event()

    def work(n: int) -> int:
        if n == 0:
            assert late.wait(5)
        if n == 3:
            late.set()
        return n

    assert list(ordered_map(work, range(6), 2)) == list(range(6))


@pytest.mark.parametrize("threads", [1, 3])
def test_it_reads_no_further_ahead_than_its_window(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(1000):
            taken.append(n)
            yield n

    results = ordered_map(lambda n: n, items(), threads)
    for seen in range(20):
        assert next(results) == seen
        assert len(taken) <= seen + 1 + 2 * threads
    results.close()  # type: ignore[attr-defined]
    assert len(taken) < 40


@pytest.mark.parametrize("threads", [1, 4])
def test_an_exception_comes_through_in_its_place_and_ends_the_work(threads: int) -> None:
    started: list[int] = []

    def work(n: int) -> int:
        started.append(n)
        if n == 5:
            raise ZeroDivisionError
        return n

    results = ordered_map(work, range(1000), threads)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    assert len(started) <= 5 + 2 * threads + 1


def test_after_an_exception_what_waits_is_never_begun() -> None:
    go_on, started = threading.Event(), set[int]()

    def work(n: int) -> None:
        started.add(n)
        if n == 0:
            raise ZeroDivisionError
        assert go_on.wait(5)

    with pytest.raises(ZeroDivisionError):
        list(ordered_map(work, range(10), 2))
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("fdf_"):
            thread.join(5)
    assert started <= {0, 1, 2}  # 3 was in the window


def test_an_exception_of_the_items_comes_through() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    for threads in (1, 4):
        with pytest.raises(ZeroDivisionError):
            list(ordered_map(lambda n: n, items(), threads))


def test_work_is_spread_over_the_threads() -> None:
    all_here = threading.Barrier(4, timeout=5)  # broken unless four run at once
    assert len(list(ordered_map(lambda _: all_here.wait(), range(4), 4))) == 4
