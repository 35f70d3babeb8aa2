"""When a store is compacted: by command, in the background, or by a writer if nothing else does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from litesess import threads
from litesess.engine.commit import Committer
from litesess.engine.compaction import compact
from litesess.engine.files import Files
from litesess.engine.follow import Follower
from litesess.engine.fs import errors
from litesess.engine.maintenance import Maintenance
from litesess.engine.means import Hooks, Limits
from litesess.engine.slot import SlotWriter
from litesess.errors import StoreClosed, StoreError

logger = logging.getLogger("litesess.engine")

#: A log may get half as long as the snapshot: so little is written for each of its bytes.
_SHARE: Final = 2
#: From so many bytes on, a fifth, as memory and the time to open a store grow with the log: what is
#: written for each of its bytes stays in bounds.
_LONG: Final = 1 << 26
_SHARE_OF_LONG: Final = 5
#: A log at so many times its limit is compacted by the writer that sees it.
_OVERDUE: Final = 4


class Compactor:
    """Compacts an open store; any thread may use it."""

    def __init__(
        self,
        files: Files,
        follower: Follower,
        committer: Committer,
        maintenance: Maintenance,
        limits: Limits,
        monotonic: Callable[[], float],
        hooks: Hooks,
        slot: SlotWriter,
    ) -> None:
        """Begin with nothing to do.

        Args:
            files: those of the store.
            follower: the part of it that this process has read.
            committer: its writing side.
            maintenance: its maintenance lock.
            limits: how long its log may get, and how long to wait for a lock.
            monotonic: returns seconds that never go back.
            hooks: called before and after.
            slot: is kept current.
        """
        #: How many compactions this has done.
        self.count = 0
        #: Held while a thread compacts in the background.
        self.background = threading.Lock()
        self._files = files
        self._path = files.directory.path
        self._follower = follower
        self._committer = committer
        self._maintenance = maintenance
        self._wal_limit = limits.wal_limit
        self._lock_timeout = limits.lock_timeout
        self._monotonic = monotonic
        self._hooks = hooks
        self._slot = slot
        self._has_background = False  # a thread has run in the background, so another will
        self._threads: set[int] = set()  # those that collect and compact by themselves
        self._postponed = 0  # the log may grow to so many bytes before the next try

    @property
    def log_bytes(self) -> int:
        """How long the current log is."""
        return self._follower.current.table.end

    @property
    def is_over_limit(self) -> bool:
        """Whether the current log is longer than it may get; asked after every commit."""
        end = self._follower.current.table.end
        return end > self._wal_limit and end > self.limit

    @property
    def limit(self) -> int:
        """How long it may get: in proportion to the snapshot, as a merge writes all of that."""
        snapshot = self._follower.current.view.snapshot
        size = 0 if snapshot is None else snapshot.size
        share = min(size // _SHARE, max(_LONG, size // _SHARE_OF_LONG))
        return max(self._wal_limit, share, self._postponed)

    def compact(self) -> None:
        """Put everything into one new snapshot.

        Raises:
            StoreLocked: another process had the maintenance lock for too long.
            StoreError: it could not be done; the store is as good as before.
        """
        with self._maintenance.required():
            seconds = self._compact()
        self._hooks.after_compaction(seconds)

    def rekey(self) -> None:
        """Encrypt everything anew, under a new data key; the old one is gone then.

        Raises:
            StoreLocked: another process had the maintenance lock for too long.
            DecryptError: the store is not encrypted, or under another encryption key by now.
            StoreError: it could not be done; the store is as good as before.
        """
        files, follower = self._files, self._follower
        with self._maintenance.required():
            if len(follower.adopt().view.tables) > 1:  # left by a compaction that failed
                self._compact()
            with errors(self._path):
                # One that is published, but that no log was made under yet, is as good as new.
                if files.keys.is_newest(follower.catch_up().log.cipher):
                    files.keys.add(files.directory)
                files.directory.unlink(files.directory.listing().torn)
            seconds = self._compact()
        self._hooks.after_compaction(seconds)

    def compact_soon(self) -> None:
        """Compact in the background; at once if the log got far beyond its limit.

        Errors are logged; it is tried again when the log has grown.
        """
        if threading.get_ident() in self._threads:  # in the hook before a compaction
            return
        if self.log_bytes > _OVERDUE * self.limit and self._compact_if_due(inline=True):
            return
        if self.background.acquire(blocking=False):
            thread = threads.begin("litesess-compaction", self._compact_in_background)
            if thread is None:
                self.background.release()

    def _compact_in_background(self) -> None:
        self._has_background = True
        try:
            self._compact_if_due(inline=False)
        finally:
            self.background.release()

    def _compact_if_due(self, *, inline: bool) -> bool:
        """Compact unless another thread or process does; return whether it was our turn."""
        is_ours = False
        thread = threading.get_ident()
        try:
            self._threads.add(thread)
            if self._is_due():
                # Order: before the lock is taken, as the hook may take its time.
                self._hooks.before_compaction()
            seconds = None
            # In the background it waits: no other thread is started as long as this one is at it.
            with self._maintenance.locked(0 if inline else self._lock_timeout) as is_ours:
                # Another process may have been faster.
                if is_ours and self._is_due():
                    if inline and not self._has_background:
                        self._warn_of_request()
                    seconds = self._compact()
            if seconds is not None:
                self._hooks.after_compaction(seconds)
        except StoreClosed:
            return False
        except (OSError, StoreError):
            logger.exception("%s was not compacted; will retry as the log grows", self._path)
            self._postponed = self.log_bytes + self._wal_limit
        finally:
            self._threads.discard(thread)
        return is_ours

    def _is_due(self) -> bool:
        return self._follower.catch_up().table.end > self.limit

    def _warn_of_request(self) -> None:
        # Not where writers are only quicker than the thread that compacts.
        logger.warning(
            "%s: the log has %d bytes, limit %d, and nobody compacts it; a request does it now",
            self._path,
            self.log_bytes,
            self.limit,
        )

    def _compact(self) -> float:
        """Put everything into one snapshot; return how many seconds that took."""
        began = self._monotonic()
        with errors(self._path):
            slot = compact(self._files, self._follower, self._committer, self._maintenance.pause)
            self._slot.keep(slot)
        self._postponed = 0
        self.count += 1
        generation = self._follower.current.log.header.generation
        logger.debug("compacted %s, generation %d", self._path, generation)
        return self._monotonic() - began
