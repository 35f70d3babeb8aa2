"""Snapshots: all entries at one moment, sorted by key, with an index that stays on disk.

A small snapshot is mapped whole, and had from the disk at once: to read it calls nothing of the
system.  The entries of a large one are read with ``pread``: mapped, each could be a page that is
not in memory, and threads would stand still until it is, or the process be killed if it is bad.
"""

from __future__ import annotations

import logging
import mmap
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Final
from zlib import crc32

from litesess.crypto import Cipher
from litesess.engine import format as form
from litesess.engine.changes import UNCOUNTED, Entry
from litesess.engine.descriptors import OpenFile
from litesess.engine.fs import FileSystem, read, unreadable
from litesess.engine.held import Held
from litesess.engine.index import (
    CHUNK_BYTES,
    OWNED_GROUP,
    PAUSE_ENTRIES,
    PREFIX_BYTES,
    SEVERAL,
    Index,
    index_bytes,
)  # fmt: skip
from litesess.engine.snapshot_format import (
    FOOTER_BYTES,
    NO_OWNER,
    Footer,
    decode_entry,
    decode_footer,
    owner_tag,
    values_of,
)
from litesess.engine.snapshot_writer import check
from litesess.engine.touches import Touches
from litesess.errors import Corruption, DecryptError

logger = logging.getLogger("litesess.engine")

_FEW_LEFT: Final = 32  # of a group
#: Entries of so many bytes in all are mapped, and had from the disk at once, as the index is; this
#: takes some 2.6 ms if they are in the page cache.
MAPPED_BYTES: Final = 1 << 27


