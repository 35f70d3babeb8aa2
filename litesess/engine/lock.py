"""Locks between processes: flock(2) on descriptors that are kept, of files never replaced.

A host program can set portalocker's global ``LOCKER`` to lockf(3); such locks vanish when any
descriptor of the file is closed.  So this module is pinned to flock.  A lock belongs to the
open file, so that two stores on one directory in one process exclude each other as two processes
do, and a forked child that closes its copy frees nothing.  No lock is ever taken for stale.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Final

#: A waiting thread sleeps for such a part of the time it has waited, within two bounds.  Longer
#: sleeps are unfair: the threads that have just come look more often, and take the lock before.
_PART: Final = 32
_SHORTEST_WAIT: Final = 20e-6
#: For so long a waiting thread only lets other threads run: a log is locked for about as long,
#: and the shortest sleep is longer.
_YIELD_FOR: Final = 50e-6
_LONGEST_WAIT: Final = 2e-3
_SHARED: Final = fcntl.LOCK_SH | fcntl.LOCK_NB
_EXCLUSIVE: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
#: Not everywhere.
_yield: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


@cache
def _locker() -> Callable[[int, int], object]:
    """Return the call itself: portalocker's wrapping costs four times as much."""
    try:
        # Not at the top: it looks for a temporary directory when it is imported, and a container
        # with a read-only root has none.
        from portalocker.portalocker import FlockLocker  # noqa: PLC0415  # importing it can fail: it looks for a temporary directory
    except OSError:
        return fcntl.flock
    locker: Callable[[int, int], object] = FlockLocker().locker
    return locker


def preload() -> None:
    """Import all that a store on a disk needs: for a process that gives up the right to read it."""
    _locker()


class FileLock:
    """The locks of one store; a test passes another object with these methods."""

    @staticmethod
    def take(fd: int, *, shared: bool = False) -> bool:
        """Take the lock of an open file, if it is free; return whether it was taken.

        A process that has it already exchanges one kind for the other, and may lose both: flock(2)
        removes the old lock before it sets the new one.

        Args:
            fd: the open file.
            shared: with processes that take it so, too.

        Raises:
            OSError: the file can't be locked.
        """
        try:
            _locker()(fd, _SHARED if shared else _EXCLUSIVE)
        except BlockingIOError:
            return False
        return True

    def acquire(
        self,
        fd: int,
        timeout: float,
        *,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> bool:
        """Take the lock of an open file for this descriptor alone; say whether it was had in time.

        flock(2) itself waits without end, or not at all.

        Args:
            fd: the open file, or directory.
            timeout: how long to try, in seconds.
            sleep: how to wait between tries.
            monotonic: returns seconds that never go back.
        """
        if self.take(fd):  # by far the most often, so no clock is asked
            return True
        began, waited = monotonic(), 0.0
        while waited < timeout:
            if waited < _YIELD_FOR:
                _yield()
            else:
                wait = min(max(waited / _PART, _SHORTEST_WAIT), _LONGEST_WAIT)
                sleep(min(wait, timeout - waited))
            if self.take(fd):
                return True
            waited = monotonic() - began
        return False

    @staticmethod
    def release(fd: int) -> None:
        """Release the lock; harmless if it is not locked.

        Closing would not do: a forked child may have a copy of the descriptor.
        """
        _locker()(fd, fcntl.LOCK_UN)

    #: The process id to name as the holder.
    pid = staticmethod(os.getpid)
