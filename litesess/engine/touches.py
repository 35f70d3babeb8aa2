"""The touches of a snapshot's entries, by position: 16 bytes each, however often touched.

A touch carries the version that it saw, and that is the number of a record.  So it is told from the
version alone whether a snapshot holds the entry, or a log.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from litesess.engine.index import SEVERAL

if TYPE_CHECKING:
    from litesess.engine.runs import Run
    from litesess.engine.snapshot import Snapshot

_SCAN_ENTRIES: Final = 4096
_NO_TOUCH: Final = bytes(8 * _SCAN_ENTRIES)


class Touches:
    """Which entries of a snapshot were touched since, and when they expire."""

    __slots__ = ("_snapshot", "columns", "sequence")

    def __init__(self, snapshot: Snapshot | None, sequence: int = 0) -> None:
        """Begin with none.

        Args:
            snapshot: that has the entries; None: touches of a snapshot's entries are dropped.
            sequence: without one, the last number that a snapshot holds.
        """
        self._snapshot = snapshot
        #: A touch of a version up to this number is one of an entry of the snapshot.
        self.sequence = sequence if snapshot is None else snapshot.sequence
        #: Of each entry the version that was touched, or 0, and when it expires; None: no touch.
        self.columns: tuple[memoryview[int], memoryview[float]] | None = None

    def take(self, key: bytes, version: int, expires_at: float) -> None:
        """Take in the touch of one entry.

        Raises:
            OSError: the snapshot could not be read.
        """
        snapshot = self._snapshot
        position = -1 if snapshot is None else snapshot.place(key)
        if position >= 0:
            self._set(position, version, expires_at)

    def take_run(self, run: Run) -> dict[bytes, tuple[int, float]]:
        """Take in a run of touches; return those of entries that no snapshot holds, by key.

        Raises:
            OSError: the snapshot could not be read.
        """
        others: dict[bytes, tuple[int, float]] = {}
        sequence, snapshot = self.sequence, self._snapshot
        if snapshot is None or not snapshot.count:
            for start, rest, version, expires_at in run.rows():
                if version > sequence:
                    others[start + rest] = version, expires_at
            return others
        versions, expiries = self._columns(snapshot)
        # As find_alone, but for two calls for each of hundreds of thousands.
        memory, base, buckets, shift = snapshot.index.inside
        find = memory.find
        for first, (start, rest, version, expires_at) in zip(run.starts(), run.rows(), strict=True):
            bucket = first >> shift
            at = find(start, base + 8 * buckets[bucket], base + 8 * buckets[bucket + 1])
            place = at - base
            if version > sequence:
                others[start + rest] = version, expires_at
            elif at < 0 or place & 7 or memory[at + 8 : at + 16] == start:
                self.take(start + rest, version, expires_at)
            else:
                position = place >> 3
                expiries[position] = expires_at  # Order: as in _set
                versions[position] = version
        return others

    def items(self, start: int, stop: int) -> Iterator[tuple[int, int, float]]:
        """Yield position, version and expiry of each that was touched from *start* up to *stop*."""
        if self.columns is None:
            return
        versions, expiries = self.columns
        for at in range(start, stop, _SCAN_ENTRIES):
            end = min(at + _SCAN_ENTRIES, stop)
            part = versions[at:end]
            if (
                part.tobytes() != _NO_TOUCH[: 8 * (end - at)]
            ):  # many times as fast as to look at each
                for position, version in enumerate(part.tolist(), at):
                    if version:
                        yield position, version, expiries[position]

    def add(self, newer: Touches) -> None:
        """Take in the touches of the same snapshot's entries that *newer* has."""
        for position, version, expires_at in newer.items(0, self._count):
            self._set(position, version, expires_at)

    def over(self, snapshot: Snapshot) -> Touches:
        """Return the touches that another snapshot's entries have, by their positions there."""
        found = Touches(snapshot)
        old = self._snapshot
        if old is None or self.columns is None:
            return found
        for position, version, expires_at in self.items(0, self._count):
            at = snapshot.index.find_alone(old.index.prefix(position))
            if at >= 0:
                found._set(at, version, expires_at)
            elif at == SEVERAL:
                found.take(old.key(position), version, expires_at)
        return found

    @property
    def _count(self) -> int:
        return 0 if self._snapshot is None else self._snapshot.count

    def _set(self, position: int, version: int, expires_at: float) -> None:
        snapshot = self._snapshot
        if snapshot is not None:
            versions, expiries = self._columns(snapshot)
            # Order: for a reader that comes meanwhile, the expiry is there before the version.
            expiries[position] = expires_at
            versions[position] = version

    def _columns(self, snapshot: Snapshot) -> tuple[memoryview[int], memoryview[float]]:
        if self.columns is None:
            size = 8 * snapshot.count
            # Zeros that take no memory before they are written to.
            memory = memoryview(
                mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            )
            self.columns = memory[:size].cast("Q"), memory[size:].cast("d")
        return self.columns
