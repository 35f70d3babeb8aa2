"""When a store is open: from the first operation in each process, until it is closed or forked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final

from litesess.engine import forks
from litesess.engine.fs import errors
from litesess.engine.opened import OpenStore
from litesess.engine.opening import Opener
from litesess.errors import StoreClosed, StoreError, StoreLocked

logger = logging.getLogger("litesess.engine")

#: A store that could not be written is tried so seldom, in seconds.
_TRY_EVERY: Final = 1.0


class Lifecycle:
    """A store that is opened when it is needed."""

    def __init__(
        self, opener: Opener, *, read_only: bool, sleep: Callable[[float], object]
    ) -> None:
        """Take the opener of the store.

        Args:
            opener: opens it.
            read_only: change nothing, take no lock.
            sleep: how to wait for another process.
        """
        self.path = opener.path
        self._opener = opener
        self._read_only = read_only
        self._sleep = sleep
        self._opening_lock = threading.Lock()  # Guards: _open, _refusals.
        self._open: OpenStore | None = None
        self._closing: OpenStore | None = None  # a fork must know of it, too
        self._left: OpenStore | None = None  # by an interrupted close(); the next one closes it
        self._is_closed = False
        self._refusals = 0
        self._tried_at = float("-inf")  # when it was last opened for writing, in vain
        self._watcher = opener.means.watcher
        self._look_lock = threading.Lock()  # Held during a look; none begins after the closing.
        forks.register(self)

    def close(self) -> None:
        """Close the store: later operations raise StoreClosed.  Again is harmless.

        Nothing acknowledged depends on this; it saves the next opening a copy of the log.
        """
        self._is_closed = (
            True  # before the lock: a thread that waits in there for another process ends
        )
        with self._opening_lock:
            opened, self._open, self._left = self._open or self._left, None, None
            self._closing = opened or self._closing
        if opened is not None:
            try:
                self._watcher.leave(self)
                with self._look_lock:
                    opened.close()
            except BaseException:
                self._left = opened
                raise
            self._closing = None
            logger.debug("closed %s", self.path)

    def look(self) -> None:
        """Do the duties of an open store towards other processes, once a second.

        The next operation reports any error.
        """
        with self._look_lock:
            opened = self._open
            if opened is not None:
                with suppress(OSError, StoreError):
                    opened.look()

    def lock_for_fork(self, locks: ExitStack) -> None:
        """Before a fork: let nothing be opened, written or closed until *locks* is closed."""
        if self._opening_lock.acquire(timeout=forks.PATIENCE):
            locks.callback(self._opening_lock.release)
        opened = self._open
        if opened is not None and opened.committer.lock(forks.PATIENCE):
            locks.callback(opened.committer.release)

    def forget(self) -> None:
        """In the child, after a fork: close the parent's files, and open at the next use."""
        self._opening_lock = threading.Lock()
        self._look_lock = threading.Lock()
        parents = self._open, self._closing
        self._open = self._closing = self._left = None
        for opened in parents:
            if opened is not None:
                opened.forget()

    def _opened(self) -> OpenStore:
        refusals = self._refusals
        with self._opening_lock:
            if self._is_closed:
                raise StoreClosed(f"store {self.path} was closed")
            if self._open is None:
                if self._refusals != refusals:
                    # Another thread has waited for it while this one waited for that thread.
                    raise StoreLocked(self.path, "is in use by another process")
                try:
                    with errors(self.path):
                        self._open = self._opener.open(
                            read_only=self._read_only, sleep=self._sleep_unless_closed
                        )
                except StoreLocked:
                    self._refusals += 1
                    raise
                self._watcher.watch(self)
            return self._open

    def _opened_to_write(self) -> OpenStore:
        """Return the open store; see :meth:`_opened_anew`."""
        opened = self._open or self._opened()
        return self._opened_anew(opened) or opened

    def _opened_anew(self, opened: OpenStore) -> OpenStore | None:
        """Open the store for writing, if it was opened only for reading because it had to be.

        Its files' rights may have been put right, or the disk mounted anew.

        Returns:
            The store that is open by now in place of *opened*; None if that is not to be, or not
            yet, as it was tried less than a second ago.

        Raises:
            StoreError: it can't be opened for writing; reading goes on.
        """
        if self._read_only or not opened.is_read_only:
            return None
        with self._opening_lock:
            if self._open is not opened:  # another thread was faster, or has closed it
                return self._open
            now = self._opener.means.monotonic()
            if now - self._tried_at < _TRY_EVERY:
                return None
            self._tried_at = now
            with errors(self.path):
                again = self._opener.open_for_writing(self._sleep_unless_closed)
            logger.warning("%s can be written again", self.path)
            # The other one is not closed: threads may be reading there, and its files close with
            # the last of them.
            self._open = again
            return again

    def _sleep_unless_closed(self, seconds: float) -> None:
        if self._is_closed:
            raise StoreClosed(f"store {self.path} was closed")
        self._sleep(seconds)
