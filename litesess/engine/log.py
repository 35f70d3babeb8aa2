"""One log file: its records are read by location, followed as they come, appended by offset."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final
from zlib import crc32

from litesess.engine import format as form
from litesess.engine.changes import Entry
from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import Directory
from litesess.engine.fs import FileSystem, read, reserve, write_all, write_zeros
from litesess.errors import Corruption

#: The file grows in such steps, ahead of its records.
RESERVE_STEP: Final = 1 << 18
#: This much of the reserved part serves deletions only, so that logout works on a full disk; and
#: the compaction of a store that was emptied there: XFS makes no file with less than 192 KiB free.
DELETE_RESERVE: Final = 1 << 18
#: The last of that is kept for the engine's own records: without them no compaction makes room.
OWN_RESERVE: Final = 1 << 8

#: A log is read and copied in pieces of this size.
CHUNK_BYTES: Final = 1 << 20
#: Room is given back from so far after the last record on, so that no reader there meets a hole.
_KEPT_BYTES: Final = 1 << 13
_NO_ENTRY: Final = 0, b"", Entry(b"", 0.0, 0)
#: The number of bits of a location that hold the record's size.
SIZE_BITS: Final = 32
_SIZE_MASK: Final = (1 << SIZE_BITS) - 1


class Log:
    """An open log.

    A *location* is a record's offset and size packed into one int: a table holds one for each key.
    """

    __slots__ = (
        "__weakref__",
        "_fs",
        "_held",
        "_is_mapped",
        "_last_entry",
        "cipher",
        "encode",
        "file",
        "header",
        "is_present",
        "path",
        "reserved",
        "salt_crc",
        "window",
    )

    def __init__(self, directory: Directory, name: str, file: OpenFile, head: form.Head) -> None:
        """Take over an open log.

        Args:
            directory: where it is.
            name: its name there.
            file: the open file.
            head: its first bytes.
        """
        fs = directory.fs
        #: So much of the file's length is known to be durable here: the start that every log has.
        self.reserved = min(fs.size(file.fd), _step_up(form.HEADER_BYTES + DELETE_RESERVE))
        self.header = head.header
        self.path = directory.path_of(name)
        self.salt_crc = crc32(head.header.salt)
        #: Encrypts its payloads; None: they are not encrypted.
        self.cipher = head.cipher
        self._fs = fs
        #: Return whether a file still bears the log's name; asked at every operation.
        self.is_present = partial(fs.exists, directory.fd, name)
        self._held = directory.held
        #: The open file; its lock is that of the log.
        self.file = file
        self._last_entry = _NO_ENTRY  # its location, its key, the entry
        self._is_mapped = directory.shares_memory
        #: The file's bytes as memory, as far as it was mapped; see :meth:`has_grown`.
        self.window: mmap.mmap | bytes = b""
        #: Return a record for this log; see :func:`format.encode_record`.
        self.encode = partial(form.encode_record, self.salt_crc, self.cipher)

    def __del__(self) -> None:
        """Let the mapped memory go, by hand, as a snapshot does."""
        window = getattr(self, "window", b"")
        if not isinstance(window, bytes):
            window.close()

    def close(self) -> None:
        """Close the file, even if other threads still use it: their reads are errors then."""
        window, self.window = self.window, b""
        if not isinstance(window, bytes):
            window.close()
        self.file.close()

    @classmethod
    def create(
        cls,
        directory: Directory,
        name: str,
        head: form.Head,
        records: Iterable[bytes] = (),
        *,
        has_room: bool = True,
    ) -> Log:
        """Publish a new log that holds *records*, durably; they are taken one at a time.

        Without *has_room* it has none for more yet: see :meth:`fill`.

        Raises:
            OSError: it could not be made; the name is not taken.
        """
        fs = directory.fs
        with directory.publish(name) as file:
            # Order: before the first byte.  Copied on write, overwritten blocks need new room, so
            # that nothing could be written on a full disk.
            fs.keep_in_place(file.fd)
            end = _write_through(fs, file.fd, chain([head.data], records))
            size = _step_up(end + DELETE_RESERVE)
            if has_room:
                reserve(fs, file.fd, end, size)
            else:
                fs.extend(file.fd, size)
        log = directory.held.hold(lambda: cls(directory, name, file, head))
        log.reserved = size
        return log

    def has_grown(self, end: int) -> bool:
        """Return whether bytes follow *end*, where the records followed so far end.

        A record is written from its first byte on, and that is never zero.  Within the window a
        look there tells the same, without a call of the system; this makes the window longer.
        """
        size = self.size
        if end >= size:
            return False
        fs, fd = self._fs, self.file.fd
        # Guards: in tmpfs a look at a hole takes room, and on a full one it kills the process.
        if not self._is_mapped or fs.has_holes(fd):
            return self.goes_on(end)
        try:
            with self._held.opening():  # a map has a descriptor of its own
                self.window = fs.map_shared(fd, size)
        except OSError:  # the file system shares no memory, or the medium failed
            return self.goes_on(end)
        return self.window[end] != 0

    def goes_on(self, end: int) -> bool:
        """Do as :meth:`has_grown`, and ask the system."""
        return self.pread(1, end) not in (b"", b"\0")

    def pread(self, size: int, offset: int) -> bytes:
        """Return *size* bytes of the file from *offset* on; fewer only at its end.

        Raises:
            OSError: the medium failed; it names file and offset.
        """
        return read(self._fs, self.file.fd, size, offset, self.path)

    @property
    def size(self) -> int:
        """The length of the file in bytes."""
        return self._fs.size(self.file.fd)

    def look(self, size: int, offset: int) -> bytes:
        """Return the bytes at *offset*; fewer only at the end of the file.

        From mapped memory where that is looked at anyway: no call of the system, which would give
        up the interpreter, and where threads wait for that it takes several times as long to get
        it back as to read.
        """
        data = self.window[offset : offset + size]
        return data if len(data) == size else self.pread(size, offset)

    def entry(self, location: int, key: bytes) -> Entry:
        """Return the entry that the record at *location* stores under *key*.

        Raises:
            Corruption: the record was damaged.
        """
        last = self._last_entry
        # A request that writes asks for the same record twice: to load, and to merge.
        if last[0] == location and last[1] == key:
            return last[2]
        offset = location >> SIZE_BITS
        data = self.look(location & _SIZE_MASK, offset)
        record = form.decode_record(data, 0, offset, self.salt_crc, self.cipher)
        if isinstance(record, form.Bad):
            raise Corruption(self.path, offset, record.reason)
        entry = form.entry_in(record, key)
        if entry is None:
            raise Corruption(self.path, offset, "the record stores another key")
        self._last_entry = location, key, entry
        return entry

    def has_room(self, end: int) -> bool:
        """Return whether records can end at *end*, with the reserve for deletions after them."""
        return end + DELETE_RESERVE <= self.reserved

    def write(self, data: bytes, offset: int) -> None:
        """Write *data* at *offset*.

        Raises:
            OSError: it was not all written.
        """
        write_all(self._fs, self.file.fd, data, offset)

    def grow(self, end: int) -> int:
        """Lengthen the file with zeros, in whole steps, so that records may end at *end*.

        Returns:
            Its length; to be taken for :attr:`reserved` only after a sync.

        Raises:
            OSError: there is no room.
        """
        # Guards: another process may have lengthened it, or have been killed while it did; a file
        # is lengthened from where it ends, or records would turn into zeros.
        there = self.size
        size = _step_up(max(end + DELETE_RESERVE, there))
        if size > there:
            reserve(self._fs, self.file.fd, there, size)
        return size

    def has_place(self, end: int, kept: int = OWN_RESERVE) -> bool:
        """Return whether a record can end at *end* on a full disk, with *kept* bytes after it."""
        # Not after the last whole step: the rest can stem from a growth that failed.
        return end + kept <= self.size // RESERVE_STEP * RESERVE_STEP

    def was_cut(self, end: int, torn: form.Bad | None) -> bool:
        """Return whether the file was cut after *end*, where the last record ends.

        A kill or a power cut does not: see :meth:`Appender.reserve`.  *torn* is the rest there.
        """
        if torn is not None and torn.short:
            return True
        used = max([end, *(at + len(data.rstrip(b"\0")) for at, data in self._pieces(end))])
        # Order: last, as it may be growing.
        size = self.size
        is_in_rest = used > size // RESERVE_STEP * RESERVE_STEP
        return used >= size or (is_in_rest and size - used < DELETE_RESERVE)

    def _pieces(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces of the file from *start* on that hold more than zeros, with offsets."""
        while data := self.pread(CHUNK_BYTES, start):
            if data != bytes(len(data)):  # many times as fast as to count zeros
                yield start, data
            start += len(data)

    def is_in_place(self) -> bool:
        """Return whether reserved space is overwritten in place, where the system can do that."""
        return self._fs.keep_in_place(self.file.fd)

    def fill(self, end: int) -> None:
        """Allocate all reserved space after *end*, because a copy of a log can have holes there.

        Raises:
            OSError: the disk is full.
        """
        # Not overwritten: a process of which this one does not know may be writing.
        size = self.size
        if size > end:
            self._fs.allocate(self.file.fd, end, size - end)

    def give_back(self, end: int) -> None:
        """Give the reserved space after *end* back to the disk, except for the nearest records.

        Only under the log's lock, and followed to *end*.
        """
        start = -(-(end + _KEPT_BYTES) // _KEPT_BYTES) * _KEPT_BYTES
        size = self.size
        if size > start:
            with suppress(OSError):  # the file system takes none
                self._fs.give_back(self.file.fd, start, size - start)

    def tail(self, start: int, limit: int) -> bytes:
        """Return at most *limit* bytes from *start* on, without the zeros at their end."""
        return self.pread(limit, start).rstrip(b"\0")

    def erase(self, start: int) -> None:
        """Overwrite all from *start* on with zeros."""
        end = self.size
        if end > start:
            write_zeros(self._fs, self.file.fd, start, end)

    def is_zero(self, start: int) -> bool:
        """Return whether there are only zeros from *start* on."""
        return next(self._pieces(start), None) is None

    def is_linked(self) -> bool:
        """Return whether the file itself still has a name; asked seldom.

        See :meth:`FileSystem.exists`.
        """
        return self._fs.is_linked(self.file.fd)

    def sync(self) -> None:
        """Make all that was written durable.

        Raises:
            OSError: how much is durable is unknown from now on.
        """
        self._fs.sync(self.file.fd)


def _write_through(fs: FileSystem, fd: int, parts: Iterable[bytes]) -> int:
    """Write *parts* from the file's beginning on, a piece at a time; return where they end."""
    end = 0
    pending: list[bytes] = []
    pending_bytes = 0
    for part in parts:
        pending.append(part)
        pending_bytes += len(part)
        if pending_bytes >= CHUNK_BYTES:
            write_all(fs, fd, b"".join(pending), end)
            end += pending_bytes
            pending, pending_bytes = [], 0
    write_all(fs, fd, b"".join(pending), end)
    return end + pending_bytes


def _step_up(size: int) -> int:
    return -(-size // RESERVE_STEP) * RESERVE_STEP