class Snapshot:
    """An open snapshot; every method may be called by any thread."""

    __slots__ = (
        "_file", "_footer", "_fs", "_head", "_left", "_store_crc", "_uncounted", "_values",
        "_window", "cipher", "generation", "index", "path", "sequence", "size", "store",
    )  # fmt: skip

    def __init__(
        self,
        fs: FileSystem,
        file: OpenFile,
        path: str,
        head: form.Head,
        footer: Footer,
        index: Index,
        window: mmap.mmap | bytes | None = None,
    ) -> None:
        """Take over an open snapshot; see :meth:`open`.

        Args:
            fs: the door to the disk.
            file: the open file.
            path: its whole path.
            head: its first bytes.
            footer: its last bytes.
            index: the index before them.
            window: the file's bytes as memory, which the index closes; None: they are not mapped.
        """
        header = head.header
        self.index = index
        self.path = path
        self.cipher = head.cipher
        self.generation, self.store, self.sequence = header.generation, header.store, header.link
        self.size = fs.size(file.fd)
        self._fs = fs
        self._file = file
        self._window = window
        self._head = head
        self._footer = footer
        #: The positions of a group that is almost gone, by owner tag and where it begins: to go
        #: through all again for each login of an owner would cost what is long deleted.
        self._left: dict[tuple[bytes, int], list[int]] = {}
        self._store_crc = crc32(header.store)
        self._values = values_of(head)
        self._uncounted = owner_tag(UNCOUNTED, self._values)

    @classmethod
    def open(
        cls, fs: FileSystem, held: Held, file: OpenFile, path: str, head: form.Head
    ) -> Snapshot:
        """Adopt an open file.

        Args:
            fs: the door to the disk.
            held: the open files of its directory.
            file: the file.
            path: its whole path.
            head: its first bytes.

        Raises:
            Corruption: index or footer is damaged.
            DecryptError: they were not made under the key of the head.
        """
        at = max(fs.size(file.fd) - FOOTER_BYTES, form.HEADER_BYTES)
        footer = decode_footer(read(fs, file.fd, FOOTER_BYTES, at, path), path, at)
        start = footer.index_offset
        size = index_bytes(footer, is_encrypted=head.cipher is not None)
        if start + size != at:
            raise Corruption(
                path, start, f"index of {at - start} bytes for {footer.entry_count} entries"
            )
        read_index = partial(_read_index, fs, file.fd, footer, size, path)
        # Check it before it is mapped, because a failed read is an error.
        _check_index(path, footer, head.cipher, read_index)
        is_whole = start <= MAPPED_BYTES
        before = start if is_whole else start % mmap.ALLOCATIONGRANULARITY

        def map_index() -> Index:
            memory = fs.map_private(file.fd, before + size, start - before)
            return Index(memory, before, footer, is_encrypted=head.cipher is not None)

        try:
            index = held.hold(map_index)
        except OSError:  # the file system has none
            memory = b"".join(read_index())
            index = Index(memory, 0, footer, is_encrypted=head.cipher is not None)
            is_whole = False
        window = index.inside[0] if is_whole else None
        return cls(fs, file, path, head, footer, index, window)

    @property
    def made_at(self) -> float:
        """When it was written, in Unix seconds."""
        return self._fs.modified_at(self._file.fd)

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self.index.count

    @property
    def counted(self) -> int:
        """The number of counted entries; this goes through the uncounted ones."""
        return self.count - sum(1 for _ in self.index.owned_positions(self._uncounted))

    def private(self) -> Snapshot:
        """Return this snapshot with a private copy of its index, proven anew.

        A forged row of an index that was proven long ago must not be signed into the next one.
        Only in encrypted stores; it takes as much memory as the index.

        Raises:
            Corruption: the index has been damaged since it was opened.
            DecryptError: an attacker has changed it.
        """
        if self.cipher is None:
            return self
        footer, size = self._footer, index_bytes(self._footer, is_encrypted=True)
        memory = b"".join(_read_index(self._fs, self._file.fd, footer, size, self.path))
        _check_index(self.path, footer, self.cipher, lambda: iter([memory]))
        index = Index(memory, 0, footer, is_encrypted=True)
        return Snapshot(self._fs, self._file, self.path, self._head, self._footer, index)

    def close(self) -> None:
        """Close the file and release the mapped memory; reading is an error from then on."""
        self._file.close()
        self.index.close()

    def has(self, key: bytes) -> bool:
        """Return whether *key* is there, without reading its entry's value."""
        return key in self.keys_like(key[:PREFIX_BYTES])

    def counts(self, key: bytes) -> bool:
        """Return whether an entry under *key* is there that is counted, without its value."""
        return any(
            self.key(position) == key and self.index.owner_tag(position) != self._uncounted
            for position in self.index.positions(key[:PREFIX_BYTES])
        )

    def get(self, key: bytes, touched: tuple[Touches, ...] = ()) -> Entry | None:
        """Return the entry under *key*, or None; *touched* since, newest first.

        Raises:
            Corruption: it was damaged.
        """
        position = self.index.find(key[:PREFIX_BYTES])
        if position < 0:
            return None
        found, entry = self._entry(position, touched)
        if found == key:
            return entry
        # Several keys may begin alike; chance makes that rare.
        for position in self.index.positions(key[:PREFIX_BYTES]):
            found, entry = self._entry(position, touched)
            if found == key:
                return entry
        return None

    def place(self, key: bytes) -> int:
        """Return the position of the entry of *key*; -1 if it has no entry.

        That of another one, whose key begins alike, if it alone does: to be told by the version.
        """
        position = self.index.find_alone(key[:PREFIX_BYTES])
        if position == SEVERAL:
            for position in self.index.positions(key[:PREFIX_BYTES]):
                if self.key(position) == key:
                    return position
            return -1
        return position

    def entry(self, position: int, touched: tuple[Touches, ...] = ()) -> tuple[bytes, Entry]:
        """Return the key and content of the entry at *position* in the order of keys.

        *touched* since, newest first.

        Raises:
            Corruption: the entry was damaged.
            DecryptError: the entry is whole, but does not belong there.
        """
        key, entry = self._entry(position, touched)
        self._check_key(key, position)
        return key, entry

    def _check_key(self, key: bytes, position: int) -> None:
        """Raise :class:`Corruption` if the index has another key at *position*.

        Guards: a key that was changed is never found, so that its deletion would go by, too.
        """
        if key[:PREFIX_BYTES] != self.index.prefix(position):
            raise Corruption(self.path, self.index.offsets[position], "the entry has another key")

    def _entry(self, position: int, touched: tuple[Touches, ...] = ()) -> tuple[bytes, Entry]:
        index, offset = self.index, self.index.offsets[position]
        end = index.offsets[position + 1]
        if self._window is not None:
            data = self._window[offset:end]
        else:
            try:
                data = self._fs.pread(self._file.fd, end - offset, offset)
            except OSError as error:
                raise unreadable(error, self.path, offset) from error
        key, version, value = decode_entry(data, self._store_crc, self.path, offset, self._values)
        if self.cipher is not None and version != index.versions[position]:
            # An older one, from an older snapshot, is as well encrypted.
            raise self.cipher.tampered()
        expires_at = index.expiries[position]
        for touches in touched:
            found = touches.columns  # a touch counts for the version that it saw
            if found is not None and found[0][position] == version:
                expires_at = found[1][position]
                break
        if not index.has_owners or index.owner_tag(position) == NO_OWNER:
            return key, Entry(value, expires_at, version)
        owner, value = value[: form.OWNER_BYTES], value[form.OWNER_BYTES :]
        return key, Entry(value, expires_at, version, owner)

    def key(self, position: int) -> bytes:
        """Return the key of the entry at *position*; the rest of that is not looked at.

        It begins as the index says, which was checked; the rest of a rotten key leads nowhere.
        """
        offset = self.index.offsets[position]
        key = read(self._fs, self._file.fd, form.KEY_BYTES, offset, self.path)
        return self.index.prefix(position) + key[PREFIX_BYTES:]

    def range_of(self, key: bytes) -> range:
        """Return the position of the entry of *key*, or where it would stand, as an empty range.

        The entry of *key* is to be replaced.  So an unreadable entry there is taken for it: the
        index, which was checked, alone says that *key* leads there.
        """
        candidates = self.index.positions(key[:PREFIX_BYTES])
        place = range(candidates.stop, candidates.stop)
        for position in reversed(candidates):
            try:
                # Check all of it, not the key alone: an attacker could change the key, and so
                # bring a deleted entry back.
                found, _ = self.entry(position)
            except (Corruption, DecryptError) as error:
                logger.warning("an entry that was replaced can't be read, and goes: %s", error)
                return range(position, position + 1)
            if found == key:
                return range(position, position + 1)
            if found > key:
                place = range(position, position)
        return place

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with ``PREFIX_BYTES``."""
        return [self.key(position) for position in self.index.positions(prefix)]

    def owned(self, owner: bytes, is_gone: Callable[[bytes], bool]) -> Iterator[bytes]:
        """Yield the keys of the entries of *owner*, and of owners with the same tag.

        The entries are not looked at: who reads one is told of damage.

        Args:
            owner: whose.
            is_gone: returns whether a log has deleted a key; those are left out.
        """
        tag = owner_tag(owner, self._values)
        for group in self.index.owned_groups(tag):
            known = self._left.get((tag, group.start))
            left: list[int] = []
            for position in self.index.owned_in(group, tag) if known is None else known:
                key = self.key(position)
                if not is_gone(key):
                    left.append(position)
                    yield key
            # What was deleted remains deleted here: if it is put again, a log has it.
            if len(group) == OWNED_GROUP and len(left) <= _FEW_LEFT:
                self._left[tag, group.start] = left

    def sample(self, count: int) -> list[bytes]:
        """Return the keys of entries without an owner among *count* that are picked at random."""
        positions = random.sample(range(self.count), min(count, self.count))
        return [self.key(at) for at in positions if self.index.owner_tag(at) == NO_OWNER]

    def verify(self) -> int:
        """Check every byte, and that each entry is found; return how many there are.

        Raises:
            Corruption: something was damaged.
        """
        check(self._fs, self._file.fd, self.path)
        before = b""
        for position in range(self.count):
            key, entry = self.entry(position)
            is_found = key > before and self.get(key) == entry
            if entry.owner and not self.index.leads_to(position):
                is_found = False
            if not is_found:
                offset = self.index.offsets[position]
                raise Corruption(self.path, offset, "entry is not found by its key or owner")
            before = key
        return self.count

    def piece(self, start: int, stop: int) -> tuple[int, bytes]:
        """Return where the entries end, at most *stop*, that fit into one piece, and their bytes.

        Raises:
            Corruption: the file is too short.
        """
        offsets = self.index.offsets
        first, stop = offsets[start], min(stop, start + PAUSE_ENTRIES)
        if offsets[stop] - first > CHUNK_BYTES:
            stop = max(bisect_right(offsets, first + CHUNK_BYTES, start, stop) - 1, start + 1)
        size = offsets[stop] - first
        data = read(self._fs, self._file.fd, size, first, self.path)
        if len(data) != size:
            raise Corruption(self.path, first, f"read {len(data)} of {size} bytes")
        return stop, data


def _read_index(fs: FileSystem, fd: int, footer: Footer, size: int, path: str) -> Iterator[bytes]:
    """Yield the index, of *size* bytes, a piece at a time."""
    end = footer.index_offset + size
    for at in range(footer.index_offset, end, CHUNK_BYTES):
        yield read(fs, fd, min(CHUNK_BYTES, end - at), at, path)


def _check_index(
    path: str, footer: Footer, cipher: Cipher | None, read_index: Callable[[], Iterable[bytes]]
) -> None:
    # The proof alone is enough, and takes half as long; the checksum tells rot from tampering.
    if cipher is not None and cipher.proves(chain(read_index(), [footer.vouched]), footer.proof):
        return
    actual = 0
    for part in read_index():
        actual = crc32(part, actual)
    if actual != footer.index_crc:
        raise Corruption(
            path,
            footer.index_offset,
            f"index checksum {actual:#010x}, stored {footer.index_crc:#010x}",
        )
    if cipher is not None:
        raise cipher.tampered()
