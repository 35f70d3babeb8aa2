"""The cost of a session for a request, by direct WSGI calls: litesess and other packages.

A request does not use its session, reads one key, or counts one up.  A framework's own cost does
not count against its sessions.  So the table has two cases: the time of the whole request, and the
time without that of the same framework's app without sessions, from the same round.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from benchmarks.app_peers import CANDIDATES, SECRET, App, installed, notes_of, wsgi_app
from benchmarks.disk import by_hand
from benchmarks.rounds import Cell, Table
from benchmarks.settings import Settings
from litesess import SessionMiddleware, WALStore
from litesess.engine import FileSystem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: The path of each kind of request.
REQUESTS: Final = {"untouched": "untouched", "read": "read", "counter": "increment"}
WHOLE: Final = "whole request"
OVER_BARE: Final = "over the bare app"
BY_HAND: Final = "the same bytes by hand"
BY_HAND_NOTE: Final = (
    "No app: pwrite and fdatasync of as many bytes as a request of litesess writes, into a file"
    " reserved ahead."
)
WARM_UP: Final = 0.03  # seconds
#: The number of requests over which syncs are counted, and of the clients that send them.
COUNTED: Final = 480
CLIENTS: Final = (1, 16)


class Client:
    """Calls an app as a server does, with one cookie."""

    def __init__(self, app: WSGIApplication, path: str, cookie: str = "") -> None:
        self._app = app
        self._environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
            "wsgi.multiprocess": False,
        }
        if cookie:
            self._environ["HTTP_COOKIE"] = f"theme=dark; {cookie}; lang=en"
        self.headers: list[tuple[str, str]] = []

    def request(self) -> None:
        """Make one request.

        Raises:
            AssertionError: it was answered with an error.
        """
        body = self._app(self._environ.copy(), self._start)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    def _start(self, status: str, headers: list[tuple[str, str]], *_rest: Any) -> Any:
        assert status == "200 OK", status
        self.headers = headers


def session_cookie(app: WSGIApplication) -> str:
    """Log in; return the cookie."""
    client = Client(app, "login")
    client.request()
    cookies = (value for name, value in client.headers if name.lower() == "set-cookie")
    return next(cookies).partition(";")[0].strip()


def typical(work: Callable[[], None], seconds: float) -> float:
    """Do *work* again and again for *seconds*; return the median of its microseconds."""
    # After the candidate before has waited for the disk, the processor is slow for a while.
    end = perf_counter() + WARM_UP
    while perf_counter() < end:
        work()
    taken = []
    began = perf_counter()
    end = began + seconds
    while began < end:
        work()
        ended = perf_counter()
        taken.append(ended - began)
        began = ended
    return statistics.median(taken) * 1e6


class Counting(FileSystem):
    """Files that count their syncs, and remember the size of the last write."""

    def __init__(self) -> None:
        self.syncs = 0
        self.written = 0

    def sync(self, fd: int) -> None:
        """Sync, and count it."""
        self.syncs += 1
        FileSystem.sync(fd)

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        """Write, and remember the size."""
        self.written = len(data)
        return os.pwrite(fd, data, offset)


class Counted:
    """litesess's middleware, over a store that counts its syncs."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.files = Counting()
        store = WALStore(directory, durable=durable)
        opener = store._engine._opener  # noqa: SLF001  # only here, to count
        opener.means = replace(opener.means, fs=self.files)
        self._app = SessionMiddleware(wsgi_app("litesess.session"), secret=SECRET, store=store)
        self.close = self._app.close

    def clients(self, count: int) -> list[Client]:
        """Return clients that increment, each with a session of its own."""
        return [Client(self._app, "increment", session_cookie(self._app)) for _ in range(count)]

    def syncs(self, clients: list[Client]) -> float:
        """Return how many syncs an increment costs when all clients make them at a time."""

        def run(client: Client) -> None:
            for _ in range(COUNTED // len(clients)):
                client.request()

        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        before = self.files.syncs
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (self.files.syncs - before) / COUNTED


def bytes_of_increment(directory: Path) -> int:
    """Return how many bytes one of our increments writes."""
    counted = Counted(directory)
    for client in counted.clients(1):
        client.request()
    written = counted.files.written  # before close(), which writes more
    counted.close()
    return written


def make_apps(directory: Path) -> dict[str, App]:
    """Return the apps that are installed, each with a directory of its own."""
    apps = {}
    for number, (name, candidate) in enumerate(installed()):
        place = directory / f"app{number}"
        place.mkdir()
        apps[name] = candidate.make(place)
    return apps


def works_of(request: str, apps: dict[str, App], seconds: float) -> dict[str, Callable[[], float]]:
    """Return the measuring function of each candidate; apps without sessions answer one path."""
    works: dict[str, Callable[[], float]] = {}
    for name, app in apps.items():
        if CANDIDATES[name].has_sessions:
            client = Client(app.serve, request, session_cookie(app.serve))
        else:
            client = Client(app.serve, "untouched", "session=none")
        works[name] = partial(typical, client.request, seconds)
    return works


def over_bare(table: Table) -> Iterator[Cell]:
    """Yield the time of whole requests without that of the bare app, in the same round."""
    whole = {cell.candidate: cell for cell in table.cells}
    for name, cell in whole.items():
        if name == BY_HAND:
            yield Cell(OVER_BARE, name, cell.values, cell.probes)
        elif CANDIDATES[name].has_sessions:
            bare = whole[CANDIDATES[name].bare]
            pairs = zip(cell.values, bare.values, strict=True)
            yield Cell(OVER_BARE, name, tuple(one - other for one, other in pairs), cell.probes)


def measure(settings: Settings) -> Iterator[Table]:
    """Measure; yield each table when it is finished."""
    directory = settings.directory
    probe = by_hand(str(directory), 512)
    hand = directory / "hand"
    hand.mkdir()
    write_by_hand = by_hand(str(hand), bytes_of_increment(directory / "bytes"))
    with ExitStack() as stack:
        apps = make_apps(directory)
        for app in apps.values():
            stack.callback(app.close)
        for request, path in REQUESTS.items():
            table = Table(
                f"{request} request", "microseconds", more_is_better=False, notes=notes_of(apps)
            )
            works = works_of(path, apps, settings.seconds)
            if request == "counter":
                table.notes[BY_HAND] = BY_HAND_NOTE
                works[BY_HAND] = partial(typical, write_by_hand, settings.seconds)
            table.measure(WHOLE, works, settings.rounds, probe)
            table.cells += over_bare(table)
            yield table
    yield syncs(settings, probe)


def syncs(settings: Settings, probe: Callable[[], None]) -> Table:
    """Count how many syncs an increment costs."""
    stores = {
        "litesess": Counted(settings.directory / "counted"),
        "litesess, not durable": Counted(settings.directory / "quick", durable=False),
    }
    table = Table("syncs per increment", "syncs", more_is_better=False, notes=notes_of(stores))
    for count in CLIENTS:
        works: dict[str, Callable[[], float]] = {}
        for name, store in stores.items():
            works[name] = partial(store.syncs, store.clients(count))
        case = "1 client" if count == 1 else f"{count} clients at a time"
        table.measure(case, works, settings.rounds, probe)
    for store in stores.values():
        store.close()
    return table
