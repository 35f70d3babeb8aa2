"""Following the log: how a process learns of its own writes and those of other processes.

Every process has its own tables, and its own descriptors for as long as it uses a file: each
descriptor reports a failed write-back once.  The tables change in no other way than by reading
the log from where it was last read to its end, own writes included, so that an exception at any
line leaves memory older than the disk and never different from it.  A SEAL leads to the next log;
a MARK may say that a snapshot has been published; a process that slept through whole generations
begins anew from the directory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from litesess.engine import format as form
from litesess.engine.chain import Chain, check_order, check_sequence, load_settled
from litesess.engine.changes import UNCOUNTED
from litesess.engine.files import Files
from litesess.engine.log import Log
from litesess.engine.replay import follow
from litesess.engine.runs import Run
from litesess.engine.snapshot import Snapshot
from litesess.engine.table import Table
from litesess.engine.touches import Touches
from litesess.engine.view import View
from litesess.errors import Corruption, StoreFailed

#: A process relies for so long, in seconds, on a log's being the one that bears its name: asking
#: makes the next sync dearer.
_LINKED_FOR: Final = 1.0


class CurrentLog:
    """The log that is written to, as far as this process has followed it."""

    __slots__ = ("bad", "durable", "log", "table", "unsynced", "view")

    def __init__(self, view: View, durable: int, unsynced: tuple[Log, ...]) -> None:
        self.view = view
        self.table = view.tables[0]
        self.log = self.table.log
        #: Everything in the log before this offset is synced.
        self.durable = durable
        #: Sealed logs that this process does not know to be synced.
        self.unsynced = unsynced
        #: The bytes after the last record, if they are no record.
        self.bad: form.Bad | None = None


class Follower:
    """The part of a store that a process has read; any thread may let it read on."""

    def __init__(
        self,
        files: Files,
        chain: Chain,
        look: Callable[[], None],
        *,
        is_shared: bool,
        is_synced: bool,
    ) -> None:
        """Begin with the loaded files.

        Args:
            files: those of the store.
            chain: its loaded files.
            look: called now and then; raises the reason why the store can't be used any more.
            is_shared: other processes may write to it.
            is_synced: all of it is durable.
        """
        self.is_shared = is_shared
        self._files = files
        self._look = look
        self._lock = threading.Lock()  # Guards: the tables, current.
        self.current = (
            CurrentLog(chain.view, chain.current.table.end, ()) if is_synced else _not_synced(chain)
        )
        self._count: int | None = None  # of counted entries, after the first question
        #: When the log last was there, by the monotonic clock.
        self.seen_at = float("-inf")
        self._linked_at = self.seen_at  # and when it was the one that bears its name

    def catch_up(self) -> CurrentLog:
        """Take in all that was written until now; return where that ends.

        Raises:
            Corruption: the log does not go on as it must.
            StoreFailed: the store was deleted.
            OSError: a file could not be read.
        """
        current = self.current
        log, end = current.log, current.table.end
        if current.bad is None:
            try:
                if not log.window[end]:  # a look at memory, as it is asked at every read
                    return current
            except IndexError:
                if not log.has_grown(end):
                    return current
        with self._lock:
            while True:
                current = self.current
                self._take_in(current)
                if self.current is current:
                    return current

    def is_there(self, log: Log, now: float) -> bool:
        """Return whether there is a log of that name; now and then, whether it is still this one.

        Another store may have been made there, or another directory put in this one's place.

        Args:
            log: the last one that was followed.
            now: from the monotonic clock, in seconds.

        Raises:
            StoreFailed: the store can't be used any more.
            OSError: the disk failed.
        """
        if now - self._linked_at < _LINKED_FOR:
            if not log.is_present():
                return False
        else:
            self._look()
            if not log.is_linked():
                return False
            self._files.directory.keep_private()
            self._linked_at = now
        self.seen_at = now
        return True

    def count(self) -> int:
        """Return how many entries are counted; see :meth:`View.count`, which is asked once.

        It raises the same errors as :meth:`catch_up`.
        """
        current = self.catch_up()
        with self._lock:
            if self._count is None:
                self._count = current.view.count()
            return self._count

    def find_anew(self) -> CurrentLog:
        """Switch to the log that has replaced one without a name, and return it.

        Raises:
            Corruption: a file is damaged or missing.
            StoreFailed: no such log exists: the store was deleted.
            OSError: a file could not be read.
        """
        with self._lock:
            self._reload()
            return self.current

    def adopt(self, snapshot: Snapshot | None = None) -> CurrentLog:
        """Read a snapshot in place of the sealed logs: *snapshot*, or one that is found.

        Raises:
            Corruption: the snapshot that was found is damaged.
            OSError: it could not be read.
        """
        with self._lock:
            current = self.current
            if snapshot is None:
                self._adopt_published(current)
            elif snapshot.generation == current.log.header.generation:
                self._show(current, snapshot)
            else:
                raise StoreFailed(f"{snapshot.path} is not the snapshot before {current.log.path}")
            return current

    def _take_in(self, current: CurrentLog) -> None:
        """Follow the log of *current* to its end, or up to its SEAL and switch to the next."""
        for found in follow(current.log, current.table.end):
            if isinstance(found, form.Bad):
                current.bad = found
                return
            table = current.table
            if isinstance(found, Run):
                check_sequence(table, found, table.log)
                table.apply_run(found)
                current.durable = max(current.durable, found.durable)
                current.unsynced = ()
                continue
            check_order(table, found)
            if found.kind == form.SEAL:
                # Not taken in: a reader that comes meanwhile must not think itself at the end.
                self._pass(current, found)
                return
            if found.kind == form.MARK:
                self._adopt_published(current)
                table = current.table
            count = self._count
            if count is not None:
                count += _gain(current.view, found, count)
                self._count = None  # counted anew, if the next step is interrupted
            table.apply(found)
            self._count = count
            current.durable = max(current.durable, found.durable)
            if found.kind != form.POISON:
                current.unsynced = ()  # the process that wrote this has synced them before
        current.bad = None

    def _pass(self, current: CurrentLog, record: form.Record) -> None:
        """Go on in the log that a SEAL names."""
        seal = form.decode_seal(record.payload)
        try:
            log = self._files.open_log(seal.generation)
        except FileNotFoundError:  # merged into a snapshot and dropped meanwhile
            self._reload()
            return
        if not seal.leads_to(log.header):
            raise Corruption(
                log.path, 0, f"is not the log that the SEAL in {current.log.path} names"
            )
        snapshot = current.view.snapshot
        tables = Table(log, record.sequence, Touches(snapshot)), *current.view.tables
        view = View(snapshot, tables)
        self.current = CurrentLog(view, form.HEADER_BYTES, (*current.unsynced, current.log))

    def _adopt_published(self, current: CurrentLog) -> None:
        if len(current.view.tables) == 1:
            return
        header = current.log.header
        try:
            snapshot = self._files.open_snapshot(header.generation)
        except FileNotFoundError:  # the MARK says something else, or another has followed
            return
        if (snapshot.store, snapshot.sequence) != (header.store, current.table.before):
            raise Corruption(snapshot.path, 12, f"is not the snapshot before {current.log.path}")
        self._show(current, snapshot)

    def _show(self, current: CurrentLog, snapshot: Snapshot) -> None:
        if not snapshot.count:
            # A compaction to nothing leaves out sessions whose deletion in the log is not read yet.
            # They must not be counted twice.
            self._count = None
        view = View(snapshot, (current.table.over(snapshot),))
        # Invariant: the table that takes in the log is the newest of the view.  In one step: after
        # an exception between two, readers would never see what that log deletes.
        current.view, current.table = view, view.tables[0]

    def _reload(self) -> None:
        log = self.current.log
        chain = load_settled(self._files)
        if (
            chain is None
            or chain.current.log.header.store != log.header.store
            or chain.current.log.header.generation <= log.header.generation
        ):
            raise StoreFailed(
                f"{log.path} was deleted or replaced; restart the process to begin anew"
            )
        self.current = _not_synced(chain)
        self._count = None


def _not_synced(chain: Chain) -> CurrentLog:
    *sealed, _live = (replayed.log for replayed in chain.logs)
    return CurrentLog(chain.view, form.HEADER_BYTES, tuple(sealed))


def _gain(view: View, record: form.Record, count: int) -> int:
    """Return how many more entries are counted after *record*, of *count* before it."""
    gain = 0
    changed: dict[bytes, bool] = {}
    is_cleared = False
    for kind, flags, payload in form.members(record):
        if kind == form.CLEAR:
            gain, is_cleared = -count, True
            changed.clear()
        elif kind in (form.PUT, form.DELETE):
            key = form.key_of(payload)
            was_counted = changed[key] if key in changed else not is_cleared and view.counts(key)
            is_aside = flags & form.OWNED and form.owner_of(payload) == UNCOUNTED
            changed[key] = kind == form.PUT and not is_aside
            gain += changed[key] - was_counted
    return gain
