"""The view of readers: a snapshot and, newer, a table for each log after it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from litesess.engine.changes import Entry
from litesess.engine.index import PREFIX_BYTES
from litesess.engine.snapshot import Snapshot
from litesess.engine.snapshot_walk import expired_positions
from litesess.engine.table import DELETED, Table
from litesess.errors import Corruption, DecryptError

logger = logging.getLogger("litesess.engine")

ItemT = TypeVar("ItemT")

_PAUSE_EVERY: Final = 64  # entries that are read, some 0.3 ms of work


class View:
    """An immutable set of tables over a snapshot; swapped whole when a generation ends."""

    __slots__ = ("snapshot", "tables", "touched")

    def __init__(self, snapshot: Snapshot | None, tables: tuple[Table, ...]) -> None:
        self.snapshot = snapshot
        #: Newest first.
        self.tables = tables
        #: The touches of the snapshot's entries, newest first.
        self.touched = tuple([table.touched for table in tables])

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*, or None.

        Raises:
            Corruption: the record or entry was damaged.
        """
        touch = None
        entry: Entry | None
        for table in self.tables:
            if touch is None:
                touch = table.touches.get(key)
            location = table.puts.get(key)
            if location is not None:
                if location == DELETED:
                    return None
                entry = table.log.entry(location, key)
                break
            if table.cleared:
                return None
        else:
            try:
                return None if self.snapshot is None else self.snapshot.get(key, self.touched)
            except (Corruption, DecryptError):
                if not self._replaces(key[:PREFIX_BYTES]):  # it may be the key that rotted
                    raise
                return None
        # A touch counts for the version that it saw; a put has its own expiry.
        if touch is not None and touch[0] == entry.version:
            return entry._replace(expires_at=touch[1])
        return entry

    def _replaces(self, prefix: bytes) -> bool:
        """Return whether a log has put or deleted a key that begins so; it goes through all.

        An entry of the snapshot that can't be read does not count then: of two keys, none begin
        alike by chance.
        """
        return any(
            key[:PREFIX_BYTES] == prefix for table in self.tables for key in table.puts.copy()
        )

    def has(self, key: bytes) -> bool:
        """Return whether anything is stored under *key*, without reading it."""
        in_logs = self._in_logs(key)
        if in_logs is None:
            return self.snapshot is not None and self.snapshot.has(key)
        return in_logs

    def _in_logs(self, key: bytes) -> bool | None:
        """Return whether *key* is stored, as far as the logs know; None: they do not."""
        for table in self.tables:
            location = table.puts.get(key)
            if location is not None:
                return location != DELETED
            if table.cleared:
                return False
        return None

    def counts(self, key: bytes) -> bool:
        """Return whether an entry is stored under *key* that is counted, without reading it."""
        for table in self.tables:
            location = table.puts.get(key)
            if location is not None:
                return location != DELETED and key not in table.uncounted
            if table.cleared:
                return False
        return self.snapshot is not None and self.snapshot.counts(key)

    def find(self, owner: bytes) -> Iterator[tuple[bytes, Entry]]:
        """Yield each key of *owner*, with its entry.

        Raises:
            Corruption: the record or entry was damaged.
        """
        for key in self.candidates(owner):
            entry = self.get(key)
            if entry is not None and entry.owner == owner:
                yield key, entry

    def candidates(self, owner: bytes) -> Iterator[bytes]:
        """Yield each key once that is stored for *owner*, and some that are another's by now.

        No entry is read, but for its key.
        """
        seen: set[bytes] = set()
        for table in self.tables:
            for key in table.owned_by(owner):
                if key not in seen and self._in_logs(key):
                    seen.add(key)
                    yield key
            if table.cleared:
                return
        if self.snapshot is not None:
            owned = self.snapshot.owned(owner, lambda key: self._in_logs(key) is False)
            yield from (key for key in owned if key not in seen)

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with eight given bytes; those that a log put are gone through.

        Raises:
            OSError: the snapshot could not be read.
        """
        found = {key for table in self.tables for key in table.puts.copy() if key[:8] == prefix}
        if self.snapshot is not None:
            found.update(self.snapshot.keys_like(prefix))
        return [key for key in found if self.has(key)]

    def count(self) -> int:
        """Return how many entries are counted; it looks at each key that a log has changed."""
        snapshot = self._snapshot_below()
        total = 0 if snapshot is None else snapshot.counted
        seen: set[bytes] = set()
        for table in self.tables:
            puts = table.puts.copy()
            for key, location in puts.items():
                if key not in seen:
                    was_counted = snapshot is not None and snapshot.counts(key)
                    is_counted = location != DELETED and key not in table.uncounted
                    total += is_counted - was_counted
            seen.update(puts)
            if table.cleared:
                break
        return total

    def is_empty(self) -> bool:
        """Return whether nothing is stored; it looks at each key that a log has changed.

        Raises:
            OSError: the snapshot could not be read.
        """
        gone: set[bytes] = set()
        for table in self.tables:
            puts = table.puts.copy()
            if any(at != DELETED and key not in gone for key, at in puts.items()):
                return False
            gone.update(puts)
            if table.cleared:
                return True
        snapshot = self.snapshot
        return snapshot is None or (
            snapshot.count <= len(gone) and snapshot.count == sum(map(snapshot.has, gone))
        )

    def sample(self, count: int) -> list[bytes]:
        """Return keys without an owner, picked at random, *count* of each table and the snapshot.

        A key that is gone, or has an owner, is seldom among them.
        """
        found: set[bytes] = set()
        for table in self.tables:
            keys = table.unowned()
            found.update(random.sample(keys, min(count, len(keys))))
        snapshot = self._snapshot_below()
        if snapshot is not None:
            found.update(snapshot.sample(count))
        return [key for key in found if self.has(key)]

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with its entry.

        Raises:
            Corruption: the record or entry was damaged.
            DecryptError: it was put there without the key.
        """
        newer: list[dict[bytes, Any]] = []
        for key in self._newer_keys(newer):
            entry = self.get(key)
            if entry is not None:
                yield key, entry
        snapshot = self._snapshot_below()
        if snapshot is not None:
            for position in range(snapshot.count):
                try:
                    key, entry = snapshot.entry(position, self.touched)
                except (Corruption, DecryptError):
                    if self._replaces(snapshot.index.prefix(position)):
                        continue
                    raise
                if not any(key in seen for seen in newer):
                    yield key, entry

    def expired(self, now: float, pause: Callable[[], None]) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before; a damaged entry is logged and left.

        *pause* is called often, to let other threads run.
        """
        newer: list[dict[bytes, Any]] = []
        for key in paused(self._newer_keys(newer), pause):
            if self._is_expired(key, now):
                yield key
        snapshot = self._snapshot_below()
        if snapshot is None:
            return
        for position in paused(expired_positions(snapshot, now, self.touched, pause), pause):
            try:
                key, _ = snapshot.entry(position)
            except (Corruption, DecryptError):
                if not self._replaces(snapshot.index.prefix(position)):
                    # A request that reads it is told; all others must still come to their end.
                    logger.exception("a damaged entry can't be collected")
                continue
            # A touch may have moved its end.
            if not any(key in seen for seen in newer) and self._is_expired(key, now):
                yield key

    def _is_expired(self, key: bytes, now: float) -> bool:
        try:
            entry = self.get(key)
        except (Corruption, DecryptError):
            logger.exception("a damaged entry can't be collected")
            return False
        return entry is not None and entry.expires_at <= now

    def _snapshot_below(self) -> Snapshot | None:
        """Return the snapshot, if anything in it counts still."""
        return None if any(table.cleared for table in self.tables) else self.snapshot

    def _newer_keys(self, newer: list[dict[bytes, Any]]) -> Iterator[bytes]:
        """Yield each key once that a log has put; *newer* tells afterwards which."""
        for table in self.tables:
            # Copies: a key that is put while this runs must not vanish from both sides.
            puts, touches = table.puts.copy(), table.touches.copy()
            for key, location in puts.items():
                if location != DELETED and not any(key in seen for seen in newer):
                    yield key
            newer.append(puts)
            # A touch may have brought the end nearer than the index of the snapshot says.
            for key in touches:
                if not any(key in seen for seen in newer):
                    yield key
            newer.append(touches)
            if table.cleared:
                return


def paused(
    items: Iterable[ItemT], pause: Callable[[], None], every: int = _PAUSE_EVERY
) -> Iterator[ItemT]:
    """Yield the items; call *pause* before the first, and again after so many."""
    for count, item in enumerate(items):
        if count % every == 0:
            pause()
        yield item
