"""The end of the current log: locked, followed, repaired, written, synced.

Every process writes there, one after the other, under the log's own lock; each syncs for itself,
by its own descriptor, after it has released the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from litesess.engine import format as form
from litesess.engine.directory import Directory
from litesess.engine.follow import CurrentLog, Follower
from litesess.engine.fs import is_interruption, store_error
from litesess.engine.log import Log
from litesess.engine.means import Limits, Means
from litesess.engine.recovery import keep_aside, warn_of_torn
from litesess.engine.replay import find_records, follow
from litesess.errors import Corruption, StoreError, StoreFailed, StoreFull, StoreLocked

ResultT = TypeVar("ResultT")

#: So many bytes of the file must be left after a record of the engine's own on a full disk: a MARK
#: leaves room for a SEAL, that for a POISON.
_LEFT: Final = {form.MARK: 160, form.SEAL: 64, form.POISON: 1}


class Appender:
    """Writes at the end of the current log; one thread at a time may use it."""

    def __init__(
        self,
        directory: Directory,
        follower: Follower,
        limits: Limits,
        means: Means,
    ) -> None:
        """Begin with nothing written.

        Args:
            directory: of the store.
            follower: the part of it that this process has read.
            limits: how long to wait for another process.
            means: the locks between processes, and the time.
        """
        self._directory = directory
        self._follower = follower
        self._lock = means.lock
        self._lock_timeout = limits.lock_timeout
        self._monotonic = means.monotonic
        self._locked: Log | None = None  # this process may have its lock
        self._torn: tuple[Log, form.Bad, int] | None = None  # to be warned of
        self._failure: OSError | None = None
        #: How often a log was synced.
        self.sync_count = 0

    @property
    def is_poisoned(self) -> bool:
        """Whether a sync has failed, here or in another process: nothing may be written."""
        return self._failure is not None or self._follower.current.table.last_kind == form.POISON

    def check_sound(self) -> None:
        """Raise :class:`StoreFailed` if a sync has failed."""
        if self.is_poisoned:
            path = self._follower.current.log.path
            raise StoreFailed(
                f"{path}: an earlier sync failed; stop all processes that use the store, and"
                " start them again, to recover"
            ) from self._failure

    def at_end(
        self, work: Callable[[CurrentLog], ResultT], timeout: float | None = None
    ) -> ResultT:
        """Do *work* where no other process writes meanwhile: at the end of the current log.

        Only zeros follow it then, and everything before it is synced.

        Args:
            work: gets the current log; writes there, and returns.
            timeout: how long to wait for other processes, in seconds; None: ``lock_timeout``.

        Raises:
            StoreLocked: another process keeps the log locked.
            StoreFailed: a sync has failed, or the store was deleted.
            Corruption: the end can't be that of a write that was cut short.
            OSError: the disk failed.
        """
        try:
            current = self._lock_end(self._lock_timeout if timeout is None else timeout)
            self.check_sound()
            if current.bad is not None:
                self._repair(current)
            if current.unsynced:
                # Order: a record that is acknowledged in this log relies on the SEALs before it.
                self.sync_sealed(current)
            return work(current)
        finally:
            # Twice: a signal handler may raise where the first is about to begin.
            try:
                self._release_end()
            finally:
                if self._locked is not None:
                    self._release_end()
            if self._torn is not None:  # not under the lock: a handler of the host's takes its time
                torn, self._torn = self._torn, None
                warn_of_torn(*torn)

    def reserve(self, current: CurrentLog, end: int) -> None:
        """Let records of *current* end at *end*, with room after them.  Only under :meth:`at_end`.

        Raises:
            StoreFailed: a sync has failed.
            OSError: there is no room.
        """
        log = current.log
        if not log.has_room(end):
            size = log.grow(end)
            # Order: the length is durable before a record relies on it, also if another process has
            # lengthened the file.  So no power cut leaves a log that ends in the middle of a record
            # or of a step.
            self._sync_log(log)
            log.reserved = size

    def write(self, current: CurrentLog, data: bytes) -> int:
        """Write records at the end of *current*; return where they end.  Only under :meth:`at_end`.

        Raises:
            OSError: not all of them were written; those that are whole stay, as other processes may
                have followed them.
        """
        start = current.table.end
        try:
            current.log.write(data, start)
        except OSError as error:
            if not is_interruption(error):
                self._take_back(current)
            raise
        return start + len(data)

    def write_record(self, current: CurrentLog, kind: int, payload: bytes) -> int:
        """Write a record of the engine's own, on a full disk into the reserve for deletions.

        Raises:
            OSError: see :meth:`write`.
        """
        table = current.table
        record = current.log.encode(
            kind, 0, payload, table.sequence + 1, current.durable, table.end
        )
        end = table.end + len(record)
        try:
            if kind != form.POISON:  # a sync failed: no other one
                self.reserve(current, end)
        except OSError as error:
            full = isinstance(store_error(error, current.log.path), StoreFull)
            if not full or not current.log.has_place(end, _LEFT[kind]):
                raise
        return self.write(current, record)

    def sync_all(self) -> None:
        """Make durable all that was written until now; see :meth:`sync`."""
        current = self._follower.catch_up()
        self.sync(current, current.table.end)

    def sync(self, current: CurrentLog, end: int) -> None:
        """Make the log of *current* durable up to *end*.

        Raises:
            StoreFailed: that failed, and nothing more may be written, by any process.
        """
        if current.durable < end:
            self._sync_log(current.log)
            current.durable = max(current.durable, end)

    def sync_sealed(self, current: CurrentLog) -> None:
        """Make durable the sealed logs that lead to *current*; see :meth:`sync`."""
        for log in current.unsynced:
            self._sync_log(log)
        current.unsynced = ()

    def _lock_end(self, timeout: float) -> CurrentLog:
        """Let no other process write; return the current log, followed to its end."""
        follower = self._follower
        while True:
            log = follower.current.log
            if follower.is_shared:
                if self._locked is not None and log is not self._locked:
                    self._release_end()
                # Record the log before locking it: to release a lock that was never taken is
                # harmless, to keep one is not.  Lock it even if it is recorded already: that
                # attempt may have failed.
                self._locked = log
                if not self._lock.acquire(log.file.fd, timeout):
                    raise StoreLocked(
                        log.path,
                        f"is locked by another process, and was not free within {timeout:g} s;"
                        " is one stopped, or its disk stuck?",
                    )
            current = follower.catch_up()
            if current.log is not log:
                continue
            if follower.is_there(log, self._monotonic()):
                return current
            # Under the lock no process seals it: it was deleted, or recovered by one that did not
            # know of this one.
            follower.find_anew()

    def _release_end(self) -> None:
        log = self._locked
        if log is not None:
            self._lock.release(log.file.fd)
            self._locked = None

    def _repair(self, current: CurrentLog) -> None:
        """Overwrite a half-written record that a killed or interrupted writer left.

        Every writer does this first, so that no record can follow it.

        Raises:
            Corruption: a record follows it.
        """
        # Read it here: a reader on its way may have noted current.bad.
        torn = next(follow(current.log, current.table.end), None)
        if not isinstance(torn, form.Bad):
            return
        if torn.short:
            raise Corruption(
                current.log.path, torn.offset, f"{torn.reason} of the file: it was cut short"
            )
        behind = next(find_records(current.log, torn.offset), None)
        if behind is not None:
            raise Corruption(
                current.log.path,
                torn.offset,
                f"{torn.reason}, and a record follows at offset {behind.offset}",
            )
        keep_aside(self._directory, current.log, torn)
        current.log.erase(torn.offset)
        current.bad = None
        self._torn = current.log, torn, current.durable

    def _take_back(self, current: CurrentLog) -> None:
        """Follow the whole records of a write that failed, and erase the rest."""
        # Not if that was a SEAL, and whole: it is not for this log to be written any more.
        if self._follower.catch_up() is current:
            with suppress(OSError):  # the next one to write here repairs it
                current.log.erase(current.table.end)

    def _sync_log(self, log: Log) -> None:
        self.sync_count += 1
        try:
            log.sync()
        except OSError as error:
            if is_interruption(error):  # the disk said nothing
                raise
            raise self._poison(error, log) from error

    def _poison(self, error: OSError, log: Log) -> StoreFailed:
        # Invariant: after a failed sync the page cache proves nothing: the kernel may have
        # dropped the pages and called them clean.  Never retried, never written over.
        # Source: Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020.
        self._failure = error
        with suppress(OSError, StoreError):
            # The next process to read the log must not build on it, even if its pages look good:
            # other processes, and those that start later, get no error from their syncs.
            current = self._lock_end(self._lock_timeout)
            self._repair(current)
            if current.table.last_kind != form.POISON:  # another process may have been faster
                self.write_record(current, form.POISON, b"")
        self._release_end()
        return StoreFailed(
            f"{log.path}: sync failed: {error.strerror}; nothing more is written, stop all"
            " processes that use the store, and start them again, to recover"
        )
