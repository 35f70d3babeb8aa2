"""The files that a process has open in a directory: a forked child closes all of them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, TypeVar

from litesess.engine import forks


class Closeable(Protocol):
    """Something that keeps a descriptor."""

    def close(self) -> None:
        """Close it; again is harmless."""


ItemT = TypeVar("ItemT", bound=Closeable)


class Held:
    """The open files of one directory, each as long as it is in use."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._items: weakref.WeakSet[Closeable] = weakref.WeakSet()
        # Guards: _items; no fork while something is open that is not yet among them.  A signal
        # handler may fork in the thread that has it.
        self._lock = threading.RLock()
        forks.register(self)

    def hold(self, opening: Callable[[], ItemT]) -> ItemT:
        """Return the file that *opening* opens."""
        with self._lock:
            item = opening()
            self._items.add(item)
            return item

    def opening(self) -> AbstractContextManager[object]:
        """Allow no fork in the block, which closes its files again or finds them held already."""
        return self._lock

    def lock_for_fork(self, locks: ExitStack) -> None:
        """Before a fork: let nothing be opened until *locks* is closed."""
        if self._lock.acquire(timeout=forks.PATIENCE):
            locks.callback(self._lock.release)

    def forget(self) -> None:
        """In the child, after a fork: close all files, also those that the parent's threads use."""
        self._lock = threading.RLock()
        for item in list(self._items):
            item.close()
