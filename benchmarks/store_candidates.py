"""The candidates among the stores, each as its own documentation has it for production."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks import package_peers, peers, store_peers
from benchmarks.targets import ENGINE

#: A directory with many files grows slow, and so does filling it.
_FILES: Final = 2_000
#: The number of sessions for candidates that can't be filled as quickly as the rest.
_SLOW: Final = 50_000


@dataclass(frozen=True)
class Candidate:
    """One of the compared stores.

    Attributes:
        name: in all tables.
        note: its set-up, and the features that it lacks.
        make: opens it, in any process.
        needs: the package that has it.
        most: at most so many sessions are put in; None: as many as in ours.
        touch: the meaning of a touch, if it is not a write of the new expiry.
        finds: whether a written session can be found again.
    """

    name: str
    note: str
    make: Callable[[], peers.Peer]
    needs: str | None = None
    most: int | None = None
    touch: str | None = None
    finds: bool = True


_WHOLE: Final = "a touch reads and writes the whole session"


def candidates(directory: Path) -> list[Candidate]:
    """Return those in a directory that are installed; say of the rest that they are not."""
    every = (*_ours(directory), *_disk(directory), *_databases(directory), *_packages(directory))
    return [it for it in every if has(it.name, it.needs)]


def redis_candidates(url: str, appendfsync: str) -> Iterator[Candidate]:
    """Yield those on a server, by when it syncs."""
    synced = {
        "always": "what arrives at once is synced together before it is acknowledged",
        "everysec": "synced each second: a power cut may cost as much",
    }[appendfsync]
    yield Candidate(
        f"Redis, {appendfsync}",
        f"SET of the JSON by redis-py; {synced}; the last writer wins",
        partial(store_peers.Redis, url),
    )
    yield Candidate(
        f"RedisStore, {appendfsync}",
        f"litesess on Redis: a script merges the values on the server; {synced}",
        partial(peers.OurRedis, url),
        most=_SLOW,
    )


@cache
def has(name: str, package: str | None) -> bool:
    """Return whether the package that a candidate needs is installed; if not, to stderr, once."""
    found = package is None or find_spec(package) is not None
    if not found:
        print(f"{name} is left out: {package} is not installed", file=sys.stderr)
    return found


def _ours(directory: Path) -> Iterator[Candidate]:
    unsynced = "a touch is not synced for itself"
    yield Candidate(
        "litesess",
        "the default: synced before it is acknowledged; values are merged under its lock",
        partial(peers.ours, directory / "ours"),
        touch=unsynced,
    )
    yield Candidate(
        "litesess, not durable",
        "durable=False: not synced, a power cut may cost the last seconds; values are merged",
        partial(peers.ours_not_durable, directory / "quick"),
    )
    yield Candidate(
        "litesess, encrypted",
        "as the default, and sealed with AES-GCM",
        partial(peers.ours_encrypted, directory / "encrypted"),
        touch=unsynced,
    )
    yield Candidate(
        ENGINE,
        "what the default is built on, as the databases here are used: the whole JSON is written,"
        " synced before it is acknowledged; the last writer wins",
        partial(peers.our_engine, directory / "engine"),
        touch=unsynced,
    )


def _disk(directory: Path) -> Iterator[Candidate]:
    yield Candidate(
        "write + fdatasync, reserved",
        "the bytes of our record over what a file for each thread has reserved; nothing is found"
        " again",
        partial(store_peers.ByHand, directory / "reserved"),
        finds=False,
    )
    yield Candidate(
        "open, append, fsync, close",
        "one file of all, opened for each write; nothing is found again",
        partial(store_peers.Appended, directory / "appended"),
        finds=False,
    )


def _databases(directory: Path) -> Iterator[Candidate]:
    sqlite = "WAL mode, a connection for each thread; the whole JSON is written"
    for name, note in (
        ("FULL", "synced at each commit"),
        ("NORMAL", "synced at checkpoints only: a power cut may cost the last commits"),
    ):
        yield Candidate(
            f"SQLite, {name}",
            f"synchronous={name}, {sqlite}; {note}",
            partial(store_peers.SQLite, directory / f"{name}.sqlite", name),
        )
    for name, sync, note in (
        ("sync", True, "the default: synced at each commit, its meta page once more"),
        (
            "no sync",
            False,
            "sync=False: never synced, a power cut may cost the last commits, maybe the database",
        ),
    ):
        yield Candidate(
            f"LMDB, {name}",
            f"{note}; the whole JSON is written",
            partial(store_peers.LMDB, directory / f"{name}.lmdb", sync=sync),
            needs="lmdb",
            touch="a touch writes the whole session",
        )


def _packages(directory: Path) -> Iterator[Candidate]:
    yield Candidate(
        "diskcache",
        "Cache on SQLite, synchronous=NORMAL, its default: synced at checkpoints only; the whole"
        " JSON is written",
        partial(package_peers.DiskCache, directory / "diskcache"),
        needs="diskcache",
        most=_SLOW,
    )
    yield Candidate(
        "Django, files",
        "a file for each session, renamed into place; never synced; the last writer wins",
        partial(package_peers.Django, directory / "django", "file"),
        needs="django",
        most=_FILES,
        touch=_WHOLE,
    )
    yield Candidate(
        "Django, SQLite",
        "WAL mode, synchronous=FULL, transaction_mode=IMMEDIATE: synced at each commit; the last"
        " writer wins",
        partial(package_peers.DjangoDatabase, directory / "django"),
        needs="django",
        most=_SLOW,
        touch=_WHOLE,
    )
    yield Candidate(
        "Beaker, files",
        "a file for each session, renamed into place under a lock file; read before each write;"
        " never synced; the last writer wins",
        partial(package_peers.Beaker, directory / "beaker"),
        needs="beaker",
        most=_FILES,
        touch=_WHOLE,
    )
    yield Candidate(
        "cachelib, files",
        "a file for each session, renamed into place; no threshold; never synced; the last writer"
        " wins",
        partial(package_peers.CacheLib, directory / "cachelib"),
        needs="cachelib",
        most=_FILES,
        touch=_WHOLE,
    )
