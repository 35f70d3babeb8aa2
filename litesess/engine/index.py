"""The index of a snapshot: what stands in it for each entry, and how entries are found.

It stays on the disk.  Keys are hashes, so they spread evenly: a table of buckets leads to some
eight prefixes, which one search in mapped memory tells apart.  Owners are found in the same way,
through the positions of their entries, grouped by buckets of what stands for an owner.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from litesess.engine import format as form

if TYPE_CHECKING:
    import mmap

PREFIX_BYTES: Final = 8
#: What stands for an owner is so long; zeros: the entry is nobody's.
MARK_BYTES: Final = 8
NOBODY: Final = bytes(MARK_BYTES)

_BUCKET_LOAD: Final = 8
MAX_BITS: Final = 24
CHUNK_BYTES: Final = 1 << 20
_SCAN_ENTRIES: Final = 4096
PAUSE_ENTRIES: Final = 1024  # some 0.1 ms of work


def bucket_bits(count: int) -> int:
    """Return by how many bits so many entries are put into buckets."""
    return min(max((count // _BUCKET_LOAD).bit_length(), 1), MAX_BITS)


class Index:
    """The index of an open snapshot."""

    __slots__ = (
        "_buckets",
        "_expiries",
        "_map",
        "_mark_base",
        "_offsets",
        "_owned",
        "_owned_buckets",
        "_owned_shift",
        "_prefix_base",
        "_shift",
        "_versions",
        "count",
        "has_owners",
    )

    def adopt_index(
        self, memory: mmap.mmap | bytes, start: int, footer: form.Footer, *, is_sealed: bool
    ) -> int:
        """Take the columns out of memory, from *start* on; return where they end."""
        self._map = memory
        self.count = count = footer.entry_count
        self.has_owners = footer.owned_count > 0
        owned, owned_bits = footer.owned_count, bucket_bits(footer.owned_count)
        widths = (
            4 * ((1 << footer.bits) + 1),
            PREFIX_BYTES * count,
            8 * count,
            8 * (count + 1),
            8 * count if is_sealed else 0,
            MARK_BYTES * count if owned else 0,
            4 * ((1 << owned_bits) + 1) if owned else 0,
            4 * owned,
        )
        bounds = [*accumulate(widths, initial=start)]
        if footer.bits <= MAX_BITS and bounds[-1] <= len(memory):
            view = memoryview(memory)
            columns = [view[start:end] for start, end in pairwise(bounds)]
            self._prefix_base, self._mark_base = bounds[1], bounds[5]
            self._buckets = columns[0].cast("I")
            self._expiries = columns[2].cast("d")
            self._offsets = columns[3].cast("Q")
            self._versions = columns[4].cast("Q")
            self._owned_buckets = columns[6].cast("I")
            self._owned = columns[7].cast("I")
            self._shift, self._owned_shift = 32 - footer.bits, 32 - owned_bits
        return bounds[-1]

    def release(self) -> None:
        """Let the mapped memory go."""
        # By hand: a map that is left to the collector of garbage goes without giving up the
        # interpreter, while the kernel frees a file of any size that was unlinked before.
        for name in _COLUMNS:
            if (view := getattr(self, name, None)) is not None:
                view.release()
        memory = getattr(self, "_map", b"")
        if not isinstance(memory, bytes):
            with suppress(BufferError):  # the traceback of a refusal still shows it
                memory.close()

    def prefix(self, position: int) -> bytes:
        """Return the first bytes of the key at *position*."""
        at = self._prefix_base + PREFIX_BYTES * position
        return self._map[at : at + PREFIX_BYTES]

    def positions(self, prefix: bytes) -> range:
        """Return the positions of the entries whose keys begin with ``PREFIX_BYTES``."""
        bucket = int.from_bytes(prefix[:4], "big") >> self._shift
        low, high = self._buckets[bucket], self._buckets[bucket + 1]
        first = bisect_left(range(self.count), prefix, lo=low, hi=high, key=self.prefix)
        last = first
        while last < self.count and self.prefix(last) == prefix:
            last += 1
        return range(first, last)

    def mark(self, position: int) -> bytes:
        """Return what stands for the owner of the entry at *position*."""
        if not self.has_owners:
            return NOBODY
        at = self._mark_base + MARK_BYTES * position
        return self._map[at : at + MARK_BYTES]

    def owned_positions(self, mark: bytes) -> Iterator[int]:
        """Yield the positions of the entries whose owner *mark* stands for."""
        if not self.has_owners:
            return
        bucket = int.from_bytes(mark[:4], "big") >> self._owned_shift
        for at in range(self._owned_buckets[bucket], self._owned_buckets[bucket + 1]):
            position = self._owned[at]
            if self.mark(position) == mark:
                yield position

    def leads_to(self, position: int) -> bool:
        """Say whether :meth:`owned_positions` yields *position*, without going through them."""
        if not self.has_owners:
            return False
        bucket = int.from_bytes(self.mark(position)[:4], "big") >> self._owned_shift
        low, high = self._owned_buckets[bucket], self._owned_buckets[bucket + 1]
        at = bisect_left(self._owned, position, lo=low, hi=high)  # they ascend in each bucket
        return at < high and self._owned[at] == position

    def expired_positions(self, now: float, pause: Callable[[], None]) -> Iterator[int]:
        """Yield the positions of the entries that expire at *now* or before.

        *pause* is called often, to let other threads run.
        """
        for start in range(0, self.count, _SCAN_ENTRIES):
            pause()
            chunk = self._expiries[start : start + _SCAN_ENTRIES].tolist()
            if min(chunk) <= now:
                for position, expires_at in enumerate(chunk, start):
                    if expires_at <= now:
                        yield position

    def copy_index(self, start: int, stop: int, shift: int, builder: IndexBuilder) -> None:
        """Add what stands for some entries, whose bytes have moved by *shift*, to another index."""
        for at in range(start, stop, PAUSE_ENTRIES):
            end = min(at + PAUSE_ENTRIES, stop)
            prefixes, marks = self._prefix_base, self._mark_base
            builder.prefixes += self._map[
                prefixes + PREFIX_BYTES * at : prefixes + PREFIX_BYTES * end
            ]
            builder.expiries.extend(self._expiries[at:end])
            builder.offsets.extend([offset + shift for offset in self._offsets[at:end]])
            if len(self._versions):
                builder.versions.extend(self._versions[at:end])
            builder.marks += (
                self._map[marks + MARK_BYTES * at : marks + MARK_BYTES * end]
                if self.has_owners
                else bytes(MARK_BYTES * (end - at))
            )
            builder.pause_if_due()


_COLUMNS: Final = (
    "_buckets", "_expiries", "_offsets", "_versions", "_owned_buckets", "_owned",
)  # fmt: skip


class IndexBuilder:
    """What an index is made of, in the order of keys."""

    def __init__(self, pause: Callable[[], None]) -> None:
        """Begin with no entry; *pause* is called often, to let other threads run."""
        self.pause = pause
        self.prefixes = bytearray()
        self.expiries = array("d")
        self.offsets = array("Q")
        self.versions = array("Q")  # in an encrypted snapshot
        self.marks = bytearray()
        self._paused_at = 0

    def pause_if_due(self) -> None:
        """Let other threads run, unless little was added since: that takes longer than to add."""
        if self.count - self._paused_at >= PAUSE_ENTRIES:
            self._paused_at = self.count
            self.pause()

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self.expiries)

    @property
    def bits(self) -> int:
        """By how many bits the keys are put into buckets."""
        return bucket_bits(self.count)

    def columns(self) -> tuple[list[array[Any] | bytearray], int]:
        """Return the columns, and how many entries have an owner; ``offsets`` has its last one."""
        found: list[array[Any] | bytearray] = [
            _buckets(self.bits, self._chunks(self.prefixes), self.pause),
            self.prefixes,
            self.expiries,
            self.offsets,
            self.versions,
        ]
        owned_count = sum(len(positions) for positions, _ in self._owned())
        if owned_count:
            bits = bucket_bits(owned_count)
            buckets = _buckets(bits, (marks for _, marks in self._owned()), self.pause)
            found += [self.marks, buckets, self._grouped(owned_count, bits, buckets)]
        return found, owned_count

    def _chunks(self, column: bytearray) -> Iterator[list[bytes]]:
        """Yield the hashes in a column, a piece at a time."""
        width = PREFIX_BYTES
        for start in range(0, len(column), width * PAUSE_ENTRIES):
            part = bytes(column[start : start + width * PAUSE_ENTRIES])
            yield [part[at : at + width] for at in range(0, len(part), width)]

    def _owned(self) -> Iterator[tuple[list[int], list[bytes]]]:
        """Yield the positions of entries that have an owner, and the marks, a piece at a time."""
        start = 0
        for marks in self._chunks(self.marks):
            self.pause()
            if marks.count(NOBODY) == len(marks):
                yield [], []
            else:
                positions = [at for at, mark in enumerate(marks, start) if mark != NOBODY]
                yield positions, [marks[at - start] for at in positions]
            start += len(marks)

    def _grouped(self, count: int, bits: int, buckets: array[int]) -> array[int]:
        """Return the positions of entries that have an owner, by buckets of their marks."""
        grouped = array("I", bytes(4 * count))
        free = array("I", buckets)
        shift = 32 - bits
        for positions, marks in self._owned():
            for position, mark in zip(positions, marks, strict=True):
                bucket = int.from_bytes(mark[:4], "big") >> shift
                grouped[free[bucket]] = position
                free[bucket] += 1
        return grouped


def _buckets(bits: int, chunks: Iterable[list[bytes]], pause: Callable[[], None]) -> array[int]:
    """Return, for each bucket and at last for all, how many hashes stand before it."""
    counts = array("I", bytes(4 * ((1 << bits) + 1)))
    shift = 32 - bits
    for chunk in chunks:
        pause()
        for digest in chunk:
            counts[(int.from_bytes(digest[:4], "big") >> shift) + 1] += 1
    # In pieces: one call over all of them would keep every other thread waiting.
    total = 0
    for at in range(0, len(counts), PAUSE_ENTRIES):
        pause()
        sums = array("I", accumulate(counts[at : at + PAUSE_ENTRIES], initial=total))
        total = sums[-1]
        counts[at : at + PAUSE_ENTRIES] = sums[1:]
    return counts


def parts(columns: Iterable[array[Any] | bytearray]) -> Iterator[bytes]:
    """Yield the bytes of an index, a piece at a time."""
    for column in columns:
        view = memoryview(column).cast("B")
        for at in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[at : at + CHUNK_BYTES])
