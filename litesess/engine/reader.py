"""Reading an open store without a lock: all that any process has written by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from litesess.engine.changes import Entry
from litesess.engine.commit import Committer
from litesess.engine.follow import CurrentLog, Follower
from litesess.errors import Corruption

#: A read relies for so long, in seconds, on the log's having been there: far less than it takes
#: to delete it and to ask again.
_SEEN_FOR: Final = 1e-4
#: A half-written record that stays for so long, in seconds, was left by a killed writer.
_TORN_AFTER: Final = 0.05


class Reader:
    """The reading side of an open store; any thread may use it."""

    __slots__ = (
        "_bad_at",
        "_committer",
        "_damage",
        "_follower",
        "_monotonic",
    )

    def __init__(
        self, follower: Follower, committer: Committer, monotonic: Callable[[], float]
    ) -> None:
        """Begin with nothing read.

        Args:
            follower: the part of the store that this process has read.
            committer: its writing side, which judges a bad end of the log.
            monotonic: returns seconds that never go back.
        """
        self._follower = follower
        self._committer = committer
        self._monotonic = monotonic
        self._bad_at: tuple[int, float] | None = None  # where no record was found, and when
        self._damage: tuple[str, int, str] | None = None  # the damage that was found there

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*.

        Raises:
            StoreError: it can't be read, or was damaged.
            OSError: a file could not be read.
        """
        follower = self._follower
        if follower.is_shared:
            current = follower.catch_up()
            bad = current.bad
            if bad is not None:
                self._judge_in_time(bad.offset)
        else:
            current = follower.current
        # The operator who deletes the directory to end all sessions means it.  Not asked by each
        # of many reads at once: where threads wait for the interpreter, a call that gives it up
        # costs a switch of threads.
        now = self._monotonic()
        if now - follower.seen_at > _SEEN_FOR and not follower.is_there(current.log, now):
            current = self._look_again(now)
        return current.view.get(key)

    def look(self) -> None:
        """Check that the store still exists; close files that other processes have merged.

        It does not follow the log: reading does that.

        Raises:
            StoreError: it can't be used any more.
            OSError: a file could not be read.
        """
        now = self._monotonic()
        current = self._follower.current
        # A compaction deletes the logs first; at its end none before the current one is there.
        is_merged = not current.view.tables[-1].log.is_present()
        if is_merged or not self._follower.is_there(current.log, now):
            self._look_again(now)

    def current(self) -> CurrentLog:
        """Return the log that is written to, followed to its end.

        Raises:
            StoreError: the store was deleted, or the log is damaged.
            OSError: a file could not be read.
        """
        return self._look_again(self._monotonic())

    def _look_again(self, now: float) -> CurrentLog:
        """Follow the log to its end, and check that it is still there.

        If it was compacted meanwhile, the way to its end leads to the next one.
        """
        follower = self._follower
        current = follower.catch_up()
        return current if follower.is_there(current.log, now) else follower.find_anew()

    def _judge_in_time(self, offset: int) -> None:
        """Decide whether a bad end is damage, once no writer can still be writing it."""
        now = self._monotonic()
        if self._bad_at is None or self._bad_at[0] != offset:
            self._bad_at, self._damage = (offset, now), None
        elif self._damage is not None:
            path, at, reason = self._damage
            raise Corruption(path, at, reason)
        elif now - self._bad_at[1] > _TORN_AFTER:
            self._bad_at = offset, now
            try:
                self._committer.judge()
            except Corruption as error:
                # Kept: the damaged record may have been a logout, and every read must say so.
                self._damage = error.path, error.offset, error.reason
                raise
