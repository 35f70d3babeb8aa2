"""The maintenance lock: one thread of one process at a time compacts, collects or copies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from litesess.engine.commit import Committer
from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import Directory
from litesess.engine.means import Limits, Means
from litesess.errors import StoreClosed, StoreLocked


class Maintenance:
    """The maintenance lock of an open store, and the end of whatever is done under it."""

    def __init__(
        self,
        directory: Directory,
        file: OpenFile | None,
        committer: Committer,
        limits: Limits,
        means: Means,
    ) -> None:
        """Begin with the lock free.

        Args:
            directory: of the store.
            file: the open file that is locked; None: the store is open only for reading.
            committer: its writing side.
            limits: how long to wait.
            means: the locks, and how to wait.
        """
        #: The store is being closed: long work ends at its next pause.
        self.is_closing = False
        self._directory = directory
        self._file = file
        self._committer = committer
        self._timeout = limits.lock_timeout
        self._lock = means.lock
        self._sleep = means.sleep
        # Taken before the lock between processes, which does not tell threads apart.
        self._thread_lock = threading.RLock()  # Guards: _file, _is_locked.
        self._is_locked = False

    @contextmanager
    def locked(self, timeout: float) -> Iterator[bool]:
        """Take the lock for the block; a thread that has it may take it again.

        Args:
            timeout: how long to wait for other processes, in seconds.  At 0 do not wait for
                another thread either; else wait until it has done its work, however long that
                takes, or the store is closed.

        Yields:
            Whether it was taken; False where nothing may be written, too.

        Raises:
            StoreClosed: the store is being closed.
            OSError: the lock can't be used.
        """
        if self._file is None or not self._thread_lock.acquire(blocking=timeout > 0):
            yield False
            return
        try:
            self._check_not_closing()
            if self._is_locked:  # this thread, which has come here again
                yield True
                return
            try:
                self._is_locked = self._lock_file(self._file, timeout)
                yield self._is_locked
            finally:
                self._is_locked = False
                self._lock.release(self._file.fd)
        finally:
            self._thread_lock.release()

    @contextmanager
    def required(self) -> Iterator[None]:
        """Take the lock for the block, which writes.

        Raises:
            StoreLocked: another process had it for too long.
            StoreError: nothing can be written.
            OSError: the lock can't be used.
        """
        self._committer.check_writable()
        with self.locked(self._timeout) as is_ours:
            if not is_ours:
                # Where there is no waiting, it may be a thread of this one.
                who = "another process" if self._timeout else "another thread or process"
                raise StoreLocked(
                    self._directory.path,
                    f"is being compacted by {who}, which did not end within {self._timeout:g} s",
                )
            yield

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Let no thread take the lock any more, and begin the block when none has it."""
        self.is_closing = True
        with self._thread_lock:
            yield

    def pause(self) -> None:
        """Let other threads run; end work that would hold up the closing.

        Raises:
            StoreClosed: the store is being closed.
        """
        self._check_not_closing()
        # Without this a thread that only computes keeps the interpreter for 5 ms at a time, and
        # slows durable commits many times over.
        self._sleep(0)

    def close(self) -> None:
        """Close the file; again is harmless."""
        if self._file is not None:
            self._file.close()

    def _check_not_closing(self) -> None:
        if self.is_closing:
            raise StoreClosed(f"store {self._directory.path} is closing")

    def _lock_file(self, file: OpenFile, timeout: float) -> bool:
        def sleep(seconds: float) -> None:
            self._check_not_closing()
            self._sleep(seconds)

        while self._lock.acquire(file.fd, timeout, sleep=sleep):
            if self._directory.fs.is_linked(file.fd):
                return True
            # Guards: other processes lock another file, if this one has been deleted.
            deleted = file
            file = self._file = self._directory.open_lock(self._directory.names.maintenance)
            deleted.close()
        return False
