"""Calls of the system that not every platform has, or that Python gives no name."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
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
        OSError: there is none.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, start, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


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
