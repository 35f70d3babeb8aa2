"""A store that this process has open: its files, its locks, its reading and its writing side."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from litesess.engine.commit import Committer
from litesess.engine.compactor import Compactor
from litesess.engine.descriptors import OpenFile
from litesess.engine.files import Files
from litesess.engine.follow import Follower
from litesess.engine.maintenance import Maintenance
from litesess.engine.means import Hooks, Limits, Means
from litesess.engine.presence import Presence
from litesess.engine.reader import Reader
from litesess.engine.slot import SlotWriter
from litesess.errors import StoreError

logger = logging.getLogger("litesess.engine")

#: A process that closes a store waits so long, in seconds, for another that does the same.
_GATE_TIMEOUT: Final = 0.1
#: So many entries take some hundred kilobytes of each process's memory.
_MANY: Final = 4096


class EngineStats(NamedTuple):
    """A store in numbers: four of its own, and those of this process since it opened it."""

    generation: int
    log_bytes: int
    snapshot_bytes: int
    is_poisoned: bool
    commits: int
    fsyncs: int
    compactions: int


class Waste(NamedTuple):
    """Deleted entries that stay on the disk until a compaction.

    Attributes:
        since: the time of the last compaction, in Unix seconds; long ago, if there was none.
        is_most: it exceeds the stored entries, and is large enough to matter in memory.
    """

    since: float
    is_most: bool


class OpenStore:
    """The open store of one process, until it is closed, or forgotten after a fork.

    Attributes:
        files: those of the store.
        follower: the part of it that this process has read.
        committer: its writing side.
        reader: its reading side.
        maintenance: its maintenance lock.
        compactor: compacts it.
    """

    def __init__(
        self,
        files: Files,
        follower: Follower,
        committer: Committer,
        locks: tuple[Presence, OpenFile] | None,
        limits: Limits,
        means: Means,
        hooks: Hooks,
    ) -> None:
        """Take over the opened files.

        Args:
            files: those of the store.
            follower: the part of it that was read.
            committer: its writing side.
            locks: its presence and its maintenance lock; None: it was opened only for reading.
            limits: of the engine.
            means: of the engine.
            hooks: of the engine.
        """
        presence, maintenance = (None, None) if locks is None else locks
        self.files = files
        self.follower = follower
        self.committer = committer
        self.reader = Reader(follower, committer, means.monotonic)
        self.maintenance = Maintenance(files.directory, maintenance, committer, limits, means)
        self._slot = SlotWriter(files, presence)
        self.compactor = Compactor(
            files,
            follower,
            committer,
            self.maintenance,
            limits,
            means.monotonic,
            hooks,
            self._slot,
        )
        self._presence = presence
        self._lock = means.lock

    @property
    def is_read_only(self) -> bool:
        """Whether it was opened only for reading."""
        return self.files.directory.read_only

    def mark(self) -> None:
        """Make all that was written durable, and let the log and the slot say so.

        Raises:
            StoreError: it could not be done.
        """
        # The slot only where no other process is about to write it.
        with self.maintenance.locked(0) as is_ours:
            slot = self.committer.mark()
            if is_ours:
                self._slot.keep(slot)

    def stats(self) -> EngineStats:
        """Return the store in numbers.

        Raises:
            StoreError: the store can't be read.
            OSError: a file could not be read.
        """
        current = self.reader.current()
        snapshot = current.view.snapshot
        return EngineStats(
            generation=current.log.header.generation,
            log_bytes=sum(table.end for table in current.view.tables),
            snapshot_bytes=0 if snapshot is None else snapshot.size,
            is_poisoned=self.committer.is_poisoned,
            commits=self.committer.commit_count,
            fsyncs=self.committer.sync_count,
            compactions=self.compactor.count,
        )

    def look(self) -> None:
        """Do the work that is due even without an operation; see :meth:`Reader.look`."""
        try:
            self.reader.look()
        finally:
            self.maintenance.look()

    def waste(self) -> Waste | None:
        """Return the waste that a compaction would remove; None: nothing was deleted since.

        Raises:
            StoreError: the store can't be read.
            OSError: a file could not be read.
        """
        view = self.reader.current().view
        if not any(table.has_deleted() for table in view.tables):
            return None
        if view.snapshot is None:
            return Waste(float("-inf"), is_most=False)
        counted = view.snapshot.counted
        is_most = counted >= _MANY and self.follower.count() < counted // 2
        return Waste(view.snapshot.made_at, is_most)

    def close(self) -> None:
        """Leave the store; the last process to do so marks the log's end, and notes it.

        After an interruption, call it again.
        """
        with self.maintenance.closing():
            # Order: nothing is written any more when other processes no longer know of this one.
            self.committer.close()
            try:
                if self._presence is not None and self._presence.fd >= 0:
                    self._leave(self._presence)
            except (OSError, StoreError):
                path = self.files.directory.path
                logger.exception("%s was not closed cleanly; nothing is lost", path)
            finally:
                # Not the directory and the logs: another thread may be reading, and the number of
                # a closed descriptor may be another file's by then.
                self._close_locks()

    def _leave(self, presence: Presence) -> None:
        lock, is_shared, gate = self._lock, self.follower.is_shared, self.files.directory.fd
        try:
            # While another process takes long to open the store, this is not the last one.
            is_alone = not is_shared or lock.acquire(gate, _GATE_TIMEOUT)
            if is_alone and lock.take(presence.fd):
                slot = self.committer.finish()
                presence.leave()
                if slot is not None:
                    self._slot.write(slot)
        finally:
            lock.release(presence.fd)
            if is_shared:
                lock.release(gate)

    def forget(self) -> None:
        """In a forked child: close all that the parent has open; the locks stay its own."""
        self.files.directory.held.forget()

    def _close_locks(self) -> None:
        if self._presence is not None:
            self._presence.close()
        self.maintenance.close()
