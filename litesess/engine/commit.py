"""Group commit: one of the waiting threads writes and syncs for all.

A transaction is a *plan*, a pure function of what is stored now: it returns the changes to make.
The thread that finds the append lock free leads: it locks the live log against other processes,
follows it to its end, takes every waiting plan, runs each over a draft that shows the changes of
those before it, writes all records with one call, unlocks, syncs once, and follows the log, by
which alone the tables change.  If anything fails on the way, the draft is thrown away and memory
still says what the log says.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import dropwhile
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from litesess.engine import format as form
from litesess.engine.chain import Place
from litesess.engine.follow import Follower, Live
from litesess.engine.fs import store_error
from litesess.engine.lock import FileLock
from litesess.engine.log import DELETE_RESERVE, Log
from litesess.engine.recovery import keep_aside, warn_of_torn
from litesess.engine.view import View
from litesess.errors import (
    Corruption,
    StoreClosed,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)

ResultT = TypeVar("ResultT")

#: A waiting thread looks up this often by itself, in seconds, should its leader have been
#: interrupted before it could wake anybody.
_LOOK_UP_INTERVAL: Final = 0.05
#: A writer, or reader, relies for so long, in seconds, on a log's being the one that bears its
#: name: asking makes the next sync dearer.
LINKED_FOR: Final = 1.0
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


class Committer:
    """The writing side of an open store."""

    def __init__(
        self,
        place: Place,
        follower: Follower,
        lock: FileLock,
        lock_timeout: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._place = place
        self._monotonic = monotonic
        self._follower = follower
        self._lock = lock
        self._lock_timeout = lock_timeout
        # Guards: everything below but _waiting.  In front of the lock between processes, which
        # does not tell threads apart.
        self._append_lock = threading.Lock()
        self._locked: Log | None = None  # whose lock this process may have
        self._torn: tuple[Log, form.Bad] | None = None  # to be warned of
        self._linked_at = float("-inf")  # when the log last was the one that bears its name
        self._failure: OSError | None = None
        self._is_closed = False
        self._waiting: deque[_Ticket] = deque()

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

    def reach_end(self) -> None:
        """Follow the log to its end, and make sure that it is the one that is written to.

        Raises:
            StoreError: as :meth:`transact`.
        """

        def work() -> None:
            self.check_writable()
            self._at_end(lambda _live: None)

        self._alone(work)

    def sync(self) -> None:
        """Make durable what was read when the store was opened, before it is shown to anybody.

        Whoever wrote it may have been killed before its sync.

        Raises:
            StoreError: as :meth:`transact`.
        """

        def work() -> None:
            live = self._follower.live
            self._sync_sealed(live)
            self._sync(live, live.table.end)

        self._alone(work)

    def seal(self, generation: int, salt: bytes) -> Live:
        """End the live log and go on in the one of *generation*; return what is live then.

        Raises:
            StoreError: as :meth:`transact`; whether the log was ended is unknown.
        """
        return self._alone(lambda: self._seal(generation, salt))

    def mark(self, *, always: bool = False) -> None:
        """Make all that was written durable, and let a MARK say so.

        Args:
            always: even if the last record is one; a MARK makes others look for a snapshot.

        Raises:
            StoreError: as :meth:`transact`.
        """

        def work() -> None:
            if not self._place.read_only:
                self.check_writable()
                self._mark(always=always)

        self._alone(work)

    def judge(self) -> None:
        """Have the log's end put right if nobody is writing there just now.

        Raises:
            Corruption: what is bad there is no write that was cut short.
        """
        if self._append_lock.locked():
            return
        try:
            with self._append_lock:
                self._at_end(lambda _live: None, timeout=0)
        except Corruption:
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
        """As the last one to have the store open, after the close: return what is synced now.

        None if the log can't be trusted any more.

        Raises:
            StoreError: as :meth:`transact`.
        """
        return self._alone(lambda: None if self._is_poisoned() else self._mark(always=False))

    def hold(self) -> None:
        """Wait until nothing is being written, and let nothing begin before :meth:`let_go`."""
        self._append_lock.acquire()

    def let_go(self) -> None:
        """End what :meth:`hold` began."""
        self._append_lock.release()
        self._wake_next()

    def check_writable(self) -> None:
        """Raise the :class:`StoreError` that keeps anything from being written, if one does."""
        path = self._follower.live.log.path
        if self._place.read_only:
            raise StoreReadOnly(f"{path}: the store was opened only for reading")
        if self._is_closed:
            raise StoreClosed(f"{path}: the store was closed")
        self._check_sound()

    def _check_sound(self) -> None:
        if self._is_poisoned():
            path = self._follower.live.log.path
            raise StoreFailed(
                f"{path}: an earlier sync failed; stop all processes that use the store, and"
                " start them again, to recover"
            ) from self._failure

    def _is_poisoned(self) -> bool:
        return self._failure is not None or self._follower.live.table.last_kind == form.POISON

    # The queue.

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
            self._commit(batch)
            for ticket in batch:
                ticket.is_committed = ticket.error is None
        except StoreError as error:
            _fail(batch, error, error.__cause__)
        except OSError as error:
            if error.errno is None:  # a signal handler's, a TimeoutError perhaps
                raise
            _fail(batch, store_error(error, self._follower.live.log.path), error)
        finally:
            for ticket in batch:
                ticket.done = True
            while self._waiting and self._waiting[0].done:
                self._waiting.popleft()

    def _alone(self, work: Callable[[], ResultT]) -> ResultT:
        """Do *work* under the append lock; an error of the system leaves as one of ours."""
        try:
            with self._append_lock:
                return work()
        except OSError as error:
            if error.errno is None:
                raise
            raise store_error(error, self._follower.live.log.path) from error
        finally:
            self._wake_next()

    # The log's end.

    def _commit(self, batch: list[_Ticket]) -> None:
        # Most of it before the lock, which is then held for less.
        self._follower.catch_up()
        live, end = self._at_end(lambda live: (live, self._write_batch(live, batch)))
        # Not under the lock: other processes write meanwhile, and each syncs for itself.
        if any(ticket.sync for ticket in batch):
            # What a plan saw and left as it was must be as durable as a change would be.
            self._sync(live, end)
        if self._follower.catch_up() is live and live.table.end < end:
            raise StoreFailed(f"{live.log.path}: what was just written there can't be read back")

    def _seal(self, generation: int, salt: bytes) -> Live:
        self.check_writable()
        self._sync_all()

        def write(live: Live) -> tuple[Live, int]:
            payload = form.encode_seal(live.table.count, generation, salt)
            return live, self._write_record(live, form.SEAL, payload)

        live, end = self._at_end(write)
        self._sync(live, end)
        return self._follower.catch_up()

    def _mark(self, *, always: bool) -> form.Slot:
        self._sync_all()

        def write(live: Live) -> tuple[Live, int]:
            if always or live.table.last_kind != form.MARK:
                return live, self._write_record(live, form.MARK, b"")
            return live, live.table.end

        live, end = self._at_end(write)
        self._sync(live, end)
        self._follower.catch_up()
        header = live.log.header
        return form.Slot(header.store, header.generation, end)

    def _at_end(self, work: Callable[[Live], ResultT], timeout: float | None = None) -> ResultT:
        """Do *work* where no other process writes meanwhile: at the end of the live log."""
        try:
            live = self._take_end(self._lock_timeout if timeout is None else timeout)
            return work(live)
        finally:
            # Twice: a signal handler may raise where the first is about to begin.
            try:
                self._let_end_go()
            finally:
                self._let_end_go()
            torn, self._torn = self._torn, None
            if torn is not None:  # not under the lock: a handler of the host's takes its time
                warn_of_torn(*torn)

    def _take_end(self, timeout: float) -> Live:
        """Let no other process write, and return the live log, followed to its end.

        Behind that there are only zeros then, and nothing before it is still to be synced.
        """
        live = self._lock_end(timeout)
        while not self._is_there(live.log):
            # Under the lock nobody seals it: it was deleted, or recovered by a process that did
            # not know of this one.
            self._follower.find_anew()
            live = self._lock_end(timeout)
        self._check_sound()
        self._repair(live)
        # Order: what is acknowledged in this log relies on the SEALs before it.
        self._sync_sealed(live)
        return live

    def _is_there(self, log: Log) -> bool:
        """Say whether the log has its name; now and then, whether the name is the log's."""
        now = self._monotonic()
        if now - self._linked_at < LINKED_FOR:
            return log.is_present()
        if not log.is_linked():
            return False
        self._linked_at = now
        return True

    def _lock_end(self, timeout: float) -> Live:
        while True:
            log = self._follower.live.log
            if self._follower.is_shared:
                if log is not self._locked:
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
        if not self._follower.has_grown(live):
            return
        # Read here: what this process noted of it may be a reader's, on its way.
        torn = next(live.log.follow(live.table.end), None)
        if not isinstance(torn, form.Bad):
            return
        behind = next(live.log.find_records(torn.offset), None)
        if behind is not None:
            raise Corruption(
                live.log.path,
                torn.offset,
                f"{torn.reason}, and a record follows at offset {behind.offset}",
            )
        keep_aside(self._place, live.log, torn)
        live.log.erase(torn.offset)
        live.bad = None
        self._torn = live.log, torn

    def _write_batch(self, live: Live, batch: list[_Ticket]) -> int:
        """Write what the plans of *batch* want; return where the log ends then."""
        start = live.table.end
        data = self._run(batch, live, deletes_only=None)
        if data:
            try:
                live.log.reserve(start + len(data) + DELETE_RESERVE)
            except OSError as error:
                full = store_error(error, live.log.path)
                if not isinstance(full, StoreFull):
                    raise
                data = self._run(batch, live, deletes_only=full)
        if not data:
            return start
        try:
            live.log.write(data, start)
        except OSError as error:
            if error.errno is None:
                raise
            # Others may have followed what is whole already: that can't be taken back.
            self._take_back(live)
            last = live.table.sequence
            # And all behind the first that is refused: they have seen what it wanted.
            refused = [*dropwhile(lambda ticket: ticket.sequence <= last, batch)]
            _fail(refused, store_error(error, live.log.path), error)
            return live.table.end
        return start + len(data)

    def _run(self, batch: list[_Ticket], live: Live, *, deletes_only: StoreFull | None) -> bytes:
        """Run the plans and return their records; those that only delete if there is no room."""
        draft = _Draft(live.view)
        records = []
        sequence = live.table.sequence
        for ticket in batch:
            ticket.error = None
            ticket.sequence = 0
            try:
                changes, ticket.result = ticket.plan(draft)
                if not changes:
                    continue
                if deletes_only and not all(isinstance(item, _FREEING) for item in changes):
                    raise StoreFull(*deletes_only.args) from deletes_only.__cause__
                record = self._encode(live, *form.encode_changes(changes), sequence + 1)
            except Exception as error:  # noqa: BLE001  # a plan may raise anything; its own thread raises it again
                ticket.error = error
                continue
            sequence += 1
            ticket.sequence = sequence
            draft.apply(changes, sequence)
            records.append(record)
        return b"".join(records)

    def _encode(self, live: Live, kind: int, flags: int, payload: bytes, sequence: int) -> bytes:
        return form.encode_record(live.log.salt_crc, kind, flags, payload, sequence, live.durable)

    def _write_record(self, live: Live, kind: int, payload: bytes) -> int:
        """Write a record of the engine's own; return where it ends."""
        start = live.table.end
        data = self._encode(live, kind, 0, payload, live.table.sequence + 1)
        try:
            live.log.write(data, start)
        except OSError as error:
            if error.errno is not None:
                self._take_back(live)
            raise
        return start + len(data)

    def _take_back(self, live: Live) -> None:
        """Follow what of a write that failed is whole, and erase what is not."""
        # Not if that was a SEAL, and whole: it is not for this log to be written any more.
        if self._follower.catch_up() is live:
            with suppress(OSError):  # the next one to write here repairs it
                live.log.erase(live.table.end)

    def _sync_all(self) -> None:
        live = self._follower.catch_up()
        self._sync(live, live.table.end)

    def _sync(self, live: Live, end: int) -> None:
        if live.durable < end:
            self._sync_log(live.log)
            live.durable = max(live.durable, end)

    def _sync_sealed(self, live: Live) -> None:
        for log in live.unsynced:
            self._sync_log(log)
        live.unsynced = ()

    def _sync_log(self, log: Log) -> None:
        try:
            log.sync()
        except OSError as error:
            if error.errno is None:  # a signal handler's; the disk said nothing
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
            self._write_record(live, form.POISON, b"")
        self._let_end_go()
        return StoreFailed(
            f"{log.path}: sync failed: {error.strerror}; nothing more is written, stop all"
            " processes that use the store, and start them again, to recover"
        )


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
