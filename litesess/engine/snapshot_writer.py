"""Writing a snapshot: its entries, in ascending order of their keys, its index and its footer."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import accumulate, chain
from typing import Any
from zlib import crc32

from litesess.crypto import Cipher
from litesess.engine import format as form
from litesess.engine.changes import Entry
from litesess.engine.fs import FileSystem, read, write_all
from litesess.engine.index import (
    CHUNK_BYTES,
    PAUSE_ENTRIES,
    PREFIX_BYTES,
    Index,
    bucket_bits,
)
from litesess.engine.snapshot_format import (
    FOOTER_BYTES,
    NO_OWNER,
    Footer,
    decode_footer,
    encode_entry,
    owner_tag,
    values_of,
)
from litesess.errors import Corruption


class SnapshotWriter:
    """Writes a snapshot; entries come in ascending order of their keys."""

    def __init__(self, fs: FileSystem, fd: int, head: form.Head, pause: Callable[[], None]) -> None:
        """Begin the file.

        Args:
            fs: the door to the disk.
            fd: an empty file; the caller closes it.
            head: of the snapshot; its header's ``link`` is the last sequence number in it.
            pause: called often, to let other threads run.
        """
        self.offset = 0
        self.index = IndexBuilder(pause)
        self._fs = fs
        self._fd = fd
        self._cipher = head.cipher
        self._values = values_of(head)
        self._store_crc = crc32(head.header.store)
        self._digest = sha256()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushed = 0
        self.add_bytes(head.data)

    def takes_from(self, cipher: Cipher | None) -> bool:
        """Return whether entries of a file with that *cipher* can be taken as they are."""
        ours = self._cipher
        if ours is None or cipher is None:
            return ours is cipher
        return ours.data_key.number == cipher.data_key.number

    def add(self, key: bytes, entry: Entry) -> None:
        """Write one entry."""
        index = self.index
        index.prefixes += key[:PREFIX_BYTES]
        index.expiries.append(entry.expires_at)
        index.offsets.append(self.offset)
        if self._cipher is not None:
            index.versions.append(entry.version)
        index.owner_tags += owner_tag(entry.owner, self._values) if entry.owner else NO_OWNER
        self.add_bytes(encode_entry(self._store_crc, key, entry, self._values))

    def add_bytes(self, data: bytes) -> None:
        """Write entries, or parts of them, that are encoded already."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.offset += len(data)
        if self._pending_bytes >= CHUNK_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write index and footer.

        Raises:
            OSError: the file is worth nothing.
        """
        index = self.index
        index.offsets.append(self.offset)
        self.add_bytes(bytes(-self.offset % 8))
        index_offset = self.offset
        columns, owned_count = index.columns()
        index_crc = 0
        for part in parts(columns):
            index_crc = crc32(part, index_crc)
            self.add_bytes(part)
        self._flush()
        footer = Footer(
            index_offset,
            index.count,
            owned_count,
            index.bits,
            index_crc,
            self._digest.digest(),
        )
        if self._cipher is not None:
            proof = self._cipher.vouch(chain(parts(columns), [footer.vouched]))
            footer = footer._replace(proof=proof)
        write_all(self._fs, self._fd, footer.encode(), self._flushed)

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._digest.update(data)
        write_all(self._fs, self._fd, data, self._flushed)
        self._flushed += len(data)
        # Sync each part: a sync of the whole file at its end would delay every later log sync.
        self._fs.sync(self._fd)
        self.index.pause()


class IndexBuilder:
    """The rows of a new index, in the order of keys."""

    def __init__(self, pause: Callable[[], None]) -> None:
        """Begin with no entry; *pause* is called often, to let other threads run."""
        self.pause = pause
        self.prefixes = bytearray()
        self.expiries = array("d")
        self.offsets = array("Q")
        self.versions = array("Q")  # in an encrypted snapshot
        self.owner_tags = bytearray()
        self._paused_at = 0

    def copy(
        self, index: Index, start: int, stop: int, shift: int, expiries: Iterable[float]
    ) -> None:
        """Add rows of another index, at most ``PAUSE_ENTRIES``.

        Args:
            index: the other one.
            start: the position of the first.
            stop: where they end.
            shift: by how many bytes their entries have moved in the file.
            expiries: when they expire.
        """
        self.prefixes += index.prefixes(start, stop)
        self.expiries.extend(expiries)
        offsets = index.offsets[start:stop]
        self.offsets.extend([offset + shift for offset in offsets] if shift else offsets)
        if len(index.versions):
            self.versions.extend(index.versions[start:stop])
        self.owner_tags += index.owner_tags(start, stop)
        self.pause_if_due()

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
            buckets = _buckets(bits, (owner_tags for _, owner_tags in self._owned()), self.pause)
            found += [self.owner_tags, buckets, self._grouped(owned_count, bits, buckets)]
        return found, owned_count

    def _chunks(self, column: bytearray) -> Iterator[list[bytes]]:
        """Yield the hashes in a column, a piece at a time."""
        width = PREFIX_BYTES
        for start in range(0, len(column), width * PAUSE_ENTRIES):
            part = bytes(column[start : start + width * PAUSE_ENTRIES])
            yield [part[at : at + width] for at in range(0, len(part), width)]

    def _owned(self) -> Iterator[tuple[list[int], list[bytes]]]:
        """Yield the positions of entries that have an owner, and their tags, a piece at a time."""
        start = 0
        for owner_tags in self._chunks(self.owner_tags):
            self.pause()
            if owner_tags.count(NO_OWNER) == len(owner_tags):
                yield [], []
            else:
                positions = [at for at, tag in enumerate(owner_tags, start) if tag != NO_OWNER]
                yield positions, [owner_tags[at - start] for at in positions]
            start += len(owner_tags)

    def _grouped(self, count: int, bits: int, buckets: array[int]) -> array[int]:
        """Return the positions of entries that have an owner, by buckets of their owner tags."""
        grouped = array("I", bytes(4 * count))
        free = array("I", buckets)
        shift = 32 - bits
        for positions, owner_tags in self._owned():
            for position, tag in zip(positions, owner_tags, strict=True):
                bucket = int.from_bytes(tag[:4], "big") >> shift
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


def check(fs: FileSystem, fd: int, path: str) -> None:
    """Read the whole snapshot back and compare it with the digest in its footer.

    Raises:
        Corruption: it was damaged.
    """
    end = fs.size(fd) - FOOTER_BYTES
    footer = decode_footer(read(fs, fd, FOOTER_BYTES, end, path), path, end)
    digest = sha256()
    for at in range(0, end, CHUNK_BYTES):
        digest.update(read(fs, fd, min(CHUNK_BYTES, end - at), at, path))
    if digest.digest() != footer.sha256:
        raise Corruption(path, 0, "SHA-256 differs from the footer's")
