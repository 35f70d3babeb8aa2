"""A directory for a copy of a store; if the copying fails, nothing of the copy remains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from litesess.cli import reaching, stopping
from litesess.cli.opening import LocatedDirectory
from litesess.cli.owner import writing_to
from litesess.engine import DIRECTORY_MODE, FileSystem

_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Target:
    """The directory, kept open: its name may lead elsewhere at any moment."""

    def __init__(self, path: str, beginning: str) -> None:
        """Open the directory, or make it, private; its parent must be there.

        Args:
            path: of the directory.
            beginning: of the names of a store's files.

        Raises:
            OSError: it can't be opened or made.
            Failure: root does not follow a link on the way.
        """
        self.path = os.path.realpath(path)
        self._beginning = beginning
        #: The names that this command did not make; None: it has made no file yet.
        self._before: set[str] | None = None
        #: The directory above; None: this command did not make the directory.
        self._above: int | None = None
        self._name = Path(path).name
        try:
            self._fd = _opened(path)
        except FileNotFoundError:
            above = reaching.directory(str(Path(path).parent))
            try:
                self._fd = _new(self._name, above)
            except BaseException:
                os.close(above)
                raise
            self._above = above

    def claim(self) -> None:
        """Take the files that are made from now on for this command's."""
        self._before = set(FileSystem.list(self._fd))

    def claim_all(self) -> None:
        """Take each file of a store for this command's: there was none before."""
        self._before = set()

    def remove(self) -> None:
        """Delete this command's files, and its directory if it made that."""
        with suppress(OSError):
            if self._before is not None:
                for name in set(FileSystem.list(self._fd)) - self._before:
                    if name.startswith(self._beginning):
                        os.unlink(name, dir_fd=self._fd)
            if self._above is not None:
                _take_away(self._name, self._above, self._fd)

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)
        if self._above is not None:
            os.close(self._above)


@contextmanager
def made(path: str, source: LocatedDirectory) -> Iterator[Target]:
    """Open or make a directory for a store like *source*; nothing remains if the block fails.

    Raises:
        OSError: it can't be opened or made.
        Failure: root has become a user without permission.
    """
    cure = (
        "choose a directory that this user can reach and write to, or make one for it as root:"
        f" install -d -m 700 -o {os.geteuid()} DIR"
    )
    target = None
    try:
        with stopping.deferred(), writing_to(path, source.identity, cure):
            target = Target(path, f"{source.address.collection}.")
        yield target
        stopping.too_late()
    except BaseException:
        if target is not None:
            with stopping.deferred():
                target.remove()
        raise
    finally:
        if target is not None:
            target.close()


def is_same(fd: int, status: os.stat_result) -> bool:
    """Return whether *status* is of the file or directory that is open as *fd*."""
    return os.path.samestat(os.fstat(fd), status)


def _take_away(name: str, above: int, fd: int) -> None:
    if is_same(fd, os.stat(name, dir_fd=above, follow_symlinks=False)):
        os.rmdir(name, dir_fd=above)


def _opened(path: str) -> int:
    fd = reaching.directory(path)
    try:
        return os.open(".", _READ, dir_fd=fd)
    finally:
        os.close(fd)


def _new(name: str, above: int) -> int:
    os.mkdir(name, DIRECTORY_MODE, dir_fd=above)
    fd = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=above)
    try:
        # A umask may have taken bits away.
        os.fchmod(fd, DIRECTORY_MODE)
        # Order: the name is durable before the files in the directory.
        _sync(above)
    except BaseException:
        with suppress(OSError):
            _take_away(name, above, fd)
        os.close(fd)
        raise
    return fd


def _sync(directory: int) -> None:
    fd = os.open(".", _READ, dir_fd=directory)
    try:
        FileSystem.sync_directory(fd)
    finally:
        os.close(fd)
