"""The time to copy a store to another kind of store while its sessions are changed."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from benchmarks.disk import by_hand
from benchmarks.peers import (
    RECORD_BYTES,
    Data,
    OurRedis,
    OurStore,
    items,
    key,
    ours_not_durable,
    session,
)
from benchmarks.redis_server import missing, redis_server
from benchmarks.rounds import Table
from benchmarks.settings import Settings
from benchmarks.store_peers import Redis
from litesess import Store, WALStore
from litesess.stores.copying import Report, copy_all
from litesess.stores.fallback import FallbackStore

OURS: Final = "litesess copy"
SESSIONS: Final = 20_000
#: A copy takes so long that rounds hardly differ.
_ROUNDS: Final = 3
#: Seconds between two changes, as on a site that is in use.
_PAUSE: Final = 0.002


def measure(settings: Settings) -> Iterator[Table]:
    """Yield the table."""
    lack = missing()
    if lack is not None:
        print(f"copying is left out: {lack} is not installed", file=sys.stderr)
        return
    count = min(SESSIONS, settings.sessions)
    table = Table("copy", "seconds", more_is_better=False)
    shown = f"{count:,}".replace(",", " ")
    table.notes = {
        OURS: f"{shown} sessions are copied and then compared, while one of them is changed every"
        f" {_PAUSE * 1e3:.0f} ms.  None was lost."
    }
    probe = by_hand(str(settings.directory), RECORD_BYTES)
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(redis_server(settings.directory / f"redis-{name}", name))
            for name in ("everysec", "always")
        }
        directory = settings.directory / "copied"
        cases: dict[str, Callable[[], float]] = {
            f"WALStore to Redis, {name}": partial(_to_redis, directory, url, count, settings.seed)
            for name, url in urls.items()
        }
        cases["Redis, everysec to WALStore"] = partial(
            _from_redis, directory, urls["everysec"], count, settings.seed
        )
        for case, work in cases.items():
            table.measure(case, {OURS: work}, min(settings.rounds, _ROUNDS), probe)
    yield table


def _to_redis(directory: Path, url: str, count: int, seed: int) -> float:
    with _empty(directory, url) as (path, redis):
        filled = ours_not_durable(path)
        filled.fill(items(count))
        filled.close()
        with WALStore(path) as source:
            return _copying(source, redis, count, seed)


def _from_redis(directory: Path, url: str, count: int, seed: int) -> float:
    with _empty(directory, url) as (path, redis), WALStore(path) as target:
        OurStore(redis).fill(items(count))
        return _copying(redis, target, count, seed)


@contextmanager
def _empty(directory: Path, url: str) -> Iterator[tuple[Path, Store]]:
    """Yield the path of a new directory and a store in Redis; empty Redis afterwards."""
    redis, our = Redis(url), OurRedis(url)
    path = directory / f"{time.time_ns()}"
    try:
        yield path, our.store
    finally:
        our.close()
        redis.clear()
        redis.close()


def _copying(source: Store, target: Store, count: int, seed: int) -> float:
    """Return how many seconds it takes to copy so many sessions while they are changed.

    Raises:
        RuntimeError: a session was lost, or has a wrong value.
    """
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(_change, FallbackStore(target, source), count, seed, stop)
        try:
            began = time.perf_counter()
            report = copy_all(source, target)
            seconds = time.perf_counter() - began
        finally:
            stop.set()
        changed, lost = changing.result()
    _check(target, count, changed, lost, report)
    return seconds


def _change(both: Store, count: int, seed: int, stop: Event) -> tuple[dict[str, Data], list[str]]:
    """Change sessions until told to stop; return their last values, and the keys of lost ones."""
    rng = random.Random(seed)
    changed: dict[str, Data] = {}
    lost = []
    while not stop.wait(_PAUSE):
        number = rng.randrange(count)
        wanted, value = key(number), rng.random()
        if both.update(wanted, {"x": value}, ()) is None:
            lost.append(wanted)
        changed[wanted] = {**session(number), "x": value}
    return changed, lost


def _check(
    target: Store, count: int, changed: dict[str, Data], lost: list[str], report: Report
) -> None:
    found = {wanted: record.data for wanted, record in target.records()}
    wrong = sum(found.get(wanted) != changed.get(wanted, data) for wanted, data in items(count))
    if lost or wrong or report.different:
        raise RuntimeError(
            f"of {count} sessions {len(lost)} were lost, {wrong} have a wrong value,"
            f" {len(report.different)} differ from their originals"
        )
