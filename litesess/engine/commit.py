"""Group commit: one of the waiting threads writes and syncs for all.

A transaction is a *plan*, a pure function of what is stored now: it returns the changes to make.
The thread that finds the append lock free leads: it takes every waiting plan, runs each over a
draft that shows the changes of those before it, writes all records with one call, syncs once,
and follows the log, by which alone the table changes.  If anything fails on the way, the draft
is thrown away and memory still says what the log says.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from litesess.engine import format as form
from litesess.engine.fs import store_error
from litesess.engine.log import DELETE_RESERVE, Log
from litesess.engine.recovery import Opened
from litesess.engine.snapshot import Snapshot
from litesess.engine.view import Table, View
from litesess.errors import StoreClosed, StoreError, StoreFailed, StoreFull, StoreReadOnly

ResultT = TypeVar("ResultT")

#: A waiting thread looks up this often by itself, in seconds, should its leader have been
#: interrupted before it could wake anybody.
_LOOK_UP_INTERVAL: Final = 0.05
#: What may be written on a full disk.
_FREEING: Final = (form.Delete, form.Clear)


class Lookup(Protocol):
    """What a plan may ask."""

    def get(self, key: bytes) -> form.Entry | None:
        """Return what is stored under *key*."""


Plan: TypeAlias = "Callable[[Lookup], tuple[Sequence[form.Change], ResultT]]"


class _Ticket:
    """One waiting transaction."""

    __slots__ = ("done", "error", "is_committed", "plan", "result", "sequence", "sync", "wake")

    def __init__(self, plan: Plan[Any], *, sync: bool) -> None:
        self.plan = plan
        self.sync = sync
        self.result: Any = None
        self.sequence = 0
        self.error: Exception | None = None
        #: Nobody has to run the plan any more.
        self.done = False
        self.is_committed = False
        self.wake = threading.Lock()
        self.wake.acquire()


class _Draft:
    """What is stored, with the changes of this batch on top."""

    __slots__ = ("_changed", "_cleared", "_view")

    def __init__(self, view: View) -> None:
        self._view = view
        self._changed: dict[bytes, form.Entry | None] = {}
        self._cleared = False

    def get(self, key: bytes) -> form.Entry | None:
        """Return what is stored under *key*."""
        if key in self._changed:
            return self._changed[key]
        return None if self._cleared else self._view.get(key)

    def apply(self, changes: Sequence[form.Change], sequence: int) -> None:
        """Take in the changes of one record."""
        for change in changes:
            if isinstance(change, form.Put):
                self._changed[change.key] = form.Entry(change.value, change.expires_at, sequence)
            elif isinstance(change, form.Delete):
                self._changed[change.key] = None
            elif isinstance(change, form.Touch):
                entry = self.get(change.key)
                if entry is not None and entry.version == change.version:
                    self._changed[change.key] = entry._replace(expires_at=change.expires_at)
            else:
                self._changed.clear()
                self._cleared = True


class _Live:
    """The log that is written to.

    What follows from its table is asked of the table, so that an exception between two lines
    can't make them disagree.
    """

    __slots__ = ("durable", "end", "table", "view")

    def __init__(self, view: View, end: int) -> None:
        self.view = view
        self.table = view.tables[0]
        self.end = end
        #: Everything before this offset is synced.
        self.durable = end


class Committer:
    """The writing side of an open store."""

    def __init__(self, opened: Opened, *, read_only: bool) -> None:
        self._read_only = read_only
        self._append_lock = threading.Lock()  # Guards: everything below but _waiting.
        self._live = _Live(opened.view, opened.end)
        # Bytes may stand behind the end that nobody has followed.
        self._is_unsettled = False
        self._failure: OSError | None = None
        self._following: Log | None = None  # what the SEAL being written leads to
        self._is_closed = False
        self._waiting: deque[_Ticket] = deque()

    @property
    def view(self) -> View:
        """What is stored, as readers see it."""
        return self._live.view

    @property
    def log_bytes(self) -> int:
        """How long the live log is."""
        return self._live.end

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* and make its changes, all or none.

        Args:
            plan: a pure function; it may run more than once, and holds up other writers.
            sync: return only when the changes, and all that the plan saw, are durable.

        Returns:
            The plan's result and the sequence number of the record; 0 if it changed nothing.

        Raises:
            StoreFull: there is no room; nothing was changed.
            StoreFailed: whether the changes are durable is unknown; nothing can be written
                until the store is opened anew.
            Exception: what the plan raised; nothing was changed.
        """
        ticket = _Ticket(plan, sync=sync)
        self._waiting.append(ticket)
        try:
            self._see_through(ticket)
        except BaseException:
            # Whoever commits next must not do what nobody waits for any more.
            ticket.done = True
            raise
        if ticket.error is not None:
            try:
                raise ticket.error
            finally:
                ticket.error = None  # the traceback would keep this frame alive
        if not ticket.is_committed:
            raise StoreFailed("the commit was interrupted; its outcome is unknown")
        return ticket.result, ticket.sequence

    def _see_through(self, ticket: _Ticket) -> None:
        """Lead, or wait for somebody who does, until *ticket* is done."""
        while not ticket.done:
            # Not one queue on the append lock: woken one after the other, those whose work is
            # done would hold up the next leader.
            if self._append_lock.locked():
                ticket.wake.acquire(timeout=_LOOK_UP_INTERVAL)
                continue
            batch: list[_Ticket] = []
            with self._append_lock:
                if not ticket.done:
                    batch.extend(other for other in list(self._waiting) if not other.done)
                    self._lead(batch)
            for other in batch:
                _wake(other)
            self._wake_next()

    def seal(self, following: Log) -> View:
        """End the live log and go on in *following*; return the new view.

        Raises:
            StoreError: as :meth:`transact`.
        """
        with self._exclusive():
            self.check_writable()
            self._settle()
            header = following.header
            table = self._live.table
            payload = form.encode_seal(table.count, header.generation, header.salt)
            self._following = following
            try:
                self._append(self._encode(form.SEAL, 0, payload, table.sequence + 1), sync=True)
            finally:
                if not self._is_unsettled:
                    self._following = None
            return self.view

    def may_lead_to(self, log: Log) -> bool:
        """Say whether *log* is written to, or a SEAL that names it may stand in the log."""
        return log is self._following or log is self._live.table.log

    def adopt(self, snapshot: Snapshot) -> View:
        """Let *snapshot* take the place of what it was made from; return the new view."""
        with self._exclusive():
            self._live.view = View(snapshot, (self._live.table,))
            return self.view

    def mark(self) -> form.Slot | None:
        """Make all that was written durable and say so in a MARK; return what is synced now.

        None if the log can't be trusted any more.

        Raises:
            StoreError: as :meth:`transact`.
        """
        with self._exclusive():
            if not self._read_only:  # a reader's log may have been compacted meanwhile
                self._live.table.log.check_linked()
            return self._mark()

    def close(self) -> form.Slot | None:
        """Do as :meth:`mark` does, and let nothing be written any more.

        Raises:
            StoreError: as :meth:`transact`; closed all the same.
        """
        with self._exclusive():
            self._is_closed = True
            return self._mark()

    def _mark(self) -> form.Slot | None:
        if self._failure is not None or self._read_only:
            return None
        self._settle()
        self._sync()
        table = self._live.table
        if table.last_kind != form.MARK:
            self._append(self._encode(form.MARK, 0, b"", table.sequence + 1), sync=True)
        header = table.log.header
        return form.Slot(header.store, header.generation, self._live.end)

    def hold(self) -> None:
        """Wait until nothing is being written, and let nothing begin before :meth:`let_go`."""
        self._append_lock.acquire()

    def let_go(self) -> None:
        """End what :meth:`hold` began."""
        self._append_lock.release()
        self._wake_next()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the append lock; an error of the system leaves as one of ours."""
        try:
            with self._append_lock:
                yield
        except OSError as error:
            if error.errno is None:
                raise
            raise store_error(error, self._live.table.log.path) from error
        finally:
            self._wake_next()

    def _wake_next(self) -> None:
        """Wake the first that waits: it finds the append lock free, and leads."""
        try:
            _wake(self._waiting[0])
        except IndexError:  # nobody waits
            return

    def _lead(self, batch: list[_Ticket]) -> None:
        """Commit all of *batch*, the first that wait; they leave the queue when they are done."""
        try:
            self.check_writable()
            self._live.table.log.check_present()
            self._commit(batch)
            for ticket in batch:
                ticket.is_committed = ticket.error is None
        except StoreError as error:
            _fail(batch, error, error.__cause__)
        except OSError as error:
            if error.errno is None:  # a signal handler's, a TimeoutError perhaps
                raise
            _fail(batch, store_error(error, self._live.table.log.path), error)
        finally:
            for ticket in batch:
                ticket.done = True
            while self._waiting and self._waiting[0].done:
                self._waiting.popleft()

    def _commit(self, batch: list[_Ticket]) -> None:
        self._settle()
        data = self._run(batch, deletes_only=None)
        if data:
            try:
                self._live.table.log.reserve(self._live.end + len(data) + DELETE_RESERVE)
            except OSError as error:
                full = store_error(error, self._live.table.log.path)
                if not isinstance(full, StoreFull):
                    raise
                data = self._run(batch, deletes_only=full)
        sync = any(ticket.sync for ticket in batch)
        if data:
            self._append(data, sync=sync)
        elif sync:
            # What a plan saw and left as it was must be as durable as a change would be.
            self._sync()

    def _run(self, batch: list[_Ticket], *, deletes_only: StoreFull | None) -> bytes:
        """Run the plans and return their records; those that only delete if there is no room."""
        draft = _Draft(self._live.view)
        records = []
        sequence = self._live.table.sequence
        for ticket in batch:
            ticket.error = None
            ticket.sequence = 0
            try:
                changes, ticket.result = ticket.plan(draft)
                if not changes:
                    continue
                if deletes_only and not all(isinstance(item, _FREEING) for item in changes):
                    raise StoreFull(*deletes_only.args) from deletes_only.__cause__
                record = self._encode(*form.encode_changes(changes), sequence + 1)
            except Exception as error:  # noqa: BLE001  # a plan may raise anything; its own thread raises it again
                ticket.error = error
                continue
            sequence += 1
            ticket.sequence = sequence
            draft.apply(changes, sequence)
            records.append(record)
        return b"".join(records)

    def _encode(self, kind: int, flags: int, payload: bytes, sequence: int) -> bytes:
        salt_crc = self._live.table.log.salt_crc
        return form.encode_record(salt_crc, kind, flags, payload, sequence, self._live.durable)

    def _append(self, data: bytes, *, sync: bool) -> None:
        """Write records, make them durable if asked, then follow them."""
        log, start = self._live.table.log, self._live.end
        end = start + len(data)
        self._is_unsettled = True
        try:
            log.write(data, start)
        except OSError as error:
            if error.errno is not None:
                self._erase(start)
                self._is_unsettled = False
            raise
        if sync:
            self._sync(end)
        self._follow(end)
        self._is_unsettled = False

    def _sync(self, end: int | None = None) -> None:
        live = self._live
        end = live.end if end is None else end
        if live.durable == end:
            return
        try:
            live.table.log.sync()
        except OSError as error:
            if error.errno is None:  # a signal handler's; the disk said nothing
                raise
            raise self._poison(error, end) from error
        live.durable = end

    def _erase(self, start: int) -> None:
        """Overwrite what stands behind the last record with zeros, durably.

        Otherwise the medium may keep a record of what was refused, right behind the next one.
        """
        log = self._live.table.log
        log.erase(start)
        self._live.durable = min(self._live.durable, start)
        try:
            log.sync()
        except OSError as error:
            raise self._poison(error, start) from error

    def _poison(self, error: OSError, end: int) -> StoreFailed:
        # Invariant: after a failed sync the page cache proves nothing: the kernel may have
        # dropped the pages and called them clean.  Never retried, never written over.
        # Source: Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020.
        self._failure = error
        log = self._live.table.log
        with suppress(OSError, StoreError):
            # Whoever reads the log next must not build on it, even if its pages look good.
            count = sum(1 for _ in log.records(self._live.end, end))
            sequence = self._live.table.sequence + count + 1
            log.write(self._encode(form.POISON, 0, b"", sequence), end)
        return StoreFailed(
            f"{log.path}: sync failed: {error.strerror}; nothing more is written, restart the"
            " process to recover"
        )

    def _follow(self, end: int) -> None:
        live = self._live
        for record in live.table.log.records(live.end, end):
            if record.kind == form.SEAL:
                # Order: what is acknowledged in the next log relies on the SEAL before it.
                self._sync(record.end)
            live.table.apply(record)
            live.end = record.end
        if live.table.last_kind == form.SEAL:
            following = self._following
            assert following is not None  # whoever wrote the SEAL has put it there
            tables = Table(following, live.table.sequence), *live.view.tables
            self._live = _Live(View(live.view.snapshot, tables), form.HEADER_BYTES)

    def _settle(self) -> None:
        """Take in what an interrupted commit may have written, and erase what it half wrote."""
        if not self._is_unsettled:
            return
        end = self._live.end
        for found in self._live.table.log.replay(end):
            if isinstance(found, form.Bad):
                break
            end = found.end
        self._erase(end)
        self._follow(end)
        self._is_unsettled = False

    def check_writable(self) -> None:
        """Raise the :class:`StoreError` that keeps anything from being written, if one does."""
        if self._read_only:
            raise StoreReadOnly(
                f"{self._live.table.log.path}: the store was opened only for reading"
            )
        if self._is_closed:
            raise StoreClosed(f"{self._live.table.log.path}: the store was closed")
        if self._failure is not None:
            path = self._live.table.log.path
            raise StoreFailed(
                f"{path}: an earlier sync failed; restart the process to recover"
            ) from self._failure


def _wake(ticket: _Ticket) -> None:
    try:
        ticket.wake.release()
    except RuntimeError:  # somebody else has woken it, and it did not run yet
        return


def _fail(batch: list[_Ticket], error: StoreError, cause: BaseException | None) -> None:
    for ticket in batch:
        if ticket.error is None:
            # One for each thread: a shared one would collect all their tracebacks.
            own = error.__class__.__new__(error.__class__, *error.args)
            own.args = error.args
            own.__dict__.update(error.__dict__)
            own.__cause__ = cause
            ticket.error = own
            ticket.sequence = 0
