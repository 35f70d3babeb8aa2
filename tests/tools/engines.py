"""How the engine's tests make engines, keys and plans."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from typing import Any

from litesess.crypto import EncryptionKey
from litesess.engine import (
    Change,
    Delete,
    Engine,
    FileSystem,
    Hooks,
    Limits,
    Means,
    Put,
    Touch,
    log,
    snapshot,
)
from litesess.engine.lock import FileLock
from litesess.engine.means import NO_HOOKS
from litesess.engine.watcher import Watched, Watcher
from tests.tools.simdisk import SimDisk, SimLock

PATH = "/store"
FAR = 1e10


#: The encryption key of every store of a test; the fixture ``encrypted`` sets it.
encryption_key: EncryptionKey | None = None

_salts = random.Random()


def seed_salts() -> None:
    """Make each test's stores the same in every run, independent of the tests before."""
    _salts.seed(1)


def make_engine(
    fs: FileSystem | None = None,
    path: str = PATH,
    *,
    wal_limit: int = 1 << 20,
    lock: FileLock | None = None,
    random_bytes: Callable[[int], bytes] | None = None,
    lock_timeout: float = 0.05,
    trusts_disk: bool = False,
    given: str = "",
    read_only: bool = False,
    monotonic: Callable[[], float] | None = None,
    encrypted_by: EncryptionKey | None = None,
    hooks: Hooks = NO_HOOKS,
    sleep: Callable[[float], object] | None = None,
    watcher: Watcher | None = None,
) -> Engine:
    """Return an engine, on a simulated disk with locks of that.

    Nothing waits long in it, and no thread looks at it, unless *sleep* and *watcher* are given.
    """
    if lock is None:
        lock = SimLock(fs) if isinstance(fs, SimDisk) else FileLock()
    return Engine(
        path,
        "sessions",
        Limits(wal_limit=wal_limit, lock_timeout=lock_timeout, trusts_disk=trusts_disk),
        Means(
            random_bytes=random_bytes or (os.urandom if fs is None else _salts.randbytes),
            fs=fs or FileSystem(),
            lock=lock,
            monotonic=monotonic or _ticks(),
            sleep=sleep or (_sleep_not if isinstance(fs, SimDisk) else _sleep_briefly),
            watcher=watcher or Nobody(),
        ),
        given=given,
        read_only=read_only,
        encryption_key=encrypted_by or encryption_key,
        hooks=hooks,
    )


class Nobody(Watcher):
    """Looks at nothing: a test looks by hand, when it wants to."""

    def watch(self, store: Watched) -> None:
        pass


def _sleep_not(_seconds: float) -> None:
    """Return at once: on a simulated disk no other process runs meanwhile."""


def _sleep_briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.002))


def _ticks() -> Callable[[], float]:
    """Return a clock that goes on by a millisecond whenever it is asked."""
    milliseconds = count()
    return lambda: next(milliseconds) / 1000


def key(name: object) -> bytes:
    return sha256(str(name).encode()).digest()


def change(engine: Engine, *changes: Change, sync: bool = True) -> int:
    """Make changes in one record; return its sequence number."""
    _, sequence = engine.transact(lambda _stored: (changes, None), sync=sync)
    return sequence


def put(engine: Engine, name: object, value: bytes, expires_at: float = FAR, **how: Any) -> int:
    return change(engine, Put(key(name), value, expires_at), **how)


def delete(engine: Engine, name: object, **how: Any) -> int:
    return change(engine, Delete(key(name)), **how)


def touch(engine: Engine, name: object, expires_at: float) -> None:
    """Touch the value *name*, if it is stored."""

    def plan(stored: Any) -> tuple[list[Change], None]:
        entry = stored.get(key(name))
        return [Touch(key(name), entry.version, expires_at)] if entry else [], None

    engine.transact(plan, sync=False)


def content(engine: Engine) -> dict[bytes, tuple[bytes, float]]:
    """Return all that is stored, with its expiry."""
    return {found: (entry.value, entry.expires_at) for found, entry in engine.scan()}


def small_files(monkeypatch: Any) -> None:
    """Reserve little, so that a simulated disk is quick to copy, and map few snapshots."""
    monkeypatch.setattr(snapshot, "MAPPED_BYTES", 1024)
    monkeypatch.setattr(log, "RESERVE_STEP", 2048)
    monkeypatch.setattr(log, "DELETE_RESERVE", 512)


def abandon(engine: Engine) -> None:
    """Leave an engine as a killed process would: nothing is written any more."""
    opened, engine._open = engine._open, None
    if opened is not None:
        opened.forget()


def seeded_bytes(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes
