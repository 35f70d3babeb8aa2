"""What a process has open in a directory: a forked child closes all of it."""

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
    """All that is open in one directory, for as long as somebody uses it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._items: weakref.WeakSet[Closeable] = weakref.WeakSet()
        # Guards: _items; no fork while something is open that is not yet among them.  A signal
        # handler may fork in the thread that has it.
        self._lock = threading.RLock()
        forks.register(self)

    def hold(self, opening: Callable[[], ItemT]) -> ItemT:
        """Return what *opening* opens."""
        with self._lock:
            item = opening()
            self._items.add(item)
            return item

    def opening(self) -> AbstractContextManager[object]:
        """Let nothing fork while the block opens what it closes again, or what is held already."""
        return self._lock

    def lock_for_fork(self, locks: ExitStack) -> None:
        """Before a fork: let nothing be opened until *locks* is closed."""
        if self._lock.acquire(timeout=forks.PATIENCE):
            locks.callback(self._lock.release)

    def forget(self) -> None:
        """In the child, after a fork: close all, also what threads of the parent were at."""
        self._lock = threading.RLock()
        for item in list(self._items):
            item.close()
