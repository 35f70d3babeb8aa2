"""One batch: the plans of the transactions that wait, run one after the other and encoded.

Each plan sees the changes of those before it in a *draft*.  If anything fails, the draft is thrown
away: the tables change only by following the log.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy
from typing import Any

from litesess.engine.changes import Change, Clear, Delete, Entry, Plan, Put, Touch
from litesess.engine.follow import CurrentLog
from litesess.engine.format import encode_changes
from litesess.engine.view import View
from litesess.errors import LitesessError, StoreError, StoreFailed, StoreFull


def _is_freeing(change: Change) -> bool:
    """Return whether the change may use the room that is kept for deletions on a full disk.

    The room is kept for logouts: expired sessions can wait, and there can be any number of them.
    """
    return isinstance(change, Clear) or (isinstance(change, Delete) and not change.expired)


class Progress(enum.Enum):
    """How far the commit of a batch has come; only a leader that was interrupted leaves one."""

    NONE = enum.auto()
    #: Whether its records stand in the log is not known.
    WRITING = enum.auto()
    #: Those of the tickets that have a number do.
    WRITTEN = enum.auto()


class Ticket:
    """One waiting transaction."""

    __slots__ = (
        "_bell", "done", "error", "is_committed", "is_written", "leads_itself", "plan", "result",
        "sequence", "sync",
    )  # fmt: skip

    def __init__(self, plan: Plan[Any], *, sync: bool) -> None:
        """Begin to wait.

        Args:
            plan: see :data:`litesess.engine.changes.Plan`.
            sync: the changes, and all that the plan saw, must be durable.
        """
        self.plan = plan
        self.sync = sync
        self.result: Any = None
        #: The number of its record; 0 if it changes nothing.
        self.sequence = 0
        self.error: Exception | None = None
        #: The plan need not be run any more.
        self.done = False
        self.is_committed = False
        #: Its record stands in the log, and a leader was interrupted before it said so.
        self.is_written = False
        #: Only its own thread runs the plan.
        self.leads_itself = False
        self._bell: threading.Lock | None = None  # released to wake the thread, if it waits

    def wait(self, timeout: float) -> None:
        """Wait until another thread has called :meth:`wake`, or for *timeout* seconds.

        The first call returns at once: others can wake this thread from then on, and may have done
        before it what they would wake it for.
        """
        if self._bell is not None:
            self._bell.acquire(timeout=timeout)
            return
        bell = threading.Lock()
        bell.acquire()
        self._bell = bell

    def wake(self) -> None:
        """Wake the thread that waits, if it does."""
        if self._bell is not None:
            with suppress(RuntimeError):  # it was woken already, and did not run yet
                self._bell.release()


class Draft:
    """The stored entries, with the changes of this batch on top."""

    __slots__ = ("_changed", "_cleared", "_view")

    def __init__(self, view: View) -> None:
        """Begin with the entries that *view* shows."""
        self._view = view
        self._changed: dict[bytes, Entry | None] = {}
        self._cleared = False

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*, or None."""
        if key in self._changed:
            return self._changed[key]
        return None if self._cleared else self._view.get(key)

    def candidates(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys that were put for *owner*; some may have gone, or be another's."""
        yield from self._changed
        if not self._cleared:
            yield from (key for key in self._view.candidates(owner) if key not in self._changed)

    def find(self, owner: bytes) -> list[tuple[bytes, Entry]]:
        """Return the keys of *owner*, each with its entry."""
        found = ((key, self.get(key)) for key in self.candidates(owner))
        return [(key, entry) for key, entry in found if entry and entry.owner == owner]

    def apply(self, changes: Sequence[Change], sequence: int) -> None:
        """Take in the changes of one record."""
        for change in changes:
            if isinstance(change, Put):
                self._changed[change.key] = Entry(
                    change.value, change.expires_at, sequence, change.owner
                )
            elif isinstance(change, Delete):
                self._changed[change.key] = None
            elif isinstance(change, Touch):
                entry = self.get(change.key)
                if entry is not None and entry.version == change.version:
                    self._changed[change.key] = entry._replace(expires_at=change.expires_at)
            else:
                self._changed.clear()
                self._cleared = True


def run(
    batch: list[Ticket],
    current: CurrentLog,
    leading: Ticket,
    *,
    deletes_only: StoreFull | None = None,
) -> bytes:
    """Run the plans of *batch*; return their records, for the end of *current*.

    The error of a plan is kept in its ticket: it must not fail other plans.  An error of another
    class than litesess's can come from a signal handler of the leading thread; then the plan is
    left to its own thread.

    Args:
        batch: the transactions, in the order in which their records are to stand.
        current: the log that is written to, followed to its end.
        leading: the transaction of the leading thread.
        deletes_only: the error for plans that need room, and for deletions beyond their
            reserve; None if there is room.
    """
    view, encode = current.view, current.log.encode
    draft: Draft | None = None  # only the plans after the first change need one
    records = []
    sequence, offset = current.table.sequence, current.table.end
    for ticket in batch:
        if ticket.is_written:
            continue
        ticket.error = None
        ticket.sequence = 0
        try:
            changes, ticket.result = ticket.plan(draft or view)
            if not changes:
                continue
            if deletes_only and not all(map(_is_freeing, changes)):
                raise StoreFull(*deletes_only.args) from deletes_only.__cause__
            record = encode(*encode_changes(changes), sequence + 1, current.durable, offset)
            if deletes_only and not current.log.has_place(offset + len(record)):
                raise StoreFull(*deletes_only.args) from deletes_only.__cause__
        except Exception as error:  # noqa: BLE001  # kept for the thread that asked, which raises it; the other plans of the batch go on
            if ticket is leading or isinstance(error, LitesessError):
                ticket.error = error
            else:
                ticket.leads_itself = True
            continue
        sequence += 1
        offset += len(record)
        ticket.sequence = sequence
        if ticket is not batch[-1]:  # no plan will see its changes
            if draft is None:
                draft = Draft(view)
            draft.apply(changes, sequence)
        records.append(record)
    return b"".join(records)


def unknown_outcome() -> StoreFailed:
    """Return the error of a transaction that an interrupted leader may have written."""
    return StoreFailed("the commit was interrupted; its outcome is unknown")


def fail(batch: list[Ticket], error: StoreError, cause: BaseException | None) -> None:
    """Let each transaction of *batch* fail that did not fail by itself.

    Args:
        batch: the transactions.
        error: why.
        cause: the cause of that.
    """
    for ticket in batch:
        if ticket.is_written and not isinstance(error, StoreFailed):
            ticket.error = unknown_outcome()
            ticket.error.__cause__ = error
        elif ticket.error is None:
            # One for each thread: a shared one would collect all their tracebacks.
            own = copy(error)
            own.__cause__ = cause
            ticket.error = own
            ticket.sequence = 0
