"""The index of a snapshot, and how entries are found in it.

It stays on the disk.  Keys are hashes, so they spread evenly: a table of buckets leads to some
eight prefixes, which one search in mapped memory tells apart.  Owners are found in the same way,
through the positions of their entries, grouped by buckets of their owner tags.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from litesess.engine.snapshot_format import NO_OWNER, OWNER_TAG_BYTES, Footer

if TYPE_CHECKING:
    import mmap

PREFIX_BYTES: Final = 8
#: The positions of one owner's entries are looked at in such groups; few owners have so many.
OWNED_GROUP: Final = 256

_BUCKET_LOAD: Final = 8
MAX_BITS: Final = 24
SEVERAL: Final = -2  # in place of a position
CHUNK_BYTES: Final = 1 << 20
PAUSE_ENTRIES: Final = 1024  # some 0.1 ms of work


def bucket_bits(count: int) -> int:
    """Return by how many bits so many entries are put into buckets."""
    return min(max((count // _BUCKET_LOAD).bit_length(), 1), MAX_BITS)


def _widths(footer: Footer, *, is_encrypted: bool) -> tuple[int, ...]:
    """Return how many bytes each column takes."""
    count, owned = footer.entry_count, footer.owned_count
    return (
        4 * ((1 << footer.bits) + 1),
        PREFIX_BYTES * count,
        8 * count,
        8 * (count + 1),
        8 * count if is_encrypted else 0,
        OWNER_TAG_BYTES * count if owned else 0,
        4 * ((1 << bucket_bits(owned)) + 1) if owned else 0,
        4 * owned,
    )


def index_bytes(footer: Footer, *, is_encrypted: bool) -> int:
    """Return the length of an index; -1 if there can be none like that."""
    return sum(_widths(footer, is_encrypted=is_encrypted)) if footer.bits <= MAX_BITS else -1


class Index:
    """The index of an open snapshot: columns in memory, in the order of keys."""

    __slots__ = (
        "__weakref__",
        "_buckets",
        "_map",
        "_owned",
        "_owned_buckets",
        "_owned_shift",
        "_owner_tag_base",
        "_prefix_base",
        "_shift",
        "count",
        "expiries",
        "has_owners",
        "offsets",
        "versions",
    )

    def __init__(
        self, memory: mmap.mmap | bytes, start: int, footer: Footer, *, is_encrypted: bool
    ) -> None:
        """Take the columns out of memory.

        They are not looked at.

        Args:
            memory: of which ``index_bytes`` are the index.
            start: where the index begins in it.
            footer: of the snapshot.
            is_encrypted: the index has the versions of the entries, too.
        """
        self._map = memory
        #: How many entries there are.
        self.count = footer.entry_count
        self.has_owners = footer.owned_count > 0
        bounds = [*accumulate(_widths(footer, is_encrypted=is_encrypted), initial=start)]
        view = memoryview(memory)
        columns = [view[start:end] for start, end in pairwise(bounds)]
        self._prefix_base, self._owner_tag_base = bounds[1], bounds[5]
        self._buckets = columns[0].cast("I")
        #: When each entry expires, in Unix seconds.
        self.expiries = columns[2].cast("d")
        #: Where each entry stands in the file, and at last where they end.
        self.offsets = columns[3].cast("Q")
        #: The version of each entry; empty in a snapshot that is not encrypted.
        self.versions = columns[4].cast("Q")
        self._owned_buckets = columns[6].cast("I")
        self._owned = columns[7].cast("I")
        self._shift, self._owned_shift = 32 - footer.bits, 32 - bucket_bits(footer.owned_count)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Release the mapped memory; reading is an error from then on.  Again is harmless."""
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

    def prefixes(self, start: int, stop: int) -> bytes:
        """Return the first bytes of some keys, one after the other."""
        base = self._prefix_base
        return self._map[base + PREFIX_BYTES * start : base + PREFIX_BYTES * stop]

    def find(self, prefix: bytes) -> int:
        """Return the position of an entry with a key that begins so, or -1."""
        bucket = int.from_bytes(prefix[:4], "big") >> self._shift
        base = self._prefix_base
        at = base + PREFIX_BYTES * self._buckets[bucket]
        end = base + PREFIX_BYTES * self._buckets[bucket + 1]
        while (at := self._map.find(prefix, at, end)) >= 0:
            position, astray = divmod(at - base, PREFIX_BYTES)
            if not astray:
                return position
            at += 1
        return -1

    @property
    def inside(self) -> tuple[mmap.mmap | bytes, int, memoryview[int], int]:
        """The memory, where prefixes begin in it, the buckets, and the bits of 32 that are left."""
        return self._map, self._prefix_base, self._buckets, self._shift

    def find_alone(self, prefix: bytes) -> int:
        """Return the position of the one entry with a key that begins so.

        -1 if there is none, ``SEVERAL`` if more than one, or if that takes a closer look.
        """
        memory, base, buckets, shift = self.inside
        bucket = int.from_bytes(prefix[:4], "big") >> shift
        at = memory.find(
            prefix,
            base + PREFIX_BYTES * buckets[bucket],
            base + PREFIX_BYTES * buckets[bucket + 1],
        )
        if at < 0:
            return -1
        position, astray = divmod(at - base, PREFIX_BYTES)
        following = memory[at + PREFIX_BYTES : at + 2 * PREFIX_BYTES]
        return SEVERAL if astray or following == prefix else position

    def positions(self, prefix: bytes) -> range:
        """Return the positions of the entries with keys that begin with *prefix*."""
        bucket = int.from_bytes(prefix[:4], "big") >> self._shift
        low, high = self._buckets[bucket], self._buckets[bucket + 1]
        first = bisect_left(range(self.count), prefix, lo=low, hi=high, key=self.prefix)
        last = first
        while last < self.count and self.prefix(last) == prefix:
            last += 1
        return range(first, last)

    def owner_tag(self, position: int) -> bytes:
        """Return the owner tag of the entry at *position*; ``NO_OWNER`` if it has no owner."""
        if not self.has_owners:
            return NO_OWNER
        at = self._owner_tag_base + OWNER_TAG_BYTES * position
        return self._map[at : at + OWNER_TAG_BYTES]

    def owner_tags(self, start: int, stop: int) -> bytes:
        """Return the owner tags of some entries, one after the other."""
        if not self.has_owners:
            return bytes(OWNER_TAG_BYTES * (stop - start))
        base = self._owner_tag_base
        return self._map[base + OWNER_TAG_BYTES * start : base + OWNER_TAG_BYTES * stop]

    def owned_positions(self, owner_tag: bytes) -> Iterator[int]:
        """Yield the positions of the entries with that owner tag."""
        for group in self.owned_groups(owner_tag):
            yield from self.owned_in(group, owner_tag)

    def owned_groups(self, owner_tag: bytes) -> Iterator[range]:
        """Yield where positions of entries with that owner tag stand, ``OWNED_GROUP`` at a time."""
        if not self.has_owners:
            return
        bucket = int.from_bytes(owner_tag[:4], "big") >> self._owned_shift
        end = self._owned_buckets[bucket + 1]
        for start in range(self._owned_buckets[bucket], end, OWNED_GROUP):
            yield range(start, min(start + OWNED_GROUP, end))

    def owned_in(self, group: range, owner_tag: bytes) -> Iterator[int]:
        """Yield the positions with that owner tag in one of :meth:`owned_groups`."""
        for position in self._owned[group.start : group.stop].tolist():
            if self.owner_tag(position) == owner_tag:
                yield position

    def leads_to(self, position: int) -> bool:
        """Return whether :meth:`owned_positions` yields *position*, without going through them."""
        if not self.has_owners:
            return False
        bucket = int.from_bytes(self.owner_tag(position)[:4], "big") >> self._owned_shift
        low, high = self._owned_buckets[bucket], self._owned_buckets[bucket + 1]
        at = bisect_left(self._owned, position, lo=low, hi=high)  # they ascend in each bucket
        return at < high and self._owned[at] == position


_COLUMNS: Final = (
    "_buckets", "expiries", "offsets", "versions", "_owned_buckets", "_owned",
)  # fmt: skip
