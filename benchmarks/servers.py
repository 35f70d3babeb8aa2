"""Requests a second under gunicorn, on the loopback, and the increments that get lost there.

wrk sends its requests over 16 connections, each with the cookie of the next of many sessions, so
that hardly two of one session meet.  Increments get lost among 16 clients that share one, as a
browser's tabs do: each comes with the newest cookie, and all take the one it is answered with.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.app_peers import CANDIDATES, Candidate, installed, notes_of
from benchmarks.disk import by_hand
from benchmarks.rounds import Table
from benchmarks.serving import CONNECTIONS, Jar, Server
from benchmarks.settings import Settings

#: How gunicorn is told to work.
SHAPES: Final = {
    "1 worker x 16 threads": ("--worker-class=gthread", "--workers=1", "--threads=16"),
    "4 workers": ("--worker-class=sync", "--workers=4"),
}
REQUESTS: Final = ("untouched", "read", "increment")
#: A candidate of ours that counts without ``atomic()``, as the other packages do.
UNGUARDED: Final = "litesess, without atomic()"
UNGUARDED_NOTE: Final = "the durable one, counting as one must with the others: last writer wins"


def measure(settings: Settings) -> Iterator[Table]:
    """Measure; yield each table when it is finished."""
    if find_spec("gunicorn") is None:
        print("servers are left out: no module gunicorn", file=sys.stderr)
        return
    has_wrk = shutil.which("wrk") is not None
    if not has_wrk:
        print("requests a second are left out: wrk is not on the PATH", file=sys.stderr)
    probe = by_hand(str(settings.directory), 512)
    candidates = dict(installed())
    lost = Table("lost increments", "% of those answered", more_is_better=False)
    for shape in SHAPES:
        with serving(candidates, settings.directory, shape) as servers:
            if has_wrk:
                yield rates(shape, servers, settings, probe)
            add_losses(lost, shape, servers, settings, probe)
    yield lost


@contextmanager
def serving(
    candidates: Mapping[str, Candidate], directory: Path, shape: str
) -> Iterator[dict[str, Server]]:
    """Start a server for each candidate; all stay, so that they can take turns."""
    workers = SHAPES[shape]
    with ExitStack() as stack:
        servers = {}
        for number, (name, candidate) in enumerate(candidates.items()):
            if not candidate.is_shared and "--workers=1" not in workers:
                continue
            place = directory / f"{shape} {number}".replace(" ", "-")
            place.mkdir()
            servers[name] = Server(name, place, workers)
            stack.callback(servers[name].stop)
        yield servers


def rates(
    shape: str, servers: Mapping[str, Server], settings: Settings, probe: Callable[[], None]
) -> Table:
    """Measure how many requests a second each server answers."""
    for server in servers.values():
        server.log_in()
    table = Table(f"gunicorn, {shape}", "requests/s", more_is_better=True, notes=notes_of(servers))
    for request in REQUESTS:
        works: dict[str, Callable[[], float]] = {
            name: partial(server.rate, request, settings.seconds)
            for name, server in servers.items()
        }
        table.measure(request, works, settings.rounds, probe)
    return table


def add_losses(
    table: Table,
    shape: str,
    servers: Mapping[str, Server],
    settings: Settings,
    probe: Callable[[], None],
) -> None:
    """Measure how many increments of one session, of those that were answered, are not there."""
    works: dict[str, Callable[[], float]] = {}
    for name, server in servers.items():
        candidate = CANDIDATES[name]
        if candidate.has_sessions:
            path = "atomic" if candidate.is_atomic else "increment"
            works[name] = partial(lost_at, name, server, path, settings.seconds)
    works[UNGUARDED] = partial(
        lost_at, UNGUARDED, servers["litesess"], "increment", settings.seconds
    )
    table.notes |= notes_of(name for name in works if name != UNGUARDED)
    table.notes[UNGUARDED] = UNGUARDED_NOTE
    table.measure(shape, works, settings.rounds, probe)


def lost_at(name: str, server: Server, path: str, seconds: float) -> float:
    """Return how many % of the increments that were answered are lost.

    Raises:
        RuntimeError: one of ours lost or refused any with ``atomic()``, or none was answered.
    """
    jar = Jar()
    server.client(jar).need("login")
    statuses: list[int] = []
    end = time.monotonic() + seconds

    def run() -> None:
        client = server.client(jar)
        while time.monotonic() < end:
            statuses.append(client.get(path)[0])
        client.close()

    threads = [threading.Thread(target=run) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = statuses.count(200)
    errors = len(statuses) - answered
    if errors:
        print(f"{name}: {errors} of {len(statuses)} answers were errors", file=sys.stderr)
    if not answered:
        raise RuntimeError(f"{name}: no increment was answered: {server.log}")
    lost = answered - int(server.client(jar).need("count"))
    if path == "atomic" and (lost or errors):
        raise RuntimeError(f"{name}: {lost} of {answered} increments lost, {errors} errors")
    return 100 * lost / answered
