"""Snapshots: all entries at one moment, sorted by key, with an index that stays on disk.

Values are read with ``pread``: a mapped file that turns bad kills the process where a read raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain
from typing import Final
from zlib import crc32

from litesess.crypto import Sealer, ValueSealers
from litesess.engine import format as form
from litesess.engine.fs import FileSystem, OpenFile, write_all
from litesess.engine.index import (
    CHUNK_BYTES,
    MARK_BYTES,
    NOBODY,
    PREFIX_BYTES,
    Index,
    IndexBuilder,
    parts,
)
from litesess.errors import Corruption

_SEALED_ENTRIES: Final = 16  # some 0.1 ms of work, if they are opened and sealed


class Snapshot(Index):
    """An open snapshot; every method may be called by any thread."""

    __slots__ = (
        "_file",
        "_footer",
        "_fs",
        "_store_crc",
        "_values",
        "generation",
        "path",
        "sealer",
        "sequence",
        "size",
        "store",
    )

    def __init__(self, fs: FileSystem, file: OpenFile, path: str, head: form.Head) -> None:
        """Adopt the open file.

        Args:
            fs: the door to the disk.
            file: the file.
            path: its whole path.
            head: its first bytes.

        Raises:
            Corruption: index or footer is damaged.
            DecryptError: they were not made under the key of the head.
        """
        self.path = path
        self._fs = fs
        self._file = file
        fd = file.fd
        header, _data, self.sealer = head
        self.generation, self.store, self.sequence = header.generation, header.store, header.link
        self._store_crc = crc32(header.store)
        self._values = _values(header, self.sealer)
        self.size = fs.size(fd)
        at = max(self.size - form.FOOTER_BYTES, form.HEADER_BYTES)
        footer = form.decode_footer(fs.pread(fd, form.FOOTER_BYTES, at), path, at)
        self._footer = footer
        start = footer.index_offset
        end = self.adopt_index(
            fs.map(fd, self.size), start, footer, is_sealed=self.sealer is not None
        )
        if end != at:
            raise Corruption(
                path, start, f"index of {at - start} bytes for {footer.entry_count} entries"
            )
        self._check_index(self._read_index)

    def _read_index(self) -> Iterator[bytes]:
        """Yield the index, a piece at a time."""
        # By pread: through the map every page of it would count as this process's memory.
        end = self.size - form.FOOTER_BYTES
        for at in range(self._footer.index_offset, end, CHUNK_BYTES):
            yield self._fs.pread(self._file.fd, min(CHUNK_BYTES, end - at), at)

    def private(self) -> Snapshot:
        """Return this snapshot with an index that nobody can change any more, proven anew.

        A forged row of an index that was proven long ago must not be signed into the next one.
        Only where there is something to prove; it takes as much memory as the index.

        Raises:
            Corruption: the index has been damaged since it was opened.
            DecryptError: somebody has changed it.
        """
        if self.sealer is None:
            return self
        index = b"".join(self._read_index())
        self._check_index(lambda: iter([index]))
        twin = Snapshot.__new__(Snapshot)
        for name in Snapshot.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.adopt_index(index, 0, self._footer, is_sealed=True)
        return twin

    def _check_index(self, read: Callable[[], Iterable[bytes]]) -> None:
        footer, start, sealer = self._footer, self._footer.index_offset, self.sealer
        # The proof alone tells, and takes half as long; the checksum says what kind of damage.
        if sealer is not None and sealer.proves(chain(read(), [footer.vouched]), footer.proof):
            return
        actual = 0
        for part in read():
            actual = crc32(part, actual)
        if actual != footer.index_crc:
            raise Corruption(
                self.path, start, f"index checksum {actual:#010x}, stored {footer.index_crc:#010x}"
            )
        if sealer is not None:
            raise sealer.tampered()

    def close(self) -> None:
        """Let the file and the mapped memory go; who reads then gets an error."""
        self._file.close()
        self.release()

    def __del__(self) -> None:
        """Let the mapped memory go."""
        self.release()

    def has(self, key: bytes) -> bool:
        """Say whether *key* is there, without reading its entry's value."""
        return any(self.key(position) == key for position in self.positions(key[:PREFIX_BYTES]))

    def get(self, key: bytes) -> form.Entry | None:
        """Return what is stored under *key*.

        Raises:
            Corruption: the entry is not what was written.
        """
        bucket = int.from_bytes(key[:4], "big") >> self._shift
        base = self._prefix_base
        at = base + PREFIX_BYTES * self._buckets[bucket]
        end = base + PREFIX_BYTES * self._buckets[bucket + 1]
        prefix = key[:PREFIX_BYTES]
        while (at := self._map.find(prefix, at, end)) >= 0:
            position, astray = divmod(at - base, PREFIX_BYTES)
            if not astray:
                found, entry = self._entry(position)
                if found == key:
                    return entry
            at += 1
        return None

    def entry(self, position: int) -> tuple[bytes, form.Entry]:
        """Return the key and content of the entry at *position* in the order of keys.

        Raises:
            Corruption: the entry is not what was written.
            DecryptError: the entry is whole, but does not belong there.
        """
        key, entry = self._entry(position)
        self._check_key(key, position)
        return key, entry

    def _check_key(self, key: bytes, position: int) -> None:
        """Raise :class:`Corruption` if the index has another key at *position*.

        Guards: a key that was changed is found by nobody, so that its deletion, too, would go by.
        """
        if key[:PREFIX_BYTES] != self.prefix(position):
            raise Corruption(self.path, self._offsets[position], "the entry has another key")

    def _entry(self, position: int) -> tuple[bytes, form.Entry]:
        offset = self._offsets[position]
        data = self._fs.pread(self._file.fd, self._offsets[position + 1] - offset, offset)
        key, version, value = form.decode_entry(
            data, self._store_crc, self.path, offset, self._values
        )
        if self.sealer is not None and version != self._versions[position]:
            # An older one, from an older snapshot, is as well sealed.
            raise self.sealer.tampered()
        if not self.has_owners or self.mark(position) == NOBODY:
            return key, form.Entry(value, self._expiries[position], version)
        owner, value = value[: form.OWNER_BYTES], value[form.OWNER_BYTES :]
        return key, form.Entry(value, self._expiries[position], version, owner)

    def key(self, position: int) -> bytes:
        """Return the key of the entry at *position*; the rest of that is not looked at.

        Raises:
            Corruption: it is not the one that the index has there.
        """
        key = self._fs.pread(self._file.fd, form.KEY_BYTES, self._offsets[position])
        self._check_key(key, position)
        return key

    def range_of(self, key: bytes) -> range:
        """Return the position of the entry of *key*, or where it would stand, as an empty range.

        Raises:
            Corruption: an entry there is not what was written.
            DecryptError: an entry there is whole, but does not belong there.
        """
        for position in (candidates := self.positions(key[:PREFIX_BYTES])):
            # All of it, not the key alone: whoever could change that would have an entry kept
            # that was deleted.
            found, _ = self.entry(position)
            if found >= key:
                return range(position, position + (found == key))
        return range(candidates.stop, candidates.stop)

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with ``PREFIX_BYTES``."""
        return [self.key(position) for position in self.positions(prefix)]

    def owned(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys of the entries of *owner*, and of others for whom the same stands.

        Raises:
            Corruption: an entry is not what was written.
            DecryptError: an entry is whole, but does not belong there.
        """
        for position in self.owned_positions(_mark(owner, self._values)):
            yield self.entry(position)[0]

    def verify(self) -> int:
        """Check every byte, and that each entry is found; return how many there are.

        Raises:
            Corruption: something is not what was written.
        """
        check(self._fs, self._file.fd, self.path)
        before = b""
        for position in range(self.count):
            key, entry = self.entry(position)
            is_found = key > before and self.get(key) == entry
            if entry.owner and not self.leads_to(position):
                is_found = False
            if not is_found:
                raise Corruption(
                    self.path, self._offsets[position], "entry is not found by its key or owner"
                )
            before = key
        return self.count

    def copy(self, start: int, stop: int, writer: SnapshotWriter) -> None:
        """Add the entries from position *start* up to *stop* to *writer*."""
        if writer.takes_from(self.sealer):
            self._copy_bytes(start, stop, writer)
        else:
            self._seal_anew(start, stop, writer)

    def _seal_anew(self, start: int, stop: int, writer: SnapshotWriter) -> None:
        """Add entries that were sealed under another data key."""
        for position in range(start, stop):
            if position % _SEALED_ENTRIES == 0:
                writer.index.pause()
            writer.add(*self.entry(position))

    def _copy_bytes(self, start: int, stop: int, writer: SnapshotWriter) -> None:
        """Add entries as they are."""
        first, last = self._offsets[start], self._offsets[stop]
        shift = writer.offset - first
        for offset in range(first, last, CHUNK_BYTES):
            size = min(CHUNK_BYTES, last - offset)
            data = self._fs.pread(self._file.fd, size, offset)
            if len(data) != size:
                raise Corruption(self.path, offset, f"read {len(data)} of {size} bytes")
            writer.add_bytes(data)
        self.copy_index(start, stop, shift, writer.index)


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
        self._sealer = head.sealer
        self._values = _values(head.header, head.sealer)
        self._store_crc = crc32(head.header.store)
        self._digest = sha256()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushed = 0
        self.add_bytes(head.data)

    def takes_from(self, sealer: Sealer | None) -> bool:
        """Say whether entries of a file with that *sealer* can be taken as they are."""
        ours = self._sealer
        if ours is None or sealer is None:
            return ours is sealer
        return ours.data_key.number == sealer.data_key.number

    def add(self, key: bytes, entry: form.Entry) -> None:
        """Write one entry."""
        index = self.index
        index.prefixes += key[:PREFIX_BYTES]
        index.expiries.append(entry.expires_at)
        index.offsets.append(self.offset)
        if self._sealer is not None:
            index.versions.append(entry.version)
        index.marks += _mark(entry.owner, self._values) if entry.owner else NOBODY
        self.add_bytes(form.encode_entry(self._store_crc, key, entry, self._values))

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
        footer = form.Footer(
            index_offset,
            index.count,
            owned_count,
            index.bits,
            index_crc,
            self._digest.digest(),
        )
        if self._sealer is not None:
            proof = self._sealer.vouch(chain(parts(columns), [footer.vouched]))
            footer = footer._replace(proof=proof)
        write_all(self._fs, self._fd, footer.encode(), self._flushed)

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._digest.update(data)
        write_all(self._fs, self._fd, data, self._flushed)
        self._flushed += len(data)
        # A sync of the whole file at its end would hold up every log sync behind it.
        self._fs.sync(self._fd)
        self.index.pause()


def _values(header: form.Header, sealer: Sealer | None) -> ValueSealers | None:
    return None if sealer is None else sealer.values(header.values_context)


def _mark(owner: bytes, values: ValueSealers | None) -> bytes:
    """Return what stands for an owner in the index; never that for nobody."""
    mark = owner[:MARK_BYTES] if values is None else values.blinded(owner)[:MARK_BYTES]
    return mark if mark != NOBODY else NOBODY[:-1] + b"\1"


def check(fs: FileSystem, fd: int, path: str) -> None:
    """Read the whole snapshot back and compare it with the digest in its footer.

    Raises:
        Corruption: it is not what was written.
    """
    end = fs.size(fd) - form.FOOTER_BYTES
    footer = form.decode_footer(fs.pread(fd, form.FOOTER_BYTES, end), path, end)
    digest = sha256()
    for at in range(0, end, CHUNK_BYTES):
        digest.update(fs.pread(fd, min(CHUNK_BYTES, end - at), at))
    if digest.digest() != footer.sha256:
        raise Corruption(path, 0, "SHA-256 differs from the footer's")
