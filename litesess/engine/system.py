"""Calls of the system that not every platform has, or that Python gives no name."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from litesess.engine.descriptors import above_standard

#: Source: linux/mman.h, MADV_POPULATE_READ, since Linux 5.14; Python has no name for it.
_POPULATE_READ: Final = 22
_NOT_KNOWN: Final = frozenset({errno.EINVAL, errno.ENOSYS})
#: So much is asked for at a time, some 20 us: the call keeps the interpreter.
_PIECE_BYTES: Final = 1 << 20

#: Source: linux/fs.h, FS_IOC_GETFLAGS and FS_IOC_SETFLAGS; a long by name, an int in fact.
_FLAGS: Final = struct.Struct("I4x" if struct.calcsize("l") == 8 else "I")
_GET_FLAGS: Final = 0x80006601 | _FLAGS.size << 16
_SET_FLAGS: Final = 0x40006602 | _FLAGS.size << 16
_COMPRESSED: Final = 0x4
_NO_COPY: Final = 0x800000
#: Source: linux/falloc.h, FS_IOC_UNRESVSP: fallocate(2) with FALLOC_FL_PUNCH_HOLE.
_RANGE: Final = struct.Struct("hhqqiI4i")
_UNRESERVE: Final = 0x4000582B | _RANGE.size << 16


def _full_sync(fd: int) -> None:
    """Sync where there is no fdatasync.

    Source: fsync(2) of macOS: only F_FULLFSYNC empties the drive's cache.
    """
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        with suppress(OSError):  # not every file system there has it
            fcntl.fcntl(fd, full_sync)
            return
    os.fsync(fd)


#: Make the bytes of an open file durable.
sync: Callable[[int], None] = getattr(os, "fdatasync", _full_sync)


def allocate(fd: int, start: int, size: int) -> None:
    """Make room for *size* bytes at *start*, where the file system can.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, start, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def keep_in_place(fd: int) -> bool:
    """Let writes to a file overwrite its blocks in place, without new room.

    Only an empty file can be made so, where the file system copies on write; other file systems
    overwrite all files in place.

    Returns:
        False where the file system could do so, and does not for this file.
    """
    if sys.platform != "linux":
        return True
    try:
        flags = _flags(fd)
        if not flags & _NO_COPY:
            # Compressed blocks can't be overwritten in place; a directory may ask for them.
            wanted = (flags | _NO_COPY) & ~_COMPRESSED
            fcntl.ioctl(fd, _SET_FLAGS, _FLAGS.pack(wanted))
            flags = _flags(fd)
    except OSError:  # the file system has no such thing
        return True
    return bool(flags & _NO_COPY)


def _flags(fd: int) -> int:
    flags: int = _FLAGS.unpack(fcntl.ioctl(fd, _GET_FLAGS, bytes(_FLAGS.size)))[0]
    return flags


def give_back(fd: int, start: int, size: int) -> None:
    """Give the room of *size* bytes back to the file system; they read as zeros.

    Raises:
        OSError: it does not take any.
    """
    fcntl.ioctl(fd, _UNRESERVE, _RANGE.pack(0, os.SEEK_SET, start, size, 0, 0, 0, 0, 0, 0))


def map_file(flags: int, fd: int, size: int, offset: int = 0) -> mmap.mmap:
    """Return *size* bytes of a file from *offset* on as memory that can only be read.

    All its pages are had at once: a medium that fails is an error here, and a signal that kills the
    process at a look at the memory.  The kernel asks the medium again only for pages that it has
    dropped since, for want of memory.

    Args:
        flags: ``MAP_SHARED``, or ``MAP_PRIVATE`` for a file that does not change.
        fd: the open file.
        size: how many bytes, at least 1.
        offset: of the first, a multiple of ``mmap.ALLOCATIONGRANULARITY``.

    Raises:
        OSError: the file system has no such memory, or the medium failed.
    """
    with above_standard():  # it has a descriptor of its own
        memory = mmap.mmap(fd, size, flags, mmap.PROT_READ, offset=offset)
    if sys.platform == "linux":
        try:
            for at in range(0, size, _PIECE_BYTES):
                memory.madvise(_POPULATE_READ, at, min(_PIECE_BYTES, size - at))
        except OSError as error:
            if error.errno not in _NOT_KNOWN:
                memory.close()
                raise
    return memory


def has_holes(fd: int) -> bool:
    """Return whether a part of the file has no place on the disk."""
    status = os.fstat(fd)
    return status.st_blocks * 512 < status.st_size


def modified_at(fd: int) -> float:
    """Return when the file was written last, in Unix seconds by the system's clock."""
    return os.fstat(fd).st_mtime
