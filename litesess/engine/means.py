"""The settings of an engine: its limits, its means, and the functions that it calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from litesess.engine.fs import FileSystem
from litesess.engine.lock import FileLock
from litesess.engine.watcher import Watcher, watcher


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes and times that an engine keeps to.

    Attributes:
        wal_limit: bytes of log after which it is compacted.
        lock_timeout: how long to wait for another process to release a lock, in seconds.
        trusts_disk: several processes may share the store on a file system of any type.
    """

    wal_limit: int
    lock_timeout: float
    trusts_disk: bool = False


@dataclass(frozen=True, kw_only=True)
class Means:
    """All by which an engine reaches the world outside; a test replaces parts of it.

    Attributes:
        random_bytes: returns so many.
        fs: the door to the disk.
        lock: the locks between processes.
        monotonic: returns seconds that never go back.
        sleep: waits for so many seconds.
        watcher: looks at the store once a second as long as it is open.
    """

    random_bytes: Callable[[int], bytes]
    fs: FileSystem = field(default_factory=FileSystem)
    lock: FileLock = field(default_factory=FileLock)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    watcher: Watcher = watcher


def _nothing(*_arguments: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Functions that an engine calls while it holds no lock.

    Attributes:
        before_compaction: called in the thread that compacts by itself, before it does.
        after_compaction: called after each compaction, with the seconds that it took.
    """

    before_compaction: Callable[[], object] = _nothing
    after_compaction: Callable[[float], object] = _nothing


NO_HOOKS: Final = Hooks()
