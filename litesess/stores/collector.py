"""The collector: one thread per process that removes expired sessions from all its stores.

It starts with the first request in a process, never at import or before a fork, and ends when
the last store is closed.  Being a daemon, it keeps no process from exiting.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable

from litesess import threads
from litesess.clocks import JumpGuard
from litesess.errors import LitesessError, StoreClosed
from litesess.stores.base import Store

logger = logging.getLogger("litesess.collector")


class Collector:
    """Runs each store's ``collect`` every ``gc_interval`` seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with no store and no thread.

        Args:
            monotonic: the clock that the intervals are counted on.
        """
        self._monotonic = monotonic
        self.reset()

    def reset(self) -> None:
        """Begin anew with no store and no thread, as a forked child does."""
        self._lock = threading.Lock()  # Guards: _schedules, _thread.
        self._schedules: weakref.WeakKeyDictionary[Store, _Schedule] = weakref.WeakKeyDictionary()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def watch(self, store: Store) -> None:
        """Collect from *store* too, from now on."""
        if store.gc_interval is None:
            return
        if self._pid != os.getpid():  # a fork without hooks
            self.reset()
        with self._lock:
            if store not in self._schedules:
                self._schedules[store] = _Schedule(store, self._monotonic)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threads.begin("litesess-gc", self._run)
        self._wake.set()

    def forget(self, store: Store) -> None:
        """Leave *store* alone; a pass in progress is waited for."""
        with self._lock:
            schedule = self._schedules.pop(store, None)
        if schedule is not None:
            with schedule.running:
                schedule.is_over = True
        self._wake.set()

    def _run(self) -> None:
        while (wait := self._run_due()) is not None:
            self._wake.wait(wait)

    def _run_due(self) -> float | None:
        """Collect from each store that is due; return the wait until the next, or None for ever.

        No reference to a store is held while waiting, so that an unused store can be freed.
        """
        self._wake.clear()
        with self._lock:
            schedules = list(self._schedules.items())
        for store, schedule in schedules:
            if schedule.due_at <= self._monotonic():
                schedule.run(store, self._monotonic)
        with self._lock:
            for store, schedule in schedules:
                if schedule.is_over:
                    self._schedules.pop(store, None)
            # One look: a store may vanish from a weak dictionary between two.
            left = list(self._schedules.values())
            due_at = min((schedule.due_at for schedule in left), default=None)
            if due_at is None:
                self._thread = None
                return None
        # An interval of centuries is more than the system's timers count.
        return min(max(due_at - self._monotonic(), 0.0), 86_400.0)


class _Schedule:
    """The schedule of one store."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self.running = threading.Lock()  # Guards: is_over; held during a pass.
        self.is_over = False
        self.due_at = monotonic() + (store.gc_interval or 0.0)
        self._guard = JumpGuard(store.clock, monotonic)
        self._failure: type[Exception] | None = None  # of the last pass

    def run(self, store: Store, monotonic: Callable[[], float]) -> None:
        """Collect once; an error is logged when it begins, and the next pass tries again."""
        with self.running:
            if self.is_over:
                return
            try:
                if self._guard.is_steady():
                    _collect(store)
                self._note(store, None)
            except StoreClosed:
                self.is_over = True
            except Exception as error:  # noqa: BLE001  # whatever fails is logged, and must not end the thread
                self._note(store, error)
            self.due_at = monotonic() + (store.gc_interval or 0.0)

    def _note(self, store: Store, error: Exception | None) -> None:
        """Log the outcome of a pass, if it differs from the outcome of the pass before.

        A disk may be full for days, and the log beside it on the same one.
        """
        failure = None if error is None else type(error)
        if failure is self._failure:
            return
        self._failure = failure
        if error is None:
            logger.warning("%r: expired sessions are removed again", store)
        else:
            logger.error(
                "%r: expired sessions are not removed, and it is tried again every %g s: %s: %s",
                store,
                store.gc_interval or 0.0,
                type(error).__name__,
                error,
                exc_info=None if isinstance(error, (LitesessError, OSError)) else error,
            )


def _collect(store: Store) -> None:
    count = store.collect()
    logger.debug("removed %d expired sessions", count)
    if store.compact_after_gc:
        store.compact()
    else:
        store.compact_if_due()


_collector = Collector()
watch = _collector.watch
forget = _collector.forget

if hasattr(os, "register_at_fork"):
    # The thread does not exist in the child, and it may have held the lock at the fork.
    os.register_at_fork(after_in_child=_collector.reset)
