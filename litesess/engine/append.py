"""The end of the live log: locked, followed, repaired, written, synced.

Every process writes there, one after the other, under the log's own lock; each syncs for itself,
by its own descriptor, when it has let go.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from litesess.engine import format as form
from litesess.engine.directory import Directory
from litesess.engine.follow import Follower, Live
from litesess.engine.fs import is_interruption
from litesess.engine.log import Log
from litesess.engine.means import Limits, Means
from litesess.engine.recovery import keep_aside, warn_of_torn
from litesess.engine.replay import find_records
from litesess.errors import Corruption, StoreError, StoreFailed, StoreLocked

ResultT = TypeVar("ResultT")


class Appender:
    """Writes at the end of the live log; one thread at a time may use it."""

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
            follower: what this process has read of it.
            limits: how long to wait for another process.
            means: the locks between processes, and the time.
        """
        self._directory = directory
        self._follower = follower
        self._lock = means.lock
        self._lock_timeout = limits.lock_timeout
        self._monotonic = means.monotonic
        self._locked: Log | None = None  # whose lock this process may have
        self._torn: tuple[Log, form.Bad] | None = None  # to be warned of
        self._failure: OSError | None = None
        #: How often a log was synced.
        self.sync_count = 0

    @property
    def is_poisoned(self) -> bool:
        """Whether a sync has failed, here or in another process: nothing may be written."""
        return self._failure is not None or self._follower.live.table.last_kind == form.POISON

    def check_sound(self) -> None:
        """Raise :class:`StoreFailed` if a sync has failed."""
        if self.is_poisoned:
            path = self._follower.live.log.path
            raise StoreFailed(
                f"{path}: an earlier sync failed; stop all processes that use the store, and"
                " start them again, to recover"
            ) from self._failure

    def at_end(self, work: Callable[[Live], ResultT], timeout: float | None = None) -> ResultT:
        """Do *work* where no other process writes meanwhile: at the end of the live log.

        Behind that there are only zeros then, and nothing before it is still to be synced.

        Args:
            work: gets the live log; writes there, and returns.
            timeout: how long to wait for other processes, in seconds; None: ``lock_timeout``.

        Raises:
            StoreLocked: another process keeps the log locked.
            StoreFailed: a sync has failed, or the store was deleted.
            Corruption: the end can't be that of a write that was cut short.
            OSError: the disk failed.
        """
        try:
            live = self._take_end(self._lock_timeout if timeout is None else timeout)
            return work(live)
        finally:
            # Twice: a signal handler may raise where the first is about to begin.
            try:
                self._let_end_go()
            finally:
                if self._locked is not None:
                    self._let_end_go()
            if self._torn is not None:  # not under the lock: a handler of the host's takes its time
                torn, self._torn = self._torn, None
                warn_of_torn(*torn)

    def write(self, live: Live, data: bytes) -> int:
        """Write records at the end of *live*; return where they end.  Only under :meth:`at_end`.

        Raises:
            OSError: not all of them were written; those that are whole stand, as others may have
                followed them.
        """
        start = live.table.end
        try:
            live.log.write(data, start)
        except OSError as error:
            if not is_interruption(error):
                self._take_back(live)
            raise
        return start + len(data)

    def write_record(self, live: Live, kind: int, payload: bytes) -> int:
        """Write a record of the engine's own; see :meth:`write`."""
        table = live.table
        record = live.log.encode(kind, 0, payload, table.sequence + 1, live.durable, table.end)
        return self.write(live, record)

    def sync_all(self) -> None:
        """Make durable all that was written until now; see :meth:`sync`."""
        live = self._follower.catch_up()
        self.sync(live, live.table.end)

    def sync(self, live: Live, end: int) -> None:
        """Make durable what the log of *live* holds before *end*.

        Raises:
            StoreFailed: that failed, and nothing more may be written, by any process.
        """
        if live.durable < end:
            self._sync_log(live.log)
            live.durable = max(live.durable, end)

    def sync_sealed(self, live: Live) -> None:
        """Make durable the sealed logs that lead to *live*; see :meth:`sync`."""
        for log in live.unsynced:
            self._sync_log(log)
        live.unsynced = ()

    def _take_end(self, timeout: float) -> Live:
        """Let no other process write, and return the live log, followed to its end, and whole."""
        live = self._lock_end(timeout)
        while not self._follower.is_there(live.log, self._monotonic()):
            # Under the lock nobody seals it: it was deleted, or recovered by a process that did
            # not know of this one.
            self._follower.find_anew()
            live = self._lock_end(timeout)
        self.check_sound()
        if live.bad is not None:
            self._repair(live)
        if live.unsynced:
            # Order: what is acknowledged in this log relies on the SEALs before it.
            self.sync_sealed(live)
        return live

    def _lock_end(self, timeout: float) -> Live:
        while True:
            log = self._follower.live.log
            if self._follower.is_shared:
                if self._locked is not None and log is not self._locked:
                    self._let_end_go()
                # Noted first: to let go of what was not got is harmless, to keep it is not.  And
                # taken in any case: what is noted may not have been got.
                self._locked = log
                if not self._lock.acquire(log.fd, timeout):
                    raise StoreLocked(
                        log.path,
                        f"is locked by another process, and was not free within {timeout:g} s;"
                        " is one stopped, or its disk stuck?",
                    )
            live = self._follower.catch_up()
            if live.log is log:
                return live

    def _let_end_go(self) -> None:
        log = self._locked
        if log is not None:
            self._lock.release(log.fd)
            self._locked = None

    def _repair(self, live: Live) -> None:
        """Overwrite what a killed or interrupted writer left half-way, if one did.

        Every writer does this first, so that nothing can stand behind it.

        Raises:
            Corruption: something does.
        """
        # Read here: what this process noted of it may be a reader's, on its way.
        torn = next(live.log.follow(live.table.end), None)
        if not isinstance(torn, form.Bad):
            return
        behind = next(find_records(live.log, torn.offset), None)
        if behind is not None:
            raise Corruption(
                live.log.path,
                torn.offset,
                f"{torn.reason}, and a record follows at offset {behind.offset}",
            )
        keep_aside(self._directory, live.log, torn)
        live.log.erase(torn.offset)
        live.bad = None
        self._torn = live.log, torn

    def _take_back(self, live: Live) -> None:
        """Follow what of a write that failed is whole, and erase what is not."""
        # Not if that was a SEAL, and whole: it is not for this log to be written any more.
        if self._follower.catch_up() is live:
            with suppress(OSError):  # the next one to write here repairs it
                live.log.erase(live.table.end)

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
            # Whoever reads the log next must not build on it, even if its pages look good:
            # other processes, and those that start later, get no error from their syncs.
            live = self._lock_end(self._lock_timeout)
            self._repair(live)
            self.write_record(live, form.POISON, b"")
        self._let_end_go()
        return StoreFailed(
            f"{log.path}: sync failed: {error.strerror}; nothing more is written, stop all"
            " processes that use the store, and start them again, to recover"
        )
