"""The maintenance lock: one thread of one process at a time compacts, collects or copies."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from litesess.engine.commit import Committer
from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import Directory
from litesess.engine.fs import write_all
from litesess.engine.means import Limits, Means
from litesess.errors import StoreClosed, StoreLocked

logger = logging.getLogger("litesess.engine")

_HOLDER: Final = re.compile(rb"(\d+) (\d+)\n")
_HOLDER_BYTES: Final = 64
#: Where workers do not wait at all, two that meet are nothing to warn of before so many seconds.
_LEAST_PATIENCE: Final = 1.0


class _Holder(NamedTuple):
    """The holder of the lock, as written in the locked file.

    Attributes:
        pid: of the process.
        since: in milliseconds of its monotonic clock.
    """

    pid: int
    since: int


class Maintenance:
    """The maintenance lock of an open store, and the end of all work under it."""

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
        self._monotonic = means.monotonic
        self._get_pid = means.lock.pid
        self._waits_for: tuple[_Holder, float] | None = None  # and since when
        self._warned_of: _Holder | None = None
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
                who = self._name_holder() if self._timeout else "another thread or process"
                raise StoreLocked(
                    self._directory.path,
                    f"is being compacted by {who}, which did not end within {self._timeout:g} s",
                )
            yield

    def _name_holder(self) -> str:
        holder = None if self._file is None else self._read_holder(self._file)
        return "another process" if holder is None else f"process {holder.pid}"

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Keep all threads from taking the lock, and begin the block when no thread has it."""
        self.is_closing = True
        with self._thread_lock:
            yield

    def look(self) -> None:
        """Warn, once, if another process keeps the lock from the workers for too long.

        While it does, nothing is compacted and no expired session is removed.

        Raises:
            OSError: the lock can't be used.
        """
        if self._waits_for is not None:
            with self.locked(0):  # which warns, or forgets it
                pass

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

        if not self._lock.take(file.fd):  # noted before it waits, as the holder can change
            self._note_refusal(file)
        while self._lock.acquire(file.fd, timeout, sleep=sleep):
            if self._directory.fs.is_linked(file.fd):
                self._waits_for = None
                self._write_holder(file)
                return True
            # Guards: other processes lock another file, if this one has been deleted.
            deleted = file
            file = self._file = self._directory.open_lock(self._directory.names.maintenance)
            deleted.close()
        self._note_refusal(file)
        return False

    def _note_refusal(self, file: OpenFile) -> None:
        holder, now = self._read_holder(file), self._monotonic()
        if holder is None:
            return
        if self._waits_for is None or self._waits_for[0] != holder:
            self._waits_for = holder, now
        waited = now - self._waits_for[1]
        if waited >= max(self._timeout, _LEAST_PATIENCE) and self._warned_of != holder:
            self._warned_of = holder
            logger.warning(
                "%s: for %.0f s process %d has kept the store from being compacted, and expired"
                " sessions from being removed; if it was stopped, let it go on, or kill it",
                self._directory.path,
                waited,
                holder.pid,
            )

    def _read_holder(self, file: OpenFile) -> _Holder | None:
        with suppress(OSError):
            match = _HOLDER.match(self._directory.fs.pread(file.fd, _HOLDER_BYTES, 0))
            if match is not None:
                return _Holder(int(match[1]), int(match[2]))
        return None

    def _write_holder(self, file: OpenFile) -> None:
        holder = f"{self._get_pid()} {int(self._monotonic() * 1000)}\n"
        with suppress(OSError):  # on a full disk no holder is named
            write_all(self._directory.fs, file.fd, holder.encode(), 0)
