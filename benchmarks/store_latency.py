"""The latency of a durable set, also while the store compacts or collects."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final, TypeAlias

from benchmarks.disk import by_hand
from benchmarks.peers import LIFE, RECORD_BYTES, OurDirectory, Peer, items, key, ours, session
from benchmarks.rounds import PROBES, Cell, Table, median_time, turns
from benchmarks.settings import Settings
from benchmarks.store_peers import SQLite
from litesess import Record, WALStore
from litesess.ids import key_of, new_id

#: Returns whether enough was measured.
IsOver: TypeAlias = "Callable[[], bool]"

SESSIONS: Final = 200_000
THREADS: Final = 16
_CASES: Final[dict[str, Callable[[list[float]], float]]] = {
    "p50": lambda times: times[len(times) // 2],
    "p99": lambda times: times[len(times) * 99 // 100],
    "longest": lambda times: times[-1],
}
#: One of so many sessions has expired when they are collected.
_EXPIRED: Final = 10


def measure(settings: Settings) -> Iterator[Table]:
    """Yield each table when it is finished."""
    count = min(SESSIONS, settings.sessions)
    shown = f"{count:,}".replace(",", " ")
    expired = count // _EXPIRED
    table = Table("durable set, latency", "microseconds", more_is_better=False)
    with ExitStack() as stack:
        path = settings.directory / "latency"
        store = stack.enter_context(_closing(ours(path)))
        sqlite = stack.enter_context(_closing(SQLite(path.with_suffix(".sqlite"), "FULL")))
        for peer in (store, sqlite):
            peer.fill(items(count))
        quiet = partial(_while_quiet, settings.seconds)
        compacting = partial(_while_working, store.store.compact)
        collecting = partial(_while_collecting, store, str(path), expired)
        compacted = f"litesess, while {shown} are compacted"
        collected = "litesess, while expired ones are collected"
        table.notes = {
            "litesess, quiet": f"{shown} sessions, one thread.",
            compacted: "By another thread of the process.",
            collected: f"By another thread of the process, {expired:,} of them.".replace(",", " "),
            "SQLite, FULL": f"{shown} sessions, one thread, which also does the checkpoints.",
        }
        others: dict[str, tuple[Peer, Callable[[], Any]]] = {
            "litesess, quiet": (store, quiet),
            compacted: (store, compacting),
            collected: (store, collecting),
            "SQLite, FULL": (sqlite, quiet),
        }
        table.cells = _cells(settings, count, others, _set_times)
        yield table
        yield Table(
            f"durable set, latency of {THREADS} threads",
            "microseconds",
            more_is_better=False,
            notes={
                "litesess": f"{shown} sessions.  Writes that wait are synced together.",
                "SQLite, FULL": f"{shown} sessions.  A thread that finds the lock taken sleeps,"
                " longer each time.  Threads that came later can take the lock before it.",
            },
            cells=_cells(
                settings,
                count,
                {"litesess": (store, quiet), "SQLite, FULL": (sqlite, quiet)},
                _times_of_threads,
            ),
        )


def _cells(
    settings: Settings,
    count: int,
    others: dict[str, tuple[Peer, Callable[[], Any]]],
    times_of: Callable[[Peer, int, random.Random, IsOver], Iterable[float]],
) -> list[Cell]:
    """Measure each candidate once a round, in turn; the times of a round make three values."""
    probe = by_hand(str(settings.directory), RECORD_BYTES)
    rng = random.Random(settings.seed)
    times: dict[str, list[list[float]]] = {name: [] for name in others}
    probes: dict[str, list[float]] = {name: [] for name in others}
    for each in range(settings.rounds):
        for name in turns(list(others), each):
            peer, other = others[name]
            probes[name].append(median_time(probe, PROBES))
            with other() as is_over:
                times[name].append(sorted(times_of(peer, count, rng, is_over)))
    return [
        Cell(case, name, tuple(map(value_of, times[name])), tuple(probes[name]))
        for case, value_of in _CASES.items()
        for name in others
    ]


def _set_times(peer: Peer, count: int, rng: random.Random, is_over: IsOver) -> Iterator[float]:
    """Yield how many microseconds each set took, and one at least."""
    while True:
        wanted, data = key(rng.randrange(count)), session(rng.getrandbits(16))
        began = time.perf_counter()
        peer.set(wanted, data)
        yield (time.perf_counter() - began) * 1e6
        if is_over():
            return


def _times_of_threads(
    peer: Peer, count: int, rng: random.Random, is_over: IsOver
) -> Iterator[float]:
    """Yield how many microseconds each set of some threads took."""

    def work(seed: int) -> list[float]:
        try:
            return [*_set_times(peer, count, random.Random(seed), is_over)]
        finally:
            peer.leave()

    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(work, [rng.getrandbits(32) for _ in range(THREADS)]):
            yield from found


@contextmanager
def _while_quiet(seconds: float) -> Iterator[IsOver]:
    until = time.perf_counter() + seconds
    yield lambda: time.perf_counter() > until


@contextmanager
def _while_working(work: Callable[[], object]) -> Iterator[IsOver]:
    """Let another thread do *work*; the measurement is over when it is done."""
    with ThreadPoolExecutor(1) as pool:
        future: Future[object] = pool.submit(work)
        yield future.done
        future.result()


@contextmanager
def _while_collecting(peer: OurDirectory, path: str, count: int) -> Iterator[IsOver]:
    """Let so many sessions expire, and another thread collect them."""
    with WALStore(path, durable=False) as store:
        now = time.time()
        for number in range(count):
            record = Record(session(number), now - LIFE, now + 0.01)
            store.create(key_of(new_id()), record)
    time.sleep(0.02)
    peer.set(key(0), session(0))  # syncs those sessions, too, before the measurement
    with _while_working(peer.store.collect) as is_over:
        yield is_over


@contextmanager
def _closing(peer: Any) -> Iterator[Any]:
    try:
        yield peer
    finally:
        peer.close()
