"""Descriptors: closed when they are forgotten, and never those of the standard streams."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: The lowest descriptor that is not of a standard stream.
_FIRST_OWN: Final = 3


@contextmanager
def above_standard() -> Iterator[None]:
    """Keep files that are opened in the block from getting descriptor 0, 1 or 2.

    A program that has closed those may write there all the same, as ``print`` does.
    """
    standard = []
    try:
        while (spare := os.open("/", os.O_RDONLY | os.O_CLOEXEC)) < _FIRST_OWN:
            standard.append(spare)
        os.close(spare)
        yield
    finally:
        for fd in standard:
            os.close(fd)


def own_descriptor(fd: int) -> int:
    """Return a descriptor for the same open file that is above those of the standard streams."""
    if fd >= _FIRST_OWN:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_OWN)
    finally:
        os.close(fd)


class OpenFile:
    """A descriptor that is closed when its last user forgets it."""

    __slots__ = ("__weakref__", "_close", "fd")

    def __init__(self, fd: int, close: Callable[[int], None]) -> None:
        self.fd = fd
        self._close = close

    def close(self) -> None:
        """Close the descriptor; again is harmless."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._close(fd)

    def __del__(self) -> None:
        self.close()
