"""The compared stores, each set up as its documentation recommends for production."""

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

#: The number of sessions for candidates with a file for each: filling a large directory is slow.
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


_WHOLE: Final = "A touch reads and writes the whole session."


def candidates(directory: Path) -> list[Candidate]:
    """Return the installed candidates in a directory; name the rest on stderr."""
    every = (*_ours(directory), *_disk(directory), *_databases(directory), *_packages(directory))
    return [it for it in every if has(it.name, it.needs)]


def redis_candidates(url: str, appendfsync: str) -> Iterator[Candidate]:
    """Yield the candidates on a Redis server, by its ``appendfsync``."""
    synced = {
        "always": "Writes that arrive together are synced together, before they are acknowledged.",
        "everysec": "Synced each second, so a power cut can lose the last second.",
    }[appendfsync]
    yield Candidate(
        f"Redis, {appendfsync}",
        f"SET of the JSON by redis-py.  {synced}  The last writer wins.",
        partial(store_peers.Redis, url),
    )
    yield Candidate(
        f"RedisStore, {appendfsync}",
        f"litesess on Redis.  A script merges the values on the server.  {synced}",
        partial(peers.OurRedis, url),
        most=_SLOW,
    )


@cache
def has(name: str, package: str | None) -> bool:
    """Return whether a candidate's package is installed; name a missing one once on stderr."""
    found = package is None or find_spec(package) is not None
    if not found:
        print(f"{name} is left out: {package} is not installed", file=sys.stderr)
    return found


def _ours(directory: Path) -> Iterator[Candidate]:
    unsynced = "A touch is not synced on its own."
    yield Candidate(
        "litesess",
        "The default.  Each write is synced before it is acknowledged.  Values are merged under a"
        " lock.",
        partial(peers.ours, directory / "ours"),
        touch=unsynced,
    )
    yield Candidate(
        "litesess, not durable",
        "durable=False.  Not synced, so a power cut can lose the last seconds.  Values are merged.",
        partial(peers.ours_not_durable, directory / "quick"),
    )
    yield Candidate(
        "litesess, encrypted",
        "As the default, and encrypted with AES-GCM.",
        partial(peers.ours_encrypted, directory / "encrypted"),
        touch=unsynced,
    )
    yield Candidate(
        ENGINE,
        "The base of the default, used as a database.  The whole JSON is written, and synced"
        " before it is acknowledged.  The last writer wins.",
        partial(peers.our_engine, directory / "engine"),
        touch=unsynced,
    )


def _disk(directory: Path) -> Iterator[Candidate]:
    yield Candidate(
        "write + fdatasync, reserved",
        "The bytes of one record of litesess, written over the reserved space of a file for each"
        " thread.  No store: nothing can be read.",
        partial(store_peers.ByHand, directory / "reserved"),
        finds=False,
    )
    yield Candidate(
        "open, append, fsync, close",
        "One file, opened for each write.  No store: nothing can be read.",
        partial(store_peers.Appended, directory / "appended"),
        finds=False,
    )


def _databases(directory: Path) -> Iterator[Candidate]:
    sqlite = "WAL mode, a connection for each thread.  The whole JSON is written."
    for name, note in (
        ("FULL", "Synced at each commit."),
        ("NORMAL", "Synced only at checkpoints, so a power cut can lose the last commits."),
    ):
        yield Candidate(
            f"SQLite, {name}",
            f"synchronous={name}, {sqlite}  {note}",
            partial(store_peers.SQLite, directory / f"{name}.sqlite", name),
        )
    for name, sync, note in (
        ("sync", True, "The default.  Synced at each commit, and its meta page once more."),
        (
            "no sync",
            False,
            "sync=False.  Never synced: a power cut can lose commits and damage the database.",
        ),
    ):
        yield Candidate(
            f"LMDB, {name}",
            f"{note}  The whole JSON is written.",
            partial(store_peers.LMDB, directory / f"{name}.lmdb", sync=sync),
            needs="lmdb",
            touch="A touch writes the whole session.",
        )


def _packages(directory: Path) -> Iterator[Candidate]:
    yield Candidate(
        "diskcache",
        "Cache on SQLite with synchronous=NORMAL, its default.  Synced only at checkpoints.  The"
        " whole JSON is written.",
        partial(package_peers.DiskCache, directory / "diskcache"),
        needs="diskcache",
        most=_SLOW,
    )
    yield Candidate(
        "Django, files",
        "A file for each session, renamed into place.  Never synced.  The last writer wins.",
        partial(package_peers.Django, directory / "django", "file"),
        needs="django",
        most=_FILES,
        touch=_WHOLE,
    )
    yield Candidate(
        "Django, SQLite",
        "WAL mode, synchronous=FULL, transaction_mode=IMMEDIATE.  Synced at each commit.  The last"
        " writer wins.",
        partial(package_peers.DjangoDatabase, directory / "django"),
        needs="django",
        most=_SLOW,
        touch=_WHOLE,
    )
    yield Candidate(
        "Beaker, files",
        "A file for each session, renamed into place under a lock file.  Read before each write."
        "  Never synced.  The last writer wins.",
        partial(package_peers.Beaker, directory / "beaker"),
        needs="beaker",
        most=_FILES,
        touch=_WHOLE,
    )
    yield Candidate(
        "cachelib, files",
        "A file for each session, renamed into place.  No threshold.  Never synced.  The last"
        " writer wins.",
        partial(package_peers.CacheLib, directory / "cachelib"),
        needs="cachelib",
        most=_FILES,
        touch=_WHOLE,
    )
