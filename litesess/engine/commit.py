"""Group commit: one of the waiting threads writes and syncs for all.

A transaction is a *plan*, a pure function of the stored entries: it returns the changes to make.
The thread that finds the append lock free leads: it locks the current log against other processes,
follows it to its end, takes every waiting plan, runs each over a draft that shows the changes of
those before it, writes all records with one call, unlocks, syncs once, and follows the log, which
is the only way in which the tables change.  If anything fails on the way, the draft is dropped,
and memory still agrees with the log.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from litesess.engine import format as form
from litesess.engine.append import Appender
from litesess.engine.batch import Progress, Ticket, fail, unknown_outcome
from litesess.engine.changes import Plan, ResultT
from litesess.engine.directory import Directory
from litesess.engine.follow import CurrentLog, Follower
from litesess.engine.fs import errors, store_error
from litesess.engine.writer import BatchWriter
from litesess.errors import (
    Corruption,
    DecryptError,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
)

#: A waiting thread looks up this often by itself, in seconds, should its leader have been
#: interrupted before it could wake other threads.
_LOOK_UP_INTERVAL: Final = 0.05


class Committer:
    """The writing side of an open store."""

    def __init__(self, directory: Directory, follower: Follower, appender: Appender) -> None:
        self._directory = directory
        self._follower = follower
        self._appender = appender
        # Guards: _appender, _is_closed.  Taken before the lock between processes, which does not
        # tell threads apart.
        self._append_lock = threading.Lock()
        self._is_closed = False
        #: How many transactions have changed something.
        self.commit_count = 0
        self._waiting: deque[Ticket] = deque()
        self._writer = BatchWriter(follower, appender)  # guarded by _append_lock, too

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* and make its changes, all or none.

        Args:
            plan: a pure function; it may run more than once, and holds up other writers.
            sync: return only when the changes, and all that the plan saw, are durable.

        Returns:
            The plan's result and the sequence number of the record; 0 if it changed nothing.

        Raises:
            StoreLocked: another process keeps the log locked; nothing was changed.
            StoreFull: there is no room; nothing was changed.
            StoreFailed: whether the changes are durable is unknown; nothing can be written
                until the store is opened anew.
            Exception: the plan raised it; nothing was changed.
        """
        ticket = Ticket(plan, sync=sync)
        self._waiting.append(ticket)
        try:
            self._see_through(ticket)
        except BaseException:
            # The next leader must not run a plan for which no thread waits any more.
            ticket.done = True
            raise
        if ticket.error is not None:
            try:
                raise ticket.error
            finally:
                ticket.error = None  # the traceback would keep this frame alive
        if not ticket.is_committed:
            raise unknown_outcome()
        return ticket.result, ticket.sequence

    def at_end(self, work: Callable[[CurrentLog], object]) -> None:
        """Do *work* at the end of the log that is written to; see :meth:`Appender.at_end`.

        Raises:
            StoreError: as :meth:`transact`.
        """

        def alone() -> None:
            self.check_writable()
            self._appender.at_end(work)

        self._alone(alone)

    def sync(self) -> None:
        """Make durable all that was read when the store was opened, before any of it is shown.

        The process that wrote it may have been killed before its sync.

        Raises:
            StoreError: as :meth:`transact`.
        """

        def work() -> None:
            current = self._follower.current
            self._appender.sync_sealed(current)
            self._appender.sync(current, current.table.end)

        self._alone(work)

    def seal(self, generation: int, salt: bytes) -> CurrentLog:
        """Seal the current log, switch to the log of *generation* and return it.

        Raises:
            StoreError: as :meth:`transact`; whether the log was ended is unknown.
        """
        return self._alone(lambda: self._seal(generation, salt))

    def mark(self, *, always: bool = False) -> form.Slot | None:
        """Make all writes durable; return the new content of the slot, None if read-only.

        A MARK says so, too, if there is room; with *always* even if the last record is one: at a
        MARK other processes look for a snapshot.

        Raises:
            StoreError: as :meth:`transact`.
        """
        if self._directory.read_only:
            return None

        def work() -> form.Slot:
            self.check_writable()
            return self._mark(always=always)

        return self._alone(work)

    def judge(self) -> None:
        """Put the log's end right, if no process is writing there just now.

        Raises:
            Corruption: the bad end is not that of a write that was cut short.
        """
        if self._directory.read_only or self._append_lock.locked():
            return
        try:
            with self._append_lock:
                self._appender.at_end(lambda _live: None, timeout=0)
        except (Corruption, DecryptError):
            raise
        except (StoreError, OSError):  # that is for a writer to say
            return
        finally:
            self._wake_next()

    def close(self) -> None:
        """Let nothing be written any more, but by :meth:`finish`."""
        with self._append_lock:
            self._is_closed = True
        self._wake_next()

    def finish(self) -> form.Slot | None:
        """As the last process to have the store open, after the close: return the slot to write.

        None if the log can't be trusted any more.

        Raises:
            StoreError: as :meth:`transact`.
        """
        slot = self._alone(lambda: None if self.is_poisoned else self._mark(always=False))
        return None if slot is None else slot._replace(is_in_use=False)

    def lock(self, timeout: float) -> bool:
        """Wait until nothing is being written, and let nothing begin before :meth:`release`.

        Args:
            timeout: how long to wait, in seconds.

        Returns:
            Whether it is locked.
        """
        return self._append_lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Release the lock that :meth:`lock` has taken."""
        self._append_lock.release()
        self._wake_next()

    @property
    def sync_count(self) -> int:
        """How often a log was synced."""
        return self._appender.sync_count

    @property
    def is_poisoned(self) -> bool:
        """Whether a sync has failed, here or in another process."""
        return self._appender.is_poisoned

    def check_writable(self) -> None:
        """Raise the :class:`StoreError` that keeps anything from being written, if one does."""
        self._check_open()
        self._appender.check_sound()

    def _check_open(self) -> None:
        if self._directory.read_only:
            path = self._follower.current.log.path
            raise StoreReadOnly(f"{path}: the store was opened only for reading")
        if self._is_closed:
            raise StoreClosed(f"{self._follower.current.log.path}: the store was closed")

    def _see_through(self, ticket: Ticket) -> None:
        """Lead the commit, or wait for the thread that leads it, until *ticket* is done."""
        while not ticket.done:
            # No queue on the append lock: woken one after the other, the threads with finished work
            # would delay the next leader.
            if self._append_lock.locked():
                ticket.wait(_LOOK_UP_INTERVAL)
                continue
            batch: list[Ticket] = []
            with self._append_lock:
                if self._writer.progress is not Progress.NONE:
                    self._writer.settle()
                if not ticket.done:
                    batch = self._lead(ticket)
            for other in batch:
                if other is not ticket:
                    other.wake()
            if self._waiting:
                self._wake_next()

    def _wake_next(self) -> None:
        """Wake the first that waits: it finds the append lock free, and leads."""
        if not self._waiting:
            return
        try:
            self._waiting[0].wake()
        except IndexError:  # it has found that by itself
            return

    def _lead(self, leading: Ticket) -> list[Ticket]:
        """Commit all that wait; they leave the queue when they are done.

        Args:
            leading: the transaction of this thread.

        Returns:
            The transactions, *leading* among them.
        """
        # Not where the lock is taken: Python 3.12 and later pass over the end of the block for an
        # exception that a signal handler raises in the midst of a list's making.
        batch = [
            other
            for other in [*self._waiting]  # it grows meanwhile
            if not other.done and (other is leading or not other.leads_itself)
        ]
        try:
            try:
                self._check_open()
                self._writer.write(batch, leading)
            except StoreError as error:
                fail(batch, error, error.__cause__)
            except OSError as error:
                fail(batch, store_error(error, self._follower.current.log.path), error)
            for ticket in batch:
                if ticket is leading or not ticket.leads_itself:
                    self.commit_count += ticket.sequence > 0
                    ticket.is_committed = ticket.error is None
                    ticket.done = True
            self._writer.progress = Progress.NONE
        finally:
            # Also if this was interrupted: no thread waits for this one any more.
            leading.done = True
            while self._waiting and self._waiting[0].done:
                self._waiting.popleft()
        return batch

    def _alone(self, work: Callable[[], ResultT]) -> ResultT:
        """Do *work* under the append lock; translate ``OSError`` into ``StoreError``."""
        try:
            with errors(self._follower.current.log.path), self._append_lock:
                return work()
        finally:
            self._wake_next()

    def _seal(self, generation: int, salt: bytes) -> CurrentLog:
        self.check_writable()
        self._appender.sync_all()

        def write(current: CurrentLog) -> tuple[CurrentLog, int]:
            payload = form.encode_seal(current.table.count, generation, salt)
            return current, self._appender.write_record(current, form.SEAL, payload)

        current, end = self._appender.at_end(write)
        self._appender.sync(current, end)
        return self._follower.catch_up()

    def _mark(self, *, always: bool) -> form.Slot:
        self._appender.sync_all()

        def write(current: CurrentLog) -> tuple[CurrentLog, int]:
            end = current.table.end
            if always or current.table.last_kind != form.MARK:
                try:
                    end = self._appender.write_record(current, form.MARK, b"")
                except OSError as error:
                    if not isinstance(store_error(error, current.log.path), StoreFull):
                        raise
            return current, end

        current, end = self._appender.at_end(write)
        self._appender.sync(current, end)
        self._follower.catch_up()
        header = current.log.header
        return form.Slot(header.store, header.generation, end, is_in_use=True)
