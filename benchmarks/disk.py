"""The disk itself, without litesess: the least cost of a durable write."""

from __future__ import annotations

import os
from collections.abc import Callable

RESERVED = 1 << 22


def by_hand(directory: str, size: int) -> Callable[[], None]:
    """Return a function that writes *size* bytes into the reserved space of a file, and syncs."""
    fd = os.open(f"{directory}/by-hand", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, bytes(RESERVED), 0)
    os.fsync(fd)
    offset = 0
    data = b"x" * size

    def write() -> None:
        nonlocal offset
        os.pwrite(fd, data, offset)
        os.fdatasync(fd)
        offset = (offset + size) % (RESERVED - size)

    return write
