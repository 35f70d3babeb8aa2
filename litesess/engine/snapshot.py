"""Snapshots: all entries at one moment, sorted by key, found through an index that stays on disk.

Keys are SHA-256, so they spread evenly: a table of buckets leads to some eight prefixes, which
one search in mapped memory tells apart.  Values are read with ``pread``: a mapped file that
turns bad kills the process where a read raises.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import accumulate, chain
from typing import Any, Final
from zlib import crc32

from litesess.crypto import Sealer
from litesess.engine import format as form
from litesess.engine.fs import FileSystem, OpenFile, write_all
from litesess.errors import Corruption

PREFIX_BYTES: Final = 8
_BUCKET_LOAD: Final = 8
_MAX_BITS: Final = 24
_CHUNK_BYTES: Final = 1 << 20
_SCAN_ENTRIES: Final = 4096
_PAUSE_ENTRIES: Final = 1024  # some 0.1 ms of work
_SEALED_ENTRIES: Final = 16  # as much, if they are opened and sealed


class Snapshot:
    """An open snapshot; every method may be called by any thread."""

    __slots__ = (
        "_buckets",
        "_expiries",
        "_file",
        "_fs",
        "_map",
        "_offsets",
        "_prefix_base",
        "_shift",
        "_store_crc",
        "_values",
        "_versions",
        "count",
        "generation",
        "path",
        "sealer",
        "sequence",
        "size",
        "store",
    )

    def __init__(
        self, fs: FileSystem, file: OpenFile, path: str, read_head: Callable[[int], form.Head]
    ) -> None:
        """Adopt the open file.

        Args:
            fs: the door to the disk.
            file: the file.
            path: its whole path.
            read_head: takes the open file, returns what it begins with.

        Raises:
            Corruption: header, index or footer is damaged.
            DecryptError: they were not made under a key that is known.
        """
        self.path = path
        self._fs = fs
        self._file = file
        fd = file.fd
        header, _data, self.sealer = read_head(fd)
        self.generation, self.store, self.sequence = header.generation, header.store, header.link
        self._store_crc = crc32(header.store)
        self._values = None if self.sealer is None else self.sealer.values(header.values_context)
        self.size = fs.size(fd)
        at = max(self.size - form.FOOTER_BYTES, form.HEADER_BYTES)
        footer = form.decode_footer(fs.pread(fd, form.FOOTER_BYTES, at), path, at)
        self._map = fs.map(fd, self.size)
        self._adopt_index(footer, at)

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        directory: int,
        name: str,
        path: str,
        read_head: Callable[[int], form.Head],
    ) -> Snapshot:
        """Open the snapshot *name*; see :meth:`__init__`.

        Raises:
            Corruption: header, index or footer does not hold together.
            DecryptError: they were not made under a key that is known.
            StoreError: the name was not made by litesess.
        """
        file = OpenFile(fs.open(directory, name, path, write=False), fs.close)
        try:
            return cls(fs, file, path, read_head)
        except BaseException:
            file.close()
            raise

    def _adopt_index(self, footer: form.Footer, end: int) -> None:
        self.count = count = footer.entry_count
        start = footer.index_offset
        widths = (
            4 * ((1 << footer.bits) + 1),
            PREFIX_BYTES * count,
            8 * count,
            8 * (count + 1),
            0 if self.sealer is None else 8 * count,
        )
        if footer.bits > _MAX_BITS or start + sum(widths) != end:
            raise Corruption(self.path, start, f"index of {end - start} bytes for {count} entries")
        self._check_index(footer, start, end)
        view = memoryview(self._map)
        bounds = [*accumulate(widths, initial=start)]
        self._prefix_base = bounds[1]
        self._buckets = view[bounds[0] : bounds[1]].cast("I")
        self._expiries = view[bounds[2] : bounds[3]].cast("d")
        self._offsets = view[bounds[3] : bounds[4]].cast("Q")
        self._versions = view[bounds[4] : bounds[5]].cast("Q")
        self._shift = 32 - footer.bits

    def _check_index(self, footer: form.Footer, start: int, end: int) -> None:
        def parts() -> Iterator[bytes]:
            # By pread: through the map every page of it would count as this process's memory.
            for at in range(start, end, _CHUNK_BYTES):
                yield self._fs.pread(self._file.fd, min(_CHUNK_BYTES, end - at), at)

        sealer = self.sealer
        # The proof alone tells, and takes half as long; the checksum says what kind of damage.
        if sealer is not None and sealer.proves(chain(parts(), [footer.vouched]), footer.proof):
            return
        actual = 0
        for part in parts():
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
        self.__del__()

    def __del__(self) -> None:
        """Let the mapped memory go."""
        # By hand: a map that is left to the collector of garbage goes without giving up the
        # interpreter, while the kernel frees a file of any size that was unlinked before.
        for name in ("_buckets", "_expiries", "_offsets", "_versions"):
            if (view := getattr(self, name, None)) is not None:
                view.release()
        if (memory := getattr(self, "_map", None)) is not None:
            with suppress(BufferError):  # the traceback of a refusal still shows it
                memory.close()

    def has(self, key: bytes) -> bool:
        """Say whether *key* is there, without reading its entry's value."""
        position = self.position(key)
        return position < self.count and self.key(position) == key

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
                found, entry = self.entry(position)
                if found == key:
                    return entry
            at += 1
        return None

    def entry(self, position: int) -> tuple[bytes, form.Entry]:
        """Return the key and content of the entry at *position* in the order of keys.

        Raises:
            Corruption: the entry is not what was written.
        """
        offset = self._offsets[position]
        data = self._fs.pread(self._file.fd, self._offsets[position + 1] - offset, offset)
        found = form.decode_entry(
            data, self._store_crc, self._expiries[position], self.path, offset, self._values
        )
        if self.sealer is not None and found[1].version != self._versions[position]:
            # An older one, from an older snapshot, is as well sealed.
            raise self.sealer.tampered()
        return found

    def key(self, position: int) -> bytes:
        """Return the key of the entry at *position*."""
        return self._fs.pread(self._file.fd, form.KEY_BYTES, self._offsets[position])

    def position(self, key: bytes) -> int:
        """Return how many entries have a smaller key than *key*."""
        bucket = int.from_bytes(key[:4], "big") >> self._shift
        position = bisect_left(
            range(self.count),
            key[:PREFIX_BYTES],
            lo=self._buckets[bucket],
            hi=self._buckets[bucket + 1],
            key=self.prefix,
        )
        while position < self.count and self.key(position) < key:
            position += 1
        return position

    def prefix(self, position: int) -> bytes:
        """Return the first bytes of the key at *position*."""
        at = self._prefix_base + PREFIX_BYTES * position
        return self._map[at : at + PREFIX_BYTES]

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys of the entries that expire at *now* or before."""
        for start in range(0, self.count, _SCAN_ENTRIES):
            chunk = self._expiries[start : start + _SCAN_ENTRIES].tolist()
            if min(chunk) <= now:
                for position, expires_at in enumerate(chunk, start):
                    if expires_at <= now:
                        yield self.key(position)

    def verify(self) -> int:
        """Check every byte, and that each entry is found; return how many there are.

        Raises:
            Corruption: something is not what was written.
        """
        check(self._fs, self._file.fd, self.path)
        before = b""
        for position in range(self.count):
            key, entry = self.entry(position)
            if key <= before or self.get(key) != entry:
                raise Corruption(
                    self.path, self._offsets[position], "entry is not found by its key"
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
                writer.pause()
            writer.add(*self.entry(position))

    def _copy_bytes(self, start: int, stop: int, writer: SnapshotWriter) -> None:
        """Add entries as they are."""
        first, last = self._offsets[start], self._offsets[stop]
        shift = writer.offset - first
        for offset in range(first, last, _CHUNK_BYTES):
            size = min(_CHUNK_BYTES, last - offset)
            data = self._fs.pread(self._file.fd, size, offset)
            if len(data) != size:
                raise Corruption(self.path, offset, f"read {len(data)} of {size} bytes")
            writer.add_bytes(data)
        for at in range(start, stop, _PAUSE_ENTRIES):
            end = min(at + _PAUSE_ENTRIES, stop)
            base = self._prefix_base
            writer.add_index(
                self._map[base + PREFIX_BYTES * at : base + PREFIX_BYTES * end],
                self._expiries[at:end],
                [offset + shift for offset in self._offsets[at:end]],
                self._versions[at:end] if self.sealer is not None else (),
            )


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
        self._fs = fs
        self._fd = fd
        self.pause = pause
        self._sealer = sealer = head.sealer
        self._values = None if sealer is None else sealer.values(head.header.values_context)
        self._store_crc = crc32(head.header.store)
        self._digest = sha256()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushed = 0
        self._prefixes = bytearray()
        self._expiries = array("d")
        self._offsets = array("Q")
        self._versions = array("Q")  # in an encrypted snapshot
        self.add_bytes(head.data)

    def takes_from(self, sealer: Sealer | None) -> bool:
        """Say whether entries of a file with that *sealer* can be taken as they are."""
        ours = self._sealer
        return ours is sealer is None or (
            ours is not None
            and sealer is not None
            and ours.data_key.number == sealer.data_key.number
        )

    def add(self, key: bytes, entry: form.Entry) -> None:
        """Write one entry."""
        self._prefixes += key[:PREFIX_BYTES]
        self._expiries.append(entry.expires_at)
        self._offsets.append(self.offset)
        if self._sealer is not None:
            self._versions.append(entry.version)
        self.add_bytes(form.encode_entry(self._store_crc, key, entry, self._values))

    def add_bytes(self, data: bytes) -> None:
        """Write entries, or parts of them, that are encoded already."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.offset += len(data)
        if self._pending_bytes >= _CHUNK_BYTES:
            self._flush()

    def add_index(
        self,
        prefixes: bytes,
        expiries: Iterable[float],
        offsets: list[int],
        versions: Iterable[int],
    ) -> None:
        """Index entries that were written by :meth:`add_bytes`."""
        self._prefixes += prefixes
        self._expiries.extend(expiries)
        self._offsets.extend(offsets)
        self._versions.extend(versions)
        self.pause()

    def finish(self) -> None:
        """Write index and footer and make the file durable.

        Raises:
            OSError: the file is worth nothing.
        """
        count = len(self._offsets)
        self._offsets.append(self.offset)
        self.add_bytes(bytes(-self.offset % 8))
        index_offset = self.offset
        bits = min(max((count // _BUCKET_LOAD).bit_length(), 1), _MAX_BITS)
        columns = (
            self._buckets(bits),
            self._prefixes,
            self._expiries,
            self._offsets,
            self._versions,
        )
        index_crc = 0
        for part in _parts(columns):
            index_crc = crc32(part, index_crc)
            self.add_bytes(part)
        self._flush()
        footer = form.Footer(index_offset, count, bits, index_crc, self._digest.digest())
        if self._sealer is not None:
            proof = self._sealer.vouch(chain(_parts(columns), [footer.vouched]))
            footer = footer._replace(proof=proof)
        write_all(self._fs, self._fd, footer.encode(), self._flushed)
        self._fs.sync(self._fd)

    def _buckets(self, bits: int) -> array[int]:
        counts = array("I", bytes(4 * ((1 << bits) + 1)))
        shift = 32 - bits
        prefixes = self._prefixes
        for at in range(0, len(prefixes), PREFIX_BYTES):
            if at % (_PAUSE_ENTRIES * PREFIX_BYTES) == 0:
                self.pause()
            counts[(int.from_bytes(prefixes[at : at + 4], "big") >> shift) + 1] += 1
        # In pieces: one call over all of them would keep every other thread waiting.
        total = 0
        for at in range(0, len(counts), _PAUSE_ENTRIES):
            self.pause()
            sums = array("I", accumulate(counts[at : at + _PAUSE_ENTRIES], initial=total))
            total = sums[-1]
            counts[at : at + _PAUSE_ENTRIES] = sums[1:]
        return counts

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._digest.update(data)
        write_all(self._fs, self._fd, data, self._flushed)
        self._flushed += len(data)
        # A sync of the whole file at its end would hold up every log sync behind it.
        self._fs.sync(self._fd)
        self.pause()


def _parts(columns: Iterable[array[Any] | bytearray]) -> Iterator[bytes]:
    """Yield the bytes of an index, a piece at a time."""
    for column in columns:
        view = memoryview(column).cast("B")
        for at in range(0, len(view), _CHUNK_BYTES):
            yield bytes(view[at : at + _CHUNK_BYTES])


def check(fs: FileSystem, fd: int, path: str) -> None:
    """Read the whole snapshot back and compare it with the digest in its footer.

    Raises:
        Corruption: it is not what was written.
    """
    end = fs.size(fd) - form.FOOTER_BYTES
    footer = form.decode_footer(fs.pread(fd, form.FOOTER_BYTES, end), path, end)
    digest = sha256()
    for at in range(0, end, _CHUNK_BYTES):
        digest.update(fs.pread(fd, min(_CHUNK_BYTES, end - at), at))
    if digest.digest() != footer.sha256:
        raise Corruption(path, 0, "SHA-256 differs from the footer's")
