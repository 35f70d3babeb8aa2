"""The watcher: one thread per process that looks at its open stores, also while nothing uses them.

It starts when the first store is opened, and ends when the last one is closed.  Being a daemon, it
keeps no process from exiting; it is not there during a fork.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Protocol

from litesess import threads
from litesess.engine import forks
from litesess.engine.lock import FileLock

logger = logging.getLogger("litesess.engine")

#: The pause between two looks, in seconds.
LOOK_EVERY: Final = 1.0


class Watched(Protocol):
    """Something to look at."""

    def look(self) -> None:
        """Look; quickly, and without an exception."""


class Watcher:
    """Looks at some stores once a second."""

    def __init__(self, pid: Callable[[], int] = FileLock.pid) -> None:
        """Begin with no store and no thread.

        Args:
            pid: returns the process id.
        """
        self._get_pid = pid
        self.forget()
        forks.register(self)

    def forget(self) -> None:
        """Begin anew with no store and no thread, as a forked child does."""
        self._lock = threading.Lock()  # Guards: _watched, _thread, _end.
        self._watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._pid = self._get_pid()

    def watch(self, store: Watched) -> None:
        """Look at *store*, too, from now on; the watcher keeps no reference to it."""
        if self._pid != self._get_pid():  # a fork without hooks
            self.forget()
        with self._lock:
            self._watched.add(store)
            self._begin()

    def leave(self, store: Watched) -> None:
        """Look at *store* no more; one look may still be under way."""
        with self._lock:
            self._watched.discard(store)
            if not self._watched:
                self._end.set()
                self._thread = None

    def lock_for_fork(self, locks: ExitStack) -> None:
        """Before a fork: end the thread, and begin it anew when *locks* is closed."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._end.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(forks.PATIENCE)
            locks.callback(self._go_on)

    def _go_on(self) -> None:
        with self._lock:
            if self._watched:
                self._begin()

    def _begin(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._end = threading.Event()
        self._thread = threads.begin("litesess-watcher", self._run, self._end)

    def _run(self, end: threading.Event) -> None:
        while not end.wait(LOOK_EVERY) and self._look(end):
            pass

    def _look(self, end: threading.Event) -> bool:
        """Look at each store; return whether there is any.  None is held between two looks."""
        with self._lock:
            watched = list(self._watched)
            if not watched:
                if self._end is end:
                    self._thread = None
                return False
        for store in watched:
            try:
                store.look()
            except Exception:
                logger.exception("an open store can't be looked at; it is left alone")
                with self._lock:
                    self._watched.discard(store)
        return True


#: That of this process.
watcher: Final = Watcher()
