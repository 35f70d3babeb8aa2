"""The rate of some work, done by many threads or by many processes."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias, TypeVar

#: Does it once; its random choices come from the generator.
Work: TypeAlias = "Callable[[random.Random], object]"
ResultT = TypeVar("ResultT")

#: A worker that does not begin within so many seconds has failed.
_PATIENCE: Final = 120.0
#: The server that forks all processes imports these modules, and it does so once.
_PRELOADED: Final = ["benchmarks.store_peers", "benchmarks.package_peers"]


class Waiting(Protocol):
    """A barrier between threads or between processes."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all have arrived."""

    def abort(self) -> None:
        """Break the barrier, so that no worker waits any more."""


def thread_rate(
    work: Work, threads: int, seconds: float, *, seed: int, leave: Callable[[], object]
) -> float:
    """Return how often a second so many threads do *work*.

    Args:
        work: their work; done once before it counts, to open the resources of a thread.
        threads: how many.
        seconds: for how long.
        seed: of the random numbers; each thread has its own.
        leave: called in each thread when it has done.
    """
    barrier = Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:
        futures = [
            pool.submit(_rate, work, seconds, random.Random(f"{seed} {each}"), leave, barrier)
            for each in range(threads)
        ]
        return _sum(futures)


def process_rate(
    make: Callable[[], Any],
    work_of: Callable[[Any], Work],
    processes: int,
    seconds: float,
    *,
    seed: int,
) -> float:
    """Return how often a second so many processes, of one thread each, do the work.

    Args:
        make: opens a peer, in each process.
        work_of: returns the work with a peer.
        processes: how many.
        seconds: for how long.
        seed: of the random numbers; each process has its own.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(barrier,)
    ) as pool:
        futures = [
            pool.submit(_process_rate, make, work_of, seconds, f"{seed} {each}")
            for each in range(processes)
        ]
        return _sum(futures)


def in_new_process(function: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Return the result of *function* in a process of its own, with fresh memory."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _sum(futures: list[Future[float]]) -> float:
    """Return the sum, or raise the first cause rather than a broken barrier."""
    errors = [error for it in futures if (error := it.exception()) is not None]
    errors.sort(key=lambda it: isinstance(it, BrokenBarrierError))
    if errors:
        raise errors[0]
    return sum(it.result() for it in futures)


def _rate(
    work: Work,
    seconds: float,
    rng: random.Random,
    leave: Callable[[], object],
    barrier: Waiting,
) -> float:
    try:
        work(rng)
        barrier.wait(_PATIENCE)
        count = 0
        began = now = perf_counter()
        # Until a time, not a number, so that no thread waits idly for the slowest one.
        while now < began + seconds:
            work(rng)
            count += 1
            now = perf_counter()
        return count / (now - began)
    except BaseException:
        barrier.abort()
        raise
    finally:
        leave()


_barriers: list[Waiting] = []


def _begin(barrier: Waiting) -> None:
    """Keep the barrier in a new process, because a task can't be handed one."""
    _barriers.append(barrier)


def _process_rate(
    make: Callable[[], Any], work_of: Callable[[Any], Work], seconds: float, seed: str
) -> float:
    peer = make()
    try:
        return _rate(work_of(peer), seconds, random.Random(seed), peer.leave, _barriers[0])
    finally:
        peer.close()
