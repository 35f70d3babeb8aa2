"""The hot paths: their instructions and calls are counted."""

from __future__ import annotations

import hmac
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.app_peers import ours
from benchmarks.middleware import Client, session_cookie
from litesess import Record, WALStore
from litesess.ids import key_of

KERNEL: Final = "reference kernel"
WARM_UP: Final = 20
CALLS: Final = 200
LATER: Final = 4e9
DATA: Final = {"user": "ada", "count": 0, "cart": ["x" * 60] * 5}

Work = Callable[[], object]


def kernel(_directory: Path) -> Work:
    """Return the reference that all other paths are compared with."""

    def work() -> None:
        for _ in range(10):
            text = json.dumps(DATA, separators=(",", ":"))
            found = {**json.loads(text), "count": 1}
            hmac.digest(b"k" * 32, text.encode(), "sha256").hex()
            dict(sorted(found.items(), key=lambda item: item[0]))

    return work


def a_request(path: str, directory: Path, *, durable: bool = False) -> Work:
    """Return a request to an app of ours."""
    make = ours(lambda place: WALStore(place, durable=durable, gc_interval=None))
    app = make(directory).serve
    return Client(app, path, "" if path == "login" else session_cookie(app)).request


def filled(directory: Path, count: int) -> tuple[WALStore, list[str]]:
    """Return a store of so many sessions, and their keys."""
    store = WALStore(directory, durable=False, gc_interval=None)
    keys = [key_of(str(number)) for number in range(count)]
    for key in keys:
        store.create(key, Record(DATA, 1.0, LATER))
    return store, keys


def loading(directory: Path) -> Work:
    """Return the load of a session out of a snapshot."""
    store, keys = filled(directory, 300)
    store.compact()
    turns = itertools.cycle(keys)
    return lambda: store.load(next(turns))


def updating(directory: Path) -> Work:
    """Return the change of one key of a session."""
    store, keys = filled(directory, 50)
    turns, numbers = itertools.cycle(keys), itertools.count(1)
    return lambda: store.update(next(turns), {"count": next(numbers)}, ())


def touching(directory: Path) -> Work:
    """Return a change of expiry."""
    store, keys = filled(directory, 50)
    turns, numbers = itertools.cycle(keys), itertools.count(1)
    return lambda: store.touch(next(turns), LATER + next(numbers))


def replaying(directory: Path) -> Work:
    """Return the opening of a store with a log of 100 records, up to the first answer."""
    store, keys = filled(directory, 100)
    store.close()

    def work() -> None:
        with WALStore(directory, durable=False, gc_interval=None) as again:
            again.load(keys[0])

    return work


def compacting(directory: Path) -> Work:
    """Return the compaction of 100 sessions."""
    store, _ = filled(directory, 100)
    return store.compact


#: The hot paths that are requests.
REQUESTS: Final[dict[str, Callable[[Path], Work]]] = {
    "untouched request": partial(a_request, "untouched"),
    "read request": partial(a_request, "read"),
    "increment request": partial(a_request, "increment"),
    "durable increment request": partial(a_request, "increment", durable=True),
    "login request": partial(a_request, "login"),
}
#: The hot paths: the function that makes each, and its number of calls; the long ones get few.
PATHS: Final[dict[str, tuple[Callable[[Path], Work], int]]] = {
    KERNEL: (kernel, CALLS),
    **{name: (make, CALLS) for name, make in REQUESTS.items()},
    "load": (loading, CALLS),
    "update": (updating, CALLS),
    "touch": (touching, CALLS),
    "open, log of 100 records": (replaying, 10),
    "compaction of 100 sessions": (compacting, 10),
}


@contextmanager
def temporary() -> Iterator[Path]:
    """Yield a directory that is gone afterwards."""
    directory = Path(tempfile.mkdtemp())
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
