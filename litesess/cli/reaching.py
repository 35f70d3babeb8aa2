"""From a path on root's command line to a descriptor, without trusting the links on the way.

A user who can write to a directory on the path can put a link there at any moment, and root would
follow it with the rights of root.  So root follows a link only if it belongs to root, or to the
owner of the file or directory at the end of the path, who could have moved it there as well.  From
then on only the descriptor is used, not the path.

A user other than root follows every link, as everywhere, with no more than its own rights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from litesess.cli.exits import Exit, Failure

_O_PATH: Final = getattr(os, "O_PATH", 0)
_DIRECTORY: Final = os.O_DIRECTORY | os.O_CLOEXEC | (_O_PATH or os.O_RDONLY)
#: O_PATH opens the link itself, and no device or FIFO.  Where the system lacks it, the system
#: follows the links.  Source: open(2).
_LOOK: Final = os.O_CLOEXEC | (_O_PATH | os.O_NOFOLLOW if _O_PATH else os.O_NONBLOCK)
#: Source: path_resolution(7).
_MOST_LINKS: Final = 40


class _Way:
    """A walk along a path: a descriptor of the file or directory that it has reached."""

    def __init__(self, path: str) -> None:
        self._path = path
        #: The names that are left, the next one last.
        self._left = _names(path)
        #: The owner of each link that was followed, and its name.
        self._links: list[tuple[int, str]] = []
        self.fd = os.open("/" if path.startswith("/") else ".", _DIRECTORY)

    def go(self) -> None:
        """Walk to the end.

        Raises:
            OSError: a name is missing, or no directory; the descriptor is of the directory before.
            Failure: root must not follow a link on the way.
        """
        try:
            while self._left:
                self._step(self._left[-1])
        finally:
            self._check_links()

    def _step(self, name: str) -> None:
        found = os.open(name, _LOOK, dir_fd=self.fd)
        try:
            status = os.fstat(found)
            is_link = stat.S_ISLNK(status.st_mode)
            target = os.readlink("", dir_fd=found) if is_link else ""
        except BaseException:
            os.close(found)
            raise
        self._left.pop()
        if not is_link:
            self._stand_on(found)
            return
        os.close(found)
        self._links.append((status.st_uid, name))
        if len(self._links) > _MOST_LINKS:
            raise Failure(Exit.PATH, f"{self._path}: leads through too many links")
        if _is_of_proc(status):
            # The text of such a link is no path: /dev/stdin may lead to a pipe.
            self._stand_on(os.open(name, _LOOK & ~os.O_NOFOLLOW, dir_fd=self.fd))
            return
        if target.startswith("/"):
            self._stand_on(os.open("/", _DIRECTORY))
        self._left += _names(target)

    def _stand_on(self, fd: int) -> None:
        former, self.fd = self.fd, fd
        os.close(former)

    def _check_links(self) -> None:
        owner = os.fstat(self.fd).st_uid
        for uid, name in self._links:
            if uid not in (0, owner):
                raise Failure(
                    Exit.PATH,
                    f"{self._path}: the link {name} on the way belongs to uid {uid}, and leads to"
                    f" a file of uid {owner}; root does not follow it: give the path without"
                    " the link",
                )


def _names(path: str) -> list[str]:
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _is_of_proc(status: os.stat_result) -> bool:
    try:
        return status.st_dev == Path("/proc/self").stat().st_dev
    except OSError:
        return False


@contextmanager
def nearest_directory(path: str) -> Iterator[int]:
    """Open the directory at *path* or, if it is missing, the nearest one above, as root.

    Yields:
        A descriptor for looking, and for reaching the files inside.

    Raises:
        Failure: root must not follow a link on the way.
        OSError: the directory can't be reached.
    """
    way = _Way(path)
    try:
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                way.go()
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        if not stat.S_ISDIR(os.fstat(way.fd).st_mode):
            raise Failure(Exit.PATH, f"{path}: Not a directory")
        yield way.fd
    finally:
        os.close(way.fd)


def directory(path: str) -> int:
    """Return a descriptor of the directory at *path*, for reaching the files inside.

    Raises:
        Failure: root must not follow a link on the way.
        OSError: it can't be reached, or is no directory.
    """
    if os.geteuid() != 0:
        return os.open(path, _DIRECTORY)
    fd = _reached(path)
    try:
        return os.open(".", _DIRECTORY, dir_fd=fd)
    finally:
        os.close(fd)


def reading(path: str) -> BinaryIO:
    """Open a file that the operator names, for reading.

    Raises:
        Failure: root must not follow a link on the way.
        OSError: it can't be opened.
    """
    if os.geteuid() != 0:
        return Path(path).open("rb")
    fd = _reached(path)
    try:
        return Path(f"/dev/fd/{fd}").open("rb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def _reached(path: str) -> int:
    way = _Way(path)
    try:
        way.go()
    except BaseException as error:
        os.close(way.fd)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from error
        raise
    return way.fd
