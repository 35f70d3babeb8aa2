"""The changes of one log: for each key the place of its record.

Readers take no lock.  A table changes only by following its log, one record after the other, so
a reader meets the state before a record or the state after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from litesess.engine import format as form
from litesess.engine.changes import UNCOUNTED
from litesess.engine.log import SIZE_BITS, Log
from litesess.engine.runs import Run
from litesess.engine.snapshot import Snapshot
from litesess.engine.touches import Touches

DELETED: Final = 0  # no record stands at offset 0
#: To copy more keys at once would hold up all other threads.
_COPIED: Final = 1 << 14


class Table:
    """The changes of one log."""

    __slots__ = (
        "before", "cleared", "end", "last_kind", "log", "owned", "puts", "sequence", "touched",
        "touches", "uncounted",
    )  # fmt: skip

    def __init__(self, log: Log, before: int, touched: Touches | None = None) -> None:
        """Begin with nothing.

        Args:
            log: of which this takes in the records.
            before: the last sequence number before this log.
            touched: for the touches of a snapshot's entries; None: there is no snapshot.
        """
        self.log = log
        self.before = before
        #: The number and type of the last record taken in, and where it ends.
        self.sequence = before
        self.last_kind = 0
        self.end = form.HEADER_BYTES
        #: Where each key was put last, or ``DELETED``.
        self.puts: dict[bytes, int] = {}
        #: The keys that were put for each owner, once or ever: one, or several.
        self.owned: dict[bytes, bytes | set[bytes]] = {}
        #: The keys with a last entry in this log that is of ``UNCOUNTED``.
        self.uncounted: set[bytes] = set()
        #: The version that was touched, and when it expires since, of an entry that a log has.
        self.touches: dict[bytes, tuple[int, float]] = {}
        #: The same of those that the snapshot has.
        self.touched = Touches(None) if touched is None else touched
        #: Nothing older than this table counts any more.
        self.cleared = False

    @property
    def count(self) -> int:
        """How many records were taken in."""
        return self.sequence - self.before

    def apply(self, record: form.Record) -> None:
        """Take in the changes of *record*; doing it again changes nothing."""
        for kind, flags, payload in form.members(record):
            if kind == form.PUT:
                key = payload[: form.KEY_BYTES]
                if flags & form.OWNED:
                    self._note_owner(form.owner_of(payload), key)
                elif self.uncounted:
                    self.uncounted.discard(key)
                self.puts[key] = record.offset << SIZE_BITS | record.end - record.offset
                if self.touches:
                    self.touches.pop(key, None)
            elif kind == form.TOUCH:
                key, version, expires_at = form.decode_touch(payload)
                if version > self.touched.sequence:
                    self.touches[key] = version, expires_at
                else:
                    self.touched.take(key, version, expires_at)
            elif kind == form.DELETE:
                self.puts[payload] = DELETED
                self.touches.pop(payload, None)
                self.uncounted.discard(payload)
            elif kind == form.CLEAR:
                # Order: a reader that misses a key here must not look for it in older tables.
                self.cleared = True
                self.puts = {}
                self.touches = {}
                self.owned = {}
                self.uncounted = set()
        # Order: last, so that after an interruption this record is taken in again.
        self.sequence, self.last_kind, self.end = record.sequence, record.kind, record.end

    def apply_run(self, run: Run) -> None:
        """Take in many touches at once, as :meth:`apply` does one."""
        self.touches.update(self.touched.take_run(run))
        self.sequence, self.last_kind, self.end = run.last, run.kind, run.end

    def over(self, snapshot: Snapshot) -> Table:
        """Return this table over another snapshot, with the content of the logs before it.

        Who reads by this one still sees the changes of the two, but for later touches and clears.
        """
        found = Table(self.log, self.before, self.touched.over(snapshot))
        found.puts, found.owned, found.uncounted = self.puts, self.owned, self.uncounted
        found.cleared = self.cleared
        for key, (version, expires_at) in self.touches.items():
            if version > snapshot.sequence:
                found.touches[key] = version, expires_at
            else:
                found.touched.take(key, version, expires_at)
        found.sequence, found.last_kind, found.end = self.sequence, self.last_kind, self.end
        return found

    def shadow(self) -> Table:
        """Return a table that deletes all that this one has put or deleted."""
        found = Table(self.log, self.before)
        found.cleared = self.cleared
        found.puts = dict.fromkeys(self.puts.copy(), DELETED)
        return found

    def has_deleted(self) -> bool:
        """Return whether a key was deleted, or its session moved to another one."""
        return self.cleared or bool(self.uncounted) or DELETED in self.puts.values()

    def _note_owner(self, owner: bytes, key: bytes) -> None:
        if owner == UNCOUNTED:
            self.uncounted.add(key)
            return
        self.uncounted.discard(key)
        keys = self.owned.get(owner)
        if keys is None:
            self.owned[owner] = key  # most have one, and a set takes 200 bytes
        elif isinstance(keys, set):
            keys.add(key)
        elif keys != key:
            self.owned[owner] = {keys, key}

    def owned_by(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys that were put here for *owner*; some twice, if another comes meanwhile."""
        keys = self.owned.get(owner)
        if not isinstance(keys, set):
            yield from () if keys is None else (keys,)
        elif len(keys) < _COPIED:
            yield from keys.copy()
        else:
            try:
                yield from keys
            except RuntimeError:  # one was added
                yield from keys.copy()

    def unowned(self) -> list[bytes]:
        """Return the keys that were put here, and neither deleted nor put for an owner."""
        puts = self.puts.copy()
        owned = self.uncounted.copy()
        for keys in self.owned.copy().values():
            owned.update([keys] if isinstance(keys, bytes) else keys.copy())
        return [key for key, at in puts.items() if at != DELETED and key not in owned]
