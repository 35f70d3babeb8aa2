"""Requests a second under gunicorn, as shares of the bare app, and the increments that get lost.

wrk sends its requests over 16 connections, each with the cookie of the next of many sessions, so
that two requests of one session hardly ever meet.  Beside each app with sessions, the same
framework's bare app is measured.  It gets the same cookies and answers the same headers, so that
their cost in gunicorn and in wrk does not count as a cost of sessions.

Increments get lost among 16 clients that share one session, as a browser's tabs do.  Each client
sends the newest cookie, and keeps the cookie of the answer.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.app_peers import CANDIDATES, NO_SESSIONS, Candidate, installed, notes_of
from benchmarks.disk import by_hand
from benchmarks.rounds import Cell, Table
from benchmarks.serving import CONNECTIONS, Headers, Jar, Server
from benchmarks.settings import Settings
from benchmarks.targets import SHARE, THREADED

#: How gunicorn is told to work.
SHAPES: Final = {
    THREADED: ("--worker-class=gthread", "--workers=1", "--threads=16"),
    "4 workers": ("--worker-class=sync", "--workers=4"),
}
#: The path of each case.
REQUESTS: Final = {"untouched": "untouched", "read": "read", "counter": "increment"}
#: A candidate of ours that counts without ``atomic()``, as the other packages do.
UNGUARDED: Final = "litesess, without atomic()"
UNGUARDED_NOTE: Final = (
    "As litesess, but it counts as the other packages must: of two requests at a time, the last"
    " writer wins."
)
#: The seconds after which a request is a usual one: Pyramid renews no cookie in its first second.
AGE: Final = 2.0
#: The number of rounds is at most this, where more of them would tell no more.
FEW_ROUNDS: Final = 3


def measure(settings: Settings) -> Iterator[Table]:
    """Measure; yield each table when it is finished."""
    if find_spec("gunicorn") is None:
        print("servers are left out: no module gunicorn", file=sys.stderr)
        return
    has_wrk = shutil.which("wrk") is not None
    if not has_wrk:
        print("requests a second are left out: wrk is not on the PATH", file=sys.stderr)
    probe = by_hand(str(settings.directory), 512)
    candidates = {name: it for name, it in installed() if it.has_sessions}
    lost = Table("lost increments", "% of those answered", more_is_better=False)
    few = min(settings.rounds, FEW_ROUNDS)
    for shape in SHAPES:
        rounds = settings.rounds if shape == THREADED else few
        with serving(candidates, settings.directory, shape) as servers:
            if has_wrk:
                with answering_alike(servers, settings.directory, shape) as twins:
                    yield from rates(shape, servers, twins, settings.seconds, rounds, probe)
            add_losses(lost, shape, servers, settings.seconds, few, probe)
    yield lost


@contextmanager
def serving(
    candidates: Mapping[str, Candidate], directory: Path, shape: str
) -> Iterator[dict[str, Server]]:
    """Start a server for each candidate; all stay, so that they can take turns."""
    workers = SHAPES[shape]
    with ExitStack() as stack:
        servers = {}
        for name, candidate in candidates.items():
            if candidate.is_shared or "--workers=1" in workers:
                servers[name] = Server(name, new_place(directory), workers)
                stack.callback(servers[name].stop)
        yield servers


def new_place(directory: Path) -> Path:
    """Return a new directory for a server."""
    place = directory / f"server-{sum(1 for _ in directory.iterdir())}"
    place.mkdir()
    return place


@dataclass(frozen=True)
class Twin:
    """A bare app that answers one kind of request with the headers of an app with sessions.

    Attributes:
        name: in the table.
        server: of the bare app.
        query: stands for the headers.
        cookies: the file of the requests' cookies.
    """

    name: str
    server: Server
    query: str
    cookies: Path

    def rate(self, seconds: float) -> float:
        """Return how many requests a second are answered."""
        return self.server.rate(f"untouched?{self.query}", seconds, self.cookies)


@contextmanager
def answering_alike(
    servers: Mapping[str, Server], directory: Path, shape: str
) -> Iterator[dict[tuple[str, str], Twin]]:
    """Begin the sessions, learn the headers of each answer, and start the bare apps.

    Raises:
        RuntimeError: a bare app answers with other headers than it must.
    """
    headers: dict[str, dict[str, Headers]] = {}
    learnt: dict[tuple[str, str], tuple[str, str]] = {}
    shared: dict[object, tuple[str, str]] = {}
    for server in servers.values():
        server.log_in()
    time.sleep(AGE)
    for number, (name, server) in enumerate(servers.items()):
        cookie_length = len(server.cookies.read_text().partition("\n")[0])
        bare = CANDIDATES[name].bare
        for case, path in REQUESTS.items():
            found = server.headers(path)
            sizes = tuple((each, len(value)) for each, value in found)
            query = f"{case}-{number}"
            first = shared.setdefault((bare, case, sizes, cookie_length), (name, query))
            headers.setdefault(bare, {}).setdefault(first[1], found)
            learnt[name, case] = first
    with ExitStack() as stack:
        bares = {}
        for bare, some in headers.items():
            bares[bare] = Server(bare, new_place(directory), SHAPES[shape], some)
            stack.callback(bares[bare].stop)
            check(bares[bare], some)
        twins = {}
        for (name, case), (first_name, query) in learnt.items():
            bare = CANDIDATES[name].bare
            title = f"{bare} (headers as {first_name})"
            twins[name, case] = Twin(title, bares[bare], query, servers[first_name].cookies)
        yield twins


def check(bare: Server, headers: Mapping[str, Headers]) -> None:
    """Raise RuntimeError if a bare app answers with other headers than it must."""
    for query, wanted in headers.items():
        client = bare.client()
        client.need(f"untouched?{query}")
        client.close()
        missing = [each for each in wanted if tuple(each) not in map(tuple, client.headers)]
        if missing:
            raise RuntimeError(f"{bare.name} does not answer with {missing}")


def rates(
    shape: str,
    servers: Mapping[str, Server],
    twins: Mapping[tuple[str, str], Twin],
    seconds: float,
    rounds: int,
    probe: Callable[[], None],
) -> Iterator[Table]:
    """Measure how many requests a second each server answers; yield the shares, then the rates."""
    table = Table(f"gunicorn, {shape}", "requests/s", more_is_better=True, notes=notes_of(servers))
    shares = Table(SHARE.format(shape), "parts of the bare app's requests/s", more_is_better=True)
    for case, path in REQUESTS.items():
        works: dict[str, Callable[[], float]] = {}
        for name, server in servers.items():
            twin = twins[name, case]
            works[name] = partial(server.rate, path, seconds)
            # After its candidate, unless another candidate before has the same.
            works.setdefault(twin.name, partial(twin.rate, seconds))
            table.notes[twin.name] = NO_SESSIONS
        table.measure(case, works, rounds, probe)
        for name in servers:
            cell, bare = table.cell(case, name), table.cell(case, twins[name, case].name)
            assert cell is not None
            assert bare is not None
            shares.cells.append(share(cell, bare))
    yield shares
    yield table


def share(cell: Cell, bare: Cell) -> Cell:
    """Return each round's rate as a share of the bare app's rate in the same round."""
    pairs = zip(cell.values, bare.values, strict=True)
    return Cell(cell.case, cell.candidate, tuple(one / other for one, other in pairs), cell.probes)


def add_losses(
    table: Table,
    shape: str,
    servers: Mapping[str, Server],
    seconds: float,
    rounds: int,
    probe: Callable[[], None],
) -> None:
    """Measure how many increments of one session, of those that were answered, are not there."""
    works: dict[str, Callable[[], float]] = {}
    for name, server in servers.items():
        path = "atomic" if CANDIDATES[name].is_atomic else "increment"
        works[name] = partial(lost_at, name, server, path, seconds)
    works[UNGUARDED] = partial(lost_at, UNGUARDED, servers["litesess"], "increment", seconds)
    table.notes |= notes_of(servers)
    table.notes[UNGUARDED] = UNGUARDED_NOTE
    table.measure(shape, works, rounds, probe)


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
