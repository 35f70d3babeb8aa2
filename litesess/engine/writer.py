"""Writing a batch: its plans are run at the end of the log, and their records written there.

A leader can be interrupted at every line, by an exception that a signal handler raises.  So it is
noted how far a batch has come, and the next leader goes on from there.
"""

from __future__ import annotations

from functools import partial
from itertools import dropwhile
from operator import attrgetter
from typing import Final

from litesess.engine.append import Appender
from litesess.engine.batch import Progress, Ticket, fail, run, unknown_outcome
from litesess.engine.follow import CurrentLog, Follower
from litesess.engine.fs import is_interruption, store_error
from litesess.errors import Corruption, DecryptError, StoreFailed, StoreFull

_IS_SYNCED: Final = attrgetter("sync")


class BatchWriter:
    """Writes one batch after the other; only the thread that has the append lock may use it."""

    def __init__(self, follower: Follower, appender: Appender) -> None:
        """Begin with no batch.

        Args:
            follower: the part of the store that this process has read.
            appender: writes at the end of its log.
        """
        self._follower = follower
        self._appender = appender
        self._batch: list[Ticket] = []  # that is being written
        #: How far the batch has come.  The leading thread sets it to NONE when the outcome of each
        #: transaction is noted.
        self.progress = Progress.NONE

    def write(self, batch: list[Ticket], leading: Ticket) -> None:
        """Run *batch*, write it, sync it if one of it asks for that, and follow the log.

        Args:
            batch: the transactions.
            leading: the one of this thread.

        Raises:
            StoreError: none of them was committed, or with StoreFailed perhaps all.
            OSError: the disk failed.
        """
        self._batch = batch
        # Most of it before the lock, which is then held for less.
        self._follower.catch_up()
        current, end = self._appender.at_end(
            partial(self._write_batch, batch=batch, leading=leading)
        )
        # Not under the lock: other processes write meanwhile, and each syncs for itself.
        if any(map(_IS_SYNCED, batch)):
            # Entries that a plan saw and left as they were must be as durable as a change.
            self._appender.sync(current, end)
        try:
            is_read = self._follower.catch_up() is not current or current.table.end >= end
        except (Corruption, DecryptError) as error:
            # Not as it is: a plan that is refused has changed nothing, and these have.
            raise StoreFailed(f"{current.log.path}: written, but not read back: {error}") from error
        if not is_read:
            raise StoreFailed(f"{current.log.path}: a record just written there can't be read back")

    def settle(self) -> None:
        """Note the writes of an interrupted leader."""
        if self.progress is Progress.WRITTEN:
            for ticket in self._batch:
                ticket.is_written = ticket.sequence > 0
        else:
            # It was interrupted a second time while it read the log back.
            for ticket in self._batch:
                if ticket.sequence and not ticket.done:
                    ticket.error = unknown_outcome()
                    ticket.done = True
        self.progress = Progress.NONE

    def _write_batch(
        self, current: CurrentLog, batch: list[Ticket], leading: Ticket
    ) -> tuple[CurrentLog, int]:
        """Write the changes of *batch*; return the log, and where it ends then."""
        start = current.table.end
        data = run(batch, current, leading)
        if data:
            try:
                self._appender.reserve(current, start + len(data))
            except OSError as error:
                full = store_error(error, current.log.path)
                if not isinstance(full, StoreFull):
                    raise
                data = run(batch, current, leading, deletes_only=full)
        if not data:
            return current, start
        try:
            self.progress = Progress.WRITING
            end = self._appender.write(current, data)
            self.progress = Progress.WRITTEN
        except OSError as error:
            if is_interruption(error):
                self._look_what_is_written(current, batch)
                raise
            refusal = store_error(error, current.log.path)
            last = current.table.sequence
            # And all after the first that is refused: they have seen its changes.
            refused = [*dropwhile(lambda ticket: ticket.sequence <= last, batch)]
            fail(refused, refusal, error)
            self.progress = Progress.WRITTEN
            return current, current.table.end
        except BaseException:
            self._look_what_is_written(current, batch)
            raise
        return current, end

    def _look_what_is_written(self, current: CurrentLog, batch: list[Ticket]) -> None:
        # Order: as long as the log is locked, so that no other process has written there.
        self._follower.catch_up()
        for ticket in batch:
            if ticket.sequence > current.table.sequence:
                ticket.sequence = 0
        self.progress = Progress.WRITTEN
