"""Locks between processes: flock(2) on descriptors that are kept, of files never unlinked.

A host program may have pointed portalocker's global ``LOCKER`` at lockf(3), whose locks vanish
when any descriptor of the file is closed; this module is pinned to flock.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Final

from portalocker import AlreadyLocked, LockException, LockFlags
from portalocker.portalocker import FlockLocker

_FIRST_WAIT: Final = 20e-6
_LONGEST_WAIT: Final = 2e-3

_locker = FlockLocker()


class FileLock:
    """The locks of one store; a test passes another object with these methods."""

    @staticmethod
    def acquire(
        fd: int,
        timeout: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Take the file's lock for this descriptor alone; say whether it was had in time.

        Args:
            fd: an open file.
            timeout: how long to try, in seconds.
            monotonic: the clock that the timeout is counted on.
            sleep: how to wait between tries.
        """
        deadline = monotonic() + timeout
        wait = _FIRST_WAIT
        while True:
            try:
                _locker.lock(fd, LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING)
            except LockException as error:
                if not isinstance(error, AlreadyLocked):
                    raise OSError(errno.ENOLCK, f"the file can't be locked: {error}") from error
                left = deadline - monotonic()
                if left <= 0:
                    return False
                sleep(min(wait, left))
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                return True

    @staticmethod
    def release(fd: int) -> None:
        """Give the lock back.

        Closing would not do: a forked child may hold a copy of the descriptor.
        """
        _locker.unlock(fd)

    #: The process id to name as the holder.
    pid = staticmethod(os.getpid)
