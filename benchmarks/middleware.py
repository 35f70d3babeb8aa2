"""What a session costs a request, by direct WSGI calls.

    python -m benchmarks.middleware [--directory DIR] [--rounds N] [--requests N]

Each line is the median time of a request over the same app without a session.  The cases take
turns, round by round, so that a machine whose speed drifts slows all of them; the durable case
stands beside the same bytes written and synced by hand into a file reserved ahead.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.disk import by_hand
from litesess import MemoryStore, SessionMiddleware, WALStore
from litesess.engine.fs import FileSystem
from litesess.ids import new_secret

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]


def bare(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer, and know no session."""
    start_response("200 OK", HEADERS)
    return [b"ok"]


def reading(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer after one look at one key."""
    assert environ["litesess.session"]["user"] == "ada"
    return bare(environ, start_response)


def writing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer after one key was counted up."""
    session = environ["litesess.session"]
    session["count"] = session["count"] + 1
    return bare(environ, start_response)


def logging_in(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Begin a session of some 380 bytes."""
    session = environ["litesess.session"]
    session.update(user="ada", count=0, cart=["x" * 60] * 5)
    return bare(environ, start_response)


class Client:
    """Calls an app as a server does, with one cookie."""

    def __init__(self, app: WSGIApplication, cookie: str = "") -> None:
        self._app = app
        self._environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "wsgi.url_scheme": "http",
            "wsgi.multiprocess": False,
        }
        if cookie:
            self._environ["HTTP_COOKIE"] = f"theme=dark; {cookie}; lang=en"
        self.headers: list[tuple[str, str]] = []

    def request(self) -> None:
        """Make one request."""
        for _ in self._app(self._environ.copy(), self._start):
            pass

    def _start(self, _status: str, headers: list[tuple[str, str]], *_rest: Any) -> Any:
        self.headers = headers


def session_cookie(store: Any, secret: str) -> str:
    """Log in; return the cookie."""
    client = Client(SessionMiddleware(logging_in, secret=secret, store=store))
    client.request()
    return next(value for name, value in client.headers if name == "Set-Cookie").partition(";")[0]


class Counting(FileSystem):
    """Counts the syncs."""

    syncs = 0

    def sync(self, fd: int) -> None:
        """Sync, and count it."""
        type(self).syncs += 1
        FileSystem.sync(fd)


def cases(directory: str) -> dict[str, Callable[[], None]]:
    """Return what is measured, by name."""
    secret = new_secret()
    durable = WALStore(f"{directory}/durable")
    quick = WALStore(f"{directory}/quick", durable=False)
    memory = MemoryStore()

    def client(app: Any, store: Any) -> Callable[[], None]:
        wrapped = SessionMiddleware(app, secret=secret, store=store)
        return Client(wrapped, session_cookie(store, secret)).request

    return {
        "bare": Client(bare, "litesess.sid=x").request,
        "untouched": client(bare, durable),
        "one key read": client(reading, durable),
        "one key read, MemoryStore": client(reading, memory),
        "one key written, not durable": client(writing, quick),
        "one key written, MemoryStore": client(writing, memory),
        "one key written, durable": client(writing, durable),
        "the same bytes by hand": by_hand(directory, 520),
    }


def measure(work: Callable[[], None], count: int) -> float:
    """Return the median time of *work* in microseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def syncs_per_write(directory: str, count: int = 200) -> float:
    """Return how many syncs a request that writes one key costs, one client at a time."""
    secret = new_secret()
    store = WALStore(f"{directory}/counted")
    store._engine._fs = Counting()  # noqa: SLF001  # only here, to count
    cookie = session_cookie(store, secret)
    client = Client(SessionMiddleware(writing, secret=secret, store=store), cookie)
    before = Counting.syncs
    for _ in range(count):
        client.request()
    after = Counting.syncs
    store.close()
    return (after - before) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", help="on the disk to measure (a temporary one)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=300, help="in each round of each case")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(dir=options.directory)
    try:
        works = cases(directory)
        results: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(options.rounds):
            for name, work in works.items():
                results[name].append(measure(work, options.requests))
        base = statistics.median(results["bare"])
        print(f"{'case':32} {'us':>8} {'over bare':>10} {'spread':>16}")
        for name, values in results.items():
            median = statistics.median(values)
            over = f"{median - base:10.2f}" if "hand" not in name else " " * 10
            print(f"{name:32} {median:8.2f} {over} {min(values):7.2f}-{max(values):.2f}")
        hand = results["the same bytes by hand"]
        durable = results["one key written, durable"]
        ratios = [ours / theirs for ours, theirs in zip(durable, hand, strict=True)]
        print(f"durable write over by hand: {statistics.median(ratios):.2f}")
        print(f"syncs per write: {syncs_per_write(directory):.3f}")
    finally:
        shutil.rmtree(Path(directory))


if __name__ == "__main__":
    main()
